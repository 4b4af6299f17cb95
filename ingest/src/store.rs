//! The store: everything that is durable, behind one trait.
//!
//! Readings are reached only with a [`Permit`](crate::consent::Permit), which only the consent module can
//! make. Acknowledged means synced and readable.

use std::sync::Arc;

use async_trait::async_trait;
use sandan_proto::births::Births;
use sandan_proto::id::{BirthsHash, BootId, FirmId, GatewayId, LaneId, SeriesKey, TimelineId};
use sandan_proto::reading::{Quality, Value, ValueType};

use crate::consent::{Form, Permit};

pub mod aggregate;
mod appends;
pub mod backup;
#[cfg(test)]
mod conformance;
pub mod control;
pub mod dead_letters;
pub mod delivery;
mod epochs;
pub mod facts;
pub mod holdings;
pub mod metrics;
pub mod postgres;
mod references;
pub mod retention;
mod sql;
pub mod sqlite;
pub mod testimony;

pub use backup::{BackupError, BackupOrder, Manifest};
pub use dead_letters::{Choice, DeadContent, DeadLetters, DeadReading, DeadRecord, Readmit, Retried};
pub use delivery::{
    Clock, Content, Delivery, Letter, Opening, Placement, Receipt, Registered, Released, SeriesNo, Stored,
};
pub use facts::{DeadLetterCount, GapFact, GapMark, LaneFacts, RefusedSeries};
pub use holdings::{Flaw, Holdings, Verified};
pub use metrics::Metrics;
pub use retention::{Classes, Pass, Retained};
pub use sqlite::restore::Stand;
pub use sqlite::{Options, SqliteReadings};

/// The part of a store that holds readings: delivery from gateways, the catalogue,
/// and reads under a permit.
#[async_trait]
pub trait Readings: DeadLetters + 'static {
    /// One history of this store; another after a restore from an older state.
    fn timeline(&self) -> TimelineId;

    /// Opens a session: refuses a spool that is behind the epochs its gateway has used,
    /// or grants the next epoch, which ends every earlier one.
    async fn open_session(&self, gateway: &GatewayId, last_epoch: u64, lanes: &[LaneId])
    -> Result<Opening, StoreError>;

    /// Lets the next `Hello` of a gateway in that would be fenced, whatever its epoch.
    async fn release(&self, gateway: &GatewayId) -> Result<Released, StoreError>;

    /// Gateways of which a spool was refused as fenced, and none was let in or released
    /// since, with the time of the latest refusal, µs since 1970. Outlives a restart.
    async fn fenced(&self) -> Result<Vec<(GatewayId, i64)>, StoreError>;

    /// Through which sequence a lane is durable; 0 for a new one.
    async fn watermark(&self, gateway: &GatewayId, lane: LaneId) -> Result<u64, StoreError>;

    /// Keeps births and registers their series in the catalogue. Idempotent. Refused as
    /// [`StoreError::OverQuota`] when the gateway has registered too many.
    async fn register(&self, gateway: &GatewayId, births: Births) -> Result<Arc<Registered>, StoreError>;

    /// Births that the gateway registered before.
    async fn registered(&self, gateway: &GatewayId, hash: BirthsHash) -> Result<Option<Arc<Registered>>, StoreError>;

    /// Keeps the clock of a boot, which takes the place of an earlier one until a record of
    /// the boot is stored; gives the one in force.
    async fn set_clock(&self, gateway: &GatewayId, boot: BootId, clock: Clock) -> Result<Clock, StoreError>;

    /// The clock of a boot, where it is known.
    async fn clock(&self, gateway: &GatewayId, boot: BootId) -> Result<Option<Clock>, StoreError>;

    /// The CRC-32C of the record that is stored under a number, where it is still known.
    async fn checksum(&self, gateway: &GatewayId, lane: LaneId, sequence: u64) -> Result<Option<u32>, StoreError>;

    /// Hands a record to the next group commit. Returns once it is queued, in the order
    /// of the calls; the receipt resolves when the commit is synced. A receipt that
    /// fails leaves the outcome open: the session has to end.
    async fn deliver(&self, delivery: Delivery) -> Result<Receipt, StoreError>;

    /// One chunk of the answer to a permitted read, of at most `limit` rows. A chunk may
    /// hold fewer rows than that, even none, and still have a `next`.
    async fn read(&self, permit: &Permit, cursor: Option<ReadCursor>, limit: usize) -> Result<Chunk, StoreError>;

    /// Every series of a firm, by asset and metric.
    async fn series(&self, firm: &FirmId) -> Result<Vec<SeriesInfo>, StoreError>;

    /// One of them; none where there is no such series.
    async fn series_of(&self, key: &SeriesKey) -> Result<Option<SeriesInfo>, StoreError>;

    /// The newest commit of a firm; 0 before the first.
    async fn newest_commit(&self, firm: &FirmId) -> Result<i64, StoreError>;

    /// What is stored of each lane of a gateway, the newest lane last.
    async fn lanes(&self, gateway: &GatewayId) -> Result<Vec<LaneFacts>, StoreError>;

    /// Fails unless the store can be read and its writer lives.
    async fn check(&self) -> Result<(), StoreError>;

    /// Returns once the writer has gone around, for the watchdog: it does not while the writer
    /// hangs on its disk. Statements of a database end by their own time-out.
    async fn turn(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// What a gateway delivered and the store could not take, by reason.
    async fn dead_letters(&self, gateway: &GatewayId) -> Result<Vec<DeadLetterCount>, StoreError>;

    /// The newest declared gaps of a firm, newest first.
    async fn gaps(&self, firm: &FirmId, limit: usize) -> Result<Vec<GapFact>, StoreError>;

    /// Series that a gateway of the firm declares while another owns them.
    async fn refused_series(&self, firm: &FirmId) -> Result<Vec<RefusedSeries>, StoreError>;

    /// Packs what a firm has in the shared inbox into its own file now.
    async fn compact(&self, firm: &FirmId) -> Result<(), StoreError>;

    /// Applies what is to be kept for how long to a firm now, or looks at what would go; the
    /// store applies it every day by itself.
    async fn retain(&self, _firm: &FirmId, _pass: Pass) -> Result<Retained, StoreError> {
        Err(StoreError::Unsupported("retention on demand"))
    }

    /// How much there is of a firm; nothing of one that never delivered.
    async fn holdings(&self, _firm: &FirmId) -> Result<Holdings, StoreError> {
        Err(StoreError::Unsupported("counting what a firm has"))
    }

    /// Deletes everything of a firm; false where there was nothing of it. Its gateways have to
    /// be revoked before, or they make it anew.
    async fn erase(&self, _firm: &FirmId) -> Result<bool, StoreError> {
        Err(StoreError::Unsupported("erasing a firm"))
    }

    /// Group commits of all firms since the store was made: how far it is.
    async fn commits(&self) -> Result<u64, StoreError>;

    /// Copies everything durable into a directory while the store goes on; what was
    /// acknowledged before the call is in the copy. Given up when the future is dropped.
    async fn back_up(&self, order: BackupOrder) -> Result<Manifest, BackupError>;

    /// Counters since the start of the process.
    fn metrics(&self) -> &Metrics;
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed.
    #[error("{what} failed")]
    Engine {
        /// What was being done.
        what: &'static str,
        /// The engine's own words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file or directory could not be used.
    #[error("cannot use {path}")]
    Io {
        /// Which one.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of a version that this build does not know.
    #[error("{path} has format {found}, this build knows up to {known}; start the newer build again")]
    Newer {
        /// Which one.
        path: std::path::PathBuf,
        /// Its format.
        found: i64,
        /// The newest known one.
        known: i64,
    },
    /// A file that is not what its name says.
    #[error("{path} is not {expected}")]
    Foreign {
        /// Which one.
        path: std::path::PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// What was stored cannot be read back.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// A commit whose outcome is not known.
    #[error("the outcome of a commit is not known: {0}")]
    Uncertain(String),
    /// More than one gateway may have.
    #[error("{0}")]
    OverQuota(String),
    /// A cursor that does not belong to the permit.
    #[error("the cursor does not belong to this read")]
    Cursor,
    /// The engine has no way to do it.
    #[error("{0} is not possible with this store")]
    Unsupported(&'static str),
    /// Nobody waits for the answer any more.
    #[error("the read was given up")]
    Cancelled,
    /// The store is closing.
    #[error("the store is closing")]
    Closed,
}

impl StoreError {
    /// Whether the database is away, and may be back in a moment.
    pub fn is_away(&self) -> bool {
        postgres::database::is_away(self)
    }
}

/// What the catalogue knows of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesInfo {
    /// Owner, asset and metric.
    pub key: SeriesKey,
    /// `plant-1/furnace-2/zone-3`.
    pub path: String,
    /// Korean name of the asset.
    pub name_ko: String,
    /// English name of the asset.
    pub name_en: String,
    /// IANA time zone of the site.
    pub time_zone: String,
    /// UCUM, of the newest reading. Readings in this unit are the ones that are read.
    pub unit: String,
    /// Other units that it has readings in. A number is never given for what it is not.
    pub other_units: Vec<String>,
    /// Type of its values.
    pub value_type: ValueType,
    /// 0 when unknown.
    pub expected_interval_ms: u32,
    /// The gateway that owns it now.
    pub gateway: GatewayId,
    /// Observation time of the newest reading, µs since 1970; none before the first.
    pub newest_us: Option<i64>,
}

/// Where the next chunk of a read begins. Opaque outside the store; without a part it
/// survives a restart, and stays valid while data arrives.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadCursor {
    /// Index into [`Permit::series`](crate::consent::Permit::series).
    pub series: usize,
    /// Observation time (or bucket start) to go on from, µs since 1970.
    pub from_us: i64,
    /// Readings at exactly `from_us` that were already handed out.
    pub skip: u32,
    /// Only what was stored up to this commit of the firm is read, so that pages fit together
    /// while data arrives; none at the beginning of a read.
    pub as_of: Option<i64>,
    /// Only readings that were stored after this commit are read; none: whenever they were. Buckets
    /// are made of all their readings.
    pub after: Option<i64>,
    /// What was read of the bucket at `from_us`, where one chunk did not do for it.
    pub part: Option<Part>,
}

impl ReadCursor {
    /// A place between readings or buckets.
    pub fn new(series: usize, from_us: i64, skip: u32) -> Self {
        Self { series, from_us, skip, as_of: None, after: None, part: None }
    }

    /// Whether it is one that this read may have given. Buckets are gone on from at their
    /// edges, or with what was read of them.
    fn belongs(&self, permit: &Permit) -> bool {
        let Self { series, from_us, skip, after, part, .. } = self;
        let inside = *series <= permit.series().len() && (permit.from_us()..=permit.to_us()).contains(from_us);
        let fits = match permit.form() {
            Form::Raw => part.is_none(),
            Form::Bucketed { grid } => {
                let edge = *from_us == permit.from_us() || grid.is_edge(*from_us);
                edge && *skip == 0 && after.is_none() && part.as_ref().is_none_or(|part| part.at_us >= *from_us)
            }
        };
        inside && fits
    }

    /// The same place in what was stored up to a commit.
    #[must_use]
    pub fn as_of(self, commit: i64) -> Self {
        Self { as_of: Some(commit), ..self }
    }

    /// The same place in what was stored after a commit.
    #[must_use]
    pub fn after(self, commit: i64) -> Self {
        Self { after: Some(commit), ..self }
    }
}

/// The beginning of a bucket that has more readings than one chunk looks at. Only the
/// store makes one, and only the store can read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Observation time to go on from, µs since 1970.
    at_us: i64,
    /// Readings at exactly `at_us` that are in.
    skip: u32,
    /// What has come together so far.
    fold: aggregate::Fold,
}

/// One reading.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReading {
    /// Index into [`Permit::series`](crate::consent::Permit::series).
    pub series: usize,
    /// Observation time, µs since 1970.
    pub time_us: i64,
    /// None where the quality is bad.
    pub value: Option<Value>,
    /// How far to trust it.
    pub quality: Quality,
    /// The commit that stored it.
    pub commit: i64,
}

/// One bucket over readings that are not bad and are numbers. Never empty: it holds a reading,
/// or where that is asked for a time at which an earlier reading of the answer still holds.
///
/// A value holds until the next reading of its series, of whatever quality, and at most for
/// [`aggregate::hold_us`]. Nothing before the permit's range is looked at: what held when it
/// began is not known.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Index into [`Permit::series`](crate::consent::Permit::series).
    pub series: usize,
    /// Start, µs since 1970; the bucket is [start, end).
    pub start_us: i64,
    /// End, µs since 1970.
    pub end_us: i64,
    /// Numbers in it.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least; NaN where `count` is 0, as the next three.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The one with the earliest time.
    pub first: f64,
    /// The one with the latest time.
    pub last: f64,
    /// Value times µs over the time for which a value holds; 0 unless the mean over time is
    /// asked for.
    pub integral: f64,
    /// For how much of the bucket a value holds, µs; 0 unless the mean over time is asked for.
    pub covered_us: i64,
    /// By how much a counter grew since the reading before each of its readings; 0 unless
    /// that is asked for.
    pub increase: f64,
    /// For how long each state held, µs, by name; empty unless that is asked for.
    pub durations: Vec<(String, i64)>,
}

impl Bucket {
    /// The mean of its numbers; NaN where there is none.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// The mean over the time for which a value holds; NaN where that is none.
    pub fn time_mean(&self) -> f64 {
        self.integral / self.covered_us as f64
    }
}

/// A bounded piece of an answer, ordered by series and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// What the permit's form asks for.
    pub rows: Rows,
    /// What is declared missing in the times that the chunk covers.
    pub gaps: Vec<GapMark>,
    /// The firm's newest commit that was looked at.
    pub as_of: i64,
    /// None when the answer is complete.
    pub next: Option<ReadCursor>,
}

/// Rows of one of the two forms.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Rows {
    Raw(Vec<StoredReading>),
    Buckets(Vec<Bucket>),
}
