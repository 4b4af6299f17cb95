//! Resets and wraps.

use proptest::prelude::*;

use super::*;

/// How far a counter has gone on, as whoever stores its readings makes it out.
fn increase(readings: &[(i64, Value, Quality)], wrap: Option<f64>) -> f64 {
    let steps = readings.windows(2).map(|pair| {
        let [before, now] = [&pair[0], &pair[1]].map(|reading| reading.1.as_f64().unwrap());
        match pair[1].2 {
            Quality::GOOD_COUNTER_RESET => now,
            Quality::GOOD_COUNTER_WRAP => now + wrap.unwrap() - before,
            _ => now - before,
        }
    });
    steps.sum()
}

fn counter(kind: &str, more: &str) -> (Config, Tags) {
    tags_with(&format!("metric = \"x_count\", counter = true, at = \"holding:0\", type = \"{kind}\"{more}"))
}

fn raw(count: u64) -> Raw {
    let [low, high] = [count, count >> 16].map(|word| u16::try_from(word & 0xffff).unwrap());
    Raw::Words(if count > 0xffff { [high, low, 0, 0] } else { [low, 0, 0, 0] })
}

/// Both words of a u32, also where the high one is 0.
fn wide(count: u64) -> Raw {
    let [low, high] = [count, count >> 16].map(|word| u16::try_from(word & 0xffff).unwrap());
    Raw::Words([high, low, 0, 0])
}

#[test]
fn a_step_down_is_a_reset_or_at_the_end_of_the_register_a_wrap() {
    let (_, mut tags) = counter("u16", ", on_change = true");
    let counts = [10, 20, 5, 65_000, 65_530, 3, 4];
    let marks: Vec<_> =
        (0..).zip(counts).flat_map(|(at, count)| applied(&mut tags, at, &raw(count))).map(|(.., mark)| mark).collect();
    let (good, reset, wrap) = (Quality::GOOD, Quality::GOOD_COUNTER_RESET, Quality::GOOD_COUNTER_WRAP);
    assert_eq!(marks, [good, good, reset, good, good, wrap, good]);

    // Also over a time without contact.
    applied(&mut tags, 100, &Raw::Failed(Quality::BAD_NO_ANSWER));
    assert_eq!(applied(&mut tags, 101, &raw(2)), [(101, Value::I64(2), reset)]);
}

#[test]
fn where_a_counter_wraps_stands_in_its_births() {
    let wrap = |kind: &str, more: &str| counter(kind, more).0.births().series[0].wrap;
    assert_eq!(wrap("u16", ""), Some(65_536.0));
    assert_eq!(wrap("u32", ", scale = 0.1"), Some(429_496_729.6));
    assert_eq!(wrap("u16", ", mask = 0x0FF0"), Some(256.0));
    assert_eq!(wrap("bcd16", ""), Some(10_000.0));
    assert_eq!(wrap("u32", ", wrap = 1000000"), Some(1e6), "a meter of six digits");
    assert_eq!(wrap("u64", ""), None);
    assert_eq!(wrap("f32", ""), None);
    assert_eq!(wrap("i16", ""), None);
    // As with a deadband, in the unit that is written; the dictionary's is kWh.
    let energy = "metric = \"active_energy\", unit = \"Wh\", at = \"holding:0\", type = \"u32\", wrap = 1000000";
    assert_eq!(tags_with(energy).0.births().series[0].wrap, Some(1e3));
}

#[test]
fn a_deadband_keeps_no_mark_back() {
    let (_, mut tags) = counter("u16", ", deadband = 1000");
    let counts = [100, 200, 90];
    let passed: Vec<_> = (0..).zip(counts).flat_map(|(at, count)| applied(&mut tags, at, &raw(count))).collect();
    assert_eq!(passed.last(), Some(&(2, Value::I64(90), Quality::GOOD_COUNTER_RESET)));
}

proptest! {
    #[test]
    fn a_wrap_gives_the_right_increase(
        start in 0u64..1 << 32,
        steps in prop::collection::vec(0u64..1 << 14, 1..100),
        is_wide: bool,
        deadband in 1u64..20_000,
    ) {
        // Up to a quarter of the register's range from one poll to the next.
        let (kind, bits, by) = if is_wide { ("u32", 32, 1 << 16) } else { ("u16", 16, 1) };
        let range = 1u64 << bits;
        let deadband = deadband * by;
        let (config, mut tags) = counter(kind, &format!(", deadband = {deadband}"));
        let mut count = start % range;
        let mut readings = applied(&mut tags, 0, &if is_wide { wide(count) } else { raw(count) });
        let (first, mut last) = (count, count);
        for (at_us, step) in (1..).zip(steps) {
            count += step * by;
            let told = count % range;
            let emitted = applied(&mut tags, at_us, &if is_wide { wide(told) } else { raw(told) });
            if !emitted.is_empty() {
                last = count;
            }
            readings.extend(emitted);
        }
        prop_assert!(readings.iter().all(|reading| reading.2 != Quality::GOOD_COUNTER_RESET));
        let wrap = config.births().series[0].wrap;
        #[allow(clippy::float_cmp, reason = "whole numbers below 2^53")]
        let is_right = increase(&readings, wrap) == (last - first) as f64;
        prop_assert!(is_right, "{} where it went from {first} to {last}", increase(&readings, wrap));
    }
}
