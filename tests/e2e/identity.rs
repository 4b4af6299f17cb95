//! Who may be which gateway: each way in that is not one is refused, with a line on each
//! side and an entry in the log.

use std::os::unix::fs::PermissionsExt;

use sandan_tests::harness::process::Log;
use sandan_tests::harness::{Ended, Gateway, GatewayPlan, PATIENCE, wait_for};
use sandan_tests::plcsim::machine::Make;
use sandan_tests::plcsim::{ModbusDevice, Plant};
use serde_json::Value as Json;

use crate::world::{FIRM, OTHER, World, plant, programs, used};

fn press() -> Plant {
    plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new())
}

fn alone(world: &World, plant: &Plant, gateway: &str, dir: &str) -> Gateway {
    let plan = GatewayPlan::new(gateway, &world.ingest.url(), vec![used(plant, "press", "press-1")]);
    Gateway::alone(&programs(), &world.dir().join(dir), &plan).unwrap()
}

fn gateway_id() -> String {
    format!("{FIRM}/press-hall")
}

/// One line on standard error, which says this.
fn refused(ended: &Ended, why: &str) {
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(why) && ended.stderr.lines().count() == 1, "not `{why}`: {}", ended.stderr);
}

/// The ingest has said so once, and the chain holds an entry.
fn noted(world: &World, chain: &str, reason: &str) {
    let line = format!("reason=\"{reason}\"");
    wait_for(&format!("the ingest to say {reason}"), PATIENCE, || {
        (world.ingest.log().lines().iter().filter(|it| it.contains(&line)).count() == 1).then_some(())
    })
    .unwrap();
    let log = world.ingest.command(&["audit", "export", chain]).unwrap();
    let entries = log.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let found = entries.filter(|it| it["kind"] == "gateway_refused" && it["detail"]["reason"] == reason).count();
    assert_eq!(found, 1, "{log}");
}

fn fault(gateway: &Gateway) -> Option<String> {
    gateway.status().ok()?["uplink"]["fault"].as_str().map(str::to_owned)
}

fn connected(gateway: &Gateway) -> Option<()> {
    gateway.status().ok()?["uplink"]["connected"].as_bool().filter(|connected| *connected).map(drop)
}

/// What must be in no log: the token, and a private key.
fn tells_no_secret(log: &Log, invitation: &str) {
    let token = invitation.split("token=").nth(1).unwrap().split('&').next().unwrap();
    for line in log.lines() {
        assert!(!line.contains(token) && !line.contains("PRIVATE KEY"), "a secret is in a log: {line}");
    }
}

#[test]
fn an_invitation_opens_one_enrolment_of_one_box() {
    let world = World::new();
    let plant = press();
    let invitation = world.ingest.add_gateway(&gateway_id()).unwrap();
    let mut ours = alone(&world, &plant, &gateway_id(), "ours");
    let theirs = alone(&world, &plant, &gateway_id(), "theirs");
    let others = alone(&world, &plant, &format!("{OTHER}/furnace-hall"), "others");

    refused(&ours.enroll("sandan://x").unwrap(), "the invitation does not say host:port");
    refused(&others.enroll(&invitation).unwrap(), "and this box is configured as daon-heat/furnace-hall");
    // A line that somebody has changed: another name, another authority.
    let renamed = invitation.replace(&gateway_id(), &format!("{OTHER}/furnace-hall"));
    refused(&others.enroll(&renamed).unwrap(), "wrong_gateway: ");
    noted(&world, FIRM, "wrong_gateway");
    let at = invitation.len() - 1;
    let last = if invitation.ends_with('0') { "1" } else { "0" };
    let pinned = format!("{}{last}", &invitation[..at]);
    refused(&ours.enroll(&pinned).unwrap(), "is not the ingest that this gateway knows");
    noted(&world, "@complex", "server_not_trusted");
    let unknown =
        invitation.replace(&invitation[invitation.find("sgi_").unwrap()..][..68], &format!("sgi_{}", "0".repeat(64)));
    refused(&ours.enroll(&unknown).unwrap(), "unknown_invitation: ");
    noted(&world, "@complex", "unknown_invitation");

    let done = ours.enroll(&invitation).unwrap();
    assert!(done.stdout.starts_with(&format!("{FIRM}/press-hall is enrolled at ")), "{done:?}");
    let again = ours.enroll(&invitation).unwrap().success().unwrap();
    assert!(again.contains("was enrolled before with this invitation"), "{again}");
    refused(&theirs.enroll(&invitation).unwrap(), "invitation_used: ");
    noted(&world, FIRM, "invitation_used");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let identity = ours.identity();
    assert_eq!((mode(&identity), mode(identity.parent().unwrap())), (0o600, 0o700));

    ours.start().unwrap();
    wait_for("the link to come up", PATIENCE, || connected(&ours)).unwrap();
    for log in [ours.log(), world.ingest.log()] {
        tells_no_secret(log, &invitation);
    }
}

#[test]
fn a_revoked_gateway_is_told_so_and_a_new_box_takes_its_place() {
    let world = World::new();
    let plant = press();
    let mut old = alone(&world, &plant, &gateway_id(), "old");
    let first = world.ingest.add_gateway(&gateway_id()).unwrap();
    old.enroll(&first).unwrap().success().unwrap();
    old.start().unwrap();
    wait_for("the link to come up", PATIENCE, || connected(&old)).unwrap();
    world.ingest.command(&["gateway", "revoke", &gateway_id()]).unwrap();
    let told = || fault(&old).filter(|fault| fault.contains("revoked: "));
    wait_for("the gateway to hear that it is revoked", PATIENCE, told).unwrap();
    noted(&world, FIRM, "revoked");

    let refused = world.ingest.command(&["gateway", "invite", &gateway_id()]).unwrap_err();
    assert!(format!("{refused:#}").contains("--replace"), "{refused:#}");
    let again = world.ingest.command(&["gateway", "invite", &gateway_id(), "--replace"]).unwrap();
    let mut new = alone(&world, &plant, &gateway_id(), "new");
    new.enroll(&again).unwrap().success().unwrap();
    new.start().unwrap();
    wait_for("the new box to come up", PATIENCE, || connected(&new)).unwrap();
    let told = || fault(&old).filter(|fault| fault.contains("replaced_certificate: "));
    wait_for("the old box to hear that it is replaced", PATIENCE, told).unwrap();
    noted(&world, FIRM, "replaced");
    let line: Json = serde_json::from_str(&world.ingest.command(&["gateway", "list", "--json"]).unwrap()).unwrap();
    assert_eq!(line["state"], "enrolled");
    for log in [old.log(), new.log(), world.ingest.log()] {
        tells_no_secret(log, &first);
        tells_no_secret(log, &again);
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (world, elsewhere) = (World::new(), World::new());
    let plant = press();
    let (id, mut ours) = (gateway_id(), alone(&world, &plant, &gateway_id(), "ours"));
    ours.enroll(&world.ingest.add_gateway(&id).unwrap()).unwrap().success().unwrap();
    let theirs = alone(&elsewhere, &plant, &id, "theirs");
    theirs.enroll(&elsewhere.ingest.add_gateway(&id).unwrap()).unwrap().success().unwrap();
    // It trusts this ingest, and shows what another one has signed.
    let read = |gateway: &Gateway| -> Json {
        serde_json::from_str(&std::fs::read_to_string(gateway.identity()).unwrap()).unwrap()
    };
    let mut forged = read(&theirs);
    forged["trust"] = read(&ours)["trust"].clone();
    std::fs::write(ours.identity(), forged.to_string()).unwrap();
    ours.start().unwrap();
    let told = wait_for("the gateway to be refused", PATIENCE, || fault(&ours)).unwrap();
    assert!(told.contains("UnknownCA") || told.contains("lost"), "{told}");
    noted(&world, "@complex", "certificate_not_trusted");
}

#[test]
fn the_authority_changes_under_a_running_gateway() {
    let mut world = World::new();
    let plant = press();
    let mut gateway = world.gateway("press-hall", vec![used(&plant, "press", "press-1")]);
    gateway.start().unwrap();
    wait_for("the link to come up", PATIENCE, || connected(&gateway)).unwrap();
    world.ingest.command(&["ca", "rotate"]).unwrap();
    let kept = world.ingest.command(&["ca", "retire", "1"]).unwrap_err();
    assert!(format!("{kept:#}").contains("1 gateways have not renewed since the rotation"), "{kept:#}");
    // It knows the old one alone, and a new one is enrolled beside it.
    world.ingest.terminate().unwrap();
    wait_for("the link to go down", PATIENCE, || connected(&gateway).is_none().then_some(())).unwrap();
    world.ingest.start().unwrap();
    wait_for("the link to come up again", PATIENCE, || connected(&gateway)).unwrap();
    let mut second = world.gateway("annex", vec![used(&plant, "press", "press-2")]);
    second.start().unwrap();
    wait_for("the second link to come up", PATIENCE, || connected(&second)).unwrap();
}
