//! The engine over real directories.

use sandan_proto::reading::{Quality, Value};

use super::*;
use crate::consent::Form;
use crate::store::fixture::{BOOTED_US, Plant, options, pressure, read_all, values, whole_day};
use crate::store::{Bucket, Rows};

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
    assert_eq!(store.clock(&plant.gateway, plant.boot).await.unwrap(), Some(BOOTED_US));
    assert_eq!(store.watermark(&plant.gateway, plant.lane).await.unwrap(), 1);
    let epoch = plant.epoch;
    plant.connect(&store).await;
    assert_eq!(plant.epoch, epoch + 1);
    assert_eq!(done(&plant.deliver(&store, &[pressure(SECOND, 2.0)]).await), 1);
    assert_eq!(read_all(&store, &whole_day(plant.keys()), 1).await.len(), 2);
}
