//! Looks again, all the time, whether those who have a session may have it.
//!
//! A revocation ends the sessions of its own process at once. One by another process, or
//! the end of a certificate that was not renewed, is seen here, within a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sandan_proto::id::GatewayId;
use sandan_proto::v1::goodbye::Reason;
use tokio::time::{MissedTickBehavior, interval};

use super::{GatewayAuth, Sessions};
use crate::auth::KeyHash;

/// How often: a revocation holds within a second, with the time that a look takes.
const INTERVAL: Duration = Duration::from_millis(500);

/// The keys under which sessions run. Of an older session of a gateway, which is ending,
/// the key is let go.
#[derive(Default)]
pub struct Guard(Mutex<HashMap<GatewayId, (u64, KeyHash)>>);

/// A session's place; leaving it ends the watch.
pub(super) struct Watched {
    guard: Arc<Guard>,
    gateway: GatewayId,
    epoch: u64,
}

impl Guard {
    pub(super) fn watch(self: &Arc<Self>, gateway: &GatewayId, epoch: u64, key: KeyHash) -> Watched {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.get(gateway).is_none_or(|(newer, _)| *newer < epoch) {
            keys.insert(gateway.clone(), (epoch, key));
        }
        Watched { guard: self.clone(), gateway: gateway.clone(), epoch }
    }

    fn watched(&self) -> Vec<(GatewayId, KeyHash)> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|(gateway, (_, key))| (gateway.clone(), *key)).collect()
    }

    /// Ends the sessions whose key is not in force any more. Never ends by itself.
    pub async fn run(self: Arc<Self>, auth: Arc<dyn GatewayAuth>, sessions: Arc<Sessions>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_told = false;
        loop {
            ticks.tick().await;
            let watched = self.watched();
            if watched.is_empty() {
                continue;
            }
            match auth.in_force().await {
                Ok(keys) => {
                    was_told = false;
                    for (gateway, _) in watched.iter().filter(|(gateway, key)| keys.get(gateway) != Some(key)) {
                        if sessions.end(gateway, Reason::Revoked) {
                            tracing::warn!(%gateway, "a session ends: its certificate is not in force any more");
                        }
                    }
                }
                // The next look is soon, and there may be many while a database is away.
                Err(error) => {
                    if !std::mem::replace(&mut was_told, true) {
                        tracing::error!(%error, "whether certificates are in force cannot be looked up");
                    }
                }
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut keys = self.guard.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.get(&self.gateway).is_some_and(|(epoch, _)| *epoch == self.epoch) {
            keys.remove(&self.gateway);
        }
    }
}
