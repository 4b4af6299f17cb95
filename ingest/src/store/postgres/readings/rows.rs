//! Admitted batches as rows to be copied.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use sandan_proto::batch::{self, Group};
use sandan_proto::reading::{Quality, ValueType};

use super::copy::{Column, Rows};
use super::rollup::hour_of;
use super::tables::day_of;
use crate::store::delivery::Content;
use crate::store::{Clock, StoreError};

/// Numbers of versions, by the index of the series in the births; 0 and the greatest are none.
pub(super) type Places = std::sync::Arc<[u32]>;

/// A version's number and the start of an hour.
pub(super) type Late = (i32, i64);

/// The commit of a firm that a batch is stored with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Commit {
    pub number: i64,
    /// Hours before it may be counted, µs since 1970: those of readings in them are noted.
    pub closed_us: Option<i64>,
}

/// The rows of one group, by table.
#[derive(Debug, Default)]
pub(super) struct Copies {
    pub tables: [Rows; 3],
    pub days: BTreeSet<i64>,
    pub late: BTreeSet<Late>,
    ties: HashMap<u32, Tie>,
    scratch: Vec<Quality>,
}

/// Until when a series has readings in the group, and the greatest `nth` of them.
#[derive(Debug, Clone, Copy)]
struct Tie {
    last_us: i64,
    nth: i16,
}

/// Index of the table of texts.
pub(super) const TEXTS: usize = 2;

/// Index of the table of a type.
pub(super) fn table_of(value_type: ValueType) -> usize {
    match value_type {
        ValueType::F64 | ValueType::Unspecified => 0,
        ValueType::I64 | ValueType::Bool => 1,
        ValueType::Text => TEXTS,
    }
}

impl Copies {
    /// Appends what of a batch is stored. Nothing is appended where a place is missing.
    pub(super) fn push(&mut self, content: &Content, places: &Places, commit: Commit) -> Result<(), RowsError> {
        let Content::Batch { sealed, clock, dead_columns, .. } = content else { return Ok(()) };
        let groups = decode(&sealed.payload)?;
        let columns = || {
            let all = groups.iter().flat_map(|group| group.columns.iter().map(move |column| (group, column)));
            all.zip(0u32..).filter(|(_, ordinal)| dead_columns.binary_search(ordinal).is_err()).map(|(it, _)| it)
        };
        let place =
            |series: u32| places.get(series as usize).copied().filter(|number| *number != 0 && *number != u32::MAX);
        if columns().any(|(group, column)| !group.times_us.is_empty() && place(column.series).is_none()) {
            return Err(RowsError::Unplaced);
        }
        for (group, column) in columns() {
            let (Some(first), Some(last)) = (group.times_us.first(), group.times_us.last()) else { continue };
            let Some(series) = place(column.series) else { continue };
            self.days.extend(days_of(&group.times_us, *clock));
            let (first_us, last_us) = (first.saturating_add(clock.offset_us), last.saturating_add(clock.offset_us));
            // What overlaps an earlier column of the series comes behind it where times are equal.
            let nth = match self.ties.get(&series) {
                Some(tie) if first_us <= tie.last_us => tie.nth.saturating_add(1),
                _ => 0,
            };
            self.scratch.clear();
            self.scratch.extend(column.qualities().map(|quality| {
                if clock.estimated && quality == Quality::GOOD { Quality::UNCERTAIN_CLOCK } else { quality }
            }));
            let table = table_of(column.values.value_type());
            if let Some(closed_us) = commit.closed_us.filter(|closed_us| first_us < *closed_us && table != TEXTS) {
                let times = group.times_us.iter().map(|time_us| time_us.saturating_add(clock.offset_us));
                let hours = times.take_while(|time_us| *time_us < closed_us).map(hour_of);
                self.late.extend(hours.map(|hour_us| (series.cast_signed(), hour_us)));
            }
            let to = &mut self.tables[table];
            let of = Column {
                series: series.cast_signed(),
                commit: commit.number,
                times_us: &group.times_us,
                offset_us: clock.offset_us,
                nth,
            };
            let most = to.push(of, &column.values, self.scratch.iter().copied());
            let tie = self.ties.entry(series).or_insert(Tie { last_us, nth: most });
            *tie = Tie { last_us: tie.last_us.max(last_us), nth: tie.nth.max(most) };
        }
        Ok(())
    }
}

/// Adds the days of which a batch has readings, also of columns that are not stored where they
/// lie between two that are.
pub(super) fn add_days(content: &Content, days: &mut BTreeSet<i64>) -> Result<(), RowsError> {
    let Content::Batch { sealed, clock, first_us, last_us, .. } = content else { return Ok(()) };
    let ends = [day_of(*first_us), day_of(*last_us)];
    if ends[0] == ends[1] {
        days.insert(ends[0]);
        return Ok(());
    }
    let groups = decode(&sealed.payload)?;
    let found = groups.iter().flat_map(|group| days_of(&group.times_us, *clock));
    days.extend(found.filter(|day| (ends[0]..=ends[1]).contains(day)));
    Ok(())
}

/// The days of times that ascend.
fn days_of(times_us: &[i64], clock: Clock) -> BTreeSet<i64> {
    let day = |time_us: &i64| day_of(time_us.saturating_add(clock.offset_us));
    let ends = [times_us.first(), times_us.last()].map(|end| end.map(day));
    if ends[0] == ends[1] { ends[0].into_iter().collect() } else { times_us.iter().map(day).collect() }
}

fn decode(payload: &Bytes) -> Result<Vec<Group>, RowsError> {
    let damaged = |error| StoreError::Damaged(format!("an admitted batch: {error}"));
    batch::decode(payload).map_err(damaged).map_err(RowsError::Store)
}

/// Why a batch gives no rows.
#[derive(Debug)]
pub(super) enum RowsError {
    /// A column has no place in the births as they are known here.
    Unplaced,
    Store(StoreError),
}
