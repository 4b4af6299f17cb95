//! `docs/sharing.md`, as a data officer and a member walk through it.

use std::process::Command;

use sandan_tests::harness::account::EVER;
use sandan_tests::harness::{PATIENCE, wait_for};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::machine::Make;

use crate::docs::{blocks, commands, headings, read};
use crate::world::{FIRM, OTHER, World, plant, used};

#[test]
fn the_page_is_the_same_in_both_languages() {
    let (english, korean) = (read("docs/sharing.md"), read("docs/sharing.ko.md"));
    assert_eq!(headings(&english), headings(&korean));
    let (ours, theirs) = (blocks(&english, "", "sh"), blocks(&korean, "", "sh"));
    assert!(ours.len() > 10, "the blocks were not found");
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(commands(ours), commands(theirs));
    }
}

#[test]
fn an_officer_and_a_member_agree_read_and_part() {
    let world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let mut gateway = world.gateway("hall", vec![used(&plant, "press", "press-1")]);
    gateway.start().unwrap();
    let owner = world.ingest.asker(&world.ingest.add_member(FIRM, "생산팀").unwrap());
    let uses = used(&plant, "press", "press-1");
    // A metric of the firm's own cannot be shared.
    let shared = uses.points().iter().map(|point| uses.series(FIRM, point)).find(|it| !it.metric.starts_with("x_"));
    let series = shared.unwrap();
    let (begin, end) = EVER;
    wait_for("readings", PATIENCE, || {
        owner.readings(&series, begin, end).is_ok_and(|all| !all.is_empty()).then_some(())
    })
    .unwrap();

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("partner.token"), world.ingest.add_member(OTHER, "이서준").unwrap()).unwrap();
    let program = dir.path().join("sandan-ingest");
    std::fs::write(&program, format!("#!/bin/sh\nexec '{}' --as sandan-ingest \"$@\"\n", env!("CARGO_BIN_EXE_demo")))
        .unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let page = read("docs/sharing.md");
    let script: String = blocks(&page, "", "sh")
        .concat()
        .replace("127.0.0.1:7080", &world.ingest.http().to_string())
        .replace("press_force", &series.metric)
        .replace("hanbit-mould", FIRM)
        .replace("ingest.toml", &world.ingest.config().display().to_string());
    let mut bash = Command::new("bash");
    bash.args(["-euxo", "pipefail", "-c", &script]).current_dir(dir.path()).env("PATH", &path);
    let walked = bash.output().unwrap();
    let (said, trace) = (String::from_utf8_lossy(&walked.stdout), String::from_utf8_lossy(&walked.stderr));
    let answer = std::fs::read_to_string(dir.path().join("answer.json")).unwrap_or_default();
    assert!(walked.status.success(), "{said}\n{trace}\n{answer}");
    for expected in [
        "is active, revision",
        "1 of 2 approvals",
        "nothing is granted by this",
        "기술자료 제공 요구서",
        "설비 데이터 제공 동의서",
        "Consent to share machine data",
        "state      revoked",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}\n{trace}");
    }
    assert!(!said.contains("smb_"), "no token is printed but into its file");
    assert!(gateway.terminate().unwrap().success());
}
