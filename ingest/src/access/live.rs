//! A live stream of one series: decide → audit → read, again and again.
//!
//! It promises that from its place on each reading is handed on once, also by another process that
//! goes on from that place: everything before an edge of time that was stored up to a commit was
//! handed on, so that what is new lies behind the edge, or was stored behind the commit. A bucket
//! is handed on once, whole, when it is over. What a consent withholds for its age comes when it is
//! old enough. Whether the stream stands is decided anew at every look, and rows are read as by any
//! read, so that what is revoked ends it within a second. Nothing is kept for whoever is slow: it
//! is read when it can be taken.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::plan::{self, Plan};
use super::slots::ReadSlot;
use super::{Access, AccessError, Chain, HOLDS, ReadCursor, Reader, Receipt, Rows, SeriesInfo};
use crate::audit::{Draft, Kind};
use crate::auth::Member;
use crate::consent::{self, Decision, Denial, Form, Request, Role, Snapshot, Why};
use crate::id::ConsentId;
use crate::time::{MINUTE_US, SECOND_US, rfc3339};

/// Between two looks: a revocation and what was stored are seen well within a second.
const PAUSE: Duration = Duration::from_millis(500);
/// Nothing was handed on for so long: proxies close what is silent for half a minute or so.
pub const QUIET: Duration = Duration::from_secs(15);
/// How long after its end a bucket is waited for: gateways send every few seconds.
const SETTLE_US: i64 = 10 * SECOND_US;
/// The longest time after which a late reading is still handed on. All of it is looked through
/// whenever something was stored.
pub const MAX_LATE_US: i64 = 24 * 3_600 * SECOND_US;
/// The log keeps one count for so long.
const TALLY_US: i64 = MINUTE_US;
/// By how much the clock of another process may be ahead.
const SKEW_US: i64 = MINUTE_US;

/// What is followed.
#[derive(Debug, Clone)]
pub struct Follow {
    /// As for a read. A new stream begins at `from_us`; `to_us` is not looked at.
    pub request: Request,
    /// For how long after its time a reading is handed on when it comes late, µs.
    pub late_us: i64,
    /// Where a stream stopped that is gone on with.
    pub place: Option<Place>,
}

/// How far a stream is: what was stored up to `commit` with times before `edge_us` was handed
/// on, and of the readings at it the first few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// µs since 1970.
    pub edge_us: i64,
    /// Readings at exactly that time which were handed on.
    pub skip: u32,
    /// Of the firm.
    pub commit: i64,
    /// Where it is among readings that came late.
    pub late: Option<LatePlace>,
}

/// How far a stream is among readings before its edge that were stored after its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatePlace {
    /// From where they are looked for, µs since 1970.
    pub from_us: i64,
    /// Those before this time were handed on, µs since 1970.
    pub at_us: i64,
    /// Of those at exactly that time, so many.
    pub skip: u32,
    /// The commit up to which they are looked for.
    pub through: i64,
}

/// What a stream has to say.
#[derive(Debug)]
pub enum News {
    /// What is new.
    Rows(Rows),
    /// Nothing for a while.
    Quiet,
}

/// Whether a request is covered now.
enum Stance {
    Covered(Snapshot, Decision),
    /// By these consents, once it is over or old enough.
    Waiting(Snapshot, BTreeSet<ConsentId>),
    Lost {
        used_up: bool,
    },
}

/// What is being read.
enum Part {
    /// Readings before the edge, stored after the commit and up to this one.
    Late { from_us: i64, through: i64 },
    /// What lies behind the edge, up to this time.
    Front { to_us: i64 },
}

/// What the owner's log says of a stream.
struct Told {
    /// The consents that it names.
    consents: BTreeSet<ConsentId>,
    /// Of the newest entry.
    entry: i64,
    /// When counting began, µs since 1970.
    since_us: i64,
    /// Pieces, rows and bytes since.
    pieces: i64,
    rows: i64,
    bytes: i64,
}

/// A stream. Dropping it ends it and logs its end.
pub struct Follower {
    access: Arc<Access>,
    reading: Option<(Part, Reader)>,
    slot: ReadSlot,
    asker: Member,
    request: Request,
    late_us: i64,
    series: SeriesInfo,
    place: Place,
    told: Option<Told>,
    receipt: Option<Receipt>,
    outcome: &'static str,
    rows: i64,
    bytes: i64,
}

impl Access {
    /// Decides, writes the owner's audit log, and gives a stream that has handed on nothing yet.
    pub async fn follow(self: &Arc<Self>, asker: &Member, follow: Follow) -> Result<Follower, AccessError> {
        let Follow { mut request, late_us, place } = follow;
        request.manner.holds = HOLDS;
        let slot = ReadSlot::stream(self, asker)?;
        (request.series, request.manner.address) = self.meant(&asker.firm, &request.series).await?;
        let commit = {
            let _turn = slot.turn().await;
            self.readings.newest_commit(&request.series.firm).await?
        };
        let begin_us = match &request.form {
            Form::Raw => request.from_us,
            Form::Bucketed { grid } => grid.bucket(request.from_us).0,
        };
        let place = place.unwrap_or(Place { edge_us: begin_us, skip: 0, commit, late: None });
        if !place.belongs(&request.form, commit, self.now_us()) {
            return Err(AccessError::Cursor);
        }
        let first = place.next(&request, self.now_us()).0;
        // What is not covered is refused, and logged, as any read.
        if (asker.role != Role::Member && asker.firm != request.series.firm)
            || matches!(self.stance(&first).await?, Stance::Lost { .. })
        {
            self.decided(asker, &first).await?;
        }
        let mut series = self.series_info(&slot, &request).await?;
        if request.asker != request.series.firm {
            series = self.told(series, plan::pseudonym(&request)).ok_or(AccessError::NotFound)?;
        }
        let mut follower = Follower {
            access: self.clone(),
            reading: None,
            slot,
            asker: asker.clone(),
            request,
            late_us: late_us.clamp(0, MAX_LATE_US),
            series,
            place,
            told: None,
            receipt: None,
            outcome: "aborted",
            rows: 0,
            bytes: 0,
        };
        follower.look().await?;
        self.metrics.reads_started.inc();
        Ok(follower)
    }

    async fn stance(&self, request: &Request) -> Result<Stance, AccessError> {
        let now_us = self.now_us();
        let snapshot = self.decided_on(&request.series.firm).await?;
        Ok(match consent::decide(&snapshot, request, now_us) {
            Ok(decision) => Stance::Covered(snapshot, decision),
            Err(denial) => match waiting(&denial) {
                consents if consents.is_empty() => Stance::Lost { used_up: plan::is_used_up(&denial) },
                consents => Stance::Waiting(snapshot, consents),
            },
        })
    }
}

/// The consents that cover a request but for its being too early.
fn waiting(denial: &Denial) -> BTreeSet<ConsentId> {
    let early = |why: &Why| matches!(why, Why::TooYoung { .. } | Why::Unfinished);
    let all: BTreeSet<_> = denial.reasons.iter().map(|it| it.consent).collect();
    let late = denial.reasons.iter().filter(|it| !early(&it.why)).map(|it| it.consent).collect();
    all.difference(&late).copied().collect()
}

impl Place {
    /// Whether a stream over what is stored up to a commit can be there.
    fn belongs(&self, form: &Form, newest: i64, now_us: i64) -> bool {
        let Self { edge_us, skip, commit, late } = self;
        let in_time = (0..=now_us.saturating_add(SKEW_US)).contains(edge_us);
        let inside =
            |it: &LatePlace| (*commit..=newest).contains(&it.through) && it.from_us <= it.at_us && it.at_us < *edge_us;
        let fits = match form {
            Form::Raw => late.as_ref().is_none_or(inside),
            // One that is over at its edge was waited for, so that it is not yet behind now.
            Form::Bucketed { grid } => *skip == 0 && late.is_none() && grid.is_edge(*edge_us),
        };
        in_time && (0..=newest).contains(commit) && fits
    }

    /// What is read next, and whether any of it is over; else what is decided on is what comes.
    fn next(&self, of: &Request, now_us: i64) -> (Request, bool) {
        let (ripe_us, coming_us) = match &of.form {
            Form::Raw => (now_us, self.edge_us + 1),
            Form::Bucketed { grid } => (grid.bucket(now_us - SETTLE_US).0, grid.bucket(self.edge_us).1),
        };
        let is_ripe = ripe_us > self.edge_us;
        let to_us = if is_ripe { ripe_us } else { coming_us };
        (Request { from_us: self.edge_us, to_us, ..of.clone() }, is_ripe)
    }
}

impl Follower {
    /// The series that is followed.
    pub fn series(&self) -> &SeriesInfo {
        &self.series
    }
    /// The consents that it rests on; empty for one's own series.
    pub fn consents(&self) -> BTreeSet<ConsentId> {
        self.told.as_ref().map(|told| told.consents.clone()).unwrap_or_default()
    }
    /// Where its beginning stands in the owner's log, signed; none for one's own series.
    pub fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }
    /// From where it can be gone on with.
    pub fn place(&self) -> &Place {
        &self.place
    }
    /// Notes how many bytes were made of the rows, for the log.
    pub fn count_bytes(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(told) = &mut self.told {
            told.bytes = told.bytes.saturating_add(bytes);
        }
    }

    /// Waits for what is new. What comes out was permitted when this returned, and must be handed
    /// on at once. An error ends the stream; it can be gone on with from its place.
    pub async fn next(&mut self) -> Result<News, AccessError> {
        let next = self.news().await;
        if let Err(error) = &next {
            self.reading = None;
            match error {
                AccessError::Withdrawn => {
                    self.outcome = "withdrawn";
                    self.access.metrics.reads_withdrawn.inc();
                }
                AccessError::Revoked => self.outcome = "withdrawn",
                AccessError::QuotaExceeded { .. } => self.outcome = "quota_exceeded",
                _ => {}
            }
        }
        next
    }

    async fn news(&mut self) -> Result<News, AccessError> {
        let quiet_at = Instant::now() + QUIET;
        loop {
            if let Some(rows) = self.piece().await? {
                return Ok(News::Rows(rows));
            }
            if Instant::now() >= quiet_at {
                return Ok(News::Quiet);
            }
            let ending = self.access.ending.clone();
            if ending.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                return Err(AccessError::Ending);
            }
            self.look().await?;
        }
    }

    /// The next rows of what is being read; none at its end.
    async fn piece(&mut self) -> Result<Option<Rows>, AccessError> {
        while let Some((part, reader)) = &mut self.reading {
            let rows = reader.next(usize::MAX).await?;
            match (&*part, reader.cursor().filter(|_| rows.is_some())) {
                (&Part::Late { from_us, through }, Some(at)) => {
                    self.place.late = Some(LatePlace { from_us, at_us: at.from_us, skip: at.skip, through });
                }
                (&Part::Late { through, .. }, None) => {
                    self.place.late = None;
                    self.place.commit = through;
                }
                (Part::Front { .. }, Some(at)) => (self.place.edge_us, self.place.skip) = (at.from_us, at.skip),
                (&Part::Front { to_us }, None) => (self.place.edge_us, self.place.skip) = (to_us, 0),
            }
            let Some(rows) = rows else {
                if let Some((Part::Late { .. }, _)) = self.reading.take() {
                    self.open_front().await?;
                }
                continue;
            };
            let count = match &rows {
                Rows::Raw(rows) => rows.len(),
                Rows::Buckets(rows) => rows.len(),
            };
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.rows = self.rows.saturating_add(count);
            if let Some(told) = &mut self.told {
                told.pieces += 1;
                told.rows = told.rows.saturating_add(count);
            }
            return Ok(Some(rows));
        }
        Ok(None)
    }

    /// Looks whether the stream stands, and for what is new.
    async fn look(&mut self) -> Result<(), AccessError> {
        let access = self.access.clone();
        access.still_a_member(&self.asker).await?;
        self.tally().await?;
        let newest = {
            let _turn = self.slot.turn().await;
            access.readings.newest_commit(&self.request.series.firm).await?
        };
        if self.request.form == Form::Raw && newest > self.place.commit && self.open_late(newest).await? {
            // What is behind the edge follows.
            return Ok(());
        }
        (self.place.commit, self.place.late) = (newest.max(self.place.commit), None);
        self.open_front().await
    }

    /// Begins to read what came late, where that is permitted.
    async fn open_late(&mut self, newest: i64) -> Result<bool, AccessError> {
        let Place { edge_us, commit, late, .. } = &self.place;
        let from_us = edge_us.saturating_sub(self.late_us).max(0);
        let begin = LatePlace { from_us, at_us: from_us, skip: 0, through: newest };
        let LatePlace { from_us, at_us, skip, through } = late.clone().unwrap_or(begin);
        let request = Request { from_us, to_us: *edge_us, ..self.request.clone() };
        if from_us >= *edge_us {
            return Ok(false);
        }
        let Stance::Covered(snapshot, decision) = self.access.stance(&request).await? else { return Ok(false) };
        let cursor = ReadCursor::new(0, at_us, skip).as_of(through).after(*commit);
        self.note(&snapshot, &decision.consents).await?;
        let plan = Plan::new(request, &snapshot, decision, Some(cursor))?;
        self.begin(Part::Late { from_us, through }, plan);
        Ok(true)
    }

    /// Begins to read what lies behind the edge. Fails where the stream does not stand any more.
    async fn open_front(&mut self) -> Result<(), AccessError> {
        let (mut request, is_ripe) = self.place.next(&self.request, self.access.now_us());
        loop {
            let (snapshot, decision) = match self.access.stance(&request).await? {
                Stance::Covered(snapshot, decision) => (snapshot, decision),
                Stance::Waiting(snapshot, consents) => return self.note(&snapshot, &consents).await,
                Stance::Lost { used_up: false } => return Err(AccessError::Withdrawn),
                Stance::Lost { used_up: true } => {
                    let begins_anew_us = super::quota::begins_anew_us(super::quota::day_of(self.access.now_us()));
                    return Err(AccessError::QuotaExceeded { begins_anew_us });
                }
            };
            self.note(&snapshot, &decision.consents).await?;
            if !is_ripe {
                return Ok(());
            }
            let cursor = ReadCursor::new(0, self.place.edge_us, self.place.skip).as_of(self.place.commit);
            let plan = Plan::new(request.clone(), &snapshot, decision, Some(cursor))?;
            match plan.ranges.as_slice() {
                // What is not covered yet behind a range may be in a moment: it is not passed over.
                [(_, end_us), _, ..] => request.to_us = *end_us,
                [(_, to_us)] => {
                    let to_us = *to_us;
                    self.begin(Part::Front { to_us }, plan);
                    return Ok(());
                }
                [] => return Ok(()),
            }
        }
    }

    fn begin(&mut self, part: Part, plan: Plan) {
        let reader = Reader::new(self.slot.part(), &self.asker, self.series.clone(), plan, None, None);
        self.reading = Some((part, reader.of_stream()));
    }

    fn draft(&self, kind: Kind) -> Draft {
        let chain = Chain::Firm(self.request.series.firm.clone());
        Draft::new(chain, kind, &self.asker.actor()).with("asker", self.asker.firm.as_str())
    }

    /// Sees to it that the owner's log names what the stream rests on, before anything is read
    /// under it. No log, no read.
    async fn note(&mut self, snapshot: &Snapshot, consents: &BTreeSet<ConsentId>) -> Result<(), AccessError> {
        let is_told = self.told.as_ref().is_some_and(|told| consents.is_subset(&told.consents));
        if is_told || self.asker.firm == self.request.series.firm {
            return Ok(());
        }
        let now_us = self.access.now_us();
        let range = Request { from_us: self.place.edge_us, to_us: now_us, ..self.request.clone() };
        let draft = plan::describe(self.draft(Kind::ReadStarted), &range)
            .with("to", "open")
            .with("live", "yes")
            .with("consents", consents.iter().map(ToString::to_string).collect::<Vec<_>>())
            .with("epoch", i64::try_from(snapshot.epoch()).unwrap_or(i64::MAX));
        let entry = self.access.control.append(draft, now_us).await?;
        let number = i64::try_from(entry.number).unwrap_or(i64::MAX);
        if self.receipt.is_none() && plan::pseudonym(&self.request).is_none() {
            self.receipt = Some(self.access.notary.receipt(&entry));
        }
        let told = self.told.get_or_insert_with(|| Told {
            consents: BTreeSet::new(),
            entry: number,
            since_us: now_us,
            pieces: 0,
            rows: 0,
            bytes: 0,
        });
        told.entry = number;
        told.consents.extend(consents);
        Ok(())
    }

    /// Writes what was handed on in the last minute to the owner's log.
    async fn tally(&mut self) -> Result<(), AccessError> {
        let now_us = self.access.now_us();
        let due = self.told.as_ref().filter(|told| now_us >= told.since_us.saturating_add(TALLY_US));
        let Some(told) = due else { return Ok(()) };
        if told.pieces > 0 {
            let draft = self
                .draft(Kind::Repeated)
                .with("of", Kind::ReadStarted.as_str())
                .with("asset", self.request.series.asset.as_str())
                .with("metric", self.request.series.metric.as_str())
                .with("entry", told.entry)
                .with("times", told.pieces)
                .with("first", rfc3339(told.since_us))
                .with("last", rfc3339(now_us))
                .with("rows", told.rows)
                .with("bytes", told.bytes);
            self.access.control.append(draft, now_us).await?;
        }
        if let Some(told) = &mut self.told {
            (told.since_us, told.pieces, told.rows, told.bytes) = (now_us, 0, 0, 0);
        }
        Ok(())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.reading = None;
        let Some(told) = &self.told else { return };
        let draft = plan::describe(self.draft(Kind::ReadFinished), &self.request)
            .with("to", rfc3339(self.place.edge_us))
            .with("live", "yes")
            .with("consents", told.consents.iter().map(ToString::to_string).collect::<Vec<_>>())
            .with("outcome", self.outcome)
            .with("rows", self.rows)
            .with("bytes", self.bytes);
        let access = self.access.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let entry = async move {
                if let Err(error) = access.control.append(draft, access.now_us()).await {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the end of a stream could not be logged"
                    );
                }
            };
            self.access.closing.spawn_on(entry, &runtime);
        }
    }
}

#[cfg(test)]
mod tests;
