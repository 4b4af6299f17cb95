//! From a raw value to a value of the signal's type, or to the reason why there is none.

use sandan_proto::limits::MAX_TEXT_BYTES;
use sandan_proto::reading::{Quality, Value};

use crate::config::{Decode, JsonType, Register, Scale};
use crate::driver::Raw;

mod register;

/// Integers beyond this are not told apart by an f64, so one that came as a float is
/// not known exactly.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// Decodes one raw value. The error is the quality of the reading that has no value.
pub fn decode(decode: &Decode, raw: &Raw) -> Result<Value, Quality> {
    if let Raw::Failed(quality) = raw {
        return Err(*quality);
    }
    match (decode, raw) {
        (Decode::Bit | Decode::Json(JsonType::Bool, _), Raw::Bit(bit)) => Ok(Value::Bool(*bit)),
        (Decode::WordBit(bit), Raw::Words(words)) => Ok(Value::Bool(words[0] >> bit & 1 == 1)),
        (Decode::Register(register), Raw::Words(words)) => of_words(register, words, &[]),
        (Decode::Register(register), Raw::Long(words)) => of_words(register, words, &[]),
        (Decode::Register(register), Raw::Aided(words, aids)) => of_words(register, words, aids),
        (Decode::Json(JsonType::F64, scale), Raw::Number(number)) => float(*number, *scale),
        (Decode::Json(JsonType::F64, scale), Raw::Integer(integer)) => float(*integer as f64, *scale),
        (Decode::Json(JsonType::I64, None), Raw::Integer(integer)) => Ok(Value::I64(*integer)),
        (Decode::Json(JsonType::I64, Some(scale)), Raw::Integer(integer)) => float(*integer as f64, Some(*scale)),
        (Decode::Json(JsonType::I64, scale), Raw::Number(number)) => whole(*number, *scale),
        (Decode::Json(JsonType::Text, _), Raw::Text(text)) => bounded(text),
        _ => Err(Quality::BAD_UNDECODABLE),
    }
}

fn of_words(register: &Register, words: &[u16], aids: &[u16]) -> Result<Value, Quality> {
    let width = usize::from(register.format.words());
    let words = words.get(..width).ok_or(Quality::BAD_UNDECODABLE)?;
    if aids.len() != register.aids.len() {
        return Err(Quality::BAD_UNDECODABLE);
    }
    register::decode(register, words, aids)
}

/// A text that a column takes.
fn bounded(text: &str) -> Result<Value, Quality> {
    let fits = text.len() <= MAX_TEXT_BYTES && !text.contains('\0');
    if fits { Ok(Value::Text(text.into())) } else { Err(Quality::BAD_OUT_OF_RANGE) }
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

#[cfg(test)]
mod tests;
