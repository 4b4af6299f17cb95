//! A broker that is not ours: mosquitto, with a session that outlives the gateway.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use sandan_proto::reading::Value;
use sandan_tests::harness::account::{Account, EVER, accounts};
use sandan_tests::harness::http::Series;
use sandan_tests::harness::{Gateway, PATIENCE, lasting_address, wait_for};
use sandan_tests::plcsim::MqttDevice;
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::Make;

use crate::world::{FIRM, World, plant, used};

/// mosquitto in a directory of its own.
struct Mosquitto {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Mosquitto {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = lasting_address().unwrap();
        let config = dir.path().join("mosquitto.conf");
        // Without a bound on what waits for a client: losing there is not what is tested.
        let text = format!(
            "listener {} {}\nallow_anonymous true\npersistence false\nmax_queued_messages 0\nuser root\n",
            address.port(),
            address.ip()
        );
        std::fs::write(&config, text).unwrap();
        // Debian keeps it where an ordinary user's PATH does not look.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let child = Command::new("/usr/bin/env")
            .args(["mosquitto", "-c"])
            .arg(&config)
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto cannot be started: tests/run.sh installs it");
        let mut broker = Self { child, address, _dir: dir };
        wait_for("mosquitto to listen", PATIENCE, || {
            assert!(matches!(broker.child.try_wait(), Ok(None)), "mosquitto ended: tests/run.sh installs it");
            TcpStream::connect(address).ok()
        })
        .unwrap();
        broker
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
    let broker = Mosquitto::start();
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
