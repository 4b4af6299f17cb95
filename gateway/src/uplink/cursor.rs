//! What to send next: the lanes in their order, and the births and clock offsets
//! that the ingest needs before a record.

use std::collections::HashSet;

use prost::Message;
use sandan_proto::id::LaneId;
use sandan_proto::v1::{self, gateway_frame::Frame};

use crate::spool::{Item, Reader, Spool, SpoolError};

/// A record with everything that has to go before it.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) lane: LaneId,
    pub(super) last_sequence: u64,
    /// Bytes of the record, as credits count them.
    pub(super) bytes: u64,
    /// In the order in which they are sent; the record is the last.
    pub(super) frames: Vec<Frame>,
}

/// A position in every lane of the spool.
#[derive(Debug)]
pub(super) struct Cursor {
    spool: Spool,
    readers: Vec<Reader>,
    sent_births: HashSet<Vec<u8>>,
    sent_clocks: HashSet<Vec<u8>>,
}

impl Cursor {
    /// Begins behind the ingest's watermarks; a lane that it does not name is new.
    pub(super) fn new(spool: Spool, lanes: &[v1::LaneState], watermarks: &[v1::LaneWatermark]) -> Self {
        let readers = lanes
            .iter()
            .filter_map(|state| {
                let lane = LaneId::from_bytes(&state.lane).ok()?;
                let known = watermarks.iter().find(|watermark| watermark.lane == state.lane);
                Some(spool.reader(lane, known.map_or(0, |watermark| watermark.durable_through)))
            })
            .collect();
        Self { spool, readers, sent_births: HashSet::new(), sent_clocks: HashSet::new() }
    }

    /// The next record, from the oldest lane that has one.
    pub(super) fn next_parcel(&mut self) -> Result<Option<Parcel>, SpoolError> {
        for at in 0..self.readers.len() {
            if let Some(item) = self.readers[at].next_item()? {
                let lane = self.readers[at].lane();
                return Ok(Some(self.pack(lane, item)));
            }
        }
        Ok(None)
    }

    fn pack(&mut self, lane: LaneId, item: Item) -> Parcel {
        let last_sequence = item.last_sequence();
        let mut frames = Vec::with_capacity(3);
        let bytes = match item {
            Item::Batch(sealed) => {
                if self.sent_births.insert(sealed.births_hash.clone()) {
                    frames.extend(self.spool.births(&sealed.births_hash).map(Frame::Births));
                }
                self.add_clock(&sealed.boot_id, &mut frames);
                let bytes = sealed.encoded_len();
                frames.push(Frame::Sealed(sealed));
                bytes
            }
            Item::Gap(gap) => {
                for moment in [&gap.from, &gap.to].into_iter().flatten() {
                    self.add_clock(&moment.boot_id, &mut frames);
                }
                let bytes = gap.encoded_len();
                frames.push(Frame::Gap(gap));
                bytes
            }
        };
        Parcel { lane, last_sequence, bytes: bytes as u64, frames }
    }

    fn add_clock(&mut self, boot: &[u8], frames: &mut Vec<Frame>) {
        if self.sent_clocks.insert(boot.to_vec()) {
            frames.extend(self.spool.clock(boot).map(Frame::Clock));
        }
    }

    /// The ingest does not hold these births: they go again before the next batch that
    /// names them.
    pub(super) fn need_births(&mut self, hash: &[u8]) {
        self.sent_births.remove(hash);
    }

    /// The same for the clock offset of a boot.
    pub(super) fn need_clock(&mut self, boot: &[u8]) {
        self.sent_clocks.remove(boot);
    }

    /// Goes on from behind another sequence of a lane.
    pub(super) fn seek(&mut self, lane: LaneId, after: u64) {
        for reader in self.readers.iter_mut().filter(|reader| reader.lane() == lane) {
            reader.seek(after);
        }
    }
}
