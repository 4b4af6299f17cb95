//! Copies the files of the engine while it runs.
//!
//! It runs on the compactor's thread, so that nothing is packed and no inbox row goes
//! meanwhile. Firm files are copied first, then `control.db`, the inbox last: a row that is
//! not in the copy of a firm's file was still in the inbox when that was copied, and a
//! series that a firm's file names is in the inbox's catalogue. Each file is copied from
//! one snapshot of it. A firm's file that an earlier backup has as it is becomes a second name
//! of that: every backup is whole, and any of a series may be deleted.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::file::failed;
use super::{Shared, control, firm_file, look, restore};
use crate::audit::{Chain, Hash, Head};
use crate::store::StoreError;
use crate::store::backup::{BackupError, BackupFile, BackupOrder, FORMAT, KEYS, MANIFEST, Manifest};

use previous::Previous;

mod previous;

/// Pages that are copied between two looks at the clock: 256 KiB, so that a cancelled
/// backup ends at once and the disk is free again after a few milliseconds.
const PAGES: i32 = 64;
/// How long a copy waits for a lock of the engine before it looks again.
const LOCKED: Duration = Duration::from_millis(20);
/// Bytes that are hashed at once.
const CHUNK: usize = 256 * 1024;
/// Begins the name of a directory that is not a backup yet, beside the one that it becomes.
const UNFINISHED: &str = ".unfinished-";
/// In a directory of that name, so that none but ours is cleared away.
const MARK: &str = "a-backup-that-is-not-whole";

/// Copies everything of the store into the directory of the order. Blocks; one at a time.
pub(super) fn back_up(
    shared: &Shared,
    order: &BackupOrder,
    cancelled: &CancellationToken,
) -> Result<Manifest, BackupError> {
    let begun = Unfinished::begin(&order.to)?;
    let pace = Pace { bytes_per_second: order.bytes_per_second.max(1), cancelled };
    let began_us = (shared.options.now)();
    let mut files = Vec::new();
    let copy = |name: &str| copied(&shared.dir, &begun.dir, name, &pace);
    let mut before = order
        .since
        .as_deref()
        .map(|since| Previous::open(since, &order.complex, &shared.timeline.to_string()))
        .transpose()?;
    make_dir(&begun.dir.join("firms"))?;
    for name in firm_files(&shared.dir)? {
        pace.check()?;
        let from = shared.dir.join(&name);
        previous::settle(&from);
        let stamp = previous::stamp(&from)?;
        let unchanged = before.as_mut().map(|before| before.unchanged(&begun.dir, &name, stamp)).transpose()?.flatten();
        let mut file = unchanged.map_or_else(|| copy(&name), Ok)?;
        // A reader that gives it the layout of this build may have written to it.
        file.stamp = stamp.filter(|_| previous::stamp(&from).is_ok_and(|now| now == stamp));
        if let Some(before) = &mut before {
            before.share_same(&begun.dir, &file)?;
        }
        files.push(file);
    }
    if shared.dir.join(control::FILE).exists() {
        files.push(copy(control::FILE)?);
    }
    files.push(copy(INBOX)?);
    if order.with_keys {
        files.extend(copy_keys(&shared.dir, &begun.dir)?);
    }
    let manifest = Manifest {
        format: FORMAT,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        complex: order.complex.clone(),
        timeline: shared.timeline.to_string(),
        began_us,
        ended_us: (shared.options.now)(),
        commits: restore::stand(&begun.dir)?.map_or(0, |stand| stand.commits),
        audit: audit_heads(&begun.dir)?,
        keys: order.with_keys,
        shared: before.map(Previous::sharing),
        files,
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| io_at(&begun.dir)(error.into()))?;
    crash_point!("backup.copied-before-manifest");
    write_synced(&begun.dir.join(MANIFEST), &text)?;
    crash_point!("backup.manifest-before-unmarked");
    begun.finish(&order.to)?;
    Ok(manifest)
}

/// The inbox's name in the data directory and in a backup.
pub(super) const INBOX: &str = "inbox.db";

/// Group commits of all firms.
pub(super) fn count_commits(conn: &Connection) -> Result<u64, StoreError> {
    let count = || {
        // A store that nobody has opened since an older build may not know of erased firms.
        let known: bool = conn.query_row(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_info('store') WHERE name = 'erased_commits')",
            [],
            |row| row.get(0),
        )?;
        let erased = if known { "(SELECT erased_commits FROM store)" } else { "0" };
        let all = format!("SELECT coalesce(sum(commits), 0) + {erased} FROM firm");
        conn.query_row(&all, [], |row| row.get::<_, i64>(0))
    };
    count().map(i64::cast_unsigned).map_err(failed("reading the inbox"))
}

fn audit_heads(dir: &Path) -> Result<BTreeMap<Chain, Head>, BackupError> {
    let path = dir.join(control::FILE);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let damaged =
        |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Engine { what: "looking at a copy", source };
    let heads = control::SqliteControl::look(&path).and_then(|it| it.testimony_now());
    Ok(heads.map_err(|error| damaged(Box::new(error)))?.heads)
}

/// `firms/1.db` and so on.
fn firm_files(dir: &Path) -> Result<Vec<String>, BackupError> {
    let folder = dir.join("firms");
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(io_at(&folder))? {
        let path = entry.map_err(io_at(&folder))?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<i64>().ok());
        if let Some(number) = number.filter(|number| firm_file::path(dir, *number) == path) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers.into_iter().map(|number| format!("firms/{number}.db")).collect())
}

/// A copy of a database of the data directory, and what the manifest says of it.
fn copied(from: &Path, dir: &Path, name: &str, pace: &Pace<'_>) -> Result<BackupFile, BackupError> {
    let to = dir.join(name);
    copy_database(&from.join(name), &to, pace)?;
    let layout = look(&to).and_then(|it| it.pragma_query_value(None, "user_version", |row| row.get(0)));
    let file = listed(dir, name, Some(layout.map_err(failed("looking at a copy"))?))?;
    crash_point!("backup.copied-before-next");
    Ok(file)
}

/// Copies a database from one snapshot of it; synced when this returns.
fn copy_database(from: &Path, to: &Path, pace: &Pace<'_>) -> Result<(), BackupError> {
    let failed = failed("copying a database");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags).map_err(&failed)?;
    source.busy_timeout(Duration::from_secs(10)).map_err(&failed)?;
    // The engine begins a copy anew when the file changes, unless a view of it is held.
    let pin = || {
        source.execute_batch("BEGIN")?;
        source.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(())).optional()?;
        source.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))
    };
    let page_bytes = pin().map_err(&failed)?;
    let mut copy = Connection::open(to).map_err(&failed)?;
    // What stops half-way is thrown away whole, so the copy needs no journal of its own.
    copy.pragma_update_and_check(None, "journal_mode", "off", |_| Ok(())).map_err(&failed)?;
    copy.pragma_update(None, "synchronous", "off").map_err(&failed)?;
    let backup = Backup::new(&source, &mut copy).map_err(&failed)?;
    let mut left = None;
    loop {
        let began = Instant::now();
        let step = backup.step(PAGES).map_err(&failed)?;
        let progress = backup.progress();
        let before = left.replace(progress.remaining).unwrap_or(progress.pagecount);
        pace.rest(began, i64::from(before.saturating_sub(progress.remaining)).saturating_mul(page_bytes))?;
        crash_point!("backup.copied-pages");
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            // Busy or locked; the enum may grow.
            _ => {
                pace.check()?;
                std::thread::sleep(LOCKED);
            }
        }
    }
    drop(backup);
    copy.close().map_err(|(_, error)| failed(error))?;
    std::fs::set_permissions(to, Permissions::from_mode(0o600))
        .and_then(|()| File::open(to)?.sync_all())
        .map_err(io_at(to))
}

/// How fast to copy, and whether to go on.
struct Pace<'a> {
    bytes_per_second: u64,
    cancelled: &'a CancellationToken,
}

impl Pace<'_> {
    fn check(&self) -> Result<(), BackupError> {
        if self.cancelled.is_cancelled() { Err(BackupError::Cancelled) } else { Ok(()) }
    }

    /// Waits until `bytes` may have been copied since `began`.
    fn rest(&self, began: Instant, bytes: i64) -> Result<(), BackupError> {
        self.check()?;
        let fair = Duration::from_secs_f64(bytes.max(0) as f64 / self.bytes_per_second as f64);
        while let Some(rest) = fair.checked_sub(began.elapsed()).filter(|rest| !rest.is_zero()) {
            self.check()?;
            std::thread::sleep(rest.min(LOCKED));
        }
        Ok(())
    }
}

/// The authority's files, each 0600 and synced.
fn copy_keys(from: &Path, to: &Path) -> Result<Vec<BackupFile>, BackupError> {
    let folder = from.join(KEYS);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_at(&folder)(error)),
    };
    make_dir(&to.join(KEYS))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(io_at(&folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_file()) else { continue };
        let name = format!("{KEYS}/{name}");
        write_synced(&to.join(&name), &std::fs::read(&path).map_err(io_at(&path))?)?;
        files.push(listed(to, &name, None)?);
    }
    sync_dir(&to.join(KEYS))?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn listed(dir: &Path, name: &str, layout: Option<i64>) -> Result<BackupFile, BackupError> {
    let path = dir.join(name);
    let (sha256, bytes) = File::open(&path).and_then(|file| digest(file, io::sink())).map_err(io_at(&path))?;
    Ok(BackupFile { name: name.to_owned(), bytes, sha256, layout, stamp: None })
}

/// Copies all of `from` and gives its SHA-256 and length.
pub(super) fn digest(mut from: impl Read, mut to: impl Write) -> io::Result<(Hash, u64)> {
    let (mut hasher, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            let hash: [u8; 32] = hasher.finalize().into();
            return Hash::from_bytes(&hash).map(|hash| (hash, bytes)).ok_or_else(|| io::Error::other("no SHA-256"));
        }
        hasher.update(&chunk[..read]);
        to.write_all(&chunk[..read])?;
        bytes += read as u64;
    }
}

/// A directory that becomes a backup, or goes.
struct Unfinished {
    dir: PathBuf,
    finished: bool,
}

impl Unfinished {
    fn begin(to: &Path) -> Result<Self, BackupError> {
        let name = to.file_name().ok_or_else(|| {
            io_at(to)(io::Error::new(io::ErrorKind::InvalidInput, "this is not the name of a directory"))
        })?;
        match std::fs::read_dir(to) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(BackupError::Taken(to.to_owned()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_at(to)(error)),
        }
        let mut unfinished = std::ffi::OsString::from(UNFINISHED);
        unfinished.push(name);
        let dir = to.with_file_name(unfinished);
        if dir.join(MARK).exists() || dir.join(MANIFEST).exists() {
            // A process that was killed left it.
            std::fs::remove_dir_all(&dir).map_err(io_at(&dir))?;
        }
        DirBuilder::new().mode(0o700).create(&dir).map_err(io_at(&dir))?;
        let begun = Self { dir, finished: false };
        write_synced(&begun.dir.join(MARK), b"")?;
        Ok(begun)
    }

    fn finish(mut self, to: &Path) -> Result<(), BackupError> {
        let mark = self.dir.join(MARK);
        std::fs::remove_file(&mark).map_err(io_at(&mark))?;
        sync_dir(&self.dir.join("firms"))?;
        sync_dir(&self.dir)?;
        crash_point!("backup.unmarked-before-renamed");
        std::fs::rename(&self.dir, to).map_err(io_at(to))?;
        crash_point!("backup.renamed-before-synced");
        self.finished = true;
        match to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => sync_dir(parent),
            None => sync_dir(Path::new(".")),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            tracing::warn!(dir = %self.dir.display(), %error, "what a backup that failed left could not be removed");
        }
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_at(dir))
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), BackupError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_at(dir))
}

pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(io_at(path))
}

pub(super) fn io_at(path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |source| BackupError::Io { path: path.into(), source }
}
