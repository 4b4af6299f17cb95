use super::*;
use crate::audit::{Kind, Verifier};
use crate::consent::Role;
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

/// Groups of two processes, each with chains that the other one locks too and in another order,
/// and changes that lock two chains: none waits for the other for good, and no number is given twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_write_groups_at_once_keep_one_chain() {
    const EACH: i64 = 100;
    let place = servers::plain();
    let (one, other) = (connected(&place).await, connected(&place).await);
    add_firms(&one).await;
    let chains = ["saesol", "@complex", "neither-has-begun", "hanbit"].map(|name| name.parse::<Chain>().unwrap());
    let write = async |control: &PostgresControl, of: &str, turn: usize| {
        let entry = |number: i64| {
            let chain = chains[(usize::try_from(number).unwrap() * turn) % chains.len()].clone();
            control.append(Draft::new(chain, Kind::ReadStarted, of).with("number", number), 2_000)
        };
        futures::future::join_all((0..EACH).map(entry)).await
    };
    let erase = |id: &str| Change::EraseFirm { id: firm(id), held: crate::store::Holdings::default() };
    let (first, second, erased, too) = tokio::join!(
        write(&one, "one", 1),
        write(&other, "other", 3),
        one.apply(erase("hanbit"), by()),
        other.apply(erase("saesol"), by()),
    );
    assert!(erased.is_ok() && too.is_ok(), "{erased:?} {too:?}");
    let written: Vec<_> = first.into_iter().chain(second).map(Result::unwrap).collect();
    let mut entries = 0;
    for chain in &chains {
        let mut verifier = Verifier::new(chain.clone());
        let stored = one.audit(chain, 0, 1_000).await.unwrap();
        for entry in &stored {
            verifier.take(entry).unwrap();
        }
        verifier.finish(&other.audit_head(chain).await.unwrap()).unwrap();
        entries += stored.len();
        assert!(written.iter().filter(|entry| entry.chain == *chain).all(|entry| stored.contains(entry)));
    }
    // Two firms, and of each its end, which the complex notes too.
    assert_eq!(entries, written.len() + 2 + 4);
}

/// Whoever waits while the server dies gets an error, whether or not the group got through; what
/// was answered is there, and the chain goes on behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_before_a_crash_is_there_and_the_rest_were_errors() {
    let mut server = servers::Server::start();
    let place = server.database();
    let control = connected(&place).await;
    let chain: Chain = "hanbit".parse().unwrap();
    let (told, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let writers: Vec<_> = (0..16)
        .map(|writer: i64| {
            let (control, chain, told) = (control.clone(), chain.clone(), told.clone());
            tokio::spawn(async move {
                loop {
                    let draft = Draft::new(chain.clone(), Kind::ReadStarted, "somebody").with("writer", writer);
                    match control.append(draft, 2_000).await {
                        Ok(entry) => told.send(entry).unwrap(),
                        Err(error) => return error,
                    }
                }
            })
        })
        .collect();
    drop(told);
    let mut answered = Vec::new();
    while answered.len() < 200 {
        answered.push(answers.recv().await.unwrap());
    }
    server.crash();
    while let Some(entry) = answers.recv().await {
        answered.push(entry);
    }
    for writer in writers {
        let error = writer.await.unwrap();
        assert!(error.is_away(), "{error:?}");
    }
    server.resume();
    let next = control.append(Draft::new(chain.clone(), Kind::ReadStarted, "somebody"), 3_000).await.unwrap();
    let stored = control.audit(&chain, 0, 100_000).await.unwrap();
    assert!(answered.iter().all(|entry| stored.contains(entry)));
    assert_eq!(stored.last(), Some(&next));
    let mut verifier = Verifier::new(chain);
    assert!(stored.iter().all(|entry| verifier.take(entry).is_ok()));
}

/// The same of an agreement: whoever took it away, the other process decides without it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agreement_that_one_process_ended_is_ended_for_the_other() {
    let place = servers::plain();
    let (one, other) = (connected(&place).await, connected(&place).await);
    add_firms(&one).await;
    let agreed = crate::store::conformance::sharing::agree(&one, None).await;
    let hanbit = firm("hanbit");
    let before = other.snapshot(&hanbit, 0).await.unwrap();
    assert_eq!((before.epoch(), before.grants()), (1, &[agreed.grant().unwrap()][..]));
    let change = crate::store::control::SharingChange::SaveAgreement {
        before: Some(Box::new(agreed.clone())),
        after: Box::new(agreed.revoked_before(2_000)),
        event: crate::consent::Event::Revoked,
        actor: crate::store::conformance::sharing::actor(1, "hanbit", Role::DataOfficer),
        coordinator: None,
    };
    one.apply(change.into(), by()).await.unwrap();
    assert_eq!(other.epoch(&hanbit).await.unwrap(), 2);
    let status = other.snapshot(&hanbit, 0).await.unwrap().grants()[0].status;
    assert_eq!(status, crate::consent::Status::Revoked { at_us: 2_000 });
}

/// What the builds before stored stays, and means what it meant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_and_consents_of_layout_3_stay_what_they_were() {
    use crate::store::postgres::migrate::MIGRATIONS;
    let place = servers::plain();
    let database = Database::connect(Settings::of(place.dsn().parse().unwrap())).await.unwrap();
    database.migrate_through(&MIGRATIONS[..3]).await.unwrap();
    place.sql(&crate::store::conformance::sharing::of_layout_3(|hex| format!("'\\x{hex}'")));
    database.migrate().await.unwrap();
    crate::store::conformance::sharing::assert_layout_3_stays(&PostgresControl::new(database)).await;
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
