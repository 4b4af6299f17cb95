use proptest::prelude::*;
use prost::Message as _;

use super::*;

fn encoded(metrics: &[wire::Metric]) -> Bytes {
    let metrics = metrics.iter().map(|metric| metric.encode_to_vec().into()).collect();
    wire::Payload { timestamp: Some(7), metrics, seq: Some(3) }.encode_to_vec().into()
}

fn named(name: &str) -> wire::Metric {
    wire::Metric { name: Some(name.into()), ..wire::Metric::default() }
}

/// A metric whose `Quality` property is this.
fn with_quality(value: Option<wire::PropertyValue>) -> wire::Metric {
    let set = wire::PropertySet {
        keys: vec!["Unit".into(), QUALITY.into()],
        values: std::iter::once(wire::PropertyValue::default())
            .chain(value)
            .map(|value| value.encode_to_vec().into())
            .collect(),
    };
    wire::Metric { properties: Some(set.encode_to_vec().into()), ..named("x") }
}

fn only(metric: wire::Metric) -> Result<Metric, Refusal> {
    Payload::decode(&encoded(&[metric])).unwrap().metrics().next().unwrap()
}

#[test]
fn the_quality_property_is_good_uncertain_or_bad() {
    let of = |int: u32| only(with_quality(Some(wire::PropertyValue { int: Some(int), ..Default::default() })));
    for (code, quality) in [
        (192, Quality::GOOD),
        (216, Quality::GOOD),
        (64, Quality::UNCERTAIN_SOURCE),
        (0, Quality::BAD_SOURCE),
        (24, Quality::BAD_SOURCE),
        (500, Quality::BAD_NO_ANSWER),
        (u32::MAX, Quality::BAD_SOURCE),
    ] {
        assert_eq!(of(code).unwrap().quality, quality, "{code}");
    }
    assert_eq!(only(named("x")).unwrap().quality, Quality::GOOD, "none is named");
    assert_eq!(only(with_quality(None)).unwrap().quality, Quality::UNCERTAIN_SOURCE, "a key without a value");
    let null = wire::PropertyValue { is_null: Some(true), ..Default::default() };
    assert_eq!(only(with_quality(Some(null))).unwrap().quality, Quality::UNCERTAIN_SOURCE);
}

#[test]
fn what_is_too_large_too_many_or_too_long_is_refused() {
    let large = Bytes::from(vec![0; MAX_PAYLOAD_BYTES + 1]);
    assert_eq!(Payload::decode(&large), Err(Refusal::Large(MAX_PAYLOAD_BYTES + 1)));
    // Two bytes each: what makes most of little.
    let many = encoded(&vec![wire::Metric::default(); MAX_METRICS + 1]);
    assert_eq!(Payload::decode(&many), Err(Refusal::Many(MAX_METRICS + 1)));
    assert_eq!(only(named(&"n".repeat(MAX_NAME_BYTES + 1))), Err(Refusal::Name(MAX_NAME_BYTES + 1)));
    assert!(only(named(&"n".repeat(MAX_NAME_BYTES))).is_ok());
}

#[test]
fn one_broken_metric_does_not_cost_its_neighbours() {
    let broken = Bytes::from_static(&[0x0a, 0x02, 0xff, 0xff]);
    let good = named("x").encode_to_vec().into();
    let payload = wire::Payload { timestamp: None, metrics: vec![broken, good], seq: Some(300) };
    let payload = Payload::decode(&payload.encode_to_vec().into()).unwrap();
    let metrics: Vec<_> = payload.metrics().collect();
    assert_eq!(metrics[0], Err(Refusal::Form));
    assert_eq!(metrics[1].as_ref().unwrap().name.as_deref(), Some("x"));
    assert_eq!(payload.seq, None, "no count goes beyond 255");
}

#[test]
fn nothing_is_read_deeper_than_asked_for() {
    // A template in a template, ten thousand deep: read as bytes, and only as such.
    let mut value = wire::Template::default().encode_to_vec();
    while value.len() < 200_000 {
        let metric =
            wire::Metric { value: Some(wire::Value::Template(std::mem::take(&mut value).into())), ..named("t") };
        let members = vec![metric.encode_to_vec().into()];
        value = wire::Template { metrics: members, is_definition: None }.encode_to_vec();
        if value.len() > 190_000 {
            break;
        }
    }
    let metric = only(wire::Metric { value: Some(wire::Value::Template(value.into())), ..named("t") }).unwrap();
    let members = metric.members().unwrap();
    assert_eq!(members.len(), 1);
    assert!(members[0].as_ref().unwrap().is_template(None));
}

#[test]
fn the_session_is_the_bd_seq_metric() {
    let session = |value| Payload::decode(&encoded(&[wire::Metric { value, ..named("bdSeq") }])).unwrap().session();
    assert_eq!(session(Some(wire::Value::Long(5))), Some(5));
    assert_eq!(session(Some(wire::Value::Int(6))), Some(6));
    assert_eq!(session(Some(wire::Value::Text("7".into()))), None);
    assert_eq!(session(None), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(payload) = Payload::decode(&bytes.into()) {
            for metric in payload.metrics().flatten() {
                let _ = metric.members();
            }
            let _ = payload.session();
        }
    }
}
