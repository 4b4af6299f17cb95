//! The certificate authority: issues the certificates of gateways and of the uplink's own
//! server, and says which authorities are trusted.
//!
//! Built in by default: ECDSA P-256, key in a 0600 file under `<data_dir>/ca/`, never in
//! a database. While it is being changed there are several: the newest signs gateways'
//! certificates, the oldest signs the server's, because a gateway that has not renewed
//! since knows no other; both are trusted until the old one is retired. With an outside
//! authority (`[uplink.ca]`) the first certificate of its file signs, and every one in it
//! is trusted.
//!
//! It promises that a private key leaves through no `Debug`, error or answer. It must not
//! know who may have a certificate; that is enrolment's.

mod files;
#[cfg(test)]
pub(crate) mod fixture;
mod issue;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sandan_proto::id::GatewayId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

pub use self::issue::{Issued, RequestError, RequestKey};
pub use self::trust::{Leaf, server_config};
use crate::config::Tls;
use crate::time::{Clock, DAY_US, HOUR_US};

/// How long a built-in authority lasts: longer than the box beside the PLC.
const AUTHORITY_LIFE_US: i64 = 3_653 * DAY_US;
/// A gateway's certificate; it renews at two thirds of it.
pub const GATEWAY_LIFE_US: i64 = 90 * DAY_US;
/// The uplink server's own certificate, kept in memory and made anew at each start.
pub const SERVER_LIFE_US: i64 = 90 * DAY_US;
/// Certificates begin a little before they are made: a box whose clock is behind by less
/// than this takes them.
const BACKDATED_US: i64 = HOUR_US;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file of it cannot be read or written.
    #[error("the certificate authority's file {} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of it holds something else.
    #[error("the certificate authority's file {} cannot be used: {reason}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, without what is in it.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    Make(String),
    /// An outside one is not changed from here.
    #[error("the certificate authority is an outside one, named by [uplink.ca]")]
    Outside,
    /// No such authority, or the one that signs.
    #[error("there is no older certificate authority {0} that could be retired")]
    NotOlder(u32),
}

impl From<rcgen::Error> for CaError {
    fn from(error: rcgen::Error) -> Self {
        Self::Make(error.to_string())
    }
}

/// SHA-256 of a certificate, as an invitation and `ca list` show it.
pub type Fingerprint = [u8; 32];

/// SHA-256 of a certificate's DER.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Sha256::digest(certificate.as_ref()).into()
}

/// One authority.
struct Ca {
    /// Counts from 1; 0 for one from outside.
    number: u32,
    certificate: CertificateDer<'static>,
    /// None for one that is only trusted.
    key: Option<rcgen::KeyPair>,
    not_after_us: i64,
}

/// An authority in `ca list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityEntry {
    /// Counts from 1; 0 for one from outside.
    pub number: u32,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// µs since 1970.
    pub not_after_us: i64,
    /// Signs what gateways get now.
    pub signs: bool,
}

/// A certificate chain and its key, as the uplink's server shows them.
pub struct ServerIdentity {
    /// Leaf first, its authority last.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    pub key: PrivateKeyDer<'static>,
    /// When it has to be replaced, µs since 1970.
    pub not_after_us: i64,
}

/// The authorities of this installation.
pub struct Authority {
    complex: String,
    home: Home,
    now: Clock,
    /// Oldest first; never empty; the last one signs.
    all: RwLock<Vec<Arc<Ca>>>,
    /// An outside certificate of the uplink's own server: its chain, whose last
    /// certificate gateways have to trust.
    server: Option<Vec<CertificateDer<'static>>>,
    changed: watch::Sender<u64>,
}

enum Home {
    Dir(PathBuf),
    Outside,
}

impl Authority {
    /// Opens the authority under `dir`, and makes it where there is none; or the outside
    /// one. `server` is the certificate chain that `[uplink] tls` names.
    pub fn open(
        complex: &str,
        dir: &Path,
        outside: Option<&Tls>,
        server: Option<&Tls>,
        now: Clock,
    ) -> Result<Self, CaError> {
        let (home, all) = if let Some(tls) = outside {
            (Home::Outside, files::outside(tls)?)
        } else {
            let mut all = files::read(dir)?;
            if all.is_empty() {
                let made = issue::authority(complex, 1, now())?;
                files::write(dir, &made)?;
                all.push(made);
            }
            (Home::Dir(dir.to_owned()), all)
        };
        let server = match server {
            None => None,
            Some(tls) => {
                let chain = files::certificates(&tls.cert_file)?;
                if chain.len() < 2 {
                    let reason =
                        "it holds one certificate; append that of its authority, by which gateways know the server";
                    return Err(CaError::Content { path: tls.cert_file.clone(), reason: reason.to_owned() });
                }
                Some(chain)
            }
        };
        let all = RwLock::new(all.into_iter().map(Arc::new).collect());
        Ok(Self { complex: complex.to_owned(), home, now, all, server, changed: watch::Sender::new(0) })
    }

    fn all(&self) -> Vec<Arc<Ca>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn signing(&self) -> Result<Arc<Ca>, CaError> {
        self.all().pop().ok_or_else(|| CaError::Make("there is no authority".to_owned()))
    }

    /// By which gateways know the uplink's server: what an invitation names.
    pub fn pin(&self) -> Result<Fingerprint, CaError> {
        if let Some(certificate) = self.server.as_ref().and_then(|chain| chain.last()) {
            return Ok(fingerprint(certificate));
        }
        let all = self.all();
        let oldest = all.iter().find(|ca| ca.key.is_some());
        Ok(fingerprint(&oldest.ok_or_else(|| CaError::Make("there is no authority".to_owned()))?.certificate))
    }

    /// Every authority whose gateways are let in.
    pub fn trusted(&self) -> Vec<CertificateDer<'static>> {
        self.all().iter().map(|ca| ca.certificate.clone()).collect()
    }

    /// What a gateway has to trust from now on.
    pub fn bundle(&self) -> Vec<CertificateDer<'static>> {
        let mut bundle = self.trusted();
        bundle.extend(self.server.as_ref().and_then(|chain| chain.last()).cloned());
        bundle
    }

    /// The fingerprint of the authority that signs gateways' certificates now.
    pub fn issuer(&self) -> Result<Fingerprint, CaError> {
        Ok(fingerprint(&self.signing()?.certificate))
    }

    /// A certificate for a gateway's key.
    pub fn gateway(&self, gateway: &GatewayId, key: &RequestKey) -> Result<Issued, CaError> {
        let ca = self.signing()?;
        issue::gateway(&ca, &self.complex, gateway, key, (self.now)())
    }

    /// The chain behind a gateway's certificate that is to be handed out again.
    pub fn chain_of(&self, issued_by: &Fingerprint, leaf: Vec<u8>) -> Vec<Vec<u8>> {
        let issuer = self.all().into_iter().find(|ca| fingerprint(&ca.certificate) == *issued_by);
        std::iter::once(leaf).chain(issuer.map(|ca| ca.certificate.to_vec())).collect()
    }

    /// A new certificate and key for the uplink's server under these names.
    pub fn server(&self, names: &[String]) -> Result<ServerIdentity, CaError> {
        let all = self.all();
        let oldest = all.iter().find(|ca| ca.key.is_some());
        let ca = oldest.ok_or_else(|| CaError::Make("there is no authority with a key".to_owned()))?;
        issue::server(ca, names, (self.now)())
    }

    /// Resolves when authorities came or went.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// All authorities, oldest first.
    pub fn list(&self) -> Vec<AuthorityEntry> {
        let all = self.all();
        let last = all.len().saturating_sub(1);
        let entry = |(at, ca): (usize, &Arc<Ca>)| AuthorityEntry {
            number: ca.number,
            fingerprint: sandan_proto::invitation::to_hex(&fingerprint(&ca.certificate)),
            not_after_us: ca.not_after_us,
            signs: at == last,
        };
        all.iter().enumerate().map(entry).collect()
    }

    /// Makes a new authority, which signs from now on; the older ones stay trusted.
    pub fn rotate(&self) -> Result<AuthorityEntry, CaError> {
        let Home::Dir(dir) = &self.home else { return Err(CaError::Outside) };
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let number = all.iter().map(|ca| ca.number).max().unwrap_or(0) + 1;
        let made = issue::authority(&self.complex, number, (self.now)())?;
        files::write(dir, &made)?;
        let entry = AuthorityEntry {
            number,
            fingerprint: sandan_proto::invitation::to_hex(&fingerprint(&made.certificate)),
            not_after_us: made.not_after_us,
            signs: true,
        };
        all.push(Arc::new(made));
        drop(all);
        self.changed.send_modify(|changes| *changes += 1);
        Ok(entry)
    }

    /// Ends the trust in an older authority, and destroys its key.
    pub fn retire(&self, number: u32) -> Result<(), CaError> {
        let Home::Dir(dir) = &self.home else { return Err(CaError::Outside) };
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|ca| ca.number == number);
        let at = at.filter(|at| at + 1 < all.len()).ok_or(CaError::NotOlder(number))?;
        files::retire(dir, number)?;
        all.remove(at);
        drop(all);
        self.changed.send_modify(|changes| *changes += 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
