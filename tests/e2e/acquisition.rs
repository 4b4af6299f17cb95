//! `docs/acquisition.md`: what others suffer from, each with a test that is there, in both
//! languages the same; and the page of the simulated plant.

use crate::docs::{headings, read};
use crate::security::{known_tests, named_tests};

#[test]
fn every_pain_of_the_acquisition_page_names_tests_that_exist() {
    let known = known_tests();
    let (english, korean) = (read("docs/acquisition.md"), read("docs/acquisition.ko.md"));
    let rows = named_tests(&english, "test");
    assert_eq!(rows.len(), 19, "a line for each that is known");
    for name in rows.iter().flatten() {
        assert!(known.contains(name), "there is no test `{name}`");
    }
    assert_eq!(named_tests(&korean, "시험"), rows, "the languages name different tests");
    assert_eq!(headings(&english), headings(&korean), "the sections differ");
}

#[test]
fn the_page_of_the_simulated_plant_has_the_same_keys_in_both_languages() {
    let (english, korean) = (read("docs/plcsim.md"), read("docs/plcsim.ko.md"));
    assert_eq!(headings(&english), headings(&korean), "the sections differ");
    let keys = |text: &str| {
        let rows = text.lines().filter(|line| line.starts_with("| `"));
        rows.map(|line| line.split(" | ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(keys(&english).len() > 15);
    assert_eq!(keys(&english), keys(&korean));
}
