//! What registers mean: rows of configuration, words of the wire, and what is to come out.

use crate::config::tests::example;
use crate::config::{Config, Decode};
use crate::driver::Raw;

use super::decode;

/// The first signal of a configuration whose row goes on with this.
fn signal(row: &str) -> Config {
    example(|text| {
        let row = format!("{{ name = \"a\", metric = \"x_a\", at = \"holding:0\", {row} }},");
        let (before, rest) = text.split_once("    { name = \"tonnage\"").unwrap();
        format!("{before}{row}\n{}", rest.split_once('\n').unwrap().1)
    })
}

/// The value, or the quality of a reading without one.
fn read(row: &str, words: &[u16], aids: &[u16]) -> String {
    let config = signal(row);
    let decoded = &config.signals[0].decode;
    let long = matches!(decoded, Decode::Register(register) if register.format.is_text());
    let mut four = [0; 4];
    four.iter_mut().zip(words).for_each(|(word, given)| *word = *given);
    let raw = match (long, aids) {
        (true, _) => Raw::Long(words.to_vec()),
        (false, []) => Raw::Words(four),
        (false, aids) => Raw::Aided(four, aids.to_vec()),
    };
    match decode(decoded, &raw) {
        Ok(value) => {
            assert_eq!(value.value_type(), decoded.value_type(), "{row}");
            value.to_string()
        }
        Err(quality) => quality.to_string(),
    }
}

#[test]
fn rows_and_what_comes_out_of_them() {
    const RUN: &str = r#"type = "u16", names = { 0 = "stop", 1 = "run", 0x10 = "fault" }"#;
    const FLAGS: &str = r#"type = "u16", flags = { 0 = "overheat", 3 = "door", 15 = "estop" }"#;
    const FIELD: &str = r#"type = "u16", mask = 0x00F0, names = { 2 = "manual" }"#;
    const TEXT: &str = r#"type = "text", length = 3"#;
    const SENTINELS: &str = r#"type = "i16", scale = 0.1, sentinels = [0x7FFF, -32768, 30000]"#;
    const FLOATS: &str = r#"type = "f32", sentinels = [-999, 0.1, "nan"]"#;
    const RANGE: &str = r#"type = "u16", raw_range = [0, 4000], unit_range = [-50, 150], valid_range = [-40, 120]"#;
    let rows: [(&str, &[u16], &str); 47] = [
        // 8 bits: the half of the register.
        (r#"type = "u8""#, &[0xAB12], "18"),
        (r#"type = "u8", byte = "low""#, &[0xAB12], "18"),
        (r#"type = "u8", byte = "high""#, &[0xAB12], "171"),
        (r#"type = "i8", byte = "high""#, &[0xAB12], "-85"),
        (r#"type = "i8", scale = 0.5"#, &[0x00FF], "-0.5"),
        // 16 bits with their bytes swapped.
        (r#"type = "u16", byte_order = "AB""#, &[0x0102], "258"),
        (r#"type = "u16", byte_order = "BA""#, &[0x0102], "513"),
        (r#"type = "i16", byte_order = "BA""#, &[0x00FF], "-256"),
        // Halves: one, the largest, the smallest, infinity, not a number.
        (r#"type = "f16""#, &[0x3C00], "1"),
        (r#"type = "f16""#, &[0x7BFF], "65504"),
        (r#"type = "f16""#, &[0x0001], "0.00000005960464477539063"),
        (r#"type = "f16""#, &[0xC248], "-3.140625"),
        (r#"type = "f16""#, &[0x7C00], "bad(out_of_range)"),
        (r#"type = "f16""#, &[0x7E00], "bad(out_of_range)"),
        // Decimal digits.
        (r#"type = "bcd16""#, &[0x1234], "1234"),
        (r#"type = "bcd16", scale = 0.01"#, &[0x1234], "12.34"),
        (r#"type = "bcd16""#, &[0x12A4], "bad(undecodable)"),
        (r#"type = "bcd32""#, &[0x1234, 0x5678], "12345678"),
        (r#"type = "bcd32", byte_order = "CDAB""#, &[0x5678, 0x1234], "12345678"),
        // Texts.
        (TEXT, &[0x5055, 0x4D50, 0x2020], "PUMP"),
        (TEXT, &[0x5055, 0x4D00, 0x5858], "PUM"),
        (TEXT, &[0xEC98, 0xA8EB, 0x8F84], "온도"),
        (TEXT, &[0xFF41, 0, 0], "bad(undecodable)"),
        (r#"type = "text", length = 2, byte_order = "BA""#, &[0x5550, 0x504D], "PUMP"),
        // Names of numbers and of bits.
        (RUN, &[1], "run"),
        (RUN, &[16], "fault"),
        (RUN, &[9], "9"),
        (FLAGS, &[0], ""),
        (FLAGS, &[0x8001], "overheat+estop"),
        (FLAGS, &[0x0028], "door+bit 5"),
        (FIELD, &[0xFF2F], "manual"),
        (r#"type = "u16", mask = 0x0F00, scale = 2"#, &[0xF5FF], "10"),
        // "No value".
        (SENTINELS, &[0x7FFF], "bad(sentinel)"),
        (SENTINELS, &[0x8000], "bad(sentinel)"),
        (SENTINELS, &[30_000], "bad(sentinel)"),
        (SENTINELS, &[0x7FFE], "3276.6"),
        (r#"type = "u32", sentinels = [0xFFFFFFFF]"#, &[0xFFFF, 0xFFFF], "bad(sentinel)"),
        (r#"type = "u64", sentinels = [0xFFFFFFFFFFFFFFFF]"#, &[0xFFFF; 4], "bad(sentinel)"),
        (r#"type = "i64", sentinels = [-1]"#, &[0xFFFF; 4], "bad(sentinel)"),
        (FLOATS, &[0xC479, 0xC000], "bad(sentinel)"),
        (FLOATS, &[0x3DCC, 0xCCCD], "bad(sentinel)"),
        (FLOATS, &[0x7FC0, 0], "bad(sentinel)"),
        (r#"type = "f32""#, &[0x7FC0, 0], "bad(out_of_range)"),
        // A line through two points, and what can be true.
        (RANGE, &[2_000], "50"),
        (RANGE, &[3_999], "bad(out_of_range)"),
        (RANGE, &[0], "bad(out_of_range)"),
        (r#"type = "u16", valid_range = [10, 20]"#, &[20], "20"),
    ];
    for (row, words, wanted) in rows {
        assert_eq!(read(row, words, &[]), wanted, "{row} of {words:04x?}");
    }
}

#[test]
fn other_registers_say_how_to_read_a_number() {
    const TK: &str = r#"type = "i16", unit = "Cel", decimals_at = "input:1001", unit_at = "input:1002", units = { 0 = "Cel", 1 = "[degF]" }"#;
    const SUNSPEC: &str = r#"type = "i16", unit = "W", exponent_at = "holding:5", sentinels = [0x8000]"#;
    const CODES: &str = r#"type = "u16", factor_at = "holding:5", factors = { 0 = 1, 1 = 0.1, 2 = 0.01 }"#;
    const OTHER: &str =
        r#"type = "u16", unit = "kPa", unit_at = "holding:5", units = { 0 = "kPa", 1 = "bar", 2 = "N" }"#;
    let rows: [(&str, u16, &[u16], &str); 18] = [
        (TK, 235, &[0, 0], "235"),
        (TK, 235, &[1, 0], "23.5"),
        (TK, 2_120, &[1, 1], "100"),
        (TK, 235, &[1, 7], "bad(undecodable)"),
        (TK, 235, &[21, 0], "bad(out_of_range)"),
        (SUNSPEC, 1_234, &[0], "1234"),
        (SUNSPEC, 1_234, &[1], "12340"),
        (SUNSPEC, 1_234, &[0xFFFE], "12.34"),
        (SUNSPEC, 1_234, &[0x8000], "bad(sentinel)"),
        (SUNSPEC, 0x8000, &[0], "bad(sentinel)"),
        (SUNSPEC, 1, &[0x7FFF], "bad(out_of_range)"),
        (CODES, 123, &[0], "123"),
        (CODES, 123, &[2], "1.23"),
        (CODES, 123, &[3], "bad(undecodable)"),
        (OTHER, 7, &[0], "7"),
        (OTHER, 7, &[1], "700"),
        (OTHER, 7, &[2], "bad(undecodable)"),
        // One aid is missing.
        (TK, 235, &[1], "bad(undecodable)"),
    ];
    for (row, word, aids, wanted) in rows {
        assert_eq!(read(row, &[word], aids), wanted, "{row} of {word} with {aids:04x?}");
    }
}
