//! Compaction: a firm's inbox rows become blocks of its own file.
//!
//! One thread packs one firm at a time. The firm file's transaction is synced before
//! inbox rows go, and holds the mark up to which they are in it: a crash in between
//! leaves rows that the mark declares packed, and the next start deletes them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, Row};
use sandan_proto::id::{FirmId, GatewayId, LaneId};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::budget::{Budget, Shares};
use super::clear::{self, Cleared};
use super::file::failed;
use super::heads::{Head, Heads, Load};
use super::inbox::Inbox;
use super::rows::{self, Places};
use super::run::Run;
use super::sums::{self, Sums};
use super::{Shared, catalogue, consolidate, firm_file, retain};
use crate::store::{SeriesNo, StoreError};

/// When a firm's inbox rows are packed: at the first of these.
#[derive(Debug, Clone)]
pub struct Compaction {
    /// Readings for each of its series on average. pco is at its best from a few
    /// thousand on.
    pub readings_per_series: u64,
    /// Bytes of payload: bounds what a read decodes.
    pub bytes: u64,
    /// Readings altogether: bounds the memory of one compaction, 20 to 50 bytes a reading;
    /// a payload of booleans has a million of them in a MiB.
    pub readings: u64,
    /// Rows: bounds what one compaction and one read look up.
    pub rows: u64,
    /// Age of the oldest row: keeps the inbox, and so a restart, short.
    pub age: Duration,
    /// How often this is looked at. None: only when it is asked for.
    pub check: Option<Duration>,
    /// What packing, and packing again, take of the machine. A firm that waits for twice as much
    /// as makes it due is packed whatever it takes.
    pub shares: Shares,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            readings_per_series: 4_096,
            bytes: 32 << 20,
            readings: 2 << 20,
            rows: 16_384,
            age: Duration::from_hours(1),
            check: Some(Duration::from_secs(5)),
            shares: Shares::default(),
        }
    }
}

impl Compaction {
    /// What one pass takes at most, and what makes a firm due.
    fn load(&self) -> Load {
        Load { rows: self.rows, readings: self.readings, bytes: self.bytes }
    }
}

/// Rows deleted in one job of the writer, so that deleting never holds up a commit for
/// longer than a large batch would.
const DELETED_AT_ONCE: usize = 256;
/// Requests that wait for the compactor; a request beyond it is turned away.
const QUEUED_REQUESTS: usize = 1_024;

/// How often is looked when a test hurries it.
const HURRY: Duration = Duration::from_millis(300);

enum Request {
    Compact(FirmId, oneshot::Sender<Result<(), StoreError>>),
    /// To be done while nothing is packed and no row of the inbox goes.
    Alone(Box<dyn FnOnce() + Send>),
    Stop,
}

/// Handle of the compactor. Dropping it ends the thread after the firm in hand.
pub(super) struct Compactor {
    requests: SyncSender<Request>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closing: CancellationToken,
}

impl Compactor {
    pub(super) fn start(shared: Arc<Shared>, inbox: Arc<Inbox>) -> Result<Self, StoreError> {
        let (requests, queue) = sync_channel(QUEUED_REQUESTS);
        let thread = std::thread::Builder::new()
            .name("compactor".into())
            .spawn(move || run(&shared, &inbox, &queue))
            .map_err(|source| StoreError::Io { path: "compactor".into(), source })?;
        Ok(Self { requests, thread: Mutex::new(Some(thread)), closing: CancellationToken::new() })
    }

    pub(super) async fn compact(&self, firm: &FirmId) -> Result<(), StoreError> {
        let (done, receipt) = oneshot::channel();
        self.request(Request::Compact(firm.clone(), done))?;
        receipt.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs `job` on the compactor's thread once it comes to it.
    pub(super) fn alone(&self, job: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        self.request(Request::Alone(Box::new(job)))
    }

    /// Cancelled once the compactor is to end: a long job has to look at it.
    pub(super) fn closing(&self) -> CancellationToken {
        self.closing.child_token()
    }

    fn request(&self, request: Request) -> Result<(), StoreError> {
        self.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Engine { what: "compaction", source: "too many are waiting".into() },
            TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }
}

impl Drop for Compactor {
    fn drop(&mut self) {
        self.closing.cancel();
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
    let mut work = Work::new(rules.shares);
    let mut cleared = Cleared::default();
    let mut retained = retain::Last::default();
    loop {
        let request = match rules.check {
            Some(_) if is_hurried!("compact.eager") => requests.recv_timeout(HURRY),
            Some(check) => requests.recv_timeout(work.rest(shared).map_or(check, |rest| rest.min(check))),
            None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match request {
            Ok(Request::Compact(firm, done)) => {
                let result = compact_all(shared, inbox, &firm);
                drop(done.send(result));
            }
            Ok(Request::Alone(job)) => job(),
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = work
                    .compact_due(shared, inbox)
                    .and(shorten_log(shared, inbox))
                    .and_then(|()| work.merge(shared))
                    .and_then(|()| clear::clear_due(shared, inbox, &mut cleared))
                    .and_then(|()| retain::retain_due(shared, inbox, &mut retained))
                {
                    shared.metrics.compaction_failures.add(1);
                    tracing::error!(%error, source = ?std::error::Error::source(&error), "compaction failed; it is tried again");
                }
            }
            Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Begins the inbox's log anew once it is long. The engine does so by itself in a moment
/// without readers, which does not come while reads overlap: so the next ones are held
/// until those in hand are done. Commits go on meanwhile.
pub(super) fn shorten_log(shared: &Shared, inbox: &Inbox) -> Result<(), StoreError> {
    let path = shared.dir.join("inbox.db-wal");
    if std::fs::metadata(&path).map_or(0, |log| log.len()) < shared.options.log_bytes {
        return Ok(());
    }
    let waiting = tokio::runtime::Builder::new_current_thread().build();
    let waiting = waiting.map_err(|source| StoreError::Io { path, source })?;
    let _held = waiting.block_on(shared.turns.all())?;
    inbox.begin_log_anew()
}

/// What the compactor does by itself, within its budget.
pub(super) struct Work {
    budget: Budget,
    /// Firms of which something was packed since it was looked at for merging; none: all of them.
    unmerged: Option<BTreeSet<i64>>,
    /// A firm is due, and waits for the budget alone.
    held: bool,
}

impl Work {
    pub(super) fn new(shares: Shares) -> Self {
        Self { budget: Budget::new(shares), unmerged: None, held: false }
    }

    /// How long to rest before what waits; none where nothing does.
    pub(super) fn rest(&self, shared: &Shared) -> Option<Duration> {
        let waits = self.held || self.unmerged.as_ref().is_some_and(|firms| !firms.is_empty());
        waits.then(|| self.budget.pause((shared.options.now)()).unwrap_or_default())
    }

    /// Packs the firms that are due, one pass each, so that none waits for another's backlog.
    fn compact_due(&mut self, shared: &Shared, inbox: &Inbox) -> Result<(), StoreError> {
        self.held = false;
        let rules = &shared.options.compaction;
        let age_us = i64::try_from(rules.age.as_micros()).unwrap_or(i64::MAX);
        let reader = shared.reader()?;
        let mut first_error = None;
        for (firm, load, oldest_us) in shared.heads.waiting() {
            let waited_us = (shared.options.now)().saturating_sub(oldest_us);
            let most = rules.load();
            let due = is_hurried!("compact.eager") || waited_us >= age_us || load.reaches(most) || {
                let series = catalogue::count_series(&reader, firm)?.max(1);
                load.readings >= series.saturating_mul(rules.readings_per_series)
            };
            if !due {
                continue;
            }
            let presses = is_hurried!("compact.eager") || waited_us / 2 >= age_us || load.reaches(most.twice());
            if !presses && self.budget.pause((shared.options.now)()).is_some() {
                self.held = true;
                continue;
            }
            let began_us = (shared.options.now)();
            // One firm's damaged file must not keep the others in the inbox.
            match compact(shared, inbox, firm) {
                Ok(bytes) => self.budget.spend(began_us, (shared.options.now)(), bytes.unwrap_or(0)),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
            if let Some(unmerged) = &mut self.unmerged {
                unmerged.insert(firm);
            }
        }
        shared.give_back(reader);
        first_error.map_or(Ok(()), Err)
    }

    /// Puts packed readings together that belong together, one step of one firm after the other,
    /// as long as the budget lasts.
    pub(super) fn merge(&mut self, shared: &Shared) -> Result<(), StoreError> {
        let unmerged = match &mut self.unmerged {
            Some(unmerged) => unmerged,
            none => {
                let reader = shared.reader()?;
                let firms = catalogue::firm_numbers(&reader);
                shared.give_back(reader);
                none.insert(firms?.into_iter().collect())
            }
        };
        while let Some(&firm) = unmerged.first() {
            if self.budget.pause((shared.options.now)()).is_some() && !is_hurried!("compact.eager") {
                return Ok(());
            }
            let began_us = (shared.options.now)();
            // What fails is tried again when something new is packed of the firm.
            let step = consolidate::step(shared, firm);
            if !matches!(step, Ok(step) if step.more) {
                unmerged.remove(&firm);
            }
            self.budget.spend(began_us, (shared.options.now)(), step?.bytes);
        }
        Ok(())
    }
}

fn compact_all(shared: &Shared, inbox: &Inbox, firm: &FirmId) -> Result<(), StoreError> {
    let reader = shared.reader()?;
    let number = catalogue::firm_number(&reader, firm)?;
    shared.give_back(reader);
    number.map_or(Ok(()), |number| {
        compact_firm(shared, inbox, number)?;
        consolidate::consolidate(shared, number)
    })
}

/// Packs all that waits of a firm.
pub(super) fn compact_firm(shared: &Shared, inbox: &Inbox, firm: i64) -> Result<(), StoreError> {
    while compact(shared, inbox, firm)?.is_some() {}
    Ok(())
}

/// One pass over one firm: the bytes that were packed, none when there was nothing to pack.
fn compact(shared: &Shared, inbox: &Inbox, firm: i64) -> Result<Option<u64>, StoreError> {
    let rows = shared.heads.oldest(firm, shared.options.compaction.load());
    let Some(last) = rows.last() else { return Ok(None) };
    let mark = last.id;
    let reader = shared.reader()?;
    let id = catalogue::firm_id(&reader, firm)?;
    let mut file = firm_file::open(&shared.dir, firm, &id, shared.uuid)?;
    let packed_through = firm_file::mark(&file, shared.uuid)?;
    let mut runs = HashMap::<SeriesNo, Run>::new();
    let mut places = Places::default();
    let (mut readings, mut bytes) = (0, 0);
    for head in rows.iter().filter(|head| head.id > packed_through) {
        gather(&reader, &mut places, head.id, &mut runs)?;
        readings += head.readings;
    }
    let holds = catalogue::holds(&reader, firm)?;
    shared.give_back(reader);
    runs.values_mut().for_each(Run::sort);
    if mark > packed_through {
        crash_point!("compact.gathered-before-packed");
        bytes = firm_file::append(&mut file, mark, runs, &holds)?;
        firm_file::shorten_log(&file);
        shared.metrics.compacted_readings.add(readings);
    }
    crash_point!("compact.packed-before-deleted");
    shared.crash_point("packed")?;
    let births = places.births();
    inbox.write_blocking(move |conn, group| clear::used(conn, group.now_us, &births))?;
    for packed in rows.chunks(DELETED_AT_ONCE) {
        let ids: Vec<_> = packed.iter().map(|head| head.id).collect();
        let lanes = inbox.write_blocking(move |conn, group| sums::delete_rows(conn, group.now_us, &ids))?;
        for (gateway, lane, through) in lanes {
            shared.sums.remove_through(&gateway, lane, through);
        }
        crash_point!("compact.deleted-some");
    }
    crash_point!("compact.deleted-before-forgotten");
    // Last, so that what could not be deleted is tried again. Readers go by the mark.
    shared.heads.remove_through(firm, mark);
    shared.metrics.compactions.add(1);
    Ok(Some(bytes))
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
        |series, group, column, stored| {
            let run = runs.entry(series).or_insert_with(|| Run::new(column.values.value_type()));
            // One version has one type: admission has checked each column against it.
            run.extend(group, column, stored);
        },
    )
}

/// The heads and checksums of what waits for compaction, after deleting what a crash left between a
/// firm file's commit and the inbox's. One pass over the rows' headers: payloads stay
/// unread on their overflow pages.
pub(super) fn recover(
    dir: &Path,
    uuid: uuid::Uuid,
    inbox: &Connection,
    now_us: i64,
) -> Result<(Heads, Sums), StoreError> {
    let failed = failed("reading the inbox");
    let (heads, sums) = (Heads::default(), Sums::default());
    let mut marks = HashMap::<i64, i64>::new();
    let mut packed = Vec::new();
    let mut select = inbox.prepare(include_str!("sql/list_heads.sql")).map_err(&failed)?;
    let mut rows = select.query([]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        let (firm, head) = head(row).map_err(&failed)?;
        let mark = match marks.entry(firm) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(match firm_file::open_to_read(dir, firm)? {
                Some(file) => firm_file::mark(&file, uuid)?,
                None => 0,
            }),
        };
        if head.id <= mark {
            packed.push(head.id);
        } else {
            heads.add(firm, head, &[]);
            if let Some((gateway, lane, sequence, sum)) = sum(row).map_err(&failed)? {
                sums.add(&gateway, lane, sequence, sum);
            }
        }
    }
    drop(rows);
    if !packed.is_empty() {
        let run = || {
            let tx = inbox.unchecked_transaction()?;
            for ids in packed.chunks(DELETED_AT_ONCE) {
                sums::delete_rows(&tx, now_us, ids)?;
            }
            tx.commit()
        };
        run().map_err(&failed)?;
        tracing::info!(rows = packed.len(), "inbox rows that were packed before the last stop are gone");
    }
    Ok((heads, sums))
}

/// The checksum of a row, with what it is found by.
fn sum(row: &Row<'_>) -> rusqlite::Result<Option<(GatewayId, LaneId, u64, u32)>> {
    let Some(sum) = row.get::<_, Option<u32>>(7)? else { return Ok(None) };
    let (gateway, lane): (String, Vec<u8>) = (row.get(8)?, row.get(9)?);
    let found = GatewayId::new(&gateway).ok().zip(LaneId::from_bytes(&lane).ok());
    let sequence: i64 = row.get(10)?;
    Ok(found.map(|(gateway, lane)| (gateway, lane, sequence.cast_unsigned(), sum)))
}

fn head(row: &Row<'_>) -> rusqlite::Result<(i64, Head)> {
    let head = Head {
        id: row.get(0)?,
        first_us: row.get(2)?,
        last_us: row.get(3)?,
        received_us: row.get(4)?,
        readings: row.get::<_, i64>(5)?.cast_unsigned(),
        bytes: row.get::<_, i64>(6)?.cast_unsigned(),
    };
    Ok((row.get(1)?, head))
}
