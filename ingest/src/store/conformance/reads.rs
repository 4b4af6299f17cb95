//! Reads under a permit, in chunks.

use std::sync::atomic::{AtomicUsize, Ordering};

use sandan_proto::reading::{Quality, Value};

use super::{Engine, SECOND, TestClock, everything, minutes, unruly};
use crate::consent::{Form, Permit};
use crate::fixture::{BOOTED_US, Plant, pressure, read_all, values, whole_day};
use crate::store::{Bucket, ReadCursor, Rows, StoreError};

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
