//! What the ingest takes: readings a second from gateways' sessions to the acknowledgement, with
//! each store, beside a bare copy of the same rows into the same table.
//!
//! Every run starts an ingest of its own on an empty store, and for PostgreSQL a server of its
//! own as `initdb` sets it up. What it prints is one JSON line a run. `tests/bench/stores.sh`
//! builds it.

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::{Value as Json, json};

use crate::chance::{asked_seed, fresh_seed};
use crate::harness::{Programs, become_program};
use crate::loadgen::{Load, play_beside};
use crate::servers::{self, Server};

mod bare;

#[derive(Parser)]
#[command(name = "commitbench", about = "What the ingest takes with each store")]
struct Args {
    /// Only this store; all where none is named, of TimescaleDB only a native one.
    #[arg(long)]
    store: Option<Store>,
    /// Readings of a run with the embedded store.
    #[arg(long, default_value_t = 60_000_000)]
    readings: u64,
    /// Readings of a run with a database.
    #[arg(long, default_value_t = 8_000_000)]
    rows: u64,
    /// Gateways that send.
    #[arg(long, default_value_t = 4)]
    gateways: usize,
    /// Series of each.
    #[arg(long, default_value_t = 250)]
    signals: usize,
    /// Runs of each store.
    #[arg(long, default_value_t = 3)]
    times: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    Sqlite,
    Postgres,
    Timescale,
}

impl Args {
    fn load(&self, readings: u64, postgres: Option<&str>) -> Load {
        let args = ["loadgen", "--rate", "10"];
        let (gateways, signals) = (self.gateways, self.signals);
        Load {
            gateways,
            signals,
            resend: 0,
            unpaced: Some(readings),
            postgres: postgres.map(str::to_owned),
            ..Load::parse_from(args)
        }
    }
}

/// Runs it, or the program that the first argument names.
pub fn main() -> ExitCode {
    if let Some(code) = become_program(std::env::args_os()) {
        return code;
    }
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let is_asked = |store: Store| args.store.is_none_or(|only| only == store);
    if is_asked(Store::Sqlite) {
        for _ in 0..args.times {
            say("sqlite", &ingest(args, args.readings, None, &|| Ok(None))?, &Json::Null);
        }
    }
    if is_asked(Store::Postgres) {
        let server = Server::start();
        // Whoever comes first makes the files of the server's log; those who come after use them.
        ingest(args, args.rows, Some(server.database().dsn()), &|| Ok(None))?;
        for _ in 0..args.times {
            on_database(args, "postgres", &server.database(), Some(server.directory()))?;
        }
    }
    if is_asked(Store::Timescale) && servers::is_native_timescale() {
        ingest(args, args.rows, Some(servers::timescale().dsn()), &|| Ok(None))?;
        for _ in 0..args.times {
            on_database(args, "timescale", &servers::timescale(), None)?;
        }
    }
    Ok(())
}

/// CPU seconds that a database has used so far, where that is known.
type Cpu<'a> = dyn Fn() -> anyhow::Result<Option<f64>> + 'a;

/// One run with a database, and the same rows once more without an ingest. `directory` is the
/// server's, where its processes are seen from here.
fn on_database(args: &Args, name: &str, database: &servers::Database, directory: Option<&Path>) -> anyhow::Result<()> {
    let server = directory.map(bare::Server::of).transpose()?;
    database.sql("CHECKPOINT");
    let cpu = || server.as_ref().map(bare::Server::cpu_seconds).transpose();
    let mut figures = ingest(args, args.rows, Some(database.dsn()), &cpu)?;
    let copied = bare::copy_again(database, server.as_ref())?;
    let share = |key: &str| figures[key].as_f64().zip(copied[key].as_f64()).map(|(ours, bare)| ours / bare);
    figures["share_of_bare_copy"] = share("readings_per_second").into();
    say(name, &figures, &copied);
    Ok(())
}

fn ingest(args: &Args, readings: u64, postgres: Option<&str>, cpu: &Cpu<'_>) -> anyhow::Result<Json> {
    let seed = asked_seed().unwrap_or_else(fresh_seed);
    let figures = play_beside(&Programs::own()?, &args.load(readings, postgres), seed, cpu)?;
    Ok(serde_json::to_value(figures)?)
}

fn say(store: &str, ingest: &Json, bare_copy: &Json) {
    println!("{}", json!({ "store": store, "ingest": ingest, "bare_copy": bare_copy }));
}
