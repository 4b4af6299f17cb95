//! Alert rules and dashboards: what promtool says of them, and whether what they name is there.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use sandan_ingest::fleet::{ConditionId, State};
use sandan_tests::harness::http::Asker;
use sandan_tests::harness::{PATIENCE, wait_for};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::machine::Make;

use crate::docs::{read, root};
use crate::world::{FIRM, World, plant, used};

fn promtool(folder: &Path, words: &[&str]) {
    let done = Command::new("promtool").args(words).current_dir(folder).output();
    let done = done.expect("promtool, of Debian's package prometheus");
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(done.status.success(), "promtool {words:?}: {said}");
}

#[test]
fn the_alert_rules_are_what_promtool_takes_and_fire_when_they_should() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yml"), read("configs/prometheus/rules.yml")).unwrap();
    let cases = read("tests/cases/prometheus/rules.test.yml");
    std::fs::write(folder.path().join("rules.test.yml"), cases).unwrap();
    promtool(folder.path(), &["check", "rules", "rules.yml"]);
    promtool(folder.path(), &["test", "rules", "rules.test.yml"]);
}

/// What `promtool check metrics` says of a page, and whether it takes it.
fn checked(page: &str) -> (bool, String) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = promtool.spawn().expect("promtool, of Debian's package prometheus");
    running.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let done = running.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (done.status.success(), said)
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics_of_both_programs() {
    let world = World::new();
    let plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let mut gateway = world.gateway("press-hall", vec![used(&plant, "press", "press")]);
    gateway.start().unwrap();
    let here = Asker::new(gateway.http().unwrap(), None);
    let ingest = world.ingest.asker("");
    let page = |asker: &Asker| {
        let answer = asker.get("/metrics").unwrap();
        assert_eq!(answer.content_type, "text/plain; version=0.0.4; charset=utf-8");
        answer.body
    };
    // With a sample of what has labels, too.
    wait_for("a good value", PATIENCE, || page(&here).contains("link_last_good_timestamp_seconds{").then_some(()))
        .unwrap();
    wait_for("a commit", PATIENCE, || (!page(&ingest).contains("\nsandan_ingest_commits_total 0\n")).then_some(()))
        .unwrap();
    let denied = format!("/v1/readings?firm={FIRM}&asset=none&metric=none&from=now-1h");
    assert_eq!(world.member(crate::world::OTHER).get(&denied).unwrap().status, 404);
    for (name, page) in [("gateway", page(&here)), ("ingest", page(&ingest))] {
        let (is_taken, said) = checked(&page);
        assert!(is_taken && said.trim().is_empty(), "{name}: {said}");
    }
    let (is_taken, said) = checked("# HELP a_total A gauge.\n# TYPE a_total gauge\na_total 1\n");
    assert!(!is_taken && said.contains("a_total"), "it looks at nothing: {said}");
}

/// The metrics that a text names, without what a sample has behind them.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_'));
    let metrics = words.filter(|word| word.starts_with("sandan_ingest_") || word.starts_with("sandan_gateway_"));
    let bare = |word: &str| {
        let stem = word.strip_suffix("_total").or(word.strip_suffix("_bucket")).unwrap_or(word);
        stem.to_owned()
    };
    metrics.map(bare).collect()
}

#[test]
fn rules_and_dashboards_name_only_metrics_that_are_there() {
    let known = named(&read("docs/metrics.md"));
    let mut files = vec!["configs/prometheus/rules.yml".to_owned()];
    for entry in std::fs::read_dir(root().join("configs/grafana")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let file = format!("configs/grafana/{name}");
        let board: serde_json::Value = serde_json::from_str(&read(&file)).unwrap();
        assert!(board["panels"].as_array().is_some_and(|panels| !panels.is_empty()), "{file}");
        files.push(file);
    }
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let uses = named(&read(&file));
        let unknown: Vec<_> = uses.difference(&known).collect();
        assert!(uses.len() > 3 && unknown.is_empty(), "{file} names {unknown:?}");
    }
}

#[test]
fn the_page_of_the_fleet_lists_every_state_and_every_condition() {
    let wanted: Vec<_> =
        State::ALL.iter().map(|it| it.name()).chain(ConditionId::ALL.iter().map(|it| it.name())).collect();
    for page in ["docs/fleet.md", "docs/fleet.ko.md"] {
        let text = read(page);
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        assert_eq!(rows.collect::<Vec<_>>(), wanted, "{page}");
    }
}
