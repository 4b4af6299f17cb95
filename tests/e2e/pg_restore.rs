//! A database that is put back from its own dump, as docs/operations.md says it.

use std::process::{Command, Stdio};

use sandan_gateway::clock;
use sandan_tests::harness::{Gateway, GatewayPlan, Ingest, PATIENCE, wait_for};
use sandan_tests::oracle::ask::Readers;
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::Make;
use sandan_tests::servers::{self, Database, binary};

use crate::world::{FIRM, OTHER, plant, programs, used};

fn tool(name: &str, args: &[&str]) {
    let ended = Command::new(binary(name)).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(ended.status.success(), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
}

fn timeline(database: &Database) -> String {
    database.sql("SELECT timeline FROM readings.store")
}

/// The dump goes into a new database. The witness finds it, a timeline begins, consents wait for
/// their grantors, and the gateway sends again what came since the dump: nothing is lost, and
/// nothing is stored twice.
#[test]
fn a_dump_in_a_new_database_is_a_new_timeline_and_gateways_fill_it_up() {
    let (old, new) = (servers::plain(), servers::plain());
    let dir = tempfile::Builder::new().prefix("sandan-e2e-").tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let further = format!(
        "[store]\nengine = \"postgres\"\nurl = \"{}\"\n[witness]\nfile = \"{}\"\n",
        old.dsn(),
        disk.join("witness.json").display()
    );
    let mut ingest = Ingest::with(&programs(), &dir.path().join("ingest"), &further).unwrap();
    ingest.start().unwrap();
    for (id, name) in [(FIRM, "한빛금형"), (OTHER, "다온열처리")] {
        ingest.add_firm(id, name, id).unwrap();
    }
    let owner = ingest.asker(&ingest.add_member(FIRM, "김하늘").unwrap());
    let plant = plant(vec![vec![ModbusDevice::new("meter", 1, Make::Meter)]], Vec::new());
    let meter = used(&plant, "meter", "meter-1");
    let plan = GatewayPlan::new(&format!("{FIRM}/press-hall"), &ingest.url(), vec![meter.clone()]);
    let invitation = ingest.add_gateway(&plan.gateway).unwrap();
    let mut gateway = Gateway::new(&programs(), &dir.path().join("gateway"), &plan, &invitation).unwrap();
    gateway.start().unwrap();
    let uses = [meter.clone()];
    let readers = || Readers::of(&plant, &uses, FIRM);
    let flows = |what: &str| {
        let since_us = clock::wall_us();
        wait_for(what, PATIENCE, || readers().all_are_stored_since(&owner, since_us).ok()?.then_some(())).unwrap();
    };
    flows("readings before the dump");
    let metric = &meter.series(FIRM, &plant.device("meter").points[0]).metric;
    let consent = ingest.grant(FIRM, OTHER, "meter-1", metric, &["--form", "raw"]).unwrap();

    let dump = dir.path().join("monday.dump");
    let dump = dump.to_string_lossy();
    tool("pg_dump", &["--format=custom", &format!("--file={dump}"), old.dsn()]);
    flows("readings behind the dump");
    // The witness follows within seconds by itself; an end in order writes it at once.
    assert!(ingest.terminate().unwrap().success());
    tool("pg_restore", &[&format!("--dbname={}", new.dsn()), "--exit-on-error", &dump]);
    assert_eq!(timeline(&new), timeline(&old));

    let config = dir.path().join("ingest/ingest.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(old.dsn(), new.dsn())).unwrap();
    ingest.start().unwrap();
    assert_ne!(timeline(&new), timeline(&old), "no timeline began");
    let told = ingest.log().lines().into_iter().find(|line| line.contains("the store is an older state")).unwrap();
    assert!(told.contains("consents suspended until their grantors confirm them: 1"), "{told}");
    let state = || ingest.command(&["consent", "show", &consent]).unwrap();
    assert!(state().contains("suspended"), "{}", state());
    ingest.command(&["consent", "confirm", &consent]).unwrap();
    assert!(state().contains("active"), "{}", state());

    flows("readings in the new database");
    plant.fault("meter", Fault::Absent).unwrap();
    wait_for("the loss of the machine to be stored", PATIENCE, || {
        readers().polls_have_ended(&owner).ok()?.then_some(())
    })
    .unwrap();
    wait_for("the spool to drain", PATIENCE, || {
        let waiting = gateway.status().ok()?["spool"]["unacked_records"].as_u64()?;
        (readers().ends_are_stored(&owner).ok()? && waiting == 0).then_some(())
    })
    .unwrap();
    let sum = readers().case(&owner, FIRM).unwrap().sum();
    assert!(sum.is_exact() && sum.in_gaps == 0 && sum.dead == 0 && sum.stored == sum.generated, "{sum}");
    assert!(gateway.terminate().unwrap().success());
    assert!(ingest.terminate().unwrap().success());
}
