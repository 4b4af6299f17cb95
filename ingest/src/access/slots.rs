//! What one firm may have open at a time, and the turns in which the store reads for it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use sandan_proto::id::FirmId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Access, AccessError};
use crate::auth::Member;
use crate::id::MemberId;

/// Reads that one firm may have open. A member whose programs hang, or who never
/// takes the bytes, uses up only this.
pub(super) const MAX_READS_PER_FIRM: u32 = 8;
/// Of the turns of all, for one firm.
const MAX_TURNS_PER_FIRM: usize = 2;
/// Streams of one token: a program for each machine of a hall, and not for each of its sensors.
const MAX_STREAMS_PER_MEMBER: u32 = 8;
/// Streams of one firm.
pub(super) const MAX_STREAMS_PER_FIRM: u32 = 16;
/// Streams of all: each asks the database some times a second, and holds a connection of the
/// few hundred that there are.
const MAX_STREAMS: u32 = 64;

/// What one firm has open.
pub(super) struct OpenReads {
    reads: u32,
    streams: HashMap<MemberId, u32>,
    turns: Arc<Semaphore>,
}

impl OpenReads {
    fn new() -> Self {
        Self { reads: 0, streams: HashMap::new(), turns: Arc::new(Semaphore::new(MAX_TURNS_PER_FIRM)) }
    }

    fn streams(&self) -> u32 {
        self.streams.values().sum()
    }
}

/// What a slot counts as.
#[derive(Debug, Clone, Copy)]
enum Counted {
    Read,
    Stream(MemberId),
    /// Of a stream, which is counted itself and outlives it.
    Part,
}

/// One of the reads, or of the streams, that a firm may have open.
pub(super) struct ReadSlot {
    pub(super) access: Arc<Access>,
    pub(super) firm: FirmId,
    /// The firm's.
    turns: Arc<Semaphore>,
    counted: Counted,
}

/// The right to have the store read one piece: the firm's, and that of all.
pub(super) type Turn = [Option<OwnedSemaphorePermit>; 2];

impl ReadSlot {
    pub(super) fn take(access: &Arc<Access>, firm: &FirmId) -> Result<Self, AccessError> {
        let mut open = access.open_reads.lock().unwrap_or_else(PoisonError::into_inner);
        let of = open.entry(firm.clone()).or_insert_with(OpenReads::new);
        if of.reads >= MAX_READS_PER_FIRM {
            return Err(AccessError::TooManyReads);
        }
        of.reads += 1;
        let turns = of.turns.clone();
        Ok(Self { access: access.clone(), firm: firm.clone(), turns, counted: Counted::Read })
    }

    /// For a live stream, which is counted by itself: however many stay open, reads go on.
    pub(super) fn stream(access: &Arc<Access>, member: &Member) -> Result<Self, AccessError> {
        let mut open = access.open_reads.lock().unwrap_or_else(PoisonError::into_inner);
        let all: u32 = open.values().map(OpenReads::streams).sum();
        let of = open.get(&member.firm);
        let mine = of.and_then(|of| of.streams.get(&member.id)).copied().unwrap_or(0);
        let of_firm = of.map_or(0, OpenReads::streams);
        if all >= MAX_STREAMS || of_firm >= MAX_STREAMS_PER_FIRM || mine >= MAX_STREAMS_PER_MEMBER {
            return Err(AccessError::TooManyStreams);
        }
        let of = open.entry(member.firm.clone()).or_insert_with(OpenReads::new);
        *of.streams.entry(member.id).or_default() += 1;
        let (turns, counted) = (of.turns.clone(), Counted::Stream(member.id));
        Ok(Self { access: access.clone(), firm: member.firm.clone(), turns, counted })
    }

    /// For one read of a stream.
    pub(super) fn part(&self) -> Self {
        let (access, firm, turns) = (self.access.clone(), self.firm.clone(), self.turns.clone());
        Self { access, firm, turns, counted: Counted::Part }
    }

    pub(super) async fn turn(&self) -> Turn {
        // Neither semaphore is ever closed.
        [self.turns.clone().acquire_owned().await.ok(), self.access.turns.clone().acquire_owned().await.ok()]
    }
}

impl Drop for ReadSlot {
    fn drop(&mut self) {
        let mut open = self.access.open_reads.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of) = open.get_mut(&self.firm) else { return };
        match self.counted {
            Counted::Part => return,
            Counted::Read => of.reads -= 1,
            Counted::Stream(member) => {
                if let Some(count) = of.streams.get_mut(&member) {
                    *count -= 1;
                    if *count == 0 {
                        of.streams.remove(&member);
                    }
                }
            }
        }
        if of.reads == 0 && of.streams.is_empty() {
            open.remove(&self.firm);
        }
    }
}
