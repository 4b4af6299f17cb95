//! Any interleaving of answers, new lanes and lost connections: each record is sent until
//! it is acknowledged, in the order of its lane, never beyond the credits, and all is
//! drained in the end.

use proptest::prelude::*;

use super::*;

/// What the ingest does with a record that it could take.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Take,
    NeedBirths,
    NeedClock,
    /// The wire changed it: it is asked for once more.
    AskAgain,
    RetryLater(u32),
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    NewLane,
    /// The gateway hands frames over.
    Send,
    /// The ingest reads frames, in a mood.
    Read(usize, Mood),
    Commit,
    /// The gateway takes answers.
    Take(usize),
    Pass(u64),
    Reconnect,
    Credits(u32, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let mood = prop_oneof![
        6 => Just(Mood::Take),
        1 => Just(Mood::NeedBirths),
        1 => Just(Mood::NeedClock),
        1 => Just(Mood::AskAgain),
        1 => (0u32..3_000).prop_map(Mood::RetryLater),
    ];
    prop_oneof![
        3 => (1usize..4).prop_map(Step::Append),
        1 => Just(Step::NewLane),
        4 => Just(Step::Send),
        4 => (1usize..6, mood).prop_map(|(frames, mood)| Step::Read(frames, mood)),
        3 => Just(Step::Commit),
        3 => (1usize..6).prop_map(Step::Take),
        2 => (1u64..40_000).prop_map(Step::Pass),
        1 => Just(Step::Reconnect),
        1 => (0u32..5, 0u64..3_000).prop_map(|(records, bytes)| Step::Credits(records, bytes)),
    ]
}

/// The ingest's side of a lane, as `sequence` keeps it.
#[derive(Debug, Default, Clone)]
struct Known {
    durable: u64,
    taken: u64,
    asked: bool,
}

enum Answer {
    Ack(BTreeMap<usize, u64>, v1::Credits),
    Expected(usize, u64),
    NeedBirths(Vec<u8>),
    NeedClock(Vec<u8>),
    RetryLater(v1::RetryLater),
}

struct World {
    model: Model,
    begin: Instant,
    millis: u64,
    traffic: Traffic<Model>,
    up: VecDeque<Frame>,
    down: VecDeque<Answer>,
    lanes: BTreeMap<usize, Known>,
    births: HashSet<Vec<u8>>,
    clocks: HashSet<Vec<u8>>,
    credits: v1::Credits,
    /// The next record of each lane of the session that is sent for the first time.
    fresh: BTreeMap<usize, u64>,
}

impl World {
    fn new() -> Self {
        let (model, begin) = (Model::default(), Instant::now());
        model.new_lane();
        let traffic = session(&model, &[], CREDITS, begin);
        let (up, down) = (VecDeque::new(), VecDeque::new());
        let (lanes, fresh) = (BTreeMap::new(), BTreeMap::new());
        let (births, clocks) = (HashSet::new(), HashSet::new());
        Self { model, begin, millis: 0, traffic, up, down, lanes, births, clocks, credits: CREDITS, fresh }
    }

    fn now(&self) -> Now {
        at(self.begin, self.millis)
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Append(records) => {
                for record in 0..records {
                    self.model.append(self.now().monotonic_us, 100 * record);
                }
            }
            Step::NewLane if self.model.0.borrow().len() < 20 => self.model.new_lane(),
            Step::NewLane => {}
            Step::Send => self.send(),
            Step::Read(frames, mood) => self.read(frames, mood),
            Step::Commit => self.commit(),
            Step::Take(answers) => self.take(answers),
            Step::Pass(millis) => self.millis += millis,
            Step::Reconnect => self.reconnect(),
            Step::Credits(records, bytes) => self.credits = v1::Credits { records, bytes },
        }
    }

    fn send(&mut self) {
        loop {
            let before = self.traffic.window.in_flight();
            self.traffic.fill(self.now()).unwrap();
            let after = self.traffic.window.in_flight();
            if after != before {
                let allowed = before.0 == 0
                    || before.0 < self.traffic.window.credits().records as usize
                        && before.1 < self.traffic.window.credits().bytes;
                assert!(allowed, "sent beyond the credits: {before:?}");
            }
            if !self.traffic.has_frames() {
                return;
            }
            while let Some(frame) = self.traffic.next_frame() {
                if let Some((lane, sequence)) = sealed(&frame) {
                    let fresh =
                        self.fresh.entry(lane).or_insert_with(|| self.lanes.get(&lane).map_or(1, |l| l.durable + 1));
                    assert!(sequence <= *fresh, "lane {lane} leaves out {fresh} and sends {sequence}");
                    *fresh = (*fresh).max(sequence + 1);
                }
                self.up.push_back(frame);
            }
        }
    }

    fn read(&mut self, frames: usize, mood: Mood) {
        for _ in 0..frames {
            match self.up.pop_front() {
                Some(Frame::Births(births)) => drop(self.births.insert(births.hash)),
                Some(Frame::Clock(clock)) => drop(self.clocks.insert(clock.boot_id)),
                Some(Frame::Sealed(sealed)) => self.judge(&sealed, mood),
                Some(other) => panic!("{other:?}"),
                None => return,
            }
        }
    }

    fn judge(&mut self, record: &v1::Sealed, mood: Mood) {
        let at = usize::from(record.lane[0]) - 1;
        let lane = self.lanes.entry(at).or_default();
        if record.sequence <= lane.durable {
            self.down.push_back(Answer::Ack([(at, lane.durable)].into(), self.credits));
            return;
        }
        if record.sequence <= lane.taken {
            return;
        }
        if record.sequence > lane.taken + 1 {
            if !std::mem::replace(&mut lane.asked, true) {
                self.down.push_back(Answer::Expected(at, lane.taken + 1));
            }
            return;
        }
        lane.asked = false;
        let mood = match mood {
            _ if !self.births.contains(&record.births_hash) => Mood::NeedBirths,
            _ if !self.clocks.contains(&record.boot_id) => Mood::NeedClock,
            mood => mood,
        };
        let expected = Answer::Expected(at, record.sequence);
        match mood {
            Mood::Take => {
                lane.taken = record.sequence;
                return;
            }
            Mood::NeedBirths => {
                self.births.remove(&record.births_hash);
                self.down.push_back(Answer::NeedBirths(record.births_hash.clone()));
                self.down.push_back(expected);
            }
            Mood::NeedClock => {
                self.clocks.remove(&record.boot_id);
                self.down.push_back(Answer::NeedClock(record.boot_id.clone()));
                self.down.push_back(expected);
            }
            Mood::AskAgain => self.down.push_back(expected),
            Mood::RetryLater(delay_ms) => self.down.push_back(Answer::RetryLater(retry(at, record.sequence, delay_ms))),
        }
        lane.asked = true;
    }

    fn commit(&mut self) {
        let mut moved = BTreeMap::new();
        for (at, lane) in &mut self.lanes {
            if lane.taken > lane.durable {
                lane.durable = lane.taken;
                moved.insert(*at, lane.durable);
            }
        }
        if !moved.is_empty() {
            self.down.push_back(Answer::Ack(moved, self.credits));
        }
    }

    fn take(&mut self, answers: usize) {
        let now = self.now().instant;
        for answer in (0..answers).map_while(|_| self.down.pop_front()).collect::<Vec<_>>() {
            match answer {
                Answer::Ack(moved, credits) => {
                    for (lane, through) in moved {
                        self.traffic.acked(lane_id(lane), through, now);
                    }
                    self.traffic.set_credits(credits);
                }
                Answer::Expected(lane, sequence) => self.traffic.expected(lane_id(lane), sequence).unwrap(),
                Answer::NeedBirths(hash) => self.traffic.need_births(&hash),
                Answer::NeedClock(boot) => self.traffic.need_clock(&boot),
                Answer::RetryLater(retry) => self.traffic.retry_later(&retry, now).unwrap(),
            }
        }
    }

    /// The connection is lost, with all that is on its way; what is taken may be stored.
    fn reconnect(&mut self) {
        self.up.clear();
        self.down.clear();
        for lane in self.lanes.values_mut() {
            *lane = Known { durable: lane.taken, taken: lane.taken, asked: false };
        }
        let watermark = |(at, lane): (&usize, &Known)| v1::LaneWatermark {
            lane: lane_id(*at).to_vec(),
            durable_through: lane.durable,
        };
        let watermarks: Vec<_> = self.lanes.iter().map(watermark).collect();
        self.traffic = session(&self.model, &watermarks, self.credits, self.now().instant);
        self.fresh.clear();
    }

    /// Everything works from here on: how many rounds until all is drained.
    fn drain(&mut self) -> usize {
        for round in 0.. {
            assert!(round < 20_000, "wedged: {:?} of {} records", self.lanes, self.model.records());
            self.send();
            self.read(100, Mood::Take);
            self.commit();
            self.take(100);
            self.traffic.fill(self.now()).unwrap();
            if self.traffic.is_drained() {
                return round;
            }
            let again = self.traffic.again_at(self.now().instant);
            let wait = again.map_or(1, |at| 1 + (at - self.now().instant).as_millis());
            self.millis += u64::try_from(wait).unwrap();
        }
        unreachable!()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn every_record_arrives_in_order_and_nothing_wedges(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
        }
        world.drain();
        let lanes = world.model.0.borrow().iter().map(|lane| lane.len() as u64).collect::<Vec<_>>();
        for (at, sealed) in lanes.into_iter().enumerate() {
            // The ingest takes a record only as the next of its lane.
            prop_assert_eq!(world.lanes.get(&at).map_or(0, |lane| lane.durable), sealed);
        }
    }
}
