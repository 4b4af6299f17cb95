//! Reads one lane in sequence order: batches, gaps, and gaps in place of what is
//! damaged. Sees only what is synced.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::record::{Gap, GapCause, Moment, Sealed};
use sandan_proto::v1;

use super::files::{Handle, read_range};
use super::format::{self, FRAME_LEN, Frame, Kind};
use super::index::{Index, View};
use super::{Spool, SpoolError, scan};

/// A record of a lane.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// As it was sealed.
    Batch(v1::Sealed),
    /// Readings that are gone.
    Gap(v1::Gap),
}

impl Item {
    /// The sequence up to which this record moves the watermark.
    pub fn last_sequence(&self) -> u64 {
        match self {
            Self::Batch(sealed) => sealed.sequence,
            Self::Gap(gap) => gap.last_sequence,
        }
    }

    fn lane(&self) -> &[u8] {
        match self {
            Self::Batch(sealed) => &sealed.lane,
            Self::Gap(gap) => &gap.lane,
        }
    }

    /// From when to when it lasts.
    fn span(&self) -> (Option<Moment>, Option<Moment>) {
        let moment = |boot: &[u8], monotonic_us| Some(Moment { boot: BootId::from_bytes(boot).ok()?, monotonic_us });
        match self {
            Self::Batch(sealed) => (moment(&sealed.boot_id, sealed.first_us), moment(&sealed.boot_id, sealed.last_us)),
            Self::Gap(wire) => Gap::from_wire(wire).map_or((None, None), |gap| (gap.from, gap.to)),
        }
    }
}

/// A position in a lane.
#[derive(Debug)]
pub struct Reader {
    spool: Spool,
    lane: LaneId,
    next: u64,
    /// Readings of the lane before `next`, where it is known.
    cumulative: u64,
    /// The last reading before `next`, where it was passed.
    moment: Option<Moment>,
    open: Option<(u64, Arc<dyn Handle>)>,
    offset: u64,
}

/// What reading one frame gave.
enum Step {
    Took(Item),
    /// A record before the one that is wanted, or of another kind.
    Passed,
    /// Nothing more that is synced in this segment.
    End,
}

impl Reader {
    pub(super) fn new(spool: Spool, lane: LaneId, after: u64) -> Self {
        Self { spool, lane, next: after + 1, cumulative: 0, moment: None, open: None, offset: 0 }
    }

    /// The lane that is read.
    pub fn lane(&self) -> LaneId {
        self.lane
    }

    /// The next record, or none when all that is synced was read.
    pub fn next_item(&mut self) -> Result<Option<Item>, SpoolError> {
        loop {
            let segment = {
                let index = self.spool.index();
                if let Some(gap) = index.displaced_at(self.lane, self.next) {
                    let gap = gap.clone();
                    drop(index);
                    return Ok(Some(self.take_gap(&gap)));
                }
                if let Some(trimmed) = index.state.trimmed(self.lane).filter(|trimmed| trimmed.through >= self.next) {
                    let hole = self.hole(&index, trimmed.through, trimmed.readings, GapCause::ReplayWindow);
                    let gap = Gap { from: trimmed.from(), to: trimmed.to(), ..hole };
                    drop(index);
                    return Ok(Some(self.take_gap(&gap)));
                }
                let segment = index.segment_from(self.lane, self.next).map(|segment| segment.view(self.next));
                if segment.is_none()
                    && let Some(lane) = index.lanes.get(&self.lane).filter(|lane| lane.last_sealed >= self.next)
                {
                    // No segment holds the end of the lane.
                    let cause = index.cause_of_hole(self.lane, self.next);
                    let hole = self.hole(&index, lane.last_sealed, lane.cumulative, cause);
                    drop(index);
                    return Ok(Some(self.take_gap(&hole)));
                }
                segment
            };
            let Some(segment) = segment else { return Ok(None) };
            if let Some((first, _)) = segment.sequences
                && first > self.next
            {
                let index = self.spool.index();
                let cause = index.cause_of_hole(self.lane, self.next);
                let hole = self.hole(&index, first - 1, segment.cumulative_before, cause);
                drop(index);
                return Ok(Some(self.take_gap(&hole)));
            }
            let read = self.read_segment(&segment);
            let is_gone = matches!(&read, Err(SpoolError::Io { source, .. }) if source.kind() == ErrorKind::NotFound);
            match read {
                Ok(Some(item)) => return Ok(Some(item)),
                Err(error) if !is_gone => return Err(error),
                // Dropped or removed between the look and the read.
                Err(_) if !self.spool.index().segments.iter().any(|known| known.number == segment.number) => {
                    self.open = None;
                }
                // Its end is damaged, or somebody took its file: what it held is a hole.
                Ok(None) | Err(_) => {
                    let last = segment.sequences.map_or(self.next, |(_, last)| last);
                    let index = self.spool.index();
                    let hole = self.hole(&index, last, segment.cumulative_after, GapCause::Damaged);
                    drop(index);
                    return Ok(Some(self.take_gap(&hole)));
                }
            }
        }
    }

    /// Goes on from behind another sequence.
    pub fn seek(&mut self, after: u64) {
        *self = Self::new(self.spool.clone(), self.lane, after);
    }

    fn take_gap(&mut self, gap: &Gap) -> Item {
        self.next = gap.last_sequence + 1;
        self.cumulative = gap.cumulative_after;
        self.moment = gap.to.or(self.moment);
        self.open = None;
        Item::Gap(gap.to_wire())
    }

    /// A gap for what no file holds from `next` on, up to a sequence or to a gap that stands
    /// before it. A gap may be among what is lost: so it lasts from the last reading before
    /// to the first one after.
    fn hole(&self, index: &Index, last_sequence: u64, cumulative_after: u64, cause: GapCause) -> Gap {
        let behind = index.displaced_behind(self.lane, self.next).filter(|gap| gap.first_sequence <= last_sequence);
        let (last_sequence, cumulative_after) =
            behind.map_or((last_sequence, cumulative_after), |gap| (gap.first_sequence - 1, gap.cumulative_before));
        Gap {
            lane: self.lane,
            first_sequence: self.next,
            last_sequence,
            cause,
            from: self.moment.or_else(|| index.moment_before(self.lane, self.next)),
            to: index.moment_after(self.lane, last_sequence),
            cumulative_before: self.cumulative.min(cumulative_after),
            cumulative_after,
        }
    }

    fn read_segment(&mut self, segment: &View) -> Result<Option<Item>, SpoolError> {
        if self.open.as_ref().is_none_or(|(number, _)| *number != segment.number) {
            let file = self.spool.shared.files.open(&segment.path).map_err(SpoolError::io("open", &segment.path))?;
            self.offset = segment.offset;
            self.cumulative = segment.cumulative_at_offset;
            self.open = Some((segment.number, file));
        }
        loop {
            match self.step(segment) {
                Step::Took(item) => return Ok(Some(item)),
                Step::Passed => {}
                Step::End => return Ok(None),
            }
        }
    }

    fn step(&mut self, segment: &View) -> Step {
        let Some((_, file)) = &self.open else { return Step::End };
        let read = |from: u64, len: u64| {
            let len = len.min(segment.synced_bytes.saturating_sub(from));
            read_range(file.as_ref(), from, usize::try_from(len).unwrap_or(0))
        };
        let head = read(self.offset, FRAME_LEN as u64);
        if head.len() < FRAME_LEN {
            return Step::End;
        }
        let body = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        let bytes = read(self.offset, FRAME_LEN as u64 + body);
        let (kind, body, len) = match format::decode_record(&bytes) {
            Frame::Record { kind, body, len } => (kind, Bytes::copy_from_slice(body), len as u64),
            Frame::End | Frame::Damaged => {
                let rest = read(self.offset, u64::MAX);
                let Some(skipped) = format::resync(&rest) else { return Step::End };
                self.offset += skipped as u64;
                return Step::Passed;
            }
        };
        let item = match kind {
            Kind::Births | Kind::Clock | Kind::Displaced | Kind::LaneEnd | Kind::DeadLetter => None,
            Kind::Batch | Kind::Delivered => format::decode_batch(kind, body).map(|(sealed, _)| Item::Batch(sealed)),
            Kind::Gap => v1::Gap::decode(body).ok().map(Item::Gap),
        };
        // One of another lane is none of this segment's.
        let Some(item) = item.filter(|item| item.lane() == self.lane.as_bytes()) else {
            self.offset += len;
            return Step::Passed;
        };
        let (first, after) = match &item {
            Item::Gap(gap) => (gap.first_sequence, gap.cumulative_after),
            Item::Batch(sealed) => (sealed.sequence, sealed.cumulative_readings),
        };
        let (begins, ends) = item.span();
        if item.last_sequence() < self.next {
            self.offset += len;
            self.cumulative = after;
            self.moment = ends.or(self.moment);
            return Step::Passed;
        }
        // Records that a later segment holds again.
        if segment.sequences.is_none_or(|(_, last)| item.last_sequence() > last) {
            return Step::End;
        }
        if first > self.next {
            // Damaged records stood here. The one in hand is read again behind their gap.
            let before = match &item {
                Item::Gap(gap) => gap.cumulative_before,
                Item::Batch(sealed) => Sealed::from_wire(sealed.clone()).map_or(after, |sealed| scan::before(&sealed)),
            };
            let hole = self.hole(&self.spool.index(), first - 1, before, GapCause::Damaged);
            let hole = Gap { to: begins.or(hole.to), ..hole };
            let (open, offset) = (self.open.take(), self.offset);
            let item = self.take_gap(&hole);
            (self.open, self.offset) = (open, offset);
            return Step::Took(item);
        }
        self.offset += len;
        let has_births = |sealed: &v1::Sealed| self.spool.index().births(&sealed.births_hash).is_some();
        if let Item::Batch(sealed) = &item
            && !has_births(sealed)
        {
            // What its series are was damaged everywhere: nobody could make sense of it.
            let hole = self.hole(&self.spool.index(), sealed.sequence, after, GapCause::Damaged);
            let gap = Gap { from: begins, to: ends, ..hole };
            self.next = gap.last_sequence + 1;
            self.cumulative = after;
            self.moment = ends;
            return Step::Took(Item::Gap(gap.to_wire()));
        }
        self.next = item.last_sequence() + 1;
        self.cumulative = after;
        self.moment = ends.or(self.moment);
        Step::Took(item)
    }
}
