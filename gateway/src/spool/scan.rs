//! Recovery: reads every segment and rebuilds the index.
//!
//! It removes only what holds nothing: segments without a record, and the room behind
//! the last record that a killed process had preallocated.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use sandan_proto::id::{BirthsHash, BootId, LaneId};
use sandan_proto::record::{Gap, Sealed};
use sandan_proto::{batch, v1};

use super::dead::DeadLetter;
use super::files::{Files, read_range};
use super::format::{self, FRAME_LEN, Frame, HEADER_LEN, Header, HeaderError, Kind, LaneEnd};
use super::index::{Index, Mark, Segment, What};
use super::state::State;
use super::{Recovery, SpoolError};

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.seg"))
}

/// The segments of a directory, and which numbers are taken by others that were put aside.
pub(super) fn numbers(found: &[(String, u64)]) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut segments, mut aside) = (Vec::new(), Vec::new());
    for (name, len) in found {
        let Some((number, rest)) = name.split_once('.') else { continue };
        let Ok(number) = u64::from_str_radix(number, 16) else { continue };
        match rest {
            "seg" => segments.push(number),
            _ if rest.starts_with("seg.damaged") => aside.push((number, *len)),
            _ => {}
        }
    }
    segments.sort_unstable();
    (segments, aside)
}

pub(super) fn scan(files: &dyn Files, dir: &Path, state: State) -> Result<(Index, Recovery), SpoolError> {
    let mut index = Index::new(state);
    let found = files.list(dir).map_err(SpoolError::io("list", dir))?;
    let (segments, aside) = numbers(&found);
    index.quarantined_bytes = aside.iter().map(|(_, len)| len).sum();
    let taken = segments.iter().chain(aside.iter().map(|(number, _)| number));
    index.highest_number = taken.copied().max().unwrap_or(0);
    let mut recovery = Recovery::default();
    for number in segments {
        scan_segment(files, dir, number, &mut index, &mut recovery)?;
    }
    recovery.damaged_records += index.apply_ends();
    index.show_trimmed();
    index.damaged_records = recovery.damaged_records;
    // Positions acknowledged before the restart, now that it is known what they mean.
    let trimmed = index.state().trimmed.iter().map(|trimmed| (trimmed.lane.clone(), trimmed.through));
    let mut acked: std::collections::BTreeMap<_, _> = trimmed.collect();
    acked.extend(index.state().acked.clone());
    for (lane, through) in acked {
        if let Ok(lane) = lane.parse::<LaneId>() {
            index.acked(lane, through);
        }
    }
    Ok((index, recovery))
}

fn scan_segment(
    files: &dyn Files,
    dir: &Path,
    number: u64,
    index: &mut Index,
    recovery: &mut Recovery,
) -> Result<(), SpoolError> {
    let path = segment_path(dir, number);
    let file = files.open(&path).map_err(SpoolError::io("open", &path))?;
    let len = file.size().map_err(SpoolError::io("open", &path))?;
    let bytes = Bytes::from(read_range(file.as_ref(), 0, usize::try_from(len).unwrap_or(usize::MAX)));
    // What a killed process wrote and did not sync is relied on from here on.
    if let Err(error) = file.sync_data() {
        tracing::warn!(path = %path.display(), %error, "cannot sync a spool segment");
    }
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let (header, mut at) = match format::decode_header(&bytes) {
        Ok(header) => (header, HEADER_LEN),
        Err(HeaderError::Newer(found)) => return Err(SpoolError::Newer { path, found, known: format::VERSION }),
        // Killed between taking the room and writing the header.
        Err(HeaderError::Damaged) if written == 0 => return remove(files, &path),
        Err(HeaderError::Damaged) => {
            let Some(found) = header_of_records(&bytes, number) else {
                recovery.damaged_segments += 1;
                tracing::error!(path = %path.display(), "spool segment holds nothing that can be read; put aside as .damaged");
                index.quarantined_bytes += len;
                let aside = path.with_extension("seg.damaged");
                return files.rename(&path, &aside).map_err(SpoolError::io("rename", &path));
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
                match take(kind, bytes.slice_ref(body), at as u64, index) {
                    Some(true) => recovery.records += 1,
                    Some(false) => {}
                    None => recovery.damaged_records += 1,
                }
                at += len;
            }
        }
    }
    let Some(segment) = index.segments.back_mut() else { return Ok(()) };
    if segment.holds_nothing() && at >= written {
        index.segments.pop_back();
        return remove(files, &path);
    }
    segment.synced_bytes = at as u64;
    segment.thin_marks();
    // What was preallocated and not used.
    let end = written.max(at) as u64;
    let shortened = end < len && file.set_size(end).is_ok();
    segment.file_bytes = if shortened { end } else { len };
    recovery.segments += 1;
    Ok(())
}

fn remove(files: &dyn Files, path: &Path) -> Result<(), SpoolError> {
    files.remove(path).map_err(SpoolError::io("remove", path))
}

/// Lane and boot as the records tell them, and where the first of those stands.
pub(super) fn header_of_records(bytes: &[u8], number: u64) -> Option<(Header, usize)> {
    let begin = format::resync(bytes)?;
    let (mut at, mut tells) = (begin, false);
    loop {
        match format::decode_record(&bytes[at..]) {
            Frame::Record { kind, body, len } => {
                if let Some((lane, boot)) = origin(kind, body) {
                    return Some((Header { lane, boot, number }, begin));
                }
                tells |= matches!(kind, Kind::Displaced | Kind::LaneEnd | Kind::DeadLetter);
                at += len;
            }
            Frame::End | Frame::Damaged => match format::resync(&bytes[at..]) {
                Some(skipped) => at += skipped,
                None => break,
            },
        }
    }
    // It holds none of its own lane, but tells of others.
    if !tells {
        return None;
    }
    let (lane, boot) = (LaneId::random(), BootId::from_bytes(&[0; 16]).ok()?);
    Some((Header { lane, boot, number }, begin))
}

fn origin(kind: Kind, body: &[u8]) -> Option<(LaneId, BootId)> {
    match kind {
        Kind::Batch | Kind::Delivered => {
            let (sealed, _) = format::decode_batch(kind, Bytes::copy_from_slice(body))?;
            let sealed = Sealed::from_wire(sealed).ok()?;
            Some((sealed.lane, sealed.boot))
        }
        Kind::Gap => {
            let gap = Gap::from_wire(&v1::Gap::decode(body).ok()?).ok()?;
            Some((gap.lane, gap.to.or(gap.from)?.boot))
        }
        Kind::Births | Kind::Clock | Kind::Displaced | Kind::LaneEnd | Kind::DeadLetter => None,
    }
}

/// Takes one record into the index: `Some(true)` for a record of a lane, `None` when
/// its body is not what its kind says.
pub(super) fn take(kind: Kind, body: Bytes, offset: u64, index: &mut Index) -> Option<bool> {
    match kind {
        Kind::Births => index.add_births(BirthsHash::of(&body).as_bytes(), Bytes::copy_from_slice(&body)),
        Kind::Clock => index.add_clock(v1::ClockOffset::decode(body).ok()?),
        Kind::Batch | Kind::Delivered => {
            let (sealed, sessions) = format::decode_batch(kind, body)?;
            let sealed = Sealed::from_wire(sealed).ok()?;
            let (last, cumulative) = index.end_of_newest(sealed.lane)?;
            index.known.add(&sessions);
            if sealed.sequence <= last {
                return Some(false);
            }
            // Only behind a hole does the payload have to be decoded to count.
            let cumulative_before = if last + 1 == sealed.sequence { cumulative } else { before(&sealed) };
            let mark = Mark { sequence: sealed.sequence, offset, first_us: sealed.first_us, cumulative_before };
            let what = What::Batch(sealed.first_us, sealed.last_us);
            index.add_record(mark, sealed.sequence, sealed.cumulative_readings, &what);
            return Some(true);
        }
        Kind::Gap => {
            let gap = Gap::from_wire(&v1::Gap::decode(body).ok()?).ok()?;
            let (last, _) = index.end_of_newest(gap.lane)?;
            if gap.first_sequence <= last {
                return Some(false);
            }
            let mark = Mark {
                sequence: gap.first_sequence,
                offset,
                first_us: gap.to.map_or(0, |moment| moment.monotonic_us),
                cumulative_before: gap.cumulative_before,
            };
            index.add_record(mark, gap.last_sequence, gap.cumulative_after, &What::Gap(gap.clone()));
            return Some(true);
        }
        Kind::Displaced => {
            index.add_displaced(Gap::from_wire(&v1::Gap::decode(body).ok()?).ok()?);
        }
        Kind::LaneEnd => {
            let end = LaneEnd::decode(body).ok()?;
            let lane = LaneId::from_bytes(&end.lane).ok()?;
            // As far as sequences go.
            i64::try_from(end.last_sequence).ok()?;
            let known = index.ends.entry(lane).or_default();
            *known = (*known).max((end.last_sequence, end.cumulative_readings));
            index.segments.back_mut()?.ends.push(lane);
        }
        Kind::DeadLetter => {
            let bytes = (FRAME_LEN + body.len()) as u64;
            DeadLetter::decode(body).ok()?;
            index.add_dead(1, bytes);
        }
    }
    Some(false)
}

/// The lane's readings before a batch, from its payload.
pub(super) fn before(sealed: &Sealed) -> u64 {
    let readings = batch::decode(&sealed.payload).map_or(0, |groups| batch::count(&groups));
    sealed.cumulative_readings.saturating_sub(readings)
}
