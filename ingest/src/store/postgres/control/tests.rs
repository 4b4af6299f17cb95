use super::*;
use crate::servers;
use crate::store::conformance::control::{ControlEngine, add_firms, by, conform_control, firm, grant};
use crate::store::postgres::Settings;

/// A database of its own.
struct Own<const TIMESCALE: bool> {
    control: PostgresControl,
    place: servers::Database,
}

async fn connected(place: &servers::Database) -> PostgresControl {
    let database = Database::connect(Settings::of(place.dsn().parse().unwrap())).await.unwrap();
    database.migrate().await.unwrap();
    PostgresControl::new(database)
}

impl<const TIMESCALE: bool> ControlEngine for Own<TIMESCALE> {
    async fn new() -> Self {
        let make = if TIMESCALE { servers::timescale } else { servers::plain };
        let place = tokio::task::spawn_blocking(make).await.unwrap();
        Self { control: connected(&place).await, place }
    }

    fn control(&self) -> &dyn Control {
        &self.control
    }

    async fn reopen(&mut self) {
        self.control = connected(&self.place).await;
    }

    async fn behind(&self, sql: &str) {
        self.place.sql(sql);
    }
}

mod plain {
    super::conform_control!(super::Own<false>);
}

mod timescale {
    super::conform_control!(super::Own<true>);
}

/// What one process withdrew, the other one sees in its next question.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_see_each_others_changes_and_share_the_chains() {
    let place = servers::plain();
    let (one, other) = (connected(&place).await, connected(&place).await);
    add_firms(&one).await;
    let id = crate::id::ConsentId::random();
    one.apply(grant(id), by()).await.unwrap();
    assert_eq!(other.epoch(&firm("hanbit")).await.unwrap(), 1);
    let revoke = || Change::Revoke { id, grantor: firm("hanbit"), grantee: firm("saesol") };
    let (first, second) = tokio::join!(one.apply(revoke(), by()), other.apply(revoke(), by()));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    for control in [&one, &other] {
        assert_eq!(control.epoch(&firm("hanbit")).await.unwrap(), 2);
        assert_eq!(control.audit_head(&Chain::Firm(firm("hanbit"))).await.unwrap().number, 3);
    }
}

/// A database that was away is used again as soon as it is back; what was done stays done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashed_is_used_again() {
    let mut server = servers::Server::start();
    let place = server.database();
    let control = connected(&place).await;
    add_firms(&control).await;
    server.crash();
    let away = control.firms().await.unwrap_err();
    assert_eq!(away.to_string(), "the control data could not be reached");
    server.resume();
    assert_eq!(control.firms().await.unwrap().len(), 2);
}
