//! The deep check over files that are whole, and files that are not.

use super::super::verify::verify;
use super::slices::work;
use super::*;
use crate::store::conformance::{TestClock, coarse};
use crate::store::{Pass, Verified};
use crate::time::DAY_US;

/// A store with one firm's packed hours; nobody writes to it.
async fn packed(dir: &tempfile::TempDir) {
    let store = open(dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    work(&mut plant, &store, 0, 3).await;
    let readings = 3 * 4 * 360;
    assert_eq!(verify(dir.path(), &[]).unwrap(), Verified { readings, flaws: Vec::new() }, "it waits to be packed");
    store.compact(&plant.firm()).await.unwrap();
    assert_eq!(verify(dir.path(), &[]).unwrap(), Verified { readings, flaws: Vec::new() }, "while it is open");
    drop(store);
    assert_eq!(verify(dir.path(), &[]).unwrap(), Verified { readings, flaws: Vec::new() });
}

/// What is found after `sql` was run on the firm's file.
async fn after(sql: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    packed(&dir).await;
    let file = Connection::open(firm_file::path(dir.path(), 1)).unwrap();
    file.execute_batch(sql).unwrap();
    drop(file);
    let found = verify(dir.path(), &[]).unwrap().flaws;
    assert!(found.iter().all(|flaw| flaw.place.contains("firms/1.db") && !flaw.hint.is_empty()), "{found:?}");
    found.into_iter().map(|flaw| format!("{}: {}", flaw.place, flaw.what)).collect()
}

#[tokio::test]
async fn what_was_changed_behind_the_store_is_named() {
    for (sql, part) in [
        // The same length, and zeros where the times were.
        ("UPDATE chunk SET data = zeroblob(length(data)) WHERE id % 1048576 = 0", "block "),
        ("DELETE FROM chunk", "cannot be decoded: "),
        ("UPDATE block SET rows = rows - 1", "block "),
        ("UPDATE packed SET last_us = last_us + 1 WHERE series = 1", "of series 1: its times are not"),
        ("UPDATE slices SET newest_commit = newest_commit + 1", "do not come to what is noted"),
        ("UPDATE slices SET hold_us = hold_us / 1000000 + 1", "do not come to what is noted"),
        ("UPDATE newest SET longest_us = 0", "reads may not find it"),
        ("UPDATE slices SET packed = packed + 1000", "slices: "),
        ("UPDATE mark SET id = id + 1000000", "mark: it holds what came up to row"),
        ("UPDATE mark SET inbox = x'00'", "it is of another store"),
    ] {
        let found = after(sql).await;
        assert!(found.iter().any(|flaw| flaw.contains(part)), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn a_flipped_byte_of_values_shows_in_their_statistics() {
    let dir = tempfile::tempdir().unwrap();
    packed(&dir).await;
    let file = Connection::open(firm_file::path(dir.path(), 1)).unwrap();
    let (chunk, at, len): (i64, i64, i64) = file
        .query_row(
            "SELECT block * 1048576 + chunk, at + quality_bytes, data_bytes FROM packed WHERE series = 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    let mut data: Vec<u8> = file.query_row("SELECT data FROM chunk WHERE id = ?1", [chunk], |row| row.get(0)).unwrap();
    let middle = usize::try_from(at + len / 2).unwrap();
    data[middle] ^= 0x10;
    file.execute("UPDATE chunk SET data = ?2 WHERE id = ?1", params![chunk, data]).unwrap();
    drop(file);
    let found = verify(dir.path(), &[]).unwrap().flaws;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].place.contains("firms/1.db: block ") && found[0].place.ends_with("of series 1"), "{found:?}");
}

#[tokio::test]
async fn a_file_that_the_engine_cannot_read_is_named_and_the_others_are_read() {
    let dir = tempfile::tempdir().unwrap();
    packed(&dir).await;
    let other = dir.path().join("other.db");
    std::fs::write(&other, [7; 4_096]).unwrap();
    let found = verify(dir.path(), &[&other]).unwrap();
    assert!(found.readings > 0 && found.flaws[0].place.contains("other.db"), "{found:?}");
}

/// What is found after `sql` was run on a file of a store that has something of each kind.
async fn after_all(sql: &str, file: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::default();
    let store = SqliteReadings::open(dir.path(), Options { now: clock.now(), ..options() }).unwrap();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    coarse::work(&mut plant, &store, 0, 3).await;
    store.compact(&plant.firm()).await.unwrap();
    clock.advance(93 * DAY_US);
    store.retain(&plant.firm(), Pass::Apply).await.unwrap();
    // Behind its retention, but this store takes it; a column of no series is put aside.
    plant.deliver(&store, &[pressure(0, 1.0), (9, SECOND, Value::F64(1.0), Quality::GOOD)]).await;
    plant.lose(&store, 40 * SECOND, 50 * SECOND, 3).await;
    drop(store);
    assert_eq!(verify(dir.path(), &[]).unwrap(), Verified { readings: 1, flaws: Vec::new() });
    let conn = Connection::open(dir.path().join(file)).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    conn.execute_batch(sql).unwrap();
    drop(conn);
    let found = verify(dir.path(), &[]).unwrap().flaws;
    assert!(found.iter().all(|flaw| flaw.place.contains(file) && !flaw.hint.is_empty()), "{found:?}");
    found.into_iter().map(|flaw| format!("{}: {}", flaw.place, flaw.what)).collect()
}

#[tokio::test]
async fn damage_to_what_waits_and_to_what_retention_left_is_named() {
    let of_minutes = "SELECT stats FROM rollup WHERE series = 1 AND width_us = 60000000";
    let hours = format!("UPDATE rollup SET stats = ({of_minutes}) WHERE series = 2 AND width_us = 3600000000");
    for (file, sql, part) in [
        (
            "firms/1.db",
            "UPDATE rollup SET stats = x'07' WHERE series = 1",
            "minutes of 2026-11-23T00:00:00Z of series 1",
        ),
        ("firms/1.db", "UPDATE rollup SET last_us = last_us - 1", "its end is not what is noted"),
        ("firms/1.db", &hours, "do not come to what its minutes come to"),
        ("inbox.db", "UPDATE record SET payload = zeroblob(length(payload))", "record "),
        ("inbox.db", "UPDATE record SET readings = readings + 1", "not as many"),
        ("inbox.db", "UPDATE record SET first_us = first_us + 1", "not of the times"),
        ("inbox.db", "UPDATE record SET births = 999", "cannot be decoded"),
        ("inbox.db", "UPDATE lane SET through = through - 1", "a gap of it that is stored lies beyond"),
        ("inbox.db", "UPDATE lane SET through = 0", "would be stored again"),
        ("inbox.db", "DELETE FROM lane", "beyond the watermark of its lane"),
        ("inbox.db", "UPDATE gateway SET firm = 99", "its firm is not there"),
        ("inbox.db", "UPDATE gateway SET used = granted + 1", "never granted"),
        ("inbox.db", "DELETE FROM gateway", "the gateway that owns it is not there"),
        ("inbox.db", "DELETE FROM asset", "its asset is not in the catalogue"),
        ("inbox.db", "DELETE FROM version", "it has no version"),
        ("inbox.db", "DELETE FROM series", "its series is not in the catalogue"),
        ("inbox.db", "DELETE FROM dead_letter", "it has no reason"),
        ("inbox.db", "DELETE FROM dead_record", "its record is not there"),
    ] {
        let found = after_all(sql, file).await;
        assert!(found.iter().any(|flaw| flaw.contains(part)), "{sql}: {found:?}");
    }
}
