//! The data directory: one process at a time, and the stores in it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::RunError;
use crate::config::Config;
use crate::store::sqlite::control::SqliteControl;
use crate::store::{Options, SqliteReadings};

/// What the directory allows to nobody but its owner.
const OTHERS: u32 = 0o077;
/// Held as long as the stores are open.
const LOCK: &str = "lock";
/// Firms, members, consents and the audit log.
pub(super) const CONTROL: &str = "control.db";

/// The stores, and the lock on their directory.
pub(super) struct Stores {
    pub(super) control: Arc<SqliteControl>,
    pub(super) readings: Arc<SqliteReadings>,
    _lock: File,
}

/// Opens the stores, and makes them where there are none; none when another process
/// holds the lock.
pub(super) fn open(config: &Config) -> Result<Option<Stores>, RunError> {
    let dir = &config.data_dir;
    let refused = |source| RunError::DataDir { path: dir.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(refused)?;
    shut(dir).map_err(refused)?;
    let Some(lock) = lock(dir).map_err(refused)? else { return Ok(None) };
    let control = Arc::new(SqliteControl::open(&dir.join(CONTROL))?);
    let readings = Arc::new(SqliteReadings::open(dir, Options::default())?);
    Ok(Some(Stores { control, readings, _lock: lock }))
}

/// Shuts a directory that was made with another mode to other users, by whom `control.db`
/// could be read. One that holds something else than ours is left as it is, and refused.
fn shut(dir: &Path) -> io::Result<()> {
    if fs::metadata(dir)?.permissions().mode() & OTHERS == 0 {
        return Ok(());
    }
    if !dir.join(LOCK).exists() && fs::read_dir(dir)?.next().is_some() {
        return Err(io::Error::other(
            "other users can get into it, and it holds other things\n  hint: name a directory of its own, or run chmod 700 on it",
        ));
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700))
}

/// Takes the lock, which ends with the process at the latest; none when another has it.
fn lock(dir: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join(LOCK))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
