//! What waits for the ingest, told apart: data of this moment, and an outage that drains.

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
