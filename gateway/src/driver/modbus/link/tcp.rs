//! Modbus TCP: one connection, dropped whenever a late answer could be taken for the
//! next one.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_modbus::client::{Client as _, Context, tcp};
use tokio_modbus::slave::{Slave, SlaveContext as _};
use tokio_modbus::{Error, ExceptionCode, Request as Function, Response};

use super::overheard::{Ear, Overheard};
use super::{Answer, LinkFault, connect, reason};
use crate::config::{Address, Area, Modbus};
use crate::driver::modbus::plan::Request;

#[derive(Debug)]
pub(super) struct Tcp {
    address: Address,
    timeout: Duration,
    connect_timeout: Duration,
    pause: Duration,
    connection: Option<Connection>,
    ready_at: Instant,
    took: Duration,
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

impl Tcp {
    pub(super) fn new(address: &Address, endpoint: &Modbus) -> Self {
        Self {
            address: address.clone(),
            timeout: endpoint.timeout,
            connect_timeout: endpoint.connect_timeout,
            pause: endpoint.pause,
            connection: None,
            ready_at: Instant::now(),
            took: Duration::ZERO,
        }
    }

    /// How long the last answer took, or the waiting for it.
    pub(super) fn took(&self) -> Duration {
        self.took
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
        let asked = Instant::now();
        let answer = timeout(self.timeout, ask(&mut connection.context, request)).await;
        self.took = asked.elapsed();
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

/// Through `call`, for the typed methods only assert the number of values.
pub(super) async fn ask(context: &mut Context, request: &Request) -> Result<Result<Answer, ExceptionCode>, Error> {
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
