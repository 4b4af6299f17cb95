//! Small and late columns become full ones, behind the readings.
//!
//! A firm that says little is packed by the hour, and a backlog comes beside what is live: columns
//! that are small, and columns that lie across one another. Those of a series are unpacked, put
//! in order and packed again in one transaction of the firm's file, so that a reader sees all of it
//! or nothing and a kill leaves what was there. Each reading keeps its commit number, and so its
//! place in every answer. What was looked at is noted in the file: only what came since is looked
//! at again.

use std::collections::HashMap;
use std::ops::Range;

use rusqlite::{Connection, TransactionBehavior, params};

use super::file::failed;
use super::firm_file::{self, Packed};
use super::run::Run;
use super::{Shared, catalogue};
use crate::store::{SeriesNo, StoreError};
use crate::time::DAY_US;

/// Readings below which a column is small: pco is at its best from a few thousand on, and
/// what a column costs beside its readings is then little.
const SMALL: u64 = 2_048;
/// Small ones that lie side by side and are put together, at least: fewer would be rewritten too
/// often.
const TOGETHER: usize = 8;
/// For how long a column of small ones may last: retention takes whole columns.
const LONGEST_US: i64 = 7 * DAY_US;
/// Most readings of columns that lie across one another: bounds the memory. More stay as they
/// are, which reads put in order.
const ACROSS: u64 = 1 << 17;
/// Readings of one transaction: a tenth of a second of a core.
const AT_ONCE: u64 = 1 << 18;
/// Blocks that are looked at together: those of some devices.
const BLOCKS: i64 = 64;

/// What a step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Readings that were packed again.
    pub readings: u64,
    /// Bytes that were written for them, about.
    pub bytes: u64,
    /// There may be more to do.
    pub more: bool,
}

/// A packed column and its readings.
#[derive(Debug, Clone, Copy)]
struct Column {
    packed: Packed,
    rows: u64,
}

/// Which of a series' columns belong together. They are in the order of time.
fn plan(columns: &[Column]) -> Vec<Range<usize>> {
    let rows = |range: &Range<usize>| columns[range.clone()].iter().map(|column| column.rows).sum::<u64>();
    // Those that lie across one another; most are alone.
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut end_us = i64::MIN;
    for (at, column) in columns.iter().enumerate() {
        match groups.last_mut().filter(|_| column.packed.first_us <= end_us) {
            Some(group) => group.end = at + 1,
            None => groups.push(at..at + 1),
        }
        end_us = end_us.max(column.packed.last_us);
    }
    let mut together = Vec::new();
    // Small ones side by side, up to here.
    let mut beside: Vec<Range<usize>> = Vec::new();
    for group in groups {
        let small = group.len() == 1 && rows(&group) < SMALL;
        let first_us = |group: &Range<usize>| columns[group.start].packed.first_us;
        while beside.first().is_some_and(|first| {
            !small || columns[group.start].packed.last_us.saturating_sub(first_us(first)) > LONGEST_US
        }) {
            settle(&mut beside, &rows, &mut together);
        }
        if small {
            beside.push(group);
        } else if group.len() > 1 && rows(&group) <= ACROSS {
            together.push(group);
        }
    }
    while !beside.is_empty() {
        settle(&mut beside, &rows, &mut together);
    }
    together
}

/// Takes a whole run of small columns, or leaves its first one. One that has grown waits until as
/// much lies beside it, so that a reading is rewritten a few times and not each time.
fn settle(beside: &mut Vec<Range<usize>>, rows: &impl Fn(&Range<usize>) -> u64, together: &mut Vec<Range<usize>>) {
    let all: u64 = beside.iter().map(rows).sum();
    let largest = beside.iter().map(rows).max().unwrap_or(0);
    if beside.len() >= TOGETHER && 2 * largest <= all {
        together.push(beside[0].start..beside[beside.len() - 1].end);
        beside.clear();
    } else {
        beside.remove(0);
    }
}

/// Looks at what came since the last step, and puts together what belongs together, up to a bound.
pub(super) fn step(shared: &Shared, firm: i64) -> Result<Step, StoreError> {
    if !firm_file::path(&shared.dir, firm).exists() {
        return Ok(Step::default());
    }
    let reader = shared.reader()?;
    let (id, holds) = (catalogue::firm_id(&reader, firm)?, catalogue::holds(&reader, firm)?);
    shared.give_back(reader);
    let mut file = firm_file::open(&shared.dir, firm, &id, shared.uuid)?;
    let failed = failed("putting packed readings together");
    let tx = file.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
    let Some(through) = next_blocks(&tx).map_err(&failed)? else { return Ok(Step::default()) };
    let mut done = Step { more: true, ..Step::default() };
    let mut runs = HashMap::<SeriesNo, Run>::new();
    'series: for (series, columns) in touched(&tx, through).map_err(&failed)? {
        for range in plan(&columns) {
            // The rest comes with the next step, which finds these in order.
            if done.readings >= AT_ONCE || runs.contains_key(&series) {
                break 'series;
            }
            let mut together: Vec<Packed> = columns[range].iter().map(|column| column.packed).collect();
            together.sort_by_key(|packed| packed.block);
            let run = gather(&tx, &together)?;
            done.readings += run.len() as u64;
            firm_file::delete(&tx, series, &together)
                .and_then(|()| {
                    tx.prepare_cached("UPDATE newest SET readings = readings - ?2 WHERE series = ?1")?
                        .execute(params![series.0, run.len() as i64])
                })
                .map_err(&failed)?;
            runs.insert(series, run);
        }
    }
    if runs.is_empty() {
        tx.execute("UPDATE mark SET merged = ?1 WHERE one = 1", [through]).map_err(&failed)?;
    } else {
        done.bytes = firm_file::write(&tx, runs, &holds)?;
    }
    crash_point!("merge.written-before-commit");
    shared.crash_point("merged, not committed")?;
    tx.commit().map_err(&failed)?;
    crash_point!("merge.committed-before-next");
    shared.crash_point("merged")?;
    firm_file::shorten_log(&file);
    shared.metrics.merged_readings.add(done.readings);
    Ok(done)
}

/// All that there is to do for a firm.
pub(super) fn consolidate(shared: &Shared, firm: i64) -> Result<(), StoreError> {
    while step(shared, firm)?.more {}
    Ok(())
}

/// Up to which block is looked at next; none when all were.
fn next_blocks(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    conn.query_row(
        "SELECT max(id) FROM (SELECT id FROM block WHERE id > (SELECT merged FROM mark) ORDER BY id LIMIT ?1)",
        [BLOCKS],
        |row| row.get(0),
    )
}

/// The columns near those of the next blocks, by series.
fn touched(conn: &Connection, through: i64) -> rusqlite::Result<Vec<(SeriesNo, Vec<Column>)>> {
    let mut near = conn.prepare_cached(
        "SELECT packed.id, packed.block, first_us, last_us, rows FROM packed JOIN block ON block.id = packed.block
         WHERE series = ?1 AND first_us <= ?3 AND last_us >= ?2
           AND first_us >= ?2 - (SELECT longest_us FROM newest WHERE series = ?1)
         ORDER BY first_us, packed.block",
    )?;
    conn.prepare_cached(
        "SELECT series, min(first_us), max(last_us) FROM packed
         WHERE block > (SELECT merged FROM mark) AND block <= ?1 GROUP BY series",
    )?
    .query_map([through], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
    .map(|found| {
        let (series, from_us, to_us): (u32, i64, i64) = found?;
        let columns = near
            .query_map(params![series, from_us.saturating_sub(LONGEST_US), to_us.saturating_add(LONGEST_US)], |row| {
                let packed =
                    Packed { id: row.get(0)?, block: row.get(1)?, first_us: row.get(2)?, last_us: row.get(3)? };
                Ok(Column { packed, rows: row.get::<_, i64>(4)?.unsigned_abs() })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok((SeriesNo(series), columns))
    })
    .collect()
}

/// The readings of columns, by time and then commit; of one time and commit as they were packed.
fn gather(conn: &Connection, columns: &[Packed]) -> Result<Run, StoreError> {
    let mut all: Option<Run> = None;
    for packed in columns {
        let run = firm_file::unpack(conn, *packed)?;
        match &mut all {
            None => all = Some(run),
            Some(all) => {
                if !all.append(run) {
                    return Err(StoreError::Damaged(format!("block {} holds another type", packed.block)));
                }
            }
        }
    }
    let mut run = all.ok_or_else(|| StoreError::Damaged("nothing lies in what is put together".into()))?;
    run.sort_by_commit();
    Ok(run)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// First and last of what belongs together.
    fn planned(columns: &[Column]) -> Vec<(usize, usize)> {
        plan(columns).into_iter().map(|range| (range.start, range.end - 1)).collect()
    }

    /// First and last second, and readings.
    fn columns(of: &[(i64, i64, u64)]) -> Vec<Column> {
        let column = |(at, &(first, last, rows)): (usize, &(i64, i64, u64))| Column {
            packed: Packed { id: at as i64, block: at as i64, first_us: first * 1_000_000, last_us: last * 1_000_000 },
            rows,
        };
        of.iter().enumerate().map(column).collect()
    }

    fn hours(rows: &[u64]) -> Vec<Column> {
        let of = |(hour, rows): (i64, &u64)| (hour * 3_600, hour * 3_600 + 3_599, *rows);
        columns(&(0..).zip(rows).map(of).collect::<Vec<_>>())
    }

    #[test]
    fn what_lies_across_is_put_together_and_what_is_full_is_left() {
        assert_eq!(planned(&columns(&[(0, 99, 8_192), (100, 199, 8_192), (150, 160, 3), (200, 300, 8_192)])), [(1, 2)]);
        assert_eq!(planned(&columns(&[(0, 99, 8_192), (99, 199, 8_192)])), [(0, 1)], "one reading each of one time");
        assert!(planned(&columns(&[(0, 99, 8_192), (50, 60, ACROSS)])).is_empty(), "more than memory is for");
        assert!(planned(&hours(&[8_192; 30])).is_empty());
    }

    #[test]
    fn small_ones_are_put_together_once_there_are_enough() {
        assert!(planned(&hours(&[360; 7])).is_empty());
        assert_eq!(planned(&hours(&[360; 8])), [(0, 7)]);
        assert_eq!(planned(&hours(&[360, 360, 8_192, 360, 360, 360, 360, 360, 360, 360, 360])), [(3, 10)]);
        assert_eq!(
            planned(&hours(&[1_500, 6, 6, 6, 6, 6, 6, 6, 6])),
            [(1, 8)],
            "what has grown is not rewritten for little"
        );
        assert_eq!(planned(&hours(&[6; 24 * 8])), [(0, 167), (168, 191)], "a week at most");
    }

    proptest! {
        /// Each reading is rewritten a few times, and few columns are left.
        #[test]
        fn putting_together_ends(rows in 1_u64..700, count in 1_usize..400) {
            let (mut all, mut rewritten) = (Vec::new(), 0);
            for hour in 0..count as i64 {
                all.push((hour * 3_600, hour * 3_600 + 3_599, rows));
                while let Some(range) = plan(&columns(&all)).first().cloned() {
                    let sum = all[range.clone()].iter().map(|column| column.2).sum();
                    rewritten += sum;
                    let one = (all[range.start].0, all[range.end - 1].1, sum);
                    all.splice(range, [one]);
                }
            }
            let readings = rows * count as u64;
            prop_assert!(rewritten <= 9 * readings, "{rewritten} for {readings}");
            let least = (readings / SMALL) as usize + count / 168;
            prop_assert!(all.len() <= 20 + 3 * least, "{} columns", all.len());
        }
    }
}
