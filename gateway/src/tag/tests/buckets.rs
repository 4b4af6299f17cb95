//! One reading for many values.

use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000;
/// The last millisecond of the first ten seconds.
const END: i64 = 10 * SECOND - 1_000;

fn every_ten_seconds(kind: &str, function: &str) -> (Config, Tags) {
    let upload = format!("upload = {{ every = \"10s\"{function} }}");
    tags_with(&format!("metric = \"x_level\", at = \"holding:0\", type = \"{kind}\", {upload}"))
}

/// Values of one second each, from a second on.
fn run(tags: &mut Tags, from: i64, values: &[i16]) -> Vec<(i64, Value, Quality)> {
    (from..).zip(values).flat_map(|(second, value)| applied(tags, second * SECOND, &word(*value))).collect()
}

#[test]
fn a_bucket_gives_one_reading_at_its_end() {
    let mut values: Vec<i16> = (1..=10).collect();
    values.push(99);
    for (function, value) in [
        ("", Value::F64(5.5)),
        (", function = \"mean\"", Value::F64(5.5)),
        (", function = \"min\"", Value::I64(1)),
        (", function = \"max\"", Value::I64(10)),
        (", function = \"last\"", Value::I64(10)),
    ] {
        let (config, mut tags) = every_ten_seconds("i16", function);
        assert_eq!(run(&mut tags, 0, &values), [(END, value.clone(), Quality::GOOD)], "{function}");
        assert_eq!(config.births().series[0].value_type, value.value_type(), "{function}");
        assert_eq!(config.births().series[0].expected_interval_ms, 10_000);
    }
}

#[test]
fn counters_and_states_give_their_last_value() {
    let upload = "upload = { every = \"10s\" }";
    let counter = format!("metric = \"part_count\", at = \"holding:0\", type = \"u16\", {upload}");
    let state = format!("metric = \"x_on\", at = \"coil:9\", {upload}");
    for (signal, value_type) in [(counter, ValueType::I64), (state, ValueType::Bool)] {
        let (config, _) = tags_with(&signal);
        assert!(matches!(config.signals[0].upload, Upload::Bucketed { function: crate::config::Function::Last, .. }));
        assert_eq!(config.births().series[0].value_type, value_type);
    }
}

#[test]
fn edges_lie_on_the_wall_clock_of_the_start() {
    let (config, _) = every_ten_seconds("i16", "");
    // The boot clock is at 0 when the wall clock is at …7 s.
    let mut tags = Tags::new(&config, 1_700_000_007 * SECOND);
    let emitted = run(&mut tags, 3, &[1; 11]);
    assert_eq!(emitted, [(13 * SECOND - 1_000, Value::F64(1.0), Quality::GOOD)]);
}

#[test]
fn a_bucket_that_was_not_seen_whole_says_so() {
    // It begins in the middle of one.
    let (_, mut tags) = every_ten_seconds("i16", "");
    let emitted = run(&mut tags, 5, &[3; 16]);
    let [first, second] = [0, 1].map(|index| emitted[index].2);
    assert_eq!((first, second), (Quality::UNCERTAIN_PARTIAL, Quality::GOOD));

    // A value of it is bad, and the signal was so until the middle of the next one.
    let (_, mut tags) = every_ten_seconds("i16", "");
    run(&mut tags, 0, &[1, 3]);
    applied(&mut tags, 2 * SECOND, &Raw::Failed(Quality::BAD_NO_ANSWER));
    let emitted = run(&mut tags, 15, &[7; 16]);
    assert_eq!(emitted[0], (END, Value::F64(2.0), Quality::UNCERTAIN_PARTIAL));
    assert_eq!(emitted[1].2, Quality::UNCERTAIN_PARTIAL);
    assert_eq!((emitted[2].2, emitted.len()), (Quality::GOOD, 3));

    // None can be used: one bad reading, and no more while it lasts.
    let (_, mut tags) = every_ten_seconds("i16", "");
    let mut emitted = Vec::new();
    for second in 0..45 {
        emitted.extend(applied(&mut tags, second * SECOND, &Raw::Failed(Quality::BAD_EXCEPTION)));
    }
    assert!(matches!(emitted[..], [(END, Value::F64(_), Quality::BAD_EXCEPTION)]), "{emitted:?}");
}

#[test]
fn an_uncertain_value_or_a_reset_shows_on_its_bucket() {
    let upload = "upload = { every = \"10s\" }";
    let (_, mut tags) =
        tags_with(&format!("metric = \"ambient_humidity\", at = \"holding:0\", type = \"i16\", {upload}"));
    let emitted = run(&mut tags, 0, &[50, 50, 500, 50, 50, 50, 50, 50, 50, 50, 50]);
    assert_eq!(emitted[0].2, Quality::UNCERTAIN_IMPLAUSIBLE);
    let (_, mut tags) =
        tags_with(&format!("metric = \"x_n\", counter = true, at = \"holding:0\", type = \"u16\", {upload}"));
    let emitted = run(&mut tags, 0, &[50, 60, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(emitted, [(END, Value::I64(8), Quality::GOOD_COUNTER_RESET)]);
}

#[test]
fn a_bucket_that_no_value_ends_is_ended_by_time_and_by_nothing_else() {
    let (_, mut tags) = every_ten_seconds("i16", "");
    run(&mut tags, 0, &[4, 6]);
    let due = |tags: &mut Tags, now_us| {
        let mut emitted = Vec::new();
        tags.tick(now_us, &mut |_, at, value, _| emitted.push((at, value)));
        emitted
    };
    assert_eq!(due(&mut tags, 11 * SECOND), [], "a reply may be on its way");
    assert_eq!(due(&mut tags, 12 * SECOND), [(END, Value::F64(5.0))]);
    assert_eq!(due(&mut tags, 60 * SECOND), []);
    assert_eq!(run(&mut tags, 9, &[1]), [], "too late, and not a second reading of one bucket");
    run(&mut tags, 30, &[4]);
    tags.close(&mut |_, _, _, _| panic!("half a bucket is more than the policy lets out"));
}

proptest! {
    #[test]
    fn there_is_at_most_one_reading_a_bucket(
        seconds in prop::collection::vec((0i64..200, -100i16..100, prop::bool::weighted(0.1)), 1..300),
        ticks in prop::collection::vec(0i64..200, 0..20),
    ) {
        let (_, mut tags) = every_ten_seconds("i16", ", function = \"max\"");
        let mut emitted = Vec::new();
        let mut ticks = ticks.into_iter();
        for (second, value, fails) in seconds {
            let raw = if fails { Raw::Failed(Quality::BAD_NO_ANSWER) } else { word(value) };
            emitted.extend(applied(&mut tags, second * SECOND, &raw));
            if let Some(tick) = ticks.next() {
                tags.tick(tick * SECOND, &mut |_, at, value, quality| emitted.push((at, value, quality)));
            }
        }
        tags.close(&mut |_, at, value, quality| emitted.push((at, value, quality)));
        let buckets: Vec<_> = emitted.iter().map(|reading| reading.0).collect();
        prop_assert!(buckets.is_sorted_by(|one, next| one < next), "{buckets:?}");
        prop_assert!(buckets.iter().all(|at| (at + 1_000) % (10 * SECOND) == 0));
    }
}
