//! The fleet: how each gateway, its links and its signals are, from what sessions report.
//!
//! Pure: events and the time come in, views and conditions go out. Birth is a Hello, death is
//! a Goodbye or so many heartbeats without a word, by this server's clock; the death of an
//! older session is none. It promises that only contact makes a gateway look alive, backlog
//! that drains never does; that what nobody reports is unknown and not well; and that one
//! fault is one alarm: a gateway that is not heard hides what is behind it. It holds no reading.

mod board;
mod figure;
mod report;
mod seen;
mod state;
mod view;

use std::collections::BTreeMap;

use sandan_proto::id::GatewayId;
use sandan_proto::v1;

pub use self::board::Board;
pub use self::figure::{Bounds, Figure, HEARTBEAT_US, Judged, Pair};
use self::seen::{Moment, Seen};
pub use self::state::{ConditionId, Hop, Level, LinkState, Parent, SignalState, State};
pub use self::view::{Condition, Hops, Link, Signal, Signals, Spool, View};

/// All gateways of the complex.
#[derive(Debug)]
pub struct Fleet {
    gateways: BTreeMap<GatewayId, Seen>,
    bounds: Bounds,
    /// Since when gateways can be heard, µs since 1970: the start, or the store's return.
    listens_since_us: i64,
    /// Since when nothing is stored.
    not_storing_since_us: Option<i64>,
}

impl Fleet {
    /// Without gateways, in a process that begins now.
    pub fn new(bounds: Bounds, now_us: i64) -> Self {
        Self { gateways: BTreeMap::new(), bounds, listens_since_us: now_us, not_storing_since_us: None }
    }

    /// What figures are held against.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    fn with(&mut self, id: &GatewayId, act: impl FnOnce(&mut Seen, &Bounds)) {
        if let Some(seen) = self.gateways.get_mut(id) {
            act(seen, &self.bounds);
        }
    }

    /// A gateway that may connect. Known ones keep their state.
    pub fn enrol(&mut self, id: GatewayId) {
        self.gateways.entry(id).or_default();
    }

    /// A gateway that may no longer connect.
    pub fn forget(&mut self, id: &GatewayId) {
        self.gateways.remove(id);
    }

    /// A session began under an epoch. One of a gateway that may no longer connect is about to
    /// end, and one of an older epoch is over already.
    pub fn opened(&mut self, id: &GatewayId, epoch: u64, hello: &v1::Hello, now_us: i64) {
        self.with(id, |seen, _| {
            if epoch < seen.epoch {
                return;
            }
            (seen.session, seen.epoch, seen.has_left) = (Some(epoch), epoch, false);
            (seen.fenced_us, seen.contact_us) = (None, Some(now_us));
            seen.software = report::cut(&hello.software_version);
            seen.config_hash = report::hexadecimal(&hello.config_hash);
            // A box that was replaced has another clock.
            seen.offsets_us.clear();
            seen.clock(hello.wall_time_us, now_us);
        });
    }

    /// A heartbeat.
    pub fn health(&mut self, id: &GatewayId, health: &v1::Health, now_us: i64) {
        self.with(id, |seen, bounds| seen.report(health, now_us, bounds));
    }

    /// Readings were stored, `newest_us` the latest observation time among them. Backlog is no
    /// word from the gateway; what it observed a moment ago is.
    pub fn stored(&mut self, id: &GatewayId, newest_us: i64, now_us: i64) {
        self.with(id, |seen, bounds| {
            let is_newer = seen.newest_us.is_none_or(|before| before < newest_us);
            seen.newest_us = Some(seen.newest_us.map_or(newest_us, |before| before.max(newest_us)));
            let (fresh, _) = bounds.contact().most((now_us - newest_us) as f64 / 1e6);
            if seen.session.is_some() && is_newer && fresh == Level::Well {
                seen.contact_us = Some(now_us);
            }
        });
    }

    /// What the store holds, at the start.
    pub fn recall(&mut self, id: &GatewayId, newest_us: i64) {
        self.with(id, |seen, _| {
            seen.newest_us = Some(seen.newest_us.map_or(newest_us, |before| before.max(newest_us)));
        });
    }

    /// A Hello was refused because its spool is a copy or an old state. Not a word from the gateway.
    pub fn fenced(&mut self, id: &GatewayId, now_us: i64) {
        self.with(id, |seen, _| seen.fenced_us = Some(now_us));
    }

    /// Another record came under a number that was stored.
    pub fn forked(&mut self, id: &GatewayId, now_us: i64) {
        self.with(id, |seen, _| seen.forked_us = Some(now_us));
    }

    /// It was told to send later.
    pub fn held_back(&mut self, id: &GatewayId, now_us: i64) {
        self.with(id, |seen, _| seen.held_back_us = Some(now_us));
    }

    /// Readings of it could not be stored.
    pub fn dead_lettered(&mut self, id: &GatewayId, readings: u64, now_us: i64) {
        self.with(id, |seen, bounds| seen.dead.add(readings, now_us, bounds.loss_shown_us));
    }

    /// Readings of it are missing, and no gap says so.
    pub fn undeclared(&mut self, id: &GatewayId, readings: u64, now_us: i64) {
        self.with(id, |seen, bounds| seen.undeclared.add(readings, now_us, bounds.loss_shown_us));
    }

    /// The next Hello of a fenced gateway is let in.
    pub fn released(&mut self, id: &GatewayId) {
        self.with(id, |seen, _| seen.fenced_us = None);
    }

    /// Somebody works on it until then; none ends it.
    pub fn maintain(&mut self, id: &GatewayId, until_us: Option<i64>) {
        self.with(id, |seen, _| seen.maintenance_until_us = until_us);
    }

    /// Whether records are stored: false while the database is away or the disk is full. While
    /// they are not, gateways that are not heard are no alarm of their own, nor right after it.
    pub fn storing(&mut self, is_storing: bool, now_us: i64) {
        match (is_storing, self.not_storing_since_us) {
            (false, None) => self.not_storing_since_us = Some(now_us),
            (true, Some(_)) => (self.not_storing_since_us, self.listens_since_us) = (None, now_us),
            _ => {}
        }
    }

    /// Whether a spool of the gateway is being refused, since this process started.
    pub fn is_fenced(&self, id: &GatewayId, now_us: i64) -> bool {
        self.gateways.get(id).is_some_and(|seen| seen.is_fenced(now_us))
    }

    /// A gateway's session of an epoch ended; `has_left` when it said goodbye. That of an older
    /// one says nothing. The last contact stays what it was: a lost connection is noticed late.
    pub fn closed(&mut self, id: &GatewayId, epoch: u64, has_left: bool) {
        self.with(id, |seen, _| {
            if seen.session == Some(epoch) {
                (seen.session, seen.has_left) = (None, has_left);
            }
        });
    }

    /// All gateways now, what is worst first.
    pub fn views(&mut self, now_us: i64) -> Vec<View> {
        let moment = Moment {
            now_us,
            bounds: &self.bounds,
            listens_since_us: self.listens_since_us,
            is_storing: self.not_storing_since_us.is_none(),
        };
        let mut views: Vec<_> = self.gateways.iter_mut().map(|(id, seen)| seen.look(id, moment)).collect();
        // They come in the order of their ids, and those that are as bad stay in it.
        views.sort_by_key(View::rank);
        views
    }

    /// What is wrong with the ingest itself.
    pub fn own_conditions(&self) -> Vec<Condition> {
        let since = self.not_storing_since_us.into_iter();
        since
            .map(|since_us| Condition {
                id: ConditionId::NotStoring,
                level: Level::Critical,
                since_us,
                gateway: None,
                device: None,
                value: None,
                bound: None,
                inhibited_by: None,
            })
            .collect()
    }

    /// Everything that is wrong now: of the ingest, then of each gateway, what is worst first.
    pub fn conditions(&mut self, now_us: i64) -> Vec<Condition> {
        let mut all = self.own_conditions();
        all.extend(self.views(now_us).into_iter().flat_map(|view| view.conditions));
        all
    }
}

#[cfg(test)]
mod tests;
