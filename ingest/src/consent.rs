//! Consent: one firm's permission to another, and the one function that decides a read.
//!
//! Pure: no I/O, no clock; the caller brings the records and the time. It promises
//! that a [`Permit`] exists only where the asker owns the series or one consent in
//! force covers every dimension of what is read, that a further consent never
//! reduces what was readable, and that anything unknown or empty means *no*.
//! It must not know the store, HTTP or the audit log.

mod decide;
mod grid;
mod record;

use std::collections::BTreeSet;

use sandan_proto::id::{FirmId, SeriesKey};

pub use self::decide::{Decision, Denial, Reason, Request, Snapshot, Why, align, decide};
pub use self::grid::Grid;
pub use self::record::{
    AccessWindow, Consent, EventWindow, Function, RECORD_VERSION, SharedForm, Status, StoredTerms, TermFault, Terms,
};

/// The proof that one read may happen. Only this module makes one.
#[derive(Debug, Clone)]
pub struct Permit {
    firm: FirmId,
    series: Vec<SeriesKey>,
    form: Form,
    functions: BTreeSet<Function>,
    from_us: i64,
    to_us: i64,
    epoch: u64,
    until_us: Option<i64>,
}

/// What a read gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// Every reading.
    Raw,
    /// Statistics of buckets.
    Bucketed {
        /// How time is cut.
        grid: Grid,
    },
}

impl Form {
    /// Buckets of one width, µs, aligned to 1970-01-01T00:00:00Z.
    pub fn buckets(width_us: i64) -> Self {
        Form::Bucketed { grid: Grid::Fixed { width_us } }
    }
}

impl Permit {
    /// Whose readings.
    pub fn firm(&self) -> &FirmId {
        &self.firm
    }
    /// Which series, at least one, all of [`firm`](Self::firm).
    pub fn series(&self) -> &[SeriesKey] {
        &self.series
    }
    /// Raw or bucketed.
    pub fn form(&self) -> &Form {
        &self.form
    }
    /// The statistics that may leave; empty when raw.
    pub fn functions(&self) -> &BTreeSet<Function> {
        &self.functions
    }
    /// First observation time, inclusive, µs since 1970. An edge of the grid when bucketed.
    pub fn from_us(&self) -> i64 {
        self.from_us
    }
    /// Last observation time, exclusive. An edge of the grid when bucketed.
    pub fn to_us(&self) -> i64 {
        self.to_us
    }
    /// The grantor's consent epoch that it was decided on.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
    /// The read must be decided again from this time on, µs since 1970; none for one's own.
    pub fn until_us(&self) -> Option<i64> {
        self.until_us
    }
    /// A permit that nobody decided on.
    #[cfg(test)]
    pub(crate) fn for_test(series: Vec<SeriesKey>, form: Form, from_us: i64, to_us: i64) -> Self {
        Self {
            firm: series[0].firm.clone(),
            series,
            form,
            functions: BTreeSet::new(),
            from_us,
            to_us,
            epoch: 0,
            until_us: None,
        }
    }
    /// The same with statistics asked for.
    #[cfg(test)]
    pub(crate) fn asking(self, functions: impl IntoIterator<Item = Function>) -> Self {
        Self { functions: functions.into_iter().collect(), ..self }
    }
}

#[cfg(test)]
mod tests;
