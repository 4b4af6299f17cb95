//! A gateway that hands its batches straight to the store.
//!
//! The benches of `sandan-ingest` include this file by its path, so that it uses nothing else of
//! this package.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use anyhow::{Context, bail};
use sandan_ingest::consent::{Form, Function, Manner, Permit, Request, Snapshot, decide};
use sandan_ingest::store::{Clock, Content, Delivery, Opening, Placement, Readings, Receipt, Registered, Stored};
use sandan_proto::batch::{self, Group};
use sandan_proto::births::Births;
use sandan_proto::id::{BootId, FirmId, GatewayId, LaneId, SeriesKey};
use sandan_proto::reading::ValueType;
use sandan_proto::record::Sealed;
use sandan_proto::v1;

/// The wall time at which every boot of a bench began, µs since 1970: 2026-01-01T00:00:00Z.
pub(crate) const BEGAN_US: i64 = 1_767_225_600_000_000;
/// Batches that wait for a commit.
const UNDERWAY: usize = 64;

/// What a firm may read of its own.
pub(crate) fn own(
    series: &SeriesKey,
    form: Form,
    functions: &[Function],
    from_us: i64,
    to_us: i64,
) -> anyhow::Result<Permit> {
    let snapshot = Snapshot::new(series.firm.clone(), 0, Vec::new());
    let request = Request {
        asker: series.firm.clone(),
        series: series.clone(),
        form,
        functions: functions.iter().copied().collect::<BTreeSet<_>>(),
        from_us,
        to_us,
        manner: Manner::default(),
    };
    match decide(&snapshot, &request, to_us) {
        Ok(decision) => decision.permits.into_iter().next().context("nothing lies in that range"),
        Err(denial) => bail!("a firm may not read its own: {denial:?}"),
    }
}

/// A series to be.
pub(crate) struct Series {
    /// Of the firm.
    pub asset: String,
    /// `x_…`
    pub metric: String,
    /// Of its values.
    pub of: ValueType,
}

/// One gateway of a firm of its own.
pub(crate) struct Plant {
    gateway: GatewayId,
    births: Births,
    registered: Arc<Registered>,
    lane: LaneId,
    boot: BootId,
    epoch: u64,
    sequence: u64,
    cumulative: u64,
    underway: VecDeque<Receipt>,
}

impl Plant {
    pub(crate) async fn connect(store: &dyn Readings, gateway: &str, series: &[Series]) -> anyhow::Result<Self> {
        let gateway = GatewayId::new(gateway)?;
        let mut assets: Vec<&str> = series.iter().map(|it| it.asset.as_str()).collect();
        assets.dedup();
        let set = v1::BirthSet {
            assets: assets
                .iter()
                .map(|id| v1::Asset {
                    id: (*id).to_owned(),
                    path: format!("plant-1/{id}"),
                    name_ko: (*id).to_owned(),
                    name_en: (*id).to_owned(),
                    time_zone: "Asia/Seoul".into(),
                })
                .collect(),
            devices: vec![v1::Device { name: "plc-1".into(), address: "a bench".into() }],
            series: series
                .iter()
                .map(|it| v1::Series {
                    asset: (0..).zip(&assets).find(|(_, asset)| **asset == it.asset).map_or(0, |(at, _)| at),
                    metric: it.metric.clone(),
                    value_type: it.of.into(),
                    expected_interval_ms: 1_000,
                    signal: it.metric.clone(),
                    ..v1::Series::default()
                })
                .collect(),
        };
        let births = Births::new(&set)?;
        let lane = LaneId::random();
        let boot = BootId::random();
        let Opening::Granted { epoch, .. } = store.open_session(&gateway, 0, &[lane]).await? else {
            bail!("the store refuses a gateway that it has not seen");
        };
        store.set_clock(&gateway, boot, Clock { offset_us: BEGAN_US, estimated: false }).await?;
        let registered = store.register(&gateway, births.clone()).await?;
        Ok(Self {
            gateway,
            births,
            registered,
            lane,
            boot,
            epoch,
            sequence: 0,
            cumulative: 0,
            underway: VecDeque::new(),
        })
    }

    pub(crate) fn firm(&self) -> FirmId {
        self.gateway.firm()
    }

    pub(crate) fn key(&self, series: usize) -> SeriesKey {
        let it = &self.births.series[series];
        SeriesKey { firm: self.firm(), asset: self.births.assets[it.asset].id.clone(), metric: it.metric.clone() }
    }

    /// Hands on one batch, as a session does that has checked it.
    pub(crate) async fn deliver(&mut self, store: &dyn Readings, groups: &[Group]) -> anyhow::Result<()> {
        let readings = batch::count(groups);
        let times = || groups.iter().flat_map(|group| [group.times_us.first(), group.times_us.last()]).flatten();
        let (Some(&first_us), Some(&last_us)) = (times().min(), times().max()) else { return Ok(()) };
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
        let columns = groups.iter().flat_map(|group| group.columns.iter().map(move |column| (group, column)));
        let newest = columns
            .filter_map(|(group, column)| match self.registered.places.get(column.series as usize)? {
                Placement::Own(number, _) => Some((*number, BEGAN_US + group.times_us.last()?)),
                _ => None,
            })
            .collect();
        let delivery = Delivery {
            gateway: self.gateway.clone(),
            epoch: self.epoch,
            lane: self.lane,
            first: self.sequence,
            last: self.sequence,
            cumulative: Some(self.cumulative),
            content: Content::Batch {
                sealed,
                births: self.registered.number,
                clock: Clock { offset_us: BEGAN_US, estimated: false },
                first_us: BEGAN_US + first_us,
                last_us: BEGAN_US + last_us,
                readings,
                dead_columns: Vec::new(),
                newest,
                letters: Vec::new(),
            },
        };
        self.underway.push_back(store.deliver(delivery).await?);
        self.settle(UNDERWAY).await
    }

    /// Waits until no more than so many batches are under way.
    pub(crate) async fn settle(&mut self, underway: usize) -> anyhow::Result<()> {
        while self.underway.len() > underway {
            let Some(receipt) = self.underway.pop_front() else { break };
            match receipt.await?? {
                Stored::Done { .. } => {}
                other => bail!("the store did not take a batch: {other:?}"),
            }
        }
        Ok(())
    }
}
