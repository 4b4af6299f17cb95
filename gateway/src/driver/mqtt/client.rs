//! The MQTT library behind types of ours: one client for the versions 3.1.1 and 5, what can
//! be asked of it, and what it tells.
//!
//! What can be asked is all there is: a subscription, acknowledgements, a goodbye, and
//! Sparkplug's request for a rebirth. There is no other way to publish from here, and a test
//! finds every call of the library that does.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{NetworkOptions, QoS, v5};
use tokio::time::timeout;

use super::tls;
use super::{MAX_PACKET_BYTES, fault::Fault};
use crate::config::{Mqtt, MqttVersion};
use crate::driver::message::Rebirth;

/// Requests on their way to the event loop: a subscription and acknowledgements.
const REQUESTS: usize = 64;
/// Dead brokers are noticed within twice this.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long connecting may take.
pub(super) const CONNECT_SECONDS: u64 = 5;
/// The loop does something at each keep-alive; when it does not, it hangs in a write that
/// nobody reads.
const STUCK: Duration = Duration::from_secs(45);
/// Messages that a broker may send ahead of our acknowledgements, in MQTT 5: what the
/// recorder syncs in one go, and less than waits between it and the drivers.
const RECEIVE_MAXIMUM: u16 = 200;
/// The library keeps a place for each publish on its way, 65,535 unless it is told; there is
/// never more than one.
const PUBLISHES: u16 = 100;

/// What the client asks of the broker.
#[derive(Debug, Clone)]
pub(super) enum Client {
    V3(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// The other end of the client: does the work when it is polled.
pub(super) enum Events {
    V3(Box<rumqttc::EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// What happened on the line.
#[derive(Debug)]
pub(super) enum Event {
    /// The broker took us in.
    Connected { session_present: bool },
    /// Its answer to the subscription, filter by filter: the granted quality of service, or
    /// why not.
    Subscribed(Vec<Result<u8, &'static str>>),
    /// It delivers a message.
    Message(Message),
    /// An acknowledgement was written.
    Acknowledged,
    /// A ping was written.
    Ping,
    /// It was answered.
    Pong,
    /// Nothing that matters here.
    Other,
}

/// A message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    /// Its number, where the broker keeps it until it is acknowledged.
    pub(super) packet_id: Option<u16>,
    /// It may have been delivered before.
    pub(super) dup: bool,
    /// The topic's last message, from before the subscription.
    pub(super) retain: bool,
}

/// A client and its events, which connect when they are first polled. `clean` leaves no
/// session behind and takes none up. The error is a sentence without a secret.
pub(super) fn connect(endpoint: &Mqtt, clean: bool) -> Result<(Client, Events), String> {
    let password = match (&endpoint.username, &endpoint.password) {
        (Some(_), Some(password)) => password.read()?,
        _ => String::new(),
    };
    let transport = tls::transport(endpoint)?;
    let (id, host, port) = (&endpoint.client_id, &endpoint.address.host, endpoint.address.port);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_SECONDS);
    match endpoint.version {
        MqttVersion::V3 => {
            let mut options = rumqttc::MqttOptions::new(id, host, port);
            options
                .set_clean_session(clean)
                .set_manual_acks(true)
                .set_keep_alive(KEEP_ALIVE)
                .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
            if let Some(username) = &endpoint.username {
                options.set_credentials(username, &password);
            }
            if let Some(transport) = transport {
                options.set_transport(transport);
            }
            let (client, mut events) = rumqttc::AsyncClient::new(options, REQUESTS);
            events.network_options = network;
            Ok((Client::V3(client), Events::V3(Box::new(events))))
        }
        MqttVersion::V5 { session_expiry } => {
            let mut options = v5::MqttOptions::new(id, host, port);
            let expiry = u32::try_from(session_expiry.as_secs()).unwrap_or(u32::MAX);
            options
                .set_clean_start(clean)
                .set_manual_acks(true)
                .set_keep_alive(KEEP_ALIVE)
                .set_connection_timeout(CONNECT_SECONDS)
                .set_network_options(network)
                .set_outgoing_inflight_upper_limit(PUBLISHES)
                .set_session_expiry_interval(Some(if clean { 0 } else { expiry }))
                .set_receive_maximum(Some(RECEIVE_MAXIMUM))
                .set_max_packet_size(u32::try_from(MAX_PACKET_BYTES).ok())
                // The library tells of a message before it has looked its alias up.
                .set_topic_alias_max(Some(0));
            if let Some(username) = &endpoint.username {
                options.set_credentials(username, &password);
            }
            if let Some(transport) = transport {
                options.set_transport(transport);
            }
            let (client, events) = v5::AsyncClient::new(options, REQUESTS);
            Ok((Client::V5(client), Events::V5(Box::new(events))))
        }
    }
}

/// There is no room for a request at the moment, or the connection has ended.
#[derive(Debug)]
pub(super) struct Full;

impl Client {
    /// Asks for topics, at quality of service 1.
    pub(super) fn subscribe(&self, filters: &[String]) -> Result<(), Full> {
        let done = match self {
            Self::V3(client) => {
                let filters = filters.iter().map(|path| rumqttc::SubscribeFilter::new(path.clone(), QoS::AtLeastOnce));
                client.try_subscribe_many(filters).is_ok()
            }
            Self::V5(client) => {
                use v5::mqttbytes::v5::{Filter, RetainForwardRule};
                let filters = filters.iter().map(|path| {
                    let mut filter = Filter::new(path, v5::mqttbytes::QoS::AtLeastOnce);
                    // Not again with each connection of one session.
                    filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
                    filter
                });
                client.try_subscribe_many(filters).is_ok()
            }
        };
        if done { Ok(()) } else { Err(Full) }
    }

    /// Acknowledges a message of this connection.
    pub(super) fn acknowledge(&self, packet_id: u16) -> Result<(), Full> {
        // The library takes a message to acknowledge, and of it only the packet id.
        let done = match self {
            Self::V3(client) => {
                let mut message = rumqttc::Publish::new("", QoS::AtLeastOnce, Vec::new());
                message.pkid = packet_id;
                client.try_ack(&message).is_ok()
            }
            Self::V5(client) => {
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                let mut message = v5::mqttbytes::v5::Publish::new("", qos, Bytes::new(), None);
                message.pkid = packet_id;
                client.try_ack(&message).is_ok()
            }
        };
        if done { Ok(()) } else { Err(Full) }
    }

    /// Says goodbye.
    pub(super) fn disconnect(&self) -> Result<(), Full> {
        let done = match self {
            Self::V3(client) => client.try_disconnect().is_ok(),
            Self::V5(client) => client.try_disconnect().is_ok(),
        };
        if done { Ok(()) } else { Err(Full) }
    }

    /// Asks a Sparkplug node for a rebirth, at quality of service 0 as its specification has
    /// it. The only place from which anything is published.
    pub(super) fn ask_for_rebirth(&self, node: &Rebirth) -> Result<(), Full> {
        let (topic, payload) = (node.topic(), node.payload.clone());
        let done = match self {
            Self::V3(client) => client.try_publish(topic, QoS::AtMostOnce, false, payload).is_ok(),
            Self::V5(client) => client.try_publish(topic, v5::mqttbytes::QoS::AtMostOnce, false, payload).is_ok(),
        };
        if done { Ok(()) } else { Err(Full) }
    }
}

impl Events {
    /// What happens next. After an error the connection has ended, and nothing else comes.
    pub(super) async fn poll(&mut self) -> Result<Event, Fault> {
        let next = async {
            match self {
                Self::V3(events) => events.poll().await.map(of_v3).map_err(|error| Fault::of_v3(&error)),
                Self::V5(events) => events.poll().await.map(of_v5).map_err(|error| Fault::of_v5(&error)),
            }
        };
        timeout(STUCK, next).await.unwrap_or_else(|_| Err(Fault::stuck()))
    }
}

fn of_v3(event: rumqttc::Event) -> Event {
    use rumqttc::mqttbytes::v4::SubscribeReasonCode;
    use rumqttc::{Incoming, Outgoing};
    match event {
        rumqttc::Event::Incoming(Incoming::ConnAck(connack)) => {
            Event::Connected { session_present: connack.session_present }
        }
        rumqttc::Event::Incoming(Incoming::SubAck(suback)) => {
            let granted = |code: &SubscribeReasonCode| match code {
                SubscribeReasonCode::Success(qos) => Ok(*qos as u8),
                SubscribeReasonCode::Failure => Err("it gives no reason"),
            };
            Event::Subscribed(suback.return_codes.iter().map(granted).collect())
        }
        rumqttc::Event::Incoming(Incoming::Publish(message)) => Event::Message(Message {
            packet_id: (message.qos != QoS::AtMostOnce).then_some(message.pkid),
            topic: message.topic,
            payload: message.payload,
            dup: message.dup,
            retain: message.retain,
        }),
        rumqttc::Event::Incoming(Incoming::PingResp) => Event::Pong,
        rumqttc::Event::Outgoing(Outgoing::PingReq) => Event::Ping,
        rumqttc::Event::Outgoing(Outgoing::PubAck(_)) => Event::Acknowledged,
        _ => Event::Other,
    }
}

fn of_v5(event: v5::Event) -> Event {
    use rumqttc::Outgoing;
    use v5::Incoming;
    use v5::mqttbytes::v5::SubscribeReasonCode;
    match event {
        v5::Event::Incoming(Incoming::ConnAck(connack)) => {
            Event::Connected { session_present: connack.session_present }
        }
        v5::Event::Incoming(Incoming::SubAck(suback)) => {
            let granted = |code: &SubscribeReasonCode| match code {
                SubscribeReasonCode::Success(qos) => Ok(*qos as u8),
                SubscribeReasonCode::NotAuthorized => Err("this user may not read it"),
                SubscribeReasonCode::TopicFilterInvalid => Err("it does not allow such a filter"),
                SubscribeReasonCode::QuotaExceeded => Err("it has no room for more subscriptions"),
                SubscribeReasonCode::SharedSubscriptionsNotSupported => Err("it has no shared subscriptions"),
                SubscribeReasonCode::WildcardSubscriptionsNotSupported => Err("it has no wildcards"),
                _ => Err("it gives no reason"),
            };
            Event::Subscribed(suback.return_codes.iter().map(granted).collect())
        }
        v5::Event::Incoming(Incoming::Publish(message)) => Event::Message(Message {
            packet_id: (message.qos != v5::mqttbytes::QoS::AtMostOnce).then_some(message.pkid),
            topic: String::from_utf8_lossy(&message.topic).into_owned(),
            payload: message.payload,
            dup: message.dup,
            retain: message.retain,
        }),
        v5::Event::Incoming(Incoming::PingResp(_)) => Event::Pong,
        v5::Event::Outgoing(Outgoing::PingReq) => Event::Ping,
        v5::Event::Outgoing(Outgoing::PubAck(_)) => Event::Acknowledged,
        _ => Event::Other,
    }
}
