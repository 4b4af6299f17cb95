// Opens pages of the console in a real Chromium: on a phone and at a desk, in Korean and English, with
// and without scripts. Of each it asks that nothing scrolls sideways, that no error stands in the
// console, that axe finds nothing serious and that the first page is small; and keeps a picture.
//
//   node pages.mjs PLAN.json      {"base", "chromium", "pictures", "secrets": {"operator": …}, "pages": [{"name", "as", "path"}]}
//
// Ends with 0 and one line of JSON, or with 1 and what is wrong.
import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SCREENS = [
  { name: "phone", viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
  { name: "desk", viewport: { width: 1280, height: 800 } },
];
// The first page, uncompressed.
const MAX_BYTES = 50 * 1024;
// Smallest side of what is tapped, in CSS pixels.
const MIN_TAP = 44;

const wrong = [];
let seen = 0;
mkdirSync(plan.pictures, { recursive: true });
const browser = await chromium.launch({ executablePath: plan.chromium, args: ["--no-sandbox", "--disable-gpu"] });

async function signedIn(context, token) {
  const answer = await context.request.post(`${plan.base}/sign-in`, { form: { token }, maxRedirects: 0 });
  if (answer.status() !== 303) throw new Error(`signing in answered ${answer.status()}`);
}

async function look(page, at, scripts) {
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (sideways > 0) wrong.push(`${at}: scrolls ${sideways} px sideways`);
  if (!scripts) return;
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  for (const it of found.violations.filter((it) => it.impact === "serious" || it.impact === "critical")) {
    wrong.push(`${at}: ${it.id}: ${it.help}: ${it.nodes.slice(0, 3).map((node) => node.html).join(" | ")}`);
  }
  const small = await page.evaluate((least) => {
    const taps = [...document.querySelectorAll("button, a.button, nav a, summary, h2 a, input:not([type=hidden])")];
    const low = taps.filter((it) => it.checkVisibility() && it.getBoundingClientRect().height < least - 0.5);
    return low.map((it) => it.outerHTML.slice(0, 80));
  }, MIN_TAP);
  if (small.length > 0) wrong.push(`${at}: too small to tap: ${small.slice(0, 3).join(" | ")}`);
}

for (const screen of SCREENS) {
  for (const lang of ["ko", "en"]) {
    for (const scripts of [true, false]) {
      for (const who of [...new Set(plan.pages.map((page) => page.as))]) {
        const context = await browser.newContext({
          ...screen,
          locale: lang === "ko" ? "ko-KR" : "en-GB",
          // Half of them in the dark.
          colorScheme: (screen.name === "phone") === (lang === "ko") ? "light" : "dark",
        });
        if (plan.secrets[who]) await signedIn(context, plan.secrets[who]);
        const state = await context.storageState();
        await context.close();
        const other = await browser.newContext({
          ...screen,
          storageState: state,
          locale: lang === "ko" ? "ko-KR" : "en-GB",
          colorScheme: (screen.name === "phone") === (lang === "ko") ? "light" : "dark",
          javaScriptEnabled: scripts,
        });
        for (const wanted of plan.pages.filter((page) => page.as === who)) {
          const at = `${wanted.name} ${screen.name} ${lang} ${scripts ? "scripts" : "plain"}`;
          const page = await other.newPage();
          page.on("console", (line) => {
            // That a page was refused stands there too.
            const refused = wanted.status !== undefined && line.text().startsWith("Failed to load resource");
            if (line.type() === "error" && !refused) wrong.push(`${at}: console: ${line.text()}`);
          });
          page.on("pageerror", (error) => wrong.push(`${at}: ${error.message}`));
          const answer = await page.goto(`${plan.base}${wanted.path}`, { waitUntil: "load" });
          const wantedStatus = wanted.status ?? 200;
          if (answer.status() !== wantedStatus) wrong.push(`${at}: answered ${answer.status()}`);
          const text = await answer.text();
          if (Buffer.byteLength(text) > MAX_BYTES) wrong.push(`${at}: ${Buffer.byteLength(text)} bytes`);
          if (!text.includes(`<html lang="${lang}">`)) wrong.push(`${at}: not in the browser's language`);
          for (const part of wanted[lang] ?? []) if (!text.includes(part)) wrong.push(`${at}: does not say “${part}”`);
          await look(page, at, scripts);
          await page.screenshot({ path: `${plan.pictures}/${at.replaceAll(" ", "-")}.png`, fullPage: true });
          await page.close();
          seen += 1;
        }
        await other.close();
      }
    }
  }
}
await browser.close();
if (wrong.length > 0) {
  console.error(wrong.join("\n"));
  process.exit(1);
}
console.log(JSON.stringify({ seen }));
