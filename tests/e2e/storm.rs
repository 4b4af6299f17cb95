//! kill -9, ten times each side, while the plant goes on.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use sandan_gateway::clock;
use sandan_proto::reading::Value;
use sandan_tests::harness::account::EVER;
use sandan_tests::harness::http::{Asker, Read, Series, time_us};
use sandan_tests::harness::{PATIENCE, Use, wait_for};
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::{Area, Make, serial_point};
use sandan_tests::plcsim::truth::Served;
use sandan_tests::plcsim::{ModbusDevice, Plant};

use serde_json::Value as Json;

use crate::world::{FIRM, World, plant, used};

/// Kills of each side.
const KILLS: usize = 10;
/// The gateway's sync interval: how much a kill may cost.
const SYNC: Duration = Duration::from_secs(1);
/// A sync that was due just then can take a moment on a busy disk.
const SLACK: Duration = Duration::from_millis(500);
/// Time between two kills.
const BETWEEN: std::ops::Range<u64> = 300..1800;

/// Moments of chance from a seed that the output shows; `SANDAN_SEED` repeats them.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let seed = std::env::var("SANDAN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).unwrap();
            u64::from_le_bytes(bytes)
        });
        eprintln!("SANDAN_SEED={seed}");
        Self(seed)
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn ten_kills_of_each_side_lose_at_most_a_sync_interval_and_double_nothing() {
    let mut chance = Chance::new();
    let mut world = World::new();
    let plant = plant(
        vec![
            vec![ModbusDevice::new("press", 1, Make::Press), ModbusDevice::new("meter", 2, Make::Meter)],
            vec![ModbusDevice::new("furnace", 1, Make::Furnace)],
        ],
        Vec::new(),
    );
    let uses = ["press", "meter", "furnace"].map(|name| used(&plant, name, name)).to_vec();
    let mut gateway = world.gateway("press-hall", uses.clone());
    let owner = world.member(FIRM);
    gateway.start().unwrap();

    let mut order: Vec<bool> = [[true; KILLS], [false; KILLS]].concat();
    for left in (1..order.len()).rev() {
        order.swap(left, usize::try_from(chance.below(left as u64 + 1)).unwrap());
    }
    let mut gateway_kills = Vec::new();
    for kill_gateway in order {
        let pause = Duration::from_millis(BETWEEN.start + chance.below(BETWEEN.end - BETWEEN.start));
        // The storm's own clock, not a wait for a state: the moment is to be any.
        std::thread::sleep(pause);
        if kill_gateway {
            gateway.kill();
            gateway_kills.push(clock::wall_us());
            gateway.start().unwrap();
        } else {
            world.ingest.kill();
            world.ingest.start().unwrap();
        }
    }
    // Calm: something of after the storm, then the plant ends and everything drains.
    let calm = plant.truth().len();
    wait_for("the plant to be read after the storm", PATIENCE, || (plant.truth().len() > calm + 30).then_some(()))
        .unwrap();
    for name in ["press", "meter", "furnace"] {
        plant.fault(name, Fault::Absent).unwrap();
    }
    let gaps = Gaps { declared: Vec::new(), kills: gateway_kills };
    let gaps = drained(&plant, &uses, &owner, gaps);
    let (mut kept, mut lost, mut worst) = (0, 0, 0);
    for used in &uses {
        for area in [Area::Holding, Area::Input] {
            if used.device.points.iter().any(|point| point.area == area) {
                let (k, l, w) = check(&plant, used, area, &owner, &gaps);
                kept += k;
                lost += l;
                worst = worst.max(w);
            }
        }
    }
    eprintln!("{kept} answers stored once, {lost} in {} declared gaps", gaps.declared.len());
    eprintln!("the oldest lost answer was served {} ms before the kill", worst / 1000);
    assert!(kept > 100, "only {kept} answers were compared");
    assert_eq!(plant.truth().foreign_requests(), 0);
    assert!(gateway.terminate().unwrap().success());
    assert!(world.ingest.terminate().unwrap().success());
    world.ingest.log().assert_quiet("the ingest", &[]);
}

/// What may be missing.
struct Gaps {
    /// Declared gaps: [from, to], µs since 1970.
    declared: Vec<(i64, i64)>,
    /// When the gateway was killed, µs since 1970.
    kills: Vec<i64>,
}

impl Gaps {
    /// How long before the kill that cost it a lost answer was served.
    fn age(&self, served: &Served) -> i64 {
        let after = self.kills.iter().find(|kill| **kill >= served.wall_us);
        after.map_or(0, |kill| kill - served.wall_us)
    }

    fn excuse(&self, served: &Served) -> bool {
        let slack = i64::try_from(SLACK.as_micros()).unwrap();
        let reach = i64::try_from(SYNC.as_micros()).unwrap() + slack;
        let killed = self.kills.iter().any(|kill| (kill - reach..kill + slack).contains(&served.wall_us));
        let declared = self.declared.iter().any(|(from, to)| (from - slack..=to + slack).contains(&served.wall_us));
        killed && declared
    }
}

fn serial_series(used: &Use, area: Area) -> Series {
    used.series(FIRM, &serial_point(area))
}

/// Waits until the last answer of each device is stored, and learns the gaps.
fn drained(plant: &Plant, uses: &[Use], owner: &Asker, gaps: Gaps) -> Gaps {
    let started = Instant::now();
    for used in uses {
        let served = plant.truth().served_by(&used.device.name);
        let last = served.iter().rev().find(|served| served.serial.is_some()).unwrap();
        let serial = last.serial.map(i64::from).map(Value::I64);
        wait_for(&format!("the last answer of the {}", used.device.name), PATIENCE, || {
            let readings = owner.readings(&serial_series(used, last.area), EVER.0, EVER.1).ok()?;
            readings.iter().any(|reading| reading.value == serial).then_some(())
        })
        .unwrap();
    }
    eprintln!("drained in {} ms", started.elapsed().as_millis());
    let edge = |time: &Json, unknown| if time.is_null() { unknown } else { time_us(time).unwrap() };
    let declared = owner.list(&format!("/v1/gaps?firm={FIRM}"), "gaps").unwrap();
    let declared = declared.iter().map(|gap| {
        assert_eq!(gap["cause"], "restart", "{gap}");
        (edge(&gap["from"], EVER.0), edge(&gap["to"], EVER.1))
    });
    Gaps { declared: declared.collect(), ..gaps }
}

/// Every answer of an area: stored once with all its values, or excused. How many of each,
/// and how long before its kill the oldest of the lost was served, µs.
fn check(plant: &Plant, used: &Use, area: Area, owner: &Asker, gaps: &Gaps) -> (usize, usize, i64) {
    let name = &used.device.name;
    let served: Vec<Served> = plant
        .truth()
        .served_by(name)
        .into_iter()
        .filter(|served| served.area == area && served.serial.is_some())
        .collect();
    let mut stored: BTreeMap<i64, Vec<Read>> = BTreeMap::new();
    for reading in owner.readings(&serial_series(used, area), EVER.0, EVER.1).unwrap() {
        if let Some(Value::I64(serial)) = reading.value {
            stored.entry(serial).or_default().push(reading);
        }
    }
    let points: Vec<_> = used.device.points.iter().filter(|point| point.area == area).collect();
    let columns: Vec<HashMap<i64, Vec<Option<Value>>>> = points
        .iter()
        .map(|point| {
            let mut column: HashMap<i64, Vec<Option<Value>>> = HashMap::new();
            for reading in owner.readings(&used.series(FIRM, point), EVER.0, EVER.1).unwrap() {
                column.entry(reading.time_us).or_default().push(reading.value);
            }
            column
        })
        .collect();
    let first = *stored.keys().next().unwrap_or_else(|| panic!("nothing of the {name} is stored"));
    let (mut kept, mut lost, mut worst) = (0, 0, 0);
    for served in served.iter().filter(|served| served.serial.map(i64::from) >= Some(first)) {
        let serial = i64::from(served.serial.unwrap());
        let Some(readings) = stored.remove(&serial) else {
            assert!(
                gaps.excuse(served),
                "the {name} served {serial} at {}, and it is nowhere; gaps {:?}, kills {:?}",
                served.wall_us,
                gaps.declared,
                gaps.kills
            );
            lost += 1;
            worst = worst.max(gaps.age(served));
            continue;
        };
        assert_eq!(readings.len(), 1, "the {name} served {serial} once: {readings:?}");
        let time = readings[0].time_us;
        assert!((time - served.wall_us).abs() < 1_000_000, "served at {} and stored at {time}", served.wall_us);
        for (point, column) in points.iter().zip(&columns) {
            let value = served.value(point);
            if value.is_some() {
                let at = column.get(&time);
                assert_eq!(at, Some(&vec![value]), "{name} {} of answer {serial}", point.name);
            }
        }
        kept += 1;
    }
    assert!(stored.is_empty(), "the {name} never served {:?}", stored.keys().collect::<Vec<_>>());
    (kept, lost, worst)
}
