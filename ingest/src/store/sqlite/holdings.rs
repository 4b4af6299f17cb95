//! What there is of a firm, counted without unpacking anything.

use rusqlite::{Connection, params};

use super::file::failed;
use super::shared::Shared;
use super::{catalogue, firm_file};
use crate::store::{Holdings, StoreError};
use sandan_proto::id::FirmId;

/// Counts from one view of the inbox and one of the firm's file.
pub(super) fn of(shared: &Shared, inbox: &Connection, firm: &FirmId) -> Result<Holdings, StoreError> {
    let Some(number) = catalogue::firm_number(inbox, firm)? else { return Ok(Holdings::default()) };
    let file = firm_file::open_to_read(&shared.dir, number)?;
    let mark = file.as_ref().map_or(Ok(0), |file| firm_file::mark(file, shared.uuid))?;
    let mut held = waiting(inbox, number, mark).map_err(failed("counting in the inbox"))?;
    if let Some(file) = &file {
        let packed = packed(file).map_err(failed("counting in a firm file"))?;
        held.readings += packed.readings;
        held.from_us = held.from_us.into_iter().chain(packed.from_us).min();
        held.to_us = held.to_us.into_iter().chain(packed.to_us).max();
        let path = firm_file::path(&shared.dir, number);
        let log = path.with_extension("db-wal");
        held.bytes +=
            [path, log].iter().filter_map(|path| std::fs::metadata(path).ok()).map(|it| it.len()).sum::<u64>();
    }
    Ok(held)
}

/// What the catalogue names and what waits behind the mark.
fn waiting(inbox: &Connection, firm: i64, mark: i64) -> rusqlite::Result<Holdings> {
    let count = |sql: &str| inbox.query_row(sql, [firm], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
    let (readings, bytes, from_us, to_us): (i64, i64, _, _) = inbox.query_row(
        "SELECT coalesce(sum(readings), 0), coalesce(sum(length(payload)), 0), min(first_us), max(last_us)
         FROM record WHERE firm = ?1 AND id > ?2",
        params![firm, mark],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    Ok(Holdings {
        series: count("SELECT count(*) FROM series WHERE firm = ?1")?,
        gateways: count("SELECT count(*) FROM gateway WHERE firm = ?1")?,
        readings: readings.unsigned_abs(),
        bytes: bytes.unsigned_abs(),
        from_us,
        to_us,
        gaps: count("SELECT count(*) FROM gap WHERE firm = ?1")?,
        dead_records: count(
            "SELECT count(*) FROM dead_record WHERE gateway IN (SELECT number FROM gateway WHERE firm = ?1)",
        )?,
    })
}

fn packed(file: &Connection) -> rusqlite::Result<Holdings> {
    let sql =
        "SELECT coalesce(sum(rows), 0), min(first_us), max(last_us) FROM packed JOIN block ON block.id = packed.block";
    let (readings, from_us, to_us): (i64, _, _) =
        file.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(Holdings { readings: readings.unsigned_abs(), from_us, to_us, ..Holdings::default() })
}
