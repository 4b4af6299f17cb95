//! Enrolment: how a box gets the certificate of a gateway, and a new one before it ends.
//!
//! `Enroll` takes an invitation's token and a certificate request. The token opens one
//! enrolment: the same token with the same key gets the same certificate again until it
//! expires, because a lost answer must not cost a visit; with another key it is refused.
//! Names come from the invitation. `Renew` takes the certificate that the connection was
//! opened with, and gives a new one for the same key together with every authority to
//! trust; one that has expired opens it for [`RENEWAL_DAYS`] more, unless it was revoked.
//!
//! Every outcome is in the log of the firm, refusals within bounds (`refusals`). Whoever
//! does not hold a token learns nothing but that it is not known.

mod certificates;
mod refusals;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sandan_proto::id::GatewayId;
use sandan_proto::v1;
use sandan_proto::v1::enrollment_server::{self, EnrollmentServer};
use sandan_proto::v1::goodbye::Reason;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{sleep, timeout};
use tonic::{Request, Response, Status};

pub use self::certificates::Certificates;
pub use self::refusals::Refusals;
use crate::audit::Chain;
use crate::auth::{TokenHash, TokenKind};
use crate::ca::{Authority, CaError, Leaf, RequestKey};
use crate::fleet::Board;
use crate::session::{Denied, RENEWAL_DAYS, Sessions, Standing};
use crate::store::control::{Certified, Change, Control, ControlError, InvitationEntry, Stamp};
use crate::store::{Readings, StoreError};
use crate::time::{Clock, DAY_US, MINUTE_US};

/// Enrolments and renewals at once: each costs a signature and some synced commits.
const AT_ONCE: usize = 8;
/// How long one waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// What a refusal costs its caller, so that trying is slow; with [`AT_ONCE`] at most 40 a second.
const REFUSAL_PAUSE: Duration = Duration::from_millis(200);
/// Between two renewals of one gateway: each is a line in its firm's log.
const RENEWAL_PAUSE_US: i64 = 10 * MINUTE_US;
/// Largest message: a request has a few hundred bytes.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// What enrolments work with.
pub struct Parts {
    /// Invitations, keys, and the log.
    pub control: Arc<dyn Control>,
    /// Signs.
    pub ca: Arc<Authority>,
    /// Its fence is lifted for the spool of a new box.
    pub readings: Arc<dyn Readings>,
    /// The session of a box that was replaced ends.
    pub sessions: Arc<Sessions>,
    /// Shows gateways.
    pub fleet: Arc<Board>,
    /// Writes refusals down.
    pub refusals: Arc<Refusals>,
    /// The time.
    pub now: Clock,
}

/// The service.
pub struct Enrollment {
    parts: Parts,
    turns: Semaphore,
    /// Of two that come with one token, one is first.
    enrolling: Mutex<()>,
    renewed: std::sync::Mutex<HashMap<GatewayId, i64>>,
}

/// To be served beside the sessions.
pub fn service(parts: Parts) -> EnrollmentServer<Enrollment> {
    let enrollment = Enrollment {
        parts,
        turns: Semaphore::new(AT_ONCE),
        enrolling: Mutex::default(),
        renewed: std::sync::Mutex::default(),
    };
    EnrollmentServer::new(enrollment).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(1 << 20)
}

/// Why there was no certificate.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// `reason` is its word in the log.
    #[error("{status}")]
    Of { chain: Chain, gateway: Option<GatewayId>, reason: &'static str, status: Box<Status> },
    #[error("the session of a refused certificate")]
    Denied(Denied),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ca(#[from] CaError),
}

fn of(gateway: &GatewayId, reason: &'static str, status: Status) -> Refusal {
    let (chain, gateway) = (Chain::Firm(gateway.firm()), Some(gateway.clone()));
    Refusal::Of { chain, gateway, reason, status: Box::new(status) }
}

fn bad_request(gateway: &GatewayId, error: crate::ca::RequestError) -> Refusal {
    of(gateway, "bad_request", Status::invalid_argument(format!("bad_request: {error}")))
}

impl Enrollment {
    async fn enrol(&self, request: &v1::EnrollRequest) -> Result<v1::EnrollResponse, Refusal> {
        let invitation = self.invitation(request).await?;
        let key = RequestKey::of(&request.certificate_request);
        let key = key.map_err(|error| bad_request(&invitation.gateway, error))?;
        let id = invitation.gateway.clone();
        if let Some(used) = &invitation.used {
            if used.key != *key.hash() {
                let status = "invitation_used: the invitation was used by another box; ask for a new one";
                return Err(of(&id, "invitation_used", Status::permission_denied(status)));
            }
            match self.parts.control.holder(&used.key).await? {
                Some(holder) if holder.current && holder.revoked_us.is_none() => {}
                _ => return Err(Refusal::Denied(Denied::Revoked(id))),
            }
            self.lift_fence(&invitation).await?;
            let chain = self.parts.ca.chain_of(&used.issuer, used.certificate.clone());
            return Ok(self.answer(&id, chain));
        }
        if self.parts.control.holder(key.hash()).await?.is_some() {
            let status = "key_used: this key was enrolled before; remove the identity directory and enrol again";
            return Err(of(&id, "key_used", Status::permission_denied(status)));
        }
        let issued = self.parts.ca.gateway(&id, &key)?;
        let certified = Certified {
            id: id.clone(),
            key: *key.hash(),
            serial: issued.serial,
            certificate: issued.chain.first().cloned().unwrap_or_default(),
            not_after_us: issued.not_after_us,
            issuer: issued.issuer,
        };
        let change = Change::EnrolGateway { token: invitation.token.clone(), certified, replaced: invitation.replace };
        self.parts.control.apply(change, self.stamp(&id)).await?;
        self.parts.sessions.end(&id, Reason::Revoked);
        self.parts.fleet.enrol(id.clone());
        self.lift_fence(&invitation).await?;
        tracing::info!(gateway = %id, "enrolled");
        Ok(self.answer(&id, issued.chain))
    }

    /// The invitation that a token opens, unless it is known to nobody or has expired.
    async fn invitation(&self, request: &v1::EnrollRequest) -> Result<InvitationEntry, Refusal> {
        let named = GatewayId::new(&request.gateway).ok();
        let unknown = || Refusal::Of {
            chain: Chain::Complex,
            gateway: None,
            reason: "unknown_invitation",
            status: Box::new(Status::unauthenticated("unknown_invitation: this invitation is not known here")),
        };
        if !TokenKind::Invitation.shapes(&request.invitation) {
            return Err(unknown());
        }
        let hash = TokenHash::of(&request.invitation);
        let found = self.parts.control.invitation(&hash).await?;
        // The index found it by equality already; the comparison that counts takes the same time wherever it differs.
        let invitation = found.filter(|it| it.token.matches(&hash)).ok_or_else(unknown)?;
        let id = &invitation.gateway;
        if named.as_ref() != Some(id) {
            let status =
                "wrong_gateway: the invitation is for another gateway than the one that the box is configured as";
            return Err(of(id, "wrong_gateway", Status::permission_denied(status)));
        }
        if invitation.expires_us <= (self.parts.now)() {
            let status = "invitation_expired: the invitation has expired or was taken back; ask for a new one";
            return Err(of(id, "invitation_expired", Status::permission_denied(status)));
        }
        Ok(invitation)
    }

    /// A new box brings a new spool, which has none of the epochs that the gateway used.
    async fn lift_fence(&self, invitation: &InvitationEntry) -> Result<(), Refusal> {
        if !invitation.replace || invitation.released {
            return Ok(());
        }
        let (token, id) = (invitation.token.clone(), invitation.gateway.clone());
        self.parts.readings.release(&id).await?;
        self.parts.fleet.released(&id);
        let stamp = self.stamp(&id);
        Ok(self.parts.control.apply(Change::ReleaseEnrolled { token, id }, stamp).await?)
    }

    async fn certify_again(
        &self,
        leaf: Option<&Leaf>,
        request: &v1::RenewRequest,
    ) -> Result<v1::RenewResponse, Refusal> {
        let leaf = leaf.ok_or(Refusal::Denied(Denied::NoCertificate))?;
        let now_us = (self.parts.now)();
        let holder = self.parts.control.holder(&leaf.key).await?.ok_or(Refusal::Denied(Denied::Unknown))?;
        let id = holder.gateway;
        if !holder.current {
            return Err(Refusal::Denied(Denied::Replaced(id)));
        }
        if holder.revoked_us.is_some() {
            return Err(Refusal::Denied(Denied::Revoked(id)));
        }
        if now_us > leaf.not_after_us.saturating_add(RENEWAL_DAYS * DAY_US) {
            return Err(Refusal::Denied(Denied::LongExpired(id)));
        }
        let key = RequestKey::of(&request.certificate_request).map_err(|error| bad_request(&id, error))?;
        if *key.hash() != leaf.key {
            let status = "other_key: a renewal is for the key of the certificate; a new key takes a new invitation";
            return Err(of(&id, "other_key", Status::permission_denied(status)));
        }
        if !self.may_renew(&id, now_us) {
            let status = "renewed: this gateway got a certificate a moment ago; try again in some minutes";
            return Err(of(&id, "renewed_too_often", Status::resource_exhausted(status)));
        }
        let issued = self.parts.ca.gateway(&id, &key)?;
        let certified = Certified {
            id: id.clone(),
            key: *key.hash(),
            serial: issued.serial,
            certificate: issued.chain.first().cloned().unwrap_or_default(),
            not_after_us: issued.not_after_us,
            issuer: issued.issuer,
        };
        match self.parts.control.apply(Change::RenewGateway(certified), self.stamp(&id)).await {
            // Between the look and the change.
            Err(ControlError::Revoked { .. }) => return Err(Refusal::Denied(Denied::Revoked(id))),
            changed => changed?,
        }
        tracing::info!(gateway = %id, "certificate renewed");
        Ok(v1::RenewResponse { certificate_chain: issued.chain, trust_bundle: self.bundle() })
    }

    /// Notes the renewal when it is not too early for one.
    fn may_renew(&self, gateway: &GatewayId, now_us: i64) -> bool {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.retain(|_, at| (0..RENEWAL_PAUSE_US).contains(&(now_us - *at)));
        if renewed.contains_key(gateway) {
            return false;
        }
        renewed.insert(gateway.clone(), now_us);
        true
    }

    fn stamp(&self, gateway: &GatewayId) -> Stamp {
        Stamp { actor: format!("gateway {gateway}"), now_us: (self.parts.now)() }
    }

    fn bundle(&self) -> Vec<Vec<u8>> {
        self.parts.ca.bundle().iter().map(|certificate| certificate.to_vec()).collect()
    }

    fn answer(&self, gateway: &GatewayId, certificate_chain: Vec<Vec<u8>>) -> v1::EnrollResponse {
        v1::EnrollResponse { gateway: gateway.to_string(), certificate_chain, trust_bundle: self.bundle() }
    }

    /// Runs one call in its turn, and writes down what came of a refused one.
    async fn in_turn<T>(&self, call: impl Future<Output = Result<T, Refusal>>) -> Result<Response<T>, Status> {
        let busy = || Status::unavailable("busy: too many enrolments at once; try again");
        let _turn = timeout(TURN, self.turns.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())?;
        let refusal = match call.await {
            Ok(answer) => return Ok(Response::new(answer)),
            Err(refusal) => refusal,
        };
        let status = match refusal {
            Refusal::Of { chain, gateway, reason, status } => {
                self.parts.refusals.note(chain, gateway.as_ref(), reason, None).await;
                *status
            }
            Refusal::Denied(denied) => {
                self.parts.refusals.denied(&denied).await;
                Status::from(&denied)
            }
            Refusal::Control(ControlError::Spent) => {
                Status::aborted("busy: the invitation is being used at this moment; try again")
            }
            Refusal::Control(error) => failed(&error),
            Refusal::Store(error) => failed(&error),
            Refusal::Ca(error) => failed(&error),
        };
        sleep(REFUSAL_PAUSE).await;
        Err(status)
    }
}

/// What failed is for this side's log.
fn failed(error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(%error, source = ?error.source(), "an enrolment or renewal failed");
    Status::unavailable("store: the ingest failed; try again")
}

#[async_trait]
impl enrollment_server::Enrollment for Enrollment {
    async fn enroll(&self, request: Request<v1::EnrollRequest>) -> Result<Response<v1::EnrollResponse>, Status> {
        let request = request.into_inner();
        self.in_turn(async {
            let _alone = self.enrolling.lock().await;
            self.enrol(&request).await
        })
        .await
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let leaf = request.extensions().get::<Standing>().and_then(Standing::leaf).cloned();
        let request = request.into_inner();
        self.in_turn(async move { self.certify_again(leaf.as_ref(), &request).await }).await
    }
}

#[cfg(test)]
mod tests;
