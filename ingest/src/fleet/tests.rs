use super::*;

const T: i64 = 1_000_000 * SECOND_US;

fn gateway(id: &str) -> GatewayId {
    GatewayId::new(id).unwrap()
}

fn link(device: &str, state: v1::LinkState, age_ms: Option<u64>) -> v1::LinkHealth {
    v1::LinkHealth { device: device.into(), state: state.into(), last_good_age_ms: age_ms, ..Default::default() }
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

fn enrolled() -> (Fleet, GatewayId) {
    let (mut fleet, id) = (Fleet::default(), gateway("hanbit/gw"));
    fleet.enrol(id.clone());
    (fleet, id)
}

fn only(fleet: &Fleet, now_us: i64) -> View {
    let mut views = fleet.views(now_us);
    assert_eq!(views.len(), 1);
    views.remove(0)
}

#[test]
fn a_life_from_enrolled_over_silent_to_offline() {
    let (mut fleet, id) = (Fleet::default(), gateway("hanbit/gw"));
    fleet.enrol(id.clone());
    assert_eq!(only(&fleet, T).state, State::Enrolled);
    fleet.opened(&id, T);
    assert_eq!((only(&fleet, T).state, only(&fleet, T).fault), (State::Online, None));
    let edge = T + 3 * HEARTBEAT_US;
    assert_eq!(only(&fleet, edge - 1).state, State::Online);
    assert_eq!(only(&fleet, edge).fault, Some(Fault::Silent { contact_us: T }));
    fleet.health(&id, &health(0, vec![]), edge);
    assert_eq!(only(&fleet, edge).state, State::Online);
    fleet.closed(&id);
    assert_eq!(only(&fleet, edge + 9).fault, Some(Fault::Offline { contact_us: Some(edge) }));
    fleet.stored(&id, edge, edge + 7);
    assert_eq!(only(&fleet, edge + 9).contact_us, Some(edge), "what is synced late is no word from it");
    fleet.enrol(id.clone());
    assert_eq!(only(&fleet, edge + 9).state, State::Offline, "known gateways keep their state");
    fleet.forget(&id);
    fleet.opened(&id, edge);
    assert!(fleet.views(edge).is_empty(), "a session that was let in while its token was revoked");
}

#[test]
fn backlog_is_caught_up_and_old_data_does_not_move_the_newest_time_back() {
    let (mut fleet, id) = enrolled();
    fleet.opened(&id, T);
    fleet.stored(&id, T - 5, T);
    fleet.stored(&id, T - 900, T);
    fleet.health(&id, &health(30_001, vec![]), T);
    let view = only(&fleet, T);
    assert_eq!((view.state, view.newest_us), (State::CatchingUp, Some(T - 5)));
    assert_eq!(view.fault, Some(Fault::CatchingUp { oldest_ms: 30_001 }));
}

#[test]
fn the_worst_link_is_said_first_with_the_time_of_its_last_answer() {
    let (mut fleet, id) = enrolled();
    fleet.opened(&id, T);
    let links = vec![
        link("a", v1::LinkState::Up, Some(10)),
        link("c", v1::LinkState::Flaky, Some(10)),
        link("b", v1::LinkState::Down, Some(180_000)),
        link("d", v1::LinkState::Down, None),
    ];
    fleet.health(&id, &health(0, links), T);
    let view = only(&fleet, T);
    let names: Vec<_> = view.links.iter().map(|link| link.device.as_str()).collect();
    assert_eq!(names, ["b", "d", "c", "a"]);
    let last_good_us = Some(T - 180 * SECOND_US);
    assert_eq!(view.fault, Some(Fault::LinkDown { device: "b".into(), last_good_us, others: 1 }));
}

#[test]
fn dropped_readings_and_a_full_spool_are_said() {
    let (mut fleet, id) = enrolled();
    fleet.opened(&id, T);
    let mut report = health(0, vec![]);
    report.readings_dropped_total = 12;
    fleet.health(&id, &report, T);
    assert_eq!(only(&fleet, T).fault, Some(Fault::Dropped { readings: 12 }));
    let later = T + DROPPED_SHOWN_US;
    fleet.health(&id, &report, later);
    assert_eq!(only(&fleet, later).fault, None);
    report.spool.as_mut().unwrap().bytes_used = 85;
    fleet.health(&id, &report, later);
    assert_eq!(only(&fleet, later).fault, Some(Fault::SpoolFull { percent: 85 }));
}

#[test]
fn messages_that_cannot_be_used_are_said_until_none_came_for_an_hour_or_a_restart() {
    let (mut fleet, id) = enrolled();
    fleet.opened(&id, T);
    let mut report = health(0, vec![]);
    report.dead_letters_total = 3;
    fleet.health(&id, &report, T);
    assert_eq!(only(&fleet, T).fault, Some(Fault::Unusable { messages: 3 }));
    let later = T + UNUSABLE_SHOWN_US;
    fleet.health(&id, &report, later);
    assert_eq!(only(&fleet, later).fault, None);
    report.dead_letters_total = 4;
    fleet.health(&id, &report, later);
    assert_eq!(only(&fleet, later).fault, Some(Fault::Unusable { messages: 4 }));
    fleet.health(&id, &health(0, vec![]), later);
    assert_eq!(only(&fleet, later).fault, None, "a gateway that was restarted, or is older, counts none");
}

#[test]
fn the_worst_gateway_stands_first() {
    let mut fleet = Fleet::default();
    for name in ["a/new", "b/fine", "c/gone", "d/down", "e/silent"] {
        fleet.enrol(gateway(name));
    }
    fleet.opened(&gateway("e/silent"), T - 4 * HEARTBEAT_US);
    for name in ["b/fine", "c/gone", "d/down"] {
        fleet.opened(&gateway(name), T);
    }
    fleet.closed(&gateway("c/gone"));
    fleet.health(&gateway("d/down"), &health(0, vec![link("x", v1::LinkState::Down, None)]), T);
    let order: Vec<_> = fleet.views(T).into_iter().map(|view| view.id.to_string()).collect();
    assert_eq!(order, ["c/gone", "e/silent", "d/down", "a/new", "b/fine"]);
}

#[test]
fn a_refused_copy_is_the_worst_and_is_told_from_one_beside_a_session() {
    let (mut fleet, id) = enrolled();
    fleet.enrol(gateway("a/gone"));
    fleet.recall(&gateway("a/gone"), T);
    let first = |fleet: &Fleet, now_us| fleet.views(now_us).remove(0);
    fleet.fenced(&id, T);
    let view = first(&fleet, T + DROPPED_SHOWN_US);
    assert_eq!((view.state, view.contact_us), (State::Fenced, None), "a refused Hello is no contact");
    assert_eq!(view.fault, Some(Fault::Fenced { gateway: id.clone(), beside: false }));
    assert!(fleet.is_fenced(&id, T + DROPPED_SHOWN_US));
    // Let in, by a release or because it was the right one.
    fleet.released(&id);
    assert!(!fleet.is_fenced(&id, T));
    fleet.fenced(&id, T);
    fleet.opened(&id, T);
    assert!(!fleet.is_fenced(&id, T));
    // A copy beside it.
    fleet.fenced(&id, T);
    let view = first(&fleet, T);
    assert_eq!(view.state, State::Online);
    assert_eq!(view.fault, Some(Fault::Fenced { gateway: id.clone(), beside: true }));
    assert!(!fleet.is_fenced(&id, T + FENCED_SHOWN_US), "the copy was switched off");
    fleet.fenced(&gateway("a/nobody"), T);
    assert_eq!(fleet.views(T).len(), 2);
}

#[test]
fn figures_that_no_gateway_can_have_are_cut() {
    let (mut fleet, id) = enrolled();
    fleet.opened(&id, T);
    let mut report = health(u64::MAX, vec![link("a", v1::LinkState::Up, Some(u64::MAX))]);
    let spool = report.spool.as_mut().unwrap();
    (spool.bytes_used, spool.bytes_cap) = (u64::MAX, 1);
    report.links[0].success_permille_5min = u32::MAX;
    fleet.health(&id, &report, T);
    let view = only(&fleet, T);
    assert_eq!(view.fault, Some(Fault::SpoolFull { percent: 100 }));
    assert_eq!(view.spool.unwrap().oldest_ms, MAX_AGE_MS);
    assert_eq!(view.links[0].last_good_us, Some(T - MAX_AGE_MS.cast_signed() * 1_000));
    assert_eq!(view.links[0].success_permille, 1_000);
}
