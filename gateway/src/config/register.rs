//! What a run of registers means: its type, the order of its bytes, what its values are
//! called, which of them say "no value", and which other registers it is read with.

use std::collections::BTreeMap;

use sandan_proto::reading::ValueType;

use super::signal::Scale;
use super::units::{Conversion, conversion};

/// How registers hold a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Format {
    /// The low byte of a register; the high one with the bytes swapped.
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    /// IEEE 754 binary16.
    F16,
    F32,
    F64,
    /// Four decimal digits, a nibble each.
    Bcd16,
    /// Eight of them.
    Bcd32,
    /// ASCII or UTF-8, two bytes a register, up to the first NUL; so many registers.
    Text(u16),
}

impl Format {
    /// All of them but text, as they are written.
    pub const ALL: [(&str, Self); 13] = [
        ("i8", Self::I8),
        ("u8", Self::U8),
        ("i16", Self::I16),
        ("u16", Self::U16),
        ("i32", Self::I32),
        ("u32", Self::U32),
        ("i64", Self::I64),
        ("u64", Self::U64),
        ("f16", Self::F16),
        ("f32", Self::F32),
        ("f64", Self::F64),
        ("bcd16", Self::Bcd16),
        ("bcd32", Self::Bcd32),
    ];
    /// How many registers it takes.
    pub fn words(self) -> u16 {
        match self {
            Self::I8 | Self::U8 | Self::I16 | Self::U16 | Self::F16 | Self::Bcd16 => 1,
            Self::I32 | Self::U32 | Self::F32 | Self::Bcd32 => 2,
            Self::I64 | Self::U64 | Self::F64 => 4,
            Self::Text(words) => words,
        }
    }
    /// How many bits its value has.
    pub fn bits(self) -> u32 {
        if matches!(self, Self::I8 | Self::U8) { 8 } else { 16 * u32::from(self.words()) }
    }
    /// Whether it is IEEE 754.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }
    /// Whether it is a text.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text(_))
    }
    /// Whether it is an integer without a sign.
    pub fn is_unsigned(self) -> bool {
        matches!(self, Self::U8 | Self::U16 | Self::U32 | Self::U64)
    }
    /// Whether it is decimal digits.
    pub fn is_bcd(self) -> bool {
        matches!(self, Self::Bcd16 | Self::Bcd32)
    }
    /// Whether it is an integer in two's complement or without a sign: what masks and
    /// names are for.
    pub fn is_integer(self) -> bool {
        !self.is_float() && !self.is_text() && !matches!(self, Self::Bcd16 | Self::Bcd32)
    }
}

/// In which order the bytes of a number come, A being the most significant.
///
/// The four-letter names show 32 bits; for 64 bits they go by the same two rules: are
/// all words reversed, and are the bytes in each word swapped. Of 64 bits there are four
/// more, in which the 32-bit halves and the words in each half are reversed one without
/// the other. A single register is AB, or BA with its bytes swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Big endian: words as they come, bytes as they come. ABCDEFGH.
    Abcd,
    /// Words reversed, bytes as they come. GHEFCDAB.
    Cdab,
    /// Words as they come, bytes swapped in each. BADCFEHG.
    Badc,
    /// Little endian: words reversed, bytes swapped in each. HGFEDCBA.
    Dcba,
    /// 64 bits: words swapped in each half, the halves as they come.
    Cdabghef,
    /// 64 bits: the halves swapped, the words in each as they come.
    Efghabcd,
    /// 64 bits: each half little endian, the halves as they come.
    Dcbahgfe,
    /// 64 bits: the halves swapped, and the bytes in each word.
    Fehgbadc,
}

impl ByteOrder {
    /// All of them, as they are written for the number of registers that they are for.
    pub const ALL: [(&str, u16, Self); 14] = [
        ("ABCD", 2, Self::Abcd),
        ("CDAB", 2, Self::Cdab),
        ("BADC", 2, Self::Badc),
        ("DCBA", 2, Self::Dcba),
        ("AB", 1, Self::Abcd),
        ("BA", 1, Self::Badc),
        ("ABCDEFGH", 4, Self::Abcd),
        ("GHEFCDAB", 4, Self::Cdab),
        ("BADCFEHG", 4, Self::Badc),
        ("HGFEDCBA", 4, Self::Dcba),
        ("CDABGHEF", 4, Self::Cdabghef),
        ("EFGHABCD", 4, Self::Efghabcd),
        ("DCBAHGFE", 4, Self::Dcbahgfe),
        ("FEHGBADC", 4, Self::Fehgbadc),
    ];
    /// The four that a device can have for all its numbers, as they are written.
    pub const OF_DEVICES: [(&str, Self); 4] =
        [("ABCD", Self::Abcd), ("CDAB", Self::Cdab), ("BADC", Self::Badc), ("DCBA", Self::Dcba)];

    /// Whether the bytes in each word are swapped.
    pub fn swaps_bytes(self) -> bool {
        matches!(self, Self::Badc | Self::Dcba | Self::Dcbahgfe | Self::Fehgbadc)
    }
    /// Whether neighbouring words are swapped.
    pub fn swaps_words(self) -> bool {
        matches!(self, Self::Cdab | Self::Dcba | Self::Cdabghef | Self::Dcbahgfe)
    }
    /// Whether the halves of 64 bits are swapped.
    pub fn swaps_halves(self) -> bool {
        matches!(self, Self::Cdab | Self::Dcba | Self::Efghabcd | Self::Fehgbadc)
    }
}

/// A value of one or more registers.
#[derive(Debug, Clone, PartialEq)]
pub struct Register {
    /// Its type.
    pub format: Format,
    /// The order of its bytes.
    pub order: ByteOrder,
    /// Of an integer only these bits, moved down to the lowest of them.
    pub mask: Option<u64>,
    /// What its value is made into.
    pub meaning: Meaning,
    /// Values with which the device says that it has none.
    pub sentinels: Vec<Sentinel>,
    /// What the value is read with; the order is that of [`Raw::Aided`](crate::driver::Raw).
    pub aids: Vec<Aid>,
    /// Least and greatest value that can be true, in the signal's unit.
    pub valid: Option<(f64, f64)>,
}

impl Register {
    /// A plain number.
    pub fn new(format: Format, order: ByteOrder, scale: Option<Scale>) -> Self {
        Self {
            format,
            order,
            mask: None,
            meaning: Meaning::Value(scale),
            sentinels: Vec::new(),
            aids: Vec::new(),
            valid: None,
        }
    }
    /// The same with its numbers in another unit. Where a register names their unit, that
    /// one is converted instead.
    pub(super) fn converted(self, to: Conversion) -> Self {
        let has_unit = self.aids.iter().any(|aid| matches!(aid, Aid::Unit(_)));
        let meaning = match self.meaning {
            Meaning::Value(scale) if !self.format.is_text() && !has_unit => {
                Meaning::Value(Some(Scale::after(scale, to)))
            }
            meaning => meaning,
        };
        let valid = self.valid.map(|(least, greatest)| {
            let [least, greatest] = [least, greatest].map(|end| Scale::after(None, to).apply(end));
            (least.min(greatest), least.max(greatest))
        });
        Self { meaning, valid, ..self }
    }
    /// The type of the series.
    pub fn value_type(&self) -> ValueType {
        match &self.meaning {
            Meaning::Names(_) | Meaning::Flags(_) => ValueType::Text,
            Meaning::Value(_) if self.format.is_text() => ValueType::Text,
            Meaning::Value(scale) if scale.is_some() || !self.aids.is_empty() || self.format.is_float() => {
                ValueType::F64
            }
            Meaning::Value(_) => ValueType::I64,
        }
    }
}

/// What a register's value is made into.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// A number, scaled or as it is, or a text.
    Value(Option<Scale>),
    /// The name of the integer, or its digits where it has none.
    Names(BTreeMap<i64, String>),
    /// The names of the bits that are set, lowest first, with `+` between; `bit 5` for one
    /// without a name, and nothing where none is set.
    Flags(BTreeMap<u8, String>),
}

/// What a device says instead of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sentinel {
    /// These bits, before mask and scale.
    Bits(u64),
    /// This number, before the scale.
    Number(f64),
    /// Any bits that are not a number.
    Nan,
}

/// What another register says about a value. One register, in the device's plain order.
#[derive(Debug, Clone, PartialEq)]
pub enum Aid {
    /// Where the decimal point stands: the value is divided by ten to this power.
    Decimals,
    /// The power of ten that the value is multiplied with, signed; 0x8000 says that there
    /// is none (the `sunssf` of `SunSpec`).
    Exponent,
    /// A code for the factor of the value.
    Factor(BTreeMap<u16, f64>),
    /// A code for the unit, and what brings a value from it to the signal's. `None` for a
    /// unit from which there is no way: the reading is bad.
    Unit(BTreeMap<u16, Option<Scale>>),
}

/// From a unit that a register names to the signal's.
pub(super) fn way(from: &str, to: &str) -> Option<Scale> {
    let same = Scale::new(1.0, 0.0);
    if from == to {
        return Some(same);
    }
    Some(conversion(from, to)?.map_or(same, |conversion| Scale::after(None, conversion)))
}
