//! A store that goes on from an older state.

use super::*;
use crate::consent::Status;
use crate::id::ConsentId;
use crate::store::conformance::control::{add_firms, by, grant};
use crate::store::control::{Control, Undone};

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
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.db");
    let control = SqliteControl::open(&path).unwrap();
    add_firms(&control).await;
    control.apply(grant(ConsentId::random()), by()).await.unwrap();
    drop(control);
    let behind = rusqlite::Connection::open(&path).unwrap();
    let before = "DROP TABLE dead_key; DROP TABLE invitation; DROP TABLE witnessed; ALTER TABLE consent DROP COLUMN suspended_us;
        DROP TABLE agreement; DROP TABLE firm_group; DROP TABLE officer_link; DROP TABLE alliance; DROP TABLE run; DROP TABLE quota_use;
        DROP TABLE browser; DROP TABLE password; DROP TABLE contact; DROP TABLE care; DROP TABLE alerting;
        ALTER TABLE firm DROP COLUMN closed_us; ALTER TABLE firm DROP COLUMN officers; ALTER TABLE firm DROP COLUMN house_rule;
        ALTER TABLE member DROP COLUMN role; ALTER TABLE member DROP COLUMN until_us; ALTER TABLE operator DROP COLUMN role;
        PRAGMA user_version = 1;";
    behind.execute_batch(before).unwrap();
    drop(behind);
    let control = SqliteControl::open(&path).unwrap();
    assert_eq!(control.consents().await.unwrap()[0].status, Status::Active);
    assert!(!control.is_witnessed().await.unwrap());
    let restored = Restored { why: "a test".into(), timeline: "t".into(), revocations: Revocations::default() };
    let undone = control.after_restore(restored, by()).await.unwrap();
    assert_eq!(undone, Undone { suspended: 1, revoked: 0 });
}
