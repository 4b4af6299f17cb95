//! `restore`: a backup becomes the data directory of a service that does not run.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;

use super::{RunError, check, data_dir};
use crate::config::{Config, Engine};
use crate::store::Manifest;
use crate::store::backup::{BackupError, KEYS};
use crate::store::control::Undone;
use crate::store::sqlite::control::SqliteControl;
use crate::store::sqlite::restore as files;
use crate::witness::Record;

/// What `restore` did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestoreReport {
    /// When the backup began, µs since 1970: what was acknowledged by then is there.
    pub began_us: i64,
    /// Files that were restored.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The timeline that begins.
    pub timeline: String,
    /// Whether the authority's keys are there again.
    pub keys: bool,
    /// What became of consents and revocations.
    #[serde(flatten)]
    pub undone: Undone,
}

/// Reads every file of a backup, and compares it with the manifest, which it gives.
pub fn verify_backup(config: &Config, from: &Path) -> Result<Manifest, RunError> {
    Ok(files::verify(from, &config.complex)?)
}

/// Restores the backup in `from` into the data directory, which has to be empty.
pub async fn restore(config: &Config, from: &Path) -> Result<RestoreReport, RunError> {
    if config.engine != Engine::Sqlite {
        return Err(RunError::NotOurBackup);
    }
    let dir = &config.data_dir;
    let manifest = files::manifest(from, &config.complex)?;
    let known = config.witness.as_ref().map(|path| Record::load(path, &config.complex)).transpose()?.flatten();
    let taken = || if check::in_use(dir) { RunError::Running(dir.clone()) } else { RunError::InUse(dir.clone()) };
    let _lock = data_dir::claim(dir)?.ok_or_else(taken)?;
    let refused = |source| RunError::DataDir { path: dir.clone(), source };
    if !is_empty(dir).map_err(refused)? {
        return Err(RunError::NotEmpty(dir.clone()));
    }
    let mark = dir.join(data_dir::RESTORING);
    let begin = || {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&mark)?.sync_all()?;
        File::open(dir)?.sync_all()
    };
    begin().map_err(refused)?;
    let done = put_back(config, from, manifest.clone(), known).await;
    crash_point!("restore.done-before-unmarked");
    let end = |result| {
        std::fs::remove_file(&mark).and_then(|()| File::open(dir)?.sync_all()).map_err(refused)?;
        result
    };
    match done {
        Ok((undone, timeline)) => end(Ok(RestoreReport {
            began_us: manifest.began_us,
            files: manifest.files.len(),
            bytes: manifest.bytes(),
            timeline,
            keys: manifest.files.iter().any(|file| file.name.starts_with(KEYS)),
            undone,
        })),
        // The mark goes last: a directory that could not be cleared is refused by every start.
        Err(failure) => match files::clear(dir, &manifest) {
            Ok(()) => end(Err(failure)),
            Err(error) => {
                tracing::warn!(%error, "what a failed restore left could not be removed");
                Err(failure)
            }
        },
    }
}

/// All that lies in a directory is its lock, or what a file system of its own begins with.
fn is_empty(dir: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name != data_dir::LOCK && name != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn put_back(
    config: &Config,
    from: &Path,
    manifest: Manifest,
    known: Option<Record>,
) -> Result<(Undone, String), RunError> {
    let dir = config.data_dir.clone();
    let why = format!("a backup of {} was restored", crate::time::rfc3339(manifest.began_us));
    let (source, target) = (from.to_owned(), dir.clone());
    let copied = tokio::task::spawn_blocking(move || files::copy(&source, &target, &manifest)).await;
    copied.map_err(|error| BackupError::Io { path: dir.clone(), source: io::Error::other(error) })??;
    crash_point!("restore.copied-before-timeline");
    let control = SqliteControl::open(&dir.join(data_dir::CONTROL))?;
    let undone = data_dir::go_on(&control, &data_dir::Place::Files(&dir), known.as_ref(), &why).await?;
    let stores = data_dir::open_settled(config, control, known).await?;
    Ok((undone, stores.timeline()))
}

#[cfg(test)]
mod tests;
