//! The command line: data on stdout, talk on stderr; exit 0 done, 1 failed, 2 wrong
//! usage or configuration. `status` has its own: 0 all is well, 1 something is wrong, 2 nobody
//! could be asked.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::dictionary::Process;
use crate::config::{Config, Faults, notation};

pub mod check;
mod enroll;
mod import;
pub mod metrics;
mod probe;
mod read;
mod spool;
mod status;
mod table;

/// Exit code of wrong usage and of a configuration with faults.
const WRONG_CONFIG: u8 = 2;

/// Reads PLCs over Modbus and MQTT, keeps readings on disk, forwards them to an ingest.
#[derive(Debug, Parser)]
#[command(name = "sandan-gateway", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until told to stop
    Run {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Check a configuration and show what it asks of which device
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// Show every request with its wire addresses, and refuse intervals that cannot be met
        #[arg(long)]
        plan: bool,
        /// What a device takes to answer, for the plan; `read` shows what it took
        #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = duration)]
        round_trip: Duration,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Become a gateway of an ingest: make a key on this box and have it certified
    Enroll {
        #[command(flatten)]
        config: ConfigFile,
        /// The file with the invitation; without it `$SANDAN_INVITATION`, or else standard input
        #[arg(long, value_name = "FILE")]
        invitation_file: Option<PathBuf>,
        /// Print JSON instead of a sentence
        #[arg(long)]
        json: bool,
    },
    /// Read every signal once and print it
    Read {
        #[command(flatten)]
        config: ConfigFile,
        /// Only this device
        #[arg(long, value_name = "NAME")]
        device: Option<String>,
        /// How long to wait for a message of each MQTT device
        #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
        wait: Duration,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Try out a Modbus device without a configuration: every type and byte order
    Probe(probe::Args),
    /// Make a configuration of a register map in a spreadsheet, or of a device template
    Import(import::Args),
    /// Ask the running gateway how it is: exit code 0 all is well, 1 something is wrong, 2 it cannot be asked
    Status {
        #[command(flatten)]
        config: ConfigFile,
        /// Print JSON instead of sentences
        #[arg(long)]
        json: bool,
    },
    /// List the metric dictionary: what a signal can be about, and in which unit
    Metrics {
        /// Only what is met in this process
        #[arg(long, value_name = "PROCESS", value_parser = process)]
        process: Option<Process>,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Look into the spool on disk, export or repair it
    Spool {
        #[command(subcommand)]
        command: spool::Command,
    },
    /// Print what a shell needs to complete commands: `source <(sandan-gateway completions bash)`
    Completions { shell: Shell },
}

/// A gateway waits far more than it works; the second thread carries the polls on while
/// the first one waits for the disk.
const WORKERS: usize = 2;

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration, or a directory of files that end in .toml
    #[arg(value_name = "FILE", env = "SANDAN_GATEWAY_CONFIG")]
    file: PathBuf,
}

fn duration(text: &str) -> Result<Duration, String> {
    notation::duration(text).ok_or_else(|| "write an integer and ms, s or m: 500ms, 5s".into())
}

fn process(text: &str) -> Result<Process, String> {
    let found = Process::ALL.iter().find(|(word, _)| *word == text).map(|(_, process)| *process);
    let words = || Process::ALL.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| format!("known are {}", words()))
}

/// Does what the arguments say; the first is the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help is data and goes to stdout, wrong usage to stderr; clap knows which.
            let _ = error.print();
            return if error.use_stderr() { WRONG_CONFIG.into() } else { ExitCode::SUCCESS };
        }
    };
    match act(cli.command) {
        Ok(code) => code,
        Err(error) => {
            if let Some(faults) = error.downcast_ref::<Faults>() {
                eprint!("{faults}");
                return WRONG_CONFIG.into();
            }
            eprintln!("error: {error:#}");
            if let Some(hint) = spool::hint(&error) {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn act(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { config } => {
            log("info");
            block_on(crate::pipeline::run(Config::load(&config.file)?, config.file))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { config, plan, round_trip, json } => {
            let (config, on_this_machine) = Config::survey(&config.file)?;
            let plan = plan.then_some(round_trip);
            print!("{}", if json { check::json(&config, round_trip)? } else { check::text(&config, plan) });
            let unmet = plan.map_or_else(String::new, |round_trip| check::unmet(&config, round_trip));
            eprint!("{}{unmet}", on_this_machine.as_ref().map_or_else(String::new, ToString::to_string));
            let is_good = on_this_machine.is_none() && unmet.is_empty();
            Ok(if is_good { ExitCode::SUCCESS } else { WRONG_CONFIG.into() })
        }
        Command::Enroll { config, invitation_file, json } => {
            log("warn");
            let (config, _) = Config::survey(&config.file)?;
            block_on(enroll::enroll(&config, invitation_file.as_deref(), json))
        }
        Command::Read { config, device, wait, json } => {
            log("error");
            // A register map is tried out before the ingest has given a token.
            let (config, _) = Config::survey(&config.file)?;
            block_on(read::read(&config, device.as_deref(), wait, json))
        }
        Command::Probe(args) => {
            log("error");
            block_on(probe::probe(&args))
        }
        Command::Import(args) => import::import(&args),
        Command::Status { config, json } => {
            // Who may look need not be who may read the token.
            let (config, _) = Config::survey(&config.file)?;
            // Whoever watches by exit codes has to tell a gateway that is not there from one that is ill.
            block_on(status::status(&config, json)).or_else(|error| {
                eprintln!("error: {error:#}");
                Ok(WRONG_CONFIG.into())
            })
        }
        Command::Metrics { process, json } => {
            let listed = if json { metrics::json(process)? } else { metrics::text(process) };
            print_at_length(listed.as_bytes())
        }
        Command::Spool { command } => {
            log("error");
            spool::spool(command)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sandan-gateway", &mut script);
            print_at_length(&script)
        }
    }
}

/// Prints what is looked at through `head` and `less`, which end when they will.
fn print_at_length(text: &[u8]) -> anyhow::Result<ExitCode> {
    match std::io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Log lines go to stderr; `RUST_LOG` says which.
fn log(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    // A second start in one process keeps the first one's log.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .try_init();
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let done = runtime.block_on(work);
    // What has to be done is done, or was given up: a disk that hangs does not hold up an
    // end that was asked for twice. What is left ends with the process; a runtime that is
    // taken apart panics in tasks that look at a timer just then.
    std::mem::forget(runtime);
    done
}

#[cfg(test)]
mod tests;
