//! Health: what is known about each link, the spool and the uplink.
//!
//! One cheap handle is shared by everything that has something to report; the local
//! HTTP server and the session's heartbeat read it. It holds times, counts and
//! sentences, never a value that a machine gave.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandan_proto::invitation::from_hex;
use sandan_proto::reading::Quality;
use sandan_proto::v1;

use crate::clock::{self, ClockState};
use crate::config::{Config, Signal};

mod backlog;
mod link;
mod messages;
pub mod metrics;
mod signals;
mod status;

pub use backlog::{BacklogState, Drain, Fill, Waiting};
use link::Link;
pub(crate) use link::NOTHING_HEARD;
use messages::Messages;
pub use messages::MessagesStatus;
use signals::Last;
pub use status::{
    ClockStatus, ConfigStatus, LinkStatus, RefusedConfig, SignalsStatus, SpoolStatus, Status, UplinkStatus,
};

/// The shared handle. A driver holds that of the configuration under which it began; its
/// numbers stay those of that one when a reload brings another.
#[derive(Debug, Clone)]
pub struct Health {
    inner: Arc<Inner>,
    links: Arc<Links>,
}

/// The devices of one configuration, those of which another one knows shared with it.
struct Links {
    devices: Vec<Arc<Mutex<Link>>>,
    /// The devices of each driver.
    sources: BTreeMap<usize, Vec<usize>>,
    /// What brokers brought that could not be used, by driver.
    messages: BTreeMap<usize, Arc<Messages>>,
}

struct Inner {
    gateway: String,
    started_us: i64,
    /// Those of the configuration that runs.
    links: Mutex<Arc<Links>>,
    config: Mutex<ConfigState>,
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
    /// It is renewed then, µs since 1970.
    pub due_us: Option<i64>,
    /// Why it could not be renewed, in one sentence; never a secret.
    pub fault: Option<String>,
    /// Renewals since the process started.
    pub renewed_total: u64,
    /// Failed ones since the process started.
    pub failed_total: u64,
}

/// Which configuration runs.
#[derive(Debug, Clone, Default)]
struct ConfigState {
    hash: String,
    since_us: i64,
    reloads: u64,
    refusals: u64,
    /// When a changed one was refused, and why; until one is taken.
    refused: Option<(i64, Vec<String>)>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("sources", &self.sources).finish_non_exhaustive()
    }
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
    /// Nothing has been heard of any device yet. The driver of each endpoint has its number.
    pub fn new(config: &Config) -> Self {
        let sources: Vec<_> = (0..config.endpoints.len()).collect();
        let links = Arc::new(Links::new(config, &sources, |_| None, &BTreeMap::new()));
        let now_us = clock::monotonic_us();
        let inner = Inner {
            gateway: config.gateway.to_string(),
            started_us: now_us,
            links: Mutex::new(links.clone()),
            config: Mutex::new(ConfigState { since_us: now_us, ..ConfigState::default() }),
            spool: Mutex::new(v1::SpoolHealth { bytes_cap: config.spool.max_bytes, ..v1::SpoolHealth::default() }),
            backlog: Mutex::default(),
            uplink: Mutex::default(),
            certificate: Mutex::default(),
            clock: Mutex::default(),
            readings: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner), links }
    }

    /// The handle for another configuration, shown from now on: `sources` are the numbers of
    /// its endpoints' drivers, and `kept` says which device of the one before goes on as each.
    #[must_use]
    pub fn reloaded(&self, config: &Config, sources: &[usize], kept: &[Option<usize>]) -> Self {
        let before = lock(&self.inner.links).clone();
        let known = |device: usize| before.devices.get(kept.get(device).copied().flatten()?).cloned();
        let links = Arc::new(Links::new(config, sources, known, &before.messages));
        *lock(&self.inner.links) = links.clone();
        Self { inner: self.inner.clone(), links }
    }

    fn with(&self, device: usize, act: impl FnOnce(&mut Link)) {
        if let Some(link) = self.links.devices.get(device) {
            act(&mut lock(link));
        }
    }

    fn with_all(&self, source: usize, act: impl Fn(&mut Link)) {
        self.links.sources.get(&source).into_iter().flatten().for_each(|device| self.with(*device, &act));
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
    /// A message of a driver's endpoint could not be used, in whole or in part: `fault` says why.
    pub fn dead_letter(&self, source: usize, fault: &str) {
        self.with_messages(source, |messages| messages.dead_letter(fault));
    }
    /// A message's topic names an asset or a metric that is not configured.
    pub fn unknown_topic(&self, source: usize, topic: &str) {
        self.with_messages(source, |messages| messages.unknown_topic(topic));
    }
    fn with_messages(&self, source: usize, act: impl FnOnce(&Messages)) {
        if let Some(messages) = lock(&self.inner.links).messages.get(&source) {
            act(messages);
        }
    }
    /// A driver's endpoint cannot be reached: `fault` says why in one sentence.
    pub fn unreachable(&self, source: usize, fault: &str) {
        self.with_all(source, |link| link.silent(fault, clock::monotonic_us()));
    }
    /// A driver's endpoint can be reached again; its devices have yet to speak.
    pub fn reachable(&self, source: usize) {
        self.with_all(source, Link::reachable);
    }

    // -- for the pipeline and the uplink

    /// Readings that passed the tag stage.
    pub fn add_readings(&self, readings: u64) {
        self.inner.readings.fetch_add(readings, Ordering::Relaxed);
    }
    /// A message that could not be used was written to the spool, or there was no room.
    pub fn dead_letter_written(&self, source: usize, is_kept: bool) {
        self.with_messages(source, |messages| messages.written(is_kept));
    }
    /// Readings that the spool could not keep.
    pub fn add_dropped(&self, readings: u64) {
        self.inner.dropped.fetch_add(readings, Ordering::Relaxed);
    }
    /// Each signal of the configuration that runs, with when its last value came, monotonic microseconds,
    /// and how good that was.
    pub fn set_signals<'a>(&self, last: impl Iterator<Item = (&'a Signal, Option<(i64, Quality)>)>, now_us: i64) {
        let last = last.map(|(signal, seen)| Last {
            device: signal.device,
            signal: &signal.name,
            interval: signal.interval,
            seen,
        });
        let links = lock(&self.inner.links).clone();
        // While a reload is under way the numbers of one may be those of the other, until the next time.
        for (link, signals) in links.devices.iter().zip(signals::of_devices(last, links.devices.len(), now_us)) {
            lock(link).signals = Some(signals);
        }
    }
    /// How full the spool is.
    pub fn set_spool(&self, spool: v1::SpoolHealth) {
        *lock(&self.inner.spool) = spool;
    }
    /// What of it is backlog.
    pub fn set_backlog(&self, backlog: BacklogState) {
        *lock(&self.inner.backlog) = backlog;
    }
    /// Where the wall time comes from.
    pub fn set_clock(&self, clock: ClockState) {
        *lock(&self.inner.clock) = clock;
    }
    /// What the gateway shows of itself.
    pub fn set_certificate(&self, certificate: CertificateState) {
        *lock(&self.inner.certificate) = certificate;
    }
    /// The configuration of this hash runs, and none is refused any more.
    pub fn config_runs(&self, hash: String) {
        let mut config = lock(&self.inner.config);
        config.refused = None;
        if config.hash != hash {
            config.reloads += u64::from(!config.hash.is_empty());
            (config.hash, config.since_us) = (hash, clock::monotonic_us());
        }
    }
    /// A changed configuration is not taken: `why`, line by line; never a secret.
    pub fn config_refused(&self, why: Vec<String>) {
        let mut config = lock(&self.inner.config);
        config.refusals += 1;
        config.refused = Some((clock::monotonic_us(), why));
    }
    /// How the session stands.
    pub fn set_uplink(&self, uplink: UplinkState) {
        *lock(&self.inner.uplink) = uplink;
    }

    // -- for readers

    /// What goes up the session every heartbeat; `now_us` is monotonic.
    pub fn snapshot(&self, now_us: i64) -> v1::Health {
        self.snapshot_of(&lock(&self.inner.links).clone(), now_us)
    }

    fn snapshot_of(&self, links: &Links, now_us: i64) -> v1::Health {
        let certificate = lock(&self.inner.certificate).clone();
        v1::Health {
            wall_time_us: clock::wall_us(),
            uptime_ms: millis(now_us - self.inner.started_us),
            spool: Some(*lock(&self.inner.spool)),
            links: links.devices.iter().map(|link| lock(link).snapshot(now_us)).collect(),
            readings_total: self.inner.readings.load(Ordering::Relaxed),
            readings_dropped_total: self.inner.dropped.load(Ordering::Relaxed),
            dead_letters_total: links.messages.values().map(|messages| messages.dead_letters()).sum(),
            config_hash: from_hex(&lock(&self.inner.config).hash).map_or_else(Vec::new, |hash| hash.to_vec()),
            certificate_renewal_us: certificate.due_us,
            certificate_end_us: certificate.not_after_us,
        }
    }

    /// What `/status` answers; `now_us` is monotonic.
    pub fn status(&self, now_us: i64) -> Status {
        let links = lock(&self.inner.links).clone();
        let extra = links.devices.iter().map(|link| {
            let link = lock(link);
            (link.skipped, link.ignored)
        });
        let mut status = Status::new(
            &self.inner.gateway,
            &self.snapshot_of(&links, now_us),
            extra,
            &lock(&self.inner.uplink),
            now_us,
        );
        status.spool.set_backlog(&lock(&self.inner.backlog));
        status.uplink.set_certificate(&lock(&self.inner.certificate));
        status.clock = ClockStatus::new(&lock(&self.inner.clock));
        status.config = ConfigStatus::new(&lock(&self.inner.config), now_us);
        status.messages = links.messages.values().map(|messages| messages.status()).collect();
        status
    }
}

impl Links {
    /// `known` gives the link of a device that another configuration had, and `heard` what the
    /// drivers did that go on.
    fn new(
        config: &Config,
        numbers: &[usize],
        known: impl Fn(usize) -> Option<Arc<Mutex<Link>>>,
        heard: &BTreeMap<usize, Arc<Messages>>,
    ) -> Self {
        let mut sources: BTreeMap<usize, Vec<usize>> = numbers.iter().map(|source| (*source, Vec::new())).collect();
        let mut devices = Vec::with_capacity(config.devices.len());
        let now_us = clock::monotonic_us();
        for (index, device) in config.devices.iter().enumerate() {
            if let Some(of_source) = numbers.get(device.endpoint).and_then(|source| sources.get_mut(source)) {
                of_source.push(index);
            }
            let place = config.endpoints[device.endpoint].place();
            let fresh = || Arc::new(Mutex::new(Link::new(&device.name, place, device.interval, now_us)));
            devices.push(known(index).unwrap_or_else(fresh));
        }
        let of = |(source, endpoint): (&usize, _)| {
            let messages = heard.get(source).cloned().or_else(|| Messages::of(endpoint).map(Arc::new));
            messages.map(|messages| (*source, messages))
        };
        let messages = numbers.iter().zip(&config.endpoints).filter_map(of).collect();
        Self { devices, sources, messages }
    }
}

/// Microseconds to whole milliseconds, never negative.
fn millis(micros: i64) -> u64 {
    u64::try_from(micros / 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
