//! What stands beside the consents: the alliance's rule, the firm's own, what the metrics
//! mean, who is in which group. Each of them can only take away from what a consent covers.

use std::collections::{BTreeMap, BTreeSet};

use sandan_proto::id::{AssetId, FirmId, GroupId, MetricId};
use serde::{Deserialize, Serialize};

use super::groups::Group;
use super::terms::{Function, Relation};
use crate::time::DAY_US;

/// Everything that a decision is made under, but for the consents themselves.
///
/// Where there is no dictionary, no metric is sensitive and none has changed its meaning: an
/// installation that does not know what its metrics mean cannot judge by it. Everything else
/// that is not there denies: a group that is not known reaches nobody.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The alliance's.
    pub alliance: AllianceRule,
    /// The grantor's own, over all its consents.
    pub house: Layer,
    /// What the metrics mean.
    pub dictionary: Option<Dictionary>,
    /// The groups of the complex.
    pub groups: BTreeMap<GroupId, Group>,
    /// Firms that are no more, such as by a merger: they read nothing and nothing of theirs is
    /// read by others. Whoever took them over is another firm.
    pub closed: BTreeSet<FirmId>,
    /// The grantor's runs.
    pub runs: Vec<Run>,
}

/// A floor under everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Nothing finer than buckets of whole multiples of this leaves, µs.
    pub floor_us: Option<i64>,
    /// Nothing younger leaves, µs.
    pub minimum_age_us: i64,
}

/// What the alliance rules for all its firms.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllianceRule {
    /// What is not shared, whatever a consent says.
    pub prohibitions: Vec<Prohibition>,
    /// A floor under every consent.
    pub layer: Layer,
    /// What competitors see of sensitive metrics at most.
    pub sensitive: Sensitive,
}

/// What competitors see at most of what competition law is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensitive {
    /// Buckets of whole multiples of this, µs.
    pub floor_us: i64,
    /// Nothing younger, µs.
    pub minimum_age_us: i64,
    /// Statistics that tell no single reading.
    pub functions: BTreeSet<Function>,
}

impl Default for Sensitive {
    /// Days, a month late: what an alliance that has not ruled otherwise starts from.
    fn default() -> Self {
        use Function::{Count, Increase, Mean, Sum, TimeMean};
        Self { floor_us: DAY_US, minimum_age_us: 30 * DAY_US, functions: [Mean, Sum, Count, TimeMean, Increase].into() }
    }
}

/// Something that is not shared. Every part that is given has to match; one without any
/// part prohibits everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prohibition {
    /// Whose readings.
    pub grantor: Option<FirmId>,
    /// Who may not have them.
    pub grantee: Option<FirmId>,
    /// Of which metric.
    pub metric: Option<MetricId>,
    /// Of which class.
    pub class: Option<Class>,
    /// In which relation. A consent that states none is taken for every one.
    pub relation: Option<Relation>,
}

/// How sensitive a metric is towards other firms: `class` of the metric dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Class {
    Condition,
    Process,
    Output,
    Cost,
    Stock,
}

impl Class {
    /// Whether competition law forces aggregation and delay between competitors.
    pub fn is_sensitive(self) -> bool {
        matches!(self, Class::Output | Class::Cost | Class::Stock)
    }
}

/// The metric dictionary, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dictionary {
    /// Its version.
    pub version: u32,
    /// Its metrics.
    pub metrics: BTreeMap<MetricId, Meaning>,
}

/// One metric of the dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meaning {
    /// Its class.
    pub class: Class,
    /// The version of the dictionary since which it means what it means, in its unit.
    pub since: u32,
}

impl Dictionary {
    /// What a metric means to somebody who agreed under an earlier version; none where it was
    /// not there, or meant something else, or the version is one to come.
    pub fn meant(&self, metric: &MetricId, agreed: u32) -> Option<Meaning> {
        let meaning = self.metrics.get(metric).copied()?;
        (meaning.since <= agreed && agreed <= self.version).then_some(meaning)
    }
}

/// A lot or charge on a machine of the grantor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The machine.
    pub asset: AssetId,
    /// Whose order it is.
    pub customer: String,
    /// Its beginning, µs since 1970.
    pub from_us: i64,
    /// Its end, exclusive; none while it goes on, and then nobody reads it: when it ends is
    /// known only afterwards, and not one second more may be read.
    pub to_us: Option<i64>,
}
