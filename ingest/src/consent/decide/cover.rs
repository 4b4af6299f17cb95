//! What consents cover together.
//!
//! What is served of a time depends on the duties that come with it: readings up to a commit
//! only, or a bounded number of rows. What is covered with lesser duties is not served with
//! greater ones, so that a further consent never reduces what was readable.

use crate::id::ConsentId;

/// What comes with a cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Duty {
    /// Readings up to this commit of the firm; none: all.
    pub(super) through_commit: Option<u64>,
    /// The consent whose quota it uses up, and the rows that are left of it today.
    pub(super) quota: Option<(ConsentId, u64)>,
}

impl Duty {
    pub(super) const NONE: Duty = Duty { through_commit: None, quota: None };

    /// Whether whatever is read under the other can be read under this one.
    fn suffices_for(&self, other: &Duty) -> bool {
        let commits = match (self.through_commit, other.through_commit) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(this), Some(other)) => this >= other,
        };
        commits && (self.quota.is_none() || self.quota == other.quota)
    }
}

/// A range of observation times, half-open, µs since 1970, and what comes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cover {
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    pub(super) duty: Duty,
}

/// Ranges of the same duties united, and none left where lesser duties cover the same.
/// In order of their beginnings.
pub(super) fn unite(mut covers: Vec<Cover>) -> Vec<Cover> {
    let mut duties: Vec<Duty> = Vec::new();
    for cover in &covers {
        if !duties.contains(&cover.duty) {
            duties.push(cover.duty);
        }
    }
    covers.sort_unstable_by_key(|cover| (cover.from_us, cover.to_us));
    let of = |duty: &Duty| merge(covers.iter().filter(|cover| cover.duty == *duty).map(|it| (it.from_us, it.to_us)));
    let by_duty: Vec<_> = duties.iter().map(|duty| (*duty, of(duty))).collect();
    let mut left = Vec::with_capacity(covers.len());
    for (duty, ranges) in &by_duty {
        let mut ranges = ranges.clone();
        for (lesser, served) in by_duty.iter().filter(|(it, _)| it != duty && it.suffices_for(duty)) {
            debug_assert!(!duty.suffices_for(lesser), "duties are ordered");
            ranges = without(&ranges, served);
        }
        left.extend(ranges.into_iter().map(|(from_us, to_us)| Cover { from_us, to_us, duty: *duty }));
    }
    left.sort_by_key(|cover| cover.from_us);
    left
}

/// Ascending ranges as disjoint ones.
fn merge(ranges: impl Iterator<Item = (i64, i64)>) -> Vec<(i64, i64)> {
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from, to) in ranges {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// What of ascending disjoint ranges lies outside of others.
fn without(ranges: &[(i64, i64)], others: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut left = Vec::new();
    for &(from, to) in ranges {
        let mut at = from;
        for &(begin, end) in others.iter().filter(|(begin, end)| *begin < to && from < *end) {
            if at < begin {
                left.push((at, begin));
            }
            at = at.max(end);
        }
        if at < to {
            left.push((at, to));
        }
    }
    left
}
