//! Small and late columns that become full ones.

use std::sync::atomic::{AtomicI64, Ordering};

use super::slices::{HOUR, asked, buckets, work};
use super::*;
use crate::consent::Grid;
use crate::store::StoredReading;
use crate::store::sqlite::compact::Work;

fn count(dir: &tempfile::TempDir, what: &str) -> i64 {
    let file = Connection::open(firm_file::path(dir.path(), 1)).unwrap();
    file.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

/// Packs what waits, and leaves it as it is packed.
async fn pack(store: &SqliteReadings) {
    store.alone(|shared, inbox| compact::compact_firm(shared, inbox, 1)).await.unwrap();
}

/// Hours of work packed by the hour, one of them late, with records between them that share times.
async fn scattered(plant: &mut Plant, store: &SqliteReadings) {
    for hour in [0, 1, 2, 4, 5, 6, 7, 3, 8, 9, 10, 11] {
        work(plant, store, hour, hour + 1).await;
        pack(store).await;
    }
    for _ in 0..3 {
        unruly(plant, store).await;
        pack(store).await;
    }
}

async fn raw(store: &SqliteReadings, plant: &Plant, cursor: Option<ReadCursor>) -> (Vec<StoredReading>, i64) {
    let permit = whole_day(plant.keys());
    let (mut all, mut cursor, mut as_of) = (Vec::new(), cursor, 0);
    loop {
        let chunk = store.read(&permit, cursor, 1_000).await.unwrap();
        let Rows::Raw(rows) = chunk.rows else { panic!("not raw") };
        all.extend(rows);
        (cursor, as_of) = (chunk.next, as_of.max(chunk.as_of));
        if cursor.is_none() {
            return (all, as_of);
        }
    }
}

/// Every reading with its commit, and what the hours come to.
async fn said(store: &SqliteReadings, plant: &Plant) -> (Vec<String>, Vec<String>) {
    let (readings, _) = raw(store, plant, None).await;
    let hours = buckets(store, &asked(plant, Grid::Fixed { width_us: HOUR }, 0, 12 * HOUR), 1_000).await;
    (words(&readings), hours.iter().map(|hour| format!("{hour:?}")).collect())
}

/// By their debug form, in which what is no number is itself.
fn words(readings: &[StoredReading]) -> Vec<String> {
    readings.iter().map(|reading| format!("{reading:?}")).collect()
}

#[tokio::test]
async fn what_is_put_together_says_the_same_with_the_same_commits() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    scattered(&mut plant, &store).await;
    let before = said(&store, &plant).await;
    let columns = count(&dir, "packed");
    store.compact(&plant.firm()).await.unwrap();
    assert!(store.metrics().merged_readings.get() > 0);
    assert!(count(&dir, "packed") * 4 < columns, "{} of {columns}", count(&dir, "packed"));
    assert_eq!(count(&dir, "chunk"), count(&dir, "block"), "nothing is left behind");
    assert_eq!(count(&dir, "slices WHERE packed NOT IN (SELECT id FROM packed)"), 0);
    assert_eq!(count(&dir, "block WHERE id NOT IN (SELECT block FROM packed)"), 0);
    assert!(said(&store, &plant).await == before);
    // Nothing is left to do, and nothing is done again.
    let merged = store.metrics().merged_readings.get();
    store.compact(&plant.firm()).await.unwrap();
    assert_eq!(store.metrics().merged_readings.get(), merged);
    let readings: i64 = Connection::open(firm_file::path(dir.path(), 1))
        .unwrap()
        .query_row("SELECT sum(readings) FROM newest", [], |row| row.get(0))
        .unwrap();
    assert_eq!(readings, before.0.len() as i64);
}

#[tokio::test]
async fn pages_go_on_as_of_their_commit_while_columns_are_put_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    scattered(&mut plant, &store).await;
    for first in [1, 500, 4_321] {
        let (before, as_of) = raw(&store, &plant, None).await;
        let chunk = store.read(&whole_day(plant.keys()), None, first).await.unwrap();
        // Late ones, packed and put together with what the page has begun to give.
        work(&mut plant, &store, 2, 3).await;
        let merged = store.metrics().merged_readings.get();
        store.compact(&plant.firm()).await.unwrap();
        assert!(store.metrics().merged_readings.get() > merged);
        let (rest, _) = raw(&store, &plant, chunk.next).await;
        assert!(words(&rest) == words(&before)[first..], "after {first}");
        // What is there now tells by its commits what was there then.
        let (mut now, _) = raw(&store, &plant, None).await;
        assert!(now.len() > before.len());
        now.retain(|reading| reading.commit <= as_of);
        assert!(words(&now) == words(&before));
    }
}

#[tokio::test]
async fn a_crash_amid_putting_together_loses_and_doubles_nothing() {
    for point in ["merged, not committed", "merged"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let mut plant = Plant::new("hanbit/press-hall", "press-1");
        plant.connect(&store).await;
        scattered(&mut plant, &store).await;
        let before = said(&store, &plant).await;
        let columns = count(&dir, "packed");
        *store.shared.crash_at.lock().unwrap() = Some(point);
        assert!(matches!(store.compact(&plant.firm()).await, Err(StoreError::Closed)));
        drop(store);
        assert_eq!(count(&dir, "packed") < columns, point == "merged");
        let store = open(&dir);
        assert!(said(&store, &plant).await == before, "{point}");
        store.compact(&plant.firm()).await.unwrap();
        assert!(count(&dir, "packed") * 4 < columns);
        assert!(said(&store, &plant).await == before, "{point}");
    }
}

/// The work asks its own account and the store's clock, so that here time goes as it is told to.
#[tokio::test]
async fn putting_together_waits_for_its_budget() {
    let dir = tempfile::tempdir().unwrap();
    let now_us = Arc::new(AtomicI64::new(BOOTED_US + HOUR));
    let clock = Arc::clone(&now_us);
    let options = Options { now: Arc::new(move || clock.load(Ordering::SeqCst)), ..options() };
    let store = SqliteReadings::open(dir.path(), options).unwrap();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    scattered(&mut plant, &store).await;
    let before = said(&store, &plant).await;
    // A step writes some KiB: a pause of some seconds.
    let mut work = Work::new(Shares { core: 1.0, bytes_per_s: 1_024 });
    let (mut steps, mut pauses) = (0, 0);
    while steps < 100 {
        let merged = store.metrics().merged_readings.get();
        work.merge(&store.shared).unwrap();
        let Some(rest) = work.rest(&store.shared) else { break };
        assert!(!rest.is_zero(), "what waits says for how long");
        // Nothing goes on before that.
        let now_merged = store.metrics().merged_readings.get();
        steps += u32::from(now_merged > merged);
        work.merge(&store.shared).unwrap();
        assert_eq!(store.metrics().merged_readings.get(), now_merged);
        now_us.fetch_add(i64::try_from(rest.as_micros()).unwrap(), Ordering::SeqCst);
        pauses += 1;
    }
    assert!(steps > 0 && pauses > 0, "{steps} steps, {pauses} pauses");
    assert!(work.rest(&store.shared).is_none(), "it ends");
    assert!(said(&store, &plant).await == before);
}
