//! An engine against a model: a list of everything that was delivered. Engines that agree
//! with it agree with each other.

use proptest::prelude::*;
use sandan_proto::reading::{Quality, Value};

use super::{Engine, SECOND, TestClock, done};
use crate::consent::{Form, Permit};
use crate::fixture::{BOOTED_US, Plant, Reading};
use crate::store::aggregate::Sum;
use crate::store::{Bucket, Delivery, Readings, Rows, Stored};

/// What a store goes through.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A gateway delivers a record: which of two, and for each reading its series, second,
    /// number and quality code.
    Deliver(bool, Vec<(u32, i64, i32, u32)>),
    /// The last record of a gateway comes again.
    Repeat(bool),
    /// The engine does with the firm's readings what it does in the background.
    Rearrange,
    /// The same, and the process stops amid it.
    CrashRearranging,
    /// The process stops and starts.
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let reading = (0u32..6, 0i64..40, any::<i32>(), prop_oneof![4 => Just(0u32), 1 => Just(65), 1 => Just(130)]);
    prop_oneof![
        8 => (any::<bool>(), prop::collection::vec(reading, 1..12)).prop_map(|(which, readings)| Step::Deliver(which, readings)),
        2 => any::<bool>().prop_map(Step::Repeat),
        2 => Just(Step::Rearrange),
        1 => Just(Step::CrashRearranging),
        1 => Just(Step::Restart),
    ]
}

fn value(series: u32, number: i32) -> Value {
    match series {
        1 => Value::I64(i64::from(number) << 20),
        2 => Value::Bool(number % 2 == 0),
        3 => Value::Text((number % 5).to_string()),
        _ if number % 7 == 0 => Value::F64(f64::NAN),
        _ => Value::F64(f64::from(number) / 10.0),
    }
}

/// Plant, series, time, value, quality; in the order of delivery.
type Known = Vec<(usize, u32, i64, Value, Quality)>;

fn expected_raw(known: &Known, plant: usize, from_us: i64, to_us: i64) -> Vec<(usize, i64, String, Quality)> {
    let mut rows: Vec<_> = known
        .iter()
        .filter(|row| row.0 == plant && (from_us..to_us).contains(&row.2))
        .map(|(_, series, time_us, value, quality)| {
            let not_a_number = matches!(value, Value::F64(value) if !value.is_finite());
            let quality = if !quality.is_bad() && not_a_number { Quality::BAD_OUT_OF_RANGE } else { *quality };
            let value = (!quality.is_bad()).then_some(value);
            (*series as usize, *time_us, format!("{value:?}"), quality)
        })
        .collect();
    rows.sort_by_key(|row| (row.0, row.1));
    rows
}

fn expected_buckets(known: &Known, plant: usize, from_us: i64, to_us: i64, width_us: i64) -> Vec<Bucket> {
    let mut rows: Vec<_> = known
        .iter()
        .filter(|row| row.0 == plant && (from_us..to_us).contains(&row.2) && !row.4.is_bad())
        .filter_map(|row| row.3.as_f64().filter(|value| value.is_finite()).map(|value| (row.1 as usize, row.2, value)))
        .collect();
    rows.sort_by_key(|row| (row.0, row.1));
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut sum = Sum::default();
    for (series, time_us, value) in rows {
        let start_us = time_us - time_us.rem_euclid(width_us);
        let open = buckets.last_mut().filter(|bucket| (bucket.series, bucket.start_us) == (series, start_us));
        if let Some(bucket) = open {
            sum.add(value);
            bucket.count += 1;
            bucket.sum = sum.high;
            bucket.min = bucket.min.min(value);
            bucket.max = bucket.max.max(value);
            bucket.last = value;
            continue;
        }
        sum = Sum { high: value, low: 0.0 };
        buckets.push(Bucket {
            series,
            start_us,
            end_us: start_us + width_us,
            count: 1,
            sum: value,
            min: value,
            max: value,
            first: value,
            last: value,
            integral: 0.0,
            covered_us: 0,
            increase: 0.0,
            durations: Vec::new(),
        });
    }
    buckets
}

async fn read_raw(store: &dyn Readings, permit: &Permit, limit: usize) -> Vec<(usize, i64, String, Quality)> {
    let (mut all, mut cursor, mut commit) = (Vec::new(), None, (0, 0, 0));
    loop {
        let chunk = store.read(permit, cursor, limit).await.unwrap();
        let Rows::Raw(rows) = chunk.rows else { panic!("not raw") };
        assert!(rows.len() <= limit);
        for row in rows {
            let next = (row.series, row.time_us, row.commit);
            assert!(commit <= next, "commits of one time are in order");
            commit = next;
            all.push((row.series, row.time_us, format!("{:?}", row.value.as_ref()), row.quality));
        }
        cursor = chunk.next;
        if cursor.is_none() {
            return all;
        }
    }
}

async fn read_buckets(store: &dyn Readings, permit: &Permit, limit: usize) -> Vec<Bucket> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let chunk = store.read(permit, cursor, limit).await.unwrap();
        let Rows::Buckets(rows) = chunk.rows else { panic!("not buckets") };
        assert!(rows.len() <= limit);
        all.extend(rows);
        cursor = chunk.next;
        if cursor.is_none() {
            return all;
        }
    }
}

/// What a store goes through, how many rows a chunk has, and which seconds are read.
pub(crate) type Run = (Vec<Step>, usize, (i64, i64));

pub(crate) fn any_run() -> impl Strategy<Value = Run> {
    let window = (0i64..4, 1i64..9).prop_map(|(first, width)| (first * 5, (first + width) * 5));
    (prop::collection::vec(any_step(), 1..30), 1usize..20, window)
}

/// Runs it and compares what is read with what was delivered.
pub(crate) fn holds<E: Engine>(run: Run) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(check::<E>(run));
}

async fn check<E: Engine>((steps, limit, window): Run) {
    let mut engine = E::new(TestClock::default()).await;
    let mut plants = [Plant::new("hanbit/press-hall", "press-1"), Plant::new("hanbit/annex", "press-2")];
    let firm = plants[0].firm();
    let mut known = Known::new();
    let mut last = [None, None];
    for plant in &mut plants {
        plant.connect(engine.store()).await;
    }
    for step in steps {
        let store = engine.store();
        match step {
            Step::Deliver(which, mut readings) => {
                readings.sort_by_key(|reading| reading.1);
                let which = usize::from(which);
                let plant = &mut plants[which];
                let readings: Vec<Reading> = readings
                    .into_iter()
                    .map(|(series, second, number, code)| {
                        let quality = Quality::from_code(code).unwrap();
                        (series, second * SECOND, value(series, number), quality)
                    })
                    .collect();
                known.extend(readings.iter().map(|(series, at_us, value, quality)| {
                    (which, *series, BOOTED_US + at_us, value.clone(), *quality)
                }));
                let registered = store.registered(&plant.gateway, plant.births.hash()).await.unwrap().unwrap();
                let sealed = plant.seal(&readings);
                let delivery = plant.admitted(&sealed, &registered);
                let stored = store.deliver(delivery.clone()).await.unwrap().await.unwrap().unwrap();
                assert_eq!(done(&stored), readings.len() as u64);
                last[which] = Some(delivery);
            }
            Step::Repeat(which) => {
                let plant = &plants[usize::from(which)];
                if let Some(delivery) = last[usize::from(which)].clone() {
                    let delivery = Delivery { epoch: plant.epoch, ..delivery };
                    let stored = store.deliver(delivery).await.unwrap().await.unwrap().unwrap();
                    assert_eq!(stored, Stored::Duplicate { through: plant.sequence });
                }
            }
            Step::Rearrange => engine.rearrange(&firm).await,
            Step::CrashRearranging | Step::Restart => {
                if matches!(step, Step::Restart) {
                    engine.reopen().await;
                } else {
                    engine.crash_rearranging(&firm, "packed").await;
                }
                for plant in &mut plants {
                    plant.connect(engine.store()).await;
                }
            }
        }
    }
    let store = engine.store();
    let (from_us, to_us) = (BOOTED_US + window.0 * SECOND, BOOTED_US + window.1 * SECOND);
    for (index, plant) in plants.iter().enumerate() {
        let permit = Permit::for_test(plant.keys(), Form::Raw, from_us, to_us);
        assert_eq!(read_raw(store, &permit, limit).await, expected_raw(&known, index, from_us, to_us));
        let hour = 3_600 * SECOND;
        for (width_us, from_us, to_us) in [(5 * SECOND, from_us, to_us), (hour, BOOTED_US, BOOTED_US + hour)] {
            let permit = Permit::for_test(plant.keys(), Form::buckets(width_us), from_us, to_us);
            let expected = expected_buckets(&known, index, from_us, to_us, width_us);
            assert_eq!(read_buckets(store, &permit, limit).await, expected);
        }
        let newest: Vec<_> = store.series(&firm).await.unwrap();
        for (series, key) in plant.keys().into_iter().enumerate() {
            let latest = known.iter().filter(|row| (row.0, row.1 as usize) == (index, series)).map(|row| row.2).max();
            let info = newest.iter().find(|info| info.key == key).unwrap();
            assert_eq!(info.newest_us, latest, "{key}");
        }
    }
}
