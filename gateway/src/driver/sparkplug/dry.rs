//! Messages of any bytes, taken without a broker: for fuzzers and their corpora.

use bytes::Bytes;

use super::{Nodes, Now, topic};
use crate::config::{JsonType, SparkplugDevice, SparkplugNode, SparkplugTag};

/// What the node and its device are read for, with the element of what is an array.
const TAGS: [(Option<&str>, &str, Option<usize>); 7] = [
    (None, "Volts", None),
    (None, "text", None),
    (Some("press"), "Temp/Zone 1", None),
    (Some("press"), "Temp/Zone 2", None),
    (Some("press"), "Motor 1/Speed", None),
    (Some("press"), "i16s", Some(1)),
    (Some("press"), "strings", Some(1)),
];

/// Takes messages of one node, each with one byte for its kind and two for its length before
/// it, one a second; gives how many samples they brought.
///
/// # Panics
/// Where a sample is of a signal that there is not.
pub fn run(mut bytes: &[u8]) -> usize {
    let mut nodes = Nodes::new(&[node()]);
    nodes.connected();
    let mut samples = 0;
    let mut second = 0;
    while let [kind, low, high, rest @ ..] = bytes {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (payload, after) = rest.split_at(length);
        let kind = topic::Kind::READ[usize::from(*kind) % topic::Kind::READ.len()];
        let device = if kind.is_of_device() { "/press" } else { "" };
        let now = Now { monotonic_us: second, wall_us: 1_795_392_000_000_000 + second };
        let topic = format!("spBv1.0/g/{}/n{device}", kind.name());
        let outcome = nodes.take(&topic, &Bytes::copy_from_slice(payload), now);
        assert!(outcome.samples.iter().all(|sample| (sample.signal as usize) < TAGS.len()), "no such signal");
        samples += outcome.samples.len();
        second += 1_000_000;
        bytes = after;
    }
    samples
}

fn node() -> SparkplugNode {
    let tags = |id: Option<&str>| {
        let own = (0..).zip(TAGS).filter(|(_, (of, _, _))| *of == id);
        own.map(|(signal, (_, name, element))| SparkplugTag {
            signal,
            name: name.into(),
            element,
            kind: if name == "text" || name == "strings" { JsonType::Text } else { JsonType::F64 },
        })
        .collect()
    };
    let device = |device: usize, id: Option<&str>| SparkplugDevice {
        device,
        name: id.unwrap_or("n").into(),
        id: id.map(Into::into),
        tags: tags(id),
    };
    SparkplugNode {
        group: "g".into(),
        node: "n".into(),
        request_rebirth: true,
        devices: vec![device(0, None), device(1, Some("press"))],
    }
}
