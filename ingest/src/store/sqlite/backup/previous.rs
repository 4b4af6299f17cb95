//! What an earlier backup has already.
//!
//! A firm's file that has not been written to since is not even read. It is told by its stamp: the
//! file system's number, length and times of a file whose log is empty. One that was written a
//! moment ago has no stamp, because another write in the same tick of the clock would not show.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::super::{firm_file, restore};
use super::io_at;
use crate::store::backup::{BackupError, BackupFile, Sharing, Stamp};

/// Coarser than the time stamps of any file system that a service runs on (FAT has two seconds).
const SETTLED: Duration = Duration::from_secs(3);

/// An earlier backup, and what was taken from it.
pub(super) struct Previous {
    dir: PathBuf,
    files: BTreeMap<String, BackupFile>,
    sharing: Sharing,
}

impl Previous {
    /// Fails where it is none, or of another installation. Of another timeline nothing is taken.
    pub(super) fn open(dir: &Path, complex: &str, timeline: &str) -> Result<Self, BackupError> {
        let manifest = restore::manifest(dir, complex)?;
        let files = manifest.files.into_iter().filter(|_| manifest.timeline == timeline);
        Ok(Self {
            dir: dir.to_owned(),
            files: files.map(|file| (file.name.clone(), file)).collect(),
            sharing: Sharing { with: dir.to_owned(), files: 0, bytes: 0 },
        })
    }

    /// Shares a file that has had this stamp since; none where it has to be copied.
    pub(super) fn unchanged(
        &mut self,
        into: &Path,
        name: &str,
        stamp: Option<Stamp>,
    ) -> Result<Option<BackupFile>, BackupError> {
        let known = self.files.get(name).filter(|known| stamp.is_some() && known.stamp == stamp).cloned();
        let Some(known) = known else { return Ok(None) };
        Ok(self.link(into, &known, name)?.then_some(known))
    }

    /// Shares a file that was copied and came out the same. Nothing is done for one that is shared.
    pub(super) fn share_same(&mut self, into: &Path, made: &BackupFile) -> Result<(), BackupError> {
        let is_same = |known: &&BackupFile| known.sha256 == made.sha256 && known.bytes == made.bytes;
        let Some(known) = self.files.get(&made.name).filter(is_same).cloned() else { return Ok(()) };
        let (copy, kept) = (into.join(&made.name), self.dir.join(&made.name));
        let inode = |path: &Path| std::fs::metadata(path).map(|it| (it.dev(), it.ino())).map_err(io_at(path));
        if inode(&copy)? == inode(&kept)? {
            return Ok(());
        }
        let beside = format!("{}.shared", made.name);
        if self.link(into, &known, &beside)? {
            let beside = into.join(beside);
            std::fs::rename(&beside, &copy).map_err(io_at(&beside))?;
        }
        Ok(())
    }

    /// False where it lies on another disk.
    fn link(&mut self, into: &Path, known: &BackupFile, name: &str) -> Result<bool, BackupError> {
        let kept = self.dir.join(&known.name);
        match std::fs::hard_link(&kept, into.join(name)) {
            Ok(()) => {}
            // It may have as many names as its file system allows.
            Err(error) if matches!(error.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::TooManyLinks) => {
                return Ok(false);
            }
            Err(error) => return Err(io_at(&kept)(error)),
        }
        self.sharing.files += 1;
        self.sharing.bytes += known.bytes;
        crash_point!("backup.shared-before-next");
        Ok(true)
    }

    /// What was taken.
    pub(super) fn sharing(self) -> Sharing {
        self.sharing
    }
}

/// Copies what a firm's log holds into its file, so that it has a stamp. What fails is no harm: the
/// file is copied.
pub(super) fn settle(path: &Path) {
    if log_bytes(path).is_ok_and(|bytes| bytes > 0)
        && let Ok(conn) = Connection::open(path)
    {
        firm_file::shorten_log(&conn);
    }
}

/// None while it may change without showing.
pub(super) fn stamp(path: &Path) -> Result<Option<Stamp>, BackupError> {
    let look = || {
        let file = std::fs::metadata(path)?;
        let is_settled = SystemTime::now().duration_since(file.modified()?).is_ok_and(|age| age >= SETTLED);
        let ns = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        let stamp = Stamp {
            inode: file.ino(),
            bytes: file.len(),
            written_ns: ns(file.mtime(), file.mtime_nsec()),
            changed_ns: ns(file.ctime(), file.ctime_nsec()),
        };
        Ok((is_settled && log_bytes(path)? == 0).then_some(stamp))
    };
    look().map_err(io_at(path))
}

fn log_bytes(path: &Path) -> io::Result<u64> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match std::fs::metadata(log) {
        Ok(log) => Ok(log.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
