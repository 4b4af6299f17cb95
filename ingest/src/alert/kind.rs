//! What can be wrong, with what, and how bad that is.

use std::fmt;
use std::str::FromStr;

use sandan_proto::id::{FirmId, GatewayId};
use serde::{Deserialize, Serialize};

use crate::time::{HOUR_US, MINUTE_US, SECOND_US};

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Look at it today.
    Warn,
    /// Somebody has to act now, or data is being lost.
    Critical,
}

impl Level {
    /// `warn` or `critical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Warn => "warn",
            Level::Critical => "critical",
        }
    }
}

/// What is wrong. Each has a section of this name in `docs/alerts.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Kind {
    NotStoring,
    WitnessBehind,
    Fenced,
    LastContact,
    LinkDown,
    Forked,
    ReadingsDropped,
    UndeclaredGaps,
    DeadLetters,
    SpoolFullIn,
    SpoolOldest,
    Certificate,
    PollSuccess,
    LinkFlaky,
    Freshness,
    PollTime,
    ClockOffset,
    ConfigHash,
    UnusableMessages,
    HeldBack,
}

impl Kind {
    /// All of them, as they are documented.
    pub const ALL: [Kind; 20] = [
        Kind::NotStoring,
        Kind::WitnessBehind,
        Kind::Fenced,
        Kind::LastContact,
        Kind::LinkDown,
        Kind::Forked,
        Kind::ReadingsDropped,
        Kind::UndeclaredGaps,
        Kind::DeadLetters,
        Kind::SpoolFullIn,
        Kind::SpoolOldest,
        Kind::Certificate,
        Kind::PollSuccess,
        Kind::LinkFlaky,
        Kind::Freshness,
        Kind::PollTime,
        Kind::ClockOffset,
        Kind::ConfigHash,
        Kind::UnusableMessages,
        Kind::HeldBack,
    ];

    /// Its word, in configuration, messages and documents: that of the condition in the fleet model.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::NotStoring => "not_storing",
            Kind::WitnessBehind => "witness_behind",
            Kind::Fenced => "fenced",
            Kind::LastContact => "last_contact",
            Kind::LinkDown => "link_down",
            Kind::Forked => "forked",
            Kind::ReadingsDropped => "readings_dropped",
            Kind::UndeclaredGaps => "undeclared_gaps",
            Kind::DeadLetters => "dead_letters",
            Kind::SpoolFullIn => "spool_full_in",
            Kind::SpoolOldest => "spool_oldest",
            Kind::Certificate => "certificate",
            Kind::PollSuccess => "poll_success",
            Kind::LinkFlaky => "link_flaky",
            Kind::Freshness => "freshness",
            Kind::PollTime => "poll_time",
            Kind::ClockOffset => "clock_offset",
            Kind::ConfigHash => "config_hash",
            Kind::UnusableMessages => "unusable_messages",
            Kind::HeldBack => "held_back",
        }
    }

    /// How long it has to last before anybody is told, µs, unless it is configured otherwise.
    pub fn usual_for_us(self) -> i64 {
        match self {
            // What is lost, and what does not mend itself, is said at once.
            Kind::Fenced | Kind::Forked | Kind::ReadingsDropped | Kind::UndeclaredGaps => 0,
            Kind::NotStoring => 30 * SECOND_US,
            // Beside the time after which the model says that it is silent: a box that is started again is back
            // by then, and after a restart of the service all of them are, whose longest pause is a minute.
            Kind::LastContact => 90 * SECOND_US,
            Kind::LinkDown | Kind::WitnessBehind => 2 * MINUTE_US,
            Kind::DeadLetters | Kind::SpoolFullIn | Kind::ClockOffset | Kind::HeldBack | Kind::UnusableMessages => {
                5 * MINUTE_US
            }
            Kind::LinkFlaky | Kind::PollSuccess | Kind::PollTime | Kind::Freshness | Kind::SpoolOldest => {
                15 * MINUTE_US
            }
            Kind::Certificate | Kind::ConfigHash => HOUR_US,
        }
    }

    /// Whether, while it lasts, nothing is known of what lies below its subject: of a gateway its devices,
    /// of the service all gateways.
    pub fn hides_what_is_below(self) -> bool {
        matches!(self, Kind::NotStoring | Kind::Fenced | Kind::LastContact)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| format!("there are {}", known()))
    }
}

/// With what something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The service itself.
    Service,
    /// A gateway.
    Gateway(GatewayId),
    /// A device or a broker behind a gateway.
    Device {
        /// The gateway.
        gateway: GatewayId,
        /// The device's name there.
        device: String,
    },
}

impl Subject {
    /// The gateway, where it is one or stands behind one.
    pub fn gateway(&self) -> Option<&GatewayId> {
        match self {
            Subject::Service => None,
            Subject::Gateway(gateway) | Subject::Device { gateway, .. } => Some(gateway),
        }
    }

    /// Whose it is; none of the service itself.
    pub fn firm(&self) -> Option<FirmId> {
        self.gateway().map(GatewayId::firm)
    }

    /// What stands above it, the nearest first.
    pub fn above(&self) -> impl Iterator<Item = Subject> {
        let gateway = match self {
            Subject::Device { gateway, .. } => Some(Subject::Gateway(gateway.clone())),
            _ => None,
        };
        let service = (*self != Subject::Service).then_some(Subject::Service);
        gateway.into_iter().chain(service)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Service => f.write_str("service"),
            Subject::Gateway(gateway) => gateway.fmt(f),
            Subject::Device { gateway, device } => write!(f, "{gateway}:{device}"),
        }
    }
}

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What.
    pub kind: Kind,
    /// How bad.
    pub level: Level,
    /// With what.
    pub subject: Subject,
    /// Since when, as far as that is known, µs since 1970.
    pub since_us: i64,
    /// What the sentence counts: percent of requests, readings, messages, seconds. Never a value of a machine.
    pub number: Option<u64>,
    /// Something above it is wrong, so that it is not known, or not the thing to say.
    pub is_hidden: bool,
}
