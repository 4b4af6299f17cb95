//! Groups of firms: who is in which, and how firms join and leave.

use std::collections::BTreeMap;

use sandan_proto::id::GroupId;

use super::Access;
use super::consents::ConsentError;
use crate::consent::{Actor, Group, Membership};
use crate::store::control::{ControlError, SharingChange};

/// How often a change is decided again that raced with another.
const MAX_RACES: usize = 8;

impl Access {
    /// All groups of the complex. That they are there and who is in them is no secret in it:
    /// consents are given to them.
    pub async fn groups(&self) -> Result<BTreeMap<GroupId, Group>, ConsentError> {
        Ok(self.control.groups().await?)
    }

    /// Changes who is in a group; the log of the complex and those of the firms hold it.
    pub async fn change_roster(&self, by: &Actor, id: &GroupId, change: &Membership) -> Result<Group, ConsentError> {
        if let Membership::Join(firm) = change {
            self.is_open(firm).await?;
        }
        for _ in 0..MAX_RACES {
            let unknown = || ConsentError::NoSuchGroup(id.clone());
            let before = self.control.groups().await?.remove(id).ok_or_else(unknown)?;
            let after = before.after(change, by)?;
            let saved = SharingChange::SaveGroup { id: id.clone(), before: Some(before), after: after.clone() };
            match self.apply(saved.into(), &by.to_string()).await {
                Ok(()) => return Ok(after),
                Err(ControlError::Raced { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ConsentError::Busy)
    }
}
