//! An authority, a server's TLS and an enrolled box for tests.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sandan_proto::id::GatewayId;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::store::{self, Pending, Stored};
use super::{Identity, WallClock};

/// The time of tests in which no time passes.
pub(crate) fn now() -> WallClock {
    Arc::new(crate::clock::wall_us)
}

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn signed(&self, key: &KeyPair) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        params.signed_by(key, &self.0).unwrap().der().clone()
    }

    /// A server that takes clients of this authority, and those that show nothing.
    pub(crate) fn server(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let chain = vec![self.signed(&key), self.der()];
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
            .with_single_cert(chain, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Connections to such a server, after their handshake.
    pub(crate) fn incoming(
        &self,
        listener: TcpListener,
    ) -> impl futures::Stream<Item = std::io::Result<TlsStream<TcpStream>>> + Send + use<> {
        futures::stream::unfold((listener, self.server()), |(listener, server)| async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = server.accept(stream).await {
                    return Some((Ok(stream), (listener, server)));
                }
            }
        })
    }

    /// A box that is enrolled at `ingest`.
    pub(crate) fn enrolled(&self, dir: &Path, gateway: &GatewayId, ingest: &str) -> Identity {
        let identity = Identity::new(dir, gateway.clone());
        let key = KeyPair::generate().unwrap();
        let pending = Pending::new("00".repeat(32), key.serialize_pem());
        let mut stored = Stored::new(gateway.clone(), ingest.to_owned(), pending);
        stored.certificate = vec![self.signed(&key).to_vec()];
        stored.trust = vec![self.der().to_vec()];
        store::write(&identity.dir, &stored).unwrap();
        identity
    }
}
