//! The small file beside the segments: epoch, timeline, acknowledged positions.
//!
//! Written whole: temporary file, sync, rename, sync of the directory.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::format::VERSION;
use super::{SpoolError, sync_dir};

const FILE: &str = "state.json";
/// Room that is kept for the state on a disk that somebody else fills.
const RESERVE: &str = "reserve";
const RESERVE_BYTES: u64 = 64 << 10;

/// Takes the reserve, or takes it again. Best effort: a disk that is full already has
/// nothing to give.
pub(super) fn keep_reserve(dir: &Path) {
    let path = dir.join(RESERVE);
    if !path.exists() {
        let taken = std::fs::File::create(&path)
            .and_then(|file| Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, RESERVE_BYTES)?));
        if taken.is_err() {
            let _ = std::fs::remove_file(&path);
        }
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
}

impl Default for State {
    fn default() -> Self {
        Self { version: VERSION, epoch: 0, timeline: String::new(), acked: BTreeMap::new() }
    }
}

impl State {
    /// Reads the file; a missing one is a new spool. A damaged one is put aside: the
    /// ingest then asks for a release, because the epoch is not known.
    pub(super) fn load(dir: &Path) -> Result<Self, SpoolError> {
        let path = dir.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(SpoolError::io("read", &path)(error)),
        };
        // A later version may have fields that this one does not know.
        if let Ok(Versioned { version: found }) = serde_json::from_slice(&text)
            && found > VERSION
        {
            return Err(SpoolError::Newer { path, found, known: VERSION });
        }
        match serde_json::from_slice::<Self>(&text) {
            Ok(state) => Ok(state),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "spool state is damaged; put aside as state.json.damaged");
                let aside = dir.join("state.json.damaged");
                std::fs::rename(&path, &aside).map_err(SpoolError::io("rename", &path))?;
                Ok(Self::default())
            }
        }
    }

    /// Writes the file. On a full disk the reserve is given up for it, once: a session
    /// has to open before the spool can drain and free the disk.
    pub(super) fn save(&self, dir: &Path) -> Result<(), SpoolError> {
        match self.write(dir) {
            Err(SpoolError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::StorageFull
                    && std::fs::remove_file(dir.join(RESERVE)).is_ok() =>
            {
                self.write(dir)
            }
            written => written,
        }
    }

    fn write(&self, dir: &Path) -> Result<(), SpoolError> {
        let path = dir.join(FILE);
        let temporary = dir.join("state.json.new");
        let text = serde_json::to_vec(self).map_err(|error| SpoolError::io("encode", &path)(error.into()))?;
        let mut file = std::fs::File::create(&temporary).map_err(SpoolError::io("create", &temporary))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(SpoolError::io("write", &temporary))?;
        crash_point!("spool.state-temp-before-rename");
        std::fs::rename(&temporary, &path).map_err(SpoolError::io("rename", &temporary))?;
        crash_point!("spool.state-renamed-before-dir-sync");
        sync_dir(dir)
    }

    /// The timeline as 16 bytes; empty before the first.
    pub fn timeline_bytes(&self) -> Vec<u8> {
        uuid::Uuid::parse_str(&self.timeline).map(|id| id.as_bytes().to_vec()).unwrap_or_default()
    }
}
