//! The other side is away for a while.

use std::time::Duration;

use sandan_tests::harness::account::{Account, accounts};
use sandan_tests::harness::{Gateway, GatewayPlan, PATIENCE, lasting_address, wait_for};
use sandan_tests::outage::{Outage, play};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::Make;
use sandan_tests::soak::LIVE_MS;

use crate::world::{FIRM, World, plant, programs, used};

/// Nobody to send to: it goes on reading, keeps, and says so; a kill costs it no more
/// than what was not synced.
#[test]
fn a_gateway_alone_keeps_what_it_reads_over_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let nobody = format!("https://{}", lasting_address().unwrap());
    let plan = GatewayPlan::new(&format!("{FIRM}/press-hall"), &nobody, vec![used(&plant, "press", "press-1")]);
    let mut gateway = Gateway::alone(&programs(), dir.path(), &plan).unwrap();
    gateway.start().unwrap();
    let kept = |gateway: &Gateway| gateway.status().ok()?["spool"]["unacked_readings"].as_u64();
    let before = wait_for("the spool to fill", PATIENCE, || kept(&gateway).filter(|kept| *kept > 50)).unwrap();
    let status = gateway.status().unwrap();
    assert_eq!(status["uplink"]["connected"], false);
    wait_for("the status to say that nobody answers", PATIENCE, || {
        gateway.status().ok()?["uplink"]["fault"].as_str().filter(|fault| !fault.is_empty()).map(drop)
    })
    .unwrap();
    assert_eq!(status["links"][0]["state"], "up", "{status}");

    gateway.kill();
    gateway.start().unwrap();
    let after = wait_for("the spool to be read again", PATIENCE, || kept(&gateway).filter(|kept| *kept > 0)).unwrap();
    assert!(after >= before, "{before} readings were synced, {after} are kept after the kill");
    assert!(gateway.terminate().unwrap().success());
}

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

/// The short form of `tests/soak.sh outage`.
#[test]
fn live_readings_stay_fresh_while_a_backlog_drains() {
    let figures = play(&programs(), Outage { rate: 1000, away: Duration::from_secs(10) }).unwrap();
    eprintln!("{figures}");
    assert!(figures.sum.is_exact(), "{}", figures.sum);
    assert!(figures.backlog > 5_000, "only {} readings waited", figures.backlog);
    assert!(figures.live_age_p99_ms < LIVE_MS, "{figures}");
}
