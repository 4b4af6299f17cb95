//! A Sparkplug B edge node for tests: births, data, deaths, and messages that get lost, over
//! a real connection to a broker.
//!
//! It encodes its payloads by itself and shares no line with the product, so that one
//! mistake cannot be made twice.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, LastWill, MqttOptions, QoS};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::harness::{PATIENCE, wait_for};

mod encode;

pub use encode::{Metric, payload};

/// Publishes and acknowledgements on their way to the line.
const PENDING: usize = 1_024;

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What somebody told the node to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Where it was published.
    pub topic: String,
    /// What was.
    pub payload: Vec<u8>,
}

/// A node and its connection. Dropped, it is gone without a word, and the broker says so.
pub struct EdgeNode {
    group: String,
    node: String,
    session: u64,
    seq: u8,
    client: AsyncClient,
    commands: Arc<Mutex<Vec<Command>>>,
    stop: CancellationToken,
    runtime: Option<Runtime>,
}

impl EdgeNode {
    /// Connects with the death of the session as its will, and listens to commands. It has
    /// said nothing yet.
    pub fn connect(broker: SocketAddr, group: &str, node: &str, session: u64) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut options = MqttOptions::new(format!("edge-{node}"), broker.ip().to_string(), broker.port());
        let death = payload(None, None, &[Metric::long("bdSeq", 8, session)]);
        options
            .set_clean_session(true)
            .set_keep_alive(Duration::from_secs(5))
            .set_max_packet_size(1 << 20, 1 << 20)
            .set_last_will(LastWill::new(topic(group, "NDEATH", node, None), death, QoS::AtLeastOnce, false));
        let (client, events) = {
            let _inside = runtime.enter();
            AsyncClient::new(options, PENDING)
        };
        client.try_subscribe(topic(group, "NCMD", node, None), QoS::AtLeastOnce)?;
        client.try_subscribe(format!("spBv1.0/{group}/DCMD/{node}/#"), QoS::AtLeastOnce)?;
        let commands = Arc::new(Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let subscribed = CancellationToken::new();
        runtime.spawn(listen(events, commands.clone(), subscribed.clone(), stop.clone()));
        let (group, node) = (group.to_owned(), node.to_owned());
        wait_for("the edge node to be subscribed", PATIENCE, || subscribed.is_cancelled().then_some(()))?;
        Ok(Self { group, node, session, seq: 0, client, commands, stop, runtime: Some(runtime) })
    }

    /// NBIRTH: the sequence begins. Of what every birth holds, the session and the control
    /// metric come by themselves.
    pub fn birth(&mut self, metrics: &[Metric]) -> anyhow::Result<()> {
        self.seq = 0;
        let mut all = vec![Metric::long("bdSeq", 8, self.session), Metric::bool("Node Control/Rebirth", false)];
        all.extend_from_slice(metrics);
        self.say("NBIRTH", None, &all)
    }

    /// DBIRTH of a device.
    pub fn device_birth(&mut self, device: &str, metrics: &[Metric]) -> anyhow::Result<()> {
        self.say("DBIRTH", Some(device), metrics)
    }

    /// DDATA of a device, or NDATA of the node itself.
    pub fn data(&mut self, device: Option<&str>, metrics: &[Metric]) -> anyhow::Result<()> {
        self.say(if device.is_some() { "DDATA" } else { "NDATA" }, device, metrics)
    }

    /// DDEATH of a device.
    pub fn device_death(&mut self, device: &str) -> anyhow::Result<()> {
        self.say("DDEATH", Some(device), &[])
    }

    /// A message that is lost on its way.
    pub fn lose_one(&mut self) {
        self.seq = self.seq.wrapping_add(1);
    }

    fn say(&mut self, kind: &str, device: Option<&str>, metrics: &[Metric]) -> anyhow::Result<()> {
        let payload = payload(Some(now_ms()), Some(self.seq), metrics);
        self.seq = self.seq.wrapping_add(1);
        let topic = topic(&self.group, kind, &self.node, device);
        // As the specification has it: births and data are not acknowledged.
        self.client.try_publish(topic, QoS::AtMostOnce, false, payload).context("the edge node cannot publish")
    }

    /// What it was told to do so far.
    pub fn commands(&self) -> Vec<Command> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it was told to do so many things.
    pub fn wait_for_commands(&self, count: usize) -> anyhow::Result<Vec<Command>> {
        wait_for("a command to the edge node", PATIENCE, || Some(self.commands()).filter(|all| all.len() >= count))
    }

    /// Says goodbye, with its death before.
    pub fn leave(mut self) -> anyhow::Result<()> {
        let death = payload(None, None, &[Metric::long("bdSeq", 8, self.session)]);
        self.client.try_publish(topic(&self.group, "NDEATH", &self.node, None), QoS::AtMostOnce, false, death)?;
        self.client.try_disconnect()?;
        let Some(runtime) = self.runtime.take() else { bail!("the edge node is gone") };
        runtime.block_on(async { tokio::time::timeout(PATIENCE, self.stop.cancelled()).await })?;
        runtime.shutdown_background();
        Ok(())
    }
}

impl Drop for EdgeNode {
    fn drop(&mut self) {
        // The connection goes with its runtime, without a word.
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

/// Works the connection until it ends or is to end.
async fn listen(
    mut events: EventLoop,
    commands: Arc<Mutex<Vec<Command>>>,
    subscribed: CancellationToken,
    stop: CancellationToken,
) {
    let mut granted = 0;
    loop {
        let event = tokio::select! {
            event = events.poll() => event,
            () = stop.cancelled() => return,
        };
        match event {
            Ok(Event::Incoming(Incoming::SubAck(_))) => {
                granted += 1;
                if granted == 2 {
                    subscribed.cancel();
                }
            }
            Ok(Event::Incoming(Incoming::Publish(message))) => commands
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Command { topic: message.topic, payload: message.payload.to_vec() }),
            Ok(_) => {}
            Err(_) => return stop.cancel(),
        }
    }
}

fn topic(group: &str, kind: &str, node: &str, device: Option<&str>) -> String {
    let device = device.map(|device| format!("/{device}")).unwrap_or_default();
    format!("spBv1.0/{group}/{kind}/{node}{device}")
}
