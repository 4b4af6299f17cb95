//! Whether terms lie within others: what a grantor may put in force alone.

use super::{Agreed, Identity, SharedForm, Terms};

impl Terms {
    /// Whether nothing can be read under these terms that could not be read under `wider`.
    ///
    /// What only reads otherwise and not less (another relation, another reason, another
    /// dictionary) is not within.
    pub fn lie_within(&self, wider: &Terms) -> bool {
        let from = |it: &Terms| it.event.from_us.unwrap_or(i64::MIN);
        let to = |it: &Terms| it.event.to_us.unwrap_or(i64::MAX);
        self.assets.is_subset(&wider.assets)
            && self.metrics.is_subset(&wider.metrics)
            && self.form.lies_within(&wider.form)
            && from(self) >= from(wider)
            && to(self) <= to(wider)
            && self.access.not_before_us >= wider.access.not_before_us
            && self.access.until_us <= wider.access.until_us
            && match (&self.agreed, &wider.agreed) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(agreed), Some(wider)) => agreed.lies_within(wider),
            }
    }
}

impl SharedForm {
    fn lies_within(&self, wider: &SharedForm) -> bool {
        match (self, wider) {
            (SharedForm::Raw | SharedForm::Bucketed { .. }, SharedForm::Raw)
            | (SharedForm::Benchmark, SharedForm::Benchmark) => true,
            (
                SharedForm::Bucketed { floor_us, functions },
                SharedForm::Bucketed { floor_us: finer_us, functions: more },
            ) => *finer_us > 0 && floor_us % finer_us == 0 && functions.is_subset(more),
            // A benchmark shows to a whole cohort what only one firm was to see.
            _ => false,
        }
    }
}

impl Agreed {
    fn lies_within(&self, wider: &Agreed) -> bool {
        let rows = |it: &Agreed| it.quota_rows_per_day.unwrap_or(u64::MAX);
        self.dictionary == wider.dictionary
            && self.relation == wider.relation
            && self.reason == wider.reason
            && (self.identity == wider.identity || self.identity == Identity::Pseudonym)
            && self.holders.is_subset(&wider.holders)
            && self.return_by_us <= wider.return_by_us
            && self.minimum_age_us >= wider.minimum_age_us
            && (wider.runs_of.is_none() || self.runs_of == wider.runs_of)
            && (!self.late_data || wider.late_data)
            && self.purposes.is_subset(&wider.purposes)
            && self.onward_use <= wider.onward_use
            && rows(self) <= rows(wider)
            && self.cohort_floor.unwrap_or(0) >= wider.cohort_floor.unwrap_or(0)
    }
}
