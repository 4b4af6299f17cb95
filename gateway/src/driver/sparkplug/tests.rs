use prost::Message as _;
use sandan_proto::reading::Quality;

use super::*;
use crate::config::{JsonType, SparkplugDevice, SparkplugTag};
use crate::driver::Raw;
use crate::driver::message::{Link, Sample};

mod cases;
mod model;
mod session;
mod times;

/// One second, in microseconds.
const SECOND: i64 = 1_000_000;
/// A moment that clocks of plants agree on.
const TODAY_US: i64 = 1_795_392_000 * SECOND;

fn at(seconds: i64) -> Now {
    Now { monotonic_us: seconds * SECOND, wall_us: TODAY_US + seconds * SECOND }
}

/// Milliseconds of the same moment, as nodes write them.
fn ms(seconds: i64) -> u64 {
    u64::try_from((TODAY_US + seconds * SECOND) / 1_000).unwrap()
}

/// A node `g/n`: its own metrics, then those of its device `d`, one signal each.
fn node(own: &[&str], device: &[&str], request_rebirth: bool) -> SparkplugNode {
    let mut signal = 0;
    let mut tags = |names: &[&str]| -> Vec<SparkplugTag> {
        let mut tag = |name: &&str| {
            signal += 1;
            SparkplugTag { signal: signal - 1, name: (*name).into(), element: None, kind: JsonType::F64 }
        };
        names.iter().map(&mut tag).collect()
    };
    let own = SparkplugDevice { device: 0, name: "n".into(), id: None, tags: tags(own) };
    let device = SparkplugDevice { device: 1, name: "d".into(), id: Some("d".into()), tags: tags(device) };
    SparkplugNode { group: "g".into(), node: "n".into(), request_rebirth, devices: vec![own, device] }
}

fn metric(name: &str, alias: u64, datatype: u32, value: wire::Value) -> wire::Metric {
    wire::Metric {
        name: Some(name.into()).filter(|name: &String| !name.is_empty()),
        alias: Some(alias).filter(|alias| *alias > 0),
        datatype: Some(datatype).filter(|datatype| *datatype > 0),
        value: Some(value),
        ..wire::Metric::default()
    }
}

/// A named number with an alias, as it stands in a birth.
fn told(name: &str, alias: u64, value: f64) -> wire::Metric {
    metric(name, alias, 10, wire::Value::Double(value))
}

/// A number under an alias, as it stands in data.
fn data(alias: u64, value: f64) -> wire::Metric {
    metric("", alias, 0, wire::Value::Double(value))
}

fn session(number: u64) -> wire::Metric {
    metric("bdSeq", 0, 8, wire::Value::Long(number))
}

fn payload(seq: Option<u64>, metrics: &[wire::Metric]) -> Bytes {
    let metrics = metrics.iter().map(|metric| metric.encode_to_vec().into()).collect();
    wire::Payload { timestamp: None, metrics, seq }.encode_to_vec().into()
}

/// Nodes and what one of them says.
struct Rig {
    nodes: Nodes,
    seconds: i64,
}

impl Rig {
    fn new(configured: SparkplugNode) -> Self {
        Self { nodes: Nodes::new(&[configured]), seconds: 0 }
    }

    /// Reached, and born with `a` behind alias 1 and, of the device, `b` behind 2.
    fn born(configured: SparkplugNode) -> Self {
        let mut rig = Self::new(configured);
        rig.nodes.connected();
        rig.say("NBIRTH", Some(0), vec![session(1), told("a", 1, 1.0)]);
        rig.say("DBIRTH", Some(1), vec![told("b", 2, 2.0)]);
        rig
    }

    fn say(&mut self, kind: &str, seq: Option<u64>, metrics: impl AsRef<[wire::Metric]>) -> Outcome {
        self.bytes(kind, &payload(seq, metrics.as_ref()))
    }

    fn bytes(&mut self, kind: &str, payload: &Bytes) -> Outcome {
        self.seconds += 1;
        let device = if kind.starts_with('D') { "/d" } else { "" };
        self.nodes.take(&format!("spBv1.0/g/{kind}/n{device}"), payload, at(self.seconds))
    }
}

/// Signals and numbers.
fn numbers(outcome: &Outcome) -> Vec<(u32, f64)> {
    let number = |sample: &Sample| match sample.raw {
        Raw::Number(number) => number,
        Raw::Failed(_) => f64::NAN,
        ref other => panic!("{other:?}"),
    };
    outcome.samples.iter().map(|sample| (sample.signal, number(sample))).collect()
}

/// The devices and why they are down or refused.
fn faults(outcome: &Outcome) -> Vec<(usize, String)> {
    let fault = |(device, link): &(usize, Link)| match link {
        Link::Up => None,
        Link::Down(why) | Link::Refused(why) => Some((*device, why.clone())),
    };
    outcome.links.iter().filter_map(fault).collect()
}

fn up(outcome: &Outcome) -> Vec<usize> {
    outcome.links.iter().filter(|(_, link)| *link == Link::Up).map(|(device, _)| *device).collect()
}

/// All the values are gone.
fn failed(outcome: &Outcome, quality: Quality) -> Vec<u32> {
    let is_it = |sample: &&Sample| sample.raw == Raw::Failed(quality);
    outcome.samples.iter().filter(is_it).map(|sample| sample.signal).collect()
}
