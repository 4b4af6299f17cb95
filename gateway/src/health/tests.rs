use std::time::Duration;

use sandan_proto::v1::LinkState;

use super::link::Link;
use super::*;
use crate::config::tests::example;

const SECOND: i64 = 1_000_000;

fn link() -> Link {
    Link::new("plc", "modbus-tcp 10.0.0.5:502".into(), Duration::from_secs(1), 0)
}

fn state(link: &Link, at: i64) -> (LinkState, String) {
    let snapshot = link.snapshot(at);
    (snapshot.state(), snapshot.fault)
}

fn answered(link: &mut Link, millis: u64, at: i64) {
    link.answered(0, Some(Duration::from_millis(millis)), at);
}

#[test]
fn a_link_is_up_only_while_good_values_come() {
    let mut link = link();
    let nothing = "nothing heard yet".to_owned();
    assert_eq!(state(&link, 5 * SECOND), (LinkState::Unspecified, nothing.clone()), "it had no time to answer");
    assert_eq!(state(&link, 6 * SECOND), (LinkState::Down, nothing));
    assert_eq!(
        Link::new("plc", String::new(), Duration::from_secs(1), 9 * SECOND).snapshot(10 * SECOND).state(),
        LinkState::Unspecified
    );
    answered(&mut link, 3, SECOND);
    assert_eq!(state(&link, SECOND), (LinkState::Up, String::new()));
    assert_eq!(state(&link, 6 * SECOND), (LinkState::Up, String::new()), "within three intervals and a reconnect");
    assert_eq!(state(&link, 7 * SECOND), (LinkState::Down, "no good value for 6 s".into()));
    link.silent("it is unplugged", 8 * SECOND);
    assert_eq!(state(&link, 8 * SECOND), (LinkState::Down, "it is unplugged".into()));
    assert_eq!(link.snapshot(8 * SECOND).last_good_age_ms, Some(7_000));
}

#[test]
fn a_refused_part_stays_told_while_others_answer() {
    let mut link = link();
    for second in 0..100 {
        answered(&mut link, 1, second * SECOND);
        link.refused(1, None, "holding 5: exception 2", second * SECOND);
        link.refused(2, None, "holding 9: exception 2", second * SECOND);
    }
    let now = 99 * SECOND;
    assert_eq!(state(&link, now), (LinkState::Flaky, "holding 5: exception 2, and 1 more such faults".into()));
    link.answered(2, None, now);
    assert_eq!(state(&link, now), (LinkState::Flaky, "holding 5: exception 2".into()));
    link.answered(1, None, now);
    assert_eq!(state(&link, now).1, "only 33 % of the polls of the last 5 minutes brought values");
}

#[test]
fn success_and_latency_are_of_the_last_five_minutes() {
    let mut link = link();
    for second in 0..100 {
        link.silent("away", second * SECOND);
    }
    for second in 100..200 {
        answered(&mut link, if second == 150 { 700 } else { 4 }, second * SECOND);
    }
    let early = link.snapshot(200 * SECOND);
    assert_eq!((early.success_permille_5min, early.polls_total, early.failures_total), (500, 200, 100));
    assert_eq!(early.latency_p99_ms, 5, "the upper edge of the class that holds 99 of 100");
    answered(&mut link, 700, 450 * SECOND);
    let late = link.snapshot(450 * SECOND);
    assert_eq!((late.success_permille_5min, late.latency_p99_ms), (1_000, 800));
    assert_eq!(late.failures_total, 100, "totals are of the whole life");
}

#[test]
fn the_shared_handle_knows_which_devices_an_endpoint_has() {
    let health = Health::new(&example(str::to_owned));
    health.unreachable(1, "mqtt 127.0.0.1:1883: connection refused");
    health.answered(0, 0, Some(Duration::from_millis(2)));
    health.add_readings(7);
    health.add_dropped(2);
    health.dead_letter(1, "is not JSON");
    health.set_spool(v1::SpoolHealth { unacked_readings: 5, ..v1::SpoolHealth::default() });
    health.set_uplink(UplinkState { fault: Some("refused".into()), ..UplinkState::default() });
    let now = clock::monotonic_us();
    let snapshot = health.snapshot(now);
    let links: Vec<_> = snapshot.links.iter().map(|link| (link.device.as_str(), link.state())).collect();
    assert_eq!(links, [("press-plc", LinkState::Up), ("welder", LinkState::Down)]);
    assert_eq!((snapshot.readings_total, snapshot.readings_dropped_total), (7, 2));
    assert_eq!(snapshot.dead_letters_total, 1);
    assert_eq!(snapshot.spool.unwrap().unacked_readings, 5);
    assert_eq!(health.status(now).uplink.fault.as_deref(), Some("refused"));
    health.reachable(1);
    assert_eq!(health.snapshot(now).links[1].fault, NOTHING_HEARD);
    health.answered(99, 0, None);
}

#[test]
fn a_backlog_is_told_from_live_data_and_says_when_it_will_have_drained() {
    let lane = |is_current, readings: u64, seconds| Waiting {
        is_current,
        records: readings / 100,
        readings,
        oldest: Duration::from_secs(seconds),
    };
    let mut drain = Drain::default();
    let live = drain.look(&[lane(true, 500, 2)], 0);
    assert_eq!(live, BacklogState { live_oldest: Duration::from_secs(2), ..BacklogState::default() });
    let offline = drain.look(&[lane(true, 30_000, 31)], SECOND);
    assert_eq!((offline.readings, offline.oldest, offline.drains_in), (30_000, Duration::from_secs(31), None));
    let begun = drain.look(&[lane(false, 40_000, 40), lane(true, 500, 1)], 2 * SECOND);
    assert_eq!((begun.records, begun.live_oldest, begun.drains_in), (400, Duration::from_secs(1), None));
    let drains = drain.look(&[lane(false, 38_000, 41), lane(true, 500, 1)], 4 * SECOND);
    assert_eq!(drains.drains_in, Some(Duration::from_secs(38)));
    // A look right behind another tells no speed of its own.
    let again = drain.look(&[lane(false, 38_000, 41)], 4 * SECOND + 1_000);
    assert_eq!(again.drains_in, Some(Duration::from_secs(38)));
    let stuck = (5..200).map(|second| drain.look(&[lane(false, 38_000, 60)], second * SECOND)).last().unwrap();
    assert_eq!(stuck.drains_in, None);
    assert_eq!(drain.look(&[lane(true, 0, 0)], 300 * SECOND), BacklogState::default());
}

#[test]
fn over_a_reload_a_driver_goes_on_telling_of_its_devices() {
    let old = example(str::to_owned);
    // The broker's device alone, under another number.
    let new = example(|text| {
        let (before, rest) = text.split_once("\n[[modbus]]\n").unwrap();
        format!("{before}\n[[mqtt]]\n{}", rest.split_once("\n[[mqtt]]\n").unwrap().1)
    });
    let of_driver = Health::new(&old);
    of_driver.answered(1, 0, None);
    let health = of_driver.reloaded(&new, &[1], &[Some(1)]);
    of_driver.answered(1, 0, None);
    of_driver.answered(0, 0, None);
    for handle in [&health, &of_driver] {
        let links = handle.status(0).links;
        assert_eq!(links.len(), 1);
        assert_eq!((links[0].device.as_str(), links[0].polls_total), (new.devices[0].name.as_str(), 2));
    }
    of_driver.unreachable(1, "it is unplugged");
    assert_eq!(health.status(0).links[0].fault, "it is unplugged");

    health.config_runs("aa".into());
    health.config_refused(vec!["gateway.toml:1:1: wrong".into()]);
    let config = of_driver.status(0).config;
    assert_eq!((config.hash.as_str(), config.reloads_total, config.refusals_total), ("aa", 0, 1));
    assert_eq!(config.refused.unwrap().why, ["gateway.toml:1:1: wrong"]);
    health.config_runs("bb".into());
    let config = of_driver.status(0).config;
    assert_eq!((config.hash.as_str(), config.reloads_total, config.refused), ("bb", 1, None));
}

#[test]
fn a_spool_fills_at_the_speed_of_the_last_five_minutes() {
    let mut fill = Fill::default();
    assert_eq!(fill.look(0, 0, 0), None);
    assert_eq!(fill.look(900, 9_000, 29 * SECOND), None, "too short to tell");
    assert_eq!(fill.look(900, 9_000, 30 * SECOND), Some((30, 300)));
    for second in 31..=600_u64 {
        // An outage of which one half drains: what it wrote goes on.
        let waiting = if second <= 300 { second * 100 } else { (600 - second) * 100 };
        let speed = fill.look(waiting, second * 100, second.cast_signed() * SECOND).unwrap();
        if second == 300 {
            assert_eq!(speed, (100, 100));
        }
        if second == 600 {
            // The window begins with the look before it: a second more at most.
            assert!((-100..=-99).contains(&speed.0) && speed.1 == 100, "{speed:?}");
        }
    }
}
