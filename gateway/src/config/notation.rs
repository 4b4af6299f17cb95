//! The small notations of the file: durations, sizes, `scheme://host:port`, register
//! addresses, JSON paths, and the nearest word to a misspelt one. All pure.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::signal::{Area, Step};

/// A text of the file made fit for a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

/// `250ms`, `1s`, `5m`, `12h`, `90d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// The shortest way to write a duration of whole milliseconds.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

/// `512KiB`, `64MiB`, `1GiB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, an IPv6 one without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Address {
    /// Whether nothing that is sent there leaves the machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why an address was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressFault {
    Scheme,
    Credentials,
    Form,
}

/// `scheme://host[:port]`, with one of the given schemes and its port where none is
/// written. Gives the scheme, too.
pub(super) fn address(text: &str, schemes: &[(&'static str, u16)]) -> Result<(&'static str, Address), AddressFault> {
    let (scheme, rest) = text.split_once("://").ok_or(AddressFault::Scheme)?;
    let &(scheme, default_port) = schemes.iter().find(|(known, _)| *known == scheme).ok_or(AddressFault::Scheme)?;
    if rest.contains('@') {
        return Err(AddressFault::Credentials);
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(AddressFault::Form)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| AddressFault::Form)?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(AddressFault::Form)?) })
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(is_host) {
        return Err(AddressFault::Form);
    }
    let port = match port {
        None => default_port,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(AddressFault::Form)?,
    };
    Ok((scheme, Address { host: host.to_ascii_lowercase(), port }))
}

/// A register or bit as it is asked for on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) area: Area,
    pub(crate) address: u16,
    pub(crate) bit: Option<u8>,
}

/// Why a register address was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegisterFault<'t> {
    /// No colon, or no number behind it.
    Form,
    /// A word before the colon that is no area.
    Area(&'t str),
    /// A bit that no word has, or one of a coil.
    Bit,
    /// Five or six digits that do not begin with 0, 1, 3 or 4.
    Table,
    /// Below the first register.
    Below,
    /// Past the last one.
    Past,
}

/// Reads an address as it is written: `area:number[.bit]`, whose numbers count from `base`,
/// or Modicon's notation, which has no need of one: the first of five or six digits is the
/// table (0 coils, 1 discrete inputs, 3 input registers, 4 holding registers), and the rest
/// counts from 1.
pub(crate) fn register(text: &str, base: u16) -> Result<Wire, RegisterFault<'_>> {
    let is_number = |text: &str| !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    let (area, rest) = match text.split_once(':') {
        Some((area, rest)) => (Some(area), rest),
        None => (None, text),
    };
    let (number, bit) = match rest.split_once('.') {
        Some((number, bit)) => (number, Some(bit)),
        None => (rest, None),
    };
    if !is_number(number) {
        return Err(RegisterFault::Form);
    }
    let (area, number, first) = match area {
        Some(area) => {
            let area = Area::ALL.into_iter().find(|known| known.name() == area).ok_or(RegisterFault::Area(area))?;
            (area, number, u32::from(base))
        }
        None if matches!(number.len(), 5 | 6) => {
            let (table, number) = number.split_at(1);
            (Area::ALL.into_iter().find(|area| area.table() == table).ok_or(RegisterFault::Table)?, number, 1)
        }
        None => return Err(RegisterFault::Form),
    };
    let bit = match bit {
        None => None,
        Some(_) if area.is_bits() => return Err(RegisterFault::Bit),
        Some(bit) => Some(bit.parse().ok().filter(|bit| *bit < 16).ok_or(RegisterFault::Bit)?),
    };
    let number: u32 = number.parse().map_err(|_| RegisterFault::Form)?;
    let address = number.checked_sub(first).ok_or(RegisterFault::Below)?;
    Ok(Wire { area, address: u16::try_from(address).map_err(|_| RegisterFault::Past)?, bit })
}

/// Reads a JSON path: `a.b.c`, `zones[2].temperature`, `zones.2.temperature`.
pub(crate) fn json_path(text: &str) -> Option<Vec<Step>> {
    /// Deeper than any payload that a machine sends.
    const MAX_STEPS: usize = 32;
    let mut steps = Vec::new();
    for part in text.split('.') {
        let (name, mut indices) = match part.find('[') {
            Some(0) if steps.is_empty() => ("", part),
            Some(bracket) => part.split_at(bracket),
            None => (part, ""),
        };
        if !name.is_empty() {
            steps.push(Step::new(name));
        } else if indices.is_empty() || !steps.is_empty() {
            return None;
        }
        while !indices.is_empty() {
            let (index, rest) = indices.strip_prefix('[')?.split_once(']')?;
            index.parse::<u32>().ok()?;
            steps.push(Step::new(index));
            indices = rest;
        }
    }
    let plain = |step: &Step| !step.key.contains(['[', ']']) && !step.key.chars().any(char::is_control);
    (steps.len() <= MAX_STEPS && steps.iter().all(plain)).then_some(steps)
}

/// What register maps and other systems call the types.
const SYNONYMS: [(&str, &str); 34] = [
    ("int", "i16"),
    ("int16", "i16"),
    ("uint16", "u16"),
    ("word", "u16"),
    ("dint", "i32"),
    ("int32", "i32"),
    ("udint", "u32"),
    ("uint32", "u32"),
    ("dword", "u32"),
    ("lint", "i64"),
    ("int64", "i64"),
    ("uint64", "u64"),
    ("float", "f32"),
    ("float32", "f32"),
    ("real", "f32"),
    ("double", "f64"),
    ("float64", "f64"),
    ("lreal", "f64"),
    ("number", "f64"),
    ("integer", "i64"),
    ("boolean", "bool"),
    ("string", "text"),
    ("ascii", "text"),
    ("utf8", "text"),
    ("utf-8", "text"),
    ("char", "text"),
    ("byte", "u8"),
    ("uint8", "u8"),
    ("usint", "u8"),
    ("int8", "i8"),
    ("sint", "i8"),
    ("half", "f16"),
    ("float16", "f16"),
    ("bcd", "bcd16"),
];

/// A hint towards the words that are known: the nearest one, or all of them.
pub(super) fn suggest(given: &str, known: &[&str]) -> String {
    let lower = given.to_lowercase();
    if let Some((_, word)) = SYNONYMS.iter().find(|(synonym, word)| *synonym == lower && known.contains(word)) {
        return format!("it is called `{word}` here");
    }
    let near = known
        .iter()
        .map(|word| (distance(&lower, &word.to_lowercase()), *word))
        .min()
        .filter(|(distance, word)| *distance <= 1 + word.len().min(given.len()) / 4);
    match near {
        Some((_, word)) => format!("did you mean `{word}`?"),
        None => format!("known are {}", known.join(", ")),
    }
}

/// How many letters must be added, dropped, replaced or swapped with their neighbour.
pub(super) fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(LONGEST).collect(), b.chars().take(LONGEST).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best.min(rows[i - 2][j - 2] + 1)
                } else {
                    best
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests;
