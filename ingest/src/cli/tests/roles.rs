//! Every route and every command has a reviewed line that says who may use it.

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory;

use super::*;
use crate::auth::route::Guard;
use crate::consent::Role;

/// The columns, in order.
const COLUMNS: [&str; 10] =
    ["nobody", "officer", "staff", "installer", "member", "operator", "auditor", "alliance", "gateway", "host"];
/// What a cell may say.
const CELLS: [&str; 6] = ["no", "yes", "own", "shared", "links", "host"];
/// Where values of a firm can be read.
const VALUES: [&str; 6] = [
    "GET /v1/series",
    "GET /v1/readings",
    "GET /v1/readings/live",
    "GET /v1/dead-letters",
    "GET /v1/dead-letters/export",
    "POST /v1/dead-letters/retry",
];

type Row = BTreeMap<&'static str, String>;

fn reviewed() -> BTreeMap<String, Row> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/consent/roles.txt");
    let text = std::fs::read_to_string(file).unwrap();
    let head = text.lines().rfind(|line| line.starts_with('#')).unwrap();
    assert_eq!(head.trim_start_matches('#').split_whitespace().collect::<Vec<_>>(), COLUMNS);
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let words: Vec<_> = line.split_whitespace().collect();
        let (name, cells) = words.split_at(words.len() - COLUMNS.len());
        assert!(cells.iter().all(|cell| CELLS.contains(cell)), "{line}");
        let row = COLUMNS.into_iter().zip(cells.iter().map(ToString::to_string)).collect();
        assert!(rows.insert(name.join(" "), row).is_none(), "{line} stands there twice");
    }
    rows
}

fn routes() -> BTreeMap<String, Guard> {
    let all = crate::api::routes().chain(crate::console::ROUTES);
    all.map(|route| (format!("{} {}", route.method, route.path), route.guard)).collect()
}

/// Commands with their words, such as `consent grant`.
fn commands() -> BTreeSet<String> {
    fn leaves(command: &clap::Command, before: &str, found: &mut BTreeSet<String>) {
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let words = format!("{before}{}", verb.get_name());
            if verb.has_subcommands() {
                leaves(verb, &format!("{words} "), found);
            } else {
                assert!(found.insert(words));
            }
        }
    }
    let mut found = BTreeSet::new();
    leaves(&Args::command(), "", &mut found);
    found
}

#[test]
fn every_route_and_command_has_one_reviewed_line_of_who_may_use_it() {
    let rows = reviewed();
    let mut used: BTreeSet<String> = routes().into_keys().collect();
    used.extend(commands());
    let listed: BTreeSet<String> = rows.keys().cloned().collect();
    let missing: Vec<_> = used.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&used).collect();
    assert!(missing.is_empty(), "say in tests/cases/consent/roles.txt who may use {missing:?}");
    assert!(gone.is_empty(), "tests/cases/consent/roles.txt names what is not there: {gone:?}");
}

#[test]
fn the_reviewed_lines_are_what_the_guards_let_through() {
    let rows = reviewed();
    for (route, guard) in routes() {
        let row = &rows[&route];
        let is = |column: &str, wanted: bool| assert_eq!(row[column] != "no", wanted, "{route}: {column}");
        match guard {
            Guard::Public => {
                for column in COLUMNS {
                    assert_eq!(row[column], "yes", "{route}: {column}");
                }
            }
            Guard::Firm(roles) => {
                let columns = [
                    ("member", Role::Member),
                    ("officer", Role::DataOfficer),
                    ("staff", Role::FirmStaff),
                    ("installer", Role::Installer),
                ];
                for (column, role) in columns {
                    is(column, roles.contains(&role));
                    assert!(role == Role::Member || row[column] != "shared", "{route}: {column}");
                }
                for column in ["nobody", "operator", "auditor", "alliance", "gateway", "host"] {
                    is(column, false);
                }
            }
            Guard::Person => {
                for column in ["nobody", "operator", "gateway", "host"] {
                    is(column, false);
                }
            }
            Guard::Page(roles) => {
                let columns = [
                    ("member", Role::Member),
                    ("officer", Role::DataOfficer),
                    ("staff", Role::FirmStaff),
                    ("installer", Role::Installer),
                    ("operator", Role::Operator),
                    ("auditor", Role::Auditor),
                    ("alliance", Role::AllianceAdministrator),
                ];
                for (column, role) in columns {
                    is(column, roles.contains(&role));
                }
                for column in ["nobody", "gateway", "host"] {
                    is(column, false);
                }
                assert!(matches!(row["operator"].as_str(), "no" | "links"), "{route}: operators see links alone");
            }
        }
    }
    // What is done from another machine takes a token, and not a shell on the host.
    let commands = commands();
    let (remote, hosts): (BTreeSet<_>, BTreeSet<_>) = commands.iter().partition(|it| it.starts_with("share "));
    for command in remote {
        for column in ["operator", "gateway", "host"] {
            assert_eq!(rows[command][column], "no", "{command}: {column}");
        }
    }
    // Other commands are for whoever has a shell on the host: the socket is theirs alone.
    for command in hosts {
        for column in COLUMNS {
            let wanted = if column == "host" { "host" } else { "no" };
            assert_eq!(rows[command][column], wanted, "{command}: {column}");
        }
    }
    for route in VALUES {
        for column in ["nobody", "installer", "operator", "auditor", "alliance", "gateway"] {
            assert_eq!(rows[route][column], "no", "{route}: {column} sees no value");
        }
    }
}
