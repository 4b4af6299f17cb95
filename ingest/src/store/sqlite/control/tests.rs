use super::*;
use crate::auth::{Secret, TokenKind};
use crate::consent::{AccessWindow, EventWindow, RECORD_VERSION, SharedForm, Terms};
use crate::id::{ConsentId, MemberId, OperatorId};

pub(super) fn firm(id: &str) -> FirmId {
    FirmId::new(id).unwrap()
}

pub(super) fn by() -> Stamp {
    Stamp { actor: "command line".into(), now_us: 1_000 }
}

pub(super) async fn with_firms() -> (tempfile::TempDir, SqliteControl) {
    let dir = tempfile::tempdir().unwrap();
    let control = SqliteControl::open(&dir.path().join("control.db")).unwrap();
    for id in ["hanbit", "saesol"] {
        let it = Firm { id: firm(id), name_ko: "한빛".into(), name_en: id.into() };
        control.apply(Change::AddFirm(it), by()).await.unwrap();
    }
    (dir, control)
}

pub(super) fn grant(id: ConsentId) -> Change {
    Change::Grant {
        id,
        grantor: firm("hanbit"),
        grantee: firm("saesol"),
        terms: Terms {
            version: RECORD_VERSION,
            assets: ["press-1".parse().unwrap()].into(),
            metrics: ["press_force".parse().unwrap()].into(),
            form: SharedForm::Raw,
            event: EventWindow { from_us: None, to_us: None },
            access: AccessWindow { not_before_us: 0, until_us: 9_000 },
        },
    }
}

#[tokio::test]
async fn a_token_finds_its_principal_until_it_is_revoked() {
    let (_dir, control) = with_firms().await;
    let id = OperatorId::random();
    let token = Secret::mint(TokenKind::Operator).unwrap().hash();
    let add = Change::AddOperator { id, name: "관제실".into(), token: token.clone() };
    control.apply(add, by()).await.unwrap();
    let (stored, principal) = control.principal(&token).await.unwrap().unwrap();
    assert!(stored.matches(&token));
    assert_eq!(principal, Principal::Operator(id));
    control.apply(Change::RevokeOperator(id), by()).await.unwrap();
    assert!(control.principal(&token).await.unwrap().is_none());
    let again = control.apply(Change::RevokeOperator(id), by()).await.unwrap_err();
    assert_eq!(again.to_string(), format!("operator `{id}` is revoked already"));
}

fn gateway_id() -> GatewayId {
    GatewayId::new("hanbit/gw").unwrap()
}

fn invite(token: &TokenHash, added: bool, replace: bool) -> Change {
    Change::InviteGateway { id: gateway_id(), token: token.clone(), expires_us: 5_000, added, replace }
}

fn certified(key: &str) -> Certified {
    Certified {
        id: gateway_id(),
        key: KeyHash::of(key.as_bytes()),
        serial: "4a".into(),
        certificate: vec![1, 2],
        not_after_us: 90_000,
        issuer: [7; 32],
    }
}

/// A key is a gateway's from its enrolment until the next one or its revocation, and never again.
#[tokio::test]
async fn an_invitation_opens_one_enrolment_and_a_replaced_key_is_dead() {
    let (_dir, control) = with_firms().await;
    let apply = async |change| control.apply(change, by()).await;
    let tokens = ["a", "b", "c"].map(TokenHash::of);
    apply(invite(&tokens[0], true, false)).await.unwrap();
    apply(invite(&tokens[1], false, false)).await.unwrap();
    let enrol = |token: &TokenHash, key| Change::EnrolGateway {
        token: token.clone(),
        certified: certified(key),
        replaced: false,
    };
    // A newer invitation ends the older one.
    assert!(matches!(apply(enrol(&tokens[0], "k1")).await, Err(ControlError::Spent)));
    apply(enrol(&tokens[1], "k1")).await.unwrap();
    assert!(matches!(apply(enrol(&tokens[1], "k2")).await, Err(ControlError::Spent)));
    let invitation = control.invitation(&tokens[1]).await.unwrap().unwrap();
    assert_eq!((invitation.used, invitation.released), (Some(certified("k1")), false));
    let key = certified("k1").key;
    assert_eq!(control.keys_in_force(89_999).await.unwrap(), [(gateway_id(), key)].into());
    assert!(control.keys_in_force(90_000).await.unwrap().is_empty());

    apply(Change::RevokeGateway(gateway_id())).await.unwrap();
    assert!(control.keys_in_force(0).await.unwrap().is_empty());
    assert!(matches!(apply(Change::RenewGateway(certified("k1"))).await, Err(ControlError::Revoked { .. })));
    apply(invite(&tokens[2], false, true)).await.unwrap();
    assert!(control.holder(&key).await.unwrap().unwrap().revoked_us.is_some(), "an invitation alone lets nobody in");
    apply(enrol(&tokens[2], "k3")).await.unwrap();
    assert!(!control.holder(&key).await.unwrap().unwrap().current);
    assert_eq!(control.keys_in_force(0).await.unwrap(), [(gateway_id(), certified("k3").key)].into());
    apply(Change::RenewGateway(Certified { not_after_us: 180_000, ..certified("k3") })).await.unwrap();
    assert_eq!(control.gateways().await.unwrap()[0].not_after_us, Some(180_000));
}

/// An installation of layout 1 keeps what it has; its gateways are invited anew.
#[tokio::test]
async fn layout_1_becomes_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("layout_1.sql")).unwrap();
    drop(old);
    let control = SqliteControl::open(&path).unwrap();
    let gateways = control.gateways().await.unwrap();
    let known: Vec<_> =
        gateways.iter().map(|it| (it.id.as_str(), it.added_us, it.revoked_us, it.enrolled_us)).collect();
    assert_eq!(known, [("hanbit/gw", 10, None, None), ("hanbit/old", 11, Some(12), None)]);
    control.apply(invite(&TokenHash::of("a"), false, false), by()).await.unwrap();
    let (new, dump) =
        (SqliteControl::open(&dir.path().join("new.db")).unwrap(), "SELECT name FROM sqlite_schema ORDER BY name");
    let names = async |control: &SqliteControl| {
        control.read(move |tx| rows(tx, dump, [], |row| Ok(row.get::<_, String>(0)?))).await.unwrap()
    };
    assert_eq!(names(&control).await, names(&new).await);
}

#[tokio::test]
async fn each_grant_and_revocation_raises_the_grantors_epoch_and_is_logged_with_it() {
    let (dir, control) = with_firms().await;
    let id = ConsentId::random();
    control.apply(grant(id), by()).await.unwrap();
    assert_eq!((control.epoch(&firm("hanbit")).await.unwrap(), control.epoch(&firm("saesol")).await.unwrap()), (1, 0));
    let revoke = Change::Revoke { id, grantor: firm("hanbit"), grantee: firm("saesol") };
    control.apply(revoke.clone(), by()).await.unwrap();
    // Twice is an error and changes nothing.
    assert!(matches!(control.apply(revoke, by()).await, Err(ControlError::Revoked { .. })));
    drop(control);
    let control = SqliteControl::open(&dir.path().join("control.db")).unwrap();
    let snapshot = control.snapshot(&firm("hanbit")).await.unwrap();
    assert_eq!((snapshot.epoch, snapshot.consents.len()), (2, 1));
    assert_eq!(snapshot.consents[0].status, Status::Revoked { at_us: 1_000 });
    let chain = Chain::Firm(firm("hanbit"));
    let log = control.audit(&chain, 0, 10).await.unwrap();
    let kinds: Vec<_> = log.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::FirmAdded, Kind::ConsentGranted, Kind::ConsentRevoked]);
    let mut verifier = crate::audit::Verifier::new(chain.clone());
    for entry in &log {
        verifier.take(entry).unwrap();
    }
    verifier.finish(&control.audit_head(&chain).await.unwrap()).unwrap();
}

#[tokio::test]
async fn what_is_missing_or_there_already_is_said_and_leaves_no_entry() {
    let (_dir, control) = with_firms().await;
    let token = Secret::mint(TokenKind::Member).unwrap().hash();
    let member =
        |of| Change::AddMember {
            id: MemberId::random(), firm: firm(of), name: "김하늘".into(), token: token.clone()
        };
    let missing = control.apply(member("nobody"), by()).await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no firm `nobody`");
    assert_eq!(control.audit_head(&Chain::Firm(firm("nobody"))).await.unwrap(), Head::EMPTY);
    let twice = Change::AddFirm(Firm { id: firm("hanbit"), name_ko: "x".into(), name_en: "x".into() });
    assert_eq!(control.apply(twice, by()).await.unwrap_err().to_string(), "firm `hanbit` exists already");
    control.apply(member("hanbit"), by()).await.unwrap();
    assert_eq!(control.members().await.unwrap()[0].name, "김하늘");
}

#[tokio::test]
async fn a_changed_row_is_found_by_the_chain_and_unknown_terms_are_kept_as_unknown() {
    let (dir, control) = with_firms().await;
    control.apply(grant(ConsentId::random()), by()).await.unwrap();
    let raw = Connection::open(dir.path().join("control.db")).unwrap();
    raw.execute("UPDATE audit SET actor = 'nobody' WHERE chain = 'hanbit' AND number = 1", []).unwrap();
    raw.execute("UPDATE consent SET terms = json_set(terms, '$.purpose', 'research')", []).unwrap();
    let chain = Chain::Firm(firm("hanbit"));
    let log = control.audit(&chain, 0, 10).await.unwrap();
    let broken = crate::audit::Verifier::new(chain).take(&log[0]).unwrap_err();
    assert_eq!(broken, crate::audit::Broken::Changed { number: 1 });
    assert_eq!(control.snapshot(&firm("hanbit")).await.unwrap().consents[0].terms, StoredTerms::Unknown);
}
