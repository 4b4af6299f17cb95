//! Encode, decode, commit and read, at 10 and 100 readings a column.
//!
//! `cargo bench -p sandan-ingest`. A batch holds 100 series of one device, so that it has
//! 1,000 or 10,000 readings; what is counted is readings.

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sandan_ingest::consent::{Form, Manner, Permit, Request, Snapshot, decide};
use sandan_ingest::store::sqlite::{Compaction, Options, SqliteReadings};
use sandan_ingest::store::{Clock, Content, Delivery, Opening, Placement, Readings, Registered, Rows};
use sandan_proto::batch::{self, Column, Group, Values};
use sandan_proto::births::Births;
use sandan_proto::id::{BootId, GatewayId, LaneId, SeriesKey};
use sandan_proto::reading::ValueType;
use sandan_proto::record::Sealed;
use sandan_proto::v1;

/// Series of one batch.
const SERIES: u32 = 100;
/// Readings a column of one batch.
const COLUMNS: [usize; 2] = [10, 100];
/// The wall time of the boot, µs since 1970.
const BOOTED_US: i64 = 1_767_225_600_000_000;
/// Readings of each series that reads find.
const STORED: usize = 10_000;

fn main() {
    divan::main();
}

fn batch(from_s: usize, readings: usize) -> Vec<Group> {
    let seconds = (from_s..from_s + readings).map(|second| second as i64);
    let times_us = seconds.clone().map(|second| second * 1_000_000 + second * 7_919 % 6 * 1_000).collect();
    let column = |series: u32| {
        let value = |second: i64| (1_000 + second * (i64::from(series) + 3) % 57) as f64 / 10.0;
        Column { series, quality: Vec::new(), values: Values::F64(seconds.clone().map(value).collect()) }
    };
    vec![Group { times_us, columns: (0..SERIES).map(column).collect() }]
}

/// One gateway whose records go straight to a store.
struct Bench {
    runtime: tokio::runtime::Runtime,
    store: SqliteReadings,
    gateway: GatewayId,
    births: Births,
    registered: Arc<Registered>,
    lane: LaneId,
    boot: BootId,
    epoch: u64,
    sequence: u64,
    cumulative: u64,
    // Gone last.
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let compaction = Compaction { check: None, ..Compaction::default() };
        // What is measured is a commit, not the wait for others to share its sync.
        let options = Options { commit_interval: std::time::Duration::ZERO, compaction, ..Options::default() };
        let store = SqliteReadings::open(dir.path(), options).unwrap();
        let gateway = GatewayId::new("bench/gw").unwrap();
        let (lane, boot) = (LaneId::random(), BootId::random());
        let births = births();
        let (epoch, registered) = runtime.block_on(async {
            let opening = store.open_session(&gateway, 0, &[lane]).await.unwrap();
            let Opening::Granted { epoch, .. } = opening else { panic!("{opening:?}") };
            store.set_clock(&gateway, boot, Clock { offset_us: BOOTED_US, estimated: false }).await.unwrap();
            (epoch, store.register(&gateway, births.clone()).await.unwrap())
        });
        Self { runtime, store, gateway, births, registered, lane, boot, epoch, sequence: 0, cumulative: 0, _dir: dir }
    }

    fn delivery(&mut self, groups: &[Group]) -> Delivery {
        let readings = batch::count(groups);
        let (first_us, last_us) = (groups[0].times_us[0], *groups[0].times_us.last().unwrap());
        self.sequence += 1;
        self.cumulative += readings;
        let sealed = Sealed {
            lane: self.lane,
            sequence: self.sequence,
            births: self.births.hash(),
            boot: self.boot,
            cumulative_readings: self.cumulative,
            first_us,
            last_us,
            payload: batch::encode(groups),
        };
        let newest = self.registered.places.iter().filter_map(|place| match place {
            Placement::Own(number, _) => Some((*number, BOOTED_US + last_us)),
            _ => None,
        });
        Delivery {
            gateway: self.gateway.clone(),
            epoch: self.epoch,
            lane: self.lane,
            first: self.sequence,
            last: self.sequence,
            cumulative: Some(self.cumulative),
            content: Content::Batch {
                sealed,
                births: self.registered.number,
                clock: Clock { offset_us: BOOTED_US, estimated: false },
                first_us: BOOTED_US + first_us,
                last_us: BOOTED_US + last_us,
                readings,
                dead_columns: Vec::new(),
                newest: newest.collect(),
                letters: Vec::new(),
            },
        }
    }

    fn commit(&self, delivery: Delivery) {
        self.runtime.block_on(async { self.store.deliver(delivery).await.unwrap().await.unwrap().unwrap() });
    }

    /// Stores what reads find.
    fn filled(column: usize, packed: bool) -> Self {
        let mut bench = Self::new();
        for from_s in (0..STORED).step_by(column) {
            let delivery = bench.delivery(&batch(from_s, column));
            bench.commit(delivery);
        }
        if packed {
            bench.runtime.block_on(bench.store.compact(&bench.gateway.firm())).unwrap();
        }
        bench
    }

    /// Every reading of one series.
    fn read(&self, permit: &Permit) -> usize {
        let chunk = self.runtime.block_on(self.store.read(permit, None, STORED)).unwrap();
        let Rows::Raw(rows) = chunk.rows else { panic!("not raw") };
        assert_eq!(rows.len(), STORED);
        rows.len()
    }

    fn permit(&self) -> Permit {
        let series = &self.births.series[7];
        let asset = self.births.assets[series.asset].id.clone();
        let firm = self.gateway.firm();
        let request = Request {
            asker: firm.clone(),
            series: SeriesKey { firm: firm.clone(), asset, metric: series.metric.clone() },
            form: Form::Raw,
            functions: [].into(),
            from_us: BOOTED_US,
            to_us: BOOTED_US + 86_400_000_000,
            manner: Manner::default(),
        };
        let snapshot = Snapshot::new(firm, 0, Vec::new());
        decide(&snapshot, &request, BOOTED_US).unwrap().permits.remove(0)
    }
}

fn births() -> Births {
    let series = |number: u32| v1::Series {
        metric: format!("x_{number}"),
        value_type: ValueType::F64.into(),
        expected_interval_ms: 1_000,
        signal: format!("s{number}"),
        ..v1::Series::default()
    };
    Births::new(&v1::BirthSet {
        assets: vec![v1::Asset {
            id: "press-1".into(),
            path: "plant-1/press-1".into(),
            name_ko: "1호 프레스".into(),
            name_en: "Press 1".into(),
            time_zone: "Asia/Seoul".into(),
        }],
        devices: vec![v1::Device { name: "plc-1".into(), address: "a bench".into() }],
        series: (0..SERIES).map(series).collect(),
    })
    .unwrap()
}

#[divan::bench(args = COLUMNS)]
fn encode(bencher: Bencher<'_, '_>, column: usize) {
    let groups = batch(0, column);
    bencher.counter(ItemsCount::new(batch::count(&groups))).bench(|| batch::encode(black_box(&groups)));
}

#[divan::bench(args = COLUMNS)]
fn decode(bencher: Bencher<'_, '_>, column: usize) {
    let groups = batch(0, column);
    let payload = batch::encode(&groups);
    bencher.counter(ItemsCount::new(batch::count(&groups))).bench(|| batch::decode(black_box(&payload)).unwrap());
}

/// One batch a commit, synced: the slowest way to store.
#[divan::bench(args = COLUMNS, sample_count = 50, sample_size = 1)]
fn commit_sqlite(bencher: Bencher<'_, '_>, column: usize) {
    let mut bench = Bench::new();
    let mut from_s = 0;
    let readings = SERIES as usize * column;
    bencher.counter(ItemsCount::new(readings)).bench_local(|| {
        let delivery = bench.delivery(&batch(from_s, column));
        from_s += column;
        bench.commit(delivery);
    });
}

#[divan::bench(args = COLUMNS, sample_count = 20)]
fn read_waiting_sqlite(bencher: Bencher<'_, '_>, column: usize) {
    let bench = Bench::filled(column, false);
    let permit = bench.permit();
    bencher.counter(ItemsCount::new(STORED)).bench_local(|| bench.read(&permit));
}

#[divan::bench(args = COLUMNS, sample_count = 20)]
fn read_packed_sqlite(bencher: Bencher<'_, '_>, column: usize) {
    let bench = Bench::filled(column, true);
    let permit = bench.permit();
    bencher.counter(ItemsCount::new(STORED)).bench_local(|| bench.read(&permit));
}
