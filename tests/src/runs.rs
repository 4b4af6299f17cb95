//! Many seeded runs of a suite, several at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// When a series of runs is over.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After so many.
    Runs(u64),
    /// No run begins after it.
    Time(Instant),
}

/// Does runs number 0, 1, 2, … on so many threads; `note` takes each end, one at a time.
pub fn many<E>(until: Until, jobs: usize, run: impl Fn(u64) -> E + Sync, note: impl FnMut(E) + Send) {
    let (next, note) = (AtomicU64::new(0), Mutex::new(note));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = match until {
                        Until::Runs(runs) => number >= runs,
                        Until::Time(deadline) => Instant::now() >= deadline,
                    };
                    if is_over {
                        return;
                    }
                    let ended = run(number);
                    note.lock().unwrap_or_else(PoisonError::into_inner)(ended);
                }
            });
        }
    });
}
