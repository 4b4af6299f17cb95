//! How an agreement begins: as a draft of whoever asks or offers.

use sandan_proto::id::{FirmId, GroupId};

use super::{ConsentError, Seen};
use crate::access::Access;
use crate::consent::{Actor, Agreement, Event, Grantee, Group, Party, Refusal, Role, TermFault, Terms};
use crate::id::{CommandId, ConsentId};
use crate::store::control::{ControlError, SharingChange};

/// Most agreements that a firm may have begun and that have not ended. A firm that asks all
/// 2,000 others asks them by groups, a few at a time.
pub(super) const MAX_OPEN: usize = 1_000;

/// Between whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Between {
    /// A firm is asked, for one's own firm or for a group that it coordinates.
    Ask {
        /// Whose readings.
        grantor: FirmId,
        /// Who is to read them.
        group: Option<GroupId>,
    },
    /// Each firm of a group is asked; each answers alone.
    AskEach(GroupId),
    /// One's own readings are offered to a firm.
    Offer(FirmId),
    /// One's own readings are offered to a group as it is now.
    OfferGroup(GroupId),
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Sent again under it, it is drafted once; none: each time.
    pub key: Option<CommandId>,
    /// Between whom.
    pub between: Between,
    /// The whole terms.
    pub terms: Terms,
}

impl Access {
    /// Drafts an agreement, or one with each firm of a group. Nobody else sees it before it is sent.
    pub async fn draft_consent(&self, by: &Actor, wanted: Wanted) -> Result<Vec<Seen>, ConsentError> {
        let firm = by.firm.clone().ok_or(ConsentError::NoSay)?;
        let groups = self.control.groups().await?;
        let group = |id: &GroupId| groups.get(id).ok_or_else(|| ConsentError::NoSuchGroup(id.clone()));
        let key = wanted.key.unwrap_or_else(CommandId::random);
        let faults = wanted.terms.own_faults();
        if !faults.is_empty() {
            return Err(Refusal::Faults(faults).into());
        }
        let Wanted { between, terms, .. } = wanted;
        let draft = |grantor: FirmId, grantee, author, terms| {
            Agreement::draft(derived(key, by, &grantor), grantor, grantee, author, terms)
        };
        let drafts = match between {
            Between::Ask { grantor, group: None } => {
                asks(by)?;
                vec![draft(grantor, Grantee::Firm(firm.clone()), Party::Grantee, terms)]
            }
            Between::Ask { grantor, group: Some(id) } => {
                asks(by)?;
                let group = group(&id)?;
                if group.coordinator != firm {
                    return Err(ConsentError::NoSay);
                }
                vec![draft(grantor, newest(id, group)?, Party::Grantee, terms)]
            }
            Between::AskEach(id) => {
                asks(by)?;
                let closed = self.control.closed_firms().await?;
                let firms = group(&id)?.newest().map(|(_, firms)| firms.clone()).unwrap_or_default();
                let mut drafts = Agreement::drafts_to(firms.difference(&closed).cloned(), &firm, &terms);
                for it in &mut drafts {
                    it.id = derived(key, by, &it.grantor);
                }
                drafts
            }
            Between::Offer(grantee) => {
                self.offers(by, &firm).await?;
                self.is_open(&grantee).await?;
                vec![draft(firm.clone(), Grantee::Firm(grantee), Party::Grantor, terms)]
            }
            Between::OfferGroup(id) => {
                self.offers(by, &firm).await?;
                let group = group(&id)?;
                vec![draft(firm.clone(), newest(id, group)?, Party::Grantor, terms)]
            }
        };
        for it in &drafts {
            if matches!(&it.grantee, Grantee::Firm(grantee) if *grantee == it.grantor) {
                return Err(Refusal::Faults(vec![TermFault::SameFirm]).into());
            }
            self.is_open(&it.grantor).await?;
        }
        let now_us = self.now_us();
        let open = self.control.agreements(&firm).await?.known;
        let open = open.iter().filter(|it| !it.phase(now_us).is_end()).count();
        if open + drafts.len() > MAX_OPEN {
            return Err(ConsentError::TooManyOpen);
        }
        let mut seen = Vec::with_capacity(drafts.len());
        for it in drafts {
            let it = self.save_draft(by, it).await?;
            seen.push(Seen::of(it, by, &groups, now_us).ok_or(ConsentError::NotFound)?);
        }
        Ok(seen)
    }

    /// What was drafted under the same key before stays as it has become.
    async fn save_draft(&self, by: &Actor, it: Agreement) -> Result<Agreement, ConsentError> {
        let change = SharingChange::SaveAgreement {
            before: None,
            after: Box::new(it.clone()),
            event: Event::Drafted,
            actor: by.clone(),
            coordinator: None,
        };
        match self.apply(change.into(), &by.to_string()).await {
            Ok(()) => Ok(it),
            Err(ControlError::Raced { .. } | ControlError::Exists { .. }) => {
                self.control.agreement(it.id).await?.ok_or(ConsentError::NotFound)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn offers(&self, by: &Actor, firm: &FirmId) -> Result<(), ConsentError> {
        let officers = self.control.officers(firm).await?;
        match officers.standing(by.person) {
            Some(_) if by.role == Role::DataOfficer && officers.approves(by.person) => Ok(()),
            Some(_) if by.role == Role::DataOfficer => Err(Refusal::Waiting.into()),
            _ => Err(ConsentError::NoSay),
        }
    }

    /// Whether a firm is there and goes on.
    pub(in crate::access) async fn is_open(&self, id: &FirmId) -> Result<(), ConsentError> {
        let there = self.control.firms().await?.iter().any(|firm| firm.id == *id && !firm.is_erased());
        let closed = self.control.closed_firms().await?.contains(id);
        if there && !closed { Ok(()) } else { Err(ConsentError::NoSuchFirm(id.clone())) }
    }
}

/// Whether somebody may ask for data.
fn asks(by: &Actor) -> Result<(), ConsentError> {
    if matches!(by.role, Role::DataOfficer | Role::Member) { Ok(()) } else { Err(ConsentError::NoSay) }
}

fn newest(id: GroupId, group: &Group) -> Result<Grantee, ConsentError> {
    let (roster, _) = group.newest().ok_or_else(|| ConsentError::NoSuchGroup(id.clone()))?;
    Ok(Grantee::Group { group: id, roster })
}

/// The id of what somebody drafts with a firm under a key: the same each time.
fn derived(key: CommandId, by: &Actor, grantor: &FirmId) -> ConsentId {
    ConsentId::derived(&[&key.to_string(), &by.person.to_string(), grantor.as_str()])
}
