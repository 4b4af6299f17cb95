//! The witness: a small file on another disk that knows how far the store was, and
//! everything that was ever withdrawn.
//!
//! It promises that a store which is behind its witness is found before it serves anything,
//! and that a revocation which was acknowledged is in the file. It never holds a reading, a
//! token or a key. It must not know who asks, nor what is done about a store that is behind.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::audit::{Chain, Head};
use crate::metrics::Metrics;
use crate::store::control::{Control, ControlError, Revocations};
use crate::store::{Readings, StoreError};

/// The layout that this build writes.
const FORMAT: u32 = 1;
/// How often the file follows what is no revocation, readings above all: a store that is put
/// back to a state of this time before its end is not told from the newest one. A shorter
/// time would write to the other disk all day long.
const INTERVAL: Duration = Duration::from_secs(10);

/// What the file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format: u32,
    /// The installation's name.
    complex: String,
    /// The store's history.
    timeline: String,
    /// Group commits of all firms.
    commits: u64,
    /// The newest entry of each audit chain.
    heads: BTreeMap<Chain, Head>,
    /// Everything that was ever withdrawn.
    revocations: Revocations,
}

/// Why the witness is of no use.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// Its directory is not there.
    #[error("the directory of the witness {} is not there; is its disk mounted?", .0.display())]
    NoDirectory(PathBuf),
    /// It cannot be read or written.
    #[error("the witness {} cannot be used: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what this build writes.
    #[error(
        "the witness {} cannot be read: {reason}\n  hint: bring back a copy of it; without one, move it away, and every consent waits for its grantor",
        path.display()
    )]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// In what.
        reason: String,
    },
    /// It is of another installation.
    #[error("{} is the witness of the complex `{found}`, and the configuration is of `{ours}`", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        ours: String,
    },
    /// What it should say cannot be read from the store.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// As above.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Record {
    /// Reads the file; none where there is none in a directory that is there.
    pub fn load(path: &Path, complex: &str) -> Result<Option<Self>, WitnessError> {
        let unreadable = |reason: String| WitnessError::Unreadable { path: path.into(), reason };
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A disk that is not mounted must not look like a witness that was lost.
                return if folder(path).is_dir() { Ok(None) } else { Err(WitnessError::NoDirectory(path.into())) };
            }
            Err(source) => return Err(WitnessError::Io { path: path.into(), source }),
        };
        let any: serde_json::Value = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        match any["format"].as_u64() {
            Some(format) if format > u64::from(FORMAT) => {
                return Err(unreadable(format!("it has format {format}, this build knows {FORMAT}")));
            }
            _ => {}
        }
        let record: Self = serde_json::from_value(any).map_err(|error| unreadable(error.to_string()))?;
        if record.complex != complex {
            let (found, ours) = (record.complex, complex.to_owned());
            return Err(WitnessError::Foreign { path: path.into(), found, ours });
        }
        Ok(Some(record))
    }

    /// Everything that was ever withdrawn.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// In what the store is behind; none when it is not. A store without a timeline is empty.
    pub async fn behind(
        &self,
        control: &dyn Control,
        timeline: Option<String>,
        commits: u64,
    ) -> Result<Option<String>, ControlError> {
        if timeline.as_ref() != Some(&self.timeline) {
            let ours = timeline.unwrap_or_else(|| "none".to_owned());
            return Ok(Some(format!("the store is of timeline {ours}, its witness of {}", self.timeline)));
        }
        for (chain, head) in &self.heads {
            let entry = control.audit(chain, head.number.saturating_sub(1), 1).await?.pop();
            if entry.is_none_or(|entry| entry.head() != *head) {
                return Ok(Some(format!("the log of {chain} does not hold the entry {} of the witness", head.number)));
            }
        }
        let less = commits < self.commits;
        Ok(less.then(|| format!("the store has {commits} commits, its witness knows of {}", self.commits)))
    }

    /// Replaces the file, all of it or nothing; synced when this returns.
    fn save(&self, path: &Path) -> Result<(), WitnessError> {
        let folder = folder(path);
        if !folder.is_dir() {
            return Err(WitnessError::NoDirectory(path.into()));
        }
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let replace = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            std::fs::rename(&new, path)?;
            File::open(folder)?.sync_all()
        };
        replace().map_err(|source| WitnessError::Io { path: path.into(), source })
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Keeps the file as far as the store.
pub struct Witness {
    path: PathBuf,
    complex: String,
    control: Arc<dyn Control>,
    readings: Arc<dyn Readings>,
    /// What is in the file; none before the first writing.
    written: Mutex<Option<Record>>,
    metrics: Arc<Metrics>,
}

impl Witness {
    /// Of a store that is not behind `known`, which is what the file says now.
    pub fn new(
        path: PathBuf,
        complex: String,
        known: Option<Record>,
        control: Arc<dyn Control>,
        readings: Arc<dyn Readings>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { path, complex, control, readings, written: Mutex::new(known), metrics }
    }

    /// Brings the file up to the store: what was durable before the call is in it after.
    pub async fn write(&self) -> Result<(), WitnessError> {
        let mut written = self.written.lock().await;
        let result = self.follow(&mut written).await;
        let was_behind = self.metrics.witness_behind.set(i64::from(result.is_err())) != 0;
        match &result {
            Err(error) if !was_behind => {
                tracing::error!(%error, "the witness is behind: what is withdrawn now would come back with a restore");
            }
            Ok(()) if was_behind => {
                tracing::info!(witness = %self.path.display(), "the witness is up to the store again");
            }
            _ => {}
        }
        result
    }

    async fn follow(&self, written: &mut Option<Record>) -> Result<(), WitnessError> {
        let commits = self.readings.commits().await?;
        let testimony = self.control.testimony().await?;
        let mut revocations = written.as_ref().map(|it| it.revocations.clone()).unwrap_or_default();
        revocations.join(&testimony.revocations);
        let record = Record {
            format: FORMAT,
            complex: self.complex.clone(),
            timeline: self.readings.timeline().to_string(),
            commits,
            heads: testimony.heads,
            revocations,
        };
        if written.as_ref() == Some(&record) && self.path.exists() {
            return Ok(());
        }
        let path = self.path.clone();
        let saving = record.clone();
        let saved = tokio::task::spawn_blocking(move || saving.save(&path)).await;
        saved.map_err(|error| WitnessError::Io { path: self.path.clone(), source: io::Error::other(error) })??;
        *written = Some(record);
        Ok(())
    }

    /// Follows the store until `stop`.
    pub async fn keep(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            // What failed was logged, and is tried again.
            let _ = self.write().await;
        }
    }
}

#[cfg(test)]
mod tests;
