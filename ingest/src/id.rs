//! Ids that this service makes: 128 random bits each, typed apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A text that is not an id of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("that is not a {0} id: a UUID as `list` prints it")]
pub struct NotAnId(&'static str);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                Uuid::parse_str(text.trim()).map(Self).map_err(|_| NotAnId($kind))
            }
        }
    };
}

uuid_id!(
    /// One consent.
    ConsentId,
    "consent"
);
uuid_id!(
    /// One person or program that reads for a firm.
    MemberId,
    "member"
);
uuid_id!(
    /// One person who looks at the console.
    OperatorId,
    "operator"
);
uuid_id!(
    /// One person who decides or acts for a firm, the alliance or the complex.
    PersonId,
    "person"
);
uuid_id!(
    /// One command on a consent: sent again under it, it is carried out once.
    CommandId,
    "command"
);

impl From<MemberId> for PersonId {
    fn from(id: MemberId) -> Self {
        Self(id.0)
    }
}
impl From<OperatorId> for PersonId {
    fn from(id: OperatorId) -> Self {
        Self(id.0)
    }
}
impl From<PersonId> for MemberId {
    /// Somebody who acts for a firm.
    fn from(id: PersonId) -> Self {
        Self(id.0)
    }
}

impl ConsentId {
    /// The same for the same parts, each time; nobody who does not know them all can tell it.
    pub fn derived(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
    /// A fixed one, for tables that people compare.
    #[cfg(test)]
    pub(crate) fn numbered(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }
}

impl PersonId {
    /// A fixed one, for tables that people compare.
    #[cfg(test)]
    pub(crate) fn numbered(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }
}
