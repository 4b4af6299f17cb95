//! A consent as it is kept: who lets whom, what was agreed, and whether it stands. Terms
//! that this build does not understand in full are kept, shown, and deny.

use std::fmt;

use sandan_proto::id::{FirmId, GroupId};
use serde::{Deserialize, Serialize};

use super::terms::Terms;
use crate::id::ConsentId;

/// One consent as the store keeps it, from one firm to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Consent {
    /// Its id.
    pub id: ConsentId,
    /// The firm that owns the series.
    pub grantor: FirmId,
    /// The firm that may read.
    pub grantee: FirmId,
    /// Active, suspended or revoked. Revoked never comes back.
    pub status: Status,
    /// What is shared.
    pub terms: StoredTerms,
}

/// Whether the grantor still stands by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// In force within its access window.
    Active,
    /// Covers nothing until the grantor resumes it: the grantor or the alliance held it, or
    /// the store was restored from an older state, in which a revocation may be missing.
    Suspended {
        /// Since when, µs since 1970.
        since_us: i64,
    },
    /// Withdrawn for good, by either side.
    Revoked {
        /// When, µs since 1970.
        at_us: i64,
    },
}

/// Terms as found in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredTerms {
    /// Understood in full.
    Known(Terms),
    /// Of another version or with a term unknown here: denies.
    Unknown,
}

impl StoredTerms {
    /// Strict: an unknown or missing field, an unknown value or version, and in the full form
    /// anything that nobody can agree to gives [`StoredTerms::Unknown`].
    pub fn parse(json: &str) -> Self {
        match serde_json::from_str::<Terms>(json) {
            Ok(terms) if terms.agreed.is_none() || terms.own_faults().is_empty() => StoredTerms::Known(terms),
            _ => StoredTerms::Unknown,
        }
    }
}

/// Who may read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Grantee {
    /// One firm.
    Firm(FirmId),
    /// The firms of a group as it was when the consent was agreed to, as far as they are
    /// still in it. Whoever joins later is not let in by joining.
    Group {
        /// Which.
        group: GroupId,
        /// The version of its roster that was agreed to.
        roster: u32,
    },
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grantee::Firm(firm) => firm.fmt(f),
            Grantee::Group { group, roster } => write!(f, "{group}, roster {roster}"),
        }
    }
}

/// Where the grantor's readings stood at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The moment, µs since 1970.
    pub at_us: i64,
    /// The grantor's newest commit then.
    pub commit: u64,
}
