//! What the spool asks of the machine: a few file operations and a clock that only goes
//! forward. Thin in production; a test puts a disk in its place that loses what was not
//! synced.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::SpoolError;

/// What a disk that cannot read a sector gives in its place: the smallest piece that
/// is tried on its own.
const SECTOR: usize = 4096;
/// Stands for what could not be read; not zero, which would be the end of a segment.
const UNREADABLE: u8 = 0xA5;

/// A directory of files. Names of a directory survive a power cut after
/// [`sync_dir`](Self::sync_dir), contents after a sync of the file.
pub(super) trait Files: Debug + Send + Sync {
    /// Names and sizes in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>>;
    /// Opens a file that is there.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Handle>>;
    /// Makes a file that is not there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Handle>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Time that passes whatever the wall clock says, in suspend too.
    fn now(&self) -> Duration;
}

/// An open file.
pub(super) trait Handle: Debug + Send + Sync {
    fn size(&self) -> io::Result<u64>;
    fn read_at(&self, bytes: &mut [u8], from: u64) -> io::Result<()>;
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Takes room in advance, filled with zeros.
    fn allocate(&self, size: u64) -> io::Result<()>;
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Contents, and the size where it grew.
    fn sync_data(&self) -> io::Result<()>;
    fn sync_all(&self) -> io::Result<()>;
}

/// The machine's own files.
#[derive(Debug)]
pub(super) struct Real;

impl Files for Real {
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            // Names of ours are ASCII.
            let Ok(name) = entry.file_name().into_string() else { continue };
            found.push((name, entry.metadata().map_or(0, |metadata| metadata.len())));
        }
        Ok(found)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Handle>> {
        Ok(Arc::new(File::options().read(true).write(true).open(path)?))
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Handle>> {
        Ok(Arc::new(File::options().create_new(true).read(true).write(true).open(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
    fn now(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
    }
}

impl Handle for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
    fn read_at(&self, bytes: &mut [u8], from: u64) -> io::Result<()> {
        self.read_exact_at(bytes, from)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }
    fn allocate(&self, size: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), 0, size)?)
    }
    fn set_size(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }
    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }
    fn sync_all(&self) -> io::Result<()> {
        Self::sync_all(self)
    }
}

/// Reads a range as far as it can be read; what cannot is filled with a mark, so that
/// the records in it fail their checksum and those around it are found.
pub(super) fn read_range(file: &dyn Handle, from: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    if file.read_at(&mut bytes, from).is_err() {
        for (at, sector) in (from..).step_by(SECTOR).zip(bytes.chunks_mut(SECTOR)) {
            if file.read_at(sector, at).is_err() {
                sector.fill(UNREADABLE);
            }
        }
    }
    bytes
}

/// The whole of a file; what cannot be read is filled with a mark.
pub(super) fn read_whole(files: &dyn Files, path: &Path) -> Result<Vec<u8>, SpoolError> {
    let file = files.open(path).map_err(SpoolError::io("open", path))?;
    let len = file.size().map_err(SpoolError::io("open", path))?;
    Ok(read_range(file.as_ref(), 0, usize::try_from(len).unwrap_or(usize::MAX)))
}

/// Puts a file in the place of another, so that a power cut leaves one of them whole.
pub(super) fn replace(files: &dyn Files, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), SpoolError> {
    let path = dir.join(name);
    let temporary = dir.join(format!("{name}.new"));
    match files.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(SpoolError::io("remove", &temporary)(error));
        }
        _ => {}
    }
    let file = files.create(&temporary).map_err(SpoolError::io("create", &temporary))?;
    file.write_at(bytes, 0).and_then(|()| file.sync_all()).map_err(SpoolError::io("write", &temporary))?;
    crash_point!("spool.state-temp-before-rename");
    files.rename(&temporary, &path).map_err(SpoolError::io("rename", &temporary))?;
    crash_point!("spool.state-renamed-before-dir-sync");
    files.sync_dir(dir).map_err(SpoolError::io("sync", dir))
}

/// A file that stays takes room until the next start; nothing else depends on it.
pub(super) fn remove(files: &dyn Files, path: &Path) {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove a spool segment");
        }
        _ => {}
    }
}
