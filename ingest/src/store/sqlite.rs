//! The embedded engine: one shared inbox in front, one file per firm behind it.
//!
//! An admitted batch is one row of `inbox.db`, as it came, in the transaction that
//! moves its lane's watermark; nothing else is written on the way to an
//! acknowledgement. Compaction packs a firm's rows into `firms/<number>.db` later.
//! The directory belongs to one process: whoever opens it has locked it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use sandan_proto::births::Births;
use sandan_proto::id::{BirthsHash, BootId, FirmId, GatewayId, LaneId, SeriesKey, TimelineId};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::delivery::Content;
use super::holdings::Holdings;
use super::retention::{Classes, Pass, Retained};
use super::{
    BackupError, BackupOrder, Choice, Chunk, Clock, DeadContent, DeadLetterCount, DeadLetters, DeadRecord, Delivery,
    GapFact, LaneFacts, Manifest, Metrics, Opening, ReadCursor, Readings, Readmit, Receipt, RefusedSeries, Registered,
    Released, Retried, SeriesInfo, StoreError, Stored,
};
use crate::consent::Permit;
use compact::Compactor;
use file::failed;
use firm_readers::FirmReaders;
use inbox::{Inbox, Now};
use shared::{Shared, Turns, inbox_path, pin};

mod backup;
mod budget;
mod catalogue;
pub mod census;
mod chunk;
mod clear;
mod clocks;
mod compact;
mod consolidate;
pub mod control;
mod dead;
mod deliver;
mod erase;
mod facts;
mod fence;
mod file;
mod firm_file;
mod firm_readers;
mod heads;
mod holdings;
mod inbox;
mod look;
mod merge;
mod pack;
mod read;
pub mod restore;
mod retain;
mod rows;
mod run;
mod shared;
mod slices;
mod sums;
pub mod verify;

pub use budget::Shares;
pub use compact::Compaction;
pub(crate) use look::look;

/// How the engine is run.
#[derive(Clone)]
pub struct Options {
    /// At most one commit begins in this time: what 2,000 gateways share one sync for.
    pub commit_interval: Duration,
    /// When firms are packed.
    pub compaction: Compaction,
    /// Bytes of the inbox's log from which readers are held until it can begin anew: some
    /// seconds of a busy complex. A longer one fills the disk and slows every read.
    pub log_bytes: u64,
    /// The store's clock, µs since 1970.
    pub now: Now,
    /// Decides on dead letters that are tried again; without it none is stored.
    pub readmit: Option<Readmit>,
    /// How long readings, minutes and hours are kept.
    pub classes: Classes,
    /// What nothing came under for so long is cleared away, µs: births, lanes and clocks.
    pub retention_us: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            commit_interval: Duration::from_millis(50),
            compaction: Compaction::default(),
            log_bytes: 64 << 20,
            readmit: None,
            classes: Classes::default(),
            retention_us: i64::MAX,
            now: Arc::new(|| {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
            }),
        }
    }
}

/// Readings in `SQLite` files under one directory.
pub struct SqliteReadings {
    // In the order in which they have to go: the compactor writes through the inbox.
    compactor: Compactor,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
}

impl SqliteReadings {
    /// Opens or makes the files under `dir`, after deleting what a crash left of a
    /// compaction. Blocks on the disk.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        let firms = dir.join("firms");
        std::fs::create_dir_all(&firms)
            .and_then(|()| std::fs::File::open(dir)?.sync_all())
            .map_err(|source| StoreError::Io { path: firms, source })?;
        let conn = open_inbox(dir)?;
        let uuid: Vec<u8> =
            conn.query_row("SELECT uuid FROM store", [], |row| row.get(0)).map_err(failed("reading the inbox"))?;
        let uuid = Uuid::from_slice(&uuid).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let timeline = timeline(&conn)?;
        let (heads, sums) = compact::recover(dir, uuid, &conn, (options.now)())?;
        let metrics = Arc::new(Metrics::default());
        let inbox =
            Arc::new(Inbox::start(conn, options.commit_interval, Arc::clone(&options.now), Arc::clone(&metrics))?);
        let shared = Arc::new(Shared {
            dir: dir.into(),
            uuid,
            timeline,
            options,
            heads,
            sums,
            metrics,
            idle: Mutex::default(),
            firm_readers: FirmReaders::default(),
            turns: Turns::default(),
            #[cfg(test)]
            crash_at: Mutex::default(),
        });
        let compactor = Compactor::start(Arc::clone(&shared), Arc::clone(&inbox))?;
        Ok(Self { compactor, inbox, shared })
    }

    /// How many there are of what grows with the age of a store, from its inbox, which is
    /// left as it is.
    pub fn look(inbox: &Path) -> Result<Vec<(&'static str, usize)>, StoreError> {
        let counts = [
            ("lanes", "SELECT count(*) FROM lane"),
            ("sets of births", "SELECT count(*) FROM births"),
            ("clocks of boots", "SELECT count(*) FROM clock"),
            ("records that wait to be packed", "SELECT count(*) FROM record"),
            ("records put aside", "SELECT count(*) FROM dead_record"),
        ];
        let count = || {
            let conn = look(inbox)?;
            let one = |(name, sql)| Ok((name, conn.query_row(sql, [], |row| row.get::<_, i64>(0))?));
            counts.into_iter().map(one).collect::<rusqlite::Result<Vec<_>>>()
        };
        let counted = count().map_err(failed("looking at the inbox"))?;
        Ok(counted.into_iter().map(|(name, count)| (name, usize::try_from(count).unwrap_or(usize::MAX))).collect())
    }

    /// Runs a read of a pull or a page.
    async fn reading<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Shared, &Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Turns::take(&self.shared.turns.readers, 1).await?;
        self.read_in(turn, run).await
    }

    /// As [`reading`](Self::reading), for a session.
    async fn looking_up<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Turns::take(&self.shared.turns.lookups, 1).await?;
        self.read_in(turn, |_, conn| run(conn)).await
    }

    /// Runs a job on the compactor's thread: nothing is packed meanwhile.
    async fn alone<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Shared, &Inbox) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, receipt) = oneshot::channel();
        let (shared, inbox) = (Arc::clone(&self.shared), Arc::clone(&self.inbox));
        self.compactor.alone(move || drop(done.send(job(&shared, &inbox))))?;
        receipt.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn read_in<T: Send + 'static>(
        &self,
        turn: OwnedSemaphorePermit,
        run: impl FnOnce(&Shared, &Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let read = move || {
            let _turn = turn;
            let conn = shared.reader()?;
            let result = pin(&conn).and_then(|()| run(&shared, &conn));
            shared.give_back(conn);
            result
        };
        tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|error| Err(StoreError::Engine { what: "a read", source: Box::new(error) }))
    }
}

/// Opens the inbox, and makes it where there is none.
fn open_inbox(dir: &Path) -> Result<Connection, StoreError> {
    file::open(&inbox_path(dir), &file::INBOX, |conn| {
        conn.execute(
            "INSERT INTO store (one, uuid, timeline) VALUES (1, ?1, ?2)",
            params![Uuid::new_v4().as_bytes(), TimelineId::random().as_bytes()],
        )
        .map(drop)
    })
}

fn timeline(inbox: &Connection) -> Result<TimelineId, StoreError> {
    let bytes: Vec<u8> =
        inbox.query_row("SELECT timeline FROM store", [], |row| row.get(0)).map_err(failed("reading the inbox"))?;
    TimelineId::from_bytes(&bytes).map_err(|error| StoreError::Damaged(error.to_string()))
}

#[async_trait]
impl Readings for SqliteReadings {
    fn timeline(&self) -> TimelineId {
        self.shared.timeline
    }

    async fn open_session(
        &self,
        gateway: &GatewayId,
        last_epoch: u64,
        lanes: &[LaneId],
    ) -> Result<Opening, StoreError> {
        let (gateway, lanes) = (gateway.clone(), lanes.to_vec());
        self.inbox
            .write(0, move |conn, group| fence::open_session(conn, group.now_us, &gateway, last_epoch, &lanes))
            .await
    }

    async fn release(&self, gateway: &GatewayId) -> Result<Released, StoreError> {
        let gateway = gateway.clone();
        self.inbox.write(0, move |conn, _| fence::release(conn, &gateway)).await
    }

    async fn fenced(&self) -> Result<Vec<(GatewayId, i64)>, StoreError> {
        self.reading(|_, conn| fence::list(conn)).await
    }

    async fn watermark(&self, gateway: &GatewayId, lane: LaneId) -> Result<u64, StoreError> {
        let gateway = gateway.clone();
        self.looking_up(move |conn| watermark(conn, &gateway, lane).map_err(failed("reading a watermark"))).await
    }

    async fn register(&self, gateway: &GatewayId, births: Births) -> Result<Arc<Registered>, StoreError> {
        let gateway = gateway.clone();
        // Births come with every session, and are seldom new: no neighbour waits for those.
        let (births, as_before) = {
            let gateway = gateway.clone();
            let now_us = (self.shared.options.now)();
            self.looking_up(move |conn| {
                catalogue::as_before(conn, now_us, &gateway, &births).map(|as_before| (births, as_before))
            })
            .await?
        };
        if let Some((number, places)) = as_before {
            return Ok(Arc::new(Registered { number, births, places }));
        }
        self.inbox
            .write(births.content().len(), move |conn, group| catalogue::register(conn, group.now_us, &gateway, births))
            .await?
            .map(Arc::new)
            .map_err(StoreError::OverQuota)
    }

    async fn registered(&self, gateway: &GatewayId, hash: BirthsHash) -> Result<Option<Arc<Registered>>, StoreError> {
        let gateway = gateway.clone();
        self.looking_up(move |conn| Ok(catalogue::registered(conn, &gateway, hash)?.map(Arc::new))).await
    }

    async fn set_clock(&self, gateway: &GatewayId, boot: BootId, clock: Clock) -> Result<Clock, StoreError> {
        let gateway = gateway.clone();
        self.inbox.write(0, move |conn, group| clocks::set(conn, group.now_us, &gateway, boot, clock)).await
    }

    async fn clock(&self, gateway: &GatewayId, boot: BootId) -> Result<Option<Clock>, StoreError> {
        let gateway = gateway.clone();
        self.looking_up(move |conn| clocks::get(conn, &gateway, boot).map_err(failed("reading a clock"))).await
    }

    async fn checksum(&self, gateway: &GatewayId, lane: LaneId, sequence: u64) -> Result<Option<u32>, StoreError> {
        // In this order: what is packed in between is found in the file.
        if let Some(sum) = self.shared.sums.get(gateway, lane, sequence) {
            return Ok(Some(sum));
        }
        let gateway = gateway.clone();
        self.looking_up(move |conn| sums::packed(conn, &gateway, lane, sequence)).await
    }

    async fn deliver(&self, delivery: Delivery) -> Result<Receipt, StoreError> {
        let (done, receipt) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let bytes = delivery.content.bytes();
        let delivery = Arc::new(delivery);
        let record = Arc::clone(&delivery);
        let run = move |conn: &Connection, group: &mut inbox::Group| deliver::store(conn, group, &record);
        let settle = move |result: Result<(Stored, Option<deliver::NewHead>), StoreError>| {
            // Readable before it is acknowledged.
            drop(done.send(result.map(|(stored, head)| settled(&shared, &delivery, stored, head))));
        };
        self.inbox.queue(bytes, run, settle).await?;
        Ok(receipt)
    }

    async fn read(&self, permit: &Permit, cursor: Option<ReadCursor>, limit: usize) -> Result<Chunk, StoreError> {
        let permit = permit.clone();
        self.shared.metrics.reads.add(1);
        let cancelled = CancellationToken::new();
        // Dropped with this future, when whoever asked went away.
        let _asking = cancelled.clone().drop_guard();
        let bounds = read::Bounds::new(limit, cancelled);
        self.reading(move |shared, conn| read::chunk(shared, conn, &permit, cursor, &bounds)).await
    }

    async fn series(&self, firm: &FirmId) -> Result<Vec<SeriesInfo>, StoreError> {
        let firm = firm.clone();
        self.reading(move |shared, conn| {
            let Some(number) = catalogue::firm_number(conn, &firm)? else { return Ok(Vec::new()) };
            shared.learn_newest(number)?;
            catalogue::list(conn, &firm, number, None, &shared.heads)
        })
        .await
    }

    async fn series_of(&self, key: &SeriesKey) -> Result<Option<SeriesInfo>, StoreError> {
        let key = key.clone();
        self.reading(move |shared, conn| {
            let Some(number) = catalogue::firm_number(conn, &key.firm)? else { return Ok(None) };
            shared.learn_newest(number)?;
            Ok(catalogue::list(conn, &key.firm, number, Some(&key), &shared.heads)?.pop())
        })
        .await
    }

    async fn newest_commit(&self, firm: &FirmId) -> Result<i64, StoreError> {
        let firm = firm.clone();
        self.looking_up(move |conn| match catalogue::firm_number(conn, &firm)? {
            Some(number) => catalogue::newest_commit(conn, number),
            None => Ok(0),
        })
        .await
    }

    async fn lanes(&self, gateway: &GatewayId) -> Result<Vec<LaneFacts>, StoreError> {
        let gateway = gateway.clone();
        self.reading(move |_, conn| facts::lanes(conn, &gateway)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        if !self.inbox.is_alive() {
            return Err(StoreError::Closed);
        }
        // What pins the view is a read already.
        self.looking_up(|_| Ok(())).await
    }

    async fn turn(&self) -> Result<(), StoreError> {
        self.inbox.turn().await
    }

    async fn dead_letters(&self, gateway: &GatewayId) -> Result<Vec<DeadLetterCount>, StoreError> {
        let gateway = gateway.clone();
        self.reading(move |_, conn| facts::dead_letters(conn, &gateway)).await
    }

    async fn gaps(&self, firm: &FirmId, limit: usize) -> Result<Vec<GapFact>, StoreError> {
        let firm = firm.clone();
        self.reading(move |_, conn| facts::gaps(conn, &firm, limit)).await
    }

    async fn refused_series(&self, firm: &FirmId) -> Result<Vec<RefusedSeries>, StoreError> {
        let firm = firm.clone();
        self.reading(move |_, conn| {
            catalogue::firm_number(conn, &firm)?
                .map_or(Ok(Vec::new()), |number| catalogue::refused(conn, &firm, number))
        })
        .await
    }

    async fn compact(&self, firm: &FirmId) -> Result<(), StoreError> {
        self.compactor.compact(firm).await
    }

    async fn retain(&self, firm: &FirmId, pass: Pass) -> Result<Retained, StoreError> {
        let firm = firm.clone();
        self.alone(move |shared, inbox| {
            let reader = shared.reader()?;
            let number = catalogue::firm_number(&reader, &firm);
            shared.give_back(reader);
            number?.map_or(Ok(Retained::default()), |number| retain::retain(shared, inbox, number, pass))
        })
        .await
    }

    async fn holdings(&self, firm: &FirmId) -> Result<Holdings, StoreError> {
        let firm = firm.clone();
        self.reading(move |shared, conn| holdings::of(shared, conn, &firm)).await
    }

    async fn erase(&self, firm: &FirmId) -> Result<bool, StoreError> {
        let firm = firm.clone();
        self.alone(move |shared, inbox| erase::erase(shared, inbox, &firm)).await
    }

    async fn commits(&self) -> Result<u64, StoreError> {
        self.looking_up(backup::count_commits).await
    }

    async fn back_up(&self, order: BackupOrder) -> Result<Manifest, BackupError> {
        let cancelled = self.compactor.closing();
        // Dropped with this future, when whoever asked went away.
        let _asking = cancelled.clone().drop_guard();
        let (done, receipt) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        self.compactor.alone(move || drop(done.send(backup::back_up(&shared, &order, &cancelled))))?;
        receipt.await.unwrap_or(Err(BackupError::Store(StoreError::Closed)))
    }

    fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}

#[async_trait]
impl DeadLetters for SqliteReadings {
    async fn dead_records(
        &self,
        firm: &FirmId,
        choice: &Choice,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadRecord>, StoreError> {
        let (firm, choice) = (firm.clone(), choice.clone());
        self.reading(move |_, conn| dead::list(conn, &firm, &choice, after, limit)).await
    }

    async fn dead_content(&self, firm: &FirmId, id: i64) -> Result<Option<DeadContent>, StoreError> {
        let firm = firm.clone();
        self.reading(move |_, conn| dead::content(conn, &firm, id)).await
    }

    async fn retry_dead(&self, firm: &FirmId, id: i64) -> Result<Option<Retried>, StoreError> {
        let Some(readmit) = self.shared.options.readmit.clone() else {
            return Err(StoreError::Damaged("nothing decides on dead letters here".into()));
        };
        let firm = firm.clone();
        let (done, receipt) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let run = move |conn: &Connection, group: &mut inbox::Group| dead::retry(conn, group, &firm, id, &readmit);
        let settle = move |result: Result<Option<dead::Outcome>, StoreError>| {
            // Readable before it is answered for, as what is delivered.
            drop(done.send(result.map(|outcome| {
                outcome.map(|outcome| {
                    if let Some(new) = outcome.head {
                        shared.metrics.recovered.add(outcome.retried.stored);
                        shared.heads.add(new.firm, new.head, &outcome.newest);
                    }
                    outcome.retried
                })
            })));
        };
        self.inbox.queue(sandan_proto::limits::MAX_PAYLOAD_BYTES, run, settle).await?;
        receipt.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn discard_dead(&self, firm: &FirmId, id: i64) -> Result<Option<u64>, StoreError> {
        let firm = firm.clone();
        self.inbox.write(0, move |conn, _| dead::discard(conn, &firm, id)).await
    }

    async fn dead_totals(&self) -> Result<BTreeMap<GatewayId, Vec<DeadLetterCount>>, StoreError> {
        self.reading(|_, conn| dead::totals(conn)).await
    }
}

/// Counts what was synced and makes it readable.
fn settled(shared: &Shared, delivery: &Delivery, stored: Stored, head: Option<deliver::NewHead>) -> Stored {
    let metrics = &shared.metrics;
    match &stored {
        Stored::Done { stored, letters, .. } => {
            metrics.records.add(1);
            metrics.readings.add(*stored);
            for letter in letters {
                metrics.dead_lettered(letter.reason, letter.count, letter.readings.unwrap_or(0));
            }
        }
        Stored::Duplicate { .. } => metrics.duplicates.add(1),
        Stored::Ahead { .. } | Stored::Superseded => {}
    }
    match (&delivery.content, head) {
        (Content::Batch { newest, .. }, Some(new)) => {
            metrics.bytes.add(new.head.bytes);
            if let Some(sum) = new.sum {
                shared.sums.add(&delivery.gateway, delivery.lane, delivery.last, sum);
            }
            shared.heads.add(new.firm, new.head, newest);
        }
        (Content::Gap { .. }, _) if matches!(stored, Stored::Done { .. }) => metrics.gaps.add(1),
        _ => {}
    }
    stored
}

fn watermark(conn: &Connection, gateway: &GatewayId, lane: LaneId) -> rusqlite::Result<u64> {
    conn.prepare_cached(
        "SELECT through FROM lane JOIN gateway ON gateway.number = lane.gateway WHERE gateway.id = ?1 AND lane = ?2",
    )?
    .query_row(params![gateway.as_str(), lane.as_bytes()], |row| row.get::<_, i64>(0))
    .optional()
    .map(|through| through.unwrap_or(0).cast_unsigned())
}

#[cfg(test)]
pub(crate) mod tests;
