//! Recovery: reads every segment and rebuilds the index.
//!
//! It removes only what holds nothing: segments without a record, and the room behind
//! the last record that a killed process had preallocated.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use prost::Message;
use sandan_proto::id::{BirthsHash, LaneId};
use sandan_proto::record::{Gap, Sealed};
use sandan_proto::{batch, v1};

use super::format::{self, Frame, HEADER_LEN, Header, HeaderError, Kind};
use super::index::{Index, Mark, Segment};
use super::state::State;
use super::{Recovery, SpoolError};

/// What a disk that cannot read a sector gives in its place: the smallest piece that
/// is tried on its own.
const SECTOR: usize = 4096;
/// Stands for what could not be read; not zero, which would be the end of a segment.
const UNREADABLE: u8 = 0xA5;

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.seg"))
}

pub(super) fn scan(dir: &Path, state: State) -> Result<(Index, Recovery), SpoolError> {
    let mut index = Index::new(state);
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(SpoolError::io("list", dir))? {
        let entry = entry.map_err(SpoolError::io("list", dir))?;
        let name = entry.file_name();
        let Some((number, rest)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
        let Ok(number) = u64::from_str_radix(number, 16) else { continue };
        match rest {
            "seg" => numbers.push(number),
            "seg.damaged" => index.quarantined_bytes += entry.metadata().map_or(0, |metadata| metadata.len()),
            _ => continue,
        }
        index.highest_number = index.highest_number.max(number);
    }
    numbers.sort_unstable();
    let mut recovery = Recovery::default();
    for number in numbers {
        scan_segment(dir, number, &mut index, &mut recovery)?;
    }
    index.damaged_records = recovery.damaged_records;
    // Positions acknowledged before the restart, now that it is known what they mean.
    for (lane, through) in index.state().acked.clone() {
        if let Ok(lane) = lane.parse::<LaneId>() {
            index.acked(lane, through);
        }
    }
    Ok((index, recovery))
}

fn scan_segment(dir: &Path, number: u64, index: &mut Index, recovery: &mut Recovery) -> Result<(), SpoolError> {
    let path = segment_path(dir, number);
    let file = File::options().read(true).write(true).open(&path).map_err(SpoolError::io("open", &path))?;
    let len = file.metadata().map_err(SpoolError::io("open", &path))?.len();
    let bytes = read_range(&file, 0, usize::try_from(len).unwrap_or(usize::MAX));
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let (header, mut at) = match format::decode_header(&bytes) {
        Ok(header) => (header, HEADER_LEN),
        Err(HeaderError::Newer(found)) => return Err(SpoolError::Newer { path, found, known: format::VERSION }),
        // Killed between taking the room and writing the header.
        Err(HeaderError::Damaged) if written == 0 => return remove(&path),
        Err(HeaderError::Damaged) => {
            let Some(found) = header_of_records(&bytes, number) else {
                recovery.damaged_segments += 1;
                tracing::error!(path = %path.display(), "spool segment holds nothing that can be read; put aside as .damaged");
                index.quarantined_bytes += len;
                let aside = path.with_extension("seg.damaged");
                return std::fs::rename(&path, &aside).map_err(SpoolError::io("rename", &path));
            };
            recovery.damaged_records += 1;
            tracing::error!(segment = number, "spool segment has a damaged header; its records are read all the same");
            found
        }
    };
    index.segments.push_back(Segment::new(number, path.clone(), header.lane, header.boot));
    loop {
        match format::decode_record(&bytes[at..]) {
            Frame::End if at >= written => break,
            Frame::End | Frame::Damaged => match format::resync(&bytes[at..]) {
                Some(skipped) => {
                    recovery.damaged_records += 1;
                    tracing::error!(segment = number, at, skipped, "damaged record in the spool; skipped");
                    at += skipped;
                }
                // A torn write at the end was never synced: it is not damage.
                None => break,
            },
            Frame::Record { kind, body, len } => {
                match take(kind, body, at as u64, index) {
                    Some(true) => recovery.records += 1,
                    Some(false) => {}
                    None => recovery.damaged_records += 1,
                }
                at += len;
            }
        }
    }
    let Some(segment) = index.segments.back_mut() else { return Ok(()) };
    if segment.sequences.is_none() && segment.displaced.is_empty() && at >= written {
        index.segments.pop_back();
        return remove(&path);
    }
    segment.synced_bytes = at as u64;
    segment.thin_marks();
    // What was preallocated and not used.
    let end = written.max(at) as u64;
    let shortened = end < len && file.set_len(end).is_ok();
    segment.file_bytes = if shortened { end } else { len };
    recovery.segments += 1;
    Ok(())
}

fn remove(path: &Path) -> Result<(), SpoolError> {
    std::fs::remove_file(path).map_err(SpoolError::io("remove", path))
}

/// Reads a range as far as it can be read; what cannot is filled with a mark, so that
/// the records in it fail their checksum and those around it are found.
pub(super) fn read_range(file: &File, from: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    if file.read_exact_at(&mut bytes, from).is_err() {
        for (at, sector) in (from..).step_by(SECTOR).zip(bytes.chunks_mut(SECTOR)) {
            if file.read_exact_at(sector, at).is_err() {
                sector.fill(UNREADABLE);
            }
        }
    }
    bytes
}

/// Lane and boot as the first record tells them, and where that stands.
fn header_of_records(bytes: &[u8], number: u64) -> Option<(Header, usize)> {
    let begin = format::resync(bytes)?;
    let mut at = begin;
    loop {
        match format::decode_record(&bytes[at..]) {
            Frame::Record { kind: Kind::Batch, body, .. } => {
                let sealed = Sealed::from_wire(v1::Sealed::decode(body).ok()?).ok()?;
                return Some((Header { lane: sealed.lane, boot: sealed.boot, number }, begin));
            }
            Frame::Record { len, .. } => at += len,
            Frame::End | Frame::Damaged => at += format::resync(&bytes[at..])?,
        }
    }
}

/// Takes one record into the index: `Some(true)` for a record of a lane, `None` when
/// its body is not what its kind says.
fn take(kind: Kind, body: &[u8], offset: u64, index: &mut Index) -> Option<bool> {
    match kind {
        Kind::Births => index.add_births(BirthsHash::of(body).as_bytes(), body.to_vec().into()),
        Kind::Clock => index.add_clock(v1::ClockOffset::decode(body).ok()?),
        Kind::Batch => {
            let sealed = Sealed::from_wire(v1::Sealed::decode(body).ok()?).ok()?;
            let known =
                index.segments.back().and_then(|segment| Some((segment.sequences?.1, segment.cumulative_after)));
            let (last, cumulative) = known.unwrap_or((0, 0));
            if sealed.sequence <= last {
                return Some(false);
            }
            // Only behind a hole does the payload have to be decoded to count.
            let cumulative_before = if last + 1 == sealed.sequence { cumulative } else { before(&sealed) };
            let mark = Mark { sequence: sealed.sequence, offset, first_us: sealed.first_us, cumulative_before };
            let span = Some((sealed.first_us, sealed.last_us));
            index.add_record(mark, sealed.sequence, sealed.cumulative_readings, span);
            return Some(true);
        }
        Kind::Gap => {
            let gap = Gap::from_wire(&v1::Gap::decode(body).ok()?).ok()?;
            let mark = Mark {
                sequence: gap.first_sequence,
                offset,
                first_us: gap.to.map_or(0, |moment| moment.monotonic_us),
                cumulative_before: gap.cumulative_before,
            };
            index.add_record(mark, gap.last_sequence, gap.cumulative_after, None);
            return Some(true);
        }
        Kind::Displaced => {
            index.add_displaced(Gap::from_wire(&v1::Gap::decode(body).ok()?).ok()?);
        }
    }
    Some(false)
}

/// The lane's readings before a batch, from its payload.
pub(super) fn before(sealed: &Sealed) -> u64 {
    let readings = batch::decode(&sealed.payload).map_or(0, |groups| batch::count(&groups));
    sealed.cumulative_readings.saturating_sub(readings)
}
