//! Keeps the wall time of the boots in the spool: asks `clock::offset` what to make of what
//! the machine and the ingest say, and writes the answer down.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandan_proto::id::{BootId, LaneId};
use sandan_proto::v1;

use crate::clock::offset::{self, Heard, KeptBoot};
use crate::clock::{BootClock, ClockState, KnownOffset, TrustedClock};
use crate::spool::Spool;

/// One small write in ten minutes is nothing to an SD card, and a box that lost its power is
/// ten minutes behind at most.
const SAVE_INTERVAL_US: i64 = 600_000_000;

/// 2100-01-01: a time that is later is a fault of whoever tells it, and would spoil what is
/// remembered.
const LATEST_US: i64 = 4_102_444_800_000_000;

/// The shared handle. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Timekeeper(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spool: Spool,
    trusted: TrustedClock,
    boot: BootId,
    clock: Mutex<BootClock>,
    offset: KnownOffset,
    saved_us: AtomicI64,
}

impl Timekeeper {
    /// For the boot that runs, on a spool that is open.
    pub fn new(spool: Spool, trusted: TrustedClock, boot: BootId) -> Self {
        let known = spool.clock(&boot.to_vec());
        if known.is_none() {
            tracing::warn!("the clock of this machine cannot be right: the ingest will be asked for the time");
        }
        let offset = KnownOffset::default();
        if let Some(known) = &known {
            offset.learn(known.offset_us);
        }
        let clock = Mutex::new(BootClock::new(boot, known, trusted.is_fixed(boot)));
        let saved_us = AtomicI64::new(trusted.clocks().monotonic_us());
        let keeper = Self(Arc::new(Inner { spool, trusted, boot, clock, offset, saved_us }));
        keeper.estimate();
        keeper
    }

    fn clock(&self) -> MutexGuard<'_, BootClock> {
        self.0.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time that certificates are judged by.
    pub fn trusted(&self) -> &TrustedClock {
        &self.0.trusted
    }

    /// The offset of this boot, as it is learnt.
    pub fn offset(&self) -> KnownOffset {
        self.0.offset.clone()
    }

    /// The monotonic clock that questions to the ingest are timed by.
    pub fn monotonic_us(&self) -> i64 {
        self.0.trusted.clocks().monotonic_us()
    }

    /// Now and then, every second or so: a clock that was set meanwhile is taken, what has
    /// passed is written down.
    pub fn tick(&self) {
        let learnt = self.clock().looked(offset::believed(self.0.boot, &self.0.trusted));
        self.learn(learnt);
        let now_us = self.monotonic_us();
        if now_us - self.0.saved_us.load(Ordering::Relaxed) >= SAVE_INTERVAL_US {
            self.save();
        }
    }

    /// The ingest, whom TLS has verified, told its time in answer to a question that was sent
    /// at `sent_us` of the monotonic clock.
    pub fn heard(&self, sent_us: i64, server_us: i64) {
        if !(1..LATEST_US).contains(&server_us) {
            return;
        }
        self.0.trusted.saw_us(server_us);
        let clocks = self.0.trusted.clocks();
        let heard = Heard { sent_us, received_us: clocks.monotonic_us(), server_us, wall_us: clocks.wall_us() };
        let learnt = self.clock().heard(&heard);
        self.learn(learnt);
    }

    /// The ingest has stored records of a lane: the offset of its boot stands.
    pub fn stored(&self, lane: LaneId) {
        let is_of_boot = |boot: &crate::spool::Boot| boot.id == self.0.boot && boot.lanes.contains(&lane);
        if !self.0.trusted.is_fixed(self.0.boot) && self.0.spool.boots().iter().any(is_of_boot) {
            self.0.trusted.fix(self.0.boot);
            self.clock().fix();
            // Said to the processes of this boot that follow; a power cut ends the boot too.
            self.save();
        }
    }

    fn learn(&self, learnt: Option<v1::ClockOffset>) {
        if let Some(learnt) = learnt {
            self.0.offset.learn(learnt.offset_us);
            self.0.spool.learn_clock(learnt);
            self.estimate();
        }
    }

    /// Gives the boots that ended without an offset one, as far as a later boot has one.
    fn estimate(&self) {
        let with_offset = |boot: crate::spool::Boot| KeptBoot {
            offset: self.0.spool.clock(&boot.id.to_vec()),
            id: boot.id,
            last_us: boot.last_us,
        };
        let boots: Vec<KeptBoot> = self.0.spool.boots().into_iter().map(with_offset).collect();
        for estimate in offset::estimates(&boots) {
            tracing::warn!(
                boot = ?BootId::from_bytes(&estimate.boot_id),
                "a boot ended before its wall time was known: its readings are sent with an estimated time"
            );
            self.0.spool.learn_clock(estimate);
        }
    }

    /// The wall time as well as it is known, microseconds since 1970.
    pub fn wall_us(&self) -> i64 {
        let known = self.clock().known().map(|known| known.offset_us);
        known.map_or_else(|| self.0.trusted.now_us(), |known| self.monotonic_us() + known)
    }

    /// For status and metrics.
    pub fn state(&self) -> ClockState {
        self.clock().state()
    }

    /// Writes down what has passed, for the next start.
    pub fn save(&self) {
        self.0.saved_us.store(self.monotonic_us(), Ordering::Relaxed);
        if let Err(error) = self.0.trusted.save() {
            tracing::warn!(%error, "cannot write down the time that was seen");
        }
    }
}
