//! In what a consent falls short of a request.

use std::collections::BTreeSet;

use crate::consent::rules::Class;
use crate::consent::terms::{Function, Purpose};
use crate::id::ConsentId;
use crate::time::{rfc3339, show_duration};

/// Where one consent falls short.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Which.
    pub consent: ConsentId,
    /// In what.
    pub why: Why,
}

/// The dimension that is not covered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Why {
    #[error("the consent was revoked at {}", rfc3339(*.at_us))]
    Revoked { at_us: i64 },
    #[error("the consent is suspended since {} until its grantor confirms it", rfc3339(*.since_us))]
    Suspended { since_us: i64 },
    #[error("the consent begins at {}", rfc3339(*.not_before_us))]
    NotYet { not_before_us: i64 },
    #[error("the consent ended at {}", rfc3339(*.until_us))]
    Expired { until_us: i64 },
    #[error("the alliance prohibits that this is shared")]
    Prohibited,
    #[error("the request names no purpose; the consent is for {}", purposes(.agreed))]
    NoPurpose { agreed: BTreeSet<Purpose> },
    #[error("the consent is not for {asked} but for {}", purposes(.agreed))]
    Purpose { asked: Purpose, agreed: BTreeSet<Purpose> },
    #[error("the metric does not mean what it meant when the consent was agreed to")]
    Meaning,
    #[error("the metric tells {}, which competitors see only aggregated and late", told(*.class))]
    Sensitive { class: Class },
    #[error("readings are shared for benchmarks only")]
    BenchmarkOnly,
    #[error("readings are not shared, only buckets of {} or a multiple of it", show_duration(*.floor_us))]
    RawNotShared { floor_us: i64 },
    #[error("buckets are shared at {} and whole multiples of it; days only where each begins on such a multiple", show_duration(*.floor_us))]
    Resolution { floor_us: i64 },
    #[error("not shared: {}; shared: {}", list(.missing), list(.shared))]
    Functions { missing: BTreeSet<Function>, shared: BTreeSet<Function> },
    #[error("nothing asked for lies in the shared times, from {} to {}", end(*.from_us), end(*.to_us))]
    Window { from_us: Option<i64>, to_us: Option<i64> },
    #[error("nothing asked for lies in a run that is shared and has ended")]
    NoRun,
    #[error("no bucket asked for is over yet; a bucket is shared once it has ended")]
    Unfinished,
    #[error("readings are shared once they are {} old", show_duration(*.minimum_age_us))]
    TooYoung { minimum_age_us: i64 },
    #[error("it is not known what was stored when the consent was approved, and what arrived later is not shared")]
    NoMark,
    #[error("today's rows under the consent are used up")]
    QuotaUsedUp,
    #[error("the consent is bound to {duty}, which this service does not keep yet")]
    NotKept { duty: &'static str },
}

fn list(functions: &BTreeSet<Function>) -> String {
    functions.iter().map(|function| function.as_str()).collect::<Vec<_>>().join(", ")
}

fn purposes(purposes: &BTreeSet<Purpose>) -> String {
    if purposes.is_empty() {
        return "none".to_owned();
    }
    purposes.iter().map(|purpose| purpose.as_str()).collect::<Vec<_>>().join(", ")
}

fn told(class: Class) -> &'static str {
    match class {
        Class::Condition => "how the machine is",
        Class::Process => "how a product is made",
        Class::Output => "how much is made",
        Class::Cost => "what it costs",
        Class::Stock => "what lies ready",
    }
}

fn end(us: Option<i64>) -> String {
    us.map_or_else(|| "…".to_owned(), rfc3339)
}

impl Why {
    /// Its word in answers and in the audit log.
    pub fn code(&self) -> &'static str {
        match self {
            Why::Revoked { .. } => "revoked",
            Why::Suspended { .. } => "suspended",
            Why::NotYet { .. } => "not_yet",
            Why::Expired { .. } => "expired",
            Why::Prohibited => "prohibited",
            Why::NoPurpose { .. } => "no_purpose",
            Why::Purpose { .. } => "purpose",
            Why::Meaning => "meaning",
            Why::Sensitive { .. } => "sensitive",
            Why::BenchmarkOnly => "benchmark_only",
            Why::RawNotShared { .. } => "raw_not_shared",
            Why::Resolution { .. } => "resolution",
            Why::Functions { .. } => "functions",
            Why::Window { .. } => "window",
            Why::NoRun => "no_run",
            Why::Unfinished => "unfinished",
            Why::TooYoung { .. } => "too_young",
            Why::NoMark => "no_mark",
            Why::QuotaUsedUp => "quota_used_up",
            Why::NotKept { .. } => "not_kept",
        }
    }
}
