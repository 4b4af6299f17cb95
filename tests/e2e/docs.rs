//! The documents hold what the programs do: both languages of the README have the same
//! sections and commands, the commands of the ten-minute walk do what they say, and
//! the lists of routes and metrics are those of the code.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandan_tests::harness::http::Asker;
use sandan_tests::harness::{PATIENCE, lasting_port, wait_for};
use sandan_tests::plcsim::machine::Make;
use sandan_tests::plcsim::{ModbusDevice, Plant};

use crate::world::{OTHER, World, plant, used};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// The level of each heading, outside code.
pub(crate) fn headings(text: &str) -> Vec<usize> {
    let mut in_code = false;
    let mut levels = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if !in_code && line.starts_with('#') {
            levels.push(line.bytes().take_while(|byte| *byte == b'#').count());
        }
    }
    levels
}

/// Fenced blocks of a language, below the section whose heading holds `section`.
pub(crate) fn blocks(text: &str, section: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let mut blocks = Vec::new();
    let (mut here, mut open) = (section.is_empty(), None::<String>);
    for line in text.lines() {
        match &mut open {
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some(block) => writeln!(block, "{line}").unwrap(),
            None if line.starts_with("## ") => here = section.is_empty() || line.contains(section),
            None if here && line == fence => open = Some(String::new()),
            None => {}
        }
    }
    blocks
}

/// Without what follows a `#`: comments are for the reader's language.
pub(crate) fn commands(block: &str) -> Vec<&str> {
    block.lines().map(|line| line.split("  #").next().unwrap().trim_end()).collect()
}

#[test]
fn both_languages_have_the_same_sections_and_commands() {
    for (english, korean, least) in [
        ("README.md", "README.ko.md", 5),
        ("docs/operations.md", "docs/operations.ko.md", 2),
        ("docs/fleet.md", "docs/fleet.ko.md", 1),
        ("docs/alerts.md", "docs/alerts.ko.md", 2),
        ("docs/api.md", "docs/api.ko.md", 8),
        ("docs/runs.md", "docs/runs.ko.md", 3),
        ("docs/modbus.md", "docs/modbus.ko.md", 1),
        ("docs/mqtt.md", "docs/mqtt.ko.md", 0),
        ("docs/sparkplug.md", "docs/sparkplug.ko.md", 0),
    ] {
        let name = english;
        let (english, korean) = (read(english), read(korean));
        assert_eq!(headings(&english), headings(&korean), "{name}: the sections differ");
        for language in ["sh", "toml"] {
            let (ours, theirs) = (blocks(&english, "", language), blocks(&korean, "", language));
            assert!(language != "sh" || ours.len() >= least, "{name}: the blocks were not found");
            assert_eq!(ours.len(), theirs.len(), "{name}");
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!(commands(ours), commands(theirs), "{name}");
            }
        }
    }
}

/// What stands in the first column of each table, where it is code: the keys.
fn keys(text: &str) -> Vec<&str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    rows.filter(|cell| cell.starts_with('`')).collect()
}

#[test]
fn both_languages_list_the_same_keys_of_modbus() {
    let (english, korean) = (read("docs/modbus.md"), read("docs/modbus.ko.md"));
    let codes = keys(&english);
    assert!(codes.len() > 25, "the tables were not found");
    assert_eq!(codes, keys(&korean));
}

#[test]
fn the_examples_of_the_pages_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let assets = ["press-1", "press-3", "welder-1"].map(|id| format!("[[asset]]\nid = \"{id}\"\n")).concat();
    let head = format!("gateway = \"hanbit/one\"\nstate_dir = \"state\"\n{assets}");
    // Sparkplug's page says that its nodes stand behind a broker, and shows none.
    let broker = "[[mqtt]]\naddress = \"mqtt://127.0.0.1:1883\"\n";
    for (page, count, more) in [("configuration", 2, ""), ("modbus", 1, ""), ("mqtt", 3, ""), ("sparkplug", 1, broker)]
    {
        let [english, korean] = ["md", "ko.md"].map(|ending| read(&format!("docs/{page}.{ending}")));
        assert_eq!(headings(&english), headings(&korean), "{page}");
        let (ours, theirs) = (blocks(&english, "", "toml"), blocks(&korean, "", "toml"));
        assert_eq!((ours.len(), theirs.len()), (count, count), "{page}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(commands(ours), commands(theirs), "{page}");
            for example in [ours, theirs] {
                let text = format!("{head}{more}{example}");
                let file = dir.path().join("gateway.toml");
                std::fs::write(&file, text).unwrap();
                // Files that an example names, such as certificates, are told beside it.
                let config = sandan_gateway::config::Config::survey(&file);
                config.unwrap_or_else(|faults| panic!("{page}: {faults}"));
            }
        }
    }
}

#[test]
fn the_files_that_the_readme_names_are_there() {
    for name in [
        "README.md",
        "README.ko.md",
        "docs/architecture.md",
        "docs/known-gaps.md",
        "docs/operations.md",
        "docs/operations.ko.md",
        "docs/modbus.md",
        "docs/modbus.ko.md",
        "docs/api.md",
        "docs/api.ko.md",
    ] {
        let text = read(name);
        let beside = root().join(name);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.starts_with("http") && !target.starts_with('#') {
                assert!(beside.parent().unwrap().join(target).exists(), "{name} links to {target}");
            }
        }
    }
}

/// The walk as it stands in the README, but for the address of the PLC, the ports, and
/// how the programs are built.
#[test]
fn the_ten_minute_walk_ends_with_a_csv() {
    let plant: Plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let address = plant.device("press").address.clone();
    let dir = tempfile::tempdir().unwrap();
    let demo = env!("CARGO_BIN_EXE_demo");
    for program in ["sandan-gateway", "sandan-ingest"] {
        let path = dir.path().join(program);
        std::fs::write(&path, format!("#!/bin/sh\nexec '{demo}' --as {program} \"$@\"\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let walk = blocks(&read("README.md"), "Ten minutes", "sh");
    assert!(walk[0].contains("cargo build"), "the first step builds");
    let mut script = "set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n".to_owned();
    for block in &walk[1..] {
        script.push_str(block);
    }
    for port in ["7443", "7080", "7480"] {
        assert!(script.contains(port), "port {port} is not in the walk");
        script = script.replace(port, &lasting_port().unwrap().to_string());
    }
    assert!(script.contains("tcp://192.168.0.10:502"));
    let script = script.replace("tcp://192.168.0.10:502", &address);
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let walked = Command::new("bash").args(["-c", &script]).current_dir(dir.path()).env("PATH", path).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&walked.stdout), String::from_utf8_lossy(&walked.stderr));
    assert!(walked.status.success(), "{said}\n{complained}");
    let csv = std::fs::read_to_string(dir.path().join("press_force.csv")).unwrap();
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows[0].trim_end(), "time,firm,asset,metric,unit,value,quality");
    assert!(rows.len() > 3, "{csv}");
    assert!(rows[1].contains("hanbit-mould,press-1,press_force,kN,"), "{csv}");
    for expected in ["press-plc", "good", "is up", "start,firm,asset,metric,unit,mean", "read_started", "sign-in?link="]
    {
        assert!(said.contains(expected), "{expected} is not in\n{said}\n{complained}");
    }
}

#[test]
fn the_readme_names_every_route() {
    let routes: BTreeSet<&str> = sandan_ingest::api::routes().map(|route| route.path).collect();
    for name in ["README.md", "README.ko.md"] {
        let text = read(name);
        let named: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("| `GET ").or(line.strip_prefix("| `POST "))).collect();
        let named: BTreeSet<&str> = named.iter().filter_map(|line| line.split(['`', '?']).next()).collect();
        assert_eq!(named, routes, "{name}");
    }
}

/// Name and kind of each metric that a program shows.
fn scraped(asker: &Asker) -> BTreeSet<String> {
    let text = asker.get("/metrics").unwrap().body;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.replace(' ', "` ")).collect()
}

#[test]
fn the_list_of_metrics_is_that_of_the_programs() {
    let world = World::new();
    let plant: Plant = plant(vec![vec![ModbusDevice::new("press", 1, Make::Press)]], Vec::new());
    let mut gateway = world.gateway("press-hall", vec![used(&plant, "press", "press")]);
    gateway.start().unwrap();
    let here = Asker::new(gateway.http().unwrap(), None);
    wait_for("a good value", PATIENCE, || scraped(&here).iter().any(|line| line.contains("last_good")).then_some(()))
        .unwrap();
    // Figures with labels are there once they have counted something.
    let nothing = "/v1/readings?firm=hanbit-mould&asset=none&metric=none&from=now-1h";
    assert_eq!(world.member(OTHER).get(nothing).unwrap().status, 404);
    let shown: BTreeSet<String> = scraped(&here).union(&scraped(&world.ingest.asker(""))).cloned().collect();
    let listed: BTreeSet<String> = read("docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|line| line.split(" |").next().unwrap().to_owned())
        .collect();
    let differ: Vec<_> = shown.symmetric_difference(&listed).collect();
    assert!(differ.is_empty(), "shown by one and not by the other: {differ:#?}");
}

/// `cargo demo -- --seconds 30`, as the README has it: what stands behind the two dashes
/// reaches the demo and nothing else does.
#[test]
fn the_demo_takes_its_options_behind_two_dashes() {
    let config: toml::Table = read(".cargo/config.toml").parse().unwrap();
    let alias = config["alias"]["demo"].as_str().unwrap();
    let typed = format!("{alias} -- --seconds 30");
    let (cargo, demo) = typed.split_once(" -- ").unwrap();
    assert_eq!(demo, "--seconds 30");
    assert!(cargo.starts_with("run ") && cargo.ends_with("--bin demo"), "{cargo}");
    assert!(read("README.md").contains("`cargo demo -- --seconds 30`"));
}
