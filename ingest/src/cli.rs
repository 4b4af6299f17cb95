//! The command line. Data on standard output, talk on standard error; exit 0 done,
//! 1 failed, 2 wrong usage or configuration.

mod alerts;
mod args;
mod audit;
mod dead_letters;
mod fleet;
mod print;
mod rules;
mod share;
mod upkeep;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use self::args::{Args, Verb};
use crate::admin::dead_letters::Chosen;
use crate::admin::{Answer, Command, Refused};
use crate::client::ClientError;
use crate::config::{Config, Faults};
use crate::run::{self, Door, RunError};

/// Exit code of wrong usage or a wrong configuration, as clap's own.
const USAGE: u8 = 2;
/// How long a piece of work that hangs on a disk is waited for once the service has ended.
const LEFT_BEHIND: std::time::Duration = std::time::Duration::from_secs(1);

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(Faults),
    #[error("no configuration is named\n  hint: name it with --config FILE or SANDAN_INGEST_CONFIG")]
    NoConfig,
    #[error("{0}\n  hint: see --help")]
    Usage(String),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{0} receivers did not take the message\n  hint: each is named above, with its reason")]
    NotTaken(usize),
    #[error("{0} flaws in what is stored\n  hint: each is named above, with what to do")]
    Flawed(usize),
    #[error("something is wrong at {0} places\n  hint: what is worst stands first; docs/fleet.md says what to do")]
    Unwell(usize),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// Runs `sandan-ingest` with `args`, the first of which is the program's name.
pub fn main(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output had enough, as `head` does.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", told(&failure));
            let usage = matches!(failure, Failure::Config(_) | Failure::NoConfig | Failure::Usage(_));
            ExitCode::from(if usage { USAGE } else { 1 })
        }
    }
}

/// The failure with its causes, and a hint.
fn told(failure: &Failure) -> String {
    match failure {
        Failure::Config(faults) => faults.to_string(),
        Failure::Refused(Refused { message, hint }) if hint.is_empty() => format!("error: {message}"),
        Failure::Refused(Refused { message, hint }) => format!("error: {message}\n  hint: {hint}"),
        Failure::Client(ClientError::Refused { status, code, title, detail }) => {
            // Without a page of its own it was not the service that answered.
            let page = if code.parse::<u16>().is_ok() {
                String::new()
            } else {
                format!("\n  hint: its page is /errors/{code} of the service")
            };
            format!("error: {}: {} ({status} {code}){page}", plain(title), plain(detail))
        }
        other => {
            let mut parts = vec![format!("error: {other}")];
            let mut cause = std::error::Error::source(other);
            while let Some(error) = cause {
                let shown = error.to_string();
                // A transparent error repeats its source.
                if !parts.iter().any(|part| part.ends_with(&shown)) {
                    parts.push(shown);
                }
                cause = error.source();
            }
            parts.join(": ")
        }
    }
}

/// Without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().filter(|sign| !sign.is_control()).collect()
}

fn run(args: Args) -> Result<(), Failure> {
    if let Some(kept) = args.verb.offline() {
        return Ok(print::held(&mut io::stdout().lock(), &audit::verify(kept)?, args.json)?);
    }
    let args = match args {
        Args { verb: Verb::Share(share), json, .. } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            return runtime.block_on(share.run(json, crate::time::system_clock()()));
        }
        Args { verb: Verb::Completions { shell }, .. } => {
            // Made whole first: the maker ends the process where its output ends.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "sandan-ingest", &mut script);
            return Ok(io::stdout().lock().write_all(&script)?);
        }
        args => args,
    };
    let file = args.config.ok_or(Failure::NoConfig)?;
    let config = Config::load(&file).map_err(Failure::Config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let json = args.json;
    match args.verb {
        Verb::Serve => {
            log_to_stderr();
            let ended = runtime.block_on(run::serve(&config));
            // A disk that hangs must not hold the end up; what was acknowledged is synced.
            runtime.shutdown_timeout(LEFT_BEHIND);
            Ok(ended?)
        }
        Verb::Check { deep } => {
            let report = runtime.block_on(run::check(&config, deep))?;
            print::report(&mut io::stdout().lock(), &report, json)?;
            match report.deep.map_or(0, |found| found.flaws.len()) {
                0 => Ok(()),
                flaws => Err(Failure::Flawed(flaws)),
            }
        }
        Verb::Backup { dir, verify: true, .. } => {
            let manifest = run::verify_backup(&config, &dir)?;
            Ok(print::answer(&mut io::stdout().lock(), &Answer::BackedUp(Box::new(manifest)), json)?)
        }
        Verb::Restore { dir } => {
            let report = runtime.block_on(run::restore(&config, &dir))?;
            Ok(print::restored(&mut io::stdout().lock(), &report, json)?)
        }
        verb => {
            let now_us = crate::time::system_clock()();
            let fleet = if let Verb::Fleet(it) = &verb { Some(it.clone()) } else { None };
            let erase = if let Verb::Erase(it) = &verb { Some(it.clone()) } else { None };
            let command = verb.command(now_us).map_err(Failure::Usage)?;
            runtime.block_on(async {
                let mut door = Door::open(&config).await?;
                if let Some(notice) = door.notice() {
                    eprintln!("warning: {notice}");
                }
                let meant = match &erase {
                    Some(erase) => erase.confirm(&mut door).await,
                    None => Ok(()),
                };
                let done = match meant {
                    Ok(()) if let Some(fleet) = &fleet => fleet.show(&mut door, json).await,
                    Ok(()) => carry_out(&mut door, command, json).await,
                    Err(failure) => Err(failure),
                };
                door.close().await;
                done
            })
        }
    }
}

async fn carry_out(door: &mut Door, command: Command, json: bool) -> Result<(), Failure> {
    if let Command::DeadLetterList(chosen) = command {
        return list_dead(door, chosen, json).await;
    }
    let Command::AuditPage { chain, mut after } = command else {
        let answer = door.execute(command).await?;
        if let Answer::Granted { notes, .. } = &answer {
            for note in notes {
                eprintln!("note: {note}");
            }
        }
        print::answer(&mut io::stdout().lock(), &answer, json)?;
        let refused = match &answer {
            Answer::Tried(tried) => tried.iter().filter(|it| it.error.is_some()).count(),
            _ => 0,
        };
        return if refused == 0 { Ok(()) } else { Err(Failure::NotTaken(refused)) };
    };
    // An export is one JSON line an entry, page by page.
    loop {
        let page = door.execute(Command::AuditPage { chain: chain.clone(), after }).await?;
        let Answer::Audit(entries) = page else { return Ok(()) };
        let Some(last) = entries.last() else { return Ok(()) };
        after = last.number;
        let mut out = io::stdout().lock();
        for entry in &entries {
            serde_json::to_writer(&mut out, entry).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
    }
}

/// A list that comes page by page and is printed as one.
async fn list_dead(door: &mut Door, mut chosen: Chosen, json: bool) -> Result<(), Failure> {
    let mut all = Vec::new();
    loop {
        let page = door.execute(Command::DeadLetterList(chosen.clone())).await?;
        let Answer::DeadLetters(mut page) = page else { return Ok(()) };
        let Some(last) = page.last() else { break };
        chosen.after = last.id;
        all.append(&mut page);
    }
    Ok(print::answer(&mut io::stdout().lock(), &Answer::DeadLetters(all), json)?)
}

/// `RUST_LOG` or info; JSON with `SANDAN_LOG=json`.
fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter);
    let set = if std::env::var_os("SANDAN_LOG").is_some_and(|format| format == "json") {
        builder.json().try_init()
    } else {
        builder.with_ansi(false).try_init()
    };
    // One is set already where another program runs us inside itself: it logs its own way.
    drop(set);
}

#[cfg(test)]
mod tests;
