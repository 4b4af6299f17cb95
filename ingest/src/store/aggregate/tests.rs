//! Joining and folding against the definitions said anew, as plainly as possible.

use proptest::prelude::*;

use super::*;
use crate::consent::Grid;
use crate::store::Bucket;

const S: i64 = 1_000_000;

/// Time and value; none where it is bad.
type Reading = (i64, Option<f64>);

fn rules(hold_us: i64) -> Rules {
    Rules { hold_us, time_mean: true, increase: true, durations: true }
}

/// All of `readings` pushed one by one, or piece by piece where `cuts` says that one goes on.
fn folded(readings: &[Reading], grid: &Grid, rules: Rules, range: (i64, i64), joined: &[bool]) -> Vec<Bucket> {
    let mut fold = Fold::new(0, grid.clone(), rules, range.0);
    let mut buckets = Vec::new();
    let mut piece: Option<Stats> = None;
    for (index, &(time_us, value)) in readings.iter().enumerate() {
        let next = Stats::of(time_us, value);
        let goes_on = piece.is_some_and(|piece| grid.bucket(piece.from_us) == grid.bucket(time_us));
        match &mut piece {
            Some(piece) if goes_on && joined[index % joined.len()] => piece.join(&next, rules.hold_us),
            _ => {
                if let Some(whole) = piece.replace(next) {
                    fold.push_stats(&whole);
                    buckets.extend(std::iter::from_fn(|| fold.pop()));
                }
            }
        }
    }
    if let Some(whole) = piece {
        fold.push_stats(&whole);
        buckets.extend(std::iter::from_fn(|| fold.pop()));
    }
    fold.end(range.1);
    buckets.extend(std::iter::from_fn(|| fold.pop()));
    buckets
}

fn folded_by_reading(readings: &[(i64, Option<Value>)], grid: &Grid, rules: Rules, range: (i64, i64)) -> Vec<Bucket> {
    let mut fold = Fold::new(0, grid.clone(), rules, range.0);
    let mut buckets = Vec::new();
    for (time_us, value) in readings {
        fold.push(*time_us, value.as_ref());
        buckets.extend(std::iter::from_fn(|| fold.pop()));
    }
    fold.end(range.1);
    buckets.extend(std::iter::from_fn(|| fold.pop()));
    buckets
}

/// How long the value or state of reading `index` holds inside [start, end).
fn held(readings: &[Reading], index: usize, hold_us: i64, (start, end): (i64, i64)) -> i64 {
    let since = readings[index].0;
    let until = readings.get(index + 1).map_or(i64::MAX, |next| next.0).min(since + hold_us);
    (until.min(end) - since.max(start)).max(0)
}

fn plainly(readings: &[Reading], grid: &Grid, rules: Rules, range: (i64, i64)) -> Vec<Bucket> {
    let mut buckets = Vec::new();
    let mut edge = range.0;
    while edge < range.1 {
        let (start, end) = grid.bucket(edge);
        edge = end;
        let inside: Vec<f64> =
            readings.iter().filter(|it| (start..end).contains(&it.0)).filter_map(|it| it.1).collect();
        let (mut integral, mut covered_us) = (0.0, 0);
        for (index, &(_, value)) in readings.iter().enumerate() {
            if let Some(value) = value {
                let span = held(readings, index, rules.hold_us, (start, end));
                integral += value * span as f64;
                covered_us += span;
            }
        }
        let numbers: Vec<(i64, f64)> = readings.iter().filter_map(|it| it.1.map(|value| (it.0, value))).collect();
        let steps = numbers.windows(2).filter(|pair| (start..end).contains(&pair[1].0));
        let linked = steps.filter(|pair| pair[1].0 - pair[0].0 <= LINKED_US);
        let increase = linked.fold(0.0, |all, pair| all + counter_step(pair[0].1, pair[1].1));
        if inside.is_empty() && covered_us == 0 {
            continue;
        }
        buckets.push(Bucket {
            series: 0,
            start_us: start,
            end_us: end,
            count: inside.len() as u64,
            sum: inside.iter().fold(0.0, |all, value| all + value),
            min: inside.iter().copied().fold(f64::NAN, f64::min),
            max: inside.iter().copied().fold(f64::NAN, f64::max),
            first: inside.first().copied().unwrap_or(f64::NAN),
            last: inside.last().copied().unwrap_or(f64::NAN),
            integral,
            covered_us,
            increase,
            durations: Vec::new(),
        });
    }
    buckets
}

fn shown(buckets: &[Bucket]) -> Vec<String> {
    buckets.iter().map(|bucket| format!("{bucket:?}")).collect()
}

fn any_readings() -> impl Strategy<Value = Vec<Reading>> {
    let value = prop_oneof![4 => (-50_i32..70_000).prop_map(|it| Some(f64::from(it))), 1 => Just(None)];
    let step = prop_oneof![6 => 0_i64..20, 1 => 0_i64..4_000];
    prop::collection::vec((step, value), 0..60).prop_map(|steps| {
        let mut time = 0;
        let reading = |(step, value)| {
            time += step * S;
            (time, value)
        };
        steps.into_iter().map(reading).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_folded_is_what_the_definition_says(
        readings in any_readings(), width in 1_i64..300, hold in 1_i64..600,
        first in 0_i64..5, joined in prop::collection::vec(any::<bool>(), 1..9),
    ) {
        let grid = Grid::Fixed { width_us: width * S };
        let rules = Rules { durations: false, ..rules(hold * S) };
        let range = (first * width * S, (first + 40) * width * S);
        let readings: Vec<_> = readings.into_iter().filter(|it| it.0 < range.1).collect();
        let expected = shown(&plainly(&readings, &grid, rules, range));
        prop_assert_eq!(shown(&folded(&readings, &grid, rules, range, &joined)), expected.clone());
        let one_by_one: Vec<_> = readings.iter().map(|it| (it.0, it.1.map(Value::F64))).collect();
        prop_assert_eq!(shown(&folded_by_reading(&one_by_one, &grid, rules, range)), expected);
    }

    #[test]
    fn a_read_that_goes_on_at_an_edge_gives_the_rest(
        readings in any_readings(), width in 1_i64..300, hold in 1_i64..600, at in 0_usize..40,
    ) {
        let grid = Grid::Fixed { width_us: width * S };
        let rules = Rules { durations: false, ..rules(hold * S) };
        let range = (0, 60 * width * S);
        let readings: Vec<_> =
            readings.iter().filter(|it| it.0 < range.1).map(|it| (it.0, it.1.map(Value::F64))).collect();
        let whole = folded_by_reading(&readings, &grid, rules, range);
        let Some(bucket) = whole.get(at) else { return Ok(()) };
        let from_us = bucket.start_us - rules.look_back_us();
        let late: Vec<_> = readings.into_iter().filter(|it| it.0 >= from_us).collect();
        let rest = folded_by_reading(&late, &grid, rules, (bucket.start_us, range.1));
        prop_assert_eq!(shown(&rest), shown(&whole[at..]));
    }

    #[test]
    fn joining_pieces_gives_the_whole(
        readings in any_readings(), hold in 1_i64..600, cuts in prop::collection::vec(0_usize..60, 0..5),
    ) {
        let hold_us = hold * S;
        let stats: Vec<_> = readings.iter().map(|it| Stats::of(it.0, it.1)).collect();
        let joined = |stats: &[Stats]| {
            let mut stats = stats.iter();
            let mut all = *stats.next()?;
            stats.for_each(|next| all.join(next, hold_us));
            Some(all)
        };
        let mut edges: Vec<_> = cuts.into_iter().map(|cut| cut.min(stats.len())).collect();
        edges.extend([0, stats.len()]);
        edges.sort_unstable();
        let pieces: Vec<_> = edges.windows(2).filter_map(|edge| joined(&stats[edge[0]..edge[1]])).collect();
        prop_assert_eq!(format!("{:?}", joined(&pieces)), format!("{:?}", joined(&stats)));
    }

    #[test]
    fn a_sum_hardly_depends_on_the_order(values in prop::collection::vec(-1e6_f64..1e6, 1..200)) {
        let total = |values: &mut dyn Iterator<Item = &f64>| {
            let mut sum = Sum::default();
            values.for_each(|value| sum.add((value * 10.0).round() / 10.0));
            sum.high
        };
        prop_assert_eq!(total(&mut values.iter()).to_bits(), total(&mut values.iter().rev()).to_bits());
    }
}

#[test]
fn a_counter_that_falls_was_reset_or_has_overflown() {
    for (from, to, step) in [
        (10.0, 15.0, 5.0),
        (10.0, 10.0, 0.0),
        (1_000.0, 3.0, 3.0),
        (65_535.0, 0.0, 1.0),
        (65_000.0, 100.0, 636.0),
        (60_000.0, 100.0, 100.0),
        (4_294_967_295.0, 4.0, 5.0),
        (100_000.0, 5.0, 5.0),
        (12.5, 0.5, 0.5),
        (5.0, -3.0, 0.0),
        (-3.0, 5.0, 8.0),
    ] {
        assert!((counter_step(from, to) - step).abs() < 1e-9, "{from} to {to}");
    }
}

#[test]
fn states_last_until_the_next_reading_or_as_long_as_a_series_may_be_silent() {
    let text = |word: &str| Some(Value::Text(word.into()));
    let readings = [
        (5 * S, text("가동")),
        (25 * S, text("정지")),
        (27 * S, None),
        (40 * S, text("가동")),
        // Nothing more: it holds for 30 s.
    ];
    let grid = Grid::Fixed { width_us: 20 * S };
    let buckets = folded_by_reading(&readings, &grid, rules(30 * S), (0, 200 * S));
    let durations: Vec<_> = buckets.iter().map(|bucket| (bucket.start_us / S, bucket.durations.clone())).collect();
    let named = |states: &[(&str, i64)]| states.iter().map(|(name, s)| ((*name).to_owned(), s * S)).collect::<Vec<_>>();
    assert_eq!(
        durations,
        [
            (0, named(&[("가동", 15)])),
            (20, named(&[("가동", 5), ("정지", 2)])),
            (40, named(&[("가동", 20)])),
            (60, named(&[("가동", 10)])),
        ]
    );
    assert!(buckets.iter().all(|bucket| bucket.count == 0), "a text is no number");
}

#[test]
fn states_beyond_number_are_put_together() {
    let readings: Vec<_> = (0..100).map(|number| (number * S, Some(Value::I64(number)))).collect();
    let grid = Grid::Fixed { width_us: 100 * S };
    let buckets = folded_by_reading(&readings, &grid, rules(S), (0, 100 * S));
    assert_eq!(buckets.len(), 1);
    assert_eq!(buckets[0].durations.len(), 65);
    assert_eq!(buckets[0].durations.iter().map(|(_, us)| us).sum::<i64>(), 100 * S);
    assert_eq!(buckets[0].covered_us, 100 * S);
}

#[test]
fn what_is_not_asked_for_is_not_told() {
    let readings = [(0, Some(Value::I64(1))), (S, Some(Value::I64(5)))];
    let grid = Grid::Fixed { width_us: 60 * S };
    let rules = Rules { hold_us: 3 * S, time_mean: false, increase: false, durations: false };
    let buckets = folded_by_reading(&readings, &grid, rules, (0, 600 * S));
    assert_eq!(buckets.len(), 1);
    let bucket = &buckets[0];
    assert_eq!((bucket.count, bucket.sum, bucket.first, bucket.last), (2, 6.0, 1.0, 5.0));
    assert_eq!((bucket.integral, bucket.covered_us, bucket.increase, bucket.durations.len()), (0.0, 0, 0.0, 0));
}

#[test]
fn only_what_is_asked_for_is_looked_back_for() {
    let rules = |functions: &[Function]| Rules::new(&functions.iter().copied().collect(), 1_000);
    assert_eq!(rules(&[Function::Mean, Function::Last]).look_back_us(), 0);
    assert_eq!(rules(&[Function::TimeMean]).look_back_us(), 3 * S);
    assert_eq!(rules(&[Function::Increase]).look_back_us(), LINKED_US);
    assert_eq!(Rules::new(&[Function::Durations].into(), 0).look_back_us(), HELD_UNKNOWN_US);
}
