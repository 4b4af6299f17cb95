//! The one writer of `inbox.db` and its group commit.
//!
//! Every write is a job. A thread of its own takes what is queued, runs it in one
//! transaction and syncs it; only then do the jobs learn that they are done. A job
//! that fails on its own data is undone alone (a savepoint each); a failure of the
//! engine fails the whole group, whose outcome is then reported as unknown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::file::failed;
use crate::store::StoreError;
use crate::store::metrics::Metrics;

/// Jobs that wait for a commit: a record of each of 2,000 gateways and room for
/// births. Beyond it sessions stop reading, and TCP holds the gateways back.
const QUEUED_JOBS: usize = 4_096;
/// KiB of payload that wait for a commit, all gateways together: half a second of the
/// slowest disk worth running on (128 MB/s).
const QUEUED_KIB: u32 = 64 * 1024;

/// Runs inside the group's transaction; what it returns is called after the sync.
type Job = Box<dyn FnOnce(&Connection, &mut Group) -> Settle + Send>;
/// Called with none once the group is synced, or with why its outcome is not known.
type Settle = Box<dyn FnOnce(Option<&str>) + Send>;

enum Order {
    Job(Job),
    /// To be done between two commits.
    BeginLogAnew(oneshot::Sender<Result<(), StoreError>>),
    /// Tells when the writer has gone around.
    Turn(oneshot::Sender<()>),
}

/// What the jobs of one group share.
pub(super) struct Group {
    /// The store's clock at the beginning of the group.
    pub now_us: i64,
    commits: HashMap<i64, i64>,
}

impl Group {
    /// The group's commit number for a firm: one more than its last.
    pub(super) fn commit_number(&mut self, conn: &Connection, firm: i64) -> rusqlite::Result<i64> {
        if let Some(&commit) = self.commits.get(&firm) {
            return Ok(commit);
        }
        let commit = conn
            .prepare_cached("UPDATE firm SET commits = commits + 1 WHERE number = ?1 RETURNING commits")?
            .query_row([firm], |row| row.get(0))?;
        self.commits.insert(firm, commit);
        Ok(commit)
    }
}

/// A clock in microseconds since 1970.
pub(super) type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Handle of the writer. Dropping it commits what is queued and closes the file.
pub(super) struct Inbox {
    orders: Option<mpsc::Sender<Order>>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Inbox {
    /// Starts the writer. At most one commit begins in each `interval`; the first after
    /// a pause begins at once.
    pub(super) fn start(
        conn: Connection,
        interval: Duration,
        now: Now,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let (orders, queue) = mpsc::channel(QUEUED_JOBS);
        let thread = std::thread::Builder::new()
            .name("inbox-writer".into())
            .spawn(move || write(&conn, queue, interval, &now, &metrics))
            .map_err(|source| StoreError::Io { path: "inbox-writer".into(), source })?;
        Ok(Self {
            orders: Some(orders),
            room: Arc::new(Semaphore::new(QUEUED_KIB as usize)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Queues a job; `settle` gets its result once the group is synced. `bytes` is what
    /// it holds in memory meanwhile.
    pub(super) async fn queue<T: Send + 'static>(
        &self,
        bytes: usize,
        run: impl FnOnce(&Connection, &mut Group) -> rusqlite::Result<T> + Send + 'static,
        settle: impl FnOnce(Result<T, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let room = self.room(bytes).await?;
        let job = Order::Job(job(room, run, settle));
        self.sender()?.send(job).await.map_err(|_| StoreError::Closed)
    }

    /// Runs a job and waits until it is synced.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        run: impl FnOnce(&Connection, &mut Group) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, receipt) = oneshot::channel();
        self.queue(bytes, run, move |result| drop(done.send(result))).await?;
        receipt.await.unwrap_or(Err(StoreError::Closed))
    }

    /// As [`write`](Self::write), from a thread outside the runtime.
    pub(super) fn write_blocking<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Connection, &mut Group) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, receipt) = oneshot::channel();
        let job = Order::Job(job(None, run, move |result| drop(done.send(result))));
        self.sender()?.blocking_send(job).map_err(|_| StoreError::Closed)?;
        receipt.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }

    /// Whether the writer still takes jobs. It ends before its time only by a panic.
    pub(super) fn is_alive(&self) -> bool {
        self.orders.as_ref().is_some_and(|orders| !orders.is_closed())
    }

    /// Returns once the writer has dealt with all that was queued before.
    pub(super) async fn turn(&self) -> Result<(), StoreError> {
        let (done, receipt) = oneshot::channel();
        self.sender()?.send(Order::Turn(done)).await.map_err(|_| StoreError::Closed)?;
        receipt.await.map_err(|_| StoreError::Closed)
    }

    /// Copies the log into the file and cuts it to nothing, for which no reader may hold on
    /// to it. From a thread outside the runtime.
    pub(super) fn begin_log_anew(&self) -> Result<(), StoreError> {
        let (done, receipt) = oneshot::channel();
        self.sender()?.blocking_send(Order::BeginLogAnew(done)).map_err(|_| StoreError::Closed)?;
        receipt.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }

    async fn room(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, StoreError> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(QUEUED_KIB);
        if kib == 0 {
            return Ok(None);
        }
        Arc::clone(&self.room).acquire_many_owned(kib).await.map(Some).map_err(|_| StoreError::Closed)
    }

    fn sender(&self) -> Result<&mpsc::Sender<Order>, StoreError> {
        self.orders.as_ref().ok_or(StoreError::Closed)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.orders = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the writer was already printed; there is nothing to add here.
            drop(thread.join());
        }
    }
}

fn job<T: Send + 'static>(
    room: Option<OwnedSemaphorePermit>,
    run: impl FnOnce(&Connection, &mut Group) -> rusqlite::Result<T> + Send + 'static,
    settle: impl FnOnce(Result<T, StoreError>) + Send + 'static,
) -> Job {
    Box::new(move |conn, group| {
        let result = savepoint(conn, |conn| run(conn, group));
        if result.is_err() {
            // What was undone may have been an increment. Taking another number is harmless.
            group.commits.clear();
        }
        Box::new(move |uncertain| {
            settle(match uncertain {
                None => result.map_err(failed("writing to the inbox")),
                Some(why) => Err(StoreError::Uncertain(why.into())),
            });
            drop(room);
        })
    })
}

fn write(conn: &Connection, mut queue: mpsc::Receiver<Order>, interval: Duration, now: &Now, metrics: &Metrics) {
    let mut last: Option<Instant> = None;
    while let Some(first) = queue.blocking_recv() {
        if let Some(rest) = last.and_then(|last| interval.checked_sub(last.elapsed())) {
            std::thread::sleep(rest);
        }
        let began = Instant::now();
        last = Some(began);
        let (mut jobs, mut anew, mut turns) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Job(job) => jobs.push(job),
                Order::BeginLogAnew(done) => anew.push(done),
                Order::Turn(done) => turns.push(done),
            }
            next = queue.try_recv().ok();
        }
        if !jobs.is_empty() {
            commit(conn, jobs, now(), metrics);
            metrics.commit_latency.observe(began.elapsed());
        }
        for done in anew {
            drop(done.send(begin_log_anew(conn)));
        }
        for done in turns {
            // Who asked may have given up.
            let _ = done.send(());
        }
    }
}

fn begin_log_anew(conn: &Connection) -> Result<(), StoreError> {
    const WHAT: &str = "shortening the inbox's log";
    let busy: bool = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failed(WHAT))?;
    if busy { Err(StoreError::Engine { what: WHAT, source: "a reader holds on to it".into() }) } else { Ok(()) }
}

fn commit(conn: &Connection, jobs: Vec<Job>, now_us: i64, metrics: &Metrics) {
    let mut group = Group { now_us, commits: HashMap::new() };
    let mut settles = Vec::with_capacity(jobs.len());
    let run = || {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        for job in jobs {
            settles.push(job(conn, &mut group));
            if conn.is_autocommit() {
                // The engine gave the transaction up: out of room, memory or luck.
                return Err(rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT),
                    Some("the engine rolled the group back".into()),
                ));
            }
        }
        crash_point!("commit.before");
        conn.execute_batch("COMMIT")
    };
    let outcome: rusqlite::Result<()> = run();
    let why = outcome.err().map(|error| {
        tracing::error!(%error, "a group commit failed; the sessions concerned end and send again");
        if !conn.is_autocommit() {
            drop(conn.execute_batch("ROLLBACK"));
        }
        error.to_string()
    });
    crash_point!("commit.after-before-ack");
    if why.is_none() {
        metrics.commits.add(1);
    }
    for settle in settles {
        settle(why.as_deref());
    }
}

/// Runs a part of a job so that its failure undoes that part alone.
pub(super) fn savepoint<T>(
    conn: &Connection,
    run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    conn.prepare_cached("SAVEPOINT part")?.execute([])?;
    let result = run(conn);
    if result.is_err() && !conn.is_autocommit() {
        conn.prepare_cached("ROLLBACK TO part")?.execute([])?;
    }
    if !conn.is_autocommit() {
        conn.prepare_cached("RELEASE part")?.execute([])?;
    }
    result
}

/// Whether a statement failed on what it was given and not on the engine's state.
pub(super) fn is_about_data(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}
