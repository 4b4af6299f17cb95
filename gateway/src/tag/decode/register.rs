//! Registers: types, byte orders, names, sentinels, and what other registers say.

use sandan_proto::reading::{Quality, Value};

use super::{bounded, float};
use crate::config::{Aid, ByteOrder, Format, Meaning, Register, Scale, Sentinel};

/// The `sunssf` of `SunSpec` says with this that there is no exponent, and so no value.
const NO_EXPONENT: u16 = 0x8000;
/// No instrument shifts its decimal point further; `SunSpec` allows 10.
const MAX_EXPONENT: i32 = 20;

/// Decodes exactly the words of the format, with one word for each of the register's aids.
pub(super) fn decode(register: &Register, words: &[u16], aids: &[u16]) -> Result<Value, Quality> {
    let format = register.format;
    if format.is_text() {
        return text(words, register.order.swaps_bytes());
    }
    let all = bits(format, register.order, words);
    if register.sentinels.iter().any(|sentinel| is_sentinel(format, all, *sentinel)) {
        return Err(Quality::BAD_SENTINEL);
    }
    let bits = register.mask.map_or(all, |mask| (all & mask) >> mask.trailing_zeros().min(63));
    let number = number(format, bits)?;
    match &register.meaning {
        Meaning::Value(scale) => measured(register, number, *scale, aids),
        Meaning::Names(names) => {
            let Number::Integer(integer) = number else { return Err(Quality::BAD_UNDECODABLE) };
            names.get(&integer).map_or_else(|| bounded(&integer.to_string()), |name| bounded(name))
        }
        Meaning::Flags(names) => {
            let set = (0..64).filter(|bit| bits >> bit & 1 == 1);
            let shown = set.map(|bit| names.get(&bit).cloned().unwrap_or_else(|| format!("bit {bit}")));
            bounded(&shown.collect::<Vec<_>>().join("+"))
        }
    }
}

/// A number, as far as it is exact.
#[derive(Debug, Clone, Copy)]
enum Number {
    Integer(i64),
    /// Beyond what an i64 holds.
    Large(u64),
    Float(f64),
}

impl Number {
    fn as_f64(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Large(large) => large as f64,
            Self::Float(float) => float,
        }
    }
}

fn measured(register: &Register, number: Number, scale: Option<Scale>, aids: &[u16]) -> Result<Value, Quality> {
    let value = if register.aids.is_empty() {
        match (number, scale) {
            (Number::Integer(integer), None) => Value::I64(integer),
            (Number::Large(_), None) => return Err(Quality::BAD_OUT_OF_RANGE),
            (number, scale) => float(number.as_f64(), scale)?,
        }
    } else {
        let mut value = number.as_f64();
        let mut unit = None;
        for (aid, word) in register.aids.iter().zip(aids) {
            match aid {
                Aid::Decimals => value = shifted(value, -i32::from(*word))?,
                Aid::Exponent if *word == NO_EXPONENT => return Err(Quality::BAD_SENTINEL),
                Aid::Exponent => value = shifted(value, word.cast_signed().into())?,
                Aid::Factor(factors) => {
                    let factor = factors.get(word).ok_or(Quality::BAD_UNDECODABLE)?;
                    value = Scale::new(*factor, 0.0).apply(value);
                }
                Aid::Unit(units) => unit = Some(units.get(word).copied().flatten().ok_or(Quality::BAD_UNDECODABLE)?),
            }
        }
        value = scale.map_or(value, |scale| scale.apply(value));
        float(value, unit)?
    };
    let is_true =
        |(least, greatest): (f64, f64)| value.as_f64().is_some_and(|value| least <= value && value <= greatest);
    if register.valid.is_none_or(is_true) { Ok(value) } else { Err(Quality::BAD_OUT_OF_RANGE) }
}

/// A number with its decimal point moved, to the right for a positive exponent.
fn shifted(value: f64, exponent: i32) -> Result<f64, Quality> {
    if exponent.abs() > MAX_EXPONENT {
        return Err(Quality::BAD_OUT_OF_RANGE);
    }
    // Powers of ten up to 22 are exact, and so is one rounding: 123 and -1 give 12.3.
    let power = 10f64.powi(exponent.abs());
    Ok(if exponent < 0 { value / power } else { value * power })
}

/// The value's bits, the most significant first, at the low end of a u64.
fn bits(format: Format, order: ByteOrder, words: &[u16]) -> u64 {
    let count = words.len();
    let join = |bits: u64, place: usize| {
        // From the place of a word in the value to its place on the wire.
        let words_swapped = if order.swaps_words() && count > 1 { place ^ 1 } else { place };
        let on_wire = if order.swaps_halves() && count > 2 { words_swapped ^ 2 } else { words_swapped };
        let word = words[on_wire];
        bits << 16 | u64::from(if order.swaps_bytes() { word.swap_bytes() } else { word })
    };
    let all = (0..count).fold(0, join);
    all & width_mask(format)
}

fn width_mask(format: Format) -> u64 {
    1u64.checked_shl(format.bits()).map_or(u64::MAX, |beyond| beyond - 1)
}

#[allow(clippy::cast_possible_truncation, reason = "the bits of a narrower type stand at the low end")]
fn number(format: Format, bits: u64) -> Result<Number, Quality> {
    Ok(match format {
        Format::I8 => Number::Integer((bits as u8).cast_signed().into()),
        Format::I16 => Number::Integer((bits as u16).cast_signed().into()),
        Format::I32 => Number::Integer((bits as u32).cast_signed().into()),
        Format::I64 | Format::U8 | Format::U16 | Format::U32 => Number::Integer(bits.cast_signed()),
        Format::U64 => i64::try_from(bits).map_or(Number::Large(bits), Number::Integer),
        Format::Bcd16 | Format::Bcd32 => Number::Integer(bcd(bits, format.bits()).ok_or(Quality::BAD_UNDECODABLE)?),
        Format::F16 => Number::Float(half(bits as u16)),
        Format::F32 => Number::Float(f32::from_bits(bits as u32).into()),
        Format::F64 => Number::Float(f64::from_bits(bits)),
        Format::Text(_) => return Err(Quality::BAD_UNDECODABLE),
    })
}

/// Decimal digits, a nibble each. `None` for a nibble above 9.
fn bcd(bits: u64, width: u32) -> Option<i64> {
    (0..width).step_by(4).rev().try_fold(0, |number, shift| {
        let digit = (bits >> shift & 0xF).cast_signed();
        (digit <= 9).then_some(number * 10 + digit)
    })
}

/// IEEE 754 binary16: one bit of sign, five of exponent (bias 15), ten of fraction.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3FF);
    let exponent = i32::from(bits >> 10 & 0x1F);
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

fn is_sentinel(format: Format, bits: u64, sentinel: Sentinel) -> bool {
    match sentinel {
        Sentinel::Bits(given) => bits == given & width_mask(format),
        Sentinel::Nan => matches!(number(format, bits), Ok(Number::Float(float)) if float.is_nan()),
        #[allow(clippy::float_cmp, reason = "a sentinel is one very number")]
        Sentinel::Number(given) => match (format, number(format, bits)) {
            // What a person writes as 0.1 is in a narrower float the nearest one to it.
            #[allow(clippy::cast_possible_truncation, reason = "so does the device")]
            (Format::F32, Ok(Number::Float(float))) => float == f64::from(given as f32),
            (_, Ok(number)) => number.as_f64() == given,
            (_, Err(_)) => false,
        },
    }
}

/// Two characters a register, up to the first NUL; spaces that fill it up are dropped.
fn text(words: &[u16], swapped: bool) -> Result<Value, Quality> {
    let bytes: Vec<u8> =
        words.iter().flat_map(|word| if swapped { word.to_le_bytes() } else { word.to_be_bytes() }).collect();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = str::from_utf8(&bytes[..end]).map_err(|_| Quality::BAD_UNDECODABLE)?;
    bounded(text.trim_end())
}
