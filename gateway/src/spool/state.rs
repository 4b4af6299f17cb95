//! The small file beside the segments: epoch, timeline, acknowledged positions, and what
//! is remembered of records that were acknowledged and removed.
//!
//! Written whole: temporary file, sync, rename, sync of the directory. One line of JSON, and
//! a line with its CRC-32C: a number that a bit flip made another is damage, and no position.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use sandan_proto::id::{BootId, LaneId};
use sandan_proto::record::Moment;
use serde::{Deserialize, Serialize};

use super::SpoolError;
use super::files::{self, Files};
use super::format::VERSION;

const FILE: &str = "state.json";
/// Room that is kept for the state on a disk that somebody else fills.
const RESERVE: &str = "reserve";
const RESERVE_BYTES: u64 = 128 << 10;
/// Lanes without a record that are remembered for a store that was restored: a start a day
/// for most of a year. More would make the state, which is written whole, wear out a card.
pub(super) const TRIMMED_MAX: usize = 256;

/// Takes the reserve, or takes it again. Best effort: a disk that is full already has
/// nothing to give.
pub(super) fn keep_reserve(files: &dyn Files, dir: &Path) {
    let path = dir.join(RESERVE);
    if let Ok(file) = files.create(&path)
        && file.allocate(RESERVE_BYTES).is_err()
    {
        let _ = files.remove(&path);
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u16,
}

/// What must survive a restart and is not a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u16,
    /// The last epoch that this spool used; 0 before the first.
    pub epoch: u64,
    /// The store timeline last seen, as hexadecimal digits; empty before the first.
    pub timeline: String,
    /// By lane: through which sequence the ingest acknowledged. A hint: the ingest's
    /// own word at the start of a session counts.
    pub acked: BTreeMap<String, u64>,
    /// What was acknowledged and removed, lanes in the order in which they were opened.
    #[serde(default)]
    pub(super) trimmed: Vec<Trimmed>,
}

/// The beginning of a lane that was acknowledged and removed: should a store be restored
/// to a time before, this is what can be declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trimmed {
    pub(super) lane: String,
    /// Records 1 to here are gone.
    pub(super) through: u64,
    /// Readings that they held.
    pub(super) readings: u64,
    /// The first and the last reading, as far as known.
    pub(super) from: Option<Instant>,
    pub(super) to: Option<Instant>,
}

/// A moment as it stands in the state: boot id and microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Instant(String, i64);

impl From<Moment> for Instant {
    fn from(moment: Moment) -> Self {
        Self(moment.boot.to_string(), moment.monotonic_us)
    }
}

impl Trimmed {
    pub(super) fn lane(&self) -> Option<LaneId> {
        self.lane.parse().ok()
    }
    pub(super) fn from(&self) -> Option<Moment> {
        self.from.as_ref().and_then(Instant::moment)
    }
    pub(super) fn to(&self) -> Option<Moment> {
        self.to.as_ref().and_then(Instant::moment)
    }
}

impl Instant {
    fn moment(&self) -> Option<Moment> {
        Some(Moment { boot: self.0.parse::<BootId>().ok()?, monotonic_us: self.1 })
    }
}

impl Default for State {
    fn default() -> Self {
        Self { version: VERSION, epoch: 0, timeline: String::new(), acked: BTreeMap::new(), trimmed: Vec::new() }
    }
}

/// What makes a state worth nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateFault {
    #[error("its checksum is another one")]
    Checksum,
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// What follows the line of JSON.
fn sealing(json: &[u8]) -> String {
    format!("\n{:08x}\n", crc32c::crc32c(json))
}

impl State {
    /// Reads the file; a missing one is a new spool. A damaged one is put aside: the
    /// ingest then asks for a release, because the epoch is not known.
    pub(super) fn load(files: &dyn Files, dir: &Path) -> Result<Self, SpoolError> {
        let path = dir.join(FILE);
        let text = match files::read_whole(files, &path) {
            Ok(text) => text,
            Err(SpoolError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        match Self::parse(&text, &path)? {
            Ok(state) => Ok(state),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "spool state is damaged; put aside as state.json.damaged");
                let aside = dir.join("state.json.damaged");
                files.rename(&path, &aside).map_err(SpoolError::io("rename", &path))?;
                Ok(Self::default())
            }
        }
    }

    /// The outer error is a later version, which is no damage. A file without a checksum is of
    /// a gateway that wrote none yet.
    pub(super) fn parse(text: &[u8], path: &Path) -> Result<Result<Self, StateFault>, SpoolError> {
        let (json, checksum) = match text.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&text[..end], Some(&text[end..])),
            None => (text, None),
        };
        if checksum.is_some_and(|checksum| checksum != sealing(json).as_bytes()) {
            return Ok(Err(StateFault::Checksum));
        }
        // A later version may have fields that this one does not know.
        if let Ok(Versioned { version: found }) = serde_json::from_slice(json)
            && found > VERSION
        {
            return Err(SpoolError::Newer { path: path.to_owned(), found, known: VERSION });
        }
        Ok(serde_json::from_slice::<Self>(json).map_err(StateFault::from))
    }

    /// Writes the file; gives how many bytes. On a full disk the reserve is given up for
    /// it, once: a session has to open before the spool can drain and free the disk.
    pub(super) fn save(&self, files: &dyn Files, dir: &Path) -> Result<u64, SpoolError> {
        let path = dir.join(FILE);
        let mut text = serde_json::to_vec(self).map_err(|error| SpoolError::io("encode", &path)(error.into()))?;
        text.extend_from_slice(sealing(&text).as_bytes());
        match files::replace(files, dir, FILE, &text) {
            Err(SpoolError::Io { source, .. })
                if source.kind() == ErrorKind::StorageFull && files.remove(&dir.join(RESERVE)).is_ok() =>
            {
                files::replace(files, dir, FILE, &text)?;
            }
            written => written?,
        }
        Ok(text.len() as u64)
    }

    /// The timeline as 16 bytes; empty before the first.
    pub fn timeline_bytes(&self) -> Vec<u8> {
        uuid::Uuid::parse_str(&self.timeline).map(|id| id.as_bytes().to_vec()).unwrap_or_default()
    }

    pub(super) fn set_session(&mut self, epoch: u64, timeline: &[u8]) {
        self.epoch = epoch;
        self.timeline = uuid::Uuid::from_slice(timeline).map(|id| id.to_string()).unwrap_or_default();
    }

    /// The removed beginning of a lane.
    pub(super) fn trimmed(&self, lane: LaneId) -> Option<&Trimmed> {
        let lane = lane.to_string();
        self.trimmed.iter().find(|trimmed| trimmed.lane == lane)
    }

    /// Notes that a lane's records are gone through a sequence.
    pub(super) fn trim(&mut self, lane: LaneId, through: u64, readings: u64, span: (Option<Moment>, Option<Moment>)) {
        let name = lane.to_string();
        let (from, to) = (span.0.map(Instant::from), span.1.map(Instant::from));
        match self.trimmed.iter_mut().find(|trimmed| trimmed.lane == name) {
            Some(known) if known.through >= through => {}
            Some(known) => {
                (known.through, known.readings) = (through, readings);
                if known.from.is_none() {
                    known.from = from;
                }
                if to.is_some() {
                    known.to = to;
                }
            }
            None => self.trimmed.push(Trimmed { lane: name, through, readings, from, to }),
        }
    }
}
