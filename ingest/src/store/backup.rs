//! A backup: a directory that holds a copy of everything durable and a manifest of it.
//!
//! It promises that a directory with a manifest is whole: the manifest is written last, and
//! the directory gets its name after that. What restores it checks every file against it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::audit::{Chain, Hash, Head};

/// The manifest's name in the directory.
pub const MANIFEST: &str = "manifest.json";
/// The version of [`Manifest`], and of what lies beside it, that this build writes.
pub const FORMAT: u32 = 2;
/// Where the keys of the built-in certificate authority are in the data directory. They are
/// no part of a backup unless that is asked for: whoever has them can be any gateway.
pub const KEYS: &str = "ca";

/// What to copy, and where to.
#[derive(Debug, Clone)]
pub struct BackupOrder {
    /// The directory to make: not there yet, or empty.
    pub to: PathBuf,
    /// The installation's name, for the manifest.
    pub complex: String,
    /// Whether the authority's keys go with it.
    pub with_keys: bool,
    /// An earlier backup on the same disk: files that have not changed since are shared with it.
    pub since: Option<PathBuf>,
    /// Most bytes copied in a second, so that commits and reads keep their disk.
    pub bytes_per_second: u64,
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the program that made it.
    pub software: String,
    /// The installation's name.
    pub complex: String,
    /// The store's timeline.
    pub timeline: String,
    /// Before anything was copied, µs since 1970: what was acknowledged by then is in it.
    pub began_us: i64,
    /// When everything was copied.
    pub ended_us: i64,
    /// Group commits of all firms that are in it.
    pub commits: u64,
    /// The newest audit entry of each chain that is in it.
    pub audit: BTreeMap<Chain, Head>,
    /// Whether the authority's keys are in it.
    pub keys: bool,
    /// What is shared with an earlier backup; none where all was copied.
    #[serde(default)]
    pub shared: Option<Sharing>,
    /// Every file but this one, in the order in which they were copied.
    pub files: Vec<BackupFile>,
}

/// What a backup has in common with an earlier one: the same files under two names, so that
/// either may be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sharing {
    /// The earlier one.
    pub with: PathBuf,
    /// So many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupFile {
    /// Within the directory, such as `firms/1.db`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of it.
    pub sha256: Hash,
    /// Layout of a database; none of a key.
    pub layout: Option<i64>,
    /// The firm's file that it was copied from; none where the next backup has to copy it again.
    #[serde(default)]
    pub stamp: Option<Stamp>,
}

/// A file as it lay in the data directory. It has another stamp once anything was written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// The file system's number of it.
    pub inode: u64,
    /// Its length.
    pub bytes: u64,
    /// When it was last written, ns since 1970.
    pub written_ns: i64,
    /// When anything of it last changed, ns since 1970.
    pub changed_ns: i64,
}

impl Manifest {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Why there is no backup, or why it cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is something already.
    #[error("{} is there and not empty; name a directory that is not there yet", .0.display())]
    Taken(PathBuf),
    /// Whoever asked went away, or the service ends.
    #[error("the backup was given up before it was whole; nothing is left of it")]
    Cancelled,
    /// No backup, or not a whole one.
    #[error("{} is not a whole backup: {reason}", path.display())]
    NotWhole {
        /// The directory.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// Of a newer build.
    #[error("{what} of the backup has format {found}, this build knows up to {known}; restore it with the newer build")]
    Newer {
        /// A file of it, or the whole.
        what: String,
        /// Its format.
        found: i64,
        /// The newest known one.
        known: i64,
    },
    /// Of another installation.
    #[error("this is a backup of the complex `{found}`, and the configuration is of `{ours}`")]
    Foreign {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        ours: String,
    },
    /// A file is not what was backed up.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// In what it differs.
        reason: String,
    },
    /// A file or directory could not be used.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The engine is a server that has its own ways.
    #[error("the database is backed up by its own tools\n  hint: use pg_dump, or base backups with archived logs")]
    Elsewhere,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
