//! One simulated gateway.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sandan_gateway::identity::{self, Identity};
use sandan_gateway::{clock, uplink};
use sandan_proto::batch::{self, BatchBuilder, Column, Group, Values};
use sandan_proto::births::Births;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::invitation::Invitation;
use sandan_proto::limits::MAX_MESSAGE_BYTES;
use sandan_proto::reading::{Quality, Value};
use sandan_proto::record::Sealed;
use sandan_proto::v1::{self, gateway_frame::Frame, ingest_frame, uplink_client::UplinkClient};
use tokio::sync::mpsc;
use tokio::time::{Instant as Moment, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;

use super::Load;
use crate::chance::Chance;

/// Between two batches.
const SEAL: Duration = Duration::from_secs(1);
/// Between two tries to connect.
const AGAIN: Duration = Duration::from_millis(300);
/// Between two reports.
const BEAT: Duration = Duration::from_secs(5);
/// Frames on their way to the socket.
const OUTBOUND: usize = 4;
/// Readings of a column in a batch that is sealed before the clock starts.
const COLUMN: u32 = 10;

/// How a gateway gets in.
pub(crate) struct Entry {
    identity: Identity,
}

impl Entry {
    /// Enrols a gateway with its invitation; its identity is kept in `dir`.
    pub(crate) async fn enroll(dir: &Path, invitation: &str) -> anyhow::Result<Self> {
        let invitation = Invitation::parse(invitation)?;
        let identity = Identity::new(dir, invitation.gateway.clone());
        let at = invitation.authority();
        let dial = async |tls| uplink::connect(&at, None, tls).await;
        identity::enroll(&identity, &invitation, Arc::new(clock::wall_us), dial).await?;
        Ok(Self { identity })
    }

    /// The one place that knows how a gateway shows who it is.
    pub(crate) async fn open(
        &self,
        frames: mpsc::Receiver<v1::GatewayFrame>,
    ) -> anyhow::Result<tonic::Streaming<v1::IngestFrame>> {
        let credentials = self.identity.credentials()?;
        let tls = credentials.client_config(Arc::new(clock::wall_us))?;
        let channel = uplink::connect(&credentials.ingest, None, tls).await?;
        let request = tonic::Request::new(ReceiverStream::new(frames));
        let mut client = UplinkClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(client.session(request).await?.into_inner())
    }
}

/// What a gateway made up, and what it was told.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) asset: String,
    /// Of its series; the first is the serial number.
    pub(super) metrics: Vec<String>,
    /// Serial number, time, values.
    pub(super) rows: Vec<(i64, i64, Vec<Value>)>,
    pub(super) delays_ms: Vec<f64>,
    pub(super) acknowledged: u64,
    pub(super) duplicates: u64,
    pub(super) sessions: u64,
}

/// A batch that is not acknowledged.
struct Waiting {
    sealed: v1::Sealed,
    readings: u64,
    since: Instant,
}

pub(super) struct Generator {
    id: String,
    entry: Entry,
    rate: u32,
    resend: u8,
    chance: Chance,
    lane: LaneId,
    boot: BootId,
    births: Births,
    offset_us: i64,
    serial: i64,
    sequence: u64,
    cumulative: u64,
    /// Monotonic time up to which readings are made, µs.
    made_until_us: i64,
    /// Everything was sealed before.
    stocked: bool,
    epoch: u64,
    waiting: VecDeque<Waiting>,
    made: Made,
}

impl Generator {
    pub(super) fn new(id: &str, entry: Entry, load: &Load, seed: u64) -> anyhow::Result<Self> {
        let asset = id.replace('/', "-");
        // What is not read back needs no serial number.
        let serial = load.unpaced.is_none().then(|| "x_serial".to_owned());
        let typed = serial.iter().map(|_| v1::ValueType::I64).chain(std::iter::repeat(v1::ValueType::F64));
        let metrics: Vec<String> =
            serial.iter().cloned().chain((0..load.signals).map(|at| format!("x_s{at}"))).collect();
        let series = metrics.iter().zip(typed).map(|(metric, of)| v1::Series {
            metric: metric.clone(),
            value_type: of.into(),
            expected_interval_ms: 1000,
            signal: metric.clone(),
            ..v1::Series::default()
        });
        let births = Births::new(&v1::BirthSet {
            assets: vec![v1::Asset { id: asset.clone(), path: format!("load/{asset}"), ..v1::Asset::default() }],
            devices: vec![v1::Device { name: "generator".into(), address: "none".into() }],
            series: series.collect(),
        })?;
        let mut boot = [0; 16];
        getrandom::fill(&mut boot).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        Ok(Self {
            id: id.to_owned(),
            entry,
            rate: load.rate,
            resend: load.resend,
            chance: Chance::new(seed),
            lane: LaneId::random(),
            boot: BootId::from_bytes(&boot)?,
            births,
            offset_us: clock::wall_us() - clock::monotonic_us(),
            serial: 0,
            sequence: 0,
            cumulative: 0,
            made_until_us: clock::monotonic_us(),
            stocked: load.unpaced.is_some(),
            epoch: 0,
            waiting: VecDeque::new(),
            made: Made { asset, metrics, ..Made::default() },
        })
    }

    /// Makes readings until then on the boot clock, µs, and goes on until all of them are acknowledged.
    pub(super) async fn run(mut self, until_us: i64) -> anyhow::Result<Made> {
        loop {
            // Another gateway's lost connection, or ours: it is tried again, as a gateway does.
            match self.session(until_us).await {
                Ok(()) => return Ok(self.made),
                Err(error) => tracing::debug!(gateway = self.id, error = format!("{error:#}"), "session ended"),
            }
            self.make(until_us);
            sleep(AGAIN).await;
        }
    }

    /// Seals so many readings in advance, as they may lie in a spool: no batch is made while the
    /// clock runs. Each column walks by tenths; the last of them is of now.
    pub(super) fn stock_up(&mut self, readings: u64) {
        let signals = self.made.metrics.len();
        let batches = readings.div_ceil(signals as u64 * u64::from(COLUMN));
        let step_us = 1_000_000 / i64::from(self.rate);
        let mut first_us = clock::monotonic_us() - batches.cast_signed() * i64::from(COLUMN) * step_us;
        let mut tenths: Vec<i64> = (0..signals).map(|at| 1_000 + at as i64).collect();
        for _ in 0..batches {
            let times_us: Vec<i64> = (0..i64::from(COLUMN)).map(|row| first_us + row * step_us).collect();
            let columns = (0..).zip(&mut tenths).map(|(series, tenths)| {
                let values = times_us.iter().map(|_| {
                    *tenths += self.chance.below(7).cast_signed() - 3;
                    *tenths as f64 / 10.0
                });
                Column { series, quality: Vec::new(), values: Values::F64(values.collect()) }
            });
            let columns = columns.collect();
            first_us += i64::from(COLUMN) * step_us;
            self.seal(&[Group { times_us, columns }]);
        }
    }

    /// Seals the next batch of the lane.
    fn seal(&mut self, groups: &[Group]) {
        let times = || groups.iter().flat_map(|group| group.times_us.iter().copied());
        let readings = batch::count(groups);
        self.sequence += 1;
        self.cumulative += readings;
        let sealed = Sealed {
            lane: self.lane,
            sequence: self.sequence,
            births: self.births.hash(),
            boot: self.boot,
            cumulative_readings: self.cumulative,
            first_us: times().min().unwrap_or_default(),
            last_us: times().max().unwrap_or_default(),
            payload: batch::encode(groups),
        };
        self.waiting.push_back(Waiting { sealed: sealed.to_wire(), readings, since: Instant::now() });
    }

    /// Seals the batches that are due.
    fn make(&mut self, until_us: i64) {
        let step_us = 1_000_000 / i64::from(self.rate);
        let batch_us = i64::try_from(SEAL.as_micros()).unwrap_or(i64::MAX);
        while !self.stocked && self.made_until_us + batch_us <= until_us.min(clock::monotonic_us()) {
            let mut builder = BatchBuilder::default();
            let first_us = self.made_until_us;
            for row in 0..i64::from(self.rate) {
                let at_us = first_us + row * step_us;
                self.serial += 1;
                let values: Vec<Value> = (1..self.made.metrics.len())
                    .map(|_| Value::F64((self.chance.below(100_000) as f64) / 8.0))
                    .collect();
                let all = std::iter::once(Value::I64(self.serial)).chain(values.iter().cloned());
                for (series, value) in (0..).zip(all) {
                    // A new builder takes rows in order of time.
                    let _ = builder.push(series, at_us, value, Quality::GOOD);
                }
                self.made.rows.push((self.serial, at_us + self.offset_us, values));
            }
            self.seal(&builder.take());
            self.made_until_us += batch_us;
        }
    }

    async fn session(&mut self, until_us: i64) -> anyhow::Result<()> {
        let (out, frames) = mpsc::channel(OUTBOUND);
        let send = async |frame| out.send(v1::GatewayFrame { frame: Some(frame) }).await.context("the line is gone");
        send(Frame::Hello(self.hello())).await?;
        let mut inbound = self.entry.open(frames).await?;
        let first = inbound.message().await?.and_then(|frame| frame.frame);
        let Some(ingest_frame::Frame::Welcome(welcome)) = first else { bail!("no Welcome came") };
        self.epoch = welcome.epoch;
        self.made.sessions += 1;
        let lane = self.lane.to_vec();
        for watermark in welcome.watermarks.iter().filter(|watermark| watermark.lane == lane) {
            self.acked(watermark.durable_through);
        }
        send(Frame::Births(v1::Births {
            hash: self.births.hash().as_bytes().to_vec(),
            content: self.births.content().clone(),
        }))
        .await?;
        send(Frame::Clock(v1::ClockOffset {
            boot_id: self.boot.to_vec(),
            offset_us: self.offset_us,
            source: v1::clock_offset::Source::System.into(),
        }))
        .await?;
        let mut credits = welcome.credits.unwrap_or_default();
        let mut next = self.waiting.front().map_or(self.sequence + 1, |first| first.sealed.sequence);
        let mut again: Option<v1::Sealed> = None;
        let (mut beat, duplicates) = (tokio::time::interval(BEAT), self.made.duplicates);
        let mut paused_until = Moment::now();
        loop {
            self.make(until_us);
            if self.waiting.is_empty() && clock::monotonic_us() >= until_us {
                send(Frame::Goodbye(v1::Goodbye {
                    reason: v1::goodbye::Reason::Shutdown.into(),
                    detail: String::new(),
                }))
                .await?;
                return Ok(());
            }
            let front = self.waiting.front().map_or(next, |first| first.sealed.sequence);
            let in_flight = next.saturating_sub(front);
            let at = usize::try_from(in_flight).unwrap_or(usize::MAX);
            let due = again.clone().or_else(|| {
                (in_flight < u64::from(credits.records)).then(|| Some(self.waiting.get(at)?.sealed.clone()))?
            });
            tokio::select! {
                frame = inbound.message() => match frame?.context("the ingest closed the line")?.frame {
                    Some(ingest_frame::Frame::Ack(ack)) => {
                        for watermark in &ack.watermarks {
                            let last = self.acked(watermark.durable_through);
                            next = next.max(watermark.durable_through + 1);
                            if self.chance.percent(self.resend.into()) {
                                again = last;
                            }
                        }
                        self.made.duplicates = duplicates + ack.duplicate;
                        credits = ack.credits.unwrap_or(credits);
                    }
                    Some(ingest_frame::Frame::Expected(expected)) => next = expected.sequence,
                    Some(ingest_frame::Frame::RetryLater(later)) => {
                        next = later.sequence;
                        paused_until = Moment::now() + Duration::from_millis(later.delay_ms.into());
                    }
                    Some(ingest_frame::Frame::Goodbye(goodbye)) => bail!("the ingest said goodbye: {}", goodbye.detail),
                    _ => {}
                },
                permit = out.reserve(), if due.is_some() && Moment::now() >= paused_until => {
                    let permit = permit.context("the line is gone")?;
                    if again.take().is_none() {
                        next += 1;
                        if let Some(waiting) = self.waiting.get_mut(at).filter(|_| self.stocked) {
                            waiting.since = Instant::now();
                        }
                    }
                    permit.send(v1::GatewayFrame { frame: due.map(Frame::Sealed) });
                }
                _ = beat.tick() => send(Frame::Health(v1::Health::default())).await?,
                () = sleep_until((Moment::now() + SEAL / 10).max(paused_until)) => {}
            }
        }
    }

    fn hello(&self) -> v1::Hello {
        let first_kept = self.waiting.front().map_or(self.sequence + 1, |first| first.sealed.sequence);
        v1::Hello {
            gateway: self.id.clone(),
            boot_id: self.boot.to_vec(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: sandan_proto::PROTOCOL_VERSION,
            config_hash: vec![0; 32],
            lanes: vec![v1::LaneState {
                lane: self.lane.to_vec(),
                first_kept,
                last_sealed: self.sequence,
                read_only: false,
            }],
            last_epoch: self.epoch,
            store_timeline: Vec::new(),
            wall_time_us: clock::wall_us(),
        }
    }

    /// Forgets what is durable; gives the last of it.
    fn acked(&mut self, through: u64) -> Option<v1::Sealed> {
        let mut last = None;
        while self.waiting.front().is_some_and(|first| first.sealed.sequence <= through) {
            let done = self.waiting.pop_front()?;
            self.made.acknowledged += done.readings;
            self.made.delays_ms.push(done.since.elapsed().as_secs_f64() * 1000.0);
            last = Some(done.sealed);
        }
        last
    }
}
