//! What the writer, the compactor and readers of one store share.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use sandan_proto::id::TimelineId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::file::failed;
use super::firm_readers::FirmReaders;
use super::heads::Heads;
use super::sums::Sums;
use super::{Options, backup, file, firm_file, heads, merge, rows};
use crate::store::{Metrics, SeriesNo, StoreError};

/// Reads that run at once. More would only share the same disk and cores with the
/// writer.
pub(super) const READERS: usize = 4;
/// Look-ups of sessions that run at once, beside these: long reads must not hold up
/// deliveries.
pub(super) const LOOKUPS: usize = 2;

/// Who may read now.
pub(super) struct Turns {
    pub(super) readers: Arc<Semaphore>,
    pub(super) lookups: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { readers: Arc::new(Semaphore::new(READERS)), lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

impl Turns {
    pub(super) async fn take(of: &Arc<Semaphore>, turns: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let turns = u32::try_from(turns).unwrap_or(u32::MAX);
        Arc::clone(of).acquire_many_owned(turns).await.map_err(|_| StoreError::Closed)
    }

    /// All of them: whoever comes later waits, those who read now are waited for.
    pub(super) async fn all(&self) -> Result<[OwnedSemaphorePermit; 2], StoreError> {
        Ok([Self::take(&self.readers, READERS).await?, Self::take(&self.lookups, LOOKUPS).await?])
    }
}

/// What the writer, the compactor and readers share.
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) uuid: Uuid,
    pub(super) timeline: TimelineId,
    pub(super) options: Options,
    pub(super) heads: Heads,
    pub(super) sums: Sums,
    pub(super) metrics: Arc<Metrics>,
    pub(super) idle: Mutex<Vec<Connection>>,
    pub(super) firm_readers: FirmReaders,
    pub(super) turns: Turns,
    #[cfg(test)]
    pub(super) crash_at: Mutex<Option<&'static str>>,
}

impl Shared {
    /// A connection that only reads the inbox.
    pub(super) fn reader(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(conn) = idle {
            return Ok(conn);
        }
        let path = inbox_path(&self.dir);
        file::open_to_read(&path, &file::INBOX)?
            .ok_or_else(|| StoreError::Io { path, source: std::io::ErrorKind::NotFound.into() })
    }

    /// Takes a connection back, and lets go of what it had pinned.
    pub(super) fn give_back(&self, conn: Connection) {
        if conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < READERS + LOOKUPS {
                idle.push(conn);
            }
        }
    }

    /// Makes the heads know the latest observation time of each series of a firm. The
    /// first call after a start looks through what the firm has; from then on commits
    /// keep it.
    pub(super) fn learn_newest(&self, firm: i64) -> Result<(), StoreError> {
        if self.heads.knows_newest(firm) {
            return Ok(());
        }
        self.heads.follow_newest(firm);
        // A view that is newer than the beginning of the following, so that nothing falls
        // between the two.
        let inbox = self.reader()?;
        pin(&inbox)?;
        let mut found = HashMap::new();
        let rows = self.heads.overlapping(firm, i64::MIN, i64::MAX);
        let (file, mut rows) = merge::open_file(self, firm, rows)?;
        if let Some(file) = &file {
            firm_file::newest(file, &mut found)?;
        }
        rows.sort_by_key(|head| std::cmp::Reverse(head.last_us));
        let found = RefCell::new(found);
        let mut places = rows::Places::default();
        for head in rows {
            let Some(record) = rows::record(&inbox, head.id)? else { continue };
            // A series that is known to be as new as the row's end needs no decoding.
            let older = |series: SeriesNo| found.borrow().get(&series).is_none_or(|&time_us| time_us < head.last_us);
            rows::columns(&inbox, &mut places, &record, older, |series, group, _, stored| {
                if let Some(&last) = group.times_us.last() {
                    heads::raise(&mut found.borrow_mut(), series, last.saturating_add(stored.offset_us));
                }
            })?;
        }
        self.give_back(inbox);
        self.heads.complete_newest(firm, &found.into_inner());
        Ok(())
    }

    /// In tests, the point at which a process is made to stop.
    #[cfg(test)]
    pub(super) fn crash_point(&self, here: &'static str) -> Result<(), StoreError> {
        let crash = *self.crash_at.lock().unwrap_or_else(PoisonError::into_inner) == Some(here);
        if crash { Err(StoreError::Closed) } else { Ok(()) }
    }
    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // as in tests
    pub(super) fn crash_point(&self, _here: &'static str) -> Result<(), StoreError> {
        Ok(())
    }
}

pub(super) fn inbox_path(dir: &Path) -> PathBuf {
    dir.join(backup::INBOX)
}

/// Begins a read whose view of the inbox stays as it is now.
pub(super) fn pin(conn: &Connection) -> Result<(), StoreError> {
    let pin = || {
        conn.execute_batch("BEGIN")?;
        conn.prepare_cached("SELECT one FROM store")?.query_row([], |_| Ok(()))
    };
    pin().map_err(failed("reading the inbox"))
}
