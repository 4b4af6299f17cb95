//! The decision. Intervals are half-open, UTC, by the server's clock.

use std::collections::BTreeSet;

use sandan_proto::id::{FirmId, SeriesKey};

use super::record::{Consent, Function, SharedForm, Status, StoredTerms, Terms};
use super::{Form, Permit};
use crate::id::ConsentId;
use crate::time::{rfc3339, show_duration};

/// The consents of one grantor at one epoch.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The owner of the series.
    pub grantor: FirmId,
    /// Raised by each grant, suspension, confirmation and revocation of the grantor.
    pub epoch: u64,
    /// Its consents, of any status and to anyone.
    pub consents: Vec<Consent>,
}

/// What is asked for. The owner is `series.firm`.
#[derive(Debug, Clone)]
pub struct Request {
    /// The firm of the member who asks.
    pub asker: FirmId,
    /// One series.
    pub series: SeriesKey,
    /// Raw, or buckets of a width.
    pub form: Form,
    /// Statistics wanted of each bucket; empty when raw.
    pub functions: BTreeSet<Function>,
    /// First observation time, µs since 1970.
    pub from_us: i64,
    /// Last observation time, exclusive.
    pub to_us: i64,
}

/// A read that may happen: one permit for each unbroken range, in order of time, at least one.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Disjoint, ascending.
    pub permits: Vec<Permit>,
    /// The consents it rests on; empty for one's own series.
    pub consents: BTreeSet<ConsentId>,
}

/// A read that may not happen.
#[derive(Debug, Clone, PartialEq)]
pub struct Denial {
    /// Whether a consent ever named this series for the asker. If none did, the
    /// answer must not differ from the one for a series that does not exist.
    pub known: bool,
    /// Why each consent that names the series does not cover the request.
    pub reasons: Vec<Reason>,
}

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
    #[error("readings are not shared, only buckets of {} or a multiple of it", show_duration(*.floor_us))]
    RawNotShared { floor_us: i64 },
    #[error("buckets are shared at {} and whole multiples of it; days only where each begins on such a multiple", show_duration(*.floor_us))]
    Resolution { floor_us: i64 },
    #[error("not shared: {}; shared: {}", list(.missing), list(.shared))]
    Functions { missing: BTreeSet<Function>, shared: BTreeSet<Function> },
    #[error("nothing asked for lies in the shared times, from {} to {}", end(*.from_us), end(*.to_us))]
    Window { from_us: Option<i64>, to_us: Option<i64> },
    #[error("no bucket asked for is over yet; a bucket is shared once it has ended")]
    Unfinished,
}

fn list(functions: &BTreeSet<Function>) -> String {
    functions.iter().map(|function| function.as_str()).collect::<Vec<_>>().join(", ")
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
            Why::RawNotShared { .. } => "raw_not_shared",
            Why::Resolution { .. } => "resolution",
            Why::Functions { .. } => "functions",
            Why::Window { .. } => "window",
            Why::Unfinished => "unfinished",
        }
    }
}

/// The whole buckets inside [from, to), as a range; raw takes it as it is. None when nothing is left.
pub fn align(form: &Form, from_us: i64, to_us: i64) -> Option<(i64, i64)> {
    match form {
        Form::Raw => (from_us < to_us).then_some((from_us, to_us)),
        Form::Bucketed { grid } => grid.align(from_us, to_us),
    }
}

/// Answers whether, and over which ranges, `request` may be read at `now_us`.
///
/// A consent is weighed alone, so what it covers does not depend on the others; the
/// ranges of those that cover are united.
pub fn decide(snapshot: &Snapshot, request: &Request, now_us: i64) -> Result<Decision, Denial> {
    let unknown = Denial { known: false, reasons: Vec::new() };
    let asks_nothing = request.form != Form::Raw && request.functions.is_empty();
    if snapshot.grantor != request.series.firm || asks_nothing {
        return Err(unknown);
    }
    let mut consents = BTreeSet::new();
    let mut until_us = None;
    let mut ranges = Vec::new();
    let mut denial = unknown;
    if request.asker == request.series.firm {
        denial.known = true;
        ranges.extend(align(&request.form, request.from_us, request.to_us));
    } else {
        for consent in &snapshot.consents {
            let StoredTerms::Known(terms) = &consent.terms else { continue };
            let concerns = consent.grantor == request.series.firm && consent.grantee == request.asker;
            if !concerns || !terms.names(&request.series) {
                continue;
            }
            denial.known = true;
            match weigh(consent.status, terms, request, now_us) {
                Ok(range) => {
                    ranges.push(range);
                    consents.insert(consent.id);
                    let ends = terms.access.until_us;
                    until_us = Some(until_us.map_or(ends, |until: i64| until.min(ends)));
                }
                Err(whys) => {
                    denial.reasons.extend(whys.into_iter().map(|why| Reason { consent: consent.id, why }));
                }
            }
        }
    }
    if ranges.is_empty() {
        return Err(denial);
    }
    let permit = |(from_us, to_us)| Permit {
        firm: request.series.firm.clone(),
        series: vec![request.series.clone()],
        form: request.form.clone(),
        functions: request.functions.clone(),
        from_us,
        to_us,
        epoch: snapshot.epoch,
        until_us,
    };
    Ok(Decision { permits: unite(ranges).into_iter().map(permit).collect(), consents })
}

/// The range that one consent covers, or everything in which it falls short.
fn weigh(status: Status, terms: &Terms, request: &Request, now_us: i64) -> Result<(i64, i64), Vec<Why>> {
    let mut whys = Vec::new();
    match status {
        Status::Active => {}
        Status::Suspended { since_us } => whys.push(Why::Suspended { since_us }),
        Status::Revoked { at_us } => whys.push(Why::Revoked { at_us }),
    }
    let access = terms.access;
    if now_us < access.not_before_us {
        whys.push(Why::NotYet { not_before_us: access.not_before_us });
    }
    if now_us >= access.until_us {
        whys.push(Why::Expired { until_us: access.until_us });
    }
    match (&terms.form, &request.form) {
        (SharedForm::Raw, _) => {}
        (SharedForm::Bucketed { floor_us, .. }, Form::Raw) => whys.push(Why::RawNotShared { floor_us: *floor_us }),
        (SharedForm::Bucketed { floor_us, functions }, Form::Bucketed { grid }) => {
            // A floor of 0 or less is a record that nobody could have granted: it covers nothing.
            // Days have to begin on multiples of the floor too: a day of UTC less one of Seoul
            // would be a cell of nine hours.
            if !grid.lies_on(*floor_us, request.from_us, request.to_us) {
                whys.push(Why::Resolution { floor_us: *floor_us });
            }
            let missing: BTreeSet<_> = request.functions.difference(functions).copied().collect();
            if !missing.is_empty() {
                whys.push(Why::Functions { missing, shared: functions.clone() });
            }
        }
    }
    let from_us = terms.event.from_us.map_or(request.from_us, |from| from.max(request.from_us));
    let to_us = terms.event.to_us.map_or(request.to_us, |to| to.min(request.to_us));
    let mut range = align(&request.form, from_us, to_us);
    if range.is_none() {
        whys.push(Why::Window { from_us: terms.event.from_us, to_us: terms.event.to_us });
    } else if matches!(terms.form, SharedForm::Bucketed { .. }) {
        // Whoever asks again and again while a bucket fills sees each reading in the difference.
        range = align(&request.form, from_us, to_us.min(now_us));
        if range.is_none() {
            whys.push(Why::Unfinished);
        }
    }
    match range {
        Some(range) if whys.is_empty() => Ok(range),
        _ => Err(whys),
    }
}

fn unite(mut ranges: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    ranges.sort_unstable();
    let mut united: Vec<(i64, i64)> = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match united.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => united.push((from, to)),
        }
    }
    united
}
