//! The audit log: entries and the hash chain that holds them together.
//!
//! Pure: makes the next entry from the head, checks a chain, and signs where it stands. It
//! promises that a changed, reordered or removed entry, and with a known head also one cut
//! off the end, is found. One chain per firm and one for the complex itself.
//! It must not know the store or who reads the log. Never a reading's value.

pub mod merkle;
pub mod offline;
pub mod seal;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sandan_proto::id::{FirmId, IdError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Begins what is hashed, so that no other hash of this service can stand in.
const DOMAIN: &[u8] = b"sandan audit entry 1\0";

/// Whose log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Chain {
    /// What concerns one firm.
    Firm(FirmId),
    /// What concerns no firm: operators.
    Complex,
}

/// The name of [`Chain::Complex`]; no firm id can be this.
const COMPLEX: &str = "@complex";

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Chain::Firm(firm) => firm.fmt(f),
            Chain::Complex => f.write_str(COMPLEX),
        }
    }
}
impl FromStr for Chain {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == COMPLEX { Ok(Chain::Complex) } else { FirmId::new(text).map(Chain::Firm) }
    }
}
impl TryFrom<String> for Chain {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}
impl From<Chain> for String {
    fn from(chain: Chain) -> String {
        chain.to_string()
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Kind {
    FirmAdded,
    GatewayAdded,
    GatewayInvited,
    GatewayEnrolled,
    GatewayRenewed,
    GatewayRefused,
    GatewayRevoked,
    GatewayReleased,
    CaRotated,
    CaRetired,
    MemberAdded,
    MemberRevoked,
    OperatorAdded,
    OperatorRevoked,
    LinkMade,
    SignedIn,
    TokenMinted,
    ConsentGranted,
    ConsentSuspended,
    ConsentConfirmed,
    ConsentRevoked,
    ReadStarted,
    ReadFinished,
    Repeated,
    Denied,
    LogRead,
    BackedUp,
    StoreRestored,
    AuditKeyMade,
    DeadLettersExported,
    DeadLettersRetried,
    DeadLettersDiscarded,
    RetentionApplied,
    FirmErased,
    FirmExported,
    ConsentDrafted,
    ConsentRequested,
    ConsentCountered,
    ConsentApprovedOnce,
    ConsentApproved,
    ConsentRejected,
    ConsentWithdrawn,
    ConsentNarrowed,
    ConsentReleased,
    ConsentResumed,
    ConsentRelinquished,
    ConsentAttested,
    OfficerLinked,
    OfficerFirst,
    OfficerMinted,
    OfficerReset,
    OfficerConfirmed,
    OfficerRemoved,
    GroupChanged,
    AllianceRuleSet,
    HouseRuleSet,
    FirmClosed,
    RunsChanged,
    ConsentRehearsed,
    PasswordSet,
    ContactSet,
    CareNoted,
    AlertMuted,
    AlertUnmuted,
    MaintenanceAdded,
    MaintenanceEnded,
}

impl Kind {
    const ALL: [Kind; 66] = [
        Kind::FirmAdded,
        Kind::GatewayAdded,
        Kind::GatewayInvited,
        Kind::GatewayEnrolled,
        Kind::GatewayRenewed,
        Kind::GatewayRefused,
        Kind::GatewayRevoked,
        Kind::GatewayReleased,
        Kind::CaRotated,
        Kind::CaRetired,
        Kind::MemberAdded,
        Kind::MemberRevoked,
        Kind::OperatorAdded,
        Kind::OperatorRevoked,
        Kind::LinkMade,
        Kind::SignedIn,
        Kind::TokenMinted,
        Kind::ConsentGranted,
        Kind::ConsentSuspended,
        Kind::ConsentConfirmed,
        Kind::ConsentRevoked,
        Kind::ReadStarted,
        Kind::ReadFinished,
        Kind::Repeated,
        Kind::Denied,
        Kind::LogRead,
        Kind::BackedUp,
        Kind::StoreRestored,
        Kind::AuditKeyMade,
        Kind::DeadLettersExported,
        Kind::DeadLettersRetried,
        Kind::DeadLettersDiscarded,
        Kind::RetentionApplied,
        Kind::FirmErased,
        Kind::FirmExported,
        Kind::ConsentDrafted,
        Kind::ConsentRequested,
        Kind::ConsentCountered,
        Kind::ConsentApprovedOnce,
        Kind::ConsentApproved,
        Kind::ConsentRejected,
        Kind::ConsentWithdrawn,
        Kind::ConsentNarrowed,
        Kind::ConsentReleased,
        Kind::ConsentResumed,
        Kind::ConsentRelinquished,
        Kind::ConsentAttested,
        Kind::OfficerLinked,
        Kind::OfficerFirst,
        Kind::OfficerMinted,
        Kind::OfficerReset,
        Kind::OfficerConfirmed,
        Kind::OfficerRemoved,
        Kind::GroupChanged,
        Kind::AllianceRuleSet,
        Kind::HouseRuleSet,
        Kind::FirmClosed,
        Kind::RunsChanged,
        Kind::ConsentRehearsed,
        Kind::PasswordSet,
        Kind::ContactSet,
        Kind::CareNoted,
        Kind::AlertMuted,
        Kind::AlertUnmuted,
        Kind::MaintenanceAdded,
        Kind::MaintenanceEnded,
    ];

    /// Its word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::FirmAdded => "firm_added",
            Kind::GatewayAdded => "gateway_added",
            Kind::GatewayInvited => "gateway_invited",
            Kind::GatewayEnrolled => "gateway_enrolled",
            Kind::GatewayRenewed => "gateway_renewed",
            Kind::GatewayRefused => "gateway_refused",
            Kind::GatewayRevoked => "gateway_revoked",
            Kind::GatewayReleased => "gateway_released",
            Kind::CaRotated => "ca_rotated",
            Kind::CaRetired => "ca_retired",
            Kind::MemberAdded => "member_added",
            Kind::MemberRevoked => "member_revoked",
            Kind::OperatorAdded => "operator_added",
            Kind::OperatorRevoked => "operator_revoked",
            Kind::LinkMade => "link_made",
            Kind::SignedIn => "signed_in",
            Kind::TokenMinted => "token_minted",
            Kind::ConsentGranted => "consent_granted",
            Kind::ConsentSuspended => "consent_suspended",
            Kind::ConsentConfirmed => "consent_confirmed",
            Kind::ConsentRevoked => "consent_revoked",
            Kind::ReadStarted => "read_started",
            Kind::ReadFinished => "read_finished",
            Kind::Repeated => "repeated",
            Kind::Denied => "denied",
            Kind::LogRead => "log_read",
            Kind::BackedUp => "backed_up",
            Kind::StoreRestored => "store_restored",
            Kind::AuditKeyMade => "audit_key_made",
            Kind::DeadLettersExported => "dead_letters_exported",
            Kind::DeadLettersRetried => "dead_letters_retried",
            Kind::DeadLettersDiscarded => "dead_letters_discarded",
            Kind::RetentionApplied => "retention_applied",
            Kind::FirmErased => "firm_erased",
            Kind::FirmExported => "firm_exported",
            Kind::ConsentDrafted => "consent_drafted",
            Kind::ConsentRequested => "consent_requested",
            Kind::ConsentCountered => "consent_countered",
            Kind::ConsentApprovedOnce => "consent_approved_once",
            Kind::ConsentApproved => "consent_approved",
            Kind::ConsentRejected => "consent_rejected",
            Kind::ConsentWithdrawn => "consent_withdrawn",
            Kind::ConsentNarrowed => "consent_narrowed",
            Kind::ConsentReleased => "consent_released",
            Kind::ConsentResumed => "consent_resumed",
            Kind::ConsentRelinquished => "consent_relinquished",
            Kind::ConsentAttested => "consent_attested",
            Kind::OfficerLinked => "officer_linked",
            Kind::OfficerFirst => "officer_first",
            Kind::OfficerMinted => "officer_minted",
            Kind::OfficerReset => "officer_reset",
            Kind::OfficerConfirmed => "officer_confirmed",
            Kind::OfficerRemoved => "officer_removed",
            Kind::GroupChanged => "group_changed",
            Kind::AllianceRuleSet => "alliance_rule_set",
            Kind::HouseRuleSet => "house_rule_set",
            Kind::FirmClosed => "firm_closed",
            Kind::RunsChanged => "runs_changed",
            Kind::ConsentRehearsed => "consent_rehearsed",
            Kind::PasswordSet => "password_set",
            Kind::ContactSet => "contact_set",
            Kind::CareNoted => "care_noted",
            Kind::AlertMuted => "alert_muted",
            Kind::AlertUnmuted => "alert_unmuted",
            Kind::MaintenanceAdded => "maintenance_added",
            Kind::MaintenanceEnded => "maintenance_ended",
        }
    }

    /// From its word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One field of an entry's detail. Flat, so that its JSON has one form only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum Field {
    Number(i64),
    Text(String),
    List(Vec<String>),
}

impl From<i64> for Field {
    fn from(number: i64) -> Self {
        Field::Number(number)
    }
}
impl From<String> for Field {
    fn from(text: String) -> Self {
        Field::Text(text)
    }
}
impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Field::Text(text.to_owned())
    }
}
impl From<Vec<String>> for Field {
    fn from(list: Vec<String>) -> Self {
        Field::List(list)
    }
}

/// What an entry says beyond its kind, in order of the names.
pub type Detail = BTreeMap<String, Field>;

/// An entry that has no place in a chain yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Whose log.
    pub chain: Chain,
    /// What happened.
    pub kind: Kind,
    /// Who did it, `member … of firm …` or `command line`.
    pub actor: String,
    /// The rest.
    pub detail: Detail,
}

impl Draft {
    /// With an empty detail.
    pub fn new(chain: Chain, kind: Kind, actor: &str) -> Self {
        Self { chain, kind, actor: actor.to_owned(), detail: Detail::new() }
    }
    /// With one more field.
    #[must_use]
    pub fn with(mut self, name: &str, field: impl Into<Field>) -> Self {
        self.detail.insert(name.to_owned(), field.into());
        self
    }
}

/// SHA-256 of an entry; 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first entry of a chain names as its previous one.
    pub const NONE: Hash = Hash([0; 32]);

    /// From 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl From<Hash> for String {
    fn from(hash: Hash) -> String {
        hash.to_string()
    }
}
impl TryFrom<String> for Hash {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        unhex(&text).map(Self).ok_or("a hash has 64 hexadecimal digits")
    }
}

/// Bytes from two small hexadecimal digits each, and nothing else: one text for one value.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

/// The newest entry of a chain, by number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// 0 for an empty chain.
    pub number: u64,
    /// [`Hash::NONE`] for an empty chain.
    pub hash: Hash,
    /// Time of the newest entry, µs since 1970; 0 for an empty chain.
    pub time_us: i64,
}

impl Head {
    /// Of a chain without entries.
    pub const EMPTY: Head = Head { number: 0, hash: Hash::NONE, time_us: 0 };
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Whose log.
    pub chain: Chain,
    /// 1, 2, 3, … without holes.
    pub number: u64,
    /// µs since 1970, never before the one of the previous entry.
    pub time_us: i64,
    /// What happened.
    pub kind: Kind,
    /// Who did it.
    pub actor: String,
    /// The rest.
    pub detail: Detail,
    /// Hash of the previous entry.
    pub previous: Hash,
    /// Hash of this entry, over everything above.
    pub hash: Hash,
}

impl Entry {
    /// The entry that follows `head`. A clock that was set back does not set the log back.
    pub fn after(head: &Head, draft: Draft, now_us: i64) -> Self {
        let mut entry = Self {
            chain: draft.chain,
            number: head.number + 1,
            time_us: now_us.max(head.time_us),
            kind: draft.kind,
            actor: draft.actor,
            detail: draft.detail,
            previous: head.hash,
            hash: Hash::NONE,
        };
        entry.hash = entry.computed_hash();
        entry
    }

    /// The head once this entry is in.
    pub fn head(&self) -> Head {
        Head { number: self.number, hash: self.hash, time_us: self.time_us }
    }

    /// The detail as it is hashed and stored.
    pub fn detail_json(&self) -> String {
        // A map of texts, integers and lists of texts always has a JSON form.
        serde_json::to_string(&self.detail).unwrap_or_default()
    }

    /// SHA-256 over the domain, then each field with its length in front.
    fn computed_hash(&self) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(DOMAIN);
        let mut put = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        put(self.chain.to_string().as_bytes());
        put(&self.number.to_be_bytes());
        put(&self.time_us.to_be_bytes());
        put(self.kind.as_str().as_bytes());
        put(self.actor.as_bytes());
        put(self.detail_json().as_bytes());
        put(self.previous.as_bytes());
        Hash(hasher.finalize().into())
    }
}

/// Where a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Broken {
    #[error("entry {number} stands where entry {expected} belongs: entries were removed or reordered")]
    Number { number: u64, expected: u64 },
    #[error("entry {number} does not follow the entry before it: one of them was replaced")]
    Link { number: u64 },
    #[error("entry {number} was changed after it was written")]
    Changed { number: u64 },
    #[error("entry {number} belongs to the log of {chain}")]
    Chain { number: u64, chain: Chain },
    #[error("the log ends at entry {found}, its head is entry {head}: the end was cut off or replaced")]
    End { found: u64, head: u64 },
}

/// Checks entries one by one from the first.
#[derive(Debug)]
pub struct Verifier {
    chain: Chain,
    head: Head,
}

impl Verifier {
    /// Of the chain's beginning.
    pub fn new(chain: Chain) -> Self {
        Self { chain, head: Head::EMPTY }
    }

    /// Takes the next entry.
    pub fn take(&mut self, entry: &Entry) -> Result<(), Broken> {
        let (number, expected) = (entry.number, self.head.number + 1);
        if entry.chain != self.chain {
            return Err(Broken::Chain { number, chain: entry.chain.clone() });
        }
        if number != expected {
            return Err(Broken::Number { number, expected });
        }
        if entry.previous != self.head.hash {
            return Err(Broken::Link { number });
        }
        if entry.computed_hash() != entry.hash || entry.time_us < self.head.time_us {
            return Err(Broken::Changed { number });
        }
        self.head = entry.head();
        Ok(())
    }

    /// Compares the end with a head known from elsewhere.
    pub fn finish(self, head: &Head) -> Result<Head, Broken> {
        if self.head == *head { Ok(self.head) } else { Err(Broken::End { found: self.head.number, head: head.number }) }
    }
}

#[cfg(test)]
mod tests;
