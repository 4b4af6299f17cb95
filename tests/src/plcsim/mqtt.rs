//! A device that publishes its state as JSON over MQTT, at quality of service 1.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, Outgoing, QoS};
use sandan_gateway::clock;
use sandan_proto::reading::Value;

use super::machine::Machine;
use super::truth::{Published, Truth};

/// How long to wait before the broker is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// Messages that may wait for a broker that is away; beyond it the device's own
/// publish waits, as a small device's does.
const PENDING: usize = 1024;

/// One publishing device.
pub(super) struct Publisher {
    pub(super) name: Arc<str>,
    pub(super) topic: Arc<str>,
    pub(super) interval: Duration,
    pub(super) machine: Machine,
    pub(super) truth: Truth,
    pub(super) speed: f64,
    /// Set while the device keeps silent.
    pub(super) paused: Arc<AtomicBool>,
}

impl Publisher {
    /// Publishes until dropped.
    pub(super) async fn run(mut self, broker: SocketAddr) {
        let mut options = MqttOptions::new(format!("plcsim-{}", self.name), broker.ip().to_string(), broker.port());
        // The session keeps what was sent and not acknowledged over a reconnect.
        options.set_clean_session(false).set_keep_alive(Duration::from_secs(5));
        let (client, mut events) = AsyncClient::new(options, PENDING);
        let truth = self.truth.clone();
        let (queue, mut queued) = tokio::sync::mpsc::unbounded_channel();
        let acknowledgements = async move {
            // rumqttc numbers messages in the order in which they were given to it.
            let (mut unnumbered, mut unacked) = (VecDeque::new(), HashMap::new());
            loop {
                let event = events.poll().await;
                while let Ok(index) = queued.try_recv() {
                    unnumbered.push_back(index);
                }
                match event {
                    Ok(Event::Outgoing(Outgoing::Publish(id))) if !unacked.contains_key(&id) => {
                        if let Some(index) = unnumbered.pop_front() {
                            unacked.insert(id, index);
                        }
                    }
                    // A broker that forgot the session; rumqttc forgets what it had not acknowledged.
                    Ok(Event::Incoming(Incoming::ConnAck(ack))) if !ack.session_present => unacked.clear(),
                    Ok(Event::Incoming(Incoming::PubAck(ack))) => {
                        if let Some(index) = unacked.remove(&ack.pkid) {
                            truth.mark_acked(index);
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, "broker is away");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        };
        let publishing = async move {
            let started = Instant::now();
            let mut serial = 0;
            let mut tick = tokio::time::interval(self.interval);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                if self.paused.load(Ordering::Relaxed) {
                    continue;
                }
                serial += 1;
                self.machine.advance_to(started.elapsed().mul_f64(self.speed));
                let payload = payload(&self.name, serial, &self.machine);
                let published = Published {
                    device: Arc::clone(&self.name),
                    topic: Arc::clone(&self.topic),
                    payload: payload.clone(),
                    serial,
                    mono_us: clock::monotonic_us(),
                    wall_us: clock::wall_us(),
                    acked: false,
                };
                if queue.send(self.truth.push_published(published)).is_err()
                    || client.publish(&*self.topic, QoS::AtLeastOnce, false, payload).await.is_err()
                {
                    return;
                }
            }
        };
        tokio::select! {
            () = acknowledgements => {}
            () = publishing => {}
        }
    }
}

/// `{"device":"welder-1","serial":17,"current":{"rms":184.2},"voltage":22.4,…}`: one
/// key for each point, and current as an object because real ones nest too.
fn payload(device: &str, serial: u32, machine: &Machine) -> String {
    let mut payload = serde_json::Map::new();
    payload.insert("device".into(), device.into());
    payload.insert("serial".into(), serial.into());
    for (point, value) in machine.points().iter().zip(machine.values()) {
        let value = match value {
            Value::Bool(value) => value.into(),
            Value::I64(value) => value.into(),
            Value::F64(value) => value.into(),
            Value::Text(value) => serde_json::Value::from(value),
        };
        let value = if point.name == "current" { serde_json::json!({ "rms": value }) } else { value };
        payload.insert(point.name.clone(), value);
    }
    serde_json::Value::Object(payload).to_string()
}
