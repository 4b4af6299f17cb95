//! Looks at segments without a spool around them: what is whole, what is not and where.
//! Changes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::record::{Gap, GapCause, Moment, Sealed};
use sandan_proto::v1;
use serde::Serialize;

use super::SpoolError;
use super::dead::DeadLetter;
use super::files::{Files, Real, read_whole};
use super::format::{self, Frame, HEADER_LEN, HeaderError, Kind};
use super::index::{Index, Segment};
use super::scan::{self, segment_path};
use super::state::State;

/// What a segment holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Of a later version, and not looked into.
    pub newer: Option<u16>,
    /// Lane that it belongs to, as far as anything tells.
    pub lane: Option<String>,
    /// Boot of the machine that wrote it.
    pub boot: Option<String>,
    /// Whole records of every kind.
    pub records: u64,
    /// Of them batches and gaps of the lane.
    pub lane_records: u64,
    /// First and last sequence of those.
    pub sequences: Option<(u64, u64)>,
    /// Readings from the first of them to the last, also those that gaps stand for.
    pub readings: u64,
    /// Messages that could not be used.
    pub dead_letters: u64,
    /// What is not whole, in order.
    pub damage: Vec<Damage>,
    /// Something at the end that is not whole: a write that a power cut ended, or damage.
    pub unfinished: Option<Damage>,
}

/// A piece of a segment that is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// What is wrong with it.
    pub cause: Cause,
}

/// What is wrong with a piece of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The segment's header fails its checksum.
    Header,
    /// No record that passes its checksum begins here.
    Checksum,
    /// A record whose body is not what its kind says.
    Content,
}

/// A piece of a segment.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Record { offset: usize, kind: Kind, body: &'a [u8], len: usize },
    Damaged { offset: usize, len: usize },
    Unfinished { offset: usize, len: usize },
}

/// The pieces of a segment from `at` on, up to the zeros behind the last.
pub(super) fn pieces(bytes: &[u8], mut at: usize) -> impl Iterator<Item = Piece<'_>> {
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    std::iter::from_fn(move || {
        let rest = bytes.get(at..)?;
        let offset = at;
        match format::decode_record(rest) {
            Frame::Record { kind, body, len } => {
                at += len;
                Some(Piece::Record { offset, kind, body, len })
            }
            Frame::End | Frame::Damaged if at >= written => None,
            Frame::End | Frame::Damaged => {
                if let Some(len) = format::resync(rest) {
                    at += len;
                    return Some(Piece::Damaged { offset, len });
                }
                at = bytes.len();
                Some(Piece::Unfinished { offset, len: written - offset })
            }
        }
    })
}

/// Reads any bytes as a segment. Never panics, and takes memory in proportion to them.
pub fn inspect_bytes(bytes: &[u8]) -> Inspection {
    let mut found = Inspection::default();
    let damage = |offset: usize, len: usize, cause| Damage { offset: offset as u64, bytes: len as u64, cause };
    let begin = match format::decode_header(bytes) {
        Ok(header) => {
            (found.lane, found.boot) = (Some(header.lane.to_string()), Some(header.boot.to_string()));
            HEADER_LEN
        }
        Err(HeaderError::Newer(version)) => return Inspection { newer: Some(version), ..found },
        Err(HeaderError::Damaged) => {
            let known = scan::header_of_records(bytes, 0);
            let begin = known.as_ref().map_or(bytes.len().min(HEADER_LEN), |(_, begin)| *begin);
            if bytes.iter().any(|byte| *byte != 0) {
                found.damage.push(damage(0, begin, Cause::Header));
            }
            if let Some((header, _)) = known {
                (found.lane, found.boot) = (Some(header.lane.to_string()), Some(header.boot.to_string()));
            }
            begin
        }
    };
    // An index of this one segment, as the start of a gateway makes it.
    let mut index = Index::new(State::default());
    let id = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
    let lane = id(&found.lane).parse::<LaneId>().unwrap_or_else(|_| LaneId::random());
    let boot = id(&found.boot).parse::<BootId>().unwrap_or_else(|_| BootId::random());
    index.segments.push_back(Segment::new(0, Path::new("").into(), lane, boot));
    for piece in pieces(bytes, begin) {
        match piece {
            Piece::Record { offset, kind, body, len } => {
                match scan::take(kind, Bytes::copy_from_slice(body), offset as u64, &mut index) {
                    Some(is_of_lane) => {
                        found.records += 1;
                        found.lane_records += u64::from(is_of_lane);
                    }
                    None => found.damage.push(damage(offset, len, Cause::Content)),
                }
            }
            Piece::Damaged { offset, len } => found.damage.push(damage(offset, len, Cause::Checksum)),
            Piece::Unfinished { offset, len } => found.unfinished = Some(damage(offset, len, Cause::Checksum)),
        }
    }
    if let Some(segment) = index.segments.front() {
        found.sequences = segment.sequences;
        found.dead_letters = segment.dead.0;
        found.readings = segment.cumulative_after.saturating_sub(segment.cumulative_before);
    }
    found
}

/// A spool as its files show it.
#[derive(Debug, Default, Serialize)]
pub struct Survey {
    /// Every segment, oldest first.
    pub segments: Vec<Surveyed>,
    /// Files that were put aside as damaged.
    pub aside: Vec<String>,
    /// Whether the state could be read, where there is one.
    pub state_is_whole: bool,
}

/// One segment of a spool.
#[derive(Debug, Serialize)]
pub struct Surveyed {
    /// The file's name.
    pub file: String,
    /// What it takes on disk.
    pub bytes: u64,
    /// What is in it.
    #[serde(flatten)]
    pub found: Inspection,
}

impl Survey {
    /// Whether a segment has damage in it, or the state.
    pub fn is_damaged(&self) -> bool {
        !self.state_is_whole || self.segments.iter().any(|segment| !segment.found.damage.is_empty())
    }
}

/// Looks at every segment of a spool. A gateway may be running: what it is writing shows as
/// far as it got.
pub fn survey(dir: &Path) -> Result<Survey, SpoolError> {
    let found = Real.list(dir).map_err(SpoolError::io("list", dir))?;
    let (numbers, _) = scan::numbers(&found);
    let mut survey = Survey { state_is_whole: true, ..Survey::default() };
    for number in numbers {
        let path = segment_path(dir, number);
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            // Removed by the gateway meanwhile.
            Err(SpoolError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        survey.segments.push(Surveyed { file, bytes: bytes.len() as u64, found: inspect_bytes(&bytes) });
    }
    let names = found.into_iter().map(|(name, _)| name);
    survey.aside = names.filter(|name| name.contains(".seg.damaged")).collect();
    survey.aside.sort();
    let path = dir.join("state.json");
    if path.exists() {
        survey.state_is_whole = State::parse(&read(&path)?, &path)?.is_ok();
    }
    Ok(survey)
}

/// Opened for reading only, so that whoever may read the files may look.
fn read(path: &Path) -> Result<Vec<u8>, SpoolError> {
    match std::fs::read(path) {
        // Sectors that cannot be read are skipped the longer way.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => read_whole(&Real, path),
        read => read.map_err(SpoolError::io("open", path)),
    }
}

/// A record of a spool, on its way out.
#[derive(Debug)]
pub enum Exported {
    /// The births that batches behind it name.
    Births(v1::Births),
    /// An offset of a boot to wall time.
    Clock(v1::ClockOffset),
    /// A batch.
    Batch(Sealed),
    /// Readings that are gone.
    Gap(Gap),
    /// A message that could not be used, and the boot that its time is of.
    Dead(Option<BootId>, DeadLetter),
}

/// Gives every record of a spool that no process has open, lane by lane as they were
/// written: also what is acknowledged and still kept. What is damaged is a gap.
pub fn export<E: From<SpoolError>>(dir: &Path, mut give: impl FnMut(Exported) -> Result<(), E>) -> Result<(), E> {
    let _lock = super::lock(dir)?;
    let found = Real.list(dir).map_err(SpoolError::io("list", dir))?;
    let mut ends: BTreeMap<Vec<u8>, (u64, u64, Option<Moment>)> = BTreeMap::new();
    let mut displaced: Vec<Gap> = Vec::new();
    for number in scan::numbers(&found).0 {
        let bytes = read(&segment_path(dir, number))?;
        let header = format::decode_header(&bytes).ok();
        let begin = if header.is_some() { HEADER_LEN } else { 0 };
        for piece in pieces(&bytes, begin) {
            let Piece::Record { kind, body, .. } = piece else { continue };
            let body = Bytes::copy_from_slice(body);
            let (lane, first, last, before, after, span, record) = match kind {
                Kind::Births => {
                    let hash = sandan_proto::id::BirthsHash::of(&body).as_bytes().to_vec();
                    give(Exported::Births(v1::Births { hash, content: body }))?;
                    continue;
                }
                Kind::Clock => {
                    if let Ok(clock) = v1::ClockOffset::decode(body) {
                        give(Exported::Clock(clock))?;
                    }
                    continue;
                }
                Kind::Displaced => {
                    let gap = v1::Gap::decode(body).ok().and_then(|gap| Gap::from_wire(&gap).ok());
                    displaced.extend(gap);
                    continue;
                }
                Kind::LaneEnd => continue,
                Kind::DeadLetter => {
                    if let Ok(letter) = DeadLetter::decode(body) {
                        give(Exported::Dead(header.as_ref().map(|header| header.boot), letter))?;
                    }
                    continue;
                }
                Kind::Batch | Kind::Delivered => {
                    let sealed = format::decode_batch(kind, body).and_then(|(wire, _)| Sealed::from_wire(wire).ok());
                    let Some(sealed) = sealed else { continue };
                    let (sequence, after) = (sealed.sequence, sealed.cumulative_readings);
                    let moment = |monotonic_us| Some(Moment { boot: sealed.boot, monotonic_us });
                    let span = (moment(sealed.first_us), moment(sealed.last_us));
                    (sealed.lane, sequence, sequence, scan::before(&sealed), after, span, Exported::Batch(sealed))
                }
                Kind::Gap => {
                    let Some(gap) = v1::Gap::decode(body).ok().and_then(|gap| Gap::from_wire(&gap).ok()) else {
                        continue;
                    };
                    let (before, after) = (gap.cumulative_before, gap.cumulative_after);
                    let span = (gap.from, gap.to);
                    (gap.lane, gap.first_sequence, gap.last_sequence, before, after, span, Exported::Gap(gap))
                }
            };
            let end = ends.get(&lane.to_vec()).copied();
            if end.is_some_and(|(end, ..)| last <= end) {
                continue;
            }
            if let Some((end, cumulative, from)) = end.filter(|(end, ..)| first > end + 1) {
                give(Exported::Gap(hole(lane, (end + 1, first - 1), (cumulative, before), (from, span.0))))?;
            }
            ends.insert(lane.to_vec(), (last, after, span.1));
            give(record)?;
        }
    }
    // A longer one stands for those that it begins with.
    for (at, gap) in displaced.iter().enumerate() {
        let covers = |other: &Gap| {
            other.lane == gap.lane
                && other.first_sequence <= gap.first_sequence
                && other.last_sequence >= gap.last_sequence
        };
        if !displaced[at + 1..].iter().any(covers) {
            give(Exported::Gap(gap.clone()))?;
        }
    }
    Ok(())
}

pub(super) fn hole(
    lane: LaneId,
    sequences: (u64, u64),
    cumulative: (u64, u64),
    (from, to): (Option<Moment>, Option<Moment>),
) -> Gap {
    Gap {
        lane,
        first_sequence: sequences.0,
        last_sequence: sequences.1,
        cause: GapCause::Damaged,
        from,
        to,
        cumulative_before: cumulative.0.min(cumulative.1),
        cumulative_after: cumulative.1,
    }
}
