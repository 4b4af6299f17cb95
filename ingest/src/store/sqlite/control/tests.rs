use super::*;
use crate::auth::{Secret, TokenKind};
use crate::consent::{AccessWindow, EventWindow, RECORD_VERSION, SharedForm, Terms};
use crate::id::{ConsentId, MemberId};

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
    let id = GatewayId::new("hanbit/gw").unwrap();
    let token = Secret::mint(TokenKind::Gateway).unwrap().hash();
    control.apply(Change::AddGateway { id: id.clone(), token: token.clone() }, by()).await.unwrap();
    let (stored, principal) = control.principal(&token).await.unwrap().unwrap();
    assert!(stored.matches(&token));
    assert_eq!(principal, Principal::Gateway(id.clone()));
    control.apply(Change::RevokeGateway(id.clone()), by()).await.unwrap();
    assert!(control.principal(&token).await.unwrap().is_none());
    let again = control.apply(Change::RevokeGateway(id), by()).await.unwrap_err();
    assert_eq!(again.to_string(), "gateway `hanbit/gw` is revoked already");
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
