//! From a raw value to a value of the signal's type, or to the reason why there is none.

use sandan_proto::limits::MAX_TEXT_BYTES;
use sandan_proto::reading::{Quality, Value};

use crate::config::{ByteOrder, Decode, Format, JsonType, Scale};
use crate::driver::Raw;

/// Integers beyond this are not told apart by an f64, so one that came as a float is
/// not known exactly.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// Decodes one raw value. The error is the quality of the reading that has no value.
pub fn decode(decode: Decode, raw: &Raw) -> Result<Value, Quality> {
    if let Raw::Failed(quality) = raw {
        return Err(*quality);
    }
    match (decode, raw) {
        (Decode::Bit | Decode::Json(JsonType::Bool, _), Raw::Bit(bit)) => Ok(Value::Bool(*bit)),
        (Decode::WordBit(bit), Raw::Words(words)) => Ok(Value::Bool(words[0] >> bit & 1 == 1)),
        (Decode::Number(format, order, scale), Raw::Words(words)) => number(format, bits(format, order, *words), scale),
        (Decode::Json(JsonType::F64, scale), Raw::Number(number)) => float(*number, scale),
        (Decode::Json(JsonType::F64, scale), Raw::Integer(integer)) => float(*integer as f64, scale),
        (Decode::Json(JsonType::I64, None), Raw::Integer(integer)) => Ok(Value::I64(*integer)),
        (Decode::Json(JsonType::I64, Some(scale)), Raw::Integer(integer)) => float(*integer as f64, Some(scale)),
        (Decode::Json(JsonType::I64, scale), Raw::Number(number)) => whole(*number, scale),
        (Decode::Json(JsonType::Text, _), Raw::Text(text)) => {
            let fits = text.len() <= MAX_TEXT_BYTES && !text.contains('\0');
            if fits { Ok(Value::Text(text.clone())) } else { Err(Quality::BAD_OUT_OF_RANGE) }
        }
        _ => Err(Quality::BAD_UNDECODABLE),
    }
}

/// The number's bits, the most significant first, at the low end of a u64.
fn bits(format: Format, order: ByteOrder, words: [u16; 4]) -> u64 {
    let words = &words[..usize::from(format.words())];
    let swapped = matches!(order, ByteOrder::Badc | ByteOrder::Dcba) && words.len() > 1;
    let reversed = matches!(order, ByteOrder::Cdab | ByteOrder::Dcba);
    let join = |bits: u64, word: &u16| bits << 16 | u64::from(if swapped { word.swap_bytes() } else { *word });
    if reversed { words.iter().rev().fold(0, join) } else { words.iter().fold(0, join) }
}

#[allow(clippy::cast_possible_truncation, reason = "the bits of a narrower type stand at the low end")]
fn number(format: Format, bits: u64, scale: Option<Scale>) -> Result<Value, Quality> {
    let integer = match format {
        Format::I16 => i64::from(bits as u16 as i16),
        Format::I32 => i64::from(bits as u32 as i32),
        Format::U16 | Format::U32 | Format::I64 => bits as i64,
        Format::U64 => match (i64::try_from(bits), scale) {
            (Ok(integer), _) => integer,
            (Err(_), Some(_)) => return float(bits as f64, scale),
            (Err(_), None) => return Err(Quality::BAD_OUT_OF_RANGE),
        },
        Format::F32 => return float(f64::from(f32::from_bits(bits as u32)), scale),
        Format::F64 => return float(f64::from_bits(bits), scale),
    };
    if scale.is_some() { float(integer as f64, scale) } else { Ok(Value::I64(integer)) }
}

/// NaN and infinities are what devices say when they have no number.
fn float(raw: f64, scale: Option<Scale>) -> Result<Value, Quality> {
    let value = scale.map_or(raw, |scale| scale.apply(raw));
    if value.is_finite() { Ok(Value::F64(value)) } else { Err(Quality::BAD_OUT_OF_RANGE) }
}

/// JSON knows no integers: 3.0 is one, 3.5 is not.
fn whole(number: f64, scale: Option<Scale>) -> Result<Value, Quality> {
    if scale.is_some() {
        return float(number, scale);
    }
    if number.fract() != 0.0 {
        return Err(Quality::BAD_UNDECODABLE);
    }
    if number.abs() > EXACT_INTEGERS {
        return Err(Quality::BAD_OUT_OF_RANGE);
    }
    #[allow(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    Ok(Value::I64(number as i64))
}
