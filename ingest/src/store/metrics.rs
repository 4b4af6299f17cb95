//! Counters of the delivery path since the start of the process. `run` renders
//! them; nothing here knows a metric name.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use sandan_proto::v1::DeadLetterReason;

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A level that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Changes the level.
    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Ordering::Relaxed);
    }
    /// The level.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the latency histogram, µs: from one sync of a good disk to one
/// that an operator has to look at.
pub const LATENCY_BOUNDS_US: [u64; 8] = [1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_000_000];

/// How long something took, in buckets.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [Counter; LATENCY_BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Latency {
    /// Notes one.
    pub fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|&bound| bound < us);
        self.buckets[bucket].add(1);
        self.sum_us.add(us);
    }
    /// Counts between the bounds, the last one above all of them (not cumulative).
    pub fn buckets(&self) -> [u64; LATENCY_BOUNDS_US.len() + 1] {
        std::array::from_fn(|bucket| self.buckets[bucket].get())
    }
    /// All of them together, seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_us.get() as f64 / 1e6
    }
}

/// Counters of one store.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Group commits that were synced.
    pub commits: Counter,
    /// How long they took, sync included.
    pub commit_latency: Latency,
    /// Records stored, dead-lettered or noted as a gap.
    pub records: Counter,
    /// Readings stored.
    pub readings: Counter,
    /// Bytes of stored payloads.
    pub bytes: Counter,
    /// Records that were durable before.
    pub duplicates: Counter,
    /// Records that were answered with "later", because their firm sends too fast.
    pub put_off: Counter,
    /// Readings that were put aside and that a retry has stored.
    pub recovered: Counter,
    /// Gap records.
    pub gaps: Counter,
    /// Sessions open now.
    pub sessions_open: Gauge,
    /// Sessions that were welcomed.
    pub sessions: Counter,
    /// Hellos refused because their spool was behind.
    pub fenced: Counter,
    /// Compactions done.
    pub compactions: Counter,
    /// Compactions that failed.
    pub compaction_failures: Counter,
    /// Readings moved into firm files.
    pub compacted_readings: Counter,
    /// Readings that were packed again, with others of their series.
    pub merged_readings: Counter,
    /// Readings that are gone, being past their retention.
    pub retained_readings: Counter,
    /// Group commits that were tried again because the database was away.
    pub commits_retried: Counter,
    /// Group commits of which nobody knows whether they happened.
    pub commits_uncertain: Counter,
    /// Passes of what a database store does by and by.
    pub upkeeps: Counter,
    /// Those that failed.
    pub upkeep_failures: Counter,
    /// Hours of series that a database counted, late ones again.
    pub hours_counted: Counter,
    /// Chunks read.
    pub reads: Counter,
    dead: Mutex<BTreeMap<i32, (u64, u64)>>,
}

impl Metrics {
    /// Notes dead letters.
    pub fn dead_lettered(&self, reason: DeadLetterReason, count: u64, readings: u64) {
        let mut dead = self.dead.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (letters, sum) = dead.entry(reason.into()).or_default();
        *letters += count;
        *sum += readings;
    }
    /// Letters and readings by reason, for every reason that occurred.
    pub fn dead_letters(&self) -> Vec<(DeadLetterReason, u64, u64)> {
        let dead = self.dead.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        dead.iter()
            .filter_map(|(&reason, &(letters, readings))| {
                DeadLetterReason::try_from(reason).ok().map(|reason| (reason, letters, readings))
            })
            .collect()
    }
}
