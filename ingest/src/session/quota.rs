//! How fast a firm may send: token buckets, shared by all sessions of the firm. Pure: the
//! time comes in.
//!
//! A record is let in while there is anything in the buckets and then taken out of them, if
//! need be below zero: so one that is larger than a bucket holds is never refused for good,
//! and what it took beyond is waited for afterwards.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sandan_proto::id::FirmId;

/// Seconds of its rate that a firm may send at once: the backlog of a short outage of a
/// mobile network goes through without being held back.
const BURST_S: f64 = 10.0;
/// The longest delay that a gateway is told. It asks again then.
const MAX_DELAY: Duration = Duration::from_secs(30);
/// What a record costs beside its payload: rows, frames and looking it up.
pub const RECORD_BYTES: u64 = 128;

/// What a firm may send each second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Readings.
    pub readings: f64,
    /// Bytes of records.
    pub bytes: f64,
}

/// Which rate was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// Readings.
    Readings,
    /// Bytes.
    Bytes,
}

impl Exceeded {
    /// For the gateway's log.
    pub fn words(self) -> &'static str {
        match self {
            Exceeded::Readings => "the firm sends more readings a second than it may",
            Exceeded::Bytes => "the firm sends more bytes a second than it may",
        }
    }
}

/// One bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: f64,
    level: f64,
}

impl Bucket {
    fn full(rate: f64) -> Self {
        Self { rate, level: rate * BURST_S }
    }

    fn fill(&mut self, seconds: f64) {
        self.level = (self.level + self.rate * seconds).min(self.rate * BURST_S);
    }

    /// Until there is something in it again; none when there is.
    fn wait(&self) -> Option<Duration> {
        (self.level <= 0.0).then(|| {
            // A millisecond more than it takes, so that whoever waited finds something.
            let seconds = -self.level / self.rate + 0.001;
            Duration::try_from_secs_f64(seconds).unwrap_or(MAX_DELAY).clamp(Duration::from_millis(1), MAX_DELAY)
        })
    }
}

#[derive(Debug)]
struct Buckets {
    readings: Bucket,
    bytes: Bucket,
    at_us: i64,
}

/// The buckets of all firms.
#[derive(Debug)]
pub struct Quotas {
    default: Rate,
    firms: BTreeMap<FirmId, Rate>,
    /// A firm that sends has some; as many as there are firms.
    buckets: Mutex<HashMap<FirmId, Buckets>>,
}

impl Quotas {
    /// With the rate of firms that have none of their own.
    pub fn new(default: Rate, firms: BTreeMap<FirmId, Rate>) -> Self {
        Self { default, firms, buckets: Mutex::default() }
    }

    fn with<T>(&self, firm: &FirmId, now_us: i64, act: impl FnOnce(&mut Buckets) -> T) -> T {
        let mut all = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let buckets = all.entry(firm.clone()).or_insert_with(|| {
            let rate = self.firms.get(firm).copied().unwrap_or(self.default);
            Buckets { readings: Bucket::full(rate.readings), bytes: Bucket::full(rate.bytes), at_us: now_us }
        });
        // A clock that was set back fills nothing, and does not stop the filling either.
        let seconds = now_us.saturating_sub(buckets.at_us).max(0) as f64 / 1e6;
        buckets.at_us = now_us;
        buckets.readings.fill(seconds);
        buckets.bytes.fill(seconds);
        act(buckets)
    }

    /// Whether a record of a firm may come in now; else which rate is exceeded and how long
    /// to wait.
    pub fn check(&self, firm: &FirmId, now_us: i64) -> Result<(), (Exceeded, Duration)> {
        self.with(firm, now_us, |buckets| {
            let waits = [(Exceeded::Readings, buckets.readings.wait()), (Exceeded::Bytes, buckets.bytes.wait())];
            let longest = waits.into_iter().filter_map(|(what, wait)| Some((what, wait?))).max_by_key(|it| it.1);
            longest.map_or(Ok(()), Err)
        })
    }

    /// Takes what a record cost.
    pub fn spend(&self, firm: &FirmId, now_us: i64, readings: u64, bytes: u64) {
        self.with(firm, now_us, |buckets| {
            buckets.readings.level -= readings as f64;
            buckets.bytes.level -= bytes.saturating_add(RECORD_BYTES) as f64;
        });
    }
}

#[cfg(test)]
mod tests;
