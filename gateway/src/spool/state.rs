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
        match serde_json::from_slice::<Self>(&text) {
            Ok(state) if state.version > VERSION => {
                Err(SpoolError::Newer { path, found: state.version, known: VERSION })
            }
            Ok(state) => Ok(state),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "spool state is damaged; put aside as state.json.damaged");
                let aside = dir.join("state.json.damaged");
                std::fs::rename(&path, &aside).map_err(SpoolError::io("rename", &path))?;
                Ok(Self::default())
            }
        }
    }

    pub(super) fn save(&self, dir: &Path) -> Result<(), SpoolError> {
        let path = dir.join(FILE);
        let temporary = dir.join("state.json.new");
        let text = serde_json::to_vec(self).map_err(|error| SpoolError::io("encode", &path)(error.into()))?;
        let mut file = std::fs::File::create(&temporary).map_err(SpoolError::io("create", &temporary))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(SpoolError::io("write", &temporary))?;
        std::fs::rename(&temporary, &path).map_err(SpoolError::io("rename", &temporary))?;
        sync_dir(dir)
    }

    /// The timeline as 16 bytes; empty before the first.
    pub fn timeline_bytes(&self) -> Vec<u8> {
        uuid::Uuid::parse_str(&self.timeline).map(|id| id.as_bytes().to_vec()).unwrap_or_default()
    }
}
