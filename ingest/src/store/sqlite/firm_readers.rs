//! Connections that read firms' files, kept open: to open one costs as much as a read of a day.

use std::ops::Deref;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::file::failed;
use super::firm_file;
use crate::store::StoreError;

/// Connections that are kept, each with three open files: those of the firms that are read
/// now, and room for a page that shows many.
const KEPT: usize = 64;

/// Idle connections with their firms, the one that was used last at the end.
#[derive(Default)]
pub(super) struct FirmReaders(Mutex<Vec<(i64, Connection)>>);

impl FirmReaders {
    fn idle(&self) -> MutexGuard<'_, Vec<(i64, Connection)>> {
        // Every change below leaves the list whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The firm's file at its present state; none while nothing was packed.
    pub(super) fn open(&self, dir: &Path, firm: i64) -> Result<Option<FirmReader<'_>>, StoreError> {
        let known = {
            let mut idle = self.idle();
            let at = idle.iter().rposition(|(of, _)| *of == firm);
            at.map(|at| idle.remove(at).1)
        };
        let conn = match known {
            Some(conn) => conn,
            None => match firm_file::open_to_read(dir, firm)? {
                Some(conn) => conn,
                None => return Ok(None),
            },
        };
        conn.execute_batch("BEGIN").map_err(failed("reading a firm file"))?;
        Ok(Some(FirmReader { readers: self, firm, conn: Some(conn) }))
    }

    /// Closes what is idle of a firm.
    pub(super) fn forget(&self, firm: i64) {
        self.idle().retain(|(of, _)| *of != firm);
    }

    fn give_back(&self, firm: i64, conn: Connection) {
        if conn.execute_batch("ROLLBACK").is_ok() {
            let mut idle = self.idle();
            if idle.len() >= KEPT {
                idle.remove(0);
            }
            idle.push((firm, conn));
        }
    }
}

/// A connection amid a read, given back when it is dropped.
pub(super) struct FirmReader<'a> {
    readers: &'a FirmReaders,
    firm: i64,
    conn: Option<Connection>,
}

impl Deref for FirmReader<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        // There until it is dropped.
        match &self.conn {
            Some(conn) => conn,
            None => unreachable!("a reader was used after it was given back"),
        }
    }
}

impl Drop for FirmReader<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.readers.give_back(self.firm, conn);
        }
    }
}
