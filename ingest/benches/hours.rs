//! Mean per hour over one series-day in PostgreSQL, among 1,000 series.
//!
//! `cargo bench -p sandan-ingest --bench hours`. Ten series have a reading a second, the others one
//! in twenty seconds; what is asked for is the day of one of the ten after the other, all
//! of which were asked for before. The server is one of its own, with the settings it comes with.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use divan::Bencher;
use plant::{BEGAN_US, Plant, Series};
use sandan_ingest::consent::{Form, Function, Manner, Permit, Request, Snapshot, decide};
use sandan_ingest::store::postgres::readings::Options;
use sandan_ingest::store::postgres::{Database, PostgresReadings, Settings};
use sandan_ingest::store::{Readings, Rows};
use sandan_proto::batch::{Column, Group, Values};
use sandan_proto::reading::ValueType;
use tokio::runtime::Runtime;

#[allow(dead_code, unreachable_pub)] // the rest of it serves the benches of files
#[path = "../../tests/src/storebench/plant.rs"]
mod plant;
#[allow(dead_code, unreachable_pub)] // the rest of it serves the tests
#[path = "../../tests/src/servers.rs"]
mod servers;

const SERIES: u32 = 1_000;
/// Those with a reading a second.
const FAST: u32 = 10;
/// Seconds between two readings of the others.
const SLOW_S: usize = 20;
const DAY_S: usize = 86_400;
/// Seconds of one batch.
const BATCH_S: usize = 60;
const HOUR_US: i64 = 3_600_000_000;

fn main() {
    divan::main();
}

/// Some seconds of all series.
fn batch(from_s: usize) -> Vec<Group> {
    let group = |series: std::ops::Range<u32>, step: usize| {
        let seconds: Vec<i64> = (from_s..from_s + BATCH_S).step_by(step).map(|second| second as i64).collect();
        let value = |series: u32, second: i64| (1_000 + second * (i64::from(series) + 3) % 57) as f64 / 10.0;
        let values = |series| seconds.iter().map(|second| value(series, *second)).collect();
        let column = |series| Column { series, quality: Vec::new(), values: Values::F64(values(series)) };
        Group {
            times_us: seconds.iter().map(|second| second * 1_000_000).collect(),
            columns: series.map(column).collect(),
        }
    };
    vec![group(0..FAST, 1), group(FAST..SERIES, SLOW_S)]
}

/// A store with the day in it.
struct Bench {
    store: PostgresReadings,
    plant: Plant,
    runtime: Runtime,
    // Gone last.
    _database: servers::Database,
}

impl Bench {
    fn new(counted: bool) -> Self {
        let runtime = Runtime::new().unwrap();
        let database = servers::plain();
        let now_us = Arc::new(AtomicI64::new(BEGAN_US + HOUR_US));
        let clock = Arc::clone(&now_us);
        let (store, plant) = runtime.block_on(async {
            let connected = Database::connect(Settings::of(database.dsn().parse().unwrap())).await.unwrap();
            connected.migrate().await.unwrap();
            let options = Options {
                commit_interval: Duration::ZERO,
                now: Arc::new(move || clock.load(Ordering::SeqCst)),
                upkeep: None,
                ..Options::default()
            };
            let store = PostgresReadings::open(connected, options).await.unwrap();
            let of = |at| Series { asset: "press-1".into(), metric: format!("x_{at}"), of: ValueType::F64 };
            let series: Vec<_> = (0..SERIES).map(of).collect();
            let mut plant = Plant::connect(&store, "bench/gw", &series).await.unwrap();
            for from_s in (0..DAY_S).step_by(BATCH_S) {
                plant.deliver(&store, &batch(from_s)).await.unwrap();
            }
            plant.settle(0).await.unwrap();
            if counted {
                now_us.store(BEGAN_US + 25 * HOUR_US, Ordering::SeqCst);
                store.upkeep().await.unwrap();
            }
            (store, plant)
        });
        Self { store, plant, runtime, _database: database }
    }

    fn permit(&self, series: u32) -> Permit {
        let firm = self.plant.firm();
        let request = Request {
            asker: firm.clone(),
            series: self.plant.key(series as usize),
            form: Form::buckets(HOUR_US),
            functions: [Function::Mean].into(),
            from_us: BEGAN_US,
            to_us: BEGAN_US + 24 * HOUR_US,
            manner: Manner::default(),
        };
        let snapshot = Snapshot::new(firm, 0, Vec::new());
        decide(&snapshot, &request, BEGAN_US).unwrap().permits.remove(0)
    }

    fn read(&self, permit: &Permit) {
        let chunk = self.runtime.block_on(self.store.read(permit, None, 100)).unwrap();
        assert!(matches!(chunk.rows, Rows::Buckets(rows) if rows.len() == 24));
    }

    fn run(&self, bencher: Bencher<'_, '_>) {
        let permits: Vec<_> = (0..FAST).map(|series| self.permit(series)).collect();
        for permit in &permits {
            self.read(permit);
        }
        let mut turn = permits.iter().cycle();
        bencher.bench_local(|| turn.next().map(|permit| self.read(permit)));
    }
}

/// As it is asked for once the hours are over.
#[divan::bench]
fn a_day_of_hours_that_are_counted(bencher: Bencher<'_, '_>) {
    Bench::new(true).run(bencher);
}

/// Of readings that came late, all of them.
#[divan::bench(sample_count = 20)]
fn a_day_of_hours_out_of_their_readings(bencher: Bencher<'_, '_>) {
    Bench::new(false).run(bencher);
}
