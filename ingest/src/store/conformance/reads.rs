//! Reads under a permit, in chunks.

use std::sync::atomic::{AtomicUsize, Ordering};

use sandan_proto::reading::{Quality, Value};

use super::{Engine, SECOND, TestClock, everything, minutes, unruly};
use crate::consent::{Form, Function, Grid, Permit};
use crate::fixture::{BOOTED_US, Plant, pressure, read_all, values, whole_day};
use crate::store::{Bucket, GapMark, ReadCursor, Rows, StoreError};

pub(crate) async fn buckets_are_aligned_and_leave_bad_readings_out<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    let bad = (0, 30 * SECOND, Value::F64(f64::NAN), Quality::BAD_NO_ANSWER);
    let not_a_number = (0, 31 * SECOND, Value::F64(f64::NAN), Quality::GOOD);
    plant.deliver(store, &[pressure(0, 1.0), pressure(59 * SECOND, 3.0)].into_iter().collect::<Vec<_>>()).await;
    plant.deliver(store, &[bad, not_a_number, pressure(60 * SECOND, 7.0)]).await;
    let minute = 60 * SECOND;
    let form = Form::buckets(minute);
    let permit = Permit::for_test(vec![plant.key(0)], form, BOOTED_US, BOOTED_US + 10 * minute);
    let bucket = |start_us, count, sum, min, max, first, last| Bucket {
        series: 0,
        start_us,
        end_us: start_us + minute,
        count,
        sum,
        min,
        max,
        first,
        last,
        integral: 0.0,
        covered_us: 0,
        increase: 0.0,
        durations: Vec::new(),
    };
    let chunk = store.read(&permit, None, 100).await.unwrap();
    assert_eq!(
        chunk.rows,
        Rows::Buckets(vec![
            bucket(BOOTED_US, 2, 4.0, 1.0, 3.0, 1.0, 3.0),
            bucket(BOOTED_US + minute, 1, 7.0, 7.0, 7.0, 7.0, 7.0)
        ])
    );
    assert_eq!(read_all(store, &permit, 1).await.len(), 2);
}

pub(crate) async fn a_read_is_the_same_before_and_after_a_rearrangement<E: Engine>() {
    let mut engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    unruly(&mut plant, store).await;
    let before = everything(store, &plant).await;
    assert_eq!(before[0].len(), 8 * 7);
    engine.rearrange(&plant.firm()).await;
    assert_eq!(everything(store, &plant).await, before);
    // Later data that is older lands between: more blocks, and rows beside them.
    unruly(&mut plant, store).await;
    let before = everything(store, &plant).await;
    engine.rearrange(&plant.firm()).await;
    unruly(&mut plant, store).await;
    let with_rows = everything(store, &plant).await;
    assert_eq!(with_rows[0].len(), before[0].len() + 8 * 7);
    let series = store.series(&plant.firm()).await.unwrap();
    engine.reopen().await;
    let store = engine.store();
    assert_eq!(everything(store, &plant).await, with_rows);
    assert_eq!(store.series(&plant.firm()).await.unwrap(), series, "newest times are found again after a restart");
}

/// What is acknowledged is readable at every moment, whatever the engine does beside it.
pub(crate) async fn a_read_beside_a_rearrangement_sees_each_reading_once<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    let (key, firm) = (plant.key(0), plant.firm());
    let stored = AtomicUsize::new(0);
    let reading = async {
        loop {
            let at_least = stored.load(Ordering::SeqCst);
            let seen = values(store, key.clone()).await;
            assert!(seen.len() >= at_least, "{} of {at_least} acknowledged", seen.len());
            let expected: Vec<f64> = (0..seen.len()).map(|second| second as f64).collect();
            assert_eq!(seen, expected);
            if at_least == 200 {
                return;
            }
        }
    };
    let delivering = async {
        for second in 0..200 {
            plant.deliver(store, &[pressure(second * SECOND, second as f64)]).await;
            stored.fetch_add(1, Ordering::SeqCst);
            if second % 10 == 9 {
                engine.rearrange(&firm).await;
            }
        }
    };
    tokio::join!(reading, delivering);
}

pub(crate) async fn a_read_gives_only_what_its_permit_names<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut other = Plant::new("daeil/press-hall", "press-1");
    plant.connect(store).await;
    other.connect(store).await;
    for second in 0..5 {
        plant.deliver(store, &[pressure(second * SECOND, second as f64)]).await;
        other.deliver(store, &[pressure(second * SECOND, 100.0)]).await;
    }
    for _ in 0..2 {
        let window = Permit::for_test(vec![plant.key(0)], Form::Raw, BOOTED_US + SECOND, BOOTED_US + 3 * SECOND);
        let Rows::Raw(rows) = store.read(&window, None, 100).await.unwrap().rows else { panic!() };
        assert_eq!(rows.iter().map(|row| row.time_us - BOOTED_US).collect::<Vec<_>>(), [SECOND, 2 * SECOND]);
        // A series of another firm than the permit's is not looked up there.
        let mixed = whole_day(vec![plant.key(0), other.key(0)]);
        assert_eq!(read_all(store, &mixed, 100).await.len(), 5);
        for (series, from_us) in [(2, window.from_us()), (0, window.from_us() - 1), (0, window.to_us() + 1)] {
            let cursor = Some(ReadCursor::new(series, from_us, 0));
            assert!(matches!(store.read(&window, cursor, 1).await, Err(StoreError::Cursor)));
        }
        engine.rearrange(&plant.firm()).await;
    }
}

pub(crate) async fn a_cursor_inside_a_bucket_is_refused<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    plant.deliver(store, &[pressure(0, 1.0), pressure(59 * SECOND, 3.0)]).await;
    let permit = minutes(&plant, 60 * SECOND);
    for (from_us, skip, good) in
        [(0, 0, true), (60 * SECOND, 0, true), (59 * SECOND, 0, false), (60 * SECOND, 1, false)]
    {
        let answer = store.read(&permit, Some(ReadCursor::new(0, BOOTED_US + from_us, skip)), 10).await;
        assert_eq!(answer.is_ok(), good, "{from_us} {skip}");
        assert!(good || matches!(answer, Err(StoreError::Cursor)));
    }
}

pub(crate) async fn days_are_those_of_their_time_zone<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    // The boot is at midnight UTC, 9 in the morning of Seoul: its day ends 15 hours later.
    let hour = 3_600 * SECOND;
    for (at_us, value) in [(0, 1.0), (15 * hour - 1, 2.0), (15 * hour, 4.0)] {
        plant.deliver(store, &[pressure(at_us, value)]).await;
    }
    let grid = Grid::Days { zone: jiff::tz::TimeZone::get("Asia/Seoul").unwrap() };
    let (from_us, to_us) = (BOOTED_US - 9 * hour, BOOTED_US + 39 * hour);
    let permit = Permit::for_test(vec![plant.key(0)], Form::Bucketed { grid }, from_us, to_us);
    for limit in [1, 10] {
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let chunk = store.read(&permit, cursor, limit).await.unwrap();
            let Rows::Buckets(rows) = chunk.rows else { panic!() };
            seen.extend(rows.iter().map(|row| (row.start_us - BOOTED_US, row.end_us - BOOTED_US, row.sum)));
            cursor = chunk.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, [(-9 * hour, 15 * hour, 3.0), (15 * hour, 39 * hour, 4.0)]);
    }
}

pub(crate) async fn a_value_holds_into_the_next_bucket_but_not_from_before_the_permit<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    // A reading is expected each second, so that one holds for three.
    for (at_us, value) in [(8 * SECOND, 10.0), (9 * SECOND, 20.0), (11 * SECOND, 30.0)] {
        plant.deliver(store, &[pressure(at_us, value)]).await;
    }
    engine.rearrange(&plant.firm()).await;
    plant.deliver(store, &[pressure(19 * SECOND, 40.0)]).await;
    let asked = [Function::TimeMean, Function::Increase];
    let read = async |from_s: i64| {
        let (from_us, to_us) = (BOOTED_US + from_s * SECOND, BOOTED_US + 40 * SECOND);
        let permit = Permit::for_test(vec![plant.key(0)], Form::buckets(10 * SECOND), from_us, to_us).asking(asked);
        let chunk = store.read(&permit, None, 100).await.unwrap();
        let Rows::Buckets(rows) = chunk.rows else { panic!() };
        let shown = |row: &Bucket| {
            let seconds = row.covered_us / SECOND;
            ((row.start_us - BOOTED_US) / SECOND, row.count, seconds, row.time_mean(), row.increase)
        };
        rows.iter().map(shown).collect::<Vec<_>>()
    };
    // 20 holds from 9 to 11, 30 from 11 to 14, 40 from 19 to 22.
    let second = (10, 2, 5, (20.0 + 3.0 * 30.0 + 40.0) / 5.0, 20.0);
    let third = (20, 0, 2, 40.0, 0.0);
    assert_eq!(read(0).await, [(0, 2, 2, 15.0, 10.0), second, third]);
    // What held when the range began was not shared.
    assert_eq!(read(10).await, [(10, 2, 4, (3.0 * 30.0 + 40.0) / 4.0, 10.0), third]);
}

pub(crate) async fn pages_are_of_one_state_while_data_arrives<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    for second in [10, 20, 30, 40] {
        plant.deliver(store, &[pressure(second * SECOND, second as f64)]).await;
    }
    let raw = whole_day(vec![plant.key(0)]);
    let buckets = Permit::for_test(vec![plant.key(0)], Form::buckets(20 * SECOND), BOOTED_US, raw.to_us());
    let first = store.read(&raw, None, 1).await.unwrap();
    let first_bucket = store.read(&buckets, None, 1).await.unwrap();
    assert_eq!((first.next.as_ref().unwrap().as_of, first.as_of), (Some(first.as_of), first_bucket.as_of));
    // Late, at the place where the reads stand, and newer than all of it.
    for second in [5, 10, 25, 50] {
        plant.deliver(store, &[pressure(second * SECOND, 1_000.0)]).await;
    }
    engine.rearrange(&plant.firm()).await;
    let rest = store.read(&raw, first.next, 100).await.unwrap();
    let Rows::Raw(rows) = &rest.rows else { panic!() };
    let times: Vec<_> = rows.iter().map(|row| (row.time_us - BOOTED_US) / SECOND).collect();
    assert_eq!((times, rest.next), (vec![20, 30, 40], None));
    let rest = store.read(&buckets, first_bucket.next, 100).await.unwrap();
    let Rows::Buckets(rows) = &rest.rows else { panic!() };
    let sums: Vec<_> = rows.iter().map(|row| row.sum).collect();
    assert_eq!(sums, [50.0, 40.0], "20 to 40, and 40 to 60");
    let anew = store.read(&raw, None, 100).await.unwrap();
    assert!(matches!(anew.rows, Rows::Raw(rows) if rows.len() == 8), "a read that begins sees all");
}

pub(crate) async fn what_was_stored_after_a_commit_is_read_alone<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    for second in [10, 20, 30] {
        plant.deliver(store, &[pressure(second * SECOND, 1.0)]).await;
    }
    let seen = store.newest_commit(&plant.firm()).await.unwrap();
    for second in [25, 10, 40] {
        plant.deliver(store, &[pressure(second * SECOND, 2.0)]).await;
    }
    let known = store.newest_commit(&plant.firm()).await.unwrap();
    plant.deliver(store, &[pressure(15 * SECOND, 3.0)]).await;
    let raw = whole_day(vec![plant.key(0)]);
    let begin = || ReadCursor::new(0, raw.from_us(), 0).after(seen).as_of(known);
    for rearranged in [false, true] {
        if rearranged {
            engine.rearrange(&plant.firm()).await;
        }
        // In pieces: the place between them is that of the readings that are left.
        let (mut times, mut at) = (Vec::new(), Some(begin()));
        while let Some(cursor) = at {
            let chunk = store.read(&raw, Some(cursor), 1).await.unwrap();
            let Rows::Raw(rows) = &chunk.rows else { panic!() };
            times.extend(rows.iter().map(|row| (row.time_us - BOOTED_US) / SECOND));
            at = chunk.next;
        }
        assert_eq!(times, [10, 25, 40], "rearranged: {rearranged}");
    }
    // A bucket is made of all its readings.
    let buckets = Permit::for_test(vec![plant.key(0)], Form::buckets(20 * SECOND), BOOTED_US, raw.to_us());
    let refused = store.read(&buckets, Some(ReadCursor::new(0, BOOTED_US, 0).after(seen)), 10).await;
    assert!(matches!(refused, Err(StoreError::Cursor)));
}

pub(crate) async fn what_is_declared_gone_is_marked_in_the_answer<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    plant.deliver(store, &[pressure(10 * SECOND, 1.0)]).await;
    plant.lose(store, 10 * SECOND, 75 * SECOND, 65).await;
    plant.deliver(store, &[pressure(75 * SECOND, 2.0)]).await;
    let marks = async |form: Form, from_s: i64, to_s: i64| {
        let (from_us, to_us) = (BOOTED_US + from_s * SECOND, BOOTED_US + to_s * SECOND);
        let chunk = store.read(&Permit::for_test(vec![plant.key(0)], form, from_us, to_us), None, 100).await.unwrap();
        let shown = |mark: &GapMark| ((mark.from_us - BOOTED_US) / SECOND, (mark.to_us - BOOTED_US) / SECOND);
        chunk.gaps.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(marks(Form::Raw, 0, 600).await, [(10, 75)]);
    assert_eq!(marks(Form::Raw, 20, 30).await, [(20, 30)], "never beyond what is permitted");
    assert_eq!(marks(Form::Raw, 80, 600).await, []);
    assert_eq!(marks(Form::buckets(60 * SECOND), 0, 600).await, [(0, 120)], "no finer than the buckets");
    assert_eq!(marks(Form::buckets(60 * SECOND), 120, 600).await, []);
}
