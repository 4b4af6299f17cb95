//! The machine's clocks: monotonic microseconds of the boot, and the boot's id.
//!
//! Readings carry monotonic time, because a box without a clock battery does not
//! know the wall time when it starts. The offset to wall time travels beside them.

use sandan_proto::id::BootId;

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Microseconds of `CLOCK_BOOTTIME`: never set, never stepped, goes on in suspend.
pub fn monotonic_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

/// Microseconds since 1970 by the machine's wall clock.
pub fn wall_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

/// What has to be added to monotonic time to give wall time, rounded to 1 ms like the
/// times of replies, so that stored times have no digits that mean nothing.
pub fn offset_us() -> i64 {
    let exact = wall_us() - monotonic_us();
    (exact + 500).div_euclid(1_000) * 1_000
}

/// The id of this boot.
pub fn boot_id() -> std::io::Result<BootId> {
    std::fs::read_to_string(BOOT_ID)?
        .parse()
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}
