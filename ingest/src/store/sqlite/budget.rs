//! How much of the machine the work behind the readings may take.
//!
//! Whoever works says when it began and ended and what it wrote; after that there is a pause, as
//! long as the share asks for. The time of a step counts whole, also what it waited for the disk.

use std::time::Duration;

/// What the work may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Of one core: 0.5 is half of its time.
    pub core: f64,
    /// Bytes written a second.
    pub bytes_per_s: u64,
}

impl Default for Shares {
    /// Half a core packs 4 million readings a second, and leaves the rest of it to sessions and
    /// reads; a quarter of what an SD card or a slow disk writes.
    fn default() -> Self {
        Self { core: 0.5, bytes_per_s: 16 << 20 }
    }
}

/// The longest pause after one step: a clock that was set back must not stop the work, and one step
/// writes some MiB at most.
const LONGEST_US: i64 = 60_000_000;

/// The account of one worker.
#[derive(Debug)]
pub(super) struct Budget {
    shares: Shares,
    free_us: i64,
}

impl Budget {
    pub(super) fn new(shares: Shares) -> Self {
        Self { shares, free_us: i64::MIN }
    }

    /// How long there is nothing left; none when work may go on.
    pub(super) fn pause(&self, now_us: i64) -> Option<Duration> {
        let pause_us = self.free_us.saturating_sub(now_us);
        let pauses = pause_us > 0 && pause_us <= LONGEST_US;
        pauses.then(|| Duration::from_micros(pause_us.unsigned_abs()))
    }

    /// Takes note of a step that has ended.
    pub(super) fn spend(&mut self, began_us: i64, ended_us: i64, bytes: u64) {
        let took_us = ended_us.saturating_sub(began_us).max(0) as f64;
        let by_core_us = took_us / self.shares.core.clamp(0.001, 1.0);
        let by_bytes_us = bytes as f64 * 1e6 / self.shares.bytes_per_s.max(1) as f64;
        #[allow(clippy::cast_possible_truncation)] // bounded
        let pause_us = (by_core_us.max(by_bytes_us) - took_us).clamp(0.0, LONGEST_US as f64) as i64;
        // What is left of an earlier pause is not forgiven: a pressing step comes amid one.
        let from_us = match self.pause(ended_us) {
            Some(_) => self.free_us,
            None => ended_us,
        };
        self.free_us = from_us.saturating_add(pause_us).min(ended_us.saturating_add(LONGEST_US));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000;

    #[test]
    fn a_worker_takes_its_share_of_a_core() {
        let mut budget = Budget::new(Shares { core: 0.25, bytes_per_s: u64::MAX });
        let (mut now_us, mut worked_us) = (1_000_000_000, 0);
        let end_us = now_us + 10_000 * MS;
        while now_us < end_us {
            if let Some(pause) = budget.pause(now_us) {
                now_us += i64::try_from(pause.as_micros()).unwrap();
                continue;
            }
            let step_us = 7 * MS + now_us % 11;
            worked_us += step_us;
            budget.spend(now_us, now_us + step_us, 1 << 20);
            now_us += step_us;
        }
        assert!((2_450 * MS..2_550 * MS).contains(&worked_us), "{worked_us}");
    }

    #[test]
    fn a_worker_writes_no_faster_than_it_may() {
        let mut budget = Budget::new(Shares { core: 1.0, bytes_per_s: 1 << 20 });
        let (mut now_us, mut written) = (0, 0);
        while now_us < 100_000 * MS {
            if let Some(pause) = budget.pause(now_us) {
                now_us += i64::try_from(pause.as_micros()).unwrap();
                continue;
            }
            budget.spend(now_us, now_us + MS, 300_000);
            written += 300_000_i64;
            now_us += MS;
        }
        let rate = written / 100;
        assert!((1_000_000..1_060_000).contains(&rate), "{rate} bytes a second");
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let mut budget = Budget::new(Shares::default());
        budget.spend(0, 5_000 * MS, 1 << 31);
        assert_eq!(budget.pause(5_000 * MS), Some(Duration::from_mins(1)));
        assert_eq!(budget.pause(-3_600_000 * MS), None);
        assert_eq!(budget.pause(65_001 * MS), None);
    }

    #[test]
    fn what_could_not_wait_is_paid_later() {
        let mut budget = Budget::new(Shares { core: 0.5, bytes_per_s: u64::MAX });
        budget.spend(0, 10 * MS, 0);
        budget.spend(10 * MS, 20 * MS, 0);
        assert_eq!(budget.pause(20 * MS), Some(Duration::from_millis(10)));
    }
}
