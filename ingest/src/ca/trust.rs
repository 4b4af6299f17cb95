//! Whom the uplink's port lets speak: TLS 1.3, and a client's certificate only from an
//! authority that is trusted.
//!
//! A certificate that has expired is let through the handshake when it was good on its
//! last day. What it still opens is decided where its gateway is known, so that the
//! refusal is a sentence and not an alert: `Renew` for a time, and nothing afterwards.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CaError, ServerIdentity};
use crate::auth::KeyHash;
use crate::time::{Clock, SECOND_US};

/// What counts of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// SHA-256 of the public key.
    pub key: KeyHash,
    /// The public key, DER.
    pub key_der: Vec<u8>,
    /// µs since 1970.
    pub not_after_us: i64,
}

impl Leaf {
    /// Of a certificate; none when it is not one. Never panics, whatever comes.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let key_der = parsed.public_key().raw.to_vec();
        let not_after_us = parsed.validity().not_after.timestamp().saturating_mul(SECOND_US);
        Some(Self { key: KeyHash::of(&key_der), key_der, not_after_us })
    }
}

struct InjectedTime(Clock);

impl fmt::Debug for InjectedTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InjectedTime")
    }
}

fn unix(us: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_micros(u64::try_from(us).unwrap_or(0)))
}

impl TimeProvider for InjectedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix((self.0)()))
    }
}

#[derive(Debug)]
struct Gateways(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Gateways {
    fn client_auth_mandatory(&self) -> bool {
        // A box that enrols has none yet.
        false
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.0.verify_client_cert(leaf, between, now) {
            Err(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
                let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
                let last = Leaf::of(leaf).ok_or_else(bad)?.not_after_us;
                self.0.verify_client_cert(leaf, between, unix(last))
            }
            decided => decided,
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, leaf, signature)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, leaf, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The uplink port's TLS: shows `identity`, lets in whom one of `trusted` has signed.
pub fn server_config(
    trusted: &[CertificateDer<'static>],
    identity: ServerIdentity,
    now: Clock,
) -> Result<ServerConfig, CaError> {
    let failed = |error: &dyn fmt::Display| CaError::Make(error.to_string());
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone()).map_err(|error| failed(&error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| failed(&error))?;
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(InjectedTime(now)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| failed(&error))?
        .with_client_cert_verifier(Arc::new(Gateways(verifier)))
        .with_single_cert(identity.chain, identity.key)
        .map_err(|error| failed(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would carry a client's certificate past the check of it.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
