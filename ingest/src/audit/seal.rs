//! Signed statements about the log: where an entry stands (a receipt), and where all chains
//! end (a tree head), with the proof that one chain's end is in it.
//!
//! Pure but for the key's making. They promise that whoever kept one can show later, without
//! this service, that a log was changed or cut off. Signatures are Ed25519 (RFC 8032) over a
//! domain and each field with its length in front; the key comes from elsewhere and is only
//! compared here.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::{Chain, Entry, Hash, Head, merkle};

/// Begin what is signed or is a leaf, so that none can stand in for another.
const RECEIPT: &[u8] = b"sandan audit receipt 1\0";
const TREE_HEAD: &[u8] = b"sandan audit tree head 1\0";
const LEAF: &[u8] = b"sandan audit chain end 1\0";

/// Why a statement is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Unsealed {
    #[error("it is signed with the key {found}, which is not one of those that are trusted")]
    Key { found: PublicKey },
    #[error("its signature does not fit what it says: it was changed, or not made by this key")]
    Signature,
    #[error("the path from the end of {chain} does not lead to the root that was signed")]
    Path { chain: Chain },
}

/// Bytes of a fixed length that are written as hexadecimal digits.
macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl From<$name> for String {
            fn from(it: $name) -> String {
                it.to_string()
            }
        }
        impl TryFrom<String> for $name {
            type Error = &'static str;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl std::str::FromStr for $name {
            type Err = &'static str;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bytes = super::unhex(text).ok_or(concat!($what, " has ", stringify!($bytes), " bytes in hexadecimal digits"))?;
                Ok(Self(bytes))
            }
        }
    };
}

hex_bytes! {
    /// The public half of a key, which a firm or member keeps; 64 hexadecimal digits as text.
    PublicKey, 32, "a public key"
}
hex_bytes! {
    /// Ed25519; 128 hexadecimal digits as text.
    Signature, 64, "a signature"
}

impl PublicKey {
    fn verify(&self, trusted: &[PublicKey], message: &[u8], signature: &Signature) -> Result<(), Unsealed> {
        if !trusted.contains(self) {
            return Err(Unsealed::Key { found: *self });
        }
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, &signature.0).map_err(|_| Unsealed::Signature)
    }
}

/// The key that signs. Says nothing of itself but its public half.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// There is no key in what was given, or no randomness for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no Ed25519 key in PKCS#8, or none could be made")]
pub struct NoKey;

impl SigningKey {
    /// A new one, as PKCS#8.
    pub fn generate() -> Result<Vec<u8>, NoKey> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| NoKey)?;
        Ok(document.as_ref().to_vec())
    }

    /// From PKCS#8.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, NoKey> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(document).map_err(|_| NoKey)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| NoKey)?;
        Ok(Self { pair, public: PublicKey(public) })
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair.sign(message).as_ref());
        Signature(bytes)
    }

    /// Where an entry stands.
    pub fn receipt(&self, complex: &str, entry: &Entry) -> Receipt {
        let mut receipt = Receipt {
            complex: complex.to_owned(),
            chain: entry.chain.clone(),
            number: entry.number,
            entry: entry.hash,
            time_us: entry.time_us,
            key: self.public,
            signature: Signature([0; 64]),
        };
        receipt.signature = self.sign(&receipt.message());
        receipt
    }

    /// Where all chains end: `ends` in order of the chains, as [`Chain`] compares.
    pub fn tree_head<'a>(
        &self,
        complex: &str,
        time_us: i64,
        ends: impl Iterator<Item = (&'a Chain, &'a Head)>,
    ) -> TreeHead {
        let leaves: Vec<Hash> = ends.map(|(chain, head)| leaf(chain, head.number, head.hash)).collect();
        let mut head = TreeHead {
            complex: complex.to_owned(),
            time_us,
            chains: leaves.len() as u64,
            root: merkle::root(&leaves),
            key: self.public,
            signature: Signature([0; 64]),
        };
        head.signature = self.sign(&head.message());
        head
    }
}

/// Each part with its length in front.
fn message(domain: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut message = domain.to_vec();
    for part in parts {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    message
}

/// A leaf of the tree: where one chain ends.
fn leaf(chain: &Chain, number: u64, hash: Hash) -> Hash {
    merkle::leaf(&message(LEAF, &[chain.to_string().as_bytes(), &number.to_be_bytes(), hash.as_bytes()]))
}

/// That an entry stands in a chain, signed: what an answer to a member carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The installation.
    pub complex: String,
    /// Whose log.
    pub chain: Chain,
    /// The entry's number.
    pub number: u64,
    /// The entry's hash.
    pub entry: Hash,
    /// When it was written, µs since 1970.
    pub time_us: i64,
    /// The public half of the key that signed.
    pub key: PublicKey,
    /// Over everything above.
    pub signature: Signature,
}

impl Receipt {
    fn message(&self) -> Vec<u8> {
        let chain = self.chain.to_string();
        let parts: [&[u8]; 5] = [
            self.complex.as_bytes(),
            chain.as_bytes(),
            &self.number.to_be_bytes(),
            self.entry.as_bytes(),
            &self.time_us.to_be_bytes(),
        ];
        message(RECEIPT, &parts)
    }

    /// Fails unless one of the trusted keys signed it as it is.
    pub fn verify(&self, trusted: &[PublicKey]) -> Result<(), Unsealed> {
        self.key.verify(trusted, &self.message(), &self.signature)
    }
}

/// Where all chains of an installation end, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeHead {
    /// The installation.
    pub complex: String,
    /// When, µs since 1970.
    pub time_us: i64,
    /// How many chains there are.
    pub chains: u64,
    /// The root of the Merkle tree over their ends: firms in order of their ids, the complex last.
    pub root: Hash,
    /// The public half of the key that signed.
    pub key: PublicKey,
    /// Over everything above.
    pub signature: Signature,
}

impl TreeHead {
    fn message(&self) -> Vec<u8> {
        let parts: [&[u8]; 4] =
            [self.complex.as_bytes(), &self.time_us.to_be_bytes(), &self.chains.to_be_bytes(), self.root.as_bytes()];
        message(TREE_HEAD, &parts)
    }

    /// Fails unless one of the trusted keys signed it as it is.
    pub fn verify(&self, trusted: &[PublicKey]) -> Result<(), Unsealed> {
        self.key.verify(trusted, &self.message(), &self.signature)
    }
}

/// That one chain ends where it does under a tree head: what a firm keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// What was signed.
    pub head: TreeHead,
    /// Whose log.
    pub chain: Chain,
    /// Its newest entry.
    pub number: u64,
    /// The newest entry's hash.
    pub entry: Hash,
    /// The chain's place among all, from 0.
    pub index: u64,
    /// From there to the root, nearest first.
    pub path: Vec<Hash>,
}

impl Proof {
    /// Of the chain at `index` of `ends`, which `head` was made of.
    pub fn of(head: TreeHead, ends: &[(Chain, Head)], index: usize) -> Option<Self> {
        let (chain, end) = ends.get(index)?;
        let leaves: Vec<Hash> = ends.iter().map(|(chain, end)| leaf(chain, end.number, end.hash)).collect();
        let path = merkle::path(&leaves, index);
        Some(Self { head, chain: chain.clone(), number: end.number, entry: end.hash, index: index as u64, path })
    }

    /// Fails unless one of the trusted keys signed a tree in which the chain ends here.
    pub fn verify(&self, trusted: &[PublicKey]) -> Result<(), Unsealed> {
        self.head.verify(trusted)?;
        let leaf = leaf(&self.chain, self.number, self.entry);
        match merkle::climb(leaf, self.index, self.head.chains, &self.path) {
            Some(root) if root == self.head.root => Ok(()),
            _ => Err(Unsealed::Path { chain: self.chain.clone() }),
        }
    }
}
