use super::*;
use crate::servers;
use crate::store::postgres::Settings;

async fn connected(database: &servers::Database) -> Database {
    Database::connect(Settings::of(database.dsn().parse().unwrap())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_may_start_at_once() {
    let server = servers::plain();
    let starts = (0..4).map(|_| async {
        let process = connected(&server).await;
        process.migrate().await.unwrap();
    });
    futures::future::join_all(starts).await;
    assert_eq!(connected(&server).await.layout().await.unwrap(), newest());
    assert_eq!(server.sql("SELECT count(*) FROM layout"), MIGRATIONS.len().to_string());
}

/// What a crash or a wrong step leaves behind is the layout before it.
#[tokio::test]
async fn a_step_that_fails_leaves_nothing_and_is_done_again() {
    let server = servers::plain();
    let database = connected(&server).await;
    let whole = [
        Migration { number: 1, name: "first", sql: "CREATE TABLE first (it int)" },
        Migration { number: 2, name: "second", sql: "CREATE TABLE second (it int)" },
    ];
    let broken = Migration { sql: "CREATE TABLE second (it int); SELECT 1/0", ..whole[1] };
    let failed = database.migrate_through(&[whole[0], broken]).await.unwrap_err();
    assert_eq!(failed.to_string(), "the database cannot be brought to layout 2 (second)");
    assert_eq!(database.layout().await.unwrap(), 1);
    assert_eq!(server.sql("SELECT to_regclass('second') IS NULL"), "t");
    database.migrate_through(&whole).await.unwrap();
    assert_eq!(database.layout().await.unwrap(), 2);
}

#[tokio::test]
async fn a_layout_of_a_newer_build_is_refused_by_name() {
    let server = servers::plain();
    let database = connected(&server).await;
    assert_eq!(database.layout().await.unwrap(), 0);
    database.migrate().await.unwrap();
    database.refuse_newer().await.unwrap();
    server.sql("INSERT INTO layout (number, name, build) VALUES (999, 'of tomorrow', '9.0.0')");
    for refused in [database.migrate().await.unwrap_err(), database.refuse_newer().await.unwrap_err()] {
        let known = newest();
        let expected = format!("has layout 999, this build knows up to {known}\n  hint: start the newer build again");
        assert!(refused.to_string().ends_with(&expected), "{refused}");
    }
}

#[test]
fn steps_are_numbered_without_a_hole_and_named_by_their_number() {
    for (at, step) in MIGRATIONS.iter().enumerate() {
        assert_eq!(step.number, i32::try_from(at).unwrap() + 1);
        assert!(step.name.starts_with(&format!("{:04}_", step.number)), "{}", step.name);
    }
}
