//! Figures: what is measured of a gateway, and the bounds that judge it.

use std::collections::BTreeMap;

use sandan_proto::id::GatewayId;
use serde::{Deserialize, Serialize};

use super::state::{ConditionId, Level};
use crate::time::{DAY_US, HOUR_US, MINUTE_US, SECOND_US};

/// How often a gateway reports unless the configuration says otherwise.
pub const HEARTBEAT_US: i64 = 10 * SECOND_US;

/// A figure that is judged. Each is the condition of the same name when it is beyond its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Seconds since the last word of the gateway.
    LastContact,
    /// Of a device: share of the polls of the last 5 minutes that brought values, 0 to 1.
    PollSuccess,
    /// Of a device: 99 of 100 answers take less than so many intervals.
    PollTime,
    /// Of a device: age of the last good value in intervals, when it was reported.
    Freshness,
    /// Age of the oldest record that is not acknowledged, seconds.
    SpoolOldest,
    /// Seconds until the spool is full, as it fills now; none while it does not.
    SpoolFullIn,
    /// Wall clock of the gateway less that of the ingest, seconds.
    ClockOffset,
    /// 1 while another configuration runs than the approved one, else 0.
    ConfigHash,
    /// Seconds until the certificate ends.
    Certificate,
    /// Readings that could not be stored.
    DeadLetters,
    /// Readings that are missing and that no gap declares.
    UndeclaredGaps,
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::LastContact,
        Self::PollSuccess,
        Self::PollTime,
        Self::Freshness,
        Self::SpoolOldest,
        Self::SpoolFullIn,
        Self::ClockOffset,
        Self::ConfigHash,
        Self::Certificate,
        Self::DeadLetters,
        Self::UndeclaredGaps,
    ];

    /// The condition that it is beyond its bound.
    pub fn condition(self) -> ConditionId {
        match self {
            Self::LastContact => ConditionId::LastContact,
            Self::PollSuccess => ConditionId::PollSuccess,
            Self::PollTime => ConditionId::PollTime,
            Self::Freshness => ConditionId::Freshness,
            Self::SpoolOldest => ConditionId::SpoolOldest,
            Self::SpoolFullIn => ConditionId::SpoolFullIn,
            Self::ClockOffset => ConditionId::ClockOffset,
            Self::ConfigHash => ConditionId::ConfigHash,
            Self::Certificate => ConditionId::Certificate,
            Self::DeadLetters => ConditionId::DeadLetters,
            Self::UndeclaredGaps => ConditionId::UndeclaredGaps,
        }
    }

    /// Its name: `last_contact`.
    pub fn name(self) -> &'static str {
        self.condition().name()
    }
}

/// A figure with its judgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Which.
    pub figure: Figure,
    /// The device's name at the gateway, where it is a device's.
    pub device: Option<String>,
    /// In the unit of the figure; none where it is not known, or where there is no such moment.
    pub value: Option<f64>,
    /// The bound that it is beyond, or the first one; none where there is nothing to hold it against.
    pub bound: Option<f64>,
    /// How bad it is.
    pub level: Level,
}

/// Two bounds of a figure, in its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Beyond it somebody should look.
    pub warn: f64,
    /// Beyond it somebody should look now.
    pub critical: f64,
}

impl Pair {
    /// A pair.
    pub const fn new(warn: f64, critical: f64) -> Self {
        Self { warn, critical }
    }

    /// A figure that is worse the greater it is: the level, and the bound that tells it.
    pub fn most(self, value: f64) -> (Level, f64) {
        match () {
            () if value >= self.critical => (Level::Critical, self.critical),
            () if value >= self.warn => (Level::Warn, self.warn),
            () => (Level::Well, self.warn),
        }
    }

    /// A figure that is worse the smaller it is.
    pub fn least(self, value: f64) -> (Level, f64) {
        match () {
            () if value < self.critical => (Level::Critical, self.critical),
            () if value < self.warn => (Level::Warn, self.warn),
            () => (Level::Well, self.warn),
        }
    }

    /// Both bounds multiplied.
    #[must_use]
    pub fn times(self, by: f64) -> Self {
        Self { warn: self.warn * by, critical: self.critical * by }
    }
}

/// What figures are held against: `[fleet]` of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// How often a gateway reports, µs.
    pub heartbeat_us: i64,
    /// Time since the last contact, in heartbeats.
    pub last_contact: Pair,
    /// Share of polls that succeed, 0 to 1.
    pub poll_success: Pair,
    /// 99th percentile of answers, in intervals.
    pub poll_time: Pair,
    /// Age of the last good value, in intervals.
    pub freshness: Pair,
    /// Age of the oldest record in the spool, seconds.
    pub spool_oldest: Pair,
    /// Time until the spool is full, seconds.
    pub spool_full_in: Pair,
    /// The clock's offset either way, seconds.
    pub clock_offset: Pair,
    /// Seconds that a renewal of the certificate is late.
    pub renewal_late: f64,
    /// Seconds that a certificate has left.
    pub certificate_left: f64,
    /// For how long what was lost is said after the last of it, µs.
    pub loss_shown_us: i64,
    /// Losses that are not further apart than this are growing, µs.
    pub growing_us: i64,
    /// SHA-256 of the configuration that each gateway should run, hexadecimal, where one was approved.
    pub approved: BTreeMap<GatewayId, String>,
}

impl Default for Bounds {
    fn default() -> Self {
        let seconds = |us: i64| us as f64 / SECOND_US as f64;
        Self {
            heartbeat_us: HEARTBEAT_US,
            // One may be late, two may be lost.
            last_contact: Pair::new(3.0, 10.0),
            poll_success: Pair::new(0.99, 0.90),
            poll_time: Pair::new(0.5, 1.0),
            freshness: Pair::new(3.0, 10.0),
            spool_oldest: Pair::new(seconds(5 * MINUTE_US), seconds(HOUR_US)),
            spool_full_in: Pair::new(seconds(24 * HOUR_US), seconds(4 * HOUR_US)),
            clock_offset: Pair::new(2.0, 30.0),
            renewal_late: seconds(7 * DAY_US),
            certificate_left: seconds(7 * DAY_US),
            loss_shown_us: DAY_US,
            growing_us: 5 * MINUTE_US,
            approved: BTreeMap::new(),
        }
    }
}

impl Bounds {
    /// Bounds of the time since the last contact, seconds.
    pub fn contact(&self) -> Pair {
        self.last_contact.times(self.heartbeat_us as f64 / SECOND_US as f64)
    }
}
