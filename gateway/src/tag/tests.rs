use sandan_proto::reading::{Quality, Value};

use sandan_proto::reading::ValueType;

use super::*;
use crate::config::tests::example;
use crate::config::{ByteOrder, Decode, Format, JsonType, Register, Scale};
use crate::driver::{Raw, Reading};

mod buckets;
mod counters;
mod gates;
mod reloads;

fn number(format: Format, order: ByteOrder, words: [u16; 4]) -> Result<Value, Quality> {
    decode(&Decode::Register(Box::new(Register::new(format, order, None))), &Raw::Words(words))
}

/// The words in which a device of this order sends a number's bytes: for each place on the
/// wire the letters say which byte stands there.
fn in_order(letters: &str, big_endian: &[u8]) -> [u16; 4] {
    // Four letters are for eight bytes by their rules: words reversed, bytes swapped.
    let letters = match (letters, big_endian.len()) {
        ("ABCD", 8) => "ABCDEFGH",
        ("CDAB", 8) => "GHEFCDAB",
        ("BADC", 8) => "BADCFEHG",
        ("DCBA", 8) => "HGFEDCBA",
        (letters, _) => letters,
    };
    let byte = |letter: u8| big_endian[usize::from(letter - b'A')];
    let mut words = [0xdead; 4];
    for (word, pair) in words.iter_mut().zip(letters.as_bytes().chunks(2)) {
        *word = u16::from_be_bytes([byte(pair[0]), byte(pair[1])]);
    }
    words
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
    for (name, words, order) in ByteOrder::ALL {
        if words == 4 {
            let spelt = eight(name.as_bytes().try_into().unwrap());
            assert_eq!(number(Format::I64, order, spelt), value, "{name}");
        }
    }
    assert_eq!(number(Format::I64, ByteOrder::Cdab, eight(b"GHEFCDAB")), value, "four letters for eight");
    assert_eq!(number(Format::I64, ByteOrder::Dcba, eight(b"HGFEDCBA")), value, "four letters for eight");
}

proptest::proptest! {
    #[test]
    fn every_format_and_order_gives_back_what_was_put_in(bits: u64, order in 0..ByteOrder::ALL.len()) {
        let (letters, words, order) = ByteOrder::ALL[order];
        let of = |format: Format, bytes: &[u8]| number(format, order, in_order(letters, bytes));
        let fits = |format: Format| words == format.words() || (words == 2 && format.words() == 4);
        #[allow(clippy::cast_possible_truncation)]
        let (half, quarter, eighth) = (bits as u32, bits as u16, bits as u8);
        let finite = |value: f64| if value.is_finite() { Ok(Value::F64(value)) } else { Err(Quality::BAD_OUT_OF_RANGE) };
        if fits(Format::U16) {
            let bytes = quarter.to_be_bytes();
            proptest::prop_assert_eq!(of(Format::U16, &bytes), Ok(Value::I64(quarter.into())));
            proptest::prop_assert_eq!(of(Format::I16, &bytes), Ok(Value::I64(quarter.cast_signed().into())));
            proptest::prop_assert_eq!(of(Format::U8, &bytes), Ok(Value::I64(eighth.into())));
            proptest::prop_assert_eq!(of(Format::I8, &bytes), Ok(Value::I64(eighth.cast_signed().into())));
            let decimal = quarter % 10_000;
            let bcd = u16::from_str_radix(&decimal.to_string(), 16).unwrap();
            proptest::prop_assert_eq!(of(Format::Bcd16, &bcd.to_be_bytes()), Ok(Value::I64(decimal.into())));
        }
        if fits(Format::U32) {
            let bytes = half.to_be_bytes();
            proptest::prop_assert_eq!(of(Format::U32, &bytes), Ok(Value::I64(half.into())));
            proptest::prop_assert_eq!(of(Format::I32, &bytes), Ok(Value::I64(half.cast_signed().into())));
            proptest::prop_assert_eq!(of(Format::F32, &bytes), finite(f32::from_bits(half).into()));
            let decimal = half % 100_000_000;
            let bcd = u32::from_str_radix(&decimal.to_string(), 16).unwrap();
            proptest::prop_assert_eq!(of(Format::Bcd32, &bcd.to_be_bytes()), Ok(Value::I64(decimal.into())));
        }
        if fits(Format::U64) {
            let bytes = bits.to_be_bytes();
            proptest::prop_assert_eq!(of(Format::I64, &bytes), Ok(Value::I64(bits.cast_signed())));
            let unsigned = i64::try_from(bits).map(Value::I64).map_err(|_| Quality::BAD_OUT_OF_RANGE);
            proptest::prop_assert_eq!(of(Format::U64, &bytes), unsigned);
            proptest::prop_assert_eq!(of(Format::F64, &bytes), finite(f64::from_bits(bits)));
        }
    }

    #[test]
    fn texts_come_back_in_both_orders(text in "[ -~가-힣]{0,20}") {
        let text = text.trim_end();
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(2) + 2, 0);
        let words: Vec<_> = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        let format = Format::Text(u16::try_from(words.len()).unwrap());
        for (order, words) in [
            (ByteOrder::Abcd, words.clone()),
            (ByteOrder::Badc, words.iter().map(|word| word.swap_bytes()).collect()),
        ] {
            let decode_as = Decode::Register(Box::new(Register::new(format, order, None)));
            proptest::prop_assert_eq!(decode(&decode_as, &Raw::Long(words)), Ok(Value::Text(text.into())));
        }
    }

    #[test]
    fn no_registers_make_it_panic(words in proptest::collection::vec(0u16.., 0..8), aids in proptest::collection::vec(0u16.., 0..3), of in 0usize..13, order in 0..ByteOrder::ALL.len()) {
        let register = Register::new(Format::ALL[of].1, ByteOrder::ALL[order].2, None);
        let mut four = [0; 4];
        four.iter_mut().zip(&words).for_each(|(word, given)| *word = *given);
        for raw in [Raw::Words(four), Raw::Long(words), Raw::Aided(four, aids)] {
            let _ = decode(&Decode::Register(Box::new(register.clone())), &raw);
        }
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
    let register = Register::new(Format::U64, ByteOrder::Abcd, scale);
    let scaled = decode(&Decode::Register(Box::new(register)), &Raw::Words([0x8000, 0, 0, 0]));
    assert_eq!(scaled, Ok(Value::F64(9.223_372_036_854_776e17)), "a scaled u64 has no upper half to lose");
}

#[test]
fn a_line_through_two_points() {
    #[allow(clippy::float_cmp)]
    let is = |raw, value, given, wanted: f64| assert_eq!(Scale::between(raw, value).apply(given), wanted);
    is((0.0, 4_000.0), (0.0, 100.0), 1_000.0, 25.0);
    is((4.0, 20.0), (-50.0, 150.0), 12.0, 50.0);
    is((0.0, 100.0), (100.0, 0.0), 30.0, 70.0);
    is((0.0, 10.0), (0.0, 1.0), 20.0, 2.0);
}

#[test]
fn bits_of_a_word_count_from_the_lowest() {
    let bit = |bit| decode(&Decode::WordBit(bit), &Raw::Words([0x8008, 0, 0, 0]));
    assert_eq!([bit(3), bit(15)], [Ok(Value::Bool(true)), Ok(Value::Bool(true))]);
    assert_eq!([bit(0), bit(14)], [Ok(Value::Bool(false)), Ok(Value::Bool(false))]);
}

#[test]
fn json_values_must_be_of_their_type() {
    let json = |kind, raw| decode(&Decode::Json(kind, None), &raw);
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

/// Tags of the example with one more signal, at the first place of the first device.
fn tags_with(signal: &str) -> (Config, Tags) {
    let config = example(|text| {
        let (before, rest) = text.split_once("    { name = \"tonnage\"").unwrap();
        format!("{before}    {{ name = \"a\", {signal} }},\n{}", rest.split_once('\n').unwrap().1)
    });
    let tags = Tags::new(&config, 0);
    (config, tags)
}

/// What a reply of one signal at a time makes the tags emit.
fn applied(tags: &mut Tags, at_us: i64, raw: &Raw) -> Vec<(i64, Value, Quality)> {
    let readings = vec![Reading::new(0, raw.clone())];
    let mut emitted = Vec::new();
    tags.apply(
        &Reply { source: 0, ticket: 1, at_us, readings, delivery: None, dead: None },
        &mut |series, at, value, quality| {
            assert_eq!(series, 0);
            emitted.push((at, value, quality));
        },
    );
    emitted
}

fn word(value: i16) -> Raw {
    Raw::Words([value.cast_unsigned(), 0, 0, 0])
}

#[test]
fn beyond_what_is_plausible_a_reading_is_uncertain_and_beyond_what_is_valid_bad() {
    let (config, mut tags) =
        tags_with("metric = \"ambient_humidity\", at = \"holding:0\", type = \"i16\", valid_range = [-100, 1000]");
    assert_eq!(config.signals[0].plausible, Some([0.0, 100.0]), "the dictionary's");
    let emitted = [55, 120, -500].map(|value| applied(&mut tags, value.into(), &word(value)).remove(0));
    assert_eq!((&emitted[0].1, emitted[0].2), (&Value::I64(55), Quality::GOOD));
    assert_eq!((&emitted[1].1, emitted[1].2), (&Value::I64(120), Quality::UNCERTAIN_IMPLAUSIBLE), "it is not lost");
    assert_eq!((&emitted[2].1, emitted[2].2), (&Value::I64(0), Quality::BAD_OUT_OF_RANGE));

    // A value of a payload has its range in the unit that it is configured in.
    let config = example(|text| text.replace("path = \"voltage\", ", "path = \"voltage\", valid_range = [0, 60], "));
    let voltage = config.signals.iter().find(|signal| signal.name == "voltage").unwrap();
    let judged = |number| judge(voltage, &Raw::Number(number));
    assert_eq!(judged(24.0), (Some(Value::F64(24.0)), Quality::GOOD));
    assert_eq!(judged(60.5), (None, Quality::BAD_OUT_OF_RANGE));
}

#[test]
fn what_a_source_tells_late_passes_and_changes_nothing() {
    let (_, mut tags) =
        tags_with("metric = \"x_n\", counter = true, at = \"holding:0\", type = \"i16\", on_change = true");
    assert_eq!(applied(&mut tags, 10, &word(100)).len(), 1);
    assert_eq!(applied(&mut tags, 5, &word(90)), [(5, Value::I64(90), Quality::GOOD)], "no reset");
    assert_eq!(applied(&mut tags, 11, &word(100)), [], "the last reading is still the one before");
    let uncertain = Reading { quality: Quality::UNCERTAIN_SOURCE, ..Reading::new(0, word(100)) };
    let reply = Reply { source: 0, ticket: 1, at_us: 12, readings: vec![uncertain], delivery: None, dead: None };
    let mut qualities = Vec::new();
    tags.apply(&reply, &mut |_, _, _, quality| qualities.push(quality));
    assert_eq!(qualities, [Quality::UNCERTAIN_SOURCE], "what the source says of it stands");
}

#[test]
fn of_a_signal_that_stays_nothing_is_emitted_and_nothing_declared() {
    let whole = example(str::to_owned).births();
    let (config, mut tags) = tags_with("metric = \"x_secret\", at = \"holding:0\", type = \"i16\", upload = \"none\"");
    assert_eq!(config.births().series.len(), whole.series.len() - 1);
    assert!(config.births().series.iter().all(|series| series.metric.as_str() != "x_secret"));
    assert_eq!(applied(&mut tags, 0, &word(7)), []);
    tags.tick(i64::MAX, &mut |_, _, _, _| panic!("nothing becomes due"));
    tags.close(&mut |_, _, _, _| panic!("nothing is held"));
    // The next one is the first of the births.
    assert_eq!((config.signals[0].series, config.signals[1].series), (None, Some(0)));
    let readings = vec![Reading::new(1, word(7))];
    let mut series = Vec::new();
    let reply = Reply { source: 0, ticket: 1, at_us: 0, readings, delivery: None, dead: None };
    tags.apply(&reply, &mut |index, _, _, _| series.push(index));
    assert_eq!(series, [0]);
}
