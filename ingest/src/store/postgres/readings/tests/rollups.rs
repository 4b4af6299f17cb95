//! Hours that are counted: what they save, and that they are right whatever comes when.

use super::*;
use crate::consent::{Form, Function, Permit};
use crate::fixture::{BOOTED_US, Plant, pressure, values};
use crate::store::Rows;
use crate::store::conformance::SECOND;
use crate::store::conformance::coarse::work;
use crate::store::retention::{Classes, Retention};
use crate::time::{DAY_US, HOUR_US, MINUTE_US};

/// Count, sum and first of each bucket of a series on the day of the boot.
async fn told(store: &PostgresReadings, plant: &Plant, width_us: i64, function: Function) -> Vec<(u64, f64, f64)> {
    let permit = Permit::for_test(vec![plant.key(0)], Form::buckets(width_us), BOOTED_US, BOOTED_US + DAY_US);
    let permit = permit.asking([Function::Mean, function]);
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let chunk = store.read(&permit, cursor, 1_000).await.unwrap();
        let Rows::Buckets(rows) = chunk.rows else { panic!("not buckets") };
        all.extend(rows.iter().filter(|row| row.count > 0).map(|row| (row.count, row.sum, row.first)));
        cursor = chunk.next;
        if cursor.is_none() {
            return all;
        }
    }
}

/// Proof that readings are not looked at: they say something else by now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hours_and_minutes_are_answered_without_their_readings() {
    for place in [servers::plain(), servers::timescale()] {
        let bed = Bed::new(place, TestClock::default()).await;
        let store = bed.store();
        let mut plant = Plant::new("hanbit/press-hall", "press-1");
        plant.connect(store).await;
        work(&mut plant, store, 0, 4).await;
        bed.clock.advance(2 * HOUR_US);
        store.upkeep().await.unwrap();
        let before = [
            told(store, &plant, HOUR_US, Function::TimeMean).await,
            told(store, &plant, MINUTE_US, Function::Max).await,
        ];
        assert_eq!((before[0].len(), before[1].len()), (4, 4 * 60));
        bed.sql("UPDATE reading SET value = 0");
        let hours = told(store, &plant, HOUR_US, Function::TimeMean).await;
        assert_eq!(hours[..3], before[0][..3]);
        assert_eq!((hours[3].0, hours[3].1), (180, 0.0), "the fourth was not over");
        assert_eq!(told(store, &plant, MINUTE_US, Function::Max).await[..180], before[1][..180]);
        // States are told from readings alone.
        assert!(told(store, &plant, HOUR_US, Function::Durations).await.iter().all(|(_, sum, _)| *sum == 0.0));
    }
}

/// Whatever is committed while hours are closed and counted is in them or beside them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hours_are_right_while_readings_come_late_and_are_counted() {
    const RECORDS: i64 = 300;
    let bed = Bed::new(servers::plain(), TestClock::default()).await;
    let store = bed.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    let delivered = std::sync::atomic::AtomicBool::new(false);
    let delivering = async {
        for at in 0..RECORDS {
            // Twelve hours, over and over: in time, late, and far from each other.
            let at_us = (at * 5 % 12) * HOUR_US + at * SECOND;
            plant.deliver(store, &[pressure(at_us, 1.0)]).await;
        }
        delivered.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let key = Plant::new("hanbit/press-hall", "press-1");
    let counting = async {
        while !delivered.load(std::sync::atomic::Ordering::SeqCst) {
            bed.clock.advance(10 * MINUTE_US);
            store.upkeep().await.unwrap();
        }
    };
    let reading = async {
        let mut least = 0;
        while !delivered.load(std::sync::atomic::Ordering::SeqCst) {
            let known = store.metrics().readings.get();
            let seen: u64 = told(store, &key, HOUR_US, Function::Max).await.iter().map(|(count, ..)| count).sum();
            assert!(seen >= known && seen >= least && seen <= RECORDS.cast_unsigned(), "{seen} of {known}, {least}");
            least = seen;
        }
    };
    tokio::join!(delivering, counting, reading);
    for _ in 0..2 {
        let hours = told(store, &plant, HOUR_US, Function::Max).await;
        assert_eq!(hours, [(RECORDS.cast_unsigned() / 12, RECORDS as f64 / 12.0, 1.0); 12]);
        store.upkeep().await.unwrap();
    }
    assert_eq!(bed.sql("SELECT count(*) FROM late"), "0");
}

/// The process ends after hours were closed, before they were counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hours_that_are_closed_and_not_counted_are_read_from_their_readings() {
    let mut bed = Bed::new(servers::plain(), TestClock::default()).await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(bed.store()).await;
    plant.deliver(bed.store(), &[pressure(0, 1.0), pressure(HOUR_US, 2.0)]).await;
    bed.sql(&format!("UPDATE firm SET closed_us = {}", BOOTED_US + 2 * HOUR_US));
    plant.deliver(bed.store(), &[pressure(2 * SECOND, 3.0)]).await;
    bed.open().await;
    let expected = [(2, 4.0, 1.0), (1, 2.0, 2.0)];
    assert_eq!(told(bed.store(), &plant, HOUR_US, Function::Max).await, expected);
    bed.clock.advance(3 * HOUR_US);
    bed.store().upkeep().await.unwrap();
    assert_eq!(bed.sql("SELECT count(*) FROM rollup"), "4");
    assert_eq!(told(bed.store(), &plant, HOUR_US, Function::Max).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_days_go_and_leave_their_hours() {
    for place in [servers::plain(), servers::timescale()] {
        let bed = Bed::new(place, TestClock::default()).await;
        let store = bed.store();
        let mut plant = Plant::new("hanbit/press-hall", "press-1");
        plant.connect(store).await;
        work(&mut plant, store, 0, 3).await;
        let hours = told(store, &plant, HOUR_US, Function::TimeMean).await;
        let newest = store.series(&plant.firm()).await.unwrap();
        // In the last hour of the last day on which it is kept.
        bed.clock.advance(92 * DAY_US + 22 * HOUR_US);
        store.upkeep().await.unwrap();
        assert_eq!(values(store, plant.key(0)).await.len(), 3 * 180 - 6);
        // A record that was not counted keeps the day.
        bed.clock.advance(2 * HOUR_US);
        bed.sql(&format!("INSERT INTO late VALUES (999, {BOOTED_US})"));
        store.upkeep().await.unwrap();
        assert_eq!(values(store, plant.key(0)).await.len(), 3 * 180 - 6);
        bed.sql("DELETE FROM late");
        store.upkeep().await.unwrap();
        assert_eq!(bed.sql("SELECT (SELECT count(*) FROM reading) + (SELECT count(*) FROM reading_text)"), "0");
        assert_eq!(told(store, &plant, HOUR_US, Function::TimeMean).await, hours);
        assert_eq!(store.series(&plant.firm()).await.unwrap(), newest);
        assert_eq!(store.retain(&plant.firm(), Pass::Apply).await.unwrap().readings, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_of_a_class_that_is_kept_for_less_go_one_by_one() {
    for place in [servers::plain(), servers::timescale()] {
        let mut bed = Bed::new(place, TestClock::default()).await;
        let keep = Retention { raw_us: DAY_US, ..Retention::default() };
        let classes = Classes { except: vec![(None, Some("pressure".parse().unwrap()), keep)], ..Classes::default() };
        let connected = bed.connect().await;
        bed.store = Some(PostgresReadings::open(connected, Options { classes, ..options(&bed.clock) }).await.unwrap());
        let store = bed.store();
        let mut plant = Plant::new("hanbit/press-hall", "press-1");
        plant.connect(store).await;
        work(&mut plant, store, 0, 2).await;
        let hours = told(store, &plant, HOUR_US, Function::TimeMean).await;
        bed.clock.advance(4 * DAY_US);
        store.upkeep().await.unwrap();
        assert_eq!(values(store, plant.key(0)).await.len(), 0);
        assert_eq!(values(store, plant.key(1)).await.len(), 360);
        assert_eq!(told(store, &plant, HOUR_US, Function::TimeMean).await, hours);
        // Late ones among what is gone go with the next pass.
        plant.deliver(store, &[pressure(MINUTE_US + 1, 500.0)]).await;
        let with = told(store, &plant, HOUR_US, Function::TimeMean).await;
        assert_eq!((with[0].0, with[0].1), (hours[0].0 + 1, hours[0].1 + 500.0));
        store.upkeep().await.unwrap();
        assert_eq!(told(store, &plant, HOUR_US, Function::TimeMean).await, with);
        assert_eq!(bed.sql("SELECT count(*) FROM reading"), "0");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_far_a_store_is_does_not_fall_when_a_firm_is_erased() {
    let bed = Bed::new(servers::plain(), TestClock::default()).await;
    let store = bed.store();
    for firm in ["hanbit/press-hall", "daeil/line-1"] {
        let mut plant = Plant::new(firm, "press-1");
        plant.connect(store).await;
        plant.deliver(store, &[pressure(0, 1.0)]).await;
    }
    let before = store.commits().await.unwrap();
    assert!(store.erase(&FirmId::new("hanbit").unwrap()).await.unwrap());
    assert_eq!(store.commits().await.unwrap(), before);
}
