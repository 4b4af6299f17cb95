//! The time that certificates are judged by: never earlier than what is known to have
//! passed.
//!
//! A box without a clock battery starts in 1970, where no certificate is valid yet. So the
//! time for TLS is the latest of the wall clock, the time of the build, and the last time
//! seen. *Seen* is what the ingest said over a verified connection, moved on by the
//! monotonic clock; never the wall clock, which a slip of the hand can set to 2080: what
//! is remembered must not outlive that slip.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sandan_proto::id::BootId;

use super::{Clocks, Machine, micros};

/// Beside the spool. Its first line is the time seen, microseconds since 1970; its second,
/// where there is one, the boot whose offset the ingest has applied.
const FILE: &str = "clock";
/// When this software was certainly made, for builds that do not say it:
/// 2026-11-01T00:00:00Z. Moved on with each release.
const RELEASED_US: i64 = 1_793_491_200_000_000;

/// The time of the build, microseconds since 1970: `SOURCE_DATE_EPOCH` when it was compiled
/// (seconds), so that a build can be reproduced, or else when this version was made.
fn built_us() -> i64 {
    let epoch = option_env!("SOURCE_DATE_EPOCH").and_then(|epoch| epoch.trim().parse::<i64>().ok());
    epoch.and_then(|seconds| seconds.checked_mul(1_000_000)).map_or(RELEASED_US, |built| built.max(RELEASED_US))
}

/// A clock that does not fall behind what was seen. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct TrustedClock(Arc<Inner>);

struct Inner {
    clocks: Arc<dyn Clocks>,
    path: Option<PathBuf>,
    /// The wall time at zero of the monotonic clock is at least this.
    floor_us: AtomicI64,
    /// The boot whose offset stands, because readings are stored under it.
    fixed: Mutex<Option<BootId>>,
}

impl std::fmt::Debug for TrustedClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustedClock").field("floor_us", &self.floor_us()).finish_non_exhaustive()
    }
}

impl TrustedClock {
    /// With the last time that was seen by a process with this state directory. A missing
    /// or damaged note is none: the clock then begins at the time of the build.
    pub fn load(state_dir: &Path) -> Self {
        Self::with(Arc::new(Machine), Some(state_dir.join(FILE)))
    }

    pub(crate) fn with(clocks: Arc<dyn Clocks>, path: Option<PathBuf>) -> Self {
        let noted = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let mut lines = noted.lines();
        let seen = lines.next().and_then(|line| line.parse::<i64>().ok()).unwrap_or(i64::MIN);
        let fixed = Mutex::new(lines.next().and_then(|line| line.parse().ok()));
        let floor = seen.max(built_us()).saturating_sub(clocks.monotonic_us());
        Self(Arc::new(Inner { clocks, path, floor_us: AtomicI64::new(floor), fixed }))
    }

    /// The clocks of the machine that this one looks at.
    pub(crate) fn clocks(&self) -> &dyn Clocks {
        &*self.0.clocks
    }

    /// Readings of this boot are stored: its offset stands, also for the processes to come.
    pub(crate) fn fix(&self, boot: BootId) {
        *self.0.fixed.lock().unwrap_or_else(PoisonError::into_inner) = Some(boot);
    }

    pub(crate) fn is_fixed(&self, boot: BootId) -> bool {
        *self.0.fixed.lock().unwrap_or_else(PoisonError::into_inner) == Some(boot)
    }

    /// The latest of the wall clock, the time of the build and the last time seen.
    pub fn now(&self) -> SystemTime {
        let now = Duration::from_micros(u64::try_from(self.now_us()).unwrap_or(0));
        UNIX_EPOCH + now
    }

    /// The same in microseconds since 1970.
    pub fn now_us(&self) -> i64 {
        self.0.clocks.wall_us().max(self.floor_us())
    }

    /// What has certainly passed, without the wall clock: microseconds since 1970.
    pub fn floor_us(&self) -> i64 {
        self.0.floor_us.load(Ordering::Relaxed).saturating_add(self.0.clocks.monotonic_us())
    }

    /// Takes the word of a peer that was verified: it is at least this late.
    pub fn saw(&self, time: SystemTime) {
        self.saw_us(micros(time));
    }

    /// The same in microseconds since 1970.
    pub fn saw_us(&self, wall_us: i64) {
        let floor = wall_us.saturating_sub(self.0.clocks.monotonic_us());
        self.0.floor_us.fetch_max(floor, Ordering::Relaxed);
    }

    /// Writes down what has passed, for the next start. Whole or not at all.
    pub fn save(&self) -> std::io::Result<()> {
        let Some(path) = &self.0.path else { return Ok(()) };
        let temporary = path.with_extension("new");
        let mut file = std::fs::File::create(&temporary)?;
        writeln!(file, "{}", self.floor_us())?;
        if let Some(boot) = *self.0.fixed.lock().unwrap_or_else(PoisonError::into_inner) {
            writeln!(file, "{boot}")?;
        }
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        match path.parent() {
            Some(dir) => std::fs::File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    }
}
