//! Names that tell nothing: what a series is called that is shared under a pseudonym.
//!
//! A handle is stable within one consent and differs under every other, so that two consents of
//! one firm cannot be joined by it. It is made with a secret of the installation, in
//! `<data_dir>/pseudonyms/`, 0600, made at the first start and never in a database, a backup or an
//! answer: whoever knows all names of the complex still cannot tell which of them a handle is.
//! With a new secret every handle changes, and those of before lead nowhere.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::hmac;
use sandan_proto::id::{AssetId, FirmId, GatewayId};

use crate::id::ConsentId;

/// The secret's file in the directory.
const KEY_FILE: &str = "key";
/// Bytes of the secret: as many as the hash gives.
const KEY_BYTES: usize = 32;
/// What every handle begins with.
const PREFIX: &str = "p-";
/// Characters behind it, of five bits each: 130, so that no two are ever the same.
const CHARS: usize = 26;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Why there are no pseudonyms.
#[derive(Debug, thiserror::Error)]
pub enum PseudonymError {
    /// The secret's file cannot be read or written.
    #[error("the secret of pseudonyms cannot be used: {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The secret's file holds something else.
    #[error(
        "{} is not the secret of pseudonyms, which has {KEY_BYTES} bytes\n  hint: bring back a copy of it, or move it \
         away to have a new one made; then what is shared under a pseudonym goes by another one",
        .0.display()
    )]
    Key(PathBuf),
    /// There is no randomness for a secret.
    #[error("no secret of pseudonyms could be made")]
    Make,
}

/// Makes handles.
pub struct Pseudonyms {
    key: hmac::Key,
}

impl Pseudonyms {
    /// Reads the secret of a directory, or makes one.
    pub fn open(dir: &Path) -> Result<Self, PseudonymError> {
        let path = dir.join(KEY_FILE);
        let failed = |source| PseudonymError::File { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let mut key = Vec::with_capacity(KEY_BYTES);
        match File::open(&path) {
            Ok(file) => {
                file.take(KEY_BYTES as u64 + 1).read_to_end(&mut key).map_err(failed)?;
                if key.len() != KEY_BYTES {
                    return Err(PseudonymError::Key(path));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                key.resize(KEY_BYTES, 0);
                getrandom::fill(&mut key).map_err(|_| PseudonymError::Make)?;
                put(dir, &path, &key).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// Whether a name is formed like a handle.
    pub fn is_handle(firm: &FirmId) -> bool {
        firm.as_str().strip_prefix(PREFIX).is_some_and(|rest| rest.len() == CHARS)
    }

    /// What the grantor is called under a consent.
    pub fn firm(&self, consent: ConsentId) -> Option<FirmId> {
        FirmId::new(&self.handle(consent, "firm", "")).ok()
    }

    /// What a machine is called under a consent.
    pub fn asset(&self, consent: ConsentId, asset: &AssetId) -> Option<AssetId> {
        AssetId::new(&self.handle(consent, "asset", asset.as_str())).ok()
    }

    /// What any gateway is called under a consent.
    pub fn gateway(&self, consent: ConsentId) -> Option<GatewayId> {
        let firm = self.handle(consent, "firm", "");
        GatewayId::new(&format!("{firm}/{}", self.handle(consent, "gateway", ""))).ok()
    }

    /// No part can be taken for the beginning of the next: none but the last holds a NUL.
    fn handle(&self, consent: ConsentId, kind: &str, name: &str) -> String {
        let text = format!("sandan pseudonym 1\0{consent}\0{kind}\0{name}");
        let tag = hmac::sign(&self.key, text.as_bytes());
        let (mut bits, mut held, mut handle) = (0_u32, 0, PREFIX.to_owned());
        let mut bytes = tag.as_ref().iter();
        while handle.len() < PREFIX.len() + CHARS {
            if held < 5 {
                bits = bits << 8 | u32::from(bytes.next().copied().unwrap_or(0));
                held += 8;
            }
            held -= 5;
            handle.push(char::from(ALPHABET[(bits >> held & 31) as usize]));
        }
        handle
    }
}

/// Writes the secret whole or not at all, synced.
fn put(dir: &Path, path: &Path, key: &[u8]) -> io::Result<()> {
    let part = path.with_extension("new");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(key)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_handle_is_stable_and_of_one_consent() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("pseudonyms");
        let names = Pseudonyms::open(&dir).unwrap();
        let [one, other] = [ConsentId::random(), ConsentId::random()];
        let press: AssetId = "press-1".parse().unwrap();
        let firm = names.firm(one).unwrap();
        assert_eq!(firm.as_str().len(), 28);
        assert!(Pseudonyms::is_handle(&firm) && !Pseudonyms::is_handle(&FirmId::new("hanbit").unwrap()));
        let again = Pseudonyms::open(&dir).unwrap();
        assert_eq!(again.firm(one).unwrap(), firm);
        assert_eq!(again.asset(one, &press), names.asset(one, &press));
        let all = [
            firm.to_string(),
            names.firm(other).unwrap().to_string(),
            names.asset(one, &press).unwrap().to_string(),
            names.asset(other, &press).unwrap().to_string(),
            names.asset(one, &"press-2".parse().unwrap()).unwrap().to_string(),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|it| !it.contains("press") && !it.contains("hanbit")));
        assert_eq!(names.gateway(one).unwrap().firm(), firm);
        // Another installation, or one that has lost its secret, calls everything differently.
        let elsewhere = tempfile::tempdir().unwrap();
        assert_ne!(Pseudonyms::open(elsewhere.path()).unwrap().firm(one).unwrap(), firm);
    }

    #[test]
    fn the_secret_is_its_owners_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        Pseudonyms::open(dir.path()).unwrap();
        let path = dir.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert!(matches!(Pseudonyms::open(dir.path()), Err(PseudonymError::Key(_))));
    }
}
