//! What was put aside, as its firm sees it: listed, exported, tried again, discarded.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use sandan_proto::id::{AssetId, FirmId, GatewayId, LaneId, MetricId};
use sandan_proto::reading::{Quality, Value};
use sandan_proto::record::{RecordError, Sealed};
use sandan_proto::v1::DeadLetterReason;

use super::delivery::{Clock, Content, Letter, Registered};
use super::{DeadLetterCount, StoreError};

/// Decides anew on a sealed record: its births, its clock, the time it is (µs since 1970),
/// and the ordinals of the columns that may be stored; none: all.
pub type Readmit = Arc<dyn Fn(Sealed, &Registered, Clock, i64, Option<&[u32]>) -> Content + Send + Sync>;

/// Which of a firm's dead records are meant. What is none or empty is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// By number.
    pub ids: Vec<i64>,
    /// Of one gateway.
    pub gateway: Option<GatewayId>,
    /// With a letter of this reason.
    pub reason: Option<DeadLetterReason>,
}

/// A record of which something is put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadRecord {
    /// Its number; greater for one that came later.
    pub id: i64,
    /// Whose.
    pub gateway: GatewayId,
    /// The lane that it came in.
    pub lane: LaneId,
    /// Its last sequence there.
    pub sequence: u64,
    /// When it came, by the store's clock, µs since 1970.
    pub received_us: i64,
    /// Bytes that are kept of it.
    pub bytes: u64,
    /// Why, each with the series that it names, where that can be told.
    pub letters: Vec<(Letter, Option<(AssetId, MetricId)>)>,
}

/// One reading of a dead record.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadReading {
    /// Monotonic time of its boot, µs.
    pub monotonic_us: i64,
    /// µs since 1970, where the boot's clock is known.
    pub time_us: Option<i64>,
    /// What its births say of it, where they are known.
    pub series: Option<(AssetId, MetricId)>,
    /// Index of the series in the births.
    pub index: u32,
    /// As it came.
    pub value: Value,
    /// As it came; where it was good and its time rests on an estimate, uncertain(clock).
    pub quality: Quality,
}

/// A dead record with what can be read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadContent {
    /// What and why.
    pub record: DeadRecord,
    /// The readings that are not stored; none where the record cannot be decoded.
    pub readings: Option<Vec<DeadReading>>,
    /// As it came, an encoded wire message.
    pub original: bytes::Bytes,
}

/// What came of trying a dead record again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried {
    /// Readings that are stored now.
    pub stored: u64,
    /// Why the others are not; empty when nothing of the record is put aside any more.
    pub letters: Vec<Letter>,
}

/// The dead letters of all firms.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Dead records of a firm with a number beyond `after`, in the order of their numbers.
    async fn dead_records(
        &self,
        firm: &FirmId,
        choice: &Choice,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadRecord>, StoreError>;

    /// One with its readings. None when the firm has none of this number.
    async fn dead_content(&self, firm: &FirmId, id: i64) -> Result<Option<DeadContent>, StoreError>;

    /// Decides on one again with what is known now, and stores what it may: in one
    /// transaction, so that nothing is ever stored twice. What is refused again stays, with
    /// its new reason. None when the firm has none of this number.
    async fn retry_dead(&self, firm: &FirmId, id: i64) -> Result<Option<Retried>, StoreError>;

    /// Deletes the bytes of one; it stays counted. Gives its readings, none when the firm
    /// has none of this number.
    async fn discard_dead(&self, firm: &FirmId, id: i64) -> Result<Option<u64>, StoreError>;

    /// Counts by gateway and reason, of all firms.
    async fn dead_totals(&self) -> Result<BTreeMap<GatewayId, Vec<DeadLetterCount>>, StoreError>;
}

/// Why a record that breaks the rules of the wire is put aside.
pub fn reason(error: &RecordError) -> DeadLetterReason {
    match error {
        RecordError::Checksum { .. } => DeadLetterReason::BadChecksum,
        RecordError::TooLarge(_) => DeadLetterReason::LimitExceeded,
        RecordError::Id(_) | RecordError::Sequence { .. } | RecordError::Backwards(_) | RecordError::Cause(_) => {
            DeadLetterReason::Undecodable
        }
    }
}

/// The word for a reason, as programs and people see it: `time_ahead`.
pub fn word(reason: DeadLetterReason) -> String {
    reason.as_str_name().trim_start_matches("DEAD_LETTER_REASON_").to_lowercase()
}

/// The reason of a word.
pub fn parse(word: &str) -> Option<DeadLetterReason> {
    DeadLetterReason::from_str_name(&format!("DEAD_LETTER_REASON_{}", word.to_uppercase()))
}
