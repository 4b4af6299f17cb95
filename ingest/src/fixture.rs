//! A plant for tests: a gateway with births, a lane and a clock, that seals records.

use sandan_proto::batch::{self, BatchBuilder};
use sandan_proto::births::Births;
use sandan_proto::id::{AssetId, BootId, FirmId, GatewayId, LaneId, MetricId, SeriesKey};
use sandan_proto::reading::{Quality, Value, ValueType};
use sandan_proto::record::{Gap, Moment, Sealed};
use sandan_proto::v1;

use crate::consent::{Form, Permit};
use crate::session::admission::{self, Bounds};
use crate::store::sqlite::Compaction;
use crate::store::{Clock, Content, Delivery, Letter, Opening, Options, Readings, Registered, Rows, Stored};

/// The wall time of every test's boot, 2026-11-23T00:00:00Z.
pub(crate) const BOOTED_US: i64 = 1_795_392_000_000_000;

/// The clock of every test's boot.
pub(crate) const CLOCK: Clock = Clock { offset_us: BOOTED_US, estimated: false };

/// A reading of a test: series index, monotonic time, value, quality.
pub(crate) type Reading = (u32, i64, Value, Quality);

/// The metrics of a plant's series: one of each type, then more numbers.
pub(crate) const METRICS: [(&str, ValueType); 6] = [
    ("pressure", ValueType::F64),
    ("stroke_count", ValueType::I64),
    ("machine_running", ValueType::Bool),
    ("x_state", ValueType::Text),
    ("temperature", ValueType::F64),
    ("welding_current", ValueType::F64),
];

/// Options under which nothing happens by itself.
pub(crate) fn options() -> Options {
    let compaction = Compaction { check: None, ..Default::default() };
    Options {
        commit_interval: std::time::Duration::ZERO,
        compaction,
        log_bytes: u64::MAX,
        now: std::sync::Arc::new(|| BOOTED_US + 3_600_000_000),
        readmit: Some(admission::readmit(86_400_000_000)),
        classes: crate::store::retention::Classes::default(),
        retention_us: 90 * 86_400_000_000,
    }
}

pub(crate) struct Plant {
    pub gateway: GatewayId,
    pub births: Births,
    pub lane: LaneId,
    pub boot: BootId,
    pub epoch: u64,
    pub sequence: u64,
    pub cumulative: u64,
}

impl Plant {
    /// A plant whose first asset is `asset`.
    pub(crate) fn new(gateway: &str, asset: &str) -> Self {
        Self {
            gateway: GatewayId::new(gateway).unwrap(),
            births: births(asset, "MPa"),
            lane: LaneId::random(),
            boot: BootId::random(),
            epoch: 0,
            sequence: 0,
            cumulative: 0,
        }
    }

    pub(crate) fn firm(&self) -> FirmId {
        self.gateway.firm()
    }

    pub(crate) fn key(&self, series: usize) -> SeriesKey {
        let asset = self.births.assets[0].id.clone();
        SeriesKey { firm: self.firm(), asset, metric: self.births.series[series].metric.clone() }
    }

    pub(crate) fn keys(&self) -> Vec<SeriesKey> {
        (0..self.births.series.len()).map(|series| self.key(series)).collect()
    }

    /// Opens a session in the store and registers births and clock.
    pub(crate) async fn connect(&mut self, store: &dyn Readings) -> std::sync::Arc<Registered> {
        let opening = store.open_session(&self.gateway, self.epoch, &[self.lane]).await.unwrap();
        let Opening::Granted { epoch, .. } = opening else { panic!("fenced: {opening:?}") };
        self.epoch = epoch;
        store.set_clock(&self.gateway, self.boot, CLOCK).await.unwrap();
        store.register(&self.gateway, self.births.clone()).await.unwrap()
    }

    /// Seals the next record of the lane.
    pub(crate) fn seal(&mut self, readings: &[Reading]) -> Sealed {
        let mut builder = BatchBuilder::default();
        for (series, at_us, value, quality) in readings.iter().cloned() {
            builder.push(series, at_us, value, quality).unwrap();
        }
        self.sequence += 1;
        self.cumulative += readings.len() as u64;
        Sealed {
            lane: self.lane,
            sequence: self.sequence,
            births: self.births.hash(),
            boot: self.boot,
            cumulative_readings: self.cumulative,
            first_us: readings.iter().map(|reading| reading.1).min().unwrap_or(0),
            last_us: readings.iter().map(|reading| reading.1).max().unwrap_or(0),
            payload: batch::encode(&builder.take()),
        }
    }

    /// What a session would hand to the store.
    pub(crate) fn admitted(&self, sealed: &Sealed, registered: &Registered) -> Delivery {
        let bounds = Bounds { oldest_us: BOOTED_US - 1_000_000_000, newest_us: BOOTED_US + 86_400_000_000 };
        Delivery {
            gateway: self.gateway.clone(),
            epoch: self.epoch,
            lane: sealed.lane,
            first: sealed.sequence,
            last: sealed.sequence,
            cumulative: Some(sealed.cumulative_readings),
            content: admission::admit(sealed.clone(), registered, CLOCK, bounds),
        }
    }

    /// Declares `readings` gone between two times of the boot.
    pub(crate) async fn lose(&mut self, store: &dyn Readings, from_us: i64, to_us: i64, readings: u64) -> Stored {
        let first = self.sequence + 1;
        (self.sequence, self.cumulative) = (first, self.cumulative + readings);
        let moment = |monotonic_us| Some(Moment { boot: self.boot, monotonic_us });
        let gap = Gap {
            lane: self.lane,
            first_sequence: first,
            last_sequence: first,
            cause: v1::GapCause::SpoolFull,
            from: moment(from_us),
            to: moment(to_us),
            cumulative_before: self.cumulative - readings,
            cumulative_after: self.cumulative,
        };
        let delivery = Delivery {
            gateway: self.gateway.clone(),
            epoch: self.epoch,
            lane: self.lane,
            first,
            last: first,
            cumulative: Some(self.cumulative),
            content: Content::Gap {
                gap,
                from_us: Some(BOOTED_US + from_us),
                to_us: Some(BOOTED_US + to_us),
                uncertain: false,
            },
        };
        store.deliver(delivery).await.unwrap().await.unwrap().unwrap()
    }

    /// Seals, admits and stores.
    pub(crate) async fn deliver(&mut self, store: &dyn Readings, readings: &[Reading]) -> Stored {
        let registered = store.registered(&self.gateway, self.births.hash()).await.unwrap().unwrap();
        let sealed = self.seal(readings);
        let delivery = self.admitted(&sealed, &registered);
        store.deliver(delivery).await.unwrap().await.unwrap().unwrap()
    }
}

/// A set of births over [`METRICS`] of one asset.
pub(crate) fn births(asset: &str, unit: &str) -> Births {
    Births::new(&v1::BirthSet {
        assets: vec![v1::Asset {
            id: AssetId::new(asset).unwrap().to_string(),
            path: format!("plant-1/{asset}"),
            name_ko: "1호 프레스".into(),
            name_en: "Press 1".into(),
            time_zone: "Asia/Seoul".into(),
        }],
        devices: vec![v1::Device { name: "plc-1".into(), address: "modbus-tcp 10.0.0.5:502 unit 1".into() }],
        series: METRICS
            .iter()
            .map(|&(metric, value_type)| v1::Series {
                metric: MetricId::new(metric).unwrap().to_string(),
                unit: if value_type == ValueType::F64 { unit.into() } else { String::new() },
                value_type: value_type.into(),
                expected_interval_ms: 1000,
                signal: metric.into(),
                ..v1::Series::default()
            })
            .collect(),
    })
    .unwrap()
}

/// A good reading of series 0.
pub(crate) fn pressure(at_us: i64, value: f64) -> Reading {
    (0, at_us, Value::F64(value), Quality::GOOD)
}

/// A permit for everything of these series from the boot on for a day.
pub(crate) fn whole_day(series: Vec<SeriesKey>) -> Permit {
    Permit::for_test(series, Form::Raw, BOOTED_US - 1_000_000_000, BOOTED_US + 86_400_000_000)
}

/// Reads everything in chunks of `limit`, as text: NaN equals itself in it.
pub(crate) async fn read_all(store: &dyn Readings, permit: &Permit, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let chunk = store.read(permit, cursor, limit).await.unwrap();
        match chunk.rows {
            Rows::Raw(rows) => {
                assert!(rows.len() <= limit);
                all.extend(rows.into_iter().map(|row| format!("{row:?}")));
            }
            Rows::Buckets(rows) => {
                assert!(rows.len() <= limit);
                all.extend(rows.into_iter().map(|row| format!("{row:?}")));
            }
        }
        cursor = chunk.next;
        if cursor.is_none() {
            return all;
        }
    }
}

/// The raw values of one series as numbers.
pub(crate) async fn values(store: &dyn Readings, key: SeriesKey) -> Vec<f64> {
    let permit = whole_day(vec![key]);
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let chunk = store.read(&permit, cursor, 10_000).await.unwrap();
        let Rows::Raw(rows) = chunk.rows else { panic!("not raw") };
        all.extend(rows.iter().filter_map(|row| row.value.as_ref().and_then(Value::as_f64)));
        cursor = chunk.next;
        if cursor.is_none() {
            return all;
        }
    }
}

/// The content's letters.
pub(crate) fn letters(content: &Content) -> &[Letter] {
    match content {
        Content::Batch { letters, .. } | Content::Dead { letters, .. } => letters,
        Content::Forked { letter, .. } => std::slice::from_ref(letter),
        Content::Gap { .. } => &[],
    }
}
