//! One read from its decision to its last row.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::completeness::{Came, Completeness};
use super::plan::{Lost, Plan};
use super::quota::{begins_anew_us, day_of};
use super::repeats::{Repetition, Sums};
use super::stretches::Stretch;
use super::{Access, AccessError, Bucket, Chain, GapMark, ReadCursor, ReadSlot, Rows, SeriesInfo, StoredReading};
use crate::audit::seal::Receipt;
use crate::audit::{Draft, Kind};
use crate::auth::Member;
use crate::consent::Form;
use crate::id::ConsentId;
use crate::store::StoreError;

/// Most rows read from the store at once: a piece of well under a second.
const MAX_CHUNK_ROWS: usize = 10_000;
/// Most rows handed on after one check of the epoch: about 60 KiB as text.
const MAX_PIECE_ROWS: usize = 1_000;
/// For how long it is believed what the grantor's epoch is.
pub(super) const CONFIRMED: Duration = Duration::from_secs(1);
/// How often it is asked for in a row before the read is given up.
const MAX_ASKED: usize = 5;

/// How a read ended, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// To the last row that was asked for.
    Complete,
    /// The consent went away, or the asker's token.
    Withdrawn,
    /// Today's rows under the consent are used up.
    QuotaExceeded,
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
    /// Where it began, µs since 1970.
    from_us: i64,
    came: Came,
    outcome: Outcome,
    rows: u64,
    bytes: u64,
    /// Whether it is a part of a stream, which has entries of its own.
    of_stream: bool,
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

    /// The commits of the next readings; none of buckets.
    fn commits(&self, count: usize) -> Vec<Option<i64>> {
        match self {
            Queue::Raw(rows) => rows.iter().take(count).map(|row| Some(row.commit)).collect(),
            Queue::Buckets(rows) => vec![None; count.min(rows.len())],
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
        let from_us = plan.cursor().map_or(i64::MAX, |at| at.from_us);
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
            from_us,
            came: Came::default(),
            outcome: Outcome::Aborted,
            rows: 0,
            bytes: 0,
            of_stream: false,
        }
    }

    /// The same as a part of a stream, which says in the log what comes of it.
    pub(super) fn of_stream(mut self) -> Self {
        self.of_stream = true;
        self
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
        self.plan.cursor()
    }
    /// What is declared missing in the times that were read so far, in order of time.
    pub fn gaps(&self) -> &BTreeSet<GapMark> {
        &self.gaps
    }
    /// What came of what was to be expected in the times that were read so far.
    pub fn completeness(&self) -> Completeness {
        let read_us = self.plan.cursor().map_or(i64::MAX, |at| at.from_us).min(self.access.now_us());
        let interval_ms = self.series.expected_interval_ms;
        self.came.of(&self.plan.request, interval_ms, &self.plan.ranges, (self.from_us, read_us))
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
        let mut asked = 0;
        loop {
            if self.queue.len() == 0 {
                if self.plan.stretch().is_none() {
                    self.outcome = Outcome::Complete;
                    return Ok(None);
                }
                self.fill(wanted).await?;
                continue;
            }
            let access = self.access.clone();
            let unchanged = access.consents.read().await;
            let asked_at = Instant::now();
            if !self.holds().await? {
                drop(unchanged);
                self.decide_again().await?;
                continue;
            }
            let count = self.allowed(wanted.clamp(1, MAX_PIECE_ROWS)).await?;
            if asked_at.elapsed() < access.confirmed {
                return Ok(Some(self.hand_on(count)));
            }
            // The database was slow: what it said of the epoch may be true no more.
            asked += 1;
            if asked == MAX_ASKED {
                return Err(AccessError::Unconfirmed);
            }
        }
    }

    /// How many of the next rows may be handed on by the quotas that they count towards: at
    /// least one. They are counted by then.
    async fn allowed(&mut self, most: usize) -> Result<usize, AccessError> {
        if self.plan.stretch().is_some_and(Stretch::is_free) {
            return Ok(most.min(self.queue.len()));
        }
        let commits = self.queue.commits(most);
        let Some((stretch, quotas)) = self.plan.counting() else { return Ok(0) };
        quotas.on(day_of(self.access.now_us()));
        loop {
            for (consent, rows) in quotas.wanting(stretch, &commits) {
                let used = self.access.control.use_quota(consent, quotas.day(), rows).await?;
                quotas.counted(consent, rows, used);
            }
            match quotas.covered(stretch, &commits).0 {
                // Another consent may still cover it.
                0 if !quotas.is_used_up(stretch, commits.first().copied().flatten()) => {}
                0 => break,
                count => return Ok(count),
            }
        }
        let begins_anew_us = begins_anew_us(quotas.day());
        self.outcome = Outcome::QuotaExceeded;
        Err(AccessError::QuotaExceeded { begins_anew_us })
    }

    /// Takes the next rows out.
    fn hand_on(&mut self, count: usize) -> Rows {
        if let Some((stretch, quotas)) = self.plan.counting()
            && !stretch.is_free()
        {
            let (_, taken) = quotas.covered(stretch, &self.queue.commits(count));
            quotas.take(&taken);
        }
        let rows = self.queue.take(count);
        self.rows += match &rows {
            Rows::Raw(rows) => rows.len() as u64,
            Rows::Buckets(rows) => rows.len() as u64,
        };
        self.came.count(&rows);
        self.plan.advance(&rows, self.tail && self.queue.len() == 0);
        rows
    }

    /// Fails unless what was handed out last is still permitted.
    pub async fn check(&mut self) -> Result<(), AccessError> {
        let access = self.access.clone();
        let unchanged = access.consents.read().await;
        self.member().await?;
        if !self.plan.crosses_firms() {
            return Ok(());
        }
        let snapshot = access.decided_on(&self.plan.request.series.firm).await?;
        let now_us = access.now_us();
        drop(unchanged);
        self.plan.check(snapshot, now_us).map_err(|lost| self.lost(&lost))
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
        let Some(permit) = self.plan.reading() else { return Ok(()) };
        let chunk = access.readings.read(permit, self.plan.place(), wanted.clamp(1, MAX_CHUNK_ROWS)).await?;
        let bound = permit.through_commit().and_then(|commit| i64::try_from(commit).ok());
        if let (Some(bound), Rows::Raw(rows)) = (bound, &chunk.rows)
            && rows.iter().any(|row| row.commit > bound)
        {
            return Err(StoreError::Damaged(format!("a read up to commit {bound} gave a later reading")).into());
        }
        self.plan.read_as_of(chunk.as_of);
        self.gaps.extend(chunk.gaps);
        self.queue = Queue::of(chunk.rows);
        self.tail = chunk.next.is_none();
        if self.queue.len() == 0 {
            // Nothing in this part; go on behind it.
            self.plan.skip_to(chunk.next);
        }
        Ok(())
    }

    /// Whether the permit that is being read was decided on the epoch of now and has not
    /// ended. Fails when its reader is no member any more.
    async fn holds(&mut self) -> Result<bool, AccessError> {
        let Some(permit) = self.plan.reading() else { return self.member().await.map(|()| true) };
        let epoch = match self.access.control.footing(self.asker.id, permit.firm()).await {
            Ok((true, epoch)) if self.access.is_in_time(&self.asker) => epoch,
            Ok(_) => return Err(self.no_member(AccessError::Revoked)),
            Err(error) => return Err(self.no_member(error.into())),
        };
        let Some(permit) = self.plan.reading() else { return Ok(true) };
        let has_ended = permit.until_us().is_some_and(|until_us| self.access.now_us() >= until_us);
        Ok(!has_ended && epoch == permit.epoch())
    }

    /// Replaces the permits by ones of now. Rows that were read and not handed on are
    /// read again under them.
    async fn decide_again(&mut self) -> Result<(), AccessError> {
        self.queue.take(usize::MAX);
        let snapshot = self.access.decided_on(&self.plan.request.series.firm).await?;
        let now_us = self.access.now_us();
        self.plan.decide_again(&snapshot, now_us).map_err(|lost| self.lost(&lost))?;
        self.repetition = None;
        Ok(())
    }

    async fn member(&mut self) -> Result<(), AccessError> {
        let still = self.access.still_a_member(&self.asker).await;
        still.map_err(|error| self.no_member(error))
    }

    /// Hands nothing on any more.
    fn no_member(&mut self, error: AccessError) -> AccessError {
        self.queue.take(usize::MAX);
        if matches!(error, AccessError::Revoked) {
            self.outcome = Outcome::Withdrawn;
        }
        error
    }

    fn lost(&mut self, lost: &Lost) -> AccessError {
        self.queue.take(usize::MAX);
        match lost {
            Lost::Withdrawn => {
                self.outcome = Outcome::Withdrawn;
                self.access.metrics.reads_withdrawn.inc();
                AccessError::Withdrawn
            }
            Lost::Quota => {
                self.outcome = Outcome::QuotaExceeded;
                AccessError::QuotaExceeded { begins_anew_us: begins_anew_us(day_of(self.access.now_us())) }
            }
        }
    }

    /// Says that the answer ends here by the asker's wish: a page is full.
    pub fn page_full(&mut self) {
        self.outcome = Outcome::Complete;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.access.metrics.rows_served.inc_by(self.rows);
        if self.of_stream || !self.plan.crosses_firms() {
            return;
        }
        let outcome = match self.outcome {
            Outcome::Complete => "complete",
            Outcome::Withdrawn => "withdrawn",
            Outcome::QuotaExceeded => "quota_exceeded",
            Outcome::Aborted => "aborted",
        };
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        if let Some(repetition) = self.repetition.take() {
            let ended = |outcome| i64::from(self.outcome == outcome);
            let sums = Sums {
                complete: ended(Outcome::Complete),
                withdrawn: ended(Outcome::Withdrawn),
                aborted: ended(Outcome::Aborted) + ended(Outcome::QuotaExceeded),
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
