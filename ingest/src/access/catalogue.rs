//! What a member may read: the firm's own series, and what consents let it read now.
//!
//! It is made of the snapshots and by the function that reads are decided with, so that the list
//! and a read cannot disagree. Firms are looked at one after the other, so that memory follows
//! the page and the largest firm, not the complex.

use std::collections::BTreeSet;
use std::sync::Arc;

use sandan_proto::id::{AssetId, FirmId, SeriesKey};

use super::pseudonyms::Pseudonyms;
use super::{Access, AccessError, ReadSlot, SeriesInfo};
use crate::auth::Member;
use crate::consent::{self, Address, Class, Identity, Offer, Offered, Role, Snapshot, StoredTerms, Word};
use crate::id::ConsentId;

/// Most series of one page.
pub const MAX_SERIES_PAGE: usize = 1_000;

/// One series in the list.
#[derive(Debug, Clone)]
pub struct Visible {
    /// What it is, by the names that the asker may know. Of another firm's series the units of old
    /// are not told, and the newest time is shown only where it lies in the shared times, and no
    /// finer than the finest bucket that is shared.
    pub info: SeriesInfo,
    /// Whether the asker's firm owns it.
    pub own: bool,
    /// What the metric is called and how sensitive it is; none for one of a firm's own.
    pub metric: Option<(&'static Word, Class)>,
    /// What may be read of it now, by consent; nothing for one's own.
    pub offers: Vec<Offer>,
}

/// A page of the list, in the order of the names.
#[derive(Debug)]
pub struct Page {
    /// Its series.
    pub series: Vec<Visible>,
    /// What the next page comes after; none at the end.
    pub next: Option<SeriesKey>,
}

/// A firm as the asker calls it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Called {
    name: FirmId,
    firm: FirmId,
    address: Option<ConsentId>,
}

impl Access {
    /// The series that the member may read, after one and at most so many, of all firms or of
    /// one. Firms and machines that are shared under a pseudonym go by it.
    pub async fn series(
        self: &Arc<Self>,
        asker: &Member,
        only: Option<&FirmId>,
        after: Option<&SeriesKey>,
        limit: usize,
    ) -> Result<Page, AccessError> {
        let slot = ReadSlot::take(self, &asker.firm)?;
        let limit = limit.clamp(1, MAX_SERIES_PAGE);
        let mut series = Vec::new();
        for called in self.called(asker).await? {
            let is_before = after.is_some_and(|after| called.name < after.firm);
            if is_before || only.is_some_and(|only| *only != called.name) {
                continue;
            }
            let mut found = {
                let _turn = slot.turn().await;
                self.of_firm(&asker.firm, &called).await?
            };
            found.retain(|it| after.is_none_or(|after| it.info.key > *after));
            found.sort_by(|one, other| one.info.key.cmp(&other.info.key));
            series.extend(found);
            if series.len() > limit {
                series.truncate(limit);
                let next = series.last().map(|it| it.info.key.clone());
                return Ok(Page { series, next });
            }
        }
        Ok(Page { series, next: None })
    }

    /// The asker's own firm and those of which a consent names it, in the order of their names.
    /// What others share with a firm is for its members alone.
    async fn called(&self, asker: &Member) -> Result<BTreeSet<Called>, AccessError> {
        let (asker, reads_shared) = (&asker.firm, asker.role == Role::Member);
        let mut all = BTreeSet::new();
        all.insert(Called { name: asker.clone(), firm: asker.clone(), address: None });
        if !reads_shared {
            return Ok(all);
        }
        for (firm, consent, identity) in self.named(asker).await? {
            let called = match identity {
                Identity::Named => Some(Called { name: firm.clone(), firm, address: None }),
                Identity::Pseudonym => {
                    let name = self.pseudonyms.firm(consent);
                    name.map(|name| Called { name, firm, address: Some(consent) })
                }
            };
            all.extend(called);
        }
        Ok(all)
    }

    /// Consents that may reach a firm: whose, which, and by which name.
    async fn named(&self, asker: &FirmId) -> Result<Vec<(FirmId, ConsentId, Identity)>, AccessError> {
        let consents = self.control.consents().await?;
        let short = consents.into_iter().filter(|it| it.grantee == *asker).map(|it| (it.grantor, it.id, it.terms));
        let agreements = self.control.agreements(asker).await?.known;
        let full = agreements.iter().filter_map(|it| Some((it.grantor.clone(), it.id, it.grant()?.terms)));
        let named = short.chain(full).filter_map(|(firm, consent, terms)| match terms {
            StoredTerms::Known(terms) => Some((firm, consent, terms.identity())),
            StoredTerms::Unknown => None,
        });
        Ok(named.filter(|(firm, ..)| firm != asker).collect())
    }

    async fn of_firm(&self, asker: &FirmId, called: &Called) -> Result<Vec<Visible>, AccessError> {
        if called.firm == *asker {
            let own = self.readings.series(asker).await?;
            let visible = |info: SeriesInfo| Visible { metric: meaning(&info), info, own: true, offers: Vec::new() };
            return Ok(own.into_iter().map(visible).collect());
        }
        let now_us = self.now_us();
        let snapshot = self.decided_on(&called.firm).await?;
        let mut found = Vec::new();
        for mut info in self.readings.series(&called.firm).await? {
            let mut offers = consent::offers(&snapshot, asker, &info.key, now_us);
            offers.retain(|offer| match called.address {
                None => offer.identity == Identity::Named,
                Some(consent) => offer.identity == Identity::Pseudonym && offer.consent == consent,
            });
            if offers.is_empty() {
                continue;
            }
            let metric = meaning(&info);
            info.newest_us = info.newest_us.and_then(|newest_us| shared_newest(newest_us, &offers, now_us));
            let Some(info) = self.told(info, called.address) else { continue };
            found.push(Visible { info, own: false, metric, offers });
        }
        Ok(found)
    }

    /// What another firm is told of a series: by its pseudonym, where it has one, no name at all.
    pub(super) fn told(&self, mut info: SeriesInfo, address: Option<ConsentId>) -> Option<SeriesInfo> {
        // They would tell of times that are not shared.
        info.other_units.clear();
        let Some(consent) = address else { return Some(info) };
        let asset = self.pseudonyms.asset(consent, &info.key.asset)?;
        Some(SeriesInfo {
            path: asset.to_string(),
            name_ko: asset.to_string(),
            name_en: asset.to_string(),
            gateway: self.pseudonyms.gateway(consent)?,
            key: SeriesKey { firm: self.pseudonyms.firm(consent)?, asset, metric: info.key.metric },
            ..info
        })
    }

    /// The series that an asker means: a name is itself, a handle leads to what goes by it.
    pub(super) async fn meant(&self, asker: &FirmId, series: &SeriesKey) -> Result<(SeriesKey, Address), AccessError> {
        if !Pseudonyms::is_handle(&series.firm) {
            return Ok((series.clone(), Address::Name));
        }
        for (firm, consent, identity) in self.named(asker).await? {
            if identity == Identity::Pseudonym && self.pseudonyms.firm(consent).as_ref() == Some(&series.firm) {
                let snapshot = self.decided_on(&firm).await?;
                let asset = listed(&snapshot, consent)
                    .find(|asset| self.pseudonyms.asset(consent, asset).as_ref() == Some(&series.asset));
                let asset = asset.ok_or(AccessError::NotFound)?;
                let series = SeriesKey { firm, asset: asset.clone(), metric: series.metric.clone() };
                return Ok((series, Address::Pseudonym(consent)));
            }
        }
        // A firm may be called like that.
        Ok((series.clone(), Address::Name))
    }
}

/// The machines that a consent names.
fn listed(snapshot: &Snapshot, consent: ConsentId) -> impl Iterator<Item = &AssetId> {
    let grants = snapshot.grants().iter().filter(move |grant| grant.id == consent);
    let terms = grants.filter_map(|grant| match &grant.terms {
        StoredTerms::Known(terms) => Some(terms),
        StoredTerms::Unknown => None,
    });
    terms.flat_map(|terms| &terms.assets)
}

fn meaning(info: &SeriesInfo) -> Option<(&'static Word, Class)> {
    let metric = &info.key.metric;
    Some((consent::word(metric)?, consent::dictionary().metrics.get(metric)?.class))
}

/// The newest time as exactly as it may be known; asked often enough, more would tell the time
/// of each reading.
fn shared_newest(newest_us: i64, offers: &[Offer], now_us: i64) -> Option<i64> {
    let step = |offer: &Offer| match &offer.form {
        Offered::Raw => 1,
        Offered::Bucketed { floor_us, .. } => *floor_us,
    };
    let finest = offers.iter().filter(|it| lies_in(newest_us, it, now_us)).map(step).min()?;
    Some(newest_us.div_euclid(finest) * finest)
}

fn lies_in(time_us: i64, offer: &Offer, now_us: i64) -> bool {
    let old_enough = offer.minimum_age_us == 0 || time_us < now_us.saturating_sub(offer.minimum_age_us);
    let in_run = |runs: &Vec<(i64, i64)>| runs.iter().any(|(from, to)| (*from..*to).contains(&time_us));
    // Whether the newest of times before the mark came after it is not known here.
    let came_in_time = offer.stored_by.is_none_or(|mark| mark.at_us <= time_us);
    old_enough
        && came_in_time
        && offer.runs.as_ref().is_none_or(in_run)
        && offer.event.from_us.is_none_or(|from| from <= time_us)
        && offer.event.to_us.is_none_or(|to| time_us < to)
}
