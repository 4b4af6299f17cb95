use proptest::prelude::*;

use super::*;

fn bits(values: &Values) -> Vec<String> {
    match values {
        Values::F64(values) => values.iter().map(|value| format!("{:016x}", value.to_bits())).collect(),
        other => vec![format!("{other:?}")],
    }
}

fn any_values() -> impl Strategy<Value = Values> {
    prop_oneof![
        prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 0..300).prop_map(Values::F64),
        prop::collection::vec((0..5000i32).prop_map(|tenths| f64::from(tenths) / 10.0), 0..300).prop_map(Values::F64),
        prop::collection::vec(any::<i64>(), 0..300).prop_map(Values::I64),
        prop::collection::vec(any::<bool>(), 0..300).prop_map(Values::Bool),
        prop::collection::vec("[가-힣a-c]{0,3}", 0..300).prop_map(Values::Text),
    ]
}

proptest! {
    #[test]
    fn values_come_back_to_the_bit(values in any_values()) {
        let packed = pack_values(&values).unwrap();
        prop_assert_eq!(bits(&unpack_values(&packed, values.len()).unwrap()), bits(&values));
    }

    #[test]
    fn times_come_back(mut times in prop::collection::vec(any::<i64>(), 0..300)) {
        times.sort_unstable();
        prop_assert_eq!(unpack_ascending(&pack_ascending(&times).unwrap(), times.len()).unwrap(), times);
    }

    #[test]
    fn qualities_come_back(codes in prop::collection::vec(prop_oneof![Just(0u32), Just(130), 0..256u32], 0..60)) {
        let quality: Vec<Quality> = codes.into_iter().filter_map(Quality::from_code).collect();
        let back = unpack_quality(&pack_quality(&quality).unwrap(), quality.len()).unwrap();
        if back.is_empty() {
            prop_assert!(quality.iter().all(|&quality| quality == Quality::GOOD));
        } else {
            prop_assert_eq!(back, quality);
        }
    }

    #[test]
    fn any_bytes_unpack_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for kind in F64..=DECIMAL {
            let column: Vec<u8> = std::iter::once(kind).chain(bytes.iter().copied()).collect();
            prop_assert!(unpack_values(&column, 50).map_or(0, |values| values.len()) <= 50);
        }
        let quality: Vec<u8> = bytes.iter().map(|byte| byte & 1).collect();
        prop_assert!(unpack_quality(&quality, 50).map_or(0, |quality| quality.len()) <= 50);
    }
}
