//! Clocks of boots.

use sandan_proto::id::BootId;
use sandan_proto::reading::{Quality, Value};

use super::{Engine, SECOND, TestClock};
use crate::fixture::{BOOTED_US, CLOCK, Plant, pressure, whole_day};
use crate::store::{Clock, Content, Rows};

pub(crate) async fn a_clock_is_replaced_until_a_record_is_stored_under_it<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    let clock = |offset_us, estimated| Clock { offset_us, estimated };
    let set = async |boot, clock| store.set_clock(&plant.gateway, boot, clock).await.unwrap();
    let boot = plant.boot;
    assert_eq!(set(boot, clock(5, true)).await, clock(5, true));
    assert_eq!(set(boot, clock(BOOTED_US, false)).await, CLOCK);
    let other = BootId::random();
    assert_eq!(set(other, clock(9, true)).await, clock(9, true));
    plant.deliver(store, &[pressure(0, 1.0)]).await;
    assert_eq!(store.set_clock(&plant.gateway, boot, clock(7, false)).await.unwrap(), CLOCK, "it is applied once");
    assert_eq!(store.set_clock(&plant.gateway, other, clock(8, false)).await.unwrap(), clock(8, false));
    // A gateway that makes boots up forgets its own, and never one that something is stored under.
    for offset_us in 0..300 {
        store.set_clock(&plant.gateway, BootId::random(), clock(offset_us, false)).await.unwrap();
    }
    let kept = engine.count("SELECT count(*) FROM clock").await;
    assert_eq!((kept, store.clock(&plant.gateway, boot).await.unwrap()), (257, Some(CLOCK)));
}

pub(crate) async fn readings_under_an_estimated_clock_are_uncertain_before_and_after_a_rearrangement<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let registered = plant.connect(store).await;
    let bad = (0, SECOND, Value::F64(f64::NAN), Quality::BAD_NO_ANSWER);
    let source = (0, 2 * SECOND, Value::F64(3.0), Quality::UNCERTAIN_SOURCE);
    let sealed = plant.seal(&[pressure(0, 1.0), bad, source, (1, 0, Value::I64(4), Quality::GOOD)]);
    let mut delivery = plant.admitted(&sealed, &registered);
    let Content::Batch { clock, .. } = &mut delivery.content else { panic!() };
    clock.estimated = true;
    store.deliver(delivery).await.unwrap().await.unwrap().unwrap();
    plant.deliver(store, &[pressure(5 * SECOND, 2.0)]).await;
    for _ in 0..2 {
        let Rows::Raw(rows) = store.read(&whole_day(plant.keys()), None, 10).await.unwrap().rows else { panic!() };
        let qualities: Vec<_> = rows.iter().map(|row| row.quality).collect();
        let wanted = [
            Quality::UNCERTAIN_CLOCK,
            Quality::BAD_NO_ANSWER,
            Quality::UNCERTAIN_SOURCE,
            Quality::GOOD,
            Quality::UNCERTAIN_CLOCK,
        ];
        assert_eq!(qualities, wanted);
        engine.rearrange(&plant.firm()).await;
    }
}
