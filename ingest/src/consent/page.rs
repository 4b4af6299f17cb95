//! The page that people read before they agree, and the hash that binds it to the terms
//! that machines run.

mod acts;
mod example;
mod papers;
mod text;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::papers::{Papers, papers};
pub use self::text::{Page, PageOf, page};

/// A name, or another text, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Name {
    /// 2호 열처리로
    pub ko: String,
    /// Furnace 2
    pub en: String,
}

impl Name {
    /// In both languages.
    pub fn new(ko: &str, en: &str) -> Self {
        Self { ko: ko.to_owned(), en: en.to_owned() }
    }
}

/// SHA-256 over the terms and the page in both languages. Not a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PageHash([u8; 32]);

/// A text that is no hash of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is not the hash of a page: 64 hexadecimal digits")]
pub struct NotAHash;

impl PageHash {
    /// Over parts, each with its length before it, so that none runs into the next.
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for PageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for PageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for PageHash {
    type Err = NotAHash;
    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let digit = |at: usize| text.get(at * 2..at * 2 + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = digit(at).ok_or(NotAHash)?;
        }
        if text.len() == 64 && !text.contains('+') { Ok(Self(bytes)) } else { Err(NotAHash) }
    }
}
impl TryFrom<String> for PageHash {
    type Error = NotAHash;
    fn try_from(text: String) -> Result<Self, NotAHash> {
        text.parse()
    }
}
impl From<PageHash> for String {
    fn from(hash: PageHash) -> String {
        hash.to_string()
    }
}
