//! The spool against a model, on a disk that loses what was not synced.
//!
//! The model knows every record that a sync answered for. Whatever happens, each lane then
//! gives exactly those behind what was acknowledged: the same bytes, or a gap that stands
//! for them and for nothing else, with a cause that did happen.

use std::collections::{HashMap, HashSet};

use super::disk::{Disk, Random};
use super::*;

/// A cap of four segments, so that it is reached.
const SMALL_CAP: u64 = 4 << 20;
const STEPS: u64 = 120;
/// Runs of each kind in CI; `SANDAN_SEEDS` runs more of them, `SANDAN_SEED` a single one.
const SEEDS: u64 = 4;

#[derive(Debug, Clone)]
struct Truth {
    first: u64,
    last: u64,
    before: u64,
    after: u64,
    payload: Option<Bytes>,
    /// First and last reading, or from when to when a gap lasts.
    times: (Option<i64>, Option<i64>),
    /// A sync answered for it; else it happened to be there after a start.
    synced: bool,
}

#[derive(Debug, Default)]
struct Lane {
    records: Vec<Truth>,
    acked: u64,
    /// The most that was ever acknowledged: a rewind may find it gone.
    once_acked: u64,
}

/// What may happen in a run.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, Copy, Default)]
struct Allowed {
    cap: bool,
    refuse: bool,
    faults: bool,
    flips: bool,
}

struct Run {
    allowed: Allowed,
    disk: Disk,
    random: Random,
    writer: Option<Writer>,
    spool: Spool,
    lanes: HashMap<LaneId, Lane>,
    order: Vec<LaneId>,
    unsynced: Vec<Bytes>,
    seen: HashSet<Bytes>,
    value: i64,
    lost: u64,
    flips: u64,
    timeline: u8,
    has_rewound: bool,
    offset_us: i64,
    synced_offset_us: i64,
}

fn span_of(item: &Item) -> Truth {
    match item {
        Item::Batch(wire) => {
            let sealed = Sealed::from_wire(wire.clone()).unwrap();
            let readings = batch::count(&batch::decode(&sealed.payload).unwrap());
            Truth {
                first: sealed.sequence,
                last: sealed.sequence,
                before: sealed.cumulative_readings - readings,
                after: sealed.cumulative_readings,
                times: (Some(sealed.first_us), Some(sealed.last_us)),
                payload: Some(sealed.payload),
                synced: true,
            }
        }
        Item::Gap(gap) => Truth {
            first: gap.first_sequence,
            last: gap.last_sequence,
            before: gap.cumulative_before,
            after: gap.cumulative_after,
            times: (gap.from.as_ref().map(|at| at.monotonic_us), gap.to.as_ref().map(|at| at.monotonic_us)),
            payload: None,
            synced: true,
        },
    }
}

impl Run {
    fn new(seed: u64, allowed: Allowed) -> Self {
        let disk = Disk::new(seed);
        let (writer, spool, _) = Self::start(&disk, allowed);
        spool.save_session(1, &[1; 16]).unwrap();
        Self {
            allowed,
            disk,
            random: Random::new(seed ^ 0xABCD),
            writer: Some(writer),
            spool,
            lanes: HashMap::new(),
            order: Vec::new(),
            unsynced: Vec::new(),
            seen: HashSet::new(),
            value: 1,
            lost: 0,
            flips: 0,
            timeline: 1,
            has_rewound: false,
            offset_us: 77,
            synced_offset_us: 77,
        }
    }

    fn start(disk: &Disk, allowed: Allowed) -> (Writer, Spool, Recovery) {
        let options = Options {
            dir: PathBuf::from("spool"),
            max_bytes: if allowed.cap { SMALL_CAP } else { 1 << 30 },
            when_full: if allowed.refuse { WhenFull::RefuseNewest } else { WhenFull::DropOldest },
        };
        Spool::open_on(Arc::new(disk.clone()), None, &options, &births(), Some(&clock()), boot()).unwrap()
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    fn append(&mut self, batch: &Outgoing) {
        self.value = batch.last_us + 1;
        let lost = self.writer().append(batch);
        self.lost += lost;
        if lost == 0 {
            self.unsynced.push(batch.payload.clone());
        }
    }

    fn sync(&mut self) {
        let offset_us = self.offset_us;
        if self.writer().sync().is_ok() {
            self.synced_offset_us = offset_us;
            self.learn();
        }
    }

    /// What a successful sync answered for is the truth from then on.
    fn learn(&mut self) {
        let id = self.writer().lane();
        if !self.lanes.contains_key(&id) {
            self.order.push(id);
        }
        let lane = self.lanes.entry(id).or_default();
        let known = lane.records.last().map_or(0, |record| record.last);
        let items = drain(&mut self.spool.reader(id, known));
        let mut unsynced = std::mem::take(&mut self.unsynced).into_iter();
        for item in &items {
            let record = span_of(item);
            assert_eq!(record.first, lane.records.last().map_or(0, |record| record.last) + 1, "a number is left out");
            assert_eq!(record.before, lane.records.last().map_or(0, |record| record.after), "counts do not add up");
            if let Some(payload) = &record.payload {
                assert_eq!(Some(payload), unsynced.next().as_ref(), "what was appended comes in its order");
                assert!(self.seen.insert(payload.clone()), "a batch is there twice");
            }
            if let Item::Gap(gap) = item {
                match gap.cause() {
                    GapCause::Restart => assert_eq!((record.first, record.before), (1, record.after)),
                    GapCause::DiskFull | GapCause::SpoolFull => self.lost -= record.after - record.before,
                    cause => panic!("{cause:?} out of nothing"),
                }
            }
            lane.records.push(record);
        }
        assert_eq!(unsynced.next(), None, "a sync left something out");
        assert_eq!(self.lost, 0, "a loss was not told by the sync after it");
    }

    fn ack(&mut self) {
        let lanes = self.spool.lanes();
        let state = &lanes[self.random.index(lanes.len())];
        let id = lane_of(state);
        let Some(lane) = self.lanes.get(&id) else { return };
        let items = drain(&mut self.spool.reader(id, lane.acked));
        if items.is_empty() {
            return;
        }
        // Mostly all of it.
        let last = items.len() - 1;
        let at = if self.random.below(3) > 0 { last } else { self.random.index(items.len()) };
        let through = items[at].last_sequence();
        self.spool.acked(id, through);
        let lane = self.lanes.get_mut(&id).unwrap();
        lane.acked = through;
        lane.once_acked = lane.once_acked.max(through);
    }

    fn rewind(&mut self) {
        self.timeline += 1;
        let epoch = u64::from(self.timeline);
        if self.spool.rewind(&[self.timeline; 16], epoch).is_ok() {
            self.forget_acks();
            assert_eq!(
                (self.spool.state().epoch, self.spool.state().timeline_bytes()),
                (epoch, vec![self.timeline; 16])
            );
        }
    }

    fn forget_acks(&mut self) {
        self.has_rewound = true;
        self.lanes.values_mut().for_each(|lane| lane.acked = 0);
    }

    /// The power goes, or only the process; bits may flip while it is off.
    fn restart(&mut self, power: bool, flip: bool) {
        let current = self.writer().lane();
        let before = self.spool.state().timeline_bytes();
        self.writer = None;
        self.disk.fail(0);
        if power {
            self.disk.cut();
        }
        if flip {
            self.disk.flip();
            self.flips += 1;
        }
        let (writer, spool, _) = Self::start(&self.disk, self.allowed);
        (self.writer, self.spool, self.lost) = (Some(writer), spool, 0);
        if self.spool.state().timeline_bytes() != before {
            // A rewind whose answer never came was written all the same.
            assert_eq!(self.spool.state().timeline_bytes(), [self.timeline; 16]);
            self.forget_acks();
        }
        self.timeline = self.timeline.max(self.spool.state().timeline_bytes()[0]);
        if flip {
            self.miss_last();
        }
        self.adopt(current);
        let offset_us = self.spool.clock(&boot().to_vec()).unwrap().offset_us;
        if !flip && self.flips == 0 {
            assert!(offset_us >= self.synced_offset_us, "{offset_us} is older than what was synced");
        }
        (self.offset_us, self.synced_offset_us) = (offset_us, offset_us);
    }

    /// One bit in the very last record looks like a write that did not finish: it lies in
    /// the gap of the restart.
    fn miss_last(&mut self) {
        let Some(id) = self.order.last() else { return };
        let lane = self.lanes.get_mut(id).unwrap();
        let end = drain(&mut self.spool.reader(*id, 0)).last().map_or(0, Item::last_sequence);
        if lane.records.last().is_some_and(|last| end < last.last) {
            let lost = lane.records.pop().unwrap();
            assert!(lost.first <= end + 1, "a flipped bit costs one record");
            (lane.acked, lane.once_acked) = (lane.acked.min(end), lane.once_acked.min(end));
        }
    }

    /// What was not answered for may have reached the disk.
    fn adopt(&mut self, id: LaneId) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let lane = self.lanes.entry(id).or_default();
        let known = lane.records.last().map_or(0, |record| record.last);
        let known_after = lane.records.last().map_or(0, |record| record.after);
        let items = drain(&mut self.spool.reader(id, lane.acked));
        let mut next = known + 1;
        let mut after = known_after;
        for item in items.iter().filter(|item| item.last_sequence() > known) {
            let mut record = span_of(item);
            if let Some(payload) = &record.payload {
                assert!(unsynced.contains(payload), "a batch out of nothing");
                assert!(self.seen.insert(payload.clone()), "a batch is there twice");
            }
            (record.first, record.before, record.synced) = (next, after, false);
            (next, after) = (record.last + 1, record.after);
            lane.records.push(record);
        }
        if !lane.records.is_empty() && !self.order.contains(&id) {
            self.order.push(id);
        }
    }

    fn check(&self) {
        let lanes: Vec<LaneId> = self.spool.lanes().iter().map(lane_of).collect();
        let told: Vec<_> = lanes.iter().filter(|id| self.lanes.contains_key(id)).collect();
        let expected: Vec<_> = self.order.iter().filter(|id| told.contains(id)).collect();
        // Lanes that were gone come before those that hold something.
        if !self.has_rewound {
            assert_eq!(told, expected, "lanes come in the order in which they were opened");
        }
        let mut damaged = 0;
        for (id, lane) in &self.lanes {
            let Some(last) = lane.records.last() else { continue };
            if lane.acked < last.last {
                assert!(lanes.contains(id), "a lane with records for the ingest is not told");
            }
            let items = drain(&mut self.spool.reader(*id, lane.acked));
            assert_whole(&items, lane.acked + 1);
            assert_eq!(items.last().map_or(lane.acked, Item::last_sequence), last.last, "the end of a lane is missing");
            for (at, item) in items.iter().enumerate() {
                damaged += self.check_item(lane, item, at == 0);
            }
        }
        assert!(damaged <= self.flips, "{damaged} records for {} flipped bits", self.flips);
        if self.allowed.cap && !self.allowed.faults && self.flips == 0 {
            assert!(self.disk.bytes() <= SMALL_CAP + SEGMENT_BYTES_MIN, "{} bytes", self.disk.bytes());
        }
    }

    /// How many records that were there a gap of cause *damaged* stands for.
    fn check_item(&self, lane: &Lane, item: &Item, is_first: bool) -> u64 {
        let found = span_of(item);
        let covered: Vec<&Truth> =
            lane.records.iter().filter(|record| record.last >= found.first && record.first <= found.last).collect();
        assert_eq!(covered.last().unwrap().after, found.after, "a gap ends within a record");
        if !is_first {
            assert_eq!(covered[0].before, found.before, "a gap begins within a record");
        }
        let Item::Gap(gap) = item else {
            assert_eq!(covered[0].payload, found.payload, "other bytes than were sealed");
            return 0;
        };
        for record in &covered {
            let (from, to) = found.times;
            assert!(from.is_none_or(|from| Some(from) <= record.times.0), "{gap:?} begins after {record:?}");
            assert!(to.is_none_or(|to| Some(to) >= record.times.1), "{gap:?} ends before {record:?}");
            assert!(record.first == 1 || from.is_some(), "{gap:?} has no beginning");
        }
        let batches = covered.iter().filter(|record| record.payload.is_some()).count() as u64;
        match gap.cause() {
            _ if covered.len() == 1 && batches == 0 => 0,
            GapCause::SpoolFull => {
                let gaps = covered.iter().filter(|record| record.payload.is_none()).count() as u64;
                assert!(gaps <= self.flips || self.allowed.refuse || self.allowed.faults, "{gaps} gaps in {gap:?}");
                assert!(self.allowed.cap && !self.allowed.refuse, "{gap:?}");
                0
            }
            GapCause::ReplayWindow => {
                assert!(gap.last_sequence <= lane.once_acked, "never acknowledged: {gap:?}");
                0
            }
            GapCause::Damaged => covered.iter().filter(|record| record.synced).count() as u64,
            cause => panic!("{cause:?} instead of records"),
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..25 => {
                let readings = self.random.below(19) + 1;
                self.append(&outgoing(self.value, readings));
            }
            25..45 => self.append(&bulky(self.value)),
            45..68 => self.sync(),
            68..80 => self.ack(),
            80..84 => self.spool.request_lane(),
            84..86 => {
                self.offset_us += 1;
                self.spool.learn_clock(v1::ClockOffset { offset_us: self.offset_us, ..clock() });
            }
            86..88 => self.disk.pass(Duration::from_hours(self.random.below(60))),
            88..90 => self.rewind(),
            90..93 if self.allowed.faults => self.disk.fail(self.random.below(8) + 2),
            93..95 => self.disk.fail(0),
            95..97 if self.allowed.flips && self.flips < 3 => {
                // So that there is no last write that a flipped bit could be taken for.
                self.restart(false, true);
            }
            97 => self.restart(false, false),
            98 | 99 => self.restart(true, false),
            _ => self.check(),
        }
    }
}

fn run(seed: u64, allowed: Allowed) {
    let mut run = Run::new(seed, allowed);
    for _ in 0..STEPS {
        run.step();
    }
    run.restart(true, false);
    run.check();
    run.rewind();
    run.check();
    run.restart(true, false);
    run.check();
}

/// Every seed of CI, or that of `SANDAN_SEED`; a failure prints its own.
fn runs(allowed: Allowed) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = number("SANDAN_SEED").map_or(0..number("SANDAN_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    for seed in seeds {
        let failed = std::panic::catch_unwind(|| run(seed, allowed)).is_err();
        assert!(!failed, "run it again alone: SANDAN_SEED={seed}, {allowed:?}");
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_synced() {
    runs(Allowed::default());
}

#[test]
fn a_cap_and_a_power_cut_lose_nothing_without_a_gap() {
    runs(Allowed { cap: true, ..Allowed::default() });
}

#[test]
fn a_cap_that_refuses_the_newest_keeps_all_that_was_taken() {
    runs(Allowed { cap: true, refuse: true, ..Allowed::default() });
}

#[test]
fn a_disk_that_fails_loses_nothing_without_a_gap() {
    runs(Allowed { cap: true, faults: true, ..Allowed::default() });
}

#[test]
fn flipped_bits_cost_a_record_each_and_are_declared() {
    runs(Allowed { flips: true, ..Allowed::default() });
}
