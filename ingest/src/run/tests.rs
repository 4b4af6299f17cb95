//! Commands against a data directory, by themselves and through the socket.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use sandan_proto::id::FirmId;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::admin::{Answer, Command, Grant};
use crate::audit::{Chain, Verifier};
use crate::consent::{EventWindow, SharedForm, Status};
use crate::store::control::Firm;

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
    let token = door.execute(Command::GatewayAdd { id: id() }).await.unwrap();
    assert!(matches!(token, Answer::Line(token) if token.starts_with("sgw_") && token.len() == 68));
    let Answer::Gateways(gateways) = door.execute(Command::GatewayList).await.unwrap() else { panic!() };
    assert_eq!(gateways[0].id, gateway);
    assert_eq!(door.execute(Command::GatewayRelease { id: id() }).await.unwrap(), Answer::Done);
    assert_eq!(door.execute(Command::GatewayRevoke { id: id() }).await.unwrap(), Answer::Done);
    let twice = door.execute(Command::GatewayRevoke { id: id() }).await.unwrap_err();
    assert_eq!(twice.message, "gateway `hanbit/press-hall` is revoked already");

    let token = door.execute(Command::MemberAdd { firm: firm("saesol"), name: "김하늘".into() }).await.unwrap();
    assert!(matches!(token, Answer::Line(token) if token.starts_with("smb_")));
    let Answer::Members(members) = door.execute(Command::MemberList).await.unwrap() else { panic!() };
    assert_eq!(door.execute(Command::MemberRevoke { id: members[0].id }).await.unwrap(), Answer::Done);

    let token = door.execute(Command::OperatorAdd { name: "관제실".into() }).await.unwrap();
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
    assert!(refused.message.contains("`x_alarm` is the firm's own metric"), "{refused}");
    let Answer::Line(id) = door.execute(Command::ConsentGrant(grant)).await.unwrap() else { panic!() };
    let id = id.parse().unwrap();
    let Answer::Consents(consents) = door.execute(Command::ConsentList).await.unwrap() else { panic!() };
    assert_eq!((consents.len(), consents[0].id), (1, id));
    assert_eq!(door.execute(Command::ConsentRevoke { id }).await.unwrap(), Answer::Done);
    let Answer::Consent(consent) = door.execute(Command::ConsentShow { id }).await.unwrap() else { panic!() };
    assert!(matches!(consent.status, Status::Revoked { .. }));

    let chain = Chain::Firm(firm("hanbit"));
    let page = Command::AuditPage { chain: chain.clone(), after: 0 };
    let Answer::Audit(entries) = door.execute(page).await.unwrap() else { panic!() };
    let mut verifier = Verifier::new(chain.clone());
    for entry in &entries {
        verifier.take(entry).unwrap();
    }
    let Answer::AuditHolds(head) = door.execute(Command::AuditVerify { chain }).await.unwrap() else { panic!() };
    assert_eq!(verifier.finish(&head), Ok(head));
    let operators = Command::AuditVerify { chain: Chain::Complex };
    assert!(matches!(door.execute(operators).await.unwrap(), Answer::AuditHolds(_)));
}

#[tokio::test]
async fn every_command_works_without_a_service() {
    let dir = tempfile::tempdir().unwrap();
    let mut door = Door::open(&config(dir.path())).await.unwrap();
    happy_path(&mut door).await;
    let link = door.execute(Command::OperatorLink).await.unwrap_err();
    assert_eq!(link.message, "a link is of a running service");
    door.close().await;
}

#[tokio::test]
async fn every_command_works_through_the_socket_of_a_running_service() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let parts = Parts::open(data_dir::open(&config).unwrap().unwrap()).await.unwrap();
    let running = Running { sessions: Arc::default(), console_url: "http://127.0.0.1:1".into() };
    let admin = Arc::new(parts.admin(Arc::default(), Some(running)));
    let path = config.data_dir.join(socket::NAME);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(socket::serve(socket::bind(&path).unwrap(), admin, stop.clone()));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&config.data_dir)), (0o600, 0o700));

    let mut door = Door::open(&config).await.unwrap();
    happy_path(&mut door).await;
    let Answer::Line(link) = door.execute(Command::OperatorLink).await.unwrap() else { panic!() };
    assert!(link.starts_with("http://127.0.0.1:1/sign-in?link=sln_"), "{link}");
    let report = check(&config).await.unwrap();
    assert!(report.in_use && report.counts.contains(&("firms", 2)), "{report:?}");
    assert_eq!(report.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["control.db", "inbox.db"]);

    stop.cancel();
    serving.await.unwrap();
    drop(door);
    // Nobody listens any more, but the lock is still held.
    let refused = Door::open(&config).await.err();
    assert!(matches!(refused, Some(RunError::InUse(_))), "{refused:?}");
    drop(parts);
    assert!(Door::open(&config).await.is_ok());
}

#[tokio::test]
async fn looking_before_the_first_start_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let report = check(&config).await.unwrap();
    assert!(!report.in_use && report.files.is_empty() && report.counts.is_empty());
    assert!(!config.data_dir.exists());
}
