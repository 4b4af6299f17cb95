//! What is asked for again within a minute, and answered alike: one entry in the log, and a count.
//!
//! It promises that nothing is answered as a repetition before the entry that it repeats is durable; that
//! whatever differs in who asks, in what is asked for or in what the answer rests on is none; that counts
//! come to the log a minute later or at the end of the service, so that a kill takes those of one minute
//! at most; and that memory is bounded.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use sandan_proto::id::FirmId;
use tokio_util::sync::CancellationToken;

use super::Access;
use crate::audit::{Draft, Entry, Hash, Head, Kind};
use crate::store::control::ControlError;
use crate::time::{SECOND_US, rfc3339};

/// How long after its entry something counts as its repetition.
const WINDOW_US: i64 = 60 * SECOND_US;
/// Things of one asking firm that are remembered, about 1 KiB each. What comes beyond has entries of its own.
const MAX_PER_FIRM: usize = 256;
/// How often it is looked for minutes that are over.
const EVERY: Duration = Duration::from_secs(1);

/// What is the same: all of its first entry, and all of what was asked, also what no entry says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    entry: Hash,
    asked: Hash,
}

/// The first entry, on its way or durable. Whoever repeats it waits for the same one.
type First = Shared<BoxFuture<'static, Result<Arc<Entry>, Arc<ControlError>>>>;

/// One entry, and how often what it says was repeated.
struct Tally {
    first: First,
    until_us: i64,
    /// What is said of the repetitions.
    draft: Draft,
    times: i64,
    /// Of the first and the newest repetition, µs since 1970.
    span: (i64, i64),
    sums: Sums,
}

/// What repetitions of a read that ended came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) complete: i64,
    pub(super) withdrawn: i64,
    pub(super) aborted: i64,
    pub(super) rows: i64,
    pub(super) bytes: i64,
}

/// Tallies of the last minute, by the firm that asks.
#[derive(Default)]
pub(super) struct Repeats(Mutex<State>);

#[derive(Default)]
struct State {
    tallies: HashMap<FirmId, HashMap<Key, Tally>>,
    /// Counts whose minute is over and which are not in the log yet. Where the log takes none, it
    /// takes no first entry either, so that there are no more than there were tallies.
    due: VecDeque<Draft>,
}

/// A read that has no entries of its own.
#[derive(Debug)]
pub(super) struct Repetition {
    firm: FirmId,
    key: Key,
    /// Of its tally: a later one of the same is another.
    until_us: i64,
}

/// Where something stands in the log.
pub(super) struct Noted {
    /// Durable: of this, or of what it repeats.
    pub(super) entry: Arc<Entry>,
    pub(super) repetition: Option<Repetition>,
}

impl Key {
    fn of(draft: &Draft, asked: &impl Debug) -> Self {
        let hash = |draft| Entry::after(&Head::EMPTY, draft, 0).hash;
        let asked = Draft::new(draft.chain.clone(), draft.kind, "").with("asked", format!("{asked:?}"));
        Self { entry: hash(draft.clone()), asked: hash(asked) }
    }
}

impl Tally {
    /// What the log says of it; none where nothing was repeated.
    fn said(self) -> Option<Draft> {
        let Some(Ok(first)) = self.first.peek().filter(|_| self.times > 0) else { return None };
        let draft = self
            .draft
            .with("entry", i64::try_from(first.number).unwrap_or(i64::MAX))
            .with("times", self.times)
            .with("first", rfc3339(self.span.0))
            .with("last", rfc3339(self.span.1));
        if first.kind == Kind::Denied {
            return Some(draft);
        }
        let Sums { complete, withdrawn, aborted, rows, bytes } = self.sums;
        let draft = draft.with("complete", complete).with("withdrawn", withdrawn).with("aborted", aborted);
        Some(draft.with("rows", rows).with("bytes", bytes))
    }

    fn is_over(&self, now_us: i64) -> bool {
        // One that is still on its way has readers that wait for it.
        now_us >= self.until_us && self.first.peek().is_some()
    }
}

impl Repeats {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a repetition came to; false where its count is in the log already.
    pub(super) fn ended(&self, it: &Repetition, sums: Sums) -> bool {
        let mut state = self.state();
        let tally = state.tallies.get_mut(&it.firm).and_then(|of| of.get_mut(&it.key));
        let Some(tally) = tally.filter(|tally| tally.until_us == it.until_us) else { return false };
        let Sums { complete, withdrawn, aborted, rows, bytes } = &mut tally.sums;
        for (sum, more) in [
            (complete, sums.complete),
            (withdrawn, sums.withdrawn),
            (aborted, sums.aborted),
            (rows, sums.rows),
            (bytes, sums.bytes),
        ] {
            *sum = sum.saturating_add(more);
        }
        true
    }
}

impl State {
    /// Moves the counts to those that are due, of every tally that `is_over`.
    fn close(&mut self, is_over: impl Fn(&Tally) -> bool) {
        for of in self.tallies.values_mut() {
            self.due.extend(of.extract_if(|_, tally| is_over(tally)).filter_map(|(_, tally)| tally.said()));
        }
        self.tallies.retain(|_, of| !of.is_empty());
    }
}

impl Access {
    /// Writes an entry about what `firm` asks for, or counts it where the same was asked within the
    /// last minute. Returns once the entry is durable; fails where it is not, or is not for certain.
    pub(super) async fn noted(
        &self,
        draft: Draft,
        firm: &FirmId,
        asked: &(impl Debug + Sync),
    ) -> Result<Noted, ControlError> {
        let key = Key::of(&draft, asked);
        let (first, repetition) = self.join(draft, firm, &key);
        match first.clone().await {
            Ok(entry) => Ok(Noted { entry, repetition }),
            Err(error) => {
                let mut state = self.repeats.state();
                if let Some(of) = state.tallies.get_mut(firm) {
                    // Nothing was answered on it; what is asked next may be luckier.
                    of.retain(|it, tally| *it != key || !tally.first.ptr_eq(&first));
                }
                Err(ControlError::shared(&error))
            }
        }
    }

    /// The entry to wait for, and whether it is another's.
    fn join(&self, draft: Draft, firm: &FirmId, key: &Key) -> (First, Option<Repetition>) {
        let now_us = self.now_us();
        let mut state = self.repeats.state();
        let State { tallies, due } = &mut *state;
        let of = tallies.entry(firm.clone()).or_default();
        due.extend(of.extract_if(|_, tally| tally.is_over(now_us)).filter_map(|(_, tally)| tally.said()));
        if let Some(tally) = of.get_mut(key) {
            tally.span = (if tally.times == 0 { now_us } else { tally.span.0 }, now_us);
            tally.times += 1;
            let repetition = Repetition { firm: firm.clone(), key: key.clone(), until_us: tally.until_us };
            return (tally.first.clone(), Some(repetition));
        }
        let repeated = Draft::new(draft.chain.clone(), Kind::Repeated, &draft.actor).with("of", draft.kind.as_str());
        let repeated =
            ["asker", "asset", "metric"].into_iter().fold(repeated, |repeated, name| match draft.detail.get(name) {
                Some(field) => repeated.with(name, field.clone()),
                None => repeated,
            });
        let control = Arc::clone(&self.control);
        // By itself: whoever asked first may go away while others wait for it.
        let append = self.closing.spawn(async move { control.append(draft, now_us).await });
        let append = async {
            let appended = append.await.unwrap_or_else(|gone| Err(ControlError::Engine(gone.into())));
            appended.map(Arc::new).map_err(Arc::new)
        };
        let first = append.boxed().shared();
        if of.len() < MAX_PER_FIRM {
            let (until_us, span) = (now_us.saturating_add(WINDOW_US), (now_us, now_us));
            let sums = Sums::default();
            of.insert(key.clone(), Tally { first: first.clone(), until_us, draft: repeated, times: 0, span, sums });
        }
        (first, None)
    }

    /// Writes the counts of minutes that are over, until `stop`.
    pub async fn keep_counts(self: Arc<Self>, stop: CancellationToken) {
        let mut is_behind = false;
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            match self.settle().await {
                Ok(()) => is_behind = false,
                Err(error) if !std::mem::replace(&mut is_behind, true) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "how often reads were repeated cannot be logged; it is tried every second");
                }
                Err(_) => {}
            }
        }
    }

    /// Writes the counts of minutes that are over. Where one cannot be written, it and those
    /// behind it wait for the next call.
    async fn settle(&self) -> Result<(), ControlError> {
        let now_us = self.now_us();
        self.repeats.state().close(|tally| tally.is_over(now_us));
        self.write_due().await
    }

    /// Writes all counts.
    pub(super) async fn settle_all(&self) -> Result<(), ControlError> {
        self.repeats.state().close(|_| true);
        self.write_due().await
    }

    async fn write_due(&self) -> Result<(), ControlError> {
        loop {
            let Some(draft) = self.repeats.state().due.pop_front() else { return Ok(()) };
            if let Err(error) = self.control.append(draft.clone(), self.now_us()).await {
                self.repeats.state().due.push_front(draft);
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests;
