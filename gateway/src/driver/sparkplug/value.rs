//! From a metric's value and the code of its type to a raw value.
//!
//! Types: Eclipse Sparkplug 3.0, section 6.4.16. Signed integers stand in unsigned fields, as
//! two's complement of their own width or of the field's: both are in use, and no number
//! means two things by them. Arrays are packed little-endian in bytes.

use super::payload::Refusal;
use super::wire::Value;
use crate::config::JsonType;
use crate::driver::Raw;

/// The code of a template.
pub(super) const TEMPLATE: u32 = 19;
const DATA_SET: u32 = 16;
const BYTES: u32 = 17;
const FILE: u32 = 18;

/// What one value can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scalar {
    /// Of so many bits.
    Signed(u32),
    /// Of so many bits.
    Unsigned(u32),
    Float,
    Double,
    Bool,
    Text,
}

use Scalar::{Bool, Double, Float, Signed, Text, Unsigned};

/// The type of a code, and whether it is an array of it.
fn of_code(code: u32) -> Result<(Scalar, bool), Refusal> {
    let (scalar, is_array) = match code {
        1 | 22 => (Signed(8), code == 22),
        2 | 23 => (Signed(16), code == 23),
        3 | 24 => (Signed(32), code == 24),
        4 | 25 => (Signed(64), code == 25),
        5 | 26 => (Unsigned(8), code == 26),
        6 | 27 => (Unsigned(16), code == 27),
        7 | 28 => (Unsigned(32), code == 28),
        8 | 29 => (Unsigned(64), code == 29),
        9 | 30 => (Float, code == 30),
        10 | 31 => (Double, code == 31),
        11 | 32 => (Bool, code == 32),
        // String, Text, UUID.
        12 | 14 | 15 | 33 => (Text, code == 33),
        // DateTime: milliseconds since 1970.
        13 | 34 => (Unsigned(64), code == 34),
        DATA_SET => return Err(Refusal::DataSet),
        BYTES | FILE => return Err(Refusal::Blob),
        TEMPLATE => return Err(Refusal::Nested),
        _ => return Err(Refusal::Type(code)),
    };
    Ok((scalar, is_array))
}

/// The raw value of a metric, or of one element of it where it is an array.
pub(super) fn raw(datatype: Option<u32>, value: &Value, element: Option<usize>) -> Result<Raw, Refusal> {
    let (scalar, is_array) = match datatype {
        // 0 is "unknown", which is as good as none.
        Some(code) if code != 0 => of_code(code)?,
        _ => (evident(value)?, false),
    };
    match (is_array, element) {
        (false, None) => single(scalar, value),
        (false, Some(_)) => Err(Refusal::NoArray),
        (true, None) => Err(Refusal::Array),
        (true, Some(at)) => match value {
            Value::Bytes(bytes) => packed(scalar, bytes, at),
            _ => Err(Refusal::Mismatch),
        },
    }
}

/// Whether a value can be one of what a signal is said to hold.
pub(super) fn fits(raw: &Raw, kind: JsonType) -> bool {
    match kind {
        JsonType::F64 | JsonType::I64 => matches!(raw, Raw::Integer(_) | Raw::Number(_)),
        JsonType::Bool => matches!(raw, Raw::Bit(_)),
        JsonType::Text => matches!(raw, Raw::Text(_)),
    }
}

/// The type of a value that nobody told and that cannot be mistaken for another.
fn evident(value: &Value) -> Result<Scalar, Refusal> {
    match value {
        Value::Float(_) => Ok(Float),
        Value::Double(_) => Ok(Double),
        Value::Bool(_) => Ok(Bool),
        Value::Text(_) => Ok(Text),
        // 65535 is that, or −1.
        Value::Int(_) | Value::Long(_) | Value::Bytes(_) => Err(Refusal::Untyped),
        Value::DataSet(_) => Err(Refusal::DataSet),
        Value::Template(_) => Err(Refusal::Nested),
    }
}

fn single(scalar: Scalar, value: &Value) -> Result<Raw, Refusal> {
    match (scalar, value) {
        (Signed(bits), Value::Int(field)) => signed(bits, (*field).into(), 32),
        (Signed(bits), Value::Long(field)) => signed(bits, *field, 64),
        (Unsigned(bits), Value::Int(field)) => unsigned(bits, (*field).into()),
        (Unsigned(bits), Value::Long(field)) => unsigned(bits, *field),
        (Float | Double, Value::Float(number)) => Ok(Raw::Number((*number).into())),
        (Float | Double, Value::Double(number)) => Ok(Raw::Number(*number)),
        (Bool, Value::Bool(bit)) => Ok(Raw::Bit(*bit)),
        (Text, Value::Text(text)) => Ok(Raw::Text(text.clone())),
        (_, Value::DataSet(_)) => Err(Refusal::DataSet),
        _ => Err(Refusal::Mismatch),
    }
}

/// A signed integer of some bits in a field of at least as many.
fn signed(bits: u32, field: u64, field_bits: u32) -> Result<Raw, Refusal> {
    let extend = |bits: u32| (field << (64 - bits)).cast_signed() >> (64 - bits);
    let fits = |number: i64| number >> (bits - 1) == 0 || number >> (bits - 1) == -1;
    // Extended to the field's width, or to 32 bits in one of 64, or not at all.
    let wide = extend(field_bits);
    let number = if bits >= 64 || fits(wide) {
        wide
    } else if field < 1 << bits {
        extend(bits)
    } else if field_bits == 64 && field >> 32 == 0 && fits(extend(32)) {
        extend(32)
    } else {
        return Err(Refusal::Mismatch);
    };
    Ok(Raw::Integer(number))
}

fn unsigned(bits: u32, field: u64) -> Result<Raw, Refusal> {
    if bits < 64 && field >> bits != 0 {
        return Err(Refusal::Mismatch);
    }
    // Beyond an i64 the digits cannot be kept, the size can.
    Ok(i64::try_from(field).map_or(Raw::Number(field as f64), Raw::Integer))
}

/// One element of an array.
fn packed(scalar: Scalar, bytes: &[u8], at: usize) -> Result<Raw, Refusal> {
    let missing = Refusal::Element(at);
    let width = match scalar {
        Signed(bits) | Unsigned(bits) => bits as usize / 8,
        Float => 4,
        Double => 8,
        Bool => return bit(bytes, at).map(Raw::Bit),
        Text => return text(bytes, at).map(Raw::Text),
    };
    if !bytes.len().is_multiple_of(width) {
        return Err(Refusal::Mismatch);
    }
    let element = bytes.chunks_exact(width).nth(at).ok_or(missing)?;
    let mut field = [0; 8];
    field[..width].copy_from_slice(element);
    let field = u64::from_le_bytes(field);
    match scalar {
        Signed(bits) => signed(bits, field, bits),
        Unsigned(bits) => unsigned(bits, field),
        #[allow(clippy::cast_possible_truncation, reason = "four bytes were taken")]
        Float => Ok(Raw::Number(f32::from_bits(field as u32).into())),
        _ => Ok(Raw::Number(f64::from_bits(field))),
    }
}

/// One bit of an array of them: their count in four bytes, then eight a byte from the
/// highest bit on.
fn bit(bytes: &[u8], at: usize) -> Result<bool, Refusal> {
    let (count, bits) = bytes.split_first_chunk::<4>().ok_or(Refusal::Mismatch)?;
    let count = u32::from_le_bytes(*count) as usize;
    if bits.len() != count.div_ceil(8) {
        return Err(Refusal::Mismatch);
    }
    if at >= count {
        return Err(Refusal::Element(at));
    }
    Ok(bits[at / 8] >> (7 - at % 8) & 1 == 1)
}

/// One text of an array of them, each with a zero behind it.
fn text(bytes: &[u8], at: usize) -> Result<String, Refusal> {
    let Some((0, whole)) = bytes.split_last() else {
        return Err(if bytes.is_empty() { Refusal::Element(at) } else { Refusal::Mismatch });
    };
    let text = whole.split(|byte| *byte == 0).nth(at).ok_or(Refusal::Element(at))?;
    std::str::from_utf8(text).map(Into::into).map_err(|_| Refusal::Mismatch)
}

#[cfg(test)]
mod tests;
