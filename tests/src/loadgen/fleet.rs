//! `loadgen fleet`: very many gateways that only report, and an operator who looks at them.
//!
//! Each has a session of its own over TLS and tells of its devices every heartbeat, as a
//! gateway does. Beside them the page *Now* is fetched again and again as a browser does, and
//! one is open while devices fail and come back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use sandan_gateway::clock;
use sandan_proto::v1::{self, gateway_frame::Frame, ingest_frame};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, watch};

use super::gateway::Entry;
use crate::harness::{Ingest, PATIENCE, Programs, wait_for};

/// Gateways of one firm.
const OF_A_FIRM: usize = 100;
/// Sessions that are being opened at once: the ingest bounds those that have said nothing yet.
const OPENING: usize = 16;
/// Commands that run at once.
const COMMANDS: usize = 4;
/// Frames on their way to the socket.
const OUTBOUND: usize = 4;
/// The device that fails.
const FAILS: usize = 3;

/// Very many gateways that report, and one page that shows them
#[derive(Debug, Clone, Parser)]
#[command(name = "loadgen fleet", version)]
pub struct FleetLoad {
    /// Gateways
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub gateways: usize,
    /// Devices of each
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub devices: usize,
    /// Between two reports of a gateway, seconds
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub heartbeat: u64,
    /// How often the page is fetched
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub looks: usize,
    /// Devices that fail, one after the other, while a page is open
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub changes: usize,
    /// Print JSON instead of sentences
    #[arg(long)]
    pub json: bool,
}

/// What it came to.
#[derive(Debug, Serialize)]
pub struct FleetFigures {
    /// Gateways that had a session and reported.
    pub gateways: usize,
    /// Devices that the service knows of.
    pub devices: usize,
    /// Until all sessions were open, seconds.
    pub opened_s: f64,
    /// Resident memory of the ingest without sessions, bytes.
    pub idle_bytes: u64,
    /// The same with all of them, after they have reported.
    pub full_bytes: u64,
    /// The page as it came.
    pub page_bytes: usize,
    /// From the request to the last byte, ms: half of all were faster.
    pub page_p50_ms: f64,
    /// The same, 99 of 100.
    pub page_p99_ms: f64,
    /// From a report of a failed device to the page that shows it, ms: the middle one.
    pub change_p50_ms: f64,
    /// The same, the slowest.
    pub change_most_ms: f64,
    /// Share of a core that the ingest took for the reports alone, with one page open.
    pub cores: f64,
}

impl std::fmt::Display for FleetFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let (idle, full) = (mb(self.idle_bytes), mb(self.full_bytes));
        writeln!(
            f,
            "{} gateways with {} devices reported, open in {:.0} s",
            self.gateways, self.devices, self.opened_s
        )?;
        writeln!(f, "memory of the ingest: {idle:.0} MB without sessions, {full:.0} MB with all of them")?;
        writeln!(f, "reports and one open page take {:.2} of a core", self.cores)?;
        let (p50, p99, kb) = (self.page_p50_ms, self.page_p99_ms, self.page_bytes as f64 / 1e3);
        writeln!(f, "the page: {p50:.1} ms (median), {p99:.1} ms (p99), {kb:.0} kB")?;
        write!(f, "a change is on it after {:.0} ms (median), {:.0} ms (most)", self.change_p50_ms, self.change_most_ms)
    }
}

/// Plays it against an ingest of its own.
pub fn play_fleet(programs: &Programs, load: &FleetLoad) -> anyhow::Result<FleetFigures> {
    let dir = tempfile::Builder::new().prefix("sandan-fleet-").tempdir()?;
    let further = format!("[fleet]\nheartbeat = \"{}s\"\n", load.heartbeat);
    let mut ingest = Ingest::with(programs, &dir.path().join("ingest"), &further)?;
    ingest.start()?;
    let ids: Vec<String> = (0..load.gateways).map(|at| format!("{}/g-{at}", firm(at))).collect();
    for at in (0..load.gateways).step_by(OF_A_FIRM) {
        ingest.add_firm(&firm(at), "부하", "Load")?;
    }
    let invitations = invite(&ingest, &ids)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut entries = Vec::new();
    for (at, invitation) in invitations.iter().enumerate() {
        entries.push(runtime.block_on(Entry::enroll(&dir.path().join(format!("g-{at}")), invitation))?);
    }
    // A fresh start: what the enrolments took is not what a service holds that runs.
    ensure!(ingest.terminate()?.success(), "the ingest did not end in order");
    ingest.start()?;
    let cookie = sign_in(ingest.http(), &ingest.command(&["operator", "add", "--name", "관제"])?)?;
    page(ingest.http(), &cookie)?;
    let id = ingest.id().context("the ingest runs")?;
    let idle_bytes = resident(id)?;

    let (failing, _) = watch::channel(None::<usize>);
    let (failing, open) = (Arc::new(failing), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let gate = Arc::new(Semaphore::new(OPENING));
    for (at, (entry, id)) in entries.into_iter().zip(ids.iter().cloned()).enumerate() {
        let reporter = Reporter { at, id, devices: load.devices, entry, failing: failing.subscribe() };
        runtime.spawn(reporter.run(gate.clone(), open.clone()));
    }
    let all = || (open.load(Ordering::Relaxed) == load.gateways).then_some(());
    let patience = PATIENCE + Duration::from_millis(50) * u32::try_from(load.gateways)?;
    wait_for("all sessions", patience, all)?;
    let opened_s = began.elapsed().as_secs_f64();
    let shown = || {
        let fleet: serde_json::Value = serde_json::from_str(&told(&ingest)?).ok()?;
        let views = fleet["views"].as_array()?;
        let devices = views.iter().filter_map(|view| view["links"].as_array()).map(Vec::len).sum();
        (devices == load.gateways * load.devices).then_some(devices)
    };
    let devices = wait_for("every device to be reported", patience, shown)?;
    // Two further reports of each, with a page open: what it takes to listen, and what is kept.
    let mut watcher = Watcher::open(ingest.http(), &cookie, String::new())?;
    let (before, from) = (crate::harness::process::cpu_seconds(id)?, Instant::now());
    std::thread::sleep(Duration::from_secs(2 * load.heartbeat));
    let cores = (crate::harness::process::cpu_seconds(id)? - before) / from.elapsed().as_secs_f64();
    let full_bytes = resident(id)?;

    let mut looks = Vec::with_capacity(load.looks);
    let mut page_bytes = 0;
    for _ in 0..load.looks {
        let began = Instant::now();
        page_bytes = page(ingest.http(), &cookie)?.len();
        looks.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let mut changes = Vec::with_capacity(load.changes);
    for at in 0..load.changes {
        // One that was never ill, so that its own page has to have changed.
        let (number, began) = (at % load.gateways, Instant::now());
        failing.send_replace(Some(number));
        watcher.change(ingest.http(), &cookie)?;
        let gateway = get(ingest.http(), &format!("/gateways/{}?lang=en", ids[number]), &cookie, false)?;
        ensure!(gateway.contains(&format!("plc-{FAILS} has not answered")), "the page does not show it:\n{gateway}");
        changes.push(began.elapsed().as_secs_f64() * 1e3);
        failing.send_replace(None);
        watcher.change(ingest.http(), &cookie)?;
    }
    looks.sort_by(f64::total_cmp);
    changes.sort_by(f64::total_cmp);
    let share = |of: &[f64], percent: usize| of.get(of.len() * percent / 100).or(of.last()).copied().unwrap_or(0.0);
    runtime.shutdown_background();
    ensure!(ingest.terminate()?.success(), "the ingest did not end in order");
    Ok(FleetFigures {
        gateways: load.gateways,
        devices,
        opened_s,
        idle_bytes,
        full_bytes,
        page_bytes,
        page_p50_ms: share(&looks, 50),
        page_p99_ms: share(&looks, 99),
        change_p50_ms: share(&changes, 50),
        change_most_ms: share(&changes, 100),
        cores,
    })
}

fn firm(at: usize) -> String {
    format!("firm-{}", at / OF_A_FIRM)
}

/// The invitation of each.
fn invite(ingest: &Ingest, ids: &[String]) -> anyhow::Result<Vec<String>> {
    let size = ids.len().div_ceil(COMMANDS).max(1);
    let of = |ids: &[String]| ids.iter().map(|id| ingest.add_gateway(id)).collect::<anyhow::Result<Vec<_>>>();
    let all: anyhow::Result<Vec<Vec<String>>> = std::thread::scope(|scope| {
        let running: Vec<_> = ids.chunks(size).map(|ids| scope.spawn(move || of(ids))).collect();
        running.into_iter().map(|it| it.join().map_err(|_| anyhow::anyhow!("a command panicked"))?).collect()
    });
    Ok(all?.concat())
}

/// What `fleet` says; its exit code tells that something is wrong.
fn told(ingest: &Ingest) -> Option<String> {
    ingest.command(&["--json", "fleet"]).ok()
}

/// Resident memory of a process, bytes.
fn resident(id: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("/proc tells no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// A gateway that has nothing to send but reports.
struct Reporter {
    at: usize,
    id: String,
    devices: usize,
    entry: Entry,
    /// Whose device fails now.
    failing: watch::Receiver<Option<usize>>,
}

impl Reporter {
    async fn run(mut self, gate: Arc<Semaphore>, open: Arc<AtomicUsize>) {
        // A lost session would be a figure of nothing: `open` says how many there are.
        if let Err(error) = self.session(&gate, &open).await {
            tracing::warn!(gateway = self.id, error = format!("{error:#}"), "a session ended");
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn session(&mut self, gate: &Semaphore, open: &AtomicUsize) -> anyhow::Result<()> {
        open.fetch_add(1, Ordering::Relaxed);
        let permit = gate.acquire().await?;
        open.fetch_sub(1, Ordering::Relaxed);
        let (out, frames) = mpsc::channel(OUTBOUND);
        let send = async |frame| out.send(v1::GatewayFrame { frame: Some(frame) }).await.context("the line is gone");
        send(Frame::Hello(self.hello())).await?;
        let mut inbound = self.entry.open(frames).await?;
        let first = inbound.message().await?.and_then(|frame| frame.frame);
        let Some(ingest_frame::Frame::Welcome(welcome)) = first else { bail!("no Welcome came") };
        drop(permit);
        open.fetch_add(1, Ordering::Relaxed);
        let mut beat = tokio::time::interval(Duration::from_millis(welcome.heartbeat_ms.into()));
        let mut is_ill = false;
        loop {
            tokio::select! {
                _ = beat.tick() => send(Frame::Health(self.report(is_ill))).await?,
                changed = self.failing.changed() => {
                    changed.context("it is over")?;
                    let now = *self.failing.borrow_and_update() == Some(self.at);
                    if std::mem::replace(&mut is_ill, now) != now {
                        send(Frame::Health(self.report(is_ill))).await?;
                    }
                }
                frame = inbound.message() => drop(frame?.context("the ingest closed the line")?),
            }
        }
    }

    fn hello(&self) -> v1::Hello {
        v1::Hello {
            gateway: self.id.clone(),
            boot_id: vec![1; 16],
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: sandan_proto::PROTOCOL_VERSION,
            config_hash: vec![0; 32],
            wall_time_us: clock::wall_us(),
            ..v1::Hello::default()
        }
    }

    fn report(&self, is_ill: bool) -> v1::Health {
        let link = |at: usize| {
            let is_down = is_ill && at == FAILS.min(self.devices - 1);
            let state = if is_down { v1::LinkState::Down } else { v1::LinkState::Up };
            v1::LinkHealth {
                device: format!("plc-{at}"),
                endpoint: format!("modbus-tcp 192.168.0.{at}:502"),
                state: state.into(),
                fault: if is_down { "no answer within 1000 ms".into() } else { String::new() },
                polls_total: 100_000,
                success_permille_5min: 1_000,
                latency_p99_ms: 8,
                last_good_age_ms: Some(200),
                interval_ms: 1_000,
                signals: Some(v1::SignalCounts { good: 20, ..v1::SignalCounts::default() }),
                ..v1::LinkHealth::default()
            }
        };
        v1::Health {
            wall_time_us: clock::wall_us(),
            uptime_ms: 1_000_000,
            spool: Some(v1::SpoolHealth { bytes_cap: 1 << 30, ..v1::SpoolHealth::default() }),
            links: (0..self.devices).map(link).collect(),
            ..v1::Health::default()
        }
    }
}

/// The cookie of a browser that signed in with a token.
fn sign_in(at: SocketAddr, token: &str) -> anyhow::Result<String> {
    let form = format!("token={}", token.trim());
    let mut connection = TcpStream::connect(at)?;
    write!(
        connection,
        "POST /sign-in HTTP/1.1\r\nhost: {at}\r\norigin: http://{at}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next());
    cookie.map(str::to_owned).with_context(|| format!("no cookie came: {answer}"))
}

/// *Now* as a browser gets it, head and all.
fn page(at: SocketAddr, cookie: &str) -> anyhow::Result<Vec<u8>> {
    let answer = asked(at, "/", cookie, true)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..answer.len().min(500)]));
    Ok(answer)
}

fn get(at: SocketAddr, path: &str, cookie: &str, compressed: bool) -> anyhow::Result<String> {
    Ok(String::from_utf8(asked(at, path, cookie, compressed)?)?)
}

fn asked(at: SocketAddr, path: &str, cookie: &str, compressed: bool) -> anyhow::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(at)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let encoding = if compressed { "accept-encoding: gzip\r\n" } else { "" };
    write!(connection, "GET {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n{encoding}cookie: {cookie}\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    Ok(answer)
}

/// A page that is open: told by the server when something changed.
struct Watcher {
    lines: std::io::Lines<BufReader<TcpStream>>,
    /// What was told last, as a browser says it when it comes again.
    id: String,
}

impl Watcher {
    fn open(at: SocketAddr, cookie: &str, id: String) -> anyhow::Result<Self> {
        let mut connection = TcpStream::connect(at)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let last = if id.is_empty() { String::new() } else { format!("last-event-id: {id}\r\n") };
        let head = format!("GET /live HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n{last}cookie: {cookie}\r\n\r\n");
        connection.write_all(head.as_bytes())?;
        let mut lines = BufReader::new(connection).lines();
        let status = lines.next().context("no answer")??;
        ensure!(status.contains(" 200"), "the page cannot be followed: {status}");
        Ok(Self { lines, id })
    }

    /// Waits for the next change and fetches the page. A stream that ended is opened again, as a browser
    /// does, and tells what changed meanwhile.
    fn change(&mut self, at: SocketAddr, cookie: &str) -> anyhow::Result<()> {
        loop {
            match self.lines.next().transpose()? {
                Some(line) if line.starts_with("event: change") => {
                    page(at, cookie)?;
                    return Ok(());
                }
                Some(line) => {
                    if let Some(id) = line.strip_prefix("id: ") {
                        id.clone_into(&mut self.id);
                    }
                }
                None => *self = Self::open(at, cookie, std::mem::take(&mut self.id))?,
            }
        }
    }
}
