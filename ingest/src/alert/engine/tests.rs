use std::collections::HashMap;

use proptest::prelude::*;
use sandan_proto::id::GatewayId;

use super::*;
use crate::alert::quiet::{Mute, Scope, When, Window};
use crate::time::{DAY_US, SECOND_US};

const T: i64 = 1_790_000_000 * SECOND_US;

fn gateway(number: usize) -> GatewayId {
    GatewayId::new(&format!("firm-{}/hall-{number}", number % 3)).unwrap()
}

fn device(number: usize, device: &str) -> Subject {
    Subject::Device { gateway: gateway(number), device: device.into() }
}

fn wrong(kind: Kind, level: Level, subject: Subject) -> Condition {
    Condition { kind, level, subject, since_us: T, number: None, is_hidden: false }
}

fn offline(number: usize) -> Condition {
    wrong(Kind::LastContact, Level::Critical, Subject::Gateway(gateway(number)))
}

fn link_down(number: usize, name: &str) -> Condition {
    wrong(Kind::LinkDown, Level::Warn, device(number, name))
}

/// An engine that is looked with every ten seconds.
#[derive(Default)]
struct Rig {
    engine: Engine,
    quiet: Quiet,
    timing: Timing,
    now_us: i64,
}

impl Rig {
    fn new() -> Self {
        Self { now_us: T, ..Self::default() }
    }

    /// What is told while the conditions last so long.
    fn pass(&mut self, conditions: &[Condition], us: i64) -> Vec<(Event, Condition)> {
        let end_us = self.now_us + us;
        let mut told = Vec::new();
        while self.now_us < end_us {
            let notices = self.engine.look(conditions, &self.quiet, &self.timing, self.now_us);
            told.extend(notices.into_iter().map(|it| (it.event, it.condition)));
            self.now_us += 10 * SECOND_US;
        }
        told
    }

    fn kinds(&mut self, conditions: &[Condition], us: i64) -> Vec<(Event, Kind)> {
        self.pass(conditions, us).into_iter().map(|(event, it)| (event, it.kind)).collect()
    }
}

#[test]
fn it_is_told_once_it_has_lasted_and_once_it_is_over() {
    let mut rig = Rig::new();
    assert_eq!(rig.kinds(&[offline(1)], 90 * SECOND_US), [], "a gateway that is started again");
    assert_eq!(rig.engine.shown().iter().map(|it| it.is_firing).collect::<Vec<_>>(), [false]);
    assert_eq!(rig.kinds(&[offline(1)], HOUR_US), [(Event::Firing, Kind::LastContact)]);
    assert_eq!(rig.kinds(&[], MINUTE_US), [], "it may come again at once");
    assert_eq!(rig.kinds(&[], HOUR_US), [(Event::Resolved, Kind::LastContact)]);
    assert!(rig.engine.shown().is_empty());
    assert_eq!(rig.kinds(&[], DAY_US), []);
}

#[test]
fn what_comes_and_goes_is_one_alert() {
    let mut rig = Rig::new();
    let mut told = rig.kinds(&[offline(1)], 3 * MINUTE_US);
    for _ in 0..50 {
        told.extend(rig.kinds(&[], 40 * SECOND_US));
        told.extend(rig.kinds(&[offline(1)], 40 * SECOND_US));
    }
    assert_eq!(told, [(Event::Firing, Kind::LastContact)]);
}

#[test]
fn one_alert_and_not_fifty_while_the_gateway_is_away() {
    let mut rig = Rig::new();
    let devices: Vec<_> = (0..50).map(|n| link_down(1, &format!("plc-{n}"))).collect();
    let mut all = devices.clone();
    all.push(offline(1));
    assert_eq!(rig.kinds(&all, HOUR_US), [(Event::Firing, Kind::LastContact)]);
    // Back, and its devices still do not answer: now they are told, in one message.
    let told = rig.kinds(&devices, HOUR_US);
    assert_eq!(told.len(), 51);
    assert_eq!(told.iter().filter(|it| **it == (Event::Firing, Kind::LinkDown)).count(), 50);
    assert!(told.contains(&(Event::Resolved, Kind::LastContact)));
}

#[test]
fn what_was_told_of_a_device_stays_open_while_its_gateway_is_away() {
    let mut rig = Rig::new();
    assert_eq!(rig.kinds(&[link_down(1, "plc")], HOUR_US), [(Event::Firing, Kind::LinkDown)]);
    assert_eq!(rig.kinds(&[offline(1)], HOUR_US), [(Event::Firing, Kind::LastContact)]);
    assert_eq!(rig.kinds(&[link_down(1, "plc")], HOUR_US), [(Event::Resolved, Kind::LastContact)]);
    assert_eq!(rig.kinds(&[], HOUR_US), [(Event::Resolved, Kind::LinkDown)]);
}

#[test]
fn the_services_own_trouble_hides_all_gateways() {
    let mut rig = Rig::new();
    let away = wrong(Kind::NotStoring, Level::Critical, Subject::Service);
    let mut all: Vec<_> = (0..20).map(offline).collect();
    all.push(away);
    assert_eq!(rig.kinds(&all, HOUR_US), [(Event::Firing, Kind::NotStoring)]);
    // What hides nothing: a witness that is behind.
    all.pop();
    all.push(wrong(Kind::WitnessBehind, Level::Warn, Subject::Service));
    assert_eq!(rig.kinds(&all, HOUR_US).len(), 22);
}

#[test]
fn what_gets_worse_and_what_lasts_is_told_again() {
    let mut rig = Rig::new();
    let filling = |level| wrong(Kind::SpoolFullIn, level, Subject::Gateway(gateway(1)));
    assert_eq!(rig.kinds(&[filling(Level::Warn)], HOUR_US), [(Event::Firing, Kind::SpoolFullIn)]);
    assert_eq!(rig.kinds(&[filling(Level::Critical)], HOUR_US), [(Event::Worse, Kind::SpoolFullIn)]);
    assert_eq!(rig.kinds(&[filling(Level::Warn)], HOUR_US), [], "better is no news before the end");
    assert_eq!(rig.kinds(&[filling(Level::Critical)], 3 * HOUR_US), [(Event::Still, Kind::SpoolFullIn)]);
    assert_eq!(rig.kinds(&[], HOUR_US), [(Event::Resolved, Kind::SpoolFullIn)]);
}

#[test]
fn a_mute_holds_back_and_an_end_comes_all_the_same() {
    let mut rig = Rig::new();
    let mute = |rig: &Rig, scope| Mute {
        id: 1,
        scope,
        kind: None,
        until_us: rig.now_us + HOUR_US,
        by: "김하늘".into(),
        why: "알고 있음".into(),
        made_us: rig.now_us,
    };
    rig.quiet.mutes = vec![mute(&rig, Scope::Gateway(gateway(1)))];
    let told = rig.pass(&[offline(1), offline(2)], HOUR_US);
    assert_eq!(told, [(Event::Firing, offline(2))]);
    assert_eq!(rig.kinds(&[offline(1), offline(2)], MINUTE_US), [(Event::Firing, Kind::LastContact)], "it is over");
    rig.quiet.mutes = vec![mute(&rig, Scope::All)];
    assert_eq!(rig.kinds(&[], HOUR_US), [(Event::Resolved, Kind::LastContact); 2]);
    // What begins and ends in the midst of it was never there for anybody.
    rig.quiet.mutes = vec![mute(&rig, Scope::All)];
    let mut told = rig.kinds(&[offline(3)], 30 * MINUTE_US);
    told.extend(rig.kinds(&[], 2 * HOUR_US));
    assert_eq!(told, []);
}

#[test]
fn nobody_is_told_of_a_gateway_in_its_window() {
    let mut rig = Rig::new();
    let when = When::Once { from_us: T, to_us: T + HOUR_US };
    let scope = Scope::Gateway(gateway(1));
    rig.quiet.windows =
        vec![Window { id: 1, scope, when, by: "설비팀".into(), why: "정기 점검".into(), made_us: T }];
    assert_eq!(rig.kinds(&[offline(1)], HOUR_US), []);
    assert!(!rig.quiet.is_maintained(&Subject::Gateway(gateway(1)), rig.now_us));
    assert_eq!(rig.kinds(&[offline(1)], MINUTE_US), [(Event::Firing, Kind::LastContact)]);
}

#[test]
fn a_storm_of_faults_makes_a_bounded_number_of_messages_and_loses_none() {
    let mut rig = Rig::new();
    let mut present = Vec::new();
    let mut messages = 0;
    let mut told = 0;
    // A new fault every ten seconds for an hour: no two are told of in the same look.
    for number in 0..360 {
        present.push(wrong(Kind::ReadingsDropped, Level::Critical, Subject::Gateway(gateway(number))));
        let notices = rig.engine.look(&present, &rig.quiet, &rig.timing, rig.now_us);
        messages += i64::from(!notices.is_empty());
        told += notices.len();
        rig.now_us += 10 * SECOND_US;
    }
    assert!(messages <= most_messages(HOUR_US), "{messages}");
    told += rig.pass(&present, HOUR_US).len();
    assert_eq!(told, 360, "those that waited go with the next message");
}

#[test]
fn warnings_leave_room_for_what_is_critical() {
    let mut rig = Rig::new();
    let mut present = Vec::new();
    for number in 0..30 {
        present.push(wrong(Kind::ReadingsDropped, Level::Warn, Subject::Gateway(gateway(number))));
        rig.engine.look(&present, &rig.quiet, &rig.timing, rig.now_us);
        rig.now_us += SECOND_US;
    }
    present.push(wrong(Kind::Fenced, Level::Critical, Subject::Gateway(gateway(99))));
    let notices = rig.engine.look(&present, &rig.quiet, &rig.timing, rig.now_us);
    assert_eq!(notices[0].condition.kind, Kind::Fenced, "the worst stands first");
    assert!(notices.len() > 20, "and what waited goes with it");
}

#[test]
fn a_restart_neither_repeats_nor_forgets() {
    let mut rig = Rig::new();
    assert_eq!(rig.kinds(&[offline(1)], HOUR_US), [(Event::Firing, Kind::LastContact)]);
    let mut kept = HashMap::new();
    for (key, saved) in rig.engine.changes() {
        kept.insert(key, saved.unwrap());
    }
    rig.engine = Engine::restore(kept.into_values());
    assert_eq!(rig.kinds(&[offline(1)], HOUR_US), []);
    assert_eq!(rig.kinds(&[], HOUR_US), [(Event::Resolved, Kind::LastContact)]);
    let gone = rig.engine.changes();
    assert!(matches!(&gone[..], [(_, None)]), "{gone:?}");
}

#[test]
fn a_kind_that_is_switched_off_is_not_told_and_hides_all_the_same() {
    let mut rig = Rig::new();
    rig.timing.off.insert(Kind::LastContact);
    assert_eq!(rig.kinds(&[offline(1), link_down(1, "plc")], HOUR_US), []);
    rig.timing.for_us.insert(Kind::LinkDown, 30 * MINUTE_US);
    assert_eq!(rig.kinds(&[link_down(1, "plc")], 30 * MINUTE_US), []);
    assert_eq!(rig.kinds(&[link_down(1, "plc")], MINUTE_US), [(Event::Firing, Kind::LinkDown)]);
}

#[test]
fn what_the_model_hides_is_neither_there_nor_gone() {
    let mut rig = Rig::new();
    let hidden = |it: Condition| Condition { is_hidden: true, ..it };
    assert_eq!(rig.kinds(&[hidden(link_down(1, "a")), link_down(1, "b")], HOUR_US), [(Event::Firing, Kind::LinkDown)]);
    assert_eq!(rig.kinds(&[hidden(link_down(1, "b"))], HOUR_US), [], "told, and not over");
    assert_eq!(rig.kinds(&[], HOUR_US), [(Event::Resolved, Kind::LinkDown)]);
}

/// Some conditions out of a small plant with all sorts of trouble.
fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    let level = prop_oneof![Just(Level::Warn), Just(Level::Critical)];
    let one = prop_oneof![
        1 => Just(wrong(Kind::NotStoring, Level::Critical, Subject::Service)),
        4 => (0..4_usize).prop_map(offline),
        4 => ((0..4_usize), level).prop_map(|(n, level)| wrong(Kind::SpoolFullIn, level, Subject::Gateway(gateway(n)))),
        8 => ((0..4_usize), (0..3_u8)).prop_map(|(n, d)| link_down(n, &format!("plc-{d}"))),
        2 => (0..4_usize).prop_map(|n| wrong(Kind::ReadingsDropped, Level::Critical, Subject::Gateway(gateway(n)))),
    ];
    proptest::collection::vec(one, 0..6)
}

fn mutes() -> impl Strategy<Value = Option<(usize, i64)>> {
    proptest::option::weighted(0.2, (0..4_usize, 60..7_200_i64))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever comes and goes, in whatever order and pace.
    #[test]
    fn notices_are_paired_bounded_and_never_of_what_is_hidden(
        steps in proptest::collection::vec((conditions(), mutes(), 1..900_i64, any::<bool>()), 1..120)
    ) {
        let mut rig = Rig::new();
        let mut open: HashMap<String, (Kind, Subject)> = HashMap::new();
        let mut messages = 0;
        let mut saved: HashMap<String, Saved> = HashMap::new();
        for (present, mute, seconds, restarts) in steps {
            if let Some((number, muted_s)) = mute {
                let (scope, until_us) = (Scope::Gateway(gateway(number)), rig.now_us + muted_s * SECOND_US);
                let (by, why) = (String::new(), String::new());
                rig.quiet.mutes = vec![Mute { id: 1, scope, kind: None, until_us, by, why, made_us: 0 }];
            }
            let notices = rig.engine.look(&present, &rig.quiet, &rig.timing, rig.now_us);
            messages += i64::from(!notices.is_empty());
            let hiding: Vec<_> = present.iter().filter(|it| it.kind.hides_what_is_below()).collect();
            for notice in notices {
                let Condition { kind, subject, .. } = notice.condition.clone();
                match notice.event {
                    Event::Firing => {
                        prop_assert!(!open.values().any(|it| *it == (kind, subject.clone())), "told twice");
                        prop_assert!(open.insert(notice.id.clone(), (kind, subject.clone())).is_none());
                    }
                    Event::Worse | Event::Still => prop_assert!(open.contains_key(&notice.id)),
                    Event::Resolved => prop_assert!(open.remove(&notice.id).is_some(), "an end of nothing"),
                }
                if notice.event != Event::Resolved {
                    prop_assert!(!rig.quiet.covers(kind, &subject, rig.now_us), "told in quiet");
                    let hidden = hiding.iter().any(|it| subject.above().any(|above| above == it.subject));
                    prop_assert!(!hidden, "{subject} is hidden");
                }
            }
            for (key, changed) in rig.engine.changes() {
                match changed {
                    Some(it) => drop(saved.insert(key, it)),
                    None => drop(saved.remove(&key)),
                }
            }
            if restarts {
                let budget = std::mem::take(&mut rig.engine.budget);
                rig.engine = Engine::restore(saved.values().cloned());
                // A restart gives a burst; what is bounded here is one process.
                rig.engine.budget = budget;
            }
            rig.now_us += seconds * SECOND_US;
        }
        let us = rig.now_us - T;
        prop_assert!(messages <= most_messages(us), "{messages} messages in {us} µs");
        // All is well from now on: each of them ends, once.
        for notice in rig.engine.look(&[], &rig.quiet, &rig.timing, rig.now_us) {
            if notice.event == Event::Resolved {
                prop_assert!(open.remove(&notice.id).is_some());
            }
        }
        rig.now_us += DAY_US;
        for notice in rig.engine.look(&[], &rig.quiet, &rig.timing, rig.now_us) {
            prop_assert_eq!(notice.event, Event::Resolved);
            prop_assert!(open.remove(&notice.id).is_some());
        }
        prop_assert!(open.is_empty(), "{open:?}");
    }
}
