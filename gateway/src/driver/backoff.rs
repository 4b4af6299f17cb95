//! How long to wait before trying again: doubling, capped and jittered, so that a
//! hundred gateways do not return in step after a power cut.

use std::time::Duration;

/// First wait after a failure.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait: an operator who plugs a cable in wants to see it within half a minute.
const LONGEST: Duration = Duration::from_secs(30);

/// The waits after one failure and the next.
#[derive(Debug, Clone)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The next wait: between half of and the whole current step.
    pub(super) fn next(&mut self) -> Duration {
        let step = self.0;
        self.0 = (step * 2).min(LONGEST);
        step / 2 + (step / 2).mul_f64(random())
    }
}

/// From 0 to 1. Without randomness the waits are merely in step.
fn random() -> f64 {
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..12).map(|_| backoff.next()).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits[4] > waits[0]);
        assert!(waits[11] >= LONGEST / 2 && waits[11] <= LONGEST);
    }
}
