//! RTU: frames without a number, on a bus that all units share.
//!
//! Nothing in an answer says which request it is to. So after a fault the line has to be
//! silent for the drain time before anything is asked; and the first answer of a unit that
//! was silent is believed only when nothing follows it within the drain time: it could be
//! the late answer, with the right one behind it.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::frame::{self, Found};
use super::port::Port;
use super::{Answer, LinkFault, connect, reason};
use crate::config::{Line, Modbus};
use crate::driver::modbus::plan::Request;

/// Silence within a frame after which it is over. Far above the specification's character
/// and a half: USB adapters hand bytes over every 16 ms, converters in pieces.
const GAP: Duration = Duration::from_millis(100);
/// The least silence between frames, for a converter counts it anew.
const LEAST_PAUSE: Duration = Duration::from_millis(2);
/// A line that babbles longer than this is not waited for.
const BABBLE: Duration = Duration::from_secs(2);
/// More than four of the longest frames: no answer is in there.
const MAX_HEARD: usize = 1_024;
/// Silences in a row after which a connection to a converter is made anew: it may be half
/// open.
const HALF_OPEN: u32 = 4;
/// The same of a serial port. It is told when it is gone, so this is for drivers and adapters
/// that hang; rarely, for opening a port moves its control lines.
const STUCK: u32 = 8;

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

pub(super) struct Rtu {
    line: Line,
    timeout: Duration,
    connect_timeout: Duration,
    /// Between an answer and the next request.
    pause: Duration,
    drain: Duration,
    /// The stream, and whether it has carried an answer.
    stream: Option<(Box<dyn Stream>, bool)>,
    ready_at: Instant,
    /// Whether the last request ended in a fault.
    faulted: bool,
    /// Units that owe an answer, which may still come.
    owing: BTreeSet<u8>,
    silences: u32,
    took: Duration,
}

impl fmt::Debug for Rtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rtu").field("line", &self.line).field("owing", &self.owing).finish_non_exhaustive()
    }
}

impl Rtu {
    pub(super) fn new(endpoint: &Modbus) -> Self {
        let between = match &endpoint.line {
            Line::Serial(serial) => serial.pause(),
            Line::Tcp(_) | Line::RtuTcp(_) => Duration::ZERO,
        };
        Self {
            line: endpoint.line.clone(),
            timeout: endpoint.timeout,
            connect_timeout: endpoint.connect_timeout,
            pause: endpoint.pause.max(between).max(LEAST_PAUSE),
            drain: endpoint.drain,
            stream: None,
            ready_at: Instant::now(),
            faulted: false,
            owing: BTreeSet::new(),
            silences: 0,
            took: Duration::ZERO,
        }
    }

    /// How long the last answer took, or the waiting for it.
    pub(super) fn took(&self) -> Duration {
        self.took
    }

    pub(super) async fn read(&mut self, unit: u8, request: &Request) -> Result<Answer, LinkFault> {
        let was_proven = self.stream.as_ref().is_some_and(|(_, proven)| *proven);
        match self.read_once(unit, request).await {
            Err(LinkFault::HungUp) if was_proven => self.read_once(unit, request).await,
            answer => answer,
        }
    }

    async fn read_once(&mut self, unit: u8, request: &Request) -> Result<Answer, LinkFault> {
        // Taken out: it is dropped with a caller that stops waiting in the middle.
        let (mut stream, proven) = match self.stream.take() {
            Some(open) => open,
            None => (self.open().await?, false),
        };
        let answer = self.ask(&mut *stream, unit, request).await;
        self.faulted = answer.as_ref().is_err_and(|fault| !fault.is_answer());
        self.ready_at = Instant::now() + if self.faulted { self.drain.max(self.pause) } else { self.pause };
        match &answer {
            Err(LinkFault::HungUp) => return answer,
            Err(LinkFault::Timeout(_)) => self.silences += 1,
            _ => self.silences = 0,
        }
        let patience = if matches!(self.line, Line::Serial(_)) { STUCK } else { HALF_OPEN };
        if self.silences >= patience {
            self.silences = 0;
            return answer;
        }
        self.stream = Some((stream, proven || !self.faulted));
        answer
    }

    async fn open(&mut self) -> Result<Box<dyn Stream>, LinkFault> {
        let unreachable = |reason: String| LinkFault::Unreachable { address: self.line.to_string(), reason };
        let stream: io::Result<Box<dyn Stream>> = match &self.line {
            Line::Serial(serial) => Port::open(serial).map(|port| Box::new(port) as _),
            Line::Tcp(address) | Line::RtuTcp(address) => {
                let limit = self.connect_timeout;
                let connected = timeout(limit, connect(address)).await;
                let stream = connected.map_err(|_| unreachable(format!("no connection within {limit:?}")))?;
                stream.map(|stream| Box::new(stream) as _)
            }
        };
        stream.map_err(|error| unreachable(reason(&error)))
    }

    async fn ask(&mut self, stream: &mut dyn Stream, unit: u8, request: &Request) -> Result<Answer, LinkFault> {
        let silence = if self.faulted { self.drain.max(self.pause) } else { self.pause };
        self.settle(stream, self.ready_at, silence).await?;
        let asked = Instant::now();
        let sent = frame::request(unit, request);
        stream.write_all(&sent).await.map_err(|_| LinkFault::HungUp)?;
        stream.flush().await.map_err(|_| LinkFault::HungUp)?;
        let heard = self.listen(stream, unit, request).await;
        self.took = asked.elapsed();
        match &heard {
            Err(LinkFault::Timeout(_) | LinkFault::Partial { .. }) => drop(self.owing.insert(unit)),
            Ok((_, beyond)) if *beyond >= frame::SHORTEST => {
                self.owing.insert(unit);
                return Err(LinkFault::Garbage("more than one answer"));
            }
            Ok(_) if self.owing.contains(&unit) => {
                let more = self.settle(stream, Instant::now() + self.drain, self.drain).await?;
                if more >= frame::SHORTEST {
                    return Err(LinkFault::Garbage("a late answer came before it"));
                }
                self.owing.remove(&unit);
            }
            Ok(_) | Err(_) => {}
        }
        heard?.0.answer.map_err(|code| LinkFault::Exception { code })
    }

    /// Listens until the line was silent up to `until`, and after anything that came for
    /// `silence`. Gives how many bytes were thrown away.
    async fn settle(&self, stream: &mut dyn Stream, mut until: Instant, silence: Duration) -> Result<usize, LinkFault> {
        let give_up = until.max(Instant::now()) + silence + BABBLE;
        let mut thrown = 0;
        let mut chunk = [0; 256];
        // The read is tried before the time is looked at: what waits in a buffer is found.
        while let Ok(read) = timeout_at(until, stream.read(&mut chunk)).await {
            match read {
                Ok(0) | Err(_) => return Err(LinkFault::HungUp),
                Ok(bytes) => thrown += bytes,
            }
            let now = Instant::now();
            if now > give_up {
                return Err(LinkFault::Garbage("the line does not fall silent"));
            }
            until = now + silence;
        }
        Ok(thrown)
    }

    /// The answer, and how many bytes came behind it.
    async fn listen(&self, stream: &mut dyn Stream, unit: u8, request: &Request) -> Result<(Found, usize), LinkFault> {
        let wire = |bytes: usize| match &self.line {
            Line::Serial(serial) => serial.time_of(u32::try_from(bytes).unwrap_or(u32::MAX)),
            Line::Tcp(_) | Line::RtuTcp(_) => Duration::ZERO,
        };
        let expected = frame::answer_bytes(request);
        let begins_by = Instant::now() + wire(8) + self.timeout;
        let mut deadline = begins_by;
        let mut heard = Vec::new();
        let mut chunk = [0; 256];
        loop {
            match timeout_at(deadline, stream.read(&mut chunk)).await {
                Err(_) if heard.is_empty() => return Err(LinkFault::Timeout(self.timeout)),
                Err(_) if heard.len() < expected => {
                    return Err(LinkFault::Partial { bytes: heard.len(), within: self.timeout });
                }
                Err(_) => return Err(LinkFault::Garbage("the checksum is wrong, or the unit, function or length")),
                Ok(Ok(0) | Err(_)) => return Err(LinkFault::HungUp),
                Ok(Ok(bytes)) => heard.extend_from_slice(&chunk[..bytes]),
            }
            if let Some(found) = frame::find(&heard, unit, request) {
                let beyond = heard.len() - found.end;
                return Ok((found, beyond));
            }
            if heard.len() > MAX_HEARD {
                return Err(LinkFault::Garbage("the line does not fall silent"));
            }
            // A frame that began in time may take its time. Noise alone does not end the wait.
            let gap = Instant::now() + GAP + wire(chunk.len());
            deadline = if heard.len() < expected { begins_by.max(gap) } else { Instant::now() + GAP };
        }
    }
}
