//! Who this gateway is to the ingest: its key, its certificate, and whom it trusts.
//!
//! All of it stands in one file, `<state_dir>/identity/identity.json` (mode 0600), which
//! is replaced as a whole, so that there is no moment at which key and certificate do not
//! belong together. `enroll` makes it from an invitation, `renew` replaces the certificate
//! and the trusted authorities in it. The private key never leaves the box, and nothing
//! here shows it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sandan_proto::id::GatewayId;
use x509_parser::prelude::{FromDer, X509Certificate};

mod enroll;
#[cfg(test)]
pub(crate) mod fixture;
mod renew;
mod store;
mod tls;

pub use enroll::{EnrollError, Enrolled, enroll};
pub use renew::{Pace, RenewError, Renewal, keep_renewed};
pub use tls::Trust;

/// Gives the time by which certificates are judged, µs since 1970.
pub type WallClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Nobody has enrolled this box.
    #[error("not enrolled: run `sandan-gateway enroll` with an invitation of the ingest's operator")]
    NotEnrolled,
    /// A file of it cannot be read or written.
    #[error("cannot use the identity file {path}")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of it holds something else.
    #[error("the identity file {0} is damaged: enrol again with a new invitation (`gateway invite --replace`)")]
    Damaged(PathBuf),
    /// The box was enrolled as another gateway than it is configured as.
    #[error("this box is enrolled as {enrolled}, and configured as {configured}")]
    OtherGateway {
        /// By the certificate.
        enrolled: GatewayId,
        /// By the configuration.
        configured: GatewayId,
    },
    /// TLS cannot be set up with it.
    #[error("the identity cannot be used for TLS")]
    Tls(#[source] rustls::Error),
}

/// Where the identity is kept. It is read anew for each connection, so that an enrolment
/// or renewal counts from the next session on.
#[derive(Debug, Clone)]
pub struct Identity {
    dir: PathBuf,
    gateway: GatewayId,
}

/// What a connection needs. Never shown.
pub struct Credentials {
    /// Where the ingest is, as the invitation said: `host:port`.
    pub ingest: String,
    /// The certificate begins, µs since 1970.
    pub not_before_us: i64,
    /// The certificate ends, µs since 1970.
    pub not_after_us: i64,
    key: rcgen::KeyPair,
    chain: Vec<CertificateDer<'static>>,
    trust: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Identity {
    /// Of a gateway whose state lies there. Makes nothing.
    pub fn new(state_dir: &Path, gateway: GatewayId) -> Self {
        Self { dir: state_dir.join("identity"), gateway }
    }

    /// Which gateway it is configured as.
    pub fn gateway(&self) -> &GatewayId {
        &self.gateway
    }

    /// What was enrolled, as it is on the disk now.
    pub fn credentials(&self) -> Result<Credentials, IdentityError> {
        let stored = store::read(&self.dir)?.ok_or(IdentityError::NotEnrolled)?;
        if stored.gateway != self.gateway {
            let (enrolled, configured) = (stored.gateway, self.gateway.clone());
            return Err(IdentityError::OtherGateway { enrolled, configured });
        }
        let damaged = || IdentityError::Damaged(store::path(&self.dir));
        let key = rcgen::KeyPair::from_pem(&stored.key).map_err(|_| damaged())?;
        let leaf = stored.certificate.first().and_then(|leaf| Leaf::of(leaf)).ok_or_else(damaged)?;
        if leaf.key != rcgen::PublicKeyData::subject_public_key_info(&key) || stored.trust.is_empty() {
            return Err(damaged());
        }
        let der = |all: Vec<Vec<u8>>| all.into_iter().map(CertificateDer::from).collect();
        Ok(Credentials {
            ingest: stored.ingest,
            not_before_us: leaf.not_before_us,
            not_after_us: leaf.not_after_us,
            key,
            chain: der(stored.certificate),
            trust: der(stored.trust),
        })
    }
}

impl Credentials {
    /// TLS that shows the certificate and trusts the ingest's authorities.
    pub fn client_config(&self, now: WallClock) -> Result<rustls::ClientConfig, IdentityError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        tls::client_config(Trust::Bundle(&self.trust), Some((self.chain.clone(), key)), now).map_err(IdentityError::Tls)
    }
}

/// What counts of a certificate.
struct Leaf {
    key: Vec<u8>,
    not_before_us: i64,
    not_after_us: i64,
}

impl Leaf {
    /// None when the bytes are no certificate. Never panics, whatever comes.
    fn of(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let us = |seconds: i64| seconds.saturating_mul(1_000_000);
        let validity = parsed.validity();
        Some(Self {
            key: parsed.public_key().raw.to_vec(),
            not_before_us: us(validity.not_before.timestamp()),
            not_after_us: us(validity.not_after.timestamp()),
        })
    }
}

/// A request for a certificate of this key, DER. The ingest takes nothing but the key from it.
fn certificate_request(key: &rcgen::KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// Most certificates that an answer may hold in one list.
const MAX_CERTIFICATES: usize = 16;

/// Whether an answer's certificates can be used with this key.
fn is_usable(chain: &[Vec<u8>], trust: &[Vec<u8>], key: &rcgen::KeyPair) -> bool {
    let own = rcgen::PublicKeyData::subject_public_key_info(key);
    let counted = |list: &[Vec<u8>]| (1..=MAX_CERTIFICATES).contains(&list.len());
    counted(chain)
        && counted(trust)
        && trust.iter().all(|certificate| Leaf::of(certificate).is_some())
        && chain.first().and_then(|leaf| Leaf::of(leaf)).is_some_and(|leaf| leaf.key == own)
}

#[cfg(test)]
mod tests;
