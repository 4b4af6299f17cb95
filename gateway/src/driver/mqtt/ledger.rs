//! Which message is where: on its way to the disk, synced, acknowledged, or known to
//! have been acknowledged. Pure.
//!
//! A broker delivers again what it holds no acknowledgement for. After a reconnect that
//! is also a message whose acknowledgement was lost on the way; it must not become a
//! second reading. So an entry is kept until the broker has answered a ping that was
//! written after the acknowledgement, and an entry of an earlier connection until the
//! first such answer on the new one, by which time redeliveries have come.

use std::collections::{HashMap, VecDeque};

type Digest = [u8; 16];

#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: HashMap<u16, Entry>,
    /// Packet ids to acknowledge, in order.
    owed: VecDeque<u16>,
    /// Counts connections.
    epoch: u64,
    /// The last ticket that is synced.
    synced: u64,
    /// Acknowledgements of this connection: handed to the library, and written to the line.
    handed: u64,
    written: u64,
    /// How many had been written at the last ping.
    pinged: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    digest: Digest,
    ticket: u64,
    /// The connection that delivered it last.
    epoch: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits for its sync.
    Waiting,
    /// Stands in `owed`.
    Owed,
    /// The nth acknowledgement of its connection.
    Acknowledged(u64),
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Send it on.
    New,
    /// It was sent on before; its acknowledgement is seen to.
    Known,
}

impl Ledger {
    /// A ledger that knows messages which an earlier process synced and may not have
    /// acknowledged. That is done when they come again, not before.
    pub(super) fn knowing(messages: Vec<(u16, Digest)>) -> Self {
        let entry = |digest| Entry { digest, ticket: 0, epoch: 0, state: State::Acknowledged(0) };
        Self {
            entries: messages.into_iter().map(|(packet_id, digest)| (packet_id, entry(digest))).collect(),
            ..Self::default()
        }
    }

    /// How many messages may come again, with one that arrives now.
    pub(super) fn unsettled(&self, packet_id: u16) -> u32 {
        let others = self.entries.len() - usize::from(self.entries.contains_key(&packet_id));
        u32::try_from(others + 1).unwrap_or(u32::MAX)
    }

    /// A connection is made. Without a session the broker knows nothing of old packet ids.
    pub(super) fn connected(&mut self, session_present: bool) {
        self.epoch += 1;
        self.owed.clear();
        (self.handed, self.written, self.pinged) = (0, 0, None);
        if !session_present {
            self.entries.clear();
        }
    }

    /// A message came.
    pub(super) fn arrived(&mut self, packet_id: u16, dup: bool, digest: Digest) -> Verdict {
        match self.entries.get_mut(&packet_id) {
            Some(entry) if dup && entry.digest == digest => {
                entry.epoch = self.epoch;
                match entry.state {
                    State::Owed if self.owed.contains(&packet_id) => {}
                    State::Waiting if entry.ticket > self.synced => {}
                    _ => {
                        entry.state = State::Owed;
                        self.owed.push_back(packet_id);
                    }
                }
                Verdict::Known
            }
            _ => Verdict::New,
        }
    }

    /// A message was sent on under a ticket; 0 when it needed none.
    pub(super) fn sent(&mut self, packet_id: u16, digest: Digest, ticket: u64) {
        let synced = ticket <= self.synced;
        let state = if synced { State::Owed } else { State::Waiting };
        if synced {
            self.owed.push_back(packet_id);
        }
        self.entries.insert(packet_id, Entry { digest, ticket, epoch: self.epoch, state });
    }

    /// Everything up to a ticket is synced. What this connection has not delivered is not
    /// acknowledged on it.
    pub(super) fn synced(&mut self, ticket: u64) {
        if ticket <= self.synced {
            return;
        }
        self.synced = ticket;
        let mut ready: Vec<_> = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| entry.state == State::Waiting && entry.ticket <= ticket && entry.epoch == self.epoch)
            .map(|(packet_id, entry)| {
                entry.state = State::Owed;
                (entry.ticket, *packet_id)
            })
            .collect();
        ready.sort_unstable();
        self.owed.extend(ready.into_iter().map(|(_, packet_id)| packet_id));
    }

    /// The next packet id to acknowledge.
    pub(super) fn owed(&self) -> Option<u16> {
        self.owed.front().copied()
    }

    /// The library took the acknowledgement of [`owed`](Self::owed).
    pub(super) fn acknowledged(&mut self) {
        self.handed += 1;
        if let Some(entry) = self.owed.pop_front().and_then(|packet_id| self.entries.get_mut(&packet_id)) {
            entry.state = State::Acknowledged(self.handed);
        }
    }

    /// One more acknowledgement was written, in the order in which they were handed over.
    pub(super) fn written(&mut self) {
        self.written += 1;
    }

    /// Whether every acknowledgement that is due is written to the line.
    pub(super) fn is_written(&self) -> bool {
        self.owed.is_empty() && self.handed == self.written
    }

    /// Whether something that this connection delivered waits for its sync.
    pub(super) fn awaits_sync(&self) -> bool {
        self.entries.values().any(|entry| entry.state == State::Waiting && entry.epoch == self.epoch)
    }

    /// A ping was written.
    pub(super) fn ping(&mut self) {
        self.pinged = Some(self.written);
    }

    /// The broker answered the ping, so it has seen what was written before it.
    pub(super) fn pong(&mut self) {
        let Some(seen) = self.pinged.take() else { return };
        let epoch = self.epoch;
        self.entries.retain(|_, entry| {
            entry.epoch == epoch && !matches!(entry.state, State::Acknowledged(number) if number <= seen)
        });
    }
}

#[cfg(test)]
mod tests;
