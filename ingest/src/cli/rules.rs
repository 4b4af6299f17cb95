//! `officer`, `group`, `alliance`, `run`, and what is ruled of a firm: what can be typed, and the
//! command it means.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use sandan_proto::id::{AssetId, FirmId, GroupId};

use crate::admin::Command;
use crate::consent::{AllianceRule, GroupKind, Layer, Role, Run};
use crate::store::control::RunEntry;
use crate::time::{DAY_US, parse_duration, parse_time};

/// Longest time of an installer: a box is built in within weeks, and who stays is of the firm.
const MAX_INSTALLER_US: i64 = 90 * DAY_US;

/// What a person or program that acts for a firm can be added as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FirmRole {
    /// Reads the firm's own data and what is shared with it, and asks for more.
    Member,
    /// Reads the firm's own data.
    Staff,
    /// Sees what the firm's links declared lost, for a limited time; never a value.
    Installer,
}

impl FirmRole {
    /// The role and its end.
    pub(super) fn until(self, until: Option<&str>, now_us: i64) -> Result<(Role, Option<i64>), String> {
        let until = until.map(|text| parse_time(text, now_us).map_err(|error| format!("--until: {error}")));
        let until_us = until.transpose()?;
        let role = match self {
            FirmRole::Member => Role::Member,
            FirmRole::Staff => Role::FirmStaff,
            FirmRole::Installer => Role::Installer,
        };
        let longest = now_us.saturating_add(MAX_INSTALLER_US);
        match (role, until_us) {
            (Role::Installer, None) => Err("an installer is let in for a limited time: name --until".to_owned()),
            (Role::Installer, Some(until_us)) if until_us > longest => {
                Err("--until: an installer is let in for 90 days at most".to_owned())
            }
            (_, Some(until_us)) if until_us <= now_us => Err("--until lies in the past".to_owned()),
            _ => Ok((role, until_us)),
        }
    }
}

/// What a person who acts for the complex or the alliance can be added as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ComplexRole {
    /// Sees links and delays at the console, never a value.
    Operator,
    /// Reads logs.
    Auditor,
    /// Runs groups, mints officers who wait for their firm, and may suspend; never reads a value.
    Alliance,
}

impl ComplexRole {
    pub(super) fn role(self) -> Role {
        match self {
            ComplexRole::Operator => Role::Operator,
            ComplexRole::Auditor => Role::Auditor,
            ComplexRole::Alliance => Role::AllianceAdministrator,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum OfficerVerb {
    /// A link that makes a person the first data officer of a firm, once; it is printed and never again.
    Link {
        /// Of which firm.
        firm: FirmId,
        /// How long it can be used.
        #[arg(long, value_name = "DURATION", default_value = "24h")]
        expires: String,
    },
}

impl OfficerVerb {
    pub(super) fn command(self) -> Result<Command, String> {
        let OfficerVerb::Link { firm, expires } = self;
        let life_us = parse_duration(&expires).map_err(|error| format!("--expires: {error}"))?;
        Ok(Command::OfficerLink { firm, life_us })
    }
}

/// What keeps the firms of a group together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KindArg {
    /// They do the same work, so that they compete.
    SameIndustry,
    /// One supplies the next.
    ValueChain,
    /// A few neighbours.
    MiniCluster,
    /// The whole alliance.
    Alliance,
}

#[derive(Debug, Subcommand)]
pub(super) enum GroupVerb {
    /// Add a group of firms, to which consents can be given.
    Add {
        /// a-z, 0-9 and -.
        id: GroupId,
        /// What keeps them together.
        #[arg(long, value_enum)]
        kind: KindArg,
        /// The firm that acts for it.
        #[arg(long, value_name = "FIRM")]
        coordinator: FirmId,
        /// A further firm; repeat for more.
        #[arg(long = "firm", value_name = "FIRM")]
        firms: Vec<FirmId>,
    },
    /// All groups and their newest rosters.
    List,
}

impl GroupVerb {
    pub(super) fn command(self) -> Command {
        match self {
            GroupVerb::List => Command::GroupList,
            GroupVerb::Add { id, kind, coordinator, firms } => {
                let kind = match kind {
                    KindArg::SameIndustry => GroupKind::SameIndustry,
                    KindArg::ValueChain => GroupKind::ValueChain,
                    KindArg::MiniCluster => GroupKind::MiniCluster,
                    KindArg::Alliance => GroupKind::Alliance,
                };
                let firms = firms.into_iter().chain([coordinator.clone()]).collect();
                Command::GroupAdd { id, kind, coordinator, firms }
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum AllianceVerb {
    /// What the alliance rules over all consents, as JSON; with a file, rule what it says.
    Rule {
        /// As this command prints it.
        file: Option<PathBuf>,
    },
}

impl AllianceVerb {
    pub(super) fn command(self) -> Result<Command, String> {
        let AllianceVerb::Rule { file } = self;
        let read = |file: PathBuf| -> Result<Box<AllianceRule>, String> {
            let shown = file.display();
            let text = std::fs::read_to_string(&file).map_err(|error| format!("{shown}: {error}"))?;
            serde_json::from_str(&text).map_err(|error| format!("{shown}: {error}"))
        };
        Ok(Command::AllianceRule { rule: file.map(read).transpose()? })
    }
}

/// A firm's floor under all its consents.
#[derive(Debug, Args)]
pub(super) struct FirmRule {
    /// Whose.
    firm: FirmId,
    /// Nothing finer than buckets of whole multiples of this leaves, such as 60s.
    #[arg(long, value_name = "DURATION")]
    floor: Option<String>,
    /// Nothing younger than this leaves, such as 1d.
    #[arg(long, value_name = "DURATION")]
    minimum_age: Option<String>,
    /// Take the floor away.
    #[arg(long, conflicts_with_all = ["floor", "minimum_age"])]
    none: bool,
}

impl FirmRule {
    pub(super) fn command(self) -> Result<Command, String> {
        let us = |name: &str, text: Option<String>| {
            text.map(|text| parse_duration(&text).map_err(|error| format!("--{name}: {error}"))).transpose()
        };
        let says = self.none || self.floor.is_some() || self.minimum_age.is_some();
        let minimum_age_us = us("minimum-age", self.minimum_age)?.unwrap_or(0);
        let rule = Layer { floor_us: us("floor", self.floor)?, minimum_age_us };
        Ok(Command::FirmRule { firm: self.firm, rule: says.then_some(rule) })
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum RunVerb {
    /// Note a lot or charge of a firm, or its end; consents can be bound to those of one customer.
    Put {
        /// Whose machine.
        firm: FirmId,
        /// The machine.
        #[arg(long)]
        asset: AssetId,
        /// The firm's number of it: one of the machine's.
        #[arg(long)]
        id: String,
        /// Whose order it is.
        #[arg(long)]
        customer: String,
        /// Its beginning.
        #[arg(long, value_name = "TIME")]
        from: String,
        /// Its end; while it goes on nobody else reads it.
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
    },
    /// Note the runs of a table, CSV in UTF-8: asset,id,customer,from,to. All or none.
    Import {
        /// Whose machines.
        firm: FirmId,
        /// The table.
        file: std::path::PathBuf,
    },
    /// The runs of a firm, by machine and beginning.
    List {
        /// Whose.
        firm: FirmId,
    },
}

impl RunVerb {
    pub(super) fn command(self, now_us: i64) -> Result<Command, String> {
        let time = |name: &str, text: &str| parse_time(text, now_us).map_err(|error| format!("--{name}: {error}"));
        Ok(match self {
            RunVerb::List { firm } => Command::RunList { firm },
            RunVerb::Import { firm, file } => {
                let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                Command::RunImport { firm, text }
            }
            RunVerb::Put { firm, asset, id, customer, from, to } => {
                let (from_us, to_us) = (time("from", &from)?, to.map(|to| time("to", &to)).transpose()?);
                if to_us.is_some_and(|to_us| to_us <= from_us) {
                    return Err("--to: a run ends after it began".to_owned());
                }
                Command::RunPut { firm, run: RunEntry { id, run: Run { asset, customer, from_us, to_us } } }
            }
        })
    }
}
