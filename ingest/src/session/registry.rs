//! Which gateway has a live session. A newer session of a gateway ends the older.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandan_proto::id::GatewayId;
use sandan_proto::v1::{self, goodbye::Reason};
use tokio::sync::{Notify, oneshot};

use super::{Closed, FleetEvents};

/// The live sessions of this process, and those that are ending.
#[derive(Default)]
pub struct Sessions {
    live: Mutex<HashMap<GatewayId, Live>>,
    /// How many of a gateway have entered and not left.
    present: Mutex<HashMap<GatewayId, usize>>,
    left: Notify,
}

struct Live {
    epoch: u64,
    close: oneshot::Sender<Reason>,
}

/// A session's place among the live ones; leaving it tells the fleet.
pub(super) struct Entered {
    sessions: Arc<Sessions>,
    fleet: Arc<dyn FleetEvents>,
    gateway: GatewayId,
    pub(super) epoch: u64,
    /// Resolves when the session has to end, with the reason to tell the gateway.
    pub(super) close: oneshot::Receiver<Reason>,
    why: Closed,
}

impl Sessions {
    fn live(&self) -> MutexGuard<'_, HashMap<GatewayId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present(&self) -> MutexGuard<'_, HashMap<GatewayId, usize>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no session of a gateway is left, not even one that was ended and still
    /// waits for what it has handed to the store.
    pub async fn gone(&self, gateway: &GatewayId) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // Before the look, so that nobody leaves between the two.
            left.as_mut().enable();
            if !self.present().contains_key(gateway) {
                return;
            }
            left.await;
        }
    }

    /// Ends a gateway's session, as when its token was revoked. False when it has none.
    pub fn end(&self, gateway: &GatewayId, reason: Reason) -> bool {
        // The session takes itself off the list when it has said goodbye.
        let Some(live) = self.live().remove(gateway) else { return false };
        live.close.send(reason).is_ok()
    }

    /// Enters a session and ends an older one of the gateway. None when a newer one was
    /// granted meanwhile. The fleet hears of it under the lock, so that its events of one
    /// gateway come in order.
    pub(super) fn enter(
        self: &Arc<Self>,
        fleet: &Arc<dyn FleetEvents>,
        gateway: &GatewayId,
        epoch: u64,
        hello: &v1::Hello,
    ) -> Option<Entered> {
        let mut sessions = self.live();
        if sessions.get(gateway).is_some_and(|live| live.epoch > epoch) {
            return None;
        }
        let (close, closed) = oneshot::channel();
        if let Some(older) = sessions.insert(gateway.clone(), Live { epoch, close }) {
            // It may have ended by itself already.
            let _ = older.close.send(Reason::Replaced);
        }
        *self.present().entry(gateway.clone()).or_default() += 1;
        fleet.opened(gateway, epoch, hello);
        Some(Entered {
            sessions: Arc::clone(self),
            fleet: Arc::clone(fleet),
            gateway: gateway.clone(),
            epoch,
            close: closed,
            why: Closed::Lost,
        })
    }
}

impl Entered {
    /// Says why the session ends; without it the connection was lost.
    pub(super) fn because(&mut self, why: Closed) {
        self.why = why;
    }

    fn leave(&self) {
        let mut present = self.sessions.present();
        let left = present.get(&self.gateway).map_or(0, |count| count - 1);
        match left {
            0 => drop(present.remove(&self.gateway)),
            _ => drop(present.insert(self.gateway.clone(), left)),
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.leave();
        self.sessions.left.notify_waiters();
        let mut sessions = self.sessions.live();
        let ours = sessions.get(&self.gateway).is_none_or(|live| live.epoch == self.epoch);
        if sessions.get(&self.gateway).is_some_and(|live| live.epoch == self.epoch) {
            sessions.remove(&self.gateway);
        }
        // A session that was replaced is not the gateway's any more.
        if ours {
            self.fleet.closed(&self.gateway, self.epoch, &self.why);
        }
    }
}
