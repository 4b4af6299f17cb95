//! What the store knows about links and faults, for health pages. Never a value.

use sandan_proto::id::{GatewayId, LaneId, SeriesKey};
use sandan_proto::v1::{DeadLetterReason, GapCause};

/// What is stored of one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneFacts {
    /// The lane.
    pub lane: LaneId,
    /// Durable through this sequence.
    pub through: u64,
    /// Readings stored.
    pub readings: u64,
    /// Observation time of the newest stored reading, µs since 1970.
    pub newest_us: Option<i64>,
    /// When a record of it was last stored, by the store's clock.
    pub stored_us: i64,
}

/// Dead letters of one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterCount {
    /// Why.
    pub reason: DeadLetterReason,
    /// How many columns and whole records.
    pub letters: u64,
    /// How many readings are not stored, also discarded ones.
    pub readings: u64,
    /// How many of these were discarded by their firm.
    pub discarded: u64,
    /// How many readings more a retry has stored.
    pub recovered: u64,
    /// When the newest came, by the store's clock, µs since 1970.
    pub newest_us: i64,
    /// The newest one in a sentence.
    pub detail: String,
}

/// Readings that a gateway declared gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapFact {
    /// Whose.
    pub gateway: GatewayId,
    /// Last reading before, µs since 1970, where known.
    pub from_us: Option<i64>,
    /// First reading after, where known.
    pub to_us: Option<i64>,
    /// Why.
    pub cause: GapCause,
    /// How many readings.
    pub readings: u64,
    /// The wall time of a boot was never known: the times are the latest that they can
    /// have been.
    pub uncertain: bool,
}

/// A series that two gateways declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSeries {
    /// The series.
    pub key: SeriesKey,
    /// The gateway that owns it.
    pub owner: GatewayId,
    /// The gateway whose readings of it are refused.
    pub refused: GatewayId,
}
