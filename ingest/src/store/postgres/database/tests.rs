use super::*;
use crate::servers;

fn settings(dsn: &str) -> Settings {
    Settings::of(dsn.parse().unwrap())
}

#[tokio::test]
async fn a_server_says_what_it_is() {
    let server = servers::plain();
    let database = Database::connect(settings(server.dsn())).await.unwrap();
    assert!(database.facts().number >= OLDEST && database.facts().timescale.is_none());
    let client = database.client().await.unwrap();
    let commit: String = client.query_one("SHOW synchronous_commit", &[]).await.unwrap().get(0);
    assert_eq!(commit, "on");
}

#[tokio::test]
async fn the_extension_is_seen() {
    let server = servers::timescale();
    let database = Database::connect(settings(server.dsn())).await.unwrap();
    let timescale = database.facts().timescale.clone().unwrap();
    assert!(timescale.version.starts_with("2."), "{timescale:?}");
    assert_eq!(timescale.license, "timescale");
}

#[tokio::test]
async fn a_database_that_would_lose_what_it_acknowledged_is_refused() {
    let server = servers::plain();
    server
        .sql("ALTER DATABASE :\"DBNAME\" SET synchronous_commit = off".replace(":\"DBNAME\"", &name(&server)).as_str());
    let refused = Database::connect(settings(server.dsn())).await.unwrap_err();
    assert!(refused.to_string().contains("`synchronous_commit` is off"), "{refused}");
}

fn name(database: &servers::Database) -> String {
    database.sql("SELECT current_database()")
}

#[tokio::test]
async fn who_is_away_is_named_without_the_password() {
    let nobody = settings("host=127.0.0.1 port=1 user=sandan password=secret dbname=sandan");
    assert_eq!(nobody.shown(), "sandan@127.0.0.1:1/sandan");
    let refused = Database::connect(nobody.clone()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the database sandan@127.0.0.1:1/sandan cannot be reached");
    assert!(!format!("{refused:?}{nobody:?}").contains("secret"));
}

#[tokio::test]
async fn authorities_that_are_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, "nothing").unwrap();
    let with = Settings { ca_file: Some(path), ..settings("host=127.0.0.1 user=sandan") };
    let refused = Database::connect(with).await.unwrap_err();
    assert!(refused.to_string().ends_with("it holds no certificate"), "{refused}");
}
