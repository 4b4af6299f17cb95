//! The engine over PostgreSQL, with TimescaleDB where the server has it.
//!
//! Readings are rows of three tables, by the kind of their values; they come in by binary
//! COPY in the transaction that moves their lanes' watermarks, of many gateways at once. What
//! was acknowledged is committed, and the server is asked at the start whether a commit is on
//! its disk then. Several processes may stand on one database: whoever writes for a gateway
//! locks its row first, then its lanes, then its firm, each in the order of their keys.
//!
//! While the database is slow or away the queue of records fills and [`Readings::deliver`]
//! waits, so that gateways keep what they have; nothing is dropped and nothing grows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Object;
use sandan_proto::births::Births;
use sandan_proto::id::{BirthsHash, BootId, FirmId, GatewayId, LaneId, SeriesKey, TimelineId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::database::Database;
use crate::consent::Permit;
use crate::store::{
    BackupError, BackupOrder, Choice, Chunk, Classes, Clock, DeadContent, DeadLetterCount, DeadLetters, DeadRecord,
    Delivery, GapFact, Holdings, LaneFacts, Manifest, Metrics, Opening, Pass, ReadCursor, Readings, Readmit, Receipt,
    RefusedSeries, Registered, Released, Retained, Retried, SeriesInfo, StoreError,
};
use queue::Queue;
use tables::Tables;

mod bury;
mod catalogue;
mod clear;
mod copy;
mod count;
mod dead;
mod deliver;
mod erase;
mod error;
mod facts;
mod holdings;
mod merge;
mod plan;
mod queue;
mod read;
mod retain;
mod rollup;
mod rows;
mod sessions;
mod tables;
mod types;
mod verify;

pub use verify::verify;

/// A clock in microseconds since 1970.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How the engine is run.
#[derive(Clone)]
pub struct Options {
    /// At most one commit of a writer begins in this time.
    pub commit_interval: Duration,
    /// The store's clock, µs since 1970.
    pub now: Now,
    /// Decides on dead letters that are tried again; without it none is stored.
    pub readmit: Option<Readmit>,
    /// How long readings, minutes and hours are kept.
    pub classes: Classes,
    /// What nothing came under for so long is cleared away, µs: births, lanes and clocks.
    pub retention_us: i64,
    /// How often partitions are made ahead, hours are counted and old readings go; none: only when
    /// asked.
    pub upkeep: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            commit_interval: Duration::from_millis(50),
            now: Arc::new(|| {
                let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
                i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
            }),
            readmit: None,
            classes: Classes::default(),
            retention_us: i64::MAX,
            upkeep: Some(Duration::from_mins(10)),
        }
    }
}

/// Reads that run at once: more would only share the same disk and cores with the writers, and
/// take the connections of the sessions.
const READERS: usize = 4;

/// What the writers, the upkeep and readers share.
struct Shared {
    database: Database,
    tables: Tables,
    timeline: TimelineId,
    options: Options,
    metrics: Arc<Metrics>,
    readers: Arc<Semaphore>,
    /// Ends with the store.
    closing: CancellationToken,
}

impl Shared {
    /// A connection for what a session, a writer or the upkeep does.
    async fn session(&self) -> Result<Object, StoreError> {
        self.database
            .client()
            .await
            .map_err(|error| StoreError::Engine { what: "connecting to the database", source: Box::new(error) })
    }

    /// A connection for a read, and its turn.
    async fn reading(&self) -> Result<(OwnedSemaphorePermit, Object), StoreError> {
        let turn = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        Ok((turn, self.session().await?))
    }

    /// How long one transaction of a writer may take: it has some statements.
    fn patience(&self) -> Duration {
        2 * self.database.settings().statement_timeout
    }
}

/// Readings in a PostgreSQL database.
pub struct PostgresReadings {
    queue: Queue,
    shared: Arc<Shared>,
}

impl PostgresReadings {
    /// Over a database that has the layout of this build: makes the tables of readings where
    /// there are none, and starts the writers.
    pub async fn open(database: Database, options: Options) -> Result<Self, StoreError> {
        let opened = tables::open(&database).await?;
        let shared = Arc::new(Shared {
            tables: Tables::new(opened.kept_as),
            database,
            timeline: opened.timeline,
            options,
            metrics: Arc::default(),
            readers: Arc::new(Semaphore::new(READERS)),
            closing: CancellationToken::new(),
        });
        tables::ahead(&shared).await?;
        let queue = Queue::start(&shared);
        if let Some(every) = shared.options.upkeep {
            tokio::spawn(clear::keep_up(Arc::clone(&shared), every));
        }
        Ok(Self { queue, shared })
    }

    /// Makes the partitions of the next days, counts hours, lets go what is beyond the retention, and
    /// clears what nothing comes under any more. Done by itself where the options say how often.
    pub async fn upkeep(&self) -> Result<(), StoreError> {
        clear::upkeep(&self.shared).await
    }
}

impl Drop for PostgresReadings {
    fn drop(&mut self) {
        // Writers commit what is queued and end; one whose database is away gives up.
        self.shared.closing.cancel();
    }
}

#[async_trait]
impl Readings for PostgresReadings {
    fn timeline(&self) -> TimelineId {
        self.shared.timeline
    }

    async fn open_session(
        &self,
        gateway: &GatewayId,
        last_epoch: u64,
        lanes: &[LaneId],
    ) -> Result<Opening, StoreError> {
        sessions::open(&self.shared, gateway, last_epoch, lanes).await
    }

    async fn release(&self, gateway: &GatewayId) -> Result<Released, StoreError> {
        sessions::release(&self.shared, gateway).await
    }

    async fn fenced(&self) -> Result<Vec<(GatewayId, i64)>, StoreError> {
        sessions::fenced(&self.shared).await
    }

    async fn watermark(&self, gateway: &GatewayId, lane: LaneId) -> Result<u64, StoreError> {
        sessions::watermark(&self.shared, gateway, lane).await
    }

    async fn register(&self, gateway: &GatewayId, births: Births) -> Result<Arc<Registered>, StoreError> {
        catalogue::register(&self.shared, gateway, births).await.map(Arc::new)
    }

    async fn registered(&self, gateway: &GatewayId, hash: BirthsHash) -> Result<Option<Arc<Registered>>, StoreError> {
        let client = self.shared.session().await?;
        Ok(catalogue::registered(&client, gateway, hash).await?.map(Arc::new))
    }

    async fn set_clock(&self, gateway: &GatewayId, boot: BootId, clock: Clock) -> Result<Clock, StoreError> {
        sessions::set_clock(&self.shared, gateway, boot, clock).await
    }

    async fn clock(&self, gateway: &GatewayId, boot: BootId) -> Result<Option<Clock>, StoreError> {
        let client = self.shared.session().await?;
        sessions::clock(&client, gateway, boot).await
    }

    async fn checksum(&self, gateway: &GatewayId, lane: LaneId, sequence: u64) -> Result<Option<u32>, StoreError> {
        sessions::checksum(&self.shared, gateway, lane, sequence).await
    }

    async fn deliver(&self, delivery: Delivery) -> Result<Receipt, StoreError> {
        self.queue.deliver(delivery).await
    }

    async fn read(&self, permit: &Permit, cursor: Option<ReadCursor>, limit: usize) -> Result<Chunk, StoreError> {
        self.shared.metrics.reads.add(1);
        read::chunk(&self.shared, permit, cursor, &read::Bounds::new(limit)).await
    }

    async fn series(&self, firm: &FirmId) -> Result<Vec<SeriesInfo>, StoreError> {
        catalogue::list(&self.shared, firm, None).await
    }

    async fn series_of(&self, key: &SeriesKey) -> Result<Option<SeriesInfo>, StoreError> {
        Ok(catalogue::list(&self.shared, &key.firm, Some(key)).await?.pop())
    }

    async fn newest_commit(&self, firm: &FirmId) -> Result<i64, StoreError> {
        let (_turn, client) = self.shared.reading().await?;
        Ok(catalogue::firm(&client, firm).await?.map_or(0, |(_, commit)| commit))
    }

    async fn lanes(&self, gateway: &GatewayId) -> Result<Vec<LaneFacts>, StoreError> {
        facts::lanes(&self.shared, gateway).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        if !self.queue.is_alive() {
            return Err(StoreError::Closed);
        }
        facts::check(&self.shared).await
    }

    async fn dead_letters(&self, gateway: &GatewayId) -> Result<Vec<DeadLetterCount>, StoreError> {
        Ok(facts::dead_totals(&self.shared, Some(gateway)).await?.remove(gateway).unwrap_or_default())
    }

    async fn gaps(&self, firm: &FirmId, limit: usize) -> Result<Vec<GapFact>, StoreError> {
        facts::gaps(&self.shared, firm, limit).await
    }

    async fn refused_series(&self, firm: &FirmId) -> Result<Vec<RefusedSeries>, StoreError> {
        catalogue::refused(&self.shared, firm).await
    }

    /// Nothing to be done: the server keeps readings where they came.
    async fn compact(&self, _firm: &FirmId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn retain(&self, firm: &FirmId, pass: Pass) -> Result<Retained, StoreError> {
        retain::retain(&self.shared, firm, pass).await
    }

    async fn holdings(&self, firm: &FirmId) -> Result<Holdings, StoreError> {
        holdings::of(&self.shared, firm).await
    }

    async fn erase(&self, firm: &FirmId) -> Result<bool, StoreError> {
        erase::erase(&self.shared, firm).await
    }

    async fn commits(&self) -> Result<u64, StoreError> {
        facts::commits(&self.shared).await
    }

    async fn back_up(&self, _order: BackupOrder) -> Result<Manifest, BackupError> {
        Err(BackupError::Elsewhere)
    }

    fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}

#[async_trait]
impl DeadLetters for PostgresReadings {
    async fn dead_records(
        &self,
        firm: &FirmId,
        choice: &Choice,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadRecord>, StoreError> {
        let (_turn, client) = self.shared.reading().await?;
        dead::list(&client, firm, choice, after, limit).await
    }

    async fn dead_content(&self, firm: &FirmId, id: i64) -> Result<Option<DeadContent>, StoreError> {
        let (_turn, client) = self.shared.reading().await?;
        dead::content(&client, firm, id).await
    }

    async fn retry_dead(&self, firm: &FirmId, id: i64) -> Result<Option<Retried>, StoreError> {
        dead::retry(&self.shared, firm, id).await
    }

    async fn discard_dead(&self, firm: &FirmId, id: i64) -> Result<Option<u64>, StoreError> {
        dead::discard(&self.shared, firm, id).await
    }

    async fn dead_totals(&self) -> Result<BTreeMap<GatewayId, Vec<DeadLetterCount>>, StoreError> {
        facts::dead_totals(&self.shared, None).await
    }
}

#[cfg(test)]
pub(crate) mod tests;
