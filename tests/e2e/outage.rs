//! The other side is away for a while.

use sandan_tests::harness::account::{Account, accounts};
use sandan_tests::harness::{PATIENCE, wait_for};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::Make;

use crate::world::{FIRM, World, plant, used};

/// An ingest that cannot be reached: the spool fills, and drains when it is back.
#[test]
fn the_spool_bridges_an_ingest_that_is_away() {
    let mut world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let press = used(&plant, "press", "press-1");
    let mut gateway = world.gateway("press-hall", vec![press.clone()]);
    let owner = world.member(FIRM);
    world.ingest.terminate().unwrap();

    gateway.start().unwrap();
    let unsent = || gateway.status().ok()?["spool"]["unacked_readings"].as_u64();
    wait_for("the spool to fill", PATIENCE, || unsent().filter(|unsent| *unsent > 100)).unwrap();
    world.ingest.start().unwrap();
    wait_for("the spool to drain", PATIENCE, || unsent().filter(|unsent| *unsent < 20)).unwrap();
    plant.fault("press", Fault::Absent).unwrap();
    wait_for("every value to be stored", PATIENCE, || {
        let accounts = accounts(&plant, &press, FIRM, &owner).ok()?;
        accounts.iter().all(Account::agrees).then_some(())
    })
    .unwrap();
}
