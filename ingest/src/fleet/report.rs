//! A heartbeat as the model keeps it: cut to what any gateway can have, and with what only two
//! of them tell.

use sandan_proto::invitation::to_hex;
use sandan_proto::reading::Quality;
use sandan_proto::v1;

use super::state::{LinkState, SignalState};
use super::view::{Link, Signal, Signals, Spool};
use crate::time::SECOND_US;

/// Ages that a gateway reports are cut to ten years: beyond it they are a fault of its
/// clock, and whoever reckons with them must not overflow.
pub(super) const MAX_AGE_MS: u64 = 10 * 366 * 86_400 * 1_000;
/// Most characters kept of a text that a gateway sent.
const MAX_TEXT_CHARS: usize = 200;
/// Most signals that are kept by name of each device.
pub(super) const MAX_NAMED_SIGNALS: usize = 5;
/// A spool that held less at one of so many heartbeats is being emptied.
const SHRINKING_HEARTBEATS: i64 = 3;

/// What a gateway said last.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) spool: Spool,
    pub(super) links: Vec<Link>,
    /// Since the gateway started.
    pub(super) dropped: u64,
    pub(super) unusable: u64,
    /// Bytes that are not taken by what is not acknowledged; none where it does not say.
    room_bytes: Option<u64>,
    /// Bytes a second: how fast that room goes now, and in an outage.
    fill: Option<i64>,
    written: Option<u64>,
    /// µs since 1970.
    renewal_us: Option<i64>,
    end_us: Option<i64>,
    /// When the spool last held less than the time before.
    shrank_us: Option<i64>,
}

impl Report {
    pub(super) fn from_wire(health: &v1::Health, before: Option<&Self>, now_us: i64) -> Self {
        let spool = health.spool.unwrap_or_default();
        let percent = spool.bytes_used.saturating_mul(100).checked_div(spool.bytes_cap).unwrap_or(0).min(100);
        let mut links: Vec<_> = health.links.iter().map(|link| from_link(link, now_us)).collect();
        links.sort_by(|a, b| (a.state, &a.device).cmp(&(b.state, &b.device)));
        let kept = Spool {
            readings: spool.unacked_readings,
            oldest_ms: spool.oldest_unacked_ms.min(MAX_AGE_MS),
            percent,
            drains_in_ms: spool.drains_in_ms.map(|ms| ms.min(MAX_AGE_MS)),
        };
        let shrank = before
            .is_some_and(|before| kept.oldest_ms < before.spool.oldest_ms || kept.readings < before.spool.readings);
        Self {
            spool: kept,
            links,
            dropped: health.readings_dropped_total,
            unusable: health.dead_letters_total,
            room_bytes: spool.unacked_bytes.map(|bytes| spool.bytes_cap.saturating_sub(bytes)),
            fill: spool.fill_bytes_per_s,
            written: spool.written_bytes_per_s,
            renewal_us: health.certificate_renewal_us,
            end_us: health.certificate_end_us,
            shrank_us: if shrank { Some(now_us) } else { before.and_then(|before| before.shrank_us) },
        }
    }

    /// Whether the spool is being emptied.
    pub(super) fn shrinks(&self, now_us: i64, heartbeat_us: i64) -> bool {
        let lately = |at: i64| now_us - at <= SHRINKING_HEARTBEATS * heartbeat_us;
        self.spool.drains_in_ms.is_some() || self.shrank_us.is_some_and(lately)
    }

    /// Seconds until the spool is full, none while it does not fill; and whether that is known.
    /// While the gateway is not heard, for `silence` seconds, it fills by all that is written.
    pub(super) fn full_in(&self, heard: bool, silence: f64) -> (Option<f64>, bool) {
        let Some(room) = self.room_bytes else { return (None, false) };
        let speed = if heard { self.fill.map(|fill| fill as f64) } else { self.written.map(|written| written as f64) };
        let Some(speed) = speed else { return (None, false) };
        let passed = if heard { 0.0 } else { silence };
        ((speed > 0.0).then(|| (room as f64 / speed - passed).max(0.0)), true)
    }

    /// Seconds that the certificate has left, and since it should have been renewed; negative before.
    pub(super) fn certificate(&self, now_us: i64) -> (Option<f64>, Option<f64>) {
        let seconds = |us: i64| us as f64 / SECOND_US as f64;
        let left = self.end_us.map(|end| seconds(end.saturating_sub(now_us)));
        (left, self.renewal_us.map(|due| seconds(now_us.saturating_sub(due))))
    }
}

/// A hash as people compare it; empty where it is none.
pub(super) fn hexadecimal(hash: &[u8]) -> String {
    hash.try_into().map(to_hex).unwrap_or_default()
}

/// A text from outside.
pub(super) fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect()
}

fn from_link(link: &v1::LinkHealth, now_us: i64) -> Link {
    let age_us = |ms: u64| ms.min(MAX_AGE_MS).cast_signed() * 1_000;
    let at = |ms: Option<u64>| ms.map(|ms| now_us.saturating_sub(age_us(ms)));
    let state = match link.state() {
        v1::LinkState::Down => LinkState::Down,
        v1::LinkState::Flaky => LinkState::Flaky,
        v1::LinkState::Unspecified => LinkState::Unknown,
        v1::LinkState::Up => LinkState::Up,
        v1::LinkState::Disabled => LinkState::Disabled,
    };
    let mut worst_signals: Vec<_> = link
        .worst_signals
        .iter()
        .take(MAX_NAMED_SIGNALS)
        .map(|it| Signal { signal: cut(&it.signal), state: signal(it), last_us: at(it.age_ms) })
        .collect();
    worst_signals.sort_by(|a, b| (&a.state, &a.signal).cmp(&(&b.state, &b.signal)));
    Link {
        device: cut(&link.device),
        endpoint: cut(&link.endpoint),
        state,
        reported: state,
        words: cut(&link.fault),
        last_good_us: at(link.last_good_age_ms),
        success_permille: (link.polls_total > 0).then(|| link.success_permille_5min.min(1_000)),
        latency_p99_ms: (link.latency_p99_ms > 0).then_some(link.latency_p99_ms),
        interval_ms: link.interval_ms,
        signals: link.signals.map(|it| Signals {
            good: it.good,
            uncertain: it.uncertain,
            stale: it.stale,
            bad: it.bad,
            never_seen: it.never_seen,
        }),
        worst_signals,
    }
}

fn signal(signal: &v1::SignalHealth) -> SignalState {
    let reason = || Quality::from_code(signal.quality).map_or("other", Quality::reason).to_owned();
    match signal.state() {
        v1::SignalState::Bad => SignalState::Bad(reason()),
        v1::SignalState::NeverSeen => SignalState::NeverSeen,
        v1::SignalState::Stale => SignalState::Stale,
        v1::SignalState::Uncertain => SignalState::Uncertain,
        v1::SignalState::Good => SignalState::Good,
        v1::SignalState::Unspecified => SignalState::Unknown,
    }
}
