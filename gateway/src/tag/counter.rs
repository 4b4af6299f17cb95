//! Counters: a step down is a reset, or a wrap where the register is at its end.

use sandan_proto::reading::Quality;

use crate::config;

/// A wrap goes from the last of so many parts of the register's range to the first. Whatever
/// counts less than this part between two polls is told apart from a reset rightly, unless it
/// is reset while it stands in the last part.
const PARTS: f64 = 4.0;

/// What a counter said last, also where that was no reading.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    wrap: Option<f64>,
    last: Option<f64>,
}

impl Counter {
    pub(super) fn new(counter: config::Counter) -> Self {
        Self { wrap: counter.wrap, last: None }
    }

    /// The quality of a value that is good but for this.
    pub(super) fn mark(&mut self, now: f64) -> Quality {
        let Some(last) = self.last.replace(now) else { return Quality::GOOD };
        if now >= last {
            return Quality::GOOD;
        }
        match self.wrap {
            Some(wrap) if last < wrap && last >= wrap - wrap / PARTS && now < wrap / PARTS => {
                Quality::GOOD_COUNTER_WRAP
            }
            _ => Quality::GOOD_COUNTER_RESET,
        }
    }
}
