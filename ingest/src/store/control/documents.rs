//! JSON documents of the control data as what they are. What cannot be read allows nothing.

use std::collections::{BTreeMap, BTreeSet};

use sandan_proto::id::{FirmId, GroupId};
use serde::de::DeserializeOwned;

use super::ControlError;
use crate::consent::{
    Agreement, AllianceRule, Consent, Grant, Grantee, Group, Layer, Rules, Run, Snapshot, Status, StoredTerms,
};
use crate::id::ConsentId;

/// An agreement as a row holds it.
#[derive(Debug, Clone)]
pub(in crate::store) struct Held {
    pub(in crate::store) id: ConsentId,
    pub(in crate::store) grantor: FirmId,
    pub(in crate::store) grantee: Option<FirmId>,
    pub(in crate::store) group: Option<GroupId>,
    /// Empty once one of its firms was erased.
    pub(in crate::store) document: String,
    /// When it was revoked or relinquished, whatever the document says.
    pub(in crate::store) revoked_us: Option<i64>,
}

impl Held {
    pub(in crate::store) fn is_erased(&self) -> bool {
        self.document.is_empty()
    }

    /// Whether it concerns a firm: by itself, or through a group.
    pub(in crate::store) fn concerns(&self, firm: &FirmId, groups: &BTreeMap<GroupId, Group>) -> bool {
        let through = |group: &Group| group.coordinator == *firm || group.rosters.values().any(|it| it.contains(firm));
        let group = self.group.as_ref().and_then(|id| groups.get(id));
        self.grantor == *firm || self.grantee.as_ref() == Some(firm) || group.is_some_and(through)
    }

    /// What decisions are made on. One that cannot be read denies, whatever it said.
    fn grant(&self) -> Option<Grant> {
        if let Ok(agreement) = parsed_agreement(self) {
            return agreement.grant();
        }
        let grantee = Grantee::Firm(self.grantee.clone()?);
        let status = self.revoked_us.map_or(Status::Active, |at_us| Status::Revoked { at_us });
        Some(Grant { id: self.id, grantee, status, terms: StoredTerms::Unknown, mark: None })
    }
}

/// The agreement of a row, where it is the one that the row is of.
pub(in crate::store) fn parsed_agreement(row: &Held) -> Result<Agreement, ControlError> {
    let unreadable = || ControlError::Unreadable { kind: "agreement", id: row.id.to_string() };
    let it = Agreement::parse(&row.document).ok_or_else(unreadable)?;
    let grantee = match &it.grantee {
        Grantee::Firm(firm) => (Some(firm), None),
        Grantee::Group { group, .. } => (None, Some(group)),
    };
    let is_its_own =
        it.id == row.id && it.grantor == row.grantor && grantee == (row.grantee.as_ref(), row.group.as_ref());
    match (is_its_own, row.revoked_us) {
        (false, _) => Err(unreadable()),
        // A restore withdrew it again while it could not be read.
        (true, Some(at_us)) if it.end.is_none() => Ok(it.revoked_before(at_us)),
        (true, _) => Ok(it),
    }
}

/// A document of a kind; the default where there is none.
pub(in crate::store) fn parsed<T: DeserializeOwned + Default>(
    json: Option<&str>,
    kind: &'static str,
    id: &str,
) -> Result<T, ControlError> {
    let unreadable = |_| ControlError::Unreadable { kind, id: id.to_owned() };
    json.map_or_else(|| Ok(T::default()), |json| serde_json::from_str(json).map_err(unreadable))
}

/// Groups by id; one that cannot be read fails.
pub(in crate::store) fn parsed_groups(rows: Vec<(GroupId, String)>) -> Result<BTreeMap<GroupId, Group>, ControlError> {
    let group = |(id, json): (GroupId, String)| match serde_json::from_str(&json) {
        Ok(group) => Ok((id, group)),
        Err(_) => Err(ControlError::Unreadable { kind: "group", id: id.to_string() }),
    };
    rows.into_iter().map(group).collect()
}

/// The consents of one grantor, short and whole, oldest first and the short ones before.
pub(in crate::store) fn grants(short: Vec<Consent>, whole: &[Held]) -> Vec<Grant> {
    let whole = whole.iter().filter(|it| !it.is_erased()).filter_map(Held::grant);
    short.into_iter().map(Grant::from).chain(whole).collect()
}

/// What stands beside the consents of one grantor, as it is stored.
#[derive(Debug, Default)]
pub(in crate::store) struct Documents {
    pub(in crate::store) epoch: u64,
    /// The newest audit time, µs since 1970.
    pub(in crate::store) newest_us: i64,
    pub(in crate::store) alliance: Option<String>,
    pub(in crate::store) house: Option<String>,
    pub(in crate::store) groups: Vec<(GroupId, String)>,
    pub(in crate::store) closed: BTreeSet<FirmId>,
    /// Of the customers that [`customers`] names.
    pub(in crate::store) runs: Vec<Run>,
    /// Rows read today.
    pub(in crate::store) used: BTreeMap<ConsentId, u64>,
}

/// The customers whose runs consents are bound to.
pub(in crate::store) fn customers(grants: &[Grant]) -> BTreeSet<String> {
    let of = |grant: &Grant| match &grant.terms {
        StoredTerms::Known(terms) => terms.agreed.as_ref().and_then(|agreed| agreed.runs_of.clone()),
        StoredTerms::Unknown => None,
    };
    grants.iter().filter_map(of).collect()
}

impl Documents {
    /// All of it together. Rules that cannot be read fail: nothing is decided without them. A group
    /// that cannot be read reaches nobody.
    pub(in crate::store) fn snapshot(self, grantor: FirmId, grants: Vec<Grant>) -> Result<Snapshot, ControlError> {
        let alliance: AllianceRule = parsed(self.alliance.as_deref(), "rule", "alliance")?;
        let house: Layer = parsed(self.house.as_deref(), "rule", grantor.as_str())?;
        let group = |(id, json): (GroupId, String)| Some((id, serde_json::from_str(&json).ok()?));
        let groups = self.groups.into_iter().filter_map(group).collect();
        let rules = Rules { alliance, house, dictionary: None, groups, closed: self.closed, runs: self.runs };
        let mut snapshot = Snapshot::of(grantor, self.epoch, grants, rules);
        (snapshot.newest_us, snapshot.used) = (self.newest_us, self.used);
        Ok(snapshot)
    }
}
