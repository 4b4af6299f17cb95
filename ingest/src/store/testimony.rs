//! What a witness outside the store has to know of it, and what a restore does with it.
//!
//! Plain data: who keeps it, and where, is the witness's business.

use std::collections::BTreeMap;

use sandan_proto::id::GatewayId;
use serde::{Deserialize, Serialize};

use crate::audit::{Chain, Draft, Head};
use crate::id::{ConsentId, MemberId, OperatorId};

/// Everything that was ever withdrawn, with the time of it, µs since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocations {
    /// Consents.
    pub consents: BTreeMap<ConsentId, i64>,
    /// Gateways; one that was added again later is let in all the same.
    pub gateways: BTreeMap<GatewayId, i64>,
    /// Members.
    pub members: BTreeMap<MemberId, i64>,
    /// Operators.
    pub operators: BTreeMap<OperatorId, i64>,
}

impl Revocations {
    /// Adds those of another state of the store; of two times of one thing the later stays.
    pub fn join(&mut self, other: &Self) {
        fn later<K: Ord + Clone>(of: &mut BTreeMap<K, i64>, more: &BTreeMap<K, i64>) {
            for (key, at_us) in more {
                let known = of.entry(key.clone()).or_insert(*at_us);
                *known = (*known).max(*at_us);
            }
        }
        later(&mut self.consents, &other.consents);
        later(&mut self.gateways, &other.gateways);
        later(&mut self.members, &other.members);
        later(&mut self.operators, &other.operators);
    }
}

/// What the control data says of itself, of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Testimony {
    /// The newest entry of each chain.
    pub heads: BTreeMap<Chain, Head>,
    /// What is withdrawn now.
    pub revocations: Revocations,
}

/// Why, and from what on, the store goes on from an older state.
#[derive(Debug, Clone)]
pub struct Restored {
    /// For the audit log, in words.
    pub why: String,
    /// The timeline that begins, as text.
    pub timeline: String,
    /// What has to be withdrawn again.
    pub revocations: Revocations,
}

impl Restored {
    /// For the audit log.
    pub(in crate::store) fn describe(&self, draft: Draft, undone: Undone) -> Draft {
        let count = |number| i64::try_from(number).unwrap_or(i64::MAX);
        draft
            .with("why", self.why.as_str())
            .with("timeline", self.timeline.as_str())
            .with("suspended", count(undone.suspended))
            .with("revoked_again", count(undone.revoked))
    }
}

/// What was done after a restore.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// Consents that wait for their grantor now and did not before.
    pub suspended: u64,
    /// Consents, gateways, members and operators whose revocation the older state did not have.
    pub revoked: u64,
}
