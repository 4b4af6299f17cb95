//! When things were so: times of the node, and of those who have none.

use super::*;

fn captured(at_ms: u64, metric: wire::Metric) -> wire::Metric {
    wire::Metric { timestamp: Some(at_ms), ..metric }
}

fn historical(metric: wire::Metric) -> wire::Metric {
    wire::Metric { is_historical: Some(true), ..metric }
}

/// Seconds after the beginning, as told; `None` for "when the message came".
fn seconds(outcome: &Outcome) -> Vec<Option<i64>> {
    outcome.samples.iter().map(|sample| sample.wall_us.map(|us| (us - TODAY_US) / SECOND)).collect()
}

fn rig() -> Rig {
    Rig { seconds: 1_000, ..Rig::new(node(&["a"], &[], false)) }
}

#[test]
fn a_metric_has_its_own_time_or_the_payloads() {
    let mut rig = rig();
    assert_eq!(seconds(&rig.say("NBIRTH", Some(0), vec![captured(ms(900), told("a", 1, 1.0))])), [Some(900)]);
    assert_eq!(seconds(&rig.say("NDATA", Some(1), vec![captured(ms(950), data(1, 1.0))])), [Some(950)]);
    let metrics = vec![data(1, 2.0).encode_to_vec().into()];
    let sent = wire::Payload { timestamp: Some(ms(960)), metrics, seq: Some(2) };
    assert_eq!(seconds(&rig.bytes("NDATA", &sent.encode_to_vec().into())), [Some(960)]);
    assert_eq!(seconds(&rig.say("NDATA", Some(3), vec![data(1, 2.0)])), [None]);
    assert_eq!(seconds(&rig.say("NDATA", Some(4), vec![captured(0, data(1, 2.0))])), [None], "0 is no time");
}

#[test]
fn several_values_of_one_metric_have_each_its_time() {
    let mut rig = rig();
    rig.say("NBIRTH", Some(0), vec![captured(ms(900), told("a", 1, 1.0))]);
    let metrics = (1..4).map(|second| captured(ms(900 + second), data(1, second as f64))).collect::<Vec<_>>();
    let outcome = rig.say("NDATA", Some(1), metrics);
    assert_eq!(
        (numbers(&outcome), seconds(&outcome)),
        (vec![(0, 1.0), (0, 2.0), (0, 3.0)], vec![Some(901), Some(902), Some(903)])
    );
}

#[test]
fn a_time_to_come_or_before_the_last_is_not_believed() {
    let mut rig = rig();
    assert_eq!(seconds(&rig.say("NBIRTH", Some(0), vec![captured(ms(5_000), told("a", 1, 1.0))])), [None]);
    // Told at second 1001; the node's clock is behind.
    assert_eq!(seconds(&rig.say("NDATA", Some(1), vec![captured(ms(500), data(1, 1.0))])), [None]);
    assert_eq!(seconds(&rig.say("NDATA", Some(2), vec![captured(ms(1_003), data(1, 1.0))])), [Some(1_003)]);
    let forever = rig.say("NDATA", Some(3), vec![captured(u64::MAX, data(1, 1.0))]);
    assert_eq!(seconds(&forever), [None]);
}

#[test]
fn a_birth_that_says_the_same_again_is_no_reading() {
    let mut rig = rig();
    rig.say("NBIRTH", Some(0), vec![session(1), captured(ms(900), told("a", 1, 1.0))]);
    let again = rig.say("NBIRTH", Some(0), vec![session(1), captured(ms(900), told("a", 1, 1.0))]);
    assert!(again.samples.is_empty());
    assert_eq!(up(&again), [0]);
    let newer = rig.say("NBIRTH", Some(0), vec![session(1), captured(ms(901), told("a", 1, 1.0))]);
    assert_eq!(seconds(&newer), [Some(901)]);
}

#[test]
fn after_a_silence_what_a_birth_says_is_so_now() {
    let mut rig = rig();
    rig.say("NBIRTH", Some(0), vec![session(1), captured(ms(900), told("a", 1, 1.0))]);
    rig.say("NDEATH", None, vec![session(1)]);
    let birth = rig.say("NBIRTH", Some(0), vec![session(2), captured(ms(900), told("a", 1, 1.0))]);
    assert_eq!((numbers(&birth), seconds(&birth)), (vec![(0, 1.0)], vec![None]), "else it would be bad for ever");
    rig.nodes.lost(at(1_010));
    rig.seconds = 1_010;
    let birth = rig.say("NBIRTH", Some(0), vec![session(2), captured(ms(900), told("a", 1, 1.0))]);
    assert_eq!((numbers(&birth), seconds(&birth)), (vec![(0, 1.0)], vec![None]));
}

#[test]
fn what_is_historical_is_told_as_it_was_and_changes_nothing() {
    let mut rig = rig();
    rig.say("NBIRTH", Some(0), vec![captured(ms(900), told("a", 1, 1.0))]);
    let past = vec![historical(captured(ms(700), data(1, 7.0))), historical(captured(ms(710), data(1, 8.0)))];
    let outcome = rig.say("NDATA", Some(1), past);
    assert_eq!(seconds(&outcome), [Some(700), Some(710)]);
    assert!(outcome.samples.iter().all(|sample| sample.is_historical));
    assert_eq!(outcome.links, [], "the device is as fresh as before");
    // What is current goes on from where it was.
    let now = rig.say("NDATA", Some(2), vec![captured(ms(901), data(1, 9.0))]);
    assert_eq!((seconds(&now), now.samples[0].is_historical), (vec![Some(901)], false));
    for (time, why) in [(0, "no time"), (ms(9_000), "a time that is still to come")] {
        let mut rig = Rig::born(node(&["a"], &["b"], false));
        let outcome = rig.say("NDATA", Some(2), vec![historical(captured(time, data(1, 7.0)))]);
        assert!(outcome.samples.is_empty());
        assert_eq!(faults(&outcome), [(0, format!("metric `a` is historical and has {why}"))]);
    }
}

#[test]
fn what_is_transient_is_not_stored() {
    let mut rig = rig();
    let transient = |metric| wire::Metric { is_transient: Some(true), ..metric };
    let birth = rig.say("NBIRTH", Some(0), vec![transient(told("a", 1, 1.0))]);
    assert!(birth.samples.is_empty());
    assert_eq!(faults(&birth), [(0, "metric `a` is transient: the node asks not to store it".into())]);
    assert!(rig.say("NDATA", Some(1), vec![transient(data(1, 2.0))]).samples.is_empty());
}
