//! The secure line to a broker: whom we trust, and who we are.

use std::path::Path;
use std::sync::Arc;

use rumqttc::{TlsConfiguration, Transport};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Mqtt;

/// The transport of an endpoint; `None` for a plain one. Files are read for each connection,
/// so that a certificate that was renewed is taken. The error is a sentence without a secret.
pub(super) fn transport(endpoint: &Mqtt) -> Result<Option<Transport>, String> {
    let Some(ca_file) = &endpoint.ca_file else { return Ok(None) };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(ca_file)?);
    let config = match &endpoint.client_certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_slice(read(key)?.as_bytes())
                .map_err(|_| format!("{}: no private key in PEM in it", key.display()))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("{} and its key do not go together: {error}", certificate.display()))?
        }
    };
    Ok(Some(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config)))))
}

fn roots(file: &Path) -> Result<rustls::RootCertStore, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("{}: no certificate in it", file.display())),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}
