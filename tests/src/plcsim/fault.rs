//! What can be wrong with a device, switched while the plant runs.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A fault of a device, or of the whole endpoint where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// Healthy.
    #[default]
    None,
    /// Nothing listens at the endpoint's address; open connections are closed.
    Absent,
    /// The connection closes instead of an answer.
    HangUp,
    /// The request is taken and never answered.
    Silent,
    /// The right answer, but so much later.
    Late(Duration),
    /// A Modbus exception of this code.
    Exception(u8),
    /// Bytes that are no frame, as long as the answer.
    Garbage,
    /// The answer without its last bytes, then nothing more.
    Short,
    /// The answer under the next transaction's id.
    WrongTransaction,
    /// The answer in the name of another unit.
    WrongUnit,
}

impl FromStr for Fault {
    type Err = String;

    /// `none`, `late 1500ms`, `exception 2`, …
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let fault = match (words.next().unwrap_or_default(), words.next()) {
            ("none", None) => Fault::None,
            ("absent", None) => Fault::Absent,
            ("hang-up", None) => Fault::HangUp,
            ("silent", None) => Fault::Silent,
            ("garbage", None) => Fault::Garbage,
            ("short", None) => Fault::Short,
            ("wrong-transaction", None) => Fault::WrongTransaction,
            ("wrong-unit", None) => Fault::WrongUnit,
            ("late", Some(by)) => Fault::Late(
                by.strip_suffix("ms")
                    .and_then(|by| by.parse().ok())
                    .map(Duration::from_millis)
                    .ok_or_else(|| format!("`{by}` is not a time such as `1500ms`"))?,
            ),
            ("exception", Some(code)) => {
                Fault::Exception(code.parse().map_err(|_| format!("`{code}` is not an exception code"))?)
            }
            _ => {
                return Err(format!(
                    "`{text}` is not a fault: none, absent, hang-up, silent, late MSms, exception CODE, garbage, \
                     short, wrong-transaction or wrong-unit"
                ));
            }
        };
        Ok(fault)
    }
}

impl TryFrom<String> for Fault {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::None => f.write_str("none"),
            Fault::Absent => f.write_str("absent"),
            Fault::HangUp => f.write_str("hang-up"),
            Fault::Silent => f.write_str("silent"),
            Fault::Late(by) => write!(f, "late {}ms", by.as_millis()),
            Fault::Exception(code) => write!(f, "exception {code}"),
            Fault::Garbage => f.write_str("garbage"),
            Fault::Short => f.write_str("short"),
            Fault::WrongTransaction => f.write_str("wrong-transaction"),
            Fault::WrongUnit => f.write_str("wrong-unit"),
        }
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> String {
        fault.to_string()
    }
}

impl Fault {
    /// Whether an answer under this fault still says the truth, however late.
    pub fn is_honest(self) -> bool {
        matches!(self, Fault::None | Fault::Late(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_written_as_it_is_read() {
        for text in ["none", "absent", "hang-up", "late 1500ms", "exception 2", "wrong-unit", "short"] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert!("late soon".parse::<Fault>().unwrap_err().contains("1500ms"));
        assert!("tired".parse::<Fault>().unwrap_err().contains("hang-up"));
    }
}
