//! What the spool holds, in memory: segments, lanes, gaps in the place of dropped segments.
//! Rebuilt by `scan` at every start; the segments are the truth.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::record::{Gap, GapCause, Moment};
use sandan_proto::v1;

use super::delivered::Known;
use super::state::State;

/// A closed segment keeps the position of every so many records: a spool of a million needs 2 MB of them.
const MARK_EVERY: usize = 16;

/// So many gap records of a segment keep their own cause and time should the byte cap drop it;
/// further ones are told with the batches around them: a segment of gaps must not fill the next.
const OWN_GAPS_MAX: usize = 16;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) sequence: u64,
    pub(super) offset: u64,
    /// Monotonic time of its first reading, on the segment's boot.
    pub(super) first_us: i64,
    /// Readings of the lane before it.
    pub(super) cumulative_before: u64,
}

/// What a record of a lane is.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// A batch, and the monotonic time of its first and last reading.
    Batch(i64, i64),
    Gap(Gap),
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) lane: LaneId,
    pub(super) boot: BootId,
    /// What the file takes on disk.
    pub(super) file_bytes: u64,
    /// Records up to here are synced and may be read.
    pub(super) synced_bytes: u64,
    /// First and last sequence of the segment's own lane.
    pub(super) sequences: Option<(u64, u64)>,
    pub(super) cumulative_before: u64,
    pub(super) cumulative_after: u64,
    /// What takes the place of its own records should the byte cap drop it, without a hole:
    /// its gaps as they are, and gaps for the batches between them.
    pub(super) stand_ins: Vec<Gap>,
    /// Gaps of older lanes that are kept here.
    pub(super) displaced: Vec<Gap>,
    pub(super) marks: Vec<Mark>,
    pub(super) first: Option<Moment>,
    pub(super) last: Option<Moment>,
    /// Lanes whose ends it tells.
    pub(super) ends: Vec<LaneId>,
    /// Dead letters in it, and the bytes that they take.
    pub(super) dead: (u64, u64),
    /// Since when all of it is acknowledged, and it is kept for a restored store.
    pub(super) done_at: Option<Duration>,
}

/// What a reader needs to know of a segment.
#[derive(Debug)]
pub(super) struct View {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) synced_bytes: u64,
    pub(super) sequences: Option<(u64, u64)>,
    pub(super) cumulative_before: u64,
    pub(super) cumulative_after: u64,
    /// The last known position at or before the sequence, and the readings before it.
    pub(super) offset: u64,
    pub(super) cumulative_at_offset: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Lane {
    pub(super) last_sealed: u64,
    pub(super) cumulative: u64,
    pub(super) acked: u64,
    pub(super) acked_cumulative: u64,
}

/// How much waits for the ingest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Batches and gaps that are synced and not acknowledged.
    pub records: u64,
    /// Readings in them.
    pub readings: u64,
    /// What has been written to the segments that are kept; not what is preallocated.
    pub bytes: u64,
    /// Those of them that hold a record which is not acknowledged.
    pub unacked_bytes: u64,
    /// What they may take.
    pub bytes_cap: u64,
    /// When the oldest unacknowledged reading was taken, if that was in this boot; none for an older one.
    pub oldest: Option<Moment>,
    /// Records that failed their checksum since the start.
    pub damaged_records: u64,
    /// Bytes written to the spool's files since the start: what wears out a card.
    pub written_bytes: u64,
}

/// How much of one lane waits for the ingest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneDepth {
    /// The lane.
    pub lane: LaneId,
    /// It takes the records of this moment.
    pub is_current: bool,
    /// Batches and gaps that are synced and not acknowledged.
    pub records: u64,
    /// Readings in them.
    pub readings: u64,
    /// When the oldest of them was taken, or up to a few records before it.
    pub oldest: Option<Moment>,
}

/// A boot of the machine of which the spool holds segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Its id.
    pub id: BootId,
    /// The lanes that were written in it.
    pub lanes: Vec<LaneId>,
    /// Monotonic time of its last reading.
    pub last_us: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) segments: VecDeque<Segment>,
    /// In the order in which they were opened.
    pub(super) order: Vec<LaneId>,
    pub(super) lanes: HashMap<LaneId, Lane>,
    pub(super) displaced: HashMap<LaneId, BTreeMap<u64, Gap>>,
    /// Where lanes end that are no longer written, as a later segment tells it.
    pub(super) ends: HashMap<LaneId, (u64, u64)>,
    /// Messages whose readings are here, and that their senders may deliver again.
    pub(super) known: Known,
    births: HashMap<Vec<u8>, Bytes>,
    clocks: HashMap<Vec<u8>, v1::ClockOffset>,
    pub(super) state: State,
    pub(super) damaged_records: u64,
    /// Files whose segments are out, and that go when the state is saved; with their sizes.
    pub(super) doomed: Vec<(PathBuf, u64)>,
    /// Segments that were put aside, which take room too.
    pub(super) quarantined_bytes: u64,
    /// No segment, also none that was put aside or removed, has a higher number.
    pub(super) highest_number: u64,
}

impl Index {
    pub(super) fn new(state: State) -> Self {
        Self { state, ..Self::default() }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn set_session(&mut self, epoch: u64, timeline: &[u8]) {
        self.state.set_session(epoch, timeline);
    }

    pub(super) fn open_lane(&mut self, lane: LaneId) {
        if let Entry::Vacant(vacant) = self.lanes.entry(lane) {
            let acked = self.state.acked.get(&lane.to_string()).copied();
            let trimmed = || self.state.trimmed(lane).map(|trimmed| trimmed.through);
            vacant.insert(Lane { acked: acked.or_else(trimmed).unwrap_or(0), ..Lane::default() });
            self.order.push(lane);
        }
    }

    pub(super) fn add_births(&mut self, hash: &[u8], content: Bytes) {
        self.births.insert(hash.to_vec(), content);
    }

    pub(super) fn add_clock(&mut self, clock: v1::ClockOffset) {
        self.clocks.insert(clock.boot_id.clone(), clock);
    }

    pub(super) fn births(&self, hash: &[u8]) -> Option<v1::Births> {
        let content = self.births.get(hash)?.clone();
        Some(v1::Births { hash: hash.to_vec(), content })
    }

    pub(super) fn clock(&self, boot: &[u8]) -> Option<v1::ClockOffset> {
        self.clocks.get(boot).cloned()
    }

    /// Adds a record of the newest segment's own lane, in sequence order.
    pub(super) fn add_record(&mut self, mark: Mark, last_sequence: u64, cumulative: u64, what: &What) {
        let Some(segment) = self.segments.back_mut() else { return };
        if segment.sequences.is_none() {
            segment.cumulative_before = mark.cumulative_before;
            self.cut_before(mark);
        }
        let Some(segment) = self.segments.back_mut() else { return };
        let first = segment.sequences.map_or(mark.sequence, |(first, _)| first);
        segment.sequences = Some((first, last_sequence));
        segment.cumulative_after = cumulative;
        segment.marks.push(mark);
        segment.add_stand_in(mark, last_sequence, cumulative, what);
        if let What::Batch(first_us, last_us) = *what {
            segment.first.get_or_insert(Moment { boot: segment.boot, monotonic_us: first_us });
            segment.last = Some(Moment { boot: segment.boot, monotonic_us: last_us });
        }
        let id = segment.lane;
        self.open_lane(id);
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.last_sealed = lane.last_sealed.max(last_sequence);
            lane.cumulative = lane.cumulative.max(cumulative);
        }
    }

    /// Last sequence and readings of the newest segment so far; none when it is of another lane
    /// than a record that claims to be of it.
    pub(super) fn end_of_newest(&self, lane: LaneId) -> Option<(u64, u64)> {
        let newest = self.segments.back().filter(|newest| newest.lane == lane)?;
        Some(newest.sequences.map_or((0, 0), |(_, last)| (last, newest.cumulative_after)))
    }

    /// After a write that failed, the same records were written again into the newest
    /// segment: what an older one holds of them, whole or torn, does not count.
    fn cut_before(&mut self, begin: Mark) {
        let Some(lane) = self.segments.back().map(|segment| segment.lane) else { return };
        for older in self.segments.iter_mut().rev().skip(1).take_while(|segment| segment.lane == lane) {
            if older.sequences.is_some_and(|(_, last)| last >= begin.sequence) {
                older.marks.retain(|mark| mark.sequence < begin.sequence);
                older.sequences = older.sequences.and_then(|(first, _)| {
                    let last = begin.sequence - 1;
                    (first <= last).then_some((first, last))
                });
                older.cumulative_after = begin.cumulative_before;
                older.stand_ins.retain(|gap| gap.first_sequence < begin.sequence);
                if let Some(last) = older.stand_ins.last_mut() {
                    last.last_sequence = last.last_sequence.min(begin.sequence - 1);
                    last.cumulative_after = begin.cumulative_before.max(last.cumulative_before);
                }
            }
        }
    }

    /// Records of the newest segment may be read through here.
    pub(super) fn grew(&mut self, synced_bytes: u64) {
        if let Some(newest) = self.segments.back_mut() {
            newest.synced_bytes = synced_bytes;
            newest.file_bytes = newest.file_bytes.max(synced_bytes);
        }
    }

    /// A gap for a dropped segment, joined with the one that it follows directly, so
    /// that a long outage is one gap.
    pub(super) fn joined(&self, gap: Gap) -> Gap {
        let before = gap.first_sequence.checked_sub(1).and_then(|before| self.displaced_at(gap.lane, before));
        match before {
            Some(before) if before.cause == gap.cause => Gap {
                first_sequence: before.first_sequence,
                from: before.from,
                cumulative_before: before.cumulative_before.min(gap.cumulative_after),
                ..gap
            },
            _ => gap,
        }
    }

    /// Adds a gap that stands for a dropped segment and is kept in the newest one.
    pub(super) fn add_displaced(&mut self, gap: Gap) {
        if let Some(newest) = self.segments.back_mut()
            && newest.displaced.last() != Some(&gap)
        {
            newest.displaced.push(gap.clone());
        }
        self.show_displaced(gap);
    }

    pub(super) fn show_displaced(&mut self, gap: Gap) {
        if let Entry::Vacant(vacant) = self.lanes.entry(gap.lane) {
            // Its segments are all gone, so it is older than every lane that is left.
            let acked = self.state.acked.get(&gap.lane.to_string()).copied();
            let trimmed = || self.state.trimmed(gap.lane).map(|trimmed| trimmed.through);
            vacant.insert(Lane { acked: acked.or_else(trimmed).unwrap_or(0), ..Lane::default() });
            self.order.insert(0, gap.lane);
        }
        if let Some(lane) = self.lanes.get_mut(&gap.lane) {
            lane.last_sealed = lane.last_sealed.max(gap.last_sequence);
            lane.cumulative = lane.cumulative.max(gap.cumulative_after);
        }
        let covered = self
            .displaced_at(gap.lane, gap.first_sequence)
            .is_some_and(|covering| covering.last_sequence >= gap.last_sequence);
        if !covered {
            let gaps = self.displaced.entry(gap.lane).or_default();
            gaps.retain(|_, old| old.first_sequence < gap.first_sequence || old.last_sequence > gap.last_sequence);
            gaps.insert(gap.first_sequence, gap);
        }
    }

    /// The gap of a lane that stands for a sequence.
    pub(super) fn displaced_at(&self, lane: LaneId, sequence: u64) -> Option<&Gap> {
        let gaps = self.displaced.get(&lane)?;
        gaps.range(..=sequence).next_back().map(|(_, gap)| gap).filter(|gap| gap.last_sequence >= sequence)
    }

    /// The first gap of a lane that stands for what comes behind a sequence.
    pub(super) fn displaced_behind(&self, lane: LaneId, sequence: u64) -> Option<&Gap> {
        self.displaced.get(&lane)?.range(sequence + 1..).next().map(|(_, gap)| gap)
    }

    /// Why a record that no segment holds is gone.
    pub(super) fn cause_of_hole(&self, lane: LaneId, sequence: u64) -> GapCause {
        // It was acknowledged once and removed; the ingest forgot it since.
        let is_trimmed = self.state.trimmed(lane).is_some_and(|trimmed| trimmed.through >= sequence);
        if is_trimmed || !self.is_unacked(lane, sequence) { GapCause::ReplayWindow } else { GapCause::Damaged }
    }

    /// The segment that holds a sequence of a lane, or else the first behind it.
    pub(super) fn segment_from(&self, lane: LaneId, sequence: u64) -> Option<&Segment> {
        self.segments
            .iter()
            .filter(|segment| segment.lane == lane)
            .find(|segment| segment.sequences.is_some_and(|(_, last)| last >= sequence))
    }

    pub(super) fn acked(&mut self, lane: LaneId, through: u64) {
        let Some(known) = self.lanes.get(&lane) else { return };
        let through = through.min(known.last_sealed);
        let cumulative = if through == known.last_sealed {
            known.cumulative
        } else {
            self.mark_from(lane, through + 1).map_or(known.acked_cumulative, |mark| mark.cumulative_before)
        };
        if let Some(known) = self.lanes.get_mut(&lane) {
            known.acked = through;
            known.acked_cumulative = cumulative;
        }
        self.state.acked.insert(lane.to_string(), through);
    }

    fn mark_from(&self, lane: LaneId, sequence: u64) -> Option<Mark> {
        let segment = self.segment_from(lane, sequence)?;
        let at = segment.marks.partition_point(|mark| mark.sequence <= sequence);
        segment.marks.get(at.saturating_sub(1)).copied()
    }

    pub(super) fn is_done(&self, segment: &Segment) -> bool {
        segment.sequences.is_none_or(|(_, last)| !self.is_unacked(segment.lane, last))
            && segment.displaced.iter().all(|gap| !self.is_unacked(gap.lane, gap.last_sequence))
    }

    /// Whether a record still has to be told to the ingest. A lane that was forgotten
    /// was acknowledged to its end.
    pub(super) fn is_unacked(&self, lane: LaneId, sequence: u64) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.acked < sequence)
    }

    pub(super) fn lane_states(&self) -> Vec<v1::LaneState> {
        let newest = self.order.last();
        self.order
            .iter()
            .filter_map(|id| {
                let lane = self.lanes.get(id)?;
                if lane.acked >= lane.last_sealed && Some(id) != newest {
                    return None;
                }
                let first_kept = self
                    .segments
                    .iter()
                    .find(|segment| segment.lane == *id && segment.sequences.is_some())
                    .and_then(|segment| segment.sequences)
                    .map_or(lane.last_sealed + 1, |(first, _)| first);
                Some(v1::LaneState {
                    lane: id.to_vec(),
                    first_kept,
                    last_sealed: lane.last_sealed,
                    read_only: Some(id) != newest,
                })
            })
            .collect()
    }

    /// The last reading that any segment holds, or else that is remembered.
    pub(super) fn last_moment(&self) -> Option<Moment> {
        let held = self.segments.iter().rev().find_map(|segment| segment.last);
        // The cap may have dropped all of them before the next was synced.
        held.or_else(|| self.order.iter().rev().find_map(|lane| self.end_of(*lane)))
    }

    /// The last reading before a record that is gone, as far as known.
    pub(super) fn moment_before(&self, lane: LaneId, sequence: u64) -> Option<Moment> {
        let is_before =
            |segment: &&Segment| segment.lane == lane && segment.sequences.is_some_and(|(_, last)| last < sequence);
        let own = self.segments.iter().rev().filter(is_before).find_map(|segment| segment.last);
        let displaced = || self.displaced.get(&lane)?.range(..sequence).next_back()?.1.to;
        let trimmed = || self.state.trimmed(lane).filter(|trimmed| trimmed.through < sequence)?.to();
        // Lanes are written one after the other.
        let at = self.order.iter().position(|known| *known == lane).unwrap_or(0);
        let earlier = || self.order[..at].iter().rev().find_map(|lane| self.end_of(*lane));
        own.or_else(displaced).or_else(trimmed).or_else(earlier)
    }

    /// The first reading after a record that is gone, as far as known.
    pub(super) fn moment_after(&self, lane: LaneId, sequence: u64) -> Option<Moment> {
        let displaced = || self.displaced_behind(lane, sequence)?.from;
        let is_after =
            |segment: &&Segment| segment.lane == lane && segment.sequences.is_some_and(|(first, _)| first > sequence);
        let own = || self.segments.iter().filter(is_after).find_map(|segment| segment.first);
        let at = self.order.iter().position(|known| *known == lane)?;
        let begin = |lane: &LaneId| {
            let displaced = self.displaced.get(lane).and_then(|gaps| gaps.values().next()?.to);
            let held =
                || self.segments.iter().filter(|segment| segment.lane == *lane).find_map(|segment| segment.first);
            displaced.or_else(held)
        };
        displaced().or_else(own).or_else(|| self.order[at + 1..].iter().find_map(begin))
    }

    /// The last reading of a lane.
    fn end_of(&self, lane: LaneId) -> Option<Moment> {
        let held = self.segments.iter().rev().filter(|segment| segment.lane == lane).find_map(|segment| segment.last);
        let displaced = || self.displaced.get(&lane)?.values().next_back()?.to;
        held.or_else(displaced).or_else(|| self.state.trimmed(lane)?.to())
    }

    pub(super) fn file_bytes(&self) -> u64 {
        let doomed: u64 = self.doomed.iter().map(|(_, bytes)| bytes).sum();
        self.quarantined_bytes + doomed + self.segments.iter().map(|segment| segment.file_bytes).sum::<u64>()
    }

    /// When the oldest record of a lane that is not acknowledged was taken.
    fn oldest(&self, id: LaneId) -> Option<Moment> {
        let next = self.lanes.get(&id)?.acked + 1;
        let mark = self.mark_from(id, next)?;
        let boot = self.segment_from(id, next)?.boot;
        Some(Moment { boot, monotonic_us: mark.first_us })
    }

    /// Lanes with records that are not acknowledged, and the current one; oldest first.
    pub(super) fn lane_depths(&self) -> Vec<LaneDepth> {
        let current = self.order.last();
        let depth = |id: &LaneId| {
            let lane = self.lanes.get(id)?;
            let records = lane.last_sealed.saturating_sub(lane.acked);
            let is_current = Some(id) == current;
            (is_current || records > 0).then(|| LaneDepth {
                lane: *id,
                is_current,
                records,
                readings: lane.cumulative.saturating_sub(lane.acked_cumulative),
                oldest: if records > 0 { self.oldest(*id) } else { None },
            })
        };
        self.order.iter().filter_map(depth).collect()
    }

    /// The boots of the segments that are kept, oldest first.
    pub(super) fn boots(&self) -> Vec<Boot> {
        let mut boots: Vec<Boot> = Vec::new();
        for segment in &self.segments {
            if boots.last().is_none_or(|last| last.id != segment.boot) {
                boots.push(Boot { id: segment.boot, lanes: Vec::new(), last_us: None });
            }
            let Some(boot) = boots.last_mut() else { continue };
            if !boot.lanes.contains(&segment.lane) {
                boot.lanes.push(segment.lane);
            }
            boot.last_us = boot.last_us.max(segment.last.map(|moment| moment.monotonic_us));
        }
        boots
    }

    pub(super) fn depth(&self, bytes_cap: u64) -> Depth {
        let waiting = |lane: &&LaneId| self.lanes.get(*lane).is_some_and(|lane| lane.acked < lane.last_sealed);
        let oldest = self.order.iter().find(waiting).and_then(|id| self.oldest(*id));
        let held = |segment: &&Segment| segment.sequences.is_some_and(|(_, last)| self.is_unacked(segment.lane, last));
        Depth {
            records: self.lanes.values().map(|lane| lane.last_sealed.saturating_sub(lane.acked)).sum(),
            readings: self.lanes.values().map(|lane| lane.cumulative.saturating_sub(lane.acked_cumulative)).sum(),
            bytes: self.segments.iter().map(|segment| segment.synced_bytes).sum(),
            unacked_bytes: self.segments.iter().filter(held).map(|segment| segment.synced_bytes).sum(),
            bytes_cap,
            oldest,
            damaged_records: self.damaged_records,
            written_bytes: 0,
        }
    }
}

impl Segment {
    pub(super) fn new(number: u64, path: PathBuf, lane: LaneId, boot: BootId) -> Self {
        Self {
            number,
            path,
            lane,
            boot,
            file_bytes: 0,
            synced_bytes: 0,
            sequences: None,
            cumulative_before: 0,
            cumulative_after: 0,
            stand_ins: Vec::new(),
            displaced: Vec::new(),
            marks: Vec::new(),
            first: None,
            last: None,
            ends: Vec::new(),
            dead: (0, 0),
            done_at: None,
        }
    }

    fn add_stand_in(&mut self, mark: Mark, last_sequence: u64, cumulative: u64, what: &What) {
        let moment = |monotonic_us| Some(Moment { boot: self.boot, monotonic_us });
        let mut stand_in = match what {
            What::Gap(gap) => gap.clone(),
            What::Batch(first_us, last_us) => Gap {
                lane: self.lane,
                first_sequence: mark.sequence,
                last_sequence,
                cause: GapCause::SpoolFull,
                from: moment(*first_us),
                to: moment(*last_us),
                cumulative_before: mark.cumulative_before.min(cumulative),
                cumulative_after: cumulative,
            },
        };
        if self.stand_ins.len() > 2 * OWN_GAPS_MAX {
            stand_in.cause = GapCause::SpoolFull;
        }
        // No two of one cause follow each other.
        match self.stand_ins.last_mut() {
            Some(last) if last.cause == stand_in.cause => {
                (last.from, last.to) = (earlier(last.from, stand_in.from), later(last.to, stand_in.to));
                last.last_sequence = stand_in.last_sequence;
                last.cumulative_after = stand_in.cumulative_after.max(last.cumulative_before);
            }
            last => {
                // What is damaged between them is told with what stands before it.
                if let Some(last) = last {
                    last.last_sequence = stand_in.first_sequence - 1;
                    last.cumulative_after = stand_in.cumulative_before.max(last.cumulative_before);
                }
                self.stand_ins.push(stand_in);
            }
        }
    }

    /// Where a reader that wants a sequence begins.
    pub(super) fn view(&self, sequence: u64) -> View {
        let at = self.marks.partition_point(|mark| mark.sequence <= sequence);
        let mark = at.checked_sub(1).and_then(|at| self.marks.get(at));
        View {
            number: self.number,
            path: self.path.clone(),
            synced_bytes: self.synced_bytes,
            sequences: self.sequences,
            cumulative_before: self.cumulative_before,
            cumulative_after: self.cumulative_after,
            offset: mark.map_or(super::format::HEADER_LEN as u64, |mark| mark.offset),
            cumulative_at_offset: mark.map_or(self.cumulative_before, |mark| mark.cumulative_before),
        }
    }

    /// Keeps a position of every [`MARK_EVERY`]th record, once no more are added.
    pub(super) fn thin_marks(&mut self) {
        self.marks = self.marks.iter().step_by(MARK_EVERY).copied().collect();
    }
}

/// Of two moments the earlier, where they are of one boot; else what came first.
fn earlier(known: Option<Moment>, other: Option<Moment>) -> Option<Moment> {
    match (known, other) {
        (Some(known), Some(other)) if known.boot == other.boot && other.monotonic_us < known.monotonic_us => {
            Some(other)
        }
        _ => known.or(other),
    }
}

fn later(known: Option<Moment>, other: Option<Moment>) -> Option<Moment> {
    match (known, other) {
        (Some(known), Some(other)) if known.boot == other.boot && other.monotonic_us < known.monotonic_us => {
            Some(known)
        }
        _ => other.or(known),
    }
}
