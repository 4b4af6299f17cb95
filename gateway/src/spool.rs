//! The spool: the only buffer between the plant and the ingest, on disk.
//!
//! # Promises
//! - What [`Writer::sync`] returned for survives a power cut.
//! - A record is never rewritten; it is read back byte-identical, or not at all.
//! - Nothing is removed before the ingest acknowledged it, but for the byte cap: then
//!   the oldest segment goes and a gap record, synced first, takes its place.
//! - A damaged record costs itself. It never blocks the start and never hides those
//!   behind it; the hole that it leaves in the sequence is declared as a gap.
//!
//! # Format, version 1
//! A directory of segments `0000000000000001.seg`, numbered upwards. Integers are
//! little-endian. A segment belongs to one lane and can be read on its own:
//!
//! ```text
//! header   64 bytes   magic "SANDANSP" · version u16 · zero u16 · zero u32 ·
//!                     lane 16 · boot id 16 · segment number u64 · zero u32 ·
//!                     CRC-32C u32 of the 60 bytes before
//! record   16 bytes   magic "SNDR" · body length u32 · kind u8 · zero 3 ·
//!                     CRC-32C u32 of length, kind, zero and body
//!          body       1 births  the content whose hash batches name (a BirthSet)
//!                     2 clock   a ClockOffset
//!                     3 batch   a Sealed
//!                     4 gap     a Gap with a place of its own in this lane
//!                     5 displaced  a Gap for dropped records, of any lane
//! ```
//! Births and clock offset stand at the head of every segment. Behind the last record
//! come zeros (the file is preallocated) or the end. The messages are those of
//! `sandan.v1`. `state.json` beside the segments holds the session's epoch and, as a
//! hint only, how far each lane was acknowledged.
//!
//! Every process start opens a new lane in a new segment; older lanes are read-only.
//! So a number is never used twice, whatever happened to the disk.
//!
//! # What it must not know
//! What a reading is. It carries sealed payloads.

mod format;
mod index;
mod reader;
mod scan;
mod state;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandan_proto::births::Births;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::v1;
use tokio::sync::watch;

pub use index::Depth;
pub use reader::{Item, Reader};
pub use state::State;
pub use writer::{Outgoing, Writer};

use index::Index;

/// The largest segment. Small enough that the byte cap drops little at once, large
/// enough that births and clock at each head weigh nothing.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// The smallest segment, for a spool with a small cap.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// At least so many segments share the cap, so that dropping one is a small loss.
const SEGMENTS_PER_CAP: u64 = 16;

/// What a spool and a segment of it may take when a test wants one that is full within seconds.
const SMALL_SPOOL: u64 = 32 << 10;
const SMALL_SEGMENT: u64 = 8 << 10;

/// How a spool is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its directory; made when missing.
    pub dir: PathBuf,
    /// What all segments together may take.
    pub max_bytes: u64,
}

/// What went wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// `open`, `write`, `sync`, …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("the spool {0} is in use by another process")]
    Locked(PathBuf),
    /// Written by a newer version.
    #[error("{path} has spool format {found}, and this program knows up to {known}")]
    Newer {
        /// The segment or state file.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// The newest that this build reads.
        known: u16,
    },
    /// The kernel did not tell which boot this is.
    #[error("cannot learn the boot id of this machine")]
    Boot(#[source] std::io::Error),
}

impl SpoolError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// What was found when a spool was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments that could be read.
    pub segments: usize,
    /// Batches and gaps in them.
    pub records: u64,
    /// Records that failed their checksum. Their readings are declared as a gap.
    pub damaged_records: u64,
    /// Segments whose header was unreadable; renamed to `….damaged`.
    pub damaged_segments: u64,
}

/// The spool as its readers see it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    max_bytes: u64,
    index: Mutex<Index>,
    saving: Mutex<()>,
    /// Live data is to go on in a lane of its own.
    lane_wanted: AtomicBool,
    /// Bumped by every sync and every acknowledgement.
    changed: watch::Sender<u64>,
    /// Held for the life of the process.
    _lock: std::fs::File,
}

impl Spool {
    /// Opens a spool, reads what an earlier process left, and begins a new lane.
    pub fn open(
        options: &Options,
        births: &Births,
        clock: Option<&v1::ClockOffset>,
        boot: BootId,
    ) -> Result<(Writer, Spool, Recovery), SpoolError> {
        let dir = options.dir.clone();
        create_dir(&dir)?;
        let lock = lock(&dir)?;
        state::keep_reserve(&dir);
        let state = State::load(&dir)?;
        let (mut index, recovery) = scan::scan(&dir, state)?;
        let lane = LaneId::random();
        index.open_lane(lane);
        let spool = Spool {
            shared: Arc::new(Shared {
                dir,
                max_bytes: if is_hurried!("spool.small") { SMALL_SPOOL } else { options.max_bytes },
                index: Mutex::new(index),
                saving: Mutex::new(()),
                lane_wanted: AtomicBool::new(false),
                changed: watch::Sender::new(0),
                _lock: lock,
            }),
        };
        let writer = Writer::open(spool.clone(), lane, boot, births, clock)?;
        Ok((writer, spool, recovery))
    }

    /// Lanes that still hold records or are being written, oldest first.
    pub fn lanes(&self) -> Vec<v1::LaneState> {
        self.index().lane_states()
    }

    /// Takes the ingest's word on how far a lane is durable. Removes segments that
    /// nobody needs any more.
    pub fn acked(&self, lane: LaneId, through: u64) {
        let removed = {
            let mut index = self.index();
            index.acked(lane, through);
            index.take_removable()
        };
        if !removed.is_empty() {
            for path in &removed {
                remove_file(path);
            }
            state::keep_reserve(&self.shared.dir);
            // The positions are a hint; the ingest tells them again.
            if let Err(error) = self.save_state() {
                tracing::warn!(error = %chain(&error), "cannot write the spool's state");
            }
        }
        self.notify();
    }

    /// Remembers the epoch that the ingest granted, synced before it returns: no frame
    /// may be sent under an epoch that a power cut could make us forget.
    pub fn save_session(&self, epoch: u64, timeline: &[u8]) -> Result<(), SpoolError> {
        self.index().set_session(epoch, timeline);
        self.save_state()
    }

    /// Writes the acknowledged positions down, so that a restart shows the right depth
    /// before it reaches the ingest.
    pub fn save_state(&self) -> Result<(), SpoolError> {
        // Held over the write, so that an older state never replaces a newer one; the
        // index is not, so that a slow card does not hold up the writer.
        let _saving = self.shared.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state();
        state.save(&self.shared.dir)
    }

    /// Epoch, timeline and acknowledged positions.
    pub fn state(&self) -> State {
        self.index().state().clone()
    }

    /// How much waits for the ingest.
    pub fn depth(&self) -> Depth {
        self.index().depth(self.shared.max_bytes)
    }

    /// The births of a hash, while the spool holds a batch that names them.
    pub fn births(&self, hash: &[u8]) -> Option<v1::Births> {
        self.index().births(hash)
    }

    /// The clock offset of a boot, while the spool holds a segment of it.
    pub fn clock(&self, boot: &[u8]) -> Option<v1::ClockOffset> {
        self.index().clock(boot)
    }

    /// Keeps the wall clock offset of this boot, in place of an earlier one. It is written
    /// with the next sync, and at the head of every segment from then on.
    pub fn learn_clock(&self, clock: v1::ClockOffset) {
        self.index().add_clock(clock);
    }

    /// Asks the writer to go on in a new lane, so that live data need not wait behind what the
    /// current one still holds. It does so with the next batch after a sync.
    pub fn request_lane(&self) {
        self.shared.lane_wanted.store(true, Ordering::Relaxed);
    }

    fn take_lane_request(&self) -> bool {
        self.shared.lane_wanted.swap(false, Ordering::Relaxed)
    }

    /// Changes whenever there may be more to read.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Reads a lane from behind `after`.
    pub fn reader(&self, lane: LaneId, after: u64) -> Reader {
        Reader::new(self.clone(), lane, after)
    }

    fn notify(&self) {
        self.shared.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // The index is consistent between statements that can panic; going on with it
        // is better than a gateway that stops recording.
        self.shared.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(dir: &Path) -> Result<std::fs::File, SpoolError> {
    let path = dir.join("lock");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(SpoolError::io("open", &path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(SpoolError::Locked(dir.to_owned())),
        Err(error) => Err(SpoolError::io("lock", &path)(error.into())),
    }
}

/// Makes a directory and those above it, so that a power cut does not take them back.
fn create_dir(dir: &Path) -> Result<(), SpoolError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir(parent)?;
        std::fs::create_dir(dir).map_err(SpoolError::io("create", dir))?;
        return sync_dir(parent);
    }
    std::fs::create_dir(dir).map_err(SpoolError::io("create", dir))
}

/// A file that stays takes room until the next start; nothing else depends on it.
fn remove_file(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove a spool segment");
        }
        _ => {}
    }
}

fn chain(error: &SpoolError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

fn sync_dir(dir: &Path) -> Result<(), SpoolError> {
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(SpoolError::io("sync", dir))
}

#[cfg(test)]
mod tests;
