//! Health: what is known about each link, the spool and the uplink.
//!
//! One cheap handle is shared by everything that has something to report; the local
//! HTTP server and the session's heartbeat read it. It holds times, counts and
//! sentences, never a value that a machine gave.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandan_proto::v1;

use crate::clock::{self, ClockState};
use crate::config::Config;

mod backlog;
mod link;
mod messages;
pub mod metrics;
mod status;

pub use backlog::{BacklogState, Drain, Waiting};
use link::Link;
pub(crate) use link::NOTHING_HEARD;
use messages::Messages;
pub use messages::MessagesStatus;
pub use status::{ClockStatus, LinkStatus, SpoolStatus, Status, UplinkStatus};

/// The shared handle.
#[derive(Debug, Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    gateway: String,
    started_us: i64,
    links: Vec<Mutex<Link>>,
    /// The devices of each endpoint.
    endpoints: Vec<Vec<usize>>,
    /// What brokers brought that could not be used; `None` for what is polled.
    messages: Vec<Option<Messages>>,
    spool: Mutex<v1::SpoolHealth>,
    backlog: Mutex<BacklogState>,
    uplink: Mutex<UplinkState>,
    certificate: Mutex<CertificateState>,
    clock: Mutex<ClockState>,
    readings: AtomicU64,
    dropped: AtomicU64,
}

/// How the session with the ingest stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UplinkState {
    /// Whether a session is open.
    pub connected: bool,
    /// Since when it is so, monotonic microseconds.
    pub since_us: i64,
    /// Why there is none, in one sentence; never a secret.
    pub fault: Option<String>,
    /// For how long nothing was acknowledged while something was in flight.
    pub waiting: Duration,
    /// Why the ingest asked to send later.
    pub asked_to_wait: Option<String>,
    /// What an operator should know though nothing is wrong here, in one sentence.
    pub notice: Option<String>,
    /// Readings that the ingest acknowledged since the process started.
    pub acked_total: u64,
    /// Readings that the ingest dead-lettered since the process started.
    pub dead_lettered_total: u64,
}

/// How the gateway's certificate stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateState {
    /// It ends, µs since 1970; none before the enrolment.
    pub not_after_us: Option<i64>,
    /// Why it could not be renewed, in one sentence; never a secret.
    pub fault: Option<String>,
    /// Renewals since the process started.
    pub renewed_total: u64,
    /// Failed ones since the process started.
    pub failed_total: u64,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}

/// A panic elsewhere must not silence health: counts are valid after any step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Health {
    /// Nothing has been heard of any device yet.
    pub fn new(config: &Config) -> Self {
        let mut endpoints = vec![Vec::new(); config.endpoints.len()];
        let mut links = Vec::with_capacity(config.devices.len());
        for (index, device) in config.devices.iter().enumerate() {
            endpoints[device.endpoint].push(index);
            let place = config.endpoints[device.endpoint].place();
            links.push(Mutex::new(Link::new(&device.name, place, device.interval)));
        }
        Self(Arc::new(Inner {
            gateway: config.gateway.to_string(),
            started_us: clock::monotonic_us(),
            links,
            endpoints,
            messages: config.endpoints.iter().map(Messages::of).collect(),
            spool: Mutex::new(v1::SpoolHealth { bytes_cap: config.spool.max_bytes, ..v1::SpoolHealth::default() }),
            backlog: Mutex::default(),
            uplink: Mutex::default(),
            certificate: Mutex::default(),
            clock: Mutex::default(),
            readings: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }))
    }

    fn with(&self, device: usize, act: impl FnOnce(&mut Link)) {
        if let Some(link) = self.0.links.get(device) {
            act(&mut lock(link));
        }
    }

    fn with_all(&self, endpoint: usize, act: impl Fn(&mut Link)) {
        self.0.endpoints.get(endpoint).into_iter().flatten().for_each(|device| self.with(*device, &act));
    }

    // -- for drivers; `part` numbers the requests of a device, 0 where it has no parts;
    //    `latency` is absent where nothing was asked

    /// A device answered with values.
    pub fn answered(&self, device: usize, part: usize, latency: Option<Duration>) {
        self.with(device, |link| link.answered(part, latency, clock::monotonic_us()));
    }
    /// A device answered, but not with values: `fault` says what, in one sentence.
    pub fn refused(&self, device: usize, part: usize, latency: Option<Duration>, fault: &str) {
        self.with(device, |link| link.refused(part, latency, fault, clock::monotonic_us()));
    }
    /// A device did not answer: `fault` says so in one sentence.
    pub fn silent(&self, device: usize, fault: &str) {
        self.with(device, |link| link.silent(fault, clock::monotonic_us()));
    }
    /// Polls were left out because an earlier one took too long.
    pub fn skipped(&self, device: usize, polls: u64) {
        self.with(device, |link| link.skipped += polls);
    }
    /// A message brought no reading, and that is as it should be: a retained one.
    pub fn ignored(&self, device: usize) {
        self.with(device, |link| link.ignored += 1);
    }
    /// A message of an endpoint could not be used, in whole or in part: `fault` says why.
    pub fn dead_letter(&self, endpoint: usize, fault: &str) {
        self.with_messages(endpoint, |messages| messages.dead_letter(fault));
    }
    /// A message's topic names an asset or a metric that is not configured.
    pub fn unknown_topic(&self, endpoint: usize, topic: &str) {
        self.with_messages(endpoint, |messages| messages.unknown_topic(topic));
    }
    fn with_messages(&self, endpoint: usize, act: impl FnOnce(&Messages)) {
        if let Some(Some(messages)) = self.0.messages.get(endpoint) {
            act(messages);
        }
    }
    /// The endpoint cannot be reached: `fault` says why in one sentence.
    pub fn unreachable(&self, endpoint: usize, fault: &str) {
        self.with_all(endpoint, |link| link.silent(fault, clock::monotonic_us()));
    }
    /// The endpoint can be reached again; its devices have yet to speak.
    pub fn reachable(&self, endpoint: usize) {
        self.with_all(endpoint, Link::reachable);
    }

    // -- for the pipeline and the uplink

    /// Readings that passed the tag stage.
    pub fn add_readings(&self, readings: u64) {
        self.0.readings.fetch_add(readings, Ordering::Relaxed);
    }
    /// A message that could not be used was written to the spool, or there was no room.
    pub fn dead_letter_written(&self, endpoint: usize, is_kept: bool) {
        self.with_messages(endpoint, |messages| messages.written(is_kept));
    }
    /// Readings that the spool could not keep.
    pub fn add_dropped(&self, readings: u64) {
        self.0.dropped.fetch_add(readings, Ordering::Relaxed);
    }
    /// How full the spool is.
    pub fn set_spool(&self, spool: v1::SpoolHealth) {
        *lock(&self.0.spool) = spool;
    }
    /// What of it is backlog.
    pub fn set_backlog(&self, backlog: BacklogState) {
        *lock(&self.0.backlog) = backlog;
    }
    /// Where the wall time comes from.
    pub fn set_clock(&self, clock: ClockState) {
        *lock(&self.0.clock) = clock;
    }
    /// What the gateway shows of itself.
    pub fn set_certificate(&self, certificate: CertificateState) {
        *lock(&self.0.certificate) = certificate;
    }
    /// How the session stands.
    pub fn set_uplink(&self, uplink: UplinkState) {
        *lock(&self.0.uplink) = uplink;
    }

    // -- for readers

    /// What goes up the session every heartbeat; `now_us` is monotonic.
    pub fn snapshot(&self, now_us: i64) -> v1::Health {
        v1::Health {
            wall_time_us: clock::wall_us(),
            uptime_ms: millis(now_us - self.0.started_us),
            spool: Some(*lock(&self.0.spool)),
            links: self.0.links.iter().map(|link| lock(link).snapshot(now_us)).collect(),
            readings_total: self.0.readings.load(Ordering::Relaxed),
            readings_dropped_total: self.0.dropped.load(Ordering::Relaxed),
        }
    }

    /// What `/status` answers; `now_us` is monotonic.
    pub fn status(&self, now_us: i64) -> Status {
        let extra = self.0.links.iter().map(|link| {
            let link = lock(link);
            (link.skipped, link.ignored)
        });
        let mut status = Status::new(&self.0.gateway, &self.snapshot(now_us), extra, &lock(&self.0.uplink), now_us);
        status.spool.set_backlog(&lock(&self.0.backlog));
        status.uplink.set_certificate(&lock(&self.0.certificate));
        status.clock = ClockStatus::new(&lock(&self.0.clock));
        status.messages = self.0.messages.iter().flatten().map(Messages::status).collect();
        status
    }
}

/// Microseconds to whole milliseconds, never negative.
fn millis(micros: i64) -> u64 {
    u64::try_from(micros / 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
