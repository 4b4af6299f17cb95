//! Rebuilds damaged segments: what is whole goes into a clean one, byte by byte, and a gap
//! stands for the rest. The original stays beside it as `….damaged`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use sandan_proto::id::LaneId;
use sandan_proto::record::{Gap, Moment, Sealed};
use sandan_proto::v1;
use serde::Serialize;

use super::SpoolError;
use super::files::{Files, Handle, Real, read_whole};
use super::format::{self, HEADER_LEN, Kind};
use super::index::{Index, Segment};
use super::inspect::{Piece, hole, inspect_bytes, pieces};
use super::scan::{self, segment_path};
use super::state::State;

/// What was done with a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// The segment's name.
    pub file: String,
    /// What the original is called now.
    pub original: String,
    /// Records that were carried over; none where nothing could be read.
    pub records: u64,
    /// Records and readings that a gap now stands for in it.
    pub lost_records: u64,
    /// See `lost_records`.
    pub lost_readings: u64,
}

/// Repairs every segment that has damage in it. No process may have the spool open.
pub fn repair(dir: &Path) -> Result<Vec<Repaired>, SpoolError> {
    let _lock = super::lock(dir)?;
    let found = Real.list(dir).map_err(SpoolError::io("list", dir))?;
    let mut done = Vec::new();
    for number in scan::numbers(&found).0 {
        let path = segment_path(dir, number);
        let bytes = read_whole(&Real, &path)?;
        let state = inspect_bytes(&bytes);
        if let Some(found) = state.newer {
            return Err(SpoolError::Newer { path, found, known: format::VERSION });
        }
        if !state.damage.is_empty() {
            done.push(rebuild(dir, &path, number, &bytes)?);
        }
    }
    Ok(done)
}

fn rebuild(dir: &Path, path: &Path, number: u64, bytes: &[u8]) -> Result<Repaired, SpoolError> {
    let original = aside(path);
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut done =
        Repaired { file: name(path), original: name(&original), records: 0, lost_records: 0, lost_readings: 0 };
    let header = match format::decode_header(bytes) {
        Ok(header) => Some((header, HEADER_LEN)),
        Err(_) => scan::header_of_records(bytes, number),
    };
    let Some((header, begin)) = header else {
        // Nothing in it can be read.
        std::fs::rename(path, &original).map_err(SpoolError::io("rename", path))?;
        sync_dir(dir)?;
        return Ok(done);
    };
    let mut clean = format::encode_header(&header).to_vec();
    // Tells what the start of a gateway would make of a record.
    let mut scratch = Index::new(State::default());
    scratch.segments.push_back(Segment::new(number, path.into(), header.lane, header.boot));
    // End of the lane so far, where this segment holds any of it.
    let mut end: Option<Position> = None;
    for piece in pieces(bytes, begin) {
        let Piece::Record { offset, kind, body, len } = piece else { continue };
        if let Some(at) = position(kind, body, header.lane) {
            if let Some(end) = end.filter(|end| at.first > end.last + 1) {
                let (sequences, cumulative) = ((end.last + 1, at.first - 1), (end.after, at.before));
                let gap = hole(header.lane, sequences, cumulative, (end.to, at.from));
                format::encode_record(Kind::Gap, &gap.to_wire().encode_to_vec(), &mut clean);
                done.lost_records += sequences.1 - end.last;
                done.lost_readings += gap.readings();
            }
            end = Some(at);
        } else if scan::take(kind, Bytes::copy_from_slice(body), 0, &mut scratch).is_none() {
            // Its frame is whole and its body is not: where it was of the lane, a gap stands
            // for it.
            continue;
        }
        clean.extend_from_slice(&bytes[offset..offset + len]);
        done.records += 1;
    }
    let temporary = path.with_extension("seg.new");
    let _ = std::fs::remove_file(&temporary);
    let file = Real.create(&temporary).map_err(SpoolError::io("create", &temporary))?;
    write(file.as_ref(), &clean).map_err(SpoolError::io("write", &temporary))?;
    // The original has both names for a moment, so that a power cut leaves one of them. A
    // file system without links gets a copy.
    if std::fs::hard_link(path, &original).is_err() {
        std::fs::copy(path, &original)
            .and_then(|_| std::fs::File::open(&original)?.sync_all())
            .map_err(SpoolError::io("copy", path))?;
    }
    sync_dir(dir)?;
    std::fs::rename(&temporary, path).map_err(SpoolError::io("rename", &temporary))?;
    sync_dir(dir)?;
    Ok(done)
}

/// A name beside the segment that nobody has taken: a repaired one may be damaged again.
fn aside(path: &Path) -> PathBuf {
    let plain = path.with_extension("seg.damaged");
    let numbered = (2..).map(|count| path.with_extension(format!("seg.damaged.{count}")));
    std::iter::once(plain).chain(numbered).find(|path| !path.exists()).unwrap_or_default()
}

fn write(file: &dyn Handle, bytes: &[u8]) -> std::io::Result<()> {
    file.write_at(bytes, 0)?;
    file.sync_all()
}

fn sync_dir(dir: &Path) -> Result<(), SpoolError> {
    Real.sync_dir(dir).map_err(SpoolError::io("sync", dir))
}

#[derive(Debug, Clone, Copy)]
struct Position {
    first: u64,
    last: u64,
    before: u64,
    after: u64,
    from: Option<Moment>,
    to: Option<Moment>,
}

fn position(kind: Kind, body: &[u8], lane: LaneId) -> Option<Position> {
    let body = Bytes::copy_from_slice(body);
    match kind {
        Kind::Batch | Kind::Delivered => {
            let sealed = Sealed::from_wire(format::decode_batch(kind, body)?.0).ok()?;
            let (sequence, after) = (sealed.sequence, sealed.cumulative_readings);
            let moment = |monotonic_us| Some(Moment { boot: sealed.boot, monotonic_us });
            let (from, to) = (moment(sealed.first_us), moment(sealed.last_us));
            let at = Position { first: sequence, last: sequence, before: scan::before(&sealed), after, from, to };
            (sealed.lane == lane).then_some(at)
        }
        Kind::Gap => {
            let gap = Gap::from_wire(&v1::Gap::decode(body).ok()?).ok()?;
            let (before, after) = (gap.cumulative_before, gap.cumulative_after);
            let (first, last) = (gap.first_sequence, gap.last_sequence);
            let at = Position { first, last, before, after, from: gap.from, to: gap.to };
            (gap.lane == lane).then_some(at)
        }
        Kind::Births | Kind::Clock | Kind::Displaced | Kind::LaneEnd | Kind::DeadLetter => None,
    }
}
