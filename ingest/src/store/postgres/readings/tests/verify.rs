//! The deep check of a database that is whole, and of one that is not.

use super::*;
use crate::fixture::{Plant, pressure};
use crate::store::conformance::coarse::work;
use crate::store::{Pass, Verified};
use crate::time::{DAY_US, HOUR_US};
use sandan_proto::reading::{Quality, Value};

async fn flaws(bed: &Bed) -> Vec<String> {
    let found = verify(&bed.connect().await).await.unwrap().flaws;
    assert!(found.iter().all(|flaw| !flaw.hint.is_empty()), "{found:?}");
    found.into_iter().map(|flaw| format!("{}: {}", flaw.place, flaw.what)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_hours_and_catalogue_is_named() {
    for place in [servers::plain(), servers::timescale()] {
        let bed = Bed::new(place, TestClock::default()).await;
        let store = bed.store();
        let mut plant = Plant::new("hanbit/press-hall", "press-1");
        plant.connect(store).await;
        assert_eq!(verify(&bed.connect().await).await.unwrap(), Verified::default(), "nothing is there yet");
        work(&mut plant, store, 0, 3).await;
        plant.deliver(store, &[pressure(2 * HOUR_US, 1.0), (9, 0, Value::F64(1.0), Quality::GOOD)]).await;
        plant.lose(store, 0, HOUR_US, 3).await;
        let whole = Verified { readings: 3 * 3 * 180 + 1, flaws: Vec::new() };
        assert_eq!(verify(&bed.connect().await).await.unwrap(), whole, "before it is counted");
        bed.clock.advance(2 * HOUR_US);
        store.upkeep().await.unwrap();
        assert_eq!(verify(&bed.connect().await).await.unwrap(), whole, "counted");
        work(&mut plant, store, 1, 2).await;
        let whole = Verified { readings: whole.readings + 3 * 180, ..whole };
        assert_eq!(verify(&bed.connect().await).await.unwrap(), whole, "late beside it");
        store.upkeep().await.unwrap();
        assert_eq!(verify(&bed.connect().await).await.unwrap(), whole, "counted again");
        // Each on top of those before: what is named has to name it too.
        for (sql, part) in [
            (
                "DELETE FROM reading_i64 WHERE ts = '2026-11-23T00:20:00Z' AND series_id = 2",
                "the hour of 2026-11-23T00:00:00Z: it counts 180 numbers, and 179 are there",
            ),
            ("DELETE FROM rollup WHERE hour_us = 1795395600000000", "its 360 readings are not counted"),
            (
                "UPDATE rollup SET stats = '\\x07' WHERE series_id = 1 AND hour_us = 1795392000000000",
                "pressure (series_id 1): the hour of 2026-11-23T00:00:00Z: cannot be decoded",
            ),
            (
                "UPDATE rollup SET stats = (SELECT stats FROM rollup AS other WHERE other.series_id = 3
                    AND other.width_s = 60 AND other.hour_us = rollup.hour_us)
                 WHERE series_id = 1 AND width_s = 60 AND hour_us = 1795399200000000",
                "the hour of 2026-11-23T02:00:00Z: it counts",
            ),
            ("UPDATE lane SET through = 4", "a gap of it that is stored lies beyond its watermark"),
            ("UPDATE lane SET through = 0", "would be stored again"),
            ("UPDATE gateway SET used = granted + 1", "an epoch was used that was never granted"),
            ("DELETE FROM dead_letter", "it has no reason"),
            ("DELETE FROM asset", "its asset is not in the catalogue"),
            ("INSERT INTO late VALUES (999, 0)", "hours are counted of a series that is not there"),
        ] {
            bed.sql(sql);
            let found = flaws(&bed).await;
            assert!(found.iter().any(|flaw| flaw.contains(part)), "{sql}: {found:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_left_is_compared_with_its_own_minutes() {
    let bed = Bed::new(servers::plain(), TestClock::default()).await;
    let store = bed.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    work(&mut plant, store, 0, 2).await;
    bed.clock.advance(93 * DAY_US);
    store.retain(&plant.firm(), Pass::Apply).await.unwrap();
    assert_eq!(verify(&bed.connect().await).await.unwrap(), Verified::default(), "no reading is left");
    bed.sql(
        "UPDATE rollup SET stats = (SELECT stats FROM rollup AS other WHERE other.series_id = 2
             AND other.width_s = 3600 AND other.hour_us = rollup.hour_us) WHERE series_id = 1 AND width_s = 3600",
    );
    let found = flaws(&bed).await;
    assert!(found.len() == 2 && found[0].contains("its minutes"), "{found:?}");
}
