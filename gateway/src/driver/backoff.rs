//! How long to wait before trying again: doubling, capped and jittered, so that a
//! hundred gateways do not return in step after a power cut.

use std::time::Duration;

/// First wait after a failure.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait: an operator who plugs a cable in wants to see it within half a minute, and
/// a bus with several dead units may take some seconds until it is this one's turn.
const LONGEST: Duration = Duration::from_secs(24);

/// The waits after one failure and the next.
#[derive(Debug, Clone)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// A connection that was made has ended after so long. Only one that outlasted the
    /// longest wait begins the waits anew: what ends each of them soon is a failure as
    /// much as one that keeps it from being made. Gives whether it did.
    pub(super) fn lasted(&mut self, connection: Duration) -> bool {
        let long = connection > LONGEST;
        if long {
            *self = Self::default();
        }
        long
    }

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

    #[test]
    fn only_a_connection_that_lasted_begins_them_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..12 {
            assert!(!backoff.lasted(Duration::from_secs(1)));
            backoff.next();
        }
        assert!(backoff.next() >= LONGEST / 2);
        assert!(backoff.lasted(LONGEST * 2));
        assert!(backoff.next() <= FIRST);
    }
}
