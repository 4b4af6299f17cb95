//! One line: connects when needed, asks one thing at a time, and never takes a late
//! answer for the next one. TCP drops the connection for that, RTU drains the line.

use std::io;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::plan::Request;
use crate::config::{Address, Line, Modbus};

pub mod dry;
mod frame;
mod overheard;
mod port;
mod rtu;
mod tcp;

/// What a unit answered: exactly as many as were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Of holding or input registers.
    Words(Vec<u16>),
    /// Of coils or discrete inputs.
    Bits(Vec<bool>),
}

/// Why there are no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// No connection could be made.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The begin of an answer in time, and no more.
    #[error("only {bytes} bytes of an answer within {within:?}")]
    Partial {
        /// How many came.
        bytes: usize,
        /// What it may take.
        within: Duration,
    },
    /// Bytes came that cannot begin an answer: another protocol, another port.
    #[error("what answers is not Modbus TCP ({bytes} bytes and no frame)")]
    NotModbus {
        /// How many came.
        bytes: usize,
    },
    /// The other side closed the connection, or the port is gone, instead of an answer.
    #[error("the device hung up")]
    HungUp,
    /// Something came that is no answer to the request.
    #[error("the answer does not fit the request: {0}")]
    Garbage(&'static str),
    /// The unit answered that it will not, or the converter before it that it cannot.
    #[error("exception {code}: {}", exception(*code))]
    Exception {
        /// The Modbus exception code.
        code: u8,
    },
}

/// Exceptions that a converter gives in the name of a unit that it does not hear: no
/// path to it (10), no answer from it (11). The connection is good; the unit is silent.
const OF_THE_CONVERTER: [u8; 2] = [10, 11];

impl LinkFault {
    /// Whether the unit did answer, if not with values.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Exception { code } if !OF_THE_CONVERTER.contains(code))
    }
    /// Whether the same request may well bring values at once: damage on the way, or a
    /// device that is busy.
    fn is_passing(&self) -> bool {
        matches!(self, Self::Garbage(_) | Self::Partial { .. } | Self::Exception { code: 5 | 6 })
    }
    /// Whether there is not even a connection.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
    /// One sentence for a person that names the request by its wire addresses.
    pub fn sentence(&self, request: &Request) -> String {
        if self.is_unreachable() { self.to_string() } else { format!("{request}: {self}") }
    }
}

fn exception(code: u8) -> &'static str {
    match code {
        1 => "function not supported",
        2 => "no such address",
        3 => "the device does not take this count",
        4 => "the device failed",
        5 | 6 => "the device is busy",
        8 => "memory parity error",
        10 => "the converter has no path to the unit",
        11 => "the unit behind the converter does not answer",
        _ => "a code of the maker's own",
    }
}

#[derive(Debug)]
pub(super) struct Link {
    retries: u16,
    speech: Speech,
}

#[derive(Debug)]
enum Speech {
    Tcp(tcp::Tcp),
    Rtu(Box<rtu::Rtu>),
}

impl Link {
    pub(super) fn new(endpoint: &Modbus) -> Self {
        let speech = match &endpoint.line {
            Line::Tcp(address) => Speech::Tcp(tcp::Tcp::new(address, endpoint)),
            Line::RtuTcp(_) | Line::Serial(_) => Speech::Rtu(Box::new(rtu::Rtu::new(endpoint))),
        };
        Self { retries: endpoint.retries, speech }
    }

    /// Asks a unit, and again at once where the answer came damaged or the device is busy:
    /// reading twice does no harm.
    pub(super) async fn read(&mut self, unit: u8, request: &Request) -> Result<Answer, LinkFault> {
        let mut answer = self.read_once(unit, request).await;
        for _ in 0..self.retries {
            match &answer {
                Err(fault) if fault.is_passing() => answer = self.read_once(unit, request).await,
                _ => break,
            }
        }
        answer
    }

    /// How long the last answer took, from the moment at which its request was sent.
    pub(super) fn took(&self) -> Duration {
        match &self.speech {
            Speech::Tcp(tcp) => tcp.took(),
            Speech::Rtu(rtu) => rtu.took(),
        }
    }

    /// A connection that was good and is gone, as PLCs do with idle ones, is made anew once.
    async fn read_once(&mut self, unit: u8, request: &Request) -> Result<Answer, LinkFault> {
        match &mut self.speech {
            Speech::Tcp(tcp) => tcp.read(unit, request).await,
            Speech::Rtu(rtu) => rtu.read(unit, request).await,
        }
    }
}

/// The system's words without its error numbers.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

async fn connect(address: &Address) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for target in lookup_host((address.host.as_str(), address.port)).await? {
        let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Requests are small and answers awaited; and a firewall should not forget a slow poll.
        socket.set_nodelay(true)?;
        socket.set_keepalive(true)?;
        match socket.connect(target).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Answer {
    fn len(&self) -> usize {
        match self {
            Self::Words(words) => words.len(),
            Self::Bits(bits) => bits.len(),
        }
    }
}
