//! The deep check over files that are whole, and files that are not.

use super::super::verify::verify;
use super::slices::work;
use super::*;
use crate::store::Verified;

/// A store with one firm's packed hours; nobody writes to it.
async fn packed(dir: &tempfile::TempDir) {
    let store = open(dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    work(&mut plant, &store, 0, 3).await;
    assert_eq!(verify(dir.path(), &[]).unwrap(), Verified::default(), "nothing is packed yet");
    store.compact(&plant.firm()).await.unwrap();
    let readings = 3 * 4 * 360;
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
