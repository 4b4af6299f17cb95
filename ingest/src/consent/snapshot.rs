//! What decisions are made on: the consents of one grantor at one epoch, and the rules.

use std::collections::{BTreeMap, HashMap};

use sandan_proto::id::{AssetId, FirmId, SeriesKey};

use super::record::{Consent, Grantee, Mark, Status, StoredTerms};
use super::rules::Rules;
use super::terms::Terms;
use crate::id::ConsentId;

/// One consent as decisions see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// Which.
    pub id: ConsentId,
    /// Who may read.
    pub grantee: Grantee,
    /// Whether it stands.
    pub status: Status,
    /// What was agreed.
    pub terms: StoredTerms,
    /// Where the grantor's readings stood when it was approved; none for one of the time before
    /// that was noted.
    pub mark: Option<Mark>,
}

impl From<Consent> for Grant {
    fn from(it: Consent) -> Self {
        let grantee = Grantee::Firm(it.grantee);
        Self { id: it.id, grantee, status: it.status, terms: it.terms, mark: None }
    }
}

/// The consents of one grantor at one epoch, and what stands beside them.
#[derive(Debug, Clone)]
pub struct Snapshot {
    grantor: FirmId,
    epoch: u64,
    grants: Vec<Grant>,
    /// The newest time that was decided on or logged, µs since 1970: no decision is made on an
    /// earlier one, so that a clock that is set back brings no expired consent back.
    pub newest_us: i64,
    /// The layers beside the consents.
    pub rules: Rules,
    /// Rows that were read today (UTC) under a consent with a quota.
    pub used: BTreeMap<ConsentId, u64>,
    index: Option<Index>,
}

/// Numbers of grants by who may read and which machine.
type Index = HashMap<FirmId, HashMap<AssetId, Vec<u32>>>;

impl Snapshot {
    /// Of consents of any status and to anyone, under no further rules. Consents of another
    /// grantor are left out.
    pub fn new(grantor: FirmId, epoch: u64, consents: Vec<Consent>) -> Self {
        let own = consents.into_iter().filter(|consent| consent.grantor == grantor);
        let grants = own.map(Grant::from).collect();
        Self::of(grantor, epoch, grants, Rules::default())
    }

    /// Of grants of one grantor under rules.
    pub fn of(grantor: FirmId, epoch: u64, grants: Vec<Grant>, rules: Rules) -> Self {
        Self { grantor, epoch, grants, newest_us: i64::MIN, rules, used: BTreeMap::new(), index: None }
    }

    /// The same, for many decisions: what concerns a series is found without looking at every
    /// consent. It costs more than one decision without it.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        let mut index = Index::new();
        for (number, grant) in (0_u32..).zip(&self.grants) {
            let StoredTerms::Known(terms) = &grant.terms else { continue };
            for firm in reached(&self.rules, &grant.grantee) {
                let by_asset = index.entry(firm).or_default();
                for asset in &terms.assets {
                    by_asset.entry(asset.clone()).or_default().push(number);
                }
            }
        }
        self.index = Some(index);
        self
    }

    /// The owner of the series.
    pub fn grantor(&self) -> &FirmId {
        &self.grantor
    }
    /// Raised whenever something changes in what others may read of the grantor.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
    /// The consents.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The same under one grant only.
    pub(super) fn only(&self, grant: Grant) -> Self {
        let (grantor, rules) = (self.grantor.clone(), self.rules.clone());
        Self { newest_us: self.newest_us, ..Self::of(grantor, self.epoch, vec![grant], rules) }
    }

    /// The grants that reach a firm and name a series.
    pub(super) fn naming<'a>(
        &'a self,
        asker: &FirmId,
        series: &'a SeriesKey,
    ) -> impl Iterator<Item = (&'a Grant, &'a Terms)> {
        let (some, all) = match &self.index {
            Some(index) => (index.get(asker).and_then(|by_asset| by_asset.get(&series.asset)), None),
            None => (None, Some(self.grants.iter().filter(|grant| reaches(&self.rules, &grant.grantee, asker)))),
        };
        let some = some.into_iter().flatten().filter_map(|number| self.grants.get(*number as usize));
        let all: Vec<_> = all.into_iter().flatten().collect();
        some.chain(all).filter_map(|grant| match &grant.terms {
            StoredTerms::Known(terms) if terms.names(series) => Some((grant, terms)),
            _ => None,
        })
    }
}

fn reaches(rules: &Rules, grantee: &Grantee, asker: &FirmId) -> bool {
    match grantee {
        Grantee::Firm(firm) => firm == asker,
        Grantee::Group { group, roster } => rules.groups.get(group).is_some_and(|it| it.reaches(*roster, asker)),
    }
}

fn reached(rules: &Rules, grantee: &Grantee) -> Vec<FirmId> {
    match grantee {
        Grantee::Firm(firm) => vec![firm.clone()],
        Grantee::Group { group, roster } => {
            let Some(group) = rules.groups.get(group) else { return Vec::new() };
            let firms = group.rosters.get(roster).into_iter().flatten();
            firms.filter(|firm| group.reaches(*roster, firm)).cloned().collect()
        }
    }
}
