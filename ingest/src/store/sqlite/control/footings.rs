//! What a running read asks about again and again: whether its asker is still a member, and
//! its grantor's epoch, in memory.
//!
//! One process owns `control.db`, and all of its changes go through one connection, after each
//! of which everything is forgotten before whoever asked for the change is told: no answer is
//! older than the last change that anybody knows of. Entries of the log change neither.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandan_proto::id::FirmId;

use crate::id::MemberId;

/// Askers, each with one grantor, that are remembered at most: about 1 MiB.
const MOST: usize = 8_192;

/// Whether somebody is a member, and the epoch of a grantor.
pub(super) type Footing = (bool, u64);

#[derive(Debug, Clone, Default)]
pub(super) struct Footings(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How often everything was forgotten.
    changes: u64,
    known: HashMap<MemberId, HashMap<FirmId, Footing>>,
    count: usize,
}

/// The state of affairs when somebody began to look into the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since(u64);

impl Footings {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, or since when nothing is.
    pub(super) fn find(&self, member: MemberId, grantor: &FirmId) -> Result<Footing, Since> {
        let state = self.state();
        state.known.get(&member).and_then(|its| its.get(grantor)).copied().ok_or(Since(state.changes))
    }

    /// Remembers what was read after `since`, unless something was changed meanwhile.
    pub(super) fn keep(&self, since: Since, member: MemberId, grantor: FirmId, footing: Footing) {
        let mut state = self.state();
        if state.changes != since.0 {
            return;
        }
        if state.count == MOST {
            state.known.clear();
            state.count = 0;
        }
        let is_new = state.known.entry(member).or_default().insert(grantor, footing).is_none();
        state.count += usize::from(is_new);
    }

    /// Something was changed, or nobody knows whether it was.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.changes += 1;
        state.known.clear();
        state.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firm(name: &str) -> FirmId {
        name.parse().unwrap()
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let footings = Footings::default();
        let (member, owner) = (MemberId::random(), firm("hanbit"));
        let since = footings.find(member, &owner).unwrap_err();
        footings.keep(since, member, owner.clone(), (true, 4));
        assert_eq!(footings.find(member, &owner).unwrap(), (true, 4));
        footings.find(member, &firm("saesol")).unwrap_err();
        footings.find(MemberId::random(), &owner).unwrap_err();

        let late = footings.find(MemberId::random(), &owner).unwrap_err();
        footings.forget();
        footings.find(member, &owner).unwrap_err();
        footings.keep(late, member, owner.clone(), (true, 4));
        footings.find(member, &owner).unwrap_err();
    }

    #[test]
    fn no_more_than_a_bounded_number_is_kept() {
        let footings = Footings::default();
        let owner = firm("hanbit");
        for _ in 0..=MOST {
            let member = MemberId::random();
            let since = footings.find(member, &owner).unwrap_err();
            footings.keep(since, member, owner.clone(), (true, 1));
            assert!(footings.state().known.len() <= MOST);
        }
        assert_eq!(footings.state().count, 1);
    }
}
