//! Typed ids. A [`FirmId`] is not a [`GatewayId`] is not a string.
//!
//! Names that people type (firm, gateway, asset, metric) are short lower-case
//! words with a fixed alphabet, so that they are safe in a URL, a file name and a
//! terminal. Ids that machines make (lane, boot, timeline) are 128 random bits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An id that is not of its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A name breaks the rules of its kind.
    #[error("`{given}` is no {kind} id: {rule}")]
    Name {
        /// `firm`, `gateway`, …
        kind: &'static str,
        /// What was given, cut to a printable length.
        given: String,
        /// The rule in words.
        rule: &'static str,
    },
    /// A 128-bit id of another length.
    #[error("a {kind} id has 16 bytes, not {len}")]
    Length {
        /// `lane`, `boot`, …
        kind: &'static str,
        /// The length that was given.
        len: usize,
    },
    /// A hash of another length.
    #[error("a {kind} has 32 bytes, not {len}")]
    HashLength {
        /// `births hash`, …
        kind: &'static str,
        /// The length that was given.
        len: usize,
    },
}

fn shown(given: &str) -> String {
    given.chars().take(80).flat_map(char::escape_debug).collect()
}

fn is_word(text: &str, max: usize, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    (1..=max).contains(&bytes.len())
        && (bytes[0].is_ascii_lowercase() || bytes[0].is_ascii_digit())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || inner.contains(b))
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks the form.
            pub fn new(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError::Name { kind: $kind, given: shown(text), rule: $rule })
                }
            }
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_id!(
    /// A company: `hanbit-mould`.
    FirmId,
    "firm",
    "1 to 40 of a-z, 0-9 and -, beginning with a letter or digit",
    |text| is_word(text, 40, b"-")
);
name_id!(
    /// Firms that are asked or let in together: `mould-cluster`.
    GroupId,
    "group",
    "1 to 40 of a-z, 0-9 and -, beginning with a letter or digit",
    |text| is_word(text, 40, b"-")
);
name_id!(
    /// One edge installation of one firm: `hanbit-mould/press-hall`.
    GatewayId,
    "gateway",
    "firm/name, each 1 to 40 of a-z, 0-9 and -",
    |text| text.split_once('/').is_some_and(|(firm, name)| is_word(firm, 40, b"-") && is_word(name, 40, b"-"))
);
name_id!(
    /// The machine that the numbers are about: `furnace-2.zone-3`. Unique in its firm.
    AssetId,
    "asset",
    "1 to 80 of a-z, 0-9, -, _ and ., beginning with a letter or digit",
    |text| is_word(text, 80, b"-_.")
);
name_id!(
    /// What is measured: an id of the metric dictionary, or `x_…` for a firm's own.
    MetricId,
    "metric",
    "1 to 80 of a-z, 0-9 and _, beginning with a letter or digit",
    |text| is_word(text, 80, b"_")
);

impl GatewayId {
    /// The firm that owns the gateway.
    pub fn firm(&self) -> FirmId {
        FirmId(self.0.split_once('/').map_or("", |(firm, _)| firm).into())
    }
    /// The gateway's name within its firm.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl MetricId {
    /// A firm's own metric, which cannot be named in a consent.
    pub fn is_private(&self) -> bool {
        self.0.starts_with("x_")
    }
}

/// One series: the metric of an asset of a firm.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesKey {
    /// The owner.
    pub firm: FirmId,
    /// The machine.
    pub asset: AssetId,
    /// What is measured on it.
    pub metric: MetricId,
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.firm, self.asset, self.metric)
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one from the system's randomness.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
            /// From 16 bytes.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
                Uuid::from_slice(bytes)
                    .map(Self)
                    .map_err(|_| IdError::Length { kind: $kind, len: bytes.len() })
            }
            /// The 16 bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
            /// The 16 bytes, for a wire message.
            pub fn to_vec(self) -> Vec<u8> {
                self.0.as_bytes().to_vec()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text.trim()).map(Self).map_err(|_| IdError::Name {
                    kind: $kind,
                    given: shown(text),
                    rule: "a UUID",
                })
            }
        }
    };
}

random_id!(
    /// One ordered stream of records of a gateway: one per process start.
    LaneId,
    "lane"
);
random_id!(
    /// One boot of the gateway's machine; gives monotonic times their meaning.
    BootId,
    "boot"
);
random_id!(
    /// One history of the store; a restore opens a new one.
    TimelineId,
    "timeline"
);

/// SHA-256 of an encoded set of births.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BirthsHash([u8; 32]);

impl BirthsHash {
    /// From 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        bytes.try_into().map(Self).map_err(|_| IdError::HashLength { kind: "births hash", len: bytes.len() })
    }
    /// The hash of `content`.
    pub fn of(content: &[u8]) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::digest(content).into())
    }
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for BirthsHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for BirthsHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_fixed_alphabet() {
        assert!(FirmId::new("hanbit-mould").is_ok());
        assert!(GatewayId::new("hanbit-mould/press-hall").is_ok());
        assert!(AssetId::new("furnace-2.zone-3").is_ok());
        assert!(MetricId::new("temperature_setpoint").is_ok());
        for bad in ["", "-a", "A", "한빛", "a/b", "a b", "a\n", &"a".repeat(41)] {
            assert!(FirmId::new(bad).is_err(), "{bad:?} was taken");
        }
        for bad in ["", "a", "a/", "/b", "a/b/c", "A/b"] {
            assert!(GatewayId::new(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_refused_name_is_shown_escaped_and_says_the_rule() {
        let error = FirmId::new("a\u{1b}[2J").unwrap_err().to_string();
        assert_eq!(error, "`a\\u{1b}[2J` is no firm id: 1 to 40 of a-z, 0-9 and -, beginning with a letter or digit");
    }

    #[test]
    fn a_gateway_names_its_firm() {
        let gateway = GatewayId::new("hanbit/gw-1").unwrap();
        assert_eq!((gateway.firm().as_str(), gateway.name()), ("hanbit", "gw-1"));
    }

    #[test]
    fn random_ids_have_sixteen_bytes() {
        let lane = LaneId::random();
        assert_eq!(LaneId::from_bytes(&lane.to_vec()).unwrap(), lane);
        assert_eq!(lane.to_string().parse::<LaneId>().unwrap(), lane);
        assert_eq!(LaneId::from_bytes(&[0; 15]).unwrap_err().to_string(), "a lane id has 16 bytes, not 15");
    }
}
