//! A broker that is not ours: mosquitto, with a session that outlives the gateway.

use rumqttc::{Client, Event, Incoming, MqttOptions, QoS};
use sandan_gateway::clock;
use sandan_proto::reading::Value;
use sandan_tests::harness::account::{Account, EVER, accounts};
use sandan_tests::harness::http::{Series, rfc3339};
use sandan_tests::harness::{Gateway, PATIENCE, wait_for};
use sandan_tests::plcsim::MqttDevice;
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::Make;

use crate::mosquitto::Mosquitto;
use crate::world::{FIRM, World, plant, programs, used};

/// A message is acknowledged after it is synced, so what a killed gateway had not
/// synced comes again and nothing is lost. What was synced and not yet acknowledged
/// comes again too, and is known by then.
#[test]
fn a_killed_gateway_loses_no_message_and_stores_none_twice() {
    let repeated = restarts(Gateway::kill);
    assert!(repeated.is_empty(), "stored twice: {repeated:?}");
}

/// What is taken when the stop is asked for is synced and acknowledged before the end.
#[test]
fn a_stopped_gateway_loses_no_message_and_stores_none_twice() {
    let repeated = restarts(|gateway| assert!(gateway.terminate().unwrap().success()));
    assert!(repeated.is_empty(), "stored twice: {repeated:?}");
}

/// How often the gateway ends in the middle of things.
const RESTARTS: usize = 4;
/// Ends the gateway again and again under load. Every message is stored; gives those
/// that are stored more than once.
fn restarts(end: impl Fn(&mut Gateway)) -> Vec<i64> {
    // Without a bound on what waits for a client: losing there is not what is tested.
    let broker = Mosquitto::start("max_queued_messages 0");
    let world = World::new();
    let welder = MqttDevice {
        name: "welder".into(),
        broker: broker.address,
        topic: "plant/welder-1/state".into(),
        machine: Make::Welder,
        interval_ms: 20,
        fault: Fault::None,
    };
    let plant = plant(Vec::new(), vec![welder]);
    let welder = used(&plant, "welder", "welder-1");
    let mut gateway = world.gateway("weld-shop", vec![welder.clone()]);
    let owner = world.member(FIRM);
    let serials = Series::new(FIRM, "welder-1", "x_serial");
    let stored = || -> Vec<i64> {
        let readings = owner.readings(&serials, EVER.0, EVER.1).unwrap_or_default();
        readings
            .iter()
            .filter_map(|reading| match reading.value {
                Some(Value::I64(serial)) => Some(serial),
                _ => None,
            })
            .collect()
    };

    for _ in 0..RESTARTS {
        gateway.start().unwrap();
        let before = stored().len();
        wait_for("messages to be stored", PATIENCE, || (stored().len() > before + 40).then_some(())).unwrap();
        end(&mut gateway);
    }
    gateway.start().unwrap();
    plant.fault("welder", Fault::Silent).unwrap();
    let published = plant.truth().published_by("welder");
    let last = i64::from(published.last().unwrap().serial);
    wait_for("the last message to be stored", PATIENCE, || stored().contains(&last).then_some(())).unwrap();

    let mut stored = stored();
    let first = stored[0];
    stored.sort_unstable();
    let mut once = stored.clone();
    once.dedup();
    assert_eq!(once, (first..=last).collect::<Vec<_>>(), "a message is lost");
    let mut twice: Vec<i64> = stored.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    twice.dedup();
    // And each with the values that were published; a repeated one has them twice.
    for account in accounts(&plant, &welder, FIRM, &owner).unwrap().into_iter().filter(|_| twice.is_empty()) {
        let since = account.served.len().saturating_sub(account.stored.len());
        let from_first = Account { served: account.served[since..].to_vec(), ..account };
        assert!(from_first.agrees(), "{}: the values differ", from_first.series);
    }
    world.ingest.log().assert_quiet("the ingest", &[]);
    twice
}

/// Publishes, and waits until the broker has all of it.
fn publish(broker: &Mosquitto, messages: &[(&str, String)]) {
    let options = MqttOptions::new("logger", broker.address.ip().to_string(), broker.address.port());
    let (client, mut connection) = Client::new(options, messages.len() + 1);
    for (topic, payload) in messages {
        client.publish(*topic, QoS::AtLeastOnce, false, payload.as_bytes()).unwrap();
    }
    let taken =
        connection.iter().filter(|event| matches!(event.as_ref().unwrap(), Event::Incoming(Incoming::PubAck(_))));
    assert_eq!(taken.take(messages.len()).count(), messages.len());
}

/// A logger that sends what it measured an hour ago, later and in a list; and a laboratory
/// that writes local time. What is stored is when it was measured, not when it came.
#[test]
fn a_payloads_own_time_is_when_it_was_observed() {
    const HOUR_US: i64 = 3_600_000_000;
    const NAME: &str = "loggers";
    let broker = Mosquitto::that_tells_all();
    let world = World::new();
    let text = format!(
        r#"
gateway = "{FIRM}/{NAME}"
state_dir = "state"
[uplink]
url = "{}"
[spool]
max_bytes = "64MiB"
[http]
listen = "127.0.0.1:0"
[[asset]]
id = "press-1"
path = "plant-1/press-1"
name = {{ ko = "프레스", en = "Press" }}
time_zone = "Asia/Seoul"
[[mqtt]]
address = "mqtt://{}"
  [[mqtt.device]]
  name = "logger"
  topic = "plant/{{asset}}/log"
  asset_levels = {{ "M 01" = "press-1" }}
  samples = "data"
  time = "ts"
  time_format = "epoch_ms"
  signals = [ {{ name = "v", metric = "x_logged", unit = "1", path = "v", type = "i64" }} ]
  [[mqtt.device]]
  name = "laboratory"
  topic = "plant/+/lab"
  asset = "press-1"
  time = "at"
  time_format = "iso8601"
  signals = [ {{ name = "h", metric = "x_hardness", unit = "1", path = "h", type = "i64" }} ]
"#,
        world.ingest.url(),
        broker.address
    );
    let invitation = world.ingest.add_gateway(&format!("{FIRM}/{NAME}")).unwrap();
    let mut gateway = Gateway::with_config(&programs(), &world.dir().join(NAME), NAME, &text).unwrap();
    gateway.enroll(&invitation).unwrap().success().unwrap();
    gateway.start().unwrap();
    broker.wait_for_subscription(&format!("sandan-{FIRM}-{NAME}"), 1);
    // Without the time of day it could not put the source's times in order with its own.
    wait_for("the gateway to know the time of day", PATIENCE, || {
        (gateway.status().ok()?["clock"]["source"] != "unknown").then_some(())
    })
    .unwrap();

    let since_ms = (clock::wall_us() - HOUR_US) / 1_000;
    let logged = |from: i64| {
        let sample = |at: i64| format!(r#"{{"ts": {}, "v": {at}}}"#, since_ms + at * 100);
        format!(r#"{{"data": [{}, {}]}}"#, sample(from), sample(from + 1))
    };
    // The same moment as people in Seoul write it, nine hours ahead all year.
    let measured_us = since_ms * 1_000 - HOUR_US;
    let local = rfc3339(measured_us + 9 * HOUR_US).unwrap();
    let local = local.trim_end_matches('Z');
    publish(
        &broker,
        &[
            ("plant/M 01/log", logged(3)),
            // Older than what came before it.
            ("plant/M 01/log", logged(1)),
            ("plant/M 01/lab", format!(r#"{{"at": "{local}", "h": 58}}"#)),
        ],
    );
    let owner = world.member(FIRM);
    let stored = |metric: &str, count: usize| -> Vec<(i64, Option<Value>, String)> {
        let series = Series::new(FIRM, "press-1", metric);
        let all = wait_for(&format!("{count} readings of {metric}"), PATIENCE, || {
            owner.readings(&series, EVER.0, EVER.1).ok().filter(|all| all.len() >= count)
        });
        all.unwrap().into_iter().map(|read| (read.time_us, read.value, read.quality)).collect()
    };
    let expected = |time_us: i64, value: i64| (time_us, Some(Value::I64(value)), "good".to_owned());
    let in_order: Vec<_> = (1..5).map(|at| expected((since_ms + at * 100) * 1_000, at)).collect();
    assert_eq!(stored("x_logged", 4), in_order);
    assert_eq!(stored("x_hardness", 1), [expected(measured_us, 58)]);
}
