//! Entries of the audit log on their way into group commits.
//!
//! What comes while one group is being committed makes the next, in the order of the calls.
//! It promises that whoever waits gets the entry once it is durable, or an error; that where a
//! commit fails, or nobody knows whether it did, all of its group get the error; and that no more
//! than a bounded number of entries wait here. It must not know what an entry is about.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::control::ControlError;
use crate::audit::{Draft, Entry, Field};

/// KiB of entries that wait or are being committed: some 4,000 usual ones, where the HTTP port has
/// 400 connections. Beyond it whoever has something to log waits.
const QUEUED_KIB: u32 = 4 * 1024;
/// KiB of entries of one transaction, whose commit then takes not much longer than that of one
/// entry: a read waits for the group before its own and for its own.
const GROUP_KIB: u32 = 256;
/// Bytes that an entry has beside its texts: times, number and two hashes.
const ENTRY_BYTES: usize = 256;

/// Where groups are committed.
#[async_trait]
pub(super) trait Commit: Clone + Send + Sync + 'static {
    /// Writes entries, each with its time, behind the heads of their chains in one transaction,
    /// in this order. All of them are durable when it returns, or none is relied on.
    async fn commit(&self, drafts: Vec<(Draft, i64)>) -> Result<Vec<Entry>, ControlError>;
}

/// The way into groups. One group is committed at a time.
#[derive(Debug, Clone)]
pub(super) struct Appends<C> {
    to: C,
    line: Arc<Line>,
}

#[derive(Debug)]
struct Line {
    room: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    /// A task takes groups from here until nothing waits.
    is_served: bool,
}

/// One entry, and who waits for it.
#[derive(Debug)]
struct Job {
    drafted: (Draft, i64),
    waiter: Waiter,
}

#[derive(Debug)]
struct Waiter {
    done: oneshot::Sender<Result<Entry, ControlError>>,
    room: OwnedSemaphorePermit,
}

/// What several are told who waited for the same.
#[derive(Debug, thiserror::Error)]
#[error("the audit log could not be written, or not for certain")]
struct OfMany(#[source] Arc<ControlError>);

impl ControlError {
    /// The same for one of several who waited for the same entry or group.
    pub(crate) fn shared(error: &Arc<Self>) -> Self {
        Self::Engine(OfMany(Arc::clone(error)).into())
    }
}

/// The task that commits went away amid it.
#[derive(Debug, thiserror::Error)]
#[error("the audit log ended while an entry was being written")]
struct Gone;

impl<C: Commit> Appends<C> {
    /// With nothing in it.
    pub(super) fn new(to: C) -> Self {
        let room = Arc::new(Semaphore::new(QUEUED_KIB as usize));
        Self { to, line: Arc::new(Line { room, state: Mutex::default() }) }
    }

    /// Waits until the entry is durable. One whose caller goes away is written all the same.
    pub(super) async fn append(&self, draft: Draft, now_us: i64) -> Result<Entry, ControlError> {
        let gone = || ControlError::Engine(Gone.into());
        let room = Arc::clone(&self.line.room).acquire_many_owned(kib(&draft)).await.map_err(|_| gone())?;
        let (done, entry) = oneshot::channel();
        let is_served = {
            let mut state = self.line.state();
            state.waiting.push_back(Job { drafted: (draft, now_us), waiter: Waiter { done, room } });
            std::mem::replace(&mut state.is_served, true)
        };
        if !is_served {
            let served = Served { line: Arc::clone(&self.line), is_held: true };
            tokio::spawn(serve(self.to.clone(), served));
        }
        entry.await.map_err(|_| gone())?
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to take groups, of one task.
struct Served {
    line: Arc<Line>,
    is_held: bool,
}

impl Served {
    /// The next group; none, and the right is given back, where nothing waits.
    fn group(&mut self) -> Option<Vec<Job>> {
        let mut state = self.line.state();
        if state.waiting.is_empty() {
            (state.is_served, self.is_held) = (false, false);
            return None;
        }
        let mut kib = 0;
        let fits = |job: &Job| {
            kib += job.waiter.room.num_permits();
            kib <= GROUP_KIB as usize
        };
        // One entry may be larger than what a group is meant to be.
        let count = state.waiting.iter().map(fits).take_while(|fits| *fits).count().max(1);
        Some(state.waiting.drain(..count).collect())
    }
}

impl Drop for Served {
    /// Where the task ended amid a group, nobody waits for what nobody does.
    fn drop(&mut self) {
        if self.is_held {
            let mut state = self.line.state();
            state.is_served = false;
            let lost = std::mem::take(&mut state.waiting);
            drop((state, lost));
        }
    }
}

async fn serve<C: Commit>(to: C, mut served: Served) {
    while let Some(group) = served.group() {
        let (drafts, waiters): (Vec<_>, Vec<_>) = group.into_iter().map(|job| (job.drafted, job.waiter)).unzip();
        match to.commit(drafts).await {
            Ok(entries) => {
                for (waiter, entry) in waiters.into_iter().zip(entries) {
                    drop(waiter.done.send(Ok(entry)));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for waiter in waiters {
                    drop(waiter.done.send(Err(ControlError::shared(&error))));
                }
            }
        }
    }
}

/// What an entry takes of the bounds.
fn kib(draft: &Draft) -> u32 {
    let field = |(name, field): (&String, &Field)| {
        name.len()
            + match field {
                Field::Number(_) => size_of::<i64>(),
                Field::Text(text) => text.len(),
                Field::List(texts) => texts.iter().map(|text| text.len() + size_of::<String>()).sum(),
            }
    };
    let bytes = ENTRY_BYTES + draft.actor.len() + draft.detail.iter().map(field).sum::<usize>();
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(QUEUED_KIB)
}

#[cfg(test)]
mod tests;
