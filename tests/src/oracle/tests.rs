//! The oracle agrees with a run in which nothing is wrong, and with no other.

use proptest::prelude::*;

use super::*;

/// One source of a serial number and two values, a row each 100 ms, all stored.
fn whole(rows: i64) -> Case {
    let mut case = Case {
        series: ["serial", "a", "b"].map(str::to_owned).to_vec(),
        sources: vec![Source { name: "press".into(), serial: 0, repeats: false }],
        ..Case::default()
    };
    for serial in 1..=rows {
        let at_us = serial * 100_000;
        let values = vec![(1, Value::F64(serial as f64)), (2, Value::Bool(serial % 3 == 0))];
        let time_us = at_us + 700;
        case.stored.push(Stored { series: 0, time_us, value: Value::I64(serial) });
        case.stored.extend(values.iter().map(|(series, value)| Stored {
            series: *series,
            time_us,
            value: value.clone(),
        }));
        case.rows.push(Row { source: 0, serial, at_us, values });
    }
    case
}

/// Takes rows out of what is stored.
fn lose(case: &mut Case, serials: std::ops::RangeInclusive<i64>) {
    case.stored.retain(|reading| !serials.contains(&((reading.time_us - 700) / 100_000)));
}

fn gap(cause: Cause, edges: Option<(i64, i64)>, readings: Option<u64>) -> Gap {
    Gap { cause, from_us: edges.map(|it| it.0), to_us: edges.map(|it| it.1), readings }
}

fn window(told: Told, from_us: i64, to_us: i64) -> Window {
    Window { told, rows: (from_us, to_us), gap: (from_us, to_us), synced: false }
}

#[test]
fn what_is_all_there_is_exact() {
    let sum = whole(20).sum();
    assert!(sum.is_exact(), "{sum}");
    assert_eq!((sum.generated, sum.stored), (60, 60));
}

#[test]
fn a_restart_gap_excuses_what_lies_in_it_and_no_more() {
    let mut case = whole(50);
    lose(&mut case, 20..=29);
    assert_eq!(case.sum().lost, 30);
    case.gaps = vec![gap(Cause::Restart, Some((1_900_700, 3_000_700)), None)];
    assert!(!case.sum().is_exact(), "a gap without a restart was believed");
    case.windows = vec![window(Told::Gap(Cause::Restart), 1_900_000, 3_000_000)];
    let sum = case.sum();
    assert!(sum.is_exact(), "{sum}");
    assert_eq!((sum.stored, sum.in_gaps), (120, 30));
    // A row beside the gap.
    lose(&mut case, 40..=40);
    assert_eq!(case.sum().lost, 3);
}

#[test]
fn a_gap_that_is_wider_than_its_cause_is_a_fault() {
    let mut case = whole(50);
    lose(&mut case, 20..=29);
    case.windows = vec![window(Told::Gap(Cause::Restart), 1_900_000, 3_000_000)];
    case.gaps = vec![gap(Cause::Restart, Some((1_200_700, 3_000_700)), None)];
    assert!(!case.sum().is_exact(), "a gap of 1.8 s passed for one of 1.1 s");
    // And one that would hide a loss before what the restart explains.
    lose(&mut case, 15..=15);
    assert_eq!(case.sum().lost, 3);
    // Another cause than the one that was.
    let mut case = whole(50);
    lose(&mut case, 20..=29);
    case.windows = vec![window(Told::Gap(Cause::Restart), 1_900_000, 3_000_000)];
    case.gaps = vec![gap(Cause::Damaged, None, Some(30))];
    assert!(!case.sum().is_exact(), "damage was declared where there was none");
}

#[test]
fn a_gap_with_a_size_is_exactly_what_is_missing() {
    let mut case = whole(50);
    lose(&mut case, 20..=29);
    case.windows = vec![window(Told::Gap(Cause::Damaged), 0, 5_000_000)];
    for (size, exact) in [(29, false), (30, true), (31, false)] {
        case.gaps = vec![gap(Cause::Damaged, None, Some(size))];
        assert_eq!(case.sum().is_exact(), exact, "a gap of {size} for 30 readings");
    }
    case.gaps.clear();
    for (dead, exact) in [(29, false), (30, true), (31, false)] {
        case.dead = dead;
        assert_eq!(case.sum().is_exact(), exact, "{dead} dead letters for 30 readings");
    }
}

/// A second gateway read the machine while the first one was started anew.
#[test]
fn what_lies_in_a_restart_gap_may_have_been_put_aside_but_no_more_than_that() {
    let mut case = whole(50);
    lose(&mut case, 20..=29);
    case.gaps = vec![gap(Cause::Restart, Some((1_900_700, 3_000_700)), None)];
    case.windows = vec![window(Told::Gap(Cause::Restart), 1_900_000, 3_000_000)];
    for (dead, exact) in [(0, true), (6, true), (30, true), (31, false)] {
        case.dead = dead;
        let sum = case.sum();
        assert_eq!(sum.is_exact(), exact, "{dead} dead letters: {sum}");
        assert!(!exact || (sum.in_gaps, sum.dead) == (30 - dead, dead), "{sum}");
    }
}

#[test]
fn a_refused_spool_takes_with_it_only_what_its_window_says() {
    let mut case = whole(50);
    lose(&mut case, 20..=29);
    case.windows = vec![window(Told::Refusal, 2_000_000, 2_950_000)];
    let sum = case.sum();
    assert!(sum.is_exact() && sum.gone == 30, "{sum}");
    case.windows = vec![window(Told::Refusal, 2_150_000, 2_950_000)];
    assert_eq!(case.sum().lost, 6);
}

/// A broker gives again what was not synced: no restart explains that it is missing.
#[test]
fn a_restart_gap_excuses_no_message_of_a_broker() {
    let mut case = whole(50);
    lose(&mut case, 20..=29);
    case.gaps = vec![gap(Cause::Restart, Some((1_900_700, 3_000_700)), None)];
    case.windows = vec![window(Told::Gap(Cause::Restart), 1_900_000, 3_000_000)];
    assert!(case.sum().is_exact());
    case.sources[0].repeats = true;
    assert_eq!(case.sum().lost, 30);
    // Where the disk lost what it had synced, the broker had been told to forget it.
    case.windows[0].synced = true;
    assert!(case.sum().is_exact());
}

/// What waited in a broker is stored in one moment; each row is found in the heap.
#[test]
fn rows_of_one_moment_are_told_apart() {
    let mut case = whole(20);
    case.sources[0].repeats = true;
    for reading in &mut case.stored {
        reading.time_us = reading.time_us.max(1_000_700);
    }
    let sum = case.sum();
    assert!(sum.is_exact(), "{sum}");
    let whole = case.clone();
    case.stored.remove(4);
    assert!(!case.sum().is_exact());
    case = whole.clone();
    case.stored[4].value = Value::F64(-1.0);
    assert!(!case.sum().is_exact());
    case = whole;
    let again = case.stored[4].clone();
    case.stored.push(again);
    assert!(!case.sum().is_exact());
}

proptest! {
    /// Whatever is done to one stored reading, the sum is not exact any more.
    #[test]
    fn no_reading_can_be_lost_doubled_changed_or_moved(at in 0usize..60, how in 0u8..5) {
        let mut case = whole(20);
        let reading = case.stored[at].clone();
        match how {
            0 => drop(case.stored.remove(at)),
            1 => case.stored.push(reading),
            2 => case.stored[at].value = Value::F64(-1.0),
            3 => case.stored[at].time_us += 50_000,
            _ => case.stored.push(Stored { time_us: 77, ..reading }),
        }
        let sum = case.sum();
        prop_assert!(!sum.is_exact(), "{}", sum);
    }

    /// What is missing is in gaps, dead or gone: each kind of loss at once still adds up.
    #[test]
    fn losses_of_every_kind_add_up(
        restart in 1i64..20, damaged in 30i64..40, dead in 50i64..60, gone in 70i64..80, len in 0i64..8,
    ) {
        let mut case = whole(100);
        for first in [restart, damaged, dead, gone] {
            lose(&mut case, first..=first + len);
        }
        let rows = u64::try_from(len + 1).unwrap();
        let edges = |first: i64| (first * 100_000 - 50_000, (first + len) * 100_000 + 50_000);
        let (from, to) = edges(restart);
        case.gaps = vec![gap(Cause::Restart, Some((from, to)), None), gap(Cause::Damaged, None, Some(3 * rows))];
        case.dead = 3 * rows;
        case.windows = vec![
            window(Told::Gap(Cause::Restart), from, to),
            window(Told::Gap(Cause::Damaged), 0, 10_000_000),
            window(Told::Refusal, edges(gone).0, edges(gone).1),
        ];
        let sum = case.sum();
        prop_assert!(sum.is_exact(), "{}", sum);
        prop_assert_eq!((sum.in_gaps, sum.dead, sum.gone), (6 * rows, 3 * rows, 3 * rows));
        case.gaps.pop();
        prop_assert!(!case.sum().is_exact());
    }
}
