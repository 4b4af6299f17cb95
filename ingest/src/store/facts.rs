//! What the store knows about links and faults, for health pages. Never a value.

use sandan_proto::id::{GatewayId, LaneId, SeriesKey};
use sandan_proto::v1::{DeadLetterReason, GapCause};

use crate::consent::Form;

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

/// Where an answer may miss readings, because the gateway that owns the series declared them
/// gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GapMark {
    /// Index into [`Permit::series`](crate::consent::Permit::series).
    pub series: usize,
    /// From here, µs since 1970: an edge of the grid in an answer of buckets, and never before
    /// the permit's range.
    pub from_us: i64,
    /// To here, exclusive.
    pub to_us: i64,
    /// Why.
    pub cause: GapCause,
    /// The wall time of a boot was never known: the times are the latest that they can have
    /// been.
    pub uncertain: bool,
}

impl GapMark {
    /// The mark of a gap in [from, to), a part of the permit's range: in buckets widened to
    /// whole ones, since its ends are the times of readings. None where it lies elsewhere, or
    /// nowhere.
    pub fn of(gap: &GapFact, series: usize, form: &Form, (from_us, to_us): (i64, i64)) -> Option<Self> {
        let begin_us = gap.from_us.or(gap.to_us)?.max(from_us);
        // The reading behind it is there; one that begins and ends with it is a point.
        let end_us = gap.to_us.or(gap.from_us)?.max(begin_us.saturating_add(1)).min(to_us);
        let (begin_us, end_us) = match form {
            Form::Bucketed { grid } if begin_us < end_us => (grid.bucket(begin_us).0, grid.bucket(end_us - 1).1),
            _ => (begin_us, end_us),
        };
        let mark = Self { series, from_us: begin_us, to_us: end_us, cause: gap.cause, uncertain: gap.uncertain };
        (begin_us < end_us).then_some(mark)
    }
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
