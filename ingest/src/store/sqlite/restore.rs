//! Puts the files of a backup into an empty data directory, each checked on its way.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sandan_proto::id::TimelineId;

use super::backup::{INBOX, digest, io_at, make_dir, sync_dir};
use super::{control, file, inbox_path, open_inbox};
use crate::audit::Hash;
use crate::store::StoreError;
use crate::store::backup::{BackupError, BackupFile, FORMAT, KEYS, MANIFEST, Manifest};

/// Reads a backup's manifest and refuses what this build, or this installation, may not
/// restore. Looks at every file's length, and writes nothing.
pub fn manifest(from: &Path, complex: &str) -> Result<Manifest, BackupError> {
    let not_whole = |reason: String| BackupError::NotWhole { path: from.into(), reason };
    let path = from.join(MANIFEST);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(not_whole(format!("it has no {MANIFEST}, which is written last")));
        }
        Err(error) => return Err(io_at(&path)(error)),
    };
    let unreadable = |error: serde_json::Error| not_whole(format!("{MANIFEST} cannot be read: {error}"));
    // The format first: a newer one may say things that this build cannot read.
    let any: serde_json::Value = serde_json::from_slice(&text).map_err(unreadable)?;
    newer("the manifest", any["format"].as_i64(), i64::from(FORMAT))?;
    let manifest: Manifest = serde_json::from_value(any).map_err(unreadable)?;
    if manifest.complex != complex {
        return Err(BackupError::Foreign { found: manifest.complex, ours: complex.to_owned() });
    }
    for needed in [INBOX, control::FILE] {
        if !manifest.files.iter().any(|file| file.name == needed) {
            return Err(not_whole(format!("it has no {needed}")));
        }
    }
    for file in &manifest.files {
        let Some(known) = known_layout(&file.name) else {
            return Err(not_whole(format!("its manifest names {:?}, which is no file of a backup", file.name)));
        };
        newer(&file.name, file.layout, known)?;
        let path = from.join(&file.name);
        let bytes = std::fs::metadata(&path).map_err(io_at(&path))?.len();
        if bytes != file.bytes {
            let reason = format!("it has {bytes} bytes, the manifest says {}", file.bytes);
            return Err(BackupError::Damaged { path, reason });
        }
    }
    Ok(manifest)
}

fn newer(what: &str, found: Option<i64>, known: i64) -> Result<(), BackupError> {
    match found {
        Some(found) if found > known => Err(BackupError::Newer { what: what.to_owned(), found, known }),
        _ => Ok(()),
    }
}

/// The newest layout of a file that this build reads; none for a name that no backup has,
/// such as one that leads out of the directory.
fn known_layout(name: &str) -> Option<i64> {
    if name == INBOX {
        return Some(file::INBOX.version);
    }
    if name == control::FILE {
        return Some(control::SCHEMA_VERSION);
    }
    let (folder, leaf) = name.split_once('/')?;
    match folder {
        "firms" => leaf.strip_suffix(".db")?.parse::<u32>().ok().map(|_| file::FIRM.version),
        KEYS if !leaf.is_empty() && !leaf.starts_with('.') && !leaf.contains(['/', '\0']) => Some(0),
        _ => None,
    }
}

/// Reads every file of a backup and compares it with the manifest, which it gives.
pub fn verify(from: &Path, complex: &str) -> Result<Manifest, BackupError> {
    let manifest = manifest(from, complex)?;
    for file in &manifest.files {
        let path = from.join(&file.name);
        let found = File::open(&path).and_then(|read| digest(read, io::sink())).map_err(io_at(&path))?;
        as_listed(file, found, path)?;
    }
    Ok(manifest)
}

fn as_listed(file: &BackupFile, (sha256, bytes): (Hash, u64), path: PathBuf) -> Result<(), BackupError> {
    if (sha256, bytes) == (file.sha256, file.bytes) {
        return Ok(());
    }
    let reason = format!("its SHA-256 is {sha256}, the manifest says {}", file.sha256);
    Err(BackupError::Damaged { path, reason })
}

/// Copies every file of the manifest; all of it synced when this returns. What a failure
/// leaves is for [`clear`].
pub fn copy(from: &Path, to: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    for folder in ["firms", KEYS] {
        if manifest.files.iter().any(|file| file.name.starts_with(folder)) || folder != KEYS {
            make_dir(&to.join(folder))?;
        }
    }
    for file in &manifest.files {
        copy_file(from, to, file)?;
        crash_point!("restore.copied-before-next");
    }
    for folder in ["firms", KEYS] {
        if to.join(folder).exists() {
            sync_dir(&to.join(folder))?;
        }
    }
    sync_dir(to)
}

fn copy_file(from: &Path, to: &Path, file: &BackupFile) -> Result<(), BackupError> {
    let (source, target) = (from.join(&file.name), to.join(&file.name));
    let read = File::open(&source).map_err(io_at(&source))?;
    let mut write =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target).map_err(io_at(&target))?;
    let found = digest(read, &mut write).map_err(io_at(&target))?;
    as_listed(file, found, source)?;
    write.sync_all().map_err(io_at(&target))
}

/// Removes what [`copy`] has put into a directory that held none of it before.
pub fn clear(to: &Path, manifest: &Manifest) -> io::Result<()> {
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    for file in &manifest.files {
        gone(std::fs::remove_file(to.join(&file.name)))?;
        for log in ["-wal", "-shm"] {
            gone(std::fs::remove_file(to.join(format!("{}{log}", file.name))))?;
        }
    }
    for folder in ["firms", KEYS] {
        gone(std::fs::remove_dir(to.join(folder)))?;
    }
    Ok(())
}

/// How far a store is, as it lies in its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// Its history.
    pub timeline: TimelineId,
    /// Group commits of all firms.
    pub commits: u64,
}

/// Looks at the store in a directory without leaving a trace; none where there is none.
pub fn stand(dir: &Path) -> Result<Option<Stand>, StoreError> {
    let path = inbox_path(dir);
    if !path.exists() {
        return Ok(None);
    }
    let conn = super::look(&path).map_err(file::failed("looking at the inbox"))?;
    if !file::check(&conn, &path, &file::INBOX)? {
        return Ok(None);
    }
    Ok(Some(Stand { timeline: super::timeline(&conn)?, commits: super::backup::count_commits(&conn)? }))
}

/// Gives the store in a directory that nobody has open another history: gateways send again
/// what it may have lost. Synced when this returns.
pub fn begin_timeline(dir: &Path) -> Result<TimelineId, StoreError> {
    let conn = open_inbox(dir)?;
    let timeline = TimelineId::random();
    conn.execute("UPDATE store SET timeline = ?1", [timeline.as_bytes()])
        .map_err(file::failed("beginning a timeline"))?;
    Ok(timeline)
}
