//! The driver against a broker that the test plays by hand.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{ConnAck, Connect, Packet, Publish, SubAck, Subscribe, SubscribeReasonCode};
use rumqttc::{ConnectReturnCode, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::*;
use crate::clock::KnownOffset;
use crate::config::tests::example;
use crate::config::{Config, Endpoint};
use crate::driver::{Raw, Reply};
use crate::health::LinkStatus;

mod reasons;

/// The longest that a test waits for a state it is sure to reach.
const PATIENCE: Duration = Duration::from_secs(20);
const LOST: Raw = Raw::Failed(Quality::BAD_NO_ANSWER);

/// The driver at work, and what came out of it.
struct Rig {
    config: Config,
    health: Health,
    replies: mpsc::Receiver<Reply>,
    synced: watch::Sender<u64>,
    broker: TcpListener,
    stop: CancellationToken,
    _guard: tokio_util::sync::DropGuard,
}

const COUNT: &str = r#"{ name = "count", metric = "part_count", path = "n", type = "i64" }"#;

async fn rig() -> Rig {
    rig_of(COUNT).await
}

/// The example's welder, and a line with these signals.
async fn rig_of(signals: &str) -> Rig {
    rig_knowing(signals, Vec::new()).await
}

/// The same after an earlier process synced these messages.
async fn rig_knowing(signals: &str, known: Vec<(u16, [u8; 16])>) -> Rig {
    let config = |address: SocketAddr| {
        example(|text| {
            let second = r#"
  [[mqtt.device]]
  name = "line"
  topic = "plant/+/count"
  asset = "welder-1"
"#;
            text.replace("127.0.0.1:1883", &address.to_string()) + second + &format!("  signals = [ {signals} ]\n")
        })
    };
    rig_with(config, known, KnownOffset::default()).await
}

async fn rig_with(config: impl FnOnce(SocketAddr) -> Config, known: Vec<(u16, [u8; 16])>, offset: KnownOffset) -> Rig {
    let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(broker.local_addr().unwrap());
    let health = Health::new(&config);
    let Endpoint::Mqtt(endpoint) = config.endpoints[1].clone() else { panic!("the second endpoint is MQTT") };
    let (sender, replies) = mpsc::channel(100);
    let (synced, receiver) = watch::channel(0);
    let stop = CancellationToken::new();
    let outlet = Outlet::new(1, sender, receiver).knowing(known).dated_by(offset);
    tokio::spawn(run(endpoint, outlet, health.clone(), stop.clone()));
    Rig { config, health, replies, synced, broker, _guard: stop.clone().drop_guard(), stop }
}

impl Rig {
    async fn next(&mut self) -> Reply {
        timeout(PATIENCE, self.replies.recv()).await.expect("a reply in time").unwrap()
    }

    fn names(&self, reply: &Reply) -> Vec<(&str, Raw)> {
        let name = |signal: u32| self.config.signals[signal as usize].name.as_str();
        reply.readings.iter().map(|reading| (name(reading.signal), reading.raw.clone())).collect()
    }

    async fn fault(&self, device: usize, part: &str) -> LinkStatus {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let link = self.health.status(clock::monotonic_us()).links[device].clone();
            if link.fault.contains(part) {
                return link;
            }
            assert!(tokio::time::Instant::now() < deadline, "no `{part}` in {link:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Takes a connection up to its CONNECT.
    async fn accept(&self) -> (Line, Connect) {
        let (stream, _) = timeout(PATIENCE, self.broker.accept()).await.expect("a connection in time").unwrap();
        let mut line = Line { stream, buffer: BytesMut::new(), packets: VecDeque::new() };
        match line.next().await {
            Packet::Connect(connect) => (line, connect),
            other => panic!("{other:?} came first"),
        }
    }

    /// Takes a connection and its subscription; each filter gets a code.
    async fn session(&self, session_present: bool, codes: [SubscribeReasonCode; 2]) -> (Line, Connect, Subscribe) {
        let (mut line, connect) = self.accept().await;
        line.send(Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, session_present))).await;
        match line.next().await {
            Packet::Subscribe(subscribe) => {
                line.send(Packet::SubAck(SubAck::new(subscribe.pkid, codes.to_vec()))).await;
                (line, connect, subscribe)
            }
            other => panic!("{other:?} came instead of a subscription"),
        }
    }

    async fn granted(&self, session_present: bool) -> Line {
        self.session(session_present, [SubscribeReasonCode::Success(QoS::AtLeastOnce); 2]).await.0
    }
}

/// The broker's side of a connection.
struct Line {
    stream: TcpStream,
    buffer: BytesMut,
    packets: VecDeque<Packet>,
}

impl Line {
    async fn next(&mut self) -> Packet {
        loop {
            if let Ok(packet) = Packet::read(&mut self.buffer, MAX_PACKET_BYTES) {
                self.packets.push_back(packet);
            }
            match self.packets.pop_front() {
                Some(Packet::PingReq) => self.send(Packet::PingResp).await,
                Some(packet) => return packet,
                None => {
                    let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
                    assert_ne!(read.expect("a packet in time").unwrap(), 0, "the driver hung up");
                }
            }
        }
    }

    async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, usize::MAX).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn publish(&mut self, packet_id: u16, topic: &str, payload: impl Into<Vec<u8>>, change: fn(&mut Publish)) {
        let mut message = Publish::new(topic, QoS::AtLeastOnce, payload);
        message.pkid = packet_id;
        change(&mut message);
        self.send(Packet::Publish(message)).await;
    }

    /// A packet whose length alone ends the connection; the rest need not come.
    async fn publish_oversize(&mut self) {
        let mut head = BytesMut::new();
        let mut message = Publish::new("plant/welder-1/state", QoS::AtLeastOnce, vec![0; MAX_PACKET_BYTES]);
        message.pkid = 1;
        message.write(&mut head).unwrap();
        self.stream.write_all(&head[..64]).await.unwrap();
    }

    async fn acknowledged(&mut self) -> u16 {
        match self.next().await {
            Packet::PubAck(ack) => ack.pkid,
            other => panic!("{other:?} came instead of an acknowledgement"),
        }
    }
}

const STATE: &str = r#"{"current": {"rms": 182.5}, "voltage": 24, "arc": true, "program": {"steps": ["P7"]}}"#;

#[tokio::test]
async fn a_message_becomes_readings_and_is_acknowledged_after_the_sync() {
    let mut rig = rig().await;
    let granted = [SubscribeReasonCode::Success(QoS::AtLeastOnce); 2];
    let (mut line, connect, subscribe) = rig.session(false, granted).await;
    assert!(!connect.clean_session, "the broker keeps what comes while we are away");
    assert_eq!(connect.client_id, "sandan-hanbit-mould-press-hall");
    let filters: Vec<_> = subscribe.filters.iter().map(|filter| (filter.path.as_str(), filter.qos)).collect();
    assert_eq!(filters, [("plant/+/count", QoS::AtLeastOnce), ("plant/welder-1/state", QoS::AtLeastOnce)]);

    line.publish(5, "plant/welder-1/state", STATE, |_| {}).await;
    line.publish(6, "plant/press-9/count", r#"{"n": 41}"#, |_| {}).await;
    let first = rig.next().await;
    assert_eq!(
        rig.names(&first),
        [
            ("current", Raw::Number(182.5)),
            ("voltage", Raw::Integer(24)),
            ("arc", Raw::Bit(true)),
            ("program", Raw::Text("P7".into())),
        ]
    );
    let second = rig.next().await;
    assert_eq!(rig.names(&second), [("count", Raw::Integer(41))]);
    assert_eq!([(first.source, first.ticket), (second.source, second.ticket)], [(1, 1), (1, 2)]);
    // Not synced yet: the next thing on the line is the answer to this one, which needs no sync.
    line.publish(7, "plant/elsewhere", "{}", |_| {}).await;
    assert_eq!(line.acknowledged().await, 7);
    rig.synced.send(1).unwrap();
    assert_eq!(line.acknowledged().await, 5);
    rig.synced.send(2).unwrap();
    assert_eq!(line.acknowledged().await, 6);
}

#[tokio::test]
async fn a_stop_acknowledges_what_was_taken_and_leaves_the_rest_to_the_broker() {
    let mut rig = rig().await;
    let mut line = rig.granted(false).await;
    line.publish(5, "plant/press-9/count", r#"{"n": 1}"#, |_| {}).await;
    line.publish(6, "plant/press-9/count", r#"{"n": 2}"#, |_| {}).await;
    assert_eq!([rig.next().await.ticket, rig.next().await.ticket], [1, 2]);
    rig.stop.cancel();
    line.publish(7, "plant/press-9/count", r#"{"n": 3}"#, |_| {}).await;
    rig.synced.send(1).unwrap();
    assert_eq!(line.acknowledged().await, 5);
    rig.synced.send(2).unwrap();
    assert_eq!(line.acknowledged().await, 6);
    assert_eq!(line.next().await, Packet::Disconnect);
    drop(line);
    assert_eq!(timeout(PATIENCE, rig.replies.recv()).await.expect("an end in time"), None, "7 was not taken");
}

#[tokio::test]
async fn a_stop_without_a_recorder_says_goodbye_and_acknowledges_nothing() {
    let mut rig = rig().await;
    let mut line = rig.granted(false).await;
    line.publish(5, "plant/press-9/count", r#"{"n": 1}"#, |_| {}).await;
    rig.next().await;
    rig.stop.cancel();
    drop(std::mem::replace(&mut rig.synced, watch::channel(0).0));
    assert_eq!(line.next().await, Packet::Disconnect);
}

#[tokio::test]
async fn no_acknowledgement_is_written_twice() {
    const MESSAGES: u16 = 90;
    let mut rig = rig().await;
    let mut line = rig.granted(false).await;
    for packet_id in 1..=MESSAGES {
        line.publish(packet_id, "plant/press-9/count", r#"{"n": 1}"#, |_| {}).await;
    }
    for _ in 1..=MESSAGES {
        rig.next().await;
    }
    // More than the library takes at once, and more messages while it is at it.
    rig.synced.send(MESSAGES.into()).unwrap();
    for packet_id in 1..=MESSAGES {
        line.publish(packet_id + MESSAGES, "plant/elsewhere", "{}", |_| {}).await;
    }
    for packet_id in 1..=2 * MESSAGES {
        assert_eq!(line.acknowledged().await, packet_id);
    }
}

#[tokio::test]
async fn a_text_that_many_signals_pick_is_bounded() {
    let signals = (0..5).map(|n| format!(r#"{{ name = "t{n}", metric = "x_{n}", path = "t", type = "text" }}"#));
    let mut rig = rig_of(&signals.collect::<Vec<_>>().join(", ")).await;
    let mut line = rig.granted(false).await;
    line.publish(1, "plant/press-9/count", format!(r#"{{"t": "{}"}}"#, "x".repeat(250 << 10)), |_| {}).await;
    let reply = rig.next().await;
    assert_eq!((reply.readings.len(), reply.dead.is_some()), (0, true));
    rig.fault(2, "brings more text than one message may").await;
    line.publish(2, "plant/press-9/count", format!(r#"{{"t": "{}"}}"#, "x".repeat(150 << 10)), |_| {}).await;
    assert_eq!(rig.next().await.readings.len(), 5);
}

#[tokio::test]
async fn after_a_reconnect_nothing_is_spooled_twice() {
    let mut rig = rig().await;
    let mut line = rig.granted(false).await;
    line.publish(5, "plant/press-9/count", r#"{"n": 1}"#, |_| {}).await;
    line.publish(6, "plant/press-9/count", r#"{"n": 2}"#, |_| {}).await;
    assert_eq!([rig.next().await.ticket, rig.next().await.ticket], [1, 2]);
    rig.synced.send(1).unwrap();
    assert_eq!(line.acknowledged().await, 5);
    drop(line);

    let lost = rig.next().await;
    assert!(rig.names(&lost).iter().all(|(_, raw)| *raw == LOST));
    assert_eq!(lost.readings.len(), 5, "every signal of the endpoint is told once");
    let mut line = rig.granted(true).await;
    // The broker never saw the acknowledgement of 5 and has none of 6.
    line.publish(5, "plant/press-9/count", r#"{"n": 1}"#, |message| message.dup = true).await;
    line.publish(6, "plant/press-9/count", r#"{"n": 2}"#, |message| message.dup = true).await;
    assert_eq!(line.acknowledged().await, 5);
    line.publish(7, "plant/press-9/count", r#"{"n": 3}"#, |_| {}).await;
    let third = rig.next().await;
    assert_eq!(rig.names(&third), [("count", Raw::Integer(3))], "neither came again");
    rig.synced.send(2).unwrap();
    assert_eq!(line.acknowledged().await, 6);
}

#[tokio::test]
async fn after_a_kill_what_was_synced_is_acknowledged_and_not_spooled_twice() {
    let mut rig = rig().await;
    let mut line = rig.granted(false).await;
    line.publish(5, "plant/press-9/count", r#"{"n": 1}"#, |_| {}).await;
    line.publish(6, "plant/press-9/count", r#"{"n": 2}"#, |_| {}).await;
    let (first, second) = (rig.next().await.delivery.unwrap(), rig.next().await.delivery.unwrap());
    assert_eq!([(first.packet_id, first.unsettled), (second.packet_id, second.unsettled)], [(5, 1), (6, 2)]);
    let Endpoint::Mqtt(endpoint) = &rig.config.endpoints[1] else { panic!("the second endpoint is MQTT") };
    assert_eq!((first.session, second.session), (session(endpoint), session(endpoint)));
    drop((line, rig));

    // 5 was synced and its acknowledgement lost; 6 was not synced.
    let mut rig = rig_knowing(COUNT, vec![(5, first.digest)]).await;
    let mut line = rig.granted(true).await;
    line.publish(5, "plant/press-9/count", r#"{"n": 1}"#, |message| message.dup = true).await;
    assert_eq!(line.acknowledged().await, 5, "without another sync");
    line.publish(6, "plant/press-9/count", r#"{"n": 2}"#, |message| message.dup = true).await;
    let again = rig.next().await;
    assert_eq!((rig.names(&again), again.ticket), (vec![("count", Raw::Integer(2))], 1));
    assert_eq!(again.delivery.unwrap().unsettled, 2);
    // Another message under the number that is free again.
    line.publish(5, "plant/press-9/count", r#"{"n": 1}"#, |_| {}).await;
    assert_eq!(rig.next().await.ticket, 2);
    drop((line, rig));

    // A broker that has forgotten the session sends nothing again, whatever it looks like.
    let mut rig = rig_knowing(COUNT, vec![(5, first.digest)]).await;
    let mut line = rig.granted(false).await;
    line.publish(5, "plant/press-9/count", r#"{"n": 1}"#, |message| message.dup = true).await;
    assert_eq!(rig.next().await.ticket, 1);
}

#[tokio::test]
async fn what_cannot_be_used_is_kept_and_acknowledged_after_the_sync() {
    let mut rig = rig().await;
    let mut line = rig.granted(false).await;
    let bad = [
        ("{\"current\": ".into(), "is not JSON: EOF while parsing"),
        (vec![b'x'; MAX_MESSAGE_BYTES + 1], "has 262145 bytes, more than 262144"),
        (br#"{"temperature": 3}"#.to_vec(), "holds none of the configured paths"),
    ];
    for (packet_id, (payload, reason)) in (1..).zip(bad) {
        let payload: Vec<u8> = payload;
        line.publish(packet_id, "plant/welder-1/state", payload.clone(), |_| {}).await;
        let reply = rig.next().await;
        let dead = reply.dead.unwrap();
        assert_eq!((reply.readings.len(), dead.topic.as_str()), (0, "plant/welder-1/state"));
        assert_eq!(dead.payload, payload);
        assert!(dead.reason.starts_with(reason), "{}", dead.reason);
        rig.fault(1, &format!("a message on plant/welder-1/state {reason}")).await;
        rig.synced.send(reply.ticket).unwrap();
        assert_eq!(line.acknowledged().await, packet_id);
    }
    line.publish(4, "plant/welder-1/state", STATE, |message| message.retain = true).await;
    assert_eq!(line.acknowledged().await, 4);
    line.publish(5, "plant/elsewhere", STATE, |_| {}).await;
    assert_eq!(line.acknowledged().await, 5, "left over of an older subscription");
    assert!(rig.replies.try_recv().is_err());
    line.publish(6, "plant/welder-1/state", STATE, |_| {}).await;
    assert_eq!(rig.next().await.readings.len(), 4);
    let told = rig.fault(1, "only 25 % of the polls").await;
    assert_eq!((told.polls_total, told.failures_total, told.ignored_total), (4, 3, 1));
    let status = rig.health.status(clock::monotonic_us());
    assert_eq!((status.messages.len(), status.messages[0].dead_letters_total), (1, 3));
}

#[tokio::test]
async fn of_a_topic_that_keeps_failing_some_are_kept_and_all_are_acknowledged() {
    let mut rig = rig().await;
    let mut line = rig.granted(false).await;
    for packet_id in 1..=15 {
        line.publish(packet_id, "plant/press-9/count", "?", |_| {}).await;
    }
    for packet_id in 11..=15 {
        assert_eq!(line.acknowledged().await, packet_id, "not kept, so nothing waits for a sync");
    }
    for ticket in 1..=10 {
        assert_eq!(rig.next().await.ticket, ticket);
    }
    rig.synced.send(10).unwrap();
    for packet_id in 1..=10 {
        assert_eq!(line.acknowledged().await, packet_id);
    }
    assert_eq!(rig.health.status(clock::monotonic_us()).messages[0].dead_letters_total, 15);
}

/// One machine of a pattern, whose messages have a time of their own.
async fn machines(offset: Option<i64>) -> Rig {
    let config = |address: SocketAddr| {
        example(|text| {
            let (before, _) = text.split_once("\n[[mqtt]]\n").unwrap();
            format!(
                "{before}\n[[mqtt]]\naddress = \"mqtt://{address}\"\n[[mqtt.device]]\nname = \"hall\"\n\
                 topic = \"plant/{{asset}}/{{metric}}\"\nassets = [\"welder-1\"]\ntime = \"t\"\ntime_format = \"epoch_ms\"\n\
                 signals = [ {{ name = \"n\", metric = \"part_count\", path = \"n\" }} ]\n"
            )
        })
    };
    let known = KnownOffset::default();
    if let Some(offset) = offset {
        known.learn(offset);
    }
    rig_with(config, Vec::new(), known).await
}

const WALL_US: i64 = 1_720_659_723_456_000;
const DATED: &str = r#"{"n": 1, "t": 1720659723456}"#;

#[tokio::test]
async fn a_source_tells_its_own_time_where_the_clock_is_known() {
    let mut rig = machines(Some(WALL_US - 5_000_000)).await;
    let mut line = rig.granted(false).await;
    line.publish(1, "plant/welder-1/part_count", DATED, |_| {}).await;
    let reading = rig.next().await.readings.remove(0);
    assert_eq!((reading.at_us, reading.quality), (Some(5_000_000), Quality::GOOD));

    let mut rig = machines(None).await;
    let mut line = rig.granted(false).await;
    line.publish(1, "plant/welder-1/part_count", DATED, |_| {}).await;
    let reading = rig.next().await.readings.remove(0);
    assert_eq!((reading.at_us, reading.quality), (None, Quality::UNCERTAIN_CLOCK));
}

#[tokio::test]
async fn a_retained_message_with_a_time_is_an_uncertain_reading_once() {
    let mut rig = machines(Some(WALL_US)).await;
    let mut line = rig.granted(false).await;
    line.publish(1, "plant/welder-1/part_count", DATED, |message| message.retain = true).await;
    let reading = rig.next().await.readings.remove(0);
    assert_eq!((reading.at_us, reading.quality), (Some(0), Quality::UNCERTAIN_RETAINED));
    drop(line);
    assert_eq!(rig.next().await.readings[0].raw, LOST);
    let mut line = rig.granted(false).await;
    line.publish(1, "plant/welder-1/part_count", DATED, |message| message.retain = true).await;
    assert_eq!(line.acknowledged().await, 1, "with each subscription it comes again");
}

#[tokio::test]
async fn of_an_unknown_machine_or_metric_one_message_a_topic_is_kept() {
    let mut rig = machines(Some(WALL_US)).await;
    let mut line = rig.granted(false).await;
    for (packet_id, topic, reason) in [
        (1, "plant/press-9/part_count", "names no asset that is configured: `press-9`"),
        (2, "plant/welder-1/noise", "names no metric that is configured: `noise`"),
    ] {
        line.publish(packet_id, topic, DATED, |_| {}).await;
        let reply = rig.next().await;
        assert_eq!(reply.dead.unwrap().reason, reason);
        rig.synced.send(reply.ticket).unwrap();
        assert_eq!(line.acknowledged().await, packet_id);
        line.publish(packet_id + 10, topic, DATED, |_| {}).await;
        assert_eq!(line.acknowledged().await, packet_id + 10);
    }
    let messages = rig.health.status(clock::monotonic_us()).messages.remove(0);
    assert_eq!((messages.unknown_topics_total, messages.dead_letters_total), (4, 0));
    assert_eq!(messages.last_fault.unwrap(), "nothing is configured for the topic plant/welder-1/noise");
}

#[tokio::test]
async fn a_refused_subscription_is_told() {
    let rig = rig().await;
    let codes = [SubscribeReasonCode::Failure, SubscribeReasonCode::Success(QoS::AtLeastOnce)];
    let (_line, ..) = rig.session(false, codes).await;
    let link = rig.fault(2, "the broker refuses the subscription to plant/+/count").await;
    assert_eq!(link.state, "down");
}

#[tokio::test]
async fn a_packet_that_no_buffer_may_hold_does_not_come_back_for_ever() {
    let mut rig = rig().await;
    let mut line = rig.granted(false).await;
    line.publish_oversize().await;
    rig.next().await;
    rig.fault(1, "more than 4194304; what the broker had queued is discarded").await;
    let (mut line, connect) = rig.accept().await;
    assert!(connect.clean_session, "the session with the packet is discarded");
    line.send(Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false))).await;
    let (mut line, connect, _) = rig.session(false, [SubscribeReasonCode::Success(QoS::AtLeastOnce); 2]).await;
    assert!(!connect.clean_session);
    // It is a retained one. What is queued beside it is not given up each time.
    line.publish_oversize().await;
    rig.fault(1, "more than 4194304, and it comes again and again: remove it at the broker").await;
    let (_line, connect) = rig.accept().await;
    assert!(!connect.clean_session);
}

#[tokio::test]
async fn a_broker_that_is_away_is_told_once_and_found_again() {
    let mut rig = rig().await;
    let (line, _) = rig.accept().await;
    drop(line);
    assert!(rig.next().await.readings.iter().all(|reading| reading.raw == LOST));
    let (mut line, _) = rig.accept().await;
    line.send(Packet::ConnAck(ConnAck::new(ConnectReturnCode::NotAuthorized, false))).await;
    let told = rig.fault(1, "the broker refuses the user name or password").await;
    assert_eq!(told.state, "down");
    let mut line = rig.granted(false).await;
    line.publish(1, "plant/press-9/count", r#"{"n": 1}"#, |_| {}).await;
    assert_eq!(rig.next().await.readings.len(), 1, "the loss was not told a second time");
}
