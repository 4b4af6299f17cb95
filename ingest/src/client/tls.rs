//! Whom the client believes to be the service.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::ClientError;

/// Where systems keep what they trust, in the order in which they are tried: Debian and Alpine,
/// Fedora, `OpenSUSE`, macOS.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Trusts what `ca` holds, else what `SSL_CERT_FILE` names, else what the system does.
pub(super) fn config(ca: Option<&Path>) -> Result<ClientConfig, ClientError> {
    let named = ca.map(Path::to_owned).or_else(|| std::env::var_os("SSL_CERT_FILE").map(PathBuf::from));
    let file = match named {
        Some(file) => file,
        None => BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            ClientError::Trust("this system has none where they are looked for; name a file with --ca".to_owned())
        })?,
    };
    let failed = |error: rustls::pki_types::pem::Error| ClientError::Trust(format!("{}: {error}", file.display()));
    let mut roots = RootCertStore::empty();
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(&file).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    // A bundle of a system may hold some that this build cannot read.
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(ClientError::Trust(format!("{} holds none", file.display())));
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Trust(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
