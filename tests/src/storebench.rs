//! Figures of the embedded store by itself, without a network: what a reading takes on disk,
//! and how a store of a billion readings starts and reads beside one of ten million.
//!
//! What it prints is one JSON line a figure. `tests/bench/` has the scripts that build it and
//! put figures side by side.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use sandan_ingest::store::sqlite::{Compaction, Options, SqliteReadings};

mod ask;
mod bytes;
mod fill;
pub(crate) mod plant;

#[derive(Parser)]
#[command(name = "storebench", about = "Figures of the embedded store by itself")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Fill a new store straight through its own interface, packing as it goes.
    Build {
        /// The data directory to make.
        dir: PathBuf,
        /// Readings altogether, one a second and series.
        #[arg(long, default_value_t = 10_000_000)]
        readings: u64,
        /// Series altogether, a hundred a firm.
        #[arg(long, default_value_t = 2_000)]
        series: u64,
    },
    /// Start a store that `build` made, and read from it.
    Ask {
        /// Its data directory.
        dir: PathBuf,
        /// How often each question is asked; the middle one counts.
        #[arg(long, default_value_t = 21)]
        times: usize,
    },
    /// What a reading takes on disk: of simulated machines, and of recordings.
    Bytes {
        /// Folders of recordings: `;`-separated files, packed or not, whose first column is a time.
        recordings: Vec<PathBuf>,
        /// Hours of the simulated machines, each polled once a second.
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
}

/// A store in which nothing is packed unless it is asked for.
fn open(dir: &Path) -> anyhow::Result<SqliteReadings> {
    let compaction =
        Compaction { check: None, readings: u64::MAX, bytes: u64::MAX, rows: u64::MAX, ..Compaction::default() };
    let options = Options { compaction, ..Options::default() };
    SqliteReadings::open(dir, options).with_context(|| format!("opening a store in {}", dir.display()))
}

/// Runs the program.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let ended = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match args.verb {
                Verb::Build { dir, readings, series } => fill::build(&dir, readings, series).await,
                Verb::Ask { dir, times } => ask::ask(&dir, times).await,
                Verb::Bytes { recordings, hours } => bytes::bytes(&recordings, hours).await,
            }
        })
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
