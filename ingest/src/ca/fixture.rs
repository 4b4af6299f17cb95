//! A box for tests: its key, what it was given, and connections with them.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sandan_proto::invitation::Invitation;
use sandan_proto::v1;
use sandan_proto::v1::enrollment_client::EnrollmentClient;
use tokio::net::TcpStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::*;

/// Of an authority alone: TLS that shows its server's certificate.
pub(crate) fn gate(dir: &Path) -> (Arc<Authority>, crate::session::Gate) {
    let now = crate::time::system_clock();
    let ca = Arc::new(Authority::open("c", &dir.join("ca"), None, None, now.clone()).unwrap());
    let identity = ca.server(&["127.0.0.1".to_owned()]).unwrap();
    let config = Arc::new(server_config(&ca.trusted(), identity, now).unwrap());
    (ca, crate::session::Gate { tls: Arc::new(move || config.clone()), refused: Arc::new(|_, _| ()) })
}

pub(crate) struct Device {
    key: KeyPair,
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) trust: Vec<Vec<u8>>,
}

impl Device {
    pub(crate) fn new(trust: &[CertificateDer<'static>]) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Self { key, chain: Vec::new(), trust: trust.iter().map(|it| it.to_vec()).collect() }
    }

    pub(crate) fn request(&self) -> Vec<u8> {
        rcgen::CertificateParams::default().serialize_request(&self.key).unwrap().der().to_vec()
    }

    pub(crate) fn leaf(&self) -> Option<Leaf> {
        self.chain.first().and_then(|leaf| Leaf::of(&CertificateDer::from(leaf.clone())))
    }

    pub(crate) fn tls(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for trusted in &self.trust {
            roots.add(CertificateDer::from(trusted.clone())).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap().with_root_certificates(roots);
        let mut config = if self.chain.is_empty() {
            builder.with_no_client_auth()
        } else {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
            let chain = self.chain.iter().map(|it| CertificateDer::from(it.clone())).collect();
            builder.with_client_auth_cert(chain, key).unwrap()
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    pub(crate) async fn channel(&self, at: SocketAddr) -> Channel {
        let stream = TcpStream::connect(at).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(self.tls())).connect(name, stream).await.unwrap();
        let mut once = Some(TokioIo::new(tls));
        let connector = tower::service_fn(move |_| {
            let stream = once.take().ok_or_else(|| std::io::Error::other("ended"));
            std::future::ready(stream)
        });
        Endpoint::from_static("http://ingest").connect_with_connector(connector).await.unwrap()
    }

    pub(crate) async fn enroll(&mut self, at: SocketAddr, invitation: &str) -> Result<(), Status> {
        let Invitation { token, gateway, .. } = Invitation::parse(invitation).unwrap();
        let gateway = gateway.to_string();
        let request = v1::EnrollRequest { invitation: token, certificate_request: self.request(), gateway };
        let answer = EnrollmentClient::new(self.channel(at).await).enroll(request).await?.into_inner();
        (self.chain, self.trust) = (answer.certificate_chain, answer.trust_bundle);
        Ok(())
    }
}
