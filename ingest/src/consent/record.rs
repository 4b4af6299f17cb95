//! What a consent says. Stored as JSON with a version; a record that this build
//! does not understand in full is kept, shown, and denies.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use sandan_proto::id::{AssetId, FirmId, MetricId, SeriesKey};
use serde::{Deserialize, Serialize};

use crate::id::ConsentId;
use crate::time::{DAY_US, SECOND_US};

/// The version of [`Terms`] that this build writes and understands.
pub const RECORD_VERSION: u32 = 1;
/// Smallest resolution floor. Below a second a bucket is a reading.
const MIN_FLOOR_US: i64 = SECOND_US;
/// Largest resolution floor and bucket: a leap year.
const MAX_FLOOR_US: i64 = 366 * DAY_US;
/// Most assets or metrics one consent may list; a longer list is a group, which comes later.
const MAX_LISTED: usize = 1_000;

/// One consent as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Consent {
    /// Its id.
    pub id: ConsentId,
    /// The firm that owns the series.
    pub grantor: FirmId,
    /// The firm that may read.
    pub grantee: FirmId,
    /// Active, suspended or revoked. Revoked never comes back.
    pub status: Status,
    /// What is shared.
    pub terms: StoredTerms,
}

/// Whether the grantor still stands by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// In force within its access window.
    Active,
    /// Covers nothing until the grantor confirms it: the store was restored from an older
    /// state, in which a revocation may be missing.
    Suspended {
        /// Since when, µs since 1970.
        since_us: i64,
    },
    /// Withdrawn for good.
    Revoked {
        /// When, µs since 1970.
        at_us: i64,
    },
}

/// Terms as found in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredTerms {
    /// Understood in full.
    Known(Terms),
    /// Of another version or with a term unknown here: denies.
    Unknown,
}

impl StoredTerms {
    /// Strict: an unknown field, value or version gives [`StoredTerms::Unknown`].
    pub fn parse(json: &str) -> Self {
        match serde_json::from_str::<Terms>(json) {
            Ok(terms) if terms.version == RECORD_VERSION => StoredTerms::Known(terms),
            _ => StoredTerms::Unknown,
        }
    }
}

/// What is shared, how, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The machines.
    pub assets: BTreeSet<AssetId>,
    /// What is measured on them. Firm-private metrics cannot be named.
    pub metrics: BTreeSet<MetricId>,
    /// How coarse.
    pub form: SharedForm,
    /// Which observation times.
    pub event: EventWindow,
    /// When reads may happen.
    pub access: AccessWindow,
}

/// How coarse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SharedForm {
    /// Every reading; covers buckets of any width too, which are computed from readings.
    Raw,
    /// Statistics only.
    Bucketed {
        /// The smallest bucket, µs. Buckets are whole multiples of it: two widths that
        /// are not would give cells below the floor by subtraction.
        floor_us: i64,
        /// The statistics that may be asked for.
        functions: BTreeSet<Function>,
    },
}

/// A statistic of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Function {
    Mean,
    Min,
    Max,
    Sum,
    Count,
    First,
    Last,
    /// The mean over time: each value holds until the next reading, or for as long as a
    /// series may be silent.
    TimeMean,
    /// By how much a counter grew, resets and overflows reckoned in.
    Increase,
    /// For how long each state was held: of switches, enumerations and texts.
    Durations,
}

impl Function {
    /// All of them, in the order in which they are printed.
    pub const ALL: [Function; 10] = [
        Function::Mean,
        Function::Min,
        Function::Max,
        Function::Sum,
        Function::Count,
        Function::First,
        Function::Last,
        Function::TimeMean,
        Function::Increase,
        Function::Durations,
    ];

    /// Its word in queries, files and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Function::Mean => "mean",
            Function::Min => "min",
            Function::Max => "max",
            Function::Sum => "sum",
            Function::Count => "count",
            Function::First => "first",
            Function::Last => "last",
            Function::TimeMean => "time_mean",
            Function::Increase => "increase",
            Function::Durations => "durations",
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Function {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|function| function.as_str() == text).ok_or_else(|| {
            let given: String = text.chars().take(40).flat_map(char::escape_debug).collect();
            format!(
                "`{given}` is not a function: mean, min, max, sum, count, first, last, time_mean, increase or durations"
            )
        })
    }
}

/// [from, to) of observation times; an open end covers everything on that side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventWindow {
    /// Inclusive, µs since 1970.
    pub from_us: Option<i64>,
    /// Exclusive.
    pub to_us: Option<i64>,
}

/// [`not_before`, until) of the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessWindow {
    /// Inclusive, µs since 1970.
    pub not_before_us: i64,
    /// Exclusive. Every consent ends.
    pub until_us: i64,
}

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
}

impl Terms {
    /// Every reason why these terms cannot be granted; empty when they can.
    pub fn faults(&self, grantor: &FirmId, grantee: &FirmId) -> Vec<TermFault> {
        let mut faults = Vec::new();
        let mut check = |bad: bool, fault: TermFault| {
            if bad {
                faults.push(fault);
            }
        };
        check(grantor == grantee, TermFault::SameFirm);
        check(self.assets.is_empty(), TermFault::NoAsset);
        check(self.metrics.is_empty(), TermFault::NoMetric);
        check(self.assets.len() > MAX_LISTED || self.metrics.len() > MAX_LISTED, TermFault::TooMany);
        for metric in self.metrics.iter().filter(|metric| metric.is_private()) {
            check(true, TermFault::PrivateMetric(metric.clone()));
        }
        if let SharedForm::Bucketed { floor_us, functions } = &self.form {
            check(!(MIN_FLOOR_US..=MAX_FLOOR_US).contains(floor_us), TermFault::Floor);
            check(functions.is_empty(), TermFault::NoFunction);
        }
        let EventWindow { from_us, to_us } = self.event;
        check(matches!((from_us, to_us), (Some(from), Some(to)) if from >= to), TermFault::EventWindow);
        check(self.access.not_before_us >= self.access.until_us, TermFault::AccessWindow);
        faults
    }

    /// Whether asset and metric are listed. A firm-private metric never is.
    pub fn names(&self, series: &SeriesKey) -> bool {
        !series.metric.is_private() && self.assets.contains(&series.asset) && self.metrics.contains(&series.metric)
    }
}
