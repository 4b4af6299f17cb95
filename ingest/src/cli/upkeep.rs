//! `retention`: what can be typed.

use clap::Args;
use sandan_proto::id::FirmId;

use crate::admin::Command;
use crate::store::Pass;

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
