//! Owners, versions of series, births that come again.

use sandan_proto::births::Births;
use sandan_proto::id::SeriesKey;
use sandan_proto::reading::{Quality, Value, ValueType};
use sandan_proto::v1::DeadLetterReason;

use super::{Engine, SECOND, TestClock};
use crate::fixture::{Plant, births, pressure, values};
use crate::store::{Placement, SeriesInfo};

pub(crate) async fn a_series_has_one_owner_and_a_second_one_is_refused_and_shown<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut owner = Plant::new("hanbit/press-hall", "press-1");
    let mut second = Plant::new("hanbit/annex", "press-1");
    let mut stranger = Plant::new("daeil/press-hall", "press-1");
    owner.connect(store).await;
    let registered = second.connect(store).await;
    assert!(registered.places.iter().all(|place| *place == Placement::OtherOwner));
    assert!(matches!(stranger.connect(store).await.places[0], Placement::Own(..)), "another firm's asset");
    owner.deliver(store, &[pressure(0, 1.0)]).await;
    second.deliver(store, &[pressure(0, 2.0)]).await;
    assert_eq!(values(store, owner.key(0)).await, [1.0]);
    let refused = store.refused_series(&owner.firm()).await.unwrap();
    assert_eq!(refused.len(), 6);
    assert_eq!((&refused[0].owner, &refused[0].refused), (&owner.gateway, &second.gateway));
    assert_eq!(store.dead_letters(&second.gateway).await.unwrap()[0].reason, DeadLetterReason::OtherOwner);
    // Once it declares something else it is refused no more.
    second.births = births("press-2", "MPa");
    second.connect(store).await;
    assert_eq!(store.refused_series(&owner.firm()).await.unwrap(), []);
    let all = store.series(&owner.firm()).await.unwrap();
    assert_eq!(all.len(), 12);
    for info in &all {
        assert_eq!(store.series_of(&info.key).await.unwrap().as_ref(), Some(info));
    }
    let key = SeriesKey { metric: "stack_height".parse().unwrap(), ..owner.key(0) };
    assert_eq!(store.series_of(&key).await.unwrap(), None);
    let key = SeriesKey { firm: "nobody".parse().unwrap(), ..owner.key(0) };
    assert_eq!(store.series_of(&key).await.unwrap(), None);
    assert_eq!(store.newest_commit(&key.firm).await.unwrap(), 0);
    let before = store.newest_commit(&owner.firm()).await.unwrap();
    owner.deliver(store, &[pressure(SECOND, 1.0)]).await;
    assert!(store.newest_commit(&owner.firm()).await.unwrap() > before);
}

pub(crate) async fn a_changed_unit_is_a_new_version_and_is_never_mixed<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    plant.deliver(store, &[pressure(0, 1.0), (2, 0, Value::Bool(true), Quality::GOOD)]).await;
    let yesterday = std::mem::replace(&mut plant.births, births("press-1", "kPa"));
    plant.connect(store).await;
    plant.deliver(store, &[pressure(SECOND, 1000.0)]).await;
    assert_eq!(values(store, plant.key(0)).await, [1000.0]);
    // A backlog of yesterday's births neither mixes in nor brings the old unit back.
    plant.births = yesterday;
    plant.connect(store).await;
    plant.deliver(store, &[pressure(SECOND / 2, 2.0)]).await;
    let info = |series: Vec<SeriesInfo>, key| series.into_iter().find(|info| info.key == key).unwrap();
    let shown = info(store.series(&plant.firm()).await.unwrap(), plant.key(0));
    assert_eq!(shown.other_units, ["MPa"], "what is stored and not read is named");
    let unit = shown.unit;
    assert_eq!((unit.as_str(), values(store, plant.key(0)).await), ("kPa", vec![1000.0]));
    assert_eq!(values(store, plant.key(2)).await, [1.0], "what kept its unit is whole");
}

pub(crate) async fn a_type_that_changes_within_a_unit_stays_readable<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    plant.deliver(store, &[(1, 0, Value::I64(7), Quality::GOOD)]).await;
    let mut set: sandan_proto::v1::BirthSet = prost::Message::decode(plant.births.content().clone()).unwrap();
    set.series[1].value_type = ValueType::F64.into();
    plant.births = Births::new(&set).unwrap();
    plant.connect(store).await;
    plant.deliver(store, &[(1, SECOND, Value::F64(7.5), Quality::GOOD)]).await;
    engine.rearrange(&plant.firm()).await;
    assert_eq!(values(store, plant.key(1)).await, [7.0, 7.5]);
}

pub(crate) async fn births_that_change_nothing_are_not_written_again<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let (mut owner, mut second) = (Plant::new("hanbit/press-hall", "press-1"), Plant::new("hanbit/annex", "press-1"));
    let mut before = Vec::new();
    for plant in [&mut owner, &mut second] {
        let registered = plant.connect(store).await;
        before.push((registered.number, registered.places.clone()));
    }
    let commits = store.metrics().commits.get();
    for (plant, before) in [&owner, &second].into_iter().zip(before) {
        let again = store.register(&plant.gateway, plant.births.clone()).await.unwrap();
        assert_eq!((again.number, again.places.clone()), before);
    }
    assert_eq!(store.metrics().commits.get(), commits);
    // What another set of births changed in between is changed back.
    for births in [births("press-1", "kPa"), births("press-2", "MPa"), second.births.clone()] {
        store.register(&second.gateway, births).await.unwrap();
    }
    assert_eq!(store.metrics().commits.get(), commits + 3);
    engine.behind("UPDATE asset SET name_en = 'another'").await;
    owner.connect(store).await;
    assert_eq!(store.series(&owner.firm()).await.unwrap()[0].name_en, "Press 1");
    engine.behind("UPDATE series SET expected_interval_ms = 7").await;
    owner.connect(store).await;
    let own = store.series(&owner.firm()).await.unwrap().into_iter().find(|info| info.key == owner.key(0)).unwrap();
    assert_eq!(own.expected_interval_ms, 1_000);
    assert_eq!(store.refused_series(&owner.firm()).await.unwrap().len(), 6);
}
