//! What a side sees of an agreement.

use std::collections::BTreeMap;

use sandan_proto::id::{FirmId, GroupId};

use super::ConsentError;
use crate::access::Access;
use crate::consent::{Actor, Agreement, Grantee, Group, Identity, Party, Phase, Proposal, Role, Turn};
use crate::id::ConsentId;

/// Most agreements of one page: each may list a thousand machines.
pub const MAX_CONSENT_PAGE: usize = 200;

/// An agreement as one side may see it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// All of it; what the side may see of it comes out through the functions.
    pub(super) agreement: Agreement,
    /// Which side.
    pub party: Party,
    /// Where it stands, as far as the side may know.
    pub phase: Phase,
    /// Whether the side decides for itself, or only reads under what is in force.
    decides: bool,
}

/// What is listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this grantor; the alliance has to say of which.
    pub grantor: Option<FirmId>,
    /// In this state.
    pub phase: Option<Phase>,
}

/// A page of a list.
#[derive(Debug)]
pub struct Shown {
    /// Newest first.
    pub consents: Vec<Seen>,
    /// To be named for the next page; none at the end.
    pub next: Option<ConsentId>,
}

/// Whose side somebody is on, who may see an agreement at all.
pub(super) fn side(it: &Agreement, by: &Actor, groups: &BTreeMap<GroupId, Group>) -> Option<Party> {
    let firm = by.firm.as_ref();
    let party = match by.role {
        Role::AllianceAdministrator => it.in_force.is_some().then_some(Party::Alliance),
        Role::DataOfficer | Role::FirmStaff if firm == Some(&it.grantor) => Some(Party::Grantor),
        Role::DataOfficer | Role::Member => {
            let firm = firm?;
            let reads = match &it.grantee {
                Grantee::Firm(grantee) => grantee == firm,
                Grantee::Group { group, roster } => groups.get(group).is_some_and(|group| {
                    group.coordinator == *firm || (it.in_force.is_some() && group.reaches(*roster, firm))
                }),
            };
            reads.then_some(Party::Grantee)
        }
        _ => None,
    }?;
    // Before it was sent it is its author's alone.
    let unsent = it.in_force.is_none() && it.signatures.is_empty();
    let theirs = it.proposal.as_ref().is_some_and(|it| it.turn == Turn::Draft { author: party });
    (!unsent || theirs).then_some(party)
}

impl Seen {
    /// None for whoever has no part in it.
    pub(super) fn of(it: Agreement, by: &Actor, groups: &BTreeMap<GroupId, Group>, now_us: i64) -> Option<Self> {
        let party = side(&it, by, groups)?;
        Some(Self::on(party, it, by, groups, now_us))
    }

    /// What somebody has just done: also a draft that was given up, which nobody sees any more.
    pub(super) fn after(it: Agreement, by: &Actor, groups: &BTreeMap<GroupId, Group>, now_us: i64) -> Self {
        let own = by.firm.as_ref() == Some(&it.grantor);
        let party = side(&it, by, groups).unwrap_or(if own { Party::Grantor } else { Party::Grantee });
        Self::on(party, it, by, groups, now_us)
    }

    fn on(party: Party, it: Agreement, by: &Actor, groups: &BTreeMap<GroupId, Group>, now_us: i64) -> Self {
        let decides = match (&it.grantee, party) {
            (Grantee::Group { group, .. }, Party::Grantee) => {
                groups.get(group).is_some_and(|group| by.firm.as_ref() == Some(&group.coordinator))
            }
            (_, Party::Alliance) => false,
            _ => true,
        };
        Self { phase: it.phase_for(party, now_us), party, agreement: it, decides }
    }

    /// Its id, for good.
    pub fn id(&self) -> ConsentId {
        self.agreement.id
    }

    /// Whose readings they are; none where the side is offered them under a pseudonym.
    pub fn grantor(&self) -> Option<&FirmId> {
        (!self.is_veiled()).then_some(&self.agreement.grantor)
    }

    /// Whether the grantor offered it under a pseudonym, and the side is the other one.
    pub fn is_veiled(&self) -> bool {
        let it = &self.agreement;
        let terms = it.in_force.as_ref().map(|it| &it.terms).into_iter();
        let mut terms = terms.chain(it.proposal.as_ref().map(|it| &it.terms));
        let offered = it.signatures.first().is_some_and(|it| it.party == Party::Grantor);
        self.party == Party::Grantee && offered && terms.any(|it| it.identity() == Identity::Pseudonym)
    }

    /// What is not agreed to yet, for those who decide on it.
    pub fn proposal(&self) -> Option<&Proposal> {
        self.agreement.proposal.as_ref().filter(|_| self.decides)
    }

    /// Everything that both sides may see alike.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }
}

impl Access {
    /// One agreement.
    pub async fn consent(&self, by: &Actor, id: ConsentId) -> Result<Seen, ConsentError> {
        let groups = self.control.groups().await?;
        let it = self.seen_agreement(by, id, &groups).await?;
        Seen::of(it, by, &groups, self.now_us()).ok_or(ConsentError::NotFound)
    }

    /// The agreements that somebody has a part in, newest first, behind one.
    pub async fn consents(
        &self,
        by: &Actor,
        filter: &Filter,
        behind: Option<ConsentId>,
        limit: usize,
    ) -> Result<Shown, ConsentError> {
        let of = match (&by.firm, &filter.grantor) {
            (Some(firm), _) if by.role != Role::Installer => firm,
            (None, Some(grantor)) if by.role == Role::AllianceAdministrator => grantor,
            _ => return Err(ConsentError::NoSay),
        };
        let groups = self.control.groups().await?;
        let now_us = self.now_us();
        let all = self.control.agreements(of).await?.known;
        let seen = all.into_iter().rev().filter_map(|it| Seen::of(it, by, &groups, now_us));
        let mut seen = seen.peekable();
        if let Some(behind) = behind {
            // It may have gone since: then there is nothing to go on from.
            seen.by_ref().find(|it| it.id() == behind).ok_or(ConsentError::NotFound)?;
        }
        let wanted = |it: &Seen| {
            filter.grantor.as_ref().is_none_or(|grantor| it.grantor() == Some(grantor))
                && filter.phase.is_none_or(|phase| it.phase == phase)
        };
        let mut matching = seen.filter(wanted);
        let consents: Vec<_> = matching.by_ref().take(limit.clamp(1, MAX_CONSENT_PAGE)).collect();
        let next = matching.next().and_then(|_| consents.last().map(Seen::id));
        Ok(Shown { consents, next })
    }
}
