//! A PLC that misbehaves costs its own readings, shows in the status, and comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use sandan_proto::reading::Value;
use sandan_tests::harness::account::EVER;
use sandan_tests::harness::http::{Asker, Read, Series};
use sandan_tests::harness::{Gateway, PATIENCE, wait_for};
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::Make;
use sandan_tests::plcsim::{ModbusDevice, Plant};

use crate::world::{FIRM, World, plant, used};

struct Scene {
    world: World,
    plant: Plant,
    gateway: Gateway,
    owner: Asker,
}

/// A press that will be ill, a meter behind the same address, a furnace behind another.
fn scene() -> Scene {
    let world = World::new();
    let plant = plant(
        vec![
            vec![ModbusDevice::new("press", 1, Make::Press), ModbusDevice::new("meter", 255, Make::Meter)],
            vec![ModbusDevice::new("furnace", 1, Make::Furnace)],
        ],
        Vec::new(),
    );
    let uses = ["press", "meter", "furnace"].map(|name| used(&plant, name, name)).to_vec();
    let mut gateway = world.gateway("press-hall", uses);
    let owner = world.member(FIRM);
    gateway.start().unwrap();
    Scene { world, plant, gateway, owner }
}

impl Scene {
    fn serials(&self, device: &str) -> Vec<Read> {
        let metric = if device == "press" { "x_holding_serial" } else { "x_input_serial" };
        self.owner.readings(&Series::new(FIRM, device, metric), EVER.0, EVER.1).unwrap_or_default()
    }
    fn good(&self, device: &str) -> usize {
        self.serials(device).iter().filter(|reading| reading.value.is_some()).count()
    }
    fn bad(&self, device: &str) -> usize {
        self.serials(device).iter().filter(|reading| reading.value.is_none()).count()
    }
    fn more_good(&self, device: &str, more: usize) {
        let now = self.good(device);
        wait_for(&format!("good readings of the {device}"), PATIENCE, || {
            (self.good(device) >= now + more).then_some(())
        })
        .unwrap();
    }
    /// What the status says of a device: `up`, `flaky` or `down`, and why.
    fn link(&self, device: &str) -> Option<(String, String)> {
        let status = self.gateway.status().ok()?;
        let link = status["links"].as_array()?.iter().find(|link| link["device"] == *device)?;
        Some((link["state"].as_str()?.to_owned(), link["fault"].as_str()?.to_owned()))
    }
    fn wait_for_link(&self, device: &str, what: &str, is: impl Fn(&str, &str) -> bool) {
        let found = wait_for(&format!("the {device}'s link to be {what}"), PATIENCE, || {
            self.link(device).filter(|(state, fault)| is(state, fault))
        });
        assert!(found.is_ok(), "{found:?}; it is {:?}", self.link(device));
    }
}

/// No fault, or only the memory of one: the last five minutes weigh on a link that is well.
fn is_past(fault: &str) -> bool {
    fault.is_empty() || fault.ends_with("of the last 5 minutes brought values")
}

#[test]
fn a_bad_plc_costs_only_its_own_readings() {
    let scene = scene();
    for device in ["press", "meter", "furnace"] {
        scene.more_good(device, 3);
    }
    let late = Fault::Late(Duration::from_millis(1500));
    for fault in [
        Fault::Exception(4),
        Fault::Silent,
        late,
        Fault::HangUp,
        Fault::Garbage,
        Fault::Short,
        Fault::WrongTransaction,
        Fault::WrongUnit,
        Fault::Absent,
    ] {
        let bad = scene.bad("press");
        scene.plant.fault("press", fault).unwrap();
        // One says it all: a bad reading is repeated only when its reason changes.
        wait_for(&format!("a bad reading under `{fault}`"), PATIENCE, || (scene.bad("press") > bad).then_some(()))
            .unwrap();
        scene.wait_for_link("press", &format!("ill under `{fault}`"), |state, says| state != "up" && !is_past(says));
        // The furnace stands behind another address; the meter shares the press's.
        scene.more_good("furnace", 5);
        if fault != Fault::Absent {
            scene.more_good("meter", 2);
        }
        scene.plant.fault("press", Fault::None).unwrap();
        scene.more_good("press", 2);
        scene.wait_for_link("press", "well again", |_, says| is_past(says));
    }
    // No answer of a spoiled or a late one slipped in under another's name.
    for device in ["press", "meter", "furnace"] {
        // Polls go on: what was stored first was served before.
        let stored: Vec<i64> = scene
            .serials(device)
            .into_iter()
            .filter_map(|reading| match reading.value {
                Some(Value::I64(serial)) => Some(serial),
                _ => None,
            })
            .collect();
        let honest: BTreeSet<i64> =
            scene.plant.truth().served_by(device).iter().filter_map(|served| served.serial).map(i64::from).collect();
        let once: BTreeSet<i64> = stored.iter().copied().collect();
        assert_eq!(once.len(), stored.len(), "a serial of the {device} is stored twice");
        assert!(once.is_subset(&honest), "the {device} never said {:?}", once.difference(&honest).collect::<Vec<_>>());
    }
    scene.world.ingest.log().assert_quiet("the ingest", &[]);
}
