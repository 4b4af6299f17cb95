//! Which values pass.

use proptest::prelude::*;

use super::*;
use crate::config::{Change, Publish};

const SECOND: i64 = 1_000_000;

/// Runs raw values of one signal through, a second apart; gives the seconds that passed.
fn passed(publish: &str, raws: &[Raw]) -> Vec<i64> {
    let (_, mut tags) = tags_with(&format!("metric = \"x_a\", at = \"holding:0\", type = \"i16\", {publish}"));
    let mut seconds = Vec::new();
    for (at_us, raw) in (0..).step_by(1_000_000).zip(raws) {
        for (at, value, quality) in applied(&mut tags, at_us, raw) {
            assert_eq!(at, at_us);
            assert_eq!(value.value_type(), ValueType::I64, "a series has one type, also when it is bad");
            assert!(quality == Quality::GOOD || value == Value::I64(0));
            seconds.push(at / SECOND);
        }
    }
    seconds
}

fn words(values: &[i16]) -> Vec<Raw> {
    values.iter().copied().map(word).collect()
}

#[test]
fn what_passes() {
    let flat = words(&[5; 8]);
    assert_eq!(passed("interval = \"1s\"", &flat), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(passed("on_change = true", &flat), [0]);
    assert_eq!(passed("on_change = true, heartbeat = \"3s\"", &flat), [0, 3, 6], "one a heartbeat, never later");
    assert_eq!(passed("on_change = true", &words(&[1, 1, 2, 2, 1])), [0, 2, 4]);
    let drift = words(&[0, 4, -4, 5, 8, 10, 1]);
    assert_eq!(passed("deadband = 5", &drift), [0, 3, 5, 6], "against the last that passed, not the last that came");
    assert_eq!(passed("deadband = 5, heartbeat = \"2s\"", &words(&[0; 5])), [0, 2, 4]);
}

#[test]
fn a_change_of_quality_always_passes_and_a_repeated_fault_does_not() {
    let mut raws = words(&[5, 5, 5, 5, 5, 5]);
    raws[1] = Raw::Failed(Quality::BAD_NO_ANSWER);
    raws[2] = Raw::Failed(Quality::BAD_NO_ANSWER);
    raws[3] = Raw::Failed(Quality::BAD_EXCEPTION);
    assert_eq!(passed("on_change = true", &raws), [0, 1, 3, 4]);
    assert_eq!(passed("deadband = 100", &raws), [0, 1, 3, 4]);
    assert_eq!(passed("interval = \"1s\"", &raws), [0, 1, 3, 4, 5]);
}

#[test]
fn the_deadbands_of_per_cent() {
    let of_value = "deadband_percent_of_value = 10";
    assert_eq!(passed(of_value, &words(&[100, 109, 110, 120, 121, 0, 0, 1])), [0, 2, 4, 5, 7]);
    // A tenth of 500.
    let of_range = "valid_range = [-100, 400], deadband_percent_of_range = 10";
    assert_eq!(passed(of_range, &words(&[0, 49, 50, 1, 0])), [0, 2, 4]);
}

/// Values of one signal at these times, with a look for what is due before each.
fn through(publish: Publish, seen: impl IntoIterator<Item = (i64, f64, Quality)>) -> Vec<(i64, f64)> {
    let mut gate = Gate::new(publish, Duration::from_secs(1));
    let mut passed = Vec::new();
    for (at_us, value, quality) in seen {
        passed.extend(gate.due(at_us));
        passed.extend(gate.take(Seen { at_us, value: Value::F64(value), quality }));
    }
    passed.extend(gate.close());
    passed.into_iter().map(|seen| (seen.at_us, seen.value.as_f64().unwrap())).collect()
}

const fn publish(change: Change, heartbeat: Option<Duration>, min_interval: Duration) -> Publish {
    Publish { change, heartbeat, min_interval }
}

#[test]
fn a_change_that_comes_too_early_is_written_when_its_time_has_come() {
    let rare = publish(Change::Any, Some(Duration::from_mins(1)), Duration::from_secs(10));
    let good = Quality::GOOD;
    // At 12 s the value of 3 s is due; the one of 2 s was replaced by it.
    let seen = [(0, 1.0, good), (2 * SECOND, 2.0, good), (3 * SECOND, 3.0, good), (12 * SECOND, 3.0, good)];
    assert_eq!(through(rare, seen), [(0, 1.0), (3 * SECOND, 3.0)]);
    // What came back is no change.
    let seen = [(0, 1.0, good), (2 * SECOND, 2.0, good), (3 * SECOND, 1.0, good), (12 * SECOND, 1.0, good)];
    assert_eq!(through(rare, seen), [(0, 1.0)]);
    // A stop does not lose it, and a fault does not wait.
    let seen = [(0, 1.0, good), (2 * SECOND, 2.0, good)];
    assert_eq!(through(rare, seen), [(0, 1.0), (2 * SECOND, 2.0)]);
    let seen = [(0, 1.0, good), (SECOND, 0.0, Quality::BAD_NO_ANSWER), (2 * SECOND, 1.0, good)];
    assert_eq!(through(rare, seen), [(0, 1.0), (SECOND, 0.0), (2 * SECOND, 1.0)]);
}

#[test]
fn a_poll_that_jitters_keeps_its_rate_under_a_least_interval() {
    let rare = publish(Change::None, None, Duration::from_secs(5));
    // A millisecond early, a millisecond late, for 100 s.
    let seen = (0..100).map(|second| (second * SECOND + second % 3 * 1_000 - 1_000, 1.0, Quality::GOOD));
    let passed = through(rare, seen);
    let mut spacings = passed.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(passed.len() == 20 || passed.len() == 21, "{passed:?}");
    assert!(spacings.all(|spacing| (4 * SECOND..=5 * SECOND + 5_000).contains(&spacing)), "{passed:?}");
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![Just(Change::Any), (0.01..20.0).prop_map(Change::By), (0.001..0.5).prop_map(Change::ByShare),]
}

/// A signal that wanders, jumps, stands and sometimes fails.
fn signals() -> impl Strategy<Value = Vec<(f64, Quality)>> {
    let step = prop_oneof![4 => -1.0..1.0, 2 => Just(0.0), 1 => -100.0..100.0];
    let quality = prop_oneof![
        12 => Just(Quality::GOOD),
        1 => Just(Quality::BAD_NO_ANSWER),
        1 => Just(Quality::UNCERTAIN_IMPLAUSIBLE),
    ];
    prop::collection::vec((step, quality), 1..200).prop_map(|steps| {
        let mut level = 0.0;
        let walk = steps.into_iter().map(move |(step, quality): (f64, Quality)| {
            level += step;
            (level, quality)
        });
        walk.collect()
    })
}

proptest! {
    #[test]
    fn the_signal_that_is_held_is_never_off_by_a_deadband(
        change in changes(), walk in signals(), heartbeat in 2u64..30, least in 0u64..8,
    ) {
        let heartbeat = Duration::from_secs(heartbeat.max(least));
        let least_us = i64::try_from(least).unwrap() * SECOND;
        let mut gate = Gate::new(publish(change, Some(heartbeat), Duration::from_secs(least)), Duration::from_secs(1));
        let mut held: Option<Seen> = None;
        let mut opens = i64::MIN;
        for (at_us, (value, quality)) in (0..).step_by(1_000_000).zip(walk) {
            if let Some(due) = gate.due(at_us) {
                held = Some(due);
                opens += least_us;
            }
            if let Some(passed) = gate.take(Seen { at_us, value: Value::F64(value), quality }) {
                held = Some(passed);
                opens = at_us + least_us;
            }
            let Some(Seen { value: Value::F64(last), quality: said, at_us: since }) = held else {
                return Err(TestCaseError::fail("the first one passes"));
            };
            prop_assert_eq!(said, quality, "a change of quality waits for nothing");
            if quality.is_bad() || at_us < opens {
                continue;
            }
            let off = (value - last).abs();
            let is_within = match change {
                Change::None | Change::Any => off == 0.0,
                Change::By(width) => off < width,
                Change::ByShare(share) => off == 0.0 || off < share * last.abs(),
            };
            prop_assert!(is_within, "{value} is held as {last} under {change:?}");
            prop_assert!(at_us - since <= micros(heartbeat), "silent since {since} at {at_us}");
        }
    }

    #[test]
    fn least_intervals_bound_the_rate(walk in signals(), least in 2u64..10) {
        let least = Duration::from_secs(least);
        let seen = (0..).step_by(1_000_000).zip(&walk).map(|(at_us, (value, _))| (at_us, *value, Quality::GOOD));
        let passed = through(publish(Change::None, None, least), seen);
        let most = walk.len() as u64 / least.as_secs() + 2;
        prop_assert!(passed.len() as u64 <= most, "{} of {} passed", passed.len(), walk.len());
    }
}
