//! What decisions are made on, kept for as long as its epoch holds.
//!
//! It promises that each decision is made on what the store says of the epoch, of the newest time and of
//! used quotas at that moment: a snapshot that is kept stands in only for consents and rules that the
//! store would give once more. Memory is bounded, whatever firms agree to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandan_proto::id::FirmId;

use super::Access;
use crate::consent::{self, Snapshot};
use crate::id::ConsentId;
use crate::store::control::{ControlError, Pulse};
use crate::time::SECOND_US;

/// Bytes of all snapshots that are kept, about: 30,000 consents with ten machines each.
const MAX_BYTES: usize = 64 << 20;
/// After this long a snapshot is made anew, so that what expired since is sorted out.
const KEPT_US: i64 = 3_600 * SECOND_US;

/// Snapshots by grantor.
#[derive(Default)]
pub(super) struct Snapshots(Mutex<State>);

#[derive(Default)]
struct State {
    kept: HashMap<FirmId, Kept>,
    /// Of all that is kept.
    bytes: usize,
    /// How often something was asked for.
    asked: u64,
}

struct Kept {
    snapshot: Snapshot,
    /// The consents whose rows of a day are counted.
    quotas: Arc<[ConsentId]>,
    bytes: usize,
    /// µs since 1970.
    made_us: i64,
    /// When it was asked for last.
    asked: u64,
}

impl Snapshots {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, grantor: &FirmId, now_us: i64) -> Option<(Snapshot, Arc<[ConsentId]>)> {
        let mut state = self.state();
        state.asked += 1;
        let asked = state.asked;
        let kept = state.kept.get_mut(grantor).filter(|kept| now_us.saturating_sub(kept.made_us) < KEPT_US)?;
        kept.asked = asked;
        Some((kept.snapshot.clone(), Arc::clone(&kept.quotas)))
    }

    fn keep(&self, snapshot: &Snapshot, made_us: i64, most: usize) {
        let (bytes, quotas) = (snapshot.weight(), snapshot.quotas().collect());
        let mut state = self.state();
        state.forget(&snapshot.grantor().clone());
        if bytes > most {
            return;
        }
        while state.bytes + bytes > most {
            let longest = state.kept.iter().min_by_key(|(_, kept)| kept.asked);
            let Some(longest) = longest.map(|(grantor, _)| grantor.clone()) else { break };
            state.forget(&longest);
        }
        state.bytes += bytes;
        let kept = Kept { snapshot: snapshot.clone(), quotas, bytes, made_us, asked: state.asked };
        state.kept.insert(snapshot.grantor().clone(), kept);
    }
}

impl State {
    fn forget(&mut self, grantor: &FirmId) {
        if let Some(kept) = self.kept.remove(grantor) {
            self.bytes -= kept.bytes;
        }
    }
}

impl Access {
    /// What decisions on a firm's series are made on now.
    pub(super) async fn decided_on(&self, grantor: &FirmId) -> Result<Snapshot, ControlError> {
        let now_us = self.now_us();
        if let Some((mut kept, quotas)) = self.snapshots.find(grantor, now_us) {
            let Pulse { epoch, newest_us, used } = self.control.pulse(grantor, &quotas, now_us).await?;
            // Times of the log that go back are those of another store.
            if epoch == kept.epoch() && newest_us >= kept.newest_us {
                (kept.newest_us, kept.used) = (newest_us, used);
                return Ok(kept);
            }
        }
        let snapshot = self.control.snapshot(grantor, now_us).await?;
        let snapshot = snapshot.meaning(consent::dictionary().clone()).indexed();
        self.snapshots.keep(&snapshot, now_us, MAX_BYTES);
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests;
