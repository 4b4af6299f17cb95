//! The line of an endpoint: Modbus TCP, RTU on a serial port, or RTU through a converter.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use sha2::Digest as _;

use super::Modbus;
use crate::config::Plant;
use crate::config::notation::{self, Address, AddressFault};
use crate::config::section::Section;

/// What serial Modbus devices are sold with; 300 to 4,000,000 is what Linux knows.
const BAUDS: std::ops::RangeInclusive<u64> = 300..=4_000_000;
/// How most instruments leave the factory.
const DEFAULT_BAUD: u32 = 9_600;
/// Above this the specification fixes the pauses instead of counting characters.
const FIXED_PAUSE_ABOVE: u32 = 19_200;
/// Three and a half characters, above that rate.
const FIXED_PAUSE: Duration = Duration::from_micros(1_750);

/// Where an endpoint is, and what is spoken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Modbus TCP.
    Tcp(Address),
    /// RTU frames over a TCP connection, as a serial converter without protocol takes them.
    RtuTcp(Address),
    /// RTU on a serial port.
    Serial(Serial),
}

/// A serial port, always of eight data bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serial {
    /// Its device file.
    pub path: PathBuf,
    /// Bits a second.
    pub baud: u32,
    /// The parity bit.
    pub parity: Parity,
    /// One or two.
    pub stop_bits: u8,
}

/// The parity bit of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Parity {
    None,
    Even,
    Odd,
}

impl Parity {
    /// All of them, as they are written.
    pub const ALL: [(&str, Self); 3] = [("none", Self::None), ("even", Self::Even), ("odd", Self::Odd)];
}

impl Serial {
    /// How long so many bytes take on the wire, start, parity and stop bits with them.
    pub fn time_of(&self, bytes: u32) -> Duration {
        let bits = 9 + u32::from(self.parity != Parity::None) + u32::from(self.stop_bits);
        Duration::from_secs_f64(f64::from(bits * bytes) / f64::from(self.baud))
    }
    /// The silence that ends a frame: three and a half characters.
    pub fn pause(&self) -> Duration {
        if self.baud > FIXED_PAUSE_ABOVE { FIXED_PAUSE } else { self.time_of(7) / 2 }
    }
}

impl Line {
    /// `modbus-tcp`, `modbus-rtu-tcp` or `modbus-rtu`.
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "modbus-tcp",
            Self::RtuTcp(_) => "modbus-rtu-tcp",
            Self::Serial(_) => "modbus-rtu",
        }
    }
    /// Whether frames carry a checksum and no transaction id, so that a late answer can
    /// only be told from the next one by waiting.
    pub fn is_rtu(&self) -> bool {
        !matches!(self, Self::Tcp(_))
    }
    /// How long an answer may take where nothing else is written. On a bus the others wait
    /// for a silent unit, and instruments answer within some tens of milliseconds.
    pub(super) fn timeout(&self) -> Duration {
        match self {
            Self::Tcp(_) => Duration::from_secs(1),
            Self::RtuTcp(_) => Duration::from_millis(500),
            Self::Serial(_) => Duration::from_millis(300),
        }
    }
    /// A file name that is another one for another line.
    pub(in crate::config) fn file_name(&self) -> String {
        let digest = sha2::Sha256::digest(format!("{} {self}", self.protocol()));
        let mut name = digest[..8].iter().fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        });
        name.push_str(".json");
        name
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) | Self::RtuTcp(address) => address.fmt(f),
            Self::Serial(serial) => serial.path.display().fmt(f),
        }
    }
}

impl Modbus {
    /// A line without devices, to try things out on. The error says what to write.
    pub fn bare(
        url: &str,
        (baud, parity, stop_bits): (u32, Parity, u8),
        timeout: Option<Duration>,
    ) -> Result<Self, String> {
        let line = match url.strip_prefix("serial:") {
            Some(path) if path.starts_with('/') => Line::Serial(Serial { path: path.into(), baud, parity, stop_bits }),
            Some(_) => return Err("write serial:/dev/… with the whole path".into()),
            None => match notation::address(url, &[("tcp", 502), ("rtu-tcp", 502)]) {
                Ok(("tcp", address)) => Line::Tcp(address),
                Ok((_, address)) => Line::RtuTcp(address),
                Err(_) => return Err("write tcp://host:port, rtu-tcp://host:port or serial:/dev/…".into()),
            },
        };
        Ok(Self {
            timeout: timeout.unwrap_or_else(|| line.timeout()),
            line,
            connect_timeout: Duration::from_secs(3),
            pause: Duration::ZERO,
            drain: super::DEFAULT_DRAIN,
            retries: 1,
            devices: Vec::new(),
            memory: None,
        })
    }
}

/// From `address`, and of a serial port `baud`, `parity` and `stop_bits`.
pub(super) fn line(section: &Section<'_>, plant: &mut Plant) -> Option<Line> {
    let log = section.log;
    let baud = section.wide_integer("baud", "9600");
    let parity = section.word("parity", &Parity::ALL);
    let stop_bits = section.integer("stop_bits", 1..=2);
    if let Some(baud) = baud.filter(|baud| !BAUDS.contains(&baud.value)) {
        let (from, to) = (BAUDS.start(), BAUDS.end());
        log.fault(baud.at, format!("`baud` is {}, outside {from} to {to}", baud.value), "write baud = 9600");
    }
    let text = section.required("address", "say where it is: address = \"tcp://192.168.0.10:502\"")?;
    let found = if let Some(path) = text.value.strip_prefix("serial:") {
        if !path.starts_with('/') || path.chars().any(char::is_control) {
            log.fault(
                text.at,
                "`address` is not the path of a serial port",
                "write address = \"serial:/dev/serial/by-id/…\"; those names stay when ports are numbered anew",
            );
            return None;
        }
        Line::Serial(Serial {
            path: path.into(),
            baud: baud.and_then(|baud| u32::try_from(baud.value).ok()).unwrap_or(DEFAULT_BAUD),
            parity: parity.map_or(Parity::None, |parity| parity.value),
            stop_bits: stop_bits.map_or(1, |bits| u8::try_from(bits.value).unwrap_or(1)),
        })
    } else {
        match notation::address(text.value, &[("tcp", 502), ("rtu-tcp", 502)]) {
            Ok(("tcp", address)) => Line::Tcp(address),
            Ok((_, address)) => Line::RtuTcp(address),
            Err(fault) => {
                let (what, hint) = match fault {
                    AddressFault::Scheme => (
                        "`address` begins with none of tcp://, rtu-tcp:// and serial:",
                        "write address = \"tcp://192.168.0.10:502\" or \"serial:/dev/serial/by-id/…\"",
                    ),
                    AddressFault::Credentials => ("`address` holds credentials", "Modbus has none: leave them out"),
                    AddressFault::Form => {
                        ("`address` is not tcp://host:port", "write address = \"tcp://192.168.0.10:502\"")
                    }
                };
                log.fault(text.at, what, hint);
                return None;
            }
        }
    };
    let is_serial = matches!(found, Line::Serial(_));
    let given = [baud.map(|baud| baud.at), parity.map(|parity| parity.at), stop_bits.map(|bits| bits.at)];
    if let (false, Some(at)) = (is_serial, given.into_iter().flatten().next()) {
        log.fault(at, "`baud`, `parity` and `stop_bits` are for serial ports", "set them on the converter instead");
    }
    if !plant.addresses.insert(found.to_string()) {
        log.fault(
            text.at,
            format!("two endpoints at {found}"),
            "a PLC often takes one connection only, and a bus one master: put all its units under one [[modbus]]",
        );
        return None;
    }
    Some(found)
}
