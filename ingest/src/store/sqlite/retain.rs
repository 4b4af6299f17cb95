//! Retention: readings that are old enough become minutes and hours, these go in their time.
//!
//! A pass takes one series after the other, each in one transaction of the firm's file: what
//! is counted and what is deleted change together, so that a kill loses and doubles nothing.
//! Columns that overlap go together, once all of them are old enough, because only what lies in
//! the order of time can be counted.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use sandan_proto::batch::Values;
use sandan_proto::id::{FirmId, MetricId};

use super::file::failed;
use super::firm_file::{self, Packed};
use super::inbox::Inbox;
use super::run::Run;
use super::{Shared, catalogue, compact, pack};
use crate::store::aggregate::{Stats, count_in, hold_us};
use crate::store::retention::{Pass, Retained, Retention};
use crate::store::{SeriesNo, StoreError};
use crate::time::{DAY_US, HOUR_US, MINUTE_US};

/// Beyond the retention: what was admitted last is packed by then.
const MARGIN_US: i64 = 2 * DAY_US;
/// Packed columns that are counted in one transaction: some ten thousand readings each.
const AT_ONCE: usize = 32;

/// What is known of a series.
struct Series {
    number: SeriesNo,
    hold_us: i64,
    retention: Retention,
}

/// How often it is done.
const EVERY_US: i64 = DAY_US;

/// When it was done last, µs since 1970.
#[derive(Debug, Default)]
pub(super) struct Last(Option<i64>);

/// A pass over every firm once a day, on the compactor's thread.
pub(super) fn retain_due(shared: &Shared, inbox: &Inbox, last: &mut Last) -> Result<(), StoreError> {
    let now_us = (shared.options.now)();
    if last.0.is_some_and(|at| now_us.saturating_sub(at) < EVERY_US) && !is_hurried!("retain.eager") {
        return Ok(());
    }
    let reader = shared.reader()?;
    let firms = catalogue::firm_numbers(&reader);
    shared.give_back(reader);
    let mut first_error = None;
    for firm in firms? {
        // One firm's damaged file must not keep the others' readings for ever.
        match retain(shared, inbox, firm, Pass::Apply) {
            Ok(gone) if gone.is_nothing() => {}
            Ok(gone) => tracing::info!(firm, readings = gone.readings, days = gone.days, "past their retention: gone"),
            Err(error) => drop(first_error.get_or_insert(error)),
        }
    }
    last.0 = Some(now_us);
    first_error.map_or(Ok(()), Err)
}

/// One pass over a firm.
pub(super) fn retain(shared: &Shared, inbox: &Inbox, firm: i64, pass: Pass) -> Result<Retained, StoreError> {
    let now_us = (shared.options.now)();
    let reader = shared.reader()?;
    let id = catalogue::firm_id(&reader, firm)?;
    let series = list(&reader, shared, firm, &id);
    shared.give_back(reader);
    let series = series?;
    let before = |kept_us: i64| now_us.saturating_sub(kept_us).saturating_sub(MARGIN_US);
    let mut done = Retained::default();
    if pass == Pass::Look {
        // Of what waits to be packed nothing is said: a look writes nothing, also on a full disk.
        let Some(file) = firm_file::open_to_read(&shared.dir, firm)? else { return Ok(done) };
        for series in &series {
            let all = firm_file::packed(&file, series.number, i64::MIN, before(series.retention.raw_us))?;
            let old = whole_and_old(all, before(series.retention.raw_us)).concat();
            done.add(weigh(&file, &old).map_err(failed("reading a firm file"))?);
            done.days += days(&file, series, before, pass)?;
        }
        return Ok(done);
    }
    // What waits would be counted behind its time.
    compact::compact_firm(shared, inbox, firm)?;
    if !firm_file::path(&shared.dir, firm).exists() {
        return Ok(done);
    }
    let mut file = firm_file::open(&shared.dir, firm, &id, shared.uuid)?;
    for series in &series {
        done.add(count_old(shared, &mut file, series, before(series.retention.raw_us))?);
        done.days += days(&file, series, before, pass)?;
    }
    firm_file::shorten_log(&file);
    shared.metrics.retained_readings.add(done.readings);
    Ok(done)
}

/// Counts or deletes the days of minutes and hours that are old enough.
fn days(file: &Connection, series: &Series, before: impl Fn(i64) -> i64, pass: Pass) -> Result<u64, StoreError> {
    let failed = failed("using a firm file");
    let mut all = 0;
    for (width_us, kept_us) in [(MINUTE_US, series.retention.minutes_us), (HOUR_US, series.retention.hours_us)] {
        let args = params![series.number.0, width_us, before(kept_us).saturating_sub(DAY_US)];
        let found = match pass {
            Pass::Look => file
                .prepare_cached("SELECT count(*) FROM rollup WHERE series = ?1 AND width_us = ?2 AND day_us < ?3")
                .and_then(|mut count| count.query_row(args, |row| row.get::<_, i64>(0)))
                .map(i64::unsigned_abs),
            Pass::Apply => file
                .prepare_cached("DELETE FROM rollup WHERE series = ?1 AND width_us = ?2 AND day_us < ?3")
                .and_then(|mut delete| delete.execute(args))
                .map(|gone| gone as u64),
        };
        all += found.map_err(&failed)?;
        crash_point!("retain.dropped-before-next");
    }
    Ok(all)
}

/// What packed columns hold, without unpacking them.
fn weigh(file: &Connection, columns: &[Packed]) -> rusqlite::Result<Retained> {
    let mut sum = Retained { from_us: columns.iter().map(|packed| packed.first_us).min(), ..Retained::default() };
    let mut find = file.prepare_cached(
        "SELECT rows, coalesce(data_bytes, length(data)) + coalesce(quality_bytes, length(quality))
         FROM packed JOIN block ON block.id = packed.block WHERE packed.id = ?1",
    )?;
    for packed in columns {
        let (rows, bytes): (i64, i64) = find.query_row([packed.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        sum.readings += rows.unsigned_abs();
        sum.bytes += bytes.unsigned_abs();
    }
    Ok(sum)
}

fn list(conn: &Connection, shared: &Shared, firm: i64, id: &FirmId) -> Result<Vec<Series>, StoreError> {
    let find = || {
        conn.prepare_cached(
            "SELECT version.number, expected_interval_ms, metric
             FROM series JOIN version ON version.series = series.number WHERE series.firm = ?1",
        )?
        .query_map([firm], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()
    };
    find()
        .map_err(failed("listing series"))?
        .into_iter()
        .map(|(number, interval_ms, metric)| {
            let metric = MetricId::new(&metric).map_err(|error| StoreError::Damaged(error.to_string()))?;
            let retention = shared.options.classes.of(id, &metric);
            Ok(Series { number: SeriesNo(number), hold_us: hold_us(interval_ms), retention })
        })
        .collect()
}

/// Counts what lies wholly before a time in minutes and hours, and deletes it.
fn count_old(shared: &Shared, file: &mut Connection, series: &Series, before_us: i64) -> Result<Retained, StoreError> {
    let all = firm_file::packed(file, series.number, i64::MIN, before_us)?;
    let mut done = Retained::default();
    for columns in whole_and_old(all, before_us).chunks(AT_ONCE).map(<[Vec<Packed>]>::concat) {
        let tx =
            file.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed("writing a firm file"))?;
        done.add(weigh(&tx, &columns).map_err(failed("reading a firm file"))?);
        for together in apart(columns) {
            let mut runs = Vec::new();
            for packed in &together {
                runs.push(firm_file::unpack(&tx, *packed)?);
            }
            if !runs.iter().all(|run| matches!(run.values, Values::Text(_))) {
                add(&tx, series, &in_order(&runs))?;
            }
            delete(&tx, series, &together).map_err(failed("writing a firm file"))?;
        }
        shared.crash_point("retained, not committed")?;
        crash_point!("retain.counted-before-commit");
        tx.commit().map_err(failed("writing a firm file"))?;
        crash_point!("retain.counted-before-next");
        shared.crash_point("retained")?;
    }
    Ok(done)
}

/// Columns in the groups in which they overlap.
fn apart(mut columns: Vec<Packed>) -> Vec<Vec<Packed>> {
    columns.sort_by_key(|packed| (packed.first_us, packed.block));
    let mut groups: Vec<Vec<Packed>> = Vec::new();
    let mut end_us = i64::MIN;
    for packed in columns {
        match groups.last_mut().filter(|_| packed.first_us <= end_us) {
            Some(group) => group.push(packed),
            None => groups.push(vec![packed]),
        }
        end_us = end_us.max(packed.last_us);
    }
    groups
}

/// The groups of which nothing reaches beyond a time.
fn whole_and_old(columns: Vec<Packed>, before_us: i64) -> Vec<Vec<Packed>> {
    let mut groups = apart(columns);
    groups.retain(|group| group.iter().all(|packed| packed.last_us < before_us));
    groups
}

/// Readings of several runs by time, then commit.
fn in_order(runs: &[Run]) -> Vec<(i64, Option<f64>)> {
    let mut all: Vec<(i64, i64, Option<f64>)> = runs
        .iter()
        .flat_map(|run| (0..run.len()).map(move |at| (run.times[at], run.commits[at], run.number(at))))
        .collect();
    all.sort_by_key(|&(time_us, commit, _)| (time_us, commit));
    all.into_iter().map(|(time_us, _, number)| (time_us, number)).collect()
}

/// Adds readings to the minutes and hours of their days.
fn add(tx: &Transaction<'_>, series: &Series, readings: &[(i64, Option<f64>)]) -> Result<(), StoreError> {
    for width_us in [MINUTE_US, HOUR_US] {
        let mut days = BTreeMap::<i64, Vec<Stats>>::new();
        for &(time_us, number) in readings {
            let day_us = time_us.div_euclid(DAY_US) * DAY_US;
            let day = days.entry(day_us).or_default();
            count_in(day, Stats::of(time_us, number), width_us, series.hold_us);
        }
        for (day_us, added) in days {
            let mut day = of_day(tx, series.number, width_us, day_us)?;
            for stats in added {
                count_in(&mut day, stats, width_us, series.hold_us);
            }
            let last_us = day.iter().map(|stats| stats.to_us).max().unwrap_or(day_us);
            let packed = pack::pack_stats(day_us, &day);
            tx.prepare_cached(
                "INSERT INTO rollup (series, width_us, day_us, last_us, hold_us, stats) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (series, width_us, day_us) DO UPDATE SET
                     last_us = excluded.last_us, hold_us = excluded.hold_us, stats = excluded.stats",
            )
            .and_then(|mut insert| {
                insert.execute(params![series.number.0, width_us, day_us, last_us, series.hold_us, packed])
            })
            .map_err(failed("writing a firm file"))?;
        }
    }
    Ok(())
}

fn of_day(conn: &Connection, series: SeriesNo, width_us: i64, day_us: i64) -> Result<Vec<Stats>, StoreError> {
    let found = conn
        .prepare_cached("SELECT stats FROM rollup WHERE series = ?1 AND width_us = ?2 AND day_us = ?3")
        .and_then(|mut find| {
            find.query_row(params![series.0, width_us, day_us], |row| row.get::<_, Vec<u8>>(0)).optional()
        })
        .map_err(failed("reading a firm file"))?;
    found.map_or(Ok(Vec::new()), |packed| pack::unpack_stats(day_us, &packed))
}

fn delete(tx: &Transaction<'_>, series: &Series, columns: &[Packed]) -> rusqlite::Result<()> {
    firm_file::delete(tx, series.number, columns)?;
    let last_us = columns.iter().map(|packed| packed.last_us).max();
    tx.prepare_cached("UPDATE newest SET raw_from_us = max(coalesce(raw_from_us, ?2), ?2) WHERE series = ?1")?
        .execute(params![series.number.0, last_us.map(|last_us| last_us + 1)])?;
    Ok(())
}

/// A day of minutes or hours that is left of readings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rollup {
    pub series: SeriesNo,
    pub width_us: i64,
    pub day_us: i64,
    pub last_us: i64,
}

/// The days of a series that may hold times in [from, to), in stretches of one width.
pub(super) fn rollups(
    conn: &Connection,
    series: SeriesNo,
    width_us: i64,
    from_us: i64,
    to_us: i64,
) -> Result<Vec<Rollup>, StoreError> {
    let find = || {
        conn.prepare_cached(
            "SELECT day_us, last_us FROM rollup
             WHERE series = ?1 AND width_us = ?2 AND day_us > ?3 AND day_us < ?4 AND last_us >= ?5",
        )?
        .query_map(params![series.0, width_us, from_us.saturating_sub(DAY_US), to_us, from_us], |row| {
            Ok(Rollup { series, width_us, day_us: row.get(0)?, last_us: row.get(1)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()
    };
    find().map_err(failed("reading a firm file"))
}

/// What such a day holds.
pub(super) fn unpack(conn: &Connection, rollup: Rollup) -> Result<Vec<Stats>, StoreError> {
    of_day(conn, rollup.series, rollup.width_us, rollup.day_us)
}
