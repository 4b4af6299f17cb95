//! The room that the disk of the data directory has left, and whether more may be taken.
//!
//! Below the reserve nothing more is acknowledged, so that gateways keep what they read; a
//! tenth above it again it is. What the store does by itself, such as packing, goes on in the
//! reserve. Where the room is measured is injected; knows neither the store nor sessions.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The least room that has to be left: the lesser of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    /// Bytes; `u64::MAX` where only the part is said.
    pub bytes: u64,
    /// Part of the file system, in hundredths; 100 where only the bytes are said.
    pub percent: u8,
}

impl Default for Reserve {
    /// 1 GiB, or 5 % of a disk of less than 20 GiB: room for packing what has come, for the logs
    /// of the files, and for whoever has to look into it.
    fn default() -> Self {
        Self { bytes: 1 << 30, percent: 5 }
    }
}

impl Reserve {
    /// On a file system of `total` bytes.
    pub fn of(&self, total: u64) -> u64 {
        // Divided first where the product has no room.
        let part = total.checked_mul(self.percent.into()).map_or(total / 100 * u64::from(self.percent), |it| it / 100);
        part.min(self.bytes)
    }
}

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// Of the file system on which a file or directory lies.
pub fn space(path: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Space { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
}

/// Where the room is measured.
pub type Probe = Arc<dyn Fn() -> io::Result<Space> + Send + Sync>;

/// Whether there is room for more.
pub struct Room {
    reserve: Reserve,
    probe: Probe,
    is_short: AtomicBool,
}

/// What a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// What there is.
    pub space: Space,
    /// What has to be left of it.
    pub least: u64,
    /// Less than that is left, or was and not enough is yet.
    pub is_short: bool,
    /// It was otherwise at the look before.
    pub has_turned: bool,
}

impl Default for Room {
    /// That of a disk which never fills, for where the store is elsewhere.
    fn default() -> Self {
        let endless = Space { free: u64::MAX, total: u64::MAX };
        Self::new(Reserve { bytes: 0, percent: 0 }, Arc::new(move || Ok(endless)))
    }
}

impl Room {
    /// Nothing is short before the first look.
    pub fn new(reserve: Reserve, probe: Probe) -> Self {
        Self { reserve, probe, is_short: AtomicBool::new(false) }
    }

    /// Measures. A disk that cannot be asked is taken for what it was.
    pub fn look(&self) -> io::Result<Seen> {
        let space = (self.probe)()?;
        let least = self.reserve.of(space.total);
        let was_short = self.is_short();
        // Else it would end and begin with each file that is rewritten.
        let wanted = if was_short { least.saturating_add(least / 10) } else { least };
        let is_short = space.free < wanted;
        self.is_short.store(is_short, Ordering::Relaxed);
        Ok(Seen { space, least, is_short, has_turned: was_short != is_short })
    }

    /// As of the last look.
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn the_reserve_is_the_lesser_of_bytes_and_part() {
        let reserve = Reserve::default();
        assert_eq!(reserve.of(1 << 40), 1 << 30);
        assert_eq!(reserve.of(10_000_000_000), 500_000_000);
        assert_eq!(Reserve { bytes: 7, percent: 100 }.of(1_000), 7);
        assert_eq!(Reserve { bytes: u64::MAX, percent: 50 }.of(u64::MAX), u64::MAX / 100 * 50);
    }

    #[test]
    fn it_is_short_below_the_reserve_until_a_tenth_above_it() {
        let free = Arc::new(AtomicU64::new(1_000));
        let probe = free.clone();
        let probe = Arc::new(move || Ok(Space { free: probe.load(Ordering::Relaxed), total: 10_000 }));
        let room = Room::new(Reserve { bytes: 1_000, percent: 100 }, probe);
        let look = |is: u64| {
            free.store(is, Ordering::Relaxed);
            let seen = room.look().unwrap();
            assert_eq!(room.is_short(), seen.is_short);
            (seen.is_short, seen.has_turned)
        };
        assert_eq!(look(1_000), (false, false));
        assert_eq!(look(999), (true, true));
        assert_eq!(look(1_099), (true, false));
        assert_eq!(look(1_100), (false, true));
        assert_eq!(look(1_000), (false, false));
    }

    #[test]
    fn a_disk_that_cannot_be_asked_is_taken_for_what_it_was() {
        let gone = Arc::new(AtomicBool::new(false));
        let probe = gone.clone();
        let probe = Arc::new(move || {
            if probe.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(Space { free: 1, total: 100 })
        });
        let room = Room::new(Reserve { bytes: 2, percent: 100 }, probe);
        assert!(room.look().unwrap().is_short);
        gone.store(true, Ordering::Relaxed);
        assert!(room.look().is_err() && room.is_short());
    }

    #[test]
    fn the_room_of_a_directory_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let found = space(dir.path()).unwrap();
        assert!(found.total > 0 && found.free <= found.total, "{found:?}");
        assert!(!Room::default().look().unwrap().is_short);
    }
}
