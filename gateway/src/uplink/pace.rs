//! How fast the backlog may go, so that live data does not wait behind it. Pure.
//!
//! A live record that is ready is sent next, but what was handed to the connection before
//! it stands in its way: in the buffers of two kernels and of the modem between them, and
//! in the ingest's commit. So the backlog in flight is kept as small as the link allows
//! (as LEDBAT, RFC 6817, does): the way of a record beyond that of one that went alone
//! is time spent in a queue, and the backlog keeps that below [`QUEUE`]. On top of it stands
//! a plain rate, so that a thousand gateways that come back do not fill the ingest's disk
//! with yesterday.

use std::time::{Duration, Instant};

use super::window::{Backlog, Trip};

/// What the backlog may add to the way of a live record. With a sync interval of 1 s and the
/// ingest's commit, live data then stays well below 2 s.
const QUEUE: Duration = Duration::from_millis(250);
/// What is sent before anything is known of the link: half a second of a poor LTE uplink.
const START_BYTES: f64 = 65_536.0;
/// One small record; below it there is nothing to regulate.
const LEAST_BYTES: f64 = 4_096.0;
/// Half of the credits bound it too.
const MOST_BYTES: f64 = (4 << 20) as f64;
/// The rate: some hundred times what a plant of 5,000 readings a second produces.
const MOST_BYTES_PER_SECOND: f64 = (4 << 20) as f64;
/// Still moves, under a quota that live data nearly uses up.
const LEAST_BYTES_PER_SECOND: f64 = 4_096.0;
/// After *retry later* the rate comes back by so much in a second.
const RECOVERY_PER_SECOND: f64 = 65_536.0;
/// A record costs the ingest this much beside its bytes.
const RECORD_BYTES: f64 = 1_024.0;
/// What was not used may be caught up at once; more would be a burst.
const BURST_SECONDS: f64 = 0.25;

#[derive(Debug)]
pub(super) struct Pace {
    /// The backlog that may be in flight.
    limit: f64,
    /// The way of a record when nothing else is in flight.
    base: Option<Duration>,
    /// What was sent before tells nothing of the limit that holds since.
    slowed: Instant,
    rate: f64,
    /// May be sent now; below zero after a large record.
    tokens: f64,
    counted: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        let tokens = MOST_BYTES_PER_SECOND * BURST_SECONDS;
        Self { limit: START_BYTES, base: None, slowed: now, rate: MOST_BYTES_PER_SECOND, tokens, counted: now }
    }

    /// Whether the backlog may send a record. One is always allowed in flight.
    pub(super) fn allows(&mut self, in_flight: Backlog, now: Instant) -> bool {
        self.count(now);
        self.tokens > 0.0 && (in_flight.records == 0 || (in_flight.bytes as f64) < self.limit)
    }

    /// When to ask again, if it is the rate that holds the backlog back.
    pub(super) fn again_at(&self) -> Option<Instant> {
        let wait = Duration::from_secs_f64((-self.tokens).max(0.0) / self.rate) + Duration::from_millis(1);
        (self.tokens <= 0.0).then(|| self.counted + wait)
    }

    pub(super) fn sent(&mut self, bytes: u64, now: Instant) {
        self.count(now);
        self.tokens -= bytes as f64 + RECORD_BYTES;
    }

    /// An acknowledgement came; `in_flight` is what the backlog had in flight before it.
    pub(super) fn acked(&mut self, trip: Trip, in_flight: Backlog, now: Instant) {
        let base = match self.base {
            // The link may have become slower; a record that went alone knows.
            _ if trip.alone => trip.took,
            Some(base) => base.min(trip.took),
            None => trip.took,
        };
        self.base = Some(base);
        if trip.took.saturating_sub(base) > QUEUE {
            if trip.sent >= self.slowed {
                self.limit = (self.limit / 2.0).max(LEAST_BYTES);
                self.slowed = now;
            }
        } else if in_flight.bytes as f64 * 2.0 >= self.limit {
            self.limit = (self.limit + trip.bytes as f64 / 4.0).min(MOST_BYTES);
        }
    }

    /// The ingest asks for less.
    pub(super) fn refused(&mut self, now: Instant) {
        self.count(now);
        self.rate = (self.rate / 2.0).max(LEAST_BYTES_PER_SECOND);
        self.tokens = self.tokens.min(0.0);
    }

    fn count(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        self.counted = self.counted.max(now);
        self.tokens = (self.tokens + self.rate * passed).min(self.rate * BURST_SECONDS);
        self.rate = (self.rate + RECOVERY_PER_SECOND * passed).min(MOST_BYTES_PER_SECOND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: u64 = 10_000;

    /// A trip that ends at `now`.
    fn trip(took_ms: u64, alone: bool, now: Instant) -> Trip {
        let took = Duration::from_millis(took_ms);
        Trip { sent: now.checked_sub(took).unwrap(), took, alone, bytes: RECORD }
    }

    /// More than any limit.
    const FULL: Backlog = Backlog { records: 9, bytes: 8 << 20 };

    #[test]
    fn the_limit_grows_while_nothing_queues_and_halves_once_for_each_round_trip() {
        let begin = Instant::now() + Duration::from_mins(1);
        let at = |millis| begin + Duration::from_millis(millis);
        let mut pace = Pace::new(begin);
        pace.acked(trip(50, true, at(100)), FULL, at(100));
        assert!(pace.limit > START_BYTES);
        let grown = pace.limit;
        pace.acked(trip(60, false, at(110)), Backlog { records: 1, bytes: RECORD }, at(110));
        assert!((pace.limit - grown).abs() < 1.0, "a limit that is not used is not raised");
        // 301 ms, where 50 are the way alone: more than the queue may take.
        pace.acked(trip(301, false, at(500)), FULL, at(500));
        assert!((pace.limit - grown / 2.0).abs() < 1.0);
        pace.acked(trip(400, false, at(510)), FULL, at(510));
        assert!((pace.limit - grown / 2.0).abs() < 1.0, "sent before the limit was lowered");
        for second in 1..50 {
            pace.acked(trip(900, false, at(10_000 * second)), FULL, at(10_000 * second));
        }
        assert!((pace.limit - LEAST_BYTES).abs() < 1.0);
        assert!(pace.allows(Backlog::default(), at(600_000)), "one record may always be in flight");
        assert!(!pace.allows(Backlog { records: 1, bytes: RECORD }, at(600_000)));
        // The link is another one now: the record that went alone says so.
        pace.acked(trip(900, true, at(600_000)), FULL, at(600_000));
        assert!(pace.limit > LEAST_BYTES);
    }

    #[test]
    fn the_rate_is_bounded_yields_to_retry_later_and_comes_back() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let sent_in = |pace: &mut Pace, from: u64, to: u64| {
            let mut sent = 0;
            for millis in from..to {
                let now = begin + Duration::from_millis(millis);
                while pace.allows(Backlog::default(), now) {
                    pace.sent(RECORD, now);
                    sent += RECORD;
                }
            }
            sent as f64 / ((to - from) as f64 / 1e3)
        };
        let free = sent_in(&mut pace, 0, 4_000);
        assert!((3e6..5e6).contains(&free), "{free}");
        let now = begin + Duration::from_secs(4);
        assert!(pace.again_at().is_some_and(|at| at > begin + Duration::from_millis(3_999)));
        for _ in 0..40 {
            pace.refused(now);
        }
        let held = sent_in(&mut pace, 4_000, 5_000);
        assert!((1e4..1e5).contains(&held), "{held}");
        let back = sent_in(&mut pace, 100_000, 101_000);
        assert!(back > 3e6, "{back}");
    }
}
