//! Encode, decode, commit and read, for each store.
//!
//! `cargo bench -p sandan-ingest`. A batch holds 100 series of one device and 10 or 100 readings
//! a column; what is counted is readings. A day is 86,400 readings a series, one a second.
//! PostgreSQL is a server of its own, with the settings that it comes with.

use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use jiff::tz::TimeZone;
use plant::{BEGAN_US, Plant, Series};
use sandan_ingest::consent::{Form, Function, Grid, Permit};
use sandan_ingest::store::postgres::database::{Database, Settings};
use sandan_ingest::store::postgres::readings::{self as postgres, PostgresReadings};
use sandan_ingest::store::sqlite::{self, Compaction, SqliteReadings};
use sandan_ingest::store::{Readings, Rows};
use sandan_proto::batch::{self, Column, Group, Values};
use sandan_proto::reading::ValueType;
use tokio::runtime::Runtime;

#[path = "../../tests/src/storebench/plant.rs"]
mod plant;
#[allow(dead_code, unreachable_pub)] // the rest of it serves the tests
#[path = "../../tests/src/servers.rs"]
mod servers;

/// Series of one batch.
const SERIES: u32 = 100;
/// Readings a column of one batch.
const COLUMNS: [usize; 2] = [10, 100];
/// Readings of each series that raw reads find.
const STORED: usize = 10_000;
/// Readings of a series-day.
const DAY: usize = 86_400;
const HOUR_US: i64 = 3_600_000_000;
/// Readings a series after which a firm is packed, as the service does.
const PACKED: usize = 4_096;
/// Series of the day that PostgreSQL holds, where a reading takes a hundred times the disk.
const POSTGRES_SERIES: u32 = 10;

fn main() {
    divan::main();
}

/// What a device of so many series says in some seconds, each reply some ms late.
fn batch(series: u32, from_s: usize, readings: usize) -> Vec<Group> {
    let seconds = (from_s..from_s + readings).map(|second| second as i64);
    let times_us = seconds.clone().map(|second| second * 1_000_000 + second * 7_919 % 6 * 1_000).collect();
    let column = |series: u32| {
        let value = |second: i64| (1_000 + second * (i64::from(series) + 3) % 57) as f64 / 10.0;
        Column { series, quality: Vec::new(), values: Values::F64(seconds.clone().map(value).collect()) }
    };
    vec![Group { times_us, columns: (0..series).map(column).collect() }]
}

/// A store with one gateway.
struct Bench<S> {
    store: S,
    plant: Plant,
    runtime: Runtime,
    /// What the store stands on. Gone last.
    _under: Under,
}

enum Under {
    Files(#[allow(dead_code)] tempfile::TempDir),
    Server(#[allow(dead_code)] servers::Database),
}

impl Bench<SqliteReadings> {
    /// What is measured is a commit, not the wait for others to share its sync.
    fn sqlite(series: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let compaction = Compaction { check: None, ..Compaction::default() };
        let options = sqlite::Options { commit_interval: Duration::ZERO, compaction, ..sqlite::Options::default() };
        let store = SqliteReadings::open(dir.path(), options).unwrap();
        Self::new(Runtime::new().unwrap(), store, Under::Files(dir), series)
    }
}

impl Bench<PostgresReadings> {
    fn postgres(series: u32) -> Self {
        let runtime = Runtime::new().unwrap();
        let database = servers::plain();
        let store = runtime.block_on(async {
            let connected = Database::connect(Settings::of(database.dsn().parse().unwrap())).await.unwrap();
            connected.migrate().await.unwrap();
            let options = postgres::Options {
                commit_interval: Duration::ZERO,
                // All that is stored is of one day.
                now: std::sync::Arc::new(|| BEGAN_US + 12 * HOUR_US),
                upkeep: None,
                ..postgres::Options::default()
            };
            PostgresReadings::open(connected, options).await.unwrap()
        });
        Self::new(runtime, store, Under::Server(database), series)
    }
}

impl<S: Readings> Bench<S> {
    fn new(runtime: Runtime, store: S, under: Under, series: u32) -> Self {
        let of = |at| Series { asset: "press-1".into(), metric: format!("x_{at}"), of: ValueType::F64 };
        let series: Vec<_> = (0..series).map(of).collect();
        let plant = runtime.block_on(Plant::connect(&store, "bench/gw", &series)).unwrap();
        Self { store, plant, runtime, _under: under }
    }

    /// Stores so many readings of each series, in batches of `column` of them; all of it packed
    /// as it comes, or none.
    fn filled(mut self, series: u32, readings: usize, column: usize, packed: bool) -> Self {
        self.runtime.block_on(async {
            for from_s in (0..readings).step_by(column) {
                self.plant.deliver(&self.store, &batch(series, from_s, column)).await.unwrap();
                let end = from_s + column;
                if packed && (end % PACKED < column || end >= readings) {
                    self.plant.settle(0).await.unwrap();
                    self.store.compact(&self.plant.firm()).await.unwrap();
                }
            }
            self.plant.settle(0).await.unwrap();
        });
        self
    }

    fn commit(&mut self, groups: &[Group]) {
        self.runtime.block_on(async {
            self.plant.deliver(&self.store, groups).await.unwrap();
            self.plant.settle(0).await.unwrap();
        });
    }

    fn permit(&self, series: u32, form: Form, functions: &[Function], from_us: i64, to_us: i64) -> Permit {
        plant::own(&self.plant.key(series as usize), form, functions, from_us, to_us).unwrap()
    }

    /// The rows of a read of one chunk.
    fn read(&self, permit: &Permit) -> usize {
        let chunk = self.runtime.block_on(self.store.read(permit, None, STORED)).unwrap();
        assert!(chunk.next.is_none());
        match chunk.rows {
            Rows::Raw(rows) => rows.len(),
            Rows::Buckets(rows) => rows.len(),
        }
    }

    /// Every reading of one series after the other.
    fn read_raw(&self, bencher: Bencher<'_, '_>, series: u32) {
        let end_us = BEGAN_US + STORED as i64 * 1_000_000;
        let permits: Vec<_> = (0..series).map(|at| self.permit(at, Form::Raw, &[], BEGAN_US, end_us)).collect();
        let mut turn = permits.iter().cycle();
        bencher.counter(ItemsCount::new(STORED)).bench_local(|| {
            let permit = turn.next().unwrap();
            assert_eq!(self.read(permit), STORED);
        });
    }

    /// Buckets of one series-day after the other, all of which were read once before.
    fn read_day(&self, bencher: Bencher<'_, '_>, series: u32, ask: &Ask) {
        let (form, from_us, to_us) = match ask.zone {
            Some(zone) => {
                // The days of that zone in which the readings lie.
                let grid = Grid::Days { zone: TimeZone::get(zone).unwrap() };
                let (from_us, _) = grid.bucket(BEGAN_US);
                let (_, to_us) = grid.bucket(BEGAN_US + DAY as i64 * 1_000_000 - 1);
                (Form::Bucketed { grid }, from_us, to_us)
            }
            None => (Form::buckets(ask.width_us), BEGAN_US, BEGAN_US + DAY as i64 * 1_000_000),
        };
        let permits: Vec<_> =
            (0..series).map(|at| self.permit(at, form.clone(), &ask.functions, from_us, to_us)).collect();
        for permit in &permits {
            assert_eq!(self.read(permit), ask.rows);
        }
        let mut turn = permits.iter().cycle();
        bencher.bench_local(|| self.read(turn.next().unwrap()));
    }
}

/// What is asked of a day.
struct Ask {
    width_us: i64,
    zone: Option<&'static str>,
    functions: Vec<Function>,
    rows: usize,
}

fn asks(name: &str) -> Ask {
    let of = |width_us, function, rows| Ask { width_us, zone: None, functions: vec![function], rows };
    match name {
        "mean per hour" => of(HOUR_US, Function::Mean, 24),
        "mean over time per hour" => of(HOUR_US, Function::TimeMean, 24),
        "mean per day of Seoul" => {
            Ask { width_us: 0, zone: Some("Asia/Seoul"), functions: vec![Function::Mean], rows: 2 }
        }
        _ => of(HOUR_US / 60, Function::Mean, 1_440),
    }
}
const ASKS: [&str; 4] = ["mean per hour", "mean over time per hour", "mean per day of Seoul", "mean per minute"];

#[divan::bench(args = COLUMNS)]
fn encode(bencher: Bencher<'_, '_>, column: usize) {
    let groups = batch(SERIES, 0, column);
    bencher.counter(ItemsCount::new(batch::count(&groups))).bench(|| batch::encode(black_box(&groups)));
}

#[divan::bench(args = COLUMNS)]
fn decode(bencher: Bencher<'_, '_>, column: usize) {
    let groups = batch(SERIES, 0, column);
    let payload = batch::encode(&groups);
    bencher.counter(ItemsCount::new(batch::count(&groups))).bench(|| batch::decode(black_box(&payload)).unwrap());
}

/// One batch a commit, synced: the slowest way to store.
mod commit {
    use super::{Bench, Bencher, COLUMNS, ItemsCount, Readings, SERIES, batch};

    #[divan::bench(args = COLUMNS, sample_count = 50, sample_size = 1)]
    fn sqlite(bencher: Bencher<'_, '_>, column: usize) {
        one_by_one(bencher, Bench::sqlite(SERIES), column);
    }

    #[divan::bench(args = COLUMNS, sample_count = 50, sample_size = 1)]
    fn postgres(bencher: Bencher<'_, '_>, column: usize) {
        one_by_one(bencher, Bench::postgres(SERIES), column);
    }

    fn one_by_one<S: Readings>(bencher: Bencher<'_, '_>, mut bench: Bench<S>, column: usize) {
        let mut from_s = 0;
        bencher.counter(ItemsCount::new(SERIES as usize * column)).bench_local(|| {
            bench.commit(&batch(SERIES, from_s, column));
            from_s += column;
        });
    }
}

/// Raw readings of one series, which came in batches of so many.
mod read_raw {
    use super::{Bench, Bencher, COLUMNS, SERIES, STORED};

    #[divan::bench(args = COLUMNS, sample_count = 20, sample_size = 1)]
    fn sqlite_waiting(bencher: Bencher<'_, '_>, column: usize) {
        Bench::sqlite(SERIES).filled(SERIES, STORED, column, false).read_raw(bencher, SERIES);
    }

    #[divan::bench(args = COLUMNS, sample_count = 100)]
    fn sqlite_packed(bencher: Bencher<'_, '_>, column: usize) {
        Bench::sqlite(SERIES).filled(SERIES, STORED, column, true).read_raw(bencher, SERIES);
    }

    #[divan::bench(args = COLUMNS, sample_count = 20, sample_size = 1)]
    fn postgres(bencher: Bencher<'_, '_>, column: usize) {
        Bench::postgres(SERIES).filled(SERIES, STORED, column, false).read_raw(bencher, SERIES);
    }
}

/// A day of one series among others.
mod read_day {
    use super::{ASKS, Bench, Bencher, DAY, POSTGRES_SERIES, SERIES, asks};

    #[divan::bench(args = ASKS, sample_count = 300, sample_size = 1)]
    fn sqlite(bencher: Bencher<'_, '_>, ask: &str) {
        Bench::sqlite(SERIES).filled(SERIES, DAY, 100, true).read_day(bencher, SERIES, &asks(ask));
    }

    #[divan::bench(args = ASKS, sample_count = 20, sample_size = 1)]
    fn postgres(bencher: Bencher<'_, '_>, ask: &str) {
        let bench = Bench::postgres(POSTGRES_SERIES).filled(POSTGRES_SERIES, DAY, 100, false);
        bench.read_day(bencher, POSTGRES_SERIES, &asks(ask));
    }
}
