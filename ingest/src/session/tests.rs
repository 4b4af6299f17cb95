//! Sessions over loopback gRPC against a real store.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use sandan_proto::reading::{Quality, Value};
use sandan_proto::record::{Gap, GapCause, Moment};
use sandan_proto::v1::uplink_client::UplinkClient;
use sandan_proto::v1::{DeadLetterReason, gateway_frame, goodbye, ingest_frame};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;

use super::*;
use crate::fixture::{BOOTED_US, Plant, births, options, pressure, values};
use crate::store::{Released, SqliteReadings};

mod hostile;
mod limits;
mod records;

const SECOND: i64 = 1_000_000;

/// A certificate's key is its gateway's name, until all are revoked.
#[derive(Default)]
struct Certificates {
    revoked: AtomicBool,
    refused: Mutex<Vec<Denied>>,
}

#[async_trait]
impl GatewayAuth for Certificates {
    async fn admit(&self, leaf: Option<&Leaf>) -> Result<Result<GatewayId, Denied>, StoreError> {
        let Some(leaf) = leaf else { return Ok(Err(Denied::NoCertificate)) };
        let known = std::str::from_utf8(&leaf.key_der).ok().and_then(|name| GatewayId::new(name).ok());
        let Some(id) = known else { return Ok(Err(Denied::Unknown)) };
        Ok(if self.revoked.load(Ordering::SeqCst) { Err(Denied::Revoked(id)) } else { Ok(id) })
    }
    async fn in_force(&self) -> Result<HashMap<GatewayId, KeyHash>, StoreError> {
        if self.revoked.load(Ordering::SeqCst) {
            return Ok(HashMap::new());
        }
        let names = ["hanbit/press-hall", "daeil/line-1"];
        Ok(names.map(|name| (GatewayId::new(name).unwrap(), KeyHash::of(name.as_bytes()))).into())
    }
    async fn refused(&self, denied: &Denied) {
        self.refused.lock().unwrap().push(denied.clone());
    }
}

/// What TLS does on the way: the certificate that was shown stands beside the request.
async fn shown(mut request: axum::extract::Request) -> axum::extract::Request {
    if let Some(name) = request.headers().get("x-certificate") {
        let key_der = name.as_bytes().to_vec();
        let leaf = Leaf { key: KeyHash::of(&key_der), key_der, not_after_us: i64::MAX };
        request.extensions_mut().insert(Standing::of(Some(leaf)));
    }
    request
}

/// Writes down what the fleet is told.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn note(&self, event: String) {
        self.0.lock().unwrap().push(event);
    }
    fn events(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
    async fn wait_for(&self, event: &str) {
        while !self.events().iter().any(|seen| seen.starts_with(event)) {
            tokio::task::yield_now().await;
        }
    }
}

impl FleetEvents for Recorder {
    fn opened(&self, gateway: &GatewayId, _: u64, hello: &v1::Hello) {
        self.note(format!("opened {gateway} {}", hello.last_epoch));
    }
    fn health(&self, gateway: &GatewayId, health: v1::Health) {
        self.note(format!("health {gateway} {}", health.links.len()));
    }
    fn stored(&self, gateway: &GatewayId, newest_us: i64, readings: u64) {
        self.note(format!("stored {gateway} {} {readings}", newest_us - BOOTED_US));
    }
    fn fenced(&self, gateway: &GatewayId) {
        self.note(format!("fenced {gateway}"));
    }
    fn forked(&self, gateway: &GatewayId) {
        self.note(format!("forked {gateway}"));
    }
    fn dead_lettered(&self, gateway: &GatewayId, readings: u64) {
        self.note(format!("dead-lettered {gateway} {readings}"));
    }
    fn held_back(&self, gateway: &GatewayId) {
        self.note(format!("held back {gateway}"));
    }
    fn closed(&self, gateway: &GatewayId, _: u64, why: &Closed) {
        self.note(format!("closed {gateway} {why}"));
    }
}

struct Rig {
    store: Arc<SqliteReadings>,
    fleet: Arc<Recorder>,
    sessions: Arc<Sessions>,
    certificates: Arc<Certificates>,
    service: Service,
    shutdown: CancellationToken,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteReadings::open(dir.path(), options()).unwrap());
        let (fleet, sessions) = (Arc::new(Recorder::default()), Arc::new(Sessions::default()));
        let shutdown = CancellationToken::new();
        let mut settings = Settings {
            retention_us: 86_400 * SECOND,
            quotas: Arc::new(Quotas::new(Rate { readings: 1e6, bytes: 1e9 }, BTreeMap::new())),
            room: Arc::default(),
            now: Arc::new(|| BOOTED_US + 3_600 * SECOND),
            heartbeat: HEARTBEAT,
            hello_deadline: HELLO_DEADLINE,
            shutdown: shutdown.clone(),
        };
        change(&mut settings);
        let certificates = Arc::new(Certificates::default());
        let service = Service {
            store: store.clone(),
            auth: certificates.clone(),
            fleet: fleet.clone(),
            sessions: sessions.clone(),
            guard: Arc::default(),
            settings,
        };
        let shown = axum::middleware::map_request(shown);
        let routes = Routes::from(routes(service.clone()).into_axum_router().layer(shown));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server().add_routes(routes).serve_with_incoming(TcpListenerStream::new(listener)));
        Self { store, fleet, sessions, certificates, service, shutdown, address, dir }
    }

    async fn dial(&self, certificate: &str) -> Result<Wire, Status> {
        let mut client = UplinkClient::connect(format!("http://{}", self.address)).await.unwrap();
        self.dial_over(&mut client, certificate).await
    }

    async fn dial_over(
        &self,
        client: &mut UplinkClient<tonic::transport::Channel>,
        certificate: &str,
    ) -> Result<Wire, Status> {
        let (frames, queue) = mpsc::channel(256);
        let mut request = Request::new(ReceiverStream::new(queue));
        if !certificate.is_empty() {
            request.metadata_mut().insert("x-certificate", certificate.parse().unwrap());
        }
        let answers = client.session(request).await?.into_inner();
        Ok(Wire { frames, answers })
    }

    /// Says Hello for a plant.
    async fn hello(&self, plant: &Plant) -> Wire {
        let wire = self.dial(plant.gateway.as_str()).await.unwrap();
        wire.send(gateway_frame::Frame::Hello(hello(plant))).await;
        wire
    }

    /// A session with births and clock told, as a gateway that has all in order.
    async fn connect(&self, plant: &mut Plant) -> Wire {
        let mut wire = self.hello(plant).await;
        plant.epoch = wire.welcome().await.epoch;
        wire.send(gateway_frame::Frame::Births(plant.births.to_wire())).await;
        wire.send(clock(plant, BOOTED_US)).await;
        wire
    }
}

fn hello(plant: &Plant) -> v1::Hello {
    v1::Hello {
        gateway: plant.gateway.to_string(),
        boot_id: plant.boot.to_vec(),
        software_version: "0.1.0".into(),
        protocol_version: sandan_proto::PROTOCOL_VERSION,
        lanes: vec![v1::LaneState { lane: plant.lane.to_vec(), last_sealed: plant.sequence, ..Default::default() }],
        last_epoch: plant.epoch,
        ..Default::default()
    }
}

fn clock(plant: &Plant, offset_us: i64) -> gateway_frame::Frame {
    gateway_frame::Frame::Clock(v1::ClockOffset { boot_id: plant.boot.to_vec(), offset_us, source: 1 })
}

struct Wire {
    frames: mpsc::Sender<v1::GatewayFrame>,
    answers: Streaming<v1::IngestFrame>,
}

impl Wire {
    async fn send(&self, frame: gateway_frame::Frame) {
        self.frames.send(v1::GatewayFrame { frame: Some(frame) }).await.unwrap();
    }
    async fn sealed(&self, sealed: &sandan_proto::record::Sealed) {
        self.send(gateway_frame::Frame::Sealed(sealed.to_wire())).await;
    }
    async fn answer(&mut self) -> Result<Option<ingest_frame::Frame>, Status> {
        Ok(self.answers.message().await?.and_then(|frame| frame.frame))
    }
    async fn welcome(&mut self) -> v1::Welcome {
        match self.answer().await {
            Ok(Some(ingest_frame::Frame::Welcome(welcome))) => welcome,
            other => panic!("no welcome but {other:?}"),
        }
    }
    async fn ack(&mut self) -> v1::Ack {
        match self.answer().await {
            Ok(Some(ingest_frame::Frame::Ack(ack))) => ack,
            other => panic!("no ack but {other:?}"),
        }
    }
    /// Acks until a sequence is durable; the last of them, with all letters on the way.
    async fn ack_through(&mut self, sequence: u64) -> v1::Ack {
        let mut letters = Vec::new();
        loop {
            let mut ack = self.ack().await;
            letters.append(&mut ack.dead_letters);
            if ack.watermarks.iter().any(|mark| mark.durable_through >= sequence) {
                return v1::Ack { dead_letters: letters, ..ack };
            }
        }
    }
    async fn expected(&mut self) -> u64 {
        match self.answer().await {
            Ok(Some(ingest_frame::Frame::Expected(expected))) => expected.sequence,
            other => panic!("nothing expected but {other:?}"),
        }
    }
    async fn refused(mut self) -> Status {
        match self.answer().await {
            Err(status) => status,
            other => panic!("not refused but {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_record_is_stored_and_acknowledged() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.hello(&plant).await;
    let welcome = wire.welcome().await;
    assert_eq!((welcome.epoch, welcome.watermarks[0].durable_through), (1, 0));
    assert_eq!(welcome.server_time_us, BOOTED_US + 3_600 * SECOND);
    assert_eq!(welcome.heartbeat_ms, 10_000);
    assert_eq!(welcome.store_timeline, rig.store.timeline().to_vec());
    plant.epoch = 1;
    wire.send(gateway_frame::Frame::Births(plant.births.to_wire())).await;
    wire.send(clock(&plant, BOOTED_US)).await;
    for second in 0..5 {
        wire.sealed(&plant.seal(&[pressure(second * SECOND, second as f64)])).await;
    }
    let ack = wire.ack_through(5).await;
    assert_eq!((ack.stored, ack.duplicate, ack.dead_lettered), (5, 0, 0));
    assert_eq!(values(&*rig.store, plant.key(0)).await, [0.0, 1.0, 2.0, 3.0, 4.0]);
    wire.send(gateway_frame::Frame::Health(v1::Health {
        links: vec![v1::LinkHealth::default()],
        ..Default::default()
    }))
    .await;
    wire.send(gateway_frame::Frame::Goodbye(v1::Goodbye { reason: 1, detail: String::new() })).await;
    assert!(wire.answer().await.unwrap().is_none());
    let events = rig.fleet.events();
    assert_eq!(events.first().unwrap(), "opened hanbit/press-hall 0");
    assert!(events.contains(&"stored hanbit/press-hall 4000000 1".to_owned()), "{events:?}");
    assert!(events.contains(&"health hanbit/press-hall 1".to_owned()));
    rig.fleet.wait_for("closed hanbit/press-hall the gateway said goodbye: shutting down").await;
    assert_eq!(rig.store.metrics().sessions_open.get(), 0);
}

#[tokio::test]
async fn a_session_without_a_known_certificate_is_refused() {
    let rig = Rig::start().await;
    for (certificate, code) in [("", "no_certificate: "), ("Hanbit", "unknown_certificate: ")] {
        let status = rig.dial(certificate).await.err().unwrap();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().starts_with(code), "{status}");
    }
    assert_eq!(*rig.certificates.refused.lock().unwrap(), [Denied::NoCertificate, Denied::Unknown]);
}

/// As another process revokes it, or as a certificate ends that was not renewed.
#[tokio::test]
async fn a_session_whose_key_is_not_in_force_any_more_ends_within_a_second() {
    let rig = Rig::start().await;
    tokio::spawn(rig.service.guard.clone().run(rig.certificates.clone(), rig.sessions.clone()));
    let plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.hello(&plant).await;
    wire.welcome().await;
    let began = std::time::Instant::now();
    rig.certificates.revoked.store(true, Ordering::SeqCst);
    let Ok(Some(ingest_frame::Frame::Goodbye(goodbye))) = wire.answer().await else { panic!("no goodbye") };
    assert_eq!(goodbye.reason(), goodbye::Reason::Revoked);
    assert!(began.elapsed() < Duration::from_secs(1), "after {:?}", began.elapsed());
    let status = rig.dial("hanbit/press-hall").await.err().unwrap();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_hello_that_is_not_in_order_is_refused_by_name() {
    let rig = Rig::start().await;
    let plant = Plant::new("hanbit/press-hall", "press-1");
    let refused = async |change: fn(&mut v1::Hello)| {
        let mut hello = hello(&plant);
        change(&mut hello);
        let wire = rig.dial("hanbit/press-hall").await.unwrap();
        wire.send(gateway_frame::Frame::Hello(hello)).await;
        let status = wire.refused().await;
        (status.code(), status.message().to_owned())
    };
    let (code, message) = refused(|hello| hello.gateway = "hanbit/other".into()).await;
    assert_eq!(code, Code::PermissionDenied);
    assert_eq!(
        message,
        "wrong_gateway: the certificate belongs to hanbit/press-hall, not to the gateway that said Hello"
    );
    let named = GatewayId::new("hanbit/other").ok();
    let denied = Denied::WrongGateway { own: plant.gateway.clone(), named };
    assert_eq!(*rig.certificates.refused.lock().unwrap(), [denied]);
    let (code, message) = refused(|hello| hello.protocol_version = 2).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert_eq!(message, "protocol_version: the gateway speaks version 2, this ingest 1");
    let (code, message) = refused(|hello| hello.lanes = vec![v1::LaneState::default(); 65]).await;
    assert_eq!((code, message.as_str()), (Code::InvalidArgument, "protocol: 65 lanes, more than 64"));
    let (code, message) = refused(|hello| hello.lanes[0].lane.truncate(3)).await;
    assert_eq!((code, message.as_str()), (Code::InvalidArgument, "protocol: a lane id has 16 bytes, not 3"));
    let never: [fn(&mut v1::Hello); 2] =
        [|hello| hello.last_epoch = u64::MAX, |hello| hello.last_epoch = i64::MAX.cast_unsigned() - 1];
    for change in never {
        let (code, message) = refused(change).await;
        assert_eq!((code, message.as_str()), (Code::InvalidArgument, "protocol: an epoch that was never given"));
    }
    let wire = rig.dial("hanbit/press-hall").await.unwrap();
    wire.send(clock(&plant, 0)).await;
    assert_eq!(wire.refused().await.message(), "protocol: the first frame is not a Hello");
    assert!(rig.fleet.events().is_empty());
}

#[tokio::test]
async fn a_hello_that_does_not_come_ends_the_stream() {
    let rig = Rig::with(|settings| settings.hello_deadline = Duration::from_millis(1)).await;
    let wire = rig.dial("hanbit/press-hall").await.unwrap();
    let status = wire.refused().await;
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "protocol: no Hello came in time"));
}

#[tokio::test]
async fn a_silent_gateway_is_let_go() {
    let rig = Rig::with(|settings| settings.heartbeat = Duration::from_millis(300)).await;
    let plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.hello(&plant).await;
    wire.welcome().await;
    let status = wire.refused().await;
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "idle: no frame for 900ms"));
    rig.fleet.wait_for("closed hanbit/press-hall the gateway was silent for 900ms").await;
}

#[tokio::test]
async fn a_copied_spool_is_fenced_until_it_is_released() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    let copy_epoch = 0;
    // An epoch under which nothing came yet fences nobody.
    drop(wire);
    plant.epoch = copy_epoch;
    wire = rig.connect(&mut plant).await;
    wire.sealed(&plant.seal(&[pressure(0, 1.0)])).await;
    wire.ack_through(1).await;
    let live_epoch = std::mem::replace(&mut plant.epoch, copy_epoch);
    let status = rig.hello(&plant).await.refused().await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().starts_with("fenced: this spool last used epoch 0, its gateway epoch 2;"), "{status}");
    assert_eq!(rig.store.metrics().fenced.get(), 1);
    rig.fleet.wait_for("fenced hanbit/press-hall").await;
    let said = Closed::Fenced { named: 0, used: 2 }.to_string();
    assert_eq!(said, "the spool is a copy or an old state: it last used epoch 0, its gateway epoch 2");
    // The live session is not displaced by it.
    wire.sealed(&plant.seal(&[pressure(SECOND, 2.0)])).await;
    wire.ack_through(2).await;
    assert_eq!(rig.store.release(&plant.gateway).await.unwrap(), Released::NextHello);
    // Neither what the other copy goes on to send nor its next session takes the release back.
    wire.sealed(&plant.seal(&[pressure(2 * SECOND, 3.0)])).await;
    wire.ack_through(3).await;
    plant.epoch = live_epoch;
    wire = rig.connect(&mut plant).await;
    wire.sealed(&plant.seal(&[pressure(3 * SECOND, 4.0)])).await;
    wire.ack_through(4).await;
    let live_epoch = std::mem::replace(&mut plant.epoch, copy_epoch);
    let mut released = rig.hello(&plant).await;
    assert_eq!(released.welcome().await.epoch, live_epoch + 1);
    // It is for one copy: the other is fenced from now on, and so is any further one.
    for epoch in [live_epoch, copy_epoch] {
        (plant.epoch, plant.lane) = (epoch, sandan_proto::id::LaneId::random());
        let status = rig.hello(&plant).await.refused().await;
        assert!(status.message().starts_with("fenced: "), "{status}");
    }
    assert_eq!(rig.store.release(&GatewayId::new("hanbit/none").unwrap()).await.unwrap(), Released::NothingFenced);
}

#[tokio::test]
async fn a_newer_session_replaces_the_older_one() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut older = rig.connect(&mut plant).await;
    older.sealed(&plant.seal(&[pressure(0, 1.0)])).await;
    older.ack_through(1).await;
    let mut newer = rig.connect(&mut plant).await;
    match older.answer().await.unwrap() {
        Some(ingest_frame::Frame::Goodbye(goodbye)) => assert_eq!(goodbye.reason(), goodbye::Reason::Replaced),
        other => panic!("{other:?}"),
    }
    assert!(older.answer().await.unwrap().is_none());
    newer.sealed(&plant.seal(&[pressure(SECOND, 2.0)])).await;
    newer.ack_through(2).await;
    let closed = rig.fleet.events().iter().filter(|event| event.starts_with("closed")).count();
    assert_eq!(closed, 0, "the gateway still has a session");
}

#[tokio::test]
async fn a_session_can_be_ended_and_all_end_at_shutdown() {
    let rig = Rig::start().await;
    let mut plants = [Plant::new("hanbit/press-hall", "press-1"), Plant::new("daeil/line-1", "furnace-1")];
    let mut wires = Vec::new();
    for plant in &mut plants {
        wires.push(rig.connect(plant).await);
    }
    assert!(rig.sessions.end(&plants[0].gateway, goodbye::Reason::Revoked));
    assert!(!rig.sessions.end(&plants[0].gateway, goodbye::Reason::Revoked));
    rig.shutdown.cancel();
    for (wire, reason) in wires.iter_mut().zip([goodbye::Reason::Revoked, goodbye::Reason::Shutdown]) {
        match wire.answer().await.unwrap() {
            Some(ingest_frame::Frame::Goodbye(goodbye)) => assert_eq!(goodbye.reason(), reason),
            other => panic!("{other:?}"),
        }
        assert!(wire.answer().await.unwrap().is_none());
    }
    rig.fleet.wait_for("closed hanbit/press-hall").await;
    rig.fleet.wait_for("closed daeil/line-1").await;
}

#[tokio::test]
async fn a_gateway_that_is_revoked_before_the_hello_opens_no_session() {
    let rig = Rig::start().await;
    let plant = Plant::new("hanbit/press-hall", "press-1");
    let wire = rig.dial("hanbit/press-hall").await.unwrap();
    // As a revocation does it: there is no session yet that it could end.
    rig.certificates.revoked.store(true, Ordering::SeqCst);
    assert!(!rig.sessions.end(&plant.gateway, goodbye::Reason::Revoked));
    wire.send(gateway_frame::Frame::Hello(hello(&plant))).await;
    let status = wire.refused().await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().starts_with("revoked: hanbit/press-hall was revoked"), "{status}");
    let closed = "closed hanbit/press-hall the ingest ended the session: the gateway's certificate is not in force";
    rig.fleet.wait_for(closed).await;
}

#[tokio::test]
async fn the_end_waits_for_neither_a_hello_nor_a_reader() {
    let rig = Rig::start().await;
    let wire = rig.dial("hanbit/press-hall").await.unwrap();
    rig.shutdown.cancel();
    let status = wire.refused().await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "shutdown: the ingest is shutting down; try again")
    );

    let (out, _unread) = mpsc::channel(1);
    let mut session = stream::Session::new(&rig.service, GatewayId::new("hanbit/annex").unwrap(), 1, Vec::new(), out);
    let frame = || ingest_frame::Frame::Ack(v1::Ack::default());
    assert!(session.send(frame()).await.is_ok(), "there is room for it");
    assert!(matches!(session.send(frame()).await, Err(stream::End::Gone(Closed::Ended("shutting down")))));
}
