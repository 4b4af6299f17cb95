//! The recorder: replies in, sealed batches out. Owns the tag stage and the writing
//! end of the spool.
//!
//! A reading waits here, in memory, for at most one sync interval; nothing that came
//! before it was answered for. When a batch is synced, the tickets of the replies in it
//! go back to the drivers, which acknowledge them to whoever sent them.

use std::time::Duration;

use sandan_proto::batch::{self, BatchBuilder, Group};
use tokio::sync::{mpsc, watch};

use crate::driver::Reply;
use crate::health::Health;
use crate::spool::{Outgoing, Writer};
use crate::tag::Tags;

/// A batch is sealed early at this size, a quarter of what the wire allows: one more
/// reply, whatever it holds, still fits.
const SEAL_BYTES: usize = sandan_proto::limits::MAX_PAYLOAD_BYTES / 4;
/// Sealed batches are synced early at this size, so that a fast plant does not pile up
/// a whole interval in memory.
const SYNC_BYTES: usize = 1 << 20;
/// Seal and sync run a little faster than the interval that is promised: the sync
/// itself takes time, and the promise is about when it is done.
const TICK_SHARE: f64 = 0.8;

pub(super) struct Recorder {
    pub(super) replies: mpsc::Receiver<Reply>,
    /// By source: where its synced tickets go.
    pub(super) synced: Vec<watch::Sender<u64>>,
    pub(super) tags: Tags,
    pub(super) writer: Writer,
    pub(super) health: Health,
}

/// What is sealed or being collected, and which tickets that covers.
struct Open {
    builder: BatchBuilder,
    tickets: Vec<u64>,
    /// The last sync failed; said once, until one succeeds.
    failing: bool,
}

impl Recorder {
    /// Runs until every driver has dropped its sender; then everything is synced.
    pub(super) async fn run(mut self, sync_interval: Duration) {
        let mut open = Open { builder: BatchBuilder::default(), tickets: vec![0; self.synced.len()], failing: false };
        let mut tick = tokio::time::interval(sync_interval.mul_f64(TICK_SHARE));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                reply = self.replies.recv() => {
                    let Some(reply) = reply else { break };
                    self.take(&reply, &mut open);
                    if self.writer.unsynced_bytes() >= SYNC_BYTES {
                        self.sync(&mut open);
                    }
                }
                _ = tick.tick() => self.sync(&mut open),
            }
        }
        self.sync(&mut open);
    }

    fn take(&mut self, reply: &Reply, open: &mut Open) {
        let (mut taken, mut refused) = (0, 0);
        self.tags.apply(reply, &mut |series, at_us, value, quality| {
            match open.builder.push(series, at_us, value, quality) {
                Ok(()) => taken += 1,
                // Times of one endpoint do not step back, and a signal keeps its type;
                // if one ever does, it is counted rather than mixed up.
                Err(_) => refused += 1,
            }
        });
        self.health.add_readings(taken);
        if refused > 0 {
            tracing::error!(source = reply.source, refused, "readings out of order or of a changed type were dropped");
            self.health.add_dropped(refused);
        }
        if let Some(ticket) = open.tickets.get_mut(reply.source) {
            *ticket = reply.ticket;
        }
        if open.builder.encoded_bound() >= SEAL_BYTES {
            self.seal(open);
        }
    }

    fn seal(&mut self, open: &mut Open) {
        let readings = open.builder.readings() as u64;
        let groups = open.builder.take();
        let Some((first_us, last_us)) = span(&groups) else { return };
        let lost = self.writer.append(&Outgoing { payload: batch::encode(&groups), readings, first_us, last_us });
        if lost > 0 {
            self.health.add_dropped(lost);
        }
    }

    fn sync(&mut self, open: &mut Open) {
        self.seal(open);
        // The disk may take its time; polls go on meanwhile.
        match tokio::task::block_in_place(|| self.writer.sync()) {
            Ok(()) => {
                if std::mem::take(&mut open.failing) {
                    tracing::info!("the spool takes records again");
                }
                for (sender, ticket) in self.synced.iter().zip(&open.tickets) {
                    sender.send_if_modified(|synced| std::mem::replace(synced, *ticket) != *ticket);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut open.failing, true) {
                    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    tracing::error!(%error, cause, "cannot sync the spool; readings wait in memory");
                }
            }
        }
    }
}

fn span(groups: &[Group]) -> Option<(i64, i64)> {
    let first = groups.iter().filter_map(|group| group.times_us.first()).min()?;
    let last = groups.iter().filter_map(|group| group.times_us.last()).max()?;
    Some((*first, *last))
}
