//! Why terms cannot be agreed to.

use sandan_proto::id::{FirmId, MetricId};

use super::{AccessWindow, Agreed, EventWindow, SharedForm, Terms};
use crate::consent::signs::has_hidden;
use crate::time::{DAY_US, SECOND_US};

/// Smallest resolution floor. Below a second a bucket is a reading.
const MIN_FLOOR_US: i64 = SECOND_US;
/// Largest resolution floor and bucket: a leap year.
const MAX_FLOOR_US: i64 = 366 * DAY_US;
/// Largest minimum age: longer than readings are worth keeping.
const MAX_AGE_US: i64 = 3_660 * DAY_US;
/// Most assets or metrics one consent may list: what fits the page that people read.
const MAX_LISTED: usize = 1_000;
/// Most holders: a unit is one.
const MAX_HOLDERS: usize = 100;
/// Longest name of a holder, and reference of a customer, in characters.
const MAX_NAME_CHARS: usize = 100;
/// Longest reason, in characters: a paragraph of the page.
const MAX_REASON_CHARS: usize = 1_000;
/// Fewest contributors to a benchmark that any alliance may allow.
const MIN_COHORT: u32 = 5;

/// Why terms cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum TermFault {
    #[error("a consent needs at least one asset")]
    NoAsset,
    #[error("a consent needs at least one metric")]
    NoMetric,
    #[error("a consent lists at most {MAX_LISTED} assets and {MAX_LISTED} metrics")]
    TooMany,
    #[error("`{0}` begins with `x_`, so it is the firm's own metric and cannot be shared")]
    PrivateMetric(MetricId),
    #[error("a firm reads its own data without consent: grantor and grantee are the same")]
    SameFirm,
    #[error("the resolution floor is from 1s to 366d")]
    Floor,
    #[error(
        "a bucketed consent needs at least one function: mean, min, max, sum, count, first, last, time_mean, increase or durations"
    )]
    NoFunction,
    #[error("the window of observation times is empty: `from` must be before `to`")]
    EventWindow,
    #[error("the access window is empty: `not-before` must be before `until`")]
    AccessWindow,
    #[error("a consent needs a reason of 1 to {MAX_REASON_CHARS} characters")]
    Reason,
    #[error("a consent names 1 to {MAX_HOLDERS} holders, each of 1 to {MAX_NAME_CHARS} characters")]
    Holders,
    #[error("the customer whose runs are shared is named in 1 to {MAX_NAME_CHARS} characters")]
    Customer,
    #[error("copies are returned or deleted at the end of the access window or later")]
    ReturnBy,
    #[error("the minimum age is from 0 to 3660d")]
    MinimumAge,
    #[error("a consent needs at least one purpose")]
    NoPurpose,
    #[error("a quota of no rows is no consent")]
    Quota,
    #[error("`{0}` holds signs that cannot be seen or that turn the direction of writing")]
    HiddenSigns(&'static str),
    #[error("a benchmark has at least {MIN_COHORT} contributors")]
    CohortFloor,
    #[error("a benchmark is told in full: who asks, why and for how long")]
    BareBenchmark,
    #[error("a benchmark is of a machine's time, not of one customer's runs")]
    BenchmarkOfRuns,
}

/// Printable, not blank, and of a length.
fn is_text(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.trim().chars().count())
        && text.chars().count() <= max
        && !text.chars().any(char::is_control)
}

impl Terms {
    /// Every reason why these terms cannot be granted between two firms; empty when they can.
    pub fn faults(&self, grantor: &FirmId, grantee: &FirmId) -> Vec<TermFault> {
        let mut faults: Vec<_> = (grantor == grantee).then_some(TermFault::SameFirm).into_iter().collect();
        faults.extend(self.own_faults());
        faults
    }

    /// Every reason why nobody can grant these terms.
    pub fn own_faults(&self) -> Vec<TermFault> {
        let mut faults = Vec::new();
        let mut check = |bad: bool, fault: TermFault| {
            if bad {
                faults.push(fault);
            }
        };
        check(self.assets.is_empty(), TermFault::NoAsset);
        check(self.metrics.is_empty(), TermFault::NoMetric);
        check(self.assets.len() > MAX_LISTED || self.metrics.len() > MAX_LISTED, TermFault::TooMany);
        for metric in self.metrics.iter().filter(|metric| metric.is_private()) {
            check(true, TermFault::PrivateMetric(metric.clone()));
        }
        match &self.form {
            SharedForm::Raw => {}
            SharedForm::Bucketed { floor_us, functions } => {
                check(!(MIN_FLOOR_US..=MAX_FLOOR_US).contains(floor_us), TermFault::Floor);
                check(functions.is_empty(), TermFault::NoFunction);
            }
            SharedForm::Benchmark => check(self.agreed.is_none(), TermFault::BareBenchmark),
        }
        let EventWindow { from_us, to_us } = self.event;
        check(matches!((from_us, to_us), (Some(from), Some(to)) if from >= to), TermFault::EventWindow);
        let AccessWindow { not_before_us, until_us } = self.access;
        check(not_before_us >= until_us, TermFault::AccessWindow);
        if let Some(agreed) = &self.agreed {
            let Agreed { reason, holders, return_by_us, minimum_age_us, runs_of, purposes, .. } = agreed.as_ref();
            check(!is_text(reason, MAX_REASON_CHARS), TermFault::Reason);
            let held = (1..=MAX_HOLDERS).contains(&holders.len());
            check(!held || !holders.iter().all(|it| is_text(it, MAX_NAME_CHARS)), TermFault::Holders);
            check(has_hidden(reason), TermFault::HiddenSigns("reason"));
            check(holders.iter().any(|it| has_hidden(it)), TermFault::HiddenSigns("holders"));
            check(runs_of.as_ref().is_some_and(|of| has_hidden(of)), TermFault::HiddenSigns("runs_of"));
            check(*return_by_us < until_us, TermFault::ReturnBy);
            check(!(0..=MAX_AGE_US).contains(minimum_age_us), TermFault::MinimumAge);
            check(runs_of.as_ref().is_some_and(|of| !is_text(of, MAX_NAME_CHARS)), TermFault::Customer);
            check(runs_of.is_some() && self.form == SharedForm::Benchmark, TermFault::BenchmarkOfRuns);
            check(purposes.is_empty(), TermFault::NoPurpose);
            check(agreed.quota_rows_per_day == Some(0), TermFault::Quota);
            check(agreed.cohort_floor.is_some_and(|floor| floor < MIN_COHORT), TermFault::CohortFloor);
        }
        faults
    }
}
