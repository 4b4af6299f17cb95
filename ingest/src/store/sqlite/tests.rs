//! The engine over real directories.

use sandan_proto::reading::{Quality, Value, ValueType};
use sandan_proto::v1::DeadLetterReason;

use super::*;
use crate::consent::Form;
use crate::fixture::{BOOTED_US, CLOCK, Plant, Reading, births, options, pressure, read_all, values, whole_day};
use crate::store::{Bucket, Placement, Rows};

mod backups;
mod births;
mod dead;
mod model;
mod pulls;

const SECOND: i64 = 1_000_000;

fn open(dir: &tempfile::TempDir) -> SqliteReadings {
    SqliteReadings::open(dir.path(), options()).unwrap()
}

fn done(stored: &Stored) -> u64 {
    match stored {
        Stored::Done { stored, .. } => *stored,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_register_is_stored_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    for second in 0..3 {
        done(&plant.deliver(&store, &[pressure(second * SECOND, 10.0 + second as f64)]).await);
    }
    assert_eq!(values(&store, plant.key(0)).await, [10.0, 11.0, 12.0]);
    let series = store.series(&plant.firm()).await.unwrap();
    assert_eq!(series.len(), 6);
    let info = series.iter().find(|info| info.key == plant.key(0)).unwrap();
    assert_eq!((info.unit.as_str(), info.newest_us), ("MPa", Some(BOOTED_US + 2 * SECOND)));
    assert_eq!(info.name_ko, "1호 프레스");
    let lanes = store.lanes(&plant.gateway).await.unwrap();
    assert_eq!((lanes[0].through, lanes[0].readings, lanes[0].newest_us), (3, 3, Some(BOOTED_US + 2 * SECOND)));
}

#[tokio::test]
async fn buckets_are_aligned_and_leave_bad_readings_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    let bad = (0, 30 * SECOND, Value::F64(f64::NAN), Quality::BAD_NO_ANSWER);
    let not_a_number = (0, 31 * SECOND, Value::F64(f64::NAN), Quality::GOOD);
    plant.deliver(&store, &[pressure(0, 1.0), pressure(59 * SECOND, 3.0)].into_iter().collect::<Vec<_>>()).await;
    plant.deliver(&store, &[bad, not_a_number, pressure(60 * SECOND, 7.0)]).await;
    let minute = 60 * SECOND;
    let form = Form::Bucketed { width_us: minute };
    let permit = Permit::for_test(vec![plant.key(0)], form, BOOTED_US, BOOTED_US + 10 * minute);
    let bucket = |start_us, count, sum, min, max, last| Bucket { series: 0, start_us, count, sum, min, max, last };
    let chunk = store.read(&permit, None, 100).await.unwrap();
    assert_eq!(
        chunk.rows,
        Rows::Buckets(vec![
            bucket(BOOTED_US, 2, 4.0, 1.0, 3.0, 3.0),
            bucket(BOOTED_US + minute, 1, 7.0, 7.0, 7.0, 7.0)
        ])
    );
    assert_eq!(read_all(&store, &permit, 1).await.len(), 2);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let timeline = {
        let store = open(&dir);
        plant.connect(&store).await;
        plant.deliver(&store, &[pressure(0, 1.0)]).await;
        store.timeline()
    };
    let store = open(&dir);
    assert_eq!(store.timeline(), timeline);
    assert_eq!(values(&store, plant.key(0)).await, [1.0]);
    assert_eq!(store.clock(&plant.gateway, plant.boot).await.unwrap(), Some(CLOCK));
    assert_eq!(store.watermark(&plant.gateway, plant.lane).await.unwrap(), 1);
    let epoch = plant.epoch;
    plant.connect(&store).await;
    assert_eq!(plant.epoch, epoch + 1);
    assert_eq!(done(&plant.deliver(&store, &[pressure(SECOND, 2.0)]).await), 1);
    assert_eq!(read_all(&store, &whole_day(plant.keys()), 1).await.len(), 2);
}

/// A connection beside the writer's, for looking behind it and for breaking things.
fn behind(dir: &tempfile::TempDir) -> Connection {
    Connection::open(inbox_path(dir.path())).unwrap()
}

fn inbox_rows(dir: &tempfile::TempDir) -> i64 {
    behind(dir).query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_record_that_comes_again_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let registered = plant.connect(&store).await;
    let first = plant.seal(&[pressure(0, 1.0)]);
    let second = plant.seal(&[pressure(SECOND, 2.0)]);
    let third = plant.seal(&[pressure(2 * SECOND, 3.0)]);
    let mut receipts = Vec::new();
    for sealed in [&second, &first, &first, &second, &first, &third] {
        receipts.push(store.deliver(plant.admitted(sealed, &registered)).await.unwrap());
    }
    let mut outcomes = Vec::new();
    for receipt in receipts {
        outcomes.push(match receipt.await.unwrap().unwrap() {
            Stored::Done { through, .. } => format!("done {through}"),
            Stored::Duplicate { through } => format!("duplicate {through}"),
            Stored::Ahead { through } => format!("ahead {through}"),
            Stored::Superseded => "superseded".into(),
        });
    }
    assert_eq!(outcomes, ["ahead 0", "done 1", "duplicate 1", "done 2", "duplicate 2", "done 3"]);
    assert_eq!(values(&store, plant.key(0)).await, [1.0, 2.0, 3.0]);
    let sealed = plant.seal(&[pressure(3 * SECOND, 4.0)]);
    let older = plant.admitted(&sealed, &registered);
    plant.connect(&store).await;
    assert_eq!(store.deliver(older).await.unwrap().await.unwrap().unwrap(), Stored::Superseded);
    assert_eq!(store.watermark(&plant.gateway, plant.lane).await.unwrap(), 3);
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

/// Late, repeated and bad readings of every type, over several records.
async fn unruly(plant: &mut Plant, store: &SqliteReadings) {
    let good = Quality::GOOD;
    let record = |at: i64, number: i64| -> Vec<Reading> {
        vec![
            pressure(at, number as f64),
            (1, at, Value::I64(number * 1_000_000_007), good),
            (2, at, Value::Bool(number % 2 == 0), Quality::UNCERTAIN_SOURCE),
            (3, at, Value::Text(format!("상태 {}", number % 3)), good),
            (4, at, Value::F64(f64::NAN), if number % 2 == 0 { Quality::BAD_NO_ANSWER } else { good }),
            (0, at, Value::F64(-number as f64), good),
            (4, at + 1, Value::F64(0.5), good),
        ]
    };
    for (number, at) in [5, 9, 2, 9, 1, 30, 2, 31].into_iter().enumerate() {
        plant.deliver(store, &record(at * SECOND, number as i64)).await;
    }
}

async fn everything(store: &SqliteReadings, plant: &Plant) -> [Vec<String>; 2] {
    let raw = whole_day(plant.keys());
    let (from_us, to_us) = (raw.from_us(), raw.to_us());
    let form = Form::Bucketed { width_us: 3 * SECOND };
    let buckets = Permit::for_test(plant.keys(), form, from_us, to_us);
    [read_all(store, &raw, 7).await, read_all(store, &buckets, 2).await]
}

#[tokio::test]
async fn a_read_is_the_same_before_and_after_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    unruly(&mut plant, &store).await;
    let before = everything(&store, &plant).await;
    assert_eq!(before[0].len(), 8 * 7);
    store.compact(&plant.firm()).await.unwrap();
    assert_eq!(inbox_rows(&dir), 0);
    assert_eq!(store.metrics().compacted_readings.get(), 8 * 7);
    assert_eq!(everything(&store, &plant).await, before);
    // Later data that is older lands between: more blocks, and rows beside them.
    unruly(&mut plant, &store).await;
    let before = everything(&store, &plant).await;
    store.compact(&plant.firm()).await.unwrap();
    unruly(&mut plant, &store).await;
    let with_rows = everything(&store, &plant).await;
    assert_eq!(with_rows[0].len(), before[0].len() + 8 * 7);
    let series = store.series(&plant.firm()).await.unwrap();
    drop(store);
    let store = open(&dir);
    assert_eq!(everything(&store, &plant).await, with_rows);
    assert_eq!(store.series(&plant.firm()).await.unwrap(), series, "newest times are found again after a restart");
    store.compact(&FirmId::new("nobody").unwrap()).await.unwrap();
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

/// What is acknowledged is readable at every moment, however compaction stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_beside_compaction_sees_each_reading_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir));
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    let (key, firm) = (plant.key(0), plant.firm());
    let stored = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let ordering = std::sync::atomic::Ordering::SeqCst;
    let reader = tokio::spawn({
        let (store, stored) = (Arc::clone(&store), Arc::clone(&stored));
        async move {
            loop {
                let at_least = stored.load(ordering);
                let seen = values(&*store, key.clone()).await;
                assert!(seen.len() >= at_least, "{} of {at_least} acknowledged", seen.len());
                let expected: Vec<f64> = (0..seen.len()).map(|second| second as f64).collect();
                assert_eq!(seen, expected);
                if at_least == 200 {
                    return;
                }
            }
        }
    });
    for second in 0..200 {
        plant.deliver(&store, &[pressure(second * SECOND, second as f64)]).await;
        stored.fetch_add(1, ordering);
        if second % 10 == 9 {
            store.compact(&firm).await.unwrap();
        }
    }
    reader.await.unwrap();
}

#[tokio::test]
async fn a_series_has_one_owner_and_a_second_one_is_refused_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut owner = Plant::new("hanbit/press-hall", "press-1");
    let mut second = Plant::new("hanbit/annex", "press-1");
    let mut stranger = Plant::new("daeil/press-hall", "press-1");
    owner.connect(&store).await;
    let registered = second.connect(&store).await;
    assert!(registered.places.iter().all(|place| *place == Placement::OtherOwner));
    assert!(matches!(stranger.connect(&store).await.places[0], Placement::Own(..)), "another firm's asset");
    owner.deliver(&store, &[pressure(0, 1.0)]).await;
    second.deliver(&store, &[pressure(0, 2.0)]).await;
    assert_eq!(values(&store, owner.key(0)).await, [1.0]);
    let refused = store.refused_series(&owner.firm()).await.unwrap();
    assert_eq!(refused.len(), 6);
    assert_eq!((&refused[0].owner, &refused[0].refused), (&owner.gateway, &second.gateway));
    assert_eq!(store.dead_letters(&second.gateway).await.unwrap()[0].reason, DeadLetterReason::OtherOwner);
    // Once it declares something else it is refused no more.
    second.births = births("press-2", "MPa");
    second.connect(&store).await;
    assert_eq!(store.refused_series(&owner.firm()).await.unwrap(), []);
    assert_eq!(store.series(&owner.firm()).await.unwrap().len(), 12);
}

#[tokio::test]
async fn a_changed_unit_is_a_new_version_and_is_never_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    plant.deliver(&store, &[pressure(0, 1.0), (2, 0, Value::Bool(true), Quality::GOOD)]).await;
    let yesterday = std::mem::replace(&mut plant.births, births("press-1", "kPa"));
    plant.connect(&store).await;
    plant.deliver(&store, &[pressure(SECOND, 1000.0)]).await;
    assert_eq!(values(&store, plant.key(0)).await, [1000.0]);
    // A backlog of yesterday's births neither mixes in nor brings the old unit back.
    plant.births = yesterday;
    plant.connect(&store).await;
    plant.deliver(&store, &[pressure(SECOND / 2, 2.0)]).await;
    let info = |series: Vec<SeriesInfo>, key| series.into_iter().find(|info| info.key == key).unwrap();
    let shown = info(store.series(&plant.firm()).await.unwrap(), plant.key(0));
    assert_eq!(shown.other_units, ["MPa"], "what is stored and not read is named");
    let unit = shown.unit;
    assert_eq!((unit.as_str(), values(&store, plant.key(0)).await), ("kPa", vec![1000.0]));
    assert_eq!(values(&store, plant.key(2)).await, [1.0], "what kept its unit is whole");
}

#[tokio::test]
async fn a_type_that_changes_within_a_unit_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    plant.deliver(&store, &[(1, 0, Value::I64(7), Quality::GOOD)]).await;
    let mut set: sandan_proto::v1::BirthSet = prost::Message::decode(plant.births.content().clone()).unwrap();
    set.series[1].value_type = ValueType::F64.into();
    plant.births = Births::new(&set).unwrap();
    plant.connect(&store).await;
    plant.deliver(&store, &[(1, SECOND, Value::F64(7.5), Quality::GOOD)]).await;
    store.compact(&plant.firm()).await.unwrap();
    assert_eq!(values(&store, plant.key(1)).await, [7.0, 7.5]);
}

#[tokio::test]
async fn a_read_gives_only_what_its_permit_names() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut other = Plant::new("daeil/press-hall", "press-1");
    plant.connect(&store).await;
    other.connect(&store).await;
    for second in 0..5 {
        plant.deliver(&store, &[pressure(second * SECOND, second as f64)]).await;
        other.deliver(&store, &[pressure(second * SECOND, 100.0)]).await;
    }
    for _ in 0..2 {
        let window = Permit::for_test(vec![plant.key(0)], Form::Raw, BOOTED_US + SECOND, BOOTED_US + 3 * SECOND);
        let Rows::Raw(rows) = store.read(&window, None, 100).await.unwrap().rows else { panic!() };
        assert_eq!(rows.iter().map(|row| row.time_us - BOOTED_US).collect::<Vec<_>>(), [SECOND, 2 * SECOND]);
        // A series of another firm than the permit's is not looked up there.
        let mixed = whole_day(vec![plant.key(0), other.key(0)]);
        assert_eq!(read_all(&store, &mixed, 100).await.len(), 5);
        for (series, from_us) in [(2, window.from_us()), (0, window.from_us() - 1), (0, window.to_us() + 1)] {
            let cursor = Some(ReadCursor::new(series, from_us, 0));
            assert!(matches!(store.read(&window, cursor, 1).await, Err(StoreError::Cursor)));
        }
        store.compact(&plant.firm()).await.unwrap();
    }
}

#[tokio::test]
async fn readings_of_one_commit_share_its_number_and_the_next_is_greater() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    plant.deliver(&store, &[pressure(0, 1.0), pressure(1, 1.0)]).await;
    plant.deliver(&store, &[pressure(2, 1.0)]).await;
    store.compact(&plant.firm()).await.unwrap();
    plant.deliver(&store, &[pressure(3, 1.0)]).await;
    let Rows::Raw(rows) = store.read(&whole_day(plant.keys()), None, 10).await.unwrap().rows else { panic!() };
    assert_eq!(rows.iter().map(|row| row.commit).collect::<Vec<_>>(), [1, 1, 2, 3]);
}

#[test]
fn files_of_a_newer_build_or_another_kind_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |dir: &tempfile::TempDir| SqliteReadings::open(dir.path(), options()).err().unwrap().to_string();
    drop(open(&dir));
    let path = inbox_path(dir.path());
    behind(&dir).pragma_update(None, "user_version", 3).unwrap();
    let newer = format!("{} has format 3, this build knows up to 2; start the newer build again", path.display());
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
async fn a_record_of_many_dead_columns_costs_a_few_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    let unknown: Vec<Reading> = (100..1_100).map(|series| (series, 0, Value::F64(1.0), Quality::GOOD)).collect();
    plant.deliver(&store, &unknown).await;
    let kept: i64 = behind(&dir).query_row("SELECT count(*) FROM dead_letter", [], |row| row.get(0)).unwrap();
    let counts = store.dead_letters(&plant.gateway).await.unwrap();
    assert_eq!((kept, counts[0].letters, counts[0].readings), (65, 1_000, 1_000));
    assert_eq!(store.metrics().dead_letters(), [(DeadLetterReason::UnknownSeries, 1_000, 1_000)]);
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
