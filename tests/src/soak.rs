//! The long tests: `tests/soak.sh NAME`. Each has a short form among the e2e tests.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};

use crate::apifuzz;
use crate::chance::{asked_seed, fresh_seed};
use crate::faults;
use crate::harness::{Programs, become_program};
use crate::kills;
use crate::ordeal::{self, Ordeal};
use crate::outage::{self, Outage};
use crate::runs::Until;
use crate::sharing;

/// The long tests.
#[derive(Debug, Parser)]
#[command(name = "soak", version)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Seeded runs of one or two faults each; the sum has to be exact in all
    Faults {
        /// So many runs
        #[arg(long, value_name = "N", conflicts_with = "minutes")]
        runs: Option<u64>,
        /// As many as there is time for
        #[arg(long, value_name = "N")]
        minutes: Option<u64>,
        /// Runs at once
        #[arg(long, value_name = "N", default_value_t = cores())]
        jobs: usize,
        /// Tell what was done in each run
        #[arg(long)]
        notes: bool,
        /// Write the table into docs/reliability.md and its Korean page
        #[arg(long)]
        write: bool,
    },
    /// The ingest is killed at every step of packing, retention, new layouts, backup and restore;
    /// nothing is lost, nothing is doubled
    Store {
        /// So many runs
        #[arg(long, value_name = "N", conflicts_with = "minutes")]
        runs: Option<u64>,
        /// As many as there is time for
        #[arg(long, value_name = "N")]
        minutes: Option<u64>,
        /// Runs at once
        #[arg(long, value_name = "N", default_value_t = cores())]
        jobs: usize,
        /// Make a store as this build lays it out instead, for the tests of later builds
        #[arg(long, value_name = "DIR", conflicts_with_all = ["runs", "minutes"])]
        preserve: Option<PathBuf>,
    },
    /// The ingest is away; live readings stay fresh while the backlog drains
    Outage {
        /// For how long it is away
        #[arg(long, value_name = "N", default_value_t = 10)]
        minutes: u64,
        /// Readings a second
        #[arg(long, value_name = "N", default_value_t = 5000)]
        rate: u64,
    },
    /// schemathesis asks the API whatever its document lets it ask: no 5xx, no undocumented status
    Api {
        /// For how long
        #[arg(long, value_name = "N", default_value_t = 10)]
        minutes: u64,
        /// One that has schemathesis
        #[arg(
            long,
            value_name = "FILE",
            env = "SANDAN_INTEROP_PYTHON",
            default_value = "target/interop-venv/bin/python"
        )]
        python: PathBuf,
    },
    /// Members read, agree and revoke at random: no cell without cover, none withheld, all in the log
    Sharing {
        /// How long
        #[arg(long, value_name = "N", default_value_t = 10)]
        minutes: u64,
        /// At two processes on one PostgreSQL database, over HTTP alone
        #[arg(long)]
        processes: bool,
    },
    /// A plant in which everything goes wrong: no wrong value, no leak, everybody back in time,
    /// and nothing but reading is asked for
    Plant {
        /// How long
        #[arg(long, value_name = "N", default_value_t = 60)]
        minutes: u64,
    },
}

/// How old the newest stored reading may be while a backlog drains, 99 times of 100.
pub const LIVE_MS: i64 = 2_000;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs a long test, or the program that the first argument names.
pub fn main() -> ExitCode {
    if let Some(code) = become_program(std::env::args_os()) {
        return code;
    }
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<bool> {
    let programs = Programs::own()?;
    if let What::Outage { minutes, rate } = args.what {
        let figures = outage::play(&programs, Outage { rate, away: Duration::from_mins(minutes) })?;
        println!("{figures}");
        let is_live = figures.live_age_p99_ms < LIVE_MS;
        if !is_live {
            eprintln!("live readings were later than {LIVE_MS} ms");
        }
        return Ok(is_live && figures.sum.is_exact());
    }
    let seed = asked_seed().unwrap_or_else(fresh_seed);
    eprintln!("SANDAN_SEED={seed}");
    if let What::Plant { minutes } = args.what {
        let length = Duration::from_mins(minutes);
        let figures = ordeal::play(&programs, Ordeal { length, seed, hurry: 1 }, |line| eprintln!("{line}"))?;
        println!("{figures}");
        return Ok(figures.is_good());
    }
    if let What::Api { minutes, ref python } = args.what {
        return fuzz(&programs, python, seed, minutes);
    }
    if let What::Sharing { minutes, processes } = args.what {
        let dir = tempfile::Builder::new().prefix("sandan-sharing-").tempdir()?;
        let until = sharing::Until::Time(Instant::now() + Duration::from_mins(minutes));
        let stage = if processes { sharing::Stage::Processes(&programs) } else { sharing::Stage::Files };
        let figures = sharing::play(stage, dir.path(), seed, until, |line| eprintln!("{line}"))?;
        println!("{figures}");
        return Ok(figures.is_good());
    }
    let until = |runs: Option<u64>, minutes: Option<u64>| match (runs, minutes) {
        (Some(runs), _) => Until::Runs(runs),
        (None, minutes) => Until::Time(Instant::now() + Duration::from_mins(minutes.unwrap_or(1))),
    };
    match args.what {
        What::Store { preserve: Some(ref dir), .. } => kills::layouts::preserve(&programs, dir, seed).map(|()| true),
        What::Store { runs, minutes, jobs, preserve: None } => {
            let table = kills::run_many(&programs, seed, until(runs, minutes), jobs, |ended| eprintln!("{ended}"));
            println!("{table}");
            if !table.bad.is_empty() {
                eprintln!("seeds {:?} were wrong", table.bad);
            }
            Ok(table.bad.is_empty())
        }
        What::Faults { runs, minutes, jobs, notes, write } => {
            let until = until(runs, minutes);
            let table = faults::run_many(&programs, (seed, 1), until, jobs, |ended| {
                let verdict = if ended.is_good() { "exact" } else { "WRONG" };
                eprintln!("{verdict} {ended}");
                if notes {
                    eprintln!("{}", ended.notes);
                }
            });
            print!("{}", table.to_markdown(faults::table::Language::English, seed));
            if write {
                table.write(&root(), seed)?;
            }
            if !table.bad.is_empty() {
                eprintln!("{} of {} runs were wrong; seeds {:?}", table.bad.len(), table.runs, table.bad);
            }
            Ok(table.bad.is_empty())
        }
        What::Outage { .. } | What::Plant { .. } | What::Api { .. } | What::Sharing { .. } => Ok(true),
    }
}

/// Rounds of some thousand requests each, every one on an ingest of its own and from the next
/// seed.
fn fuzz(programs: &Programs, python: &Path, seed: u64, minutes: u64) -> anyhow::Result<bool> {
    /// Made up for each operation and asker.
    const EXAMPLES: u32 = 200;
    let end = Instant::now() + Duration::from_mins(minutes);
    let mut is_good = true;
    for round in 0.. {
        let dir = tempfile::Builder::new().prefix("sandan-api-").tempdir()?;
        let extent = apifuzz::Extent { seed: seed.wrapping_add(round), examples: EXAMPLES };
        let figures = apifuzz::play(programs, dir.path(), python, extent)?;
        println!("{figures}");
        is_good &= figures.is_good();
        if Instant::now() >= end {
            break;
        }
    }
    Ok(is_good)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
