//! One consent against one request: what it covers, or everything in which it falls short.

use std::collections::BTreeSet;

use sandan_proto::id::{AssetId, FirmId, MetricId, SeriesKey};

use super::cover::{Cover, Duty};
use super::{Request, Why, align};
use crate::consent::record::{Grantee, Status};
use crate::consent::rules::{Class, Prohibition, Rules};
use crate::consent::snapshot::{Grant, Snapshot};
use crate::consent::terms::{Function, Relation, SharedForm, Terms};
use crate::consent::{Form, GroupKind};

/// What the consent and the layers beside it allow at most; each of them alone is a bound.
pub(super) struct Bounds<'a> {
    /// Of the consent, of each layer, and of the alliance for what is sensitive.
    floors: [Option<i64>; 4],
    /// Of the consent, and of the alliance for what is sensitive.
    functions: [Option<&'a BTreeSet<Function>>; 2],
    /// µs.
    pub(super) minimum_age_us: i64,
    /// The metric's class, where it bounds too.
    sensitive: Option<Class>,
}

/// What it covers; empty where it falls short, and in what is then in `whys`, which comes empty.
pub(super) fn weigh(
    snapshot: &Snapshot,
    grant: &Grant,
    terms: &Terms,
    request: &Request,
    now_us: i64,
    whys: &mut Vec<Why>,
) -> Vec<Cover> {
    stands(grant, terms, now_us, whys);
    purposes(terms, request, whys);
    let relation = relation(snapshot.rules(), grant, terms);
    let class = match meaning(snapshot.rules(), terms, &request.series.metric) {
        Ok(class) => class,
        Err(why) => {
            whys.push(why);
            None
        }
    };
    if is_prohibited(snapshot.rules(), &request.asker, &request.series, class, relation) {
        whys.push(Why::Prohibited);
    }
    let bounds = bounds(snapshot.rules(), terms, class.filter(|_| competes(relation)));
    form(terms, &bounds, request, whys);
    let ranges = match times(snapshot.rules(), terms, &bounds, request, now_us) {
        Ok(ranges) => ranges,
        Err(why) => {
            whys.push(why);
            Vec::new()
        }
    };
    let covers = duties(snapshot, grant, terms, request, &ranges, whys);
    if whys.is_empty() { covers } else { Vec::new() }
}

pub(super) fn stands(grant: &Grant, terms: &Terms, now_us: i64, whys: &mut Vec<Why>) {
    match grant.status {
        Status::Active => {}
        Status::Suspended { since_us } => whys.push(Why::Suspended { since_us }),
        Status::Revoked { at_us } => whys.push(Why::Revoked { at_us }),
    }
    let access = terms.access;
    if now_us < access.not_before_us {
        whys.push(Why::NotYet { not_before_us: access.not_before_us });
    }
    if now_us >= access.until_us {
        whys.push(Why::Expired { until_us: access.until_us });
    }
}

fn purposes(terms: &Terms, request: &Request, whys: &mut Vec<Why>) {
    let Some(agreed) = &terms.agreed else { return };
    match request.manner.purpose {
        None => whys.push(Why::NoPurpose { agreed: agreed.purposes.clone() }),
        Some(asked) if !agreed.purposes.contains(&asked) => {
            whys.push(Why::Purpose { asked, agreed: agreed.purposes.clone() });
        }
        Some(_) => {}
    }
}

/// What the grantee is to the grantor; none where nobody said so. Firms of a group of one
/// industry compete, whatever they say.
pub(super) fn relation(rules: &Rules, grant: &Grant, terms: &Terms) -> Option<Relation> {
    if let Grantee::Group { group, .. } = &grant.grantee
        && rules.groups.get(group).is_none_or(|it| it.kind == GroupKind::SameIndustry)
    {
        return Some(Relation::Competitor);
    }
    terms.agreed.as_ref().map(|agreed| agreed.relation)
}

/// What is public reaches competitors too; so may what goes to nobody knows whom.
pub(super) fn competes(relation: Option<Relation>) -> bool {
    !matches!(relation, Some(Relation::Customer | Relation::Research))
}

/// The class of the metric; none where there is no dictionary.
pub(super) fn meaning(rules: &Rules, terms: &Terms, metric: &MetricId) -> Result<Option<Class>, Why> {
    let Some(dictionary) = &rules.dictionary else { return Ok(None) };
    // The short form names no version: it was written under the first.
    let agreed = terms.agreed.as_ref().map_or(1, |agreed| agreed.dictionary);
    dictionary.meant(metric, agreed).map(|it| Some(it.class)).ok_or(Why::Meaning)
}

/// Whether the alliance prohibits that a firm reads a series.
pub(super) fn is_prohibited(
    rules: &Rules,
    asker: &FirmId,
    series: &SeriesKey,
    class: Option<Class>,
    relation: Option<Relation>,
) -> bool {
    let prohibits = |it: &Prohibition| {
        it.grantor.as_ref().is_none_or(|firm| *firm == series.firm)
            && it.grantee.as_ref().is_none_or(|firm| firm == asker)
            && it.metric.as_ref().is_none_or(|metric| *metric == series.metric)
            // What is not known is taken for what is prohibited.
            && it.class.is_none_or(|of| class.is_none_or(|class| class == of))
            && it.relation.is_none_or(|of| relation.is_none_or(|relation| relation == of))
    };
    rules.alliance.prohibitions.iter().any(prohibits)
}

/// The parts in [from, to) of a customer's runs on a machine that have ended. An end that was put
/// down before its time has not come yet.
pub(super) fn ended_runs(
    rules: &Rules,
    asset: &AssetId,
    customer: &str,
    (from_us, to_us): (i64, i64),
    now_us: i64,
) -> Vec<(i64, i64)> {
    let mine = rules.runs.iter().filter(|run| run.asset == *asset && run.customer == customer);
    let ended =
        mine.filter_map(|run| Some((run.from_us.max(from_us), run.to_us.filter(|to| *to <= now_us)?.min(to_us))));
    ended.filter(|(from, to)| from < to).collect()
}

pub(super) fn bounds<'a>(rules: &'a Rules, terms: &'a Terms, class: Option<Class>) -> Bounds<'a> {
    let layers = [rules.alliance.layer, rules.house];
    let age_us = layers.iter().map(|layer| layer.minimum_age_us).fold(terms.minimum_age_us(), i64::max);
    let mut bounds = Bounds {
        // The consent is first, so that it is named where several fall short.
        floors: [None, layers[0].floor_us, layers[1].floor_us, None],
        functions: [None, None],
        minimum_age_us: age_us,
        sensitive: class.filter(|class| class.is_sensitive()),
    };
    if let SharedForm::Bucketed { floor_us, functions } = &terms.form {
        (bounds.floors[0], bounds.functions[0]) = (Some(*floor_us), Some(functions));
    }
    if bounds.sensitive.is_some() {
        let sensitive = &rules.alliance.sensitive;
        (bounds.floors[3], bounds.functions[1]) = (Some(sensitive.floor_us), Some(&sensitive.functions));
        bounds.minimum_age_us = bounds.minimum_age_us.max(sensitive.minimum_age_us);
    }
    bounds
}

impl<'a> Bounds<'a> {
    /// Buckets are whole multiples of each, µs.
    pub(super) fn floors(&self) -> impl Iterator<Item = i64> {
        self.floors.into_iter().flatten()
    }

    /// Whether there are only buckets.
    pub(super) fn are_coarse(&self) -> bool {
        self.floors().next().is_some()
    }

    /// Statistics are in each.
    pub(super) fn functions(&self) -> impl Iterator<Item = &'a BTreeSet<Function>> {
        self.functions.into_iter().flatten()
    }
}

fn form(terms: &Terms, bounds: &Bounds<'_>, request: &Request, whys: &mut Vec<Why>) {
    let before = whys.len();
    if terms.form == SharedForm::Benchmark {
        whys.push(Why::BenchmarkOnly);
        return;
    }
    match &request.form {
        Form::Raw => whys.extend(bounds.floors().next().map(|floor_us| Why::RawNotShared { floor_us })),
        Form::Bucketed { grid } => {
            // A floor of 0 or less is a record that nobody could have granted: it covers nothing.
            // Days have to begin on multiples of the floor too: a day of UTC less one of Seoul
            // would be a cell of nine hours.
            let coarser = bounds.floors().find(|unit| !grid.lies_on(*unit, request.from_us, request.to_us));
            whys.extend(coarser.map(|floor_us| Why::Resolution { floor_us }));
            for shared in bounds.functions() {
                let missing: BTreeSet<_> = request.functions.difference(shared).copied().collect();
                if !missing.is_empty() {
                    whys.push(Why::Functions { missing, shared: shared.clone() });
                }
            }
        }
    }
    if let Some(class) = bounds.sensitive.filter(|_| whys.len() > before) {
        whys.push(Why::Sensitive { class });
    }
}

/// The ranges of observation times that are covered, at least one.
fn times(
    rules: &Rules,
    terms: &Terms,
    bounds: &Bounds<'_>,
    request: &Request,
    now_us: i64,
) -> Result<Vec<(i64, i64)>, Why> {
    let from_us = terms.event.from_us.map_or(request.from_us, |from| from.max(request.from_us));
    let to_us = terms.event.to_us.map_or(request.to_us, |to| to.min(request.to_us));
    if align(&request.form, from_us, to_us).is_none() {
        return Err(Why::Window { from_us: terms.event.from_us, to_us: terms.event.to_us });
    }
    let mut ranges = vec![(from_us, to_us)];
    if let Some(customer) = terms.agreed.as_ref().and_then(|agreed| agreed.runs_of.as_ref()) {
        ranges = ended_runs(rules, &request.series.asset, customer, (from_us, to_us), now_us);
        ranges.retain(|(from, to)| align(&request.form, *from, *to).is_some());
        if ranges.is_empty() {
            return Err(Why::NoRun);
        }
    }
    let age_us = bounds.minimum_age_us;
    if age_us == 0 && !bounds.are_coarse() {
        return Ok(aligned(request, &ranges, i64::MAX));
    }
    // Whoever asks again and again while a bucket fills sees each reading in the difference.
    let old_us = now_us.saturating_sub(age_us.max(0));
    let old = aligned(request, &ranges, old_us);
    match old.is_empty() {
        false => Ok(old),
        true if age_us > 0 => Err(Why::TooYoung { minimum_age_us: age_us }),
        true => Err(Why::Unfinished),
    }
}

fn aligned(request: &Request, ranges: &[(i64, i64)], before_us: i64) -> Vec<(i64, i64)> {
    ranges.iter().filter_map(|(from, to)| align(&request.form, *from, (*to).min(before_us))).collect()
}

/// The ranges with what the reader has to keep.
fn duties(
    snapshot: &Snapshot,
    grant: &Grant,
    terms: &Terms,
    request: &Request,
    ranges: &[(i64, i64)],
    whys: &mut Vec<Why>,
) -> Vec<Cover> {
    let Some(agreed) = &terms.agreed else {
        return ranges.iter().map(|&(from_us, to_us)| Cover { from_us, to_us, duty: Duty::NONE }).collect();
    };
    let mut duty = Duty::NONE;
    if let Some(rows) = agreed.quota_rows_per_day {
        let used = snapshot.used.get(&grant.id).copied().unwrap_or(0);
        if !request.manner.holds.quotas {
            whys.push(Why::NotKept { duty: "a quota" });
        } else if used >= rows {
            whys.push(Why::QuotaUsedUp);
        }
        duty.quota = Some((grant.id, rows.saturating_sub(used)));
    }
    if agreed.late_data {
        return ranges.iter().map(|&(from_us, to_us)| Cover { from_us, to_us, duty }).collect();
    }
    let Some(mark) = grant.mark else {
        whys.push(Why::NoMark);
        return Vec::new();
    };
    // Before the mark only what was stored by then; a bucket that straddles it would hold both.
    let early = Duty { through_commit: Some(mark.commit), ..duty };
    let mut covers = Vec::new();
    let mut not_kept = false;
    for &(from_us, to_us) in ranges {
        if let Some((from_us, to_us)) = align(&request.form, from_us, to_us.min(mark.at_us)) {
            not_kept = !request.manner.holds.commits;
            covers.extend((!not_kept).then_some(Cover { from_us, to_us, duty: early }));
        }
        if let Some((from_us, to_us)) = align(&request.form, from_us.max(mark.at_us), to_us) {
            covers.push(Cover { from_us, to_us, duty });
        }
    }
    if covers.is_empty() && !ranges.is_empty() {
        let straddles = Why::Window { from_us: Some(mark.at_us), to_us: None };
        whys.push(if not_kept { Why::NotKept { duty: "what was stored when it was approved" } } else { straddles });
    }
    covers
}
