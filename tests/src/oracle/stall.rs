//! How long this machine stood still: what a sync of a small file and a short sleep took
//! beyond what they take. A test that may lose one sync interval by right is allowed
//! what the disk or the processor held the program up for, as measured, and no more.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sandan_gateway::clock;

/// Between two looks. Its overshoot is what the processor was late by.
const PAUSE: Duration = Duration::from_millis(20);

/// One look: begin and end, µs since 1970, and what it took beyond the pause.
#[derive(Debug, Clone, Copy)]
struct Look {
    end_us: i64,
    stalled_us: i64,
}

/// Looks until it is dropped.
pub struct StallMeter {
    looks: Arc<Mutex<Vec<Look>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StallMeter {
    /// Measures the disk below `dir`.
    pub fn start(dir: &Path) -> std::io::Result<Self> {
        let mut file = File::create(dir.join("stall-meter"))?;
        let (looks, stop) = (Arc::<Mutex<Vec<Look>>>::default(), Arc::<AtomicBool>::default());
        let (seen, ends) = (looks.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let began = Instant::now();
                // The pace of the measurement, not a wait for a state.
                std::thread::sleep(PAUSE);
                let synced = file
                    .seek(SeekFrom::Start(0))
                    .and_then(|_| file.write_all(&clock::wall_us().to_le_bytes()))
                    .and_then(|()| file.sync_data());
                let stalled_us = if synced.is_ok() { micros(began.elapsed().saturating_sub(PAUSE)) } else { 0 };
                let look = Look { end_us: clock::wall_us(), stalled_us };
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(look);
            }
        });
        Ok(Self { looks, stop, thread: Some(thread) })
    }

    /// The time that the machine stood still in the last so many µs before a moment, and at it.
    pub fn before(&self, at_us: i64, within_us: i64) -> i64 {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks
            .iter()
            .filter(|look| look.end_us >= at_us - within_us && look.end_us - look.stalled_us - micros(PAUSE) <= at_us)
            .map(|look| look.stalled_us)
            .sum()
    }
}

impl Drop for StallMeter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed.
            let _ = thread.join();
        }
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
