//! Months that pass: the gateway's identity against the ingest's uplink, both in this
//! process, over real sockets, under one clock that is moved by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sandan_gateway::identity::{self, Identity, Pace, Renewal, WallClock};
use sandan_gateway::uplink::connect;
use sandan_ingest::auth::{Secret, TokenKind};
use sandan_ingest::ca::{self, Authority};
use sandan_ingest::enrollment::{self, Certificates, Refusals};
use sandan_ingest::fleet::{Board, Bounds};
use sandan_ingest::session::{self, Closed, Ending, FleetEvents, Gate, Guard, Sessions};
use sandan_ingest::store::control::{Change, Control, Firm, Stamp};
use sandan_ingest::store::sqlite::control::SqliteControl;
use sandan_ingest::store::{Options, Readings, SqliteReadings};
use sandan_proto::id::{FirmId, GatewayId};
use sandan_proto::invitation::Invitation;
use sandan_proto::v1::{self, uplink_client::UplinkClient};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

const DAY_US: i64 = 86_400_000_000;
/// 2027-01-15.
const BEGIN_US: i64 = 1_800_000_000_000_000;

struct Nobody;

impl FleetEvents for Nobody {
    fn opened(&self, _: &GatewayId, _: u64, _: &v1::Hello) {}
    fn health(&self, _: &GatewayId, _: v1::Health) {}
    fn stored(&self, _: &GatewayId, _: i64, _: u64) {}
    fn fenced(&self, _: &GatewayId) {}
    fn forked(&self, _: &GatewayId) {}
    fn held_back(&self, _: &GatewayId) {}
    fn dead_lettered(&self, _: &GatewayId, _: u64) {}
    fn closed(&self, _: &GatewayId, _: u64, _: &Closed) {}
}

struct Complex {
    time: Arc<AtomicI64>,
    now: WallClock,
    control: Arc<SqliteControl>,
    ca: Arc<Authority>,
    address: SocketAddr,
    identity: Identity,
    dir: tempfile::TempDir,
}

impl Complex {
    /// With one gateway that is enrolled.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicI64::new(BEGIN_US));
        let now: WallClock = {
            let time = time.clone();
            Arc::new(move || time.load(Ordering::SeqCst))
        };
        let control = Arc::new(SqliteControl::open(&dir.path().join("control.db")).unwrap());
        let readings: Arc<dyn Readings> = Arc::new(SqliteReadings::open(dir.path(), Options::default()).unwrap());
        let ca = Arc::new(Authority::open("saesol", &dir.path().join("ca"), None, None, now.clone()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sessions = Arc::<Sessions>::default();
        let refusals = Arc::new(Refusals::new(control.clone(), now.clone()));
        let enrolments = enrollment::service(enrollment::Parts {
            control: control.clone(),
            ca: ca.clone(),
            readings: readings.clone(),
            sessions: sessions.clone(),
            fleet: Arc::new(Board::new(now.clone(), Bounds::default(), [])),
            refusals: refusals.clone(),
            now: now.clone(),
        });
        let settings = session::Settings {
            retention_us: 90 * DAY_US,
            now: now.clone(),
            heartbeat: session::HEARTBEAT,
            hello_deadline: session::HELLO_DEADLINE,
            quotas: Arc::new(session::Quotas::new(session::Rate { readings: 1e6, bytes: 1e9 }, [].into())),
            room: Arc::default(),
            shutdown: CancellationToken::new(),
        };
        let certificates = Arc::new(Certificates::new(control.clone(), refusals, now.clone()));
        let guard = Arc::<Guard>::default();
        let routes = session::service(readings, certificates, Arc::new(Nobody), sessions, guard, settings)
            .add_service(enrolments);
        let gate = {
            let (ca, now) = (ca.clone(), now.clone());
            // Made for each connection: it is as fresh as the service keeps it.
            let tls = move || {
                let identity = ca.server(&["127.0.0.1".to_owned()]).unwrap();
                Arc::new(ca::server_config(&ca.trusted(), identity, now.clone()).unwrap())
            };
            Gate { tls: Arc::new(tls), refused: Arc::new(|_, _| ()) }
        };
        let incoming = session::incoming(listener, gate, Ending::default());
        tokio::spawn(session::server().add_routes(routes).serve_with_incoming(incoming));
        let gateway = GatewayId::new("hanbit-mould/press-hall").unwrap();
        let identity = Identity::new(&dir.path().join("state"), gateway);
        let complex = Self { time, now, control, ca, address, identity, dir };
        let firm =
            Firm { id: FirmId::new("hanbit-mould").unwrap(), name_ko: "한빛".into(), name_en: "Hanbit".into() };
        complex.change(Change::AddFirm(firm)).await;
        complex.enroll().await;
        complex
    }

    async fn change(&self, change: Change) {
        let stamp = Stamp { actor: "test".into(), now_us: (self.now)() };
        self.control.apply(change, stamp).await.unwrap();
    }

    async fn enroll(&self) {
        let (token, id) = (Secret::mint(TokenKind::Invitation).unwrap(), self.identity.gateway().clone());
        let expires_us = (self.now)() + DAY_US;
        let invite =
            Change::InviteGateway { id: id.clone(), token: token.hash(), expires_us, added: true, replace: false };
        self.change(invite).await;
        let (host, port) = (self.address.ip().to_string(), self.address.port());
        let invitation = Invitation { host, port, gateway: id, token: token.reveal(), ca: self.ca.pin().unwrap() };
        let at = self.address.to_string();
        let dial = async |tls| connect(&at, None, tls).await;
        let enrolled = identity::enroll(&self.identity, &invitation, self.now.clone(), dial).await.unwrap();
        assert_eq!(enrolled.not_after_us, (self.now)() + 90 * DAY_US);
    }

    fn later(&self, days: i64) {
        self.time.fetch_add(days * DAY_US, Ordering::SeqCst);
    }

    /// A session of its gateway, up to the welcome.
    async fn session(&self) -> Result<(), String> {
        let credentials = self.identity.credentials().map_err(|error| error.to_string())?;
        let tls = credentials.client_config(self.now.clone()).unwrap();
        let channel = connect(&self.address.to_string(), None, tls).await.map_err(|error| error.to_string())?;
        let (frames, queue) = mpsc::channel(4);
        let hello = v1::Hello {
            gateway: self.identity.gateway().to_string(),
            boot_id: vec![1; 16],
            protocol_version: sandan_proto::PROTOCOL_VERSION,
            ..Default::default()
        };
        frames.send(v1::GatewayFrame { frame: Some(v1::gateway_frame::Frame::Hello(hello)) }).await.unwrap();
        let answer = UplinkClient::new(channel).session(ReceiverStream::new(queue)).await;
        let mut answers = answer.map_err(|status| status.message().to_owned())?.into_inner();
        answers
            .message()
            .await
            .map_err(|status| status.message().to_owned())?
            .map(drop)
            .ok_or("nothing came".to_owned())
    }

    /// Lets the renewal run until it says something.
    async fn renewal(&self) -> Renewal {
        let (status, mut said) = watch::channel(Renewal::default());
        let stop = CancellationToken::new();
        let pace = Pace { look: Duration::from_millis(5), ..Pace::default() };
        let dial = async |at: &str, tls| connect(at, None, tls).await;
        let running = identity::keep_renewed(self.identity.clone(), pace, self.now.clone(), dial, status, stop.clone());
        let first = async {
            let done = said.wait_for(|it| it.renewed_total + it.failed_total > 0).await.unwrap().clone();
            stop.cancel();
            done
        };
        tokio::join!(running, first).1
    }
}

/// A summer shutdown, and the winter's behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_returns_by_itself_after_months_and_shows_what_it_was_told_meanwhile() {
    let complex = Complex::new().await;
    complex.session().await.unwrap();
    for days_off in [60, 90 + 60, 90 + 170] {
        complex.later(days_off);
        if days_off > 90 {
            let refused = complex.session().await.unwrap_err();
            assert!(refused.starts_with("certificate_expired: ") && refused.ends_with("may be renewed"), "{refused}");
        }
        let renewal = if days_off == 60 {
            // At two thirds, and a tenth later at most.
            complex.later(9);
            complex.renewal().await
        } else {
            complex.renewal().await
        };
        assert_eq!((renewal.renewed_total, renewal.fault.as_deref()), (1, None));
        complex.session().await.unwrap();
    }
    complex.later(90 + 181);
    let renewal = complex.renewal().await;
    assert!(renewal.fault.unwrap().contains("expired more than 180 days ago"));
    assert!(complex.session().await.unwrap_err().contains("more than 180 days ago"));
    let log = complex.control.audit(&"hanbit-mould".parse().unwrap(), 0, 100).await.unwrap();
    let refused = log.iter().filter(|it| it.kind == sandan_ingest::audit::Kind::GatewayRefused);
    let reasons: Vec<_> = refused.map(|it| serde_json::to_value(&it.detail["reason"]).unwrap()).collect();
    assert_eq!(reasons, ["certificate_expired", "certificate_expired", "certificate_long_expired"]);
    assert!(complex.dir.path().join("state/identity/identity.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_gateway_never_returns() {
    let complex = Complex::new().await;
    let revoke = Change::RevokeGateway(complex.identity.gateway().clone());
    complex.change(revoke).await;
    for days in [0, 80, 60] {
        complex.later(days);
        let refused = complex.session().await.unwrap_err();
        assert!(refused.starts_with("revoked: "), "{refused}");
        if days > 0 {
            let renewal = complex.renewal().await;
            assert!(renewal.fault.unwrap().contains("revoked: "));
        }
    }
}

/// The old authority goes when every gateway has renewed, and nobody is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_follows_the_change_of_the_authority() {
    let complex = Complex::new().await;
    complex.ca.rotate().unwrap();
    complex.session().await.unwrap();
    complex.later(70);
    assert_eq!(complex.renewal().await.renewed_total, 1);
    complex.ca.retire(1).unwrap();
    complex.session().await.unwrap();
    complex.later(80);
    assert_eq!(complex.renewal().await.renewed_total, 1);
    complex.session().await.unwrap();
}
