//! MQTT with JSON payloads: subscribes to the topics of one broker.
//!
//! It promises: nothing is published; the session is persistent and subscribed anew on
//! every connection; a message is acknowledged when its readings are synced and never
//! before, and one that brings no reading at once, so that nothing clogs the window;
//! a redelivery of what is on its way already is acknowledged and not sent again; and an
//! orderly stop acknowledges what was taken before it says goodbye.
//!
//! Client and event loop are made anew for each connection: acknowledgements of an old
//! one can then never reach a new one, and no state of the library outlives a fault.
//!
//! A message goes on with its packet id and digest, which are synced in one record with its
//! readings: an earlier process' messages that come again after a kill are known.
//!
//! Limits. A message of more readings than one batch takes may be cut in two by a kill, and
//! then its first part comes twice. A broker that gives a packet id away again at once, and
//! sends the same content under it, cannot be told from one that delivers again, if the
//! gateway is killed between the two. A packet beyond [`MAX_PACKET_BYTES`] ends the connection, and the broker would send it
//! again for ever: its session is then discarded, with what else was queued in it, once
//! in [`DISCARD_SPACING`]. Where such a packet is a retained one, it comes back with each
//! subscription; the link stays down, with growing pauses, and says why.

use std::time::Duration;

use rumqttc::mqttbytes::v4::{Publish, SubAck, SubscribeReasonCode};
use rumqttc::{AsyncClient, ConnectionError, Event, Incoming, MqttOptions, Outgoing, QoS, SubscribeFilter};
use sandan_proto::reading::Quality;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::{Closed, Delivery, Outlet, Raw, Reading, Tickets, arrival_us};
use crate::config::{Mqtt, MqttDevice};
use crate::health::Health;

mod connection;
pub mod json;
mod ledger;

use connection::{connect, is_oversize, options, sentence};
use ledger::{Ledger, Verdict};

/// Largest payload that is looked into. A machine's state has some kilobytes.
pub const MAX_MESSAGE_BYTES: usize = 256 << 10;
/// Largest packet that is taken off the line, so that a message too large to be looked
/// into can be acknowledged all the same. It bounds what a broker can make us allocate.
pub const MAX_PACKET_BYTES: usize = 4 << 20;
/// Most text that one message may bring, over all signals that pick it: what the
/// recorder has room for even when the disk begins to fail in the middle of it.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// A session is discarded because of an oversize packet no more often: each time costs
/// what else was queued, and does not help against a retained packet.
const DISCARD_SPACING: Duration = Duration::from_mins(5);
/// How long a stop waits for the sync of what was taken: a slow SD card under load.
const SYNC_PATIENCE: Duration = Duration::from_secs(8);
/// How long a stop waits for the broker to close the line after the goodbye.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(2);

type Events = mpsc::Receiver<Result<Event, ConnectionError>>;

/// Reads until `stop` is cancelled or nobody takes replies any more. After the former it
/// acknowledges what is synced within a bounded time.
pub async fn run(endpoint: Mqtt, outlet: Outlet, health: Health, stop: CancellationToken) {
    Driver::new(endpoint, outlet, health).read_until(&stop).await;
}

/// Reads over one connection that leaves no session behind, until it ends.
pub async fn read_once(endpoint: Mqtt, outlet: Outlet, health: Health) {
    let mut driver = Driver::new(endpoint, outlet, health);
    let fault = match options(&driver.endpoint) {
        Err(fault) => fault,
        Ok(mut options) => {
            options.set_clean_session(true);
            match driver.connection(options, &CancellationToken::new()).await {
                Ended::Closed | Ended::Stopped => return,
                Ended::Fault(error) => sentence(&error),
            }
        }
    };
    // Whoever takes the replies may have stopped.
    let _ = driver.lost(&fault).await;
}

#[derive(Debug)]
struct Driver {
    endpoint: Mqtt,
    tickets: Tickets,
    ledger: Ledger,
    session: [u8; 16],
    health: Health,
    /// `None` before the first attempt, so that its failure is told as well.
    connected: Option<bool>,
    connected_at: Option<Instant>,
    /// Connections in a row that ended soon after they were made. The log tells the first.
    brief: u32,
    /// The last connection ended by a packet that no buffer may hold.
    oversize: bool,
    discarded_at: Option<Instant>,
}

/// Why a connection ended.
enum Ended {
    Fault(ConnectionError),
    Closed,
    Stopped,
}

impl From<Closed> for Ended {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Driver {
    fn new(endpoint: Mqtt, outlet: Outlet, health: Health) -> Self {
        Self {
            ledger: Ledger::knowing(outlet.take_known()),
            session: session(&endpoint),
            tickets: Tickets::new(outlet),
            health,
            connected: None,
            connected_at: None,
            brief: 0,
            oversize: false,
            discarded_at: None,
            endpoint,
        }
    }

    async fn read_until(&mut self, stop: &CancellationToken) {
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            let fault = match options(&self.endpoint) {
                Err(fault) => fault,
                Ok(options) => {
                    if self.may_discard() {
                        tokio::select! {
                            () = self.discard_session(options.clone()) => {}
                            () = stop.cancelled() => return,
                        }
                    }
                    match self.connection(options, stop).await {
                        Ended::Closed | Ended::Stopped => return,
                        Ended::Fault(error) => self.fault(&error),
                    }
                }
            };
            if let Some(since) = self.connected_at.take() {
                // Somebody else with our client id, or a packet that comes with each
                // subscription, ends one connection after the other.
                let was_brief = !backoff.lasted(since.elapsed());
                self.brief = if was_brief { self.brief.saturating_add(1) } else { 0 };
            }
            let pause = async {
                self.lost(&fault).await?;
                sleep(backoff.next()).await;
                Ok::<_, Closed>(())
            };
            tokio::select! {
                paused = pause => if paused.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    }

    /// What ended a connection, and what will be done about it.
    fn fault(&mut self, error: &ConnectionError) -> String {
        self.oversize = is_oversize(error);
        let what = sentence(error);
        if !self.oversize {
            what
        } else if self.may_discard() {
            format!("{what}; what the broker had queued is discarded")
        } else {
            format!("{what}, and it comes again and again: remove it at the broker")
        }
    }

    /// Tells health always, and every signal once.
    async fn lost(&mut self, fault: &str) -> Result<(), Closed> {
        self.health.unreachable(self.tickets.outlet.source, fault);
        if self.connected.replace(false) == Some(false) {
            return Ok(());
        }
        match self.brief {
            0 | 1 => tracing::warn!(endpoint = self.endpoint.place(), fault, "broker is lost"),
            2 => tracing::warn!(
                endpoint = self.endpoint.place(),
                fault,
                client_id = self.endpoint.client_id,
                "each connection ends soon after it is made; is the client id used elsewhere?"
            ),
            _ => tracing::debug!(endpoint = self.endpoint.place(), fault, "broker is lost again"),
        }
        let all = self.endpoint.devices.iter().flat_map(|device| &device.picks).map(|pick| pick.signal);
        self.tickets.fail(all, Quality::BAD_NO_ANSWER).await
    }

    /// One connection, from connecting to its end.
    async fn connection(&mut self, options: MqttOptions, stop: &CancellationToken) -> Ended {
        let (client, mut events) = connect(options);
        // Polled by itself and never cancelled halfway. While nobody takes replies it
        // stands still; a broker that gives up meanwhile delivers again later.
        let (sender, mut receiver) = mpsc::channel(1);
        let pump = async move {
            loop {
                let event = events.poll().await;
                let last = event.is_err();
                if sender.send(event).await.is_err() || last {
                    // Whoever reads the last event ends the connection.
                    return std::future::pending().await;
                }
            }
        };
        let work = async {
            // The handling of an event may be cut short: a message that was not sent on
            // is not acknowledged, and the broker has it.
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                ended = self.handle(&client, &mut receiver) => return ended,
            }
            self.leave(&client, &mut receiver).await;
            Ended::Stopped
        };
        tokio::select! {
            ended = work => ended,
            ended = pump => ended,
        }
    }

    async fn handle(&mut self, client: &AsyncClient, events: &mut Events) -> Ended {
        let mut synced = self.tickets.outlet.synced.clone();
        let mut pipeline_is_there = true;
        loop {
            self.ledger.synced(*synced.borrow_and_update());
            self.acknowledge(client);
            tokio::select! {
                event = events.recv() => match event {
                    Some(Ok(event)) => {
                        if let Err(closed) = self.event(client, event).await {
                            return closed.into();
                        }
                    }
                    Some(Err(error)) => return Ended::Fault(error),
                    // The pump ends after an error only, and that came before.
                    None => return Ended::Fault(ConnectionError::RequestsDone),
                },
                changed = synced.changed(), if pipeline_is_there => pipeline_is_there = changed.is_ok(),
            }
        }
    }

    /// Hands over what is owed while there is room for it. There is again after the next
    /// event, which is one of them written.
    fn acknowledge(&mut self, client: &AsyncClient) {
        while let Some(packet_id) = self.ledger.owed() {
            if client.try_ack(&acknowledgement(packet_id)).is_err() {
                return;
            }
            self.ledger.acknowledged();
        }
    }

    /// Takes nothing more, waits for the sync of what was taken, acknowledges it and says
    /// goodbye. What is not acknowledged then stays with the broker.
    async fn leave(&mut self, client: &AsyncClient, events: &mut Events) {
        if self.connected != Some(true) {
            return;
        }
        match timeout(SYNC_PATIENCE, self.settle(client, events)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let fault = sentence(&error);
                tracing::warn!(endpoint = self.endpoint.place(), fault, "broker is lost during the stop");
                return;
            }
            Err(_) => tracing::warn!(
                endpoint = self.endpoint.place(),
                "not everything is synced and acknowledged; the broker delivers the rest again"
            ),
        }
        if client.try_disconnect().is_ok() {
            // The broker closes the line when it has read all. Closed from here, with
            // messages on the way, it could lose it the last acknowledgements.
            let closed = async { while let Some(Ok(_)) = events.recv().await {} };
            let _ = timeout(GOODBYE_PATIENCE, closed).await;
        }
    }

    /// Until all that was taken is synced, and its acknowledgements are written.
    async fn settle(&mut self, client: &AsyncClient, events: &mut Events) -> Result<(), ConnectionError> {
        let mut synced = self.tickets.outlet.synced.clone();
        let mut pipeline_is_there = true;
        loop {
            self.ledger.synced(*synced.borrow_and_update());
            self.acknowledge(client);
            if self.ledger.is_written() && !(pipeline_is_there && self.ledger.awaits_sync()) {
                return Ok(());
            }
            tokio::select! {
                event = events.recv() => match event {
                    Some(Ok(Event::Incoming(Incoming::Publish(message)))) => {
                        // A new one is not taken; one that was taken is owed on this connection.
                        self.ledger.arrived(message.pkid, message.dup, digest(&message));
                    }
                    Some(Ok(event)) => self.written(&event),
                    Some(Err(error)) => return Err(error),
                    None => return Err(ConnectionError::RequestsDone),
                },
                changed = synced.changed(), if pipeline_is_there => pipeline_is_there = changed.is_ok(),
            }
        }
    }

    async fn event(&mut self, client: &AsyncClient, event: Event) -> Result<(), Closed> {
        match event {
            Event::Incoming(Incoming::ConnAck(connack)) => {
                self.ledger.connected(connack.session_present);
                self.connected_at = Some(Instant::now());
                if self.connected.replace(true) == Some(false) {
                    self.health.reachable(self.tickets.outlet.source);
                    if self.brief == 0 {
                        tracing::info!(endpoint = self.endpoint.place(), "broker is reached again");
                    }
                }
                // Nothing else is in the channel yet, so there is room.
                if let Err(error) = client.try_subscribe_many(filters(&self.endpoint)) {
                    tracing::error!(endpoint = self.endpoint.place(), %error, "subscription could not be sent");
                }
            }
            Event::Incoming(Incoming::SubAck(suback)) => self.subscribed(&suback),
            Event::Incoming(Incoming::Publish(message)) => self.message(&message).await?,
            event => self.written(&event),
        }
        Ok(())
    }

    /// What went over the line, for the ledger.
    fn written(&mut self, event: &Event) {
        match event {
            Event::Incoming(Incoming::PingResp) => self.ledger.pong(),
            Event::Outgoing(Outgoing::PingReq) => self.ledger.ping(),
            Event::Outgoing(Outgoing::PubAck(_)) => self.ledger.written(),
            _ => {}
        }
    }

    fn subscribed(&self, suback: &SubAck) {
        for (filter, code) in filters(&self.endpoint).zip(&suback.return_codes) {
            if *code == SubscribeReasonCode::Failure {
                let fault = format!("the broker refuses the subscription to {}", filter.path);
                for device in self.endpoint.devices.iter().filter(|device| device.topic == filter.path) {
                    self.health.refused(device.device, 0, None, &fault);
                }
            }
        }
    }

    async fn message(&mut self, message: &Publish) -> Result<(), Closed> {
        let at_us = arrival_us();
        let digest = digest(message);
        if message.qos != QoS::AtMostOnce && self.ledger.arrived(message.pkid, message.dup, digest) == Verdict::Known {
            return Ok(());
        }
        let readings = self.readings(message);
        let delivery = (message.qos != QoS::AtMostOnce).then(|| Delivery {
            session: self.session,
            packet_id: message.pkid,
            digest,
            unsettled: self.ledger.unsettled(message.pkid),
        });
        let ticket = if readings.is_empty() { 0 } else { self.tickets.deliver(at_us, readings, delivery).await? };
        if message.qos != QoS::AtMostOnce {
            self.ledger.sent(message.pkid, digest, ticket);
        }
        Ok(())
    }

    /// The readings of a message for all devices whose topic it fits; what is wrong
    /// with it goes to health.
    fn readings(&self, message: &Publish) -> Vec<Reading> {
        let mut readings = Vec::new();
        let mut text_bytes = 0;
        let mut parsed = None;
        for device in self.endpoint.devices.iter().filter(|device| rumqttc::matches(&message.topic, &device.topic)) {
            if message.retain {
                // It says what was, not when: no reading.
                self.health.ignored(device.device);
                continue;
            }
            match parsed.get_or_insert_with(|| parse(&message.payload)) {
                Ok(payload) => {
                    let found = json::readings(payload, &device.picks);
                    text_bytes += found.iter().map(|reading| text_len(&reading.raw)).sum::<usize>();
                    if found.is_empty() {
                        self.refused(device, message, "holds none of the configured paths");
                    } else if text_bytes > MAX_TEXT_BYTES {
                        self.refused(device, message, "brings more text than one message may");
                    } else {
                        self.health.answered(device.device, 0, None);
                        readings.extend(found);
                    }
                }
                Err(fault) => self.refused(device, message, fault),
            }
        }
        readings
    }

    fn refused(&self, device: &MqttDevice, message: &Publish, what: &str) {
        let topic: String = message.topic.chars().take(80).flat_map(char::escape_debug).collect();
        self.health.refused(device.device, 0, None, &format!("a message on {topic} {what}"));
    }

    fn may_discard(&self) -> bool {
        self.oversize && self.discarded_at.is_none_or(|at| at.elapsed() >= DISCARD_SPACING)
    }

    /// Makes the broker forget its session, and with it the packet that cannot be taken.
    async fn discard_session(&mut self, mut options: MqttOptions) {
        options.set_clean_session(true);
        let (_client, mut events) = connect(options);
        // The acknowledged connection is all that is needed; a failure shows on the next one.
        if events.poll().await.is_ok() {
            self.oversize = false;
            self.discarded_at = Some(Instant::now());
            tracing::warn!(
                endpoint = self.endpoint.place(),
                limit = MAX_PACKET_BYTES,
                "packet too large, session is discarded"
            );
        }
    }
}

/// Tells a redelivery from another message under the same packet id.
fn digest(message: &Publish) -> [u8; 16] {
    shortened(Sha256::new().chain_update(&message.topic).chain_update([0]).chain_update(&message.payload))
}

/// Names the session that a broker keeps for us, over restarts of either side.
pub fn session(endpoint: &Mqtt) -> [u8; 16] {
    let (address, client_id) = (endpoint.address.to_string(), &endpoint.client_id);
    shortened(Sha256::new().chain_update(address).chain_update([0]).chain_update(client_id))
}

/// Half of a hash: against chance it is plenty, and it is written to an SD card.
fn shortened(hash: Sha256) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

fn text_len(raw: &Raw) -> usize {
    if let Raw::Text(text) = raw { text.len() } else { 0 }
}

fn parse(payload: &[u8]) -> Result<serde_json::Value, String> {
    if payload.len() > MAX_MESSAGE_BYTES {
        return Err(format!("has {} bytes, more than {MAX_MESSAGE_BYTES}", payload.len()));
    }
    serde_json::from_slice(payload).map_err(|error| format!("is not JSON: {error}"))
}

/// Every topic once, however many devices read it.
fn filters(endpoint: &Mqtt) -> impl Iterator<Item = SubscribeFilter> {
    let mut topics: Vec<_> = endpoint.devices.iter().map(|device| device.topic.clone()).collect();
    topics.sort();
    topics.dedup();
    topics.into_iter().map(|topic| SubscribeFilter::new(topic, QoS::AtLeastOnce))
}

/// The library takes a message to acknowledge, and of it only the packet id.
fn acknowledgement(packet_id: u16) -> Publish {
    let mut message = Publish::new("", QoS::AtLeastOnce, Vec::new());
    message.pkid = packet_id;
    message
}

#[cfg(test)]
mod tests;
