//! Alerts from end to end: the real service, a real gateway, and receivers that are not ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sandan_tests::harness::process::Process;
use sandan_tests::harness::{Gateway, GatewayPlan, Ingest, PATIENCE, lasting_port, wait_for, write_secret};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::machine::Make;
use serde_json::Value as Json;

use crate::interop_modbus::python;
use crate::world::{FIRM, plant, programs, used};

/// A gateway that was killed is missed after three heartbeats, and told of when that has lasted for a second.
const MISSED: Duration = Duration::from_mins(2);

/// The receivers, and what they got.
struct Receivers {
    dir: PathBuf,
    process: Process,
}

impl Receivers {
    fn start(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let mut command = Command::new(python());
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/alerts/receivers.py"));
        command.arg(dir).arg(lasting_port().unwrap().to_string());
        Self { dir: dir.to_owned(), process: Process::start("receivers", command).unwrap() }
    }

    /// What the webhook answers from now on.
    fn answer(&self, status: u16) {
        std::fs::write(self.dir.join("answer"), status.to_string()).unwrap();
    }

    fn got(&self, way: &str) -> Vec<Json> {
        let text = std::fs::read_to_string(self.dir.join("got")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
        lines.filter(|line| line["way"] == way).collect()
    }

    /// Alerts that the webhook took, each as event and kind.
    fn told(&self) -> Vec<(String, String)> {
        let taken = self.got("hook").into_iter().filter(|it| it["answered"] == 204);
        let alerts = taken.flat_map(|it| it["message"]["alerts"].as_array().cloned().unwrap_or_default());
        let text = |it: &Json, name: &str| it[name].as_str().unwrap().to_owned();
        alerts.map(|it| (text(&it, "event"), text(&it, "kind"))).collect()
    }

    fn wait_for(&self, event: &str, kind: &str, patience: Duration) {
        let found = || self.told().contains(&(event.to_owned(), kind.to_owned())).then_some(());
        wait_for(&format!("{event} {kind}"), patience, found).unwrap();
    }

    /// The configuration of both, and of an ingest that tells after a second.
    fn config(&self) -> String {
        write_secret(&self.dir.join("hook.secret"), "0123456789abcdef0123456789abcdef").unwrap();
        write_secret(&self.dir.join("smtp.password"), "the password").unwrap();
        let (dir, hook) = (self.dir.display(), self.process.address("http").unwrap());
        let smtp = self.process.address("smtp").unwrap().port();
        let kinds = ["last_contact", "link_down", "not_storing"].map(|kind| format!("{kind} = \"1s\"\n")).concat();
        format!(
            "[alerts]\nallow = [\"127.0.0.0/8\"]\nresolve = \"1s\"\nca_file = \"{dir}/smtp.crt\"\n\
             [alerts.for]\n{kinds}\
             [alerts.firm.{FIRM}]\nname = \"김하늘\"\nphone = \"+82-10-1234-5678\"\n\
             [alerts.receiver.ops]\nwebhook = \"http://{hook}/hook?of=ops\"\nsecret_file = \"{dir}/hook.secret\"\nlanguage = \"en\"\n\
             [alerts.mail]\nhost = \"localhost\"\nport = {smtp}\nfrom = \"sandan <sandan@example.kr>\"\nuser = \"sandan\"\n\
             password_file = \"{dir}/smtp.password\"\n\
             [alerts.receiver.duty]\nmail = [\"duty@example.kr\"]\n"
        )
    }
}

struct Rig {
    receivers: Receivers,
    ingest: Ingest,
    gateway: Gateway,
    plant: sandan_tests::plcsim::Plant,
    _dir: tempfile::TempDir,
}

/// An ingest with receivers, and a gateway with a machine that are up.
fn rig() -> Rig {
    let dir = tempfile::Builder::new().prefix("sandan-alerts-").tempdir().unwrap();
    let receivers = Receivers::start(&dir.path().join("receivers"));
    let mut ingest = Ingest::with(&programs(), &dir.path().join("ingest"), &receivers.config()).unwrap();
    ingest.start().unwrap();
    ingest.add_firm(FIRM, "한빛금형", "Hanbit Mould").unwrap();
    let devices = (1..=5).map(|unit| ModbusDevice::new(&format!("press-{unit}"), unit, Make::Press)).collect();
    let plant = plant(vec![devices], Vec::new());
    let uses = (1..=5).map(|unit| used(&plant, &format!("press-{unit}"), &format!("press-{unit}"))).collect();
    let plan = GatewayPlan::new(&format!("{FIRM}/press-hall"), &ingest.url(), uses);
    let invitation = ingest.add_gateway(&plan.gateway).unwrap();
    let mut gateway = Gateway::new(&programs(), &dir.path().join("gateway"), &plan, &invitation).unwrap();
    gateway.start().unwrap();
    let connected = || gateway.status().is_ok_and(|it| it["uplink"]["connected"] == true).then_some(());
    wait_for("a session", PATIENCE, connected).unwrap();
    wait_for("all to be well", PATIENCE, || ingest.command(&["fleet"]).ok()).unwrap();
    Rig { receivers, ingest, gateway, plant, _dir: dir }
}

#[test]
fn a_killed_gateway_is_one_alert_with_its_sentence_and_its_end() {
    let Rig { receivers, ingest, mut gateway, plant, _dir } = rig();
    gateway.kill();
    // All its machines are off as well: nobody is told of them, for nobody knows.
    drop(plant);
    receivers.wait_for("firing", "last_contact", MISSED);
    let hooks = receivers.got("hook");
    let first = &hooks[0];
    assert_eq!((&first["signed"], &first["path"]), (&Json::Bool(true), &Json::from("/hook?of=ops")));
    let alert = &first["message"]["alerts"][0];
    assert_eq!(alert["gateway"], format!("{FIRM}/press-hall"));
    assert!(alert["what"].as_str().unwrap().starts_with("Nothing is heard of the gateway, since "), "{alert}");
    assert!(alert["on_site"].as_str().unwrap().contains("power light"), "{alert}");
    assert_eq!(alert["call"]["phone"], "+82-10-1234-5678");
    assert!(alert["page"].as_str().unwrap().ends_with("/alerts/last_contact"), "{alert}");

    let letter = || receivers.got("mail").into_iter().next();
    let letter = wait_for("a letter", PATIENCE, letter).unwrap();
    assert_eq!((&letter["tls"], &letter["signed_in"]), (&Json::Bool(true), &Json::Bool(true)), "{letter}");
    assert_eq!(letter["to"], serde_json::json!(["duty@example.kr"]));
    assert!(letter["subject"].as_str().unwrap().contains("한빛금형 press-hall: 게이트웨이 연락 끊김"), "{letter}");
    assert!(letter["plain"].as_str().unwrap().contains("게이트웨이에서 소식이 없습니다"), "{letter}");
    assert!(letter["html"].as_str().unwrap().contains("<a href=\"tel:+821012345678\">전화: 김하늘"), "{letter}");
    let listed = ingest.command(&["alert", "list"]).unwrap();
    assert!(listed.contains("last_contact"), "{listed}");

    gateway.start().unwrap();
    receivers.wait_for("resolved", "last_contact", PATIENCE);
    let told = receivers.told();
    let of = |event: &str, kind: &str| told.iter().filter(|it| (it.0.as_str(), it.1.as_str()) == (event, kind)).count();
    assert_eq!((of("firing", "last_contact"), of("resolved", "last_contact")), (1, 1), "{told:?}");
    let log = ingest.log().lines().join("\n");
    assert!(!log.contains("0123456789abcdef") && !log.contains("the password"), "a secret is in the log");
}

#[test]
fn a_receiver_that_was_down_is_told_after_it_is_back_and_after_a_kill_of_the_service() {
    let Rig { receivers, mut ingest, gateway: _gateway, plant, _dir } = rig();
    receivers.answer(503);
    drop(plant);
    let refused = || receivers.got("hook").iter().any(|it| it["answered"] == 503).then_some(());
    wait_for("a refusal", PATIENCE, refused).unwrap();
    ingest.kill();
    receivers.answer(302);
    ingest.start().unwrap();
    let led_on = || receivers.got("hook").iter().any(|it| it["answered"] == 302).then_some(());
    wait_for("a redirect", PATIENCE, led_on).unwrap();
    receivers.answer(204);
    receivers.wait_for("firing", "link_down", PATIENCE);
    let hooks = receivers.got("hook");
    assert!(hooks.iter().all(|it| it["path"] != "/elsewhere"), "a redirect was followed");
    let ids: std::collections::BTreeSet<_> = hooks.iter().map(|it| it["message"]["id"].to_string()).collect();
    let first = &hooks[0]["message"]["id"];
    let taken = hooks.iter().find(|it| it["answered"] == 204).unwrap();
    assert_eq!(taken["message"]["id"], *first, "the one that was refused comes first, whole: {ids:?}");
}

#[test]
fn a_test_message_says_how_each_receiver_answered_and_no_private_address_is_called() {
    let dir = tempfile::tempdir().unwrap();
    let receivers = Receivers::start(&dir.path().join("receivers"));
    let ingest = Ingest::with(&programs(), &dir.path().join("ingest"), &receivers.config()).unwrap();
    let said = ingest.command(&["alert", "test"]).unwrap();
    assert_eq!(said.matches("took it").count(), 2, "{said}");
    let (hook, letter) = (receivers.got("hook").remove(0), receivers.got("mail").remove(0));
    assert_eq!((&hook["signed"], &hook["message"]["alerts"]), (&Json::Bool(true), &serde_json::json!([])));
    assert!(letter["subject"].as_str().unwrap().contains("알림 시험입니다"), "{letter}");
    receivers.answer(302);
    let refused = format!("{:#}", ingest.command(&["alert", "test", "ops"]).unwrap_err());
    assert!(refused.contains("1 receivers did not take the message"), "{refused}");

    let others = receivers.config().replace("allow = [\"127.0.0.0/8\"]\n", "");
    let closed = Ingest::with(&programs(), &dir.path().join("closed"), &others).unwrap();
    let before = receivers.got("hook").len();
    let config = closed.config().to_str().unwrap().to_owned();
    let tried = programs().run("sandan-ingest", &["--config", &config, "alert", "test", "ops"]).unwrap();
    assert_eq!(tried.code, Some(1));
    assert!(tried.stdout.contains("127.0.0.1, which is not public"), "{}", tried.stdout);
    assert_eq!(receivers.got("hook").len(), before);
}

#[test]
fn mutes_and_windows_are_added_listed_ended_and_in_the_firms_log() {
    let dir = tempfile::tempdir().unwrap();
    let ingest = Ingest::new(&programs(), &dir.path().join("ingest")).unwrap();
    ingest.add_firm(FIRM, "한빛금형", "Hanbit Mould").unwrap();
    let scope = format!("{FIRM}/press-hall:press-plc");
    let why = ["--by", "김하늘", "--why", "PLC 교체 대기"];
    let run = |args: &[&str]| ingest.command(&[args, &why].concat());
    let mute = run(&["alert", "mute", &scope, "--kind", "link_down", "--for", "8h"]).unwrap();
    let listed = ingest.command(&["alert", "list"]).unwrap();
    assert!(listed.contains(&scope) && listed.contains("PLC 교체 대기"), "{listed}");
    let window = run(&["maintenance", "add", FIRM, "--days", "sat,sun", "--at", "22:00", "--for", "8h"]).unwrap();
    run(&["maintenance", "add", "all", "--from", "now+1h", "--to", "now+2h"]).unwrap();
    let listed = ingest.command(&["maintenance", "list"]).unwrap();
    assert!(listed.contains("sat,sun 22:00 Asia/Seoul, 8h"), "{listed}");
    ingest.command(&["alert", "unmute", &mute]).unwrap();
    ingest.command(&["maintenance", "end", &window]).unwrap();
    assert!(!ingest.command(&["alert", "list"]).unwrap().contains(&scope));
    for wrong in [
        &["alert", "mute", "all", "--for", "40d"][..],
        &["maintenance", "add", "all", "--from", "now-2h", "--to", "now-1h"],
        &["maintenance", "add", "all", "--days", "sunday", "--at", "22:00", "--for", "8h"],
        &["maintenance", "add", "all"],
    ] {
        assert!(run(wrong).is_err(), "{wrong:?}");
    }
    assert!(ingest.command(&["alert", "unmute", "99"]).is_err());
    let log = ingest.command(&["audit", "export", FIRM]).unwrap();
    for kind in ["alert_muted", "alert_unmuted", "maintenance_added", "maintenance_ended"] {
        assert_eq!(log.matches(&format!("\"{kind}\"")).count(), 1, "{kind}: {log}");
    }
    assert!(ingest.command(&["audit", "export", "@complex"]).unwrap().contains("maintenance_added"));
}
