//! The store: everything that is durable, behind one trait.
//!
//! Readings are reached only with a [`Permit`](crate::consent::Permit), which only the consent module can
//! make. Acknowledged means synced and readable.

pub mod control;
pub mod sqlite;

use async_trait::async_trait;
use sandan_proto::id::{FirmId, GatewayId, SeriesKey};
use sandan_proto::reading::{Quality, Value, ValueType};
use serde::{Deserialize, Serialize};

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
    /// UCUM.
    pub unit: String,
    /// Type of its values.
    pub value_type: ValueType,
    /// 0 when unknown.
    pub expected_interval_ms: u32,
    /// The gateway that owns it now.
    pub gateway: GatewayId,
    /// Observation time of the newest reading, µs since 1970; none before the first.
    pub newest_us: Option<i64>,
}

/// Where the next chunk of a read begins. Opaque outside the store; survives a
/// restart and stays valid while data arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadCursor {
    /// Index into [`Permit::series`](crate::consent::Permit::series).
    pub series: usize,
    /// Observation time (or bucket start) to go on from, µs since 1970.
    pub from_us: i64,
    /// Readings at exactly `from_us` that were already handed out.
    pub skip: u32,
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

/// One bucket over readings that are not bad and are numbers. Never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Index into [`Permit::series`](crate::consent::Permit::series).
    pub series: usize,
    /// Start, µs since 1970; the bucket is [start, start + width).
    pub start_us: i64,
    /// Readings in it.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The one with the latest time.
    pub last: f64,
}

/// A bounded piece of an answer, ordered by series and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// What the permit's form asks for.
    pub rows: Rows,
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

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
#[error("the store failed")]
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Reading back what is stored.
#[async_trait]
pub trait Readings: Send + Sync {
    /// The next piece of what `permit` allows, at most `limit` rows.
    async fn read(
        &self,
        permit: &crate::consent::Permit,
        from: Option<ReadCursor>,
        limit: usize,
    ) -> Result<Chunk, StoreError>;
    /// Every series of a firm.
    async fn series(&self, firm: &FirmId) -> Result<Vec<SeriesInfo>, StoreError>;
}
