//! The identity's files: replaced as a whole, synced, closed to everyone else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sandan_proto::id::GatewayId;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::IdentityError;

/// Sixteen certificates and a key are below a tenth of it.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Of `identity.json` and of `pending.json`.
const VERSION: u32 = 1;

/// `identity.json`
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    version: u32,
    pub(super) gateway: GatewayId,
    /// `host:port` of the invitation.
    pub(super) ingest: String,
    /// SHA-256 of the invitation's token, hexadecimal.
    pub(super) invitation: String,
    /// PKCS#8 in PEM.
    pub(super) key: String,
    /// DER in base 64, leaf first.
    #[serde(with = "base64_list")]
    pub(super) certificate: Vec<Vec<u8>>,
    /// DER in base 64.
    #[serde(with = "base64_list")]
    pub(super) trust: Vec<Vec<u8>>,
}

/// `pending.json`: the key of an enrolment whose answer has not come.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    version: u32,
    /// SHA-256 of the invitation's token, hexadecimal.
    pub(super) invitation: String,
    /// PKCS#8 in PEM.
    pub(super) key: String,
}

impl Stored {
    pub(super) fn new(gateway: GatewayId, ingest: String, pending: Pending) -> Self {
        let Pending { invitation, key, .. } = pending;
        Self { version: VERSION, gateway, ingest, invitation, key, certificate: Vec::new(), trust: Vec::new() }
    }
}

impl Pending {
    pub(super) fn new(invitation: String, key: String) -> Self {
        Self { version: VERSION, invitation, key }
    }
}

mod base64_list {
    use super::{Deserialize, Deserializer, Engine, STANDARD, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(list: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        list.iter().map(|bytes| STANDARD.encode(bytes)).collect::<Vec<_>>().serialize(serializer)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| STANDARD.decode(text).map_err(super::malformed::<D>)).collect()
    }
}

fn malformed<'de, D: Deserializer<'de>>(_: base64::DecodeError) -> D::Error {
    D::Error::custom("not base 64")
}

pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("identity.json")
}

fn pending_path(dir: &Path) -> PathBuf {
    dir.join("pending.json")
}

/// What was enrolled; none before.
pub(super) fn read(dir: &Path) -> Result<Option<Stored>, IdentityError> {
    let stored: Option<Stored> = parse(&path(dir))?;
    match stored {
        Some(stored) if stored.version != VERSION => Err(IdentityError::Damaged(path(dir))),
        stored => Ok(stored),
    }
}

/// The key of an enrolment that has not come to its end. One that is damaged was never used.
pub(super) fn read_pending(dir: &Path) -> Result<Option<Pending>, IdentityError> {
    match parse(&pending_path(dir)) {
        Err(IdentityError::Damaged(_)) => Ok(None),
        pending => pending,
    }
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, IdentityError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::File { path: path.to_owned(), source }),
        // The parser's words would repeat what is in the file.
        Ok(_) => serde_json::from_slice(&text).map(Some).map_err(|_| IdentityError::Damaged(path.to_owned())),
    }
}

pub(super) fn write(dir: &Path, stored: &Stored) -> Result<(), IdentityError> {
    replace(dir, &path(dir), stored)?;
    // The enrolment has come to its end.
    match fs::remove_file(pending_path(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(IdentityError::File { path: pending_path(dir), source: error })
        }
        _ => Ok(()),
    }
}

pub(super) fn write_pending(dir: &Path, pending: &Pending) -> Result<(), IdentityError> {
    replace(dir, &pending_path(dir), pending)
}

fn replace(dir: &Path, path: &Path, content: &impl Serialize) -> Result<(), IdentityError> {
    let made = path.with_extension("new");
    let replace = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        match fs::remove_file(&made) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&made)?;
        file.write_all(&serde_json::to_vec_pretty(content)?)?;
        file.sync_all()?;
        fs::rename(&made, path)?;
        File::open(dir)?.sync_all()
    };
    replace().map_err(|source| IdentityError::File { path: path.to_owned(), source })
}
