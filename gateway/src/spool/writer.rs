//! Appends to the current lane. One owner, one thread.
//!
//! [`Writer::append`] puts a record into memory; [`Writer::sync`] writes all of them
//! and syncs. So a failing disk has one place to fail in, and what failed is tried
//! again whole, in a new segment: after a failed sync the kernel may have dropped the
//! pages of the old one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use prost::Message;
use sandan_proto::births::Births;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::record::{Gap, GapCause, Moment, Sealed};
use sandan_proto::v1;

use super::format::{self, Header, Kind};
use super::index::{Mark, Segment};
use super::scan::segment_path;
use super::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENTS_PER_CAP, Spool, SpoolError, sync_dir};

/// What may wait for a disk that fails. Beyond it the newest readings are lost and
/// declared; polling goes on.
const UNSYNCED_BYTES_MAX: usize = 4 << 20;

/// A batch that is not sealed yet.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// An encoded batch.
    pub payload: Bytes,
    /// How many readings it holds.
    pub readings: u64,
    /// Monotonic time of the earliest.
    pub first_us: i64,
    /// Monotonic time of the latest.
    pub last_us: i64,
}

#[derive(Debug)]
struct Entry {
    mark: Mark,
    last_sequence: u64,
    cumulative: u64,
    span: Option<(i64, i64)>,
}

/// The segment that is being written; what it holds is in the index.
#[derive(Debug)]
struct Open {
    file: File,
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
    clock: v1::ClockOffset,
    open: Option<Open>,
    next_number: u64,
    next_sequence: u64,
    cumulative: u64,
    /// The last reading of the process before, until its gap is written.
    restarted_after: Option<Moment>,
    lost: Option<(Moment, Moment, u64)>,
    buffer: Vec<u8>,
    /// Records in `buffer`, their offsets counted from its start.
    entries: Vec<Entry>,
}

impl Writer {
    pub(super) fn open(
        spool: Spool,
        lane: LaneId,
        boot: BootId,
        births: &Births,
        clock: &v1::ClockOffset,
    ) -> Result<Self, SpoolError> {
        let (next_number, restarted_after, clock) = {
            let mut index = spool.index();
            index.add_births(births.hash().as_bytes(), births.content().clone());
            // The offset of a boot is learnt once: the first process of it decides.
            let clock = index.clock(&clock.boot_id).unwrap_or_else(|| clock.clone());
            index.add_clock(clock.clone());
            (index.segments.back().map_or(1, |segment| segment.number + 1), index.last_moment(), clock)
        };
        let mut writer = Self {
            spool,
            lane,
            boot,
            births: births.clone(),
            clock,
            open: None,
            next_number,
            next_sequence: 1,
            cumulative: 0,
            restarted_after,
            lost: None,
            buffer: Vec::new(),
            entries: Vec::new(),
        };
        // Opened now, so that a directory without rights or room is found at the start.
        writer.roll()?;
        Ok(writer)
    }

    /// The lane of this process.
    pub fn lane(&self) -> LaneId {
        self.lane
    }

    /// Appends a batch in memory. Returns how many readings were lost because the disk
    /// has been failing for too long: 0, or all of this batch.
    pub fn append(&mut self, batch: &Outgoing) -> u64 {
        let moment = |monotonic_us| Moment { boot: self.boot, monotonic_us };
        let (first, last) = (moment(batch.first_us), moment(batch.last_us));
        if self.buffer.len() + batch.payload.len() > UNSYNCED_BYTES_MAX {
            let (from, _, before) = self.lost.unwrap_or((first, last, 0));
            self.lost = Some((from, last, before + batch.readings));
            return batch.readings;
        }
        if let Some(from) = self.restarted_after.take() {
            self.append_gap(GapCause::Restart, from, first, 0);
        }
        if let Some((from, to, readings)) = self.lost.take() {
            self.append_gap(GapCause::DiskFull, from, to, readings);
        }
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
        self.put(Kind::Batch, &sealed.to_wire().encode_to_vec(), before, Some((batch.first_us, batch.last_us)));
        0
    }

    fn append_gap(&mut self, cause: GapCause, from: Moment, to: Moment, readings: u64) {
        let before = self.cumulative;
        self.cumulative += readings;
        let gap = Gap {
            lane: self.lane,
            first_sequence: self.next_sequence,
            last_sequence: self.next_sequence,
            cause,
            from: Some(from),
            to: Some(to),
            cumulative_before: before,
            cumulative_after: self.cumulative,
        };
        self.put(Kind::Gap, &gap.to_wire().encode_to_vec(), before, Some((to.monotonic_us, to.monotonic_us)));
    }

    fn put(&mut self, kind: Kind, body: &[u8], cumulative_before: u64, span: Option<(i64, i64)>) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let mark = Mark {
            sequence,
            offset: self.buffer.len() as u64,
            first_us: span.map_or(0, |(first, _)| first),
            cumulative_before,
        };
        format::encode_record(kind, body, &mut self.buffer);
        let span = if kind == Kind::Batch { span } else { None };
        self.entries.push(Entry { mark, last_sequence: sequence, cumulative: self.cumulative, span });
    }

    /// Bytes that wait for [`sync`](Self::sync).
    pub fn unsynced_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Writes and syncs what was appended. When it returns `Ok`, all of it survives a
    /// power cut. After an error everything is still there for the next call.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.make_room()?;
        if self.open.as_ref().is_none_or(|open| !open.fits(self.buffer.len() as u64, self.segment_bytes())) {
            self.roll()?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Err(error) = open.write(&self.buffer) {
            self.open = None;
            return Err(error);
        }
        self.publish();
        Ok(())
    }

    fn publish(&mut self) {
        let Some(open) = &mut self.open else { return };
        let base = open.synced_bytes;
        open.synced_bytes += self.buffer.len() as u64;
        let mut index = self.spool.index();
        for entry in self.entries.drain(..) {
            let mark = Mark { offset: base + entry.mark.offset, ..entry.mark };
            index.add_record(mark, entry.last_sequence, entry.cumulative, entry.span);
        }
        index.grew(open.synced_bytes);
        drop(index);
        self.buffer.clear();
        self.spool.notify();
    }

    fn segment_bytes(&self) -> u64 {
        (self.spool.shared.max_bytes / SEGMENTS_PER_CAP).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
    }

    /// Begins a new segment: preallocated, with header, births and clock, synced.
    fn roll(&mut self) -> Result<(), SpoolError> {
        let dir = self.spool.shared.dir.clone();
        let number = self.next_number;
        let path = segment_path(&dir, number);
        let mut head = format::encode_header(&Header { lane: self.lane, boot: self.boot, number }).to_vec();
        format::encode_record(Kind::Births, self.births.content(), &mut head);
        format::encode_record(Kind::Clock, &self.clock.encode_to_vec(), &mut head);
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(SpoolError::io("create", &path))?;
        let prepared = self.prepare(&file, &head);
        if let Err(source) = prepared {
            // An empty segment would be in the way of the next try.
            let _ = std::fs::remove_file(&path);
            return Err(SpoolError::Io { action: "write", path, source });
        }
        sync_dir(&dir)?;
        self.next_number += 1;
        let mut segment = Segment::new(number, path, self.lane, self.boot);
        segment.synced_bytes = head.len() as u64;
        segment.file_bytes = file.metadata().map_or(segment.synced_bytes, |metadata| metadata.len());
        if let Some(old) = self.open.take() {
            old.close(&self.spool);
        }
        self.open = Some(Open { file, path: segment.path.clone(), number, synced_bytes: segment.synced_bytes });
        self.spool.index().segments.push_back(segment);
        Ok(())
    }

    fn prepare(&self, file: &File, head: &[u8]) -> std::io::Result<()> {
        let size = self.segment_bytes().max((head.len() + self.buffer.len()) as u64);
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size) {
            // File systems without it grow the file as it is written.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        file.write_all_at(head, 0)?;
        file.sync_all()
    }

    /// Drops the oldest segments while the cap would be exceeded. The gap that takes a
    /// segment's place is synced before its file goes.
    fn make_room(&mut self) -> Result<(), SpoolError> {
        loop {
            let needed = match &self.open {
                Some(open) if open.fits(self.buffer.len() as u64, self.segment_bytes()) => 0,
                _ => self.segment_bytes(),
            };
            let oldest = {
                let mut index = self.spool.index();
                if index.file_bytes() + needed <= self.spool.shared.max_bytes {
                    return Ok(());
                }
                index.take_oldest()
            };
            let Some(oldest) = oldest else { return Ok(()) };
            if let Err(error) = self.declare_dropped(&oldest) {
                self.spool.index().segments.push_front(oldest);
                return Err(error);
            }
            self.spool.index().forget_empty_lanes();
            std::fs::remove_file(&oldest.path).map_err(SpoolError::io("remove", &oldest.path))?;
        }
    }

    fn declare_dropped(&mut self, dropped: &Segment) -> Result<(), SpoolError> {
        let mut gaps: Vec<Gap> = dropped.displaced.clone();
        if let Some((first_sequence, last_sequence)) = dropped.sequences {
            gaps.push(Gap {
                lane: dropped.lane,
                first_sequence,
                last_sequence,
                cause: GapCause::SpoolFull,
                from: dropped.first,
                to: dropped.last,
                cumulative_before: dropped.cumulative_before,
                cumulative_after: dropped.cumulative_after,
            });
        }
        gaps.retain(|gap| self.spool.index().is_unacked(gap.lane, gap.last_sequence));
        if gaps.is_empty() {
            return Ok(());
        }
        let gaps: Vec<Gap> = gaps.into_iter().map(|gap| self.spool.index().joined(gap)).collect();
        tracing::warn!(
            segment = %dropped.path.display(),
            readings = dropped.cumulative_after - dropped.cumulative_before,
            "spool is full: its oldest segment is dropped and declared as a gap"
        );
        let mut frames = Vec::new();
        for gap in &gaps {
            format::encode_record(Kind::Displaced, &gap.to_wire().encode_to_vec(), &mut frames);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.write(&frames)?;
        open.synced_bytes += frames.len() as u64;
        let mut index = self.spool.index();
        for gap in gaps {
            index.add_displaced(gap);
        }
        index.grew(open.synced_bytes);
        Ok(())
    }
}

impl Open {
    fn fits(&self, more: u64, segment_bytes: u64) -> bool {
        self.synced_bytes + more <= segment_bytes
    }

    fn write(&self, frames: &[u8]) -> Result<(), SpoolError> {
        self.file.write_all_at(frames, self.synced_bytes).map_err(SpoolError::io("write", &self.path))?;
        self.file.sync_data().map_err(SpoolError::io("sync", &self.path))
    }

    /// Gives back what was preallocated and not used.
    fn close(self, spool: &Spool) {
        let shortened = self.file.set_len(self.synced_bytes);
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
