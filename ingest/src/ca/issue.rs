//! Making keys and certificates. Of a request only the public key is taken, after the
//! request's own signature was found good; names and times are this side's.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sandan_proto::id::GatewayId;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::{AUTHORITY_LIFE_US, BACKDATED_US, Ca, CaError, GATEWAY_LIFE_US, SERVER_LIFE_US, ServerIdentity};
use crate::auth::KeyHash;
use crate::time::SECOND_US;

/// Largest certificate request: one for a P-256 key has about 250 bytes.
const MAX_REQUEST_BYTES: usize = 4_096;
/// Random bytes of a serial number.
const SERIAL_BYTES: usize = 16;
/// What the DER of every P-256 public key begins with (RFC 5480): two object ids and the
/// head of a bit string with an uncompressed point.
const P256_HEAD: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE,
    0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// Bytes of such a key: the head and two coordinates.
const P256_BYTES: usize = P256_HEAD.len() + 64;

/// What is wrong with a certificate request. Says nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Too long, or not PKCS#10.
    #[error("the certificate request is not PKCS#10 of at most {MAX_REQUEST_BYTES} bytes")]
    Form,
    /// Another kind of key.
    #[error("the certificate request is for another kind of key than ECDSA P-256")]
    Kind,
    /// Whoever sent it does not hold the key.
    #[error("the certificate request is not signed by its own key")]
    Signature,
}

/// The public key of a request whose sender has shown to hold it.
pub struct RequestKey {
    spki: SubjectPublicKeyInfo,
    hash: KeyHash,
}

impl RequestKey {
    /// Of a PKCS#10 request, DER. Never panics, whatever comes.
    pub fn of(request: &[u8]) -> Result<Self, RequestError> {
        if request.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::Form);
        }
        let (rest, parsed) = x509_parser::certification_request::X509CertificationRequest::from_der(request)
            .map_err(|_| RequestError::Form)?;
        if !rest.is_empty() {
            return Err(RequestError::Form);
        }
        let der = parsed.certification_request_info.subject_pki.raw;
        if der.len() != P256_BYTES || !der.starts_with(&P256_HEAD) {
            return Err(RequestError::Kind);
        }
        parsed.verify_signature().map_err(|_| RequestError::Signature)?;
        let spki = SubjectPublicKeyInfo::from_der(der).map_err(|_| RequestError::Kind)?;
        Ok(Self { hash: KeyHash::of(der), spki })
    }

    /// SHA-256 of the key.
    pub fn hash(&self) -> &KeyHash {
        &self.hash
    }
}

/// A certificate that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Leaf first, its authority behind it; DER.
    pub chain: Vec<Vec<u8>>,
    /// Hexadecimal.
    pub serial: String,
    /// µs since 1970.
    pub not_after_us: i64,
    /// The authority's fingerprint.
    pub issuer: super::Fingerprint,
}

fn random_serial() -> Result<SerialNumber, CaError> {
    let mut bytes = [0; SERIAL_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| CaError::Make(format!("the system gives no randomness: {error}")))?;
    // Positive in DER, and never shortened.
    bytes[0] = bytes[0] & 0x7F | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Parameters with name, serial number and times; gives the end in whole seconds as well.
fn params(name: &str, life_us: i64, now_us: i64, at_most_us: i64) -> Result<(CertificateParams, i64), CaError> {
    let time = |us: i64| {
        let time = ASN1Time::from_timestamp(us.div_euclid(SECOND_US));
        time.map(|time| time.to_datetime()).map_err(|_| CaError::Make("the clock of this machine is wrong".to_owned()))
    };
    let not_after_us = now_us.saturating_add(life_us).min(at_most_us).div_euclid(SECOND_US) * SECOND_US;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(random_serial()?);
    params.not_before = time(now_us - BACKDATED_US)?;
    params.not_after = time(not_after_us)?;
    params.use_authority_key_identifier_extension = true;
    Ok((params, not_after_us))
}

/// A new authority.
pub(super) fn authority(complex: &str, number: u32, now_us: i64) -> Result<Ca, CaError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let (mut params, not_after_us) =
        params(&format!("sandan {complex} CA {number}"), AUTHORITY_LIFE_US, now_us, i64::MAX)?;
    params.use_authority_key_identifier_extension = false;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?.der().clone();
    Ok(Ca { number, certificate, key: Some(key), not_after_us })
}

fn signed(ca: &Ca, params: &CertificateParams, key: &impl PublicKeyData) -> Result<CertificateDer<'static>, CaError> {
    let signing = ca.key.as_ref().ok_or_else(|| CaError::Make("the authority's key is not here".to_owned()))?;
    let issuer = Issuer::from_ca_cert_der(&ca.certificate, signing)?;
    Ok(params.signed_by(key, &issuer)?.der().clone())
}

/// For a gateway: client authentication alone.
pub(super) fn gateway(
    ca: &Ca,
    complex: &str,
    gateway: &GatewayId,
    key: &RequestKey,
    now_us: i64,
) -> Result<Issued, CaError> {
    let (mut params, not_after_us) = params(gateway.as_str(), GATEWAY_LIFE_US, now_us, ca.not_after_us)?;
    let uri = format!("sandan://{complex}/gateway/{gateway}");
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let serial = params.serial_number.as_ref().map(|serial| hex(&serial.to_bytes())).unwrap_or_default();
    let leaf = signed(ca, &params, &key.spki)?;
    let issuer = super::fingerprint(&ca.certificate);
    Ok(Issued { chain: vec![leaf.to_vec(), ca.certificate.to_vec()], serial, not_after_us, issuer })
}

/// For the uplink's server: server authentication alone.
pub(super) fn server(ca: &Ca, names: &[String], now_us: i64) -> Result<ServerIdentity, CaError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let (mut params, not_after_us) = params("sandan uplink", SERVER_LIFE_US, now_us, ca.not_after_us)?;
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse::<IpAddr>() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => name.as_str().try_into().map(SanType::DnsName),
        })
        .collect::<Result<_, _>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = signed(ca, &params, &key)?;
    let chain = vec![leaf, ca.certificate.clone()];
    Ok(ServerIdentity { chain, key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())), not_after_us })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
