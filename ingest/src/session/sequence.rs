//! The sequence check: what a session does with a record, given what its lane has
//! already. Pure.

use crate::store::delivery::{Place, place};

/// One lane as a session sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Synced by the store and acknowledged through here.
    durable: u64,
    /// Handed to the store through here.
    taken: u64,
    /// The gateway was told where to go on, and has not gone on there yet.
    asked: bool,
    /// The next record could not be taken this many times.
    refusals: u32,
}

/// What to do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It follows: take it.
    Take,
    /// It is durable: acknowledge it.
    Duplicate,
    /// It is on its way to the store: its acknowledgement comes.
    InFlight,
    /// Something before it is missing: ask for this sequence.
    Ask(u64),
    /// As before, but the question was put already and the answer is on its way.
    Ignore,
}

impl Lane {
    /// A lane that is durable through a sequence.
    pub fn new(durable: u64) -> Self {
        Self { durable, taken: durable, asked: false, refusals: 0 }
    }

    /// Durable through this sequence.
    pub fn durable_through(&self) -> u64 {
        self.durable
    }

    /// Nothing of it is on its way to the store.
    pub fn is_idle(&self) -> bool {
        self.taken == self.durable
    }

    /// Judges a record that covers the sequences `first` to `last`.
    pub fn check(&mut self, first: u64, last: u64) -> Verdict {
        match place(self.taken, first, last) {
            Place::Duplicate if last <= self.durable => Verdict::Duplicate,
            Place::Duplicate => Verdict::InFlight,
            Place::Next => {
                self.asked = false;
                Verdict::Take
            }
            // A gateway that sent a window of records beyond a missing one would else be
            // asked once for each of them, and would send the window as often.
            Place::Ahead if self.asked => Verdict::Ignore,
            Place::Ahead => Verdict::Ask(self.ask()),
        }
    }

    /// Notes that the gateway is told where to go on, and gives the sequence.
    pub fn ask(&mut self) -> u64 {
        self.asked = true;
        self.taken + 1
    }

    /// Notes that the next record came but could not be taken as it is. Gives how often
    /// that happened to it.
    pub fn refuse(&mut self) -> u32 {
        self.refusals += 1;
        self.refusals
    }

    /// Notes that the gateway is told to send its next record again later: until that comes
    /// there is nothing to ask for.
    pub fn put_off(&mut self) {
        self.asked = true;
    }

    /// Notes that records through `last` went to the store.
    pub fn take(&mut self, last: u64) {
        self.taken = self.taken.max(last);
        self.refusals = 0;
    }

    /// Notes that the store has synced through a sequence. True when that is news.
    pub fn synced(&mut self, through: u64) -> bool {
        let news = through > self.durable;
        self.durable = self.durable.max(through);
        self.taken = self.taken.max(through);
        news
    }
}

#[cfg(test)]
mod tests;
