//! Sparkplug B over a broker that is not ours: a simulated edge node, a peer's edge node, and
//! a broker that writes down who published what.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use sandan_proto::reading::Value;
use sandan_tests::harness::account::EVER;
use sandan_tests::harness::http::{Asker, Read, Series};
use sandan_tests::harness::{Gateway, PATIENCE, wait_for};
use sandan_tests::sparkplug::{EdgeNode, Metric, now_ms};
use serde_json::Value as Json;

use crate::interop_modbus::python;
use crate::mosquitto::Mosquitto;
use crate::world::{FIRM, World, programs};

const GROUP: &str = "plant-1";
const NODE: &str = "line-3";
const DEVICE: &str = "furnace";
/// One signal of the node, and those of its device: each metric's values lie in a thousand of
/// its own, so that a value tells which metric it is of.
const OWN: &str = "Cabinet/Volts";
const ZONES: [&str; 3] = ["Zone 1/Temp", "Zone 2/Temp", "Zone 3/Temp"];

/// A signal of the configuration: name, metric of the node, type.
type Row<'r> = (&'r str, &'r str, &'r str);

fn config(name: &str, world: &World, broker: &Mosquitto, node: &str, devices: &[(Option<&str>, &[Row<'_>])]) -> String {
    let mut text = format!(
        "gateway = \"{FIRM}/{name}\"\nstate_dir = \"state\"\n[uplink]\nurl = \"{}\"\n[spool]\nmax_bytes = \"64MiB\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n[[asset]]\nid = \"{name}\"\npath = \"plant-1/{name}\"\n\
         name = {{ ko = \"가열로\", en = \"Furnace\" }}\ntime_zone = \"Asia/Seoul\"\n\
         [[mqtt]]\naddress = \"mqtt://{}\"\n[[mqtt.sparkplug]]\n{node}\n",
        world.ingest.url(),
        broker.address
    );
    for (device, rows) in devices {
        let id = device.map(|device| format!("device = \"{device}\"\n")).unwrap_or_default();
        let called = device.unwrap_or("node");
        write!(text, "[[mqtt.sparkplug.device]]\nname = \"{called}\"\n{id}asset = \"{name}\"\nsignals = [\n").unwrap();
        for (signal, tag, kind) in *rows {
            writeln!(
                text,
                "  {{ name = \"{signal}\", metric = \"x_{signal}\", unit = \"1\", tag = \"{tag}\", type = \"{kind}\" }},"
            )
            .unwrap();
        }
        text.push_str("]\n");
    }
    text
}

/// A gateway that reads the node and its device, started and subscribed.
struct Reader {
    gateway: Gateway,
    name: &'static str,
    owner: Asker,
}

impl Reader {
    fn start(world: &World, broker: &Mosquitto, name: &'static str, more: &str) -> Self {
        let node = format!("group = \"{GROUP}\"\nnode = \"{NODE}\"\n{more}");
        let zones: Vec<Row<'_>> =
            ZONES.iter().enumerate().map(|(at, tag)| (["zone_1", "zone_2", "zone_3"][at], *tag, "f64")).collect();
        let own: [Row<'_>; 1] = [("volts", OWN, "f64")];
        let text = config(name, world, broker, &node, &[(None, &own), (Some(DEVICE), &zones)]);
        Self::with(world, broker, name, &text)
    }

    fn with(world: &World, broker: &Mosquitto, name: &'static str, text: &str) -> Self {
        let invitation = world.ingest.add_gateway(&format!("{FIRM}/{name}")).unwrap();
        let mut gateway = Gateway::with_config(&programs(), &world.dir().join(name), name, text).unwrap();
        gateway.enroll(&invitation).unwrap().success().unwrap();
        gateway.start().unwrap();
        broker.wait_for_subscription(&client(name), 1);
        Self { gateway, name, owner: world.member(FIRM) }
    }

    fn stored(&self, signal: &str) -> Vec<Read> {
        let series = Series::new(FIRM, self.name, &format!("x_{signal}"));
        self.owner.readings(&series, EVER.0, EVER.1).unwrap_or_default()
    }

    /// Waits until a value is stored; gives all of the series.
    fn wait_for_value(&self, signal: &str, value: f64) -> Vec<Read> {
        wait_for(&format!("{signal} = {value}"), PATIENCE, || {
            let stored = self.stored(signal);
            stored.iter().any(|read| read.value == Some(Value::F64(value))).then_some(stored)
        })
        .unwrap()
    }

    /// What the gateway says of a device.
    fn link(&self, device: &str) -> Option<Json> {
        let status = self.gateway.status().ok()?;
        status["links"].as_array()?.iter().find(|link| link["device"] == device).cloned()
    }

    /// Waits until a device is as is said; gives the fault that stands beside it.
    fn wait_for_state(&self, device: &str, state: &str) -> String {
        wait_for(&format!("{device} to be {state}"), PATIENCE, || {
            let link = self.link(device)?;
            (link["state"] == state).then(|| link["fault"].as_str().unwrap_or_default().to_owned())
        })
        .unwrap()
    }
}

/// The client id of a gateway at the broker.
fn client(name: &str) -> String {
    format!("sandan-{FIRM}-{name}")
}

fn numbers(reads: &[Read]) -> Vec<f64> {
    let number = |read: &Read| match read.value {
        Some(Value::F64(number)) => Some(number),
        _ => None,
    };
    reads.iter().filter_map(number).collect()
}

/// A value of a zone: the thousands tell which.
fn value(zone: usize, count: usize) -> f64 {
    (zone * 1_000 + count) as f64
}

/// Whether a value is one of a zone.
fn is_of(zone: usize, number: f64) -> bool {
    let first = value(zone, 0);
    (first..first + 1_000.0).contains(&number)
}

/// The births of the node and its device; `aliases` are those of the zones.
fn birth(node: &mut EdgeNode, aliases: [u64; 3], count: usize) {
    node.birth(&[Metric::double(OWN, 24.0).with_alias(9).at(now_ms())]).unwrap();
    let zones: Vec<_> = (0..3)
        .map(|zone| Metric::double(ZONES[zone], value(zone + 1, count)).with_alias(aliases[zone]).at(now_ms()))
        .collect();
    node.device_birth(DEVICE, &zones).unwrap();
}

/// Data of one zone, under its alias.
fn tell(node: &mut EdgeNode, zone: usize, alias: u64, count: usize) {
    let metric = Metric::double("", value(zone, count)).under_alias(alias).at(now_ms());
    node.data(Some(DEVICE), &[metric]).unwrap();
}

#[test]
fn what_an_edge_node_says_is_stored_under_its_names_and_its_death_is_seen() {
    let (world, broker) = (World::new(), Mosquitto::that_tells_all());
    let reader = Reader::start(&world, &broker, "furnace-hall", "");
    let mut node = EdgeNode::connect(broker.address, GROUP, NODE, 1).unwrap();
    birth(&mut node, [1, 2, 3], 0);
    for count in 1..=20 {
        for zone in 1..=3 {
            tell(&mut node, zone, zone as u64, count);
        }
    }
    // What was, with times of its own, amid what is.
    let past_ms: Vec<u64> = (0..5).map(|at| now_ms() - 3_600_000 + at * 1_000).collect();
    let past: Vec<_> =
        (0..5).map(|at| Metric::double("", value(2, 500 + at)).under_alias(2).at(past_ms[at]).historical()).collect();
    node.data(Some(DEVICE), &past).unwrap();
    tell(&mut node, 3, 3, 21);
    reader.wait_for_value("zone_3", value(3, 21));
    assert_eq!(reader.wait_for_state(DEVICE, "up"), "");
    assert_eq!(reader.wait_for_state("node", "up"), "");
    let stored = reader.wait_for_value("zone_2", value(2, 504));
    for (at, past_ms) in past_ms.iter().enumerate() {
        let read = stored.iter().find(|read| read.value == Some(Value::F64(value(2, 500 + at)))).unwrap();
        let told_us = i64::try_from(past_ms * 1_000).unwrap();
        assert!((read.time_us - told_us).abs() < 50_000, "{told_us} was stored as {}", read.time_us);
        assert_eq!(read.quality, "good");
    }

    // It dies without a word, and comes back with other names behind its aliases.
    drop(node);
    assert_eq!(reader.wait_for_state(DEVICE, "down"), "the node is gone (NDEATH)");
    wait_for("the end of its values", PATIENCE, || {
        reader.stored("zone_1").last().is_some_and(|read| read.quality == "bad(no_answer)").then_some(())
    })
    .unwrap();
    let mut node = EdgeNode::connect(broker.address, GROUP, NODE, 2).unwrap();
    birth(&mut node, [3, 1, 2], 100);
    for count in 101..=120 {
        for (zone, alias) in [(1, 3), (2, 1), (3, 2)] {
            tell(&mut node, zone, alias, count);
        }
    }
    reader.wait_for_value("zone_3", value(3, 120));
    reader.wait_for_state(DEVICE, "up");
    for zone in 1..=3 {
        let found = numbers(&reader.stored(&format!("zone_{zone}")));
        let whole: Vec<f64> = (0..=20)
            .chain(if zone == 3 { 21..22 } else { 0..0 })
            .chain(100..=120)
            .map(|count| value(zone, count))
            .collect();
        let current: Vec<f64> = found.iter().copied().filter(|number| number % 1_000.0 < 500.0).collect();
        assert_eq!(current, whole, "zone {zone}");
        assert!(found.iter().all(|number| is_of(zone, *number)), "zone {zone} has another's values");
    }

    // A device that is lost is down alone; a goodbye is a death too.
    node.device_death(DEVICE).unwrap();
    assert_eq!(reader.wait_for_state(DEVICE, "down"), "the node says that it lost the device (DDEATH)");
    assert_ne!(reader.link("node").unwrap()["state"], "down", "the node itself is still there");
    node.leave().unwrap();
    assert_eq!(reader.wait_for_state("node", "down"), "the node is gone (NDEATH)");
    assert_eq!(broker.published_by(&client("furnace-hall")), [""; 0], "nothing may be published");
    world.ingest.log().assert_quiet("the ingest", &[]);
}

#[test]
fn the_one_publish_is_a_rebirth_request_where_it_is_switched_on() {
    let (world, broker) = (World::new(), Mosquitto::that_tells_all());
    let asking = Reader::start(&world, &broker, "asking", "request_rebirth = true\n");
    let silent = Reader::start(&world, &broker, "silent", "");
    let mut node = EdgeNode::connect(broker.address, GROUP, NODE, 1).unwrap();
    birth(&mut node, [1, 2, 3], 0);
    for reader in [&asking, &silent] {
        reader.wait_for_value("zone_3", value(3, 0));
    }
    // Its births may have been asked for when the gateway came; from here on they are there.
    let before = node.commands().len();
    node.lose_one();
    tell(&mut node, 1, 1, 1);
    let commands = node.wait_for_commands(before + 1).unwrap();
    let request = commands.last().unwrap();
    assert_eq!(request.topic, format!("spBv1.0/{GROUP}/NCMD/{NODE}"));
    let name = b"Node Control/Rebirth";
    assert!(request.payload.windows(name.len()).any(|part| part == name), "{:?}", request.payload);
    for reader in [&asking, &silent] {
        wait_for("the gap to be told", PATIENCE, || {
            let link = reader.link(DEVICE)?;
            link["fault"].as_str()?.contains("alias 1 came before the birth").then_some(())
        })
        .unwrap();
    }
    birth(&mut node, [2, 3, 1], 2);
    tell(&mut node, 1, 2, 3);
    for reader in [&asking, &silent] {
        let found = numbers(&reader.wait_for_value("zone_1", value(1, 3)));
        assert_eq!(found, [value(1, 0), value(1, 2), value(1, 3)], "what came after the gap is of no name");
    }
    // As the broker saw it: requests, no more than there was reason for, and nothing else.
    let published = broker.published_by(&client("asking"));
    assert!(published.iter().all(|topic| *topic == format!("spBv1.0/{GROUP}/NCMD/{NODE}")), "{published:?}");
    assert!(!published.is_empty() && published.len() <= 2, "{published:?}");
    assert_eq!(broker.published_by(&client("silent")), [""; 0]);
    assert!(!broker.published_by(&format!("edge-{NODE}")).is_empty(), "the log shows who publishes");
    world.ingest.log().assert_quiet("the ingest", &[]);
}

/// What is born while the gateway is away is not heard; without its birth no alias is trusted.
#[test]
fn a_gateway_that_was_away_asks_and_never_mislabels() {
    let (world, broker) = (World::new(), Mosquitto::that_tells_all());
    let mut reader = Reader::start(&world, &broker, "away", "request_rebirth = true\n");
    let mut node = EdgeNode::connect(broker.address, GROUP, NODE, 1).unwrap();
    birth(&mut node, [1, 2, 3], 0);
    reader.wait_for_value("zone_3", value(3, 0));
    reader.gateway.kill();
    drop(node);
    let mut node = EdgeNode::connect(broker.address, GROUP, NODE, 2).unwrap();
    let before = broker.published_by(&format!("edge-{NODE}")).len();
    birth(&mut node, [2, 3, 1], 10);
    // Both messages of it are gone by the broker before anybody listens again.
    let gone = || (broker.published_by(&format!("edge-{NODE}")).len() >= before + 2).then_some(());
    wait_for("the birth to have passed the broker", PATIENCE, gone).unwrap();
    let asked = node.commands().len();
    reader.gateway.start().unwrap();
    broker.wait_for_subscription(&client("away"), 2);
    tell(&mut node, 1, 2, 11);
    node.wait_for_commands(asked + 1).unwrap();
    birth(&mut node, [2, 3, 1], 12);
    tell(&mut node, 1, 2, 13);
    assert_eq!(numbers(&reader.wait_for_value("zone_1", value(1, 13))), [value(1, 0), value(1, 12), value(1, 13)]);
    for zone in [2, 3] {
        let found = numbers(&reader.stored(&format!("zone_{zone}")));
        assert!(found.iter().all(|number| is_of(zone, *number)), "zone {zone}: {found:?}");
    }
}

/// A peer's edge node, of pysparkplug.
struct Peer {
    child: Child,
    ready: Json,
}

impl Peer {
    fn start(broker: SocketAddr) -> Self {
        let script: PathBuf = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/interop/sparkplug_node.py").into();
        let mut child = Command::new(python())
            .arg(script)
            .args([broker.ip().to_string(), broker.port().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).expect("pysparkplug said that it is ready: tests/run.sh installs it");
        Self { child, ready }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_edge_node_of_a_peer_is_read_to_the_last_digit() {
    let (world, broker) = (World::new(), Mosquitto::that_tells_all());
    let rows: [Row<'_>; 12] = [
        ("i8", "i8", "i64"),
        ("i16", "i16", "i64"),
        ("i32", "i32", "i64"),
        ("i64", "i64", "i64"),
        ("u8", "u8", "i64"),
        ("u16", "u16", "i64"),
        ("u32", "u32", "i64"),
        ("u64", "u64", "i64"),
        ("f32", "f32", "f64"),
        ("f64", "f64", "f64"),
        ("bool", "bool", "bool"),
        ("text", "text", "text"),
    ];
    let node = "group = \"interop\"\nnode = \"peer\"\n";
    let text = config("interop", &world, &broker, node, &[(Some("rig"), &rows)]);
    let reader = Reader::with(&world, &broker, "interop", &text);
    let mut peer = Peer::start(broker.address);
    for (signal, _, _) in rows {
        let first = wait_for(&format!("a reading of {signal}"), PATIENCE, || reader.stored(signal).into_iter().next());
        let told: Value = serde_json::from_value(peer.ready["values"][signal].clone()).unwrap();
        assert_eq!(first.unwrap().value, Some(told), "{signal}");
    }
    for count in 1..=30 {
        peer.tell(&format!("{}", f64::from(count) / 8.0));
    }
    let mut told = vec![0.1];
    told.extend((1..=30).map(|count| f64::from(count) / 8.0));
    assert_eq!(numbers(&reader.wait_for_value("f64", 3.75)), told);
    assert_eq!(reader.wait_for_state("rig", "up"), "");
    // Its goodbye names the session after the one it had: a death all the same.
    peer.tell("leave");
    assert_eq!(reader.wait_for_state("rig", "down"), "the node is gone (NDEATH)");
    world.ingest.log().assert_quiet("the ingest", &[]);
}
