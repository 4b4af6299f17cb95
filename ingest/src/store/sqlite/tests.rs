//! The engine over real directories.

use sandan_proto::reading::{Quality, Value};
use sandan_proto::v1::DeadLetterReason;

use super::heads::Heads;
use super::shared::READERS;
use super::sums::Sums;
use super::*;
use crate::fixture::{BOOTED_US, CLOCK, Plant, births, options, pressure, read_all, values, whole_day};
use crate::store::conformance::{SECOND, done, everything, unruly};
use crate::store::{Placement, Rows};

mod backups;
mod births;
mod census;
pub(crate) mod conformance;
mod consolidate;
mod dead;
mod pulls;
mod retain;
mod slices;
mod snapshots;
mod verify;

fn open(dir: &tempfile::TempDir) -> SqliteReadings {
    SqliteReadings::open(dir.path(), options()).unwrap()
}

/// A connection beside the writer's, for looking behind it and for breaking things.
fn behind(dir: &tempfile::TempDir) -> Connection {
    Connection::open(inbox_path(dir.path())).unwrap()
}

fn inbox_rows(dir: &tempfile::TempDir) -> i64 {
    behind(dir).query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_record_that_the_engine_refuses_costs_its_group_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { commit_interval: Duration::from_millis(50), ..options() };
    let store = SqliteReadings::open(dir.path(), options).unwrap();
    let (mut good, mut bad) = (Plant::new("hanbit/press-hall", "press-1"), Plant::new("daeil/line-1", "furnace-1"));
    let registered = [good.connect(&store).await, bad.connect(&store).await];
    behind(&dir)
        .execute_batch(
            "CREATE TRIGGER poison BEFORE INSERT ON record WHEN new.readings = 2
             BEGIN SELECT RAISE(ABORT, 'poisoned'); END",
        )
        .unwrap();
    bad.deliver(&store, &[pressure(0, 1.0)]).await;
    let commits = store.metrics().commits.get();
    let poisoned = bad.seal(&[pressure(SECOND, 2.0), pressure(2 * SECOND, 3.0)]);
    let sealed = [good.seal(&[pressure(0, 1.0)]), poisoned, bad.seal(&[pressure(3 * SECOND, 4.0)])];
    let deliveries = [
        good.admitted(&sealed[0], &registered[0]),
        bad.admitted(&sealed[1], &registered[1]),
        bad.admitted(&sealed[2], &registered[1]),
    ];
    let mut receipts = Vec::new();
    for delivery in deliveries {
        receipts.push(store.deliver(delivery).await.unwrap());
    }
    let mut outcomes = Vec::new();
    for receipt in receipts {
        outcomes.push(receipt.await.unwrap().unwrap());
    }
    assert_eq!(store.metrics().commits.get(), commits + 1, "one group");
    assert_eq!(outcomes.iter().map(done).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(values(&store, good.key(0)).await, [1.0]);
    assert_eq!(values(&store, bad.key(0)).await, [1.0, 4.0]);
    let letters = store.dead_letters(&bad.gateway).await.unwrap();
    assert_eq!((letters[0].reason, letters[0].readings), (DeadLetterReason::Undecodable, 2));
    assert_eq!(letters[0].detail, "the store's engine refused the record");
}

#[tokio::test]
async fn a_group_that_the_engine_gives_up_is_reported_as_unknown_and_can_be_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let registered = plant.connect(&store).await;
    behind(&dir)
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON record WHEN new.readings = 2
             BEGIN SELECT RAISE(ROLLBACK, 'no room'); END",
        )
        .unwrap();
    let sealed = plant.seal(&[pressure(0, 1.0), pressure(1, 2.0)]);
    let delivery = plant.admitted(&sealed, &registered);
    let outcome = store.deliver(delivery.clone()).await.unwrap().await.unwrap();
    assert!(matches!(outcome, Err(StoreError::Uncertain(_))), "{outcome:?}");
    assert_eq!(store.dead_letters(&plant.gateway).await.unwrap(), []);
    behind(&dir).execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(done(&store.deliver(delivery).await.unwrap().await.unwrap().unwrap()), 2);
}

#[tokio::test]
async fn a_crash_between_the_firm_file_and_the_inbox_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    unruly(&mut plant, &store).await;
    let before = everything(&store, &plant).await;
    *store.shared.crash_at.lock().unwrap() = Some("packed");
    assert!(matches!(store.compact(&plant.firm()).await, Err(StoreError::Closed)));
    assert_eq!(inbox_rows(&dir), 8, "packed, and still in the inbox");
    assert_eq!(everything(&store, &plant).await, before, "readers go by the mark");
    drop(store);
    let store = open(&dir);
    assert_eq!(inbox_rows(&dir), 0);
    assert_eq!(everything(&store, &plant).await, before);
}

#[tokio::test]
async fn a_firm_is_packed_by_itself_when_it_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let check = Some(Duration::from_millis(1));
    let compaction = Compaction { readings_per_series: 2, check, ..Compaction::default() };
    let store = SqliteReadings::open(dir.path(), Options { compaction, ..options() }).unwrap();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    for second in 0..11 {
        plant.deliver(&store, &[pressure(second * SECOND, second as f64)]).await;
    }
    assert_eq!(store.metrics().compactions.get(), 0, "11 readings of 6 series");
    plant.deliver(&store, &[pressure(11 * SECOND, 11.0)]).await;
    while store.metrics().compactions.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(values(&store, plant.key(0)).await.len(), 12);
}

#[test]
fn files_of_a_newer_build_or_another_kind_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |dir: &tempfile::TempDir| SqliteReadings::open(dir.path(), options()).err().unwrap().to_string();
    drop(open(&dir));
    let path = inbox_path(dir.path());
    let known = file::INBOX.version;
    behind(&dir).pragma_update(None, "user_version", known + 1).unwrap();
    let found = known + 1;
    let newer =
        format!("{} has format {found}, this build knows up to {known}; start the newer build again", path.display());
    assert_eq!(refused(&dir), newer);
    behind(&dir).pragma_update(None, "application_id", 7).unwrap();
    assert_eq!(refused(&dir), format!("{} is not a sandan inbox", path.display()));
    for file in std::fs::read_dir(dir.path()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        std::fs::remove_file(file.path()).unwrap();
    }
    std::fs::write(&path, "a letter, not a database, and long enough to be taken for one".repeat(20)).unwrap();
    assert_eq!(refused(&dir), format!("{} is not a sandan inbox", path.display()));
}

#[tokio::test]
async fn a_firm_file_of_another_store_is_refused() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut plants = Vec::new();
    for dir in &dirs {
        let store = open(dir);
        let mut plant = Plant::new("hanbit/press-hall", "press-1");
        plant.connect(&store).await;
        plant.deliver(&store, &[pressure(0, 1.0)]).await;
        store.compact(&plant.firm()).await.unwrap();
        plants.push(plant);
    }
    std::fs::copy(firm_file::path(dirs[0].path(), 1), firm_file::path(dirs[1].path(), 1)).unwrap();
    let store = open(&dirs[1]);
    let error = store.read(&whole_day(plants[1].keys()), None, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn dead_letters_are_kept_within_a_bound_and_counted_beyond_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    let wrong = |at| (1, at, Value::F64(1.0), Quality::GOOD);
    plant.deliver(&store, &[pressure(0, 1.0), wrong(0)]).await;
    behind(&dir).execute("UPDATE gateway SET dead_bytes = 1 << 26", []).unwrap();
    plant.deliver(&store, &[pressure(1, 1.0), wrong(1)]).await;
    let kept: i64 = behind(&dir).query_row("SELECT count(*) FROM dead_letter", [], |row| row.get(0)).unwrap();
    let counts = store.dead_letters(&plant.gateway).await.unwrap();
    assert_eq!((kept, counts[0].letters, counts[0].readings), (1, 2, 2));
}

#[tokio::test]
async fn rows_that_could_not_be_deleted_are_deleted_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    unruly(&mut plant, &store).await;
    let before = everything(&store, &plant).await;
    behind(&dir)
        .execute_batch("CREATE TRIGGER kept BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'not now'); END")
        .unwrap();
    store.compact(&plant.firm()).await.unwrap_err();
    assert_eq!((inbox_rows(&dir), everything(&store, &plant).await), (8, before.clone()));
    behind(&dir).execute_batch("DROP TRIGGER kept").unwrap();
    store.compact(&plant.firm()).await.unwrap();
    assert_eq!((inbox_rows(&dir), everything(&store, &plant).await), (0, before));
    assert_eq!(store.metrics().compacted_readings.get(), 8 * 7, "packed once");
}

#[test]
fn one_compaction_is_bounded_in_rows_readings_and_bytes() {
    let heads = Heads::default();
    for id in 0..10 {
        let head = heads::Head { id, first_us: 0, last_us: 0, received_us: 0, readings: 5, bytes: 7 };
        heads.add(1, head, &[]);
    }
    let most = heads::Load { rows: 9, readings: 1_000, bytes: 1_000 };
    for (most, rows) in [
        (most, 9),
        (heads::Load { readings: 11, ..most }, 3),
        (heads::Load { bytes: 14, ..most }, 2),
        (heads::Load { bytes: 0, ..most }, 1),
    ] {
        assert_eq!(heads.oldest(1, most).len(), rows);
        assert!(heads.waiting()[0].1.reaches(most));
    }
    assert!(!heads.waiting()[0].1.reaches(heads::Load { rows: 11, readings: 51, bytes: 71 }));
}

#[tokio::test]
async fn a_long_log_begins_anew_between_two_readers() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteReadings::open(dir.path(), Options { log_bytes: 1, ..options() }).unwrap();
    let log_bytes = || std::fs::metadata(dir.path().join("inbox.db-wal")).unwrap().len();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let registered = plant.connect(&store).await;
    // A read in the middle, which holds on to the log as it was then.
    let turn = Turns::take(&store.shared.turns.readers, 1).await.unwrap();
    let reader = store.shared.reader().unwrap();
    pin(&reader).unwrap();
    let shortening = {
        let (shared, inbox) = (Arc::clone(&store.shared), Arc::clone(&store.inbox));
        std::thread::spawn(move || compact::shorten_log(&shared, &inbox))
    };
    while store.shared.turns.readers.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    // The next read would wait; deliveries do not.
    let sealed = plant.seal(&[pressure(0, 1.0)]);
    let delivered = store.deliver(plant.admitted(&sealed, &registered)).await.unwrap().await.unwrap().unwrap();
    assert_eq!((done(&delivered), log_bytes() > 0), (1, true));
    store.shared.give_back(reader);
    drop(turn);
    shortening.join().unwrap().unwrap();
    assert_eq!(log_bytes(), 0);
    assert_eq!(values(&store, plant.key(0)).await, [1.0]);
}
