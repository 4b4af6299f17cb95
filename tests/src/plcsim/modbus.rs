//! A Modbus TCP endpoint: some units behind one address.
//!
//! tokio-modbus decodes requests and encodes answers. Between its server and the
//! socket lies a wire of ours, which passes one frame at a time, spoils it when a
//! fault says so, and enters it in the truth once it was handed to the socket.

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sandan_gateway::clock;
use sandan_proto::reading::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_modbus::server::tcp::Server;
use tokio_modbus::{ExceptionCode, Request, Response, SlaveRequest};
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::machine::{Area, ByteOrder, Machine, SERIAL_ADDRESS, serial_point};
use super::truth::{Served, Truth};

/// The longest Modbus TCP frame: 7 bytes of header and a PDU of 253.
const MAX_FRAME: usize = 260;
/// Bytes of a frame before its unit id; the last two are the length of the rest.
const PREFIX: usize = 6;
/// Registers and bits above the last point that still answer, as those of real
/// devices do; beyond them the address is refused.
const SPARE: u16 = 16;

/// One unit: a machine behind a unit id.
pub(super) struct Unit {
    pub(super) name: Arc<str>,
    pub(super) order: ByteOrder,
    machine: Machine,
    /// Requests served that covered the serial register: holding, input.
    serials: [u32; 2],
    fault: Fault,
}

impl Unit {
    pub(super) fn new(name: &str, order: ByteOrder, machine: Machine) -> Self {
        Self { name: name.into(), order, machine, serials: [0; 2], fault: Fault::None }
    }

    /// The registers or bits of a range, or none where there are none.
    fn read(&mut self, area: Area, address: u16, count: u16) -> Option<Vec<u16>> {
        let points = self.machine.points();
        let end = address.checked_add(count)?;
        let last =
            points.iter().filter(|point| point.area == area).map(|point| point.address + point.kind.width()).max();
        if count == 0 || end > last?.max(SERIAL_ADDRESS) + SPARE {
            return None;
        }
        let mut words = vec![0; usize::from(count)];
        let mut place = |at: u16, values: &[u16]| {
            for (offset, value) in (at..).zip(values) {
                if let Some(word) = offset.checked_sub(address).and_then(|index| words.get_mut(usize::from(index))) {
                    *word = *value;
                }
            }
        };
        for (point, value) in points.iter().zip(self.machine.values()).filter(|(point, _)| point.area == area) {
            place(point.address, &point.encode(&value, self.order));
        }
        let serial = serial_point(area);
        if area >= Area::Holding && address <= SERIAL_ADDRESS && end >= SERIAL_ADDRESS + serial.kind.width() {
            let count = &mut self.serials[usize::from(area == Area::Input)];
            *count += 1;
            place(SERIAL_ADDRESS, &serial.encode(&Value::I64(i64::from(*count)), self.order));
        }
        Some(words)
    }
}

/// What an endpoint's connections share.
pub(super) struct Endpoint {
    units: Mutex<BTreeMap<u8, Unit>>,
    absent: watch::Sender<bool>,
    truth: Truth,
    started: Instant,
    speed: f64,
}

impl Endpoint {
    pub(super) fn new(units: BTreeMap<u8, Unit>, truth: Truth, speed: f64) -> Arc<Self> {
        let absent = watch::Sender::new(false);
        Arc::new(Self { units: Mutex::new(units), absent, truth, started: Instant::now(), speed })
    }

    fn units(&self) -> MutexGuard<'_, BTreeMap<u8, Unit>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the fault of the unit of this name; `absent` takes the endpoint away.
    /// Says whether there is such a unit.
    pub(super) fn set_fault(&self, name: &str, fault: Fault) -> bool {
        let mut units = self.units();
        let Some(unit) = units.values_mut().find(|unit| &*unit.name == name) else { return false };
        unit.fault = fault;
        let absent = units.values().any(|unit| unit.fault == Fault::Absent);
        self.absent.send_replace(absent);
        true
    }

    /// Serves until dropped. The port is taken again after an absence.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let address = listener.local_addr()?;
        let mut absent = self.absent.subscribe();
        let mut free = Some(listener);
        loop {
            let listener = match free.take() {
                Some(listener) => listener,
                None => TcpListener::bind(address).await?,
            };
            // Dropped when the endpoint goes away: hangs up every connection.
            let presence = CancellationToken::new();
            let _hang_up = presence.clone().drop_guard();
            let on_connected = |stream: TcpStream, peer: SocketAddr| ready(self.connect(stream, peer, &presence));
            let server = Server::new(listener);
            tokio::select! {
                ended = server.serve(&on_connected, |error| tracing::debug!(%error, "connection ended")) => ended?,
                _ = absent.wait_for(|absent| *absent) => {}
            }
            drop(server);
            presence.cancel();
            if absent.wait_for(|absent| !*absent).await.is_err() {
                return Ok(());
            }
        }
    }

    fn connect(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        presence: &CancellationToken,
    ) -> io::Result<Option<(Desk, DuplexStream)>> {
        stream.set_nodelay(true)?;
        let (inner, outer) = duplex(2 * MAX_FRAME);
        let desk = Desk { endpoint: Arc::clone(self), answer: Arc::default() };
        let (answer, truth) = (Arc::clone(&desk.answer), self.truth.clone());
        let presence = presence.clone();
        tokio::spawn(async move {
            let (from_server, to_server) = split(outer);
            let wire = Wire { from_server, to_server, answer, truth };
            if let Some(Err(error)) = presence.run_until_cancelled(wire.run(stream)).await {
                tracing::debug!(%peer, %error, "wire ended");
            }
        });
        Ok(Some((desk, inner)))
    }
}

/// The answer that is under way on a connection: how to spoil it, what to enter.
#[derive(Default)]
struct Answer {
    fault: Fault,
    served: Option<Served>,
}

/// Answers the requests of one connection.
struct Desk {
    endpoint: Arc<Endpoint>,
    answer: Arc<Mutex<Answer>>,
}

impl tokio_modbus::server::Service for Desk {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: SlaveRequest<'static>) -> Self::Future {
        ready(self.answer(request.slave, &request.request))
    }
}

impl Desk {
    fn answer(&self, slave: u8, request: &Request<'static>) -> Result<Response, ExceptionCode> {
        let (area, address, count) = match *request {
            Request::ReadCoils(address, count) => (Area::Coil, address, count),
            Request::ReadDiscreteInputs(address, count) => (Area::Discrete, address, count),
            Request::ReadHoldingRegisters(address, count) => (Area::Holding, address, count),
            Request::ReadInputRegisters(address, count) => (Area::Input, address, count),
            _ => {
                self.endpoint.truth.push_foreign();
                return Err(ExceptionCode::IllegalFunction);
            }
        };
        let mut units = self.endpoint.units();
        let unit = units.get_mut(&slave).ok_or(ExceptionCode::GatewayTargetDevice)?;
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        *answer = Answer { fault: unit.fault, served: None };
        if let Fault::Exception(code) = unit.fault {
            return Err(ExceptionCode::new(code));
        }
        unit.machine.advance_to(self.endpoint.started.elapsed().mul_f64(self.endpoint.speed));
        let words = unit.read(area, address, count).ok_or(ExceptionCode::IllegalDataAddress)?;
        answer.served = Some(Served {
            device: Arc::clone(&unit.name),
            unit: slave,
            area,
            address,
            order: unit.order,
            serial: Served::serial_of(area, address, &words, unit.order),
            words: words.clone(),
            mono_us: 0, // known when the bytes go out
            wall_us: 0,
            fault: unit.fault,
        });
        let bits = || words.iter().map(|word| *word != 0).collect();
        Ok(match area {
            Area::Coil => Response::ReadCoils(bits()),
            Area::Discrete => Response::ReadDiscreteInputs(bits()),
            Area::Holding => Response::ReadHoldingRegisters(words),
            Area::Input => Response::ReadInputRegisters(words),
        })
    }
}

/// What lies between the server and the socket of one connection.
struct Wire {
    from_server: ReadHalf<DuplexStream>,
    to_server: WriteHalf<DuplexStream>,
    answer: Arc<Mutex<Answer>>,
    truth: Truth,
}

impl Wire {
    async fn run(mut self, mut socket: TcpStream) -> io::Result<()> {
        loop {
            let request = frame(&mut socket).await?;
            self.to_server.write_all(&request).await?;
            let mut reply = frame(&mut self.from_server).await?;
            let Answer { fault, served } =
                std::mem::take(&mut *self.answer.lock().unwrap_or_else(PoisonError::into_inner));
            match fault {
                Fault::None | Fault::Exception(_) => {}
                // An endpoint that goes away answers nothing more, however late the listener notices.
                Fault::HangUp | Fault::Absent => return Ok(()),
                Fault::Silent => continue,
                Fault::Late(by) => tokio::time::sleep(by).await,
                // Not zero: a protocol id of zero would make it half a frame.
                Fault::Garbage => reply.fill(0xa5),
                Fault::Short => reply.truncate(reply.len() - 2),
                Fault::WrongTransaction => reply[1] = reply[1].wrapping_add(1),
                Fault::WrongUnit => reply[PREFIX] = reply[PREFIX].wrapping_add(1),
            }
            let (mono_us, wall_us) = (clock::monotonic_us(), clock::wall_us());
            socket.write_all(&reply).await?;
            if let Some(served) = served {
                self.truth.push_served(Served { mono_us, wall_us, ..served });
            }
        }
    }
}

/// One frame as it is. What is longer than a frame can be is no frame.
async fn frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; PREFIX];
    from.read_exact(&mut frame).await?;
    let rest = usize::from(u16::from_be_bytes([frame[4], frame[5]]));
    if !(2..=MAX_FRAME - PREFIX).contains(&rest) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a Modbus frame"));
    }
    frame.resize(PREFIX + rest, 0);
    from.read_exact(&mut frame[PREFIX..]).await?;
    Ok(frame)
}
