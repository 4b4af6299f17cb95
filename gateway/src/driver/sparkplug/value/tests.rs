use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn blob(bytes: &[u8]) -> Value {
    Value::Bytes(Bytes::copy_from_slice(bytes))
}

#[test]
fn every_type_is_read() {
    for (code, value, expected) in [
        (1, Value::Int(0xff), Raw::Integer(-1)),
        (1, Value::Int(0xffff_ffff), Raw::Integer(-1)),
        (1, Value::Long(u64::MAX), Raw::Integer(-1)),
        (1, Value::Long(0xffff_ff80), Raw::Integer(-128)),
        (1, Value::Int(127), Raw::Integer(127)),
        (2, Value::Int(0x8000), Raw::Integer(-32_768)),
        (2, Value::Int(0xffff_8000), Raw::Integer(-32_768)),
        (3, Value::Int(0x8000_0000), Raw::Integer(-2_147_483_648)),
        (3, Value::Long(0x8000_0000), Raw::Integer(-2_147_483_648)),
        (4, Value::Long(u64::MAX), Raw::Integer(-1)),
        (4, Value::Int(5), Raw::Integer(5)),
        (5, Value::Int(255), Raw::Integer(255)),
        (6, Value::Int(65_535), Raw::Integer(65_535)),
        (7, Value::Int(u32::MAX), Raw::Integer(4_294_967_295)),
        (7, Value::Long(4_294_967_295), Raw::Integer(4_294_967_295)),
        (8, Value::Long(1 << 62), Raw::Integer(1 << 62)),
        (8, Value::Long(1 << 63), Raw::Number(9_223_372_036_854_775_808.0)),
        (9, Value::Float(12.5), Raw::Number(12.5)),
        (10, Value::Double(0.1), Raw::Number(0.1)),
        (10, Value::Float(12.5), Raw::Number(12.5)),
        (11, Value::Bool(true), Raw::Bit(true)),
        (12, Value::Text("가열".into()), Raw::Text("가열".into())),
        (13, Value::Long(1_486_144_502_122), Raw::Integer(1_486_144_502_122)),
        (14, Value::Text("t".into()), Raw::Text("t".into())),
        (15, Value::Text("7f2c".into()), Raw::Text("7f2c".into())),
    ] {
        assert_eq!(raw(Some(code), &value, None), Ok(expected), "type {code}, {value:?}");
    }
}

#[test]
fn what_is_not_of_its_type_is_refused() {
    for (code, value) in [
        (1, Value::Int(0x100)),
        (1, Value::Int(0xffff_ff7f)),
        (2, Value::Int(0x1_0000)),
        (3, Value::Long(1 << 32)),
        (5, Value::Int(256)),
        (7, Value::Long(1 << 32)),
        (9, Value::Int(1)),
        (11, Value::Int(1)),
        (12, Value::Int(1)),
        (3, Value::Text("1".into())),
        (3, blob(&[1, 0, 0, 0])),
    ] {
        assert_eq!(raw(Some(code), &value, None), Err(Refusal::Mismatch), "type {code}, {value:?}");
    }
}

#[test]
fn what_is_no_value_says_why() {
    let data_set = Value::DataSet(Bytes::new());
    assert_eq!(raw(Some(DATA_SET), &data_set, None), Err(Refusal::DataSet));
    assert_eq!(raw(None, &data_set, None), Err(Refusal::DataSet));
    assert_eq!(raw(Some(3), &data_set, None), Err(Refusal::DataSet));
    assert_eq!(raw(Some(BYTES), &blob(&[1]), None), Err(Refusal::Blob));
    assert_eq!(raw(Some(FILE), &blob(&[1]), None), Err(Refusal::Blob));
    assert_eq!(raw(Some(20), &Value::Int(1), None), Err(Refusal::Type(20)));
    assert_eq!(raw(Some(99), &Value::Int(1), None), Err(Refusal::Type(99)));
}

#[test]
fn without_a_type_only_what_cannot_be_mistaken_is_taken() {
    for told in [None, Some(0)] {
        assert_eq!(raw(told, &Value::Double(0.1), None), Ok(Raw::Number(0.1)));
        assert_eq!(raw(told, &Value::Bool(false), None), Ok(Raw::Bit(false)));
        assert_eq!(raw(told, &Value::Text("t".into()), None), Ok(Raw::Text("t".into())));
        assert_eq!(raw(told, &Value::Int(65_535), None), Err(Refusal::Untyped), "or is it -1");
        assert_eq!(raw(told, &Value::Long(1), None), Err(Refusal::Untyped));
    }
}

#[test]
fn elements_of_arrays_are_taken_one_by_one() {
    for (code, bytes, at, expected) in [
        (22, &[0x01, 0xfe][..], 1, Raw::Integer(-2)),
        (23, &[0x01, 0x00, 0xfe, 0xff], 1, Raw::Integer(-2)),
        (24, &[0xfe, 0xff, 0xff, 0xff], 0, Raw::Integer(-2)),
        (25, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 0, Raw::Integer(-2)),
        (26, &[0x01, 0xfe], 1, Raw::Integer(254)),
        (27, &[0x01, 0x00, 0xfe, 0xff], 1, Raw::Integer(65_534)),
        (28, &[0x00, 0x00, 0x00, 0x80], 0, Raw::Integer(2_147_483_648)),
        (29, &[0x07, 0, 0, 0, 0, 0, 0, 0], 0, Raw::Integer(7)),
        (30, &[0x00, 0x00, 0x48, 0x41], 0, Raw::Number(12.5)),
        (31, &[0, 0, 0, 0, 0, 0, 0xd0, 0x3f], 0, Raw::Number(0.25)),
        // The specification's own example: twelve bits, 0011 0100 1101.
        (32, &[0x0c, 0, 0, 0, 0x34, 0xd0], 2, Raw::Bit(true)),
        (32, &[0x0c, 0, 0, 0, 0x34, 0xd0], 4, Raw::Bit(false)),
        (32, &[0x0c, 0, 0, 0, 0x34, 0xd0], 11, Raw::Bit(true)),
        (33, b"ABC\0hello\0", 1, Raw::Text("hello".into())),
        (33, b"\0\0", 1, Raw::Text(String::new())),
        (34, &[0x0a, 0, 0, 0, 0, 0, 0, 0], 0, Raw::Integer(10)),
    ] {
        assert_eq!(raw(Some(code), &blob(bytes), Some(at)), Ok(expected), "type {code}, {bytes:?}[{at}]");
    }
    assert_eq!(raw(Some(23), &blob(&[1, 0]), Some(1)), Err(Refusal::Element(1)));
    assert_eq!(raw(Some(33), &blob(b""), Some(0)), Err(Refusal::Element(0)));
    assert_eq!(raw(Some(33), &blob(b"a\0"), Some(1)), Err(Refusal::Element(1)));
    assert_eq!(raw(Some(32), &blob(&[9, 0, 0, 0, 1, 2]), Some(9)), Err(Refusal::Element(9)));
    assert_eq!(raw(Some(23), &blob(&[1, 0, 0]), Some(0)), Err(Refusal::Mismatch), "three bytes are no words");
    assert_eq!(raw(Some(32), &blob(&[9, 0, 0, 0, 1]), Some(0)), Err(Refusal::Mismatch), "nine bits in a byte");
    assert_eq!(raw(Some(33), &blob(b"a"), Some(0)), Err(Refusal::Mismatch), "no zero behind it");
    assert_eq!(raw(Some(23), &blob(&[1, 0]), None), Err(Refusal::Array));
    assert_eq!(raw(Some(3), &Value::Int(1), Some(0)), Err(Refusal::NoArray));
}

proptest! {
    #[test]
    fn signed_numbers_are_the_same_in_every_field(number in any::<i64>(), bits in prop::sample::select(vec![8u32, 16, 32])) {
        // What a node holds of that width.
        let number = number << (64 - bits) >> (64 - bits);
        let code = bits.ilog2() - 2;
        #[allow(clippy::cast_possible_truncation, reason = "the field holds 32 bits")]
        let (narrow, wide) = (number.cast_unsigned() as u32, number.cast_unsigned());
        let masked = wide & ((1 << bits) - 1);
        #[allow(clippy::cast_possible_truncation, reason = "at most 32 bits")]
        let own_width = masked as u32;
        for value in [Value::Int(narrow), Value::Long(wide), Value::Int(own_width), Value::Long(masked), Value::Long(narrow.into())] {
            prop_assert_eq!(raw(Some(code), &value, None), Ok(Raw::Integer(number)));
        }
    }

    #[test]
    fn no_array_makes_it_panic(code in 22u32..35, bytes in prop::collection::vec(any::<u8>(), 0..40), at in 0usize..50) {
        let _ = raw(Some(code), &blob(&bytes), Some(at));
    }
}
