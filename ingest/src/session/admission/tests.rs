use proptest::prelude::*;
use sandan_proto::reading::{Quality, Value, ValueType};

use super::*;
use crate::fixture::{BOOTED_US, CLOCK, METRICS, Plant, Reading, letters, pressure};

const SECOND: i64 = 1_000_000;
const BOUNDS: Bounds = Bounds { oldest_us: BOOTED_US, newest_us: BOOTED_US + 100 * SECOND };

/// Births whose second series is another gateway's.
fn registered(plant: &Plant) -> Registered {
    let places = plant
        .births
        .series
        .iter()
        .zip(1..)
        .map(|(series, number)| match number {
            2 => Placement::OtherOwner,
            _ => Placement::Own(SeriesNo(number), series.value_type),
        })
        .collect();
    Registered { number: 1, births: plant.births.clone(), places }
}

fn admitted(readings: &[Reading]) -> Content {
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let registered = registered(&plant);
    admit(plant.seal(readings), &registered, CLOCK, BOUNDS)
}

fn reasons(content: &Content) -> Vec<(Option<u32>, DeadLetterReason, &str)> {
    letters(content).iter().map(|letter| (letter.series, letter.reason, letter.detail.as_str())).collect()
}

#[test]
fn a_good_record_is_taken_whole() {
    let content = admitted(&[pressure(3 * SECOND, 1.0), pressure(9 * SECOND, 2.0)]);
    let Content::Batch { first_us, last_us, readings, dead_columns, newest, letters, .. } = content else {
        panic!("{content:?}")
    };
    assert_eq!((first_us, last_us, readings), (BOOTED_US + 3 * SECOND, BOOTED_US + 9 * SECOND, 2));
    assert_eq!(newest, [(SeriesNo(1), BOOTED_US + 9 * SECOND)]);
    assert!(dead_columns.is_empty() && letters.is_empty());
}

#[test]
fn each_column_has_its_own_reason() {
    let good = Quality::GOOD;
    let content = admitted(&[
        pressure(0, 1.0),
        (1, 0, Value::I64(1), good),
        (2, 0, Value::Text("on".into()), good),
        (4, -SECOND, Value::F64(1.0), good),
        (5, 101 * SECOND, Value::F64(1.0), good),
        (9, 0, Value::F64(1.0), good),
    ]);
    assert_eq!(
        reasons(&content),
        [
            (Some(1), DeadLetterReason::OtherOwner, "press-1/stroke_count belongs to another gateway of the firm"),
            (Some(2), DeadLetterReason::WrongType, "values of type Text, declared as Bool"),
            (Some(9), DeadLetterReason::UnknownSeries, "series 9 is not among the 6 of its births"),
            (Some(4), DeadLetterReason::TimeTooOld, "times before the retention"),
            (Some(5), DeadLetterReason::TimeAhead, "times more than five minutes ahead of the ingest"),
        ]
    );
    let Content::Batch { readings, dead_columns, .. } = content else { panic!() };
    // Counted as they stand in the payload, where columns of equal times stand together.
    assert_eq!((readings, dead_columns), (1, vec![1, 2, 3, 4, 5]));
}

#[test]
fn the_edges_of_time_are_inside() {
    assert!(matches!(admitted(&[pressure(0, 1.0), pressure(100 * SECOND, 1.0)]), Content::Batch { .. }));
    assert!(matches!(admitted(&[pressure(-1, 1.0)]), Content::Dead { .. }));
    assert!(matches!(admitted(&[pressure(100 * SECOND + 1, 1.0)]), Content::Dead { .. }));
    let content = admitted(&[pressure(i64::MAX, 1.0)]);
    assert_eq!(reasons(&content), [(Some(0), DeadLetterReason::TimeAhead, "times that no clock can show")]);
    assert_eq!(Bounds::at(10, 20), Bounds { oldest_us: -10, newest_us: 10 + AHEAD_US });
    assert_eq!(Bounds::at(i64::MAX, 0).newest_us, i64::MAX);
}

#[test]
fn an_unreadable_payload_keeps_its_bytes() {
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let registered = registered(&plant);
    let mut refused = |payload: Vec<u8>| {
        let sealed = Sealed { payload: payload.into(), ..plant.seal(&[]) };
        let content = admit(sealed.clone(), &registered, CLOCK, BOUNDS);
        let Content::Dead { original, letters } = content else { panic!("{content:?}") };
        assert_eq!(original, sealed.to_wire().encode_to_vec());
        assert_eq!((letters.len(), letters[0].series, letters[0].readings), (1, None, None));
        letters[0].reason
    };
    let text = |text: &str| {
        let values = sandan_proto::batch::Values::Text(vec![text.into()]);
        batch::encode(&[Group { times_us: vec![0], columns: vec![Column { series: 3, quality: vec![], values }] }])
    };
    assert_eq!(refused(vec![0xff]), DeadLetterReason::Undecodable);
    assert_eq!(refused(text("a\0").to_vec()), DeadLetterReason::TextRefused);
    assert_eq!(refused(vec![0; (1 << 20) + 1]), DeadLetterReason::LimitExceeded);
}

#[test]
fn a_batch_of_more_columns_than_a_gateway_may_have_series_is_refused_as_one() {
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let registered = registered(&plant);
    let column = |_| Column { series: 0, quality: vec![], values: sandan_proto::batch::Values::Bool(vec![true]) };
    let payload = batch::encode(&[Group { times_us: vec![0], columns: (0..=MAX_SERIES).map(column).collect() }]);
    let content = admit(Sealed { payload, ..plant.seal(&[]) }, &registered, CLOCK, BOUNDS);
    assert_eq!(
        reasons(&content),
        [(None, DeadLetterReason::LimitExceeded, "a batch of 20001 columns, more than 20000")]
    );
    assert_eq!(letters(&content)[0].readings, Some(20_001));
}

#[test]
fn an_empty_record_leaves_no_letter() {
    assert_eq!(letters(&admitted(&[])), []);
}

fn value(of: ValueType, number: i32) -> Value {
    match of {
        ValueType::I64 => Value::I64(number.into()),
        ValueType::Bool => Value::Bool(number > 0),
        ValueType::Text => Value::Text(number.to_string()),
        ValueType::F64 | ValueType::Unspecified => Value::F64(number.into()),
    }
}

proptest! {
    /// Every reading is admitted or dead-lettered, never both, never neither.
    #[test]
    fn every_reading_is_accounted_for(
        mut readings in prop::collection::vec((0u32..8, -5i64..110, 0usize..6, any::<i32>()), 0..60)
    ) {
        readings.sort_by_key(|reading| reading.1);
        let mut kinds = std::collections::HashMap::new();
        let readings: Vec<Reading> = readings
            .into_iter()
            .map(|(series, second, kind, number)| {
                let kind = *kinds.entry(series).or_insert(kind);
                (series, second * SECOND, value(METRICS[kind].1, number), Quality::GOOD)
            })
            .collect();
        let content = admitted(&readings);
        let dead: u64 = letters(&content).iter().map(|letter| letter.readings.unwrap_or(0)).sum();
        let stored = if let Content::Batch { readings, .. } = &content { *readings } else { 0 };
        prop_assert_eq!(stored + dead, readings.len() as u64);
        if let Content::Batch { first_us, last_us, newest, .. } = &content {
            prop_assert!(BOUNDS.oldest_us <= *first_us && first_us <= last_us && *last_us <= BOUNDS.newest_us);
            prop_assert_eq!(newest.iter().map(|&(_, time_us)| time_us).max(), Some(*last_us));
        }
    }

    #[test]
    fn any_payload_is_decided_on(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut plant = Plant::new("hanbit/press-hall", "press-1");
        let registered = registered(&plant);
        admit(Sealed { payload: payload.into(), ..plant.seal(&[]) }, &registered, CLOCK, BOUNDS);
    }
}

#[test]
fn columns_beyond_the_first_share_a_letter_for_each_reason() {
    let good = Quality::GOOD;
    let wrong = (100..).take(NAMED_COLUMNS).map(|index| (index, 0, Value::F64(1.0), good));
    let mut readings: Vec<Reading> = wrong.chain([pressure(0, 1.0)]).collect();
    readings.extend((200..1_200).flat_map(|index| [0, 1].map(|at| (index, at, Value::F64(1.0), good))));
    readings.push((1_300, 101 * SECOND, Value::F64(1.0), good));
    let content = admitted(&readings);
    let letters = letters(&content);
    assert_eq!(letters.len(), NAMED_COLUMNS + 1);
    let sum = |of: fn(&Letter) -> u64| letters.iter().map(of).sum::<u64>();
    let columns = NAMED_COLUMNS as u64 + 1_001;
    assert_eq!((sum(|it| it.count), sum(|it| it.readings.unwrap())), (columns, columns + 1_000));
    let rest = letters.last().unwrap();
    assert_eq!((rest.series, rest.reason), (None, DeadLetterReason::UnknownSeries));
    assert!(rest.detail.starts_with("further columns, the first of them: series "), "{}", rest.detail);
    let Content::Batch { readings, dead_columns, .. } = content else { panic!() };
    assert_eq!((readings, dead_columns.len() as u64), (1, columns));
}
