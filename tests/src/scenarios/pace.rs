//! How fast things are noticed, and what is promised of that.

use std::time::Duration;

/// A device is late when nothing good came for so many of its intervals, and this much more.
const STALE: (u32, Duration) = (3, Duration::from_secs(2));
/// Between two looks of whoever tells alerts, and the way of a message.
const LOOK: Duration = Duration::from_secs(2);

/// What the bounds are made of.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Of a device's polls.
    pub interval: Duration,
    /// Of a gateway's reports.
    pub heartbeat: Duration,
    /// How long the alert has to last; none: as long as that kind usually has.
    pub lasts: Option<Duration>,
    /// Gone for so long, it is over.
    pub resolve: Duration,
}

impl Pace {
    /// That of the programs where nothing is configured, with a device that is read each second.
    pub const USUAL: Self = Self {
        interval: Duration::from_secs(1),
        heartbeat: Duration::from_secs(10),
        lasts: None,
        resolve: Duration::from_mins(1),
    };
    /// That of the test.
    pub const SHORT: Self = Self {
        interval: Duration::from_millis(500),
        heartbeat: Duration::from_secs(1),
        lasts: Some(Duration::from_secs(1)),
        resolve: Duration::from_secs(1),
    };
}

/// Within which time something is told: the sum of what it takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Promise {
    /// A device has to be late for it.
    pub late: bool,
    /// Heartbeats.
    pub beats: u32,
    /// What does not follow from the configuration, seconds.
    pub seconds: u64,
    /// The usual time for which the alert has to last, seconds; none where there is no alert.
    pub lasts: Option<u64>,
    /// The end has to last.
    pub resolve: bool,
}

impl Promise {
    /// At this pace.
    pub fn within(&self, pace: &Pace) -> Duration {
        let late = if self.late { pace.interval * STALE.0 + STALE.1 } else { Duration::ZERO };
        let lasts = self.lasts.map(|usual| pace.lasts.unwrap_or(Duration::from_secs(usual)));
        let resolve = if self.resolve { pace.resolve } else { Duration::ZERO };
        let look = if lasts.is_some() || self.resolve { LOOK } else { Duration::ZERO };
        late + pace.heartbeat * self.beats
            + Duration::from_secs(self.seconds)
            + lasts.unwrap_or_default()
            + resolve
            + look
    }

    /// As it is promised where nothing is configured: `2 min 17 s`.
    pub(super) fn words(&self, korean: bool) -> String {
        let seconds = self.within(&Pace::USUAL).as_secs();
        let [minute, second] = if korean { ["분", "초"] } else { [" min", " s"] };
        match (seconds / 60, seconds % 60) {
            (0, seconds) => format!("{seconds}{second}"),
            (minutes, 0) => format!("{minutes}{minute}"),
            (minutes, seconds) => format!("{minutes}{minute} {seconds}{second}"),
        }
    }
}
