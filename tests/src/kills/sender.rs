//! A simulated gateway that sends readings of any age and knows them all.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use sandan_gateway::clock;
use sandan_proto::batch::{self, BatchBuilder};
use sandan_proto::births::Births;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::reading::{Quality, Value};
use sandan_proto::record::Sealed;
use sandan_proto::v1::{self, gateway_frame::Frame, ingest_frame};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::chance::Chance;
use crate::harness::http::Series;
use crate::loadgen::gateway::Entry;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// Between two readings: hours of so many have statistics of their own.
const STEP_US: i64 = 5_000_000;
/// Rows of a batch: 10 minutes.
const ROWS: i64 = 120;
/// Of the batches in a hundred, those that come into a stretch that was sent before.
const LATE_PERCENT: u64 = 25;
/// Frames on their way to the socket.
const OUTBOUND: usize = 4;

/// How old readings are, and so what is left of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Age {
    /// Days: each reading stays.
    Days,
    /// Half a year: minutes and hours stay.
    Months,
    /// Some years: hours stay.
    Years,
}

impl Age {
    pub(super) const ALL: [Self; 3] = [Self::Days, Self::Months, Self::Years];

    /// What readings are by now that begin then: a store that was kept for a test grows old.
    pub(super) fn of(first_us: i64) -> Self {
        match clock::wall_us() - first_us {
            young if young < 80 * DAY_US => Self::Days,
            older if older < 700 * DAY_US => Self::Months,
            _ => Self::Years,
        }
    }

    /// How long before now such readings begin.
    fn before(self) -> i64 {
        match self {
            Self::Days => 20 * DAY_US,
            Self::Months => 200 * DAY_US,
            Self::Years => 1_000 * DAY_US,
        }
    }
}

/// What a series says of a serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Serial,
    Number(i64),
    Text,
}

impl Kind {
    const ALL: [(&'static str, Self); 4] = [
        ("x_serial", Self::Serial),
        ("x_a", Self::Number(7_919)),
        ("x_b", Self::Number(104_729)),
        ("x_text", Self::Text),
    ];

    fn wire(self) -> v1::ValueType {
        match self {
            Self::Serial => v1::ValueType::I64,
            Self::Number(_) => v1::ValueType::F64,
            Self::Text => v1::ValueType::Text,
        }
    }
}

/// A series of a sender. Each age has machines of its own: what is packed together is of one.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) series: Series,
    pub(super) age: Age,
    kind: Kind,
}

impl Known {
    /// Those of a firm's sender.
    pub(super) fn all(firm: &str) -> Vec<Self> {
        let of = |age| {
            Kind::ALL.map(|(metric, kind)| Self { series: Series::new(firm, &asset(firm, age), metric), age, kind })
        };
        Age::ALL.into_iter().flat_map(of).collect()
    }

    /// What was sent under a serial number. Numbers are eighths, so that sums are exact.
    pub(super) fn value(&self, serial: i64) -> Value {
        match self.kind {
            Kind::Serial => Value::I64(serial),
            Kind::Number(factor) => Value::F64((serial.wrapping_mul(factor) % 100_000) as f64 / 8.0),
            Kind::Text => Value::Text(format!("s{serial}")),
        }
    }

    /// The same as a number; none for a text.
    pub(super) fn number(&self, serial: i64) -> Option<f64> {
        match self.value(serial) {
            Value::F64(number) => Some(number),
            Value::I64(number) => Some(number as f64),
            _ => None,
        }
    }
}

fn asset(firm: &str, age: Age) -> String {
    format!("{firm}-{}", format!("{age:?}").to_lowercase())
}

fn births(firm: &str, known: &[Known]) -> anyhow::Result<Births> {
    let assets = Age::ALL.map(|age| asset(firm, age));
    let series = known.iter().map(|known| v1::Series {
        asset: assets.iter().zip(0..).find(|(id, _)| **id == known.series.asset).map_or(0, |(_, number)| number),
        metric: known.series.metric.clone(),
        value_type: known.kind.wire().into(),
        expected_interval_ms: 5_000,
        signal: format!("{:?} {}", known.age, known.series.metric),
        ..v1::Series::default()
    });
    let series = series.collect();
    let assets = assets.map(|id| v1::Asset { path: format!("kills/{id}"), id, ..v1::Asset::default() }).to_vec();
    let devices = vec![v1::Device { name: "sender".into(), address: "none".into() }];
    Ok(Births::new(&v1::BirthSet { assets, devices, series })?)
}

/// What was sent, by age and time: the serial number.
pub(super) type Sent = BTreeMap<Age, BTreeMap<i64, i64>>;

/// A stretch of 10 minutes that holds every second reading.
struct Stretch {
    age: Age,
    from_us: i64,
}

pub(super) struct Sender {
    id: String,
    entry: Entry,
    lane: LaneId,
    boot: BootId,
    births: Births,
    pub(super) known: Vec<Known>,
    /// All that was ever made.
    pub(super) sent: Sent,
    serial: i64,
    sequence: u64,
    cumulative: u64,
    epoch: u64,
    next_us: BTreeMap<Age, i64>,
    open: Vec<Stretch>,
    waiting: VecDeque<v1::Sealed>,
}

impl Sender {
    /// Enrols a gateway of a firm; its identity is kept in `dir`.
    pub(super) async fn enroll(id: &str, dir: &Path, invitation: &str) -> anyhow::Result<Self> {
        let entry = Entry::enroll(dir, invitation).await?;
        let firm = id.split('/').next().unwrap_or_default();
        let known = Known::all(firm);
        let births = births(firm, &known)?;
        let mut boot = [0; 16];
        getrandom::fill(&mut boot).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let now = clock::wall_us();
        Ok(Self {
            id: id.to_owned(),
            entry,
            lane: LaneId::random(),
            boot: BootId::from_bytes(&boot)?,
            births,
            known,
            sent: Sent::new(),
            serial: 0,
            sequence: 0,
            cumulative: 0,
            epoch: 0,
            next_us: Age::ALL.map(|age| (age, (now - age.before()).div_euclid(HOUR_US) * HOUR_US)).into(),
            open: Vec::new(),
            waiting: VecDeque::new(),
        })
    }

    /// Seals a batch of one age.
    pub(super) fn make(&mut self, chance: &mut Chance, age: Age) {
        let late = self.open.iter().position(|it| it.age == age).filter(|_| chance.percent(LATE_PERCENT));
        let from_us = if let Some(at) = late {
            // Between the readings that were sent before.
            self.open.swap_remove(at).from_us + STEP_US / 2
        } else {
            let next = self.next_us.entry(age).or_default();
            let from_us = *next;
            *next += ROWS * STEP_US;
            self.open.push(Stretch { age, from_us });
            from_us
        };
        let mut builder = BatchBuilder::default();
        for row in 0..ROWS {
            let at_us = from_us + row * STEP_US;
            self.serial += 1;
            for (number, known) in (0..).zip(&self.known).filter(|(_, known)| known.age == age) {
                // A new builder takes rows in order of time.
                let _ = builder.push(number, at_us, known.value(self.serial), Quality::GOOD);
            }
            self.sent.entry(age).or_default().insert(at_us, self.serial);
        }
        self.sequence += 1;
        self.cumulative += builder.readings() as u64;
        let sealed = Sealed {
            lane: self.lane,
            sequence: self.sequence,
            births: self.births.hash(),
            boot: self.boot,
            cumulative_readings: self.cumulative,
            first_us: from_us,
            last_us: from_us + (ROWS - 1) * STEP_US,
            payload: batch::encode(&builder.take()),
        };
        self.waiting.push_back(sealed.to_wire());
    }

    /// Sends what waits, and returns once all of it is acknowledged.
    pub(super) async fn session(&mut self) -> anyhow::Result<()> {
        let (out, frames) = mpsc::channel(OUTBOUND);
        let send = async |frame| out.send(v1::GatewayFrame { frame: Some(frame) }).await.context("the line is gone");
        send(Frame::Hello(self.hello())).await?;
        let mut inbound = self.entry.open(frames).await?;
        let first = inbound.message().await?.and_then(|frame| frame.frame);
        let Some(ingest_frame::Frame::Welcome(welcome)) = first else { bail!("no Welcome came: {first:?}") };
        self.epoch = welcome.epoch;
        let lane = self.lane.to_vec();
        for watermark in welcome.watermarks.iter().filter(|watermark| watermark.lane == lane) {
            self.acked(watermark.durable_through);
        }
        let births =
            v1::Births { hash: self.births.hash().as_bytes().to_vec(), content: self.births.content().clone() };
        send(Frame::Births(births)).await?;
        // Times are wall times already.
        let source = v1::clock_offset::Source::System.into();
        send(Frame::Clock(v1::ClockOffset { boot_id: self.boot.to_vec(), offset_us: 0, source })).await?;
        let mut credits = welcome.credits.unwrap_or_default().records;
        let mut next = self.first_waiting();
        let mut paused_until = tokio::time::Instant::now();
        while !self.waiting.is_empty() {
            let in_flight = next.saturating_sub(self.first_waiting());
            let at = usize::try_from(in_flight).unwrap_or(usize::MAX);
            let due = self.waiting.get(at).filter(|_| in_flight < u64::from(credits)).cloned();
            tokio::select! {
                frame = inbound.message() => match frame?.context("the ingest closed the line")?.frame {
                    Some(ingest_frame::Frame::Ack(ack)) => {
                        anyhow::ensure!(ack.dead_lettered == 0, "{} readings are dead letters", ack.dead_lettered);
                        for watermark in &ack.watermarks {
                            self.acked(watermark.durable_through);
                            next = next.max(watermark.durable_through + 1);
                        }
                        credits = ack.credits.map_or(credits, |credits| credits.records);
                    }
                    Some(ingest_frame::Frame::Expected(expected)) => next = expected.sequence,
                    Some(ingest_frame::Frame::RetryLater(later)) => {
                        next = later.sequence;
                        paused_until = tokio::time::Instant::now() + Duration::from_millis(later.delay_ms.into());
                    }
                    Some(ingest_frame::Frame::Goodbye(goodbye)) => bail!("the ingest said goodbye: {}", goodbye.detail),
                    _ => {}
                },
                permit = out.reserve(), if due.is_some() && tokio::time::Instant::now() >= paused_until => {
                    permit.context("the line is gone")?.send(v1::GatewayFrame { frame: due.map(Frame::Sealed) });
                    next += 1;
                }
                () = tokio::time::sleep_until(paused_until), if tokio::time::Instant::now() < paused_until => {}
            }
        }
        let reason = v1::goodbye::Reason::Shutdown.into();
        // Everything is acknowledged: whether this arrives is nobody's concern.
        let _ = send(Frame::Goodbye(v1::Goodbye { reason, detail: String::new() })).await;
        Ok(())
    }

    fn first_waiting(&self) -> u64 {
        self.waiting.front().map_or(self.sequence + 1, |first| first.sequence)
    }

    fn acked(&mut self, through: u64) {
        while self.waiting.front().is_some_and(|first| first.sequence <= through) {
            self.waiting.pop_front();
        }
    }

    fn hello(&self) -> v1::Hello {
        let lane = v1::LaneState {
            lane: self.lane.to_vec(),
            first_kept: self.first_waiting(),
            last_sealed: self.sequence,
            read_only: false,
        };
        v1::Hello {
            gateway: self.id.clone(),
            boot_id: self.boot.to_vec(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: sandan_proto::PROTOCOL_VERSION,
            config_hash: vec![0; 32],
            lanes: vec![lane],
            last_epoch: self.epoch,
            store_timeline: Vec::new(),
            wall_time_us: clock::wall_us(),
        }
    }
}
