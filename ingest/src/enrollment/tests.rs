//! Against real control data and a clock that is moved by hand.

use std::sync::atomic::{AtomicI64, Ordering};

use sandan_proto::v1::enrollment_server::Enrollment as _;
use tonic::Code;

use super::*;
use crate::access::fixture::{Complex, NOW};
use crate::audit::{Field, Kind};
use crate::auth::Secret;
use crate::ca::fixture::Device;
use crate::ca::{GATEWAY_LIFE_US, fingerprint};
use crate::store::SqliteReadings;

struct Rig {
    complex: Complex,
    service: Enrollment,
    time: Arc<AtomicI64>,
}

impl Rig {
    async fn new() -> Self {
        let complex = Complex::new().await;
        let time = Arc::new(AtomicI64::new(NOW));
        let now: Clock = {
            let time = time.clone();
            Arc::new(move || time.load(Ordering::SeqCst))
        };
        let dir = complex.dir.path();
        let parts = Parts {
            control: complex.control.clone(),
            ca: Arc::new(Authority::open("c", &dir.join("ca"), None, None, now.clone()).unwrap()),
            readings: Arc::new(SqliteReadings::open(dir, crate::fixture::options()).unwrap()),
            sessions: Arc::default(),
            fleet: complex.fleet.clone(),
            refusals: Arc::new(Refusals::new(complex.control.clone(), now.clone())),
            now,
        };
        let (turns, enrolling) = (Semaphore::new(AT_ONCE), Mutex::default());
        Self { complex, service: Enrollment { parts, turns, enrolling, renewed: std::sync::Mutex::default() }, time }
    }

    fn later(&self, days: i64) {
        self.time.fetch_add(days * DAY_US, Ordering::SeqCst);
    }

    async fn change(&self, change: Change) {
        let stamp = Stamp { actor: "test".into(), now_us: self.time.load(Ordering::SeqCst) };
        self.complex.control.apply(change, stamp).await.unwrap();
    }

    async fn invite(&self, added: bool, replace: bool) -> String {
        let token = Secret::mint(TokenKind::Invitation).unwrap();
        let expires_us = self.time.load(Ordering::SeqCst) + DAY_US;
        self.change(Change::InviteGateway { id: id(), token: token.hash(), expires_us, added, replace }).await;
        token.reveal()
    }

    async fn enroll_as(&self, device: &mut Device, token: &str, gateway: &str) -> Result<(), Status> {
        let (invitation, gateway) = (token.to_owned(), gateway.to_owned());
        let request = v1::EnrollRequest { invitation, certificate_request: device.request(), gateway };
        let answer = self.service.enroll(Request::new(request)).await?.into_inner();
        (device.chain, device.trust) = (answer.certificate_chain, answer.trust_bundle);
        Ok(())
    }

    async fn enroll(&self, device: &mut Device, token: &str) -> Result<(), Status> {
        self.enroll_as(device, token, id().as_str()).await
    }

    async fn renew_with(&self, device: &mut Device, request: Vec<u8>) -> Result<(), Status> {
        let mut request = Request::new(v1::RenewRequest { certificate_request: request });
        request.extensions_mut().insert(Standing::of(device.leaf()));
        let answer = self.service.renew(request).await?.into_inner();
        (device.chain, device.trust) = (answer.certificate_chain, answer.trust_bundle);
        Ok(())
    }

    async fn renew(&self, device: &mut Device) -> Result<(), Status> {
        let request = device.request();
        self.renew_with(device, request).await
    }

    async fn reasons(&self, chain: Chain) -> Vec<Field> {
        let log = self.complex.control.audit(&chain, 0, 1_000).await.unwrap();
        log.into_iter().filter(|it| it.kind == Kind::GatewayRefused).map(|it| it.detail["reason"].clone()).collect()
    }
}

fn id() -> GatewayId {
    GatewayId::new("hanbit/gw").unwrap()
}

fn device() -> Device {
    Device::new(&[])
}

fn texts(words: &[&str]) -> Vec<Field> {
    words.iter().map(|word| Field::from(*word)).collect()
}

#[tokio::test]
async fn a_token_opens_one_enrolment_and_a_lost_answer_comes_again() {
    let rig = Rig::new().await;
    let token = rig.invite(true, false).await;
    let (mut ours, mut theirs) = (device(), device());
    rig.enroll(&mut ours, &token).await.unwrap();
    let first = std::mem::take(&mut ours.chain);
    rig.enroll(&mut ours, &token).await.unwrap();
    assert_eq!(ours.chain, first, "the same certificate again");
    let refused = rig.enroll(&mut theirs, &token).await.unwrap_err();
    assert!(refused.message().starts_with("invitation_used: "), "{refused}");
    rig.later(1);
    let refused = rig.enroll(&mut ours, &token).await.unwrap_err();
    assert!(refused.message().starts_with("invitation_expired: "), "{refused}");
    assert_eq!(rig.reasons(Chain::Firm(id().firm())).await, texts(&["invitation_used", "invitation_expired"]));
}

#[tokio::test]
async fn whoever_holds_no_token_of_this_gateway_learns_nothing() {
    let rig = Rig::new().await;
    let token = rig.invite(true, false).await;
    let unknown = Secret::mint(TokenKind::Invitation).unwrap().reveal();
    for wrong in ["", "sgi_", &unknown] {
        let refused = rig.enroll(&mut device(), wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert_eq!(refused.message(), "unknown_invitation: this invitation is not known here");
    }
    let refused = rig.enroll_as(&mut device(), &token, "saesol/gw").await.unwrap_err();
    assert!(refused.message().starts_with("wrong_gateway: ") && !refused.message().contains("hanbit"), "{refused}");
    assert_eq!(rig.reasons(Chain::Complex).await, texts(&["unknown_invitation"]));
    assert_eq!(rig.reasons(Chain::Firm(id().firm())).await, texts(&["wrong_gateway"]));
    // It still opens the enrolment that it is for.
    rig.enroll(&mut device(), &token).await.unwrap();
}

#[tokio::test]
async fn a_gateway_renews_for_180_days_after_the_end_and_a_revoked_one_never() {
    let rig = Rig::new().await;
    let token = rig.invite(true, false).await;
    let mut ours = device();
    rig.enroll(&mut ours, &token).await.unwrap();
    let refused = rig.renew_with(&mut ours, device().request()).await.unwrap_err();
    assert!(refused.message().starts_with("other_key: "), "{refused}");
    for days in [60, 90 + 60, 90 + 170] {
        rig.later(days);
        rig.renew(&mut ours).await.unwrap();
        let now_us = rig.time.load(Ordering::SeqCst);
        assert_eq!(ours.leaf().unwrap().not_after_us, now_us + GATEWAY_LIFE_US);
    }
    let refused = rig.renew(&mut ours).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "each is a line in the log");
    rig.later(90 + 181);
    let refused = rig.service.renew(long_expired(&ours)).await.unwrap_err();
    assert!(refused.message().contains("more than 180 days ago"), "{refused}");
    rig.later(-180);
    rig.change(Change::RevokeGateway(id())).await;
    let refused = rig.renew(&mut ours).await.unwrap_err();
    assert!(refused.message().starts_with("revoked: "), "{refused}");
    let refused = rig.renew(&mut device()).await.unwrap_err();
    assert!(refused.message().starts_with("no_certificate: "), "{refused}");
}

fn long_expired(device: &Device) -> Request<v1::RenewRequest> {
    let mut request = Request::new(v1::RenewRequest { certificate_request: device.request() });
    request.extensions_mut().insert(Standing::of(device.leaf()));
    request
}

#[tokio::test]
async fn a_new_box_takes_the_place_and_the_old_key_is_dead() {
    let rig = Rig::new().await;
    let (mut old, mut new) = (device(), device());
    let first = rig.invite(true, false).await;
    rig.enroll(&mut old, &first).await.unwrap();
    let again = rig.invite(false, true).await;
    let refused = rig.enroll(&mut old, &again).await.unwrap_err();
    assert!(refused.message().starts_with("key_used: "), "{refused}");
    rig.enroll(&mut new, &again).await.unwrap();
    let refused = rig.renew(&mut old).await.unwrap_err();
    assert!(refused.message().starts_with("replaced_certificate: "), "{refused}");
    rig.later(10);
    rig.renew(&mut new).await.unwrap();
    let log = rig.complex.control.audit(&Chain::Firm(id().firm()), 0, 1_000).await.unwrap();
    assert_eq!(log.iter().filter(|it| it.kind == Kind::GatewayReleased).count(), 1);
}

/// While the authority changes, a gateway that renews learns the new one and is signed by it.
#[tokio::test]
async fn a_renewal_hands_over_the_new_authority() {
    let rig = Rig::new().await;
    let token = rig.invite(true, false).await;
    let mut ours = device();
    rig.enroll(&mut ours, &token).await.unwrap();
    assert_eq!(ours.trust.len(), 1);
    rig.service.parts.ca.rotate().unwrap();
    rig.later(60);
    rig.renew(&mut ours).await.unwrap();
    assert_eq!(ours.trust.len(), 2);
    let issuer = fingerprint(&ours.chain[1].clone().into());
    assert_eq!(issuer, rig.service.parts.ca.issuer().unwrap());
}
