//! The truth: every value that the plant gave away, so that a test can ask where
//! it went.
//!
//! A Modbus answer is entered once its bytes were handed to the socket; an answer
//! that a fault spoiled is entered with the fault, and is owed to nobody. An MQTT
//! message is entered when it is given to the client, and marked when the broker
//! acknowledged it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandan_gateway::clock;
use sandan_proto::reading::Value;
use serde::Serialize;

use super::fault::Fault;
use super::machine::{Area, ByteOrder, Kind, Point, SERIAL_ADDRESS, serial_point};

/// One Modbus answer.
#[derive(Debug, Clone, Serialize)]
pub struct Served {
    /// Name of the device in the scenario.
    pub device: Arc<str>,
    /// Its unit id.
    pub unit: u8,
    /// What was asked for.
    pub area: Area,
    /// First register or bit.
    pub address: u16,
    /// The registers (or bits as 0 and 1) in the order of the wire.
    pub words: Vec<u16>,
    /// The order of the bytes of its values.
    #[serde(skip)]
    pub order: ByteOrder,
    /// Its serial number, when the request covered the serial register.
    pub serial: Option<u32>,
    /// Boot clock, µs, just before the bytes went out.
    pub mono_us: i64,
    /// Wall clock at that moment, µs since 1970.
    pub wall_us: i64,
    /// What was wrong with it.
    pub fault: Fault,
}

impl Served {
    /// The value of a point, when this answer covers it whole.
    pub fn value(&self, point: &Point) -> Option<Value> {
        let start = usize::from(point.address.checked_sub(self.address)?);
        (self.area == point.area).then(|| point.decode(self.words.get(start..)?, self.order))?
    }
    /// The serial number that its registers say.
    pub(super) fn serial_of(area: Area, address: u16, words: &[u16], order: ByteOrder) -> Option<u32> {
        if !matches!(area, Area::Holding | Area::Input) {
            return None;
        }
        let start = usize::from(SERIAL_ADDRESS.checked_sub(address)?);
        let words = words.get(start..start + usize::from(Kind::U32.width()))?;
        match serial_point(area).decode(words, order)? {
            Value::I64(serial) => u32::try_from(serial).ok(),
            _ => None,
        }
    }
}

/// One MQTT message.
#[derive(Debug, Clone, Serialize)]
pub struct Published {
    /// Name of the device in the scenario.
    pub device: Arc<str>,
    /// Where.
    pub topic: Arc<str>,
    /// The JSON.
    pub payload: String,
    /// Its serial number, also in the payload.
    pub serial: u32,
    /// Boot clock, µs.
    pub mono_us: i64,
    /// Wall clock, µs since 1970.
    pub wall_us: i64,
    /// Whether the broker acknowledged it.
    pub acked: bool,
}

/// A device that was gone and came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Return {
    /// Name of the device in the scenario.
    pub device: Arc<str>,
    /// From its return to its first whole answer, µs. None while there is none, or when it
    /// was gone again before.
    pub answered_after_us: Option<i64>,
    /// When it came back, boot clock, µs.
    pub mono_us: i64,
    /// When it went again, if it did without an answer.
    pub gone_again_us: Option<i64>,
}

/// What was heard on the lines, whole and counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Requests by function code.
    pub functions: BTreeMap<u8, u64>,
    /// Bytes that belong to no request.
    pub strange_bytes: u64,
    /// The most connections that each line had at once, by its address.
    pub connections: BTreeMap<String, usize>,
    /// Answers by what befell them, as scenarios write it.
    pub faults: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Entries {
    /// Whether answers and messages stay in memory.
    forgets: bool,
    served: Vec<Served>,
    published: Vec<Published>,
    traffic: Traffic,
    returns: Vec<Return>,
    overdue: Vec<(i64, i64)>,
    file: Option<BufWriter<File>>,
    capture: Option<BufWriter<File>>,
}

/// The log, shared by everything that serves.
#[derive(Clone, Default)]
pub struct Truth(Arc<Mutex<Entries>>);

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Served(&'a Served),
    Published(&'a Published),
    Acked { device: &'a str, serial: u32 },
}

/// A frame as it came, for `--capture`.
#[derive(Serialize)]
struct Heard<'a> {
    mono_us: i64,
    line: &'a str,
    bytes: String,
}

impl Truth {
    /// A log that is also written to a file, one JSON object a line.
    pub fn with_file(path: &Path) -> std::io::Result<Self> {
        let file = Some(BufWriter::new(File::create(path)?));
        Ok(Self(Arc::new(Mutex::new(Entries { file, ..Entries::default() }))))
    }
    /// One for a plant that runs for as long as nobody stops it: answers and messages are
    /// written to a file or nowhere.
    #[must_use]
    pub fn forgetting(self) -> Self {
        self.entries().forgets = true;
        self
    }
    /// Writes every request to this file, one JSON object a line.
    pub fn capturing(self, path: &Path) -> std::io::Result<Self> {
        self.entries().capture = Some(BufWriter::new(File::create(path)?));
        Ok(self)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // An entry is pushed whole or not at all, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All answers so far, oldest first.
    pub fn served(&self) -> Vec<Served> {
        self.entries().served.clone()
    }
    /// All answers of one device that no fault spoiled.
    pub fn served_by(&self, device: &str) -> Vec<Served> {
        let owed = |entry: &&Served| &*entry.device == device && entry.fault.is_honest();
        self.entries().served.iter().filter(owed).cloned().collect()
    }
    /// How many answers and messages there were.
    pub fn len(&self) -> usize {
        let entries = self.entries();
        entries.served.len() + entries.published.len()
    }
    /// Whether nothing was served yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// All messages of one device, oldest first.
    pub fn published_by(&self, device: &str) -> Vec<Published> {
        self.entries().published.iter().filter(|entry| &*entry.device == device).cloned().collect()
    }
    /// Requests that were not reads: function codes other than 1 to 4.
    pub fn foreign_requests(&self) -> u64 {
        let entries = self.entries();
        entries.traffic.functions.iter().filter(|(code, _)| !(1..=4).contains(*code)).map(|(_, count)| count).sum()
    }
    /// What was heard so far.
    pub fn traffic(&self) -> Traffic {
        self.entries().traffic.clone()
    }
    /// Returns of devices so far, oldest first.
    pub fn returns(&self) -> Vec<Return> {
        self.entries().returns.clone()
    }

    /// When answers left that this machine sent later than they were due, boot clock, and by
    /// how much, µs: it was short of processors.
    pub fn overdue(&self) -> Vec<(i64, i64)> {
        self.entries().overdue.clone()
    }

    pub(super) fn push_served(&self, served: Served) {
        let mut entries = self.entries();
        entries.write(&Line::Served(&served));
        if !entries.forgets {
            entries.served.push(served);
        }
    }
    pub(super) fn heard(&self, line: &str, function: u8, bytes: &[u8]) {
        let mut entries = self.entries();
        *entries.traffic.functions.entry(function).or_default() += 1;
        if let Some(capture) = &mut entries.capture {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let heard = Heard { mono_us: clock::monotonic_us(), line, bytes: bytes.join(" ") };
            write_line(capture, &heard);
        }
    }
    pub(super) fn strange(&self, bytes: usize) {
        self.entries().traffic.strange_bytes += bytes as u64;
    }
    pub(super) fn befell(&self, fault: Fault) {
        *self.entries().traffic.faults.entry(fault.to_string()).or_default() += 1;
    }
    pub(super) fn connected(&self, line: &str, now: usize) {
        let mut entries = self.entries();
        let most = entries.traffic.connections.entry(line.to_owned()).or_default();
        *most = now.max(*most);
    }
    /// A device is there again; gives the number of this return.
    pub(super) fn came_back(&self, device: &Arc<str>) -> usize {
        let mut entries = self.entries();
        let (device, mono_us) = (device.clone(), clock::monotonic_us());
        entries.returns.push(Return { device, answered_after_us: None, mono_us, gone_again_us: None });
        entries.returns.len() - 1
    }
    pub(super) fn left_late(&self, by: Duration) {
        let by_us = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.entries().overdue.push((clock::monotonic_us(), by_us));
    }
    pub(super) fn answered(&self, number: usize) {
        let mut entries = self.entries();
        let now = clock::monotonic_us();
        if let Some(back) = entries.returns.get_mut(number) {
            back.answered_after_us = Some(now - back.mono_us);
        }
    }
    pub(super) fn left(&self, number: usize) {
        let mut entries = self.entries();
        if let Some(back) = entries.returns.get_mut(number) {
            back.gone_again_us = Some(clock::monotonic_us());
        }
    }
    /// Its index, for [`mark_acked`](Self::mark_acked).
    pub(super) fn push_published(&self, published: Published) -> usize {
        let mut entries = self.entries();
        entries.write(&Line::Published(&published));
        if entries.forgets {
            return usize::MAX;
        }
        entries.published.push(published);
        entries.published.len() - 1
    }
    pub(super) fn mark_acked(&self, index: usize) {
        let mut entries = self.entries();
        let Some(entry) = entries.published.get_mut(index) else { return };
        entry.acked = true;
        let (device, serial) = (entry.device.clone(), entry.serial);
        entries.write(&Line::Acked { device: &device, serial });
    }
}

impl Entries {
    fn write(&mut self, line: &Line<'_>) {
        if let Some(file) = &mut self.file {
            write_line(file, line);
        }
    }
}

/// A log that could not be written is a broken test run, said once a line.
fn write_line(file: &mut BufWriter<File>, line: &impl Serialize) {
    let written = serde_json::to_writer(&mut *file, line)
        .map_err(std::io::Error::from)
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.flush());
    if let Err(error) = written {
        tracing::error!(%error, "the plant's log cannot be written");
    }
}
