use sandan_proto::reading::{Quality, Value};

use super::*;
use crate::config::tests::example;
use crate::config::{ByteOrder, Format, JsonType, Scale};
use crate::driver::{Raw, Reading};

fn number(format: Format, order: ByteOrder, words: [u16; 4]) -> Result<Value, Quality> {
    decode(Decode::Number(format, order, None), &Raw::Words(words))
}

/// The words of a number's bytes in each of the four orders.
fn in_order(order: ByteOrder, big_endian: &[u8]) -> [u16; 4] {
    let mut words: Vec<u16> = big_endian.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    if matches!(order, ByteOrder::Cdab | ByteOrder::Dcba) {
        words.reverse();
    }
    if matches!(order, ByteOrder::Badc | ByteOrder::Dcba) && words.len() > 1 {
        for word in &mut words {
            *word = word.swap_bytes();
        }
    }
    let mut four = [0xdead; 4];
    four[..words.len()].copy_from_slice(&words);
    four
}

#[test]
fn the_four_orders_spell_out_as_their_letters() {
    let value = 0x4142_4344; // "ABCD"
    for (order, words) in [
        (ByteOrder::Abcd, *b"ABCD"),
        (ByteOrder::Cdab, *b"CDAB"),
        (ByteOrder::Badc, *b"BADC"),
        (ByteOrder::Dcba, *b"DCBA"),
    ] {
        let [a, b, c, d] = words;
        let words = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), 0, 0];
        assert_eq!(number(Format::U32, order, words), Ok(Value::I64(value)), "{order:?}");
    }
    let eight = |text: &[u8; 8]| {
        let word = |index: usize| u16::from_be_bytes([text[index], text[index + 1]]);
        [word(0), word(2), word(4), word(6)]
    };
    let value = Ok(Value::I64(i64::from_be_bytes(*b"ABCDEFGH")));
    assert_eq!(number(Format::I64, ByteOrder::Abcd, eight(b"ABCDEFGH")), value);
    assert_eq!(number(Format::I64, ByteOrder::Cdab, eight(b"GHEFCDAB")), value);
    assert_eq!(number(Format::I64, ByteOrder::Badc, eight(b"BADCFEHG")), value);
    assert_eq!(number(Format::I64, ByteOrder::Dcba, eight(b"HGFEDCBA")), value);
}

proptest::proptest! {
    #[test]
    fn every_format_and_order_gives_back_what_was_put_in(bits: u64, order in 0usize..4) {
        let order = ByteOrder::ALL[order].1;
        let of = |format, bytes: &[u8]| number(format, order, in_order(order, bytes));
        #[allow(clippy::cast_possible_truncation)]
        let (half, quarter) = (bits as u32, bits as u16);
        proptest::prop_assert_eq!(of(Format::U16, &quarter.to_be_bytes()), Ok(Value::I64(quarter.into())));
        proptest::prop_assert_eq!(of(Format::I16, &quarter.to_be_bytes()), Ok(Value::I64(quarter.cast_signed().into())));
        proptest::prop_assert_eq!(of(Format::U32, &half.to_be_bytes()), Ok(Value::I64(half.into())));
        proptest::prop_assert_eq!(of(Format::I32, &half.to_be_bytes()), Ok(Value::I64(half.cast_signed().into())));
        proptest::prop_assert_eq!(of(Format::I64, &bits.to_be_bytes()), Ok(Value::I64(bits.cast_signed())));
        let unsigned = i64::try_from(bits).map(Value::I64).map_err(|_| Quality::BAD_OUT_OF_RANGE);
        proptest::prop_assert_eq!(of(Format::U64, &bits.to_be_bytes()), unsigned);
        let finite = |value: f64| if value.is_finite() { Ok(Value::F64(value)) } else { Err(Quality::BAD_OUT_OF_RANGE) };
        proptest::prop_assert_eq!(of(Format::F32, &half.to_be_bytes()), finite(f32::from_bits(half).into()));
        proptest::prop_assert_eq!(of(Format::F64, &bits.to_be_bytes()), finite(f64::from_bits(bits)));
    }

    #[test]
    fn a_decimal_scale_gives_the_decimal(raw: i32) {
        let value = Scale::new(0.1, 0.0).apply(raw.into());
        proptest::prop_assert_eq!(value.to_string(), (f64::from(raw) / 10.0).to_string());
    }
}

#[test]
fn scales_and_offsets() {
    #[allow(clippy::float_cmp)]
    let is = |factor, offset, raw, value: f64| assert_eq!(Scale::new(factor, offset).apply(raw), value);
    is(0.1, 0.0, 3.0, 0.3);
    is(0.1, -40.0, 650.0, 25.0);
    is(-0.5, 0.0, 3.0, -1.5);
    is(2.5, 1.0, 4.0, 11.0);
    is(1.0, 0.0, 7.0, 7.0);
    let scale = Some(Scale::new(0.1, 0.0));
    let scaled = decode(Decode::Number(Format::U64, ByteOrder::Abcd, scale), &Raw::Words([0x8000, 0, 0, 0]));
    assert_eq!(scaled, Ok(Value::F64(9.223_372_036_854_776e17)), "a scaled u64 has no upper half to lose");
}

#[test]
fn bits_of_a_word_count_from_the_lowest() {
    let bit = |bit| decode(Decode::WordBit(bit), &Raw::Words([0x8008, 0, 0, 0]));
    assert_eq!([bit(3), bit(15)], [Ok(Value::Bool(true)), Ok(Value::Bool(true))]);
    assert_eq!([bit(0), bit(14)], [Ok(Value::Bool(false)), Ok(Value::Bool(false))]);
}

#[test]
fn json_values_must_be_of_their_type() {
    let json = |kind, raw| decode(Decode::Json(kind, None), &raw);
    let wrong = Err(Quality::BAD_UNDECODABLE);
    assert_eq!(json(JsonType::F64, Raw::Integer(3)), Ok(Value::F64(3.0)));
    assert_eq!(json(JsonType::I64, Raw::Number(3.0)), Ok(Value::I64(3)));
    assert_eq!(json(JsonType::I64, Raw::Number(3.5)), wrong);
    assert_eq!(json(JsonType::I64, Raw::Number(1e300)), Err(Quality::BAD_OUT_OF_RANGE));
    assert_eq!(json(JsonType::Bool, Raw::Integer(1)), wrong);
    assert_eq!(json(JsonType::F64, Raw::Text("3".into())), wrong);
    assert_eq!(json(JsonType::Text, Raw::Bit(true)), wrong);
    assert_eq!(json(JsonType::Text, Raw::Text("a\0".into())), Err(Quality::BAD_OUT_OF_RANGE));
    assert_eq!(json(JsonType::Text, Raw::Failed(Quality::BAD_SOURCE)), Err(Quality::BAD_SOURCE));
}

/// Runs raw values of one signal through, a second apart; gives the seconds that passed.
fn passed(publish: &str, raws: &[Raw]) -> Vec<i64> {
    let config = example(|text| {
        let signals = format!("{{ name = \"a\", metric = \"x_a\", at = \"holding:0\", type = \"i16\", {publish} }},");
        let (before, rest) = text.split_once("    { name = \"tonnage\"").unwrap();
        format!("{before}{signals}\n{}", rest.split_once('\n').unwrap().1)
    });
    let mut tags = Tags::new(&config);
    let mut seconds = Vec::new();
    for (second, raw) in raws.iter().enumerate() {
        let at_us = i64::try_from(second).unwrap() * 1_000_000;
        let readings = vec![Reading { signal: 0, raw: raw.clone() }];
        tags.apply(
            &Reply { source: 0, ticket: 1, at_us, readings, delivery: None },
            &mut |series, at, value, quality| {
                assert_eq!((series, at), (0, at_us));
                assert_eq!(value.value_type(), ValueType::I64, "a series has one type, also when it is bad");
                assert!(quality == Quality::GOOD || value == Value::I64(0));
                seconds.push(at / 1_000_000);
            },
        );
    }
    seconds
}

fn words(values: &[i16]) -> Vec<Raw> {
    values.iter().map(|value| Raw::Words([value.cast_unsigned(), 0, 0, 0])).collect()
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
