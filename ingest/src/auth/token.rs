//! Tokens: `smb_` and 32 random bytes in hexadecimal.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Random bytes of a token: as hard to guess as a 256-bit key.
const RANDOM_BYTES: usize = 32;

/// Which door a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// The enrolment of one gateway, once.
    Invitation,
    /// The API.
    Member,
    /// The console.
    Operator,
    /// Becoming the first data officer of a firm, once.
    OfficerLink,
    /// One sign-in at the console, once.
    Link,
    /// A signed-in browser.
    Session,
}

impl TokenKind {
    /// Tells people, and scanners for leaked secrets, what they have found.
    pub fn prefix(self) -> &'static str {
        match self {
            TokenKind::Invitation => sandan_proto::invitation::TOKEN_PREFIX,
            TokenKind::Member => "smb_",
            TokenKind::Operator => "sop_",
            TokenKind::OfficerLink => "sol_",
            TokenKind::Link => "sln_",
            TokenKind::Session => "sse_",
        }
    }

    /// Whether a text could be a token of this kind.
    pub fn shapes(self, text: &str) -> bool {
        text.strip_prefix(self.prefix())
            .is_some_and(|rest| rest.len() == 2 * RANDOM_BYTES && rest.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

/// A token's text. Leaves only through [`reveal`](Self::reveal).
pub struct Secret(String);

impl Secret {
    /// A new one from the system's randomness.
    pub fn mint(kind: TokenKind) -> Result<Self, getrandom::Error> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes)?;
        let mut text = kind.prefix().to_owned();
        for byte in bytes {
            text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        Ok(Self(text))
    }
    /// What is stored of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
    /// The text, to be shown once.
    pub fn reveal(self) -> String {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// SHA-256 of a token's text. 256 random bits need no salt and no slow hash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of a text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
    /// From 32 stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Equality in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_once_and_nowhere_else() {
        let secret = Secret::mint(TokenKind::Member).unwrap();
        assert_eq!(format!("{secret:?} {:?}", secret.hash()), "Secret(…) TokenHash(…)");
        let hash = secret.hash();
        let text = secret.reveal();
        assert!(TokenKind::Member.shapes(&text) && !TokenKind::Invitation.shapes(&text));
        assert!(TokenHash::of(&text).matches(&hash));
        assert!(!TokenHash::of("smb_").matches(&hash));
        assert_ne!(text, Secret::mint(TokenKind::Member).unwrap().reveal());
    }
}
