//! A reading's value and quality.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::v1::ValueType;

/// The value of one reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A state that is on or off.
    Bool(bool),
    /// A count, or an integer whose digits matter.
    I64(i64),
    /// A measured number.
    F64(f64),
    /// A name or code.
    Text(String),
}

impl Value {
    /// The type of the column that holds this value.
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::Bool(_) => ValueType::Bool,
            Value::I64(_) => ValueType::I64,
            Value::F64(_) => ValueType::F64,
            Value::Text(_) => ValueType::Text,
        }
    }
    /// The number that statistics use: a bool is 0 or 1, a text is none.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            Value::I64(value) => Some(*value as f64),
            Value::F64(value) => Some(*value),
            Value::Text(_) => None,
        }
    }
    /// What stands in a column where a bad reading has no value.
    pub fn place_holder(of: ValueType) -> Value {
        match of {
            ValueType::Bool => Value::Bool(false),
            ValueType::I64 => Value::I64(0),
            ValueType::Text => Value::Text(String::new()),
            ValueType::F64 | ValueType::Unspecified => Value::F64(f64::NAN),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => value.fmt(f),
            Value::I64(value) => value.fmt(f),
            Value::F64(value) => value.fmt(f),
            Value::Text(value) => value.fmt(f),
        }
    }
}

/// How far a reading can be trusted, and why not.
///
/// Codes 0–63 are good, 64–127 uncertain, 128–255 bad, so that a code unknown to
/// an older reader still has its class. The classes are those of OPC DA (192
/// good, 64 uncertain, 0 bad) and Sparkplug B (192 good), renumbered so that good
/// is zero and costs nothing on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Quality(u8);

/// The three classes of quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QualityClass {
    /// The value is what the device says.
    Good,
    /// There is a value, but something about it is not known.
    Uncertain,
    /// There is no value to use.
    Bad,
}

macro_rules! qualities {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $reason:literal;)*) => {
        impl Quality {
            $($(#[$doc])* pub const $name: Quality = Quality($code);)*

            /// The reason as one word for people and files; empty for plainly good.
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "other",
                }
            }
        }
    };
}

qualities! {
    /// The value is what the device says.
    GOOD = 0, "";
    /// A counter that stands below its last value, because it began again.
    GOOD_COUNTER_RESET = 1, "counter_reset";
    /// A counter that stands below its last value, because its register was full.
    GOOD_COUNTER_WRAP = 2, "counter_wrap";
    /// A retained MQTT message: when it was true is not known.
    UNCERTAIN_RETAINED = 65, "retained";
    /// The clock of the boot it was read under was never learnt.
    UNCERTAIN_CLOCK = 66, "clock";
    /// The source calls its own value uncertain.
    UNCERTAIN_SOURCE = 67, "source";
    /// The value is beyond what the metric dictionary finds plausible.
    UNCERTAIN_IMPLAUSIBLE = 68, "implausible";
    /// Of a bucket: some of the values that belong into it are bad or were not seen.
    UNCERTAIN_PARTIAL = 69, "partial";
    /// The device did not answer.
    BAD_NO_ANSWER = 129, "no_answer";
    /// The device answered with a Modbus exception.
    BAD_EXCEPTION = 130, "exception";
    /// The value is one that the device uses to say "no value".
    BAD_SENTINEL = 131, "sentinel";
    /// The value is outside its declared range, or not a number.
    BAD_OUT_OF_RANGE = 132, "out_of_range";
    /// The bytes could not be read as the declared type.
    BAD_UNDECODABLE = 133, "undecodable";
    /// The source calls its own value bad.
    BAD_SOURCE = 134, "source";
}

impl Quality {
    /// From a wire code.
    pub fn from_code(code: u32) -> Option<Self> {
        u8::try_from(code).ok().map(Self)
    }
    /// The wire code.
    pub fn code(self) -> u8 {
        self.0
    }
    /// Good, uncertain or bad.
    pub fn class(self) -> QualityClass {
        match self.0 {
            0..64 => QualityClass::Good,
            64..128 => QualityClass::Uncertain,
            128.. => QualityClass::Bad,
        }
    }
    /// Whether the value must not be used.
    pub fn is_bad(self) -> bool {
        self.class() == QualityClass::Bad
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.class(), self.reason()) {
            (QualityClass::Good, "") => f.write_str("good"),
            (QualityClass::Good, reason) => write!(f, "good({reason})"),
            (QualityClass::Uncertain, reason) => write!(f, "uncertain({reason})"),
            (QualityClass::Bad, reason) => write!(f, "bad({reason})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_keeps_its_class() {
        assert_eq!(Quality::from_code(0).unwrap(), Quality::GOOD);
        assert_eq!(Quality::GOOD.to_string(), "good");
        assert_eq!(Quality::GOOD_COUNTER_WRAP.to_string(), "good(counter_wrap)");
        assert_eq!(Quality::from_code(63).unwrap().class(), QualityClass::Good);
        assert_eq!(Quality::from_code(99).unwrap().to_string(), "uncertain(other)");
        assert_eq!(Quality::from_code(200).unwrap().to_string(), "bad(other)");
        assert_eq!(Quality::from_code(256), None);
        assert_eq!(Quality::BAD_NO_ANSWER.to_string(), "bad(no_answer)");
    }
}
