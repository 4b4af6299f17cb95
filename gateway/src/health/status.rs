//! What `/status` answers and `sandan-gateway status` reads.

use std::time::Duration;

use sandan_proto::v1;
use serde::{Deserialize, Serialize};

use super::{BacklogState, CertificateState, ConfigState, MessagesStatus, UplinkState, millis};
use crate::clock::ClockState;

/// The whole gateway at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `firm/name`.
    pub gateway: String,
    /// The software's version.
    pub version: String,
    /// Since the process started.
    pub uptime_ms: u64,
    /// Readings that passed the tag stage since then.
    pub readings_total: u64,
    /// Readings that the spool could not keep since then.
    pub readings_dropped_total: u64,
    /// One entry a device.
    pub links: Vec<LinkStatus>,
    /// The buffer.
    pub spool: SpoolStatus,
    /// The session with the ingest.
    pub uplink: UplinkStatus,
    /// The wall time of readings.
    pub clock: ClockStatus,
    /// What brokers brought that could not be used, one entry a broker.
    #[serde(default)]
    pub messages: Vec<MessagesStatus>,
    /// What it was told to do.
    #[serde(default)]
    pub config: ConfigStatus,
}

/// The configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// SHA-256 of what runs, hexadecimal.
    pub hash: String,
    /// For how long it has run.
    pub since_ms: u64,
    /// Changed ones that were taken since the process started.
    pub reloads_total: u64,
    /// Changed ones that were refused since then.
    pub refusals_total: u64,
    /// The changed one that is there and was refused; `None` while what is there runs.
    pub refused: Option<RefusedConfig>,
}

/// Why a changed configuration does not run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedConfig {
    /// Since it was refused.
    pub age_ms: u64,
    /// All that is wrong with it, line by line.
    pub why: Vec<String>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Its name.
    pub device: String,
    /// Protocol and place.
    pub endpoint: String,
    /// `up`, `flaky`, `down`, or `unknown` while it had no time to answer.
    pub state: String,
    /// One sentence; empty while all is well.
    pub fault: String,
    /// Requests, or messages.
    pub polls_total: u64,
    /// Those that brought no values.
    pub failures_total: u64,
    /// Polls left out because an earlier one took too long.
    pub skipped_total: u64,
    /// Retained messages, which are no readings.
    pub ignored_total: u64,
    /// Of the last five minutes.
    pub success_permille_5min: u32,
    /// Of the last five minutes.
    pub latency_p99_ms: u32,
    /// Since the last good value; absent when there was none.
    pub last_good_age_ms: Option<u64>,
    /// How often one is expected.
    pub interval_ms: u32,
    /// How many of its signals are how; absent before they were counted.
    #[serde(default)]
    pub signals: Option<SignalsStatus>,
}

/// Signals of a device by state, see docs/fleet.md.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SignalsStatus {
    pub good: u32,
    pub uncertain: u32,
    pub stale: u32,
    pub bad: u32,
    pub never_seen: u32,
}

/// The buffer on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SpoolStatus {
    pub unacked_records: u64,
    pub unacked_readings: u64,
    pub bytes_used: u64,
    pub bytes_cap: u64,
    pub oldest_unacked_ms: u64,
    pub damaged_records_total: u64,
    #[serde(default)]
    pub written_bytes_total: u64,
    /// Age of the oldest record in the lane that live data goes into.
    pub live_oldest_ms: u64,
    /// Records, and readings in them, that are older than live data: an outage.
    pub backlog_records: u64,
    pub backlog_readings: u64,
    pub backlog_oldest_ms: u64,
    /// When the backlog will have drained; absent while it does not drain.
    pub backlog_drains_in_ms: Option<u64>,
}

/// The wall time of readings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// `system`, `ingest` or `unknown`: where the wall time of this boot comes from.
    pub source: String,
    /// The machine's wall clock less the ingest's at the last session's begin.
    pub deviation_ms: Option<i64>,
    /// The times that are stored less the ingest's.
    pub stored_deviation_ms: Option<i64>,
}

/// The session with the ingest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UplinkStatus {
    /// Whether one is open.
    pub connected: bool,
    /// For how long it has been so.
    pub since_ms: u64,
    /// Why there is none, in one sentence.
    pub fault: Option<String>,
    /// For how long nothing was acknowledged while something was in flight.
    pub waiting_ms: u64,
    /// Why the ingest asked to send later.
    pub asked_to_wait: Option<String>,
    /// What an operator should know though nothing is wrong here.
    pub notice: Option<String>,
    /// Readings acknowledged since the process started.
    pub acked_total: u64,
    /// Readings dead-lettered since the process started.
    pub dead_lettered_total: u64,
    /// When the certificate expires, µs since 1970; absent before the enrolment.
    pub certificate_expires_us: Option<i64>,
    /// Why it could not be renewed, in one sentence.
    pub certificate_fault: Option<String>,
    /// Renewals since the process started.
    pub certificate_renewals_total: u64,
    /// Failed ones since the process started.
    pub certificate_failures_total: u64,
}

impl Status {
    pub(super) fn new(
        gateway: &str,
        health: &v1::Health,
        extra: impl Iterator<Item = (u64, u64)>,
        uplink: &UplinkState,
        now_us: i64,
    ) -> Self {
        let spool = health.spool.unwrap_or_default();
        Self {
            gateway: gateway.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_ms: health.uptime_ms,
            readings_total: health.readings_total,
            readings_dropped_total: health.readings_dropped_total,
            links: health.links.iter().zip(extra).map(|(link, extra)| LinkStatus::new(link, extra)).collect(),
            spool: SpoolStatus {
                unacked_records: spool.unacked_records,
                unacked_readings: spool.unacked_readings,
                bytes_used: spool.bytes_used,
                bytes_cap: spool.bytes_cap,
                oldest_unacked_ms: spool.oldest_unacked_ms,
                damaged_records_total: spool.damaged_records_total,
                written_bytes_total: spool.written_bytes_total,
                live_oldest_ms: 0,
                backlog_records: 0,
                backlog_readings: 0,
                backlog_oldest_ms: 0,
                backlog_drains_in_ms: None,
            },
            uplink: UplinkStatus {
                connected: uplink.connected,
                since_ms: millis(now_us - uplink.since_us),
                fault: uplink.fault.clone(),
                waiting_ms: whole_millis(uplink.waiting),
                asked_to_wait: uplink.asked_to_wait.clone(),
                notice: uplink.notice.clone(),
                acked_total: uplink.acked_total,
                dead_lettered_total: uplink.dead_lettered_total,
                certificate_expires_us: None,
                certificate_fault: None,
                certificate_renewals_total: 0,
                certificate_failures_total: 0,
            },
            clock: ClockStatus::default(),
            messages: Vec::new(),
            config: ConfigStatus::default(),
        }
    }
}

fn whole_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl SpoolStatus {
    pub(super) fn set_backlog(&mut self, backlog: &BacklogState) {
        self.live_oldest_ms = whole_millis(backlog.live_oldest);
        self.backlog_records = backlog.records;
        self.backlog_readings = backlog.readings;
        self.backlog_oldest_ms = whole_millis(backlog.oldest);
        self.backlog_drains_in_ms = backlog.drains_in.map(whole_millis);
    }
}

impl ConfigStatus {
    pub(super) fn new(config: &ConfigState, now_us: i64) -> Self {
        let refused =
            |(at_us, why): &(i64, Vec<String>)| RefusedConfig { age_ms: millis(now_us - at_us), why: why.clone() };
        Self {
            hash: config.hash.clone(),
            since_ms: millis(now_us - config.since_us),
            reloads_total: config.reloads,
            refusals_total: config.refusals,
            refused: config.refused.as_ref().map(refused),
        }
    }
}

impl ClockStatus {
    pub(super) fn new(clock: &ClockState) -> Self {
        use v1::clock_offset::Source;
        let source = match clock.source {
            Some(Source::System) => "system",
            Some(Source::Ingest) => "ingest",
            Some(Source::Estimated | Source::Unspecified) | None => "unknown",
        };
        Self {
            source: source.into(),
            deviation_ms: clock.deviation_us.map(|us| us / 1_000),
            stored_deviation_ms: clock.stored_deviation_us.map(|us| us / 1_000),
        }
    }
}

impl UplinkStatus {
    pub(super) fn set_certificate(&mut self, certificate: &CertificateState) {
        self.certificate_expires_us = certificate.not_after_us;
        self.certificate_fault.clone_from(&certificate.fault);
        self.certificate_renewals_total = certificate.renewed_total;
        self.certificate_failures_total = certificate.failed_total;
    }
}

impl LinkStatus {
    fn new(link: &v1::LinkHealth, (skipped_total, ignored_total): (u64, u64)) -> Self {
        let state = match link.state() {
            v1::LinkState::Up => "up",
            v1::LinkState::Flaky => "flaky",
            v1::LinkState::Down => "down",
            v1::LinkState::Unspecified => "unknown",
            v1::LinkState::Disabled => "disabled",
        };
        Self {
            device: link.device.clone(),
            endpoint: link.endpoint.clone(),
            state: state.into(),
            fault: link.fault.clone(),
            polls_total: link.polls_total,
            failures_total: link.failures_total,
            skipped_total,
            ignored_total,
            success_permille_5min: link.success_permille_5min,
            latency_p99_ms: link.latency_p99_ms,
            last_good_age_ms: link.last_good_age_ms,
            interval_ms: link.interval_ms,
            signals: link.signals.map(|it| SignalsStatus {
                good: it.good,
                uncertain: it.uncertain,
                stale: it.stale,
                bad: it.bad,
                never_seen: it.never_seen,
            }),
        }
    }
}
