//! Commands against a data directory, by themselves and through the socket.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sandan_proto::id::FirmId;
use sandan_proto::invitation::Invitation;
use sandan_proto::v1::{self, gateway_frame, ingest_frame, uplink_client::UplinkClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

mod database;
mod export;
mod upkeep;

use super::*;
use crate::admin::{Answer, Command, Grant};
use crate::audit::{Chain, Verifier};
use crate::ca::fixture::Device;
use crate::consent::{EventWindow, SharedForm, Status};
use crate::fixture::{BOOTED_US, Plant, pressure};
use crate::store::control::Firm;
use crate::time::{SECOND_US, system_clock};

fn config(dir: &std::path::Path) -> Config {
    let text = "complex = \"c\"\ndata_dir = \"data\"\n";
    Config::parse(&dir.join("ingest.toml"), text).unwrap()
}

fn firm(id: &str) -> FirmId {
    FirmId::new(id).unwrap()
}

fn add(id: &str) -> Command {
    Command::FirmAdd(Firm { id: firm(id), name_ko: "한빛금형".into(), name_en: "Hanbit".into() })
}

/// Every command once, as it is meant to be used.
async fn happy_path(door: &mut Door) {
    for id in ["hanbit", "saesol"] {
        assert_eq!(door.execute(add(id)).await.unwrap(), Answer::Done);
    }
    let Answer::Firms(firms) = door.execute(Command::FirmList).await.unwrap() else { panic!() };
    assert_eq!(firms.len(), 2);

    let gateway = "hanbit/press-hall".parse().unwrap();
    let id = || Clone::clone(&gateway);
    let invite = |replace| Command::GatewayInvite { id: id(), life_us: 60 * 60 * SECOND_US, replace };
    let first = door.execute(invite(false)).await.unwrap();
    let Answer::Invited(invited) = &first else { panic!("{first:?}") };
    assert_eq!(Invitation::parse(&invited.invitation).unwrap().gateway, gateway);
    let Answer::Gateways(gateways) = door.execute(Command::GatewayList).await.unwrap() else { panic!() };
    assert_eq!(gateways[0].entry.id, gateway);
    let nothing = door.execute(Command::GatewayRelease { id: id() }).await.unwrap_err();
    assert!(nothing.message.starts_with("nothing to release"), "{nothing}");
    assert_eq!(door.execute(Command::GatewayRevoke { id: id() }).await.unwrap(), Answer::Done);
    let twice = door.execute(Command::GatewayRevoke { id: id() }).await.unwrap_err();
    assert_eq!(twice.message, "gateway `hanbit/press-hall` is revoked already");
    // A box that was lost is replaced under its name.
    let again = door.execute(invite(false)).await.unwrap_err();
    assert!(again.hint.starts_with("--replace invites a new box"), "{again}");
    assert!(door.execute(invite(true)).await.unwrap() != first);
    let Answer::Authorities(made) = door.execute(Command::CaRotate).await.unwrap() else { panic!() };
    assert_eq!((made.len(), made[0].number), (1, 2));
    let kept = door.execute(Command::CaRetire { number: 1, force: false }).await.unwrap_err();
    assert!(kept.message.starts_with("an invitation names it until "), "{kept}");
    let newest = door.execute(Command::CaRetire { number: 2, force: true }).await.unwrap_err();
    assert_eq!(newest.message, "there is no older certificate authority 2 that could be retired");
    assert_eq!(door.execute(Command::CaRetire { number: 1, force: true }).await.unwrap(), Answer::Done);
    let Answer::Authorities(left) = door.execute(Command::CaList).await.unwrap() else { panic!() };
    assert_eq!(left, made);

    let token = door
        .execute(Command::MemberAdd {
            firm: firm("saesol"),
            name: "김하늘".into(),
            role: crate::consent::Role::Member,
            until_us: None,
        })
        .await
        .unwrap();
    assert!(matches!(token, Answer::Line(token) if token.starts_with("smb_")));
    let Answer::Members(members) = door.execute(Command::MemberList).await.unwrap() else { panic!() };
    assert_eq!(door.execute(Command::MemberRevoke { id: members[0].id }).await.unwrap(), Answer::Done);

    let token = door
        .execute(Command::OperatorAdd { name: "관제실".into(), role: crate::consent::Role::Operator })
        .await
        .unwrap();
    assert!(matches!(token, Answer::Line(token) if token.starts_with("sop_")));
    let Answer::Operators(operators) = door.execute(Command::OperatorList).await.unwrap() else { panic!() };
    assert_eq!(door.execute(Command::OperatorRevoke { id: operators[0].id }).await.unwrap(), Answer::Done);

    let grant = Grant {
        grantor: firm("hanbit"),
        grantee: firm("saesol"),
        assets: ["press-1".parse().unwrap()].into(),
        metrics: ["press_force".parse().unwrap()].into(),
        form: SharedForm::Raw,
        event: EventWindow { from_us: None, to_us: None },
        not_before_us: None,
        until_us: i64::MAX,
    };
    let private = Grant { metrics: ["x_alarm".parse().unwrap()].into(), ..grant.clone() };
    let refused = door.execute(Command::ConsentGrant(private)).await.unwrap_err();
    assert!(refused.message.contains("`x_alarm` begins with `x_`"), "{refused}");
    assert_eq!(refused.hint, "");
    let past = Grant { until_us: SECOND_US, ..grant.clone() };
    let refused = door.execute(Command::ConsentGrant(past)).await.unwrap_err();
    assert_eq!(refused.message, "`until` lies in the past: 1970-01-01T00:00:01Z");
    let empty = Grant { assets: [].into(), ..grant.clone() };
    let refused = door.execute(Command::ConsentGrant(empty)).await.unwrap_err();
    assert!(refused.hint.starts_with("an empty term means no"), "{refused}");
    let granted = door.execute(Command::ConsentGrant(grant)).await.unwrap();
    let Answer::Granted { id, notes } = granted else { panic!("{granted:?}") };
    let unheard_of = ["asset `press-1`", "metric `press_force`"].map(|it| format!("hanbit has no series of {it} yet"));
    assert_eq!(notes, unheard_of);
    let Answer::Consents(consents) = door.execute(Command::ConsentList).await.unwrap() else { panic!() };
    assert_eq!((consents.len(), consents[0].id), (1, id));
    assert_eq!(door.execute(Command::ConsentRevoke { id }).await.unwrap(), Answer::Done);
    let Answer::Consent(consent) = door.execute(Command::ConsentShow { id }).await.unwrap() else { panic!() };
    assert!(matches!(consent.status, Status::Revoked { .. }));

    let chain = Chain::Firm(firm("hanbit"));
    let page = Command::AuditPage { chain: chain.clone(), after: 0 };
    let Answer::Audit(entries) = door.execute(page).await.unwrap() else { panic!() };
    let page = Command::AuditPage { chain: chain.clone(), after: entries.last().unwrap().number };
    let Answer::Audit(read) = door.execute(page).await.unwrap() else { panic!() };
    assert_eq!(read.iter().map(|entry| entry.kind).collect::<Vec<_>>(), [crate::audit::Kind::LogRead]);
    let mut verifier = Verifier::new(chain.clone());
    for entry in entries.iter().chain(&read) {
        verifier.take(entry).unwrap();
    }
    let Answer::AuditHolds(head) = door.execute(Command::AuditVerify { chain }).await.unwrap() else { panic!() };
    assert_eq!(verifier.finish(&head), Ok(head));
    let operators = Command::AuditVerify { chain: Chain::Complex };
    assert!(matches!(door.execute(operators).await.unwrap(), Answer::AuditHolds(_)));
    let nobodys = Command::AuditPage { chain: Chain::Firm(firm("nobody")), after: 0 };
    assert_eq!(door.execute(nobodys).await.unwrap_err().message, "there is no audit log of `nobody`");
}

#[tokio::test]
async fn every_command_works_without_a_service() {
    let dir = tempfile::tempdir().unwrap();
    let mut door = Door::open(&config(dir.path())).await.unwrap();
    happy_path(&mut door).await;
    let link = door.execute(Command::OperatorLink { id: None }).await.unwrap_err();
    assert_eq!(link.message, "a link is of a running service");
    door.close().await;
}

#[tokio::test]
async fn a_link_that_no_browser_could_call_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let parts =
        Parts::open(&config(dir.path()), data_dir::open(&config(dir.path())).await.unwrap().unwrap()).await.unwrap();
    let admin = parts.admin(
        Arc::default(),
        Some(Running { sessions: crate::auth::Sessions::new(parts.stores.control.clone()), console_url: None }),
        None,
    );
    let refused = admin.execute(Command::OperatorLink { id: None }).await.unwrap_err();
    assert!(refused.hint.contains("`public_url`"), "{refused}");
}

#[tokio::test]
async fn every_command_works_through_the_socket_of_a_running_service() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let parts = Parts::open(&config, data_dir::open(&config).await.unwrap().unwrap()).await.unwrap();
    let running = Running {
        sessions: crate::auth::Sessions::new(parts.stores.control.clone()),
        console_url: Some("http://127.0.0.1:1".into()),
    };
    let admin = Arc::new(parts.admin(Arc::default(), Some(running), config.uplink.public_at(config.uplink.address)));
    let path = config.data_dir.join(socket::NAME);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(socket::serve(socket::bind(&path).unwrap(), admin, stop.clone()));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&config.data_dir)), (0o600, 0o700));

    let mut door = Door::open(&config).await.unwrap();
    happy_path(&mut door).await;
    let Answer::Line(link) = door.execute(Command::OperatorLink { id: None }).await.unwrap() else { panic!() };
    assert!(link.starts_with("http://127.0.0.1:1/sign-in?link=sln_"), "{link}");
    let page = Command::AuditPage { chain: Chain::Complex, after: 0 };
    let Answer::Audit(log) = door.execute(page).await.unwrap() else { panic!() };
    assert_eq!(log.last().map(|it| it.kind), Some(crate::audit::Kind::LinkMade));
    let report = check(&config, false).await.unwrap();
    assert!(report.in_use && report.counts.contains(&("firms", 2)), "{report:?}");
    assert_eq!(report.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["control.db", "inbox.db"]);
    let deep = check(&config, true).await.unwrap().deep.unwrap();
    assert_eq!(deep.flaws, [], "while a service runs on it");
    let forecast = report.forecast.unwrap();
    assert!(forecast.growth.is_none() && forecast.room_bytes > 0, "{forecast:?}");
    assert_eq!(forecast.backup_bytes, report.files.iter().map(|file| file.bytes).sum::<u64>());

    stop.cancel();
    serving.await.unwrap();
    drop(door);
    // Nobody listens any more, but the lock is still held.
    let refused = Door::open(&config).await.err();
    assert!(matches!(refused, Some(RunError::InUse(_))), "{refused:?}");
    drop(parts);
    assert!(Door::open(&config).await.is_ok());
}

#[test]
fn what_packing_may_take_is_what_the_engine_takes_by_itself() {
    let usual = data_dir::shares(crate::config::Packing::default());
    assert_eq!(usual, crate::store::sqlite::Shares::default());
}

#[tokio::test]
async fn looking_before_the_first_start_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let report = check(&config, false).await.unwrap();
    assert!(!report.in_use && report.files.is_empty() && report.counts.is_empty());
    assert_eq!(report.forecast, None);
    assert_eq!(check(&config, true).await.unwrap().deep, Some(crate::store::Verified::default()));
    assert!(!config.data_dir.exists());
}

#[tokio::test]
async fn after_a_start_the_console_knows_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let parts = Parts::open(&config, data_dir::open(&config).await.unwrap().unwrap()).await.unwrap();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let admin = parts.admin(Arc::default(), None, config.uplink.public_at(config.uplink.address));
    admin.execute(add("hanbit")).await.unwrap();
    let invite = Command::GatewayInvite { id: plant.gateway.clone(), life_us: 60 * SECOND_US, replace: false };
    admin.execute(invite).await.unwrap();
    plant.connect(&*parts.stores.readings).await;
    plant.deliver(&*parts.stores.readings, &[pressure(SECOND_US, 1.0)]).await;
    plant.deliver(&*parts.stores.readings, &[pressure(0, 1.0)]).await;
    drop((admin, parts));
    let parts = Parts::open(&config, data_dir::open(&config).await.unwrap().unwrap()).await.unwrap();
    parts.recall().await.unwrap();
    assert_eq!(parts.fleet.views().0[0].newest_us, Some(BOOTED_US + SECOND_US));
}

/// One request on a connection of its own; status and body.
async fn get(http: SocketAddr, target: &str, header: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(http).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n{header}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A gateway's side of a session.
struct Wire {
    frames: mpsc::Sender<v1::GatewayFrame>,
    answers: tonic::Streaming<v1::IngestFrame>,
}

impl Wire {
    async fn open(uplink: SocketAddr, device: &Device) -> Self {
        let mut client = UplinkClient::new(device.channel(uplink).await);
        let (frames, queue) = mpsc::channel(16);
        let answers = client.session(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { frames, answers }
    }
    async fn send(&self, frame: gateway_frame::Frame) {
        self.frames.send(v1::GatewayFrame { frame: Some(frame) }).await.unwrap();
    }
    async fn answer(&mut self) -> Option<ingest_frame::Frame> {
        self.answers.message().await.unwrap().and_then(|frame| frame.frame)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_from_its_start_over_a_pull_to_its_end() {
    a_whole_life("").await;
}

/// Gateway → session → store → access → API and console, and an orderly end.
async fn a_whole_life(store: &str) {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "complex = \"c\"\ndata_dir = \"data\"\n[uplink]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n{store}"
    );
    let config = Arc::new(Config::parse(&dir.path().join("ingest.toml"), &text).unwrap());
    let (end, ended) = oneshot::channel();
    let (say, ready) = oneshot::channel();
    let serving = {
        let config = config.clone();
        tokio::spawn(async move {
            let ending = async { ended.await.unwrap_or("dropped") };
            serve_until(&config, ending, |ready| say.send(ready).unwrap()).await
        })
    };
    let Ready { uplink, http } = ready.await.unwrap();
    assert_eq!(get(http, "/healthz", "").await, (200, "ok".to_owned()));

    let mut door = Door::open(&config).await.unwrap();
    let said = async |door: &mut Door, command| match door.execute(command).await.unwrap() {
        Answer::Line(line) => line,
        other => panic!("{other:?}"),
    };
    door.execute(add("hanbit")).await.unwrap();
    let gateway = "hanbit/press-hall".parse().unwrap();
    let invite = Command::GatewayInvite { id: Clone::clone(&gateway), life_us: 60 * SECOND_US, replace: false };
    let Answer::Invited(invited) = door.execute(invite).await.unwrap() else { panic!() };
    let authority = CertificateDer::from_pem_file(config.data_dir.join("ca/1.pem")).unwrap();
    let mut device = Device::new(&[authority]);
    device.enroll(uplink, &invited.invitation).await.unwrap();
    let member = said(
        &mut door,
        Command::MemberAdd {
            firm: firm("hanbit"),
            name: "김하늘".into(),
            role: crate::consent::Role::Member,
            until_us: None,
        },
    )
    .await;

    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = Wire::open(uplink, &device).await;
    let hello = v1::Hello {
        gateway: plant.gateway.to_string(),
        boot_id: plant.boot.to_vec(),
        protocol_version: sandan_proto::PROTOCOL_VERSION,
        lanes: vec![v1::LaneState { lane: plant.lane.to_vec(), ..Default::default() }],
        ..Default::default()
    };
    wire.send(gateway_frame::Frame::Hello(hello.clone())).await;
    assert!(matches!(wire.answer().await, Some(ingest_frame::Frame::Welcome(_))));
    wire.send(gateway_frame::Frame::Births(plant.births.to_wire())).await;
    let offset_us = system_clock()() - 100 * SECOND_US;
    let clock = v1::ClockOffset { boot_id: plant.boot.to_vec(), offset_us, source: 1 };
    wire.send(gateway_frame::Frame::Clock(clock)).await;
    let readings: Vec<_> = (0..20).map(|at| pressure(at * SECOND_US, 8_675_309.5 + at as f64)).collect();
    wire.send(gateway_frame::Frame::Sealed(plant.seal(&readings).to_wire())).await;
    match wire.answer().await {
        Some(ingest_frame::Frame::Ack(ack)) => assert_eq!((ack.stored, ack.dead_lettered), (20, 0)),
        other => panic!("no ack but {other:?}"),
    }

    let bearer = format!("Authorization: Bearer {member}");
    let pull = "/v1/readings?firm=hanbit&asset=press-1&metric=pressure&from=now-1h";
    let (status, page) = get(http, pull, &bearer).await;
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(
        (status, page["readings"].as_array().unwrap().len(), &page["next"]),
        (200, 20, &serde_json::Value::Null)
    );
    let (status, csv) = get(http, &format!("{pull}&format=csv"), &bearer).await;
    assert_eq!((status, csv.matches(",press-1,pressure,MPa,86753").count()), (200, 20), "{csv}");

    let link = said(&mut door, Command::OperatorLink { id: None }).await;
    let mut stream = tokio::net::TcpStream::connect(http).await.unwrap();
    let target = link.strip_prefix(&format!("http://{http}")).unwrap();
    let form = target.strip_prefix("/sign-in?").unwrap();
    let head = "POST /sign-in/link HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{form}", form.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let cookie = answer.split("set-cookie: ").nth(1).unwrap().split(';').next().unwrap();
    let (status, console) = get(http, "/?lang=en", &format!("Cookie: {cookie}")).await;
    assert_eq!(status, 200);
    assert!(
        console.contains("hanbit/press-hall") && console.contains("online") && !console.contains("86753"),
        "{console}"
    );

    // A copy of its spool is refused, and let in once it is released; what is not refused
    // cannot be released, and then nothing is in the log.
    let release = || Command::GatewayRelease { id: Clone::clone(&gateway) };
    let refused = door.execute(release()).await.unwrap_err();
    assert!(refused.message.ends_with("was not refused since it was last let in"), "{refused}");
    let unknown = Command::GatewayRelease { id: "hanbit/none".parse().unwrap() };
    assert_eq!(door.execute(unknown).await.unwrap_err().message, "there is no gateway `hanbit/none`");
    let mut copy = Wire::open(uplink, &device).await;
    copy.send(gateway_frame::Frame::Hello(hello.clone())).await;
    let told = copy.answers.message().await.unwrap_err();
    assert!(told.message().starts_with("fenced: "), "{told}");
    let Answer::Gateways(gateways) = door.execute(Command::GatewayList).await.unwrap() else { panic!() };
    assert!(gateways[0].fenced);
    let (_, console) = get(http, "/?lang=en", &format!("Cookie: {cookie}")).await;
    assert!(console.contains("`sandan-ingest gateway release hanbit/press-hall`"), "{console}");
    assert_eq!(door.execute(release()).await.unwrap(), Answer::Done);
    assert!(door.execute(release()).await.is_err(), "once is enough");
    let chain = Chain::Firm(firm("hanbit"));
    let Answer::Audit(log) = door.execute(Command::AuditPage { chain, after: 0 }).await.unwrap() else { panic!() };
    assert_eq!(log.iter().filter(|it| it.kind == crate::audit::Kind::GatewayReleased).count(), 1);
    let mut copy = Wire::open(uplink, &device).await;
    copy.send(gateway_frame::Frame::Hello(hello)).await;
    assert!(matches!(copy.answer().await, Some(ingest_frame::Frame::Welcome(_))));
    let mut wire = copy;

    // A gateway that is revoked is told to go, and is gone from the page.
    door.execute(Command::GatewayRevoke { id: gateway }).await.unwrap();
    let goodbye = wire.answer().await;
    assert!(
        matches!(&goodbye, Some(ingest_frame::Frame::Goodbye(it)) if it.reason() == v1::goodbye::Reason::Revoked),
        "{goodbye:?}"
    );
    assert!(!get(http, "/?lang=en", &format!("Cookie: {cookie}")).await.1.contains("hanbit/press-hall"));

    // Whoever says nothing does not hold up the end.
    let _silent = tokio::net::TcpStream::connect(uplink).await.unwrap();
    end.send("the test is over").unwrap();
    serving.await.unwrap().unwrap();
    assert!(!config.data_dir.join(socket::NAME).exists());
    assert!(
        matches!(door.execute(Command::FirmList).await, Err(refused) if refused.message.contains("did not answer"))
    );
    // Nothing holds the directory any more.
    let mut door = Door::open(&config).await.unwrap();
    assert!(matches!(door.execute(Command::FirmList).await, Ok(Answer::Firms(firms)) if firms.len() == 1));
}

#[tokio::test]
async fn a_gateway_that_was_refused_can_be_released_while_no_service_runs() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let id = || plant.gateway.clone();
    let mut door = Door::open(&config).await.unwrap();
    door.execute(add("hanbit")).await.unwrap();
    let invite = Command::GatewayInvite { id: id(), life_us: 60 * SECOND_US, replace: false };
    door.execute(invite).await.unwrap();
    door.close().await;
    let gateway = id();
    {
        let stores = data_dir::open(&config).await.unwrap().unwrap();
        plant.connect(&*stores.readings).await;
        plant.deliver(&*stores.readings, &[pressure(0, 1.0)]).await;
        let copy = [sandan_proto::id::LaneId::random()];
        let refused = stores.readings.open_session(&gateway, 0, &copy).await.unwrap();
        assert!(matches!(refused, crate::store::Opening::Fenced { .. }), "{refused:?}");
    }
    let mut door = Door::open(&config).await.unwrap();
    let Answer::Gateways(gateways) = door.execute(Command::GatewayList).await.unwrap() else { panic!() };
    assert!(gateways[0].fenced, "it is known after a restart");
    let release = || Command::GatewayRelease { id: gateway.clone() };
    assert_eq!(door.execute(release()).await.unwrap(), Answer::Done);
    assert!(door.execute(release()).await.is_err(), "once is enough");
    door.close().await;
    let stores = data_dir::open(&config).await.unwrap().unwrap();
    let let_in = stores.readings.open_session(&gateway, 0, &[]).await.unwrap();
    assert!(matches!(let_in, crate::store::Opening::Granted { .. }), "{let_in:?}");
}
