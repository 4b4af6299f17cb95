//! Signs where the log stands: a receipt for each read across firms, and once a minute the
//! end of all chains, which goes to a directory on another disk.
//!
//! The key is the installation's own, in `<data_dir>/audit/`, 0600, made at the first start
//! and never in a database, a backup or an answer. Every key that was ever in use leaves its
//! public half there as `KEY.pub` and in the log of the complex. It promises that what it
//! signed stands durably in the log. It must not know who reads.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use tokio_util::sync::CancellationToken;

use crate::audit::seal::{Proof, PublicKey, Receipt, SigningKey, TreeHead};
use crate::audit::{Chain, Draft, Entry, Head, Kind};
use crate::store::control::{Control, ControlError};
use crate::time::{Clock, rfc3339};

/// The key's file in the directory.
const KEY_FILE: &str = "key.pem";
/// More than any key in PEM has.
const MAX_KEY_BYTES: u64 = 4 << 10;
/// How often the end of all chains is signed, where it has moved: what is cut off a log sooner
/// than that is shown by receipts alone.
const INTERVAL: Duration = Duration::from_mins(1);
/// Digits of a month at the beginning of a time in RFC 3339.
const MONTH_CHARS: usize = "2026-11".len();

/// Why nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub enum NotaryError {
    /// A file of it cannot be read or written.
    #[error("the audit key's directory cannot be used: {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key's file holds something else.
    #[error(
        "{} holds no Ed25519 key in PEM (PKCS#8)\n  hint: bring back a copy of it, or move it away to have a new one \
         made; what the old one signed stays good",
        .0.display()
    )]
    Key(PathBuf),
    /// There is no randomness for a key.
    #[error("no audit key could be made")]
    Make,
    /// The log could not be written or read.
    #[error(transparent)]
    Control(#[from] ControlError),
}

fn failed(path: &Path) -> impl Fn(io::Error) -> NotaryError {
    move |source| NotaryError::File { path: path.to_owned(), source }
}

/// What signs for one installation.
#[derive(Debug)]
pub struct Notary {
    complex: String,
    key: SigningKey,
    /// Public halves of all keys that were ever in use here, by name.
    keys: Vec<PublicKey>,
    /// Where signed ends go, a file a month.
    heads: PathBuf,
}

impl Notary {
    /// Reads the key of `dir`, or makes one and says so in the log of the complex. Signed ends
    /// of all chains go to `heads`.
    pub async fn open(
        complex: &str,
        dir: &Path,
        heads: PathBuf,
        control: &dyn Control,
        clock: &Clock,
    ) -> Result<Self, NotaryError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))?;
        let path = dir.join(KEY_FILE);
        let key = match File::open(&path) {
            Ok(file) => read_key(&path, file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let document = SigningKey::generate().map_err(|_| NotaryError::Make)?;
                put(dir, KEY_FILE, &pem(&document), 0o600)?;
                SigningKey::from_pkcs8(&document).map_err(|_| NotaryError::Make)?
            }
            Err(error) => return Err(failed(&path)(error)),
        };
        let public = key.public();
        let mut keys = public_keys(dir)?;
        if !keys.contains(&public) {
            // The log first: a key whose file is there is in it.
            let made = Draft::new(Chain::Complex, Kind::AuditKeyMade, "service").with("key", public.to_string());
            control.append(made, clock()).await?;
            put(dir, &format!("{public}.pub"), &format!("{public}\n"), 0o644)?;
            keys.push(public);
        }
        keys.sort_by_key(ToString::to_string);
        Ok(Self { complex: complex.to_owned(), key, keys, heads })
    }

    /// Public halves of all keys that were ever in use here.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Where an entry stands that is durably in the log.
    pub fn receipt(&self, entry: &Entry) -> Receipt {
        self.key.receipt(&self.complex, entry)
    }

    /// That a chain ends where it does now; none where it is empty.
    pub async fn proof(
        &self,
        control: &dyn Control,
        chain: &Chain,
        now_us: i64,
    ) -> Result<Option<Proof>, ControlError> {
        let ends: Vec<(Chain, Head)> = control.testimony().await?.heads.into_iter().collect();
        let head = self.sign(&ends, now_us);
        let place = ends.binary_search_by(|(other, _)| other.cmp(chain)).ok();
        Ok(place.and_then(|index| Proof::of(head, &ends, index)))
    }

    fn sign(&self, ends: &[(Chain, Head)], now_us: i64) -> TreeHead {
        self.key.tree_head(&self.complex, now_us, ends.iter().map(|(chain, head)| (chain, head)))
    }

    /// Signs the end of all chains once a minute, where it has moved, until `stop`.
    pub async fn keep(self: Arc<Self>, control: Arc<dyn Control>, clock: Clock, stop: CancellationToken) {
        let mut written = None;
        let mut is_behind = false;
        while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            match self.follow(&*control, clock(), &mut written).await {
                Ok(()) => is_behind = false,
                Err(error) if !std::mem::replace(&mut is_behind, true) => {
                    tracing::error!(%error, "the end of the audit log cannot be put down; it is tried every minute");
                }
                Err(_) => {}
            }
        }
    }

    /// Puts the end of all chains down unless it is `written` already.
    async fn follow(
        &self,
        control: &dyn Control,
        now_us: i64,
        written: &mut Option<TreeHead>,
    ) -> Result<(), NotaryError> {
        let ends: Vec<(Chain, Head)> = control.testimony().await?.heads.into_iter().collect();
        let head = self.sign(&ends, now_us);
        if written.as_ref().is_some_and(|written| (written.root, written.chains) == (head.root, head.chains)) {
            return Ok(());
        }
        let (dir, line) = (self.heads.clone(), serde_json::to_string(&head).unwrap_or_default());
        let month: String = rfc3339(now_us).chars().take(MONTH_CHARS).collect();
        let path = dir.join(format!("heads-{month}.jsonl"));
        let put = tokio::task::spawn_blocking(move || {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed(&dir))?;
            let mut file =
                OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(failed(&path))?;
            file.write_all(format!("{line}\n").as_bytes()).map_err(failed(&path))?;
            file.sync_all().map_err(failed(&path))
        });
        put.await.map_err(|error| failed(&self.heads)(io::Error::other(error)))??;
        *written = Some(head);
        Ok(())
    }
}

fn read_key(path: &Path, file: File) -> Result<SigningKey, NotaryError> {
    use io::Read;
    let mut text = String::new();
    file.take(MAX_KEY_BYTES).read_to_string(&mut text).map_err(failed(path))?;
    // The reason is left out: it must not repeat what is in the file.
    let document = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| NotaryError::Key(path.into()))?;
    SigningKey::from_pkcs8(document.secret_pkcs8_der()).map_err(|_| NotaryError::Key(path.into()))
}

fn public_keys(dir: &Path) -> Result<Vec<PublicKey>, NotaryError> {
    let mut keys = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let name = entry.map_err(failed(dir))?.file_name();
        keys.extend(
            name.to_str().and_then(|name| name.strip_suffix(".pub")).and_then(|name| name.parse::<PublicKey>().ok()),
        );
    }
    Ok(keys)
}

/// Writes a file whole or not at all, synced.
fn put(dir: &Path, name: &str, text: &str, mode: u32) -> Result<(), NotaryError> {
    let (path, part) = (dir.join(name), dir.join(format!("{name}.new")));
    let put = || -> io::Result<()> {
        // What a power cut left may have another mode.
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, &path)?;
        File::open(dir)?.sync_all()
    };
    put().map_err(failed(&path))
}

fn pem(document: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(document);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests;
