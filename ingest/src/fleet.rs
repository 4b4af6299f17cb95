//! The fleet: how each gateway and its links are, from what sessions report.
//!
//! Pure: events and the time come in, views go out. It promises that only contact
//! makes a gateway look alive; backlog that drains never does. It holds no reading.

mod board;

use std::collections::BTreeMap;

use sandan_proto::id::GatewayId;
use sandan_proto::v1;

pub use self::board::Board;
use crate::time::SECOND_US;

/// How often a gateway reports.
pub const HEARTBEAT_US: i64 = 10 * SECOND_US;
/// A gateway that missed this many heartbeats is silent: one may be late, two may be lost.
const MISSED_HEARTBEATS: i64 = 3;
/// Backlog older than this is being caught up, as for the lanes of the wire.
const CATCHING_UP_MS: u64 = 30_000;
/// A spool this full is said: at 80 % there is still time to act.
const SPOOL_FULL_PERMILLE: u64 = 800;
/// Dropped readings are said for this long after the last one.
const DROPPED_SHOWN_US: i64 = 3_600 * SECOND_US;
/// So are messages that could not be used.
const UNUSABLE_SHOWN_US: i64 = DROPPED_SHOWN_US;
/// A copy that was refused beside the gateway's session is said for this long after it last tried.
const FENCED_SHOWN_US: i64 = 3_600 * SECOND_US;
/// A second record under a number that was stored is said for this long after the last one.
const FORKED_SHOWN_US: i64 = 24 * 3_600 * SECOND_US;
/// That a firm sends faster than it may is said for this long after it was held back last.
const HELD_BACK_SHOWN_US: i64 = 60 * SECOND_US;
/// Ages that a gateway reports are cut to ten years: beyond it they are a fault of its
/// clock, and whoever reckons with them must not overflow.
const MAX_AGE_MS: u64 = 10 * 366 * 86_400 * 1_000;
/// Most characters kept of a text that a gateway sent.
const MAX_TEXT_CHARS: usize = 200;

/// How a gateway is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// No session, because its spool was refused as a copy or an old state.
    Fenced,
    /// No session.
    Offline,
    /// A session, but nothing came for three heartbeats.
    Silent,
    /// In contact, and sending what it kept.
    CatchingUp,
    /// In contact.
    Online,
    /// Added, never seen.
    Enrolled,
}

/// How a link is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkState {
    /// It does not answer.
    Down,
    /// It answers now and then.
    Flaky,
    /// It was not heard of yet.
    Unknown,
    /// It answers.
    Up,
    /// Switched off in the gateway's configuration.
    Disabled,
}

/// The one thing to say about a gateway, worst first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Its spool was refused as a copy or an old state.
    Fenced {
        /// Which gateway, to be released.
        gateway: GatewayId,
        /// Whether another copy of it is connected.
        beside: bool,
    },
    /// No session since the last contact; none after a restart of the ingest.
    Offline {
        /// µs since 1970.
        contact_us: Option<i64>,
    },
    /// A session without a word.
    Silent {
        /// µs since 1970.
        contact_us: i64,
    },
    /// A device does not answer.
    LinkDown {
        /// The device's name at the gateway.
        device: String,
        /// Its last good reading; none when there never was one.
        last_good_us: Option<i64>,
        /// Further devices that do not answer.
        others: usize,
    },
    /// A device answers now and then.
    LinkFlaky {
        /// The device's name at the gateway.
        device: String,
        /// Of 1,000 requests of the last 5 minutes.
        success_permille: u32,
    },
    /// Records came under numbers that others are stored under: two copies of a spool run, or
    /// one was put back to an old state.
    Forked,
    /// Readings were dropped.
    Dropped {
        /// Since the gateway started.
        readings: u64,
    },
    /// The spool is nearly full.
    SpoolFull {
        /// Percent.
        percent: u64,
    },
    /// Messages of its brokers could not be used.
    Unusable {
        /// Since the gateway started.
        messages: u64,
    },
    /// Its firm sends faster than it may, and it waits.
    HeldBack,
    /// The backlog drains.
    CatchingUp {
        /// Age of its oldest record, ms.
        oldest_ms: u64,
    },
    /// Added, never seen.
    NeverSeen,
}

/// What is shown of one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Which.
    pub id: GatewayId,
    /// How it is.
    pub state: State,
    /// The last word from it, µs since 1970.
    pub contact_us: Option<i64>,
    /// Observation time of its newest stored reading, µs since 1970.
    pub newest_us: Option<i64>,
    /// What it still keeps.
    pub spool: Option<Spool>,
    /// Its devices, worst first.
    pub links: Vec<Link>,
    /// What is wrong; none while all is well.
    pub fault: Option<Fault>,
}

/// What a gateway still keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spool {
    /// Readings that are not acknowledged.
    pub readings: u64,
    /// Age of the oldest of them, ms.
    pub oldest_ms: u64,
    /// Of the byte cap, percent.
    pub percent: u64,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name at the gateway.
    pub device: String,
    /// Protocol and address.
    pub endpoint: String,
    /// How it is.
    pub state: LinkState,
    /// In the gateway's words; empty while all is well.
    pub words: String,
    /// Its last good reading, µs since 1970.
    pub last_good_us: Option<i64>,
    /// Of 1,000 requests of the last 5 minutes.
    pub success_permille: u32,
}

/// Everything known of one gateway.
#[derive(Debug, Default)]
struct Seen {
    connected: bool,
    /// When its spool was last refused, unless it was let in since.
    fenced_us: Option<i64>,
    contact_us: Option<i64>,
    newest_us: Option<i64>,
    health: Option<Health>,
    dropped: u64,
    dropped_us: Option<i64>,
    unusable: u64,
    unusable_us: Option<i64>,
    forked_us: Option<i64>,
    held_back_us: Option<i64>,
}

#[derive(Debug)]
struct Health {
    spool: Spool,
    links: Vec<Link>,
}

/// All gateways of the complex.
#[derive(Debug, Default)]
pub struct Fleet {
    gateways: BTreeMap<GatewayId, Seen>,
}

impl Fleet {
    /// A gateway that may connect. Known ones keep their state.
    pub fn enrol(&mut self, id: GatewayId) {
        self.gateways.entry(id).or_default();
    }

    /// A gateway that may no longer connect.
    pub fn forget(&mut self, id: &GatewayId) {
        self.gateways.remove(id);
    }

    /// A session began. One of a gateway that may no longer connect is about to end.
    pub fn opened(&mut self, id: &GatewayId, now_us: i64) {
        let Some(seen) = self.gateways.get_mut(id) else { return };
        seen.connected = true;
        seen.fenced_us = None;
        seen.contact_us = Some(now_us);
    }

    /// A heartbeat.
    pub fn health(&mut self, id: &GatewayId, health: &v1::Health, now_us: i64) {
        let Some(seen) = self.gateways.get_mut(id) else { return };
        seen.contact_us = Some(now_us);
        // A restarted gateway counts from 0 again: what it dropped before is no longer said.
        if health.readings_dropped_total > seen.dropped {
            seen.dropped_us = Some(now_us);
        }
        seen.dropped = health.readings_dropped_total;
        if health.dead_letters_total > seen.unusable {
            seen.unusable_us = Some(now_us);
        }
        seen.unusable = health.dead_letters_total;
        let spool = health.spool.unwrap_or_default();
        let percent = spool.bytes_used.saturating_mul(100).checked_div(spool.bytes_cap).unwrap_or(0).min(100);
        let mut links: Vec<_> = health.links.iter().map(|link| Link::from_wire(link, now_us)).collect();
        links.sort_by(|a, b| (a.state, &a.device).cmp(&(b.state, &b.device)));
        let oldest_ms = spool.oldest_unacked_ms.min(MAX_AGE_MS);
        let spool = Spool { readings: spool.unacked_readings, oldest_ms, percent };
        seen.health = Some(Health { spool, links });
    }

    /// Readings were stored, `newest_us` the latest observation time among them.
    pub fn stored(&mut self, id: &GatewayId, newest_us: i64, now_us: i64) {
        let Some(seen) = self.gateways.get_mut(id) else { return };
        seen.newest_us = Some(seen.newest_us.map_or(newest_us, |before| before.max(newest_us)));
        if seen.connected {
            seen.contact_us = Some(now_us);
        }
    }

    /// What the store holds, at the start.
    pub fn recall(&mut self, id: &GatewayId, newest_us: i64) {
        if let Some(seen) = self.gateways.get_mut(id) {
            seen.newest_us = Some(seen.newest_us.map_or(newest_us, |before| before.max(newest_us)));
        }
    }

    /// A Hello was refused because its spool is a copy or an old state. Not a word from the gateway.
    pub fn fenced(&mut self, id: &GatewayId, now_us: i64) {
        if let Some(seen) = self.gateways.get_mut(id) {
            seen.fenced_us = Some(now_us);
        }
    }

    /// Another record came under a number that was stored.
    pub fn forked(&mut self, id: &GatewayId, now_us: i64) {
        if let Some(seen) = self.gateways.get_mut(id) {
            seen.forked_us = Some(now_us);
        }
    }

    /// It was told to send later.
    pub fn held_back(&mut self, id: &GatewayId, now_us: i64) {
        if let Some(seen) = self.gateways.get_mut(id) {
            seen.held_back_us = Some(now_us);
        }
    }

    /// The next Hello of a fenced gateway is let in.
    pub fn released(&mut self, id: &GatewayId) {
        if let Some(seen) = self.gateways.get_mut(id) {
            seen.fenced_us = None;
        }
    }

    /// Whether a spool of the gateway is being refused, since this process started.
    pub fn is_fenced(&self, id: &GatewayId, now_us: i64) -> bool {
        self.gateways.get(id).is_some_and(|seen| seen.is_fenced(now_us))
    }

    /// The gateway's session ended; not heard of one that a newer one replaced. The last
    /// contact stays what it was: a lost connection is noticed late.
    pub fn closed(&mut self, id: &GatewayId) {
        if let Some(seen) = self.gateways.get_mut(id) {
            seen.connected = false;
        }
    }

    /// All gateways, what is worst first.
    pub fn views(&self, now_us: i64) -> Vec<View> {
        let mut views: Vec<_> = self.gateways.iter().map(|(id, seen)| seen.view(id, now_us)).collect();
        views.sort_by_key(|view| (view.rank(), view.id.clone()));
        views
    }
}

impl Seen {
    fn is_fenced(&self, now_us: i64) -> bool {
        self.fenced_us.is_some_and(|at| !self.connected || now_us - at < FENCED_SHOWN_US)
    }

    fn state(&self, now_us: i64) -> State {
        if self.is_fenced(now_us) && !self.connected {
            return State::Fenced;
        }
        let Some(contact_us) = self.contact_us else {
            return if self.newest_us.is_some() { State::Offline } else { State::Enrolled };
        };
        if !self.connected {
            State::Offline
        } else if now_us - contact_us >= MISSED_HEARTBEATS * HEARTBEAT_US {
            State::Silent
        } else if self.health.as_ref().is_some_and(|health| health.spool.oldest_ms > CATCHING_UP_MS) {
            State::CatchingUp
        } else {
            State::Online
        }
    }

    fn view(&self, id: &GatewayId, now_us: i64) -> View {
        let state = self.state(now_us);
        View {
            id: id.clone(),
            state,
            contact_us: self.contact_us,
            newest_us: self.newest_us,
            spool: self.health.as_ref().map(|health| health.spool),
            links: self.health.as_ref().map(|health| health.links.clone()).unwrap_or_default(),
            fault: self.fault(id, state, now_us),
        }
    }

    fn fault(&self, id: &GatewayId, state: State, now_us: i64) -> Option<Fault> {
        if self.is_fenced(now_us) {
            return Some(Fault::Fenced { gateway: id.clone(), beside: self.connected });
        }
        match state {
            State::Enrolled => return Some(Fault::NeverSeen),
            State::Offline => return Some(Fault::Offline { contact_us: self.contact_us }),
            State::Silent => return self.contact_us.map(|contact_us| Fault::Silent { contact_us }),
            State::CatchingUp | State::Online | State::Fenced => {}
        }
        let lately = |at: Option<i64>, shown_us| at.is_some_and(|at| now_us - at < shown_us);
        let Some(health) = &self.health else {
            return lately(self.forked_us, FORKED_SHOWN_US).then_some(Fault::Forked);
        };
        let mut down = health.links.iter().filter(|link| link.state == LinkState::Down);
        if let Some(link) = down.next() {
            let (device, last_good_us) = (link.device.clone(), link.last_good_us);
            return Some(Fault::LinkDown { device, last_good_us, others: down.count() });
        }
        if lately(self.forked_us, FORKED_SHOWN_US) {
            return Some(Fault::Forked);
        }
        if lately(self.dropped_us, DROPPED_SHOWN_US) {
            return Some(Fault::Dropped { readings: self.dropped });
        }
        if health.spool.percent * 10 >= SPOOL_FULL_PERMILLE {
            return Some(Fault::SpoolFull { percent: health.spool.percent });
        }
        if let Some(link) = health.links.iter().find(|link| link.state == LinkState::Flaky) {
            let (device, success_permille) = (link.device.clone(), link.success_permille);
            return Some(Fault::LinkFlaky { device, success_permille });
        }
        if lately(self.unusable_us, UNUSABLE_SHOWN_US) && self.unusable > 0 {
            return Some(Fault::Unusable { messages: self.unusable });
        }
        if lately(self.held_back_us, HELD_BACK_SHOWN_US) {
            return Some(Fault::HeldBack);
        }
        (state == State::CatchingUp).then_some(Fault::CatchingUp { oldest_ms: health.spool.oldest_ms })
    }
}

impl View {
    /// Whether somebody has to do something: not for what has yet to begin, nor for what
    /// mends itself.
    pub fn needs_attention(&self) -> bool {
        !matches!(self.fault, None | Some(Fault::NeverSeen | Fault::CatchingUp { .. }))
    }

    /// Smaller is worse.
    fn rank(&self) -> u8 {
        match &self.fault {
            Some(Fault::Fenced { .. }) => 0,
            Some(Fault::Offline { .. }) => 1,
            Some(Fault::Silent { .. }) => 2,
            Some(Fault::LinkDown { .. }) => 3,
            Some(Fault::Forked) => 4,
            Some(Fault::Dropped { .. }) => 5,
            Some(Fault::SpoolFull { .. }) => 6,
            Some(Fault::LinkFlaky { .. }) => 7,
            Some(Fault::Unusable { .. }) => 8,
            Some(Fault::HeldBack) => 9,
            Some(Fault::CatchingUp { .. }) => 10,
            Some(Fault::NeverSeen) => 11,
            None => 12,
        }
    }
}

impl Link {
    fn from_wire(link: &v1::LinkHealth, now_us: i64) -> Self {
        let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect();
        let age_us = |ms: u64| ms.min(MAX_AGE_MS).cast_signed() * 1_000;
        Self {
            device: cut(&link.device),
            endpoint: cut(&link.endpoint),
            state: match link.state() {
                v1::LinkState::Down => LinkState::Down,
                v1::LinkState::Flaky => LinkState::Flaky,
                v1::LinkState::Unspecified => LinkState::Unknown,
                v1::LinkState::Up => LinkState::Up,
                v1::LinkState::Disabled => LinkState::Disabled,
            },
            words: cut(&link.fault),
            last_good_us: link.last_good_age_ms.map(|ms| now_us.saturating_sub(age_us(ms))),
            success_permille: link.success_permille_5min.min(1_000),
        }
    }
}

#[cfg(test)]
mod tests;
