//! The recorder: replies in, sealed batches out. Owns the tag stage and the writing
//! end of the spool.
//!
//! A reading waits here, in memory, for at most one sync interval; nothing that came
//! before it was answered for. When a batch is synced, the tickets of the replies in it
//! go back to the drivers, which acknowledge them to whoever sent them.
//!
//! While the disk fails, what is polled goes on being taken: the newest readings are
//! lost beyond a bound and declared, and the health of the devices stays true. What is
//! delivered is not taken then: its sender keeps it as long as it is not acknowledged.
//! So no ticket of a delivered reply ever moves past a lost one.

use std::collections::BTreeMap;
use std::time::Duration;

use sandan_proto::batch::{self, BatchBuilder};
use sandan_proto::births::Births;
use sandan_proto::reading::{Quality, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fleet::{Order, Source};
use super::notify::Pulse;
use crate::clock;
use crate::driver::Reply;
use crate::health::Health;
use crate::spool::{DeadLetter, Delivery, Outgoing, SpoolError, Writer};
use crate::tag::{self, Tags};

/// A batch is sealed early at this size, a quarter of what the wire allows. It is looked
/// at after each reply: the readings of one message stand in one batch, so that they are
/// synced, and known when the message comes again, all or none.
const SEAL_BYTES: usize = sandan_proto::limits::MAX_PAYLOAD_BYTES / 4;
/// Beyond this a batch is sealed within a reply, so that no reply, whatever it holds, makes
/// a batch that is refused. A reply of up to half a MiB is never cut.
const CUT_BYTES: usize = sandan_proto::limits::MAX_PAYLOAD_BYTES / 4 * 3;
/// Sealed batches are synced early at this size, so that a fast plant does not pile up
/// a whole interval in memory. It leaves the spool room for one more reply, whatever it
/// holds, when the sync fails.
const SYNC_BYTES: usize = 1 << 20;
/// Seal and sync run a little faster than the interval that is promised: the sync
/// itself takes time, and the promise is about when it is done.
const TICK_SHARE: f64 = 0.8;
/// So many delivered replies of one source are synced early. A broker stops at a window
/// of unacknowledged messages, mosquitto at 20 if nobody says otherwise: at half of it
/// the other half is on its way meanwhile.
const EARLY_REPLIES: usize = 10;
/// Early syncs are this far apart: some 400 messages a second of one broker, and no more
/// writes than an SD card in a gateway takes over years.
const EARLY_SPACING: Duration = Duration::from_millis(50);
/// How often it shows that it goes around, whatever there is to record: twice as often as is
/// looked for it.
const BEAT: Duration = Duration::from_millis(500);

/// What the recorder asks of the spool.
pub(super) trait Records {
    /// Takes a batch into memory, and the messages whose last reading it holds; returns how
    /// many of its readings were lost.
    fn append(&mut self, batch: &Outgoing, deliveries: &[Delivery]) -> u64;
    /// Takes a message that could not be used into memory; false when there is no room for it.
    fn append_dead(&mut self, letter: &DeadLetter) -> bool;
    /// Bytes that wait for a sync.
    fn unsynced_bytes(&self) -> usize;
    /// What batches from now on name as their births.
    fn set_births(&mut self, births: &Births);
    /// Writes and syncs what was appended; after an error all of it is still there.
    fn sync(&mut self) -> Result<(), SpoolError>;
}

impl Records for Writer {
    fn append(&mut self, batch: &Outgoing, deliveries: &[Delivery]) -> u64 {
        Self::append_delivered(self, batch, deliveries)
    }
    fn append_dead(&mut self, letter: &DeadLetter) -> bool {
        Self::append_dead(self, letter)
    }
    fn unsynced_bytes(&self) -> usize {
        Self::unsynced_bytes(self)
    }
    fn set_births(&mut self, births: &Births) {
        Self::set_births(self, births);
    }
    fn sync(&mut self) -> Result<(), SpoolError> {
        Self::sync(self)
    }
}

pub(super) struct Recorder<R> {
    /// From endpoints that are polled: what is not kept is gone.
    pub(super) polled: mpsc::Receiver<Reply>,
    /// From endpoints that deliver again what is not acknowledged.
    pub(super) delivered: mpsc::Receiver<Reply>,
    /// What reloads ask for.
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) tags: Tags,
    pub(super) book: Book<R>,
    /// Drivers take nothing more, and wait for what they sent to be synced.
    pub(super) stopping: CancellationToken,
    /// For the watchdog.
    pub(super) pulse: Pulse,
}

impl<R: Records> Recorder<R> {
    /// Runs until every driver has dropped its sender; then everything is synced.
    pub(super) async fn run(mut self, sync_interval: Duration) {
        let mut tick = interval(sync_interval.mul_f64(TICK_SHARE));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut polls, mut deliveries, mut stopping) = (true, true, false);
        while polls || deliveries {
            let early = self.book.early_sync();
            tokio::select! {
                reply = self.polled.recv(), if polls => match reply {
                    Some(reply) => self.take(&reply),
                    None => polls = false,
                },
                reply = self.delivered.recv(), if deliveries && !self.book.failing => match reply {
                    Some(reply) => {
                        self.take(&reply);
                        self.book.owe(reply.source);
                    }
                    None => deliveries = false,
                },
                () = sleep_until(early.unwrap_or_else(Instant::now)), if early.is_some() => {
                    self.book.sync();
                    tick.reset();
                }
                _ = tick.tick() => {
                    let now_us = clock::monotonic_us();
                    self.emit(now_us, |tags, emit| tags.tick(now_us, emit));
                    self.book.health.set_signals(self.tags.last(), now_us);
                    self.book.sync();
                }
                _ = beat.tick() => self.pulse.beat(),
                Some(order) = self.orders.recv() => self.go_over(order),
                () = self.stopping.cancelled(), if !stopping => stopping = true,
            }
            if stopping && self.polled.is_empty() && self.delivered.is_empty() {
                self.book.sync();
            }
            if stopping && self.book.failing && deliveries {
                // There is no later any more: what still stands here stays with its sender.
                self.delivered.close();
                deliveries = false;
            }
        }
        self.emit(clock::monotonic_us(), |tags, emit| tags.close(emit));
        self.book.sync();
    }

    /// Goes over to another configuration: what is on its way is recorded under the one before,
    /// as far as it is taken at all, and what comes after under this one.
    fn go_over(&mut self, order: Order) {
        for _ in 0..self.polled.len() {
            let Ok(reply) = self.polled.try_recv() else { break };
            self.take(&reply);
        }
        for _ in 0..if self.book.failing { 0 } else { self.delivered.len() } {
            let Ok(reply) = self.delivered.try_recv() else { break };
            self.take(&reply);
            self.book.owe(reply.source);
        }
        let Order { from, to, births, signals, kept, new, done } = order;
        self.emit(clock::monotonic_us(), |tags, emit| tags.go_over(&from, &to, &signals, &kept, emit));
        self.book.seal();
        self.book.spool.set_births(&births);
        self.book.sources.retain(|source, _| kept.contains(source));
        self.book.sources.extend(new.into_iter().map(|(number, source)| (number, Owing::new(source))));
        // Who asked may have given up.
        let _ = done.send(());
    }

    /// Puts what the tag stage emits at a moment into the book.
    fn emit(&mut self, now_us: i64, work: impl FnOnce(&mut Tags, tag::Emit<'_>)) {
        let Self { tags, book, .. } = self;
        book.now_us = now_us;
        let refused = book.refused;
        work(tags, &mut |series, at_us, value, quality| book.push(series, at_us, value, quality));
        let refused = book.refused - refused;
        if refused > 0 {
            tracing::error!(refused, "readings of a changed type were dropped");
            book.health.add_dropped(refused);
        }
    }

    fn take(&mut self, reply: &Reply) {
        // Of a driver that a reload has ended nothing is taken any more: what may be delivered
        // again is with its sender.
        if !self.book.sources.contains_key(&reply.source) {
            return;
        }
        let taken = self.book.taken;
        self.emit(reply.at_us, |tags, emit| tags.apply(reply, emit));
        let book = &mut self.book;
        if book.taken > taken
            && let Some(delivery) = &reply.delivery
        {
            book.deliveries.push(Delivery {
                session: delivery.session,
                packet_id: delivery.packet_id,
                digest: delivery.digest,
                unsettled: delivery.unsettled,
            });
        }
        if let Some(dead) = &reply.dead {
            let place = book.sources.get(&reply.source).map_or("", |owing| &owing.source.place);
            let letter = DeadLetter::new(place, &dead.topic, &dead.reason, &dead.payload, reply.at_us);
            let is_kept = book.spool.append_dead(&letter);
            book.health.dead_letter_written(reply.source, is_kept);
        }
        book.seal_if_beyond(SEAL_BYTES);
        if let Some(source) = book.sources.get_mut(&reply.source) {
            source.ticket = reply.ticket;
        }
    }
}

/// What is being collected or waits for its sync, and which tickets that covers.
pub(super) struct Book<R> {
    spool: R,
    health: Health,
    builder: BatchBuilder,
    /// Messages whose last reading is in the builder.
    deliveries: Vec<Delivery>,
    /// Readings that came into the builder.
    taken: u64,
    /// When what is being taken came.
    now_us: i64,
    /// When the first and the last of what is in the builder did.
    arrived: Option<(i64, i64)>,
    /// The drivers.
    sources: BTreeMap<usize, Owing>,
    synced_at: Instant,
    refused: u64,
    /// The last sync failed; said once, until one succeeds.
    failing: bool,
}

/// What a driver is owed.
#[derive(Debug)]
struct Owing {
    source: Source,
    /// The ticket of its last reply that was taken whole.
    ticket: u64,
    /// Its delivered replies since the last sync.
    owed: usize,
}

impl Owing {
    fn new(source: Source) -> Self {
        Self { source, ticket: 0, owed: 0 }
    }
}

impl<R: Records> Book<R> {
    /// The drivers come by their numbers from 0 on.
    pub(super) fn new(spool: R, sources: Vec<Source>, health: Health) -> Self {
        Self {
            spool,
            health,
            builder: BatchBuilder::default(),
            deliveries: Vec::new(),
            taken: 0,
            now_us: 0,
            arrived: None,
            sources: sources.into_iter().map(Owing::new).enumerate().collect(),
            synced_at: Instant::now(),
            refused: 0,
            failing: false,
        }
    }

    fn push(&mut self, series: u32, at_us: i64, value: Value, quality: Quality) {
        self.seal_if_beyond(CUT_BYTES);
        // A signal keeps its type; if one ever does not, it is counted rather than mixed up.
        if self.builder.push(series, at_us, value, quality).is_err() {
            self.refused += 1;
            return;
        }
        let (first_us, last_us) = self.arrived.unwrap_or((self.now_us, self.now_us));
        self.arrived = Some((first_us.min(self.now_us), last_us.max(self.now_us)));
        self.taken += 1;
        self.health.add_readings(1);
    }

    fn seal_if_beyond(&mut self, bytes: usize) {
        if self.builder.encoded_bound() >= bytes {
            self.seal();
            // A disk that fails is tried again at its tick, not with every batch.
            if !self.failing && self.spool.unsynced_bytes() >= SYNC_BYTES {
                self.sync();
            }
        }
    }

    /// One more delivered reply of a source waits for its acknowledgement.
    fn owe(&mut self, source: usize) {
        if let Some(source) = self.sources.get_mut(&source) {
            source.owed += 1;
        }
    }

    /// When to sync because a sender may be waiting for its window.
    fn early_sync(&self) -> Option<Instant> {
        let waits = !self.failing && self.sources.values().any(|source| source.owed >= EARLY_REPLIES);
        waits.then(|| self.synced_at + EARLY_SPACING)
    }

    fn seal(&mut self) {
        let readings = self.builder.readings() as u64;
        let groups = self.builder.take();
        // Not the times of the readings: a source may tell what was long ago, and a gap is
        // between what came before and what came after.
        let Some((first_us, last_us)) = self.arrived.take() else { return };
        let deliveries = std::mem::take(&mut self.deliveries);
        let batch = Outgoing { payload: batch::encode(&groups), readings, first_us, last_us };
        let lost = self.spool.append(&batch, &deliveries);
        if lost > 0 {
            self.health.add_dropped(lost);
        }
    }

    fn sync(&mut self) {
        self.seal();
        self.synced_at = Instant::now();
        // The disk may take its time; polls go on meanwhile.
        match tokio::task::block_in_place(|| self.spool.sync()) {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the spool takes records again");
                }
                crash_point!("recorder.synced-before-acknowledged");
                for Owing { source, ticket, owed } in self.sources.values_mut() {
                    *owed = 0;
                    source.synced.send_if_modified(|synced| std::mem::replace(synced, *ticket) != *ticket);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    tracing::error!(%error, cause, "cannot sync the spool; readings wait in memory");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
