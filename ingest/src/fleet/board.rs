//! The fleet as the process shares it: events come in from sessions, views go out to
//! the console, the command line, the metrics and the alerts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sandan_proto::id::GatewayId;
use sandan_proto::v1;

use super::{Bounds, Condition, Fleet, View};
use crate::time::Clock;

/// One fleet behind a lock that is never held across I/O.
pub struct Board {
    fleet: Mutex<Fleet>,
    clock: Clock,
}

impl Board {
    /// With the gateways that may connect.
    pub fn new(clock: Clock, bounds: Bounds, known: impl IntoIterator<Item = GatewayId>) -> Self {
        let mut fleet = Fleet::new(bounds, clock());
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
    /// See [`Fleet::dead_lettered`].
    pub fn dead_lettered(&self, id: &GatewayId, readings: u64) {
        let now_us = (self.clock)();
        self.fleet().dead_lettered(id, readings, now_us);
    }
    /// See [`Fleet::undeclared`].
    pub fn undeclared(&self, id: &GatewayId, readings: u64) {
        let now_us = (self.clock)();
        self.fleet().undeclared(id, readings, now_us);
    }
    /// See [`Fleet::opened`].
    pub fn opened(&self, id: &GatewayId, epoch: u64, hello: &v1::Hello) {
        let now_us = (self.clock)();
        self.fleet().opened(id, epoch, hello, now_us);
    }
    /// See [`Fleet::health`].
    pub fn health(&self, id: &GatewayId, health: &v1::Health) {
        let now_us = (self.clock)();
        self.fleet().health(id, health, now_us);
    }
    /// See [`Fleet::stored`].
    pub fn stored(&self, id: &GatewayId, newest_us: i64) {
        let now_us = (self.clock)();
        self.fleet().stored(id, newest_us, now_us);
    }
    /// See [`Fleet::fenced`].
    pub fn fenced(&self, id: &GatewayId) {
        let now_us = (self.clock)();
        self.fleet().fenced(id, now_us);
    }
    /// See [`Fleet::released`].
    pub fn released(&self, id: &GatewayId) {
        self.fleet().released(id);
    }
    /// See [`Fleet::maintain`].
    pub fn maintain(&self, id: &GatewayId, until_us: Option<i64>) {
        self.fleet().maintain(id, until_us);
    }
    /// See [`Fleet::storing`].
    pub fn storing(&self, is_storing: bool) {
        let now_us = (self.clock)();
        self.fleet().storing(is_storing, now_us);
    }
    /// See [`Fleet::is_fenced`].
    pub fn is_fenced(&self, id: &GatewayId) -> bool {
        let now_us = (self.clock)();
        self.fleet().is_fenced(id, now_us)
    }
    /// See [`Fleet::closed`].
    pub fn closed(&self, id: &GatewayId, epoch: u64, has_left: bool) {
        self.fleet().closed(id, epoch, has_left);
    }
    /// What figures are held against.
    pub fn bounds(&self) -> Bounds {
        self.fleet().bounds().clone()
    }
    /// All gateways now, what is worst first, and the time it is.
    pub fn views(&self) -> (Vec<View>, i64) {
        let now_us = (self.clock)();
        (self.fleet().views(now_us), now_us)
    }
    /// Everything that is wrong now, and the time it is. See [`Fleet::conditions`].
    pub fn conditions(&self) -> (Vec<Condition>, i64) {
        let now_us = (self.clock)();
        (self.fleet().conditions(now_us), now_us)
    }
    /// What is wrong with the ingest itself. See [`Fleet::own_conditions`].
    pub fn own_conditions(&self) -> Vec<Condition> {
        self.fleet().own_conditions()
    }
}
