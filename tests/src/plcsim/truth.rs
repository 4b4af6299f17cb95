//! The truth: every value that the plant gave away, so that a test can ask where
//! it went.
//!
//! A Modbus answer is entered once its bytes were handed to the socket; an answer
//! that a fault spoiled is entered with the fault, and is owed to nobody. An MQTT
//! message is entered when it is given to the client, and marked when the broker
//! acknowledged it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

#[derive(Default)]
struct Entries {
    served: Vec<Served>,
    published: Vec<Published>,
    foreign: u64,
    file: Option<BufWriter<File>>,
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

impl Truth {
    /// A log that is also written to a file, one JSON object a line.
    pub fn with_file(path: &Path) -> std::io::Result<Self> {
        let file = Some(BufWriter::new(File::create(path)?));
        Ok(Self(Arc::new(Mutex::new(Entries { file, ..Entries::default() }))))
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
        self.entries().foreign
    }

    pub(super) fn push_served(&self, served: Served) {
        let mut entries = self.entries();
        entries.write(&Line::Served(&served));
        entries.served.push(served);
    }
    pub(super) fn push_foreign(&self) {
        self.entries().foreign += 1;
    }
    /// Its index, for [`mark_acked`](Self::mark_acked).
    pub(super) fn push_published(&self, published: Published) -> usize {
        let mut entries = self.entries();
        entries.write(&Line::Published(&published));
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
    /// A truth that could not be written is a broken test run, said once a line.
    fn write(&mut self, line: &Line<'_>) {
        let Some(file) = &mut self.file else { return };
        let written = serde_json::to_writer(&mut *file, line)
            .map_err(std::io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.flush());
        if let Err(error) = written {
            tracing::error!(%error, "the truth log cannot be written");
        }
    }
}
