//! `docs/audit.md`, as a member and a firm walk through it.

use std::process::Command;

use sandan_tests::harness::account::EVER;
use sandan_tests::harness::{PATIENCE, wait_for};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::machine::Make;

use crate::docs::{blocks, commands, headings, read};
use crate::world::{FIRM, OTHER, World, plant, used};

#[test]
fn the_page_is_the_same_in_both_languages() {
    let (english, korean) = (read("docs/audit.md"), read("docs/audit.ko.md"));
    assert_eq!(headings(&english), headings(&korean));
    let (ours, theirs) = (blocks(&english, "", "sh"), blocks(&korean, "", "sh"));
    assert_eq!(ours.len(), 3);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(commands(ours), commands(theirs));
    }
}

#[test]
fn whoever_kept_a_receipt_and_a_head_checks_the_log_alone() {
    let world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let mut gateway = world.gateway("hall", vec![used(&plant, "press", "press-1")]);
    gateway.start().unwrap();
    let owner_token = world.ingest.add_member(FIRM, "김하늘").unwrap();
    let owner = world.ingest.asker(&owner_token);
    let uses = used(&plant, "press", "press-1");
    // A metric of the firm's own cannot be shared.
    let shared = uses.points().iter().map(|point| uses.series(FIRM, point)).find(|it| !it.metric.starts_with("x_"));
    let series = shared.unwrap();
    let (begin, end) = EVER;
    wait_for("readings", PATIENCE, || {
        owner.readings(&series, begin, end).is_ok_and(|all| !all.is_empty()).then_some(())
    })
    .unwrap();
    let metric = series.metric.clone();
    let grant = ["consent", "grant", "--grantor", FIRM, "--grantee", OTHER, "--asset", "press-1", "--metric", &metric];
    let terms = ["--form", "bucketed", "--floor", "1s", "--function", "mean", "--until", "now+1d"];
    world.ingest.command(&[&grant[..], &terms[..]].concat()).unwrap();

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("owner.token"), owner_token).unwrap();
    std::fs::write(dir.path().join("partner.token"), world.ingest.add_member(OTHER, "이서준").unwrap()).unwrap();
    let program = dir.path().join("sandan-ingest");
    std::fs::write(&program, format!("#!/bin/sh\nexec '{}' --as sandan-ingest \"$@\"\n", env!("CARGO_BIN_EXE_demo")))
        .unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let run = |script: &str| {
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script]).current_dir(dir.path()).env("PATH", &path).output().unwrap()
    };
    let here = world.ingest.http().to_string();
    let page: Vec<String> = blocks(&read("docs/audit.md"), "", "sh")
        .iter()
        .map(|block| block.replace("127.0.0.1:7080", &here).replace("press_force", &metric))
        .collect();
    let walked = run(&page.concat());
    let said = String::from_utf8_lossy(&walked.stdout);
    let answer = std::fs::read_to_string(dir.path().join("readings.json")).unwrap_or_default();
    assert!(walked.status.success(), "{said}\n{}\n{answer}", String::from_utf8_lossy(&walked.stderr));
    assert!(said.contains(&format!("of {FIRM} hold; what was kept shows that there are")), "{said}");

    // What was kept finds what somebody does to the log.
    let verify = page.last().unwrap();
    for (forgery, told) in [
        ("sed -i 's/김하늘/이하늘/' log.jsonl", "was changed after it was written"),
        ("sed -i '2d' log.jsonl", "entries were removed or reordered"),
        ("sed -i '4,$d' log.jsonl", "its end was cut off"),
        ("sed -i 's/\"number\":[0-9]*/\"number\":1/' head.json", "cannot be used: the path"),
        ("sed -i 's/\"complex\":\"/&x/' receipts.jsonl", "its signature does not fit"),
    ] {
        let forged = run(&format!("mkdir forged; cp *.json* audit.key forged; cd forged; {forgery}\n{verify}"));
        let complaint = String::from_utf8_lossy(&forged.stderr).into_owned();
        assert_eq!(forged.status.code(), Some(1), "{forgery}: {complaint}");
        assert!(complaint.contains(told), "{forgery}: {complaint}");
        std::fs::remove_dir_all(dir.path().join("forged")).unwrap();
    }
    let usage = run("sandan-ingest audit verify --receipt receipts.jsonl");
    assert_eq!(usage.status.code(), Some(2), "a key is needed");
    assert!(gateway.terminate().unwrap().success());
}
