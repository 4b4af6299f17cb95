//! Why nothing was done to an agreement, an officer or a group.

use sandan_proto::id::{FirmId, GroupId};

use crate::access::AccessError;
use crate::consent::{OfficerRefusal, Refusal, RosterRefusal};
use crate::store::StoreError;
use crate::store::control::ControlError;

use super::MAX_OPEN;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// There is none, or the asker has no part in it.
    #[error("there is no such consent, or you have no part in it")]
    NotFound,
    /// The other side is not there, or no more.
    #[error("there is no firm `{0}` that could share")]
    NoSuchFirm(FirmId),
    /// There is no such group.
    #[error("there is no group `{0}`")]
    NoSuchGroup(GroupId),
    /// There is no such officer of the firm.
    #[error("your firm has no such officer")]
    NoSuchOfficer,
    /// The link was used, or has run out, or is none.
    #[error("the link makes nobody an officer: it was used, it has run out, or there is a newer one")]
    BadLink,
    /// Not for somebody in this capacity.
    #[error("this is not yours to do")]
    NoSay,
    /// A command on a state has to say which.
    #[error("say which revision it was decided on: `If-Match: \"REVISION\"`, or `revision` in the body")]
    RevisionNeeded,
    /// The firm asks and offers too much at once.
    #[error("your firm has {MAX_OPEN} requests and consents open; withdraw or relinquish some first")]
    TooManyOpen,
    /// There is no page where there are no terms.
    #[error("the consent ended before terms were agreed to: there is no page")]
    NoPage,
    /// The record does not ask for drafts.
    #[error("drafts are made of a request by the customer of a subcontract")]
    NoPapers,
    /// A dry run is of a range of time and a purpose of the draft.
    #[error("{0}")]
    Trial(&'static str),
    /// A name that people could not read.
    #[error("a name has 1 to 100 printable characters, and none that cannot be seen")]
    Name,
    /// Others kept changing it meanwhile.
    #[error("it is being changed by others; try again in a moment")]
    Busy,
    /// The state of the agreement says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The rules on officers say no.
    #[error(transparent)]
    Officer(#[from] OfficerRefusal),
    /// The rules on rosters say no.
    #[error(transparent)]
    Roster(#[from] RosterRefusal),
    /// The door says no.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl From<ControlError> for ConsentError {
    fn from(error: ControlError) -> Self {
        Self::Access(error.into())
    }
}
impl From<StoreError> for ConsentError {
    fn from(error: StoreError) -> Self {
        Self::Access(error.into())
    }
}
