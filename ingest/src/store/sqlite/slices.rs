//! Slices: what a packed column comes to in each UTC hour, beside its readings.
//!
//! An hour that lies in one bucket and in one packed column is answered from them. They say
//! the same as the readings: as long as the series' values hold for as long as when they were
//! packed, as nothing else lies in their time, and as all of it is wanted.

use std::collections::HashMap;

use rusqlite::{Connection, params};
use sandan_proto::batch::Values;

use super::file::failed;
use super::pack;
use super::run::Run;
use crate::store::aggregate::Stats;
use crate::store::{SeriesNo, StoreError};
use crate::time::HOUR_US;

/// Readings that an hour needs for its slice to be worth its bytes: 60 of them for 512 readings
/// are a tenth of a byte each, and fewer are decoded in a few microseconds.
/// In tests two, so that they are used everywhere.
const MIN_READINGS: usize = if cfg!(test) { 2 } else { 512 };

/// The slices of a run whose times are `times`; none of texts, and of too few readings.
pub(super) fn of(times: &[i64], run: &Run, hold_us: i64) -> Option<Vec<Stats>> {
    let (first, last) = (times.first()?, times.last()?);
    let hours = last.div_euclid(HOUR_US) - first.div_euclid(HOUR_US) + 1;
    let dense = usize::try_from(hours).ok()?.checked_mul(MIN_READINGS)? <= times.len();
    if !dense || matches!(run.values, Values::Text(_)) {
        return None;
    }
    let mut all: Vec<Stats> = Vec::new();
    let mut end_us = i64::MIN;
    for (index, &time_us) in times.iter().enumerate() {
        let stats = Stats::of(time_us, run.number(index));
        if let Some(hour) = all.last_mut().filter(|_| time_us < end_us) {
            hour.join(&stats, hold_us);
        } else {
            end_us = (time_us.div_euclid(HOUR_US) + 1) * HOUR_US;
            all.push(stats);
        }
    }
    Some(all)
}

/// The slices of a packed column, still packed.
pub(super) struct Sliced {
    pub newest_commit: i64,
    pub hold_us: i64,
    first_us: i64,
    stats: Vec<u8>,
}

impl Sliced {
    pub(super) fn unpack(&self) -> Result<Vec<Stats>, StoreError> {
        pack::unpack_stats(self.first_us, &self.stats)
    }
}

/// The slices of a series' packed columns that may hold times in [from, to), by column.
pub(super) fn find(
    conn: &Connection,
    series: SeriesNo,
    from_us: i64,
    to_us: i64,
) -> Result<HashMap<i64, Sliced>, StoreError> {
    let find = || {
        conn.prepare_cached(
            "SELECT packed, newest_commit, hold_us, first_us, stats FROM slices
             WHERE series = ?1 AND first_us < ?3
               AND first_us >= ?2 - (SELECT longest_us FROM newest WHERE series = ?1)",
        )?
        .query_map(params![series.0, from_us, to_us], |row| {
            let sliced =
                Sliced { newest_commit: row.get(1)?, hold_us: row.get(2)?, first_us: row.get(3)?, stats: row.get(4)? };
            Ok((row.get(0)?, sliced))
        })?
        .collect::<rusqlite::Result<_>>()
    };
    find().map_err(failed("reading a firm file"))
}
