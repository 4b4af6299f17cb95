//! A small MQTT 3.1.1 broker, for the demo and for tests of the plant.
//!
//! Everything else that speaks MQTT here is tested against mosquitto too; this one
//! exists because the demo must need nothing installed, and rumqttd alone would add
//! nearly two minutes to its build.
//!
//! It does quality of service 0 and 1, the filters `+` and `#`, retained messages, and sessions
//! that outlive their connection, with redelivery under DUP. It has no service 2, no
//! wills, no passwords and nothing on disk, and listens on loopback only.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use rumqttc::mqttbytes::v4::{
    Codec, ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish, SubAck, SubscribeReasonCode, UnsubAck,
};
use rumqttc::mqttbytes::{self, QoS, matches, valid_filter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::codec::Framed;

/// The largest packet: far above any state message, far below what could hurt.
const MAX_PACKET: usize = 256 * 1024;
/// Messages kept for a session that is away; the oldest goes first. Half an hour
/// of ten devices that publish once a second.
const MAX_QUEUED: usize = 20_000;
/// Messages sent and not yet acknowledged, as mosquitto's default.
const MAX_INFLIGHT: usize = 20;
/// How long a new connection may take to say who it is.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A broker that runs until it is dropped.
pub struct Broker {
    address: SocketAddr,
    state: Shared,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Broker {
    /// Listens on a free port of loopback.
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let state = Shared::default();
        let shared = state.clone();
        runtime.spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    if let Err(error) = connection(stream, shared).await {
                        tracing::debug!(%peer, %error, "connection ended");
                    }
                });
            }
        });
        Ok(Self { address, state, runtime: Some(runtime) })
    }
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Whether a session wants what is published to this topic.
    pub fn hears(&self, topic: &str) -> bool {
        let state = self.state.lock();
        state.sessions.values().any(|session| session.filters.iter().any(|(filter, _)| matches(topic, filter)))
    }
    /// Messages that wait for a session, sent or not: 0 once its client has
    /// acknowledged everything.
    pub fn owed_to(&self, client_id: &str) -> usize {
        let state = self.state.lock();
        state.sessions.get(client_id).map_or(0, |session| session.queued.len() + session.inflight.len())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    sessions: HashMap<String, Session>,
    retained: BTreeMap<String, Publish>,
    connections: u64,
}

/// What is remembered of a client, connected or not.
#[derive(Default)]
struct Session {
    filters: Vec<(String, QoS)>,
    queued: VecDeque<Publish>,
    inflight: BTreeMap<u16, Publish>,
    last_id: u16,
    /// The connection that speaks for it, and its number.
    outlet: Option<(u64, mpsc::UnboundedSender<Packet>)>,
}

impl Session {
    fn offer(&mut self, mut message: Publish, qos: QoS, retain: bool) {
        (message.dup, message.retain, message.pkid) = (false, retain, 0);
        message.qos = if message.qos == QoS::AtMostOnce { QoS::AtMostOnce } else { qos };
        if message.qos == QoS::AtMostOnce {
            self.send(Packet::Publish(message));
            return;
        }
        if self.queued.len() == MAX_QUEUED {
            self.queued.pop_front();
            tracing::warn!("a session's queue is full; its oldest message is dropped");
        }
        self.queued.push_back(message);
        self.pump();
    }
    /// Sends what the window allows.
    fn pump(&mut self) {
        while self.outlet.is_some() && self.inflight.len() < MAX_INFLIGHT {
            let Some(mut message) = self.queued.pop_front() else { return };
            loop {
                self.last_id = self.last_id.wrapping_add(1).max(1);
                if !self.inflight.contains_key(&self.last_id) {
                    break;
                }
            }
            message.pkid = self.last_id;
            self.inflight.insert(message.pkid, message.clone());
            self.send(Packet::Publish(message));
        }
    }
    /// What was sent and not acknowledged, again, in the order of the first time.
    fn resend(&mut self) {
        let (late, early): (Vec<_>, Vec<_>) = self.inflight.values().cloned().partition(|one| one.pkid <= self.last_id);
        for mut message in early.into_iter().chain(late) {
            message.dup = true;
            self.send(Packet::Publish(message));
        }
    }
    fn send(&self, packet: Packet) {
        // A connection that just ended leaves its messages to the next one.
        if let Some((_, outlet)) = &self.outlet {
            let _ = outlet.send(packet);
        }
    }
}

impl State {
    fn publish(&mut self, message: &Publish) {
        if message.retain {
            if message.payload.is_empty() {
                self.retained.remove(&message.topic);
            } else {
                self.retained.insert(message.topic.clone(), message.clone());
            }
        }
        for session in self.sessions.values_mut() {
            let granted = session.filters.iter().filter(|(filter, _)| matches(&message.topic, filter));
            if let Some(qos) = granted.map(|(_, qos)| *qos).max_by_key(|qos| *qos as u8) {
                session.offer(message.clone(), qos, false);
            }
        }
    }

    fn subscribe(&mut self, client: &str, pkid: u16, asked: &[(String, QoS)]) {
        let Some(session) = self.sessions.get_mut(client) else { return };
        let mut codes = Vec::new();
        for (filter, qos) in asked {
            if !valid_filter(filter) {
                codes.push(SubscribeReasonCode::Failure);
                continue;
            }
            let qos = if *qos == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            session.filters.retain(|(known, _)| known != filter);
            session.filters.push((filter.clone(), qos));
            codes.push(SubscribeReasonCode::Success(qos));
        }
        session.send(Packet::SubAck(SubAck::new(pkid, codes)));
        for message in self.retained.values() {
            if let Some((_, qos)) = asked.iter().find(|(filter, _)| matches(&message.topic, filter)) {
                session.offer(message.clone(), *qos, true);
            }
        }
    }
}

/// Why a connection was ended by the broker.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    #[error("not MQTT 3.1.1: {0}")]
    Protocol(#[from] mqttbytes::Error),
    #[error("{0}")]
    Refused(&'static str),
}

async fn connection(stream: TcpStream, shared: Shared) -> Result<(), Fault> {
    stream.set_nodelay(true)?;
    let codec = Codec { max_incoming_size: MAX_PACKET, max_outgoing_size: MAX_PACKET };
    let mut framed = Framed::new(stream, codec);
    let first = tokio::time::timeout(CONNECT_TIMEOUT, framed.next()).await;
    let Ok(Some(Ok(Packet::Connect(connect)))) = first else { return Err(Fault::Refused("no CONNECT came")) };
    let (outlet, mut outgoing) = mpsc::unbounded_channel();
    let number = open(&shared, &connect, outlet);
    // Twice where the standard says one and a half times: a busy machine is no dead client.
    let silence = match connect.keep_alive {
        0 => Duration::from_hours(1),
        seconds => Duration::from_secs(2 * u64::from(seconds)),
    };
    let ended = speak(&mut framed, &mut outgoing, &shared, &connect.client_id, silence).await;
    let mut state = shared.lock();
    if let Some(session) = state.sessions.get_mut(&connect.client_id)
        && session.outlet.as_ref().is_some_and(|(mine, _)| *mine == number)
    {
        session.outlet = None;
        if connect.clean_session {
            state.sessions.remove(&connect.client_id);
        }
    }
    ended
}

/// Both directions, until one side has enough.
async fn speak(
    framed: &mut Framed<TcpStream, Codec>,
    outgoing: &mut mpsc::UnboundedReceiver<Packet>,
    shared: &Shared,
    client: &str,
    silence: Duration,
) -> Result<(), Fault> {
    loop {
        tokio::select! {
            packet = outgoing.recv() => match packet {
                Some(packet) => framed.send(packet).await?,
                None => return Err(Fault::Refused("taken over by a newer connection")),
            },
            packet = tokio::time::timeout(silence, framed.next()) => match packet {
                Ok(Some(Ok(Packet::Disconnect)) | None) => return Ok(()),
                Ok(Some(packet)) => handle(shared, client, packet?)?,
                Err(_) => return Err(Fault::Refused("silent for longer than its keep-alive")),
            },
        }
    }
}

/// Makes the session this connection's; whoever had it before is hung up.
fn open(shared: &Shared, connect: &Connect, outlet: mpsc::UnboundedSender<Packet>) -> u64 {
    let mut state = shared.lock();
    state.connections += 1;
    let number = state.connections;
    if connect.clean_session {
        state.sessions.remove(&connect.client_id);
    }
    let known = state.sessions.contains_key(&connect.client_id);
    let session = state.sessions.entry(connect.client_id.clone()).or_default();
    session.outlet = Some((number, outlet));
    session.send(Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, known)));
    session.resend();
    session.pump();
    number
}

fn handle(shared: &Shared, client: &str, packet: Packet) -> Result<(), Fault> {
    let mut state = shared.lock();
    match packet {
        Packet::Publish(message) => {
            if message.qos == QoS::ExactlyOnce {
                return Err(Fault::Refused("there is no QoS 2 here"));
            }
            // Acknowledged once every session has it: memory is all there is.
            state.publish(&message);
            if message.qos == QoS::AtLeastOnce
                && let Some(session) = state.sessions.get(client)
            {
                session.send(Packet::PubAck(PubAck::new(message.pkid)));
            }
        }
        Packet::PubAck(ack) => {
            if let Some(session) = state.sessions.get_mut(client) {
                session.inflight.remove(&ack.pkid);
                session.pump();
            }
        }
        Packet::Subscribe(subscribe) => {
            let asked: Vec<_> = subscribe.filters.into_iter().map(|filter| (filter.path, filter.qos)).collect();
            state.subscribe(client, subscribe.pkid, &asked);
        }
        Packet::Unsubscribe(unsubscribe) => {
            if let Some(session) = state.sessions.get_mut(client) {
                session.filters.retain(|(filter, _)| !unsubscribe.topics.contains(filter));
                session.send(Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid)));
            }
        }
        Packet::PingReq => {
            if let Some(session) = state.sessions.get(client) {
                session.send(Packet::PingResp);
            }
        }
        _ => return Err(Fault::Refused("a packet that no client sends")),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
