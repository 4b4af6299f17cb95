//! A firm's own file: packed blocks, and the mark up to which the inbox is in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sandan_proto::id::FirmId;
use uuid::Uuid;

use super::file::{self, failed};
use super::run::Run;
use super::{chunk, heads, pack, slices};
use crate::store::aggregate::hold_us;
use crate::store::{SeriesNo, StoreError};

/// Where the file of a firm is.
pub(super) fn path(dir: &Path, firm: i64) -> PathBuf {
    dir.join("firms").join(format!("{firm}.db"))
}

/// Opens the file for packing, making it where there is none.
pub(super) fn open(dir: &Path, firm: i64, id: &FirmId, inbox: Uuid) -> Result<Connection, StoreError> {
    file::open(&path(dir, firm), &file::FIRM, |conn| {
        conn.execute(
            "INSERT INTO mark (one, inbox, id, firm) VALUES (1, ?1, 0, ?2)",
            params![inbox.as_bytes(), id.as_str()],
        )
        .map(drop)
    })
}

/// Opens the file for reading; none while nothing was packed.
pub(super) fn open_to_read(dir: &Path, firm: i64) -> Result<Option<Connection>, StoreError> {
    file::open_to_read(&path(dir, firm), &file::FIRM)
}

/// Inbox rows up to this id are in the file.
pub(super) fn mark(conn: &Connection, inbox: Uuid) -> Result<i64, StoreError> {
    let find = || {
        conn.query_row("SELECT inbox, id FROM mark WHERE one = 1", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        })
    };
    let (of, id) = find().map_err(failed("reading a firm file"))?;
    if of != inbox.as_bytes() {
        return Err(StoreError::Foreign {
            path: conn.path().unwrap_or_default().into(),
            expected: "a firm file of this inbox; it was copied from another store",
        });
    }
    Ok(id)
}

/// Packs runs, each of one series and in the order of time, and moves the mark; all
/// of it synced when this returns. Gives how many bytes were packed. `holds` is for how long a value of each series holds, µs.
pub(super) fn append(
    conn: &mut Connection,
    mark: i64,
    runs: HashMap<SeriesNo, Run>,
    holds: &HashMap<SeriesNo, i64>,
) -> Result<u64, StoreError> {
    let failed = failed("writing a firm file");
    let tx = conn.transaction().map_err(&failed)?;
    let bytes = write(&tx, runs, holds)?;
    tx.execute("UPDATE mark SET id = ?1 WHERE one = 1", [mark]).map_err(&failed)?;
    crash_point!("compact.written-before-commit");
    tx.commit().map_err(&failed)?;
    Ok(bytes)
}

/// Copies the log into the file and cuts it to nothing, where no reader holds on to it: idle ones
/// keep the engine from doing so when the writer closes. What fails is done the next time.
pub(super) fn shorten_log(conn: &Connection) {
    let busy = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    if let Err(error) = busy {
        tracing::warn!(%error, "the log of a firm's file could not be shortened");
    }
}

/// Writes runs as blocks. Gives how many bytes they take, without the file's own.
pub(super) fn write(
    tx: &Transaction<'_>,
    runs: HashMap<SeriesNo, Run>,
    holds: &HashMap<SeriesNo, i64>,
) -> Result<u64, StoreError> {
    let failed = failed("writing a firm file");
    let mut bytes = 0;
    for ((times, commits), columns) in grouped(runs) {
        let (times_packed, commits_packed) = (pack::pack_ascending(&times)?, pack::pack_commits(&commits)?);
        let lens = [times_packed.len() as i64, commits_packed.len() as i64];
        tx.prepare_cached(
            "INSERT INTO block (rows, times, commits, times_bytes, commits_bytes) VALUES (?1, x'', x'', ?2, ?3)",
        )
        .and_then(|mut insert| insert.execute(params![times.len() as i64, lens[0], lens[1]]))
        .map_err(&failed)?;
        let block = tx.last_insert_rowid();
        let mut chunks = chunk::Chunks::new(tx, block);
        chunks.put([&times_packed, &commits_packed])?;
        let (Some(&first_us), Some(&last_us)) = (times.first(), times.last()) else { continue };
        let newest_commit = commits.iter().copied().max().unwrap_or(0);
        for (series, run) in columns {
            let (quality, data) = (pack::pack_quality(&run.quality)?, pack::pack_values(&run.values)?);
            let hold_us = holds.get(&series).copied().unwrap_or_else(|| hold_us(0));
            let stats = slices::of(&times, &run, hold_us).map(|stats| pack::pack_stats(first_us, &stats));
            let place = chunks.put([&quality, &data])?;
            let insert = || {
                tx.prepare_cached(
                    "INSERT INTO packed
                         (series, block, first_us, last_us, quality, data, chunk, at, quality_bytes, data_bytes)
                     VALUES (?1, ?2, ?3, ?4, x'', x'', ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    series.0,
                    block,
                    first_us,
                    last_us,
                    place.chunk,
                    place.at as i64,
                    quality.len() as i64,
                    data.len() as i64
                ])?;
                let packed = tx.last_insert_rowid();
                if let Some(stats) = stats {
                    tx.prepare_cached(
                        "INSERT INTO slices (series, first_us, packed, newest_commit, hold_us, stats)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .execute(params![
                        series.0,
                        first_us,
                        packed,
                        newest_commit,
                        hold_us,
                        stats
                    ])?;
                }
                tx.prepare_cached(include_str!("sql/raise_newest.sql"))?.execute(params![
                    series.0,
                    last_us,
                    times.len() as i64,
                    last_us.saturating_sub(first_us)
                ])
            };
            insert().map_err(&failed)?;
        }
        bytes += chunks.end()?;
    }
    Ok(bytes)
}

/// Deletes packed columns of a series, and what of their blocks nothing needs any more.
pub(super) fn delete(tx: &Transaction<'_>, series: SeriesNo, columns: &[Packed]) -> rusqlite::Result<()> {
    for packed in columns {
        let chunk: Option<Option<i64>> = tx
            .prepare_cached("DELETE FROM packed WHERE id = ?1 RETURNING chunk")?
            .query_row([packed.id], |row| row.get(0))
            .optional()?;
        tx.prepare_cached("DELETE FROM slices WHERE series = ?1 AND first_us = ?2 AND packed = ?3")?
            .execute(params![series.0, packed.first_us, packed.id])?;
        // The times go with the last column of their group.
        let gone = tx
            .prepare_cached("DELETE FROM block WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM packed WHERE block = ?1)")?
            .execute([packed.block])?;
        match chunk.flatten() {
            _ if gone > 0 => chunk::forget_all(tx, packed.block)?,
            Some(number) => chunk::forget(tx, packed.block, number)?,
            None => {}
        }
    }
    Ok(())
}

/// Most readings of a series in one block: bounds what a read decodes to reach one
/// reading. Compression gains little beyond.
const BLOCK_ROWS: usize = 8_192;

type Shared = (Vec<i64>, Vec<i64>);

/// Cuts runs into blocks and puts those of equal times and commits together.
fn grouped(runs: HashMap<SeriesNo, Run>) -> Vec<(Shared, Vec<(SeriesNo, Run)>)> {
    let mut runs: Vec<_> = runs.into_iter().collect();
    runs.sort_by_key(|&(series, _)| series);
    let mut groups: Vec<(Shared, Vec<(SeriesNo, Run)>)> = Vec::new();
    let mut known = HashMap::<Shared, usize>::new();
    for (series, run) in runs {
        // Even ones: a small rest would soon be put together with what follows.
        let rows = run.len().div_ceil(run.len().div_ceil(BLOCK_ROWS).max(1)).max(1);
        for start in (0..run.len()).step_by(rows) {
            let mut piece = run.slice(start..run.len().min(start + rows));
            let shared = (std::mem::take(&mut piece.times), std::mem::take(&mut piece.commits));
            if let Some(&group) = known.get(&shared) {
                groups[group].1.push((series, piece));
            } else {
                known.insert(shared.clone(), groups.len());
                groups.push((shared, vec![(series, piece)]));
            }
        }
    }
    groups
}

/// One packed column, not read yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed {
    pub id: i64,
    pub block: i64,
    pub first_us: i64,
    pub last_us: i64,
}

/// The packed columns of a series that may hold times in [from, to).
pub(super) fn packed(conn: &Connection, series: SeriesNo, from_us: i64, to_us: i64) -> Result<Vec<Packed>, StoreError> {
    let find = || {
        conn.prepare_cached(
            "SELECT id, block, first_us, last_us FROM packed
             WHERE series = ?1 AND first_us < ?3 AND last_us >= ?2
               AND first_us >= ?2 - (SELECT longest_us FROM newest WHERE series = ?1)",
        )?
        .query_map(params![series.0, from_us, to_us], |row| {
            Ok(Packed { id: row.get(0)?, block: row.get(1)?, first_us: row.get(2)?, last_us: row.get(3)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()
    };
    find().map_err(failed("reading a firm file"))
}

/// Bytes of two parts of a chunk; none where they are in a row of their own.
type Lens = Option<[usize; 2]>;

fn lens(first: Option<u32>, second: Option<u32>) -> Lens {
    first.zip(second).map(|(first, second)| [first as usize, second as usize])
}

/// Unpacks a column.
pub(super) fn unpack(conn: &Connection, packed: Packed) -> Result<Run, StoreError> {
    let failed = failed("reading a firm file");
    let (rows, mut shared, in_chunk): (u32, [Vec<u8>; 2], Lens) = conn
        .prepare_cached("SELECT rows, times, commits, times_bytes, commits_bytes FROM block WHERE id = ?1")
        .and_then(|mut find| {
            find.query_row([packed.block], |row| {
                Ok((row.get(0)?, [row.get(1)?, row.get(2)?], lens(row.get(3)?, row.get(4)?)))
            })
        })
        .map_err(&failed)?;
    if let Some(lens) = in_chunk {
        shared = chunk::get(conn, packed.block, chunk::Place { chunk: 0, at: 0 }, lens)?;
    }
    let (mut own, place, lens): ([Vec<u8>; 2], Option<chunk::Place>, Lens) = conn
        .prepare_cached("SELECT quality, data, chunk, at, quality_bytes, data_bytes FROM packed WHERE id = ?1")
        .and_then(|mut find| {
            find.query_row([packed.id], |row| {
                let place = row.get::<_, Option<i64>>(2)?.zip(row.get::<_, Option<u32>>(3)?);
                let place = place.map(|(chunk, at)| chunk::Place { chunk, at: at as usize });
                Ok(([row.get(0)?, row.get(1)?], place, lens(row.get(4)?, row.get(5)?)))
            })
        })
        .map_err(&failed)?;
    if let Some((place, lens)) = place.zip(lens) {
        own = chunk::get(conn, packed.block, place, lens)?;
    }
    let ([times, commits], [quality, data], rows) = (shared, own, rows as usize);
    if rows > BLOCK_ROWS {
        return Err(StoreError::Damaged(format!("block {} has {rows} rows, more than {BLOCK_ROWS}", packed.block)));
    }
    let run = Run {
        times: pack::unpack_ascending(&times, rows)?,
        commits: pack::unpack_commits(&commits, rows)?,
        quality: pack::unpack_quality(&quality, rows)?,
        values: pack::unpack_values(&data, rows)?,
    };
    if !run.times.is_sorted() {
        return Err(StoreError::Damaged(format!("block {} is not in the order of time", packed.block)));
    }
    Ok(run)
}

/// Latest time of each series in the file.
pub(super) fn newest(conn: &Connection, into: &mut HashMap<SeriesNo, i64>) -> Result<(), StoreError> {
    let mut find = || {
        let mut select = conn.prepare_cached("SELECT series, newest_us FROM newest")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            heads::raise(into, SeriesNo(row.get(0)?), row.get(1)?);
        }
        Ok(())
    };
    find().map_err(failed("reading a firm file"))
}
