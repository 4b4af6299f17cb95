//! Who was refused, in the log and in the audit chains, so that a flood fills neither:
//! one gateway's refusals for one reason are one entry an hour, which says how many there
//! were, and no chain takes more than a few dozen an hour.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sandan_proto::id::GatewayId;

use crate::audit::{Chain, Draft, Kind};
use crate::session::Denied;
use crate::store::control::Control;
use crate::time::{Clock, HOUR_US};

/// Between two entries of the same.
const AGAIN_US: i64 = HOUR_US;
/// How long those are remembered that came again meanwhile, so that the next entry counts them.
const REPEATED_US: i64 = 24 * HOUR_US;
/// Entries of one chain in that time. All gateways of a firm and all reasons are below it,
/// unless somebody tries.
const MAX_PER_CHAIN: usize = 48;
/// How an entry names whoever showed nothing by which it is known.
const STRANGER: &str = "uplink";

/// Writes refusals down.
pub struct Refusals {
    control: Arc<dyn Control>,
    now: Clock,
    seen: Mutex<HashMap<Refused, Seen>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Refused {
    chain: Chain,
    gateway: Option<GatewayId>,
    reason: &'static str,
}

struct Seen {
    noted_us: i64,
    since: i64,
}

impl Refusals {
    /// Into the control data's log.
    pub fn new(control: Arc<dyn Control>, now: Clock) -> Self {
        Self { control, now, seen: Mutex::default() }
    }

    /// Notes a refusal; `detail` is one sentence without a secret.
    pub async fn note(&self, chain: Chain, gateway: Option<&GatewayId>, reason: &'static str, detail: Option<String>) {
        let now_us = (self.now)();
        let Some(times) = self.due(Refused { chain: chain.clone(), gateway: gateway.cloned(), reason }, now_us) else {
            return;
        };
        let shown = gateway.map_or("", GatewayId::as_str);
        tracing::warn!(gateway = shown, reason, times, detail = detail.as_deref().unwrap_or_default(), "refused");
        let actor = gateway.map_or_else(|| STRANGER.to_owned(), |id| format!("gateway {id}"));
        let mut draft = Draft::new(chain, Kind::GatewayRefused, &actor).with("reason", reason).with("times", times);
        if let Some(gateway) = gateway {
            draft = draft.with("gateway", gateway.as_str());
        }
        if let Some(detail) = detail {
            draft = draft.with("detail", detail);
        }
        if let Err(error) = self.control.append(draft, now_us).await {
            tracing::error!(%error, "a refusal could not be written to the audit log");
        }
    }

    /// Notes what [`Denied`] says.
    pub async fn denied(&self, denied: &Denied) {
        let (gateway, reason) = match denied {
            Denied::NoCertificate => (None, "no_certificate"),
            Denied::Unknown => (None, "unknown_certificate"),
            Denied::Replaced(id) => (Some(id), "replaced"),
            Denied::Revoked(id) => (Some(id), "revoked"),
            // In order: it renews, and is a line on its own side.
            Denied::Expired(id) => (Some(id), "certificate_expired"),
            Denied::LongExpired(id) => (Some(id), "certificate_long_expired"),
            Denied::WrongGateway { own, .. } => (Some(own), "wrong_gateway"),
        };
        let chain = gateway.map_or(Chain::Complex, |id| Chain::Firm(id.firm()));
        let detail = match denied {
            Denied::WrongGateway { named, .. } => named.as_ref().map(|named| format!("said Hello as {named}")),
            _ => None,
        };
        self.note(chain, gateway, reason, detail).await;
    }

    /// How many there were since the last entry, when it is time for one.
    fn due(&self, refused: Refused, now_us: i64) -> Option<i64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // What was not repeated within the hour is forgotten, so that this stays small.
        let kept_us = |it: &Seen| if it.since > 0 { REPEATED_US } else { AGAIN_US };
        seen.retain(|_, it| (0..kept_us(it)).contains(&(now_us - it.noted_us)));
        if let Some(it) = seen.get_mut(&refused) {
            it.since += 1;
            if (0..AGAIN_US).contains(&(now_us - it.noted_us)) {
                return None;
            }
            it.noted_us = now_us;
            return Some(std::mem::take(&mut it.since));
        }
        if seen.keys().filter(|it| it.chain == refused.chain).count() >= MAX_PER_CHAIN {
            return None;
        }
        seen.insert(refused, Seen { noted_us: now_us, since: 0 });
        Some(1)
    }
}

#[cfg(test)]
mod tests;
