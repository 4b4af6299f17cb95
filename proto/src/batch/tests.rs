use proptest::prelude::*;

use super::*;

fn furnace() -> Vec<Group> {
    let mut builder = BatchBuilder::default();
    for second in 0..3 {
        for zone in 0..6u32 {
            let at = 1_000_000 + second * 1_000_000;
            builder.push(zone * 2, at, Value::F64(850.0 + f64::from(zone)), Quality::GOOD).unwrap();
            builder.push(zone * 2 + 1, at, Value::F64(860.0), Quality::GOOD).unwrap();
        }
    }
    builder.take()
}

#[test]
fn signals_of_one_reply_share_their_times() {
    let groups = furnace();
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].times_us, [1_000_000, 2_000_000, 3_000_000]);
    assert_eq!(groups[0].columns.len(), 12);
    assert_eq!(count(&groups), 36);
}

#[test]
fn a_builder_refuses_a_change_of_type() {
    let mut builder = BatchBuilder::default();
    builder.push(1, 10, Value::I64(1), Quality::GOOD).unwrap();
    assert!(builder.push(1, 11, Value::F64(2.0), Quality::GOOD).is_err());
    assert_eq!(builder.readings(), 1);
    let groups = builder.take();
    assert_eq!(groups[0].columns[0].values, Values::I64(vec![1]));
    assert_eq!(builder.readings(), 0);
}

#[test]
fn quality_runs_are_kept_only_where_something_is_not_good() {
    let mut builder = BatchBuilder::default();
    for (at, quality) in [Quality::GOOD, Quality::GOOD, Quality::BAD_NO_ANSWER, Quality::GOOD].into_iter().enumerate() {
        builder.push(0, at as i64, Value::Bool(true), quality).unwrap();
    }
    let groups = builder.take();
    let column = &groups[0].columns[0];
    assert_eq!(column.quality, [(2, Quality::GOOD), (1, Quality::BAD_NO_ANSWER), (1, Quality::GOOD)]);
    assert_eq!(column.qualities().collect::<Vec<_>>()[2], Quality::BAD_NO_ANSWER);
}

#[test]
fn broken_payloads_are_refused_by_name() {
    let group = |times: Vec<i64>, column: v1::Column| {
        v1::Batch { groups: vec![v1::Group { time_deltas_us: times, columns: vec![column] }], packed: None }
            .encode_to_vec()
    };
    let floats = |values: Vec<f64>, quality: Vec<v1::QualityRun>, series| v1::Column {
        series,
        quality,
        values: Some(v1::column::Values::F64(v1::F64Values { values })),
    };
    let text = |text: String| v1::Column {
        series: 3,
        quality: vec![],
        values: Some(v1::column::Values::Text(v1::TextValues { values: vec![text] })),
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![0xff], "payload is not a batch"),
        (group(vec![1, 1], floats(vec![1.0], vec![], 4)), "column of series 4 has 1 values for 2 times"),
        (group(vec![1, -1], floats(vec![1.0, 2.0], vec![], 4)), "times of a group decrease or overflow"),
        (group(vec![i64::MAX, 1], floats(vec![1.0, 2.0], vec![], 4)), "times of a group decrease or overflow"),
        (
            group(vec![1], v1::Column { series: 9, quality: vec![], values: None }),
            "column of series 9 has no values of a known type",
        ),
        (
            group(vec![1], floats(vec![1.0], vec![v1::QualityRun { count: 2, code: 0 }], 4)),
            "column of series 4 has quality runs that do not fit its values",
        ),
        (
            group(vec![1], floats(vec![1.0], vec![v1::QualityRun { count: 1, code: 256 }], 4)),
            "column of series 4 has quality runs that do not fit its values",
        ),
        (group(vec![1], floats(vec![1.0], vec![], 20_000)), "series index 20000 is out of range"),
        (group(vec![1], text("a\0".into())), "column of series 3 has a text with NUL or of more than 1024 bytes"),
        (group(vec![1], text("a".repeat(1025))), "column of series 3 has a text with NUL or of more than 1024 bytes"),
        (vec![0; MAX_PAYLOAD_BYTES + 1], "payload has 1048577 bytes, more than 1048576"),
    ];
    for (payload, message) in cases {
        assert_eq!(decode(&payload.into()).unwrap_err().to_string(), message);
    }
}

#[test]
fn the_readings_of_a_batch_are_bounded_before_they_are_expanded() {
    let columns = (0..1000).map(|series| v1::Column { series, quality: vec![], values: None }).collect();
    let batch = v1::Batch { groups: vec![v1::Group { time_deltas_us: vec![0; 201], columns }], packed: None };
    assert!(matches!(decode(&batch.encode_to_vec().into()), Err(BatchError::TooManyReadings)));
}

#[test]
fn a_payload_is_packed_where_that_is_shorter_and_unpacked_within_bounds() {
    let mut builder = BatchBuilder::default();
    for series in 0..500 {
        builder.push(series, 7, Value::F64(f64::from(series) / 8.0), Quality::GOOD).unwrap();
    }
    let groups = builder.take();
    let payload = encode(&groups);
    let plain = unpack(&payload).unwrap();
    assert!(payload.len() * 2 < plain.len(), "{} bytes of {}", payload.len(), plain.len());
    assert_eq!(decode(&plain).unwrap(), groups);
    assert_eq!(decode(&payload).unwrap(), groups);

    let repacked = |change: fn(&mut v1::Batch, &mut v1::Packed)| {
        let mut batch = v1::Batch::decode(payload.clone()).unwrap();
        let mut packed = batch.packed.take().unwrap();
        change(&mut batch, &mut packed);
        batch.packed = Some(packed);
        decode(&batch.encode_to_vec().into()).unwrap_err().to_string()
    };
    let refused = "payload cannot be unpacked";
    assert_eq!(repacked(|_, packed| packed.size -= 1), refused);
    assert_eq!(repacked(|_, packed| packed.size += 1), refused);
    assert_eq!(repacked(|_, packed| packed.size = u32::MAX), "payload has 4294967295 bytes, more than 1048576");
    assert_eq!(repacked(|_, packed| packed.compression = 2), refused);
    assert_eq!(repacked(|_, packed| packed.data.truncate(9)), refused);
    assert_eq!(repacked(|batch, _| batch.groups.push(v1::Group::default())), refused);
    // Packed twice: what it unpacks to has to be groups.
    assert_eq!(decode(&pack(&pack(&plain).unwrap()).unwrap().into()).unwrap_err().to_string(), refused);
}

fn any_value(of: u8) -> BoxedStrategy<Value> {
    match of {
        0 => any::<f64>().prop_map(Value::F64).boxed(),
        1 => any::<i64>().prop_map(Value::I64).boxed(),
        2 => any::<bool>().prop_map(Value::Bool).boxed(),
        _ => "[a-z가-힣]{0,12}".prop_map(Value::Text).boxed(),
    }
}

proptest! {
    #[test]
    fn every_reading_that_goes_in_comes_out_once(
        readings in (0u8..4).prop_flat_map(|kind| prop::collection::vec((0u32..5, -9_000i64..1_000_000, any_value(kind), 0u32..256), 0..200))
    ) {
        let mut clock = 0;
        let mut builder = BatchBuilder::default();
        let mut expected = Vec::new();
        for (series, step, value, code) in readings {
            clock += step;
            let quality = Quality::from_code(code).unwrap();
            builder.push(series, clock, value.clone(), quality).unwrap();
            expected.push((series, clock, format!("{value:?}"), quality));
        }
        let bound = builder.encoded_bound();
        let groups = builder.take();
        let payload = encode(&groups);
        let plain = unpack(&payload).unwrap();
        prop_assert!(payload.len() <= plain.len() && plain.len() <= bound, "{} bytes, bound {}", plain.len(), bound);
        let mut found = Vec::new();
        for group in decode(&payload).unwrap() {
            for column in &group.columns {
                for (index, quality) in column.qualities().enumerate() {
                    let value = column.values.get(index).unwrap();
                    found.push((column.series, group.times_us[index], format!("{value:?}"), quality));
                }
            }
        }
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_decode_or_are_refused(payload in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(groups) = decode(&payload.into()) {
            for group in &groups {
                for column in &group.columns {
                    prop_assert_eq!(column.values.len(), group.times_us.len());
                    prop_assert_eq!(column.qualities().count(), group.times_us.len());
                }
            }
        }
    }
}
