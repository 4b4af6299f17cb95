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
    /// The right answer, later by anything up to this.
    LateUpTo(Duration),
    /// From here on nothing comes over this connection, and it stays open.
    HalfOpen,
    /// The right answer, twice.
    Twice,
    /// One to so many bits of the answer flipped.
    Noise(u8),
    /// Some bytes before the answer.
    NoiseBefore,
    /// A byte too many somewhere in the answer.
    ByteInserted,
    /// A byte of the answer is missing.
    ByteDropped,
}

/// Which lines a fault can befall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Befalls {
    /// Any.
    All,
    /// Frames that carry a transaction id.
    Transactions,
    /// Frames that carry a checksum: of damage to others nobody could tell.
    Checksums,
    /// Connections, not serial ports.
    Sockets,
}

/// Faults that take no figure, as they are written.
const PLAIN: [(&str, Fault); 13] = [
    ("none", Fault::None),
    ("absent", Fault::Absent),
    ("hang-up", Fault::HangUp),
    ("half-open", Fault::HalfOpen),
    ("silent", Fault::Silent),
    ("garbage", Fault::Garbage),
    ("short", Fault::Short),
    ("wrong-transaction", Fault::WrongTransaction),
    ("wrong-unit", Fault::WrongUnit),
    ("twice", Fault::Twice),
    ("noise-before", Fault::NoiseBefore),
    ("byte-inserted", Fault::ByteInserted),
    ("byte-dropped", Fault::ByteDropped),
];

impl FromStr for Fault {
    type Err = String;

    /// `none`, `late 1500ms`, `exception 2`, …
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let (name, figure, more) = (words.next().unwrap_or_default(), words.next(), words.next());
        if let (Some((_, fault)), None) = (PLAIN.iter().find(|(word, _)| *word == name), figure) {
            return Ok(*fault);
        }
        match (name, figure, more) {
            ("late", Some(by), None) => Ok(Fault::Late(duration(by)?)),
            ("late-up-to", Some(by), None) => Ok(Fault::LateUpTo(duration(by)?)),
            ("exception", Some(code), None) => {
                code.parse().map(Fault::Exception).map_err(|_| format!("`{code}` is not an exception code"))
            }
            ("noise", Some(bits), None) => match bits.parse() {
                Ok(bits @ 1..=16) => Ok(Fault::Noise(bits)),
                _ => Err(format!("`{bits}` is not a number of bits from 1 to 16")),
            },
            _ => {
                let plain: Vec<_> = PLAIN.iter().map(|(word, _)| *word).collect();
                Err(format!(
                    "`{text}` is not a fault: {}, `late 200ms`, `late-up-to 200ms`, `exception CODE` or `noise BITS`",
                    plain.join(", ")
                ))
            }
        }
    }
}

/// `1500ms`, `2s`, `10m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let of = |number: u64| match &text[digits.len()..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_mins(number)),
        _ => None,
    };
    let parsed = digits.parse().ok().filter(|number| *number <= 10_000_000).and_then(of);
    parsed.ok_or_else(|| format!("`{text}` is not a time such as `1500ms`, `2s` or `10m`"))
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
            Fault::Late(by) => write!(f, "late {}ms", by.as_millis()),
            Fault::LateUpTo(by) => write!(f, "late-up-to {}ms", by.as_millis()),
            Fault::Exception(code) => write!(f, "exception {code}"),
            Fault::Noise(bits) => write!(f, "noise {bits}"),
            plain => f.write_str(PLAIN.iter().find(|(_, fault)| fault == plain).map_or("none", |(word, _)| word)),
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
        matches!(self, Fault::None | Fault::Late(_) | Fault::LateUpTo(_))
    }
    /// Where it makes sense.
    pub fn befalls(self) -> Befalls {
        match self {
            Fault::WrongTransaction => Befalls::Transactions,
            Fault::Noise(_) | Fault::NoiseBefore | Fault::ByteInserted | Fault::ByteDropped => Befalls::Checksums,
            Fault::HangUp | Fault::HalfOpen => Befalls::Sockets,
            _ => Befalls::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_written_as_it_is_read() {
        let figured = ["late 1500ms", "late-up-to 20ms", "exception 2", "noise 3"];
        for text in PLAIN.iter().map(|(word, _)| *word).chain(figured) {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("late 2s".parse(), Ok(Fault::Late(Duration::from_secs(2))));
        assert!("noise 0".parse::<Fault>().is_err() && "twice 2".parse::<Fault>().is_err());
        assert!("late soon".parse::<Fault>().unwrap_err().contains("1500ms"));
        assert!("tired".parse::<Fault>().unwrap_err().contains("hang-up"));
    }
}
