//! `docs/security.md`: what it promises, it names a test for, in both languages the same.

use std::collections::BTreeSet;
use std::path::Path;

use crate::docs::{headings, read, root};

/// Names in backticks of the last cell of each row of the tables whose last column names tests.
pub(crate) fn named_tests(text: &str, column: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut in_table = false;
    for line in text.lines() {
        let Some(inner) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
            in_table = false;
            continue;
        };
        let last = inner.rsplit(" | ").next().unwrap();
        if last == column {
            in_table = true;
        } else if in_table && !last.starts_with("---") {
            let names: Vec<_> = last.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            assert!(!names.is_empty(), "no test stands behind: {line}");
            rows.push(names);
        }
    }
    rows
}

fn tests_below(dir: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                // A case of the conformance suite is a test of each engine: one that is not in its
                // list is dead code, which no build lets through.
                let is_case =
                    line.contains("async fn ") && (line.contains("<E: Engine>()") || line.contains("(on: Engine)"));
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    is_test = true;
                } else if let Some((_, name)) =
                    line.split_once("fn ").filter(|_| is_test || is_case || in_proptest(&text, line))
                {
                    into.insert(name.split(['(', '<']).next().unwrap().to_owned());
                    is_test = false;
                }
            }
        }
    }
}

/// Properties carry `#[test]` too, but for those of a macro that adds it.
fn in_proptest(text: &str, line: &str) -> bool {
    text.contains("proptest!") && line.starts_with("fn ") && line.contains(" in ")
}

/// The names of all tests.
pub(crate) fn known_tests() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for part in ["proto/src", "gateway/src", "gateway/tests", "ingest/src", "ingest/tests", "tests/src", "tests/e2e"] {
        tests_below(&root().join(part), &mut known);
    }
    known
}

#[test]
fn every_promise_of_the_security_page_names_tests_that_exist() {
    let known = known_tests();
    let (english, korean) = (read("docs/security.md"), read("docs/security.ko.md"));
    let rows = named_tests(&english, "test");
    assert!(rows.len() > 30, "only {} promises were found", rows.len());
    for name in rows.iter().flatten() {
        assert!(known.contains(name), "there is no test `{name}`");
    }
    assert_eq!(named_tests(&korean, "시험"), rows, "the languages name different tests");
    assert_eq!(headings(&english), headings(&korean), "the sections differ");
}
