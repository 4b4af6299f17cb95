//! What is put aside: counted, listed, tried again, discarded.

use sandan_proto::id::{BootId, FirmId};
use sandan_proto::reading::{Quality, Value};
use sandan_proto::v1::DeadLetterReason;

use super::{Engine, NOW, SECOND, TestClock};
use crate::fixture::{CLOCK, Plant, Reading, pressure, values};
use crate::session::admission;
use crate::store::{Choice, Clock, DeadRecord, Delivery, Readings, Retried};

pub(crate) async fn dead(store: &dyn Readings, plant: &Plant) -> Vec<DeadRecord> {
    store.dead_records(&plant.firm(), &Choice::default(), 0, 100).await.unwrap()
}

pub(crate) async fn retry(store: &dyn Readings, plant: &Plant, id: i64) -> Retried {
    store.retry_dead(&plant.firm(), id).await.unwrap().unwrap()
}

/// Delivers what a session would, without asking a clock or births that are not there.
pub(crate) async fn put_aside(store: &dyn Readings, plant: &mut Plant, readings: &[Reading], reason: DeadLetterReason) {
    let sealed = plant.seal(readings);
    let letter = admission::whole(reason, None, "not yet".into());
    let content = admission::dead(&sealed, vec![letter]);
    let delivery = Delivery {
        gateway: plant.gateway.clone(),
        epoch: plant.epoch,
        lane: sealed.lane,
        first: sealed.sequence,
        last: sealed.sequence,
        cumulative: Some(sealed.cumulative_readings),
        content,
    };
    store.deliver(delivery).await.unwrap().await.unwrap().unwrap();
}

/// Stored, dead-lettered, as the store counts them.
pub(crate) async fn sums(store: &dyn Readings, plant: &Plant) -> (u64, u64) {
    let stored = store.lanes(&plant.gateway).await.unwrap().iter().map(|lane| lane.readings).sum();
    let dead = store.dead_letters(&plant.gateway).await.unwrap().iter().map(|count| count.readings).sum();
    (stored, dead)
}

pub(crate) async fn a_record_of_many_dead_columns_costs_a_few_rows<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    let unknown: Vec<Reading> = (100..1_100).map(|series| (series, 0, Value::F64(1.0), Quality::GOOD)).collect();
    plant.deliver(store, &unknown).await;
    let kept = engine.count("SELECT count(*) FROM dead_letter").await;
    let counts = store.dead_letters(&plant.gateway).await.unwrap();
    assert_eq!((kept, counts[0].letters, counts[0].readings), (65, 1_000, 1_000));
    assert_eq!(store.metrics().dead_letters(), [(DeadLetterReason::UnknownSeries, 1_000, 1_000)]);
}

pub(crate) async fn a_record_whose_clock_comes_late_is_stored_by_a_retry_and_only_once<E: Engine>() {
    let mut engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    plant.boot = BootId::random();
    put_aside(store, &mut plant, &[pressure(0, 1.0), pressure(SECOND, 2.0)], DeadLetterReason::ClockUnknown).await;
    assert_eq!(sums(store, &plant).await, (0, 2));
    let id = dead(store, &plant).await[0].id;
    let kept = retry(store, &plant, id).await;
    assert_eq!((kept.stored, kept.letters[0].reason), (0, DeadLetterReason::ClockUnknown));
    assert_eq!(kept.letters[0].detail, "the clock of its boot is not known");
    let content = store.dead_content(&plant.firm(), id).await.unwrap().unwrap();
    let readings = content.readings.unwrap();
    assert_eq!((readings.len(), readings[1].monotonic_us, readings[1].time_us), (2, SECOND, None));
    assert_eq!(readings[1].series.as_ref().unwrap().1.as_str(), "pressure");

    store.set_clock(&plant.gateway, plant.boot, CLOCK).await.unwrap();
    let firm = plant.firm();
    let both = tokio::join!(store.retry_dead(&firm, id), store.retry_dead(&firm, id));
    assert_eq!(both.0.unwrap().unwrap(), Retried { stored: 2, letters: Vec::new() });
    assert_eq!(both.1.unwrap(), None, "it is not there a second time");
    assert_eq!(values(store, plant.key(0)).await, [1.0, 2.0]);
    assert_eq!(sums(store, &plant).await, (2, 0));
    assert_eq!(store.dead_letters(&plant.gateway).await.unwrap()[0].recovered, 2);
    engine.rearrange(&plant.firm()).await;
    engine.reopen().await;
    let store = engine.store();
    assert_eq!(values(store, plant.key(0)).await, [1.0, 2.0]);
    assert_eq!(engine.count("SELECT dead_bytes FROM gateway").await, 0);
}

pub(crate) async fn a_retry_stores_the_columns_that_were_put_aside_and_no_other<E: Engine>() {
    let clock = TestClock::default();
    let engine = E::new(clock.clone()).await;
    let store = engine.store();
    let mut owner = Plant::new("hanbit/press-hall", "press-1");
    let mut second = Plant::new("hanbit/annex", "press-2");
    owner.connect(store).await;
    second.connect(store).await;
    let wrong = (1, 0, Value::F64(9.0), Quality::GOOD);
    let ahead = pressure(2 * 3_600 * SECOND, 5.0);
    // One column is good, one of a wrong type, one ahead of its time.
    second.deliver(store, &[(4, 0, Value::F64(1.0), Quality::GOOD), wrong.clone()]).await;
    let registered = store.registered(&second.gateway, second.births.hash()).await.unwrap().unwrap();
    let sealed = second.seal(&[(4, SECOND, Value::F64(2.0), Quality::GOOD), ahead, wrong]);
    let mut delivery = second.admitted(&sealed, &registered);
    delivery.content = admission::admit(sealed, &registered, CLOCK, admission::Bounds::at(NOW, 86_400 * SECOND));
    store.deliver(delivery).await.unwrap().await.unwrap().unwrap();
    assert_eq!((sums(store, &second).await, values(store, second.key(4)).await), ((2, 3), vec![1.0, 2.0]));

    // Time passes; a wrong type stays wrong.
    clock.advance(3 * 3_600 * SECOND);
    let ids: Vec<_> = dead(store, &second).await.iter().map(|record| record.id).collect();
    for again in [false, true] {
        for &id in &ids {
            let tried = retry(store, &second, id).await;
            assert_eq!(tried.stored, u64::from(!again && id == ids[1]));
            let reasons: Vec<_> = tried.letters.iter().map(|letter| letter.reason).collect();
            assert_eq!(reasons, [DeadLetterReason::WrongType]);
        }
        assert_eq!(values(store, second.key(4)).await, [1.0, 2.0]);
        assert_eq!(values(store, second.key(0)).await, [5.0]);
        assert_eq!(sums(store, &second).await, (3, 2));
        engine.rearrange(&second.firm()).await;
    }
    let content = store.dead_content(&second.firm(), ids[1]).await.unwrap().unwrap();
    let left: Vec<_> = content.readings.unwrap().into_iter().map(|reading| reading.value).collect();
    assert_eq!(left, [Value::F64(9.0)], "what is stored is no longer exported");
}

pub(crate) async fn a_record_of_another_owner_is_stored_once_the_series_is_its_gateways<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let (mut owner, mut second) = (Plant::new("hanbit/press-hall", "press-1"), Plant::new("hanbit/annex", "press-1"));
    owner.connect(store).await;
    second.connect(store).await;
    second.deliver(store, &[pressure(0, 1.0)]).await;
    let id = dead(store, &second).await[0].id;
    assert_eq!(retry(store, &second, id).await.letters[0].reason, DeadLetterReason::OtherOwner);
    let move_to = "UPDATE series SET gateway = (SELECT number FROM gateway WHERE id = 'hanbit/annex')";
    engine.behind(move_to).await;
    assert_eq!(retry(store, &second, id).await.stored, 1);
    assert_eq!(values(store, second.key(0)).await, [1.0]);
}

pub(crate) async fn what_is_discarded_stays_counted_and_another_firms_is_none<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    plant.deliver(store, &[pressure(0, 1.0), (7, 0, Value::F64(1.0), Quality::GOOD)]).await;
    let id = dead(store, &plant).await[0].id;
    let stranger = FirmId::new("daeil").unwrap();
    assert_eq!(store.retry_dead(&stranger, id).await.unwrap(), None);
    assert_eq!(store.discard_dead(&stranger, id).await.unwrap(), None);
    assert_eq!(store.dead_content(&stranger, id).await.unwrap(), None);
    assert_eq!(store.dead_records(&stranger, &Choice::default(), 0, 9).await.unwrap(), []);
    assert_eq!(store.discard_dead(&plant.firm(), id).await.unwrap(), Some(1));
    assert_eq!(store.discard_dead(&plant.firm(), id).await.unwrap(), None);
    let count = &store.dead_totals().await.unwrap()[&plant.gateway][0];
    assert_eq!((count.readings, count.discarded, count.letters), (1, 1, 1));
    assert_eq!(dead(store, &plant).await, []);
    let choice = Choice { reason: Some(DeadLetterReason::WrongType), ..Choice::default() };
    put_aside(store, &mut plant, &[pressure(1, 1.0)], DeadLetterReason::UnknownSeries).await;
    assert_eq!(store.dead_records(&plant.firm(), &choice, 0, 9).await.unwrap(), []);
}

pub(crate) async fn an_export_says_of_a_time_that_is_estimated_that_it_is<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    plant.boot = BootId::random();
    let bad = (4, 0, Value::F64(1.0), Quality::BAD_NO_ANSWER);
    put_aside(store, &mut plant, &[pressure(0, 1.0), bad], DeadLetterReason::ClockUnknown).await;
    let id = dead(store, &plant).await[0].id;
    let qualities = async || -> Vec<Quality> {
        let content = store.dead_content(&plant.firm(), id).await.unwrap().unwrap();
        content.readings.unwrap().iter().map(|reading| reading.quality).collect()
    };
    assert_eq!(qualities().await, [Quality::GOOD, Quality::BAD_NO_ANSWER], "no time at all");
    store.set_clock(&plant.gateway, plant.boot, Clock { estimated: true, ..CLOCK }).await.unwrap();
    assert_eq!(qualities().await, [Quality::UNCERTAIN_CLOCK, Quality::BAD_NO_ANSWER]);
}

pub(crate) async fn numbers_are_taken_in_order_and_once_however_they_are_given<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    for at in 0..4 {
        put_aside(store, &mut plant, &[pressure(at, 1.0)], DeadLetterReason::UnknownSeries).await;
    }
    let choice = Choice { ids: vec![4, 2, 2, 1], ..Choice::default() };
    let mut found = Vec::new();
    loop {
        let page = store.dead_records(&plant.firm(), &choice, found.last().copied().unwrap_or(0), 2).await.unwrap();
        let Some(_) = page.last() else { break };
        found.extend(page.iter().map(|record| record.id));
    }
    assert_eq!(found, [1, 2, 4]);
}
