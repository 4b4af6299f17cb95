//! MQTT with JSON payloads: subscribes to the topics of one broker.
//!
//! It promises: nothing is published; the session is persistent and subscribed anew on
//! every connection; a message is acknowledged when its readings are synced and never
//! before, and one that brings no reading at once, so that nothing clogs the window;
//! a redelivery of what is on its way already is acknowledged and not sent again.
//!
//! Client and event loop are made anew for each connection: acknowledgements of an old
//! one can then never reach a new one, and no state of the library outlives a fault.
//!
//! Limits. The broker may deliver a message again that an earlier process spooled and
//! had not acknowledged yet; it is then a second reading at its own arrival time. A
//! packet beyond [`MAX_PACKET_BYTES`] ends the connection, and the broker would send it
//! again for ever: its session is then discarded once, with what else was queued in it.
//! Where such a packet is a retained one, it comes back with each subscription; the
//! link stays down, with a pause between attempts, and says why.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::mqttbytes::v4::{Publish, SubAck, SubscribeReasonCode};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, MqttOptions, Outgoing, QoS,
    StateError, SubscribeFilter, TlsConfiguration, Transport,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sandan_proto::reading::Quality;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::{Closed, Outlet, Reading, Tickets, arrival_us};
use crate::config::{Mqtt, MqttDevice};
use crate::health::Health;

pub mod json;
mod ledger;

use ledger::{Ledger, Verdict};

/// Largest payload that is looked into. A machine's state has some kilobytes.
pub const MAX_MESSAGE_BYTES: usize = 256 << 10;
/// Largest packet that is taken off the line, so that a message too large to be looked
/// into can be acknowledged all the same. It bounds what a broker can make us allocate.
pub const MAX_PACKET_BYTES: usize = 4 << 20;
/// Requests on their way to the event loop: a subscription and acknowledgements.
const REQUESTS: usize = 64;
/// Dead brokers are noticed within twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long connecting and flushing may take.
const CONNECT_SECONDS: u64 = 5;

/// Reads until `stop` is cancelled or nobody takes replies any more.
pub async fn run(endpoint: Mqtt, outlet: Outlet, health: Health, stop: CancellationToken) {
    let mut driver = Driver::new(endpoint, outlet, health);
    tokio::select! {
        () = stop.cancelled() => {}
        Closed = driver.read_forever() => {}
    }
}

/// Reads over one connection that leaves no session behind, until it ends.
pub async fn read_once(endpoint: Mqtt, outlet: Outlet, health: Health) {
    let mut driver = Driver::new(endpoint, outlet, health);
    let fault = match options(&driver.endpoint) {
        Err(fault) => fault,
        Ok(mut options) => {
            options.set_clean_session(true);
            match driver.connection(options).await {
                Ended::Closed => return,
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
    health: Health,
    /// `None` before the first attempt, so that its failure is told as well.
    connected: Option<bool>,
    /// The last connection ended by a packet that no buffer may hold.
    oversize: bool,
}

/// Why a connection ended.
enum Ended {
    Fault(ConnectionError),
    Closed,
}

impl From<Closed> for Ended {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Driver {
    fn new(endpoint: Mqtt, outlet: Outlet, health: Health) -> Self {
        Self {
            tickets: Tickets::new(outlet),
            ledger: Ledger::default(),
            health,
            connected: None,
            oversize: false,
            endpoint,
        }
    }

    async fn read_forever(&mut self) -> Closed {
        let mut backoff = Backoff::default();
        loop {
            let fault = match options(&self.endpoint) {
                Err(fault) => fault,
                Ok(options) => {
                    let options = if self.oversize { self.discard_session(options).await } else { options };
                    match self.connection(options).await {
                        Ended::Closed => return Closed,
                        Ended::Fault(error) => sentence(&error),
                    }
                }
            };
            // What came over the connection proves that it was one.
            if self.connected == Some(true) {
                backoff = Backoff::default();
            }
            if self.lost(&fault).await.is_err() {
                return Closed;
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Tells health always, and every signal once.
    async fn lost(&mut self, fault: &str) -> Result<(), Closed> {
        self.health.unreachable(self.tickets.outlet.source, fault);
        if self.connected.replace(false) == Some(false) {
            return Ok(());
        }
        tracing::warn!(endpoint = self.endpoint.place(), fault, "broker is lost");
        let all = self.endpoint.devices.iter().flat_map(|device| &device.picks).map(|pick| pick.signal);
        self.tickets.fail(all, Quality::BAD_NO_ANSWER).await
    }

    /// One connection, from connecting to its end.
    async fn connection(&mut self, options: MqttOptions) -> Ended {
        let (client, mut events) = connect(options);
        // Polled by itself and never cancelled halfway. While nobody takes replies it
        // stands still; a broker that gives up meanwhile delivers again later.
        let (sender, receiver) = mpsc::channel(1);
        let pump = async move {
            loop {
                let event = events.poll().await;
                let last = event.is_err();
                if sender.send(event).await.is_err() || last {
                    return;
                }
            }
        };
        let (ended, ()) = tokio::join!(self.handle(&client, receiver), pump);
        ended
    }

    async fn handle(
        &mut self,
        client: &AsyncClient,
        mut events: mpsc::Receiver<Result<Event, ConnectionError>>,
    ) -> Ended {
        let mut synced = self.tickets.outlet.synced.clone();
        let mut pipeline_is_there = true;
        loop {
            self.ledger.synced(*synced.borrow_and_update());
            let owed = self.ledger.owed().map(acknowledgement);
            let acknowledge = async {
                match &owed {
                    Some(message) => client.ack(message).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = events.recv() => match event {
                    Some(Ok(event)) => {
                        if let Err(closed) = self.event(client, event).await {
                            return closed.into();
                        }
                    }
                    Some(Err(error)) => {
                        self.oversize = is_oversize(&error);
                        return Ended::Fault(error);
                    }
                    // The pump ends after an error only, and that came before.
                    None => return Ended::Fault(ConnectionError::RequestsDone),
                },
                done = acknowledge => match done {
                    Ok(()) => self.ledger.acknowledged(),
                    Err(_) => return Ended::Fault(ConnectionError::RequestsDone),
                },
                changed = synced.changed(), if pipeline_is_there => pipeline_is_there = changed.is_ok(),
            }
        }
    }

    async fn event(&mut self, client: &AsyncClient, event: Event) -> Result<(), Closed> {
        match event {
            Event::Incoming(Incoming::ConnAck(connack)) => {
                self.ledger.connected(connack.session_present);
                if self.connected.replace(true) == Some(false) {
                    self.health.reachable(self.tickets.outlet.source);
                    tracing::info!(endpoint = self.endpoint.place(), "broker is reached again");
                }
                // Nothing else is in the channel yet, so there is room.
                if let Err(error) = client.try_subscribe_many(filters(&self.endpoint)) {
                    tracing::error!(endpoint = self.endpoint.place(), %error, "subscription could not be sent");
                }
            }
            Event::Incoming(Incoming::SubAck(suback)) => self.subscribed(&suback),
            Event::Incoming(Incoming::Publish(message)) => self.message(&message).await?,
            Event::Incoming(Incoming::PingResp) => self.ledger.pong(),
            Event::Outgoing(Outgoing::PingReq) => self.ledger.ping(),
            Event::Outgoing(Outgoing::PubAck(_)) => self.ledger.written(),
            _ => {}
        }
        Ok(())
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
        let digest: [u8; 32] = Sha256::new()
            .chain_update(&message.topic)
            .chain_update([0])
            .chain_update(&message.payload)
            .finalize()
            .into();
        if message.qos != QoS::AtMostOnce && self.ledger.arrived(message.pkid, message.dup, digest) == Verdict::Known {
            return Ok(());
        }
        let readings = self.readings(message);
        let ticket = if readings.is_empty() { 0 } else { self.tickets.send(at_us, readings).await? };
        if message.qos != QoS::AtMostOnce {
            self.ledger.sent(message.pkid, digest, ticket);
        }
        Ok(())
    }

    /// The readings of a message for all devices whose topic it fits; what is wrong
    /// with it goes to health.
    fn readings(&self, message: &Publish) -> Vec<Reading> {
        let mut readings = Vec::new();
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
                    if found.is_empty() {
                        self.refused(device, message, "holds none of the configured paths");
                    } else {
                        self.health.answered(device.device, 0, None);
                    }
                    readings.extend(found);
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

    /// Makes the broker forget its session, and with it the packet that cannot be taken.
    async fn discard_session(&mut self, options: MqttOptions) -> MqttOptions {
        self.oversize = false;
        tracing::warn!(
            endpoint = self.endpoint.place(),
            limit = MAX_PACKET_BYTES,
            "packet too large, session is discarded"
        );
        let mut clean = options.clone();
        clean.set_clean_session(true);
        let (_client, mut events) = connect(clean);
        // The acknowledged connection is all that is needed; a failure shows on the next one.
        let _ = events.poll().await;
        options
    }
}

fn parse(payload: &[u8]) -> Result<serde_json::Value, String> {
    if payload.len() > MAX_MESSAGE_BYTES {
        return Err(format!("has {} bytes, more than {MAX_MESSAGE_BYTES}", payload.len()));
    }
    serde_json::from_slice(payload).map_err(|error| format!("is not JSON: {error}"))
}

fn connect(options: MqttOptions) -> (AsyncClient, EventLoop) {
    let (client, mut events) = AsyncClient::new(options, REQUESTS);
    events.network_options.set_connection_timeout(CONNECT_SECONDS).set_tcp_nodelay(true);
    (client, events)
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

/// The options of one connection. The error is a sentence without a secret.
fn options(endpoint: &Mqtt) -> Result<MqttOptions, String> {
    let mut options = MqttOptions::new(&endpoint.client_id, &endpoint.address.host, endpoint.address.port);
    options
        .set_clean_session(false)
        .set_manual_acks(true)
        .set_keep_alive(KEEP_ALIVE)
        .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
    if let Some(username) = &endpoint.username {
        let password = match &endpoint.password_file {
            Some(file) => read(file)?,
            None => String::new(),
        };
        options.set_credentials(username, password.trim_end_matches(['\r', '\n']));
    }
    if let Some(file) = &endpoint.ca_file {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls(file)?))));
    }
    Ok(options)
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

fn tls(ca_file: &Path) -> Result<rustls::ClientConfig, String> {
    let pem = read(ca_file)?;
    let broken = |error: &dyn std::fmt::Display| format!("{}: {error}", ca_file.display());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|error| broken(&error))?).map_err(|error| broken(&error))?;
    }
    if roots.is_empty() {
        return Err(broken(&"no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn is_oversize(error: &ConnectionError) -> bool {
    use rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded;
    matches!(error, ConnectionError::MqttState(StateError::Deserialization(PayloadSizeLimitExceeded(_))))
}

/// What is wrong with the connection, without error numbers and debug forms.
fn sentence(error: &ConnectionError) -> String {
    use rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded;
    match error {
        ConnectionError::Io(error) => {
            let text = error.to_string();
            let reason = text.split(" (os error").next().unwrap_or_default().to_lowercase();
            format!("no connection to the broker: {reason}")
        }
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            format!("the broker does not answer within {CONNECT_SECONDS} s")
        }
        ConnectionError::ConnectionRefused(code) => match code {
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                "the broker refuses the user name or password".into()
            }
            ConnectReturnCode::BadClientId => "the broker refuses the client id".into(),
            _ => "the broker refuses the connection".into(),
        },
        ConnectionError::MqttState(StateError::Deserialization(PayloadSizeLimitExceeded(size))) => {
            format!("a packet of {size} bytes, more than {MAX_PACKET_BYTES}; what the broker had queued is discarded")
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the broker hung up".into(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker does not answer any more".into(),
        ConnectionError::MqttState(_) | ConnectionError::NotConnAck(_) => {
            "what answers does not speak MQTT 3.1.1".into()
        }
        ConnectionError::Tls(error) => format!("no secure connection: {error}"),
        ConnectionError::RequestsDone => "the connection ended".into(),
    }
}

#[cfg(test)]
mod tests;
