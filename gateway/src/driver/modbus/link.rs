//! One TCP connection: connects when needed, asks one thing at a time, and is dropped
//! whenever a late answer could be taken for the next one.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_modbus::client::{Client as _, Context, tcp};
use tokio_modbus::slave::{Slave, SlaveContext as _};
use tokio_modbus::{Error, ExceptionCode, Request as Function, Response};

use super::overheard::{Ear, Overheard};
use super::plan::Request;
use crate::config::{Address, Area, Modbus};

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
    /// The other side closed the connection instead of answering.
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
    address: Address,
    timeout: Duration,
    connect_timeout: Duration,
    pause: Duration,
    connection: Option<Connection>,
    ready_at: Instant,
}

struct Connection {
    context: Context,
    ear: Ear,
    /// Whether it has carried an answer. If not, its end is no accident of an idle line.
    proven: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("proven", &self.proven).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(endpoint: &Modbus) -> Self {
        Self {
            address: endpoint.address.clone(),
            timeout: endpoint.timeout,
            connect_timeout: endpoint.connect_timeout,
            pause: endpoint.pause,
            connection: None,
            ready_at: Instant::now(),
        }
    }

    /// Asks a unit. A connection that was good and is gone, as PLCs do with idle ones,
    /// is made anew once: reading twice does no harm.
    pub(super) async fn read(&mut self, unit: u8, request: &Request) -> Result<Answer, LinkFault> {
        let was_proven = self.connection.as_ref().is_some_and(|connection| connection.proven);
        match self.read_once(unit, request).await {
            Err(LinkFault::HungUp) if was_proven => self.read_once(unit, request).await,
            answer => answer,
        }
    }

    async fn read_once(&mut self, unit: u8, request: &Request) -> Result<Answer, LinkFault> {
        // Taken out: unless the answer is whole, the connection is dropped with it, also
        // when the caller stops waiting in the middle.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect_within(self.connect_timeout, &self.address).await?,
        };
        sleep_until(self.ready_at).await;
        connection.context.set_slave(Slave(unit));
        connection.ear.listen();
        let answer = timeout(self.timeout, ask(&mut connection.context, request)).await;
        self.ready_at = Instant::now() + self.pause;
        let heard = connection.ear.heard();
        let answer = match answer {
            Err(_) | Ok(Err(Error::Transport(_))) if heard.is_no_modbus() => {
                return Err(LinkFault::NotModbus { bytes: heard.bytes });
            }
            Err(_) if heard.bytes > 0 => {
                return Err(LinkFault::Partial { bytes: heard.bytes, within: self.timeout });
            }
            Err(_) => return Err(LinkFault::Timeout(self.timeout)),
            Ok(Err(Error::Transport(error))) => {
                return Err(match error.kind() {
                    io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                        LinkFault::Garbage("not a Modbus frame")
                    }
                    _ => LinkFault::HungUp,
                });
            }
            Ok(Err(Error::Protocol(_))) => return Err(LinkFault::Garbage("wrong transaction, unit or function")),
            Ok(Ok(answer)) => answer,
        };
        if let Ok(answer) = &answer
            && answer.len() != usize::from(request.count)
        {
            return Err(LinkFault::Garbage("wrong number of values"));
        }
        connection.proven = true;
        self.connection = Some(connection);
        answer.map_err(|code| LinkFault::Exception { code: code.into() })
    }
}

async fn connect_within(limit: Duration, address: &Address) -> Result<Connection, LinkFault> {
    let unreachable = |reason: String| LinkFault::Unreachable { address: address.to_string(), reason };
    match timeout(limit, connect(address)).await {
        Ok(Ok(stream)) => {
            let ear = Ear::default();
            let context = tcp::attach_slave(Overheard::new(stream, ear.clone()), Slave(0));
            Ok(Connection { context, ear, proven: false })
        }
        Ok(Err(error)) => Err(unreachable(reason(&error))),
        Err(_) => Err(unreachable(format!("no connection within {limit:?}"))),
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

/// Through `call`, for the typed methods only assert the number of values.
async fn ask(context: &mut Context, request: &Request) -> Result<Result<Answer, ExceptionCode>, Error> {
    let (address, count) = (request.address, request.count);
    let answer = context.call(match request.area {
        Area::Coil => Function::ReadCoils(address, count),
        Area::Discrete => Function::ReadDiscreteInputs(address, count),
        Area::Holding => Function::ReadHoldingRegisters(address, count),
        Area::Input => Function::ReadInputRegisters(address, count),
    });
    Ok(answer.await?.map(|response| match response {
        Response::ReadCoils(mut bits) | Response::ReadDiscreteInputs(mut bits) => {
            // Bits come in whole bytes.
            if bits.len() == usize::from(count).next_multiple_of(8) {
                bits.truncate(count.into());
            }
            Answer::Bits(bits)
        }
        Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words) => Answer::Words(words),
        // `call` has compared the function codes; of no values, it is refused by its length.
        _ => Answer::Words(Vec::new()),
    }))
}

impl Answer {
    fn len(&self) -> usize {
        match self {
            Self::Words(words) => words.len(),
            Self::Bits(bits) => bits.len(),
        }
    }
}
