//! Recovery: reads every segment and rebuilds the index. Deletes nothing.

use std::path::{Path, PathBuf};

use prost::Message;
use sandan_proto::id::{BirthsHash, LaneId};
use sandan_proto::record::{Gap, Sealed};
use sandan_proto::{batch, v1};

use super::format::{self, Frame, HEADER_LEN, HeaderError, Kind};
use super::index::{Index, Mark, Segment};
use super::state::State;
use super::{Recovery, SpoolError};

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.seg"))
}

pub(super) fn scan(dir: &Path, state: State) -> Result<(Index, Recovery), SpoolError> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(SpoolError::io("list", dir))? {
        let entry = entry.map_err(SpoolError::io("list", dir))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
    }
    numbers.sort_unstable();
    let mut index = Index::new(state);
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
    let bytes = std::fs::read(&path).map_err(SpoolError::io("read", &path))?;
    let header = match format::decode_header(&bytes) {
        Ok(header) => header,
        Err(HeaderError::Newer(found)) => return Err(SpoolError::Newer { path, found, known: format::VERSION }),
        Err(HeaderError::Damaged) => {
            recovery.damaged_segments += 1;
            tracing::error!(path = %path.display(), "spool segment has no readable header; put aside as .damaged");
            let aside = path.with_extension("seg.damaged");
            std::fs::rename(&path, &aside).map_err(SpoolError::io("rename", &path))?;
            return Ok(());
        }
    };
    let mut segment = Segment::new(number, path, header.lane, header.boot);
    segment.file_bytes = bytes.len() as u64;
    index.segments.push_back(segment);
    let mut at = HEADER_LEN;
    loop {
        match format::decode_record(&bytes[at..]) {
            Frame::End => break,
            Frame::Damaged => match format::resync(&bytes[at..]) {
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
    if let Some(segment) = index.segments.back_mut() {
        segment.synced_bytes = at as u64;
        segment.thin_marks();
    }
    recovery.segments += 1;
    Ok(())
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
