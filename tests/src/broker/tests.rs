//! The broker as rumqttc sees it.

use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn client(broker: &Broker, id: &str, clean: bool) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, "127.0.0.1", broker.address().port());
    options.set_clean_session(clean).set_manual_acks(true).set_keep_alive(Duration::from_secs(5));
    AsyncClient::new(options, 100)
}

/// Polls until an incoming packet is what `pick` is after.
async fn until<T>(events: &mut EventLoop, mut pick: impl FnMut(&Incoming) -> Option<T>) -> T {
    let picking = async {
        loop {
            if let Event::Incoming(packet) = events.poll().await.unwrap()
                && let Some(found) = pick(&packet)
            {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, picking).await.expect("the broker did not say it in time")
}

fn published(packet: &Incoming) -> Option<Publish> {
    if let Incoming::Publish(publish) = packet { Some(publish.clone()) } else { None }
}

async fn subscribe(client: &AsyncClient, events: &mut EventLoop, filter: &str) {
    client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
    until(events, |packet| matches!(packet, Incoming::SubAck(_)).then_some(())).await;
}

async fn publish(broker: &Broker, topic: &str, payload: &str, retain: bool) {
    let (sender, mut events) = client(broker, "sender", true);
    sender.publish(topic, QoS::AtLeastOnce, retain, payload).await.unwrap();
    until(&mut events, |packet| matches!(packet, Incoming::PubAck(_)).then_some(())).await;
}

fn on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn what_was_not_acknowledged_comes_again_after_a_reconnect() {
    let broker = Broker::start().unwrap();
    on(async {
        let (first, mut events) = client(&broker, "gateway", false);
        subscribe(&first, &mut events, "plant/+/state").await;
        publish(&broker, "plant/a/state", "one", false).await;
        publish(&broker, "plant/a/other", "not asked for", false).await;
        let one = until(&mut events, published).await;
        assert_eq!((&*one.payload, one.dup), (&b"one"[..], false));
        drop((first, events)); // without an acknowledgement
        publish(&broker, "plant/b/state", "two", false).await;
        assert_eq!(broker.owed_to("gateway"), 2);

        let (second, mut events) = client(&broker, "gateway", false);
        let present = |packet: &Incoming| match packet {
            Incoming::ConnAck(ack) => Some(ack.session_present),
            _ => None,
        };
        assert!(until(&mut events, present).await);
        let again = until(&mut events, published).await;
        assert_eq!((&*again.payload, again.dup), (&b"one"[..], true));
        let two = until(&mut events, published).await;
        assert_eq!((&*two.payload, two.dup), (&b"two"[..], false));
        second.ack(&again).await.unwrap();
        second.ack(&two).await.unwrap();
        while broker.owed_to("gateway") > 0 {
            tokio::select! {
                event = events.poll() => { event.unwrap(); }
                () = tokio::task::yield_now() => {}
            }
        }
    });
}

#[test]
fn a_retained_message_meets_a_new_subscriber() {
    let broker = Broker::start().unwrap();
    on(async {
        publish(&broker, "plant/a", "kept", true).await;
        publish(&broker, "plant/a", "passing", false).await;
        let (late, mut events) = client(&broker, "late", true);
        late.subscribe("plant/#", QoS::AtLeastOnce).await.unwrap();
        let kept = until(&mut events, published).await;
        assert_eq!((&*kept.payload, kept.retain), (&b"kept"[..], true));
        publish(&broker, "plant/a", "live", false).await;
        let live = until(&mut events, published).await;
        assert_eq!((&*live.payload, live.retain), (&b"live"[..], false));
    });
}

#[test]
fn a_newer_connection_takes_the_session_over() {
    let broker = Broker::start().unwrap();
    on(async {
        let (_old, mut old_events) = client(&broker, "gateway", false);
        until(&mut old_events, |packet| matches!(packet, Incoming::ConnAck(_)).then_some(())).await;
        let (_new, mut new_events) = client(&broker, "gateway", false);
        until(&mut new_events, |packet| matches!(packet, Incoming::ConnAck(_)).then_some(())).await;
        let ended = async { while old_events.poll().await.is_ok() {} };
        tokio::time::timeout(PATIENCE, ended).await.expect("the old connection lives on");
    });
}

#[test]
fn the_plant_marks_what_the_broker_took() {
    use crate::plcsim::{MqttDevice, Plant, Scenario, fault::Fault, machine::Make};
    let broker = Broker::start().unwrap();
    let welder = MqttDevice {
        name: "welder".into(),
        broker: broker.address(),
        topic: "plant/welder/state".into(),
        machine: Make::Welder,
        interval_ms: 5,
        fault: Fault::None,
    };
    let plant = Plant::start(&Scenario { seed: 7, speed: 1.0, modbus: Vec::new(), mqtt: vec![welder] }).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while plant.truth().published_by("welder").iter().filter(|message| message.acked).count() < 20 {
        assert!(std::time::Instant::now() < deadline, "nothing was acknowledged");
        std::thread::yield_now();
    }
    let first = &plant.truth().published_by("welder")[0];
    let json: serde_json::Value = serde_json::from_str(&first.payload).unwrap();
    assert_eq!((json["serial"].as_u64(), json["current"]["rms"].as_f64()), (Some(1), Some(180.0)));
}
