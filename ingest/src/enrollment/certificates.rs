//! Whose a certificate is, and whether it opens a session.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use sandan_proto::id::GatewayId;

use super::Refusals;
use crate::auth::KeyHash;
use crate::ca::Leaf;
use crate::session::{Denied, GatewayAuth, RENEWAL_DAYS};
use crate::store::StoreError;
use crate::store::control::{Control, ControlError};
use crate::time::{Clock, DAY_US};

/// Whose certificates are.
pub struct Certificates {
    control: Arc<dyn Control>,
    refusals: Arc<Refusals>,
    now: Clock,
}

impl Certificates {
    /// Looked up in the control data.
    pub fn new(control: Arc<dyn Control>, refusals: Arc<Refusals>, now: Clock) -> Self {
        Self { control, refusals, now }
    }
}

fn looking_up(error: ControlError) -> StoreError {
    StoreError::Engine { what: "looking up a gateway's certificate", source: Box::new(error) }
}

#[async_trait]
impl GatewayAuth for Certificates {
    async fn admit(&self, leaf: Option<&Leaf>) -> Result<Result<GatewayId, Denied>, StoreError> {
        let Some(leaf) = leaf else { return Ok(Err(Denied::NoCertificate)) };
        let Some(holder) = self.control.holder(&leaf.key).await.map_err(looking_up)? else {
            return Ok(Err(Denied::Unknown));
        };
        let (id, now_us) = (holder.gateway, (self.now)());
        Ok(if !holder.current {
            Err(Denied::Replaced(id))
        } else if holder.revoked_us.is_some() {
            Err(Denied::Revoked(id))
        } else if leaf.not_after_us > now_us {
            Ok(id)
        } else if leaf.not_after_us.saturating_add(RENEWAL_DAYS * DAY_US) > now_us {
            Err(Denied::Expired(id))
        } else {
            Err(Denied::LongExpired(id))
        })
    }

    async fn in_force(&self) -> Result<HashMap<GatewayId, KeyHash>, StoreError> {
        self.control.keys_in_force((self.now)()).await.map_err(looking_up)
    }

    async fn refused(&self, denied: &Denied) {
        self.refusals.denied(denied).await;
    }
}
