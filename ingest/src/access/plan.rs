//! What is read, as decided: the stretches that are left, and where it stands in them.

use std::collections::{BTreeSet, VecDeque};

use super::quota::Quotas;
use super::stretches::{Granted, Stretch, clip, cover};
use super::{AccessError, ReadCursor, Rows};
use crate::audit::Draft;
use crate::consent::{self, Address, Decision, Denial, Form, Permit, Reason, Request, Snapshot, Why};
use crate::id::ConsentId;
use crate::time::rfc3339;

/// What is read, as decided.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) request: Request,
    /// What is left to read, in order of time; the first is the one being read.
    stretches: VecDeque<Stretch>,
    /// What was granted at the beginning.
    granted: Vec<Granted>,
    /// The ranges of it.
    pub(super) ranges: Vec<(i64, i64)>,
    pub(super) consents: BTreeSet<ConsentId>,
    quotas: Quotas,
    /// The next row, while the first stretch was begun.
    at: Option<ReadCursor>,
    /// The firm's commit up to which is read, from the first chunk on.
    as_of: Option<i64>,
    /// Only what was stored after this commit is read.
    after: Option<i64>,
}

/// Why what was granted is not any more.
pub(super) enum Lost {
    /// A consent ended, or covers less.
    Withdrawn,
    /// It would, but for today's rows.
    Quota,
}

impl Plan {
    pub(super) fn new(
        request: Request,
        snapshot: &Snapshot,
        decision: Decision,
        cursor: Option<ReadCursor>,
    ) -> Result<Self, AccessError> {
        let mut quotas = Quotas::default();
        quotas.learn(totals(snapshot, &decision));
        let mut stretches: VecDeque<_> = Stretch::cut(decision.permits).into();
        let granted: Vec<_> = stretches.iter().map(Stretch::granted).collect();
        if let Some(cursor) = &cursor {
            let inside = (request.from_us..request.to_us).contains(&cursor.from_us);
            // A bucket that begins in its middle would be one of fewer readings than agreed.
            let whole = match &request.form {
                Form::Raw => true,
                Form::Bucketed { grid } => cursor.skip == 0 && grid.is_edge(cursor.from_us),
            };
            if cursor.series != 0 || !inside || !whole {
                return Err(AccessError::Cursor);
            }
            stretches.retain(|stretch| cursor.from_us < stretch.to_us);
        }
        let (as_of, after) = cursor.as_ref().map_or((None, None), |cursor| (cursor.as_of, cursor.after));
        let at = cursor.filter(|cursor| stretches.front().is_some_and(|stretch| stretch.from_us <= cursor.from_us));
        let ranges = joined(&granted);
        let consents = decision.consents;
        Ok(Self { request, stretches, granted, ranges, consents, quotas, at, as_of, after })
    }

    /// Whether the asker is not the owner.
    pub(super) fn crosses_firms(&self) -> bool {
        self.request.asker != self.request.series.firm
    }

    /// The request and what it rests on, for the log.
    pub(super) fn describe(&self, draft: Draft) -> Draft {
        let epoch = self.reading().map_or(0, Permit::epoch);
        describe(draft, &self.request)
            .with("consents", self.consents.iter().map(ToString::to_string).collect::<Vec<_>>())
            .with("epoch", i64::try_from(epoch).unwrap_or(i64::MAX))
    }

    /// The stretch that is being read; none at the end.
    pub(super) fn stretch(&self) -> Option<&Stretch> {
        self.stretches.front()
    }

    /// The consent whose pseudonym the series was called by.
    pub(super) fn pseudonym(&self) -> Option<ConsentId> {
        pseudonym(&self.request)
    }

    /// It, and what is counted of it.
    pub(super) fn counting(&mut self) -> Option<(&Stretch, &mut Quotas)> {
        Some((self.stretches.front()?, &mut self.quotas))
    }

    /// What the store reads it under.
    pub(super) fn reading(&self) -> Option<&Permit> {
        self.stretch().map(Stretch::reading)
    }

    /// Where the next chunk begins.
    pub(super) fn place(&self) -> Option<ReadCursor> {
        let begin = ReadCursor::new(0, self.stretch()?.from_us, 0);
        let place = self.at.clone().unwrap_or(begin);
        Some(ReadCursor { as_of: self.as_of.or(place.as_of), after: self.after, ..place })
    }

    /// Where a later read goes on.
    pub(super) fn cursor(&self) -> Option<ReadCursor> {
        // A bucket that was begun is begun anew: what was read of it stays here.
        self.place().map(|place| ReadCursor { part: None, ..place })
    }

    /// Notes up to which commit is read.
    pub(super) fn read_as_of(&mut self, commit: i64) {
        self.as_of = Some(commit);
    }

    /// Goes on behind what held nothing.
    pub(super) fn skip_to(&mut self, next: Option<ReadCursor>) {
        match next {
            Some(next) => self.at = Some(next),
            None => self.next_stretch(),
        }
    }

    fn next_stretch(&mut self) {
        self.stretches.pop_front();
        self.at = None;
    }

    /// Moves the place behind what is handed on; `tail` when nothing of the stretch follows.
    pub(super) fn advance(&mut self, rows: &Rows, tail: bool) {
        let before = self.at.take();
        self.at = match rows {
            Rows::Raw(rows) => rows.last().map(|last| {
                let same = rows.iter().rev().take_while(|row| row.time_us == last.time_us).count();
                let carried = match before {
                    // The whole piece has the time at which it began.
                    Some(at) if at.from_us == last.time_us && same == rows.len() => at.skip,
                    _ => 0,
                };
                let skip = carried.saturating_add(u32::try_from(same).unwrap_or(u32::MAX));
                ReadCursor::new(0, last.time_us, skip)
            }),
            Rows::Buckets(rows) => rows.last().map(|last| ReadCursor::new(0, last.end_us, 0)),
        };
        let ended = match (self.stretch(), &self.at) {
            (Some(stretch), Some(at)) => at.from_us >= stretch.to_us,
            _ => true,
        };
        if ended || tail {
            self.next_stretch();
        }
    }

    /// Replaces what is left by what is decided now. Anything less than what was left ends the
    /// read: a hole that opens in the middle could not be told from missing data.
    pub(super) fn decide_again(&mut self, snapshot: &Snapshot, now_us: i64) -> Result<(), Lost> {
        let Some(last) = self.stretches.back() else { return Ok(()) };
        let mut left: Vec<_> = self.stretches.iter().map(Stretch::granted).collect();
        if let (Some(first), Some(at)) = (left.first_mut(), &self.at) {
            first.from_us = first.from_us.max(at.from_us);
        }
        let mut rest = self.request.clone();
        rest.from_us = left.first().map_or(rest.from_us, |first| first.from_us);
        rest.to_us = last.to_us;
        left.retain(|it| it.from_us < it.to_us);
        let decision = decide(snapshot, &rest, now_us, &left)?;
        self.quotas.learn(totals(snapshot, &decision));
        self.consents.extend(&decision.consents);
        self.stretches = clip(Stretch::cut(decision.permits), &left).into();
        Ok(())
    }

    /// Whether all that was granted is still permitted, also what was handed on. Rows that were
    /// counted meanwhile take nothing away from it.
    pub(super) fn check(&self, mut snapshot: Snapshot, now_us: i64) -> Result<(), Lost> {
        snapshot.used.clear();
        decide(&snapshot, &self.request, now_us, &self.granted).map(drop)
    }
}

/// What is decided now, where it covers what was granted.
fn decide(snapshot: &Snapshot, request: &Request, now_us: i64, granted: &[Granted]) -> Result<Decision, Lost> {
    let covering = |snapshot: &Snapshot| {
        let decision = consent::decide(snapshot, request, now_us).ok();
        decision.filter(|it| cover(&Stretch::cut(it.permits.clone()), granted))
    };
    if let Some(decision) = covering(snapshot) {
        return Ok(decision);
    }
    let mut unused = snapshot.clone();
    unused.used.clear();
    Err(if covering(&unused).is_some() { Lost::Quota } else { Lost::Withdrawn })
}

/// Whether a request is denied for nothing but that today's rows are used up.
pub(super) fn is_used_up(denial: &Denial) -> bool {
    let alone = |reason: &&Reason| denial.reasons.iter().filter(|it| it.consent == reason.consent).count() == 1;
    denial.reasons.iter().filter(alone).any(|it| it.why == Why::QuotaUsedUp)
}

/// The consent whose pseudonym a series is called by.
pub(super) fn pseudonym(request: &Request) -> Option<ConsentId> {
    match request.manner.address {
        Address::Name => None,
        Address::Pseudonym(consent) => Some(consent),
    }
}

/// Rows a day of the consents of a decision.
fn totals(snapshot: &Snapshot, decision: &Decision) -> Vec<(ConsentId, u64)> {
    let total = |(consent, left): (ConsentId, u64)| {
        let used = snapshot.used.get(&consent).copied().unwrap_or(0);
        (consent, left.saturating_add(used))
    };
    decision.permits.iter().filter_map(Permit::quota).map(total).collect()
}

/// Ranges that touch as one.
fn joined(granted: &[Granted]) -> Vec<(i64, i64)> {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for it in granted {
        match ranges.last_mut() {
            Some(last) if last.1 == it.from_us => last.1 = it.to_us,
            _ => ranges.push((it.from_us, it.to_us)),
        }
    }
    ranges
}

/// The request, for the log.
pub(super) fn describe(draft: Draft, request: &Request) -> Draft {
    let draft = draft
        .with("asset", request.series.asset.as_str())
        .with("metric", request.series.metric.as_str())
        .with("from", rfc3339(request.from_us))
        .with("to", rfc3339(request.to_us));
    let draft = match request.manner.purpose {
        Some(purpose) => draft.with("purpose", purpose.as_str()),
        None => draft,
    };
    let draft = match pseudonym(request) {
        Some(_) => draft.with("identity", "pseudonym"),
        None => draft,
    };
    let Form::Bucketed { grid } = &request.form else { return draft.with("form", "raw") };
    let draft = match grid.describe() {
        Ok(width_us) => draft.with("form", "bucketed").with("width_us", width_us),
        Err(zone) => draft.with("form", "bucketed").with("days", zone),
    };
    draft.with("functions", request.functions.iter().map(ToString::to_string).collect::<Vec<_>>())
}
