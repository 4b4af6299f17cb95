//! The engines against each other: the same random operations, and every answer the same.
//!
//! The model knows what was delivered and little else. What it knows nothing of (gaps, dead
//! letters and their retries, checksums, estimated clocks, every function on every grid, pages
//! while data arrives) has to come out alike wherever it is stored. Each engine goes through the
//! same script by itself and writes down what it was told; the transcripts are then compared.

use proptest::prelude::*;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::reading::{Quality, Value};
use sandan_proto::v1::DeadLetterReason;

use super::{Engine, SECOND, TestClock};
use crate::consent::{Form, Function, Grid, Permit};
use crate::fixture::{BOOTED_US, CLOCK, Plant, Reading};
use crate::session::admission;
use crate::store::postgres::readings::tests::conformance::{plain::Plain, timescale::Timescaled};
use crate::store::sqlite::tests::conformance::Sqlite;
use crate::store::{Choice, Chunk, Clock, Content, Delivery, GapMark, ReadCursor, Readings, Rows};

/// One thing that happens to a store. `usize` is one of the plants, or one of what came before.
#[derive(Debug, Clone)]
enum Step {
    /// The next record: for each reading its series, second, number and quality code. A series
    /// that was never declared, and a time that is ahead, go to the dead letters.
    Deliver(usize, Vec<(u32, i64, i32, u32)>),
    /// A record that was delivered comes again, however old it is.
    Again(usize, usize),
    /// Another record comes under a number that is taken.
    Fork(usize, usize),
    /// A record comes while the one before it is missing.
    Ahead(usize),
    /// Readings are declared gone: from a second on, for so many, so many.
    Lose(usize, i64, i64, u64),
    /// A whole record is put aside, for want of a clock that comes later or not.
    PutAside(usize, i64, bool),
    /// The gateway starts anew: a lane and a boot of its own, whose clock may be estimated.
    Boot(usize, bool),
    /// The gateway's connection is lost and comes back.
    Connect(usize),
    /// A dead record is decided on again, or discarded.
    Retry(usize),
    Discard(usize),
    /// Time passes.
    Wait(i64),
    Rearrange,
    CrashRearranging,
    Reopen,
    /// A question, from beginning to end.
    Ask(Question),
    /// The first page of an answer, whose other pages are asked for at the end.
    Open(Question),
}

/// What is read.
#[derive(Debug, Clone)]
struct Question {
    plant: usize,
    /// Bits: which of the series.
    series: u8,
    /// Seconds of the boot, and how many.
    from: i64,
    length: i64,
    /// Raw; a width in seconds; days of Seoul.
    grid: Asked,
    limit: usize,
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    Raw,
    Every(i64),
    Days,
}

/// What a store goes through.
type Script = Vec<(Step, u8)>;

const PLANTS: [(&str, &str); 3] =
    [("hanbit/press-hall", "press-1"), ("hanbit/annex", "press-2"), ("hanbit/second", "press-1")];

fn any_question() -> impl Strategy<Value = Question> {
    let grid = prop_oneof![
        2 => Just(Asked::Raw),
        2 => prop_oneof![Just(1), Just(7), Just(60), Just(3_600)].prop_map(Asked::Every),
        1 => Just(Asked::Days),
    ];
    let from = prop_oneof![3 => -20i64..60, 1 => 0i64..3_000];
    let length = prop_oneof![2 => 1i64..60, 1 => 60i64..4_000];
    (0..PLANTS.len(), 1u8..64, from, length, grid, 1usize..40)
        .prop_map(|(plant, series, from, length, grid, limit)| Question { plant, series, from, length, grid, limit })
}

fn any_step() -> impl Strategy<Value = Step> {
    let plant = 0..PLANTS.len();
    // Mostly near each other, so that times meet; some of another hour, few ahead of all clocks.
    let second = prop_oneof![8 => 0i64..50, 3 => 0i64..3_000, 1 => 90_000i64..90_050];
    let quality = prop_oneof![5 => Just(0u32), 1 => Just(65), 1 => Just(130)];
    let series = prop_oneof![12 => 0u32..6, 1 => Just(9)];
    let reading = (series, second, any::<i32>(), quality);
    prop_oneof![
        12 => (plant.clone(), prop::collection::vec(reading, 1..14)).prop_map(|(at, it)| Step::Deliver(at, it)),
        2 => (plant.clone(), 0usize..8).prop_map(|(at, which)| Step::Again(at, which)),
        1 => (plant.clone(), 0usize..8).prop_map(|(at, which)| Step::Fork(at, which)),
        1 => plant.clone().prop_map(Step::Ahead),
        2 => (plant.clone(), 0i64..3_000, 0i64..400, 0u64..50).prop_map(|(at, from, length, gone)| Step::Lose(at, from, length, gone)),
        1 => (plant.clone(), 0i64..50, any::<bool>()).prop_map(|(at, second, comes)| Step::PutAside(at, second, comes)),
        1 => (plant.clone(), any::<bool>()).prop_map(|(at, estimated)| Step::Boot(at, estimated)),
        1 => plant.prop_map(Step::Connect),
        2 => (0usize..4).prop_map(Step::Retry),
        1 => (0usize..4).prop_map(Step::Discard),
        1 => (1i64..90_000).prop_map(Step::Wait),
        2 => Just(Step::Rearrange),
        1 => Just(Step::CrashRearranging),
        1 => Just(Step::Reopen),
        3 => any_question().prop_map(Step::Ask),
        2 => any_question().prop_map(Step::Open),
    ]
}

fn any_script() -> impl Strategy<Value = Script> {
    prop::collection::vec((any_step(), any::<u8>()), 10..40)
}

/// A plant of the script, the same in every engine: ids come from its number.
struct Sender {
    plant: Plant,
    number: u8,
    boots: u8,
    clock: Clock,
    sent: Vec<Delivery>,
}

impl Sender {
    fn new(number: u8) -> Self {
        let (gateway, asset) = PLANTS[usize::from(number)];
        let mut sender = Self { plant: Plant::new(gateway, asset), number, boots: 0, clock: CLOCK, sent: Vec::new() };
        sender.boot(CLOCK);
        sender
    }

    fn boot(&mut self, clock: Clock) {
        self.boots += 1;
        let id = |of: u8| [[of, self.number, self.boots].as_slice(), &[7; 13]].concat();
        self.plant.lane = LaneId::from_bytes(&id(1)).unwrap();
        self.plant.boot = BootId::from_bytes(&id(2)).unwrap();
        (self.plant.sequence, self.plant.cumulative, self.clock) = (0, 0, clock);
    }

    async fn connect(&mut self, store: &dyn Readings) {
        self.plant.connect(store).await;
        // A later word of the same boot stands until a record came under it.
        self.clock = store.set_clock(&self.plant.gateway, self.plant.boot, self.clock).await.unwrap();
    }

    fn delivery(&self, sequence: u64, cumulative: u64, content: Content) -> Delivery {
        Delivery {
            gateway: self.plant.gateway.clone(),
            epoch: self.plant.epoch,
            lane: self.plant.lane,
            first: sequence,
            last: sequence,
            cumulative: Some(cumulative),
            content,
        }
    }

    async fn next(&mut self, store: &dyn Readings, now_us: i64, readings: &[Reading]) -> Delivery {
        let registered = store.registered(&self.plant.gateway, self.plant.births.hash()).await.unwrap().unwrap();
        let sealed = self.plant.seal(readings);
        let bounds = admission::Bounds::at(now_us, 86_400 * SECOND);
        let (sequence, cumulative) = (sealed.sequence, sealed.cumulative_readings);
        let content = admission::admit(sealed, &registered, self.clock, bounds);
        self.delivery(sequence, cumulative, content)
    }
}

fn readings(of: Vec<(u32, i64, i32, u32)>) -> Vec<Reading> {
    let value = |series: u32, number: i32| match series {
        1 => Value::I64(i64::from(number) << 20),
        2 => Value::Bool(number % 2 == 0),
        3 => Value::Text(format!("상태 {}", number % 5)),
        _ if number % 11 == 0 => Value::F64(f64::NAN),
        _ => Value::F64(f64::from(number) / 10.0),
    };
    let mut readings: Vec<Reading> = of
        .into_iter()
        .map(|(series, second, number, code)| {
            (series, second * SECOND, value(series, number), Quality::from_code(code).unwrap())
        })
        .collect();
    readings.sort_by_key(|reading| reading.1);
    readings
}

impl Question {
    fn permit(&self, senders: &[Sender]) -> Permit {
        let keys = senders[self.plant].plant.keys();
        let keys = keys.into_iter().enumerate().filter(|(at, _)| self.series >> at & 1 == 1).map(|(_, key)| key);
        let form = match self.grid {
            Asked::Raw => Form::Raw,
            Asked::Every(seconds) => Form::buckets(seconds * SECOND),
            Asked::Days => Form::Bucketed { grid: Grid::Days { zone: jiff::tz::TimeZone::get("Asia/Seoul").unwrap() } },
        };
        let mut from_us = BOOTED_US + self.from * SECOND;
        let mut to_us = from_us + self.length * SECOND;
        if let Form::Bucketed { grid } = &form {
            // Consent gives whole buckets only.
            (from_us, to_us) = (grid.bucket(from_us).0, grid.bucket(to_us - 1).1);
        }
        Permit::for_test(keys.collect(), form, from_us, to_us).asking(Function::ALL)
    }
}

impl Question {
    async fn ask(&self, store: &dyn Readings, senders: &[Sender]) -> String {
        let (permit, mut answer) = (self.permit(senders), Answer::default());
        let next = answer.add(store.read(&permit, None, self.limit).await.unwrap(), self.limit);
        answer.rest(store, &permit, self.limit, next).await;
        answer.shown()
    }
}

/// An answer of some pages. Where a page ends is an engine's own affair.
#[derive(Default)]
struct Answer {
    rows: Vec<String>,
    gaps: Vec<GapMark>,
    as_of: Vec<i64>,
}

impl Answer {
    fn add(&mut self, chunk: Chunk, limit: usize) -> Option<ReadCursor> {
        match chunk.rows {
            Rows::Raw(rows) => {
                assert!(rows.len() <= limit, "{} rows of {limit}", rows.len());
                self.rows.extend(rows.iter().map(|row| format!("{row:?}")));
            }
            Rows::Buckets(rows) => {
                assert!(rows.len() <= limit, "{} rows of {limit}", rows.len());
                self.rows.extend(rows.iter().map(|row| format!("{row:?}")));
            }
        }
        self.gaps.extend(chunk.gaps);
        self.as_of.push(chunk.as_of);
        chunk.next
    }

    /// The same however it was cut into pages: marks that meet are one.
    fn shown(mut self) -> String {
        self.gaps.sort_by_key(|it| (it.series, i32::from(it.cause), it.uncertain, it.from_us, it.to_us));
        let mut marks: Vec<GapMark> = Vec::new();
        for mark in self.gaps {
            let same = |it: &GapMark| (it.series, it.cause, it.uncertain) == (mark.series, mark.cause, mark.uncertain);
            match marks.last_mut() {
                Some(last) if same(last) && mark.from_us <= last.to_us => last.to_us = last.to_us.max(mark.to_us),
                _ => marks.push(mark),
            }
        }
        self.as_of.dedup();
        format!("as of {:?}\n{}\n{marks:?}", self.as_of, self.rows.join("\n"))
    }

    async fn rest(&mut self, store: &dyn Readings, permit: &Permit, limit: usize, mut next: Option<ReadCursor>) {
        while let Some(cursor) = next {
            next = self.add(store.read(permit, Some(cursor), limit).await.unwrap(), limit);
        }
    }
}

/// Takes an engine through a script; gives what it answered, step by step.
fn transcript<E: Engine>(script: &Script) -> Vec<String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(play::<E>(script.clone()))
}

async fn play<E: Engine>(script: Script) -> Vec<String> {
    let clock = TestClock::default();
    let mut engine = E::new(clock.clone()).await;
    let mut senders: Vec<Sender> = (0..3).map(Sender::new).collect();
    for sender in &mut senders {
        sender.connect(engine.store()).await;
    }
    let firm = senders[0].plant.firm();
    let mut said = Vec::new();
    let mut open = Vec::new();
    for (step, chance) in script {
        let title = format!("{step:?}");
        let answer = match step {
            Step::Rearrange => {
                engine.rearrange(&firm).await;
                String::new()
            }
            Step::CrashRearranging | Step::Reopen => {
                if matches!(step, Step::Reopen) {
                    engine.reopen().await;
                } else {
                    engine.crash_rearranging(&firm).await;
                }
                for sender in &mut senders {
                    sender.connect(engine.store()).await;
                }
                String::new()
            }
            Step::Wait(seconds) => {
                clock.advance(seconds * SECOND);
                String::new()
            }
            Step::Ask(question) => question.ask(engine.store(), &senders).await,
            Step::Open(question) => {
                let (permit, mut answer) = (question.permit(&senders), Answer::default());
                let next =
                    answer.add(engine.store().read(&permit, None, question.limit).await.unwrap(), question.limit);
                open.push((title.clone(), question.limit, permit, answer, next));
                String::new()
            }
            step => act(engine.store(), &mut senders, (clock.now())(), step, chance).await,
        };
        said.push(format!("{title}: {answer}"));
    }
    let store = engine.store();
    for (title, limit, permit, mut answer, next) in open {
        answer.rest(store, &permit, limit, next).await;
        said.push(format!("the rest of {title}: {}", answer.shown()));
    }
    facts(store, &senders, &mut said).await;
    said
}

/// What a gateway or an owner does.
async fn act(store: &dyn Readings, senders: &mut [Sender], now_us: i64, step: Step, chance: u8) -> String {
    let firm = senders[0].plant.firm();
    let dead = async |which: usize| {
        let records = store.dead_records(&firm, &Choice::default(), 0, 100).await.unwrap();
        (!records.is_empty()).then(|| records[which % records.len()].id)
    };
    let deliver =
        async |delivery: Delivery| format!("{:?}", store.deliver(delivery).await.unwrap().await.unwrap().unwrap());
    match step {
        Step::Deliver(at, of) => {
            let delivery = senders[at].next(store, now_us, &readings(of)).await;
            senders[at].sent.push(delivery.clone());
            deliver(delivery).await
        }
        Step::Again(at, which) => {
            let sender = &senders[at];
            let Some(delivery) = sender.sent.iter().rev().nth(which).cloned() else { return String::new() };
            let sum = store.checksum(&delivery.gateway, delivery.lane, delivery.last).await.unwrap();
            let again = deliver(Delivery { epoch: sender.plant.epoch, ..delivery }).await;
            format!("{sum:?} {again}")
        }
        Step::Fork(at, which) => {
            let sender = &senders[at];
            let Some(delivery) = sender.sent.iter().rev().nth(which) else { return String::new() };
            let letter = admission::whole(DeadLetterReason::Forked, Some(3), "another record is stored".into());
            let content = Content::Forked { original: vec![chance; 9].into(), letter };
            deliver(Delivery { epoch: sender.plant.epoch, content, ..delivery.clone() }).await
        }
        Step::Ahead(at) => {
            let sender = &mut senders[at];
            let kept = (sender.plant.sequence, sender.plant.cumulative);
            sender.plant.sequence += 1;
            let delivery = sender.next(store, now_us, &readings(vec![(0, 1, 7, 0)])).await;
            (sender.plant.sequence, sender.plant.cumulative) = kept;
            deliver(delivery).await
        }
        Step::Lose(at, from, length, gone) => {
            let (from_us, to_us) = (from * SECOND, (from + length) * SECOND);
            format!("{:?}", senders[at].plant.lose(store, from_us, to_us, gone).await)
        }
        Step::PutAside(at, second, comes) => {
            let sender = &mut senders[at];
            let boot = sender.plant.boot;
            let id = [[3, sender.number, chance].as_slice(), &[7; 13]].concat();
            sender.plant.boot = BootId::from_bytes(&id).unwrap();
            let sealed = sender.plant.seal(&readings(vec![(0, second, 5, 0), (3, second + 1, 6, 65)]));
            let letter = admission::whole(DeadLetterReason::ClockUnknown, None, "not yet".into());
            let content = admission::dead(&sealed, vec![letter]);
            let answer = deliver(sender.delivery(sealed.sequence, sealed.cumulative_readings, content)).await;
            if comes {
                store.set_clock(&sender.plant.gateway, sender.plant.boot, CLOCK).await.unwrap();
            }
            sender.plant.boot = boot;
            answer
        }
        Step::Boot(at, estimated) => {
            senders[at].boot(Clock { estimated, ..CLOCK });
            senders[at].connect(store).await;
            String::new()
        }
        Step::Connect(at) => {
            senders[at].connect(store).await;
            format!("{:?}", senders[at].clock)
        }
        Step::Retry(which) => match dead(which).await {
            Some(id) => format!("{:?}", store.retry_dead(&firm, id).await.unwrap()),
            None => String::new(),
        },
        Step::Discard(which) => match dead(which).await {
            Some(id) => format!("{:?}", store.discard_dead(&firm, id).await.unwrap()),
            None => String::new(),
        },
        other => panic!("{other:?} is no gateway's"),
    }
}

/// Everything that is told of a store without a permit.
async fn facts(store: &dyn Readings, senders: &[Sender], said: &mut Vec<String>) {
    let firm = senders[0].plant.firm();
    said.push(format!("series: {:#?}", store.series(&firm).await.unwrap()));
    said.push(format!("refused: {:#?}", store.refused_series(&firm).await.unwrap()));
    said.push(format!("gaps: {:#?}", store.gaps(&firm, 100).await.unwrap()));
    said.push(format!("dead: {:#?}", store.dead_totals().await.unwrap()));
    for (number, record) in store.dead_records(&firm, &Choice::default(), 0, 100).await.unwrap().into_iter().enumerate()
    {
        let mut content = store.dead_content(&firm, record.id).await.unwrap().unwrap();
        // Numbers rise, and may leave some out.
        content.record.id = number as i64;
        said.push(format!("dead record: {content:#?}"));
    }
    for (number, Sender { plant, .. }) in senders.iter().enumerate() {
        // Everything, with the day after in it, on which late retries put some.
        for (grid, limit) in [(Asked::Raw, 5), (Asked::Every(60), 3), (Asked::Days, 100)] {
            let all = Question { plant: number, series: 63, from: -3_600, length: 100_000, grid, limit };
            said.push(format!("{all:?}: {}", all.ask(store, senders).await));
        }
        said.push(format!("lanes: {:#?}", store.lanes(&plant.gateway).await.unwrap()));
        said.push(format!("watermark: {:?}", store.watermark(&plant.gateway, plant.lane).await.unwrap()));
        for sequence in 0..=plant.sequence + 1 {
            let sum = store.checksum(&plant.gateway, plant.lane, sequence).await.unwrap();
            said.push(format!("checksum {sequence}: {sum:?}"));
        }
    }
}

fn agree(one: &[String], other: &[String]) {
    for (one, other) in one.iter().zip(other) {
        assert_eq!(one, other);
    }
    assert_eq!(one.len(), other.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_time: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_and_postgresql_give_the_same_answers(script in any_script()) {
        agree(&transcript::<Sqlite>(&script), &transcript::<Plain>(&script));
    }
}

proptest! {
    // It runs in WASM, and a case takes it seconds.
    #![proptest_config(ProptestConfig { cases: 3, max_shrink_time: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_and_timescaledb_give_the_same_answers(script in any_script()) {
        agree(&transcript::<Sqlite>(&script), &transcript::<Timescaled>(&script));
    }
}
