//! Hours, days and minutes: told from readings, from what these were counted in, and from what is
//! left of them past their retention. And firms of which nothing is left.

use sandan_proto::id::FirmId;
use sandan_proto::reading::{Quality, Value};

use super::{Engine, SECOND, TestClock, done, everything, unruly};
use crate::consent::{Form, Function, Grid, Permit};
use crate::fixture::{BOOTED_US, Plant, pressure, read_all, whole_day};
use crate::store::{Bucket, Pass, Readings, Retained, Rows};

const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A counter, a switch, a text and two numbers every twenty seconds, from one hour to another;
/// some bad.
pub(crate) async fn work(plant: &mut Plant, store: &dyn Readings, from_h: i64, to_h: i64) {
    for hour in from_h..to_h {
        let mut record = Vec::new();
        for at in (hour * 180)..((hour + 1) * 180) {
            let at_us = at * 20 * SECOND;
            let quality = if at % 97 == 0 { Quality::BAD_NO_ANSWER } else { Quality::GOOD };
            record.push((0, at_us, Value::F64((at % 113) as f64 / 10.0), quality));
            record.push((1, at_us, Value::I64(at * 37 % 65_536), Quality::GOOD));
            record.push((2, at_us, Value::Bool(at % 5 < 3), Quality::GOOD));
            record.push((3, at_us, Value::Text(format!("{}", at % 3)), Quality::GOOD));
        }
        done(&plant.deliver(store, &record).await);
    }
}

async fn buckets(store: &dyn Readings, permit: &Permit, limit: usize) -> Vec<Bucket> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let chunk = store.read(permit, cursor, limit).await.unwrap();
        let Rows::Buckets(rows) = chunk.rows else { panic!("not buckets") };
        all.extend(rows);
        cursor = chunk.next;
        if cursor.is_none() {
            return all;
        }
    }
}

/// Everything but durations, of which nothing is counted.
fn asked(plant: &Plant, grid: Grid, from_us: i64, to_us: i64) -> Permit {
    let numbers = Function::ALL.into_iter().filter(|function| *function != Function::Durations);
    Permit::for_test(plant.keys(), Form::Bucketed { grid }, BOOTED_US + from_us, BOOTED_US + to_us).asking(numbers)
}

fn fixed(plant: &Plant, width_us: i64, from_us: i64, to_us: i64) -> Permit {
    asked(plant, Grid::Fixed { width_us }, from_us, to_us)
}

fn permits(plant: &Plant) -> Vec<Permit> {
    let seoul = Grid::Days { zone: jiff::tz::TimeZone::get("Asia/Seoul").unwrap() };
    vec![
        fixed(plant, HOUR, 0, 23 * HOUR),
        fixed(plant, HOUR, 2 * HOUR, 5 * HOUR),
        fixed(plant, 8 * HOUR, 0, DAY),
        asked(plant, seoul, -9 * HOUR, 39 * HOUR),
        fixed(plant, 30 * MINUTE, 0, DAY),
        fixed(plant, MINUTE, 90 * MINUTE, 150 * MINUTE),
    ]
}

/// Coarse answers are those of a read that looks at every reading.
async fn same(store: &dyn Readings, plant: &Plant) {
    for permit in permits(plant) {
        let mut plainly = buckets(store, &permit.clone().asking(Function::ALL), 1_000).await;
        for bucket in &mut plainly {
            bucket.durations.clear();
        }
        // A text has nothing but states.
        plainly.retain(|bucket| bucket.count > 0 || bucket.covered_us > 0);
        let plainly: Vec<_> = plainly.iter().map(|bucket| format!("{bucket:?}")).collect();
        assert!(!plainly.is_empty());
        for limit in [3, 1_000] {
            let coarse: Vec<_> =
                buckets(store, &permit, limit).await.iter().map(|bucket| format!("{bucket:?}")).collect();
            assert_eq!(coarse, plainly, "{:?}, {limit} a chunk", permit.form());
        }
    }
}

/// What hours and minutes say of a plant, in words.
async fn coarse(store: &dyn Readings, plant: &Plant) -> Vec<String> {
    let mut all = Vec::new();
    for permit in permits(plant) {
        all.extend(buckets(store, &permit, 1_000).await.iter().map(|bucket| format!("{bucket:?}")));
    }
    all
}

async fn raw(store: &dyn Readings, plant: &Plant) -> usize {
    read_all(store, &whole_day(plant.keys()), 10_000).await.len()
}

pub(crate) async fn hours_and_days_say_what_their_readings_say<E: Engine>() {
    let clock = TestClock::default();
    let mut engine = E::new(clock.clone()).await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(engine.store()).await;
    clock.advance(5 * HOUR);
    // What comes while its hours are open, and once they are counted; amid them, and behind them.
    for (from_h, to_h) in [(0, 3), (3, 6), (1, 2), (7, 8), (7, 8)] {
        work(&mut plant, engine.store(), from_h, to_h).await;
        same(engine.store(), &plant).await;
        engine.rearrange(&plant.firm()).await;
        same(engine.store(), &plant).await;
    }
    engine.reopen().await;
    clock.advance(5 * HOUR);
    same(engine.store(), &plant).await;
    engine.rearrange(&plant.firm()).await;
    same(engine.store(), &plant).await;
}

pub(crate) async fn a_changed_interval_makes_what_was_counted_before_useless_and_not_wrong<E: Engine>() {
    let clock = TestClock::default();
    let engine = E::new(clock.clone()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    work(&mut plant, store, 0, 3).await;
    clock.advance(3 * HOUR);
    engine.rearrange(&plant.firm()).await;
    engine.behind("UPDATE series SET expected_interval_ms = 60000").await;
    same(store, &plant).await;
}

pub(crate) async fn pages_of_hours_are_of_one_state_while_late_data_is_counted<E: Engine>() {
    let clock = TestClock::default();
    let engine = E::new(clock.clone()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    clock.advance(6 * HOUR);
    work(&mut plant, store, 0, 3).await;
    engine.rearrange(&plant.firm()).await;
    let hours = fixed(&plant, HOUR, 0, 12 * HOUR);
    let before = buckets(store, &hours, 1_000).await;
    let first = store.read(&hours, None, 1).await.unwrap();
    work(&mut plant, store, 0, 5).await;
    for counted in [false, true] {
        if counted {
            engine.rearrange(&plant.firm()).await;
        }
        let rest = store.read(&hours, first.next.clone(), 1_000).await.unwrap();
        let Rows::Buckets(rows) = rest.rows else { panic!("not buckets") };
        assert_eq!(format!("{rows:?}"), format!("{:?}", &before[1..]), "counted again: {counted}");
    }
    assert_ne!(buckets(store, &hours, 1_000).await, before, "a read that begins sees all");
}

/// A consent may cover only what was stored when it was approved.
pub(crate) async fn what_a_permit_bounds_by_commit_is_told_without_what_came_later<E: Engine>() {
    let clock = TestClock::default();
    let mut engine = E::new(clock.clone()).await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(engine.store()).await;
    clock.advance(6 * HOUR);
    work(&mut plant, engine.store(), 0, 3).await;
    engine.rearrange(&plant.firm()).await;
    let readings = whole_day(plant.keys());
    let mut asked = permits(&plant);
    asked.push(fixed(&plant, 8 * HOUR, 0, DAY).asking([Function::Durations]));
    let told = async |store: &dyn Readings, through: Option<u64>| {
        let mut all = read_all(store, &readings.clone().bound(through, None), 7_000).await;
        for permit in &asked {
            all.extend(read_all(store, &permit.clone().bound(through, None), 3).await);
        }
        all
    };
    let before = told(engine.store(), None).await;
    let as_of = engine.store().read(&readings, None, 1).await.unwrap().as_of;
    let through = Some(u64::try_from(as_of).unwrap());
    // Amid what was there, at the same times, and behind it.
    work(&mut plant, engine.store(), 1, 5).await;
    assert_eq!(told(engine.store(), through).await, before);
    engine.rearrange(&plant.firm()).await;
    assert_eq!(told(engine.store(), through).await, before);
    engine.reopen().await;
    assert_eq!(told(engine.store(), through).await, before);
    assert_ne!(told(engine.store(), None).await, before);
    // A page goes on in what it began in, and no further than what is permitted.
    let bound = readings.clone().bound(through, None);
    let first = engine.store().read(&bound, None, 1).await.unwrap();
    assert!(first.as_of > as_of, "what is read elsewhere is as of now");
    let beyond = first.next.unwrap().as_of(i64::MAX);
    let rest = engine.store().read(&bound, Some(beyond), 60_000).await.unwrap();
    assert!(matches!(&rest.rows, Rows::Raw(rows) if !rows.is_empty() && rows.iter().all(|row| row.commit <= as_of)));
    // Past the retention there is nothing that is not permitted; there may be less.
    let hours = fixed(&plant, HOUR, 0, DAY).asking([Function::Count, Function::Mean]);
    let hourly = read_all(engine.store(), &hours.clone().bound(through, None), 100).await;
    clock.advance(93 * DAY);
    engine.store().retain(&plant.firm(), Pass::Apply).await.unwrap();
    assert_eq!(raw(engine.store(), &plant).await, 0);
    for bucket in read_all(engine.store(), &hours.bound(through, None), 100).await {
        assert!(hourly.contains(&bucket), "{bucket}");
    }
}

pub(crate) async fn minutes_and_hours_outlive_their_readings_and_say_the_same<E: Engine>() {
    for counted in [false, true] {
        let clock = TestClock::default();
        let engine = E::new(clock.clone()).await;
        let store = engine.store();
        let mut plant = Plant::new("hanbit/press-hall", "press-1");
        plant.connect(store).await;
        for (from_h, to_h) in [(0, 3), (3, 5), (1, 2), (5, 8)] {
            work(&mut plant, store, from_h, to_h).await;
        }
        if counted {
            clock.advance(6 * HOUR);
        }
        engine.rearrange(&plant.firm()).await;
        let (before, readings) = (coarse(store, &plant).await, raw(store, &plant).await);
        let newest = store.series(&plant.firm()).await.unwrap();
        assert_eq!(store.retain(&plant.firm(), Pass::Apply).await.unwrap(), Retained::default(), "nothing is old");
        clock.advance(93 * DAY);
        let looked = store.retain(&plant.firm(), Pass::Look).await.unwrap();
        assert_eq!((looked.readings, looked.from_us), (readings as u64, Some(BOOTED_US)));
        assert_eq!(raw(store, &plant).await, readings, "it only looked");
        assert_eq!(store.retain(&plant.firm(), Pass::Apply).await.unwrap(), looked);
        assert_eq!(raw(store, &plant).await, 0);
        assert_eq!(coarse(store, &plant).await, before);
        assert_eq!(store.retain(&plant.firm(), Pass::Apply).await.unwrap(), Retained::default());
        // Two years on minutes go as well.
        clock.advance(740 * DAY);
        assert!(store.retain(&plant.firm(), Pass::Apply).await.unwrap().days > 0);
        assert_eq!(buckets(store, &fixed(&plant, MINUTE, 0, HOUR), 1_000).await, []);
        let hours = coarse(store, &plant).await;
        assert_eq!(hours[..4], before[..4], "hours stay for ever");
        assert_eq!(store.series(&plant.firm()).await.unwrap(), newest, "the series are still known");
    }
}

pub(crate) async fn what_comes_after_its_time_has_gone_is_counted<E: Engine>() {
    let clock = TestClock::default();
    let engine = E::new(clock.clone()).await;
    let store = engine.store();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(store).await;
    work(&mut plant, store, 0, 2).await;
    engine.rearrange(&plant.firm()).await;
    clock.advance(93 * DAY);
    store.retain(&plant.firm(), Pass::Apply).await.unwrap();
    let hours = Permit::for_test(vec![plant.key(0)], Form::buckets(HOUR), BOOTED_US, BOOTED_US + 6 * HOUR);
    let counts = async || -> Vec<(u64, f64)> {
        buckets(store, &hours, 10).await.iter().map(|bucket| (bucket.count, bucket.max)).collect()
    };
    let before = counts().await;
    plant.deliver(store, &[pressure(HOUR + MINUTE, 500.0), pressure(4 * HOUR, 7.0)]).await;
    let expected = [before[0], (before[1].0 + 1, 500.0), (1, 7.0)];
    assert_eq!(counts().await, expected);
    assert_eq!(store.retain(&plant.firm(), Pass::Apply).await.unwrap().readings, 2);
    assert_eq!(counts().await, expected);
    assert_eq!(raw(store, &plant).await, 0);
}

pub(crate) async fn an_erased_firm_leaves_nothing_and_its_neighbour_everything<E: Engine>() {
    let clock = TestClock::default();
    let mut engine = E::new(clock.clone()).await;
    let store = engine.store();
    let (mut gone, mut stays) = (Plant::new("hanbit/press-hall", "press-1"), Plant::new("daeil/line-1", "furnace-1"));
    for plant in [&mut gone, &mut stays] {
        plant.connect(store).await;
        unruly(plant, store).await;
        engine.rearrange(&plant.firm()).await;
        unruly(plant, store).await;
        plant.lose(store, 40 * SECOND, 50 * SECOND, 3).await;
    }
    let before = everything(store, &stays).await;
    let [held, other] = [store.holdings(&gone.firm()).await.unwrap(), store.holdings(&stays.firm()).await.unwrap()];
    assert_eq!((held.readings, held.series, held.gateways, held.gaps), (raw(store, &gone).await as u64, 6, 1, 1));
    assert_eq!((held.from_us, held.to_us), (Some(BOOTED_US + SECOND), Some(BOOTED_US + 31 * SECOND + 1)));
    assert!(store.erase(&gone.firm()).await.unwrap());
    assert!(!store.erase(&gone.firm()).await.unwrap(), "once");
    assert_eq!(store.holdings(&gone.firm()).await.unwrap(), crate::store::Holdings::default());
    assert_eq!(store.holdings(&stays.firm()).await.unwrap(), other);
    assert_eq!(raw(store, &gone).await, 0);
    assert!(store.series(&gone.firm()).await.unwrap().is_empty());
    assert!(store.gaps(&gone.firm(), 10).await.unwrap().is_empty());
    assert_eq!(everything(store, &stays).await, before);
    for table in ["asset", "series", "gap", "gateway", "refused"] {
        assert_eq!(engine.count(&format!("SELECT count(*) FROM {table} WHERE firm = 1")).await, 0, "{table}");
    }
    for table in ["lane", "clock", "births", "checksum", "dead_record", "dead_total"] {
        let left = format!("SELECT count(*) FROM {table} WHERE gateway NOT IN (SELECT number FROM gateway)");
        assert_eq!(engine.count(&left).await, 0, "{table}");
    }
    assert_eq!(engine.count("SELECT count(*) FROM firm").await, 1);
    // Whoever comes again begins anew.
    let mut anew = Plant::new("hanbit/press-hall", "press-1");
    anew.connect(store).await;
    anew.deliver(store, &[pressure(0, 1.0)]).await;
    engine.reopen().await;
    assert_eq!(raw(engine.store(), &anew).await, 1);
    assert_eq!(everything(engine.store(), &stays).await, before);
}

pub(crate) async fn of_a_firm_that_nobody_knows_nothing_is_kept_or_erased<E: Engine>() {
    let engine = E::new(TestClock::default()).await;
    let store = engine.store();
    let nobody = FirmId::new("nobody").unwrap();
    assert!(!store.erase(&nobody).await.unwrap());
    assert_eq!(store.retain(&nobody, Pass::Apply).await.unwrap(), Retained::default());
}
