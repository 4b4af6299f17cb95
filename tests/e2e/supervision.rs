//! A driver that fails as only a bug makes it fail.

use std::time::Duration;

use sandan_tests::harness::account::accounts;
use sandan_tests::harness::{Gateway, GatewayPlan, PATIENCE, wait_for};
use sandan_tests::oracle::ask::{Readers, gaps};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::Make;

use crate::world::{FIRM, World, plant, programs, used};

const NAMES: [&str; 2] = ["press", "furnace"];
/// The poll before which one of the drivers panics, counted over both, which poll ten times a second.
const STEP: &str = "driver.poll=40*off->1*panic(as a bug would)";
/// Less than the pause before a driver is started again.
const PAUSE: Duration = Duration::from_millis(900);
/// Polls of the other one in that pause at the least, on a machine that has much else to do.
const MEANWHILE: usize = 3;

#[test]
fn a_driver_that_panics_is_started_again_and_its_neighbour_goes_on() {
    let world = World::new();
    let makes = [Make::Press, Make::Furnace];
    let endpoints = NAMES.iter().zip(makes).map(|(name, make)| vec![ModbusDevice::new(name, 1, make)]).collect();
    let plant = plant(endpoints, Vec::new());
    let uses = NAMES.map(|name| used(&plant, name, name)).to_vec();
    let plan = GatewayPlan::new(&format!("{FIRM}/hall"), &world.ingest.url(), uses.clone());
    let invitation = world.ingest.add_gateway(&plan.gateway).unwrap();
    let programs = programs();
    let mut gateway = Gateway::new(&programs, &world.dir().join("hall"), &plan, &invitation).unwrap();
    programs.set_env("FAILPOINTS", Some(STEP));
    gateway.start().unwrap();

    let restarts = || gateway.log().complaints(&[]).into_iter().filter(|line| line.contains("a driver failed"));
    let told = wait_for("a driver to fail", PATIENCE, || restarts().next()).unwrap();
    let address = |name: &str| plant.device(name).address.trim_start_matches("tcp://").to_owned();
    let (failed, other) = if told.contains(&address(NAMES[0])) { (NAMES[0], NAMES[1]) } else { (NAMES[1], NAMES[0]) };
    assert!(told.contains(&address(failed)), "{told}");
    let polls = |device: &str| plant.truth().served_by(device).len();
    for device in NAMES {
        let before = polls(device);
        wait_for("polls to go on", PATIENCE, || (polls(device) > before + 10).then_some(())).unwrap();
    }
    let (failed, other) = (plant.truth().served_by(failed), plant.truth().served_by(other));
    let pauses = failed.windows(2).map(|pair| (pair[0].mono_us, pair[1].mono_us));
    let mut pauses = pauses.filter(|(from, to)| to - from >= i64::try_from(PAUSE.as_micros()).unwrap());
    let meanwhile = |(from, to)| other.iter().filter(|poll| (from..to).contains(&poll.mono_us)).count();
    assert!(pauses.any(|pause| meanwhile(pause) >= MEANWHILE), "{failed:?}\n{other:?}");
    assert_eq!(restarts().count(), 1, "{:?}", gateway.log().lines());

    // Of both all that was answered is stored, as if nothing had been.
    for device in NAMES {
        plant.fault(device, Fault::Absent).unwrap();
    }
    let owner = world.member(FIRM);
    let readers = || Readers::of(&plant, &uses, FIRM);
    wait_for("the loss of both to be stored", PATIENCE, || readers().polls_have_ended(&owner).ok()?.then_some(()))
        .unwrap();
    wait_for("the last answers to be stored", PATIENCE, || readers().ends_are_stored(&owner).ok()?.then_some(()))
        .unwrap();
    for account in uses.iter().flat_map(|used| accounts(&plant, used, FIRM, &owner).unwrap()) {
        assert!(account.agrees(), "{}: served {:?}\nstored {:?}", account.series, account.served, account.stored);
        assert!(!account.stored.is_empty(), "{} is empty", account.series);
    }
    assert_eq!(gaps(&owner, FIRM).unwrap(), [], "the process goes on");
    assert!(gateway.terminate().unwrap().success());
    gateway.log().assert_quiet("the gateway", &["panicked at", "a driver failed", "cannot be reached"]);
    world.ingest.log().assert_quiet("the ingest", &[]);
}
