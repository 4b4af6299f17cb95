//! `[[mqtt.device]]`: a topic pattern, how its payloads are written, and their signals.

use std::time::Duration;

use super::MAX_FIELD_BYTES;
use super::topic::{PatternFault, Topic};
use crate::config::dictionary::{Dictionary, Kind};
use crate::config::notation;
use crate::config::section::{At, Section};
use crate::config::signal::{self, Decode, Defaults, JsonType, Named, Pick, Step};
use crate::config::{Device, Plant};

/// What comes under one topic; of a pattern with `{asset}`, what comes of one asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttDevice {
    /// Index into [`Config::devices`](crate::config::Config::devices).
    pub device: usize,
    /// Its name, unique in the gateway.
    pub name: String,
    /// May hold `+` and `#`, and a level for the metric.
    pub topic: Topic,
    /// How its payloads are written.
    pub payload: Payload,
    /// Its signals.
    pub picks: Vec<Pick>,
}

impl MqttDevice {
    /// Whether a signal is told by messages whose level of the metric says this.
    pub fn reads(&self, metric: &str) -> bool {
        self.picks.iter().any(|pick| pick.level.as_deref() == Some(metric))
    }
}

/// How a payload is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// An object or list of JSON.
    Json(JsonForm),
    /// One value as text.
    Plain,
}

/// What of a JSON payload is not the place of a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonForm {
    /// Where its list of samples stands; `None`: it is one.
    pub samples: Option<Vec<Step>>,
    /// The samples' own time.
    pub time: Option<OwnTime>,
}

/// Where a source says when a value was so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTime {
    /// The path as it was written.
    pub path: String,
    /// The path in steps: looked for in the sample, then in the payload.
    pub steps: Vec<Step>,
    /// How it is written.
    pub format: TimeFormat,
    /// The IANA name of the zone that a time without an offset is in; the asset's.
    pub zone: Option<String>,
}

/// `time_format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TimeFormat {
    Iso8601,
    EpochS,
    EpochMs,
    EpochUs,
    EpochNs,
}

impl TimeFormat {
    /// All of them, as they are written.
    const ALL: [(&str, Self); 5] = [
        ("iso8601", Self::Iso8601),
        ("epoch_s", Self::EpochS),
        ("epoch_ms", Self::EpochMs),
        ("epoch_us", Self::EpochUs),
        ("epoch_ns", Self::EpochNs),
    ];
}

/// What a section says for all its assets.
struct Shared<'t> {
    name: Option<At<&'t str>>,
    topic: Option<Topic>,
    interval: Duration,
    form: Option<JsonForm>,
    upload: Option<signal::Asked>,
}

/// Reads a section: one device, or one for each asset of its pattern.
pub(super) fn devices(
    section: &Section<'_>,
    endpoint: usize,
    place: &str,
    plant: &mut Plant,
) -> Option<Vec<MqttDevice>> {
    let shared = Shared {
        name: signal::name(section, "name it: name = \"welder-1\""),
        topic: pattern(section),
        form: form(section),
        interval: signal::interval(section).unwrap_or(Duration::from_secs(1)),
        upload: signal::asked_upload(section),
    };
    let assets = assets(section, shared.topic.as_ref(), plant);
    let signals = section.sections("signals", "signal");
    if signals.is_empty() {
        section.missing_table(
            "signals",
            "signals",
            "list at least one: signals = [ { name = \"…\", metric = \"…\", path = \"a.b\", type = \"f64\" } ]",
        );
    }
    section.finish();
    let mut devices = Vec::with_capacity(assets.len());
    for asset in &assets {
        devices.push(device(section, &shared, asset, &signals, (endpoint, place), plant));
        // The same faults again for each asset would hide the others.
        if !section.log.is_clean() {
            break;
        }
    }
    devices.into_iter().collect()
}

fn pattern(section: &Section<'_>) -> Option<Topic> {
    let text = section.required("topic", "say which: topic = \"plant/welder-1/state\"")?;
    let parsed = if text.value.len() <= MAX_FIELD_BYTES { Topic::parse(text.value) } else { Err(PatternFault::Filter) };
    let (what, hint) = match parsed {
        Ok(topic) => return Some(topic),
        Err(PatternFault::Filter) => {
            ("a topic filter", "+ stands for one whole level, # for all the rest at the end: plant/+/state, plant/#")
        }
        Err(PatternFault::Brace) => {
            ("a topic pattern", "{asset} and {metric} stand for one whole level, each once: plant/{asset}/{metric}")
        }
    };
    section.log.fault(text.at, format!("`topic` is not {what}: `{}`", notation::shown(text.value)), hint);
    None
}

/// `payload`, `samples`, `time` and `time_format`: `None` for a plain value.
fn form(section: &Section<'_>) -> Option<JsonForm> {
    let payload = section.word("payload", &[("json", true), ("plain", false)]);
    let is_json = payload.is_none_or(|payload| payload.value);
    let samples = path(section, "samples");
    let time = path(section, "time");
    let format = section.word("time_format", &TimeFormat::ALL);
    if let (false, Some(at)) = (is_json, samples.as_ref().or(time.as_ref()).map(|path| path.at)) {
        section.log.fault(
            at,
            "a plain payload has no paths",
            "leave samples and time out, or write payload = \"json\"",
        );
    }
    match (&time, format) {
        (Some(time), None) if !section.is_there("time_format") => section.log.fault(
            time.at,
            "`time` without `time_format`",
            "a number may be seconds or nanoseconds: time_format = \"epoch_ms\" (iso8601 epoch_s epoch_ms epoch_us epoch_ns)",
        ),
        (None, Some(format)) if !section.is_there("time") => {
            section.log.fault(format.at, "`time_format` without `time`", "say where the time stands: time = \"ts\"");
        }
        _ => {}
    }
    if let (Some(samples), false) = (&samples, section.is_there("time")) {
        section.log.fault(
            samples.at,
            "`samples` without `time`: all of them would be of one moment",
            "say where the time of a sample stands: time = \"ts\", time_format = \"epoch_ms\"",
        );
    }
    is_json.then(|| JsonForm {
        samples: samples.map(|samples| samples.value.1),
        time: time.zip(format).map(|(time, format)| {
            let (path, steps) = time.value;
            OwnTime { path, steps, format: format.value, zone: None }
        }),
    })
}

/// A path of a JSON payload, as it was written and in steps.
fn path(section: &Section<'_>, key: &'static str) -> Option<At<(String, Vec<Step>)>> {
    let text = section.text_like(key, "\"a.b\"")?;
    let steps = notation::json_path(text.value);
    if steps.is_none() {
        section.log.fault(
            text.at,
            format!("`{key}` is not a path: `{}`", notation::shown(text.value)),
            "write keys with points and indices in brackets: \"current.rms\", \"zones[2].temperature\"",
        );
    }
    steps.map(|steps| At { value: (text.value.into(), steps), at: text.at })
}

/// The asset of one device, and what the topic's level says for it.
struct Of {
    asset: Named,
    level: Option<String>,
}

/// The assets that a section is about: the one that it names, or those of its pattern.
fn assets(section: &Section<'_>, topic: Option<&Topic>, plant: &Plant) -> Vec<Of> {
    let listed = section.texts("assets", "[\"press-1\", \"press-2\"]");
    let mapped = section.words("asset_levels", "{ \"M01\" = \"press-1\" }");
    let one = signal::asset(section, plant);
    let has_asset = topic.is_some_and(Topic::has_asset);
    if !has_asset {
        if let (Some(_), Some(wrong)) =
            (topic, listed.first().map(|id| id.at).or(mapped.first().map(|(level, _)| level.at)))
        {
            section.log.fault(
                wrong,
                "no level of the topic says the asset",
                "write topic = \"plant/{asset}/state\", or asset = \"…\" for the one asset of this topic",
            );
        }
        return vec![Of { asset: one, level: None }];
    }
    if section.is_there("asset") {
        section.log.fault(
            section.at,
            "`asset` beside a topic with {asset}",
            "leave it out; name some of the assets with assets = [\"…\"]",
        );
    }
    let of = |id: At<&str>, level: &str| {
        let asset = signal::asset_called(section, id, plant);
        Of { asset, level: Some(level.into()) }
    };
    let mut all: Vec<Of> = listed.into_iter().map(|id| of(id, id.value)).collect();
    all.extend(mapped.into_iter().map(|(level, id)| of(id, level.value)));
    if all.is_empty() {
        // A machine is called the same everywhere, unless somebody says otherwise.
        let every = plant.assets.iter().enumerate();
        all.extend(every.map(|(index, asset)| Of { asset: Named::Asset(index), level: Some(asset.id.to_string()) }));
    }
    for (index, one) in all.iter().enumerate() {
        if let Some(level) =
            one.level.as_ref().filter(|level| all[..index].iter().any(|other| other.level.as_ref() == Some(*level)))
        {
            section.log.fault(
                section.at,
                format!("two assets for the level `{}`", notation::shown(level)),
                "name each in `assets` or in `asset_levels`, once",
            );
        }
    }
    if all.is_empty() && !plant.has_nameless_asset {
        section.log.fault(
            section.at,
            "the topic says the asset, and there is none",
            "add an [[asset]] table for each machine",
        );
    }
    all
}

fn device(
    section: &Section<'_>,
    shared: &Shared<'_>,
    of: &Of,
    signals: &[Section<'_>],
    (endpoint, place): (usize, &str),
    plant: &mut Plant,
) -> Option<MqttDevice> {
    let asset = match of.asset {
        Named::Asset(index) => Some(&plant.assets[index]),
        Named::No | Named::Unknown => None,
    };
    let name = shared.name.map(|name| match (&of.level, asset) {
        (Some(_), Some(asset)) => format!("{}/{}", name.value, asset.id),
        _ => name.value.into(),
    });
    let topic = shared
        .topic
        .as_ref()
        .map(|topic| of.level.as_deref().map_or_else(|| topic.clone(), |level| topic.of_asset(level)));
    let zone = asset.map(|asset| asset.time_zone.clone()).filter(|zone| !zone.is_empty());
    let payload = shared.form.clone().map_or(Payload::Plain, |mut form| {
        form.time = form.time.map(|time| OwnTime { zone, ..time });
        Payload::Json(form)
    });
    if let (Some(at), Some(name)) = (shared.name, &name)
        && !plant.names.insert(name.clone())
    {
        section.log.fault(
            at.at,
            format!("two devices `{}`", notation::shown(name)),
            "give each device of the gateway its own name",
        );
    }
    let index = plant.devices.len();
    plant.devices.push(Device {
        name: name.clone().unwrap_or_default(),
        address: format!("mqtt {place} topic {}", topic.as_ref().map(ToString::to_string).unwrap_or_default()),
        endpoint,
        interval: shared.interval,
    });
    let defaults = Defaults { device: index, asset: of.asset, interval: shared.interval, upload: shared.upload };
    let has_metric = shared.topic.as_ref().is_some_and(Topic::has_metric);
    let mut picks: Vec<Option<Pick>> = Vec::with_capacity(signals.len());
    for section in signals {
        if of.level.is_some() && section.is_there("asset") {
            section.log.fault(section.at, "`asset` beside a topic with {asset}", "leave it out: the topic says it");
        }
        picks.push(pick(section, payload == Payload::Plain, has_metric, &defaults, plant));
    }
    let picks = picks.into_iter().collect::<Option<Vec<_>>>();
    Some(MqttDevice { device: index, name: name?, topic: topic?, payload, picks: picks? })
}

fn pick(
    section: &Section<'_>,
    is_plain: bool,
    has_metric: bool,
    defaults: &Defaults,
    plant: &mut Plant,
) -> Option<Pick> {
    let path = if is_plain {
        if section.is_there("path") {
            section.log.fault(
                section.at,
                "a plain payload has no paths",
                "leave path out, or write payload = \"json\"",
            );
        }
        Some((String::new(), Vec::new()))
    } else if section.has("path", "say where in the payload: path = \"current.rms\"") {
        path(section, "path").map(|path| path.value)
    } else {
        None
    };
    let level = section.text("level");
    if let (Some(level), false) = (level, has_metric) {
        section.log.fault(
            level.at,
            "no level of the topic says the metric",
            "write topic = \"plant/{asset}/{metric}\", or leave level out",
        );
    }
    // A level is called like its metric, unless the row says otherwise.
    let level = level.or_else(|| section.text("metric")).filter(|_| has_metric).map(|level| level.value.to_owned());
    let kind = kind(section);
    let is_number = kind.is_none_or(|kind| matches!(kind, JsonType::F64 | JsonType::I64));
    let scale = signal::scale(section, is_number);
    let decode = kind.map(|kind| Decode::Json(kind, scale));
    let signal = signal::common(section, decode, defaults, plant)?;
    let (path, steps) = path?;
    Some(Pick { signal, kind: kind?, level, path, steps })
}

/// `type`, or what the dictionary's metric has to be.
fn kind(section: &Section<'_>) -> Option<JsonType> {
    let of_metric = || match Dictionary::embedded().get(section.text("metric")?.value)?.kind {
        Kind::Gauge => Some(JsonType::F64),
        Kind::Counter => Some(JsonType::I64),
        Kind::State => None,
    };
    if !section.is_there("type")
        && let Some(kind) = of_metric()
    {
        return Some(kind);
    }
    let is_there = section.has("type", "say what the payload holds: type = \"f64\" (f64 i64 bool text)");
    if is_there { section.word("type", &JsonType::ALL).map(|kind| kind.value) } else { None }
}
