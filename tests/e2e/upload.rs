//! What leaves the plant, and what does not.

use std::path::Path;

use sandan_tests::harness::account::EVER;
use sandan_tests::harness::http::Series;
use sandan_tests::harness::{Gateway, GatewayPlan, PATIENCE, Use, wait_for};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::machine::Make;

use crate::world::{FIRM, World, plant, programs};

/// A signal that stays at home, and its metric.
const HIDDEN: (&str, &str) = ("strokes", "stroke_count");
/// One beside it that does not.
const SHOWN: &str = "press_force";

/// Whether a file below a directory holds a text.
fn is_in_a_file(dir: &Path, text: &str) -> bool {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            is_in_a_file(&path, text)
        } else {
            std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        }
    })
}

#[test]
fn of_a_signal_that_stays_at_home_nothing_is_in_the_spool_or_at_the_ingest() {
    let world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let used = Use::new(plant.device("press"), "press", "프레스", "Press").every_ms(100);
    let plan = GatewayPlan::new(&format!("{FIRM}/hall"), &world.ingest.url(), vec![used]);
    let name = format!("{{ name = \"{}\",", HIDDEN.0);
    let config = plan.to_toml().replace(&name, &format!("{name} upload = \"none\","));
    assert_ne!(config, plan.to_toml());
    let (id, dir) = (plan.gateway.clone(), world.dir().join("hall"));
    let invitation = world.ingest.add_gateway(&id).unwrap();
    let mut gateway = Gateway::with_config(&programs(), &dir, &id, &config).unwrap();
    gateway.enroll(&invitation).unwrap().success().unwrap();
    gateway.start().unwrap();
    let owner = world.member(FIRM);
    let shown = Series::new(FIRM, "press", SHOWN);
    wait_for("readings to be stored", PATIENCE, || {
        (owner.readings(&shown, EVER.0, EVER.1).ok()?.len() > 10).then_some(())
    })
    .unwrap();
    assert!(gateway.terminate().unwrap().success());

    // Who stands at the machine sees it.
    let path = gateway.config().to_string_lossy().into_owned();
    let read = programs().run("sandan-gateway", &["read", &path]).unwrap();
    assert!(read.stdout.contains(HIDDEN.1), "{}", read.stdout);
    let export = programs().run("sandan-gateway", &["spool", "export", &path]).unwrap();
    assert!(export.stdout.contains(SHOWN) && !export.stdout.contains(HIDDEN.1), "{}", export.stdout);
    // Declarations stand in both stores as they are.
    for place in [dir.join("state/spool"), world.dir().join("ingest/data")] {
        assert!(is_in_a_file(&place, SHOWN), "nothing is found in {}", place.display());
        assert!(!is_in_a_file(&place, HIDDEN.1), "it is in {}", place.display());
    }
}
