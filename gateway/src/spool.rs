//! The spool: the only buffer between the plant and the ingest, on disk.
//!
//! # Promises
//! - What [`Writer::sync`] returned for survives a power cut.
//! - A record is never rewritten; it is read back byte-identical, or not at all.
//! - Nothing is removed before the ingest acknowledged it, but for the byte cap: then
//!   the oldest segment goes and a gap record, synced first, takes its place; or nothing
//!   more is taken, as configured.
//! - What was acknowledged is kept for a while, and remembered for longer: after a
//!   [`Spool::rewind`] it is sent again, or declared.
//! - A damaged record costs itself. It never blocks the start and never hides those
//!   behind it; the hole that it leaves in the sequence is declared as a gap.
//!
//! # Format, version 1
//! `docs/spool-format.md` has it byte by byte, with the bytes in `spool/fixtures/`.
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
//!                     6 delivered  a Sealed, and which messages it answers for
//!                     7 lane end   where a lane ends that is no longer written
//!                     8 dead letter  a message that could not be used; never sent
//! ```
//! Births and clock offset stand at the head of every segment. Behind the last record
//! come zeros (the file is preallocated) or the end. The messages are those of
//! `sandan.v1`. `state.json` beside the segments holds the session's epoch, as a hint
//! how far each lane was acknowledged, and what is remembered of removed records.
//!
//! Every process start opens a new lane in a new segment; older lanes are read-only.
//! So a number is never used twice, whatever happened to the disk.
//!
//! # What it must not know
//! What a reading is. It carries sealed payloads.

mod dead;
mod delivered;
mod files;
mod format;
mod index;
mod inspect;
mod reader;
mod repair;
mod retain;
mod scan;
mod state;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandan_proto::births::Births;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::v1;
use tokio::sync::watch;

pub use dead::{DEAD_PAYLOAD_BYTES, DeadLetter};
pub use delivered::Delivery;
pub use index::{Boot, Depth, LaneDepth};
pub use inspect::{Cause, Damage, Exported, Inspection, Survey, Surveyed, export, inspect_bytes, survey};
pub use reader::{Item, Reader};
pub use repair::{Repaired, repair};
pub use state::State;
pub use writer::{Outgoing, Writer};

use files::{Files, Real};
use index::Index;
use retain::Limits;

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
/// Lanes that are open at once: the one that is written, and those that still hold records
/// for the ingest. A link that keeps breaking would open one at each return.
const MAX_OPEN_LANES: usize = 8;

/// What goes when the byte cap is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest segment.
    #[default]
    DropOldest,
    /// What comes next.
    RefuseNewest,
}

/// How a spool is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its directory; made when missing.
    pub dir: PathBuf,
    /// What all segments together may take.
    pub max_bytes: u64,
    /// What goes when they do.
    pub when_full: WhenFull,
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
    /// The cap is reached, and what is there stays.
    #[error(
        "the spool {dir} holds the {max_bytes} bytes of its cap and is to refuse the newest; raise max_bytes, or see why the ingest takes nothing"
    )]
    Full {
        /// The spool's directory.
        dir: PathBuf,
        /// Its cap.
        max_bytes: u64,
    },
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
    files: Arc<dyn Files>,
    dir: PathBuf,
    max_bytes: u64,
    when_full: WhenFull,
    written: AtomicU64,
    index: Mutex<Index>,
    saving: Mutex<()>,
    /// Live data is to go on in a lane of its own.
    lane_wanted: AtomicBool,
    /// Bumped by every sync and every acknowledgement.
    changed: watch::Sender<u64>,
    /// Held for the life of the process. None on a disk that a test plays.
    _lock: Option<std::fs::File>,
}

impl Spool {
    /// Opens a spool, reads what an earlier process left, and begins a new lane.
    pub fn open(
        options: &Options,
        births: &Births,
        clock: Option<&v1::ClockOffset>,
        boot: BootId,
    ) -> Result<(Writer, Spool, Recovery), SpoolError> {
        create_dir(&options.dir)?;
        let lock = lock(&options.dir)?;
        Self::open_on(Arc::new(Real), Some(lock), options, births, clock, boot)
    }

    fn open_on(
        files: Arc<dyn Files>,
        lock: Option<std::fs::File>,
        options: &Options,
        births: &Births,
        clock: Option<&v1::ClockOffset>,
        boot: BootId,
    ) -> Result<(Writer, Spool, Recovery), SpoolError> {
        let dir = options.dir.clone();
        state::keep_reserve(files.as_ref(), &dir);
        let state = State::load(files.as_ref(), &dir)?;
        let (mut index, recovery) = scan::scan(files.as_ref(), &dir, state)?;
        let lane = LaneId::random();
        index.open_lane(lane);
        let spool = Spool {
            shared: Arc::new(Shared {
                files,
                dir,
                max_bytes: if is_hurried!("spool.small") { SMALL_SPOOL } else { options.max_bytes },
                when_full: options.when_full,
                written: AtomicU64::new(0),
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

    /// Lanes that hold records for the ingest and the one that is being written, oldest
    /// first. What is only kept for a restored store does not show here.
    pub fn lanes(&self) -> Vec<v1::LaneState> {
        self.index().lane_states()
    }

    /// Takes the ingest's word on how far a lane is durable. Removes segments that
    /// nobody needs any more.
    pub fn acked(&self, lane: LaneId, through: u64) {
        self.index().acked(lane, through);
        if let Err(error) = self.drop_surplus(0) {
            tracing::warn!(error = %chain(&error), "cannot write the spool's state; acknowledged segments stay");
        }
        self.notify();
    }

    /// Removes what is kept beyond its limits, so that `needed` bytes more fit under the cap.
    fn drop_surplus(&self, needed: u64) -> Result<(), SpoolError> {
        let limits = Limits { now: self.shared.files.now(), max_bytes: self.shared.max_bytes, needed };
        self.index().take_surplus(limits);
        self.remove_doomed()
    }

    fn replace_oldest(&self, number: u64, gaps: Vec<sandan_proto::record::Gap>) -> Result<(), SpoolError> {
        self.index().replace_oldest(number, gaps);
        self.remove_doomed()
    }

    /// Saves what is remembered of segments, and only then removes their files.
    fn remove_doomed(&self) -> Result<(), SpoolError> {
        let doomed = self.index().doomed.clone();
        if doomed.is_empty() {
            return Ok(());
        }
        self.save_state()?;
        for (path, _) in &doomed {
            files::remove(self.shared.files.as_ref(), path);
        }
        self.index().doomed.retain(|file| !doomed.contains(file));
        state::keep_reserve(self.shared.files.as_ref(), &self.shared.dir);
        Ok(())
    }

    /// Sends everything again to a store with another timeline, from the beginning of each
    /// lane: what is kept as it was, and gaps for what is not. The new session and the
    /// positions are one write; a crash leaves either the one or the other. True when there
    /// is anything to send; the first timeline ever seen is only remembered.
    pub fn rewind(&self, timeline: &[u8], epoch: u64) -> Result<bool, SpoolError> {
        let saving = self.shared.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.state();
        if before.timeline.is_empty() || before.timeline_bytes() == timeline {
            drop(saving);
            self.save_session(epoch, timeline)?;
            return Ok(false);
        }
        let state = self.index().rewound(timeline, epoch);
        self.add_written(state.save(self.shared.files.as_ref(), &self.shared.dir)?);
        let has_more = self.index().rewind(state);
        drop(saving);
        self.notify();
        Ok(has_more)
    }

    /// Messages of a session that were synced and may come again, as the spool was opened:
    /// packet ids and digests. Given once.
    pub fn take_delivered(&self, session: [u8; 16]) -> Vec<(u16, [u8; 16])> {
        self.index().known.take(session)
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
        self.add_written(state.save(self.shared.files.as_ref(), &self.shared.dir)?);
        Ok(())
    }

    /// Epoch, timeline and acknowledged positions.
    pub fn state(&self) -> State {
        self.index().state().clone()
    }

    /// How much waits for the ingest.
    pub fn depth(&self) -> Depth {
        let depth = self.index().depth(self.shared.max_bytes);
        Depth { written_bytes: self.shared.written.load(Ordering::Relaxed), ..depth }
    }

    fn add_written(&self, bytes: impl TryInto<u64>) {
        self.shared.written.fetch_add(bytes.try_into().unwrap_or(0), Ordering::Relaxed);
    }

    /// How much waits in each lane that holds anything, and in the current one; oldest first.
    pub fn lane_depths(&self) -> Vec<LaneDepth> {
        self.index().lane_depths()
    }

    /// The boots of the machine whose segments are kept, oldest first.
    pub fn boots(&self) -> Vec<Boot> {
        self.index().boots()
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
    /// current one still holds. It does so with the next batch after a sync, unless
    /// [`MAX_OPEN_LANES`] are open or nothing stands in the current one.
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

/// Takes the spool's lock, which one process holds at a time.
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

fn chain(error: &SpoolError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

fn sync_dir(dir: &Path) -> Result<(), SpoolError> {
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(SpoolError::io("sync", dir))
}

#[cfg(test)]
mod tests;
