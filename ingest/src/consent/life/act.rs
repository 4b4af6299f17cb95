//! What can be done to a consent, and what comes of it.

use sandan_proto::id::FirmId;
use serde::{Deserialize, Serialize};

use super::{Agreement, Party, Phase};
use crate::consent::officers::Officers;
use crate::consent::page::PageHash;
use crate::consent::record::Mark;
use crate::consent::roles::Actor;
use crate::consent::terms::{TermFault, Terms};
use crate::id::CommandId;
use crate::time::rfc3339;

/// What is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// The author sends the draft to the other side: a grantee requests, a grantor offers.
    Send {
        /// What the author read.
        page: PageHash,
    },
    /// Answers with other terms; while it is a draft, its author changes it.
    Counter {
        /// The whole new terms.
        terms: Terms,
    },
    /// The grantee takes what the grantor countered or offered; the grantor then approves.
    Accept {
        /// What the grantee read.
        page: PageHash,
    },
    /// An officer of the grantor says yes. Raw readings take two.
    Approve {
        /// What the officer read.
        page: PageHash,
    },
    /// The grantor turns the proposal down.
    Reject,
    /// The grantee takes the proposal back.
    Withdraw,
    /// The grantor takes something away, at once and alone.
    Narrow {
        /// The whole new terms, which lie within those in force.
        terms: Terms,
    },
    /// Either side proposes other terms while those in force go on.
    Amend {
        /// The whole new terms.
        terms: Terms,
    },
    /// Holds it up.
    Suspend,
    /// Lets it go on.
    Resume,
    /// The grantor ends it.
    Revoke,
    /// The grantee ends it.
    Relinquish,
    /// The grantee says that copies are returned or deleted.
    Attest,
}

impl Act {
    /// Its word in commands and tables.
    pub fn as_str(&self) -> &'static str {
        match self {
            Act::Send { .. } => "send",
            Act::Counter { .. } => "counter",
            Act::Accept { .. } => "accept",
            Act::Approve { .. } => "approve",
            Act::Reject => "reject",
            Act::Withdraw => "withdraw",
            Act::Narrow { .. } => "narrow",
            Act::Amend { .. } => "amend",
            Act::Suspend => "suspend",
            Act::Resume => "resume",
            Act::Revoke => "revoke",
            Act::Relinquish => "relinquish",
            Act::Attest => "attest",
        }
    }

    /// Whether it can only take away. Such an act is never too late: it is carried out on
    /// whatever the consent has become since it was decided on.
    pub fn only_takes(&self) -> bool {
        matches!(self, Act::Suspend | Act::Revoke | Act::Relinquish)
    }
}

/// One act of one person on one revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Sent again under the same key, it is carried out once, and what it says then is not read.
    pub key: CommandId,
    /// The revision that it was decided on.
    pub on: u64,
    /// Who.
    pub actor: Actor,
    /// What.
    pub act: Act,
}

/// What else a command is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The grantor's officers.
    pub officers: &'a Officers,
    /// Who acts for the grantee where that is a group: its coordinator.
    pub coordinator: Option<&'a FirmId>,
    /// The hash of the page that is made of the proposal.
    pub page: PageHash,
    /// The grantor's newest commit.
    pub commit: u64,
    /// The time, which never goes back, µs since 1970.
    pub now_us: i64,
}

impl Situation<'_> {
    pub(super) fn mark(&self) -> Mark {
        Mark { at_us: self.now_us, commit: self.commit }
    }
}

/// What happened, for the log of both firms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Event {
    Drafted,
    Requested,
    Countered,
    /// One officer said yes to raw readings; a second one, or the same a day later, is awaited.
    ApprovedOnce,
    Approved,
    Rejected,
    Withdrawn,
    Narrowed,
    Suspended,
    /// The alliance has let go; the grantor has not resumed yet.
    Released,
    Resumed,
    Revoked,
    Relinquished,
    Attested,
}

impl Event {
    /// Its word in tables and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Event::Drafted => "drafted",
            Event::Requested => "requested",
            Event::Countered => "countered",
            Event::ApprovedOnce => "approved_once",
            Event::Approved => "approved",
            Event::Rejected => "rejected",
            Event::Withdrawn => "withdrawn",
            Event::Narrowed => "narrowed",
            Event::Suspended => "suspended",
            Event::Released => "released",
            Event::Resumed => "resumed",
            Event::Revoked => "revoked",
            Event::Relinquished => "relinquished",
            Event::Attested => "attested",
        }
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The consent after it.
    pub agreement: Agreement,
    /// What happened; none where it was done before, or there was nothing left to do.
    pub event: Option<Event>,
}

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Refusal {
    #[error("this is not yours to do")]
    NoSay,
    #[error("the officer was minted or reset and approves nothing until another officer of the firm confirms it")]
    Waiting,
    #[error("it was decided on revision {decided}, and {newest} is the newest: look at it again")]
    Stale { decided: u64, newest: u64 },
    #[error("the consent is {phase}: this cannot be done now")]
    NotNow { phase: Phase },
    #[error("the consent has ended: it is {phase}, and never opens again")]
    Ended { phase: Phase },
    #[error("the page that was read is not the one that is made of these terms: read it again")]
    OtherPage,
    #[error("the terms cannot be granted: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Faults(Vec<TermFault>),
    #[error("the access window ended at {}", rfc3339(*.until_us))]
    WindowOver { until_us: i64 },
    #[error("raw readings take a second officer")]
    SecondOfficer,
    #[error("raw readings take a second confirmation, from {} on", rfc3339(*.from_us))]
    SecondThought { from_us: i64 },
    #[error("these terms are not within those in force: what widens takes both sides, so propose an amendment")]
    Wider,
    #[error("a proposal is open: it is answered first")]
    ProposalOpen,
    #[error("the alliance has suspended it and has not let go")]
    HeldByAlliance,
}

impl Refusal {
    /// Its word in answers and tables.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NoSay => "no_say",
            Refusal::Waiting => "waiting_officer",
            Refusal::Stale { .. } => "stale",
            Refusal::NotNow { .. } => "not_now",
            Refusal::Ended { .. } => "ended",
            Refusal::OtherPage => "other_page",
            Refusal::Faults(_) => "faults",
            Refusal::WindowOver { .. } => "window_over",
            Refusal::SecondOfficer => "second_officer",
            Refusal::SecondThought { .. } => "second_thought",
            Refusal::Wider => "wider",
            Refusal::ProposalOpen => "proposal_open",
            Refusal::HeldByAlliance => "held_by_alliance",
        }
    }

    /// For whom it is.
    pub(super) fn unless(holds: bool, refusal: Refusal) -> Result<(), Refusal> {
        if holds { Ok(()) } else { Err(refusal) }
    }
}

/// The side that an actor speaks for; none for those who have no say.
pub(super) fn party(agreement: &Agreement, actor: &Actor, coordinator: Option<&FirmId>) -> Option<Party> {
    use crate::consent::record::Grantee;
    use crate::consent::roles::Role;
    let firm = actor.firm.as_ref();
    let grantee = match &agreement.grantee {
        Grantee::Firm(grantee) => Some(grantee),
        Grantee::Group { .. } => coordinator,
    };
    match actor.role {
        Role::AllianceAdministrator => Some(Party::Alliance),
        Role::DataOfficer if firm == Some(&agreement.grantor) => Some(Party::Grantor),
        Role::DataOfficer | Role::Member if firm.is_some() && firm == grantee => Some(Party::Grantee),
        _ => None,
    }
}
