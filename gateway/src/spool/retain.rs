//! What is kept after it was acknowledged, and what is remembered of what is not: a store
//! that is restored to an earlier time asks for it again.

use std::time::Duration;

use sandan_proto::id::LaneId;
use sandan_proto::record::Gap;

use super::index::{Index, Lane, Segment};
use super::state::{State, TRIMMED_MAX};

/// Acknowledged segments are kept for this long: a store that is backed up every night and
/// restored after a weekend still finds what it lost.
const KEEP_FOR: Duration = Duration::from_hours(72);
/// One part in so many of the byte cap is for what is kept: the room is meant for outages,
/// and a restored store is the rarer need.
const KEEP_SHARE: u64 = 5;

/// What limits the segments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) now: Duration,
    pub(super) max_bytes: u64,
    /// Room that is needed beside what is there.
    pub(super) needed: u64,
}

impl Index {
    /// Takes out the acknowledged segments that are too old, too many or in the way of new
    /// ones, oldest first, and notes what they held. Their files may go once the state is
    /// saved.
    ///
    /// What stays whatever the limits: the newest segment; the newest that holds a reading,
    /// for it tells the next start when the last one was; and a segment behind one of the
    /// same lane that stays, so that what is gone of a lane is always its beginning.
    pub(super) fn take_surplus(&mut self, limits: Limits) {
        for at in 0..self.segments.len() {
            let is_done = self.is_done(&self.segments[at]);
            let segment = &mut self.segments[at];
            segment.done_at = if is_done { Some(segment.done_at.unwrap_or(limits.now)) } else { None };
        }
        let mut total = self.file_bytes();
        let kept = |segment: &&Segment| segment.done_at.is_some();
        let mut kept: u64 = self.segments.iter().filter(kept).map(|segment| segment.file_bytes).sum();
        let newest_reading = self.segments.iter().rposition(|segment| segment.last.is_some());
        let mut staying: Vec<LaneId> = Vec::new();
        let mut gone = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let is_pinned = at + 1 == self.segments.len() || Some(at) == newest_reading;
            let Some(since) = segment.done_at.filter(|_| !is_pinned && !staying.contains(&segment.lane)) else {
                if staying.last() != Some(&segment.lane) {
                    staying.push(segment.lane);
                }
                continue;
            };
            let is_surplus = segment.holds_nothing()
                || kept > limits.max_bytes / KEEP_SHARE
                || limits.now.saturating_sub(since) > KEEP_FOR
                || total + limits.needed > limits.max_bytes;
            if is_surplus {
                gone.push(segment.number);
                total -= segment.file_bytes;
                kept -= segment.file_bytes;
            } else {
                staying.push(segment.lane);
            }
        }
        if gone.is_empty() {
            return;
        }
        let (out, left): (Vec<Segment>, Vec<Segment>) =
            self.segments.drain(..).partition(|segment| gone.contains(&segment.number));
        self.segments = left.into();
        for segment in &out {
            self.note_trimmed(segment, |_| true);
        }
        self.forget_empty_lanes();
        self.doomed.extend(out.into_iter().map(|segment| (segment.path, segment.file_bytes)));
    }

    /// Takes the oldest segment out to make room, with the gaps that take its place, at once
    /// for every reader. Nothing when it is gone already.
    pub(super) fn replace_oldest(&mut self, number: u64, gaps: Vec<Gap>) {
        if self.segments.front().is_none_or(|front| front.number != number) {
            return;
        }
        let Some(segment) = self.segments.pop_front() else { return };
        let stands = |gap: &Gap, other: &Gap| {
            gap.lane == other.lane
                && gap.first_sequence <= other.first_sequence
                && gap.last_sequence >= other.last_sequence
        };
        self.note_trimmed(&segment, |other| !gaps.iter().any(|gap| stands(gap, other)));
        for gap in gaps {
            self.add_displaced(gap);
        }
        self.forget_empty_lanes();
        self.doomed.push((segment.path, segment.file_bytes));
    }

    fn note_trimmed(&mut self, segment: &Segment, is_trimmed: impl Fn(&Gap) -> bool) {
        for gap in segment.gaps().filter(|gap| is_trimmed(gap)) {
            self.state.trim(gap.lane, gap.last_sequence, gap.cumulative_after, (gap.from, gap.to));
        }
    }

    fn forget_empty_lanes(&mut self) {
        let current = self.order.last().copied();
        let segments = &self.segments;
        let lanes = &self.lanes;
        let keep = |id: &LaneId| {
            Some(*id) == current
                || segments.iter().any(|segment| segment.lane == *id)
                || lanes.get(id).is_some_and(|lane| lane.acked < lane.last_sealed)
        };
        let gone: Vec<LaneId> = self.order.iter().filter(|id| !keep(id)).copied().collect();
        for id in gone {
            self.order.retain(|lane| *lane != id);
            if let Some(lane) = self.lanes.remove(&id).filter(|lane| lane.last_sealed > 0) {
                self.state.trim(id, lane.last_sealed, lane.cumulative, (None, None));
            }
            self.displaced.remove(&id);
            self.state.acked.remove(&id.to_string());
        }
        // Of lanes that are told and gone, the oldest are forgotten first.
        let told = |lanes: &std::collections::HashMap<LaneId, Lane>, lane: Option<LaneId>| {
            lane.is_none_or(|lane| !lanes.contains_key(&lane))
        };
        let mut surplus = self
            .state
            .trimmed
            .iter()
            .filter(|trimmed| told(&self.lanes, trimmed.lane()))
            .count()
            .saturating_sub(TRIMMED_MAX);
        let lanes = &self.lanes;
        self.state.trimmed.retain(|trimmed| {
            let goes = surplus > 0 && told(lanes, trimmed.lane());
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// The state as it will be when every lane is sent again from its beginning.
    pub(super) fn rewound(&self, timeline: &[u8], epoch: u64) -> State {
        let mut state = self.state.clone();
        state.set_session(epoch, timeline);
        let displaced = self.segments.iter().flat_map(|segment| segment.displaced.iter().map(|gap| gap.lane));
        let lanes = self.order.iter().copied().chain(displaced).map(|lane| lane.to_string());
        let all: Vec<String> = lanes.chain(state.trimmed.iter().map(|trimmed| trimmed.lane.clone())).collect();
        state.acked.extend(all.into_iter().map(|lane| (lane, 0)));
        state
    }

    /// Takes that state on: every lane waits for the ingest again. Whether anything does.
    pub(super) fn rewind(&mut self, state: State) -> bool {
        // Records may have been removed between the two.
        let trimmed = std::mem::take(&mut self.state.trimmed);
        self.state = state;
        self.state.trimmed = trimmed;
        for lane in self.lanes.values_mut() {
            (lane.acked, lane.acked_cumulative) = (0, 0);
        }
        let known = |gap: &&Gap| !self.lanes.contains_key(&gap.lane);
        let displaced = self.segments.iter().flat_map(|segment| &segment.displaced);
        let again: Vec<Gap> = displaced.filter(known).cloned().collect();
        for gap in again {
            self.show_displaced(gap);
        }
        self.show_trimmed();
        for segment in &mut self.segments {
            segment.done_at = None;
        }
        self.lanes.values().any(|lane| lane.last_sealed > 0)
    }

    /// Lanes of which nothing is left but the memory, and that the ingest has not been told
    /// of since a rewind.
    pub(super) fn show_trimmed(&mut self) {
        let trimmed: Vec<_> =
            self.state.trimmed.iter().filter_map(|known| Some((known.lane()?, known.clone()))).collect();
        let mut at = 0;
        for (id, trimmed) in trimmed {
            let acked = self.state.acked.get(&trimmed.lane).copied().unwrap_or(trimmed.through);
            if !self.lanes.contains_key(&id) {
                if acked >= trimmed.through {
                    continue;
                }
                // Before all lanes that hold something.
                self.order.insert(at, id);
                at += 1;
                self.lanes.insert(id, Lane { acked, ..Lane::default() });
            }
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.last_sealed = lane.last_sealed.max(trimmed.through);
                lane.cumulative = lane.cumulative.max(trimmed.readings);
            }
        }
    }

    /// Takes lane ends into account that later segments tell of: records that are missing
    /// at the end of a lane are damaged. Returns how many lanes miss some.
    pub(super) fn apply_ends(&mut self) -> u64 {
        let mut short = 0;
        for (id, (last, cumulative)) in self.ends.clone() {
            if self.state.trimmed(id).is_some_and(|trimmed| trimmed.through >= last) {
                continue;
            }
            if !self.lanes.contains_key(&id) {
                let acked = self.state.acked.get(&id.to_string()).copied().unwrap_or(0);
                self.lanes.insert(id, Lane { acked, ..Lane::default() });
                self.order.insert(0, id);
            }
            if let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.last_sealed < last) {
                (lane.last_sealed, lane.cumulative) = (last, lane.cumulative.max(cumulative));
                short += 1;
            }
        }
        short
    }

    /// Lanes that are no longer written and of whose end no segment tells yet.
    pub(super) fn untold_ends(&self, current: LaneId, most: usize) -> Vec<(LaneId, u64, u64)> {
        let ends = self.order.iter().rev().filter(|id| **id != current).filter_map(|id| {
            let lane = self.lanes.get(id)?;
            let is_told = self.segments.iter().any(|segment| segment.ends.contains(id));
            let is_here = self.segments.iter().any(|segment| segment.lane == *id);
            (lane.last_sealed > 0 && is_here && !is_told).then_some((*id, lane.last_sealed, lane.cumulative))
        });
        ends.take(most).collect()
    }

    /// Lanes that have something to tell the ingest, and the current one.
    pub(super) fn open_lanes(&self) -> usize {
        self.lane_states().len()
    }
}

impl Segment {
    /// What takes the place of all that it holds, older gaps with it.
    pub(super) fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.displaced.iter().chain(&self.stand_ins)
    }
}
