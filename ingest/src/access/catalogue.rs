//! What a member may know to exist: the firm's own series, and those that a consent
//! in force names for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use sandan_proto::id::{FirmId, SeriesKey};

use super::{Access, AccessError, ReadSlot, SeriesInfo};
use crate::auth::Member;
use crate::consent::{Consent, Identity, SharedForm, Status, StoredTerms, Terms};
use crate::id::ConsentId;

/// One series in the list.
#[derive(Debug, Clone)]
pub struct Visible {
    /// What it is. Of another firm's series the units of old are not told, and the newest
    /// time is shown only where it
    /// lies in the shared times, and no finer than the finest bucket that is shared.
    pub info: SeriesInfo,
    /// Whether the asker's firm owns it.
    pub own: bool,
    /// The consents in force that name it.
    pub consents: Vec<Shared>,
}

/// A consent in force.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Which.
    pub id: ConsentId,
    /// What it says.
    pub terms: Terms,
}

impl Access {
    /// Every series that the member may know of, by firm, asset and metric.
    pub async fn series(self: &Arc<Self>, asker: &Member, only: Option<&FirmId>) -> Result<Vec<Visible>, AccessError> {
        let slot = ReadSlot::take(self, &asker.firm)?;
        let _turn = slot.turn().await;
        let now_us = self.now_us();
        let wanted = |firm: &FirmId| only.is_none_or(|only| only == firm);
        let mut visible = BTreeMap::new();
        if wanted(&asker.firm) {
            for info in self.readings.series(&asker.firm).await? {
                visible.insert(info.key.clone(), Visible { info, own: true, consents: Vec::new() });
            }
        }
        let mut grantors: BTreeMap<FirmId, Vec<Shared>> = BTreeMap::new();
        for consent in self.control.consents().await? {
            let grantor = consent.grantor.clone();
            if consent.grantee == asker.firm
                && wanted(&grantor)
                && let Some(shared) = in_force(consent, now_us)
            {
                grantors.entry(grantor).or_default().push(shared);
            }
        }
        for (grantor, shared) in grantors {
            for mut info in self.readings.series(&grantor).await? {
                let consents: Vec<_> = shared.iter().filter(|it| it.terms.names(&info.key)).cloned().collect();
                if consents.is_empty() {
                    continue;
                }
                info.other_units.clear();
                info.newest_us = info.newest_us.and_then(|newest| shared_newest(newest, &consents, now_us));
                let key: SeriesKey = info.key.clone();
                visible.insert(key, Visible { info, own: false, consents });
            }
        }
        Ok(visible.into_values().collect())
    }
}

fn in_force(consent: Consent, now_us: i64) -> Option<Shared> {
    let StoredTerms::Known(terms) = consent.terms else { return None };
    let open = terms.access.not_before_us <= now_us && now_us < terms.access.until_us;
    // What goes by a pseudonym is not listed by its name.
    let named = terms.identity() == Identity::Named;
    (open && named && consent.status == Status::Active).then_some(Shared { id: consent.id, terms })
}

/// The newest time as exactly as the consents let it be known; asked often enough, more
/// would tell the time of each reading.
fn shared_newest(newest_us: i64, consents: &[Shared], now_us: i64) -> Option<i64> {
    let step = |terms: &Terms| match terms.form {
        SharedForm::Raw => Some(1),
        SharedForm::Benchmark => None,
        SharedForm::Bucketed { floor_us, .. } => (floor_us > 0).then_some(floor_us),
    };
    let finest =
        consents.iter().filter(|it| lies_in(newest_us, &it.terms, now_us)).filter_map(|it| step(&it.terms)).min()?;
    Some(newest_us.div_euclid(finest) * finest)
}

fn lies_in(time_us: i64, terms: &Terms, now_us: i64) -> bool {
    let age_us = terms.minimum_age_us();
    let old_enough = age_us == 0 || time_us < now_us.saturating_sub(age_us);
    // Which times are of a customer's runs is not known here.
    let any_run = terms.agreed.as_ref().is_none_or(|agreed| agreed.runs_of.is_none());
    old_enough
        && any_run
        && terms.event.from_us.is_none_or(|from| from <= time_us)
        && terms.event.to_us.is_none_or(|to| time_us < to)
}
