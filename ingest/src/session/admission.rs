//! Admission: what of a record may be stored. Pure.
//!
//! Whatever an engine could refuse is refused here, column by column, so that a
//! record that was admitted can be stored and its lane goes on.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use sandan_proto::batch::{self, BatchError, Column, Group};
use sandan_proto::id::{AssetId, MetricId};
use sandan_proto::limits::MAX_SERIES;
use sandan_proto::reading::ValueType;
use sandan_proto::record::Sealed;
use sandan_proto::v1::DeadLetterReason;

use crate::store::{Clock, Content, Letter, Placement, Readmit, Registered, SeriesNo};

/// Observation times that are stored, µs since 1970, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Older ones are beyond the retention.
    pub oldest_us: i64,
    /// Later ones come from a clock that is wrong.
    pub newest_us: i64,
}

/// How far a gateway's clock may be ahead of the ingest's.
pub const AHEAD_US: i64 = 5 * 60 * 1_000_000;

impl Bounds {
    /// From now minus retention to five minutes from now.
    pub fn at(now_us: i64, retention_us: i64) -> Self {
        Self { oldest_us: now_us.saturating_sub(retention_us), newest_us: now_us.saturating_add(AHEAD_US) }
    }
}

/// Decides on a sealed record.
pub fn admit(sealed: Sealed, registered: &Registered, clock: Clock, bounds: Bounds) -> Content {
    admit_columns(sealed, registered, clock, bounds, None)
}

/// Decides on some columns of a sealed record, named by their ordinals over all groups,
/// ascending; none: on all. The others are not stored and have no letter.
pub fn admit_columns(
    sealed: Sealed,
    registered: &Registered,
    clock: Clock,
    bounds: Bounds,
    only: Option<&[u32]>,
) -> Content {
    let offset_us = clock.offset_us;
    let groups = match batch::decode(&sealed.payload) {
        Ok(groups) => groups,
        Err(error) => {
            return dead(&sealed, vec![whole(reason(&error), None, error.to_string())]);
        }
    };
    let columns: usize = groups.iter().map(|group| group.columns.len()).sum();
    if columns > MAX_SERIES {
        let detail = format!("a batch of {columns} columns, more than {MAX_SERIES}");
        let reason = DeadLetterReason::LimitExceeded;
        return dead(&sealed, vec![whole(reason, Some(batch::count(&groups)), detail)]);
    }
    let mut letters = Letters::default();
    let mut dead_columns = Vec::new();
    let mut newest = BTreeMap::<SeriesNo, i64>::new();
    let (mut first_us, mut last_us, mut readings) = (i64::MAX, i64::MIN, 0u64);
    let all = groups.iter().flat_map(|group| group.columns.iter().map(move |column| (group, column)));
    for ((group, column), ordinal) in all.zip(0u32..) {
        let (Some(first), Some(last)) = (group.times_us.first(), group.times_us.last()) else { continue };
        if only.is_some_and(|only| only.binary_search(&ordinal).is_err()) {
            dead_columns.push(ordinal);
            continue;
        }
        match check(group, column, registered, offset_us, bounds) {
            Ok(series) => {
                // Within the bounds, so neither sum overflows.
                let (first, last) = (first.saturating_add(offset_us), last.saturating_add(offset_us));
                (first_us, last_us) = (first_us.min(first), last_us.max(last));
                readings += column.values.len() as u64;
                let latest = newest.entry(series).or_insert(last);
                *latest = last.max(*latest);
            }
            Err(why) => {
                dead_columns.push(ordinal);
                letters.add(column.series, &why, column.values.len() as u64);
            }
        }
    }
    if readings == 0 {
        return dead(&sealed, letters.all());
    }
    Content::Batch {
        births: registered.number,
        sealed,
        clock,
        first_us,
        last_us,
        readings,
        dead_columns,
        newest: newest.into_iter().collect(),
        letters: letters.all(),
    }
}

/// Decides on what was put aside, at the time that it is then.
pub fn readmit(retention_us: i64) -> Readmit {
    Arc::new(move |sealed, registered, clock, now_us, only| {
        admit_columns(sealed, registered, clock, Bounds::at(now_us, retention_us), only)
    })
}

/// A record of which nothing is stored.
pub fn dead(sealed: &Sealed, letters: Vec<Letter>) -> Content {
    Content::Dead { original: sealed.to_wire().encode_to_vec().into(), letters }
}

/// A letter for a whole record.
pub fn whole(reason: DeadLetterReason, readings: Option<u64>, detail: String) -> Letter {
    Letter { series: None, count: 1, reason, readings, detail }
}

/// Letters of one record. A record has up to [`MAX_SERIES`] columns, and a gateway with
/// another's configuration has a letter for each, in every record: they must not cost
/// more than the record.
#[derive(Default)]
struct Letters {
    named: Vec<Letter>,
    /// What stands for the rest, by reason.
    others: BTreeMap<i32, Letter>,
}

/// Columns of a record that have a letter of their own: enough to see what they have in
/// common.
const NAMED_COLUMNS: usize = 64;

impl Letters {
    fn add(&mut self, series: u32, why: &Why, readings: u64) {
        let reason = why.reason();
        if self.named.len() < NAMED_COLUMNS {
            let (series, readings, detail) = (Some(series), Some(readings), why.to_string());
            self.named.push(Letter { series, count: 1, reason, readings, detail });
            return;
        }
        let other = self.others.entry(reason.into()).or_insert_with(|| {
            let detail = format!("further columns, the first of them: {why}");
            Letter { series: None, count: 0, reason, readings: Some(0), detail }
        });
        other.count += 1;
        other.readings = other.readings.map(|sum| sum + readings);
    }

    fn all(mut self) -> Vec<Letter> {
        self.named.extend(self.others.into_values());
        self.named
    }
}

/// Why a column is not stored. Put into words only for those that are named.
#[derive(Debug, thiserror::Error)]
enum Why<'a> {
    #[error("series {index} is not among the {known} of its births")]
    UnknownSeries { index: usize, known: usize },
    #[error("{asset}/{metric} belongs to another gateway of the firm")]
    OtherOwner { asset: &'a AssetId, metric: &'a MetricId },
    #[error("{asset}/{metric} is beyond the series that a gateway may have")]
    OverQuota { asset: &'a AssetId, metric: &'a MetricId },
    #[error("values of type {found:?}, declared as {declared:?}")]
    WrongType { found: ValueType, declared: ValueType },
    #[error("times that no clock can show")]
    NoTime,
    #[error("times more than five minutes ahead of the ingest")]
    Ahead,
    #[error("times before the retention")]
    TooOld,
}

impl Why<'_> {
    fn reason(&self) -> DeadLetterReason {
        match self {
            Why::UnknownSeries { .. } => DeadLetterReason::UnknownSeries,
            Why::OtherOwner { .. } => DeadLetterReason::OtherOwner,
            Why::OverQuota { .. } => DeadLetterReason::OverQuota,
            Why::WrongType { .. } => DeadLetterReason::WrongType,
            Why::NoTime | Why::Ahead => DeadLetterReason::TimeAhead,
            Why::TooOld => DeadLetterReason::TimeTooOld,
        }
    }
}

fn check<'a>(
    group: &Group,
    column: &Column,
    registered: &'a Registered,
    offset_us: i64,
    bounds: Bounds,
) -> Result<SeriesNo, Why<'a>> {
    let index = column.series as usize;
    let Some((place, declared)) = registered.places.get(index).zip(registered.births.series.get(index)) else {
        return Err(Why::UnknownSeries { index, known: registered.places.len() });
    };
    let (asset, metric) = (&registered.births.assets[declared.asset].id, &declared.metric);
    let (series, value_type) = match *place {
        Placement::Own(series, value_type) => (series, value_type),
        Placement::OtherOwner => return Err(Why::OtherOwner { asset, metric }),
        Placement::OverQuota => return Err(Why::OverQuota { asset, metric }),
    };
    let found = column.values.value_type();
    if found != value_type {
        return Err(Why::WrongType { found, declared: value_type });
    }
    let wall = |time_us: Option<&i64>| time_us.and_then(|time_us| time_us.checked_add(offset_us));
    let (Some(first), Some(last)) = (wall(group.times_us.first()), wall(group.times_us.last())) else {
        return Err(Why::NoTime);
    };
    if last > bounds.newest_us {
        return Err(Why::Ahead);
    }
    if first < bounds.oldest_us {
        return Err(Why::TooOld);
    }
    Ok(series)
}

fn reason(error: &BatchError) -> DeadLetterReason {
    match error {
        BatchError::TooLarge(_) | BatchError::TooManyReadings => DeadLetterReason::LimitExceeded,
        BatchError::Text(_) => DeadLetterReason::TextRefused,
        BatchError::SeriesIndex(_) => DeadLetterReason::UnknownSeries,
        BatchError::Undecodable(_)
        | BatchError::Packing
        | BatchError::Length { .. }
        | BatchError::NoValues(_)
        | BatchError::Quality(_)
        | BatchError::Times => DeadLetterReason::Undecodable,
    }
}

#[cfg(test)]
mod tests;
