//! Appends to the current lane. One owner, one thread.
//!
//! [`Writer::append`] puts a record into memory; [`Writer::sync`] writes all of them
//! and syncs. So a failing disk has one place to fail in, and what failed is tried
//! again whole, in a new segment: after a failed sync the kernel may have dropped the
//! pages of the old one.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use sandan_proto::births::Births;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::record::{Gap, GapCause, Moment, Sealed};
use sandan_proto::v1;

use super::dead::{self, DeadLetter};
use super::delivered::{self, Delivery};
use super::files::Handle;
use super::format::{self, Header, Kind, LaneEnd};
use super::index::{Mark, Segment, What};
use super::scan::segment_path;
use super::{
    MAX_OPEN_LANES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENTS_PER_CAP, SMALL_SEGMENT, Spool, SpoolError, WhenFull,
};

/// What may wait for a disk that fails. Beyond it the newest readings are lost and
/// declared; polling goes on.
const UNSYNCED_BYTES_MAX: usize = 4 << 20;

/// Losses in a row that are told apart by their cause; a disk that is now full and now at
/// its cap makes one gap of what comes beyond.
const LOSSES_MAX: usize = 16;

/// A segment is at least so many times what stands at its head.
const HEADS_PER_SEGMENT: u64 = 4;

/// A batch that is not sealed yet.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// An encoded batch.
    pub payload: Bytes,
    /// How many readings it holds.
    pub readings: u64,
    /// Monotonic time at which the first of them came.
    pub first_us: i64,
    /// Monotonic time at which the last of them came.
    pub last_us: i64,
}

#[derive(Debug)]
struct Entry {
    mark: Mark,
    last_sequence: u64,
    cumulative: u64,
    what: What,
}

#[derive(Debug)]
struct Loss {
    cause: GapCause,
    from: Moment,
    to: Moment,
    readings: u64,
}

/// The segment that is being written; what it holds is in the index.
#[derive(Debug)]
struct Open {
    file: Arc<dyn Handle>,
    path: PathBuf,
    number: u64,
    /// Written and synced through here.
    synced_bytes: u64,
}

/// The writing end of the spool.
#[derive(Debug)]
pub struct Writer {
    spool: Spool,
    lane: LaneId,
    boot: BootId,
    births: Births,
    /// Births before these of which `buffer` holds batches.
    births_before: Vec<Births>,
    /// The offset of this boot as the open segment has it.
    clock: Option<v1::ClockOffset>,
    open: Option<Open>,
    next_number: u64,
    /// What stands at the head of each segment.
    head_bytes: u64,
    next_sequence: u64,
    cumulative: u64,
    /// Whether the gap of a restart is still to be written.
    restarted: bool,
    /// The last reading of the process before, where it is known.
    restarted_after: Option<Moment>,
    /// What could not wait any more, until there is a place to tell it.
    lost: Vec<Loss>,
    /// Why nothing can be written at the moment.
    refusal: GapCause,
    buffer: Vec<u8>,
    /// Records in `buffer`, their offsets counted from its start.
    entries: Vec<Entry>,
    /// Dead letters in `buffer`, and the bytes that they take.
    dead: (u64, u64),
}

impl Writer {
    pub(super) fn open(
        spool: Spool,
        lane: LaneId,
        boot: BootId,
        births: &Births,
        clock: Option<&v1::ClockOffset>,
    ) -> Result<Self, SpoolError> {
        let (next_number, restarted, restarted_after) = {
            let mut index = spool.index();
            index.add_births(births.hash().as_bytes(), births.content().clone());
            // The offset of a boot is learnt once: the first process of it decides.
            if let Some(clock) = clock.filter(|clock| index.clock(&clock.boot_id).is_none()) {
                index.add_clock(clock.clone());
            }
            // A spool that has had a session and holds no reading has lost what it held: since
            // when, nobody knows.
            let last = index.last_moment();
            (index.highest_number + 1, last.is_some() || index.state().epoch > 0, last)
        };
        let mut writer = Self {
            spool,
            lane,
            boot,
            births: births.clone(),
            births_before: Vec::new(),
            clock: None,
            open: None,
            next_number,
            head_bytes: 0,
            next_sequence: 1,
            cumulative: 0,
            restarted,
            restarted_after,
            lost: Vec::new(),
            refusal: GapCause::DiskFull,
            buffer: Vec::new(),
            entries: Vec::new(),
            dead: (0, 0),
        };
        // Opened now, so that a directory without rights is found at the start. A full disk
        // stops nothing: what is read waits for room, and what cannot wait is declared.
        match writer.roll() {
            Err(SpoolError::Io { source, path, .. }) if source.kind() == std::io::ErrorKind::StorageFull => {
                tracing::error!(path = %path.display(), "the disk is full: readings wait in memory for room");
            }
            rolled => rolled?,
        }
        Ok(writer)
    }

    /// The lane of this process.
    pub fn lane(&self) -> LaneId {
        self.lane
    }

    /// What batches from now on name as their births; written before the first of them.
    pub fn set_births(&mut self, births: &Births) {
        if births.hash() == self.births.hash() {
            return;
        }
        self.spool.index().add_births(births.hash().as_bytes(), births.content().clone());
        let before = std::mem::replace(&mut self.births, births.clone());
        if !self.entries.is_empty() {
            self.births_before.push(before);
        }
        format::encode_record(Kind::Births, self.births.content(), &mut self.buffer);
    }

    /// Appends a batch in memory. Returns how many readings were lost because nothing
    /// could be written for too long: 0, or all of this batch.
    pub fn append(&mut self, batch: &Outgoing) -> u64 {
        self.append_delivered(batch, &[])
    }

    /// Appends a batch that holds the last reading of each of these messages. They are
    /// synced with it or not at all.
    pub fn append_delivered(&mut self, batch: &Outgoing, deliveries: &[Delivery]) -> u64 {
        if self.buffer.is_empty() && self.spool.take_lane_request() {
            self.begin_lane();
        }
        let moment = |monotonic_us| Moment { boot: self.boot, monotonic_us };
        let (first, last) = (moment(batch.first_us), moment(batch.last_us));
        if self.buffer.len() + batch.payload.len() > UNSYNCED_BYTES_MAX {
            self.lose(first, last, batch.readings);
            return batch.readings;
        }
        if std::mem::take(&mut self.restarted) {
            self.append_gap(GapCause::Restart, self.restarted_after, first, 0);
        }
        self.declare_lost();
        let before = self.cumulative;
        self.cumulative += batch.readings;
        let sealed = Sealed {
            lane: self.lane,
            sequence: self.next_sequence,
            births: self.births.hash(),
            boot: self.boot,
            cumulative_readings: self.cumulative,
            first_us: batch.first_us,
            last_us: batch.last_us,
            payload: batch.payload.clone(),
        };
        let what = What::Batch(batch.first_us, batch.last_us);
        if deliveries.is_empty() {
            self.put(Kind::Batch, &sealed.to_wire().encode_to_vec(), before, what);
        } else {
            self.put(Kind::Delivered, &delivered::encode(&sealed.to_wire(), deliveries), before, what);
        }
        0
    }

    /// Appends a message that could not be used, in memory. False when there is no room for
    /// it: dead letters take a share of the spool, and the first of many are kept.
    pub fn append_dead(&mut self, letter: &DeadLetter) -> bool {
        let before = self.buffer.len();
        let bytes = (format::FRAME_LEN + letter.encoded_len()) as u64;
        let taken = self.spool.index().dead_bytes() + self.dead.1;
        let has_room = taken + bytes <= self.spool.shared.max_bytes / dead::SHARE;
        if !has_room || before as u64 + bytes > UNSYNCED_BYTES_MAX as u64 {
            return false;
        }
        format::encode_record(Kind::DeadLetter, &letter.encode_to_vec(), &mut self.buffer);
        self.dead = (self.dead.0 + 1, self.dead.1 + bytes);
        true
    }

    fn lose(&mut self, from: Moment, to: Moment, readings: u64) {
        let is_full = self.lost.len() >= LOSSES_MAX;
        match self.lost.last_mut().filter(|last| is_full || last.cause == self.refusal) {
            Some(last) => (last.to, last.readings) = (to, last.readings + readings),
            None => self.lost.push(Loss { cause: self.refusal, from, to, readings }),
        }
    }

    /// Goes on in a new lane, and with it in a new segment.
    fn begin_lane(&mut self) {
        let open = self.spool.index().open_lanes();
        if self.next_sequence == 1 {
            return;
        }
        if open >= MAX_OPEN_LANES {
            tracing::info!(lane = %self.lane, open, "too many lanes are open: live data goes on in this one");
            return;
        }
        self.abandon();
        self.lane = LaneId::random();
        (self.next_sequence, self.cumulative) = (1, 0);
        self.spool.index().open_lane(self.lane);
        tracing::info!(lane = %self.lane, "live data goes on in a new lane");
    }

    /// Puts an offset that was learnt since into the open segment.
    fn note_clock(&mut self) {
        let known = self.spool.index().clock(&self.boot.to_vec());
        if known != self.clock {
            self.clock = known;
            if let Some(clock) = &self.clock {
                format::encode_record(Kind::Clock, &clock.encode_to_vec(), &mut self.buffer);
            }
        }
    }

    fn declare_lost(&mut self) {
        for loss in std::mem::take(&mut self.lost) {
            self.append_gap(loss.cause, Some(loss.from), loss.to, loss.readings);
        }
    }

    pub(super) fn append_gap(&mut self, cause: GapCause, from: Option<Moment>, to: Moment, readings: u64) {
        let before = self.cumulative;
        self.cumulative += readings;
        let gap = Gap {
            lane: self.lane,
            first_sequence: self.next_sequence,
            last_sequence: self.next_sequence,
            cause,
            from,
            to: Some(to),
            cumulative_before: before,
            cumulative_after: self.cumulative,
        };
        self.put(Kind::Gap, &gap.to_wire().encode_to_vec(), before, What::Gap(gap));
    }

    fn put(&mut self, kind: Kind, body: &[u8], cumulative_before: u64, what: What) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let mark = Mark {
            sequence,
            offset: self.buffer.len() as u64,
            first_us: match &what {
                What::Batch(first_us, _) => *first_us,
                What::Gap(gap) => gap.to.map_or(0, |to| to.monotonic_us),
            },
            cumulative_before,
        };
        format::encode_record(kind, body, &mut self.buffer);
        self.entries.push(Entry { mark, last_sequence: sequence, cumulative: self.cumulative, what });
    }

    /// Bytes that wait for [`sync`](Self::sync).
    pub fn unsynced_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Writes and syncs what was appended. When it returns `Ok`, all of it survives a
    /// power cut. After an error everything is still there for the next call.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        self.note_clock();
        let synced = self.write_buffer().and_then(|()| {
            // What was lost meanwhile is told as soon as there is a place to tell it.
            self.declare_lost();
            self.write_buffer()
        });
        self.refusal = match &synced {
            Err(SpoolError::Full { .. }) => GapCause::SpoolFull,
            _ => GapCause::DiskFull,
        };
        synced
    }

    fn write_buffer(&mut self) -> Result<(), SpoolError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.make_room()?;
        if self.open.as_ref().is_none_or(|open| !open.fits(self.buffer.len() as u64, self.segment_bytes())) {
            self.roll()?;
        }
        let Some(open) = &self.open else { return Ok(()) };
        crash_point!("spool.append-before-write");
        if let Err(error) = open.write(&self.buffer) {
            self.abandon();
            return Err(error);
        }
        crash_point!("spool.synced-before-publish");
        self.publish();
        Ok(())
    }

    /// Leaves the open segment as it was before a write that failed. The next record goes
    /// into a new one.
    fn abandon(&mut self) {
        if let Some(open) = self.open.take() {
            open.close(&self.spool);
        }
    }

    fn publish(&mut self) {
        let Some(open) = &mut self.open else { return };
        let base = open.synced_bytes;
        open.synced_bytes += self.buffer.len() as u64;
        self.spool.add_written(self.buffer.len());
        let mut index = self.spool.index();
        for entry in self.entries.drain(..) {
            let mark = Mark { offset: base + entry.mark.offset, ..entry.mark };
            index.add_record(mark, entry.last_sequence, entry.cumulative, &entry.what);
        }
        let (letters, bytes) = std::mem::take(&mut self.dead);
        index.add_dead(letters, bytes);
        index.grew(open.synced_bytes);
        drop(index);
        self.buffer.clear();
        self.births_before.clear();
        self.spool.notify();
    }

    fn segment_bytes(&self) -> u64 {
        // A head that takes most of a segment would be written over and over.
        let share = self.spool.shared.max_bytes / SEGMENTS_PER_CAP;
        let least = if is_hurried!("spool.small") { SMALL_SEGMENT } else { SEGMENT_BYTES_MIN };
        share.clamp(least, SEGMENT_BYTES_MAX).max(HEADS_PER_SEGMENT * self.head_bytes)
    }

    /// Begins a new segment: preallocated, with header, births and clock, synced.
    fn roll(&mut self) -> Result<(), SpoolError> {
        let dir = self.spool.shared.dir.clone();
        // Whatever fails below, a number is tried once.
        let number = self.next_number;
        self.next_number += 1;
        let path = segment_path(&dir, number);
        let mut head = format::encode_header(&Header { lane: self.lane, boot: self.boot, number }).to_vec();
        for births in self.births_before.iter().chain([&self.births]) {
            format::encode_record(Kind::Births, births.content(), &mut head);
        }
        self.clock = self.spool.index().clock(&self.boot.to_vec());
        if let Some(clock) = &self.clock {
            format::encode_record(Kind::Clock, &clock.encode_to_vec(), &mut head);
        }
        self.head_bytes = head.len() as u64;
        let ends = self.spool.index().untold_ends(self.lane, MAX_OPEN_LANES);
        for (lane, last_sequence, cumulative_readings) in &ends {
            let end = LaneEnd {
                lane: lane.to_vec(),
                last_sequence: *last_sequence,
                cumulative_readings: *cumulative_readings,
            };
            format::encode_record(Kind::LaneEnd, &end.encode_to_vec(), &mut head);
        }
        let files = self.spool.shared.files.clone();
        let file = files.create(&path).map_err(SpoolError::io("create", &path))?;
        crash_point!("spool.segment-created-before-header");
        let prepared = self.prepare(file.as_ref(), &head).map_err(SpoolError::io("write", &path)).and_then(|()| {
            crash_point!("spool.header-before-dir-sync");
            files.sync_dir(&dir).map_err(SpoolError::io("sync", &dir))
        });
        if let Err(error) = prepared {
            // It holds nothing; if it stays, the next start removes it.
            let _ = files.remove(&path);
            return Err(error);
        }
        self.spool.add_written(head.len());
        let mut segment = Segment::new(number, path, self.lane, self.boot);
        segment.ends = ends.iter().map(|(lane, _, _)| *lane).collect();
        segment.synced_bytes = head.len() as u64;
        segment.file_bytes = file.size().unwrap_or(segment.synced_bytes);
        self.abandon();
        self.open = Some(Open { file, path: segment.path.clone(), number, synced_bytes: segment.synced_bytes });
        let mut index = self.spool.index();
        index.highest_number = number;
        index.segments.push_back(segment);
        Ok(())
    }

    fn prepare(&self, file: &dyn Handle, head: &[u8]) -> std::io::Result<()> {
        let size = self.segment_bytes().max((head.len() + self.buffer.len()) as u64);
        match file.allocate(size) {
            Err(error) if !matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::StorageFull) => {
                return Err(error);
            }
            // File systems without it grow the file as it is written, and so does a disk that
            // has less room than a segment.
            _ => {}
        }
        io_point!("spool.write");
        file.write_at(head, 0)?;
        file.sync_all()
    }

    /// Makes room under the cap: what is kept for a restored store goes first. Then the
    /// oldest segments are dropped, the gap that takes a segment's place synced before its
    /// file goes; or nothing more is taken, as configured.
    fn make_room(&mut self) -> Result<(), SpoolError> {
        match self.spool.drop_surplus(self.needed()) {
            // A state that cannot be saved keeps files from going, not records from being
            // written where room was taken for them.
            Err(error) if self.needed() == 0 => {
                tracing::warn!(error = %super::chain(&error), "acknowledged segments stay");
                return Ok(());
            }
            done => done?,
        }
        loop {
            let needed = self.needed();
            let max_bytes = self.spool.shared.max_bytes;
            let oldest = {
                let index = self.spool.index();
                if index.file_bytes() + needed <= max_bytes || index.segments.len() < 2 {
                    return Ok(());
                }
                index.segments.front().map(|front| (Dropped::of(front), index.is_done(front)))
            };
            let Some((oldest, is_done)) = oldest else { return Ok(()) };
            if self.spool.shared.when_full == WhenFull::RefuseNewest && !is_done {
                return Err(SpoolError::Full { dir: self.spool.shared.dir.clone(), max_bytes });
            }
            if self.open.is_none() {
                // The gap needs a place; for a moment there is one segment too many.
                self.roll()?;
            }
            let gaps = self.declare(&oldest)?;
            crash_point!("spool.displaced-synced-before-remove");
            self.spool.replace_oldest(oldest.number, gaps)?;
            if let Some(open) = &self.open {
                self.spool.index().grew(open.synced_bytes);
            }
        }
    }

    /// Room that the next write takes beside what is there.
    fn needed(&self) -> u64 {
        match &self.open {
            Some(open) if open.fits(self.buffer.len() as u64, self.segment_bytes()) => 0,
            _ => self.segment_bytes(),
        }
    }

    /// Writes and syncs the gaps that will stand for a segment. None where all of it was
    /// acknowledged.
    fn declare(&mut self, dropped: &Dropped) -> Result<Vec<Gap>, SpoolError> {
        let gaps: Vec<Gap> = {
            let index = self.spool.index();
            let unacked = dropped.gaps.iter().filter(|gap| index.is_unacked(gap.lane, gap.last_sequence));
            unacked.map(|gap| index.joined(gap.clone())).collect()
        };
        if gaps.is_empty() {
            return Ok(gaps);
        }
        let readings: u64 = dropped.gaps.iter().map(Gap::readings).sum();
        tracing::warn!(
            segment = dropped.number,
            readings,
            "spool is full: its oldest segment is dropped and declared as a gap"
        );
        let mut frames = Vec::new();
        for gap in &gaps {
            // Twice: of a lane that is gone nothing else tells.
            for _ in 0..2 {
                format::encode_record(Kind::Displaced, &gap.to_wire().encode_to_vec(), &mut frames);
            }
        }
        if let Some(open) = &mut self.open {
            if let Err(error) = open.write(&frames) {
                self.abandon();
                return Err(error);
            }
            open.synced_bytes += frames.len() as u64;
            self.spool.add_written(frames.len());
        }
        Ok(gaps)
    }
}

#[cfg(test)]
impl Writer {
    /// What waits for the next sync, as it will be written.
    pub(super) fn unsynced(&self) -> &[u8] {
        &self.buffer
    }
    /// Puts another file in the place of the open one.
    pub(super) fn replace_file(&mut self, by: impl FnOnce(&std::path::Path) -> std::fs::File) {
        if let Some(open) = &mut self.open {
            open.file = Arc::new(by(&open.path));
        }
    }
}

/// A segment on its way out.
struct Dropped {
    number: u64,
    /// What stands for it: older gaps that it keeps, and its own records.
    gaps: Vec<Gap>,
}

impl Dropped {
    fn of(segment: &Segment) -> Self {
        Self { number: segment.number, gaps: segment.gaps().cloned().collect() }
    }
}

impl Open {
    fn fits(&self, more: u64, segment_bytes: u64) -> bool {
        self.synced_bytes + more <= segment_bytes
    }

    fn write(&self, frames: &[u8]) -> Result<(), SpoolError> {
        let write = || -> std::io::Result<()> {
            io_point!("spool.write");
            self.file.write_at(frames, self.synced_bytes)
        };
        write().map_err(SpoolError::io("write", &self.path))?;
        crash_point!("spool.written-before-sync");
        self.file.sync_data().map_err(SpoolError::io("sync", &self.path))
    }

    /// Gives back what was preallocated and not used.
    fn close(self, spool: &Spool) {
        let shortened = self.file.set_size(self.synced_bytes);
        if let Err(error) = &shortened {
            tracing::warn!(path = %self.path.display(), %error, "cannot shorten a full spool segment");
        }
        if let Some(known) = spool.index().segments.iter_mut().find(|segment| segment.number == self.number) {
            known.thin_marks();
            if shortened.is_ok() {
                known.file_bytes = self.synced_bytes;
            }
        }
    }
}
