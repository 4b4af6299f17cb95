//! What a firm may read of a series now: every consent that covers some of it, and how far. It
//! rests on the same bounds as the decision, so that a list made of it and a read never
//! disagree.

use std::collections::BTreeSet;

use sandan_proto::id::{FirmId, SeriesKey};

use super::weigh::{self, Bounds};
use super::{Why, align};
use crate::consent::record::Mark;
use crate::consent::snapshot::{Grant, Snapshot};
use crate::consent::terms::{Agreed, EventWindow, Function, Identity, OnwardUse, Purpose, SharedForm, Terms};
use crate::consent::{Form, Grid};
use crate::id::ConsentId;

/// The ends of all time, µs since 1970, far enough from those of the type to reckon with.
const ALWAYS: (i64, i64) = (i64::MIN / 4, i64::MAX / 4);

/// What one consent lets a firm read of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Which.
    pub consent: ConsentId,
    /// By which name the series is called under it.
    pub identity: Identity,
    /// How coarse, at the finest.
    pub form: Offered,
    /// Which observation times.
    pub event: EventWindow,
    /// Those of the runs that are shared and have ended, in order; none where it is not bound to runs.
    pub runs: Option<Vec<(i64, i64)>>,
    /// How old it must be, µs.
    pub minimum_age_us: i64,
    /// What arrived after this moment, for times before it, is not shared; none where it is.
    pub stored_by: Option<Mark>,
    /// Until when it may be read, µs since 1970.
    pub until_us: i64,
    /// What for: each request names one; empty where none needs to.
    pub purposes: BTreeSet<Purpose>,
    /// What may be done with it; none where the consent does not say.
    pub onward_use: Option<OnwardUse>,
    /// Rows a day of UTC, and how many are left today; none: no bound.
    pub quota: Option<(u64, u64)>,
}

/// How coarse a series is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered {
    /// Every reading, and buckets of whatever width and statistics.
    Raw,
    /// Buckets of whole multiples of a width.
    Bucketed {
        /// µs.
        floor_us: i64,
        /// The statistics that may be asked for.
        functions: BTreeSet<Function>,
    },
}

/// What a firm may read of a series at `now_us`, by consent. Nothing of its own.
pub fn offers(snapshot: &Snapshot, asker: &FirmId, series: &SeriesKey, now_us: i64) -> Vec<Offer> {
    let now_us = now_us.max(snapshot.newest_us);
    let closed = &snapshot.rules().closed;
    let strangers = snapshot.grantor() != &series.firm || closed.contains(asker) || closed.contains(&series.firm);
    if strangers || *asker == series.firm {
        return Vec::new();
    }
    let named = snapshot.naming(asker, series);
    named
        .standing(now_us)
        .filter_map(|(_, grant, terms)| offer(snapshot, grant, terms, asker, series, now_us))
        .collect()
}

fn offer(
    snapshot: &Snapshot,
    grant: &Grant,
    terms: &Terms,
    asker: &FirmId,
    series: &SeriesKey,
    now_us: i64,
) -> Option<Offer> {
    let rules = snapshot.rules();
    let mut whys: Vec<Why> = Vec::new();
    weigh::stands(grant, terms, now_us, &mut whys);
    let relation = weigh::relation(rules, grant, terms);
    let class = weigh::meaning(rules, terms, &series.metric).ok()?;
    if !whys.is_empty() || weigh::is_prohibited(rules, asker, series, class, relation) {
        return None;
    }
    let bounds = weigh::bounds(rules, terms, class.filter(|_| weigh::competes(relation)));
    let form = finest_form(terms, &bounds)?;
    let agreed = terms.agreed.as_deref();
    if agreed.is_some_and(|agreed| agreed.purposes.is_empty()) {
        return None;
    }
    let quota = match agreed.and_then(|agreed| agreed.quota_rows_per_day) {
        Some(rows) => {
            let used = snapshot.used.get(&grant.id).copied().unwrap_or(0);
            Some((rows, rows.checked_sub(used).filter(|left| *left > 0)?))
        }
        None => None,
    };
    let stored_by = match agreed {
        Some(Agreed { late_data: false, .. }) => Some(grant.mark?),
        _ => None,
    };
    let (from_us, to_us) = (terms.event.from_us.unwrap_or(ALWAYS.0), terms.event.to_us.unwrap_or(ALWAYS.1));
    let runs = agreed.and_then(|agreed| agreed.runs_of.as_ref()).map(|customer| {
        let mut runs = weigh::ended_runs(rules, &series.asset, customer, (from_us, to_us), now_us);
        runs.sort_unstable();
        runs
    });
    let minimum_age_us = bounds.minimum_age_us.max(0);
    let is_bounded = minimum_age_us > 0 || bounds.are_coarse();
    let before_us = if is_bounded { now_us.saturating_sub(minimum_age_us) } else { ALWAYS.1 };
    let finest = match &form {
        Offered::Raw => Form::Raw,
        Offered::Bucketed { floor_us, .. } => Form::Bucketed { grid: Grid::Fixed { width_us: *floor_us } },
    };
    let cut_us = stored_by.map_or(ALWAYS.0, |mark| mark.at_us);
    let is_there = |(from_us, to_us): (i64, i64)| {
        let to_us = to_us.min(before_us);
        align(&finest, from_us, to_us.min(cut_us)).or_else(|| align(&finest, from_us.max(cut_us), to_us)).is_some()
    };
    let any = match &runs {
        Some(runs) => runs.iter().copied().any(is_there),
        None => is_there((from_us, to_us)),
    };
    any.then(|| Offer {
        consent: grant.id,
        identity: terms.identity(),
        form,
        event: terms.event,
        runs,
        minimum_age_us,
        stored_by,
        until_us: terms.access.until_us,
        purposes: agreed.map(|agreed| agreed.purposes.clone()).unwrap_or_default(),
        onward_use: agreed.map(|agreed| agreed.onward_use),
        quota,
    })
}

/// The finest form that lies within all bounds; none where there is none.
fn finest_form(terms: &Terms, bounds: &Bounds<'_>) -> Option<Offered> {
    if terms.form == SharedForm::Benchmark || bounds.floors().any(|floor_us| floor_us <= 0) {
        return None;
    }
    let floor_us = bounds.floors().try_fold(1, common_multiple)?;
    let all: BTreeSet<Function> = Function::ALL.into();
    let within = |left: BTreeSet<Function>, shared: &BTreeSet<Function>| left.intersection(shared).copied().collect();
    let functions = bounds.functions().fold(all, within);
    match (!bounds.are_coarse(), functions.is_empty()) {
        (true, _) => Some(Offered::Raw),
        (false, true) => None,
        (false, false) => Some(Offered::Bucketed { floor_us, functions }),
    }
}

/// The least common multiple; none beyond all time.
fn common_multiple(one: i64, other: i64) -> Option<i64> {
    let (mut a, mut b) = (one, other);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (one / a).checked_mul(other).filter(|it| *it < ALWAYS.1)
}
