//! Acting on agreements: drafting them, and every step of their life.
//!
//! It promises that a command is decided on what is stored when it is carried out (what raced
//! with another is decided again), that the time which it is decided at never goes back, that
//! whoever has no part in an agreement cannot tell it from none, and that nobody who asked a
//! group learns who declined.

mod error;
mod open;
mod paper;
mod rehearsal;
mod view;

use std::collections::BTreeMap;

use sandan_proto::id::{FirmId, GroupId};

pub use self::error::ConsentError;
use self::open::MAX_OPEN;
pub use self::open::{Between, Wanted};
pub use self::paper::{Paper, Version};
pub use self::rehearsal::{Rehearsal, Rehearsed, Trial};
pub use self::view::{Filter, MAX_CONSENT_PAGE, Seen, Shown};
use super::Access;
use crate::consent::{Act, Actor, Agreement, Applied, Command, Grantee, Group, PageHash, Refusal, Situation};
use crate::id::{CommandId, ConsentId};
use crate::store::control::{ControlError, SharingChange};

/// How often a command is decided again that raced with another one on the same agreement. Two
/// sides and the alliance act by hand: more than a few in a row is no accident.
const MAX_RACES: usize = 8;

/// A command as it comes.
#[derive(Debug, Clone)]
pub struct Order {
    /// Sent again under it, it is carried out once; none: each time.
    pub key: Option<CommandId>,
    /// The revision that it was decided on. What only takes away needs none.
    pub on: Option<u64>,
    /// What to do.
    pub act: Act,
}

impl Access {
    /// Carries a command on an agreement out, and gives it as it is then.
    pub async fn act_on_consent(&self, by: &Actor, id: ConsentId, order: Order) -> Result<Seen, ConsentError> {
        if order.on.is_none() && !order.act.only_takes() {
            return Err(ConsentError::RevisionNeeded);
        }
        let key = order.key.unwrap_or_else(CommandId::random);
        for _ in 0..MAX_RACES {
            let groups = self.control.groups().await?;
            let before = self.seen_agreement(by, id, &groups).await?;
            let officers = self.control.officers(&before.grantor).await?;
            let coordinator = coordinator(&before.grantee, &groups);
            // Only one of these needs what it takes a read to know.
            let commit = match order.act {
                Act::Approve { .. } => self.newest_commit(&before.grantor).await?,
                _ => 0,
            };
            let page = match order.act {
                Act::Send { .. } | Act::Accept { .. } | Act::Approve { .. } => self.paper(&before).await?.page.hash,
                // It is compared with nothing.
                _ => PageHash::of(&[]),
            };
            let now_us = self.now_us();
            let situation = Situation { officers: &officers, coordinator, page, commit, now_us };
            let on = order.on.unwrap_or(before.revision);
            let command = Command { key, on, actor: by.clone(), act: order.act.clone() };
            let Applied { agreement: after, event } = before.apply(&command, &situation)?;
            let seen = |after| Seen::of(after, by, &groups, now_us).ok_or(ConsentError::NotFound);
            let Some(event) = event else { return seen(after) };
            let change = SharingChange::SaveAgreement {
                before: Some(Box::new(before.clone())),
                after: Box::new(after.clone()),
                event,
                actor: by.clone(),
                coordinator: coordinator.cloned(),
            };
            match self.apply(change.into(), &by.to_string()).await {
                Ok(()) => return Ok(Seen::after(after, by, &groups, now_us)),
                Err(ControlError::Raced { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ConsentError::Busy)
    }

    /// An agreement that somebody has a part in.
    async fn seen_agreement(
        &self,
        by: &Actor,
        id: ConsentId,
        groups: &BTreeMap<GroupId, Group>,
    ) -> Result<Agreement, ConsentError> {
        let found = match self.control.agreement(id).await {
            Ok(found) => found,
            // Whose it is cannot be told either.
            Err(ControlError::Unreadable { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        found.filter(|it| view::side(it, by, groups).is_some()).ok_or(ConsentError::NotFound)
    }

    /// What somebody may do to an agreement now, in words of the API.
    pub async fn open_acts(&self, by: &Actor, seen: &Seen) -> Result<Vec<&'static str>, ConsentError> {
        let it = &seen.agreement;
        let groups = self.control.groups().await?;
        let officers = self.control.officers(&it.grantor).await?;
        let page = PageHash::of(&[]);
        let situation = Situation {
            officers: &officers,
            coordinator: coordinator(&it.grantee, &groups),
            page,
            commit: 0,
            now_us: self.now_us(),
        };
        let terms = it.proposal.as_ref().map(|it| &it.terms).or(it.in_force.as_ref().map(|it| &it.terms));
        let Some(terms) = terms else { return Ok(Vec::new()) };
        let terms = || terms.clone();
        let acts = [
            Act::Send { page },
            Act::Counter { terms: terms() },
            Act::Accept { page },
            Act::Approve { page },
            Act::Reject,
            Act::Withdraw,
            Act::Narrow { terms: it.in_force.as_ref().map_or_else(terms, |it| it.terms.clone()) },
            Act::Amend { terms: terms() },
            Act::Suspend,
            Act::Resume,
            Act::Revoke,
            Act::Relinquish,
            Act::Attest,
        ];
        let may = |act: &Act| {
            let command = Command { key: CommandId::random(), on: it.revision, actor: by.clone(), act: act.clone() };
            match it.apply(&command, &situation) {
                // The same terms again are no change, and others would be.
                Ok(applied) => applied.event.is_some() || matches!(act, Act::Narrow { .. }),
                Err(Refusal::Faults(_)) => true,
                Err(_) => false,
            }
        };
        Ok(acts.iter().filter(|act| may(act)).map(Act::as_str).collect())
    }
}

/// Who acts for a grantee that is a group.
fn coordinator<'a>(grantee: &Grantee, groups: &'a BTreeMap<GroupId, Group>) -> Option<&'a FirmId> {
    match grantee {
        Grantee::Firm(_) => None,
        Grantee::Group { group, .. } => groups.get(group).map(|it| &it.coordinator),
    }
}

#[cfg(test)]
mod tests;
