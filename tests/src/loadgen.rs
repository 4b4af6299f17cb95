//! `loadgen`: N simulated gateways against one ingest over the real wire.
//!
//! Each gateway seals a batch a second, sends it under the ingest's credits, sends some
//! again although they were acknowledged, and goes on where it was after a lost
//! connection. What it made up is what the oracle compares with what is stored. It has no
//! spool: a batch lives in memory until it is acknowledged.
//!
//! Unpaced, everything is sealed before the clock starts, ten readings a column, and then sent
//! as fast as the credits allow, straight to the ingest: what the ingest can take.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use sandan_gateway::clock;
use serde::Serialize;

use crate::chance::{asked_seed, fresh_seed};
use crate::harness::http::Series;
use crate::harness::process::cpu_seconds;
use crate::harness::{Ingest, PATIENCE, Programs, become_program};
use crate::oracle::ask::Readers;
use crate::oracle::{Row, Source, Sum};
use crate::proxy::Proxy;

pub mod fleet;
pub(crate) mod gateway;

use fleet::{FleetLoad, play_fleet};
use gateway::{Generator, Made};

const FIRM: &str = "load";
/// Readings a second of the slowest ingest that is waited for.
const SLOWEST: u64 = 20_000;
/// Readings and bytes a second that no firm sends: an unpaced one is not to be held back.
const NO_QUOTA: &str = "[quota]\nreadings_per_s = 1000000000\nbytes_per_s = 10000000000\n";

/// An interruption: begins after so many seconds and lasts so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interruption {
    after: Duration,
    lasts: Duration,
}

impl FromStr for Interruption {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(after, lasts)| Some((after.parse().ok()?, lasts.parse().ok()?)));
        let (after, lasts) = parsed.ok_or("write AFTER:LASTS in seconds: 10:5")?;
        Ok(Self { after: Duration::from_secs(after), lasts: Duration::from_secs(lasts) })
    }
}

/// N simulated gateways against one ingest that is started for it
#[derive(Debug, Clone, Parser)]
#[command(name = "loadgen", version)]
pub struct Load {
    /// Gateways
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub gateways: usize,
    /// Signals of each, beside its serial number
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub signals: usize,
    /// Readings of a signal a second
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// How long new readings come
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub seconds: u64,
    /// So many readings altogether, as fast as the ingest takes them; they are not read back
    #[arg(long, value_name = "READINGS", conflicts_with_all = ["seconds", "outage", "kill", "resend"])]
    pub unpaced: Option<u64>,
    /// The line is down: AFTER:LASTS in seconds; may be repeated
    #[arg(long, value_name = "AFTER:LASTS")]
    pub outage: Vec<Interruption>,
    /// The ingest keeps everything in this PostgreSQL database, an empty one: `host=… user=… dbname=…`
    #[arg(long, value_name = "DSN")]
    pub postgres: Option<String>,
    /// Processes of the ingest on that database, behind a balancer
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub processes: u8,
    /// The first process is killed: AFTER:LASTS in seconds; may be repeated
    #[arg(long, value_name = "AFTER:LASTS")]
    pub kill: Vec<Interruption>,
    /// Batches in a hundred that are sent again although they were acknowledged
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(..=100))]
    pub resend: u8,
    /// Do not read everything back
    #[arg(long)]
    pub no_sum: bool,
    /// Print JSON instead of sentences
    #[arg(long)]
    pub json: bool,
}

/// What it came to.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Acknowledged, a second of the time until the last was.
    pub readings_per_second: f64,
    /// Readings that were acknowledged.
    pub acknowledged: u64,
    /// From the sealing of a batch to its acknowledgement, ms.
    pub ack_p50_ms: f64,
    /// The same, 99 of 100.
    pub ack_p99_ms: f64,
    /// Readings sent again that the ingest had, as it says.
    pub duplicates: u64,
    /// Sessions beyond the first of each gateway.
    pub reconnects: u64,
    /// CPU of all gateways together, seconds a million readings.
    pub cpu_gateways_s_per_million: f64,
    /// CPU of the ingest, all its processes together but for what was killed, seconds a million readings.
    pub cpu_ingest_s_per_million: f64,
    /// CPU of the database's server, the same; none where nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_database_s_per_million: Option<f64>,
    /// generated, stored, in gaps, dead-lettered, lost, doubled, changed; none with `--no-sum`.
    pub sum: Option<Sum>,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:.0} readings/s acknowledged ({} in all)", self.readings_per_second, self.acknowledged)?;
        writeln!(f, "acknowledged after {:.0} ms (median), {:.0} ms (p99)", self.ack_p50_ms, self.ack_p99_ms)?;
        writeln!(
            f,
            "CPU a million readings: {:.3} s the gateways, {:.3} s the ingest",
            self.cpu_gateways_s_per_million, self.cpu_ingest_s_per_million
        )?;
        write!(f, "{} duplicate readings, {} reconnects", self.duplicates, self.reconnects)?;
        self.sum.as_ref().map_or(Ok(()), |sum| write!(f, "\n{sum}"))
    }
}

/// Runs it, or the program that the first argument names.
pub fn main() -> ExitCode {
    if let Some(code) = become_program(std::env::args_os()) {
        return code;
    }
    let args: Vec<_> = std::env::args_os().collect();
    if args.get(1).is_some_and(|arg| arg == "fleet") {
        return fleet_main(&args[1..]);
    }
    let load = Load::parse();
    let run = || -> anyhow::Result<bool> {
        let seed = asked_seed().unwrap_or_else(fresh_seed);
        eprintln!("SANDAN_SEED={seed}");
        let figures = play(&Programs::own()?, &load, seed)?;
        if load.json {
            println!("{}", serde_json::to_string(&figures)?);
        } else {
            println!("{figures}");
        }
        Ok(figures.sum.is_none_or(|sum| sum.is_exact()))
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn fleet_main(args: &[std::ffi::OsString]) -> ExitCode {
    let load = FleetLoad::parse_from(args);
    match Programs::own().and_then(|programs| play_fleet(&programs, &load)) {
        Ok(figures) if load.json => println!("{}", serde_json::json!(figures)),
        Ok(figures) => println!("{figures}"),
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Plays it against an ingest of its own.
pub fn play(programs: &Programs, load: &Load, seed: u64) -> anyhow::Result<Figures> {
    play_beside(programs, load, seed, &|| Ok(None))
}

/// The same, and asks beside it what CPU seconds a database has used so far, where that is known.
pub(crate) fn play_beside(
    programs: &Programs,
    load: &Load,
    seed: u64,
    database: &dyn Fn() -> anyhow::Result<Option<f64>>,
) -> anyhow::Result<Figures> {
    let dir = tempfile::Builder::new().prefix("sandan-load-").tempdir()?;
    let mut ingests = start_ingests(programs, dir.path(), load)?;
    let ingest = &ingests[0];
    ingest.add_firm(FIRM, "부하", "Load")?;
    let proxy = Proxy::balance(ingests.iter().map(Ingest::uplink).collect(), seed)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut generators = Vec::new();
    // A line that never fails needs no proxy, which would take a core of its own.
    let line = if load.unpaced.is_some() { ingest.uplink() } else { proxy.address() };
    for number in 0..load.gateways {
        let id = format!("{FIRM}/g-{number}");
        let invitation = ingest.add_gateway_through(&id, line)?;
        let state = dir.path().join(format!("g-{number}"));
        let entry = runtime.block_on(gateway::Entry::enroll(&state, &invitation))?;
        let mut generator = Generator::new(&id, entry, load, seed.wrapping_add(number as u64))?;
        if let Some(readings) = load.unpaced {
            generator.stock_up(readings / load.gateways as u64);
        }
        generators.push(generator);
    }
    // Of one that is never killed.
    let owner = ingests[ingests.len() - 1].asker(&ingest.add_member(FIRM, "김하늘")?);

    let (before, database_before) = (Cpu::now(&ingests)?, database()?);
    let began = Instant::now();
    let seconds = if load.unpaced.is_some() { 0 } else { load.seconds };
    let made: Vec<Made> = runtime.block_on(async {
        let until = clock::monotonic_us() + i64::try_from(seconds)?.saturating_mul(1_000_000);
        let tasks: Vec<_> = generators.into_iter().map(|generator| tokio::spawn(generator.run(until))).collect();
        let line = async {
            let mut outages = load.outage.clone();
            outages.sort_by_key(|outage| outage.after);
            for outage in outages {
                tokio::time::sleep_until((began + outage.after).into()).await;
                proxy.set_down(true);
                tokio::time::sleep(outage.lasts).await;
                proxy.set_down(false);
            }
            std::future::pending::<()>().await;
        };
        let kills = async {
            let mut kills = load.kill.clone();
            kills.sort_by_key(|kill| kill.after);
            for kill in kills {
                tokio::time::sleep_until((began + kill.after).into()).await;
                ingests[0].kill();
                tokio::time::sleep(kill.lasts).await;
                ingests[0].start()?;
            }
            std::future::pending::<anyhow::Result<()>>().await
        };
        let limit = Duration::from_secs(seconds)
            + Duration::from_secs(load.unpaced.unwrap_or(0) / SLOWEST)
            + load.outage.iter().chain(&load.kill).map(|it| it.lasts).sum::<Duration>()
            + PATIENCE;
        let all = async {
            let mut made = Vec::new();
            for task in tasks {
                made.push(task.await.context("a simulated gateway failed")??);
            }
            anyhow::Ok(made)
        };
        tokio::select! {
            made = tokio::time::timeout(limit, all) => made.context("not everything was acknowledged in time")?,
            () = line => unreachable!("the line never ends"),
            failed = kills => failed.and_then(|()| anyhow::bail!("the kills never end")),
        }
    })?;
    let took = began.elapsed();
    let used = before.until(&Cpu::now(&ingests)?);
    let used_by_database = database()?.zip(database_before).map(|(after, before)| after - before);

    let mut delays: Vec<f64> = made.iter().flat_map(|made| made.delays_ms.iter().copied()).collect();
    delays.sort_by(f64::total_cmp);
    let at = |share: usize| delays.get(delays.len() * share / 100).or(delays.last()).copied().unwrap_or(0.0);
    let acknowledged: u64 = made.iter().map(|made| made.acknowledged).sum();
    let per_million = |seconds: f64| seconds * 1e6 / acknowledged.max(1) as f64;
    let [cpu_gateways, cpu_ingest] = used.map(per_million);
    let mut figures = Figures {
        readings_per_second: acknowledged as f64 / took.as_secs_f64(),
        acknowledged,
        ack_p50_ms: at(50),
        ack_p99_ms: at(99),
        duplicates: made.iter().map(|made| made.duplicates).sum(),
        reconnects: made.iter().map(|made| made.sessions.saturating_sub(1)).sum(),
        cpu_gateways_s_per_million: cpu_gateways,
        cpu_ingest_s_per_million: cpu_ingest,
        cpu_database_s_per_million: used_by_database.map(per_million),
        sum: None,
    };
    if !load.no_sum && load.unpaced.is_none() {
        figures.sum = Some(readers(made).case(&owner, FIRM)?.sum());
    }
    for ingest in &mut ingests {
        anyhow::ensure!(ingest.terminate()?.success(), "the ingest did not end in order");
    }
    Ok(figures)
}

/// The processes of the ingest, which share a database where there are several.
fn start_ingests(programs: &Programs, dir: &Path, load: &Load) -> anyhow::Result<Vec<Ingest>> {
    let store = match &load.postgres {
        Some(dsn) => format!("[store]\nengine = \"postgres\"\nurl = \"{dsn}\"\n"),
        None if load.processes > 1 => anyhow::bail!("several processes need --postgres"),
        None => String::new(),
    };
    let quota = if load.unpaced.is_some() { NO_QUOTA } else { "" };
    let further = format!("{store}{quota}");
    let mut ingests = Vec::<Ingest>::new();
    for number in 0..load.processes {
        let mut ingest = Ingest::with(programs, &dir.join(format!("ingest-{number}")), &further)?;
        if let Some(first) = ingests.first() {
            first.share_authority(&ingest)?;
        }
        ingest.start()?;
        ingests.push(ingest);
    }
    Ok(ingests)
}

/// CPU seconds: of this process, which is all gateways, and of each process of the ingest.
struct Cpu(f64, BTreeMap<u32, f64>);

impl Cpu {
    fn now(ingests: &[Ingest]) -> anyhow::Result<Self> {
        let of = |id: u32| Ok((id, cpu_seconds(id)?));
        let ingests = ingests.iter().filter_map(Ingest::id).map(of).collect::<anyhow::Result<_>>()?;
        Ok(Self(cpu_seconds(std::process::id())?, ingests))
    }
    /// What the gateways and the ingest used until then.
    fn until(&self, then: &Self) -> [f64; 2] {
        let ingests = then.1.iter().map(|(id, used)| used - self.1.get(id).unwrap_or(&0.0));
        [then.0 - self.0, ingests.sum()]
    }
}

/// What all of them made up, as the oracle takes it.
fn readers(made: Vec<Made>) -> Readers {
    let (mut series, mut sources, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for made in made {
        let (source, first) = (sources.len(), series.len());
        sources.push(Source { name: made.asset.clone(), serial: first, repeats: false });
        series.extend(made.metrics.iter().map(|metric| Series::new(FIRM, &made.asset, metric)));
        rows.extend(made.rows.into_iter().map(|(serial, at_us, values)| {
            let values = values.into_iter().enumerate().map(|(at, value)| (first + 1 + at, value)).collect();
            Row { source, serial, at_us, values }
        }));
    }
    Readers::made(series, sources, rows)
}
