//! A circuit breaker: what stays silent is asked less and less often.

use tokio::time::Instant;

use crate::driver::backoff::Backoff;

/// Closed while answers come. After `patience` silences in a row it opens, and lets
/// one probe through at growing intervals until an answer closes it.
#[derive(Debug)]
pub(super) struct Breaker {
    patience: u32,
    silences: u32,
    probe_at: Option<Instant>,
    backoff: Backoff,
}

impl Breaker {
    pub(super) fn new(patience: u32) -> Self {
        Self { patience, silences: 0, probe_at: None, backoff: Backoff::default() }
    }
    /// Whether to ask now.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.probe_at.is_none_or(|probe_at| now >= probe_at)
    }
    /// Whether contact is lost.
    pub(super) fn is_open(&self) -> bool {
        self.probe_at.is_some()
    }
    /// An answer came.
    pub(super) fn answered(&mut self) {
        *self = Self::new(self.patience);
    }
    /// None came. True when this is the moment at which contact is lost.
    pub(super) fn silent(&mut self, now: Instant) -> bool {
        self.silences = self.silences.saturating_add(1);
        let lost = self.silences == self.patience;
        if self.silences >= self.patience {
            self.probe_at = Some(now + self.backoff.next());
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_opens_once_probes_and_closes() {
        let mut breaker = Breaker::new(3);
        let now = Instant::now();
        assert_eq!([breaker.silent(now), breaker.silent(now)], [false, false]);
        assert!(breaker.allows(now) && !breaker.is_open());
        assert!(breaker.silent(now), "the third silence is the loss");
        assert!(!breaker.allows(now) && breaker.allows(now + Duration::from_secs(1)));
        assert!(!breaker.silent(now), "it is lost already");
        breaker.answered();
        assert!(breaker.allows(now) && !breaker.silent(now));
    }
}
