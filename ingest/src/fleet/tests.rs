use super::*;
use crate::time::{DAY_US, HOUR_US, MINUTE_US, SECOND_US};

mod figures;

const T: i64 = 1_000_000 * SECOND_US;
const BEAT: i64 = HEARTBEAT_US;

fn gateway(id: &str) -> GatewayId {
    GatewayId::new(id).unwrap()
}

fn link(device: &str, state: v1::LinkState, age_ms: Option<u64>) -> v1::LinkHealth {
    v1::LinkHealth {
        device: device.into(),
        endpoint: format!("modbus-tcp {device}:502"),
        state: state.into(),
        last_good_age_ms: age_ms,
        ..Default::default()
    }
}

fn health(oldest_ms: u64, links: Vec<v1::LinkHealth>) -> v1::Health {
    let spool = v1::SpoolHealth {
        oldest_unacked_ms: oldest_ms,
        unacked_readings: 7,
        bytes_used: 10,
        bytes_cap: 100,
        ..Default::default()
    };
    v1::Health { spool: Some(spool), links, ..Default::default() }
}

fn fleet() -> (Fleet, GatewayId) {
    let (mut fleet, id) = (Fleet::new(Bounds::default(), T), gateway("hanbit/gw"));
    fleet.enrol(id.clone());
    (fleet, id)
}

/// With a session of epoch 1 that began at `T`.
fn online() -> (Fleet, GatewayId) {
    let (mut fleet, id) = fleet();
    open(&mut fleet, &id, 1, T);
    (fleet, id)
}

fn open(fleet: &mut Fleet, id: &GatewayId, epoch: u64, now_us: i64) {
    fleet.opened(id, epoch, &v1::Hello::default(), now_us);
}

fn only(fleet: &mut Fleet, now_us: i64) -> View {
    let mut views = fleet.views(now_us);
    assert_eq!(views.len(), 1);
    views.remove(0)
}

/// State, and what is said: id, level and device; a star stands for what is inhibited.
fn said(fleet: &mut Fleet, now_us: i64) -> (State, Vec<String>) {
    let view = only(fleet, now_us);
    let words = view.conditions.iter().map(|it| {
        let (star, id, level) = (if it.inhibited_by.is_some() { "*" } else { "" }, it.id.name(), it.level.name());
        let device = it.device.as_ref().map(|device| format!(" {device}")).unwrap_or_default();
        format!("{star}{id} {level}{device}")
    });
    (view.state, words.collect())
}

fn is(state: State, conditions: &[&str]) -> (State, Vec<String>) {
    (state, conditions.iter().map(|it| (*it).to_owned()).collect())
}

#[test]
fn birth_is_a_hello_and_death_a_goodbye_or_heartbeats_that_do_not_come() {
    let (mut fleet, id) = fleet();
    assert_eq!(said(&mut fleet, T), is(State::Enrolled, &[]));
    assert_eq!(said(&mut fleet, T + DAY_US), is(State::Enrolled, &[]), "nobody is told of what has yet to begin");
    let t = T + DAY_US;
    open(&mut fleet, &id, 1, t);
    assert_eq!(said(&mut fleet, t + 3 * BEAT - 1), is(State::Online, &[]));
    assert_eq!(said(&mut fleet, t + 3 * BEAT), is(State::Silent, &["last_contact warn"]));
    assert_eq!(said(&mut fleet, t + 10 * BEAT), is(State::Offline, &["last_contact critical"]));
    let since_us = only(&mut fleet, t + 10 * BEAT).conditions[0].since_us;
    assert_eq!(since_us, t + 3 * BEAT, "one condition, from its first bound on");
    fleet.health(&id, &health(0, vec![]), t + 11 * BEAT);
    assert_eq!(said(&mut fleet, t + 11 * BEAT), is(State::Online, &[]));
    // A connection that breaks is noticed by the heartbeats alone: it may be back in a second.
    fleet.closed(&id, 1, false);
    let view = only(&mut fleet, t + 11 * BEAT);
    assert_eq!((view.state, view.connected), (State::Online, false));
    open(&mut fleet, &id, 2, t + 12 * BEAT);
    fleet.closed(&id, 2, true);
    assert_eq!(said(&mut fleet, t + 12 * BEAT), is(State::Offline, &[]), "it said goodbye, as before a restart");
    assert_eq!(said(&mut fleet, t + 15 * BEAT), is(State::Offline, &["last_contact warn"]));
    fleet.forget(&id);
    open(&mut fleet, &id, 3, t);
    assert!(fleet.views(t).is_empty(), "a session that was let in while its certificate was revoked");
}

#[test]
fn the_death_of_an_older_session_is_none() {
    let (mut fleet, id) = online();
    open(&mut fleet, &id, 2, T);
    fleet.closed(&id, 1, true);
    let view = only(&mut fleet, T);
    assert_eq!((view.state, view.connected), (State::Online, true));
    // Nor does an older one come back to life.
    open(&mut fleet, &id, 1, T + BEAT);
    assert_eq!(only(&mut fleet, T + BEAT).contact_us, Some(T));
    fleet.closed(&id, 2, true);
    assert_eq!(only(&mut fleet, T).state, State::Offline);
}

#[test]
fn backlog_is_no_word_and_old_data_does_not_move_the_newest_time_back() {
    let (mut fleet, id) = online();
    let late = T + 5 * BEAT;
    fleet.stored(&id, late - HOUR_US, late);
    fleet.stored(&id, late - 2 * HOUR_US, late);
    let view = only(&mut fleet, late);
    assert_eq!((view.state, view.newest_us), (State::Silent, Some(late - HOUR_US)));
    assert_eq!(view.contact_us, Some(T));
    fleet.stored(&id, late - SECOND_US, late);
    assert_eq!(only(&mut fleet, late).state, State::Online, "what it read a second ago is a word from it");
    fleet.stored(&id, late - SECOND_US, late + BEAT);
    assert_eq!(only(&mut fleet, late + BEAT).contact_us, Some(late), "the same again is none");
    fleet.health(&id, &health(30_001, vec![]), late);
    assert_eq!(said(&mut fleet, late), is(State::CatchingUp, &[]), "it mends itself");
}

#[test]
fn what_a_device_lacks_is_said_by_name_and_one_condition_says_it() {
    let (mut fleet, id) = online();
    let links = vec![
        link("a", v1::LinkState::Up, Some(10)),
        link("c", v1::LinkState::Flaky, Some(10)),
        link("b", v1::LinkState::Down, Some(180_000)),
        link("d", v1::LinkState::Down, None),
        link("e", v1::LinkState::Disabled, None),
    ];
    fleet.health(&id, &health(0, links), T);
    let (state, words) = said(&mut fleet, T);
    assert_eq!(
        (state, words),
        is(State::Degraded, &["link_down critical b", "link_down critical d", "link_flaky warn c"])
    );
    let view = only(&mut fleet, T);
    let names: Vec<_> = view.links.iter().map(|link| link.device.as_str()).collect();
    assert_eq!(names, ["b", "d", "c", "a", "e"]);
    assert_eq!(view.links[0].last_good_us, Some(T - 180 * SECOND_US));
    let chain = &view.chain;
    assert_eq!((chain.broken, chain.worst_device.as_deref(), chain.other_devices), (Some(Hop::Device), Some("b"), 2));
    assert_eq!((chain.gateway, chain.spool, chain.ingest), (Level::Well, Level::Well, Level::Well));
    // It answers by now, half of the time: the figure says it.
    let mut half = link("b", v1::LinkState::Flaky, Some(10));
    (half.polls_total, half.success_permille_5min) = (10, 500);
    fleet.health(&id, &health(0, vec![half]), T + BEAT);
    assert_eq!(said(&mut fleet, T + BEAT), is(State::Degraded, &["poll_success critical b"]));
}

#[test]
fn an_endpoint_that_is_away_is_one_alarm() {
    let (mut fleet, id) = online();
    let at =
        |device: &str, state| v1::LinkHealth { endpoint: "modbus-tcp plc:502".into(), ..link(device, state, None) };
    let all: Vec<_> = ["a", "b", "c"].iter().map(|device| at(device, v1::LinkState::Down)).collect();
    fleet.health(&id, &health(0, all.clone()), T);
    let alone = ["link_down critical a", "*link_down critical b", "*link_down critical c"];
    assert_eq!(said(&mut fleet, T), is(State::Degraded, &alone));
    let mut one = all;
    one[0] = at("a", v1::LinkState::Up);
    fleet.health(&id, &health(0, one), T);
    let each = ["link_down critical b", "link_down critical c"];
    assert_eq!(said(&mut fleet, T), is(State::Degraded, &each), "the endpoint answers, and these do not");
}

#[test]
fn a_silent_gateway_makes_its_children_unknown_and_is_one_alarm() {
    let (mut fleet, id) = online();
    let signals = vec![v1::SignalHealth {
        signal: "force".into(),
        state: v1::SignalState::Bad.into(),
        quality: 131,
        age_ms: Some(5),
    }];
    let mut down = link("a", v1::LinkState::Down, None);
    down.worst_signals = signals;
    fleet.health(&id, &health(0, vec![down, link("b", v1::LinkState::Up, Some(1))]), T);
    let seen = only(&mut fleet, T);
    assert_eq!(seen.links[0].worst_signals[0].state, SignalState::Bad("sentinel".into()));
    let began_us = seen.conditions[0].since_us;
    let silent = T + 3 * BEAT;
    assert_eq!(said(&mut fleet, silent), is(State::Silent, &["last_contact warn", "*link_down critical a"]));
    let view = only(&mut fleet, silent);
    assert!(view.links.iter().all(|link| link.state == LinkState::Unknown));
    assert_eq!(view.links[0].reported, LinkState::Down);
    assert_eq!(view.links[0].worst_signals[0].state, SignalState::Unknown);
    let chain = &view.chain;
    assert_eq!((chain.device, chain.gateway, chain.spool), (Level::Unknown, Level::Warn, Level::Unknown));
    assert_eq!(chain.broken, Some(Hop::Gateway));
    // Heard again: it went on all the time, or it did not.
    fleet.health(&id, &health(0, vec![link("a", v1::LinkState::Down, None)]), silent);
    assert_eq!(only(&mut fleet, silent).conditions[0].since_us, began_us);
    fleet.health(&id, &health(0, vec![link("a", v1::LinkState::Up, Some(1))]), silent);
    assert_eq!(said(&mut fleet, silent), is(State::Online, &[]));
}

#[test]
fn what_the_ingest_cannot_hear_is_its_own_fault() {
    let (mut fleet, id) = online();
    fleet.recall(&id, T);
    fleet.storing(false, T + BEAT);
    let late = T + 10 * BEAT;
    assert_eq!(said(&mut fleet, late), is(State::Offline, &["*last_contact critical"]));
    assert_eq!(only(&mut fleet, late).chain.broken, Some(Hop::Ingest));
    let own = fleet.conditions(late).remove(0);
    assert_eq!((own.id, own.since_us, own.gateway), (ConditionId::NotStoring, T + BEAT, None));
    fleet.storing(false, late);
    fleet.storing(true, late);
    assert!(fleet.own_conditions().is_empty());
    assert_eq!(said(&mut fleet, late + 3 * BEAT - 1).1, ["*last_contact critical"], "they are still coming back");
    assert_eq!(said(&mut fleet, late + 3 * BEAT).1, ["last_contact critical"]);
}

#[test]
fn after_a_restart_gateways_have_time_to_come_back() {
    let (mut fleet, id) = fleet();
    fleet.recall(&id, T - HOUR_US);
    assert_eq!(said(&mut fleet, T + 3 * BEAT - 1), is(State::Enrolled, &[]));
    assert_eq!(said(&mut fleet, T + 3 * BEAT), is(State::Silent, &["last_contact warn"]));
    assert_eq!(said(&mut fleet, T + 10 * BEAT), is(State::Offline, &["last_contact critical"]));
    open(&mut fleet, &id, 9, T + 10 * BEAT);
    assert_eq!(said(&mut fleet, T + 10 * BEAT), is(State::Online, &[]));
}

#[test]
fn a_refused_copy_is_the_worst_and_is_told_from_one_beside_a_session() {
    let (mut fleet, id) = fleet();
    fleet.recall(&id, T);
    fleet.fenced(&id, T);
    assert_eq!(
        said(&mut fleet, T + DAY_US),
        is(State::Fenced, &["fenced critical"]),
        "and its silence follows from it"
    );
    assert_eq!(only(&mut fleet, T).contact_us, None, "a refused Hello is no contact");
    assert!(fleet.is_fenced(&id, T + DAY_US));
    fleet.released(&id);
    assert!(!fleet.is_fenced(&id, T));
    fleet.fenced(&id, T);
    open(&mut fleet, &id, 1, T);
    assert!(!fleet.is_fenced(&id, T), "it was the right one");
    fleet.fenced(&id, T);
    let view = only(&mut fleet, T);
    assert_eq!((view.state, view.connected), (State::Degraded, true), "a copy beside it");
    assert_eq!(view.worst().unwrap().id, ConditionId::Fenced);
    assert!(!fleet.is_fenced(&id, T + HOUR_US), "the copy was switched off");
    fleet.fenced(&gateway("a/nobody"), T);
    assert_eq!(fleet.views(T).len(), 1);
}

#[test]
fn who_works_on_a_gateway_is_not_called() {
    let (mut fleet, id) = online();
    fleet.maintain(&id, Some(T + HOUR_US));
    fleet.health(&id, &health(0, vec![link("a", v1::LinkState::Down, None)]), T);
    assert_eq!(said(&mut fleet, T), is(State::Maintenance, &["*link_down critical a"]));
    let view = only(&mut fleet, T + 10 * BEAT);
    assert_eq!((view.state, view.needs_attention()), (State::Maintenance, false));
    assert_eq!(said(&mut fleet, T + HOUR_US).1, ["last_contact critical", "*link_down critical a"]);
    fleet.maintain(&id, Some(T + DAY_US));
    fleet.maintain(&id, None);
    assert_eq!(only(&mut fleet, T + HOUR_US).state, State::Offline);
}

#[test]
fn the_worst_gateway_stands_first() {
    let mut fleet = Fleet::new(Bounds::default(), T);
    for name in ["a/new", "b/fine", "c/gone", "d/down", "e/silent", "f/catching"] {
        fleet.enrol(gateway(name));
    }
    open(&mut fleet, &gateway("e/silent"), 1, T - 4 * BEAT);
    open(&mut fleet, &gateway("c/gone"), 1, T - 10 * BEAT);
    for name in ["b/fine", "d/down", "f/catching"] {
        open(&mut fleet, &gateway(name), 1, T);
    }
    fleet.health(&gateway("d/down"), &health(0, vec![link("x", v1::LinkState::Down, None)]), T);
    fleet.health(&gateway("f/catching"), &health(40_000, vec![]), T);
    // Somebody listened for as long.
    fleet.storing(false, T - DAY_US);
    fleet.storing(true, T - DAY_US);
    let order: Vec<_> = fleet.views(T).into_iter().map(|view| view.id.to_string()).collect();
    assert_eq!(order, ["c/gone", "d/down", "e/silent", "f/catching", "b/fine", "a/new"]);
    let conditions = fleet.conditions(T);
    let named: Vec<_> = conditions.iter().map(|it| it.gateway.as_ref().unwrap().to_string()).collect();
    assert_eq!(named, ["c/gone", "d/down", "e/silent"]);
}

#[test]
fn every_name_is_one_word_and_is_there_once() {
    let once: std::collections::BTreeSet<_> = ConditionId::ALL.iter().map(|it| it.name()).collect();
    assert_eq!(once.len(), ConditionId::ALL.len());
    for id in ConditionId::ALL {
        assert_eq!(serde_json::to_value(id).unwrap(), id.name());
    }
    for state in State::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), state.name());
    }
    assert!(ConditionId::ALL.is_sorted() && State::ALL.is_sorted() && LinkState::ALL.is_sorted());
    for figure in Figure::ALL {
        assert_eq!(serde_json::to_value(figure).unwrap(), figure.name());
    }
}

/// 2,000 gateways with 10 devices each. What it takes is printed; what is asserted leaves room
/// for a busy machine and a build without optimisation.
#[test]
fn two_thousand_gateways_are_looked_at_in_a_moment() {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4_096
    };
    let before = resident();
    let mut fleet = Fleet::new(Bounds::default(), T);
    let devices: Vec<_> = (0..10)
        .map(|device| {
            let mut link = link(&format!("plc-{device}"), v1::LinkState::Up, Some(10));
            (link.polls_total, link.success_permille_5min) = (100, 1_000);
            (link.interval_ms, link.latency_p99_ms) = (1_000, 5);
            link
        })
        .collect();
    for number in 0..2_000 {
        let id = gateway(&format!("firm-{}/gateway-{number}", number / 4));
        fleet.enrol(id.clone());
        open(&mut fleet, &id, 1, T);
        let mut links = devices.clone();
        if number % 20 == 0 {
            links[3].state = v1::LinkState::Down.into();
        }
        fleet.health(&id, &health(0, links), T);
    }
    let kept = resident() - before;
    let mut times: Vec<_> = (0..50)
        .map(|look| {
            let began = std::time::Instant::now();
            let views = fleet.views(T + look);
            assert_eq!((views.len(), views[0].state), (2_000, State::Degraded));
            assert_eq!(views.iter().filter(|view| view.needs_attention()).count(), 100);
            began.elapsed()
        })
        .collect();
    times.sort();
    println!("kept {kept} bytes; looks: median {:?}, longest of 50 {:?}", times[25], times[49]);
    assert!(times[49] < std::time::Duration::from_secs(5), "{times:?}");
}
