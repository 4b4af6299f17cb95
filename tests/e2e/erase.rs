//! A firm is erased while its gateway sends.

use sandan_tests::harness::{PATIENCE, wait_for};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::machine::Make;

use crate::world::{FIRM, OTHER, World, plant, used};

#[test]
fn a_firm_that_is_erased_takes_its_sessions_along_and_is_refused_from_then_on() {
    let world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let mut gateway = world.gateway("press-hall", vec![used(&plant, "press", "press-1")]);
    let (owner, neighbour) = (world.member(FIRM), world.member(OTHER));
    gateway.start().unwrap();
    let series = || owner.get("/v1/series").ok()?.ok().ok()?["series"].as_array().map(Vec::len);
    wait_for("the series to be there", PATIENCE, || series().filter(|count| *count > 0)).unwrap();

    // Said once, it is not meant.
    let refused = world.ingest.command(&["erase", FIRM]).unwrap_err();
    assert!(format!("{refused:#}").contains(&format!("add --yes {FIRM}")), "{refused:#}");
    let refused = world.ingest.command(&["erase", FIRM, "--yes", OTHER]).unwrap_err();
    assert!(format!("{refused:#}").contains("nothing was erased"), "{refused:#}");
    assert!(series().is_some_and(|count| count > 0));

    let told = world.ingest.command(&["erase", FIRM, "--yes", FIRM]).unwrap();
    assert!(told.contains("readings of"), "{told}");
    assert_eq!(owner.get("/v1/series").unwrap().status, 401);
    assert_eq!(neighbour.get("/v1/series").unwrap().status, 200);
    wait_for("the gateway to be refused", PATIENCE, || {
        let status = gateway.status().ok()?;
        let fault = status["uplink"]["fault"].as_str()?.to_owned();
        (status["uplink"]["connected"] == false && fault.contains("revoked")).then_some(())
    })
    .unwrap();
    let dry = world.ingest.command(&["--json", "retention", "--dry-run", "--firm", FIRM]).unwrap();
    assert!(dry.contains("\"readings\":0"), "{dry}");
    let again = world.ingest.command(&["--json", "erase", FIRM, "--yes", FIRM]).unwrap();
    assert!(again.contains("\"gateways\":0"), "nothing came in behind it: {again}");
    assert!(world.ingest.command(&["audit", "verify", FIRM]).is_ok());
}
