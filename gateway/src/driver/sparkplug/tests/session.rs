//! Births, deaths, sequences, and when a node is asked.

use super::*;

#[test]
fn data_is_understood_by_alias_and_by_name() {
    let mut rig = Rig::new(node(&["a"], &["b"], false));
    let birth = rig.say("NBIRTH", Some(0), vec![session(1), told("a", 1, 1.5), told("other", 9, 0.0)]);
    assert_eq!((numbers(&birth), up(&birth)), (vec![(0, 1.5)], vec![0]));
    let birth = rig.say("DBIRTH", Some(1), vec![told("b", 2, 2.5)]);
    assert_eq!((numbers(&birth), up(&birth)), (vec![(1, 2.5)], vec![1]));
    assert_eq!(numbers(&rig.say("NDATA", Some(2), vec![data(1, 3.5), data(9, 7.0)])), [(0, 3.5)]);
    assert_eq!(numbers(&rig.say("DDATA", Some(3), vec![data(2, 4.5)])), [(1, 4.5)]);
    let named = rig.say("DDATA", Some(4), vec![metric("b", 0, 0, wire::Value::Double(5.5))]);
    assert_eq!((numbers(&named), faults(&named)), (vec![(1, 5.5)], vec![]));
    let other = rig.say("DDATA", Some(5), vec![told("not ours", 0, 1.0)]);
    assert_eq!((numbers(&other), up(&other)), (vec![], vec![1]), "it speaks, of something else");
}

#[test]
fn the_type_of_a_birth_holds_for_data() {
    let mut rig = Rig::new(node(&["a"], &[], false));
    rig.say("NBIRTH", Some(0), vec![metric("a", 1, 2, wire::Value::Int(1))]);
    let sample = |outcome: Outcome| outcome.samples[0].raw.clone();
    assert_eq!(sample(rig.say("NDATA", Some(1), vec![metric("", 1, 0, wire::Value::Int(65_535))])), Raw::Integer(-1));
    assert_eq!(sample(rig.say("NDATA", Some(2), vec![metric("a", 0, 0, wire::Value::Int(65_535))])), Raw::Integer(-1));
    let other = rig.say("NDATA", Some(3), vec![metric("", 1, 6, wire::Value::Int(65_535))]);
    assert_eq!(other.samples[0].raw, Raw::Failed(Quality::BAD_UNDECODABLE));
    assert_eq!(faults(&other), [(0, "metric `a` has another type than in the birth".into())]);
}

#[test]
fn data_before_the_birth_is_kept_apart_and_a_birth_asked_for() {
    let mut rig = Rig::new(node(&["a"], &["b"], true));
    let early = rig.say("DDATA", Some(7), vec![data(2, 4.5)]);
    assert!(early.samples.is_empty());
    assert_eq!(faults(&early), [(1, "alias 2 came before the birth that names it".into())]);
    assert!(early.dead.unwrap().contains("alias 2 came before the birth"));
    let request = early.rebirth.unwrap();
    assert_eq!(request.topic(), "spBv1.0/g/NCMD/n");
    assert!(!request.payload.is_empty());
    // What says its own name and type needs no birth.
    let named = rig.say("DDATA", Some(8), vec![told("b", 2, 4.5)]);
    assert_eq!((numbers(&named), named.dead), (vec![(1, 4.5)], None));
}

#[test]
fn a_node_is_asked_seldom_and_only_where_it_may_be() {
    let ask = |request_rebirth| {
        let mut rig = Rig::new(node(&["a"], &[], request_rebirth));
        let mut asked = Vec::new();
        for second in 1..=700 {
            if rig.say("NDATA", Some(0), vec![data(1, 0.0)]).rebirth.is_some() {
                asked.push(second);
            }
        }
        (asked, rig)
    };
    let (asked, mut rig) = ask(true);
    assert_eq!(asked, [1, 6, 16, 36, 76, 156, 316, 616]);
    rig.say("NBIRTH", Some(0), vec![told("a", 1, 0.0)]);
    assert_eq!(rig.nodes.due_us(), None, "it did what was asked");
    assert_eq!(ask(false).0, [0; 0]);
}

#[test]
fn requests_to_many_nodes_are_spaced() {
    let many: Vec<_> = (0..50).map(|n| SparkplugNode { node: format!("n{n}"), ..node(&["a"], &[], true) }).collect();
    let mut nodes = Nodes::new(&many);
    nodes.connected();
    let mut asked = std::collections::HashSet::new();
    let mut now = at(0);
    while let Some(due) = nodes.due_us() {
        now.monotonic_us = now.monotonic_us.max(due);
        let request = nodes.ask(now).unwrap();
        assert_eq!(nodes.ask(now), None, "one at a time");
        assert!(asked.insert(request.node), "asked twice");
    }
    assert_eq!(asked.len(), 50);
    assert_eq!(now.monotonic_us, 49 * rebirth::SPACING_US);
}

#[test]
fn a_gap_makes_aliases_worthless_until_a_birth() {
    let mut rig = Rig::born(node(&["a"], &["b"], true));
    let gap = rig.say("NDATA", Some(3), vec![data(1, 9.0)]);
    assert!(gap.samples.is_empty());
    let why = "messages of the node were missed: sequence 3 came after 1; aliases mean nothing until the next birth";
    assert!(faults(&gap).contains(&(0, why.into())) && faults(&gap).contains(&(1, why.into())), "{:?}", faults(&gap));
    assert!(gap.rebirth.is_some() && gap.dead.is_some());
    assert!(rig.say("DDATA", Some(4), vec![data(2, 9.0)]).samples.is_empty(), "the device's as well");
    // The device's birth gives its names back; those of the node itself come with the node's.
    assert_eq!(numbers(&rig.say("DBIRTH", Some(5), vec![told("b", 5, 3.0)])), [(1, 3.0)]);
    assert_eq!(numbers(&rig.say("DDATA", Some(6), vec![data(5, 4.0)])), [(1, 4.0)]);
    assert!(rig.say("DDATA", Some(7), vec![data(2, 4.0)]).samples.is_empty(), "its old alias");
    assert!(rig.say("NDATA", Some(8), vec![data(1, 9.0)]).samples.is_empty());
}

#[test]
fn the_sequence_goes_round_and_a_repeated_number_is_a_gap() {
    let mut rig = Rig::born(node(&["a"], &["b"], false));
    for seq in 2..600u64 {
        let outcome = rig.say("NDATA", Some(seq % 256), vec![data(1, 0.0)]);
        assert_eq!(outcome.samples.len(), 1, "{seq}: {:?}", faults(&outcome));
    }
    assert!(rig.say("NDATA", Some(599 % 256), vec![data(1, 0.0)]).samples.is_empty());
    let mut rig = Rig::born(node(&["a"], &["b"], false));
    assert!(rig.say("NDATA", None, vec![data(1, 0.0)]).samples.is_empty(), "without a number nothing is sure");
}

#[test]
fn a_death_of_the_session_takes_everything_down_and_an_old_one_nothing() {
    let mut rig = Rig::born(node(&["a"], &["b"], false));
    rig.say("NBIRTH", Some(0), vec![session(2), told("a", 1, 1.0)]);
    rig.say("DBIRTH", Some(1), vec![told("b", 2, 2.0)]);
    let old = rig.say("NDEATH", None, vec![session(1)]);
    assert_eq!(old, Outcome::default(), "the broker tells late of the session before");
    assert_eq!(numbers(&rig.say("DDATA", Some(2), vec![data(2, 4.0)])), [(1, 4.0)]);
    let death = rig.say("NDEATH", None, vec![session(2)]);
    let gone = "the node is gone (NDEATH)".to_owned();
    assert_eq!(death.links, [(0, Link::Down(gone.clone())), (1, Link::Down(gone))]);
    assert!(rig.say("DDATA", Some(3), vec![data(2, 4.0)]).samples.is_empty(), "what comes after it has no birth");
}

#[test]
fn a_death_without_a_session_or_of_one_to_come_counts() {
    for death in [vec![], vec![session(2)], vec![session(129)]] {
        let mut rig = Rig::born(node(&["a"], &["b"], false));
        assert_eq!(rig.say("NDEATH", None, death).links.len(), 2);
    }
    let mut rig = Rig::born(node(&["a"], &["b"], false));
    assert_eq!(rig.bytes("NDEATH", &Bytes::from_static(b"?")).links.len(), 2, "whatever is in it");
    // 255 is before 0, and a node that counts on is before itself.
    let mut rig = Rig::new(node(&["a"], &["b"], false));
    rig.say("NBIRTH", Some(0), vec![session(0)]);
    assert!(rig.say("NDEATH", None, vec![session(255)]).links.is_empty());
    rig.say("NBIRTH", Some(0), vec![session(700)]);
    assert!(rig.say("NDEATH", None, vec![session(699)]).links.is_empty());
    assert_eq!(rig.say("NDEATH", None, vec![session(700)]).links.len(), 2);
}

#[test]
fn a_session_that_was_missed_ends_with_its_own_death() {
    let mut rig = Rig::born(node(&["a"], &["b"], false));
    // The birth of session 2 was missed; a gap tells.
    rig.say("NDATA", Some(9), vec![data(1, 0.0)]);
    assert_eq!(rig.say("NDEATH", None, vec![session(2)]).links.len(), 2);
}

#[test]
fn a_device_dies_alone() {
    let mut rig = Rig::born(node(&["a"], &["b"], false));
    let death = rig.say("DDEATH", Some(2), vec![]);
    assert_eq!(death.links, [(1, Link::Down("the node says that it lost the device (DDEATH)".into()))]);
    assert_eq!(numbers(&rig.say("NDATA", Some(3), vec![data(1, 5.0)])), [(0, 5.0)]);
    assert!(rig.say("DDATA", Some(4), vec![data(2, 4.0)]).samples.is_empty());
    assert_eq!(numbers(&rig.say("DBIRTH", Some(5), vec![told("b", 2, 6.0)])), [(1, 6.0)]);
}

#[test]
fn a_new_session_takes_down_what_it_has_not_told_of() {
    let mut rig = Rig::born(node(&["a"], &["b"], false));
    let birth = rig.say("NBIRTH", Some(0), vec![session(2), told("a", 1, 1.0)]);
    let untold = "the node began a new session and has not told of it yet".to_owned();
    assert_eq!(birth.links, [(1, Link::Down(untold)), (0, Link::Up)], "the node itself tells at once");
    // A birth that was asked for is of the same session: nothing was away.
    let mut rig = Rig::born(node(&["a"], &["b"], false));
    let birth = rig.say("NBIRTH", Some(0), vec![session(1), told("a", 1, 1.0)]);
    assert_eq!(birth.links, [(0, Link::Up)]);
    assert!(rig.say("DDATA", Some(1), vec![data(2, 4.0)]).samples.is_empty(), "its birth is to follow");
}

#[test]
fn a_lost_broker_makes_aliases_worthless() {
    let mut rig = Rig::born(node(&["a"], &["b"], true));
    rig.nodes.lost(at(10));
    assert_eq!(rig.nodes.due_us(), None, "nobody can be asked");
    rig.nodes.connected();
    assert!(rig.nodes.due_us().is_some());
    // The node restarted meanwhile, and the sequence fits by chance.
    let outcome = rig.say("NDATA", Some(2), vec![data(1, 9.0)]);
    assert!(outcome.samples.is_empty());
    assert!(outcome.rebirth.is_some());
}

#[test]
fn aliases_that_changed_never_mislabel() {
    let mut rig = Rig::new(node(&["a", "b"], &[], false));
    rig.say("NBIRTH", Some(0), vec![session(1), told("a", 1, 1.0), told("b", 2, 2.0)]);
    rig.say("NBIRTH", Some(0), vec![session(2), told("a", 2, 1.0), told("b", 1, 2.0)]);
    assert_eq!(numbers(&rig.say("NDATA", Some(1), vec![data(1, 20.0), data(2, 10.0)])), [(1, 20.0), (0, 10.0)]);
    let conflict = rig.say("NDATA", Some(2), vec![told("a", 1, 1.0)]);
    assert!(conflict.samples.is_empty(), "name and alias say two things");
    assert_eq!(faults(&conflict), [(0, "metric `a` has an alias that the birth gave to another".into())]);
    let birth = rig.say("NBIRTH", Some(0), vec![session(3), told("a", 7, 1.0), told("b", 7, 2.0)]);
    assert_eq!(numbers(&birth), [(0, 1.0), (1, 2.0)], "a birth has the names beside");
    let twice = rig.say("NDATA", Some(1), vec![data(7, 20.0)]);
    assert!(twice.samples.is_empty());
    assert_eq!(faults(&twice), [(0, "alias 7 stands for two metrics in the birth".into())]);
    let unknown = rig.say("NDATA", Some(2), vec![data(8, 20.0), wire::Metric::default()]);
    assert_eq!(faults(&unknown), [(0, "alias 8 is in no birth, and 1 more such faults".into())]);
}

#[test]
fn what_the_birth_lacks_is_said() {
    let mut rig = Rig::new(node(&["a", "mistyped"], &[], false));
    let birth = rig.say("NBIRTH", Some(0), vec![told("a", 1, 1.0)]);
    assert_eq!(failed(&birth, Quality::BAD_NO_ANSWER), [1]);
    assert_eq!(faults(&birth), [(0, "the birth has no metric `mistyped`".into())]);
    assert_eq!(birth.dead, None);
}

#[test]
fn members_of_templates_are_metrics_one_level_deep() {
    let template = |members: Vec<wire::Metric>, is_definition| {
        let metrics = members.iter().map(|member| member.encode_to_vec().into()).collect();
        wire::Value::Template(wire::Template { metrics, is_definition }.encode_to_vec().into())
    };
    let inner = metric("deep", 0, 19, template(vec![told("x", 0, 1.0)], Some(false)));
    let mut rig = Rig::new(node(&["m/speed", "m/deep/x", "m/gone"], &[], false));
    let birth = rig.say(
        "NBIRTH",
        Some(0),
        vec![
            metric("types/m", 0, 19, template(vec![told("speed", 0, 0.0)], Some(true))),
            metric(
                "m",
                4,
                19,
                template(vec![told("speed", 0, 10.0), told("else", 0, 0.0), inner.clone()], Some(false)),
            ),
        ],
    );
    assert_eq!(birth.samples.iter().filter(|sample| sample.raw == Raw::Number(10.0)).count(), 1);
    assert_eq!(failed(&birth, Quality::BAD_NO_ANSWER).len(), 2, "{birth:?}");
    let part = metric("speed", 0, 0, wire::Value::Double(11.0));
    let outcome = rig.say("NDATA", Some(1), vec![metric("", 4, 0, template(vec![part, inner], None))]);
    assert_eq!(numbers(&outcome), [(0, 11.0)]);
    assert!(faults(&outcome)[0].1.contains("only the members of the outermost are taken"), "{outcome:?}");
    let null = wire::Metric { is_null: Some(true), value: None, ..metric("", 4, 19, wire::Value::Int(0)) };
    assert_eq!(failed(&rig.say("NDATA", Some(2), vec![null]), Quality::BAD_SOURCE).len(), 3);
}

#[test]
fn null_bad_and_uncertain_are_told_apart() {
    let quality = |code: u32| {
        let value = wire::PropertyValue { int: Some(code), ..Default::default() };
        let set = wire::PropertySet { keys: vec!["Quality".into()], values: vec![value.encode_to_vec().into()] };
        wire::Metric { properties: Some(set.encode_to_vec().into()), ..data(1, 5.0) }
    };
    let mut rig = Rig::born(node(&["a"], &["b"], false));
    let null = wire::Metric { is_null: Some(true), value: None, ..data(1, 0.0) };
    assert_eq!(failed(&rig.say("NDATA", Some(2), vec![null]), Quality::BAD_SOURCE), [0]);
    assert_eq!(failed(&rig.say("NDATA", Some(3), vec![quality(0)]), Quality::BAD_SOURCE), [0]);
    assert_eq!(failed(&rig.say("NDATA", Some(4), vec![quality(500)]), Quality::BAD_NO_ANSWER), [0]);
    let uncertain = rig.say("NDATA", Some(5), vec![quality(64)]);
    assert_eq!((numbers(&uncertain), uncertain.samples[0].quality), (vec![(0, 5.0)], Quality::UNCERTAIN_SOURCE));
    let good = rig.say("NDATA", Some(6), vec![quality(192)]);
    assert_eq!((numbers(&good), good.samples[0].quality), (vec![(0, 5.0)], Quality::GOOD));
}

#[test]
fn a_data_set_is_refused_with_its_reason() {
    let mut rig = Rig::new(node(&["table"], &[], false));
    let set = metric("table", 1, 16, wire::Value::DataSet(Bytes::from_static(&[8, 1])));
    let birth = rig.say("NBIRTH", Some(0), vec![set]);
    assert_eq!(failed(&birth, Quality::BAD_UNDECODABLE), [0]);
    assert!(faults(&birth)[0].1.starts_with("metric `table` is a data set"), "{birth:?}");
}

#[test]
fn a_metric_of_another_type_than_the_signals_says_so() {
    let mut rig = Rig::new(node(&["a"], &[], false));
    let birth = rig.say("NBIRTH", Some(0), vec![metric("a", 1, 12, wire::Value::Text("hot".into()))]);
    assert_eq!(failed(&birth, Quality::BAD_UNDECODABLE), [0]);
    assert_eq!(faults(&birth), [(0, "metric `a` is of another type than the signal's `type`".into())]);
}

#[test]
fn bytes_that_are_no_payload_cost_the_track_and_nothing_else() {
    let mut rig = Rig::born(node(&["a"], &["b"], true));
    let broken = rig.bytes("NDATA", &Bytes::from_static(b"{\"a\": 1}"));
    assert_eq!(broken.dead.as_deref(), Some("is not a Sparkplug B payload"));
    assert!(broken.samples.is_empty() && broken.rebirth.is_some());
    assert!(rig.say("NDATA", Some(2), vec![data(1, 0.0)]).samples.is_empty());
}

#[test]
fn other_nodes_commands_and_states_are_nothing_to_us() {
    let mut rig = Rig::born(node(&["a"], &["b"], true));
    let data = payload(Some(2), &[data(1, 0.0)]);
    for topic in ["spBv1.0/g/NDATA/m", "spBv1.0/h/NDATA/n", "spBv1.0/STATE/scada", "STATE/scada", "plant/x"] {
        assert!(!rig.nodes.knows(topic), "{topic}");
        assert_eq!(rig.nodes.take(topic, &data, at(5)), Outcome::default(), "{topic}");
    }
    assert_eq!(numbers(&rig.bytes("NDATA", &data)), [(0, 0.0)], "the sequence is as it was");
}
