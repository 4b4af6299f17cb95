//! What a consent says: the part that people read and sign and that machines run.
//!
//! There is a full form and a short one. The short one is what was written before the full
//! one existed, and what `consent grant` writes: it says nothing of purposes, ages, late
//! data, identity and quotas, so that none of them restricts it.

mod choice;
mod faults;
mod function;
mod wire;
mod within;

use std::collections::BTreeSet;

use sandan_proto::id::{AssetId, MetricId, SeriesKey};
use serde::{Deserialize, Deserializer, Serialize};

pub use self::choice::{Identity, OnwardUse, Purpose, Relation};
pub use self::faults::TermFault;
pub use self::function::Function;
use self::wire::Wire;

/// What is shared, how, when, and what for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Terms {
    /// The machines: a list, never a pattern. One that is bought later is not among them.
    pub assets: BTreeSet<AssetId>,
    /// What is measured on them. Firm-private metrics cannot be named.
    pub metrics: BTreeSet<MetricId>,
    /// How coarse.
    pub form: SharedForm,
    /// Which observation times.
    pub event: EventWindow,
    /// When reads may happen.
    pub access: AccessWindow,
    /// The rest; none in the short form.
    pub agreed: Option<Box<Agreed>>,
}

/// What the full form says beyond the short one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The version of the metric dictionary that gives the metrics their meaning.
    pub dictionary: u32,
    /// Whether names are told.
    pub identity: Identity,
    /// What the grantee is to the grantor.
    pub relation: Relation,
    /// Why it is asked, in the grantee's words.
    pub reason: String,
    /// The persons or units who will hold it.
    pub holders: BTreeSet<String>,
    /// Until when copies are returned or deleted, which the grantee then attests, µs since 1970.
    pub return_by_us: i64,
    /// How old what is read must be, µs.
    pub minimum_age_us: i64,
    /// Only the runs (lots, charges) of this customer of the grantor.
    pub runs_of: Option<String>,
    /// Whether readings are covered that arrive after the approval for times before it.
    pub late_data: bool,
    /// What for. Each request names one.
    pub purposes: BTreeSet<Purpose>,
    /// What the grantee may do with what it read.
    pub onward_use: OnwardUse,
    /// Rows a day, of UTC; none: no bound but the service's own.
    pub quota_rows_per_day: Option<u64>,
    /// Fewest contributors of a benchmark; none: the alliance's.
    pub cohort_floor: Option<u32>,
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
    /// Only inside figures of a cohort of firms. Never read by itself.
    Benchmark,
}

/// [from, to) of observation times; an open end covers everything on that side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventWindow {
    /// Inclusive, µs since 1970.
    #[serde(deserialize_with = "said")]
    pub from_us: Option<i64>,
    /// Exclusive.
    #[serde(deserialize_with = "said")]
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

/// A value or `null`, and not nothing: what a record does not say must not pass for "no bound".
pub(in crate::consent) fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

impl Terms {
    /// The version of the form that these terms are written in.
    pub fn version(&self) -> u32 {
        if self.agreed.is_some() { wire::FULL } else { wire::SHORT }
    }

    /// Whether asset and metric are listed. A firm-private metric never is.
    pub fn names(&self, series: &SeriesKey) -> bool {
        self.assets.contains(&series.asset) && self.lists_metric(&series.metric)
    }

    /// Whether a metric is listed. A firm-private one never is.
    pub(super) fn lists_metric(&self, metric: &MetricId) -> bool {
        !metric.is_private() && self.metrics.contains(metric)
    }

    /// How old what is read must be, µs.
    pub fn minimum_age_us(&self) -> i64 {
        self.agreed.as_ref().map_or(0, |agreed| agreed.minimum_age_us)
    }

    /// Whether names are told.
    pub fn identity(&self) -> Identity {
        self.agreed.as_ref().map_or(Identity::Named, |agreed| agreed.identity)
    }

    /// Whether readings of this form take two officers.
    pub fn is_raw(&self) -> bool {
        self.form == SharedForm::Raw
    }
}
