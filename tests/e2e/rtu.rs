//! The Modbus driver on a simulated RS485 bus: dead units, late answers, noise, a port
//! that is unplugged. What is claimed is measured by the bus and its log.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use sandan_gateway::config::{Config, Endpoint};
use sandan_gateway::driver::{Outlet, Raw, Reply, modbus};
use sandan_gateway::health::Health;
use sandan_tests::rtubus::{Act, Asked, Bus};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// The longest that a test waits for a state it is sure to reach.
const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration whose only endpoint is this one.
fn config(folder: &Path, endpoint: &str) -> Config {
    let example = include_str!("../../configs/gateway.toml");
    let (head, _) = example.split_once("\n[[modbus]]\n").unwrap();
    let file = folder.join("gateway.toml");
    std::fs::write(&file, format!("{head}\n[[modbus]]\n{endpoint}")).unwrap();
    Config::survey(&file).unwrap_or_else(|faults| panic!("{faults}")).0
}

/// So many units on a bus, each with a run of registers at address 0.
fn units(bus: &Bus, settings: &str, count: u8, interval: &str, registers: u16) -> String {
    let mut text = format!("address = \"{}\"\n{settings}\n", bus.address());
    for unit in 1..=count {
        write!(
            text,
            "[[modbus.device]]\nname = \"unit-{unit}\"\nunit = {unit}\nasset = \"press-1\"\ninterval = \"{interval}\"\n\
             signals = [ {{ name = \"a\", metric = \"x_{unit}_first\", at = \"holding:0\", type = \"u16\" }}, \
             {{ name = \"b\", metric = \"x_{unit}_last\", at = \"holding:{}\", type = \"u16\" }} ]\n",
            registers - 1
        )
        .unwrap();
    }
    text
}

/// The driver at work on the first endpoint.
struct Rig {
    replies: mpsc::Receiver<Reply>,
    config: Config,
    _synced: watch::Sender<u64>,
    _stop: tokio_util::sync::DropGuard,
}

fn rig(folder: &Path, endpoint: &str) -> Rig {
    let config = config(folder, endpoint);
    let Endpoint::Modbus(modbus) = config.endpoints[0].clone() else { panic!("the endpoint is Modbus") };
    let (sender, replies) = mpsc::channel(100_000);
    let (synced_sender, synced) = watch::channel(0);
    let stop = CancellationToken::new();
    tokio::spawn(modbus::run(modbus, Outlet::new(0, sender, synced), Health::new(&config), stop.clone()));
    Rig { replies, config, _synced: synced_sender, _stop: stop.drop_guard() }
}

impl Rig {
    async fn next(&mut self) -> Reply {
        tokio::time::timeout(PATIENCE, self.replies.recv()).await.expect("a reply in time").unwrap()
    }

    /// The unit of a signal.
    fn unit(&self, signal: u32) -> u8 {
        self.config.devices[self.config.signals[signal as usize].device].name[5..].parse().unwrap()
    }

    /// Takes replies until so many values came; gives them as unit, the number of the
    /// request that the bus answered, and when.
    async fn values(&mut self, wanted: usize) -> Vec<(u8, u16, i64)> {
        let mut values = Vec::new();
        while values.len() < wanted {
            let reply = self.next().await;
            for reading in &reply.readings {
                if let Raw::Words(words) = reading.raw {
                    values.push((self.unit(reading.signal), words[0], reply.at_us));
                }
            }
        }
        values
    }
}

/// Every value is the answer to a request for it, and to the last one that had been sent.
fn assert_true(values: &[(u8, u16, i64)], asked: &[Asked]) {
    for (unit, number, at_us) in values {
        let request = &asked[usize::from(*number) - 1];
        assert_eq!(request.unit, *unit, "a value of another unit");
        // Times of readings are rounded to a millisecond.
        let next = asked.get(usize::from(*number)).map_or(i64::MAX, |next| next.at_us + 1_000);
        assert!(*at_us <= next, "request {number} was answered when the next one had been sent");
    }
}

/// What looks like chance, and is the same in each run.
fn dice(number: u16) -> u64 {
    let mut x = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^ (x >> 32)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_dead_units_of_twenty_leave_the_others_95_percent_of_their_polls() {
    const SETTINGS: &str = "baud = 38400\ntimeout = \"60ms\"\ndrain = \"20ms\"";
    let folder = tempfile::tempdir().unwrap();
    let is_dead = |unit: u8| unit == 7 || unit == 13;
    let turnaround = Duration::from_millis(2);
    let act = move |asked: Asked| if is_dead(asked.unit) { Act::Silence } else { Act::Answer };
    let good = Bus::serial(&folder.path().join("good"), 38_400, turnaround, |_| Act::Answer).unwrap();
    let ill = Bus::serial(&folder.path().join("ill"), 38_400, turnaround, act).unwrap();
    // Side by side, so that both have the same machine under them.
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    std::fs::create_dir(&a).unwrap();
    std::fs::create_dir(&b).unwrap();
    let _well = rig(&a, &units(&good, SETTINGS, 20, "400ms", 10));
    let _illy = rig(&b, &units(&ill, SETTINGS, 20, "400ms", 10));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let polls = |bus: &Bus| {
        let mut polls = BTreeMap::new();
        for asked in bus.asked() {
            *polls.entry(asked.unit).or_insert(0u32) += 1;
        }
        polls
    };
    let (well, ill) = (polls(&good), polls(&ill));
    let all = |polls: &BTreeMap<u8, u32>| {
        polls.iter().filter(|(unit, _)| !is_dead(**unit)).map(|(_, polls)| *polls).sum::<u32>()
    };
    let share = f64::from(all(&ill)) / f64::from(all(&well));
    let least = (1..=20).filter(|unit| !is_dead(*unit)).map(|unit| f64::from(ill[&unit]) / f64::from(well[&unit]));
    let least = least.fold(f64::INFINITY, f64::min);
    println!(
        "the 18 live units kept {:.1} % of their polls, the worst of them {:.1} %; the dead ones were asked {} and {} times in 20 s",
        share * 100.0,
        least * 100.0,
        ill[&7],
        ill[&13]
    );
    assert!(least >= 0.95, "the worst kept {least}: {ill:?} beside {well:?}");
    assert!(all(&well) >= 18 * 35, "the bus without dead units keeps its cadence: {well:?}");
    assert!(ill[&7] >= 4 && ill[&13] >= 4, "the dead ones are still probed: {ill:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_answers_and_noise_are_never_a_wrong_value() {
    let act = |asked: Asked| {
        let dice = dice(asked.number);
        let bits = [dice >> 8, dice >> 24, dice >> 40].map(|bits| u16::try_from(bits & 0xFFFF).unwrap());
        match dice % 16 {
            // From within the timeout to within the drain time after it.
            0 | 1 => Act::Late(Duration::from_millis((dice >> 8) % 70)),
            2 | 3 => Act::Noise(bits),
            4 => Act::NoiseBefore,
            5 => Act::Twice,
            6 => Act::WrongUnit,
            7 => Act::Short,
            8 => Act::Silence,
            _ => Act::Answer,
        }
    };
    let folder = tempfile::tempdir().unwrap();
    for bus in [
        Bus::serial(&folder.path().join("port"), 115_200, Duration::from_millis(1), act).unwrap(),
        Bus::tcp(Duration::from_millis(1), act).unwrap(),
    ] {
        let mut rig = rig(folder.path(), &units(&bus, "timeout = \"40ms\"\ndrain = \"50ms\"", 2, "20ms", 3));
        let values = rig.values(120).await;
        assert_true(&values, &bus.asked());
        assert!((1..=2).all(|unit| values.iter().any(|(of, ..)| *of == unit)), "both units came through");
        assert!(bus.asked().iter().all(|asked| (1..=4).contains(&asked.function)), "it only reads");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_is_always_late_gives_no_values_and_no_wrong_ones() {
    // After the timeout and within the drain time, which leaves a busy machine room: nothing of it
    // may be left for the next request.
    let act = |asked: Asked| if asked.unit == 1 { Act::Late(Duration::from_millis(60)) } else { Act::Answer };
    let folder = tempfile::tempdir().unwrap();
    let bus = Bus::serial(&folder.path().join("port"), 115_200, Duration::from_millis(1), act).unwrap();
    let mut rig = rig(folder.path(), &units(&bus, "timeout = \"40ms\"\ndrain = \"250ms\"", 2, "50ms", 3));
    let values = rig.values(60).await;
    assert_true(&values, &bus.asked());
    assert!(values.iter().all(|(unit, ..)| *unit == 2), "{values:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_is_unplugged_is_found_again_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("usb-adapter");
    let plug = || Bus::serial(&link, 9_600, Duration::from_millis(1), |_| Act::Answer).unwrap();
    let bus = plug();
    let mut rig = rig(folder.path(), &units(&bus, "timeout = \"2s\"", 1, "50ms", 3));
    assert_eq!(rig.values(4).await.len(), 4);
    drop(bus);
    std::fs::remove_file(&link).unwrap();
    let lost = Instant::now();
    loop {
        let reply = rig.next().await;
        if reply.readings.iter().any(|reading| matches!(reading.raw, Raw::Failed(_))) {
            break;
        }
        assert!(lost.elapsed() < PATIENCE, "the loss is told");
    }
    let bus = plug();
    let values = rig.values(4).await;
    assert_true(&values, &bus.asked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_hangs_without_being_told_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("usb-adapter");
    let turnaround = Duration::from_millis(1);
    let stuck = Bus::serial(&link, 9_600, turnaround, |_| Act::Silence).unwrap();
    let mut rig = rig(folder.path(), &units(&stuck, "timeout = \"40ms\"\ndrain = \"20ms\"", 2, "50ms", 3));
    while stuck.asked().is_empty() {
        rig.next().await;
    }
    // The adapter under this name is another one now, and nobody hung up.
    let bus = Bus::serial(&link, 9_600, turnaround, |_| Act::Answer).unwrap();
    let values = rig.values(4).await;
    assert_true(&values, &bus.asked());
}
