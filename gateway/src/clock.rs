//! The machine's clocks: monotonic microseconds of the boot, the wall clock, and the
//! boot's id.
//!
//! Readings carry monotonic time, because a box without a clock battery does not
//! know the wall time when it starts. The offset to wall time travels beside them:
//! `offset` decides which one; `trusted` is the time that certificates are judged by.

use std::time::{SystemTime, UNIX_EPOCH};

use sandan_proto::id::BootId;

pub mod known;
pub mod offset;
pub mod trusted;

pub use known::KnownOffset;
pub use offset::{BootClock, ClockState};
pub use trusted::TrustedClock;

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The two clocks of a machine, so that a test can set them.
pub trait Clocks: Send + Sync {
    /// Microseconds of the boot clock: never set, never stepped, goes on in suspend.
    fn monotonic_us(&self) -> i64;
    /// Microseconds since 1970 by the wall clock, which anybody may set.
    fn wall_us(&self) -> i64;
}

/// The clocks of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine;

impl Clocks for Machine {
    fn monotonic_us(&self) -> i64 {
        monotonic_us()
    }
    fn wall_us(&self) -> i64 {
        wall_us()
    }
}

/// Microseconds of `CLOCK_BOOTTIME`: never set, never stepped, goes on in suspend.
pub fn monotonic_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

/// Microseconds since 1970 by the machine's wall clock; negative before.
pub fn wall_us() -> i64 {
    micros(SystemTime::now())
}

/// Microseconds since 1970; negative before.
pub(crate) fn micros(time: SystemTime) -> i64 {
    let whole = |span: std::time::Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => whole(after),
        Err(before) => -whole(before.duration()),
    }
}

/// The id of this boot.
pub fn boot_id() -> std::io::Result<BootId> {
    std::fs::read_to_string(BOOT_ID)?
        .parse()
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
pub(crate) mod tests;
