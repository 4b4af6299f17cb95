//! The bytes of a segment. Pure: no file is touched here.

use bytes::Bytes;
use prost::Message;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::limits::MAX_MESSAGE_BYTES;
use sandan_proto::v1;

use super::delivered::{Delivered, Session};

/// The format that this build writes, and the newest that it reads.
pub(super) const VERSION: u16 = 1;
pub(super) const HEADER_LEN: usize = 64;
pub(super) const FRAME_LEN: usize = 16;

const SEGMENT_MAGIC: &[u8; 8] = b"SANDANSP";
const RECORD_MAGIC: &[u8; 4] = b"SNDR";

/// What a record's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Births = 1,
    Clock = 2,
    Batch = 3,
    Gap = 4,
    Displaced = 5,
    Delivered = 6,
    LaneEnd = 7,
    DeadLetter = 8,
}

impl Kind {
    fn of(code: u8) -> Option<Self> {
        let lane = [Self::Batch, Self::Gap, Self::Displaced, Self::Delivered, Self::LaneEnd];
        let beside = [Self::Births, Self::Clock, Self::DeadLetter];
        lane.into_iter().chain(beside).find(|kind| *kind as u8 == code)
    }
}

/// Where a lane ends that is no longer written.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LaneEnd {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) lane: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) last_sequence: u64,
    #[prost(uint64, tag = "3")]
    pub(super) cumulative_readings: u64,
}

/// The batch in a record of either kind that holds one, with the messages it answers for.
pub(super) fn decode_batch(kind: Kind, body: Bytes) -> Option<(v1::Sealed, Vec<Session>)> {
    if kind == Kind::Batch {
        return Some((v1::Sealed::decode(body).ok()?, Vec::new()));
    }
    let delivered = Delivered::decode(body).ok()?;
    Some((v1::Sealed::decode(delivered.sealed).ok()?, delivered.sessions))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) lane: LaneId,
    pub(super) boot: BootId,
    pub(super) number: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// Not a segment, or damaged.
    Damaged,
    /// Of a later version.
    Newer(u16),
}

pub(super) fn encode_header(header: &Header) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(SEGMENT_MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..32].copy_from_slice(header.lane.as_bytes());
    bytes[32..48].copy_from_slice(header.boot.as_bytes());
    bytes[48..56].copy_from_slice(&header.number.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

pub(super) fn decode_header(bytes: &[u8]) -> Result<Header, HeaderError> {
    let bytes = bytes.get(..HEADER_LEN).ok_or(HeaderError::Damaged)?;
    if &bytes[..8] != SEGMENT_MAGIC || crc32c::crc32c(&bytes[..60]) != u32_at(bytes, 60) {
        return Err(HeaderError::Damaged);
    }
    let version = u16::from_le_bytes([bytes[8], bytes[9]]);
    if version > VERSION {
        return Err(HeaderError::Newer(version));
    }
    let id = |range: std::ops::Range<usize>| bytes[range].to_vec();
    Ok(Header {
        lane: LaneId::from_bytes(&id(16..32)).map_err(|_| HeaderError::Damaged)?,
        boot: BootId::from_bytes(&id(32..48)).map_err(|_| HeaderError::Damaged)?,
        number: u64::from(u32_at(bytes, 48)) | u64::from(u32_at(bytes, 52)) << 32,
    })
}

/// Appends a framed record to a buffer.
///
/// A body larger than a message may be is a mistake of the caller, which bounds
/// batches and births long before.
pub(super) fn encode_record(kind: Kind, body: &[u8], into: &mut Vec<u8>) {
    debug_assert!(body.len() <= MAX_MESSAGE_BYTES);
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(RECORD_MAGIC);
    into.extend_from_slice(&len.to_le_bytes());
    into.extend_from_slice(&[kind as u8, 0, 0, 0]);
    into.extend_from_slice(&checksum(len, kind as u8, body).to_le_bytes());
    into.extend_from_slice(body);
}

fn checksum(len: u32, kind: u8, body: &[u8]) -> u32 {
    let mut head = [0; 8];
    head[..4].copy_from_slice(&len.to_le_bytes());
    head[4] = kind;
    crc32c::crc32c_append(crc32c::crc32c(&head), body)
}

/// What stands at the start of a slice of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A whole record, and how many bytes it takes with its frame.
    Record { kind: Kind, body: &'a [u8], len: usize },
    /// Zeros or nothing: no record was written here.
    End,
    /// Something else: a torn or damaged record.
    Damaged,
}

pub(super) fn decode_record(bytes: &[u8]) -> Frame<'_> {
    let head = &bytes[..bytes.len().min(FRAME_LEN)];
    if head.iter().all(|byte| *byte == 0) {
        return Frame::End;
    }
    if head.len() < FRAME_LEN || &head[..4] != RECORD_MAGIC || head[9..12] != [0; 3] {
        return Frame::Damaged;
    }
    let len = u32_at(head, 4);
    let Some(body) = bytes.get(FRAME_LEN..FRAME_LEN + len as usize).filter(|body| body.len() <= MAX_MESSAGE_BYTES)
    else {
        return Frame::Damaged;
    };
    match Kind::of(head[8]) {
        Some(kind) if checksum(len, head[8], body) == u32_at(head, 12) => {
            Frame::Record { kind, body, len: FRAME_LEN + body.len() }
        }
        _ => Frame::Damaged,
    }
}

/// How far behind a damaged frame the next whole record begins.
pub(super) fn resync(bytes: &[u8]) -> Option<usize> {
    let mut from = 1;
    while let Some(at) = bytes.get(from..)?.windows(4).position(|window| window == RECORD_MAGIC) {
        let at = from + at;
        if matches!(decode_record(&bytes[at..]), Frame::Record { .. }) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
