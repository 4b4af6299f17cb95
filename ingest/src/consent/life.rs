//! The life of a consent, as a state machine without a clock and without I/O.
//!
//! draft → requested ⇄ countered → approved → active ⇄ suspended → revoked | expired |
//! relinquished; also rejected and withdrawn. An agreement holds at most one set of terms in
//! force and at most one proposal, which is either how it begins or an amendment. What ended
//! never opens again.

mod act;
mod apply;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use sandan_proto::id::FirmId;
use serde::{Deserialize, Serialize};

pub use self::act::{Act, Applied, Command, Event, Refusal, Situation};
use super::page::PageHash;
use super::record::{Grantee, Mark, Status, StoredTerms};
use super::snapshot::Grant;
use super::terms::{Terms, said};
use crate::id::{CommandId, ConsentId, PersonId};
use crate::time::DAY_US;

/// How long the one officer of a firm waits before confirming raw readings a second time.
pub const SECOND_THOUGHT_US: i64 = DAY_US;
/// How many commands are remembered, so that one that comes again is known.
const MAX_REMEMBERED: usize = 64;

/// A side of a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// Whose readings they are.
    Grantor,
    /// Who wants to read them.
    Grantee,
    /// Whoever runs the alliance.
    Alliance,
}

/// Where a consent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Seen by its author only.
    Draft,
    /// The grantor has to answer.
    Requested,
    /// The grantee has to answer.
    Countered,
    /// Agreed, and its access window has not begun.
    Approved,
    /// Reads may happen.
    Active,
    /// Held; reads may not happen.
    Suspended,
    /// Withdrawn by the grantor.
    Revoked,
    /// Its access window is over.
    Expired,
    /// Turned down by the grantor.
    Rejected,
    /// Taken back by the grantee before it was agreed to.
    Withdrawn,
    /// Given up by the grantee.
    Relinquished,
}

impl Phase {
    /// All of them, in the order of the tables.
    pub const ALL: [Phase; 11] = [
        Phase::Draft,
        Phase::Requested,
        Phase::Countered,
        Phase::Approved,
        Phase::Active,
        Phase::Suspended,
        Phase::Revoked,
        Phase::Expired,
        Phase::Rejected,
        Phase::Withdrawn,
        Phase::Relinquished,
    ];

    /// Its word in answers and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Draft => "draft",
            Phase::Requested => "requested",
            Phase::Countered => "countered",
            Phase::Approved => "approved",
            Phase::Active => "active",
            Phase::Suspended => "suspended",
            Phase::Revoked => "revoked",
            Phase::Expired => "expired",
            Phase::Rejected => "rejected",
            Phase::Withdrawn => "withdrawn",
            Phase::Relinquished => "relinquished",
        }
    }

    /// Whether nothing follows.
    pub fn is_end(self) -> bool {
        use Phase::{Expired, Rejected, Relinquished, Revoked, Withdrawn};
        matches!(self, Revoked | Expired | Rejected | Withdrawn | Relinquished)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose turn a proposal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// It was not sent yet.
    Draft {
        /// Who writes it.
        author: Party,
    },
    /// The grantor approves, counters or rejects.
    Grantor,
    /// The grantee accepts, counters or withdraws.
    Grantee,
}

/// One officer's yes to a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Whose.
    pub by: PersonId,
    /// When, µs since 1970.
    pub at_us: i64,
}

/// Terms that are not agreed to yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The terms.
    pub terms: Terms,
    /// Who has to answer.
    pub turn: Turn,
    /// Officers who said yes, where one is not enough.
    pub approvals: Vec<Approval>,
}

/// Terms that both sides agreed to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InForce {
    /// The terms.
    pub terms: Terms,
    /// 1, and one more with each change of the terms.
    pub version: u32,
    /// The version that it took the place of.
    #[serde(deserialize_with = "said")]
    pub supersedes: Option<u32>,
    /// Where the grantor's readings stood when it was approved. A narrowing keeps it.
    pub mark: Mark,
}

/// Why reads do not happen although there are terms in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// The grantor suspended it.
    Grantor,
    /// The alliance suspended it.
    Alliance,
    /// The alliance has let go; the grantor has to stand by it again, for the alliance cannot
    /// put anything in force.
    Released,
    /// The store went on from an older state, or the firm's officers were made anew.
    Restored,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// By the grantor, in force.
    Revoked {
        /// When, µs since 1970.
        at_us: i64,
    },
    /// By the grantee, in force.
    Relinquished {
        /// When, µs since 1970.
        at_us: i64,
    },
    /// By the grantor, before it was agreed to.
    Rejected {
        /// When, µs since 1970.
        at_us: i64,
    },
    /// By the grantee, before it was agreed to.
    Withdrawn {
        /// When, µs since 1970.
        at_us: i64,
    },
}

/// Who stood by which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// For which side.
    pub party: Party,
    /// Who.
    pub by: PersonId,
    /// When, µs since 1970.
    pub at_us: i64,
    /// What was read: the hash that binds page and terms.
    pub page: PageHash,
}

/// One consent through its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Its id, for good.
    pub id: ConsentId,
    /// The firm that owns the series.
    pub grantor: FirmId,
    /// Who may read.
    pub grantee: Grantee,
    /// What is agreed to.
    #[serde(deserialize_with = "said")]
    pub in_force: Option<InForce>,
    /// What is not agreed to yet.
    #[serde(deserialize_with = "said")]
    pub proposal: Option<Proposal>,
    /// What holds it up, and since when, µs since 1970.
    pub holds: BTreeMap<Hold, i64>,
    /// How it ended, but for expiry, which the clock tells.
    #[serde(deserialize_with = "said")]
    pub end: Option<End>,
    /// When the grantee attested that copies are returned or deleted, µs since 1970.
    #[serde(deserialize_with = "said")]
    pub attested_us: Option<i64>,
    /// Everyone who stood by a page, oldest first.
    pub signatures: Vec<Signature>,
    /// One more with each command that changed something; commands are decided on it.
    pub revision: u64,
    /// It is one of many that one request to a group became: the asker does not learn who declined.
    pub asked_in_a_group: bool,
    /// The newest commands that were carried out.
    done: VecDeque<CommandId>,
}

impl Agreement {
    /// A draft. Nothing is checked before it is sent.
    pub fn draft(id: ConsentId, grantor: FirmId, grantee: Grantee, author: Party, terms: Terms) -> Self {
        Self {
            id,
            grantor,
            grantee,
            in_force: None,
            proposal: Some(Proposal { terms, turn: Turn::Draft { author }, approvals: Vec::new() }),
            holds: BTreeMap::new(),
            end: None,
            attested_us: None,
            signatures: Vec::new(),
            revision: 0,
            asked_in_a_group: false,
            done: VecDeque::new(),
        }
    }

    /// One request to a group, as a draft for each of its firms: each answers alone. The
    /// asker's own firm is not asked.
    pub fn drafts_to(firms: impl IntoIterator<Item = FirmId>, asker: &FirmId, terms: &Terms) -> Vec<Self> {
        let others = firms.into_iter().filter(|firm| firm != asker);
        let draft = |firm| {
            let grantee = Grantee::Firm(asker.clone());
            let draft = Self::draft(ConsentId::random(), firm, grantee, Party::Grantee, terms.clone());
            Self { asked_in_a_group: true, ..draft }
        };
        others.map(draft).collect()
    }

    /// From what is stored. Strict: nothing comes of one in which a field is missing or unknown here,
    /// nor of one with terms in force that nobody can agree to.
    pub fn parse(json: &str) -> Option<Self> {
        let it: Self = serde_json::from_str(json).ok()?;
        it.in_force.as_ref().is_none_or(|now| now.terms.own_faults().is_empty()).then_some(it)
    }

    /// Where it stands at a time that never goes back, µs since 1970.
    pub fn phase(&self, now_us: i64) -> Phase {
        match (&self.end, &self.in_force) {
            (Some(End::Revoked { .. }), _) => Phase::Revoked,
            (Some(End::Relinquished { .. }), _) => Phase::Relinquished,
            (Some(End::Rejected { .. }), _) => Phase::Rejected,
            (Some(End::Withdrawn { .. }), _) => Phase::Withdrawn,
            (None, Some(it)) if now_us >= it.terms.access.until_us => Phase::Expired,
            (None, Some(_)) if !self.holds.is_empty() => Phase::Suspended,
            (None, Some(it)) if now_us < it.terms.access.not_before_us => Phase::Approved,
            (None, Some(_)) => Phase::Active,
            (None, None) => match self.proposal.as_ref().map(|it| it.turn) {
                Some(Turn::Grantor) => Phase::Requested,
                Some(Turn::Grantee) => Phase::Countered,
                Some(Turn::Draft { .. }) | None => Phase::Draft,
            },
        }
    }

    /// Where it stands as far as a side may know.
    pub fn phase_for(&self, party: Party, now_us: i64) -> Phase {
        match self.phase(now_us) {
            Phase::Rejected if party != Party::Grantor && self.asked_in_a_group => Phase::Requested,
            phase => phase,
        }
    }

    /// What decisions are made on; none before it is agreed to.
    pub fn grant(&self) -> Option<Grant> {
        let in_force = self.in_force.as_ref()?;
        let status = match (&self.end, self.holds.values().min()) {
            (Some(End::Revoked { at_us } | End::Relinquished { at_us }), _) => Status::Revoked { at_us: *at_us },
            (Some(End::Rejected { .. } | End::Withdrawn { .. }), _) => return None,
            (None, Some(since_us)) => Status::Suspended { since_us: *since_us },
            (None, None) => Status::Active,
        };
        Some(Grant {
            id: self.id,
            grantee: self.grantee.clone(),
            status,
            terms: StoredTerms::Known(in_force.terms.clone()),
            mark: Some(in_force.mark),
        })
    }

    /// The same, held until the grantor resumes it: the store went on from an older state, or
    /// the firm has a first officer again. What is not in force has nothing to hold.
    #[must_use]
    pub fn restored(&self, now_us: i64) -> Self {
        let mut after = self.clone();
        if after.in_force.is_some() && !after.phase(now_us).is_end() {
            after.holds.entry(Hold::Restored).or_insert(now_us);
            after.revision += 1;
        }
        after
    }

    /// The same, revoked at a time before: the store went on from a state in which that is missing.
    #[must_use]
    pub fn revoked_before(&self, at_us: i64) -> Self {
        let (end, revision) = (Some(End::Revoked { at_us }), self.revision + 1);
        Self { end, proposal: None, revision, ..self.clone() }
    }
}
