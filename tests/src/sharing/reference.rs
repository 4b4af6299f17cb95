//! Who may see what, said as slowly and as plainly as it can be: cell by cell, consent by consent.
//!
//! Nothing of the product's own reasoning is in here. What goes on at the same time has no one
//! order, so a consent may *possibly* or *surely* have been in force during a stretch of time; a cell
//! that was served needs the first, and one that was withheld may have none of the second.

use sandan_ingest::consent::{Function, Purpose};

/// One consent, and what became of it. Firms, machines and metrics are numbers; times are µs.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Deal {
    pub id: String,
    pub grantee: usize,
    pub assets: Vec<usize>,
    pub metrics: Vec<usize>,
    /// Smallest bucket and its statistics; none for every reading.
    pub floor: Option<(i64, Vec<Function>)>,
    pub event: (Option<i64>, Option<i64>),
    pub access: (i64, i64),
    /// What for, and how old at least; none in the short form.
    pub agreed: Option<(Vec<Purpose>, i64)>,
    /// When it was begun to be granted, and when that had been done.
    pub granted: (i64, Option<i64>),
    /// The same of its end.
    pub revoked: Option<(i64, Option<i64>)>,
}

/// What somebody asks.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Question {
    pub asker: usize,
    pub owner: usize,
    pub asset: usize,
    pub metric: usize,
    /// None for every reading.
    pub bucket: Option<(i64, Vec<Function>)>,
    pub from_us: i64,
    pub to_us: i64,
    pub purpose: Option<Purpose>,
}

/// A reading's time twice, or a bucket's begin and end.
pub type Cell = (i64, i64);

/// A stretch of time in which something happened.
pub type Stretch = (i64, i64);

impl Question {
    /// Every cell that the question means, of a series with a reading each `step_us` from `begin_us` to `end_us`.
    pub fn cells(&self, begin_us: i64, end_us: i64, step_us: i64) -> Vec<Cell> {
        let mut cells = Vec::new();
        let step = self.bucket.as_ref().map_or(step_us, |(width, _)| *width);
        let mut at = begin_us - begin_us.rem_euclid(step);
        while at < end_us {
            let end = if self.bucket.is_some() { at + step } else { at };
            let is_within =
                self.from_us <= at && (if self.bucket.is_some() { end <= self.to_us } else { at < self.to_us });
            if is_within && at >= begin_us {
                cells.push((at, end));
            }
            at += step;
        }
        cells
    }
}

impl Deal {
    /// Whether it names the series for the asker, in force or not.
    pub fn names(&self, it: &Question) -> bool {
        self.grantee == it.asker && self.assets.contains(&it.asset) && self.metrics.contains(&it.metric)
    }

    /// Whether it can have been known during the stretch.
    pub fn was_possibly_there(&self, (_, end): Stretch) -> bool {
        self.granted.0 <= end
    }

    /// Whether it was there all the time, in force or not.
    pub fn was_surely_there(&self, (begin, _): Stretch) -> bool {
        self.granted.1.is_some_and(|granted| granted < begin)
    }

    /// Whether it was in force at a moment of the stretch.
    pub fn was_possibly_in_force(&self, (begin, end): Stretch) -> bool {
        let gone = self.revoked.and_then(|(_, done)| done).is_some_and(|done| done < begin);
        self.was_possibly_there((begin, end)) && !gone && self.access.0 <= end && begin < self.access.1
    }

    /// Whether it was in force in all of the stretch.
    pub fn was_surely_in_force(&self, (begin, end): Stretch) -> bool {
        let stays = self.revoked.is_none_or(|(begun, _)| end < begun);
        self.was_surely_there((begin, end)) && stays && self.access.0 <= begin && end < self.access.1
    }

    /// Whether its terms let the cell be seen at a time, if it is in force.
    pub fn lets_see(&self, it: &Question, cell: Cell, now_us: i64) -> bool {
        if !self.names(it) {
            return false;
        }
        if let Some((purposes, _)) = &self.agreed
            && !it.purpose.is_some_and(|purpose| purposes.contains(&purpose))
        {
            return false;
        }
        let is_coarse = match (&self.floor, &it.bucket) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((floor, shared)), Some((width, functions))) => {
                width % floor == 0 && functions.iter().all(|function| shared.contains(function))
            }
        };
        if !is_coarse {
            return false;
        }
        let (begin, end) = cell;
        if self.event.0.is_some_and(|from| begin < from) {
            return false;
        }
        let is_bucket = it.bucket.is_some();
        if self.event.1.is_some_and(|to| if is_bucket { end > to } else { begin >= to }) {
            return false;
        }
        let age_us = self.agreed.as_ref().map_or(0, |(_, age)| *age);
        if age_us == 0 && self.floor.is_none() {
            return true;
        }
        let old = now_us - age_us;
        if is_bucket { end <= old } else { begin < old }
    }
}

/// Whether the cell may have been served in a stretch of time.
pub fn may_be_served(deals: &[Deal], it: &Question, cell: Cell, when: Stretch) -> bool {
    it.asker == it.owner || deals.iter().any(|deal| deal.was_possibly_in_force(when) && deal.lets_see(it, cell, when.1))
}

/// Whether the cell has to be served by a read that took all of the stretch.
pub fn must_be_served(deals: &[Deal], it: &Question, cell: Cell, when: Stretch) -> bool {
    it.asker == it.owner || deals.iter().any(|deal| deal.was_surely_in_force(when) && deal.lets_see(it, cell, when.0))
}

/// Whether something can have ended a read in its middle: one consent that may have been its ground went.
pub fn may_be_ended(deals: &[Deal], it: &Question, when: Stretch) -> bool {
    deals.iter().any(|deal| deal.names(it) && deal.was_possibly_in_force(when) && !deal.was_surely_in_force(when))
}

/// How long after the last consent that covered it had gone a cell was served, µs; none while one was in force.
pub fn lateness_us(deals: &[Deal], it: &Question, cell: Cell, when: Stretch) -> Option<i64> {
    if may_be_served(deals, it, cell, when) {
        return None;
    }
    let covered = deals.iter().filter(|deal| deal.lets_see(it, cell, when.1));
    let gone = covered.filter_map(|deal| deal.revoked.and_then(|(_, done)| done).map(|done| done.min(deal.access.1)));
    Some(gone.max().map_or(i64::MAX, |gone| when.0 - gone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deal() -> Deal {
        Deal {
            id: "c".into(),
            grantee: 1,
            assets: vec![0],
            metrics: vec![0],
            floor: None,
            event: (Some(100), Some(200)),
            access: (1_000, 9_000),
            agreed: None,
            granted: (1_000, Some(1_100)),
            revoked: Some((5_000, Some(5_100))),
        }
    }

    fn question() -> Question {
        Question { asker: 1, owner: 0, asset: 0, metric: 0, bucket: None, from_us: 0, to_us: 400, purpose: None }
    }

    #[test]
    fn a_cell_is_judged_by_one_consent_and_by_when_it_was_in_force() {
        let (deals, it) = ([deal()], question());
        for (cell, when, may, must) in [
            ((100, 100), (2_000, 2_001), true, true),
            ((99, 99), (2_000, 2_001), false, false),
            ((200, 200), (2_000, 2_001), false, false),
            // While it is granted and while it is revoked both is right.
            ((100, 100), (1_050, 1_060), true, false),
            ((100, 100), (4_999, 5_001), true, false),
            ((100, 100), (5_101, 5_102), false, false),
            ((100, 100), (900, 999), false, false),
        ] {
            assert_eq!(may_be_served(&deals, &it, cell, when), may, "{cell:?} {when:?}");
            assert_eq!(must_be_served(&deals, &it, cell, when), must, "{cell:?} {when:?}");
        }
        assert!(may_be_ended(&deals, &it, (4_999, 5_001)) && !may_be_ended(&deals, &it, (2_000, 3_000)));
        assert_eq!(lateness_us(&deals, &it, (100, 100), (5_600, 5_700)), Some(500));
        assert!(!deals[0].lets_see(&Question { metric: 1, ..it }, (100, 100), 2_000));
    }

    #[test]
    fn buckets_are_whole_and_old_enough() {
        let floor = Some((10, vec![Function::Mean]));
        let deal = Deal { floor, agreed: Some((vec![Purpose::Quality], 100)), ..deal() };
        let asked = |width, functions: &[Function], purpose| Question {
            bucket: Some((width, functions.to_vec())),
            purpose,
            ..question()
        };
        let it = asked(20, &[Function::Mean], Some(Purpose::Quality));
        assert!(deal.lets_see(&it, (180, 200), 300) && !deal.lets_see(&it, (180, 200), 299));
        assert!(!deal.lets_see(&it, (190, 210), 900) && !deal.lets_see(&it, (90, 110), 900));
        assert!(!deal.lets_see(&asked(15, &[Function::Mean], Some(Purpose::Quality)), (105, 120), 900));
        assert!(!deal.lets_see(&asked(20, &[Function::Max], Some(Purpose::Quality)), (100, 120), 900));
        assert!(!deal.lets_see(&asked(20, &[Function::Mean], None), (100, 120), 900));
        assert!(!deal.lets_see(&question(), (150, 150), 900));
        assert_eq!(it.cells(0, 100, 1), [(0, 20), (20, 40), (40, 60), (60, 80), (80, 100)]);
        assert_eq!(Question { from_us: 1, to_us: 3, ..question() }.cells(0, 100, 1), [(1, 1), (2, 2)]);
    }
}
