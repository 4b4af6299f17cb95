//! The fleet as the process shares it: events come in from sessions, views go out to
//! the console.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sandan_proto::id::GatewayId;
use sandan_proto::v1;

use super::{Fleet, View};
use crate::time::Clock;

/// One fleet behind a lock that is never held across I/O.
pub struct Board {
    fleet: Mutex<Fleet>,
    clock: Clock,
}

impl Board {
    /// With the gateways that may connect.
    pub fn new(clock: Clock, known: impl IntoIterator<Item = GatewayId>) -> Self {
        let mut fleet = Fleet::default();
        known.into_iter().for_each(|id| fleet.enrol(id));
        Self { fleet: Mutex::new(fleet), clock }
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Fleet::enrol`].
    pub fn enrol(&self, id: GatewayId) {
        self.fleet().enrol(id);
    }
    /// See [`Fleet::forget`].
    pub fn forget(&self, id: &GatewayId) {
        self.fleet().forget(id);
    }
    /// See [`Fleet::recall`].
    pub fn recall(&self, id: &GatewayId, newest_us: i64) {
        self.fleet().recall(id, newest_us);
    }
    /// See [`Fleet::forked`].
    pub fn forked(&self, id: &GatewayId) {
        let now_us = (self.clock)();
        self.fleet().forked(id, now_us);
    }
    /// See [`Fleet::held_back`].
    pub fn held_back(&self, id: &GatewayId) {
        let now_us = (self.clock)();
        self.fleet().held_back(id, now_us);
    }
    /// See [`Fleet::opened`].
    pub fn opened(&self, id: &GatewayId) {
        self.fleet().opened(id, (self.clock)());
    }
    /// See [`Fleet::health`].
    pub fn health(&self, id: &GatewayId, health: &v1::Health) {
        self.fleet().health(id, health, (self.clock)());
    }
    /// See [`Fleet::stored`].
    pub fn stored(&self, id: &GatewayId, newest_us: i64) {
        self.fleet().stored(id, newest_us, (self.clock)());
    }
    /// See [`Fleet::fenced`].
    pub fn fenced(&self, id: &GatewayId) {
        self.fleet().fenced(id, (self.clock)());
    }
    /// See [`Fleet::released`].
    pub fn released(&self, id: &GatewayId) {
        self.fleet().released(id);
    }
    /// See [`Fleet::is_fenced`].
    pub fn is_fenced(&self, id: &GatewayId) -> bool {
        self.fleet().is_fenced(id, (self.clock)())
    }
    /// See [`Fleet::closed`].
    pub fn closed(&self, id: &GatewayId) {
        self.fleet().closed(id);
    }
    /// All gateways now, what is worst first, and the time it is.
    pub fn views(&self) -> (Vec<View>, i64) {
        let now_us = (self.clock)();
        (self.fleet().views(now_us), now_us)
    }
}
