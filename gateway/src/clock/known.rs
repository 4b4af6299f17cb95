//! The offset of this boot, for whoever has to bring a wall time onto the monotonic clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// No offset is so far from 1970.
const UNKNOWN: i64 = i64::MIN;

/// Wall time less monotonic time, once it is known: the one that readings of this boot are
/// stored under. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct KnownOffset(Arc<AtomicI64>);

impl Default for KnownOffset {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(UNKNOWN)))
    }
}

impl KnownOffset {
    /// It is known, or has changed: microseconds.
    pub fn learn(&self, offset_us: i64) {
        self.0.store(offset_us, Ordering::Relaxed);
    }

    /// Microseconds; `None` while nobody knows the wall time.
    pub fn known_us(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|offset_us| *offset_us != UNKNOWN)
    }
}
