//! Terms as JSON. Strict both ways: a field that is missing, unknown or twice there makes
//! the terms unreadable, and unreadable terms deny.

use std::collections::BTreeSet;

use sandan_proto::id::{AssetId, MetricId};
use serde::{Deserialize, Serialize};

use super::{AccessWindow, Agreed, EventWindow, Identity, OnwardUse, Purpose, Relation, SharedForm, Terms, said};

/// The version of the short form.
pub(super) const SHORT: u32 = 1;
/// The version of the full form.
pub(super) const FULL: u32 = 2;

/// Either form.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Wire {
    Short(Short),
    Full(Box<Full>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Short {
    version: u32,
    assets: BTreeSet<AssetId>,
    metrics: BTreeSet<MetricId>,
    form: SharedForm,
    event: EventWindow,
    access: AccessWindow,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Full {
    version: u32,
    assets: BTreeSet<AssetId>,
    metrics: BTreeSet<MetricId>,
    dictionary: u32,
    identity: Identity,
    relation: Relation,
    reason: String,
    holders: BTreeSet<String>,
    return_by_us: i64,
    form: SharedForm,
    minimum_age_us: i64,
    event: EventWindow,
    #[serde(deserialize_with = "said")]
    runs_of: Option<String>,
    access: AccessWindow,
    late_data: bool,
    purposes: BTreeSet<Purpose>,
    onward_use: OnwardUse,
    #[serde(deserialize_with = "said")]
    quota_rows_per_day: Option<u64>,
    #[serde(deserialize_with = "said")]
    cohort_floor: Option<u32>,
}

impl TryFrom<Wire> for Terms {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        match wire {
            // Nobody could agree to be in a benchmark when the short form was written.
            Wire::Short(Short { version: SHORT, assets, metrics, form, event, access })
                if form != SharedForm::Benchmark =>
            {
                Ok(Self { assets, metrics, form, event, access, agreed: None })
            }
            Wire::Full(full) if full.version == FULL => Ok((*full).into()),
            _ => Err("terms of another version"),
        }
    }
}

impl From<Full> for Terms {
    fn from(it: Full) -> Self {
        let agreed = Agreed {
            dictionary: it.dictionary,
            identity: it.identity,
            relation: it.relation,
            reason: it.reason,
            holders: it.holders,
            return_by_us: it.return_by_us,
            minimum_age_us: it.minimum_age_us,
            runs_of: it.runs_of,
            late_data: it.late_data,
            purposes: it.purposes,
            onward_use: it.onward_use,
            quota_rows_per_day: it.quota_rows_per_day,
            cohort_floor: it.cohort_floor,
        };
        Self {
            assets: it.assets,
            metrics: it.metrics,
            form: it.form,
            event: it.event,
            access: it.access,
            agreed: Some(Box::new(agreed)),
        }
    }
}

impl From<Terms> for Wire {
    fn from(it: Terms) -> Self {
        let Terms { assets, metrics, form, event, access, agreed } = it;
        let Some(agreed) = agreed else {
            return Wire::Short(Short { version: SHORT, assets, metrics, form, event, access });
        };
        Wire::Full(Box::new(Full {
            version: FULL,
            assets,
            metrics,
            dictionary: agreed.dictionary,
            identity: agreed.identity,
            relation: agreed.relation,
            reason: agreed.reason,
            holders: agreed.holders,
            return_by_us: agreed.return_by_us,
            form,
            minimum_age_us: agreed.minimum_age_us,
            event,
            runs_of: agreed.runs_of,
            access,
            late_data: agreed.late_data,
            purposes: agreed.purposes,
            onward_use: agreed.onward_use,
            quota_rows_per_day: agreed.quota_rows_per_day,
            cohort_floor: agreed.cohort_floor,
        }))
    }
}
