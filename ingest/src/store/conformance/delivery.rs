//! Records, watermarks, epochs: stored once, whatever comes again.

use sandan_proto::id::LaneId;

use super::{Engine, NOW, SECOND, TestClock, done};
use crate::fixture::{BOOTED_US, CLOCK, Plant, pressure, read_all, values, whole_day};
use crate::store::{Opening, Readings, Rows, Stored};

pub(crate) async fn one_register_is_stored_and_read_back<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    for second in 0..3 {
        done(&plant.deliver(store, &[pressure(second * SECOND, 10.0 + second as f64)]).await);
    }
    assert_eq!(values(store, plant.key(0)).await, [10.0, 11.0, 12.0]);
    let series = store.series(&plant.firm()).await.unwrap();
    assert_eq!(series.len(), 6);
    let info = series.iter().find(|info| info.key == plant.key(0)).unwrap();
    assert_eq!((info.unit.as_str(), info.newest_us), ("MPa", Some(BOOTED_US + 2 * SECOND)));
    assert_eq!(info.name_ko, "1호 프레스");
    let lanes = store.lanes(&plant.gateway).await.unwrap();
    assert_eq!((lanes[0].through, lanes[0].readings, lanes[0].newest_us), (3, 3, Some(BOOTED_US + 2 * SECOND)));
}

pub(crate) async fn what_was_acknowledged_is_there_after_a_restart<E: Engine>() {
    let mut engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    plant.deliver(store, &[pressure(0, 1.0)]).await;
    let timeline = store.timeline();
    engine.reopen().await;
    let store = engine.store();
    assert_eq!(store.timeline(), timeline);
    assert_eq!(values(store, plant.key(0)).await, [1.0]);
    assert_eq!(store.clock(&plant.gateway, plant.boot).await.unwrap(), Some(CLOCK));
    assert_eq!(store.watermark(&plant.gateway, plant.lane).await.unwrap(), 1);
    let epoch = plant.epoch;
    plant.connect(store).await;
    assert_eq!(plant.epoch, epoch + 1);
    assert_eq!(done(&plant.deliver(store, &[pressure(SECOND, 2.0)]).await), 1);
    assert_eq!(read_all(store, &whole_day(plant.keys()), 1).await.len(), 2);
}

pub(crate) async fn a_record_that_comes_again_is_stored_once<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let registered = plant.connect(store).await;
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
    assert_eq!(values(store, plant.key(0)).await, [1.0, 2.0, 3.0]);
    let sealed = plant.seal(&[pressure(3 * SECOND, 4.0)]);
    let older = plant.admitted(&sealed, &registered);
    plant.connect(store).await;
    assert_eq!(store.deliver(older).await.unwrap().await.unwrap().unwrap(), Stored::Superseded);
    assert_eq!(store.watermark(&plant.gateway, plant.lane).await.unwrap(), 3);
}

pub(crate) async fn readings_of_one_commit_share_its_number_and_the_next_is_greater<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    plant.deliver(store, &[pressure(0, 1.0), pressure(1, 1.0)]).await;
    plant.deliver(store, &[pressure(2, 1.0)]).await;
    engine.rearrange(&plant.firm()).await;
    plant.deliver(store, &[pressure(3, 1.0)]).await;
    let Rows::Raw(rows) = store.read(&whole_day(plant.keys()), None, 10).await.unwrap().rows else { panic!() };
    assert_eq!(rows.iter().map(|row| row.commit).collect::<Vec<_>>(), [1, 1, 2, 3]);
}

pub(crate) async fn checksums_are_known_of_what_is_new_and_of_what_was_rearranged<E: Engine>() {
    let mut engine = E::new(TestClock::default()).await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wanted = Vec::new();
    for round in 0..3 {
        let store = engine.store();
        let registered = plant.connect(store).await;
        for second in 0..300 {
            let sealed = plant.seal(&[pressure((round * 300 + second) * SECOND, second as f64)]);
            wanted.push(sealed.checksum());
            store.deliver(plant.admitted(&sealed, &registered)).await.unwrap().await.unwrap().unwrap();
        }
        if round < 2 {
            engine.rearrange(&plant.firm()).await;
        }
        engine.reopen().await;
    }
    let store = engine.store();
    for (sum, sequence) in wanted.iter().zip(1..) {
        let known = store.checksum(&plant.gateway, plant.lane, sequence).await.unwrap();
        assert_eq!(known, Some(*sum), "{sequence}");
    }
    assert_eq!(store.checksum(&plant.gateway, plant.lane, 901).await.unwrap(), None);
    assert_eq!(store.checksum(&plant.gateway, LaneId::random(), 1).await.unwrap(), None);
}

pub(crate) async fn a_gateway_is_fenced_across_restarts_and_let_in_for_as_long_as_it_needs<E: Engine>() {
    let mut engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    plant.deliver(store, &[pressure(0, 1.0)]).await;
    let copy = [LaneId::random()];
    let open_as = async |store: &dyn Readings, lanes: &[LaneId]| store.open_session(&plant.gateway, 0, lanes).await;
    assert!(matches!(open_as(store, &copy).await.unwrap(), Opening::Fenced { used: 1 }));
    engine.reopen().await;
    let store = engine.store();
    assert_eq!(store.fenced().await.unwrap(), [(plant.gateway.clone(), NOW)]);
    store.release(&plant.gateway).await.unwrap();
    assert_eq!(store.fenced().await.unwrap(), []);
    // Its connection breaks before it has noted the epoch, and once more.
    for epoch in 2..5 {
        let Opening::Granted { epoch: granted, .. } = open_as(store, &copy).await.unwrap() else { panic!() };
        assert_eq!(granted, epoch);
        assert!(matches!(open_as(store, &[plant.lane]).await.unwrap(), Opening::Fenced { .. }), "another copy");
    }
    // A record came: the spool has noted its epoch.
    (plant.epoch, plant.lane, plant.sequence, plant.cumulative) = (4, copy[0], 0, 0);
    assert_eq!(done(&plant.deliver(store, &[pressure(SECOND, 2.0)]).await), 1);
    let again = store.open_session(&plant.gateway, 0, &copy).await.unwrap();
    assert!(matches!(again, Opening::Fenced { used: 4 }), "{again:?}");
}
