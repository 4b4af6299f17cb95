//! One read from its decision to its last row.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::repeats::{Repetition, Sums};
use super::{Access, AccessError, Bucket, Chain, GapMark, ReadCursor, ReadSlot, Rows, SeriesInfo, StoredReading};
use crate::audit::seal::Receipt;
use crate::audit::{Draft, Kind};
use crate::auth::Member;
use crate::consent::{self, Decision, Form, Permit, Request};
use crate::id::ConsentId;
use crate::time::rfc3339;

/// Most rows read from the store at once: a piece of well under a second.
const MAX_CHUNK_ROWS: usize = 10_000;
/// Most rows handed on after one check of the epoch: about 60 KiB as text.
const MAX_PIECE_ROWS: usize = 1_000;

/// What is read, as decided.
#[derive(Debug)]
pub struct Plan {
    request: Request,
    /// What is left to read, in order of time; the first is the one being read.
    permits: VecDeque<Permit>,
    /// What was granted at the beginning.
    ranges: Vec<(i64, i64)>,
    consents: BTreeSet<ConsentId>,
    /// The next row, while the first permit was begun.
    at: Option<ReadCursor>,
    /// The firm's commit up to which is read, from the first chunk on.
    as_of: Option<i64>,
}

impl Plan {
    pub(super) fn new(request: Request, decision: Decision, cursor: Option<ReadCursor>) -> Result<Self, AccessError> {
        let ranges = decision.permits.iter().map(|permit| (permit.from_us(), permit.to_us())).collect();
        let mut permits: VecDeque<_> = decision.permits.into();
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
            permits.retain(|permit| cursor.from_us < permit.to_us());
        }
        let as_of = cursor.as_ref().and_then(|cursor| cursor.as_of);
        let at = cursor.filter(|cursor| permits.front().is_some_and(|permit| permit.from_us() <= cursor.from_us));
        Ok(Self { request, permits, ranges, consents: decision.consents, at, as_of })
    }

    /// Whether the asker is not the owner.
    pub(super) fn crosses_firms(&self) -> bool {
        self.request.asker != self.request.series.firm
    }

    /// The request and what it rests on, for the log.
    pub(super) fn describe(&self, draft: Draft) -> Draft {
        describe(draft, &self.request)
            .with("consents", self.consents.iter().map(ToString::to_string).collect::<Vec<_>>())
            .with("epoch", self.permits.front().map_or(0, |permit| i64::try_from(permit.epoch()).unwrap_or(i64::MAX)))
    }
}

/// The request, for the log.
pub(super) fn describe(draft: Draft, request: &Request) -> Draft {
    let draft = draft
        .with("asset", request.series.asset.as_str())
        .with("metric", request.series.metric.as_str())
        .with("from", rfc3339(request.from_us))
        .with("to", rfc3339(request.to_us));
    let Form::Bucketed { grid } = &request.form else { return draft.with("form", "raw") };
    let draft = match grid.describe() {
        Ok(width_us) => draft.with("form", "bucketed").with("width_us", width_us),
        Err(zone) => draft.with("form", "bucketed").with("days", zone),
    };
    draft.with("functions", request.functions.iter().map(ToString::to_string).collect::<Vec<_>>())
}

/// How a read ended, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// To the last row that was asked for.
    Complete,
    /// The consent went away, or the asker's token.
    Withdrawn,
    /// The asker went away, or the store failed.
    Aborted,
}

/// Hands rows on, piece by piece, each checked. Dropping it ends the read and logs
/// the end of it.
pub struct Reader {
    access: Arc<Access>,
    slot: ReadSlot,
    asker: Member,
    series: SeriesInfo,
    plan: Plan,
    receipt: Option<Receipt>,
    /// Of which the log keeps a count, as long as it rests on what it repeats.
    repetition: Option<Repetition>,
    /// Read and not handed on yet.
    queue: Queue,
    /// Whether the store holds nothing behind the queue for the permit being read.
    tail: bool,
    /// What is declared missing in what was read.
    gaps: BTreeSet<GapMark>,
    outcome: Outcome,
    rows: u64,
    bytes: u64,
}

enum Queue {
    Raw(VecDeque<StoredReading>),
    Buckets(VecDeque<Bucket>),
}

impl Queue {
    fn of(rows: Rows) -> Self {
        match rows {
            Rows::Raw(rows) => Queue::Raw(rows.into()),
            Rows::Buckets(rows) => Queue::Buckets(rows.into()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Queue::Raw(rows) => rows.len(),
            Queue::Buckets(rows) => rows.len(),
        }
    }

    fn take(&mut self, count: usize) -> Rows {
        match self {
            Queue::Raw(rows) => Rows::Raw(rows.drain(..count.min(rows.len())).collect()),
            Queue::Buckets(rows) => Rows::Buckets(rows.drain(..count.min(rows.len())).collect()),
        }
    }
}

impl Reader {
    pub(super) fn new(
        slot: ReadSlot,
        asker: &Member,
        series: SeriesInfo,
        plan: Plan,
        receipt: Option<Receipt>,
        repetition: Option<Repetition>,
    ) -> Self {
        let queue = match plan.request.form {
            Form::Raw => Queue::Raw(VecDeque::new()),
            Form::Bucketed { .. } => Queue::Buckets(VecDeque::new()),
        };
        Self {
            access: slot.access.clone(),
            slot,
            asker: asker.clone(),
            series,
            plan,
            receipt,
            repetition,
            queue,
            tail: false,
            gaps: BTreeSet::new(),
            outcome: Outcome::Aborted,
            rows: 0,
            bytes: 0,
        }
    }

    /// The series that is read.
    pub fn series(&self) -> &SeriesInfo {
        &self.series
    }
    /// The consents that the read rests on; empty for one's own series.
    pub fn consents(&self) -> &BTreeSet<ConsentId> {
        &self.plan.consents
    }
    /// Where the read stands in the owner's log, signed; none for one's own series.
    pub fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }
    /// The ranges that are served, µs since 1970, half-open.
    pub fn ranges(&self) -> &[(i64, i64)] {
        &self.plan.ranges
    }
    /// Where the next row begins; none when all were handed on.
    pub fn cursor(&self) -> Option<ReadCursor> {
        let permit = self.plan.permits.front()?;
        let at = self.plan.at.as_ref().map_or((permit.from_us(), 0), |at| (at.from_us, at.skip));
        // A bucket that was begun is begun anew: what was read of it stays here.
        Some(ReadCursor { as_of: self.plan.as_of, ..ReadCursor::new(0, at.0, at.1) })
    }
    /// What is declared missing in the times that were read so far, in order of time.
    pub fn gaps(&self) -> &BTreeSet<GapMark> {
        &self.gaps
    }
    /// Notes how many bytes were made of the rows, for the log.
    pub fn count_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The next rows, at most `wanted` and never none; `Ok(None)` at the end. `wanted` is
    /// what the caller still has use for: no more is read from the store.
    ///
    /// What comes out was permitted when this returned. The caller must hand it on at
    /// once, or ask [`check`](Self::check) before it does.
    pub async fn next(&mut self, wanted: usize) -> Result<Option<Rows>, AccessError> {
        loop {
            if self.queue.len() == 0 {
                if self.plan.permits.is_empty() {
                    self.outcome = Outcome::Complete;
                    return Ok(None);
                }
                self.fill(wanted).await?;
                continue;
            }
            let access = self.access.clone();
            let unchanged = access.consents.read().await;
            if self.holds().await? {
                let rows = self.queue.take(wanted.clamp(1, MAX_PIECE_ROWS));
                self.advance(&rows);
                return Ok(Some(rows));
            }
            drop(unchanged);
            self.decide_again().await?;
        }
    }

    /// Fails unless what was handed out last is still permitted.
    pub async fn check(&mut self) -> Result<(), AccessError> {
        let access = self.access.clone();
        let unchanged = access.consents.read().await;
        self.member().await?;
        if !self.plan.crosses_firms() {
            return Ok(());
        }
        // All of the first request must still be permitted, also what was handed out.
        let snapshot = access.control.snapshot(&self.plan.request.series.firm).await?;
        drop(unchanged);
        let now_us = access.now_us();
        match consent::decide(&snapshot, &self.plan.request, now_us) {
            Ok(decision) if covers(&decision, &self.plan.ranges) => Ok(()),
            _ => Err(self.withdrawn()),
        }
    }

    /// Reads the next chunk under the consent lock, or decides again when the epoch moved.
    async fn fill(&mut self, wanted: usize) -> Result<(), AccessError> {
        let access = self.access.clone();
        // Before the lock: a revocation waits for chunks that are read, not for those that queue.
        let _turn = self.slot.turn().await;
        let unchanged = access.consents.read().await;
        if !self.holds().await? {
            drop(unchanged);
            return self.decide_again().await;
        }
        let Some(permit) = self.plan.permits.front() else { return Ok(()) };
        let begin = || ReadCursor::new(0, permit.from_us(), 0);
        let at = self.plan.as_of.map(|commit| self.plan.at.clone().unwrap_or_else(begin).as_of(commit));
        let at = at.or_else(|| self.plan.at.clone());
        let chunk = access.readings.read(permit, at, wanted.clamp(1, MAX_CHUNK_ROWS)).await?;
        self.plan.as_of = Some(chunk.as_of);
        self.gaps.extend(chunk.gaps);
        self.queue = Queue::of(chunk.rows);
        self.tail = chunk.next.is_none();
        if self.queue.len() == 0 {
            match chunk.next {
                // Nothing in this stretch; go on behind it.
                Some(next) => self.plan.at = Some(next),
                None => self.next_permit(),
            }
        }
        Ok(())
    }

    /// Whether the permit that is being read was decided on the epoch of now and has not
    /// ended. Fails when its reader is no member any more.
    async fn holds(&mut self) -> Result<bool, AccessError> {
        self.member().await?;
        let Some(permit) = self.plan.permits.front() else { return Ok(true) };
        if permit.until_us().is_some_and(|until_us| self.access.now_us() >= until_us) {
            return Ok(false);
        }
        Ok(self.access.control.epoch(permit.firm()).await? == permit.epoch())
    }

    /// Replaces the permits by ones of now. Rows that were read and not handed on are
    /// read again under them. Anything less than what was left ends the read: a hole
    /// that opens in the middle could not be told from missing data.
    async fn decide_again(&mut self) -> Result<(), AccessError> {
        self.queue.take(usize::MAX);
        let snapshot = self.access.control.snapshot(&self.plan.request.series.firm).await?;
        let now_us = self.access.now_us();
        let mut renewed = VecDeque::with_capacity(self.plan.permits.len());
        for (index, permit) in self.plan.permits.iter().enumerate() {
            let mut rest = self.plan.request.clone();
            (rest.from_us, rest.to_us) = (permit.from_us(), permit.to_us());
            if let (0, Some(at)) = (index, &self.plan.at) {
                rest.from_us = rest.from_us.max(at.from_us);
            }
            let wanted = [(rest.from_us, rest.to_us)];
            match consent::decide(&snapshot, &rest, now_us) {
                Ok(decision) if covers(&decision, &wanted) => {
                    self.plan.consents.extend(decision.consents);
                    renewed.extend(decision.permits);
                }
                _ => return Err(self.withdrawn()),
            }
        }
        self.plan.permits = renewed;
        self.repetition = None;
        Ok(())
    }

    async fn member(&mut self) -> Result<(), AccessError> {
        self.access.still_a_member(self.asker.id).await.inspect_err(|error| {
            self.queue.take(usize::MAX);
            if matches!(error, AccessError::Revoked) {
                self.outcome = Outcome::Withdrawn;
            }
        })
    }

    fn withdrawn(&mut self) -> AccessError {
        self.queue.take(usize::MAX);
        self.outcome = Outcome::Withdrawn;
        self.access.metrics.reads_withdrawn.inc();
        AccessError::Withdrawn
    }

    /// Moves the place behind what is handed on.
    fn advance(&mut self, rows: &Rows) {
        let before = self.plan.at.take();
        let next = match rows {
            Rows::Raw(rows) => {
                self.rows += rows.len() as u64;
                rows.last().map(|last| {
                    let same = rows.iter().rev().take_while(|row| row.time_us == last.time_us).count();
                    let carried = match before {
                        // The whole piece has the time at which it began.
                        Some(at) if at.from_us == last.time_us && same == rows.len() => at.skip,
                        _ => 0,
                    };
                    let skip = carried.saturating_add(u32::try_from(same).unwrap_or(u32::MAX));
                    ReadCursor::new(0, last.time_us, skip)
                })
            }
            Rows::Buckets(rows) => {
                self.rows += rows.len() as u64;
                rows.last().map(|last| ReadCursor::new(0, last.end_us, 0))
            }
        };
        self.plan.at = next;
        let ended = |plan: &Plan| match (plan.permits.front(), &plan.at) {
            (Some(permit), Some(at)) => at.from_us >= permit.to_us(),
            _ => true,
        };
        if ended(&self.plan) || (self.tail && self.queue.len() == 0) {
            self.next_permit();
        }
    }

    fn next_permit(&mut self) {
        self.plan.permits.pop_front();
        self.plan.at = None;
    }

    /// Says that the answer ends here by the asker's wish: a page is full.
    pub fn page_full(&mut self) {
        self.outcome = Outcome::Complete;
    }
}

/// Whether each range lies in one of the decision's permits.
fn covers(decision: &Decision, ranges: &[(i64, i64)]) -> bool {
    ranges.iter().all(|(from_us, to_us)| {
        from_us >= to_us
            || decision.permits.iter().any(|permit| permit.from_us() <= *from_us && *to_us <= permit.to_us())
    })
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.access.metrics.rows_served.inc_by(self.rows);
        if !self.plan.crosses_firms() {
            return;
        }
        let outcome = match self.outcome {
            Outcome::Complete => "complete",
            Outcome::Withdrawn => "withdrawn",
            Outcome::Aborted => "aborted",
        };
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        if let Some(repetition) = self.repetition.take() {
            let ended = |outcome| i64::from(self.outcome == outcome);
            let sums = Sums {
                complete: ended(Outcome::Complete),
                withdrawn: ended(Outcome::Withdrawn),
                aborted: ended(Outcome::Aborted),
                rows: count(self.rows),
                bytes: count(self.bytes),
            };
            if self.access.repeats.ended(&repetition, sums) {
                return;
            }
        }
        let chain = Chain::Firm(self.plan.request.series.firm.clone());
        let draft = self
            .plan
            .describe(Draft::new(chain, Kind::ReadFinished, &self.asker.actor()))
            .with("asker", self.plan.request.asker.as_str())
            .with("outcome", outcome)
            .with("rows", count(self.rows))
            .with("bytes", count(self.bytes));
        let access = self.access.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let entry = async move {
                if let Err(error) = access.control.append(draft, access.now_us()).await {
                    tracing::error!(error = &error as &dyn std::error::Error, "the end of a read could not be logged");
                }
            };
            self.access.closing.spawn_on(entry, &runtime);
        }
    }
}
