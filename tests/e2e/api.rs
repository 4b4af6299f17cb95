//! The API as programs of others meet it: by its document, and by the examples of its
//! reference.

use std::process::Command;

use sandan_tests::apifuzz::{Extent, play};
use sandan_tests::harness::{PATIENCE, wait_for};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::machine::Make;

use crate::docs::{blocks, read};
use crate::interop_modbus::python;
use crate::world::{FIRM, World, plant, programs, used};

/// The short form of `tests/soak.sh api`.
#[test]
fn schemathesis_meets_no_answer_that_is_not_described() {
    let dir = tempfile::Builder::new().prefix("sandan-e2e-").tempdir().unwrap();
    let figures = play(&programs(), dir.path(), &python(), Extent { seed: 7, examples: 5 }).unwrap();
    println!("{figures}");
    assert!(figures.is_good(), "{figures}");
    assert!(figures.requests() > 500, "{figures}");
    for status in [200, 400, 401, 403, 404] {
        assert!(figures.statuses.contains_key(&status), "nothing was answered {status}: {figures}");
    }
}

#[test]
fn the_commands_of_the_reference_do_what_it_says() {
    let world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let mut gateway = world.gateway("press-hall", vec![used(&plant, "press", "press-1")]);
    gateway.start().unwrap();
    let token = world.ingest.add_member(FIRM, "김하늘").unwrap();
    let owner = world.ingest.asker(&token);
    let series = format!("/v1/readings?firm={FIRM}&asset=press-1&metric=press_force&from=now-1h");
    wait_for("some seconds of readings", PATIENCE, || {
        let answer = owner.get(&series).ok()?.ok().ok()?;
        (answer["readings"].as_array()?.len() > 30).then_some(())
    })
    .unwrap();
    let mut script = "set -euxo pipefail\n".to_owned();
    script.extend(blocks(&read("docs/api.md"), "", "sh"));
    assert!(script.contains("http://127.0.0.1:7080/"));
    let script = script.replace("http://127.0.0.1:7080", &format!("http://{}", world.ingest.http()));
    let here = tempfile::tempdir().unwrap();
    let ended = Command::new("bash").args(["-c", &script]).current_dir(here.path()).env("TOKEN", token.trim()).output();
    let ended = ended.unwrap();
    let (said, complained) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{said}\n{complained}");
    for part in ["press_force", "\"buckets\":[", "{\"end\":", "304", "## 할 일"] {
        assert!(said.contains(part), "{part} is not in\n{said}\n{complained}");
    }
    let file = |name: &str| std::fs::read_to_string(here.path().join(name)).unwrap();
    let [first, second] = ["page-1.csv", "page-2.csv"].map(file);
    assert_eq!((first.lines().count(), second.lines().count()), (3, 3));
    assert!(first.lines().skip(1).all(|line| !second.contains(line)), "{first}\n{second}");
    assert!(file("press_force.csv").starts_with("\u{feff}time,"));
    assert!(file("audit.ndjson").contains("member_added"));
    assert!(file("openapi.json").contains("\"openapi\":\"3.1.0\""));
    // What is described is what the other page says in its own words.
    let korean = blocks(&read("docs/api.ko.md"), "", "sh");
    assert_eq!(korean, blocks(&read("docs/api.md"), "", "sh"));
}
