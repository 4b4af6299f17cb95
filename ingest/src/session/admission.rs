//! Admission: what of a record may be stored. Pure.
//!
//! Whatever an engine could refuse is refused here, column by column, so that a
//! record that was admitted can be stored and its lane goes on.

use std::collections::BTreeMap;

use prost::Message;
use sandan_proto::batch::{self, BatchError, Column, Group};
use sandan_proto::limits::MAX_SERIES;
use sandan_proto::record::Sealed;
use sandan_proto::v1::DeadLetterReason;

use crate::store::{Content, Letter, Placement, Registered, SeriesNo};

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
pub fn admit(sealed: Sealed, registered: &Registered, offset_us: i64, bounds: Bounds) -> Content {
    let groups = match batch::decode(&sealed.payload) {
        Ok(groups) => groups,
        Err(error) => {
            let letter = Letter { series: None, reason: reason(&error), readings: None, detail: error.to_string() };
            return dead(&sealed, vec![letter]);
        }
    };
    let columns: usize = groups.iter().map(|group| group.columns.len()).sum();
    if columns > MAX_SERIES {
        let detail = format!("a batch of {columns} columns, more than {MAX_SERIES}");
        let reason = DeadLetterReason::LimitExceeded;
        return dead(&sealed, vec![Letter { series: None, reason, readings: Some(batch::count(&groups)), detail }]);
    }
    let mut letters = Vec::new();
    let mut dead_columns = Vec::new();
    let mut newest = BTreeMap::<SeriesNo, i64>::new();
    let (mut first_us, mut last_us, mut readings) = (i64::MAX, i64::MIN, 0u64);
    let all = groups.iter().flat_map(|group| group.columns.iter().map(move |column| (group, column)));
    for ((group, column), ordinal) in all.zip(0u32..) {
        let (Some(first), Some(last)) = (group.times_us.first(), group.times_us.last()) else { continue };
        match check(group, column, registered, offset_us, bounds) {
            Ok(series) => {
                // Within the bounds, so neither sum overflows.
                let (first, last) = (first.saturating_add(offset_us), last.saturating_add(offset_us));
                (first_us, last_us) = (first_us.min(first), last_us.max(last));
                readings += column.values.len() as u64;
                let latest = newest.entry(series).or_insert(last);
                *latest = last.max(*latest);
            }
            Err((reason, detail)) => {
                dead_columns.push(ordinal);
                let readings = Some(column.values.len() as u64);
                letters.push(Letter { series: Some(column.series), reason, readings, detail });
            }
        }
    }
    if readings == 0 {
        return dead(&sealed, letters);
    }
    Content::Batch {
        births: registered.number,
        sealed,
        offset_us,
        first_us,
        last_us,
        readings,
        dead_columns,
        newest: newest.into_iter().collect(),
        letters,
    }
}

/// A record of which nothing is stored.
pub fn dead(sealed: &Sealed, letters: Vec<Letter>) -> Content {
    Content::Dead { original: sealed.to_wire().encode_to_vec().into(), letters }
}

fn check(
    group: &Group,
    column: &Column,
    registered: &Registered,
    offset_us: i64,
    bounds: Bounds,
) -> Result<SeriesNo, (DeadLetterReason, String)> {
    let index = column.series as usize;
    let Some((place, declared)) = registered.places.get(index).zip(registered.births.series.get(index)) else {
        let known = registered.places.len();
        return Err((
            DeadLetterReason::UnknownSeries,
            format!("series {index} is not among the {known} of its births"),
        ));
    };
    let Placement::Own(series, value_type) = *place else {
        let asset = &registered.births.assets[declared.asset].id;
        return Err((
            DeadLetterReason::OtherOwner,
            format!("{asset}/{} belongs to another gateway of the firm", declared.metric),
        ));
    };
    if column.values.value_type() != value_type {
        return Err((
            DeadLetterReason::WrongType,
            format!("values of type {:?}, declared as {value_type:?}", column.values.value_type()),
        ));
    }
    let wall = |time_us: Option<&i64>| time_us.and_then(|time_us| time_us.checked_add(offset_us));
    let (Some(first), Some(last)) = (wall(group.times_us.first()), wall(group.times_us.last())) else {
        return Err((DeadLetterReason::TimeAhead, "times that no clock can show".into()));
    };
    if last > bounds.newest_us {
        return Err((DeadLetterReason::TimeAhead, "times more than five minutes ahead of the ingest".into()));
    }
    if first < bounds.oldest_us {
        return Err((DeadLetterReason::TimeTooOld, "times before the retention".into()));
    }
    Ok(series)
}

fn reason(error: &BatchError) -> DeadLetterReason {
    match error {
        BatchError::TooLarge(_) | BatchError::TooManyReadings => DeadLetterReason::LimitExceeded,
        BatchError::Text(_) => DeadLetterReason::TextRefused,
        BatchError::SeriesIndex(_) => DeadLetterReason::UnknownSeries,
        BatchError::Undecodable(_)
        | BatchError::Length { .. }
        | BatchError::NoValues(_)
        | BatchError::Quality(_)
        | BatchError::Times => DeadLetterReason::Undecodable,
    }
}

#[cfg(test)]
mod tests;
