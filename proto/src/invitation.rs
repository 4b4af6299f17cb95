//! An invitation: the one line that an operator hands to whoever sets a gateway up.
//!
//! `sandan://HOST:PORT/FIRM/NAME?token=sgi_<64 hex>&ca=<64 hex>`. It says where the
//! ingest is, which gateway the box becomes, a secret that opens the enrolment once, and
//! the SHA-256 of the authority's certificate by which the ingest is known. Parsing is
//! pure, takes any text, and never repeats the secret.

use std::fmt;

use crate::id::{GatewayId, IdError};

/// What a token begins with, for people and for scanners for leaked secrets.
pub const TOKEN_PREFIX: &str = "sgi_";
/// Hexadecimal digits of a token behind its prefix, and of a fingerprint.
const HEX_DIGITS: usize = 64;
/// Longest invitation: the longest host name, gateway id and what surrounds them are
/// below half of it.
pub const MAX_INVITATION_BYTES: usize = 1_024;
/// Longest host name, as DNS has it.
const MAX_HOST_BYTES: usize = 253;
const SCHEME: &str = "sandan://";

/// A checked invitation.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Not 0.
    pub port: u16,
    /// Which gateway the box becomes.
    pub gateway: GatewayId,
    /// `sgi_` and 64 hexadecimal digits. A secret.
    pub token: String,
    /// SHA-256 of the DER of the certificate authority.
    pub ca: [u8; 32],
}

/// Not an invitation. Says where, never what the secret is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// Nothing was given.
    #[error("there is no invitation: it is empty")]
    Empty,
    /// Something else was given, or a lot of it.
    #[error("an invitation is one line of at most {MAX_INVITATION_BYTES} bytes that begins with {SCHEME}")]
    Form,
    /// No host and port behind the scheme.
    #[error("the invitation does not say host:port behind {SCHEME}")]
    Address,
    /// The gateway's id is not of its form.
    #[error("the invitation names no gateway: {0}")]
    Gateway(#[from] IdError),
    /// Something that is not known, or twice.
    #[error("the invitation has an unknown or repeated part behind the `?`; it was cut or mixed up in copying")]
    Part,
    /// The token is missing or is not one.
    #[error("the invitation's token is not {TOKEN_PREFIX} and {HEX_DIGITS} hexadecimal digits; it was cut in copying")]
    Token,
    /// The fingerprint is missing or is not one.
    #[error("the invitation's ca is not {HEX_DIGITS} hexadecimal digits; it was cut in copying")]
    Fingerprint,
}

impl Invitation {
    /// Parses one line; white space around it is let go.
    pub fn parse(text: &str) -> Result<Self, InvitationError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvitationError::Empty);
        }
        if text.len() > MAX_INVITATION_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvitationError::Form);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(InvitationError::Form)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (address, gateway) = place.split_once('/').ok_or(InvitationError::Address)?;
        let (host, port) = host_and_port(address).ok_or(InvitationError::Address)?;
        let gateway = GatewayId::new(gateway)?;
        let (mut token, mut ca) = (None, None);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let slot = match part.split_once('=') {
                Some(("token", value)) if token.is_none() => (&mut token, value),
                Some(("ca", value)) if ca.is_none() => (&mut ca, value),
                _ => return Err(InvitationError::Part),
            };
            *slot.0 = Some(slot.1);
        }
        let token = token.filter(|token| is_token(token)).ok_or(InvitationError::Token)?.to_owned();
        let ca = ca.and_then(from_hex).ok_or(InvitationError::Fingerprint)?;
        Ok(Self { host: host.to_owned(), port, gateway, token, ca })
    }

    /// The line, secret and all.
    pub fn reveal(&self) -> String {
        let ca = to_hex(&self.ca);
        format!("{SCHEME}{}/{}?token={}&ca={ca}", self.authority(), self.gateway, self.token)
    }

    /// `host:port`, IPv6 in brackets.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invitation({} at {}, …)", self.gateway, self.authority())
    }
}

/// Whether a text could be an invitation's token.
pub fn is_token(text: &str) -> bool {
    text.strip_prefix(TOKEN_PREFIX)
        .is_some_and(|rest| rest.len() == HEX_DIGITS && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// `host:port` apart, IPv6 in brackets; none where it is something else.
pub fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())?,
        None => Some(host).filter(|host| {
            (1..=MAX_HOST_BYTES).contains(&host.len())
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        })?,
    };
    (port != 0).then_some((host, port))
}

/// 32 bytes as 64 lower-case digits.
pub fn to_hex(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::with_capacity(HEX_DIGITS), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
        text
    })
}

/// 64 hexadecimal digits as 32 bytes.
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != HEX_DIGITS {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
