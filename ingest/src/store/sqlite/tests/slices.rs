//! Hours and days out of slices, and firm files of the format that had none.

use super::*;
use crate::consent::{Form, Function, Grid};
use crate::store::Bucket;

pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;

/// A counter, a switch and two numbers every ten seconds, from one hour to another; some bad.
pub(super) async fn work(plant: &mut Plant, store: &SqliteReadings, from_h: i64, to_h: i64) {
    let mut record = Vec::new();
    for at in (from_h * 360)..(to_h * 360) {
        let at_us = at * 10 * SECOND;
        let quality = if at % 97 == 0 { Quality::BAD_NO_ANSWER } else { Quality::GOOD };
        record.push((0, at_us, Value::F64((at % 113) as f64 / 10.0), quality));
        record.push((1, at_us, Value::I64(at * 37 % 65_536), Quality::GOOD));
        record.push((2, at_us, Value::Bool(at % 5 < 3), Quality::GOOD));
        record.push((3, at_us, Value::Text(format!("{}", at % 3)), Quality::GOOD));
        if record.len() >= 400 {
            done(&plant.deliver(store, &record).await);
            record.clear();
        }
    }
    if !record.is_empty() {
        done(&plant.deliver(store, &record).await);
    }
}

pub(super) async fn buckets(store: &SqliteReadings, permit: &Permit, limit: usize) -> Vec<Bucket> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let chunk = store.read(permit, cursor, limit).await.unwrap();
        let Rows::Buckets(rows) = chunk.rows else { panic!("not buckets") };
        all.extend(rows);
        cursor = chunk.next;
        if cursor.is_none() {
            return all;
        }
    }
}

pub(super) fn asked(plant: &Plant, grid: Grid, from_us: i64, to_us: i64) -> Permit {
    let numbers = Function::ALL.into_iter().filter(|function| *function != Function::Durations);
    Permit::for_test(plant.keys(), Form::Bucketed { grid }, BOOTED_US + from_us, BOOTED_US + to_us).asking(numbers)
}

/// The same without slices, which know nothing of states.
fn decoded(permit: &Permit) -> Permit {
    permit.clone().asking(Function::ALL)
}

fn grids() -> Vec<(Grid, i64, i64)> {
    let seoul = Grid::Days { zone: jiff::tz::TimeZone::get("Asia/Seoul").unwrap() };
    vec![
        (Grid::Fixed { width_us: HOUR }, 0, 23 * HOUR),
        (Grid::Fixed { width_us: HOUR }, 2 * HOUR, 5 * HOUR),
        (Grid::Fixed { width_us: 8 * HOUR }, 0, 24 * HOUR),
        (seoul, -9 * HOUR, 39 * HOUR),
        (Grid::Fixed { width_us: 30 * MINUTE }, 0, 24 * HOUR),
    ]
}

async fn same(store: &SqliteReadings, plant: &Plant) {
    for (grid, from_us, to_us) in grids() {
        let permit = asked(plant, grid, from_us, to_us);
        let mut plainly = buckets(store, &decoded(&permit), 1_000).await;
        for bucket in &mut plainly {
            bucket.durations.clear();
        }
        // A text has nothing but states.
        plainly.retain(|bucket| bucket.count > 0 || bucket.covered_us > 0);
        let plainly: Vec<_> = plainly.iter().map(|bucket| format!("{bucket:?}")).collect();
        assert!(!plainly.is_empty());
        for limit in [1, 1_000] {
            let sliced: Vec<_> =
                buckets(store, &permit, limit).await.iter().map(|bucket| format!("{bucket:?}")).collect();
            assert_eq!(sliced, plainly, "{:?}, {limit} a chunk", permit.form());
        }
    }
}

#[tokio::test]
async fn slices_say_what_the_readings_say() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    work(&mut plant, &store, 0, 4).await;
    store.compact(&plant.firm()).await.unwrap();
    work(&mut plant, &store, 4, 9).await;
    store.compact(&plant.firm()).await.unwrap();
    same(&store, &plant).await;
    // Late readings amid them, packed and not.
    work(&mut plant, &store, 6, 7).await;
    same(&store, &plant).await;
    store.compact(&plant.firm()).await.unwrap();
    work(&mut plant, &store, 9, 10).await;
    same(&store, &plant).await;
}

/// Proof that nothing is decoded: there is nothing left to decode.
#[tokio::test]
async fn hours_and_days_are_answered_without_decoding() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    work(&mut plant, &store, 0, 8).await;
    store.compact(&plant.firm()).await.unwrap();
    let whole: Vec<_> = grids().into_iter().take(4).collect();
    let mut before = Vec::new();
    let numbers: Vec<_> = plant.keys().into_iter().take(3).collect();
    let asked = |(grid, from_us, to_us): &(Grid, i64, i64)| {
        let form = Form::Bucketed { grid: grid.clone() };
        Permit::for_test(numbers.clone(), form, BOOTED_US + from_us, BOOTED_US + to_us).asking([
            Function::Mean,
            Function::TimeMean,
            Function::Increase,
        ])
    };
    for part in &whole {
        before.push(buckets(&store, &asked(part), 1_000).await);
    }
    let file = Connection::open(firm_file::path(dir.path(), 1)).unwrap();
    file.execute("UPDATE chunk SET data = x''", []).unwrap();
    for (part, before) in whole.iter().zip(before) {
        assert!(!before.is_empty());
        assert_eq!(buckets(&store, &asked(part), 1_000).await, before);
    }
    let minutes = (Grid::Fixed { width_us: MINUTE }, 0, HOUR);
    assert!(matches!(store.read(&asked(&minutes), None, 10).await, Err(StoreError::Damaged(_))));
}

#[tokio::test]
async fn a_changed_interval_makes_the_slices_of_before_useless_and_not_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    work(&mut plant, &store, 0, 3).await;
    store.compact(&plant.firm()).await.unwrap();
    behind(&dir).execute("UPDATE series SET expected_interval_ms = 60000", []).unwrap();
    same(&store, &plant).await;
}

/// As a build that knew neither chunks nor slices left it.
fn as_format_1(dir: &tempfile::TempDir) {
    let file = Connection::open(firm_file::path(dir.path(), 1)).unwrap();
    file.execute_batch(
        "UPDATE block SET times = substr(data, 1, times_bytes), commits = substr(data, 1 + times_bytes, commits_bytes)
         FROM chunk WHERE chunk.id = block.id << 20;
         UPDATE packed SET quality = substr(chunk.data, 1 + at, quality_bytes),
                           data = substr(chunk.data, 1 + at + quality_bytes, data_bytes)
         FROM chunk WHERE chunk.id = packed.block << 20 | packed.chunk;
         DROP TABLE chunk;
         ALTER TABLE mark DROP COLUMN merged;
         ALTER TABLE block DROP COLUMN times_bytes;
         ALTER TABLE block DROP COLUMN commits_bytes;
         ALTER TABLE packed DROP COLUMN chunk;
         ALTER TABLE packed DROP COLUMN at;
         ALTER TABLE packed DROP COLUMN quality_bytes;
         ALTER TABLE packed DROP COLUMN data_bytes;
         DROP TABLE slices; DROP TABLE rollup; DROP INDEX packed_block;
         ALTER TABLE newest DROP COLUMN longest_us;
         ALTER TABLE newest DROP COLUMN raw_from_us;
         ALTER TABLE newest DROP COLUMN minutes_from_us;
         PRAGMA user_version = 1;",
    )
    .unwrap();
}

#[tokio::test]
async fn a_firm_file_of_format_1_is_brought_up_when_it_is_first_opened() {
    for by_reading in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut plant = Plant::new("hanbit/press-hall", "press-1");
        let before = {
            let store = open(&dir);
            plant.connect(&store).await;
            work(&mut plant, &store, 0, 3).await;
            store.compact(&plant.firm()).await.unwrap();
            everything(&store, &plant).await
        };
        as_format_1(&dir);
        let store = open(&dir);
        if by_reading {
            assert_eq!(everything(&store, &plant).await, before);
        }
        plant.connect(&store).await;
        work(&mut plant, &store, 3, 5).await;
        store.compact(&plant.firm()).await.unwrap();
        same(&store, &plant).await;
        let all = everything(&store, &plant).await;
        assert_eq!(all[0][..10], before[0][..10]);
        let file = Connection::open(firm_file::path(dir.path(), 1)).unwrap();
        let version: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, file::FIRM.version);
    }
}

/// Its slices were counted by the build that packed its readings.
#[tokio::test]
async fn a_firm_file_of_format_2_says_what_it_said() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    for second in 0..10 {
        done(&plant.deliver(&store, &[pressure(second * SECOND, 1.0)]).await);
    }
    {
        let file = Connection::open(firm_file::path(dir.path(), 1)).unwrap();
        file.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
        file.execute_batch(include_str!("firm_2.sql")).unwrap();
        let (uuid, firm) = (store.shared.uuid, plant.firm());
        file.execute("UPDATE mark SET id = 0, inbox = ?1, firm = ?2", params![uuid.as_bytes(), firm.as_str()]).unwrap();
    }
    let began_us = 1_767_225_600_000_000;
    let asked = |form, functions: &[Function]| {
        let permit = Permit::for_test(vec![plant.key(0)], form, began_us, began_us + HOUR);
        permit.asking(functions.iter().copied())
    };
    let raw = asked(Form::Raw, &[]);
    let Rows::Raw(readings) = store.read(&raw, None, 1_000).await.unwrap().rows else { panic!("not raw") };
    assert_eq!(readings.len(), 600);
    let sum: f64 = readings.iter().filter_map(|reading| reading.value.as_ref()?.as_f64()).sum();
    for functions in [&[Function::Sum][..], &[Function::Sum, Function::Durations]] {
        let hours = buckets(&store, &asked(Form::buckets(HOUR), functions), 10).await;
        assert_eq!((hours.len(), hours[0].count), (1, 600));
        assert!((hours[0].sum - sum).abs() < 1e-6, "{} and {sum}", hours[0].sum);
    }
    // What is packed now lies beside it.
    store.compact(&plant.firm()).await.unwrap();
    let Rows::Raw(again) = store.read(&raw, None, 1_000).await.unwrap().rows else { panic!("not raw") };
    assert_eq!(again, readings);
    assert_eq!(values(&store, plant.key(0)).await.len(), 10);
}

#[tokio::test]
async fn a_firm_file_of_a_newer_build_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    {
        let store = open(&dir);
        plant.connect(&store).await;
        work(&mut plant, &store, 0, 1).await;
        store.compact(&plant.firm()).await.unwrap();
    }
    let path = firm_file::path(dir.path(), 1);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let store = open(&dir);
    let refused = store.read(&whole_day(plant.keys()), None, 10).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Newer { path: named, found: 99, .. } if *named == path), "{refused}");
}

/// A gateway that comes back after its time was counted: what it brings stands beside the minutes
/// until the next pass counts it.
#[tokio::test]
async fn readings_that_come_after_their_minutes_were_counted_are_told_beside_them() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), crate::store::conformance::TestClock::default());
    let store = SqliteReadings::open(dir.path(), Options { now: clock.now(), ..options() }).unwrap();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    work(&mut plant, &store, 0, 2).await;
    store.compact(&plant.firm()).await.unwrap();
    clock.advance(93 * 24 * HOUR);
    assert!(store.retain(&plant.firm(), crate::store::retention::Pass::Apply).await.unwrap().readings > 0);
    // Half a step beside those that are counted, and behind them.
    for at in 0..60 {
        plant.deliver(&store, &[pressure((at * 60 + 5) * SECOND, 1_000.0 + at as f64)]).await;
    }
    let told = async |packed: &str| {
        for (width_us, number) in [(MINUTE, 120), (HOUR, 2)] {
            let mut permit = asked(&plant, Grid::Fixed { width_us }, 0, 2 * HOUR);
            permit = permit.asking([Function::Count, Function::Max]);
            for limit in [1, 7, 1_000] {
                let all = buckets(&store, &permit, limit).await;
                let of_pressure: Vec<_> = all.iter().filter(|bucket| bucket.series == 0).collect();
                assert_eq!(of_pressure.len(), number, "{packed}");
                let count: u64 = of_pressure.iter().map(|bucket| bucket.count).sum();
                // One in 97 of the others is bad.
                assert_eq!(count, 720 - 8 + 60, "{packed}, buckets of {width_us}, {limit} a chunk");
                assert!(of_pressure[0].max >= 1_000.0 && of_pressure[number - 1].max < 1_000.0, "{packed}");
            }
        }
    };
    told("waiting").await;
    store.compact(&plant.firm()).await.unwrap();
    told("packed").await;
    store.retain(&plant.firm(), crate::store::retention::Pass::Apply).await.unwrap();
    told("counted").await;
}
