//! The drivers that run, and how they become those of a changed configuration.
//!
//! A reload takes effect whole or not at all. First what changed is stopped in order, while
//! the rest goes on. Then the recorder takes over: what is on its way from the stopped drivers
//! is recorded under the old declarations, and what comes after under the new ones. Only then
//! new drivers begin. A driver that goes on keeps the numbers of its signals and devices;
//! health and the tag stage know what they are now.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sandan_proto::births::Births;
use sandan_proto::invitation::to_hex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::notify::Notifier;
use super::reload::{self, Plan};
use crate::config::{Config, Endpoint, Faults};
use crate::driver::{self, Outlet, Reply};
use crate::health::Health;
use crate::spool::Spool;
use crate::uplink::Timekeeper;

/// A driver that panicked is started again after this pause.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How long a reload waits for drivers that it stops: what a broker's takes at most, and some.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// What the recorder has to do for a reload.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) from: Arc<Config>,
    pub(super) to: Arc<Config>,
    pub(super) births: Births,
    /// Where the signals of `from` are in `to`.
    pub(super) signals: Vec<Option<u32>>,
    /// The drivers that go on.
    pub(super) kept: Vec<usize>,
    /// New ones.
    pub(super) new: Vec<(usize, Source)>,
    pub(super) done: oneshot::Sender<()>,
}

/// What the recorder knows of a driver.
#[derive(Debug)]
pub(super) struct Source {
    /// Protocol and place.
    pub(super) place: String,
    /// Where its synced tickets go.
    pub(super) synced: watch::Sender<u64>,
}

/// A driver at work.
#[derive(Debug)]
struct Running {
    /// Its number, of its own in the life of the process.
    source: usize,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Where the drivers' replies go.
#[derive(Debug)]
pub(super) struct Inlets {
    pub(super) polled: mpsc::Sender<Reply>,
    pub(super) delivered: mpsc::Sender<Reply>,
    pub(super) orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
pub(super) struct Fleet {
    /// Where the configuration is.
    path: PathBuf,
    config: Arc<Config>,
    health: Health,
    spool: Spool,
    time: Timekeeper,
    inlets: Inlets,
    hash: watch::Sender<[u8; 32]>,
    notifier: Notifier,
    /// In the order of the configuration's endpoints.
    running: Vec<Running>,
    next_source: usize,
    polling: CancellationToken,
}

impl Fleet {
    pub(super) fn new(
        (path, config): (PathBuf, Arc<Config>),
        health: Health,
        (spool, time): (Spool, Timekeeper),
        inlets: Inlets,
        notifier: Notifier,
        polling: CancellationToken,
    ) -> Self {
        let hash = watch::Sender::new(config.hash());
        let (running, next_source) = (Vec::new(), 0);
        Self { path, config, health, spool, time, inlets, hash, notifier, running, next_source, polling }
    }

    /// The hash of the configuration that runs.
    pub(super) fn hash(&self) -> watch::Receiver<[u8; 32]> {
        self.hash.subscribe()
    }

    /// Starts a driver for each endpoint. Gives what the recorder has to know of each.
    pub(super) fn start(&mut self) -> Vec<Source> {
        let config = self.config.clone();
        let start = |endpoint: &Endpoint| {
            let (synced, tickets) = watch::channel(0);
            let driver = self.spawn(endpoint.clone(), tickets);
            self.running.push(driver);
            Source { place: endpoint.place(), synced }
        };
        config.endpoints.iter().map(start).collect()
    }

    fn spawn(&mut self, endpoint: Endpoint, synced: watch::Receiver<u64>) -> Running {
        let source = self.next_source;
        self.next_source += 1;
        let (replies, known) = match &endpoint {
            Endpoint::Modbus(_) => (&self.inlets.polled, Vec::new()),
            Endpoint::Mqtt(mqtt) => (&self.inlets.delivered, self.spool.take_delivered(driver::mqtt::session(mqtt))),
        };
        let outlet = Outlet::new(source, replies.clone(), synced).knowing(known).dated_by(self.time.offset());
        let stop = self.polling.child_token();
        let task = tokio::spawn(supervise(endpoint, outlet, self.health.clone(), stop.clone()));
        Running { source, stop, task }
    }

    /// Waits for all drivers, once polling has ended, and takes no more replies.
    pub(super) async fn ended(self) {
        for driver in self.running {
            // What went wrong in it was told where it was started again.
            let _ = driver.task.await;
        }
    }

    /// Reads the configuration anew and goes over to it. One that is not good, or asks for what
    /// a running gateway cannot do, changes nothing, and is told in the log and in the status.
    pub(super) async fn reload(&mut self) {
        self.notifier.reloading();
        let path = self.path.clone();
        let loaded = tokio::task::spawn_blocking(move || Config::load(&path)).await;
        let gone_over = match loaded {
            Ok(Ok(config)) => self.go_over(Arc::new(config)).await,
            Ok(Err(faults)) => Err(sentences(&faults)),
            Err(error) => Err(vec![format!("reading it failed: {error}")]),
        };
        match gone_over {
            Ok(told) => {
                tracing::info!(hash = to_hex(&self.config.hash()), "{told}");
                self.health.config_runs(to_hex(&self.config.hash()));
                self.notifier.ready(&told);
            }
            Err(why) => {
                for line in &why {
                    tracing::error!("the changed configuration is refused: {line}");
                }
                self.notifier.ready("the changed configuration is refused; the one before runs on");
                self.health.config_refused(why);
            }
        }
    }

    async fn go_over(&mut self, config: Arc<Config>) -> Result<String, Vec<String>> {
        if config.hash() == self.config.hash() {
            return Ok("the configuration is the one that runs".into());
        }
        let refused = reload::needs_restart(&self.config, &config);
        if !refused.is_empty() {
            return Err(refused);
        }
        let plan = reload::plan(&self.config, &config);
        let mut before: Vec<Option<Running>> = std::mem::take(&mut self.running).into_iter().map(Some).collect();
        let mut kept: Vec<Option<Running>> =
            plan.endpoints.iter().map(|old| old.and_then(|old| before[old].take())).collect();
        let stopped = before.iter().flatten().count();
        end(before.into_iter().flatten().collect()).await;

        let new: Vec<_> = kept.iter().filter(|kept| kept.is_none()).map(|_| watch::channel(0)).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = new.into_iter().unzip();
        let begun = senders.len();
        let sources: Vec<usize> = {
            let mut fresh = self.next_source..;
            let source = |kept: &Option<Running>| kept.as_ref().map(|kept| kept.source).or_else(|| fresh.next());
            kept.iter().filter_map(source).collect()
        };
        let order = self.order(&config, &plan, &kept, senders);
        self.health = self.health.reloaded(&config, &sources, &plan.devices);
        self.config = config;
        let taken = self.hand_over(order).await;
        let mut receivers = receivers.into_iter();
        for (index, driver) in kept.iter_mut().enumerate() {
            let Some(driver) = driver.take().or_else(|| {
                let endpoint = self.config.endpoints[index].clone();
                receivers.next().map(|synced| self.spawn(endpoint, synced))
            }) else {
                continue;
            };
            self.running.push(driver);
        }
        taken?;
        self.hash.send_replace(self.config.hash());
        let unchanged = self.running.len() - begun;
        Ok(format!(
            "the changed configuration runs: {unchanged} endpoints went on, {stopped} were stopped, {begun} begun"
        ))
    }

    fn order(
        &self,
        to: &Arc<Config>,
        plan: &Plan,
        kept: &[Option<Running>],
        new: Vec<watch::Sender<u64>>,
    ) -> (Order, oneshot::Receiver<()>) {
        let (done, is_done) = oneshot::channel();
        let fresh = to.endpoints.iter().zip(kept).filter(|(_, kept)| kept.is_none());
        let fresh = fresh.map(|(endpoint, _)| endpoint.place());
        let order = Order {
            from: self.config.clone(),
            to: to.clone(),
            births: to.births(),
            signals: plan.signals.clone(),
            kept: kept.iter().flatten().map(|driver| driver.source).collect(),
            new: (self.next_source..).zip(fresh.zip(new).map(|(place, synced)| Source { place, synced })).collect(),
            done,
        };
        (order, is_done)
    }

    async fn hand_over(&self, (order, is_done): (Order, oneshot::Receiver<()>)) -> Result<(), Vec<String>> {
        let gone = || vec!["the recorder has ended".to_owned()];
        self.inlets.orders.send(order).await.map_err(|_| gone())?;
        is_done.await.map_err(|_| gone())
    }
}

/// Stops drivers in order: what they took is recorded, and acknowledged where it has to be.
async fn end(drivers: Vec<Running>) {
    for driver in &drivers {
        driver.stop.cancel();
    }
    let all = async {
        for driver in drivers {
            let _ = driver.task.await;
        }
    };
    if tokio::time::timeout(STOP_PATIENCE, all).await.is_err() {
        tracing::warn!("a driver takes long to stop; what it still brings is not recorded");
    }
}

/// Keeps one driver running. It returns only when it is stopped.
async fn supervise(endpoint: Endpoint, outlet: Outlet, health: Health, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let task = tokio::spawn(drive(endpoint.clone(), outlet.clone(), health.clone(), stop.clone()));
        if let Err(error) = task.await {
            tracing::error!(endpoint = endpoint.place(), %error, "a driver failed and is started again");
            health.unreachable(outlet.source, "the driver failed and is started again; see the log");
            tokio::select! {
                () = tokio::time::sleep(RESTART_PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

async fn drive(endpoint: Endpoint, outlet: Outlet, health: Health, stop: CancellationToken) {
    match endpoint {
        Endpoint::Modbus(endpoint) => driver::modbus::run(endpoint, outlet, health, stop).await,
        Endpoint::Mqtt(endpoint) => driver::mqtt::run(endpoint, outlet, health, stop).await,
    }
}

fn sentences(faults: &Faults) -> Vec<String> {
    faults.to_string().lines().map(str::to_owned).collect()
}
