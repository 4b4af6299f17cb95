//! What waits for the ingest, told apart: data of this moment, and an outage that drains.

use std::collections::VecDeque;
use std::time::Duration;

/// One lane as the spool has it at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Live data goes into it.
    pub is_current: bool,
    /// Records that are not acknowledged.
    pub records: u64,
    /// Readings in them.
    pub readings: u64,
    /// Age of the oldest of them.
    pub oldest: Duration,
}

/// What waits, by what it means to an operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BacklogState {
    /// Age of the oldest record in the lane that live data goes into.
    pub live_oldest: Duration,
    /// Records older than live data.
    pub records: u64,
    /// Readings in them.
    pub readings: u64,
    /// Age of the oldest of them.
    pub oldest: Duration,
    /// When they will have drained, at the speed of the last seconds; none while they do not.
    pub drains_in: Option<Duration>,
}

/// A record that waits for longer is no live data any more.
const BACKLOG_AGE: Duration = Duration::from_secs(30);
/// The speed is averaged over about this long: a commit more or less does not show.
const AVERAGE: Duration = Duration::from_secs(10);
/// Looks that are closer together say nothing: acknowledgements come in groups.
const SPACING_US: i64 = 500_000;

/// Watches a backlog and tells how fast it drains.
#[derive(Debug, Default)]
pub struct Drain {
    /// When it was looked at last, monotonic microseconds, and what was there.
    seen: Option<(i64, u64)>,
    /// Readings a second.
    speed: f64,
}

impl Drain {
    /// Judges what waits at a moment, monotonic microseconds.
    pub fn look(&mut self, lanes: &[Waiting], now_us: i64) -> BacklogState {
        let current = lanes.iter().filter(|lane| lane.is_current);
        let live_oldest = current.map(|lane| lane.oldest).max().unwrap_or_default();
        let old = || lanes.iter().filter(|lane| lane.records > 0 && (!lane.is_current || lane.oldest > BACKLOG_AGE));
        let readings = old().map(|lane| lane.readings).sum();
        self.measure(readings, now_us);
        let drains_in =
            (readings > 0 && self.speed >= 1.0).then(|| Duration::from_secs_f64(readings as f64 / self.speed));
        BacklogState {
            live_oldest,
            records: old().map(|lane| lane.records).sum(),
            readings,
            oldest: old().map(|lane| lane.oldest).max().unwrap_or_default(),
            drains_in,
        }
    }

    fn measure(&mut self, readings: u64, now_us: i64) {
        let Some((then_us, before)) = self.seen else {
            self.seen = Some((now_us, readings));
            return;
        };
        if readings > before {
            // It begins, or a lane was added to it: that tells no speed.
            (self.seen, self.speed) = (Some((now_us, readings)), 0.0);
        } else if now_us - then_us >= SPACING_US {
            let passed = (now_us - then_us) as f64 / 1e6;
            let speed = (before - readings) as f64 / passed;
            let share = (passed / AVERAGE.as_secs_f64()).min(1.0);
            self.speed = if self.speed == 0.0 { speed } else { self.speed + (speed - self.speed) * share };
            self.seen = Some((now_us, readings));
        }
    }
}

/// The speed at which a spool fills is that of the last five minutes.
const FILL_WINDOW_US: i64 = 300_000_000;
/// Looks that are kept lie this far apart: enough of them for the window.
const FILL_SPACING_US: i64 = 10_000_000;
/// Before so much has passed there is no speed: one sync more or less would be all of it.
const FILL_LEAST_US: i64 = 30_000_000;

/// Watches how fast a spool fills.
#[derive(Debug, Default)]
pub struct Fill {
    /// When, monotonic microseconds; bytes that wait; bytes written since the start.
    seen: VecDeque<(i64, u64, u64)>,
}

impl Fill {
    /// Bytes a second: by which what waits grows, negative while it shrinks; and which are
    /// written. None before there was time to tell.
    pub fn look(&mut self, waiting: u64, written: u64, now_us: i64) -> Option<(i64, u64)> {
        while self.seen.len() > 1 && self.seen.get(1).is_some_and(|(at, ..)| now_us - at >= FILL_WINDOW_US) {
            self.seen.pop_front();
        }
        let first = self.seen.front().copied();
        if self.seen.back().is_none_or(|(at, ..)| now_us - at >= FILL_SPACING_US) {
            self.seen.push_back((now_us, waiting, written));
        }
        let (then_us, waited, wrote) = first.filter(|(at, ..)| now_us - at >= FILL_LEAST_US)?;
        let per_second = |bytes: i64| bytes.saturating_mul(1_000) / ((now_us - then_us) / 1_000);
        let growth = waiting.cast_signed().saturating_sub(waited.cast_signed());
        let written = written.saturating_sub(wrote).cast_signed();
        Some((per_second(growth), per_second(written).max(0).unsigned_abs()))
    }
}
