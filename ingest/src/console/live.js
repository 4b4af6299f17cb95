// Renews the page when something changed. Without it the page renews itself each ten seconds.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  if (!main || !window.EventSource) return;
  let busy = false;
  const typing = () => main.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
  const renew = async () => {
    if (busy || document.hidden || typing()) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      if (fresh && !typing()) main.replaceChildren(...fresh.childNodes);
    } catch (error) {
      // The next change or the next ten seconds try again.
      main.dataset.live = "away";
    } finally {
      busy = false;
    }
  };
  const source = new EventSource("/live");
  source.addEventListener("change", renew);
  window.addEventListener("pagehide", () => source.close());
  setInterval(renew, 10000);
})();
