//! Rules that no lint enforces: which module may use which, how long a file may be,
//! that every example configuration is accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::world::programs;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Rust files below a directory, with their text.
fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// Names right after `crate::`, alone or in braces.
fn crate_uses(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut names = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        // Not the end of a longer name such as `my_crate::`.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let (mut depth, mut name) = (1, String::new());
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => names.extend([first_word(&std::mem::take(&mut name))]),
                        _ => name.push(c),
                    }
                    if depth == 0 {
                        break;
                    }
                }
                names.extend([first_word(&name)]);
            }
            None => names.extend([first_word(rest)]),
        }
    }
    names.remove("");
    names
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn names_after_crate_are_found() {
    let text = "use crate::a::B;\n// use crate::no;\nuse crate::{b, c::{D, E}, d as x};\nlet y = crate::e::f();";
    assert_eq!(crate_uses(text).into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
}

/// What each module of a program may use of its own crate: docs/architecture.md. A new
/// edge is a decision, made here under review.
fn assert_edges(program: &str, table: &[(&str, &[&str])]) {
    let table: BTreeMap<&str, &[&str]> = table.iter().copied().collect();
    let src = root().join(program).join("src");
    let mut faults = Vec::new();
    for (path, text) in sources(&src) {
        let within = path.strip_prefix(&src).unwrap();
        // Tests and their fixtures may reach for what they set up.
        if within.ends_with("tests.rs")
            || within.ends_with("fixture.rs")
            || within.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "conformance")
            || within.ends_with("conformance.rs")
        {
            continue;
        }
        let first = within.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let module = first.strip_suffix(".rs").unwrap_or(&first);
        if module == "lib" {
            continue;
        }
        let Some(allowed) = table.get(module) else {
            faults.push(format!("{program}: the table does not know the module {module}"));
            continue;
        };
        // What stands under `#[cfg(test)]` at a file's end is a test too.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for used in crate_uses(code) {
            if used != module && !allowed.contains(&used.as_str()) {
                faults.push(format!("{program}: {} may not use crate::{used}", within.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn proto_modules_use_only_what_the_table_lets_them() {
    assert_edges(
        "proto",
        &[
            ("id", &[]),
            ("invitation", &["id"]),
            ("exposition", &[]),
            ("limits", &["v1"]),
            ("reading", &["v1"]),
            ("batch", &["limits", "reading", "v1"]),
            ("births", &["id", "limits", "reading", "v1"]),
            ("record", &["id", "limits", "v1"]),
        ],
    );
}

#[test]
fn gateway_modules_use_only_what_the_table_lets_them() {
    assert_edges(
        "gateway",
        &[
            ("main", &[]),
            ("cli", &["clock", "config", "driver", "health", "identity", "pipeline", "spool", "tag", "uplink"]),
            ("pipeline", &["clock", "config", "driver", "health", "http", "identity", "spool", "tag", "uplink"]),
            // The path. A driver never sees the spool, and the spool sees opaque bytes.
            ("driver", &["clock", "config", "health"]),
            ("tag", &["config", "driver"]),
            ("spool", &[]),
            ("uplink", &["clock", "identity", "spool"]),
            // Beside it.
            ("config", &[]),
            ("clock", &[]),
            // Nothing without the feature of this name.
            ("failpoint", &[]),
            ("identity", &[]),
            ("health", &["clock", "config"]),
            ("http", &["clock", "health"]),
        ],
    );
}

#[test]
fn ingest_modules_use_only_what_the_table_lets_them() {
    assert_edges(
        "ingest",
        &[
            ("main", &[]),
            ("cli", &["admin", "alert", "audit", "client", "config", "consent", "fleet", "id", "run", "store", "time"]),
            // The other end of the API, for people who are not on the service's host.
            ("client", &["id"]),
            (
                "run",
                &[
                    "access",
                    "admin",
                    "alert",
                    "api",
                    "audit",
                    "auth",
                    "ca",
                    "config",
                    "console",
                    "disk",
                    "enrollment",
                    "fleet",
                    "metrics",
                    "notary",
                    "retention",
                    "session",
                    "store",
                    "time",
                    "witness",
                ],
            ),
            // The path. Who answers questions never sees the store: `access` is the only door.
            ("session", &["auth", "ca", "disk", "fleet", "id", "metrics", "store", "time"]),
            ("enrollment", &["audit", "auth", "ca", "fleet", "session", "store", "time"]),
            ("store", &["audit", "auth", "consent", "fleet", "id", "retention", "time"]),
            ("access", &["audit", "auth", "consent", "fleet", "id", "metrics", "notary", "store", "time"]),
            ("api", &["access", "auth", "consent", "id", "metrics", "time"]),
            ("console", &["access", "auth", "consent", "id", "time"]),
            // What is decided and remembered: pure.
            ("consent", &["id", "time"]),
            ("audit", &[]),
            ("fleet", &["time"]),
            // Told, once: rules over the fleet.
            ("alert", &["client", "fleet", "metrics", "store", "time"]),
            // Beside the path.
            (
                "admin",
                &[
                    "access", "alert", "audit", "auth", "ca", "consent", "fleet", "id", "notary", "session", "store",
                    "time", "witness",
                ],
            ),
            ("witness", &["audit", "metrics", "store"]),
            ("notary", &["audit", "store", "time"]),
            ("ca", &["auth", "config", "time"]),
            ("auth", &["consent", "id", "store", "time"]),
            ("config", &["alert", "disk", "fleet", "retention", "time"]),
            ("disk", &[]),
            ("retention", &["time"]),
            // Nothing without the feature of this name.
            ("failpoint", &[]),
            ("id", &[]),
            ("metrics", &["fleet", "store"]),
            ("time", &[]),
        ],
    );
}

/// What would send a machine anything but a question for values.
#[test]
fn the_gateway_holds_nothing_that_writes_to_a_machine() {
    const WRITES: [&str; 9] = [
        "write_single_coil",
        "write_single_register",
        "write_multiple_coils",
        "write_multiple_registers",
        "masked_write_register",
        "read_write_multiple_registers",
        "Request::Custom",
        ".publish(",
        "LastWill",
    ];
    for (path, text) in sources(&root().join("gateway/src/driver")) {
        for write in WRITES {
            assert!(path.ends_with("tests.rs") || !text.contains(write), "{} holds `{write}`", path.display());
        }
    }
}

/// One function can publish, and its topic is that of a Sparkplug node's commands: which of
/// them, `sandan_gateway::driver::message::Rebirth` says and nobody else.
#[test]
fn the_gateway_can_publish_a_rebirth_request_and_nothing_else() {
    let calls = |text: &str| text.lines().filter(|line| line.contains("publish(")).count();
    let found: Vec<_> = sources(&root().join("gateway/src"))
        .into_iter()
        .filter(|(path, text)| !path.ends_with("tests.rs") && calls(text) > 0)
        .map(|(path, text)| (path.strip_prefix(root().join("gateway/src")).unwrap().to_owned(), text))
        .filter(|(path, _)| path.starts_with("driver"))
        .collect();
    let [(path, text)] = &found[..] else { panic!("not one file publishes: {found:?}") };
    assert_eq!(path, Path::new("driver/mqtt/client.rs"));
    let (before, one) = text.split_once("fn ask_for_rebirth(&self, node: &Rebirth)").unwrap();
    let (one, after) = one.split_once("\nimpl Events").unwrap();
    assert_eq!((calls(before), calls(one), calls(after)), (0, 2, 0), "MQTT 3.1.1 and 5, in one function");
    assert_eq!(one.matches("node.topic()").count(), 1);
    let message = std::fs::read_to_string(root().join("gateway/src/driver/message.rs")).unwrap();
    assert_eq!(message.matches("spBv1.0/{}/NCMD/{}").count(), 1);
}

#[test]
fn main_fits_on_a_page_and_files_have_one_name() {
    /// Lines of a `main.rs`.
    const MAIN: usize = 100;
    /// A file over about 500 lines is looking for its second name; this is where it must have found it.
    const FILE: usize = 600;
    let mut faults = Vec::new();
    for program in ["proto", "gateway", "ingest", "tests"] {
        for (path, text) in sources(&root().join(program)) {
            let limit = if path.ends_with("src/main.rs") { MAIN } else { FILE };
            let lines = text.lines().count();
            if lines > limit {
                faults.push(format!("{} has {lines} lines, above {limit}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for program in ["proto", "gateway", "ingest", "tests"] {
        let manifest = std::fs::read_to_string(root().join(program).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{program} has lints of its own");
    }
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
}

/// A program that is shipped has no step at which a test could end it.
#[test]
fn failpoints_are_in_no_program_but_the_tests() {
    for program in ["gateway", "ingest"] {
        let manifest = std::fs::read_to_string(root().join(program).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("\nfail = { workspace = true, optional = true }\n"), "{program} always has `fail`");
        assert!(!manifest.contains("default ="), "{program} has default features, maybe failpoints among them");
        for (path, text) in sources(&root().join(program).join("src")) {
            let is_mechanism = path.ends_with("failpoint.rs");
            assert!(is_mechanism || !text.contains("fail::"), "{} uses `fail` past the macros", path.display());
        }
    }
    // Features are united over what one command builds: no shipped program in one command
    // with the tests.
    let mut checked = 0;
    for name in ["README.md", "README.ko.md", "tests/bench/gateway.sh", "configs/packaging/release.sh"] {
        let text = std::fs::read_to_string(root().join(name)).unwrap().replace("\\\n", " ");
        for line in text.lines().filter(|line| line.contains("cargo build")) {
            let ships = line.contains("--release") || line.contains("--profile");
            let alone = line.contains("-p sandan-gateway") || line.contains("-p sandan-ingest");
            assert!(!ships || !line.contains("-p sandan-tests") || !alone, "{name} mixes tests into `{line}`");
            checked += 1;
        }
    }
    assert!(checked > 1, "the build commands are not where they were");
}

#[test]
fn every_example_configuration_is_accepted() {
    let mut checked = 0;
    for entry in std::fs::read_dir(root().join("configs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The metric dictionary is no example: the gateway holds it and tests it.
        if name == "metrics.toml" {
            continue;
        }
        // An example names files that an installation has: a token, certificates.
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join(&name);
        std::fs::copy(&path, &copy).unwrap();
        let copy = copy.to_string_lossy();
        let ended = match name.split(['.', '-']).next() {
            Some("gateway") => programs().run("sandan-gateway", &["check", &copy]),
            Some("ingest") => programs().run("sandan-ingest", &["--config", &copy, "check"]),
            _ => panic!("whose configuration is {name}?"),
        };
        let ended = ended.unwrap();
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        checked += 1;
    }
    assert!(checked >= 2, "only {checked} example configurations");
}
