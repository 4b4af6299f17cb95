//! What moves while a session stands: which record goes next, and what an answer of the
//! ingest changes. No I/O but reading the spool; the time is told.
//!
//! - The current lane goes first, whenever it has a record and the ingest a credit.
//! - Older lanes share what is left: the oldest first, each in its order, at a [`Pace`].
//! - *Retry later* for the backlog holds back the backlog; for live data, everything.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use sandan_proto::id::{BootId, LaneId};
use sandan_proto::v1::{self, gateway_frame::Frame};

use super::SessionError;
use super::cursor::{Cursor, Parcel, Store};
use super::pace::Pace;
use super::window::{Class, Outgoing, Window};
use crate::spool::{Item, SpoolError};

/// A record that is older is no live data, in whatever lane it is; live data that would
/// wait behind such a record moves to a new lane.
pub(super) const BACKLOG_AGE_US: i64 = 30_000_000;
/// No *retry later* holds a lane back for longer.
const PAUSE_MAX: Duration = Duration::from_mins(2);

/// This moment, on the clock that deadlines are counted by and on the one of readings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) monotonic_us: i64,
}

pub(super) struct Traffic<S: Store> {
    boot: BootId,
    cursor: Cursor<S>,
    window: Window,
    pace: Pace,
    /// Records and what goes before them.
    pending: VecDeque<Frame>,
    /// By lane: what the ingest has acknowledged in this session.
    acked: HashMap<LaneId, u64>,
    /// Nothing is sent before.
    paused_until: Option<Instant>,
    /// Nothing of the backlog is sent before.
    backlog_paused_until: Option<Instant>,
    /// The backlog stays for the next start.
    is_leaving: bool,
    /// Looked into the spool, found nothing more to send, and waits for nothing.
    is_drained: bool,
}

impl<S: Store> Traffic<S> {
    /// Begins a session: `boot` is the running one.
    pub(super) fn new(boot: BootId, cursor: Cursor<S>, credits: v1::Credits, now: Instant) -> Self {
        Self {
            boot,
            cursor,
            window: Window::new(credits),
            pace: Pace::new(now),
            pending: VecDeque::new(),
            acked: HashMap::new(),
            paused_until: None,
            backlog_paused_until: None,
            is_leaving: false,
            is_drained: false,
        }
    }

    /// Whether a frame waits to be handed to the connection.
    pub(super) fn has_frames(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        self.pending.pop_front()
    }

    /// From now on only live data is sent; what is older stays in the spool.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Whether nothing is left to send or to wait for: of anything, or of live data when
    /// leaving.
    pub(super) fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// For how long nothing has been acknowledged while something was in flight.
    pub(super) fn waiting(&self, now: Instant) -> Duration {
        self.window.waiting(now)
    }

    /// Whether a lane is part of this session.
    pub(super) fn has_lane(&self, lane: &[u8]) -> bool {
        self.cursor.has(lane)
    }

    /// When to look again though nothing happens.
    pub(super) fn again_at(&self, now: Instant) -> Option<Instant> {
        let backlog = self.backlog_paused_until.max(self.pace.again_at());
        [self.paused_until, backlog].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Reads the record that goes next, if one may go, one parcel at a time.
    pub(super) fn fill(&mut self, now: Now) -> Result<(), SpoolError> {
        self.is_drained = false;
        if !self.pending.is_empty() || is_ahead(self.paused_until, now.instant) {
            return Ok(());
        }
        self.cursor.refresh();
        let class = self.cursor.peek_current()?.map(|item| class_of(item, self.boot, now.monotonic_us));
        let parcel = match class {
            Some(Class::Live) if self.window.has_room() => self.cursor.take_current()?,
            Some(Class::Backlog) if self.may_send_backlog(now.instant) => self.cursor.take_current()?,
            // Nothing overtakes it.
            Some(_) => None,
            None if self.is_leaving => {
                self.is_drained = self.window.is_empty();
                None
            }
            None if self.may_send_backlog(now.instant) => {
                let parcel = self.cursor.take_older()?;
                self.is_drained = parcel.is_none() && self.window.is_empty();
                parcel
            }
            None => {
                self.is_drained = self.window.is_empty() && self.cursor.is_at_end()?;
                None
            }
        };
        if let Some(parcel) = parcel {
            self.send(parcel, class.unwrap_or(Class::Backlog), now.instant);
        }
        Ok(())
    }

    fn may_send_backlog(&mut self, now: Instant) -> bool {
        !is_ahead(self.backlog_paused_until, now)
            && self.window.has_room_for_backlog()
            && self.pace.allows(self.window.backlog(), now)
    }

    fn send(&mut self, parcel: Parcel, class: Class, now: Instant) {
        let Parcel { lane, last_sequence, bytes, frames } = parcel;
        self.window.sent(Outgoing { lane, last_sequence, bytes, class }, now);
        if class == Class::Backlog {
            self.pace.sent(bytes, now);
        }
        self.pending.extend(frames);
    }

    /// Everything of the lane up to `through` is durable.
    pub(super) fn acked(&mut self, lane: LaneId, through: u64, now: Instant) {
        let acked = self.acked.entry(lane).or_default();
        *acked = through.max(*acked);
        let in_flight = self.window.backlog();
        if let Some(trip) = self.window.acked(lane, through, now) {
            self.pace.acked(trip, in_flight, now);
        }
    }

    pub(super) fn set_credits(&mut self, credits: v1::Credits) {
        self.window.set_credits(credits);
    }

    pub(super) fn need_births(&mut self, hash: &[u8]) {
        self.cursor.need_births(hash);
    }

    pub(super) fn need_clock(&mut self, boot: &[u8]) {
        self.cursor.need_clock(boot);
    }

    /// The ingest goes on from `sequence` of the lane.
    pub(super) fn expected(&mut self, lane: LaneId, sequence: u64) -> Result<(), SessionError> {
        let after = sequence.checked_sub(1).ok_or(SessionError::Protocol("sequence 0"))?;
        // What it acknowledged meanwhile may be gone from the spool.
        let after = after.max(self.acked.get(&lane).copied().unwrap_or(0));
        self.window.rewound(lane, after);
        self.cursor.seek(lane, after);
        let of_lane = |bytes: &[u8]| bytes == lane.as_bytes();
        self.pending.retain(|frame| match frame {
            Frame::Sealed(sealed) => !of_lane(&sealed.lane),
            Frame::Gap(gap) => !of_lane(&gap.lane),
            _ => true,
        });
        Ok(())
    }

    /// A rate was exceeded: the record goes again after the delay. The backlog yields for
    /// longer, so that live data gets what the quota leaves.
    pub(super) fn retry_later(&mut self, retry: &v1::RetryLater, now: Instant) -> Result<(), SessionError> {
        let lane = LaneId::from_bytes(&retry.lane).map_err(|_| SessionError::Protocol("a lane id that is not one"))?;
        let is_old = self.window.class_of(lane, retry.sequence) == Some(Class::Backlog);
        let is_backlog = is_old || !self.cursor.is_current(lane);
        self.expected(lane, retry.sequence)?;
        let until = now + Duration::from_millis(retry.delay_ms.into()).min(PAUSE_MAX);
        self.pace.refused(now);
        self.backlog_paused_until = self.backlog_paused_until.max(Some(until));
        if !is_backlog {
            self.paused_until = self.paused_until.max(Some(until));
        }
        Ok(())
    }
}

fn is_ahead(until: Option<Instant>, now: Instant) -> bool {
    until.is_some_and(|until| now < until)
}

/// By its age alone: the current lane may hold an outage, too.
fn class_of(item: &Item, boot: BootId, now_us: i64) -> Class {
    match item {
        Item::Batch(sealed) if sealed.boot_id != boot.as_bytes() => Class::Backlog,
        Item::Batch(sealed) if now_us - sealed.last_us > BACKLOG_AGE_US => Class::Backlog,
        Item::Batch(_) | Item::Gap(_) => Class::Live,
    }
}

#[cfg(test)]
mod tests;
