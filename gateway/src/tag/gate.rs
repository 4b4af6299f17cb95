//! The gate: of the values of one signal those that become readings.

use std::time::Duration;

use sandan_proto::reading::{Quality, QualityClass, Value};

use super::micros;
use crate::config::{Change, Publish};

/// A value and what is said of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// Monotonic microseconds.
    pub(super) at_us: i64,
    pub(super) value: Value,
    pub(super) quality: Quality,
}

#[derive(Debug, Clone)]
pub(super) struct Gate {
    publish: Publish,
    /// How often a value comes.
    interval_us: i64,
    last: Option<Seen>,
    /// No reading without a change of quality before this, monotonic microseconds.
    opens_us: i64,
    /// What would have passed but for `min_interval`, until that is over.
    held: Option<Seen>,
}

impl Gate {
    pub(super) fn new(publish: Publish, interval: Duration) -> Self {
        Self { publish, interval_us: micros(interval), last: None, opens_us: i64::MIN, held: None }
    }

    /// Gives the value back when it is a reading.
    pub(super) fn take(&mut self, seen: Seen) -> Option<Seen> {
        let waits_for_nothing = self.last.as_ref().is_none_or(|last| {
            has_news(last.quality, seen.quality) || (!seen.quality.is_bad() && self.is_silent_too_long(last, &seen))
        });
        if !waits_for_nothing {
            let is_worth = self.last.as_ref().is_none_or(|last| self.differs(last, &seen));
            if !is_worth {
                // What was held is not so any more.
                self.held = None;
                return None;
            }
            if seen.at_us < self.opens_us {
                self.held = Some(seen);
                return None;
            }
        }
        Some(self.pass(seen.at_us, seen))
    }

    /// What was held, when its time has come.
    pub(super) fn due(&mut self, now_us: i64) -> Option<Seen> {
        if now_us < self.opens_us {
            return None;
        }
        let held = self.held.take()?;
        Some(self.pass(self.opens_us, held))
    }

    /// What is held, when there is no later any more.
    pub(super) fn close(&mut self) -> Option<Seen> {
        self.held.take()
    }

    fn pass(&mut self, at_us: i64, seen: Seen) -> Seen {
        self.held = None;
        self.opens_us = at_us.saturating_add(micros(self.publish.min_interval));
        self.last = Some(seen.clone());
        seen
    }

    /// Whether a value of an unchanged quality says something that the last reading did not.
    fn differs(&self, last: &Seen, seen: &Seen) -> bool {
        // A device that stays bad for the same reason said all there is to say.
        if seen.quality.is_bad() {
            return false;
        }
        let differs_by = |width: f64| match (&seen.value, &last.value) {
            (Value::I64(now), Value::I64(then)) => now.abs_diff(*then) as f64 >= width,
            (now, then) => match (now.as_f64(), then.as_f64()) {
                (Some(now), Some(then)) => (now - then).abs() >= width,
                _ => now != then,
            },
        };
        match self.publish.change {
            Change::None => true,
            Change::Any => seen.value != last.value,
            Change::By(width) => differs_by(width),
            Change::ByShare(share) => {
                let width = last.value.as_f64().unwrap_or_default().abs() * share;
                // Of 0 every share is 0, and no change is none.
                seen.value != last.value && differs_by(width)
            }
        }
    }

    fn is_silent_too_long(&self, last: &Seen, seen: &Seen) -> bool {
        // The next one would come too late: one interval earlier is in time.
        let next_us = seen.at_us.saturating_sub(last.at_us).saturating_add(self.interval_us);
        self.publish.heartbeat.is_some_and(|heartbeat| next_us > micros(heartbeat))
    }
}

/// Whether a quality says something that the one before did not. A mark does each time; that it
/// is over does not: what comes after a counter's reset is plainly good.
fn has_news(before: Quality, now: Quality) -> bool {
    match now.class() {
        QualityClass::Good if now == Quality::GOOD => before.class() != QualityClass::Good,
        QualityClass::Good => true,
        QualityClass::Uncertain | QualityClass::Bad => now != before,
    }
}
