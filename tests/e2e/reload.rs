//! A changed configuration while the gateway runs.

use std::time::Duration;

use sandan_tests::harness::account::accounts;
use sandan_tests::harness::{Gateway, GatewayPlan, PATIENCE, Use, wait_for};
use sandan_tests::oracle::ask::{Readers, gaps};
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::Make;
use sandan_tests::plcsim::{ModbusDevice, Plant};

use crate::world::{FIRM, World, plant, programs};

/// Ten racks of 50 channels behind each address: 20 devices of 500 registers.
const ADDRESSES: usize = 20;
const UNITS: u8 = 10;
const INTERVAL_MS: u64 = 1_000;
/// What a poll may be late on a busy machine. Less than an interval: of one that is left out
/// every later one is an interval late, of one that is asked for twice an interval early.
const SLACK_MS: i64 = 900;

fn name(address: usize, unit: u8) -> String {
    format!("rack-{address}-{unit}")
}

fn racks(plant: &Plant, addresses: std::ops::Range<usize>) -> Vec<Use> {
    let all = addresses.flat_map(|address| (1..=UNITS).map(move |unit| name(address, unit)));
    all.map(|name| Use::new(plant.device(&name), &name, "랙", "Rack").every_ms(INTERVAL_MS)).collect()
}

/// By how much each poll of a device is off its beat, which the first one gives, at the plant.
fn lateness_ms(plant: &Plant, device: &str) -> Vec<i64> {
    let served = plant.truth().served_by(device);
    let beats = (0..).map(|beat| beat * INTERVAL_MS.cast_signed());
    served.iter().zip(beats).map(|(poll, beat)| (poll.mono_us - served[0].mono_us) / 1000 - beat).collect()
}

/// The times between one poll of a device and the next, at the plant.
fn spacings(plant: &Plant, device: &str) -> Vec<Duration> {
    let served = plant.truth().served_by(device);
    served.windows(2).map(|pair| Duration::from_micros((pair[1].mono_us - pair[0].mono_us).unsigned_abs())).collect()
}

fn status(gateway: &Gateway, pointer: &str) -> serde_json::Value {
    gateway.status().unwrap().pointer(pointer).cloned().unwrap_or_default()
}

/// Ten thousand readings a second: one device of 200 asks for more, an address comes, and
/// all numbers behind both change. What did not change is polled as if nothing had been.
#[test]
fn a_reload_at_ten_thousand_readings_a_second_leaves_unchanged_devices_without_a_gap() {
    let world = World::new();
    let endpoint =
        |address| (1..=UNITS).map(|unit| ModbusDevice::new(&name(address, unit), unit, Make::Rack)).collect();
    let plant = plant((0..=ADDRESSES).map(endpoint).collect(), Vec::new());
    let plan = |uses| GatewayPlan::new(&format!("{FIRM}/hall"), &world.ingest.url(), uses);
    let before = racks(&plant, 0..ADDRESSES);
    let invitation = world.ingest.add_gateway(&format!("{FIRM}/hall")).unwrap();
    let mut gateway = Gateway::new(&programs(), &world.dir().join("hall"), &plan(before), &invitation).unwrap();
    gateway.start().unwrap();
    let polls = |device: &str| plant.truth().served_by(device).len();
    let polled = |device: String, more: usize| {
        let from = polls(&device);
        wait_for("polls", PATIENCE, || (polls(&device) >= from + more).then_some(())).unwrap();
    };
    polled(name(ADDRESSES - 1, UNITS), 3);

    let mut after = racks(&plant, 0..ADDRESSES + 1);
    after[0].interval_ms /= 2;
    std::fs::write(gateway.config(), plan(after.clone()).to_toml()).unwrap();
    gateway.hang_up().unwrap();
    wait_for("the reload", PATIENCE, || (status(&gateway, "/config/reloads_total") == 1).then_some(())).unwrap();
    polled(name(ADDRESSES, UNITS), 1);
    polled(name(ADDRESSES - 1, UNITS), 3);
    // Everything stops at one moment, between answers.
    for used in &after {
        plant.fault(&used.device.name, Fault::Absent).unwrap();
    }

    for address in 1..ADDRESSES {
        for unit in 1..=UNITS {
            let device = name(address, unit);
            let late_ms = lateness_ms(&plant, &device);
            assert!(
                late_ms.len() >= 6 && late_ms.iter().all(|late| late.abs() < SLACK_MS),
                "{device} was polled so much later than each {INTERVAL_MS} ms: {late_ms:?}"
            );
        }
    }
    let faster = spacings(&plant, &name(0, 1));
    assert!(faster.iter().any(|spacing| *spacing < Duration::from_millis(INTERVAL_MS * 3 / 4)), "{faster:?}");

    let owner = world.member(FIRM);
    // All of an answer is stored or nothing: of a few devices every series, of one or two behind
    // each address the serial number, which every answer has.
    let whole = [name(0, 1), name(1, UNITS), name(ADDRESSES, 1)];
    after.retain(|used| used.device.name.ends_with("-1") || whole.contains(&used.device.name));
    // Only then is every answer written down that a machine gave, and on its way no more.
    let readers = || Readers::of(&plant, &after, FIRM);
    wait_for("the loss of every machine to be stored", PATIENCE, || {
        readers().polls_have_ended(&owner).ok()?.then_some(())
    })
    .unwrap();
    wait_for("the last answers to be stored", PATIENCE, || readers().ends_are_stored(&owner).ok()?.then_some(()))
        .unwrap();
    for used in &after {
        let mut used = used.clone();
        if !whole.contains(&used.device.name) {
            used.device.points.truncate(1);
        }
        for account in accounts(&plant, &used, FIRM, &owner).unwrap() {
            assert!(account.agrees(), "{}: served {:?}\nstored {:?}", account.series, account.served, account.stored);
            assert!(!account.stored.is_empty(), "{} is empty", account.series);
        }
    }
    assert_eq!(gaps(&owner, FIRM).unwrap(), [], "a reload is no restart");
    assert_eq!(plant.truth().foreign_requests(), 0);
    assert!(gateway.terminate().unwrap().success());
    gateway.log().assert_quiet("the gateway", &["cannot be reached"]);
}

#[test]
fn a_bad_configuration_and_one_that_needs_a_restart_are_refused_and_the_old_one_stays() {
    let world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let used = Use::new(plant.device("press"), "press", "프레스", "Press").every_ms(100);
    let mut gateway = world.gateway("hall", vec![used]);
    gateway.start().unwrap();
    let good = std::fs::read_to_string(gateway.config()).unwrap();
    let hash = status(&gateway, "/config/hash");
    let reload = |text: &str, refusals: u64| {
        std::fs::write(gateway.config(), text).unwrap();
        gateway.hang_up().unwrap();
        wait_for("the refusal", PATIENCE, || (status(&gateway, "/config/refusals_total") == refusals).then_some(()))
            .unwrap();
        status(&gateway, "/config/refused/why").to_string()
    };
    let why = reload(&good.replace("unit = 1", "unit = 1000\n  colour = \"red\""), 1);
    assert!(why.contains("`unit` is 1000") && why.contains("unknown key `colour`"), "all faults together: {why}");
    let why = reload(&good.replace("64MiB", "32MiB").replace("state_dir = \"state\"", "state_dir = \"other\""), 2);
    assert!(why.contains("`state_dir` was changed, which needs a restart"), "{why}");
    assert!(why.contains("`[spool]` was changed, which needs a restart"), "{why}");
    assert_eq!(status(&gateway, "/config/hash"), hash);
    assert_eq!(status(&gateway, "/config/reloads_total"), 0);
    let polls = plant.truth().len();
    wait_for("polls go on", PATIENCE, || (plant.truth().len() > polls + 5).then_some(())).unwrap();

    // What was there before is the one that runs: nothing is refused any more.
    std::fs::write(gateway.config(), &good).unwrap();
    gateway.hang_up().unwrap();
    wait_for("the refusal to go", PATIENCE, || status(&gateway, "/config/refused").is_null().then_some(())).unwrap();
    assert_eq!(status(&gateway, "/config/hash"), hash);
    let complaints = gateway.log().complaints(&[]);
    assert!(complaints.iter().all(|line| line.contains("configuration is refused")), "{complaints:?}");
    assert!(complaints.iter().any(|line| line.contains("unknown key `colour`")), "{complaints:?}");
    assert!(gateway.terminate().unwrap().success());
}
