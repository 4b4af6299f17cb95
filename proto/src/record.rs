//! Records of a lane: sealed batches and gaps, as they stand on the gateway's
//! disk and travel to the ingest, byte-identical however often they are sent.

use bytes::Bytes;

use crate::id::{BirthsHash, BootId, IdError, LaneId};
use crate::limits::MAX_PAYLOAD_BYTES;
use crate::v1;

pub use crate::v1::GapCause;

/// A sealed batch whose checksum was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The lane it belongs to.
    pub lane: LaneId,
    /// 1, 2, 3, … within the lane, shared with gaps.
    pub sequence: u64,
    /// What its series indices mean.
    pub births: BirthsHash,
    /// What its times mean.
    pub boot: BootId,
    /// Readings of the lane up to and including this batch.
    pub cumulative_readings: u64,
    /// Monotonic time at which the first of its readings came, µs.
    pub first_us: i64,
    /// Monotonic time at which the last of them came, µs.
    pub last_us: i64,
    /// An encoded batch, see [`crate::batch`].
    pub payload: Bytes,
}

/// A moment on the clock of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The boot.
    pub boot: BootId,
    /// Microseconds of its monotonic clock.
    pub monotonic_us: i64,
}

/// A record that stands for readings which are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The lane it belongs to.
    pub lane: LaneId,
    /// First sequence that it stands for.
    pub first_sequence: u64,
    /// Last sequence that it stands for.
    pub last_sequence: u64,
    /// Why the readings are gone.
    pub cause: GapCause,
    /// The last reading before; absent where unknown.
    pub from: Option<Moment>,
    /// The first reading after; absent where unknown.
    pub to: Option<Moment>,
    /// The lane's reading count before the gap.
    pub cumulative_before: u64,
    /// The lane's reading count after the gap.
    pub cumulative_after: u64,
}

/// Why a record was refused.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A lane, boot or hash of another length.
    #[error("record holds an id that is not one")]
    Id(#[from] IdError),
    /// The bytes were changed on the way or on the disk.
    #[error("record {sequence} has checksum {given:08x}, its content {actual:08x}")]
    Checksum {
        /// The sequence it claims.
        sequence: u64,
        /// The checksum it carries.
        given: u32,
        /// The checksum of what it carries.
        actual: u32,
    },
    /// Sequences begin at 1 and do not end.
    #[error("record has sequences {first} to {last}")]
    Sequence {
        /// First of the record.
        first: u64,
        /// Last of the record.
        last: u64,
    },
    /// A payload beyond the limit.
    #[error("record {0} has a payload of more than {MAX_PAYLOAD_BYTES} bytes")]
    TooLarge(u64),
    /// Times or counts that run backwards.
    #[error("record {0} has times or counts that run backwards")]
    Backwards(u64),
    /// A cause that this build does not know.
    #[error("gap {0} has an unknown cause")]
    Cause(u64),
}

impl Sealed {
    /// CRC-32C (Castagnoli, RFC 3720 appendix B.4) over lane, sequence, births
    /// hash, boot id, cumulative count, first and last time (integers as 8 bytes,
    /// little-endian) and payload, in this order.
    pub fn checksum(&self) -> u32 {
        let mut head = Vec::with_capacity(96);
        head.extend_from_slice(self.lane.as_bytes());
        head.extend_from_slice(&self.sequence.to_le_bytes());
        head.extend_from_slice(self.births.as_bytes());
        head.extend_from_slice(self.boot.as_bytes());
        head.extend_from_slice(&self.cumulative_readings.to_le_bytes());
        head.extend_from_slice(&self.first_us.to_le_bytes());
        head.extend_from_slice(&self.last_us.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c(&head), &self.payload)
    }

    /// As a wire message.
    pub fn to_wire(&self) -> v1::Sealed {
        v1::Sealed {
            lane: self.lane.to_vec(),
            sequence: self.sequence,
            births_hash: self.births.as_bytes().to_vec(),
            boot_id: self.boot.to_vec(),
            cumulative_readings: self.cumulative_readings,
            first_us: self.first_us,
            last_us: self.last_us,
            crc32c: self.checksum(),
            payload: self.payload.clone(),
        }
    }

    /// Checks a record from outside. The payload stays encoded.
    pub fn from_wire(wire: v1::Sealed) -> Result<Self, RecordError> {
        let sequence = wire.sequence;
        let sealed = Self {
            lane: LaneId::from_bytes(&wire.lane)?,
            sequence,
            births: BirthsHash::from_bytes(&wire.births_hash)?,
            boot: BootId::from_bytes(&wire.boot_id)?,
            cumulative_readings: wire.cumulative_readings,
            first_us: wire.first_us,
            last_us: wire.last_us,
            payload: wire.payload,
        };
        check_sequences(sequence, sequence)?;
        if sealed.payload.len() > MAX_PAYLOAD_BYTES {
            return Err(RecordError::TooLarge(sequence));
        }
        let actual = sealed.checksum();
        if actual != wire.crc32c {
            return Err(RecordError::Checksum { sequence, given: wire.crc32c, actual });
        }
        if sealed.first_us > sealed.last_us {
            return Err(RecordError::Backwards(sequence));
        }
        Ok(sealed)
    }
}

impl Moment {
    fn to_wire(self) -> v1::Moment {
        v1::Moment { boot_id: self.boot.to_vec(), monotonic_us: self.monotonic_us }
    }
    fn from_wire(wire: &v1::Moment) -> Result<Self, IdError> {
        Ok(Self { boot: BootId::from_bytes(&wire.boot_id)?, monotonic_us: wire.monotonic_us })
    }
}

impl Gap {
    /// How many readings are gone.
    pub fn readings(&self) -> u64 {
        self.cumulative_after - self.cumulative_before
    }

    /// As a wire message.
    pub fn to_wire(&self) -> v1::Gap {
        v1::Gap {
            lane: self.lane.to_vec(),
            first_sequence: self.first_sequence,
            last_sequence: self.last_sequence,
            cause: self.cause.into(),
            from: self.from.map(Moment::to_wire),
            to: self.to.map(Moment::to_wire),
            cumulative_before: self.cumulative_before,
            cumulative_after: self.cumulative_after,
        }
    }

    /// Checks a gap from outside.
    pub fn from_wire(wire: &v1::Gap) -> Result<Self, RecordError> {
        check_sequences(wire.first_sequence, wire.last_sequence)?;
        let gap = Self {
            lane: LaneId::from_bytes(&wire.lane)?,
            first_sequence: wire.first_sequence,
            last_sequence: wire.last_sequence,
            cause: wire.cause(),
            from: wire.from.as_ref().map(Moment::from_wire).transpose()?,
            to: wire.to.as_ref().map(Moment::from_wire).transpose()?,
            cumulative_before: wire.cumulative_before,
            cumulative_after: wire.cumulative_after,
        };
        if gap.cause == GapCause::Unspecified {
            return Err(RecordError::Cause(gap.first_sequence));
        }
        if gap.cumulative_after < gap.cumulative_before {
            return Err(RecordError::Backwards(gap.first_sequence));
        }
        Ok(gap)
    }
}

fn check_sequences(first: u64, last: u64) -> Result<(), RecordError> {
    // Sequences are kept in signed 64-bit columns.
    if first == 0 || last < first || i64::try_from(last).is_err() {
        return Err(RecordError::Sequence { first, last });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
