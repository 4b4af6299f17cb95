//! `cargo demo`: the whole chain on one machine, told line by line.
//!
//! A simulated plant and a broker, three fictitious firms with a gateway each, one
//! ingest on `SQLite` in a temporary directory; then what consent is for: refused,
//! granted, pulled, audited, revoked, refused. At the end the plant stops, the spools
//! drain, and what was served is compared with what was stored and pulled, value by
//! value. It ends 0 only when they agree.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use serde_json::Value as Json;
use tokio::signal::unix::{SignalKind, signal};

mod tell;

use tell::{Tell, line, more, pad};

use crate::broker::Broker;
use crate::harness::account::{Account, EVER, accounts};
use crate::harness::http::{Asker, Series, rfc3339, time_us};
use crate::harness::{Gateway, GatewayPlan, Ingest, PATIENCE, Programs, Use, become_program, wait_for};
use crate::plcsim::fault::Fault;
use crate::plcsim::machine::{ByteOrder, Make};
use crate::plcsim::{ModbusDevice, ModbusEndpoint, MqttDevice, Plant, Scenario};

/// Width of the buckets that firm B is allowed, s. Short, so that a demo of half a
/// minute has some; a real consent says a minute or an hour.
const BUCKET_S: i64 = 2;
/// Where the welder publishes.
const WELDER_TOPIC: &str = "plant/welder-1/state";
/// Exit code of a program that Ctrl-C ended, by the shells' convention.
const INTERRUPTED: i32 = 130;
/// How often the counts are told while it runs on.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The whole chain of sandan on one machine.
#[derive(Debug, Parser)]
#[command(name = "demo", version)]
struct Args {
    /// End by itself after so many seconds (else Ctrl-C ends it)
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// What the simulated machines' chance comes from
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Runs the demo, or the program that the first argument names.
pub fn main() -> ExitCode {
    if let Some(code) = become_program(std::env::args_os()) {
        return code;
    }
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One of the three.
struct Firm {
    id: &'static str,
    name_ko: &'static str,
    name_en: &'static str,
    uses: Vec<Use>,
    gateway: Gateway,
    owner: Asker,
    token: String,
}

impl Firm {
    fn name(&self) -> String {
        format!("{} {}", self.name_ko, self.name_en)
    }
    fn accounts(&self, plant: &Plant) -> anyhow::Result<Vec<Account>> {
        let mut all = Vec::new();
        for used in &self.uses {
            all.extend(accounts(plant, used, self.id, &self.owner)?);
        }
        Ok(all)
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let tell = Tell::new();
    let dir = tempfile::Builder::new().prefix("sandan-demo-").tempdir()?;
    let interrupts = Interrupts::listen(dir.path().to_owned())?;
    line("산단 데모 · sandan demo — 가상의 기업 세 곳, 한 대의 컴퓨터 · three fictitious firms on one machine\n");

    let broker = Broker::start().context("the broker cannot start")?;
    let plant = Plant::start(&scenario(args.seed, &broker)).context("the plant cannot start")?;
    tell.step(
        "설비 가동",
        "plant",
        "2 Modbus PLCs (press + energy meter, furnace + compressor), 1 MQTT welder, 1 broker",
    );
    let mut ingest = Ingest::start_new(&Programs::own()?, &dir.path().join("ingest"))?;
    tell.step("수집 서버", "ingest", &format!("http://{} · SQLite in {}", ingest.http(), dir.path().display()));

    let mut firms = firms(&plant, &ingest, dir.path())?;
    for firm in &mut firms {
        firm.gateway.start()?;
    }
    wait_for("the welder's topic to be subscribed to", PATIENCE, || broker.hears(WELDER_TOPIC).then_some(()))?;
    plant.fault("welder", Fault::None)?;
    links_up(&tell, &firms)?;
    first_counts(&tell, &plant, &firms)?;
    let pulled = consent_story(&tell, &ingest, &firms[0], &firms[1])?;
    try_it(&ingest, &firms)?;

    run_on(&tell, args.seconds, &interrupts, &plant, &firms)?;
    tell.step("정지", "stopping", "설비가 멈추고 남은 것을 보냄 · the plant stops, the spools drain, the gateways end");
    settle(&plant, &firms)?;
    for firm in &mut firms {
        firm.gateway.terminate()?;
    }
    let agreed = compare(&tell, &plant, &firms, &pulled);
    ingest.terminate()?;
    agreed
}

/// Ctrl-C and SIGTERM. Before the demo runs on, and the second time in any case, one
/// ends it at once: its children end with it, and only the directory is left to remove.
struct Interrupts {
    received: Receiver<()>,
    patient: Arc<AtomicBool>,
}

impl Interrupts {
    fn listen(dir: PathBuf) -> anyhow::Result<Self> {
        let (sender, received) = channel();
        let patient = Arc::new(AtomicBool::new(false));
        let waits = Arc::clone(&patient);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                let Ok(mut term) = signal(SignalKind::terminate()) else { return };
                loop {
                    tokio::select! {
                        _ = tokio::signal::ctrl_c() => {}
                        _ = term.recv() => {}
                    }
                    if !waits.swap(false, Ordering::Relaxed) || sender.send(()).is_err() {
                        let _ = std::fs::remove_dir_all(&dir);
                        std::process::exit(INTERRUPTED);
                    }
                }
            });
        });
        Ok(Self { received, patient })
    }
    /// Waits so long; says whether an interrupt came.
    fn wait(&self, at_most: Duration) -> anyhow::Result<bool> {
        self.patient.store(true, Ordering::Relaxed);
        match self.received.recv_timeout(at_most) {
            Ok(()) => Ok(true),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => bail!("nobody listens for Ctrl-C"),
        }
    }
}

fn scenario(seed: u64, broker: &Broker) -> Scenario {
    let endpoint = |device| ModbusEndpoint::tcp(([127, 0, 0, 1], 0).into(), device);
    Scenario {
        seed,
        speed: 1.0,
        modbus: vec![
            endpoint(vec![
                ModbusDevice::new("press-plc", 1, Make::Press),
                ModbusDevice::new("meter", 2, Make::Meter).in_order(ByteOrder::Cdab),
            ]),
            endpoint(vec![
                ModbusDevice::new("furnace-plc", 1, Make::Furnace),
                ModbusDevice::new("compressor", 7, Make::Compressor).in_order(ByteOrder::Badc),
            ]),
        ],
        mqtt: vec![MqttDevice {
            name: "welder".into(),
            broker: broker.address(),
            topic: WELDER_TOPIC.into(),
            machine: Make::Welder,
            interval_ms: 500,
            // A broker keeps nothing for a gateway that never subscribed: not a word before that.
            fault: Fault::Silent,
        }],
    }
}

fn firms(plant: &Plant, ingest: &Ingest, dir: &Path) -> anyhow::Result<Vec<Firm>> {
    let used = |name: &str, asset: &str, ko: &str, en: &str| Use::new(plant.device(name), asset, ko, en).every_ms(500);
    let sites = [
        (
            "hanbit-mould",
            "press-hall",
            "한빛금형",
            "Hanbit Mould",
            "김하늘",
            vec![
                used("press-plc", "press-1", "1호 프레스", "Press 1"),
                used("meter", "meter-1", "전력량계", "Energy meter"),
            ],
        ),
        (
            "daon-heat",
            "furnace-hall",
            "다온열처리",
            "Daon Heat",
            "이도윤",
            vec![
                used("furnace-plc", "furnace-2", "2호 열처리로", "Furnace 2"),
                used("compressor", "compressor-1", "공기압축기", "Compressor"),
            ],
        ),
        (
            "saerom-weld",
            "weld-shop",
            "새롬용접",
            "Saerom Weld",
            "박서연",
            vec![used("welder", "welder-1", "1호 용접기", "Welder 1")],
        ),
    ];
    sites
        .into_iter()
        .map(|(id, gateway, name_ko, name_en, member, uses)| {
            ingest.add_firm(id, name_ko, name_en)?;
            let plan = GatewayPlan::new(&format!("{id}/{gateway}"), &ingest.url(), uses);
            let invitation = ingest.add_gateway(&plan.gateway)?;
            let gateway = Gateway::new(&Programs::own()?, &dir.join(id), &plan, &invitation)?;
            let token = ingest.add_member(id, member)?;
            Ok(Firm { id, name_ko, name_en, uses: plan.uses, gateway, owner: ingest.asker(&token), token })
        })
        .collect()
}

/// A link is up when the ingest has a reading of every device behind it.
fn links_up(tell: &Tell, firms: &[Firm]) -> anyhow::Result<()> {
    for firm in firms {
        let devices = firm.uses.len();
        wait_for("a link to come up", PATIENCE, || {
            let series = firm.owner.list("/v1/series", "series").ok()?;
            let heard = |used: &&Use| series.iter().any(|s| s["asset"] == *used.asset && s["newest"].is_string());
            (firm.uses.iter().filter(heard).count() == devices).then_some(())
        })
        .with_context(|| format!("{} is not heard of: {:?}", firm.id, firm.gateway.log().lines()))?;
        let names: Vec<String> = firm.uses.iter().map(|used| format!("{} {}", used.name_ko, used.name_en)).collect();
        tell.step("연결됨", "link up", &format!("{}← {}", pad(&firm.name(), 26), names.join(", ")));
    }
    Ok(())
}

fn first_counts(tell: &Tell, plant: &Plant, firms: &[Firm]) -> anyhow::Result<()> {
    // Some seconds of readings, so that there is a mean to pull later.
    wait_for("readings of some buckets", PATIENCE, || {
        let [first, ..] = firms else { return None };
        let readings = first.owner.readings(&press_force(first), EVER.0, EVER.1).ok()?;
        let span = readings.last()?.time_us - readings.first()?.time_us;
        (span > 3 * BUCKET_S * 1_000_000).then_some(())
    })?;
    for firm in firms {
        tell.step("저장됨", "stored", &counts(plant, firm)?);
    }
    Ok(())
}

fn counts(plant: &Plant, firm: &Firm) -> anyhow::Result<String> {
    let accounts = firm.accounts(plant)?;
    let served: usize = accounts.iter().map(|account| account.served.len()).sum();
    let stored: usize = accounts.iter().map(|account| account.stored.len()).sum();
    Ok(format!(
        "{}served {served:>6} · stored {stored:>6} · {} series{}",
        pad(&firm.name(), 26),
        accounts.len(),
        if served == stored { "" } else { " (the rest is on its way)" }
    ))
}

fn press_force(firm: &Firm) -> Series {
    Series::new(firm.id, "press-1", "press_force")
}

/// What firm B pulled, to be compared at the end.
struct Pulled {
    from_us: i64,
    to_us: i64,
    count: u64,
}

fn consent_story(tell: &Tell, ingest: &Ingest, a: &Firm, b: &Firm) -> anyhow::Result<Pulled> {
    let series = press_force(a);
    // A whole bucket in the past, up to one that has certainly been stored.
    let width = BUCKET_S * 1_000_000;
    let readings = a.owner.readings(&series, EVER.0, EVER.1)?;
    let (first, last) = (readings.first().context("nothing is stored")?, readings.last().context("nothing is stored")?);
    let (from_us, to_us) = ((first.time_us / width + 1) * width, last.time_us / width * width);
    let path = format!("{}&bucket={BUCKET_S}s&function=mean,count", series.path(from_us, to_us)?);

    let refused = b.owner.get(&path)?;
    ensure!(refused.status == 404, "firm B was answered {} without a consent: {}", refused.status, refused.body);
    tell.step("거절", "refused", &format!("{} asks for {series}: 404", b.name()));
    more("동의가 없으면 있는지조차 알 수 없음 · without a consent they cannot even tell that it exists");

    let form = ["--form", "bucketed", "--floor", &format!("{BUCKET_S}s"), "--function", "mean", "--function", "count"];
    let consent = ingest.grant(a.id, b.id, &series.asset, &series.metric, &form)?;
    tell.step("동의", "consent", &format!("{} → {}", a.name(), b.name()));
    more(&format!("{BUCKET_S}초 평균만, 원시값은 아님 · means of {BUCKET_S} s, never raw · {consent}"));

    let answer = b.owner.get(&path)?.ok().context("firm B has a consent, and was refused")?;
    let buckets = answer["buckets"].as_array().context("the answer has no buckets")?;
    ensure!(!buckets.is_empty(), "firm B pulled nothing");
    let count = buckets.iter().filter_map(|bucket| bucket["count"].as_u64()).sum();
    tell.step(
        "조회",
        "pulled",
        &format!("{} · 평균 {n}건, 측정값 {count}건 · {n} means of {count} readings", b.name(), n = buckets.len()),
    );
    for bucket in buckets.iter().take(3) {
        let time = time_us(&bucket["start"])?;
        more(&format!(
            "{}  {:8.1} kN  ({} readings)",
            seoul(time)?,
            bucket["mean"].as_f64().unwrap_or(f64::NAN),
            bucket["count"]
        ));
    }

    let audit = a.owner.list(&format!("/v1/audit?firm={}", a.id), "entries")?;
    let read = |entry: &&Json| entry["kind"] == "read_started" && entry["detail"]["asker"] == b.id;
    let entry = audit.iter().rev().find(read).context("no audit line says that firm B read")?;
    tell.step("감사 기록", "audit", &format!("{} · 누가 무엇을 보았는지 · who read what", a.name()));
    more(&audit_line(entry)?);

    ingest.revoke(&consent)?;
    tell.step("철회", "revoked", &format!("{} · 동의를 거둠 · takes the consent back", a.name()));
    let refused = b.owner.get(&path)?;
    ensure!(refused.status == 403, "firm B was answered {} after the revocation: {}", refused.status, refused.body);
    let why = refused.json()["reasons"][0]["detail"].as_str().unwrap_or_default().to_owned();
    tell.step("거절", "refused", &format!("{} asks again: 403", b.name()));
    more(&why);
    Ok(Pulled { from_us, to_us, count })
}

/// `#12 15:47:41 KST read_started: daon-heat read press-1 press_force, mean of bucketed`.
fn audit_line(entry: &Json) -> anyhow::Result<String> {
    let detail = &entry["detail"];
    let text = |value: &Json| value.as_str().unwrap_or("?").to_owned();
    let functions = detail["functions"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    Ok(format!(
        "#{} {} {}: {} read {} {}, {} ({})",
        entry["number"],
        seoul(time_us(&entry["time"])?)?,
        text(&entry["kind"]),
        text(&detail["asker"]),
        text(&detail["asset"]),
        text(&detail["metric"]),
        text(&detail["form"]),
        functions.join(", ")
    ))
}

/// `15:47:41` in Seoul.
fn seoul(time_us: i64) -> anyhow::Result<String> {
    let time = jiff::Timestamp::from_microsecond(time_us)?.in_tz("Asia/Seoul")?;
    Ok(time.strftime("%H:%M:%S %Z").to_string())
}

fn try_it(ingest: &Ingest, firms: &[Firm]) -> anyhow::Result<()> {
    ingest.command(&["operator", "add", "--name", "관제실"])?;
    let link = ingest.command(&["operator", "link"])?;
    let base = format!("http://{}", ingest.http());
    line("\n직접 해 보기 · Try it yourself");
    line(&format!("  관제 화면 · console (one use, 15 min)   {link}"));
    for firm in firms {
        let asset = &firm.uses[0].asset;
        line(&format!("  {}", firm.name()));
        line(&format!("    curl -H 'Authorization: Bearer {}' '{base}/v1/series'", firm.token));
        let metric = firm.uses[0].device.points[0].metric;
        let part = firm.uses[0].device.points[0].part.as_ref().map(|part| format!(".{part}")).unwrap_or_default();
        line(&format!(
            "    curl -H 'Authorization: Bearer {}' '{base}/v1/readings?firm={}&asset={asset}{part}&metric={metric}&from={}&to=2100-01-01T00:00:00Z&format=csv'",
            firm.token,
            firm.id,
            rfc3339(now_us() / 60_000_000 * 60_000_000)?
        ));
    }
    line("");
    Ok(())
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn run_on(
    tell: &Tell,
    seconds: Option<u64>,
    interrupts: &Interrupts,
    plant: &Plant,
    firms: &[Firm],
) -> anyhow::Result<()> {
    match seconds {
        Some(seconds) => tell.step("계속", "running on", &format!("until {seconds} s after the start, or Ctrl-C")),
        None => tell.step("계속", "running on", "until Ctrl-C"),
    }
    let end = seconds.map(Duration::from_secs);
    let started = Instant::now();
    let already = Duration::from_secs_f64(tell.elapsed());
    loop {
        let left = end.map(|end| end.saturating_sub(already + started.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(());
        }
        if interrupts.wait(left.map_or(TELL_EVERY, |left| left.min(TELL_EVERY)))? {
            return Ok(());
        }
        let mut stored = Vec::new();
        for firm in firms {
            let accounts = firm.accounts(plant)?;
            stored.push(format!("{} {}", firm.name_ko, accounts.iter().map(|one| one.stored.len()).sum::<usize>()));
        }
        tell.step("저장됨", "stored", &stored.join(" · "));
    }
}

/// Stops the plant and waits until everything that it served is stored.
fn settle(plant: &Plant, firms: &[Firm]) -> anyhow::Result<()> {
    for used in firms.iter().flat_map(|firm| &firm.uses) {
        plant.fault(&used.device.name, Fault::Absent)?;
    }
    // Not an error here: `compare` tells what is missing.
    let _ = wait_for("the spools to drain", Duration::from_secs(20), || {
        let agrees = |firm: &Firm| firm.accounts(plant).is_ok_and(|all| all.iter().all(Account::agrees));
        firms.iter().all(agrees).then_some(())
    });
    Ok(())
}

fn compare(tell: &Tell, plant: &Plant, firms: &[Firm], pulled: &Pulled) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for firm in firms {
        let accounts = firm.accounts(plant)?;
        let served: usize = accounts.iter().map(|account| account.served.len()).sum();
        let stored: usize = accounts.iter().map(|account| account.stored.len()).sum();
        let differing: Vec<&Account> = accounts.iter().filter(|account| !account.agrees()).collect();
        tell.step(
            if differing.is_empty() { "일치" } else { "불일치" },
            if differing.is_empty() { "agree" } else { "DIFFER" },
            &format!("{}served {served:>6} = stored {stored:>6}", pad(&firm.name(), 26)),
        );
        faults.extend(differing.iter().map(|account| {
            format!("{}: served {}, stored {}", account.series, account.served.len(), account.stored.len())
        }));
    }
    let owner = &firms[0].owner;
    let raw = owner.readings(&press_force(&firms[0]), pulled.from_us, pulled.to_us)?;
    let raw = raw.iter().filter(|reading| reading.value.is_some()).count() as u64;
    tell.step(
        if raw == pulled.count { "일치" } else { "불일치" },
        if raw == pulled.count { "agree" } else { "DIFFER" },
        &format!("{}means of {:>4} = stored {raw:>6} in the same time", pad("조회 pulled by firm B", 26), pulled.count),
    );
    if raw != pulled.count {
        faults.push(format!("firm B pulled means of {} readings, {raw} are stored", pulled.count));
    }
    ensure!(faults.is_empty(), "served, stored and pulled readings do not agree:\n  {}", faults.join("\n  "));
    ensure!(plant.truth().foreign_requests() == 0, "a gateway sent a machine something other than reads");
    Ok(())
}
