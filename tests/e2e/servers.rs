//! The database servers that tests start.

use sandan_tests::servers::{Server, plain, timescale};

#[test]
fn each_test_has_an_empty_database() {
    let (one, other) = (plain(), plain());
    one.sql("CREATE TABLE only_here (at int)");
    assert_eq!(one.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'only_here'"), "1");
    assert_eq!(other.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'only_here'"), "0");
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(one.sql(&format!("SHOW {setting}")), "on");
    }
}

#[test]
fn what_was_committed_outlives_a_crash() {
    let mut server = Server::start();
    let database = server.database();
    database.sql("CREATE TABLE kept (at int); INSERT INTO kept VALUES (7)");
    server.crash();
    assert!(!database.answers());
    server.resume();
    assert_eq!(database.sql("SELECT at FROM kept"), "7");
}

#[test]
fn timescale_starts_empty_each_time() {
    for _ in 0..2 {
        let database = timescale();
        database.sql("CREATE TABLE reading (ts timestamptz NOT NULL, value float8)");
        database.sql("SELECT create_hypertable('reading', by_range('ts'))");
        assert_eq!(database.sql("SELECT count(*) FROM timescaledb_information.hypertables"), "1");
    }
}

#[test]
fn a_server_that_is_dropped_is_gone() {
    let server = Server::start();
    let (database, directory) = (server.database(), server.directory().to_owned());
    assert!(database.answers());
    drop(server);
    assert!(!database.answers());
    assert!(!directory.exists());
}
