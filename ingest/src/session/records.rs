//! What a session does with births, clocks and records, and with the store's answers.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use futures::FutureExt;
use prost::Message;
use sandan_proto::batch;
use sandan_proto::births::{Births, BirthsError};
use sandan_proto::id::{BirthsHash, BootId, LaneId};
use sandan_proto::limits::MAX_LANES;
use sandan_proto::record::{Gap, Moment, RecordError, Sealed};
use sandan_proto::v1::clock_offset::Source;
use sandan_proto::v1::{self, DeadLetterReason, ingest_frame};

use super::admission::{self, Bounds};
use super::sequence::{Lane, Verdict};
use super::stream::{End, InFlight, Known, Session, credits, in_words, protocol, watermark};
use super::{Closed, admission::admit};
use crate::store::{Clock, Content, Delivery, Letter, Receipt, StoreError, Stored, dead_letters};

/// Times that a record with a wrong checksum is asked for again: the wire may have
/// changed it once; a disk changes it always.
const DAMAGED_TRIES: u32 = 3;
/// Times that a record is asked for again for births or a clock that never come.
const MISSING_TRIES: u32 = 8;
/// Births that a session remembers, of up to 4 MiB each; others are asked of the store
/// again. A backlog comes in the order of its births.
const REMEMBERED_BIRTHS: usize = 4;
/// Clocks that it remembers.
const REMEMBERED_CLOCKS: usize = 64;
/// Dead letters that one Ack names, so that it stays small; the counts name all.
const NAMED_LETTERS: usize = 256;

/// How soon a gateway asks again whether the disk has room: not long after it has, and seldom
/// enough for 2,000 of them.
const NO_ROOM_DELAY: Duration = Duration::from_secs(10);
/// For the gateway's log.
const NO_ROOM: &str = "the ingest's disk is below its reserve";

/// What a record needs before it can be judged.
enum Need {
    Births(BirthsHash),
    Clock(BootId),
}

impl Session<'_> {
    pub(super) async fn on_births(&mut self, wire: v1::Births) -> Result<(), End> {
        let hash = BirthsHash::from_bytes(&wire.hash).map_err(|error| protocol(error.to_string()))?;
        if let Some(Known::Registered(_)) = self.births.get(&hash) {
            return Ok(());
        }
        let known = match Births::from_wire(wire) {
            Ok(births) => match self.service.store.register(&self.gateway, births).await {
                Err(StoreError::OverQuota(detail)) => {
                    tracing::warn!(gateway = %self.gateway, detail, "births refused; records under them are dead-lettered");
                    Known::Refused(DeadLetterReason::OverQuota, detail)
                }
                registered => {
                    crash_point!("session.births-registered");
                    Known::Registered(registered?)
                }
            },
            // Changed on the way: the record that needs them asks again.
            Err(BirthsError::Hash { .. }) => return Ok(()),
            Err(error) => {
                tracing::warn!(gateway = %self.gateway, %error, "births refused; records under them are dead-lettered");
                Known::Refused(DeadLetterReason::UnknownSeries, error.to_string())
            }
        };
        remember(&mut self.births, REMEMBERED_BIRTHS, hash, known);
        Ok(())
    }

    pub(super) async fn on_clock(&mut self, wire: &v1::ClockOffset) -> Result<(), End> {
        let boot = BootId::from_bytes(&wire.boot_id).map_err(|error| protocol(error.to_string()))?;
        let clock = Clock { offset_us: wire.offset_us, estimated: wire.source() == Source::Estimated };
        let clock = self.service.store.set_clock(&self.gateway, boot, clock).await?;
        remember(&mut self.clocks, REMEMBERED_CLOCKS, boot, clock);
        Ok(())
    }

    pub(super) async fn on_sealed(&mut self, wire: v1::Sealed) -> Result<(), End> {
        let lane = LaneId::from_bytes(&wire.lane).map_err(|error| protocol(error.to_string()))?;
        let sequence = check_sequence(wire.sequence)?;
        let verdict = self.lane(lane).await?.check(sequence, sequence);
        match verdict {
            // What comes again costs a look: were it not asked, it would hold the firm's other
            // gateways back for longer than what it takes now.
            Verdict::Take | Verdict::Duplicate | Verdict::InFlight if self.put_off(lane, sequence).await? => {
                return Ok(());
            }
            Verdict::Take => {}
            Verdict::Duplicate | Verdict::InFlight => return self.again(lane, verdict, wire).await,
            Verdict::Ask(_) | Verdict::Ignore => return self.pass(lane, verdict, 0).await,
        }
        let original = wire.clone();
        let cumulative = wire.cumulative_readings;
        let content = match Sealed::from_wire(wire) {
            Ok(sealed) => match self.admit(sealed.clone()).await? {
                Ok(content) => content,
                Err(need) => match self.ask_for(lane, need).await? {
                    Some(letter) => admission::dead(&sealed, vec![letter]),
                    None => return Ok(()),
                },
            },
            Err(error @ RecordError::Checksum { .. }) => {
                if self.lane(lane).await?.refuse() < DAMAGED_TRIES {
                    return self.expect(lane).await;
                }
                dead(&original, dead_letters::reason(&error), error.to_string())
            }
            Err(error) => dead(&original, dead_letters::reason(&error), error.to_string()),
        };
        self.hand_over(lane, sequence, sequence, Some(cumulative), content).await
    }

    pub(super) async fn on_gap(&mut self, wire: v1::Gap) -> Result<(), End> {
        let lane = LaneId::from_bytes(&wire.lane).map_err(|error| protocol(error.to_string()))?;
        let (first, last) = (check_sequence(wire.first_sequence)?, check_sequence(wire.last_sequence)?);
        if last < first {
            return Err(protocol(format!("a gap from {first} to {last}")));
        }
        match self.lane(lane).await?.check(first, last) {
            Verdict::Take if self.put_off(lane, first).await? => return Ok(()),
            Verdict::Take => {}
            verdict => return self.pass(lane, verdict, 0).await,
        }
        let original = wire.clone();
        let (cumulative, content) = match Gap::from_wire(&wire) {
            Ok(gap) => {
                let (mut ends, mut uncertain) = ([None, None], false);
                for (end, moment) in ends.iter_mut().zip([gap.from, gap.to]) {
                    *end = match self.wall_time(moment).await? {
                        Ok(wall) => wall.map(|(wall_us, estimated)| {
                            uncertain |= estimated;
                            wall_us
                        }),
                        Err(need) => match self.ask_for(lane, need).await? {
                            // Its size is what counts; when it was stays unknown.
                            Some(_) => None,
                            None => return Ok(()),
                        },
                    };
                }
                let [from_us, to_us] = ends;
                (Some(gap.cumulative_after), Content::Gap { gap, from_us, to_us, uncertain })
            }
            Err(error) => (None, dead(&original, dead_letters::reason(&error), error.to_string())),
        };
        self.hand_over(lane, first, last, cumulative, content).await
    }

    /// The lane, with its watermark from the store when the session does not know it.
    async fn lane(&mut self, lane: LaneId) -> Result<&mut Lane, End> {
        if !self.lanes.contains_key(&lane) {
            if self.lanes.len() >= MAX_LANES {
                // A gateway that restarted often has drained lanes by the dozen. What is
                // known of a lane without a record on its way, the store knows too.
                let idle = self.lanes.iter().find(|(lane, state)| state.is_idle() && !self.moved.contains(lane));
                let Some(idle) = idle.map(|(&lane, _)| lane) else {
                    return Err(protocol(format!("more than {MAX_LANES} lanes at once")));
                };
                self.lanes.remove(&idle);
            }
            let through = self.service.store.watermark(&self.gateway, lane).await?;
            self.lanes.insert(lane, Lane::new(through));
        }
        self.lanes.get_mut(&lane).ok_or(End::Gone(Closed::Store))
    }

    /// Answers a record that is not taken.
    async fn pass(&mut self, lane: LaneId, verdict: Verdict, readings: u64) -> Result<(), End> {
        match verdict {
            Verdict::Duplicate => {
                self.service.store.metrics().duplicates.add(1);
                self.duplicate += readings;
                self.moved.insert(lane);
                self.acknowledge().await
            }
            Verdict::InFlight => {
                self.service.store.metrics().duplicates.add(1);
                self.duplicate += readings;
                Ok(())
            }
            Verdict::Ask(sequence) => self.send_expected(lane, sequence).await,
            Verdict::Ignore | Verdict::Take => Ok(()),
        }
    }

    /// Whether the firm has to send its next record later, which it then is told.
    async fn put_off(&mut self, lane: LaneId, sequence: u64) -> Result<bool, End> {
        let settings = &self.service.settings;
        if settings.room.is_short() {
            return self.later(lane, sequence, NO_ROOM_DELAY, NO_ROOM).await;
        }
        let Err((exceeded, delay)) = settings.quotas.check(&self.firm, (settings.now)()) else { return Ok(false) };
        self.service.store.metrics().put_off.add(1);
        self.service.fleet.held_back(&self.gateway);
        self.later(lane, sequence, delay, exceeded.words()).await
    }

    /// Tells the gateway to send a record later. Always true.
    async fn later(&mut self, lane: LaneId, sequence: u64, delay: Duration, reason: &str) -> Result<bool, End> {
        self.lane(lane).await?.put_off();
        let later = v1::RetryLater {
            lane: lane.to_vec(),
            sequence,
            delay_ms: u32::try_from(delay.as_millis()).unwrap_or(u32::MAX),
            reason: reason.to_owned(),
        };
        self.send(ingest_frame::Frame::RetryLater(later)).await?;
        Ok(true)
    }

    fn spend(&self, readings: u64, bytes: usize) {
        let settings = &self.service.settings;
        settings.quotas.spend(&self.firm, (settings.now)(), readings, bytes as u64);
    }

    /// A record under a number that the lane has already: the same one again, or another.
    async fn again(&mut self, lane: LaneId, verdict: Verdict, wire: v1::Sealed) -> Result<(), End> {
        let readings = batch::decode(&wire.payload).map_or(0, |groups| batch::count(&groups));
        // It costs a look, so that whoever sends nothing else is held back with the rest.
        self.spend(0, wire.payload.len());
        let (sequence, given) = (wire.sequence, wire.crc32c);
        let kept = match self.unsettled.get(&(lane, sequence)) {
            Some(&sum) => Some(sum),
            None => self.service.store.checksum(&self.gateway, lane, sequence).await?,
        };
        // One that was changed on the way is no other record.
        if kept.is_none_or(|kept| kept == given) || Sealed::from_wire(wire.clone()).is_err() {
            return self.pass(lane, verdict, readings).await;
        }
        if verdict == Verdict::Duplicate {
            self.moved.insert(lane);
        }
        tracing::warn!(gateway = %self.gateway, %lane, sequence, "another record came under a number that is stored");
        let detail = format!("another record is stored under number {sequence}: the spool was copied or put back");
        let letter = admission::whole(DeadLetterReason::Forked, Some(readings), detail);
        let content = Content::Forked { original: wire.encode_to_vec().into(), letter };
        self.deliver(lane, sequence, sequence, None, content).await
    }

    /// Asks for the record that did come once more.
    async fn expect(&mut self, lane: LaneId) -> Result<(), End> {
        let sequence = self.lane(lane).await?.ask();
        self.send_expected(lane, sequence).await
    }

    async fn send_expected(&mut self, lane: LaneId, sequence: u64) -> Result<(), End> {
        self.send(ingest_frame::Frame::Expected(v1::Expected { lane: lane.to_vec(), sequence })).await
    }

    /// Asks for what a record needs and for the record behind it, or gives the letter
    /// that ends the asking.
    async fn ask_for(&mut self, lane: LaneId, need: Need) -> Result<Option<Letter>, End> {
        let tries = self.lane(lane).await?.refuse();
        let (frame, reason, what) = match need {
            Need::Births(hash) => (
                ingest_frame::Frame::NeedBirths(v1::NeedBirths { hash: hash.as_bytes().to_vec() }),
                DeadLetterReason::UnknownSeries,
                "births",
            ),
            Need::Clock(boot) => (
                ingest_frame::Frame::NeedClock(v1::NeedClock { boot_id: boot.to_vec() }),
                DeadLetterReason::ClockUnknown,
                "clock",
            ),
        };
        if tries > MISSING_TRIES {
            let detail = format!("its {what} did not come after {MISSING_TRIES} requests");
            return Ok(Some(admission::whole(reason, None, detail)));
        }
        self.send(frame).await?;
        self.expect(lane).await?;
        Ok(None)
    }

    async fn admit(&mut self, sealed: Sealed) -> Result<Result<Content, Need>, End> {
        let registered = match self.known_births(sealed.births).await? {
            Some(Known::Registered(registered)) => registered,
            Some(Known::Refused(reason, detail)) => {
                let letter = admission::whole(reason, None, format!("its births were refused: {detail}"));
                return Ok(Ok(admission::dead(&sealed, vec![letter])));
            }
            None => return Ok(Err(Need::Births(sealed.births))),
        };
        let Some(clock) = self.clock(sealed.boot).await? else { return Ok(Err(Need::Clock(sealed.boot))) };
        let settings = &self.service.settings;
        Ok(Ok(admit(sealed, &registered, clock, Bounds::at((settings.now)(), settings.retention_us))))
    }

    async fn known_births(&mut self, hash: BirthsHash) -> Result<Option<Known>, End> {
        if let Some(known) = self.births.get(&hash) {
            return Ok(Some(known.clone()));
        }
        let Some(registered) = self.service.store.registered(&self.gateway, hash).await? else { return Ok(None) };
        remember(&mut self.births, REMEMBERED_BIRTHS, hash, Known::Registered(registered.clone()));
        Ok(Some(Known::Registered(registered)))
    }

    async fn clock(&mut self, boot: BootId) -> Result<Option<Clock>, End> {
        if let Some(&clock) = self.clocks.get(&boot) {
            return Ok(Some(clock));
        }
        let clock = self.service.store.clock(&self.gateway, boot).await?;
        if let Some(clock) = clock {
            remember(&mut self.clocks, REMEMBERED_CLOCKS, boot, clock);
        }
        Ok(clock)
    }

    /// The wall time of a moment, and whether it is estimated.
    async fn wall_time(&mut self, moment: Option<Moment>) -> Result<Result<Option<(i64, bool)>, Need>, End> {
        let Some(Moment { boot, monotonic_us }) = moment else { return Ok(Ok(None)) };
        Ok(match self.clock(boot).await? {
            Some(clock) => Ok(monotonic_us.checked_add(clock.offset_us).map(|wall_us| (wall_us, clock.estimated))),
            None => Err(Need::Clock(boot)),
        })
    }

    /// Hands over a record that follows, and takes what it costs.
    async fn hand_over(
        &mut self,
        lane: LaneId,
        first: u64,
        last: u64,
        cumulative: Option<u64>,
        content: Content,
    ) -> Result<(), End> {
        let sum = match &content {
            Content::Batch { sealed, readings, letters, .. } => {
                let refused: u64 = letters.iter().filter_map(|letter| letter.readings).sum();
                self.spend(readings.saturating_add(refused), content.bytes());
                Some(sealed.checksum())
            }
            Content::Dead { letters, .. } => {
                self.spend(letters.iter().filter_map(|letter| letter.readings).sum(), content.bytes());
                None
            }
            Content::Gap { .. } | Content::Forked { .. } => {
                self.spend(0, content.bytes());
                None
            }
        };
        self.deliver(lane, first, last, cumulative, content).await?;
        if let Some(sum) = sum {
            self.unsettled.insert((lane, last), sum);
        }
        self.lane(lane).await?.take(last);
        Ok(())
    }

    /// Queues a record for the next group commit.
    async fn deliver(
        &mut self,
        lane: LaneId,
        first: u64,
        last: u64,
        cumulative: Option<u64>,
        content: Content,
    ) -> Result<(), End> {
        let bytes = content.bytes() as u64;
        let (gateway, epoch) = (self.gateway.clone(), self.epoch);
        let receipt: Receipt =
            self.service.store.deliver(Delivery { gateway, epoch, lane, first, last, cumulative, content }).await?;
        crash_point!("session.queued");
        self.bytes_in_flight += bytes;
        self.in_flight.push_back(
            async move {
                let result = receipt.await.unwrap_or(Err(StoreError::Closed));
                InFlight { lane, sequence: last, bytes, result }
            }
            .boxed(),
        );
        Ok(())
    }

    /// Takes the store's word on one record, and on all others that are already settled,
    /// so that a group commit is one Ack.
    pub(super) async fn on_stored(&mut self, first: InFlight) -> Result<(), End> {
        use futures::StreamExt;
        self.settle(first)?;
        while let Some(Some(next)) = self.in_flight.next().now_or_never() {
            self.settle(next)?;
        }
        self.acknowledge().await
    }

    fn settle(&mut self, done: InFlight) -> Result<(), End> {
        self.bytes_in_flight -= done.bytes;
        self.unsettled.remove(&(done.lane, done.sequence));
        let through = match done.result? {
            Stored::Done { through, stored, letters, newest_us } => {
                self.stored += stored;
                if let Some(newest_us) = newest_us {
                    self.service.fleet.stored(&self.gateway, newest_us, stored);
                }
                for letter in letters {
                    let readings = letter.readings.unwrap_or(0);
                    self.dead_lettered += readings;
                    self.service.fleet.dead_lettered(&self.gateway, readings);
                    if letter.reason == DeadLetterReason::Forked {
                        self.service.fleet.forked(&self.gateway);
                    }
                    if self.letters.len() < NAMED_LETTERS {
                        self.letters.push(v1::DeadLetter {
                            lane: done.lane.to_vec(),
                            sequence: done.sequence,
                            series: letter.series,
                            reason: letter.reason.into(),
                            readings,
                            detail: letter.detail,
                        });
                    }
                }
                through
            }
            // Asked for by a forked one that came again, or by a gap.
            Stored::Duplicate { through } => through,
            Stored::Ahead { through } => {
                let detail = format!("record {} came to the store after {through}", done.sequence);
                return Err(StoreError::Damaged(detail).into());
            }
            Stored::Superseded => {
                return Err(End::Goodbye(
                    v1::goodbye::Reason::Replaced,
                    Closed::Ended(in_words(v1::goodbye::Reason::Replaced)),
                ));
            }
        };
        if self.lanes.get_mut(&done.lane).is_some_and(|lane| lane.synced(through)) {
            self.moved.insert(done.lane);
        }
        Ok(())
    }

    async fn acknowledge(&mut self) -> Result<(), End> {
        let watermarks = std::mem::take(&mut self.moved)
            .into_iter()
            .filter_map(|lane| self.lanes.get(&lane).map(|state| watermark(lane, state.durable_through())))
            .collect();
        let ack = v1::Ack {
            watermarks,
            stored: self.stored,
            duplicate: self.duplicate,
            dead_lettered: self.dead_lettered,
            dead_letters: std::mem::take(&mut self.letters),
            credits: Some(credits()),
        };
        self.send(ingest_frame::Frame::Ack(ack)).await?;
        crash_point!("session.ack-sent");
        Ok(())
    }
}

fn check_sequence(sequence: u64) -> Result<u64, End> {
    // Sequences are kept in signed 64-bit columns.
    if sequence == 0 || i64::try_from(sequence).is_err() {
        return Err(protocol(format!("sequence {sequence}")));
    }
    Ok(sequence)
}

fn dead(original: &impl Message, reason: DeadLetterReason, detail: String) -> Content {
    Content::Dead { original: original.encode_to_vec().into(), letters: vec![admission::whole(reason, None, detail)] }
}

/// Remembers a few: what falls out is looked up in the store again.
fn remember<K: Eq + Hash, V>(known: &mut HashMap<K, V>, most: usize, key: K, value: V) {
    if known.len() >= most && !known.contains_key(&key) {
        known.clear();
    }
    known.insert(key, value);
}
