//! From one configuration to another.

use super::*;

/// The example with these rows at the head of the first device's signals.
fn with(rows: &str) -> Config {
    example(|text| {
        let (before, rest) = text.split_once("    { name = \"tonnage\"").unwrap();
        format!("{before}{rows}\n{}", rest.split_once('\n').unwrap().1)
    })
}

fn row(name: &str, more: &str) -> String {
    format!("    {{ name = \"{name}\", metric = \"x_{name}\", at = \"holding:0\", type = \"i16\", {more} }},\n")
}

/// What a value of a signal makes the tags emit, by the number that its driver knows.
fn emitted(tags: &mut Tags, source: usize, signal: u32, at_us: i64, value: i16) -> Vec<(u32, Value)> {
    let reply = Reply {
        source,
        ticket: 1,
        at_us,
        readings: vec![Reading::new(signal, word(value))],
        delivery: None,
        dead: None,
    };
    let mut emitted = Vec::new();
    tags.apply(&reply, &mut |series, _, value, _| emitted.push((series, value)));
    emitted
}

#[test]
fn a_driver_that_goes_on_keeps_its_numbers_and_a_signal_what_was_seen() {
    let rows = row("a", "on_change = true") + &row("b", "on_change = true");
    let old = with(&rows);
    // One row before them, and `b` with another deadband.
    let new = with(&(row("c", "on_change = true") + &row("a", "on_change = true") + &row("b", "deadband = 5")));
    let places: Vec<_> = (0..u32::try_from(old.signals.len()).unwrap()).map(|index| Some(index + 1)).collect();
    let mut tags = Tags::new(&old, 0);
    assert_eq!(emitted(&mut tags, 0, 0, 0, 7), [(0, Value::I64(7))]);
    assert_eq!(emitted(&mut tags, 0, 1, 0, 7), [(1, Value::I64(7))]);
    tags.go_over(&old, &new, &places, &[0], &mut |_, _, _, _| panic!("nothing waits"));
    assert_eq!(emitted(&mut tags, 0, 0, 1, 7), [], "`a` has not changed");
    assert_eq!(emitted(&mut tags, 0, 0, 2, 8), [(1, Value::I64(8))], "and is the second series now");
    assert_eq!(emitted(&mut tags, 0, 1, 2, 7), [(2, Value::I64(7))], "`b` means something else: its first passes");
    assert_eq!(emitted(&mut tags, 9, 0, 2, 1), [(0, Value::I64(1))], "a new driver knows the new numbers");

    // And back, with `a` gone: the driver's numbers are still those of its begin.
    let last = with(&row("b", "deadband = 5"));
    let places: Vec<_> = [None, None, Some(0)].into_iter().chain((1..).map(Some)).take(new.signals.len()).collect();
    tags.go_over(&new, &last, &places, &[0], &mut |_, _, _, _| panic!("nothing waits"));
    assert_eq!(emitted(&mut tags, 0, 0, 3, 100), []);
    assert_eq!(emitted(&mut tags, 0, 1, 3, 8), [], "within the deadband");
    assert_eq!(emitted(&mut tags, 0, 1, 4, 12), [(0, Value::I64(12))]);
}

#[test]
fn what_waits_in_a_signal_that_goes_is_emitted() {
    let old = with(&row("a", "min_interval = \"10s\""));
    let new = with(&row("b", "min_interval = \"10s\""));
    let mut tags = Tags::new(&old, 0);
    emitted(&mut tags, 0, 0, 0, 1);
    assert_eq!(emitted(&mut tags, 0, 0, 1_000_000, 2), []);
    let places = vec![None; old.signals.len()];
    let mut waited = Vec::new();
    tags.go_over(&old, &new, &places, &[], &mut |series, at, value, _| waited.push((series, at, value)));
    assert_eq!(waited, [(0, 1_000_000, Value::I64(2))]);
}
