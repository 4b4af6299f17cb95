//! A store that goes on from an older state.

use super::super::tests::{by, firm, grant, with_firms};
use super::*;
use crate::auth::{Secret, TokenHash, TokenKind};
use crate::consent::Status;
use crate::id::MemberId;
use crate::store::control::{Change, Control};

fn at(now_us: i64) -> Stamp {
    Stamp { now_us, ..by() }
}

fn restored(revocations: Revocations) -> Restored {
    Restored { why: "a test".into(), timeline: "t".into(), revocations }
}

fn token(of: TokenKind) -> TokenHash {
    Secret::mint(of).unwrap().hash()
}

#[tokio::test]
async fn every_consent_waits_for_its_grantor_and_what_was_withdrawn_stays_so() {
    let (_dir, control) = with_firms().await;
    let ids = [ConsentId::random(), ConsentId::random(), ConsentId::random()];
    for id in ids {
        control.apply(grant(id), by()).await.unwrap();
    }
    let revoke = |id| Change::Revoke { id, grantor: firm("hanbit"), grantee: firm("saesol") };
    control.apply(revoke(ids[0]), by()).await.unwrap();
    let (member, operator) = (MemberId::random(), OperatorId::random());
    let (members, operators) = (token(TokenKind::Member), token(TokenKind::Operator));
    let add = Change::AddMember { id: member, firm: firm("saesol"), name: "김하늘".into(), token: members.clone() };
    control.apply(add, by()).await.unwrap();
    let add = Change::AddOperator { id: operator, name: "관제실".into(), token: operators.clone() };
    control.apply(add, by()).await.unwrap();
    let witness = Revocations {
        consents: [(ids[1], 2_000), (ConsentId::random(), 2_000)].into(),
        members: [(member, 2_000)].into(),
        operators: [(operator, 2_000)].into(),
        ..Revocations::default()
    };
    let epoch = control.epoch(&firm("hanbit")).await.unwrap();
    let undone = control.after_restore(restored(witness.clone()), at(3_000)).await.unwrap();
    assert_eq!(undone, Undone { suspended: 1, revoked: 3 });
    let status = control.consents().await.unwrap().into_iter().map(|it| it.status).collect::<Vec<_>>();
    let expected =
        [Status::Revoked { at_us: 1_000 }, Status::Revoked { at_us: 2_000 }, Status::Suspended { since_us: 3_000 }];
    assert_eq!(status, expected);
    assert!(control.epoch(&firm("hanbit")).await.unwrap() > epoch, "open reads decide anew");
    assert!(control.principal(&members).await.unwrap().is_none());
    assert!(control.principal(&operators).await.unwrap().is_none());
    let testimony = control.testimony().await.unwrap();
    assert_eq!(testimony.revocations.consents, [(ids[0], 1_000), (ids[1], 2_000)].into());
    assert_eq!(testimony.revocations.members, witness.members);
    for chain in ["hanbit", "saesol", "@complex"].map(|it| it.parse::<Chain>().unwrap()) {
        let log = control.audit(&chain, 0, 100).await.unwrap();
        assert_eq!(log.last().map(|entry| entry.kind), Some(Kind::StoreRestored), "{chain}");
        assert_eq!(testimony.heads[&chain], log.last().unwrap().head());
    }
    let again = control.after_restore(restored(witness), at(4_000)).await.unwrap();
    assert_eq!(again, Undone::default());
}

#[tokio::test]
async fn a_suspended_consent_is_confirmed_once_and_a_revoked_one_never() {
    let (_dir, control) = with_firms().await;
    let id = ConsentId::random();
    control.apply(grant(id), by()).await.unwrap();
    let confirm = Change::Confirm { id, grantor: firm("hanbit"), grantee: firm("saesol") };
    let refused = control.apply(confirm.clone(), by()).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("consent `{id}` is not suspended"));
    control.after_restore(restored(Revocations::default()), by()).await.unwrap();
    let epoch = control.epoch(&firm("hanbit")).await.unwrap();
    control.apply(confirm.clone(), by()).await.unwrap();
    assert_eq!(control.consents().await.unwrap()[0].status, Status::Active);
    assert_eq!(control.epoch(&firm("hanbit")).await.unwrap(), epoch + 1);
    let chain = Chain::Firm(firm("hanbit"));
    let log = control.audit(&chain, 0, 100).await.unwrap();
    assert_eq!(log.last().map(|entry| entry.kind), Some(Kind::ConsentConfirmed));
    assert!(matches!(control.apply(confirm.clone(), by()).await, Err(ControlError::NotSuspended { .. })));
    control.after_restore(restored(Revocations::default()), by()).await.unwrap();
    control.apply(Change::Revoke { id, grantor: firm("hanbit"), grantee: firm("saesol") }, by()).await.unwrap();
    assert!(matches!(control.apply(confirm, by()).await, Err(ControlError::Revoked { .. })));
}

#[test]
fn of_two_times_of_a_revocation_the_later_stays_and_nothing_is_forgotten() {
    let gateway = |name: &str| sandan_proto::id::GatewayId::new(name).unwrap();
    let mut known = Revocations { gateways: [(gateway("a/b"), 5), (gateway("a/c"), 5)].into(), ..Default::default() };
    let more = Revocations { gateways: [(gateway("a/b"), 9), (gateway("a/d"), 1)].into(), ..Default::default() };
    known.join(&more);
    assert_eq!(known.gateways, [(gateway("a/b"), 9), (gateway("a/c"), 5), (gateway("a/d"), 1)].into());
    known.join(&Revocations::default());
    assert_eq!(known.gateways.len(), 3);
}

#[tokio::test]
async fn a_store_of_the_layout_before_is_brought_up_and_its_consents_stay_in_force() {
    let (dir, control) = with_firms().await;
    control.apply(grant(ConsentId::random()), by()).await.unwrap();
    drop(control);
    let path = dir.path().join("control.db");
    let behind = rusqlite::Connection::open(&path).unwrap();
    let before = "DROP TABLE dead_key; DROP TABLE invitation; DROP TABLE witnessed; ALTER TABLE consent DROP COLUMN suspended_us; PRAGMA user_version = 1;";
    behind.execute_batch(before).unwrap();
    drop(behind);
    let control = SqliteControl::open(&path).unwrap();
    assert_eq!(control.consents().await.unwrap()[0].status, Status::Active);
    assert!(!control.is_witnessed().await.unwrap());
    let undone = control.after_restore(restored(Revocations::default()), by()).await.unwrap();
    assert_eq!(undone, Undone { suspended: 1, revoked: 0 });
}
