//! The words of the model: how a gateway, a link, a signal is, and what a condition is about.
//! Each has one name, the same in JSON, metrics, alerts and documents.

use serde::{Deserialize, Serialize};

/// How a gateway is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No session, because its spool was refused as a copy or an old state.
    Fenced,
    /// It said goodbye, or nothing came from it for the critical number of heartbeats.
    Offline,
    /// Nothing came from it for the first number of heartbeats.
    Silent,
    /// In contact, and a figure or a link is beyond its bound.
    Degraded,
    /// In contact, and sending what it kept.
    CatchingUp,
    /// In contact.
    Online,
    /// Somebody works on it, and said so.
    Maintenance,
    /// Added and never seen; for the first heartbeats of this process also one that was seen before.
    Enrolled,
}

impl State {
    /// All of them, worst first.
    pub const ALL: [Self; 8] = [
        Self::Fenced,
        Self::Offline,
        Self::Silent,
        Self::Degraded,
        Self::CatchingUp,
        Self::Online,
        Self::Maintenance,
        Self::Enrolled,
    ];

    /// Its name: `catching_up`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Offline => "offline",
            Self::Silent => "silent",
            Self::Degraded => "degraded",
            Self::CatchingUp => "catching_up",
            Self::Online => "online",
            Self::Maintenance => "maintenance",
            Self::Enrolled => "enrolled",
        }
    }
}

/// How a link is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It does not answer.
    Down,
    /// It answers now and then.
    Flaky,
    /// It was not heard of yet, or its gateway is not heard.
    Unknown,
    /// It answers.
    Up,
    /// Switched off in the gateway's configuration.
    Disabled,
}

impl LinkState {
    /// All of them, worst first.
    pub const ALL: [Self; 5] = [Self::Down, Self::Flaky, Self::Unknown, Self::Up, Self::Disabled];

    /// Its name: `flaky`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Flaky => "flaky",
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Disabled => "disabled",
        }
    }
}

/// How a signal is, worst first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalState {
    /// Its last value is no value, for this reason of `sandan_proto::Quality`.
    Bad(String),
    /// No value came since the gateway started.
    NeverSeen,
    /// Its last value is older than three times its interval.
    Stale,
    /// It has a value, about which something is not known.
    Uncertain,
    /// It has a value.
    Good,
    /// Its gateway does not say, or is not heard.
    Unknown,
}

/// How bad a figure or a condition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nobody can say: what it is reckoned from did not come.
    Unknown,
    /// Within its bounds.
    Well,
    /// Beyond the first bound: to be looked at today.
    Warn,
    /// Beyond the second: to be looked at now.
    Critical,
}

impl Level {
    /// Its name: `critical`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Well => "well",
            Self::Warn => "warn",
            Self::Critical => "critical",
        }
    }
}

/// A part of the way from a machine to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hop {
    /// From the machines to the gateway.
    Device,
    /// The gateway, and the network between it and here.
    Gateway,
    /// Its buffer.
    Spool,
    /// This service and its store.
    Ingest,
}

impl Hop {
    /// Its name: `device`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Gateway => "gateway",
            Self::Spool => "spool",
            Self::Ingest => "ingest",
        }
    }
}

/// What can be wrong. What is worse stands first among those of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionId {
    /// The ingest stores nothing: its database is away, or its disk is full. Of no gateway.
    NotStoring,
    /// A spool of the gateway is refused as a copy or an old state.
    Fenced,
    /// Nothing comes from the gateway. Value: seconds since its last word.
    LastContact,
    /// A device does not answer.
    LinkDown,
    /// Other records came under numbers that are stored: a copy runs.
    Forked,
    /// Readings were dropped at the gateway. Value: how many.
    ReadingsDropped,
    /// Readings are missing that no gap declares. Value: how many.
    UndeclaredGaps,
    /// Readings that could not be stored. Value: how many.
    DeadLetters,
    /// The spool will be full. Value: in so many seconds.
    SpoolFullIn,
    /// The spool holds old data, and not less of it. Value: age of the oldest in seconds.
    SpoolOldest,
    /// The certificate should have been renewed. Value: seconds left.
    Certificate,
    /// Polls of a device fail. Value: share of the last 5 minutes that succeeded.
    PollSuccess,
    /// A device answers values late or not all of them, and says so.
    LinkFlaky,
    /// A device brings good values too rarely. Value: age of the last one in intervals.
    Freshness,
    /// A device answers slowly. Value: 99 of 100 answers take less than so many intervals.
    PollTime,
    /// The gateway's wall clock is wrong. Value: seconds ahead, or behind when negative.
    ClockOffset,
    /// The gateway runs another configuration than the approved one.
    ConfigHash,
    /// Messages of its brokers could not be used. Value: how many.
    UnusableMessages,
    /// Its firm sends more than it may and is told to send later.
    HeldBack,
}

impl ConditionId {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::NotStoring,
        Self::Fenced,
        Self::LastContact,
        Self::LinkDown,
        Self::Forked,
        Self::ReadingsDropped,
        Self::UndeclaredGaps,
        Self::DeadLetters,
        Self::SpoolFullIn,
        Self::SpoolOldest,
        Self::Certificate,
        Self::PollSuccess,
        Self::LinkFlaky,
        Self::Freshness,
        Self::PollTime,
        Self::ClockOffset,
        Self::ConfigHash,
        Self::UnusableMessages,
        Self::HeldBack,
    ];

    /// Its name: `last_contact`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotStoring => "not_storing",
            Self::Fenced => "fenced",
            Self::LastContact => "last_contact",
            Self::LinkDown => "link_down",
            Self::Forked => "forked",
            Self::ReadingsDropped => "readings_dropped",
            Self::UndeclaredGaps => "undeclared_gaps",
            Self::DeadLetters => "dead_letters",
            Self::SpoolFullIn => "spool_full_in",
            Self::SpoolOldest => "spool_oldest",
            Self::Certificate => "certificate",
            Self::PollSuccess => "poll_success",
            Self::LinkFlaky => "link_flaky",
            Self::Freshness => "freshness",
            Self::PollTime => "poll_time",
            Self::ClockOffset => "clock_offset",
            Self::ConfigHash => "config_hash",
            Self::UnusableMessages => "unusable_messages",
            Self::HeldBack => "held_back",
        }
    }

    /// Which part of the way is broken.
    pub fn hop(self) -> Hop {
        match self {
            Self::LinkDown
            | Self::LinkFlaky
            | Self::PollSuccess
            | Self::PollTime
            | Self::Freshness
            | Self::UnusableMessages => Hop::Device,
            Self::Fenced
            | Self::LastContact
            | Self::Forked
            | Self::Certificate
            | Self::ClockOffset
            | Self::ConfigHash => Hop::Gateway,
            Self::ReadingsDropped | Self::SpoolFullIn | Self::SpoolOldest | Self::HeldBack => Hop::Spool,
            Self::NotStoring | Self::DeadLetters | Self::UndeclaredGaps => Hop::Ingest,
        }
    }

    /// Whether only the gateway's own reports tell of it, so that nobody knows while it is not heard.
    pub fn is_reported(self) -> bool {
        match self {
            Self::NotStoring
            | Self::Fenced
            | Self::LastContact
            | Self::Forked
            | Self::DeadLetters
            | Self::UndeclaredGaps
            | Self::Certificate => false,
            Self::LinkDown
            | Self::ReadingsDropped
            | Self::SpoolFullIn
            | Self::SpoolOldest
            | Self::PollSuccess
            | Self::LinkFlaky
            | Self::Freshness
            | Self::PollTime
            | Self::ClockOffset
            | Self::ConfigHash
            | Self::UnusableMessages
            | Self::HeldBack => true,
        }
    }
}

/// Why a condition that holds, or may hold, is nobody's alarm: something above it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parent {
    /// Somebody works on the gateway, and said so.
    Maintenance,
    /// The ingest does not store: that gateways are not heard is its own doing.
    Ingest,
    /// The gateway is not heard: nobody knows whether it still holds.
    Gateway,
    /// The endpoint, of which no device answers: one of them stands for all.
    Endpoint,
}
