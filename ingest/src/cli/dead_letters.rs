//! `dead-letter …`: what can be typed.

use clap::{Args, Subcommand};
use sandan_proto::id::{FirmId, GatewayId};

use crate::admin::Command;
use crate::admin::dead_letters::Chosen;

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetterVerb {
    /// What was put aside of a firm: counts and reasons, no values.
    List(Which),
    /// Decide on it again with what is known now: births, clocks, owners.
    Retry(Named),
    /// Delete its bytes; it stays counted.
    Discard(Named),
}

/// Which of a firm's.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Whose.
    firm: FirmId,
    /// Of one gateway, FIRM/NAME.
    #[arg(long)]
    gateway: Option<GatewayId>,
    /// Such as `clock_unknown`, as `list` prints it.
    #[arg(long)]
    reason: Option<String>,
}

/// Which of a firm's, said in so many words.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub(super) struct Named {
    /// Whose.
    firm: FirmId,
    /// One, as `list` prints it; repeat for more.
    #[arg(long = "id", group = "which", value_parser = clap::value_parser!(i64).range(1..))]
    ids: Vec<i64>,
    /// Of one gateway, FIRM/NAME.
    #[arg(long, group = "which")]
    gateway: Option<GatewayId>,
    /// Such as `clock_unknown`, as `list` prints it.
    #[arg(long, group = "which")]
    reason: Option<String>,
    /// All of the firm.
    #[arg(long, group = "which")]
    all: bool,
}

impl Named {
    fn chosen(self) -> Chosen {
        Chosen { firm: self.firm, ids: self.ids, gateway: self.gateway, reason: self.reason, after: 0 }
    }
}

impl DeadLetterVerb {
    pub(super) fn command(self) -> Command {
        match self {
            DeadLetterVerb::List(Which { firm, gateway, reason }) => {
                Command::DeadLetterList(Chosen { firm, ids: Vec::new(), gateway, reason, after: 0 })
            }
            DeadLetterVerb::Retry(named) => Command::DeadLetterRetry(named.chosen()),
            DeadLetterVerb::Discard(named) => Command::DeadLetterDiscard(named.chosen()),
        }
    }
}
