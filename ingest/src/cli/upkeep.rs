//! `retention`, `export` and `erase`: what can be typed, and the question before the last.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use sandan_proto::id::FirmId;

use super::Failure;
use crate::admin::export::WantedExport;
use crate::admin::{Answer, Command, Refused};
use crate::run::Door;
use crate::store::{Holdings, Pass};
use crate::time::{parse_time, rfc3339};

/// What is to go, and whether it goes.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("pass").required(true))]
pub(super) struct Retention {
    /// Say what would go, and change nothing.
    #[arg(long, group = "pass")]
    dry_run: bool,
    /// Do now what the service does once a day.
    #[arg(long, group = "pass")]
    now: bool,
    /// Of one firm.
    #[arg(long)]
    firm: Option<FirmId>,
}

impl Retention {
    pub(super) fn command(self) -> Command {
        let pass = if self.now { Pass::Apply } else { Pass::Look };
        Command::Retention { firm: self.firm, pass }
    }
}

/// What is handed to a firm.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// As `firm list` prints it.
    firm: FirmId,
    /// First observation time.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Observation times before this.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// The directory to make; its parent has to be there.
    dir: PathBuf,
}

impl Export {
    pub(super) fn command(self, now_us: i64) -> Result<Command, String> {
        let time = |name: &str, text: Option<String>| {
            text.map(|text| parse_time(&text, now_us).map_err(|error| format!("--{name}: {error}"))).transpose()
        };
        let (from_us, to_us) = (time("from", self.from)?, time("to", self.to)?);
        // The running service has a working directory of its own.
        let to = std::path::absolute(&self.dir).map_err(|error| format!("{}: {error}", self.dir.display()))?;
        Ok(Command::FirmExport(WantedExport { firm: self.firm, from_us, to_us, to }))
    }
}

/// Who is to go.
#[derive(Debug, Clone, Args)]
pub(super) struct Erase {
    /// As `firm list` prints it.
    pub(super) firm: FirmId,
    /// The firm once more, instead of the question.
    #[arg(long, value_name = "FIRM")]
    yes: Option<String>,
}

impl Erase {
    /// Says what will go, and fails unless it is meant.
    pub(super) async fn confirm(&self, door: &mut Door) -> Result<(), Failure> {
        let firm = &self.firm;
        if let Answer::Holdings(held) = door.execute(Command::FirmHoldings { firm: firm.clone() }).await? {
            eprintln!("{}", told(firm, &held));
        }
        let given = match &self.yes {
            Some(given) => given.clone(),
            None if io::stdin().is_terminal() => {
                eprint!("write `{firm}` to erase it for good: ");
                io::stderr().flush()?;
                let mut line = String::new();
                io::stdin().lock().read_line(&mut line)?;
                line.trim().to_owned()
            }
            None => {
                let hint = format!("add --yes {firm} to erase it for good");
                return Err(Refused::new("nothing was erased: it was not said twice", &hint).into());
            }
        };
        if given == firm.as_str() {
            return Ok(());
        }
        let what = format!("nothing was erased: `{}` is not `{firm}`", given.escape_debug());
        Err(Refused::new(&what, "write the firm's id as `firm list` prints it").into())
    }
}

fn told(firm: &FirmId, held: &Holdings) -> String {
    let Holdings { series, gateways, readings, bytes, from_us, to_us, gaps, dead_records } = *held;
    let times = from_us.zip(to_us).map(|(from, to)| format!(" from {} to {}", rfc3339(from), rfc3339(to)));
    format!(
        "{firm}: {readings} readings{} of {series} series and {gateways} gateways, {gaps} gaps, {dead_records} records \
         put aside: {bytes} bytes; its members, consents and names",
        times.unwrap_or_default()
    )
}
