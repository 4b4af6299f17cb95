//! What a member saw, and whether it was right.

use std::collections::BTreeSet;

use sandan_ingest::access::Receipt;
use sandan_ingest::consent::Function;

use super::life::Done;
use super::reference::{Book, Called, Cell, Question, Stretch};
use super::world::{FIRMS, SECOND_US, World};

/// How far two sums of the same numbers may lie apart.
const CLOSE: f64 = 1e-6;

/// One answer about another firm's readings, which is in the owner's log.
pub(super) struct Told {
    pub(super) question: Question,
    pub(super) actor: String,
    /// None under a pseudonym, and where it was not handed out.
    pub(super) receipt: Option<Receipt>,
    pub(super) is_denial: bool,
}

/// One reading or bucket, and its value or its statistics in the order in which they were asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) cell: Cell,
    pub(super) shown: Vec<f64>,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Complete,
    /// The asker left.
    Left,
    Withdrawn,
    /// A stream that came without its end, which tells not why: withdrawn, or used up.
    Cut,
    Revoked,
    UsedUp,
    Denied,
    Unknown,
    /// It could not be confirmed in time that the consent held.
    Unconfirmed,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) question: Question,
    pub(super) begun: i64,
    pub(super) done: i64,
    /// Each with the stretch of time in which it came.
    pub(super) rows: Vec<(Row, Stretch)>,
    pub(super) ended: Ended,
    pub(super) told: Vec<Told>,
    /// Answers that may have been reads, or refusals, or never have come to the door.
    pub(super) unsure: u64,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", if self.is_denial { "denial" } else { "read" })
    }
}

impl Served {
    pub(super) fn new(question: Question, begun: i64) -> Self {
        Self { question, begun, done: begun, rows: Vec::new(), ended: Ended::Left, told: Vec::new(), unsure: 0 }
    }

    /// Whether every row that was handed on came.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.ended, Ended::Complete | Ended::Denied | Ended::Unknown)
    }
}

/// What a member saw.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) decisions: u64,
    pub(super) complete: u64,
    pub(super) withdrawn: u64,
    pub(super) left: u64,
    pub(super) revoked: u64,
    pub(super) used_up: u64,
    pub(super) denied: u64,
    pub(super) unknown: u64,
    pub(super) unconfirmed: u64,
    pub(super) pseudonyms: u64,
    pub(super) cells: u64,
    pub(super) grants: u64,
    pub(super) revocations: u64,
    pub(super) changes: u64,
    pub(super) latest_us: i64,
    /// By owner: rows that were taken of other firms' readings.
    pub(super) rows: [i64; FIRMS],
    /// By owner: rows that may have been handed on and did not come, and answers that may be in the log.
    pub(super) unsure: [(i64, i64); FIRMS],
    pub(super) told: Vec<Told>,
    pub(super) faults: Vec<String>,
}

impl Heard {
    pub(super) fn lived(&mut self, done: Done) {
        self.grants += done.granted;
        self.revocations += done.revoked;
        self.changes += done.changed;
        self.faults.extend(done.faults);
    }

    /// Judges an answer; `is_revoked` where the asker's token was revoked before.
    pub(super) fn judge(&mut self, world: &World, served: Served, is_revoked: bool) {
        let it = &served.question;
        let when = (served.begun, served.done);
        let count = served.rows.len();
        self.cells += count as u64;
        self.pseudonyms += u64::from(count > 0 && it.called != Called::Name);
        let crosses = it.asker != it.owner;
        if crosses {
            self.rows[it.owner] += i64::try_from(count).unwrap_or(0);
            if !served.is_whole() {
                let cells = it.cells(world.data, SECOND_US).len();
                self.unsure[it.owner].0 += i64::try_from(cells.saturating_sub(count)).unwrap_or(0);
            }
            self.unsure[it.owner].1 += i64::try_from(served.unsure).unwrap_or(0);
        }
        let receipted = |told: &Told| told.receipt.is_some() || served.ended == Ended::UsedUp;
        if crosses && it.called == Called::Name && !served.told.iter().all(receipted) {
            self.fault(it, "an answer has no receipt");
        }
        if is_revoked {
            self.revoked += 1;
            let is_right =
                count == 0 && matches!(served.ended, Ended::Revoked | Ended::Denied | Ended::Unknown | Ended::UsedUp);
            if !is_right {
                self.fault(it, &format!("a revoked token was served: {:?}", served.ended));
            }
            self.told.extend(served.told.into_iter().filter(|_| crosses));
            return;
        }
        let book = world.book(it);
        self.rows_are_right(world, &book, &served);
        match served.ended {
            Ended::Left => self.left += 1,
            Ended::Unconfirmed => self.unconfirmed += 1,
            Ended::Complete => {
                self.complete += 1;
                self.nothing_is_withheld(world, &book, &served);
            }
            Ended::Withdrawn | Ended::Cut => {
                self.withdrawn += 1;
                let is_used_up = served.ended == Ended::Cut && book.may_be_used_up(when);
                if !is_used_up && !book.may_be_ended(it, when) {
                    self.fault(it, &format!("{:?} after {count} rows, and no consent went", served.ended));
                }
            }
            Ended::UsedUp => {
                self.used_up += 1;
                if !book.may_be_used_up(when) {
                    self.fault(it, "its quota is said to be used up, and is not");
                }
                // Where it was refused from the first; a read ends at the first row that nothing else covers.
                if served.told.iter().any(|told| told.is_denial) {
                    self.nothing_is_withheld(world, &book, &served);
                }
            }
            Ended::Revoked => self.fault(it, "a token in force is said to be revoked"),
            Ended::Denied => {
                self.denied += 1;
                self.nothing_is_withheld(world, &book, &served);
                if !book.may_be_known(it, when) {
                    self.fault(it, "the asker learns of a series that was never named to him");
                }
            }
            Ended::Unknown => {
                self.unknown += 1;
                self.nothing_is_withheld(world, &book, &served);
                if book.is_known(it, when) {
                    self.fault(it, "the asker knows of the series and is told that there is none");
                }
            }
        }
        spend(world, &book, &served);
        self.told.extend(served.told.into_iter().filter(|_| crosses));
    }

    /// Each row is covered, is the one that it has to be, and came once and in order.
    fn rows_are_right(&mut self, world: &World, book: &Book, served: &Served) {
        let it = &served.question;
        let faults = self.faults.len();
        let meant: BTreeSet<Cell> = it.cells(world.data, SECOND_US).into_iter().collect();
        for (row, when) in &served.rows {
            // One of an answer is enough to be told of.
            if self.faults.len() > faults {
                break;
            }
            let cell = row.cell;
            if let Some(late_us) = book.lateness_us(it, cell, *when) {
                if late_us < i64::MAX {
                    self.latest_us = self.latest_us.max(late_us);
                }
                if late_us > world.patience_us {
                    let what =
                        format!("{cell:?} was served {late_us} µs after its last consent had gone, or without one");
                    self.fault(it, &what);
                }
                continue;
            }
            // What a later page shows was there when the first one was made.
            let whole = (served.begun, when.1);
            let mut may = book.may(it, cell, whole);
            if let Some(least) = book.must(it, cell, whole) {
                may.retain(|deliveries| *deliveries >= least);
            }
            may.sort_unstable();
            may.dedup();
            let is_right = may.iter().any(|deliveries| {
                let times = world.times(it.owner, cell, *deliveries);
                let values: Vec<f64> = times.iter().map(|at| world.value(it.owner, it.asset, it.metric, *at)).collect();
                is_shown(it, &values, &row.shown)
            });
            if !meant.contains(&cell) || !is_right {
                self.fault(it, &format!("{row:?} is not what was asked for, after {may:?} late deliveries"));
            }
        }
        if !served.rows.is_sorted_by(|(one, _), (other, _)| one.cell < other.cell) {
            self.fault(it, "cells came twice or in disorder");
        }
    }

    fn nothing_is_withheld(&mut self, world: &World, book: &Book, served: &Served) {
        let it = &served.question;
        let when = (served.begun, served.done);
        let seen: BTreeSet<Cell> = served.rows.iter().map(|(row, _)| row.cell).collect();
        let is_there = |cell: Cell, deliveries| !world.times(it.owner, cell, deliveries).is_empty();
        let withheld = |cell: &&Cell| {
            !seen.contains(*cell) && book.must(it, **cell, when).is_some_and(|deliveries| is_there(**cell, deliveries))
        };
        let wanted = it.cells(world.data, SECOND_US);
        let withheld: Vec<&Cell> = wanted.iter().filter(withheld).collect();
        if let Some(first) = withheld.first() {
            let (count, of, ended) = (withheld.len(), wanted.len(), served.ended);
            let what = format!(
                "{count} of {of} cells were withheld ({ended:?} in {when:?}), {first:?} first, and a consent covers it"
            );
            self.fault(it, &what);
        }
    }

    fn fault(&mut self, it: &Question, what: &str) {
        self.faults.push(format!("{what}: {it:?}"));
    }
}

/// Whether these are the values, or their statistics.
fn is_shown(it: &Question, values: &[f64], shown: &[f64]) -> bool {
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return false };
    let sum: f64 = values.iter().sum();
    let is = |one: f64, other: f64| (one - other).abs() <= CLOSE * one.abs().max(1.0);
    let Some((_, functions)) = &it.bucket else { return shown.len() == 1 && is(*first, shown[0]) };
    let right = functions.iter().zip(shown).all(|(function, shown)| match function {
        Function::Mean => is(sum / values.len() as f64, *shown),
        // Values grow with time.
        Function::Min | Function::First => is(*first, *shown),
        Function::Max | Function::Last => is(*last, *shown),
        Function::Sum => is(sum, *shown),
        _ => is(values.len() as f64, *shown),
    });
    right && shown.len() == functions.len()
}

/// Notes rows that one consent alone can have covered.
fn spend(world: &World, book: &Book, served: &Served) {
    let it = &served.question;
    if it.asker == it.owner {
        return;
    }
    let mut alone = vec![0; book.deals.len()];
    for (row, when) in &served.rows {
        if let [only] = book.grounds(it, row.cell, *when)[..] {
            alone[only] += 1;
        }
    }
    let mut books = world.books();
    for (deal, rows) in book.deals.iter().zip(alone) {
        if let Some(it) = books[it.owner].deals.iter_mut().find(|other| other.id == deal.id) {
            it.spent.0 += rows;
        }
    }
}
