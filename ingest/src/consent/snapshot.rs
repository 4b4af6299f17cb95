//! What decisions are made on: the consents of one grantor at one epoch, and the rules.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sandan_proto::id::{AssetId, FirmId, SeriesKey};

use super::record::{Consent, Grantee, Mark, Status, StoredTerms};
use super::rules::{Dictionary, Rules};
use super::terms::Terms;
use crate::id::ConsentId;

/// About what a grant takes beside its names, and what a name takes.
const GRANT_BYTES: usize = 768;
const NAME_BYTES: usize = 96;

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

/// The consents of one grantor at one epoch, and what stands beside them. A copy shares all of it
/// but for what moves without the epoch.
#[derive(Debug, Clone)]
pub struct Snapshot {
    whole: Arc<Whole>,
    /// The newest time that was decided on or logged, µs since 1970: no decision is made on an
    /// earlier one, so that a clock that is set back brings no expired consent back.
    pub newest_us: i64,
    /// Rows that were read today (UTC) under a consent with a quota.
    pub used: BTreeMap<ConsentId, u64>,
}

/// What the epoch stands for.
#[derive(Debug, Clone)]
struct Whole {
    grantor: FirmId,
    epoch: u64,
    grants: Vec<Grant>,
    rules: Rules,
    index: Option<Index>,
}

/// Numbers of grants by who may read and which machine.
type Index = HashMap<FirmId, HashMap<AssetId, Numbers>>;

/// Numbers of grants, ascending.
#[derive(Debug, Clone, Default)]
struct Numbers {
    /// That may cover something, or ended since the index was made.
    open: Vec<u32>,
    /// That cover nothing any more, whatever comes.
    ended: Vec<u32>,
}

/// A grant with its number, and its terms.
pub(super) type Numbered<'a> = (u32, &'a Grant, &'a Terms);

/// The grants that reach a firm and name a series.
pub(super) struct Naming<'a> {
    snapshot: &'a Snapshot,
    series: &'a SeriesKey,
    open: Cow<'a, [u32]>,
    ended: &'a [u32],
}

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
        let whole = Whole { grantor, epoch, grants, rules, index: None };
        Self { whole: Arc::new(whole), newest_us: i64::MIN, used: BTreeMap::new() }
    }

    /// The same, for many decisions: what concerns a series is found without looking at every
    /// consent, and what has ended by [`newest_us`](Self::newest_us) is looked at only where nothing
    /// else covers. It costs more than one decision without it.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        let mut index = Index::new();
        for (number, grant) in (0_u32..).zip(self.grants()) {
            let StoredTerms::Known(terms) = &grant.terms else { continue };
            let has_ended = has_ended(grant, terms, self.newest_us);
            for firm in reached(self.rules(), &grant.grantee) {
                let by_asset = index.entry(firm).or_default();
                for asset in &terms.assets {
                    let numbers = by_asset.entry(asset.clone()).or_default();
                    if has_ended { &mut numbers.ended } else { &mut numbers.open }.push(number);
                }
            }
        }
        Arc::make_mut(&mut self.whole).index = Some(index);
        self
    }

    /// The same where metrics mean what a dictionary says.
    #[must_use]
    pub fn meaning(mut self, dictionary: Dictionary) -> Self {
        Arc::make_mut(&mut self.whole).rules.dictionary = Some(dictionary);
        self
    }

    /// The owner of the series.
    pub fn grantor(&self) -> &FirmId {
        &self.whole.grantor
    }
    /// Raised whenever something changes in what others may read of the grantor.
    pub fn epoch(&self) -> u64 {
        self.whole.epoch
    }
    /// The consents.
    pub fn grants(&self) -> &[Grant] {
        &self.whole.grants
    }
    /// The layers beside the consents.
    pub fn rules(&self) -> &Rules {
        &self.whole.rules
    }

    /// The consents that bound the rows of a day, but for those that have ended.
    pub fn quotas(&self) -> impl Iterator<Item = ConsentId> {
        self.grants().iter().filter_map(|grant| match &grant.terms {
            StoredTerms::Known(terms) if !has_ended(grant, terms, self.newest_us) => {
                terms.agreed.as_ref()?.quota_rows_per_day.map(|_| grant.id)
            }
            _ => None,
        })
    }

    /// About how many bytes it takes in memory, with an index.
    pub fn weight(&self) -> usize {
        let names = |grant: &Grant| match &grant.terms {
            StoredTerms::Known(terms) => {
                // Each reached firm's entry of the index holds a number for each machine.
                let reached = reached(self.rules(), &grant.grantee).len();
                terms.metrics.len() + terms.assets.len() * (1 + reached)
            }
            StoredTerms::Unknown => 0,
        };
        let grants: usize = self.grants().iter().map(|grant| GRANT_BYTES + names(grant) * NAME_BYTES).sum();
        let rules = self.rules();
        let words = rules.dictionary.as_ref().map_or(0, |it| it.metrics.len());
        let rosters = rules.groups.values().flat_map(|group| group.rosters.values()).map(BTreeSet::len);
        grants + (rules.runs.len() * 2 + words + rules.closed.len() + rosters.sum::<usize>()) * NAME_BYTES
    }

    /// The same under one grant only.
    pub(super) fn only(&self, grant: Grant) -> Self {
        let (grantor, rules) = (self.grantor().clone(), self.rules().clone());
        Self { newest_us: self.newest_us, ..Self::of(grantor, self.epoch(), vec![grant], rules) }
    }

    /// The grants that reach a firm and name a series.
    pub(super) fn naming<'a>(&'a self, asker: &FirmId, series: &'a SeriesKey) -> Naming<'a> {
        let Some(index) = &self.whole.index else {
            let reaching = (0_u32..).zip(self.grants());
            let reaching = reaching.filter(|(_, grant)| reaches(self.rules(), &grant.grantee, asker));
            let lists = |grant: &Grant| match &grant.terms {
                StoredTerms::Known(terms) => terms.assets.contains(&series.asset),
                StoredTerms::Unknown => false,
            };
            let open = Cow::Owned(reaching.filter(|(_, it)| lists(it)).map(|(number, _)| number).collect());
            return Naming { snapshot: self, series, open, ended: &[] };
        };
        let numbers = index.get(asker).and_then(|by_asset| by_asset.get(&series.asset));
        let (open, ended) = numbers.map_or((&[][..], &[][..]), |it| (&it.open, &it.ended));
        Naming { snapshot: self, series, open: Cow::Borrowed(open), ended }
    }
}

impl Naming<'_> {
    /// Those that have not ended at a time, µs since 1970, oldest first.
    pub(super) fn standing(&self, now_us: i64) -> impl Iterator<Item = Numbered<'_>> {
        self.named(&self.open).filter(move |(_, grant, terms)| !has_ended(grant, terms, now_us))
    }

    /// Those that have, newest first.
    pub(super) fn ended(&self, now_us: i64) -> impl Iterator<Item = Numbered<'_>> {
        let mut since = self.named(&self.open).rev().filter(move |it| has_ended(it.1, it.2, now_us)).peekable();
        let mut before = self.named(self.ended).rev().peekable();
        std::iter::from_fn(move || match (since.peek(), before.peek()) {
            (Some(one), Some(other)) if one.0 < other.0 => before.next(),
            (None, _) => before.next(),
            _ => since.next(),
        })
    }

    /// Those that name the metric of grants that list the machine.
    fn named<'a>(&'a self, numbers: &'a [u32]) -> impl DoubleEndedIterator<Item = Numbered<'a>> {
        numbers.iter().filter_map(|number| {
            let grant = self.snapshot.grants().get(*number as usize)?;
            match &grant.terms {
                StoredTerms::Known(terms) if terms.lists_metric(&self.series.metric) => Some((*number, grant, terms)),
                _ => None,
            }
        })
    }
}

/// Whether it covers nothing at a time, µs since 1970, nor ever after.
fn has_ended(grant: &Grant, terms: &Terms, now_us: i64) -> bool {
    matches!(grant.status, Status::Revoked { .. }) || terms.access.until_us <= now_us
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
