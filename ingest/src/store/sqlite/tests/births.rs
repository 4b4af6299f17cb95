//! Births that come again, and too many of them.

use super::*;

#[tokio::test]
async fn a_gateway_has_a_bounded_number_of_series_versions() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    // With the six that are there, room for four more.
    let many = "INSERT INTO series (firm, asset, metric, gateway, expected_interval_ms)
                WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 39990) SELECT 1, 'a', 'x_' || i, 1, 0 FROM n;
                INSERT INTO version (series, unit, type) SELECT number, '', 1 FROM series WHERE asset = 'a';";
    behind(&dir).execute_batch(many).unwrap();
    plant.births = births("press-2", "MPa");
    let registered = plant.connect(&store).await;
    let over: Vec<_> = registered.places.iter().map(|place| *place == Placement::OverQuota).collect();
    assert_eq!(over, [false, false, false, false, true, true]);
    let commits = store.metrics().commits.get();
    let again = store.register(&plant.gateway, plant.births.clone()).await.unwrap();
    assert_eq!((&again.places, store.metrics().commits.get()), (&registered.places, commits));
    let readings = [0, 4].map(|series| (series, 0, Value::F64(1.0), Quality::GOOD));
    assert_eq!(done(&plant.deliver(&store, &readings).await), 1);
    let letters = store.dead_letters(&plant.gateway).await.unwrap();
    assert_eq!(letters[0].reason, DeadLetterReason::OverQuota);
    assert_eq!(letters[0].detail, "press-2/temperature is beyond the series that a gateway may have");
    assert_eq!(values(&store, plant.key(0)).await, [1.0]);
    store.compact(&plant.firm()).await.unwrap();
    // A changed unit of what is there needs room too; what is there stays.
    plant.births = births("press-1", "kPa");
    let places = plant.connect(&store).await.places.clone();
    assert_eq!(places[0], Placement::OverQuota);
    assert!(matches!(places[1], Placement::Own(..)));
}
