//! Compaction: a firm's inbox rows become blocks of its own file.
//!
//! One thread packs one firm at a time. The firm file's transaction is synced before
//! inbox rows go, and holds the mark up to which they are in it: a crash in between
//! leaves rows that the mark declares packed, and the next start deletes them.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, params_from_iter};
use sandan_proto::id::FirmId;
use tokio::sync::oneshot;

use super::file::failed;
use super::inbox::Inbox;
use super::rows::{self, Places};
use super::run::Run;
use super::{Shared, catalogue, firm_file};
use crate::store::{SeriesNo, StoreError};

/// When a firm's inbox rows are packed: at the first of these.
#[derive(Debug, Clone)]
pub struct Compaction {
    /// Readings for each of its series on average. pco is at its best from a few
    /// thousand on.
    pub readings_per_series: u64,
    /// Bytes of payload: bounds what a read decodes, and the memory of one compaction
    /// (about four times as much).
    pub bytes: u64,
    /// Age of the oldest row: keeps the inbox, and so a restart, short.
    pub age: Duration,
    /// How often this is looked at. None: only when it is asked for.
    pub check: Option<Duration>,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            readings_per_series: 4_096,
            bytes: 32 << 20,
            age: Duration::from_secs(3600),
            check: Some(Duration::from_secs(5)),
        }
    }
}

/// Rows deleted in one job of the writer, so that deleting never holds up a commit for
/// longer than a large batch would.
const DELETED_AT_ONCE: usize = 256;
/// Requests that wait for the compactor; a request beyond it is turned away.
const QUEUED_REQUESTS: usize = 1_024;

enum Request {
    Compact(FirmId, oneshot::Sender<Result<(), StoreError>>),
    Stop,
}

/// Handle of the compactor. Dropping it ends the thread after the firm in hand.
pub(super) struct Compactor {
    requests: SyncSender<Request>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Compactor {
    pub(super) fn start(shared: Arc<Shared>, inbox: Arc<Inbox>) -> Result<Self, StoreError> {
        let (requests, queue) = sync_channel(QUEUED_REQUESTS);
        let thread = std::thread::Builder::new()
            .name("compactor".into())
            .spawn(move || run(&shared, &inbox, &queue))
            .map_err(|source| StoreError::Io { path: "compactor".into(), source })?;
        Ok(Self { requests, thread: Mutex::new(Some(thread)) })
    }

    pub(super) async fn compact(&self, firm: &FirmId) -> Result<(), StoreError> {
        let (done, receipt) = oneshot::channel();
        self.requests.try_send(Request::Compact(firm.clone(), done)).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Engine { what: "compaction", source: "too many are waiting".into() },
            TrySendError::Disconnected(_) => StoreError::Closed,
        })?;
        receipt.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Compactor {
    fn drop(&mut self) {
        drop(self.requests.send(Request::Stop));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread was already printed; there is nothing to add here.
            drop(thread.join());
        }
    }
}

fn run(shared: &Shared, inbox: &Inbox, requests: &Receiver<Request>) {
    let rules = &shared.options.compaction;
    loop {
        let request = match rules.check {
            Some(check) => requests.recv_timeout(check),
            None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match request {
            Ok(Request::Compact(firm, done)) => {
                let result = compact_all(shared, inbox, &firm);
                drop(done.send(result));
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = compact_due(shared, inbox) {
                    shared.metrics.compaction_failures.add(1);
                    tracing::error!(%error, source = ?std::error::Error::source(&error), "compaction failed; it is tried again");
                }
            }
            Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Packs the firms that are due, one pass each, so that none waits for another's backlog.
fn compact_due(shared: &Shared, inbox: &Inbox) -> Result<(), StoreError> {
    let rules = &shared.options.compaction;
    let age_us = i64::try_from(rules.age.as_micros()).unwrap_or(i64::MAX);
    let reader = shared.reader()?;
    let mut first_error = None;
    for (firm, readings, bytes, oldest_us) in shared.heads.waiting() {
        let old = (shared.options.now)().saturating_sub(oldest_us) >= age_us;
        let due = old || bytes >= rules.bytes || {
            let series = catalogue::count_series(&reader, firm)?.max(1);
            readings >= series.saturating_mul(rules.readings_per_series)
        };
        if due {
            // One firm's damaged file must not keep the others in the inbox.
            if let Err(error) = compact(shared, inbox, firm) {
                first_error.get_or_insert(error);
            }
        }
    }
    shared.give_back(reader);
    first_error.map_or(Ok(()), Err)
}

fn compact_all(shared: &Shared, inbox: &Inbox, firm: &FirmId) -> Result<(), StoreError> {
    let reader = shared.reader()?;
    let number = catalogue::firm_number(&reader, firm)?;
    shared.give_back(reader);
    if let Some(number) = number {
        while compact(shared, inbox, number)? {}
    }
    Ok(())
}

/// One pass over one firm: false when there was nothing to pack.
fn compact(shared: &Shared, inbox: &Inbox, firm: i64) -> Result<bool, StoreError> {
    let rows = shared.heads.oldest(firm, shared.options.compaction.bytes);
    let Some(last) = rows.last() else { return Ok(false) };
    let mark = last.id;
    let reader = shared.reader()?;
    let id = catalogue::firm_id(&reader, firm)?;
    let mut file = firm_file::open(&shared.dir, firm, &id, shared.uuid)?;
    let packed_through = firm_file::mark(&file, shared.uuid)?;
    let mut runs = HashMap::<SeriesNo, Run>::new();
    let mut places = Places::default();
    let mut readings = 0;
    for head in rows.iter().filter(|head| head.id > packed_through) {
        gather(&reader, &mut places, head.id, &mut runs)?;
        readings += head.readings;
    }
    shared.give_back(reader);
    runs.values_mut().for_each(Run::sort);
    if mark > packed_through {
        firm_file::append(&mut file, mark, runs)?;
    }
    shared.crash_point("packed")?;
    let gone = shared.heads.remove_through(firm, mark);
    for ids in gone.chunks(DELETED_AT_ONCE) {
        let ids = ids.to_vec();
        inbox.write_blocking(move |conn, _| {
            let places = vec!["?"; ids.len()].join(",");
            conn.execute(&format!("DELETE FROM record WHERE id IN ({places})"), params_from_iter(ids))
        })?;
    }
    shared.metrics.compactions.add(1);
    shared.metrics.compacted_readings.add(readings);
    Ok(true)
}

fn gather(
    reader: &Connection,
    places: &mut Places,
    id: i64,
    runs: &mut HashMap<SeriesNo, Run>,
) -> Result<(), StoreError> {
    let record = rows::record(reader, id)?
        .ok_or_else(|| StoreError::Damaged(format!("inbox row {id} is gone before it was packed")))?;
    rows::columns(
        reader,
        places,
        &record,
        |_| true,
        |series, group, column, offset_us, commit| {
            let run = runs.entry(series).or_insert_with(|| Run::new(column.values.value_type()));
            // One version has one type: admission has checked each column against it.
            run.extend(group, column, offset_us, commit);
        },
    )
}

/// Deletes what a crash left between a firm file's commit and the inbox's.
pub(super) fn recover(shared_dir: &std::path::Path, uuid: uuid::Uuid, inbox: &Connection) -> Result<(), StoreError> {
    let failed = failed("recovering the inbox");
    let firms = || {
        inbox
            .prepare("SELECT DISTINCT firm FROM record")?
            .query_map([], |row| row.get::<_, i64>(0))?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    for firm in firms().map_err(&failed)? {
        let Some(file) = firm_file::open_to_read(shared_dir, firm)? else { continue };
        let mark = firm_file::mark(&file, uuid)?;
        let deleted =
            inbox.execute("DELETE FROM record WHERE firm = ?1 AND id <= ?2", [firm, mark]).map_err(&failed)?;
        if deleted > 0 {
            tracing::info!(firm, deleted, "inbox rows that were packed before the last stop are gone");
        }
    }
    Ok(())
}
