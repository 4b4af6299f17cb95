//! Messages that could not be used, kept for whoever looks for why. They stay on this
//! machine: nothing of them is ever sent.

use bytes::Bytes;
use prost::Message;

use super::index::{Index, Segment};

/// One part in so many of the byte cap is for dead letters. Readings are what the spool is
/// for; a source that writes nonsense must not push them out.
pub(super) const SHARE: u64 = 64;
/// Longest piece of a payload that is kept: enough to see what it was meant to be.
pub const DEAD_PAYLOAD_BYTES: usize = 4 << 10;
/// Longest topic and reason that are kept.
const TEXT_BYTES: usize = 1 << 10;

/// A message that could not be used.
#[derive(Clone, PartialEq, Message)]
pub struct DeadLetter {
    /// Where it came from: protocol and place.
    #[prost(string, tag = "1")]
    pub source: String,
    /// Its topic there.
    #[prost(string, tag = "2")]
    pub topic: String,
    /// Why it could not be used: goes on from "a message on …".
    #[prost(string, tag = "3")]
    pub reason: String,
    /// What it held, cut at [`DEAD_PAYLOAD_BYTES`].
    #[prost(bytes = "bytes", tag = "4")]
    pub payload: Bytes,
    /// How much it held.
    #[prost(uint64, tag = "5")]
    pub payload_bytes: u64,
    /// When it came, monotonic microseconds of the segment's boot.
    #[prost(sint64, tag = "6")]
    pub at_us: i64,
}

impl DeadLetter {
    /// A letter within its bounds.
    pub fn new(source: &str, topic: &str, reason: &str, payload: &Bytes, at_us: i64) -> Self {
        let cut = |text: &str| text[..text.floor_char_boundary(TEXT_BYTES)].to_owned();
        Self {
            source: cut(source),
            topic: cut(topic),
            reason: cut(reason),
            // A copy: a slice would keep the whole message in memory.
            payload: Bytes::copy_from_slice(&payload[..payload.len().min(DEAD_PAYLOAD_BYTES)]),
            payload_bytes: payload.len() as u64,
            at_us,
        }
    }
}

impl Index {
    /// Bytes of all dead letters.
    pub(super) fn dead_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.dead.1).sum()
    }

    /// Dead letters were written to the newest segment.
    pub(super) fn add_dead(&mut self, letters: u64, bytes: u64) {
        if let Some(newest) = self.segments.back_mut() {
            newest.dead = (newest.dead.0 + letters, newest.dead.1 + bytes);
        }
    }
}

impl Segment {
    /// Whether there is nothing in it that anybody may want.
    pub(super) fn holds_nothing(&self) -> bool {
        self.sequences.is_none() && self.displaced.is_empty() && self.dead.0 == 0
    }
}
