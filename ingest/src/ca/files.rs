//! The authorities' files: `1.pem` and `1.key`, `2.pem` and `2.key`, …
//!
//! A key is on the disk before its certificate is: one without the other is what a
//! power cut left, and is passed over.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::trust::Leaf;
use super::{Ca, CaError};
use crate::config::Tls;

/// More than any certificate chain or key in PEM has.
const MAX_FILE_BYTES: u64 = 256 << 10;

fn failed(path: &Path) -> impl Fn(io::Error) -> CaError {
    move |source| CaError::File { path: path.to_owned(), source }
}

fn content(path: &Path, reason: &str) -> CaError {
    CaError::Content { path: path.to_owned(), reason: reason.to_owned() }
}

/// All that have a certificate and a key, oldest first.
pub(super) fn read(dir: &Path) -> Result<Vec<Ca>, CaError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))?;
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let path = entry.map_err(failed(dir))?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|extension| extension == "pem")) {
            let certificate = certificates(&path)?.swap_remove(0);
            all.push(whole(number, certificate, &path, &path.with_extension("key"))?);
        }
    }
    all.sort_by_key(|ca| ca.number);
    Ok(all)
}

/// The one that the configuration names: the first certificate signs, all are trusted.
pub(super) fn outside(tls: &Tls) -> Result<Vec<Ca>, CaError> {
    let mut certificates = certificates(&tls.cert_file)?.into_iter();
    let signing = certificates.next().ok_or_else(|| content(&tls.cert_file, "it holds no certificate"))?;
    let signing = whole(0, signing, &tls.cert_file, &tls.key_file)?;
    let trusted = |certificate: CertificateDer<'static>| -> Result<Ca, CaError> {
        let leaf = Leaf::of(&certificate).ok_or_else(|| content(&tls.cert_file, "a certificate in it is none"))?;
        Ok(Ca { number: 0, not_after_us: leaf.not_after_us, certificate, key: None })
    };
    let mut all = certificates.map(trusted).collect::<Result<Vec<_>, _>>()?;
    all.push(signing);
    Ok(all)
}

/// A certificate with its key, which must belong together.
fn whole(number: u32, certificate: CertificateDer<'static>, path: &Path, key_path: &Path) -> Result<Ca, CaError> {
    let text = small(key_path)?;
    // The reason is left out: it must not repeat what is in the file.
    let key = KeyPair::from_pem(&text).map_err(|_| content(key_path, "it is no private key in PEM (PKCS#8)"))?;
    let leaf = Leaf::of(&certificate).ok_or_else(|| content(path, "its certificate cannot be read"))?;
    if leaf.key_der != key.subject_public_key_info() {
        return Err(content(key_path, &format!("it is not the key of {}", path.display())));
    }
    Ok(Ca { number, not_after_us: leaf.not_after_us, certificate, key: Some(key) })
}

/// The certificates of a PEM file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let text = small(path)?;
    let found = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|_| content(path, "it is not PEM"))?;
    if found.is_empty() {
        return Err(content(path, "it holds no certificate"));
    }
    Ok(found)
}

fn small(path: &Path) -> Result<String, CaError> {
    use io::Read;
    let mut text = String::new();
    let file = File::open(path).map_err(failed(path))?;
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed(path))?;
    Ok(text)
}

/// Writes one, synced.
pub(super) fn write(dir: &Path, ca: &Ca) -> Result<(), CaError> {
    let key = ca.key.as_ref().map(KeyPair::serialize_pem).unwrap_or_default();
    let certificate = pem(&ca.certificate);
    for (extension, text, mode) in [("key", key, 0o600), ("pem", certificate, 0o644)] {
        let path = dir.join(format!("{}.{extension}", ca.number));
        let made = path.with_extension(format!("{extension}.new"));
        let write = || -> io::Result<()> {
            // What a power cut left may have another mode.
            match fs::remove_file(&made) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&made)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&made, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(failed(&path))?;
    }
    Ok(())
}

/// Takes one out of use: its certificate stays to be looked at, its key is gone.
pub(super) fn retire(dir: &Path, number: u32) -> Result<(), CaError> {
    let certificate = dir.join(format!("{number}.pem"));
    let retire = || -> io::Result<()> {
        fs::rename(&certificate, certificate.with_extension("pem.retired"))?;
        fs::remove_file(certificate.with_extension("key"))?;
        File::open(dir)?.sync_all()
    };
    retire().map_err(failed(&certificate))
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use std::fmt::Write;

    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        // Base 64 is ASCII.
        let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
    }
    pem + "-----END CERTIFICATE-----\n"
}
