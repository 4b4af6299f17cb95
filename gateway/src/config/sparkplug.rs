//! `[[mqtt.sparkplug]]`: an edge node of a broker, its devices, and their metrics.

use std::time::Duration;

use super::notation;
use super::section::{At, Section};
use super::signal::{self, Decode, Defaults, JsonType};
use super::{Device, Plant};

/// Longest group, node or device id: what leaves a topic of all three readable.
const MAX_ID_BYTES: usize = 256;
/// Longest metric name, as the payload's own bound.
const MAX_TAG_BYTES: usize = 1_024;
/// Elements of an array that can be asked for: more than a message holds.
const MAX_INDEX: u16 = u16::MAX;
/// Sparkplug nodes say what changes, so that silence is no fault for as long as this.
const DEFAULT_INTERVAL: Duration = Duration::from_mins(1);

/// One edge node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparkplugNode {
    /// Its group.
    pub group: String,
    /// Its id, unique in the group.
    pub node: String,
    /// Whether it is asked for its births when they are missing. The one thing that is
    /// ever published.
    pub request_rebirth: bool,
    /// What is read of it: itself and its devices, each at most once.
    pub devices: Vec<SparkplugDevice>,
}

/// The metrics of a device, or of the node itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparkplugDevice {
    /// Index into [`Config::devices`](super::Config::devices).
    pub device: usize,
    /// Its name, unique in the gateway.
    pub name: String,
    /// Its id at the node; `None` for the node's own metrics.
    pub id: Option<String>,
    /// Its signals.
    pub tags: Vec<SparkplugTag>,
}

/// A signal and the metric that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparkplugTag {
    /// Index into [`Config::signals`](super::Config::signals).
    pub signal: u32,
    /// The metric's name, folders with it; a template's member is `template/member`.
    pub name: String,
    /// Which element, where the metric is an array.
    pub element: Option<usize>,
    /// What it must hold.
    pub kind: JsonType,
}

/// Reads the nodes of one broker, whose address is `place`.
pub(super) fn nodes(
    sections: &[Section<'_>],
    endpoint: usize,
    place: &str,
    plant: &mut Plant,
) -> Option<Vec<SparkplugNode>> {
    let mut nodes: Vec<SparkplugNode> = Vec::with_capacity(sections.len());
    let mut all = true;
    for section in sections {
        let Some(node) = node(section, endpoint, place, plant) else {
            all = false;
            continue;
        };
        if nodes.iter().any(|other| (&other.group, &other.node) == (&node.group, &node.node)) {
            section.log.fault(
                section.at,
                format!("two [[mqtt.sparkplug]] for node {}/{}", node.group, node.node),
                "put all devices of a node under one table",
            );
        }
        nodes.push(node);
    }
    all.then_some(nodes)
}

fn node(section: &Section<'_>, endpoint: usize, place: &str, plant: &mut Plant) -> Option<SparkplugNode> {
    let group = id(section, "group", "say which group: group = \"plant-1\"");
    if let Some(group) = group
        && group.value == "STATE"
    {
        section.log.fault(group.at, "`group` cannot be `STATE`", "that topic is for host applications");
    }
    let node = id(section, "node", "say which edge node: node = \"line-3\"");
    let request_rebirth = section.flag("request_rebirth").is_some_and(|flag| flag.value);
    let sections = section.sections("device", "[[mqtt.sparkplug.device]]");
    if sections.is_empty() {
        section.missing_table(
            "device",
            "[[mqtt.sparkplug.device]]",
            "add a [[mqtt.sparkplug.device]] table for each device, and one for the node's own metrics",
        );
    }
    section.finish();
    let topic = format!("{place} {}/{}", group.map_or("", |id| id.value), node.map_or("", |id| id.value));
    let mut devices: Vec<Option<SparkplugDevice>> = Vec::with_capacity(sections.len());
    for section in &sections {
        let device = device(section, endpoint, &topic, plant);
        if let Some(device) = &device
            && devices.iter().flatten().any(|other| other.id == device.id)
        {
            let which = device.id.as_ref().map_or("the node itself".into(), |id| format!("device `{id}`"));
            section.log.fault(section.at, format!("two tables for {which}"), "put all its signals in one");
        }
        devices.push(device);
    }
    Some(SparkplugNode {
        group: group?.value.into(),
        node: node?.value.into(),
        request_rebirth,
        devices: devices.into_iter().collect::<Option<_>>()?,
    })
}

/// An id that is one level of a topic.
fn id<'t>(section: &Section<'t>, key: &'static str, hint: &str) -> Option<At<&'t str>> {
    if section.has(key, hint) { level(section, key) } else { None }
}

fn level<'t>(section: &Section<'t>, key: &'static str) -> Option<At<&'t str>> {
    let id = section.label(key, MAX_ID_BYTES)?;
    if id.value.is_empty() || id.value.contains(['/', '+', '#']) {
        section.log.fault(
            id.at,
            format!("`{key}` is not one level of a topic: `{}`", notation::shown(id.value)),
            "write it as the node does; it holds no /, + or #",
        );
        return None;
    }
    Some(id)
}

fn device(section: &Section<'_>, endpoint: usize, topic: &str, plant: &mut Plant) -> Option<SparkplugDevice> {
    let name = signal::name(section, "name it: name = \"press-1\"");
    let is_of_node = !section.is_there("device");
    let id = level(section, "device");
    let asset = signal::asset(section, plant);
    let interval = signal::interval(section).unwrap_or(DEFAULT_INTERVAL);
    let signals = section.sections("signals", "signal");
    if signals.is_empty() {
        section.missing_table(
            "signals",
            "signals",
            "list at least one: signals = [ { name = \"…\", metric = \"…\", tag = \"Folder/Name\", type = \"f64\" } ]",
        );
    }
    let upload = signal::asked_upload(section);
    section.finish();
    if let Some(name) = name
        && !plant.names.insert(name.value.into())
    {
        section.log.fault(
            name.at,
            format!("two devices `{}`", notation::shown(name.value)),
            "give each device of the gateway its own name",
        );
    }
    let index = plant.devices.len();
    let below = id.map_or(String::new(), |id| format!("/{}", id.value));
    plant.devices.push(Device {
        name: name.map_or("", |name| name.value).into(),
        address: format!("sparkplug {topic}{below}"),
        endpoint,
        interval,
    });
    let defaults = Defaults { device: index, asset, interval, upload };
    let mut tags = Vec::with_capacity(signals.len());
    for section in &signals {
        tags.push(tag(section, &defaults, plant));
    }
    Some(SparkplugDevice {
        device: index,
        name: name?.value.into(),
        id: if is_of_node { None } else { Some(id?.value.into()) },
        tags: tags.into_iter().collect::<Option<_>>()?,
    })
}

fn tag(section: &Section<'_>, defaults: &Defaults, plant: &mut Plant) -> Option<SparkplugTag> {
    let hint = "say what the node calls it: tag = \"Hydraulics/Pressure\"";
    let name = if section.has("tag", hint) { section.label("tag", MAX_TAG_BYTES) } else { None };
    let name = name.filter(|name| {
        if name.value.is_empty() {
            section.log.fault(name.at, "`tag` is empty", hint);
        }
        !name.value.is_empty()
    });
    let element = section.integer("index", 0..=MAX_INDEX).map(|index| index.value.into());
    let kind = if section.has("type", "say what the metric holds: type = \"f64\" (f64 i64 bool text)") {
        section.word("type", &JsonType::ALL)
    } else {
        None
    };
    let is_number = kind.is_none_or(|kind| matches!(kind.value, JsonType::F64 | JsonType::I64));
    let scale = signal::scale(section, is_number);
    let decode = kind.map(|kind| Decode::Json(kind.value, scale));
    let signal = signal::common(section, decode, defaults, plant)?;
    Some(SparkplugTag { signal, name: name?.value.into(), element, kind: kind?.value })
}
