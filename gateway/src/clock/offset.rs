//! The wall time of a boot: which offset its readings are stored under. Pure.
//!
//! Readings carry monotonic time. The ingest adds the offset of their boot, and from the
//! first stored record on that offset stands. So it is chosen with care, and once:
//! - A wall clock that is not behind what has certainly passed is believed at the start.
//! - One that is not gives no offset. Readings are kept all the same; the ingest's own
//!   time supplies the offset, or the wall clock does when somebody has set it.
//! - While nothing is stored yet, a wall clock that is far from the ingest's gives way to it.
//! - A boot that ended before its offset was known gets the latest that it can have been;
//!   the ingest marks what it stores under such an offset.
//!
//! Once an offset is known, nothing that is done to the wall clock changes it.

use sandan_proto::id::BootId;
use sandan_proto::v1::{self, clock_offset::Source};

use super::TrustedClock;

/// A wall clock that is farther than this from the ingest's does not date readings; one that
/// is behind by less is an ordinary clock that runs a little slow.
pub const CRITICAL_US: i64 = 30_000_000;
/// From here on the difference is said in the log: what a machine with working NTP never has.
const TOLD_US: i64 = 2_000_000;
/// A round trip that took longer says the time too vaguely to replace what is known.
const VAGUE_US: i64 = 20_000_000;

/// The ingest's time, as one question and answer told it.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    /// Monotonic time at which the question was sent.
    pub sent_us: i64,
    /// Monotonic time at which the answer came.
    pub received_us: i64,
    /// The ingest's wall clock in between.
    pub server_us: i64,
    /// This machine's wall clock when the answer came.
    pub wall_us: i64,
}

impl Heard {
    /// The ingest's time less the monotonic time, the round trip halved.
    fn offset_us(&self) -> i64 {
        self.server_us - (self.sent_us + (self.received_us - self.sent_us) / 2)
    }

    /// The machine's wall clock less the ingest's.
    fn deviation_us(&self) -> i64 {
        self.wall_us - (self.offset_us() + self.received_us)
    }
}

/// A boot in the spool.
#[derive(Debug, Clone)]
pub struct KeptBoot {
    /// Its id.
    pub id: BootId,
    /// Monotonic time of its last reading; absent when it holds none.
    pub last_us: Option<i64>,
    /// Its offset; absent when it was never learnt.
    pub offset: Option<v1::ClockOffset>,
}

/// The clock as operators see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClockState {
    /// Where the wall time of this boot comes from; none while it is not known.
    pub source: Option<Source>,
    /// The machine's wall clock less the ingest's, microseconds, at the last Welcome.
    pub deviation_us: Option<i64>,
    /// The times that are stored less the ingest's, microseconds, at the last Welcome.
    pub stored_deviation_us: Option<i64>,
}

/// What is known of this boot's wall time.
#[derive(Debug, Clone)]
pub struct BootClock {
    boot: BootId,
    known: Option<v1::ClockOffset>,
    /// Readings are stored under it: it stands.
    is_fixed: bool,
    deviation_us: Option<i64>,
    stored_deviation_us: Option<i64>,
    is_told: bool,
}

/// The offset of a wall clock that can be believed; none when it is behind what has
/// certainly passed.
pub fn believed(boot: BootId, clock: &TrustedClock) -> Option<v1::ClockOffset> {
    let clocks = clock.clocks();
    let (wall_us, monotonic_us) = (clocks.wall_us(), clocks.monotonic_us());
    let is_believed = wall_us.saturating_add(CRITICAL_US) >= clock.floor_us();
    is_believed.then(|| offset(boot, wall_us - monotonic_us, Source::System))
}

/// Rounded to 1 ms like the times of replies, so that stored times have no digits that
/// mean nothing.
fn offset(boot: BootId, exact_us: i64, source: Source) -> v1::ClockOffset {
    let offset_us = (exact_us + 500).div_euclid(1_000) * 1_000;
    v1::ClockOffset { boot_id: boot.to_vec(), offset_us, source: source.into() }
}

impl BootClock {
    /// With what the spool knows of this boot, and whether readings are stored under it.
    pub fn new(boot: BootId, known: Option<v1::ClockOffset>, is_fixed: bool) -> Self {
        Self { boot, known, is_fixed, deviation_us: None, stored_deviation_us: None, is_told: false }
    }

    /// The ingest told its time. Gives the offset to learn, if that is news.
    pub fn heard(&mut self, heard: &Heard) -> Option<v1::ClockOffset> {
        let deviation_us = heard.deviation_us();
        self.deviation_us = Some(deviation_us);
        let is_far = deviation_us.abs() > TOLD_US;
        if is_far && !self.is_told {
            let seconds = deviation_us as f64 / 1e6;
            tracing::warn!(seconds, "the wall clock of this machine differs from the ingest's; is NTP running?");
        }
        self.is_told = is_far;
        let told_us = heard.offset_us();
        let is_vague = heard.received_us - heard.sent_us > VAGUE_US;
        let learnt = match &self.known {
            None => Some(offset(self.boot, told_us, Source::Ingest)),
            Some(known)
                if !self.is_fixed
                    && !is_vague
                    && known.source() == Source::System
                    && (known.offset_us - told_us).abs() > CRITICAL_US =>
            {
                Some(offset(self.boot, told_us, Source::Ingest))
            }
            Some(_) => None,
        };
        if let Some(learnt) = &learnt {
            let was = if self.known.is_some() { "that of the wall clock, which is wrong" } else { "none" };
            tracing::info!(offset_us = learnt.offset_us, was, "this boot takes its wall time from the ingest");
            self.known = Some(learnt.clone());
        }
        self.stored_deviation_us = self.known.as_ref().map(|known| known.offset_us - told_us);
        learnt
    }

    /// The wall clock was looked at. Gives the offset to learn, if none was known.
    pub fn looked(&mut self, believed: Option<v1::ClockOffset>) -> Option<v1::ClockOffset> {
        if self.known.is_none()
            && let Some(learnt) = believed
        {
            tracing::info!(offset_us = learnt.offset_us, "this boot takes its wall time from the clock, which was set");
            self.known = Some(learnt.clone());
            return Some(learnt);
        }
        None
    }

    /// A record of this boot is stored. True when that is news.
    pub fn fix(&mut self) -> bool {
        !std::mem::replace(&mut self.is_fixed, true)
    }

    /// The offset that readings of this boot are stored under.
    pub fn known(&self) -> Option<&v1::ClockOffset> {
        self.known.as_ref()
    }

    /// For status and metrics.
    pub fn state(&self) -> ClockState {
        ClockState {
            source: self.known.as_ref().map(v1::ClockOffset::source),
            deviation_us: self.deviation_us,
            stored_deviation_us: self.stored_deviation_us,
        }
    }
}

/// Offsets for boots that ended before theirs was known, from that of a later boot: the
/// last reading was not after the later boot began. `boots` are in their order, the
/// running one last.
pub fn estimates(boots: &[KeptBoot]) -> Vec<v1::ClockOffset> {
    let mut estimates = Vec::new();
    // The wall time at which the boot behind began: its offset, as monotonic time begins at 0.
    let mut began_us = None;
    for boot in boots.iter().rev() {
        let known = boot.offset.as_ref().filter(|offset| offset.source() != Source::Estimated);
        began_us = match (known, began_us) {
            (Some(known), _) => Some(known.offset_us),
            (None, Some(next_us)) => {
                let estimate = offset(boot.id, next_us - boot.last_us.unwrap_or(0), Source::Estimated);
                let offset_us = estimate.offset_us;
                estimates.push(estimate);
                Some(offset_us)
            }
            (None, None) => None,
        };
    }
    estimates
}
