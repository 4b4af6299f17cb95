//! A Modbus server that is not ours: pymodbus, with every type in every byte order.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use sandan_tests::harness::account::EVER;
use sandan_tests::harness::http::{Asker, Series};
use sandan_tests::harness::process::Process;
use sandan_tests::harness::{Gateway, PATIENCE, wait_for};
use serde_json::{Value as Json, json};

use crate::world::{FIRM, World, programs};

/// The Python that has the peers: made by `tests/run.sh`.
pub(crate) fn python() -> PathBuf {
    let made = std::env::var_os("SANDAN_INTEROP_PYTHON")
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/interop-venv/bin/python").into());
    let made = PathBuf::from(made);
    assert!(made.exists(), "{} is missing: tests/run.sh installs the peers there", made.display());
    made
}

fn server() -> Process {
    let mut command = Command::new(python());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/interop/modbus_server.py"));
    Process::start("pymodbus", command).unwrap()
}

fn signals(unit: &Json) -> impl Iterator<Item = (&Json, String)> {
    let order = unit["order"].as_str().unwrap().to_lowercase();
    unit["signals"]
        .as_array()
        .unwrap()
        .iter()
        .map(move |signal| (signal, format!("{order}_{}", signal["name"].as_str().unwrap())))
}

fn config(server: &Json, url: &str) -> String {
    let mut text = format!(
        "gateway = \"{FIRM}/interop\"\nstate_dir = \"state\"\n[uplink]\nurl = \"{url}\"\n\
         [spool]\nmax_bytes = \"64MiB\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[asset]]\nid = \"rig\"\npath = \"plant-1/rig\"\n\
         name = {{ ko = \"시험대\", en = \"Rig\" }}\ntime_zone = \"Asia/Seoul\"\n[[modbus]]\naddress = \"tcp://{}\"\n",
        server["address"].as_str().unwrap()
    );
    for unit in server["units"].as_array().unwrap() {
        let (id, order) = (&unit["unit"], unit["order"].as_str().unwrap());
        write!(
            text,
            "[[modbus.device]]\nname = \"{}\"\nunit = {id}\nasset = \"rig\"\ninterval = \"200ms\"\nbyte_order = \"{order}\"\n\
             signals = [\n",
            order.to_lowercase()
        )
        .unwrap();
        for (signal, name) in signals(unit) {
            let (area, address) = (signal["area"].as_str().unwrap(), &signal["address"]);
            let bit = signal.get("bit").map(|bit| format!(".{bit}")).unwrap_or_default();
            let kind = match signal["type"].as_str().unwrap() {
                "bool" => String::new(),
                kind => format!(", type = \"{kind}\""),
            };
            writeln!(
                text,
                "  {{ name = \"{name}\", metric = \"x_{name}\", unit = \"1\", at = \"{area}:{address}{bit}\"{kind} }},"
            )
            .unwrap();
        }
        text.push_str("]\n");
    }
    text
}

/// What a reader must find: the value, or none above what a signed counter holds.
fn expected(signal: &Json) -> Json {
    match signal["value"].as_u64() {
        Some(value) if i64::try_from(value).is_err() => Json::Null,
        _ => signal["value"].clone(),
    }
}

/// Exactly the same number; JSON writes 1.0 and 1 alike.
#[allow(clippy::float_cmp)] // bit for bit is what is tested
fn same(one: &Json, other: &Json) -> bool {
    one == other || matches!((one.as_f64(), other.as_f64()), (Some(one), Some(other)) if one == other)
}

#[test]
fn every_type_in_every_byte_order_reads_as_it_was_given() {
    let server = server();
    let dir = tempfile::tempdir().unwrap();
    let gateway =
        Gateway::with_config(&programs(), dir.path(), "interop", &config(server.ready(), "https://127.0.0.1:9"))
            .unwrap();
    let config = gateway.config().to_str().unwrap();
    let read = programs().run("sandan-gateway", &["read", config, "--json"]).unwrap().success().unwrap();
    let read: Vec<Json> = serde_json::from_str(&read).unwrap();
    let (mut checked, mut wrong) = (0, Vec::new());
    for unit in server.ready()["units"].as_array().unwrap() {
        for (signal, name) in signals(unit) {
            let found =
                read.iter().find(|line| line["signal"] == *name).map_or(json!("nothing"), |line| line["value"].clone());
            let expected = expected(signal);
            checked += 1;
            if !same(&found, &expected) {
                wrong.push(format!("{name}: {expected} was read as {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 300, "only {checked} values were compared");
}

#[test]
fn the_same_values_arrive_in_the_store() {
    let server = server();
    let world = World::new();
    let invitation = world.ingest.add_gateway(&format!("{FIRM}/interop")).unwrap();
    let config = config(server.ready(), &world.ingest.url());
    let mut gateway = Gateway::with_config(&programs(), &world.dir().join("interop"), "interop", &config).unwrap();
    gateway.enroll(&invitation).unwrap().success().unwrap();
    gateway.start().unwrap();
    let owner = world.member(FIRM);
    for unit in server.ready()["units"].as_array().unwrap() {
        for (signal, name) in signals(unit) {
            let first = wait_for(&format!("a reading of {name}"), PATIENCE, || first_value(&owner, &name)).unwrap();
            assert!(same(&first, &expected(signal)), "{name}: {} was stored as {first}", signal["value"]);
        }
    }
    world.ingest.log().assert_quiet("the ingest", &[]);
}

/// The first stored value as the API writes it.
fn first_value(owner: &Asker, name: &str) -> Option<Json> {
    let path = Series::new(FIRM, "rig", &format!("x_{name}")).path(EVER.0, EVER.1).ok()?;
    let page = owner.get(&format!("{path}&limit=1")).ok()?.ok().ok()?;
    page["readings"].as_array()?.first().map(|reading| reading["value"].clone())
}
