//! What could be sent next: the next record of the current lane, and the next one of the
//! lanes before it. With the births and clock offsets that the ingest needs before a record.

use std::collections::{HashMap, HashSet};

use prost::Message;
use sandan_proto::id::LaneId;
use sandan_proto::v1::{self, gateway_frame::Frame};

use crate::spool::{Item, Reader, Spool, SpoolError};

/// What the cursor reads from: the spool, or a model of it.
pub(super) trait Store {
    /// A position in a lane.
    type Reader: Read;
    /// Lanes with records, and the current one as the last; only that one is not read-only.
    fn lanes(&self) -> Vec<v1::LaneState>;
    fn reader(&self, lane: LaneId, after: u64) -> Self::Reader;
    fn births(&self, hash: &[u8]) -> Option<v1::Births>;
    fn clock(&self, boot: &[u8]) -> Option<v1::ClockOffset>;
}

/// Reads a lane in its order.
pub(super) trait Read {
    fn next_item(&mut self) -> Result<Option<Item>, SpoolError>;
    /// Goes on from behind another sequence.
    fn seek(&mut self, after: u64);
}

impl Store for Spool {
    type Reader = Reader;
    fn lanes(&self) -> Vec<v1::LaneState> {
        Self::lanes(self)
    }
    fn reader(&self, lane: LaneId, after: u64) -> Reader {
        Self::reader(self, lane, after)
    }
    fn births(&self, hash: &[u8]) -> Option<v1::Births> {
        Self::births(self, hash)
    }
    fn clock(&self, boot: &[u8]) -> Option<v1::ClockOffset> {
        Self::clock(self, boot)
    }
}

impl Read for Reader {
    fn next_item(&mut self) -> Result<Option<Item>, SpoolError> {
        Self::next_item(self)
    }
    fn seek(&mut self, after: u64) {
        Self::seek(self, after);
    }
}

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
pub(super) struct Cursor<S: Store> {
    store: S,
    /// Oldest first; the current lane is the last.
    lanes: Vec<Position<S::Reader>>,
    sent_births: HashSet<Vec<u8>>,
    sent_clocks: HashMap<Vec<u8>, v1::ClockOffset>,
}

struct Position<R> {
    lane: LaneId,
    reader: R,
    /// Read and not sent yet.
    head: Option<Item>,
}

impl<R: Read> Position<R> {
    fn peek(&mut self) -> Result<Option<&Item>, SpoolError> {
        if self.head.is_none() {
            self.head = self.reader.next_item()?;
        }
        Ok(self.head.as_ref())
    }
}

impl<S: Store> Cursor<S> {
    /// Begins behind the ingest's watermarks; a lane that it does not name is new.
    pub(super) fn new(store: S, lanes: &[v1::LaneState], watermarks: &[v1::LaneWatermark]) -> Self {
        let lanes = lanes
            .iter()
            .filter_map(|state| {
                let lane = LaneId::from_bytes(&state.lane).ok()?;
                let known = watermarks.iter().find(|watermark| watermark.lane == state.lane);
                let reader = store.reader(lane, known.map_or(0, |watermark| watermark.durable_through));
                Some(Position { lane, reader, head: None })
            })
            .collect();
        Self { store, lanes, sent_births: HashSet::new(), sent_clocks: HashMap::new() }
    }

    /// Takes up the lanes that live data has moved to since.
    pub(super) fn refresh(&mut self) {
        let ids = self.store.lanes().into_iter().rev().filter_map(|state| LaneId::from_bytes(&state.lane).ok());
        let new: Vec<LaneId> = ids.take_while(|lane| !self.has(lane.as_bytes())).collect();
        for lane in new.into_iter().rev() {
            self.lanes.push(Position { lane, reader: self.store.reader(lane, 0), head: None });
        }
    }

    /// Whether a lane is read.
    pub(super) fn has(&self, lane: &[u8]) -> bool {
        self.lanes.iter().any(|known| known.lane.as_bytes() == lane)
    }

    /// Whether live data goes into this lane.
    pub(super) fn is_current(&self, lane: LaneId) -> bool {
        self.lanes.last().is_some_and(|current| current.lane == lane)
    }

    /// The next record of the current lane.
    pub(super) fn peek_current(&mut self) -> Result<Option<&Item>, SpoolError> {
        self.lanes.last_mut().map_or(Ok(None), Position::peek)
    }

    /// Takes the next record of the current lane.
    pub(super) fn take_current(&mut self) -> Result<Option<Parcel>, SpoolError> {
        self.peek_current()?;
        let taken = self.lanes.last_mut().and_then(|current| Some((current.lane, current.head.take()?)));
        Ok(taken.map(|(lane, item)| self.pack(lane, item)))
    }

    /// Takes the next record of the oldest lane before the current one that has any.
    pub(super) fn take_older(&mut self) -> Result<Option<Parcel>, SpoolError> {
        let older = self.lanes.len().saturating_sub(1);
        for at in 0..older {
            let position = &mut self.lanes[at];
            position.peek()?;
            if let Some(item) = position.head.take() {
                let lane = position.lane;
                return Ok(Some(self.pack(lane, item)));
            }
        }
        Ok(None)
    }

    /// Whether every lane was read to its end.
    pub(super) fn is_at_end(&mut self) -> Result<bool, SpoolError> {
        for position in &mut self.lanes {
            if position.peek()?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn pack(&mut self, lane: LaneId, item: Item) -> Parcel {
        let last_sequence = item.last_sequence();
        let mut frames = Vec::with_capacity(3);
        let bytes = match item {
            Item::Batch(sealed) => {
                if self.sent_births.insert(sealed.births_hash.clone()) {
                    frames.extend(self.store.births(&sealed.births_hash).map(Frame::Births));
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

    /// The offset of a boot goes before its first record, and again when another was learnt.
    fn add_clock(&mut self, boot: &[u8], frames: &mut Vec<Frame>) {
        if let Some(clock) = self.store.clock(boot)
            && self.sent_clocks.get(boot) != Some(&clock)
        {
            self.sent_clocks.insert(boot.to_vec(), clock.clone());
            frames.push(Frame::Clock(clock));
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
        for position in self.lanes.iter_mut().filter(|position| position.lane == lane) {
            position.head = None;
            position.reader.seek(after);
        }
    }
}
