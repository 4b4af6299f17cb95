//! Of a deep check: the minutes and hours that retention left of readings.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use super::super::pack;
use super::{RESTORE, Verified};
use crate::store::aggregate::Stats;
use crate::time::{HOUR_US, MINUTE_US, rfc3339};

/// Numbers by the start of their hour.
fn by_hour(stats: &[Stats]) -> BTreeMap<i64, u64> {
    let mut counts = BTreeMap::new();
    for stats in stats {
        *counts.entry(stats.from_us.div_euclid(HOUR_US) * HOUR_US).or_default() += stats.count;
    }
    counts
}

/// Decodes every day of them, and compares the hours of each with its minutes.
pub(super) fn rollups(conn: &Connection, path: &Path, found: &mut Verified) -> rusqlite::Result<()> {
    let mut select =
        conn.prepare("SELECT series, width_us, day_us, last_us, stats FROM rollup ORDER BY series, day_us, width_us")?;
    let mut rows = select.query([])?;
    // The minutes of the day before the hours of the same.
    let mut minutes: Option<((i64, i64), BTreeMap<i64, u64>)> = None;
    while let Some(row) = rows.next()? {
        let (series, width_us, day_us): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (last_us, packed): (i64, Vec<u8>) = (row.get(3)?, row.get(4)?);
        let width = if width_us == HOUR_US { "hours" } else { "minutes" };
        let place = format!("{width} of {} of series {series}", rfc3339(day_us));
        let stats = match pack::unpack_stats(day_us, &packed) {
            Ok(stats) => stats,
            Err(error) => {
                found.add(path, &place, format!("cannot be decoded: {error}"), RESTORE);
                continue;
            }
        };
        if stats.iter().map(|stats| stats.to_us).max().unwrap_or(day_us) != last_us {
            found.add(path, &place, "reads may not find it: its end is not what is noted of it", RESTORE);
        }
        let counts = by_hour(&stats);
        if width_us == MINUTE_US {
            minutes = Some(((series, day_us), counts));
        } else if minutes.as_ref().is_some_and(|(of, minutes)| *of == (series, day_us) && *minutes != counts) {
            found.add(path, &place, "they do not come to what its minutes come to: one of both is damaged", RESTORE);
        }
    }
    Ok(())
}
