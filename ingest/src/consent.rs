//! Consent: one firm's permission to another, and the one function that decides a read.
//!
//! Pure: no I/O, no clock; the caller brings the records and the time. It promises
//! that a [`Permit`] exists only where the asker owns the series or one consent in
//! force covers every dimension of what is read, that a further consent never
//! reduces what was readable, and that anything unknown or empty means *no*.
//! It must not know the store, HTTP or the audit log.

mod decide;
mod grid;
mod groups;
mod lexicon;
mod life;
mod officers;
mod page;
mod record;
mod roles;
mod rules;
mod runs;
mod signs;
mod snapshot;
mod terms;

use std::collections::BTreeSet;

use sandan_proto::id::{FirmId, SeriesKey};

pub use self::decide::{
    Address, Decision, Denial, Holds, Manner, Offer, Offered, Reason, Request, Why, align, decide, offers, rehearse,
};
pub use self::grid::Grid;
pub use self::groups::{Group, GroupKind, Membership, RosterRefusal};
pub use self::lexicon::{Word, dictionary, word};
pub use self::life::{
    Act, Agreement, Applied, Approval, Command, End, Event, Hold, InForce, Party, Phase, Proposal, Refusal,
    SECOND_THOUGHT_US, Signature, Situation, Turn,
};
pub use self::officers::{OfficerDeed, OfficerEvent, OfficerRefusal, Officers, Standing};
pub use self::page::{Name, NotAHash, Page, PageHash, PageOf, Papers, page, papers};
pub use self::record::{Consent, Grantee, Mark, Status, StoredTerms};
pub use self::roles::{Actor, Role};
pub use self::rules::{AllianceRule, Class, Dictionary, Layer, Meaning, Prohibition, Rules, Run, Sensitive};
pub use self::runs::{LotRun, RunFault, TagRuns, table};
pub(crate) use self::signs::has_hidden;
pub use self::snapshot::{Grant, Snapshot};
pub use self::terms::{
    AccessWindow, Agreed, EventWindow, Function, Identity, OnwardUse, Purpose, Relation, SharedForm, TermFault, Terms,
};
use crate::id::ConsentId;

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
    through_commit: Option<u64>,
    quota: Option<(ConsentId, u64)>,
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
    /// The firm's commit up to which readings may be handed on; none: all. Only those who said
    /// that they keep it get such a permit.
    pub fn through_commit(&self) -> Option<u64> {
        self.through_commit
    }
    /// The consent whose quota the rows count towards, and how many are left of it; none:
    /// as many as there are. Only those who said that they count get such a permit.
    pub fn quota(&self) -> Option<(ConsentId, u64)> {
        self.quota
    }
    /// The same for less: up to an earlier time, and of that whole buckets only.
    #[must_use]
    pub fn ending(&self, to_us: i64) -> Self {
        let to_us = match &self.form {
            Form::Raw => to_us,
            Form::Bucketed { grid } => grid.bucket(to_us).0,
        };
        Self { to_us: self.to_us.min(to_us), ..self.clone() }
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
            through_commit: None,
            quota: None,
        }
    }
    /// The same with statistics asked for.
    #[cfg(test)]
    pub(crate) fn asking(self, functions: impl IntoIterator<Item = Function>) -> Self {
        Self { functions: functions.into_iter().collect(), ..self }
    }
    /// The same with duties.
    #[cfg(test)]
    pub(crate) fn bound(self, through_commit: Option<u64>, quota: Option<(ConsentId, u64)>) -> Self {
        Self { through_commit, quota, ..self }
    }
}

#[cfg(test)]
mod tests;
