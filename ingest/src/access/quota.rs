//! Rows that a day allows: counted at the store before they are handed on.
//!
//! It promises that no more rows are handed on under a consent than its quota, however many
//! reads and processes count at once: each is given the part of what it counted that lies
//! within the quota. What was counted and not handed on stays counted.

use std::collections::{BTreeMap, BTreeSet};

use super::stretches::{Cost, Stretch};
use crate::id::ConsentId;
use crate::time::DAY_US;

/// What one read has of the quotas that it uses up.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// Rows a day, by consent.
    totals: BTreeMap<ConsentId, u64>,
    /// The day of UTC, in days since 1970.
    day: i64,
    /// Counted and not handed on yet.
    counted: BTreeMap<ConsentId, u64>,
    /// Of which nothing is left today.
    spent: BTreeSet<ConsentId>,
}

/// Rows to be counted now, by consent.
pub(super) type Count = BTreeMap<ConsentId, u64>;

/// The day of UTC that a time lies in, in days since 1970.
pub(super) fn day_of(now_us: i64) -> i64 {
    now_us.div_euclid(DAY_US)
}

/// When the day after begins, µs since 1970: quotas begin anew.
pub(super) fn begins_anew_us(day: i64) -> i64 {
    (day + 1) * DAY_US
}

impl Quotas {
    /// Notes how many rows a day some consents allow.
    pub(super) fn learn(&mut self, totals: impl IntoIterator<Item = (ConsentId, u64)>) {
        self.totals.extend(totals);
    }

    /// The day that rows are counted on.
    pub(super) fn day(&self) -> i64 {
        self.day
    }

    /// Goes on to the day that it is: what was counted on another one is of no use.
    pub(super) fn on(&mut self, day: i64) {
        if day != self.day {
            self.day = day;
            self.counted.clear();
            self.spent.clear();
        }
    }

    fn left(&self, taken: &Count, consent: ConsentId) -> bool {
        let taken = taken.get(&consent).copied().unwrap_or(0);
        !self.spent.contains(&consent) || self.counted.get(&consent).copied().unwrap_or(0) > taken
    }

    /// What rows, of which the commits are given, use up, up to the first that nothing covers.
    fn uses(&self, stretch: &Stretch, rows: &[Option<i64>]) -> Count {
        let mut uses = Count::new();
        for &commit in rows {
            match stretch.cost(commit, |consent| self.left(&uses, consent)) {
                Some(Cost::OfQuota(consent)) => *uses.entry(consent).or_default() += 1,
                Some(Cost::Nothing) => {}
                None => break,
            }
        }
        uses
    }

    /// How many rows have to be counted before these are handed on.
    pub(super) fn wanting(&self, stretch: &Stretch, rows: &[Option<i64>]) -> Count {
        let mut wanting = self.uses(stretch, rows);
        for (consent, rows) in &mut wanting {
            *rows = rows.saturating_sub(self.counted.get(consent).copied().unwrap_or(0));
        }
        wanting.retain(|consent, rows| *rows > 0 && !self.spent.contains(consent));
        wanting
    }

    /// Takes in that `rows` were counted, and that this made it `used` of the day's in all.
    pub(super) fn counted(&mut self, consent: ConsentId, rows: u64, used: u64) {
        let total = self.totals.get(&consent).copied().unwrap_or(0);
        let granted = rows - used.saturating_sub(total).min(rows);
        *self.counted.entry(consent).or_default() += granted;
        if used >= total {
            self.spent.insert(consent);
        }
    }

    /// How many of the rows may be handed on by what is counted, from the first on, and what
    /// they use up.
    pub(super) fn covered(&self, stretch: &Stretch, rows: &[Option<i64>]) -> (usize, Count) {
        let mut taken = Count::new();
        for (index, &commit) in rows.iter().enumerate() {
            let consent = match stretch.cost(commit, |consent| self.left(&taken, consent)) {
                None => return (index, taken),
                Some(Cost::Nothing) => continue,
                Some(Cost::OfQuota(consent)) => consent,
            };
            let taken_of = taken.entry(consent).or_default();
            if *taken_of >= self.counted.get(&consent).copied().unwrap_or(0) {
                return (index, taken);
            }
            *taken_of += 1;
        }
        (rows.len(), taken)
    }

    /// Takes out what was handed on.
    pub(super) fn take(&mut self, taken: &Count) {
        for (consent, rows) in taken {
            if let Some(counted) = self.counted.get_mut(consent) {
                *counted = counted.saturating_sub(*rows);
            }
        }
    }

    /// Whether nothing covers a row any more today.
    pub(super) fn is_used_up(&self, stretch: &Stretch, commit: Option<i64>) -> bool {
        stretch.cost(commit, |consent| self.left(&Count::new(), consent)).is_none()
    }
}

#[cfg(test)]
mod tests;
