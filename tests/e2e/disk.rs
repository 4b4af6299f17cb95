//! The disk of the ingest fills: a small file system of the ingest's own, in a mount namespace
//! that goes with it, so that nothing of it is left on this machine however the test ends.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandan_tests::harness::account::{Account, accounts};
use sandan_tests::harness::{Gateway, GatewayPlan, Ingest, PATIENCE, Programs, wait_for};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::Make;

use crate::world::{FIRM, plant, programs, used};

/// Of the file system: more than the reserve below by what the store needs at first.
const SIZE_MIB: usize = 96;
const RESERVE: &str = "[store]\nreserve = \"64MiB\"\n";
/// What else lies on the disk then.
const BALLAST: usize = 40 << 20;

/// The programs, of which `serve` has a file system of its own under `dir/data`, and other
/// commands look into it; and the file with its process id. None where this machine lets nobody
/// mount anything.
fn on_a_small_disk(dir: &Path) -> Option<(Programs, PathBuf)> {
    let as_root = rustix::process::getuid().is_root();
    let (unshare, enter) = if as_root { ("", "") } else { ("--map-root-user", "--user --preserve-credentials") };
    let try_it = format!("unshare --mount {unshare} mount -t tmpfs none /mnt");
    if !Command::new("sh").args(["-c", &try_it]).status().is_ok_and(|status| status.success()) {
        return None;
    }
    let (script, pid, data) = (dir.join("on-a-small-disk"), dir.join("pid"), dir.join("data"));
    let (pid_file, data) = (pid.display(), data.display());
    let text = format!(
        "#!/bin/sh\nset -e\ncase \"$*\" in\n*' serve')\n  mkdir -p {data}\n  echo $$ > {pid_file}\n  \
         exec unshare --mount {unshare} sh -c 'mount -t tmpfs -o size={SIZE_MIB}m none {data} && exec \"$@\"' sh {exe} \"$@\";;\n\
         *)\n  exec nsenter --target \"$(cat {pid_file})\" --mount {enter} {exe} \"$@\";;\nesac\n",
        exe = env!("CARGO_BIN_EXE_demo"),
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    Some((Programs::at(script), pid))
}

/// Without mounting anything, on every machine.
#[test]
fn a_reserve_that_the_disk_does_not_have_keeps_readings_at_the_gateways() {
    let dir = tempfile::Builder::new().prefix("sandan-e2e-").tempdir().unwrap();
    with_a_reserve_that_shrinks(dir.path());
}

#[test]
fn below_the_reserve_gateways_keep_what_they_read_and_send_it_once_there_is_room() {
    let dir = tempfile::Builder::new().prefix("sandan-e2e-").tempdir().unwrap();
    match on_a_small_disk(dir.path()) {
        Some((small, pid)) => on_a_disk_that_fills(dir.path(), &small, &pid),
        // Where nobody may mount a file system, the disk stays and the reserve moves.
        None => with_a_reserve_that_shrinks(dir.path()),
    }
}

/// The reserve is more than any disk has, until the service is started again with less.
fn with_a_reserve_that_shrinks(dir: &Path) {
    let mut ingest = Ingest::with(&programs(), dir, "[store]\nreserve = \"1000000GiB\"\n").unwrap();
    ingest.start().unwrap();
    ingest.add_firm(FIRM, "한빛금형", "Hanbit Mould").unwrap();
    let owner = ingest.asker(&ingest.add_member(FIRM, "김하늘").unwrap());
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let press = used(&plant, "press", "press-1");
    let plan = GatewayPlan::new(&format!("{FIRM}/press-hall"), &ingest.url(), vec![press.clone()]);
    let invitation = ingest.add_gateway(&plan.gateway).unwrap();
    let mut gateway = Gateway::new(&programs(), &dir.join("gateway"), &plan, &invitation).unwrap();
    gateway.start().unwrap();
    let unsent = || gateway.status().ok()?["spool"]["unacked_readings"].as_u64();
    wait_for("the spool to fill", PATIENCE, || unsent().filter(|unsent| *unsent > 100)).unwrap();
    let health = owner.get("/healthz").unwrap();
    assert!(health.status == 503 && health.body.starts_with("the disk is below its reserve"), "{}", health.body);
    assert!(ingest.terminate().unwrap().success());
    let config = dir.join("ingest.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("1000000GiB", "64MiB");
    std::fs::write(&config, text).unwrap();
    ingest.start().unwrap();
    wait_for("the spool to drain", PATIENCE, || unsent().filter(|unsent| *unsent < 20)).unwrap();
    assert_eq!(owner.get("/healthz").unwrap().status, 200);
    plant.fault("press", Fault::Absent).unwrap();
    wait_for("every value to be stored", PATIENCE, || {
        let accounts = accounts(&plant, &press, FIRM, &owner).ok()?;
        accounts.iter().all(Account::agrees).then_some(())
    })
    .unwrap();
}

fn on_a_disk_that_fills(dir: &Path, small: &Programs, pid: &Path) {
    let mut ingest = Ingest::with(small, dir, RESERVE).unwrap();
    ingest.start().unwrap();
    ingest.add_firm(FIRM, "한빛금형", "Hanbit Mould").unwrap();
    let owner = ingest.asker(&ingest.add_member(FIRM, "김하늘").unwrap());
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let press = used(&plant, "press", "press-1");
    let plan = GatewayPlan::new(&format!("{FIRM}/press-hall"), &ingest.url(), vec![press.clone()]);
    let invitation = ingest.add_gateway(&plan.gateway).unwrap();
    let mut gateway = Gateway::new(&programs(), &dir.join("gateway"), &plan, &invitation).unwrap();
    gateway.start().unwrap();
    let stored = || {
        let page = owner.get("/metrics").ok()?.body;
        page.lines().find_map(|line| line.strip_prefix("sandan_ingest_readings_total ")?.parse::<f64>().ok())
    };
    wait_for("the first readings to be stored", PATIENCE, || stored().filter(|count| *count > 20.0)).unwrap();
    assert_eq!(owner.get("/healthz").unwrap().status, 200);

    // What the ingest sees of the disk, from outside of its namespace.
    let pid = std::fs::read_to_string(pid).unwrap();
    let seen = PathBuf::from(format!("/proc/{}/root{}", pid.trim(), dir.join("data/ballast").display()));
    std::fs::write(&seen, vec![0_u8; BALLAST]).unwrap();
    wait_for("the service to say that there is no room", PATIENCE, || {
        let health = owner.get("/healthz").ok()?;
        (health.status == 503 && health.body.starts_with("the disk is below its reserve")).then_some(())
    })
    .unwrap();
    assert!(owner.get("/metrics").unwrap().body.contains("\nsandan_ingest_disk_short 1\n"));
    let unsent = || gateway.status().ok()?["spool"]["unacked_readings"].as_u64();
    wait_for("the spool to fill", PATIENCE, || unsent().filter(|unsent| *unsent > 100)).unwrap();
    let before = stored().unwrap();
    wait_for("the spool to fill further", PATIENCE, || unsent().filter(|unsent| *unsent > 200)).unwrap();
    assert!(stored().unwrap() <= before, "nothing more is stored");
    let link = gateway.status().unwrap();
    assert_eq!(link["uplink"]["connected"], true, "the session goes on: {link}");

    std::fs::remove_file(&seen).unwrap();
    wait_for("the spool to drain", PATIENCE, || unsent().filter(|unsent| *unsent < 20)).unwrap();
    assert_eq!(owner.get("/healthz").unwrap().status, 200);
    plant.fault("press", Fault::Absent).unwrap();
    wait_for("every value to be stored", PATIENCE, || {
        let accounts = accounts(&plant, &press, FIRM, &owner).ok()?;
        accounts.iter().all(Account::agrees).then_some(())
    })
    .unwrap();
    assert!(ingest.terminate().unwrap().success());
    ingest.log().assert_quiet("ingest", &["the disk is below its reserve"]);
}
