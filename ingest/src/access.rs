//! The only door to readings for anyone: decide → audit → read.
//!
//! It promises that a read across firms is in the owner's audit log, durably, before
//! its first byte leaves, and that a revocation ends reads also in their middle: rows
//! are read and handed on under the process's consent lock with the grantor's epoch
//! checked each time, and a revocation takes that lock for writing. One by another process
//! on the same database is seen by the next such check, before further rows are handed on.
//! It must not know HTTP or how a consent is decided.

mod catalogue;
mod completeness;
mod consents;
mod dead_letters;
mod desk;
mod export;
mod groups;
mod live;
mod officers;
mod plan;
mod pseudonyms;
mod quota;
mod read;
mod repeats;
mod runs;
mod slots;
mod snapshots;
mod stretches;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sandan_proto::id::{FirmId, SeriesKey};
use tokio::sync::{RwLock, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::catalogue::{MAX_SERIES_PAGE, Page, Visible};
pub use self::completeness::Completeness;
pub use self::consents::{
    Between, ConsentError, Filter, MAX_CONSENT_PAGE, Order, Paper, Rehearsal, Rehearsed, Seen, Shown, Trial, Version,
    Wanted,
};
pub use self::dead_letters::{DeadExport, Deed, Handled, MAX_DEAD_RECORDS};
pub use self::desk::Scene;
pub use self::export::FirmExport;
pub use self::live::{Follow, Follower, LatePlace, MAX_LATE_US, News, Place, QUIET};
pub use self::officers::{Officer, OfficerDone, OfficerTask};
use self::plan::Plan;
pub use self::pseudonyms::{PseudonymError, Pseudonyms};
pub use self::read::Reader;
use self::repeats::{Noted, Repeats};
pub use self::runs::{Customer, MAX_RUNS, MAX_TAG_US, RunEntry, RunPlace, Tag};
use self::slots::{MAX_READS_PER_FIRM, MAX_STREAMS_PER_FIRM, OpenReads, ReadSlot};
use self::snapshots::Snapshots;
use crate::audit::Draft;
pub use crate::audit::seal::{Proof, PublicKey, Receipt};
pub use crate::audit::{Chain, Entry, Kind};
use crate::auth::Member;
use crate::consent::{self, Decision, Denial, Holds, Permit, Reason, Request, Role, Snapshot};
use crate::fleet::Board;
pub use crate::fleet::{
    Condition, ConditionId, Hop, Hops, Judged, Level, Link, LinkState, Parent, Signal, SignalState, Signals, Spool,
    State, View,
};
use crate::metrics::Metrics;
use crate::notary::Notary;
pub use crate::store::control::ControlError;
pub use crate::store::control::{Care, CareKind, Cares, Contact, Firm, Part};
use crate::store::control::{Change, Control, Stamp};
pub use crate::store::dead_letters::{parse as parse_reason, word as reason_word};
pub use crate::store::{Bucket, GapFact, GapMark, ReadCursor, Rows, SeriesInfo, StoredReading};
pub use crate::store::{Choice, DeadContent, DeadLetterCount, DeadRecord};
use crate::store::{Chunk, DeadLetters, Readings, StoreError};
use crate::time::{Clock, SECOND_US, rfc3339};

/// Chunks and lists that are read at once: as many as the store reads at once, so that
/// none waits there under the consent lock.
const MAX_TURNS: usize = 4;
/// Most entries of an audit page.
pub const MAX_AUDIT_PAGE: usize = 1_000;
/// Most gaps of one answer: a year of three restarts a day.
pub const MAX_GAPS: usize = 1_000;

/// The duties of a permit that are kept here.
const HOLDS: Holds = Holds { commits: true, quotas: true };

/// How long it is believed how the store is.
const HEALTH_US: i64 = SECOND_US;
/// A store that does not answer in this time is not well.
const HEALTH_DEADLINE: Duration = Duration::from_secs(5);

/// The part of the store that this door opens.
#[async_trait]
pub trait Source: DeadLetters {
    /// One chunk of what `permit` allows, at most `limit` rows.
    async fn read(&self, permit: &Permit, cursor: Option<ReadCursor>, limit: usize) -> Result<Chunk, StoreError>;
    /// Every series of a firm.
    async fn series(&self, firm: &FirmId) -> Result<Vec<SeriesInfo>, StoreError>;
    /// One of them; none where there is no such series.
    async fn series_of(&self, key: &SeriesKey) -> Result<Option<SeriesInfo>, StoreError>;
    /// The newest commit of a firm; 0 before the first.
    async fn newest_commit(&self, firm: &FirmId) -> Result<i64, StoreError>;
    /// The newest declared gaps of a firm, newest first.
    async fn gaps(&self, firm: &FirmId, limit: usize) -> Result<Vec<GapFact>, StoreError>;
    /// Fails unless readings can be read and stored.
    async fn check(&self) -> Result<(), StoreError>;
}

#[async_trait]
impl<T: Readings + ?Sized> Source for T {
    async fn read(&self, permit: &Permit, cursor: Option<ReadCursor>, limit: usize) -> Result<Chunk, StoreError> {
        Readings::read(self, permit, cursor, limit).await
    }
    async fn series(&self, firm: &FirmId) -> Result<Vec<SeriesInfo>, StoreError> {
        Readings::series(self, firm).await
    }
    async fn series_of(&self, key: &SeriesKey) -> Result<Option<SeriesInfo>, StoreError> {
        Readings::series_of(self, key).await
    }
    async fn newest_commit(&self, firm: &FirmId) -> Result<i64, StoreError> {
        Readings::newest_commit(self, firm).await
    }
    async fn gaps(&self, firm: &FirmId, limit: usize) -> Result<Vec<GapFact>, StoreError> {
        Readings::gaps(self, firm, limit).await
    }
    async fn check(&self) -> Result<(), StoreError> {
        Readings::check(self).await
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// There is no such series, or the asker may not know of it.
    #[error("no series of this name is yours or was ever shared with you")]
    NotFound,
    /// A consent names the series and does not cover the request.
    #[error("no consent covers this request")]
    Denied(Vec<Reason>, Option<Box<Receipt>>),
    /// The log, the gaps or the dead letters are another firm's.
    #[error("this is read by the firm's own members")]
    OtherFirm,
    /// The consent was withdrawn or ended while the answer was on its way.
    #[error("the consent no longer holds: the answer ends here and is not complete")]
    Withdrawn,
    /// The asker's token was revoked while the answer was on its way.
    #[error("your token was revoked: the answer ends here and is not complete")]
    Revoked,
    /// As many rows as the consent allows in a day of UTC were read.
    #[error("today's rows under the consent are used up; they begin anew at {}", rfc3339(*.begins_anew_us))]
    QuotaExceeded {
        /// When the next day begins, µs since 1970.
        begins_anew_us: i64,
    },
    /// The database did not say in time whether the consent still holds.
    #[error("it could not be confirmed within a second that the consent holds")]
    Unconfirmed,
    /// The firm has too many reads open.
    #[error("your firm has {MAX_READS_PER_FIRM} reads open already")]
    TooManyReads,
    /// The member, the firm or the service has as many live streams as may be.
    #[error("as many live streams are open as may be: {MAX_STREAMS_PER_FIRM} of a firm, and fewer of one token")]
    TooManyStreams,
    /// The service ends, and streams with it.
    #[error("the service ends: follow again from the last id in a moment")]
    Ending,
    /// The cursor is not one of this request's.
    #[error("the cursor does not belong to this request")]
    Cursor,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The control data could not be reached, so nothing is served.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl AccessError {
    /// Whether the database is away, and may be back in a moment.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Store(error) => error.is_away(),
            Self::Control(error) => error.is_away(),
            Self::Unconfirmed => true,
            _ => false,
        }
    }
}

/// The door.
pub struct Access {
    control: Arc<dyn Control>,
    readings: Arc<dyn Source>,
    notary: Arc<Notary>,
    pseudonyms: Pseudonyms,
    fleet: Arc<Board>,
    /// Read while rows are read or handed on, written while consents change.
    consents: RwLock<()>,
    clock: Clock,
    /// The newest time that was decided on, µs: a clock set back brings no expired consent back.
    newest_us: AtomicI64,
    open_reads: Mutex<HashMap<FirmId, OpenReads>>,
    turns: Arc<Semaphore>,
    /// For how long it is believed what the database said of a consent.
    confirmed: Duration,
    /// When the store was last asked how it is, µs since 1970, and what it said.
    health: tokio::sync::Mutex<Option<(i64, Health)>>,
    /// What decisions are made on, by grantor.
    snapshots: Snapshots,
    /// What was asked for within the last minute.
    repeats: Repeats,
    /// Audit entries of reads that begin or have ended.
    closing: TaskTracker,
    /// Streams end with it.
    ending: CancellationToken,
    metrics: Arc<Metrics>,
}

impl Access {
    /// Over the store.
    pub async fn new(
        (control, readings): (Arc<dyn Control>, Arc<dyn Source>),
        notary: Arc<Notary>,
        pseudonyms: Pseudonyms,
        fleet: Arc<Board>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, ControlError> {
        let newest_us = AtomicI64::new(control.newest_audit_us().await?);
        Ok(Arc::new(Self {
            control,
            readings,
            notary,
            pseudonyms,
            fleet,
            consents: RwLock::new(()),
            clock,
            newest_us,
            open_reads: Mutex::default(),
            turns: Arc::new(Semaphore::new(MAX_TURNS)),
            confirmed: read::CONFIRMED,
            health: tokio::sync::Mutex::default(),
            snapshots: Snapshots::default(),
            repeats: Repeats::default(),
            closing: TaskTracker::new(),
            ending: CancellationToken::new(),
            metrics,
        }))
    }

    /// The time, never below one that was decided on before.
    pub fn now_us(&self) -> i64 {
        let now_us = (self.clock)();
        self.newest_us.fetch_max(now_us, Ordering::Relaxed).max(now_us)
    }

    /// Makes a change to the control data; consents change and members go under the write
    /// lock, so that when this returns no read goes on under what was revoked.
    pub async fn apply(&self, change: Change, actor: &str) -> Result<(), ControlError> {
        let stamp = Stamp { actor: actor.to_owned(), now_us: self.now_us() };
        let _alone = if change.takes_away() { Some(self.consents.write().await) } else { None };
        self.control.apply(change, stamp).await
    }

    /// Decides, writes the owner's audit log, and gives a reader that has not read yet.
    pub async fn read(
        self: &Arc<Self>,
        asker: &Member,
        mut request: Request,
        cursor: Option<ReadCursor>,
    ) -> Result<Reader, AccessError> {
        request.manner.holds = HOLDS;
        let slot = ReadSlot::take(self, &asker.firm)?;
        (request.series, request.manner.address) = self.meant(&asker.firm, &request.series).await?;
        let (snapshot, decision) = self.decided(asker, &request).await?;
        let mut series = self.series_info(&slot, &request).await?;
        let whole = format!("{request:?} {cursor:?}");
        let plan = Plan::new(request, &snapshot, decision, cursor)?;
        if plan.crosses_firms() {
            series = self.told(series, plan.pseudonym()).ok_or(AccessError::NotFound)?;
        }
        let actor = asker.actor();
        let audited = plan.crosses_firms().then(|| {
            let chain = Chain::Firm(plan.request.series.firm.clone());
            let entry = plan.describe(Draft::new(chain, Kind::ReadStarted, &actor));
            entry.with("asker", asker.firm.as_str())
        });
        let (receipt, repetition) = match audited {
            // No log, no read.
            Some(draft) => {
                let Noted { entry, repetition } = self.noted(draft, &asker.firm, &whole).await?;
                // A receipt names whose log it is.
                (plan.pseudonym().is_none().then(|| self.notary.receipt(&entry)), repetition)
            }
            None => (None, None),
        };
        self.metrics.reads_started.inc();
        Ok(Reader::new(slot, asker, series, plan, receipt, repetition))
    }

    /// Fails for a member whose token was revoked since it was looked up, here or by another
    /// process.
    async fn still_a_member(&self, member: &Member) -> Result<(), AccessError> {
        if self.is_in_time(member) && self.control.is_member(member.id).await? {
            Ok(())
        } else {
            Err(AccessError::Revoked)
        }
    }

    fn is_in_time(&self, member: &Member) -> bool {
        member.until_us.is_none_or(|until_us| self.now_us() < until_us)
    }

    async fn decided(&self, asker: &Member, request: &Request) -> Result<(Snapshot, Decision), AccessError> {
        // What others share with a firm is for its members alone.
        if asker.role != Role::Member && asker.firm != request.series.firm {
            self.metrics.denials.get_or_create(&crate::metrics::Denial::UNKNOWN).inc();
            return Err(AccessError::NotFound);
        }
        let now_us = self.now_us();
        let snapshot = self.decided_on(&request.series.firm).await?;
        match consent::decide(&snapshot, request, now_us) {
            Ok(decision) => Ok((snapshot, decision)),
            Err(Denial { known: false, .. }) => {
                // Not in the owner's log: whoever guesses names must not be able to fill it.
                self.metrics.denials.get_or_create(&crate::metrics::Denial::UNKNOWN).inc();
                Err(AccessError::NotFound)
            }
            Err(denial) => {
                let used_up = plan::is_used_up(&denial);
                let reasons = denial.reasons;
                self.metrics.denials.get_or_create(&crate::metrics::Denial::KNOWN).inc();
                let mut receipt = None;
                if request.asker != request.series.firm {
                    let chain = Chain::Firm(request.series.firm.clone());
                    let words = reasons.iter().map(|it| format!("{}: {}", it.consent, it.why.code()));
                    let draft = plan::describe(Draft::new(chain, Kind::Denied, &asker.actor()), request)
                        .with("asker", asker.firm.as_str())
                        .with("reasons", words.collect::<Vec<_>>());
                    let Noted { entry, .. } = self.noted(draft, &asker.firm, request).await?;
                    if plan::pseudonym(request).is_none() {
                        receipt = Some(Box::new(self.notary.receipt(&entry)));
                    }
                }
                if used_up {
                    let begins_anew_us = quota::begins_anew_us(quota::day_of(now_us));
                    return Err(AccessError::QuotaExceeded { begins_anew_us });
                }
                Err(AccessError::Denied(reasons, receipt))
            }
        }
    }

    async fn series_info(&self, slot: &ReadSlot, request: &Request) -> Result<SeriesInfo, AccessError> {
        let _turn = slot.turn().await;
        self.readings.series_of(&request.series).await?.ok_or(AccessError::NotFound)
    }

    /// A firm's own log after an entry's number, oldest first.
    pub async fn audit(
        &self,
        asker: &Member,
        firm: &FirmId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, AccessError> {
        if asker.firm != *firm {
            // The same answer whether or not there is such a firm.
            return Err(AccessError::OtherFirm);
        }
        Ok(self.log(&Chain::Firm(firm.clone()), &asker.actor(), after, limit).await?)
    }

    /// Public halves of the keys that sign receipts and heads.
    pub fn audit_keys(&self) -> &[PublicKey] {
        self.notary.keys()
    }

    /// That a firm's own log ends where it does now, signed; to be kept.
    pub async fn audit_head(&self, asker: &Member, firm: &FirmId) -> Result<Option<Proof>, AccessError> {
        if asker.firm != *firm {
            return Err(AccessError::OtherFirm);
        }
        let chain = Chain::Firm(firm.clone());
        Ok(self.notary.proof(&*self.control, &chain, self.now_us()).await?)
    }

    /// Notes in the log of the complex what an operator, or the host's, did.
    pub async fn note(&self, kind: Kind, actor: &str) -> Result<(), ControlError> {
        self.control.append(Draft::new(Chain::Complex, kind, actor), self.now_us()).await.map(drop)
    }

    /// A page of a log, which says in the log who read it. A page that holds nothing but
    /// such entries is not noted, so that whoever follows the log comes to its end.
    pub async fn log(&self, chain: &Chain, actor: &str, after: u64, limit: usize) -> Result<Vec<Entry>, ControlError> {
        let page = self.control.audit(chain, after, limit.min(MAX_AUDIT_PAGE)).await?;
        if page.iter().any(|entry| entry.kind != Kind::LogRead) {
            let number = |entry: Option<&Entry>| entry.map_or(0, |it| i64::try_from(it.number).unwrap_or(i64::MAX));
            let read = Draft::new(chain.clone(), Kind::LogRead, actor);
            let read = read.with("first", number(page.first())).with("last", number(page.last()));
            self.control.append(read, self.now_us()).await?;
        }
        Ok(page)
    }

    /// What a firm's gateways declared gone, newest first.
    pub async fn gaps(
        self: &Arc<Self>,
        asker: &Member,
        firm: &FirmId,
        limit: usize,
    ) -> Result<Vec<GapFact>, AccessError> {
        if asker.firm != *firm {
            return Err(AccessError::OtherFirm);
        }
        let slot = ReadSlot::take(self, &asker.firm)?;
        let _turn = slot.turn().await;
        Ok(self.readings.gaps(firm, limit.min(MAX_GAPS)).await?)
    }

    /// Every gateway and its links, what is worst first, and the time it is. Never a value.
    pub async fn fleet(&self) -> Result<(Vec<View>, BTreeMap<FirmId, Firm>, i64), AccessError> {
        let firms = self.control.firms().await?.into_iter().map(|firm| (firm.id.clone(), firm)).collect();
        let (views, now_us) = self.fleet.views();
        Ok((views, firms, now_us))
    }

    /// How control data and readings are. Anyone may ask, so that the store itself is
    /// asked once a second at most.
    pub async fn health(&self) -> Health {
        let mut health = self.health.lock().await;
        let now_us = (self.clock)();
        let mut found = match *health {
            Some((asked_us, found)) if (asked_us..asked_us + HEALTH_US).contains(&now_us) => found,
            _ => {
                let asked = async {
                    let suspended = self.control.suspended(now_us).await.ok()?;
                    self.readings.check().await.ok().map(|()| suspended)
                };
                let suspended = tokio::time::timeout(HEALTH_DEADLINE, asked).await.ok().flatten();
                let found = Health {
                    answers: suspended.is_some(),
                    suspended: suspended.is_some_and(|count| count > 0),
                    witness_behind: false,
                };
                *health = Some((now_us, found));
                found
            }
        };
        found.witness_behind = self.metrics.witness_behind.get() != 0;
        found
    }

    /// Whether nothing more is stored for want of room on the disk.
    pub fn is_disk_short(&self) -> bool {
        self.metrics.disk_short.get() != 0
    }

    /// Ends the streams that are open, each with a word why. Further ones end at once.
    pub fn end_streams(&self) {
        self.ending.cancel();
    }

    /// Waits until the log holds the end of every read and every count. New reads may not begin.
    pub async fn finish(&self) {
        self.closing.close();
        self.closing.wait().await;
        if let Err(error) = self.settle_all().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "how often reads were repeated could not be logged"
            );
        }
    }
}

/// How the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Control data and readings can be reached.
    pub answers: bool,
    /// A restore suspended consents, and not all of them are confirmed.
    pub suspended: bool,
    /// The witness could not be written.
    pub witness_behind: bool,
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
