//! The plants of a script, the same in every engine: ids come from their numbers.

use sandan_proto::id::{BootId, FirmId, LaneId};
use sandan_proto::reading::{Quality, Value};
use sandan_proto::v1::DeadLetterReason;

use super::super::SECOND;
use super::script::{PLANTS, Step};
use crate::fixture::{BOOTED_US, Plant, Reading, births};
use crate::session::admission;
use crate::store::{Choice, Clock, Content, Delivery, Readings};

pub(super) struct Sender {
    pub plant: Plant,
    number: u8,
    boots: u8,
    /// When its boots begin, µs after that of every test's.
    began_us: i64,
    clock: Clock,
    sent: Vec<Delivery>,
}

impl Sender {
    pub(super) fn new(number: usize) -> Self {
        let (gateway, asset) = PLANTS[number];
        let plant = Plant::new(gateway, asset);
        let clock = Clock { offset_us: BOOTED_US, estimated: false };
        let number = u8::try_from(number).unwrap();
        let mut sender = Self { plant, number, boots: 0, began_us: 0, clock, sent: Vec::new() };
        sender.boot(false);
        sender
    }

    /// The same after nothing is known of it any more.
    pub(super) fn anew(&self) -> Self {
        let mut sender = Self { boots: self.boots, began_us: self.began_us, ..Self::new(self.number.into()) };
        sender.boot(false);
        sender
    }

    fn boot(&mut self, estimated: bool) {
        self.boots += 1;
        let id = |of: u8| [[of, self.number, self.boots].as_slice(), &[7; 13]].concat();
        self.plant.lane = LaneId::from_bytes(&id(1)).unwrap();
        self.plant.boot = BootId::from_bytes(&id(2)).unwrap();
        (self.plant.sequence, self.plant.cumulative) = (0, 0);
        self.clock = Clock { offset_us: BOOTED_US + self.began_us, estimated };
    }

    /// Starts long after what it sent so far, which it does not keep.
    pub(super) fn boot_at(&mut self, began_us: i64) {
        self.began_us = began_us;
        self.sent.clear();
        self.boot(false);
    }

    pub(super) async fn connect(&mut self, store: &dyn Readings) {
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

/// What a gateway or an owner does; gives what it is told.
pub(super) async fn act(
    store: &dyn Readings,
    senders: &mut [Sender],
    firm: &FirmId,
    now_us: i64,
    (step, chance): (Step, u8),
) -> String {
    let dead = async |which: usize| {
        let records = store.dead_records(firm, &Choice::default(), 0, 100).await.unwrap();
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
            let sender = &mut senders[at];
            let from_us = sender.began_us + from * SECOND;
            format!("{:?}", sender.plant.lose(store, from_us, from_us + length * SECOND, gone).await)
        }
        Step::PutAside(at, second, comes) => {
            let sender = &mut senders[at];
            let boot = sender.plant.boot;
            let id = [[3, sender.number, chance, sender.boots].as_slice(), &[7; 12]].concat();
            sender.plant.boot = BootId::from_bytes(&id).unwrap();
            let sealed = sender.plant.seal(&readings(vec![(0, second, 5, 0), (3, second + 1, 6, 65)]));
            let letter = admission::whole(DeadLetterReason::ClockUnknown, None, "not yet".into());
            let content = admission::dead(&sealed, vec![letter]);
            let answer = deliver(sender.delivery(sealed.sequence, sealed.cumulative_readings, content)).await;
            if comes {
                let clock = Clock { offset_us: BOOTED_US + sender.began_us, estimated: false };
                store.set_clock(&sender.plant.gateway, sender.plant.boot, clock).await.unwrap();
            }
            sender.plant.boot = boot;
            answer
        }
        Step::Boot(at, estimated) => {
            senders[at].boot(estimated);
            senders[at].connect(store).await;
            String::new()
        }
        Step::Connect(at) => {
            senders[at].connect(store).await;
            format!("{:?}", senders[at].clock)
        }
        Step::Declare(at, kpa) => {
            senders[at].plant.births = births(PLANTS[at].1, if kpa { "kPa" } else { "MPa" });
            senders[at].connect(store).await;
            String::new()
        }
        Step::Retry(which) => match dead(which).await {
            Some(id) => format!("{:?}", store.retry_dead(firm, id).await.unwrap()),
            None => String::new(),
        },
        Step::Discard(which) => match dead(which).await {
            Some(id) => format!("{:?}", store.discard_dead(firm, id).await.unwrap()),
            None => String::new(),
        },
        other => panic!("{other:?} is no gateway's"),
    }
}
