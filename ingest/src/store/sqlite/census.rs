//! How much lies in the files and how much of it came lately, counted without unpacking anything
//! and without changing a file: for `check`, also while a service runs.

use std::path::Path;

use rusqlite::{Connection, params};

use super::file::{FIRM, INBOX, failed};
use super::shared::inbox_path;
use super::{firm_file, look};
use crate::store::StoreError;

/// What was counted, of all firms.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Census {
    /// Readings that are stored, each by itself.
    pub readings: u64,
    /// Of them, those of the span that was asked for. Columns that reach beyond it count by their part of it.
    pub of_span: u64,
    /// The earliest reading, µs since 1970.
    pub from_us: Option<i64>,
}

/// Readings in all, of [from, to), and since when.
const PACKED: &str = "
    SELECT coalesce(sum(rows), 0),
           coalesce(sum(rows * max(0, min(last_us + 1.0, ?2) - max(first_us, ?1)) / (last_us - first_us + 1.0)), 0.0),
           min(first_us)
    FROM packed JOIN block ON block.id = packed.block";
/// Likewise of what is not packed yet.
const WAITING: &str = "
    SELECT coalesce(sum(readings), 0),
           coalesce(sum(readings * max(0, min(last_us + 1.0, ?2) - max(first_us, ?1)) / (last_us - first_us + 1.0)), 0.0),
           min(first_us)
    FROM record WHERE firm = ?3 AND id > ?4";

/// Counts what lies in `dir`; readings of [`from_us`, `to_us`) count as of the span. None where files of
/// another layout are among it: they are counted once the service has brought them to its own.
pub fn take(dir: &Path, from_us: i64, to_us: i64) -> Result<Option<Census>, StoreError> {
    let inbox_failed = failed("counting in the inbox");
    let inbox = look(&inbox_path(dir)).map_err(&inbox_failed)?;
    if layout(&inbox).map_err(&inbox_failed)? != INBOX.version {
        return Ok(None);
    }
    let firms = || {
        let mut find = inbox.prepare("SELECT number FROM firm")?;
        find.query_map([], |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()
    };
    let mut all = Census::default();
    for firm in firms().map_err(&inbox_failed)? {
        let path = firm_file::path(dir, firm);
        let mut mark = 0;
        if path.exists() {
            let packed_failed = failed("counting in a firm file");
            let file = look(&path).map_err(&packed_failed)?;
            if layout(&file).map_err(&packed_failed)? != FIRM.version {
                return Ok(None);
            }
            mark = file.query_row("SELECT id FROM mark WHERE one = 1", [], |row| row.get(0)).map_err(&packed_failed)?;
            let packed = file.query_row(PACKED, params![from_us, to_us], census).map_err(&packed_failed)?;
            all = all.with(packed);
        }
        let waiting = inbox.query_row(WAITING, params![from_us, to_us, firm, mark], census).map_err(&inbox_failed)?;
        all = all.with(waiting);
    }
    Ok(Some(all))
}

fn layout(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, never negative")]
fn census(row: &rusqlite::Row<'_>) -> rusqlite::Result<Census> {
    Ok(Census {
        readings: row.get::<_, i64>(0)?.unsigned_abs(),
        of_span: row.get::<_, f64>(1)?.round() as u64,
        from_us: row.get(2)?,
    })
}

impl Census {
    fn with(self, other: Self) -> Self {
        Self {
            readings: self.readings + other.readings,
            of_span: self.of_span + other.of_span,
            from_us: self.from_us.into_iter().chain(other.from_us).min(),
        }
    }
}
