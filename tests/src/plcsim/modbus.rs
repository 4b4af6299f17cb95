//! A line with units behind it: Modbus TCP, RTU over TCP, or RTU behind a pseudo-terminal.
//!
//! Requests are heard byte by byte, so that every one of them is counted; each answer goes
//! out when it is due, spoilt when a fault says so, and is entered in the truth once it was
//! handed to the socket. Faults come from a person or a test ([`Endpoint::set_fault`]), by
//! chance, or with an absence; all dice come from the scenario's seed.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandan_gateway::clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::frame::{Framing, Request, Taken};
use super::scenario::{Chances, ModbusEndpoint};
use super::serial::Pty;
use super::truth::{Served, Truth};
use super::unit::Unit;
use crate::chance::Chance;

/// How long a port that nobody has open is left alone.
const UNPLUGGED_LOOK: Duration = Duration::from_millis(20);
/// Bits on a serial line for a byte.
const BITS_PER_BYTE: f64 = 10.0;
/// Bytes of a read request in RTU.
const REQUEST_BYTES: u32 = 8;
/// Exceptions.
const ILLEGAL_FUNCTION: u8 = 1;
const NO_ANSWER_FROM_UNIT: u8 = 11;

/// What a line's connections share.
pub(super) struct Endpoint {
    /// As a configuration says it.
    pub(super) address: String,
    framing: Framing,
    /// A converter or a PLC with a socket, not a serial port.
    has_sockets: bool,
    units: Mutex<BTreeMap<u8, Unit>>,
    /// Whether somebody switched it off, and whether it is away by its plan.
    gone: Mutex<(bool, bool)>,
    absent: watch::Sender<bool>,
    /// Nothing befalls anything any more.
    calm: CancellationToken,
    truth: Truth,
    dice: Mutex<Chance>,
    chance: Chances,
    per_byte: Duration,
    turnaround: Duration,
    most: usize,
    open: AtomicUsize,
    started: Instant,
    speed: f64,
}

/// What an answer may leave later than it is due: the timer's own grain and a little.
const PUNCTUAL: Duration = Duration::from_millis(3);

/// An answer on its way.
struct Pending {
    due: Instant,
    frame: Vec<u8>,
    served: Option<Served>,
    /// The return that it ends.
    ends: Option<usize>,
}

/// What becomes of a request.
enum Act {
    Answer(Pending),
    Nothing,
    HangUp,
    /// Nothing ever again over this connection.
    Deafen,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Endpoint {
    pub(super) fn new(
        (address, framing, has_sockets): (String, Framing, bool),
        units: BTreeMap<u8, Unit>,
        plan: &ModbusEndpoint,
        truth: Truth,
        (chance_seed, speed): (u64, f64),
    ) -> Arc<Self> {
        let is_serial = framing == Framing::Rtu && !has_sockets;
        Arc::new(Self {
            address,
            framing,
            has_sockets,
            units: Mutex::new(units),
            gone: Mutex::new((false, false)),
            absent: watch::Sender::new(false),
            calm: CancellationToken::new(),
            truth,
            dice: Mutex::new(Chance::new(chance_seed)),
            chance: plan.chance.clone(),
            per_byte: if is_serial {
                Duration::from_secs_f64(BITS_PER_BYTE / f64::from(plan.baud.max(1)))
            } else {
                Duration::ZERO
            },
            turnaround: plan.turnaround,
            most: plan.connections.unwrap_or(usize::MAX),
            open: AtomicUsize::new(0),
            started: Instant::now(),
            speed,
        })
    }

    /// Sets the fault of the unit of this name; `absent` takes the line away.
    /// Says whether there is such a unit.
    pub(super) fn set_fault(&self, name: &str, fault: Fault) -> bool {
        let mut units = locked(&self.units);
        let Some(unit) = units.values_mut().find(|unit| &*unit.name == name) else { return false };
        unit.fault = fault;
        let absent = units.values().any(|unit| unit.fault == Fault::Absent);
        drop(units);
        self.change(|gone| gone.0 = absent);
        true
    }

    /// Leaves or comes back by its plan: the whole line, or one unit.
    pub(super) fn set_away(&self, unit: Option<u8>, away: bool) {
        match unit {
            None => self.change(|gone| gone.1 = away),
            Some(unit) => {
                let line_is_there = !*self.absent.borrow();
                if let Some(unit) = locked(&self.units).get_mut(&unit) {
                    unit.away = away;
                    unit.note_presence(!away && line_is_there, &self.truth);
                }
            }
        }
    }

    fn change(&self, how: impl FnOnce(&mut (bool, bool))) {
        let mut gone = locked(&self.gone);
        how(&mut gone);
        let absent = gone.0 || gone.1;
        if self.absent.send_if_modified(|was| std::mem::replace(was, absent) != absent) {
            for unit in locked(&self.units).values_mut() {
                unit.note_presence(!absent && !unit.away, &self.truth);
            }
        }
    }

    /// Ends everything that befalls it by chance or by plan, for good.
    pub(super) fn calm(&self) {
        self.calm.cancel();
        let units: Vec<u8> = locked(&self.units).keys().copied().collect();
        self.set_away(None, false);
        for unit in units {
            self.set_away(Some(unit), false);
        }
    }
    /// Cancelled once the line is calm.
    pub(super) fn calmed(&self) -> &CancellationToken {
        &self.calm
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
            // Dropped when the line goes away: hangs up every connection.
            let presence = CancellationToken::new();
            let _hang_up = presence.clone().drop_guard();
            loop {
                tokio::select! {
                    accepted = listener.accept() => self.connect(accepted?, &presence),
                    _ = absent.wait_for(|absent| *absent) => break,
                }
            }
            drop(listener);
            presence.cancel();
            if absent.wait_for(|absent| !*absent).await.is_err() {
                return Ok(());
            }
        }
    }

    fn connect(self: &Arc<Self>, (mut stream, peer): (TcpStream, SocketAddr), presence: &CancellationToken) {
        let now = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        let (this, presence) = (Arc::clone(self), presence.clone());
        tokio::spawn(async move {
            if now <= this.most && stream.set_nodelay(true).is_ok() {
                this.truth.connected(&this.address, now);
                if let Some(Err(error)) = presence.run_until_cancelled(this.speak(&mut stream)).await {
                    tracing::debug!(%peer, %error, "connection ended");
                }
            }
            drop(stream);
            this.open.fetch_sub(1, Ordering::SeqCst);
        });
    }

    /// Serves behind a pseudo-terminal until dropped. An absence unplugs it.
    pub(super) async fn serve_serial(self: Arc<Self>, link: std::path::PathBuf, first: Pty) -> io::Result<()> {
        let mut absent = self.absent.subscribe();
        let mut free = Some(first);
        loop {
            let mut port = match free.take() {
                Some(port) => port,
                None => Pty::open(&link)?,
            };
            let speaking = async {
                loop {
                    // It ends when the other side closes the port, and may be opened again.
                    let _ = self.speak(&mut port).await;
                    tokio::time::sleep(UNPLUGGED_LOOK).await;
                }
            };
            tokio::select! {
                () = speaking => {}
                _ = absent.wait_for(|absent| *absent) => {}
            }
            drop(port);
            let _ = std::fs::remove_file(&link);
            if absent.wait_for(|absent| !*absent).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Hears requests and answers them until the other side has enough.
    async fn speak(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        let (mut heard, mut pending, mut is_deaf) = (Vec::new(), Vec::<Pending>::new(), false);
        let mut chunk = [0; 512];
        loop {
            let next = (0..pending.len()).min_by_key(|at| pending[*at].due);
            let due = next.map_or_else(Instant::now, |at| pending[at].due);
            let read = tokio::select! {
                biased;
                () = sleep_until(due), if next.is_some() => {
                    let answer = pending.remove(next.unwrap_or_default());
                    self.send(stream, answer).await?;
                    continue;
                }
                read = stream.read(&mut chunk) => read?,
            };
            if read == 0 {
                return Ok(());
            }
            heard.extend_from_slice(&chunk[..read]);
            loop {
                let request = match self.framing.take(&mut heard) {
                    Taken::Request(request) => request,
                    Taken::More => break,
                    Taken::Strange if self.framing == Framing::Rtu => {
                        self.truth.strange(1);
                        continue;
                    }
                    Taken::Strange => {
                        self.truth.strange(heard.len());
                        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a Modbus frame"));
                    }
                };
                self.truth.heard(&self.address, request.function, &request.raw);
                if is_deaf {
                    continue;
                }
                match self.answer(&request) {
                    Act::Answer(answer) => pending.push(answer),
                    Act::Nothing => {}
                    Act::HangUp => return Ok(()),
                    Act::Deafen => {
                        is_deaf = true;
                        pending.clear();
                    }
                }
            }
        }
    }

    async fn send(&self, stream: &mut (impl AsyncWrite + Unpin), answer: Pending) -> io::Result<()> {
        let (mono_us, wall_us) = (clock::monotonic_us(), clock::wall_us());
        let late = Instant::now().saturating_duration_since(answer.due);
        stream.write_all(&answer.frame).await?;
        if late > PUNCTUAL {
            self.truth.left_late(late);
        }
        if let Some(served) = answer.served {
            self.truth.push_served(Served { mono_us, wall_us, ..served });
        }
        if let Some(number) = answer.ends {
            self.truth.answered(number);
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> Act {
        let mut units = locked(&self.units);
        let mut dice = locked(&self.dice);
        let now = Instant::now();
        let Some(unit) = units.get_mut(&request.unit) else {
            // On a bus nobody answers in the name of another; a converter does.
            if self.framing == Framing::Rtu {
                return Act::Nothing;
            }
            let frame = self.framing.frame(request, request.unit, &exception(request, NO_ANSWER_FROM_UNIT));
            return Act::Answer(Pending { due: now, frame, served: None, ends: None });
        };
        if unit.away {
            return Act::Nothing;
        }
        let returning = unit.returning();
        // A return is over with an answer that nothing befell.
        let fault = if unit.fault == Fault::None && returning.is_none() && !self.calm.is_cancelled() {
            befalling(unit.chance.as_ref().unwrap_or(&self.chance), &mut dice)
        } else {
            unit.fault
        };
        if fault != Fault::None {
            self.truth.befell(fault);
        }
        let mut late = Duration::ZERO;
        match fault {
            // A line that goes away answers nothing more, however late the listener notices.
            Fault::HangUp | Fault::Absent if self.has_sockets => return Act::HangUp,
            Fault::HalfOpen if self.has_sockets => return Act::Deafen,
            Fault::Silent | Fault::Absent | Fault::HangUp | Fault::HalfOpen => return Act::Nothing,
            Fault::Late(by) => late = by,
            Fault::LateUpTo(by) => {
                late = Duration::from_micros(dice.below(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)));
            }
            _ => {}
        }
        let elapsed = self.started.elapsed().mul_f64(self.speed);
        let (pdu, served) = match (fault, request.range()) {
            (_, None) => (exception(request, ILLEGAL_FUNCTION), None),
            (Fault::Exception(code), _) => (exception(request, code), None),
            (_, Some((area, address, count))) => match unit.read(area, address, count, elapsed) {
                Err(code) => (exception(request, code), None),
                Ok(words) => {
                    let pdu = values(request.function, &words);
                    (pdu, unit.served(request.unit, (area, address), words, fault))
                }
            },
        };
        // Answered with an exception it is back as well.
        let ends = if fault == Fault::None { returning } else { None };
        if ends.is_some() {
            unit.has_returned();
        }
        let named = if fault == Fault::WrongUnit { request.unit.wrapping_add(1) } else { request.unit };
        let mut frame = self.framing.frame(request, named, &pdu);
        let bytes = REQUEST_BYTES + u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.framing.spoil(&mut frame, fault, &mut dice);
        let due = now + self.turnaround + self.per_byte * bytes + late;
        Act::Answer(Pending { due, frame, served, ends })
    }
}

/// What befalls an answer, if anything.
fn befalling(chances: &Chances, dice: &mut Chance) -> Fault {
    // A millionth is finer than any scenario asks for.
    let mut roll = dice.below(1_000_000) as f64 / 10_000.0;
    for (fault, percent) in &chances.0 {
        if roll < *percent {
            return *fault;
        }
        roll -= percent;
    }
    Fault::None
}

fn exception(request: &Request, code: u8) -> Vec<u8> {
    vec![request.function | 0x80, code]
}

/// Function, count of bytes, values: of bits eight in a byte, the first one lowest.
fn values(function: u8, words: &[u16]) -> Vec<u8> {
    let bytes: Vec<u8> = if function <= 2 {
        let byte = |bits: &[u16]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit != 0));
        words.chunks(8).map(byte).collect()
    } else {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    };
    let mut pdu = vec![function, u8::try_from(bytes.len()).unwrap_or(u8::MAX)];
    pdu.extend(bytes);
    pdu
}
