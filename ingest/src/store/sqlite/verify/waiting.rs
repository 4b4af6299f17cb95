//! Of a deep check: what waits in the inbox, and whether its tables fit together.

use std::path::Path;

use rusqlite::{Connection, params};

use super::super::rows::{self, Places};
use super::super::run::Run;
use super::{PAGE, RESTORE, Verified};
use crate::store::StoreError;
use crate::store::references::REFERENCES;

/// What is noted of a row.
struct Noted {
    id: i64,
    readings: u64,
    first_us: i64,
    last_us: i64,
}

/// Decodes every record that waits to be packed, and compares it with what is noted of it.
pub(super) fn records(conn: &Connection, path: &Path, found: &mut Verified) -> rusqlite::Result<()> {
    let (mut after, mut places) = (0, Places::default());
    loop {
        let page = conn
            .prepare_cached("SELECT id, readings, first_us, last_us FROM record WHERE id > ?1 ORDER BY id LIMIT ?2")?
            .query_map(params![after, PAGE], |row| {
                let readings = row.get::<_, i64>(1)?.unsigned_abs();
                Ok(Noted { id: row.get(0)?, readings, first_us: row.get(2)?, last_us: row.get(3)? })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        for noted in page {
            match decode(conn, &mut places, &noted) {
                Ok((readings, fits)) => {
                    found.readings += readings;
                    if !fits {
                        let what = "its readings are not as many, or not of the times, that are noted of it";
                        found.add(path, &format!("record {}", noted.id), what, RESTORE);
                    }
                }
                Err(error) => {
                    let what = format!("cannot be decoded: {error}");
                    found.add(path, &format!("record {}", noted.id), what, RESTORE);
                }
            }
        }
    }
}

/// The readings of a record, and whether they are what is noted.
fn decode(conn: &Connection, places: &mut Places, noted: &Noted) -> Result<(u64, bool), StoreError> {
    let record = rows::record(conn, noted.id)?.ok_or_else(|| StoreError::Damaged("it is gone".into()))?;
    let (mut readings, mut inside) = (0, true);
    rows::columns(
        conn,
        places,
        &record,
        |_| true,
        |_, group, column, stored| {
            let mut run = Run::new(column.values.value_type());
            run.extend(group, column, stored);
            readings += run.len() as u64;
            inside &= run.times.iter().all(|time_us| (noted.first_us..=noted.last_us).contains(time_us));
        },
    )?;
    Ok((readings, inside && readings == noted.readings))
}

/// Whether watermarks, catalogue and dead letters fit together.
pub(super) fn references(conn: &Connection, path: &Path, found: &mut Verified) -> rusqlite::Result<()> {
    // Those of records are this engine's own.
    let beyond = "SELECT 'record ' || id FROM record
                  LEFT JOIN lane ON lane.gateway = record.gateway AND lane.lane = record.lane
                  WHERE lane.through IS NULL OR record.sequence > lane.through LIMIT 10";
    let what = "it lies beyond the watermark of its lane, and would be stored again";
    let shared = REFERENCES.iter().map(|it| (it.query(), it.what));
    for (sql, what) in shared.chain([(beyond.to_owned(), what)]) {
        let mut select = conn.prepare(&sql)?;
        for place in select.query_map([], |row| row.get::<_, String>(0))? {
            found.add(path, &place?, what, RESTORE);
        }
    }
    Ok(())
}
