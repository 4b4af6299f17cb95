//! Groups of firms, with every roster that they ever had.
//!
//! A consent to a group names the version of the roster that was agreed to. It reaches the
//! firms that are on that roster and on every later one: joining lets nobody in, leaving puts
//! out at once, and whoever comes back is new.

use std::collections::{BTreeMap, BTreeSet};

use sandan_proto::id::FirmId;
use serde::{Deserialize, Serialize};

use super::roles::{Actor, Role};

/// What keeps its firms together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupKind {
    /// They do the same work, so that they compete, whatever else they say.
    SameIndustry,
    /// One supplies the next.
    ValueChain,
    /// A few neighbours.
    MiniCluster,
    /// The whole alliance.
    Alliance,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What keeps its firms together.
    pub kind: GroupKind,
    /// The firm that acts for it.
    pub coordinator: FirmId,
    /// Its firms by version; the highest one is the newest.
    pub rosters: BTreeMap<u32, BTreeSet<FirmId>>,
}

/// A change of who is in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// A firm joins.
    Join(FirmId),
    /// A firm leaves.
    Leave(FirmId),
}

/// Why a roster did not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RosterRefusal {
    /// Neither the coordinator nor whoever runs the alliance, nor a firm that leaves.
    #[error("this is for the group's coordinator and the alliance's administrator; a firm leaves by itself")]
    NoSay,
    /// It is on it already.
    #[error("the firm is on the roster already")]
    Member,
    /// It is not on it.
    #[error("the firm is not on the roster")]
    NoMember,
    /// It speaks for the group.
    #[error("the coordinator leaves after another one took its place")]
    Coordinator,
}

impl Group {
    /// A group and its first roster.
    pub fn new(kind: GroupKind, coordinator: FirmId, firms: BTreeSet<FirmId>) -> Self {
        Self { kind, coordinator, rosters: BTreeMap::from([(1, firms)]) }
    }

    /// The newest roster and its version.
    pub fn newest(&self) -> Option<(u32, &BTreeSet<FirmId>)> {
        self.rosters.last_key_value().map(|(version, firms)| (*version, firms))
    }

    /// Whether a consent to the group, agreed to on a roster, reaches a firm.
    pub fn reaches(&self, agreed: u32, firm: &FirmId) -> bool {
        self.rosters.contains_key(&agreed) && self.rosters.range(agreed..).all(|(_, firms)| firms.contains(firm))
    }

    /// The group with a new roster; each is one entry of the alliance's log and of the firm's.
    pub fn after(&self, change: &Membership, by: &Actor) -> Result<Self, RosterRefusal> {
        let officer = by.role == Role::DataOfficer;
        let runs_it = by.role == Role::AllianceAdministrator || officer && by.firm.as_ref() == Some(&self.coordinator);
        let (version, firms) = self.newest().map(|(version, firms)| (version, firms.clone())).unwrap_or_default();
        let mut after = firms;
        match change {
            Membership::Join(firm) => {
                if !runs_it {
                    return Err(RosterRefusal::NoSay);
                }
                if !after.insert(firm.clone()) {
                    return Err(RosterRefusal::Member);
                }
            }
            Membership::Leave(firm) => {
                let leaves = officer && by.firm.as_ref() == Some(firm);
                if !(runs_it || leaves) {
                    return Err(RosterRefusal::NoSay);
                }
                if *firm == self.coordinator {
                    return Err(RosterRefusal::Coordinator);
                }
                if !after.remove(firm) {
                    return Err(RosterRefusal::NoMember);
                }
            }
        }
        let mut rosters = self.rosters.clone();
        rosters.insert(version + 1, after);
        Ok(Self { kind: self.kind, coordinator: self.coordinator.clone(), rosters })
    }
}
