//! Every figure at, below and above both of its bounds, and unknown where a gateway does not say.

use super::*;

fn judged(fleet: &mut Fleet, figure: Figure, now_us: i64) -> Judged {
    only(fleet, now_us).figures.into_iter().find(|it| it.figure == figure).unwrap()
}

fn level(fleet: &mut Fleet, figure: Figure, now_us: i64) -> Level {
    judged(fleet, figure, now_us).level
}

/// Reports of a gateway, each judged by one figure.
fn levels(figure: Figure, reports: impl IntoIterator<Item = v1::Health>) -> Vec<Level> {
    let judge = |report: v1::Health| {
        let (mut fleet, id) = online();
        fleet.health(&id, &report, T);
        level(&mut fleet, figure, T)
    };
    reports.into_iter().map(judge).collect()
}

fn spool(change: impl FnOnce(&mut v1::SpoolHealth)) -> v1::Health {
    let mut report = health(0, vec![]);
    change(report.spool.as_mut().unwrap());
    report
}

fn device(change: impl FnOnce(&mut v1::LinkHealth)) -> v1::Health {
    let mut link = link("plc", v1::LinkState::Up, Some(10));
    (link.polls_total, link.success_permille_5min, link.interval_ms, link.latency_p99_ms) = (100, 1_000, 1_000, 5);
    change(&mut link);
    health(0, vec![link])
}

use Level::{Critical, Unknown, Warn, Well};

#[test]
fn an_old_gateway_that_does_not_say_is_unknown_and_not_wrong() {
    let (mut fleet, id) = online();
    fleet.health(&id, &health(0, vec![link("plc", v1::LinkState::Up, Some(10))]), T);
    let view = only(&mut fleet, T);
    let unknown: Vec<_> =
        view.figures.iter().filter(|it| it.level == Unknown).map(|it| (it.figure.name(), it.value)).collect();
    let wanted =
        ["poll_success", "poll_time", "freshness", "spool_full_in", "clock_offset", "config_hash", "certificate"];
    assert_eq!(unknown, wanted.map(|name| (name, None)));
    assert_eq!((view.state, view.links[0].signals), (State::Online, None));
    let all: Vec<_> = view.figures.iter().map(|it| it.figure).collect();
    assert!(Figure::ALL.iter().all(|figure| all.contains(figure)));
}

#[test]
fn last_contact_has_bounds_in_heartbeats() {
    let (mut fleet, _) = online();
    let at = [3 * BEAT - 1, 3 * BEAT, 10 * BEAT - 1, 10 * BEAT];
    assert_eq!(at.map(|us| level(&mut fleet, Figure::LastContact, T + us)), [Well, Warn, Warn, Critical]);
    let found = judged(&mut fleet, Figure::LastContact, T + 10 * BEAT);
    assert_eq!((found.value, found.bound, found.device), (Some(100.0), Some(100.0), None));
    let slow = Bounds { heartbeat_us: 60 * SECOND_US, ..Bounds::default() };
    let mut fleet = Fleet::new(slow, T);
    fleet.enrol(gateway("hanbit/gw"));
    open(&mut fleet, &gateway("hanbit/gw"), 1, T);
    assert_eq!(level(&mut fleet, Figure::LastContact, T + 10 * BEAT), Well);
}

#[test]
fn devices_are_judged_by_success_by_time_and_by_freshness() {
    let success = [990, 989, 900, 899].map(|permille| device(|link| link.success_permille_5min = permille));
    assert_eq!(levels(Figure::PollSuccess, success), [Well, Warn, Warn, Critical]);
    let time = [499, 500, 999, 1_000, 0].map(|ms| device(|link| link.latency_p99_ms = ms));
    assert_eq!(levels(Figure::PollTime, time), [Well, Warn, Warn, Critical, Unknown]);
    let age = [Some(2_999), Some(3_000), Some(9_999), Some(10_000), None];
    let age = age.map(|ms| device(|link| link.last_good_age_ms = ms));
    assert_eq!(levels(Figure::Freshness, age), [Well, Warn, Warn, Critical, Unknown]);
    assert_eq!(levels(Figure::Freshness, [device(|link| link.interval_ms = 0)]), [Unknown]);
    // Between two heartbeats nothing is heard of devices: that makes none of them older.
    let (mut fleet, id) = online();
    fleet.health(&id, &device(|_| {}), T);
    assert_eq!(level(&mut fleet, Figure::Freshness, T + 2 * BEAT), Well);
    assert_eq!(level(&mut fleet, Figure::Freshness, T + 3 * BEAT), Unknown);
}

#[test]
fn an_old_spool_is_wrong_only_while_it_does_not_shrink() {
    let old = [299_999, 300_000, 3_599_999, 3_600_000].map(|ms| spool(|it| it.oldest_unacked_ms = ms));
    assert_eq!(levels(Figure::SpoolOldest, old), [Well, Warn, Warn, Critical]);
    let drains = spool(|it| (it.oldest_unacked_ms, it.drains_in_ms) = (4_000_000, Some(60_000)));
    assert_eq!(levels(Figure::SpoolOldest, [drains]), [Well]);
    // A gateway that does not say when: by what it held before.
    let (mut fleet, id) = online();
    let holds = |readings| spool(|it| (it.oldest_unacked_ms, it.unacked_readings) = (4_000_000, readings));
    fleet.health(&id, &holds(900), T);
    assert_eq!(level(&mut fleet, Figure::SpoolOldest, T), Critical);
    fleet.health(&id, &holds(800), T + BEAT);
    assert_eq!(level(&mut fleet, Figure::SpoolOldest, T + BEAT), Well);
    for beat in 2..6 {
        fleet.health(&id, &holds(800), T + beat * BEAT);
    }
    assert_eq!(level(&mut fleet, Figure::SpoolOldest, T + 5 * BEAT), Critical, "it has stopped");
}

#[test]
fn a_spool_is_full_in_its_room_by_its_speed() {
    let fills = |speed, room: u64| {
        spool(|it| {
            (it.bytes_cap, it.unacked_bytes) = (1_000_000 + room, Some(1_000_000));
            (it.fill_bytes_per_s, it.written_bytes_per_s) = (Some(speed), Some(100));
        })
    };
    let day = 86_400;
    let reports =
        [fills(1, day), fills(1, day - 1), fills(10, day + day), fills(10, 143_999), fills(0, 0), fills(-5, 1)];
    assert_eq!(levels(Figure::SpoolFullIn, reports), [Well, Warn, Warn, Critical, Well, Well]);
    // While it is not heard it fills by all that it writes: nobody is told, but it is shown.
    let (mut fleet, id) = online();
    fleet.health(&id, &fills(-5, 100_000), T);
    let silent = judged(&mut fleet, Figure::SpoolFullIn, T + 60 * BEAT);
    assert_eq!((silent.value, silent.level), (Some(400.0), Unknown));
}

#[test]
fn a_clock_is_judged_by_the_report_that_was_underway_for_the_shortest() {
    let at = |offset_us: i64| v1::Health { wall_time_us: T + offset_us, ..health(0, vec![]) };
    let ahead = [1_999_999, 2_000_000, 29_999_999, 30_000_000].map(at);
    let judge = |report: &v1::Health| {
        let (mut fleet, id) = online();
        fleet.health(&id, report, T);
        level(&mut fleet, Figure::ClockOffset, T)
    };
    assert_eq!(ahead.each_ref().map(judge), [Well, Warn, Warn, Critical]);
    assert_eq!(judge(&at(-30_000_000)), Critical);
    let (mut fleet, id) = online();
    fleet.health(&id, &at(-100_000), T);
    fleet.health(&id, &at(-7_000_000), T);
    assert_eq!(judged(&mut fleet, Figure::ClockOffset, T).value, Some(-0.1), "one report waited for a slow link");
    for _ in 0..6 {
        fleet.health(&id, &at(-7_000_000), T);
    }
    assert_eq!(level(&mut fleet, Figure::ClockOffset, T), Warn);
}

#[test]
fn a_configuration_is_held_against_the_approved_one() {
    let approved = [(gateway("hanbit/gw"), "ab".repeat(32))].into();
    let mut fleet = Fleet::new(Bounds { approved, ..Bounds::default() }, T);
    let id = gateway("hanbit/gw");
    fleet.enrol(id.clone());
    let hello = v1::Hello { config_hash: vec![0xab; 32], ..Default::default() };
    fleet.opened(&id, 1, &hello, T);
    assert_eq!(level(&mut fleet, Figure::ConfigHash, T), Well);
    // A reload is told by a heartbeat.
    fleet.health(&id, &v1::Health { config_hash: vec![0xcd; 32], ..health(0, vec![]) }, T);
    assert_eq!(said(&mut fleet, T), is(State::Degraded, &["config_hash warn"]));
}

#[test]
fn a_certificate_is_judged_by_its_renewal_and_by_its_end() {
    let until = |renewal_us: i64, end_us: i64| {
        let report = health(0, vec![]);
        v1::Health { certificate_renewal_us: Some(T + renewal_us), certificate_end_us: Some(T + end_us), ..report }
    };
    let reports = [
        until(0, 30 * DAY_US),
        until(-7 * DAY_US + 1, 23 * DAY_US),
        until(-7 * DAY_US, 23 * DAY_US),
        until(-23 * DAY_US, 7 * DAY_US),
        until(-23 * DAY_US, 7 * DAY_US - 1),
        until(-40 * DAY_US, -DAY_US),
    ];
    assert_eq!(levels(Figure::Certificate, reports), [Well, Well, Warn, Warn, Critical, Critical]);
    // Its end comes also while nobody hears of it.
    let (mut fleet, id) = online();
    fleet.health(&id, &until(DAY_US, 31 * DAY_US), T);
    let found = judged(&mut fleet, Figure::Certificate, T + 30 * DAY_US);
    assert_eq!((found.level, found.value, found.bound), (Critical, Some(86_400.0), Some(604_800.0)));
}

#[test]
fn losses_are_said_for_a_day_and_are_critical_while_they_grow() {
    let (mut fleet, id) = online();
    assert_eq!(level(&mut fleet, Figure::DeadLetters, T), Well);
    fleet.dead_lettered(&id, 3, T);
    assert_eq!(judged(&mut fleet, Figure::DeadLetters, T).value, Some(3.0));
    assert_eq!(level(&mut fleet, Figure::DeadLetters, T), Warn);
    let soon = T + MINUTE_US;
    fleet.dead_lettered(&id, 4, soon);
    assert_eq!(judged(&mut fleet, Figure::DeadLetters, soon).value, Some(7.0));
    assert_eq!(level(&mut fleet, Figure::DeadLetters, soon), Critical);
    assert_eq!(level(&mut fleet, Figure::DeadLetters, soon + 5 * MINUTE_US), Warn, "it has stopped");
    assert_eq!(level(&mut fleet, Figure::DeadLetters, soon + DAY_US), Well);
    fleet.dead_lettered(&id, 0, soon + DAY_US);
    fleet.undeclared(&id, 2, soon + 2 * DAY_US);
    assert_eq!(level(&mut fleet, Figure::DeadLetters, soon + 2 * DAY_US), Well);
    assert_eq!(level(&mut fleet, Figure::UndeclaredGaps, soon + 2 * DAY_US), Warn);
}

#[test]
fn what_the_gateway_drops_is_said_until_a_restart_counts_anew() {
    let (mut fleet, id) = online();
    let mut report = health(0, vec![]);
    (report.readings_dropped_total, report.dead_letters_total) = (12, 3);
    fleet.health(&id, &report, T);
    let lost = ["readings_dropped critical", "unusable_messages warn"];
    assert_eq!(said(&mut fleet, T), is(State::Degraded, &lost));
    fleet.held_back(&id, T);
    fleet.forked(&id, T);
    assert_eq!(said(&mut fleet, T).1, ["forked critical", lost[0], lost[1], "held_back warn"]);
    fleet.health(&id, &health(0, vec![]), T + 60 * SECOND_US);
    assert_eq!(said(&mut fleet, T + 60 * SECOND_US).1, ["forked critical"]);
}

#[test]
fn figures_that_no_gateway_can_have_are_cut() {
    let (mut fleet, id) = online();
    let mut report = health(u64::MAX, vec![link("a\u{7}b", v1::LinkState::Up, Some(u64::MAX))]);
    let spool = report.spool.as_mut().unwrap();
    (spool.bytes_used, spool.bytes_cap, spool.unacked_bytes) = (u64::MAX, 1, Some(u64::MAX));
    (spool.fill_bytes_per_s, spool.drains_in_ms) = (Some(i64::MAX), Some(u64::MAX));
    report.links[0].success_permille_5min = u32::MAX;
    report.links[0].polls_total = u64::MAX;
    report.links[0].worst_signals = vec![v1::SignalHealth { quality: u32::MAX, state: 4, ..Default::default() }; 100];
    (report.certificate_end_us, report.certificate_renewal_us) = (Some(i64::MIN), Some(i64::MAX));
    (report.wall_time_us, report.config_hash) = (i64::MIN, vec![7; 1_000]);
    fleet.health(&id, &report, T);
    let view = only(&mut fleet, T);
    let spool = view.spool.unwrap();
    assert_eq!((spool.percent, spool.oldest_ms), (100, super::report::MAX_AGE_MS));
    let link = &view.links[0];
    assert_eq!(link.last_good_us, Some(T - super::report::MAX_AGE_MS.cast_signed() * 1_000));
    assert_eq!((link.success_permille, link.device.as_str()), (Some(1_000), "ab"));
    assert_eq!(link.worst_signals.len(), super::report::MAX_NAMED_SIGNALS);
    assert_eq!(link.worst_signals[0].state, SignalState::Bad("other".into()));
    assert!(view.figures.iter().filter_map(|it| it.value).all(f64::is_finite));
}
