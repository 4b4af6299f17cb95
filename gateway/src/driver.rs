//! Drivers: what talks to a PLC or a broker and turns its answers into replies.
//!
//! A driver knows its endpoint and which raw values belong to which signal. It does
//! not know types, scales or units (that is `tag`), and it never sees the spool: it
//! sends [`Reply`]s into a bounded channel and reads back, from a watch channel, the
//! ticket up to which they are synced to disk.

use sandan_proto::reading::Quality;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::clock::{self, KnownOffset};

mod backoff;
pub mod message;
pub mod modbus;
pub mod mqtt;
pub mod sparkplug;

/// One answer of a device, or one message of a broker: raw values of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Which endpoint it came from: index into the configuration's endpoints.
    pub source: usize,
    /// Counts the endpoint's replies from 1. Synced tickets come back through
    /// [`Outlet::synced`].
    pub ticket: u64,
    /// When the answer arrived, monotonic microseconds rounded to 1 ms.
    pub at_us: i64,
    /// The raw values, each of another signal, or of the same at another time.
    pub readings: Vec<Reading>,
    /// The message that brought them, where its sender may deliver it again.
    pub delivery: Option<Delivery>,
    /// The same message, where it or a part of it could not be used.
    pub dead: Option<DeadLetter>,
}

/// A message that is kept for whoever looks for why it could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it was published.
    pub topic: String,
    /// Why it could not be used: goes on from "a message on …".
    pub reason: String,
    /// What it held.
    pub payload: bytes::Bytes,
}

/// How a reply's sender knows a message that it delivers again until it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The session with the sender: the same after a restart.
    pub session: [u8; 16],
    /// The message's number in it.
    pub packet_id: u16,
    /// Tells it from another message under the same number.
    pub digest: [u8; 16],
    /// How many messages, this one with them, may come again.
    pub unsettled: u32,
}

/// The raw value of one signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Index of the signal in the configuration.
    pub signal: u32,
    /// What the device said.
    pub raw: Raw,
    /// When it was so, where the source told: monotonic microseconds of this boot, which may
    /// lie before it began. Else it was so when the reply arrived.
    pub at_us: Option<i64>,
    /// What is known of it beside its value: good, or why it is uncertain or bad.
    pub quality: Quality,
    /// The source says that it was so then, and nothing of what is so now.
    pub is_historical: bool,
}

impl Reading {
    /// A value of the moment at which its reply arrived, with nothing to say against it.
    pub fn new(signal: u32, raw: Raw) -> Self {
        Self { signal, raw, at_us: None, quality: Quality::GOOD, is_historical: false }
    }
}

/// A value before `tag` gave it a type and a unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// Registers in the order of the wire; as many as the signal's type takes, four at most.
    Words([u16; 4]),
    /// Registers of a text, in the order of the wire.
    Long(Vec<u16>),
    /// Registers of a number, and one for each of those that say how to read it.
    Aided([u16; 4], Vec<u16>),
    /// A coil or discrete input.
    Bit(bool),
    /// A number of a JSON payload, as it was written.
    Number(f64),
    /// An integer of a JSON payload.
    Integer(i64),
    /// A text of a JSON payload.
    Text(String),
    /// There is no value, and why.
    Failed(Quality),
}

/// Packet ids and digests of messages of one session.
pub type Known = Vec<(u16, [u8; 16])>;

/// What a driver is given: where to send replies, and how far they are synced.
#[derive(Debug, Clone)]
pub struct Outlet {
    /// Index of the endpoint.
    pub source: usize,
    /// Bounded; full means the disk is slower than the plant, and polls wait.
    pub replies: mpsc::Sender<Reply>,
    /// The last ticket of this source whose readings are synced (or needed no
    /// record: dropped by a deadband).
    pub synced: watch::Receiver<u64>,
    /// The last ticket given out. Outlives a driver that is started again, so that the
    /// tickets of its replies in flight are not given out twice.
    tickets: Arc<AtomicU64>,
    /// Packet ids and digests of messages that an earlier process synced and may not have
    /// acknowledged. For the first driver: a later one would know too old ones.
    known: Arc<Mutex<Known>>,
    /// What brings a source's own times onto the clock of this boot.
    offset: KnownOffset,
}

impl Outlet {
    /// An outlet that has given out no ticket.
    pub fn new(source: usize, replies: mpsc::Sender<Reply>, synced: watch::Receiver<u64>) -> Self {
        Self { source, replies, synced, tickets: Arc::default(), known: Arc::default(), offset: KnownOffset::default() }
    }

    /// The same where the wall time is known, or will be.
    #[must_use]
    pub fn dated_by(self, offset: KnownOffset) -> Self {
        Self { offset, ..self }
    }

    /// The same for a driver whose messages an earlier process synced.
    #[must_use]
    pub fn knowing(self, known: Known) -> Self {
        Self { known: Arc::new(Mutex::new(known)), ..self }
    }

    fn take_known(&self) -> Known {
        std::mem::take(&mut *self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Polling is over, or the pipeline is gone and nobody takes replies any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Closed;

/// An outlet as a driver uses it.
#[derive(Debug)]
struct Tickets {
    outlet: Outlet,
}

impl Tickets {
    fn new(outlet: Outlet) -> Self {
        Self { outlet }
    }

    /// Sends readings of one moment and gives their ticket. Waits while the pipeline is full.
    async fn send(&mut self, at_us: i64, readings: Vec<Reading>) -> Result<u64, Closed> {
        self.deliver(Reply { readings, ..self.reply(at_us) }).await
    }

    /// A reply without anything in it.
    fn reply(&self, at_us: i64) -> Reply {
        let source = self.outlet.source;
        Reply { source, ticket: 0, at_us, readings: Vec::new(), delivery: None, dead: None }
    }

    /// Sends a reply under the next ticket, and gives that.
    async fn deliver(&mut self, reply: Reply) -> Result<u64, Closed> {
        let ticket = self.outlet.tickets.fetch_add(1, Ordering::Relaxed) + 1;
        self.outlet.replies.send(Reply { ticket, ..reply }).await.map_err(|_| Closed)?;
        Ok(ticket)
    }

    /// Says that signals have no value at this moment, and why.
    async fn fail(&mut self, signals: impl Iterator<Item = u32>, quality: Quality) -> Result<(), Closed> {
        let readings: Vec<_> = signals.map(|signal| Reading::new(signal, Raw::Failed(quality))).collect();
        if readings.is_empty() {
            return Ok(());
        }
        self.send(arrival_us(), readings).await.map(|_| ())
    }
}

/// Now, as a reply's time: monotonic microseconds rounded to 1 ms.
fn arrival_us() -> i64 {
    (clock::monotonic_us() + 500).div_euclid(1_000) * 1_000
}
