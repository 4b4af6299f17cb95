//! Who is nobody is told nothing.

use sandan_tests::harness::http::{Asker, Series};
use sandan_tests::harness::{Gateway, GatewayPlan, PATIENCE, wait_for};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::machine::Make;

use crate::world::{FIRM, OTHER, World, plant, programs, used};

#[test]
fn an_unknown_token_is_nobody() {
    let world = World::new();
    let invitation = world.ingest.add_gateway(&format!("{FIRM}/press-hall")).unwrap();
    let forged = format!("smb_{}", "A".repeat(43));
    for token in [None, Some("x"), Some(&*forged), Some(&*invitation)] {
        let answer = Asker::new(world.ingest.http(), token).get("/v1/series").unwrap();
        assert_eq!(answer.status, 401, "{}", answer.body);
        assert!(answer.content_type.starts_with("application/problem+json"), "{}", answer.content_type);
    }
    // A member of another firm does not even learn what exists.
    let path = Series::new(FIRM, "press-1", "press_force").path(0, 1_000_000).unwrap();
    let nothing = Series::new("no-such-firm", "press-1", "press_force").path(0, 1_000_000).unwrap();
    let partner = world.member(OTHER);
    let (hidden, absent) = (partner.get(&path).unwrap(), partner.get(&nothing).unwrap());
    assert_eq!((hidden.status, absent.status), (404, 404));
    assert_eq!(hidden.json()["detail"], absent.json()["detail"], "the answer tells a firm that is there");
}

#[test]
fn a_gateway_that_nobody_enrolled_keeps_what_it_reads_and_says_so() {
    let world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let plan =
        GatewayPlan::new(&format!("{FIRM}/press-hall"), &world.ingest.url(), vec![used(&plant, "press", "press-1")]);
    let invitation = world.ingest.add_gateway(&plan.gateway).unwrap();
    let mut gateway = Gateway::alone(&programs(), &world.dir().join("alone"), &plan).unwrap();
    gateway.start().unwrap();
    let fault = || gateway.status().ok()?["uplink"]["fault"].as_str().map(str::to_owned);
    let said = wait_for("the gateway to say that it is not enrolled", PATIENCE, fault).unwrap();
    assert!(said.starts_with("not enrolled: run `sandan-gateway enroll`"), "{said}");
    let owner = world.member(FIRM);
    assert!(owner.list("/v1/series", "series").unwrap().is_empty());
    // Enrolled while it runs, it needs no restart.
    gateway.enroll(&invitation).unwrap().success().unwrap();
    let connected = || gateway.status().ok()?["uplink"]["connected"].as_bool();
    wait_for("the link to come up", PATIENCE, || connected().filter(|connected| *connected)).unwrap();
}

/// A revocation ends the session that is open, and what the gateway reads from then on stays in its spool.
#[test]
fn a_revoked_gateway_is_refused_and_keeps_what_it_reads() {
    let world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let mut gateway = world.gateway("press-hall", vec![used(&plant, "press", "press-1")]);
    gateway.start().unwrap();
    let connected = || gateway.status().ok()?["uplink"]["connected"].as_bool();
    wait_for("the link to come up", PATIENCE, || connected().filter(|connected| *connected)).unwrap();
    world.ingest.command(&["gateway", "revoke", &format!("{FIRM}/press-hall")]).unwrap();
    wait_for("the link to go down", PATIENCE, || connected().filter(|connected| !*connected)).unwrap();
    let unacked = || gateway.status().ok()?["spool"]["unacked_readings"].as_u64();
    wait_for("the spool to fill", PATIENCE, || unacked().filter(|unacked| *unacked > 50)).unwrap();
    assert_eq!(gateway.status().unwrap()["uplink"]["connected"], false);
}
