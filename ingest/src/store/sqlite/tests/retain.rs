//! Readings past their retention, and firms that are erased.

use super::slices::{HOUR, MINUTE, asked, buckets, work};
use super::*;
use crate::consent::{Form, Grid};
use crate::store::conformance::TestClock;
use crate::store::retention::{Classes, Pass, Retained, Retention};

const DAY: i64 = 24 * HOUR;

fn opened(dir: &tempfile::TempDir, clock: &TestClock) -> SqliteReadings {
    SqliteReadings::open(dir.path(), Options { now: clock.now(), ..options() }).unwrap()
}

/// What hours and minutes say of a plant, in words.
async fn coarse(store: &SqliteReadings, plant: &Plant) -> Vec<String> {
    let mut all = Vec::new();
    for (width_us, to_us) in [(HOUR, 12 * HOUR), (MINUTE, 12 * HOUR), (4 * HOUR, 12 * HOUR)] {
        let permit = asked(plant, Grid::Fixed { width_us }, 0, to_us);
        for limit in [7, 1_000] {
            all.extend(buckets(store, &permit, limit).await.iter().map(|bucket| format!("{bucket:?}")));
        }
    }
    all
}

async fn raw(store: &SqliteReadings, plant: &Plant) -> usize {
    read_all(store, &whole_day(plant.keys()), 10_000).await.len()
}

/// Eight hours of work, some of it late, all of it packed.
async fn filled(store: &SqliteReadings, plant: &mut Plant) {
    plant.connect(store).await;
    for (from_h, to_h) in [(0, 3), (3, 5), (1, 2), (5, 8)] {
        work(plant, store, from_h, to_h).await;
        store.compact(&plant.firm()).await.unwrap();
    }
}

#[tokio::test]
async fn minutes_and_hours_outlive_their_readings_and_say_the_same() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = opened(&dir, &clock);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    filled(&store, &mut plant).await;
    let before = coarse(&store, &plant).await;
    let readings = raw(&store, &plant).await;
    assert_eq!(store.retain(&plant.firm(), Pass::Apply).await.unwrap().readings, 0, "nothing is old");
    clock.advance(93 * DAY);
    let looked = store.retain(&plant.firm(), Pass::Look).await.unwrap();
    assert_eq!(raw(&store, &plant).await, readings, "looking changes nothing");
    let retained = store.retain(&plant.firm(), Pass::Apply).await.unwrap();
    assert_eq!((retained.readings, looked), (readings as u64, retained));
    assert!(retained.bytes > 0 && retained.from_us == Some(crate::fixture::BOOTED_US), "{retained:?}");
    assert_eq!(raw(&store, &plant).await, 0);
    assert_eq!(coarse(&store, &plant).await, before);
    assert_eq!(store.retain(&plant.firm(), Pass::Apply).await.unwrap(), Retained::default());
    let blocks: i64 = Connection::open(firm_file::path(dir.path(), 1))
        .unwrap()
        .query_row(
            "SELECT (SELECT count(*) FROM block) + (SELECT count(*) FROM packed) + (SELECT count(*) FROM slices)
                  + (SELECT count(*) FROM chunk)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(blocks, 0);
    // Two years on minutes go as well.
    clock.advance(740 * DAY);
    let looked = store.retain(&plant.firm(), Pass::Look).await.unwrap();
    assert!(looked.days > 0);
    assert_eq!(store.retain(&plant.firm(), Pass::Apply).await.unwrap(), looked);
    let minutes = asked(&plant, Grid::Fixed { width_us: MINUTE }, 0, HOUR);
    assert_eq!(buckets(&store, &minutes, 1_000).await.len(), 0);
    let hours = asked(&plant, Grid::Fixed { width_us: HOUR }, 0, 12 * HOUR);
    let hours: Vec<_> = buckets(&store, &hours, 1_000).await.iter().map(|bucket| format!("{bucket:?}")).collect();
    assert_eq!(hours, before[..hours.len()], "hours stay for ever");
    let series = store.series(&plant.firm()).await.unwrap();
    assert!(series[0].newest_us.is_some(), "the series are still known");
}

#[tokio::test]
async fn what_is_young_stays_beside_what_is_old() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let keep = Retention { raw_us: DAY, ..Retention::default() };
    let classes = Classes { except: vec![(None, Some("pressure".parse().unwrap()), keep)], ..Classes::default() };
    let options = Options { now: clock.now(), classes, ..options() };
    let store = SqliteReadings::open(dir.path(), options).unwrap();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    filled(&store, &mut plant).await;
    let before = coarse(&store, &plant).await;
    let all = raw(&store, &plant).await;
    // What began to be packed at 5 o'clock reaches beyond the day that is to go.
    clock.advance(3 * DAY + 6 * HOUR);
    let retained = store.retain(&plant.firm(), Pass::Apply).await.unwrap();
    assert!(retained.readings > 0);
    let left = raw(&store, &plant).await;
    assert_eq!(left as u64 + retained.readings, all as u64, "only the pressure's, and only the old ones");
    assert!(values(&store, plant.key(0)).await.len() > 100);
    assert_eq!(values(&store, plant.key(1)).await.len(), 9 * 360);
    assert_eq!(coarse(&store, &plant).await, before);
}

#[tokio::test]
async fn a_kill_amid_retention_loses_and_doubles_nothing() {
    for step in ["retained, not committed", "retained"] {
        let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
        let mut store = opened(&dir, &clock);
        let mut plant = Plant::new("hanbit/press-hall", "press-1");
        filled(&store, &mut plant).await;
        let before = coarse(&store, &plant).await;
        clock.advance(93 * DAY);
        let mut kills = 0;
        loop {
            *store.shared.crash_at.lock().unwrap() = Some(step);
            let ended = store.retain(&plant.firm(), Pass::Apply).await;
            assert_eq!(coarse(&store, &plant).await, before, "{step}");
            if ended.is_ok() || kills > 5 {
                break;
            }
            kills += 1;
            drop(store);
            store = opened(&dir, &clock);
        }
        assert!(kills > 0, "{step} was never reached");
        store.shared.crash_at.lock().unwrap().take();
        store.retain(&plant.firm(), Pass::Apply).await.unwrap();
        assert_eq!((raw(&store, &plant).await, coarse(&store, &plant).await), (0, before), "{step}");
    }
}

#[tokio::test]
async fn an_erased_firm_leaves_nothing_and_its_neighbour_everything() {
    for step in [None, Some("erased from the inbox"), Some("erased its file")] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir);
        let (mut gone, mut stays) =
            (Plant::new("hanbit/press-hall", "press-1"), Plant::new("daeil/line-1", "furnace-1"));
        for plant in [&mut gone, &mut stays] {
            plant.connect(&store).await;
            unruly(plant, &store).await;
            store.compact(&plant.firm()).await.unwrap();
            unruly(plant, &store).await;
            plant.lose(&store, 40 * SECOND, 50 * SECOND, 3).await;
        }
        let before = everything(&store, &stays).await;
        if let Some(step) = step {
            *store.shared.crash_at.lock().unwrap() = Some(step);
            assert!(store.erase(&gone.firm()).await.is_err());
            drop(store);
            store = open(&dir);
        }
        assert!(store.erase(&gone.firm()).await.unwrap());
        assert!(!store.erase(&gone.firm()).await.unwrap(), "once");
        assert_eq!(raw(&store, &gone).await, 0);
        assert!(store.series(&gone.firm()).await.unwrap().is_empty());
        assert!(store.gaps(&gone.firm(), 10).await.unwrap().is_empty());
        assert_eq!(everything(&store, &stays).await, before);
        let tables = ["record", "gateway", "lane", "clock", "births", "asset", "series", "gap", "checksum", "firm"];
        for table in tables {
            let sql = match table {
                "record" | "series" | "asset" | "gap" | "gateway" => {
                    format!("SELECT count(*) FROM {table} WHERE firm = 1")
                }
                "firm" => "SELECT count(*) FROM firm WHERE number = 1".to_owned(),
                other => format!("SELECT count(*) FROM {other} WHERE gateway NOT IN (SELECT number FROM gateway)"),
            };
            let left: i64 = behind(&dir).query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(left, 0, "{table}");
        }
        assert!(!firm_file::path(dir.path(), 1).exists());
        assert!(firm_file::path(dir.path(), 2).exists());
        // Whoever comes again begins anew.
        gone.connect(&store).await;
        gone.deliver(&store, &[pressure(0, 1.0)]).await;
        drop(store);
        assert_eq!(raw(&open(&dir), &stays).await, before[0].len());
    }
}

#[tokio::test]
async fn of_a_firm_that_nobody_knows_nothing_is_kept_or_erased() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let nobody = FirmId::new("nobody").unwrap();
    assert!(!store.erase(&nobody).await.unwrap());
    assert_eq!(store.retain(&nobody, Pass::Apply).await.unwrap().readings, 0);
    let form = Form::buckets(HOUR);
    let key = Plant::new("nobody/gw", "press-1").key(0);
    let chunk = store.read(&Permit::for_test(vec![key], form, 0, HOUR), None, 1).await.unwrap();
    assert_eq!(chunk.next, None);
}
