//! The decision. Intervals are half-open, UTC, by the server's clock.

mod cover;
mod offer;
mod weigh;
mod why;

use std::collections::BTreeSet;

use sandan_proto::id::{FirmId, SeriesKey};

use self::cover::{Cover, Duty, unite};
pub use self::offer::{Offer, Offered, offers};
pub use self::why::{Reason, Why};
use super::snapshot::{Grant, Numbered, Snapshot};
use super::terms::{Function, Identity, Purpose};
use super::{Form, Permit};
use crate::id::ConsentId;

/// Consents that have ended of which a denial tells, the newest ones: they pile up.
const MAX_ENDED: usize = 16;

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
    /// How it is asked.
    pub manner: Manner,
}

/// How something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    /// What for. A consent in its full form covers only requests that name one of its purposes.
    pub purpose: Option<Purpose>,
    /// By which name the series was called.
    pub address: Address,
    /// What the door that asks holds its readers to.
    pub holds: Holds,
}

/// By which name a series was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Address {
    /// By its own.
    #[default]
    Name,
    /// By the pseudonym that it goes by under one consent.
    Pseudonym(ConsentId),
}

/// Duties that come with a permit, which the one who reads with it has to keep. A consent with
/// a duty that is not kept covers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holds {
    /// Only readings up to the permit's commit are handed on.
    pub commits: bool,
    /// Rows are counted, and no more than the permit's are handed on.
    pub quotas: bool,
}

/// A read that may happen: at least one permit, in order of their beginnings.
///
/// Permits of the same duties are disjoint. Those of different duties may overlap, where
/// neither covers what the other does: a reading is then handed on once, under the first that
/// covers it.
#[derive(Debug, Clone)]
pub struct Decision {
    /// What may be read.
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
    /// Why each consent that names the series does not cover the request; of one that has ended, that alone.
    pub reasons: Vec<Reason>,
}

impl Denial {
    const UNKNOWN: Denial = Denial { known: false, reasons: Vec::new() };
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
/// A consent is weighed alone, so what it covers does not depend on the others; what they
/// cover is united.
pub fn decide(snapshot: &Snapshot, request: &Request, now_us: i64) -> Result<Decision, Denial> {
    let now_us = now_us.max(snapshot.newest_us);
    let asks_nothing = request.form != Form::Raw && request.functions.is_empty();
    if *snapshot.grantor() != request.series.firm || asks_nothing {
        return Err(Denial::UNKNOWN);
    }
    if request.asker == request.series.firm {
        return own(snapshot, request);
    }
    let closed = &snapshot.rules().closed;
    if closed.contains(&request.asker) || closed.contains(&request.series.firm) {
        return Err(Denial::UNKNOWN);
    }
    // By name, a series that is shared under a pseudonym only is not there; a pseudonym is of one
    // consent.
    let is_called = |(_, grant, terms): &Numbered<'_>| match request.manner.address {
        Address::Name => terms.identity() == Identity::Named,
        Address::Pseudonym(consent) => grant.id == consent && terms.identity() == Identity::Pseudonym,
    };
    let mut consents = BTreeSet::new();
    let mut until_us: Option<i64> = None;
    let mut covers: Vec<Cover> = Vec::new();
    // With the number of the grant, for their order.
    let mut reasons: Vec<(u32, Reason)> = Vec::new();
    let mut whys = Vec::new();
    let naming = snapshot.naming(&request.asker, &request.series);
    for (number, grant, terms) in naming.standing(now_us).filter(is_called) {
        let covered = weigh::weigh(snapshot, grant, terms, request, now_us, &mut whys);
        if whys.is_empty() {
            covers.extend(covered);
            consents.insert(grant.id);
            let ends = terms.access.until_us;
            until_us = Some(until_us.map_or(ends, |until| until.min(ends)));
        }
        reasons.extend(whys.drain(..).map(|why| (number, Reason { consent: grant.id, why })));
    }
    if covers.is_empty() {
        // What has ended is looked at only to say so.
        for (number, grant, terms) in naming.ended(now_us).filter(is_called).take(MAX_ENDED) {
            weigh::stands(grant, terms, now_us, &mut whys);
            reasons.extend(whys.drain(..).map(|why| (number, Reason { consent: grant.id, why })));
        }
        reasons.sort_by_key(|(number, _)| *number);
        let known = !reasons.is_empty() || !consents.is_empty();
        return Err(Denial { known, reasons: reasons.into_iter().map(|(_, reason)| reason).collect() });
    }
    let permits = unite(covers).into_iter().map(|cover| permit(snapshot, request, &cover, until_us)).collect();
    Ok(Decision { permits, consents })
}

/// One's own is read without a consent; that is the only other way in.
fn own(snapshot: &Snapshot, request: &Request) -> Result<Decision, Denial> {
    let range = align(&request.form, request.from_us, request.to_us);
    match (range, request.manner.address) {
        (Some((from_us, to_us)), Address::Name) => {
            let cover = Cover { from_us, to_us, duty: Duty::NONE };
            Ok(Decision { permits: vec![permit(snapshot, request, &cover, None)], consents: BTreeSet::new() })
        }
        (None, Address::Name) => Err(Denial { known: true, reasons: Vec::new() }),
        (_, Address::Pseudonym(_)) => Err(Denial::UNKNOWN),
    }
}

fn permit(snapshot: &Snapshot, request: &Request, cover: &Cover, until_us: Option<i64>) -> Permit {
    Permit {
        firm: request.series.firm.clone(),
        series: vec![request.series.clone()],
        form: request.form.clone(),
        functions: request.functions.clone(),
        from_us: cover.from_us,
        to_us: cover.to_us,
        epoch: snapshot.epoch(),
        until_us,
        through_commit: cover.duty.through_commit,
        quota: cover.duty.quota,
    }
}

/// What another firm would read under a draft, on the grantor's real data. Only the grantor
/// may know; nothing is granted by it. None for anyone else.
///
/// The draft is taken as approved at `mark` and in force alone, beside all rules.
pub fn rehearse(
    snapshot: &Snapshot,
    draft: &Grant,
    request: &Request,
    by: &FirmId,
    now_us: i64,
) -> Option<Result<Decision, Denial>> {
    if by != snapshot.grantor() {
        return None;
    }
    let grant = Grant { status: super::record::Status::Active, ..draft.clone() };
    Some(decide(&snapshot.only(grant), request, now_us))
}
