//! Permits that overlap, cut into stretches of time in which the same ones hold.
//!
//! Pure. It promises that each reading is handed on once, under one of the permits that cover
//! it: where one without a quota does, under that. A bucket is made of all readings that any
//! permit of its stretch covers, and never of more.

use std::sync::Arc;

use crate::consent::{Form, Permit};
use crate::id::ConsentId;

/// A range of observation times and the permits that hold all over it.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    /// First observation time, µs since 1970.
    pub(super) from_us: i64,
    /// Last observation time, exclusive.
    pub(super) to_us: i64,
    /// In the order in which they are used.
    permits: Vec<Arc<Permit>>,
    /// Of them the one that covers all that any covers, up to the end of the stretch.
    reading: Permit,
}

/// What was granted of a stretch: its range, and the commit up to which; none: all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    pub(super) through: Option<u64>,
}

/// What it takes to hand a row on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    Nothing,
    /// One of the rows that a consent allows in a day.
    OfQuota(ConsentId),
}

/// The commit up to which a permit goes.
fn through(permit: &Permit) -> u64 {
    permit.through_commit().unwrap_or(u64::MAX)
}

impl Stretch {
    /// Cuts permits into disjoint stretches, in order of time. `permits` begin in that order.
    pub(super) fn cut(permits: Vec<Permit>) -> Vec<Stretch> {
        let permits: Vec<Arc<Permit>> = permits.into_iter().map(Arc::new).collect();
        let mut edges: Vec<i64> = permits.iter().flat_map(|it| [it.from_us(), it.to_us()]).collect();
        edges.sort_unstable();
        edges.dedup();
        let mut stretches = Vec::with_capacity(permits.len());
        let mut coming = permits.into_iter().peekable();
        let mut held: Vec<Arc<Permit>> = Vec::new();
        for edge in edges.windows(2) {
            let &[from_us, to_us] = edge else { continue };
            while let Some(permit) = coming.next_if(|permit| permit.from_us() <= from_us) {
                held.push(permit);
            }
            held.retain(|permit| permit.to_us() > from_us);
            stretches.extend(Self::over(from_us, to_us, &held));
        }
        stretches
    }

    /// None where nothing holds.
    fn over(from_us: i64, to_us: i64, held: &[Arc<Permit>]) -> Option<Self> {
        let widest = held.iter().map(|permit| through(permit)).max()?;
        let mut permits: Vec<_> = held.to_vec();
        if permits.iter().any(|permit| *permit.form() != Form::Raw) {
            // A bucket is one row: one of fewer readings is another one.
            permits.retain(|permit| through(permit) == widest);
        }
        permits.sort_by_key(|permit| permit.quota().is_some());
        let reading = permits.iter().find(|permit| through(permit) == widest)?.ending(to_us);
        Some(Self { from_us, to_us, permits, reading })
    }

    /// What the store reads all of it under.
    pub(super) fn reading(&self) -> &Permit {
        &self.reading
    }

    /// The part of it in a range; none where there is none.
    fn within(&self, from_us: i64, to_us: i64) -> Option<Self> {
        let (from_us, to_us) = (self.from_us.max(from_us), self.to_us.min(to_us));
        (from_us < to_us).then(|| Self { from_us, to_us, reading: self.reading.ending(to_us), ..self.clone() })
    }

    /// What was granted of it.
    pub(super) fn granted(&self) -> Granted {
        Granted { from_us: self.from_us, to_us: self.to_us, through: self.reading.through_commit() }
    }

    /// Whether every row that is read of it is handed on for nothing.
    pub(super) fn is_free(&self) -> bool {
        let widest = through(&self.reading);
        self.permits.iter().any(|permit| permit.quota().is_none() && through(permit) >= widest)
    }

    /// What it takes to hand a row on, where of a consent's quota there is any `left`. None where
    /// no permit covers the row, or every quota is used up.
    ///
    /// `commit` is that of a reading; none for a bucket.
    pub(super) fn cost(&self, commit: Option<i64>, left: impl Fn(ConsentId) -> bool) -> Option<Cost> {
        let covers = |permit: &&Arc<Permit>| {
            // Commits are counted from 1 on.
            commit.is_none_or(|commit| u64::try_from(commit).is_ok_and(|commit| commit <= through(permit)))
        };
        let costs = self.permits.iter().filter(covers).map(|permit| match permit.quota() {
            None => Cost::Nothing,
            Some((consent, _)) => Cost::OfQuota(consent),
        });
        costs.into_iter().find(|cost| match cost {
            Cost::Nothing => true,
            Cost::OfQuota(consent) => left(*consent),
        })
    }
}

/// Whether stretches cover what was granted; both in order of time and disjoint.
pub(super) fn cover(stretches: &[Stretch], granted: &[Granted]) -> bool {
    let mut stretches = stretches.iter().peekable();
    granted.iter().all(|it| {
        let mut at_us = it.from_us;
        while at_us < it.to_us {
            while stretches.next_if(|stretch| stretch.to_us <= at_us).is_some() {}
            let Some(stretch) = stretches.peek().filter(|stretch| stretch.from_us <= at_us) else { return false };
            if through(&stretch.reading) < it.through.unwrap_or(u64::MAX) {
                return false;
            }
            at_us = stretch.to_us;
        }
        true
    })
}

/// The parts of stretches that lie in what was granted; both in order of time and disjoint.
pub(super) fn clip(stretches: Vec<Stretch>, granted: &[Granted]) -> Vec<Stretch> {
    let mut clipped = Vec::with_capacity(stretches.len());
    let mut first = 0;
    for stretch in stretches {
        while granted.get(first).is_some_and(|it| it.to_us <= stretch.from_us) {
            first += 1;
        }
        let inside = granted[first..].iter().take_while(|it| it.from_us < stretch.to_us);
        clipped.extend(inside.filter_map(|it| stretch.within(it.from_us, it.to_us)));
    }
    clipped
}

#[cfg(test)]
mod tests;
