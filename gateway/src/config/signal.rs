//! A signal: where it is, what its raw value means, and when it is worth a record.

use std::time::Duration;

use sandan_proto::id::MetricId;
use sandan_proto::reading::ValueType;

use super::dictionary::{Fit, Kind};
use super::register::Register;
use super::section::{At, Section};
use super::units::{Conversion, plain};
use super::{Plant, dictionary, notation};

mod counter;
mod publish;
mod upload;

pub use counter::Counter;
use counter::Counts;
pub use publish::{Change, Publish};
pub(super) use upload::{Asked, asked as asked_upload};
pub use upload::{Function, Upload};

/// Longest signal or device name, so that tables stay readable.
pub(super) const MAX_NAME_BYTES: usize = 80;
/// Longest unit: UCUM codes are short.
const MAX_UNIT_BYTES: usize = 64;
/// Shortest interval. PLCs scan in some ms, and a request takes about one.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// Longest interval; beyond it the freshness of a signal says nothing.
const MAX_INTERVAL: Duration = Duration::from_hours(24);
/// What an interval may be.
pub(super) const INTERVALS: std::ops::RangeInclusive<Duration> = MIN_INTERVAL..=MAX_INTERVAL;

/// One signal, which is one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// Unique in its device.
    pub name: String,
    /// Index into [`Config::devices`](super::Config::devices).
    pub device: usize,
    /// Index into [`Config::assets`](super::Config::assets).
    pub asset: usize,
    /// What is measured.
    pub metric: MetricId,
    /// UCUM unit, the dictionary's where the metric is in it; may be empty where it is not.
    pub unit: String,
    /// How often it is polled, or expected.
    pub interval: Duration,
    /// From raw value to value.
    pub decode: Decode,
    /// Which values become readings.
    pub publish: Publish,
    /// Least and greatest value that can be true, in `unit`; beyond them a reading is bad.
    /// A register's own stand in its [`Register`].
    pub valid: Option<(f64, f64)>,
    /// Least and greatest value that the dictionary finds plausible; beyond them a reading is
    /// uncertain.
    pub plausible: Option<[f64; 2]>,
    /// What is known of it, where it counts.
    pub counter: Option<Counter>,
    /// What of it leaves the plant.
    pub upload: Upload,
    /// Index of its series in the births; `None` when nothing of it leaves the plant.
    pub series: Option<u32>,
}

impl Signal {
    /// The type of its series.
    pub fn value_type(&self) -> ValueType {
        match self.upload {
            Upload::Bucketed { function: Function::Mean, .. } => ValueType::F64,
            _ => self.decode.value_type(),
        }
    }
    /// How often there is a value that may become a reading.
    pub fn value_interval(&self) -> Duration {
        match self.upload {
            Upload::Bucketed { every, .. } => every,
            Upload::Raw | Upload::None => self.interval,
        }
    }
    /// Longest time between two readings while all is well.
    pub fn expected_interval(&self) -> Duration {
        self.publish.heartbeat.unwrap_or(self.value_interval().max(self.publish.min_interval))
    }
}

/// A Modbus table, each with its one function code. Nothing here can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Area {
    /// Function code 1.
    Coil,
    /// Function code 2.
    Discrete,
    /// Function code 3.
    Holding,
    /// Function code 4.
    Input,
}

impl Area {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Coil, Self::Discrete, Self::Holding, Self::Input];
    /// As it is written in addresses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Coil => "coil",
            Self::Discrete => "discrete",
            Self::Holding => "holding",
            Self::Input => "input",
        }
    }
    /// Its digit in Modicon's notation.
    pub fn table(self) -> &'static str {
        match self {
            Self::Coil => "0",
            Self::Discrete => "1",
            Self::Input => "3",
            Self::Holding => "4",
        }
    }
    /// The Modbus function that reads it.
    pub fn function_code(self) -> u8 {
        match self {
            Self::Coil => 1,
            Self::Discrete => 2,
            Self::Holding => 3,
            Self::Input => 4,
        }
    }
    /// Whether it holds bits instead of words.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

/// From a raw value to a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Decode {
    /// A coil or discrete input.
    Bit,
    /// A bit of a register: 0 is the lowest.
    WordBit(u8),
    /// A value in one or more registers.
    Register(Box<Register>),
    /// A value of a JSON payload.
    Json(JsonType, Option<Scale>),
}

impl Decode {
    /// The type of the series.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Bit | Self::WordBit(_) | Self::Json(JsonType::Bool, _) => ValueType::Bool,
            Self::Register(register) => register.value_type(),
            Self::Json(JsonType::F64, _) | Self::Json(JsonType::I64, Some(_)) => ValueType::F64,
            Self::Json(JsonType::I64, None) => ValueType::I64,
            Self::Json(JsonType::Text, _) => ValueType::Text,
        }
    }
    /// The same with its numbers in another unit.
    fn converted(self, conversion: Conversion) -> Self {
        match self {
            Self::Register(register) => Self::Register(Box::new(register.converted(conversion))),
            Self::Json(kind @ (JsonType::F64 | JsonType::I64), scale) => {
                Self::Json(kind, Some(Scale::after(scale, conversion)))
            }
            Self::Bit | Self::WordBit(_) | Self::Json(JsonType::Bool | JsonType::Text, _) => self,
        }
    }
}

/// A straight line from raw numbers to values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale(Line);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Line {
    /// value = raw × factor + offset.
    Factor {
        factor: f64,
        /// The whole number that `factor` is one over: 10 for 0.1. Dividing by it gives
        /// 12.3 for 123, multiplying by 0.1 gives 12.3 and a tail of noise.
        divisor: Option<f64>,
        offset: f64,
    },
    /// Through two points.
    Points { raw: (f64, f64), value: (f64, f64) },
}

impl Scale {
    /// A factor and an offset.
    pub fn new(factor: f64, offset: f64) -> Self {
        let divisor = (1.0 / factor).round();
        #[allow(clippy::float_cmp, reason = "the two must be the same number, bit for bit")]
        let exact = divisor.abs() >= 2.0 && divisor.is_finite() && 1.0 / divisor == factor;
        Self(Line::Factor { factor, divisor: exact.then_some(divisor), offset })
    }
    /// The line on which the two raw numbers, which differ, become the two values. It goes
    /// on beyond them.
    pub fn between(raw: (f64, f64), value: (f64, f64)) -> Self {
        Self(Line::Points { raw, value })
    }
    /// The value of a raw number.
    pub fn apply(self, given: f64) -> f64 {
        match self.0 {
            Line::Factor { factor, divisor, offset } => {
                divisor.map_or_else(|| given * factor, |divisor| given / divisor) + offset
            }
            // The products first: whole numbers stay exact until the one division.
            Line::Points { raw, value } => (given - raw.0) * (value.1 - value.0) / (raw.1 - raw.0) + value.0,
        }
    }
    /// A scale, if there is one, and then a change of unit, as one step.
    pub(super) fn after(scale: Option<Self>, conversion: Conversion) -> Self {
        let Conversion { factor: by, offset: plus } = conversion;
        match scale.map(|scale| scale.0) {
            None => Self::new(by, plus),
            Some(Line::Factor { factor, offset, .. }) => Self::new(plain(factor * by), plain(offset * by + plus)),
            Some(Line::Points { raw, value: (from, to) }) => {
                Self::between(raw, (plain(from * by + plus), plain(to * by + plus)))
            }
        }
    }
}

/// What a JSON value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum JsonType {
    F64,
    I64,
    Bool,
    Text,
}

impl JsonType {
    /// All of them, as they are written.
    pub const ALL: [(&str, Self); 4] =
        [("f64", Self::F64), ("i64", Self::I64), ("bool", Self::Bool), ("text", Self::Text)];
}

/// One step of a JSON path: a key of an object, or an index where there is an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The key.
    pub key: String,
    /// The same as a number, if it is one.
    pub index: Option<usize>,
}

impl Step {
    /// A step from its text.
    pub fn new(key: &str) -> Self {
        Self { key: key.into(), index: key.parse().ok() }
    }
}

/// A signal of a message and where it stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// Index into [`Config::signals`](super::Config::signals).
    pub signal: u32,
    /// What the value must be.
    pub kind: JsonType,
    /// What the topic's level of the metric says for it; `None` where there is no such level.
    pub level: Option<String>,
    /// The path as it was written; empty for a plain value.
    pub path: String,
    /// The path in steps.
    pub steps: Vec<Step>,
}

/// What a device's section says for its signals.
#[derive(Debug)]
pub(super) struct Defaults {
    pub(super) device: usize,
    pub(super) asset: Named,
    pub(super) interval: Duration,
    pub(super) upload: Option<Asked>,
}

/// An `asset` key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// It is not there.
    No,
    /// It names no asset; a fault was noted, here or where the asset is.
    Unknown,
    /// The asset's index.
    Asset(usize),
}

/// A name that is one plain line.
pub(super) fn name<'t>(section: &Section<'t>, hint: &str) -> Option<At<&'t str>> {
    let name = if section.has("name", hint) { section.label("name", MAX_NAME_BYTES) } else { None }?;
    if name.value.trim().is_empty() {
        section.log.fault(name.at, "`name` is empty", hint);
        return None;
    }
    Some(name)
}

/// `interval` within what is sensible.
pub(super) fn interval(section: &Section<'_>) -> Option<Duration> {
    section.duration("interval", INTERVALS).map(|interval| interval.value)
}

/// The `asset` key.
pub(super) fn asset(section: &Section<'_>, plant: &Plant) -> Named {
    section.text("asset").map_or(Named::No, |id| asset_called(section, id, plant))
}

/// The asset of an id.
pub(super) fn asset_called(section: &Section<'_>, id: At<&str>, plant: &Plant) -> Named {
    if let Some(index) = plant.assets.iter().position(|asset| asset.id.as_str() == id.value) {
        return Named::Asset(index);
    }
    if plant.has_nameless_asset {
        // The fault is with the asset, and it was noted there.
        return Named::Unknown;
    }
    let known: Vec<_> = plant.assets.iter().map(|asset| asset.id.as_str()).collect();
    let hint = if known.is_empty() {
        "add an [[asset]] table with this id".into()
    } else {
        notation::suggest(id.value, &known)
    };
    section.log.fault(id.at, format!("no asset `{}`", notation::shown(id.value)), hint);
    Named::Unknown
}

/// `scale` and `offset`.
pub(super) fn scale(section: &Section<'_>, takes_scale: bool) -> Option<Scale> {
    let factor = section.number("scale");
    let offset = section.number("offset");
    if let Some(factor) = factor
        && factor.value == 0.0
    {
        section.log.fault(
            factor.at,
            "`scale` is 0: every value would be the same",
            "write scale = 0.1, or leave it out",
        );
    }
    if let (false, Some(wrong)) = (takes_scale, factor.or(offset)) {
        section.log.fault(wrong.at, "`scale` and `offset` are for numbers", "leave them out for a bool or a text");
    }
    let line = line(section);
    if let (Some(line), false) = (line, takes_scale) {
        section.log.fault(
            line.at,
            "`raw_range` and `unit_range` are for numbers",
            "leave them out for a bool or a text",
        );
    }
    if let (Some(line), Some(_)) = (line, factor.or(offset)) {
        section.log.fault(
            line.at,
            "`raw_range` and `scale` or `offset` exclude each other",
            "a line through two points has its factor and offset already: keep one of the two",
        );
    }
    match (line, factor, offset) {
        (Some(line), ..) => Some(line.value),
        (None, None, None) => None,
        _ => Some(Scale::new(factor.map_or(1.0, |factor| factor.value), offset.map_or(0.0, |offset| offset.value))),
    }
}

/// `raw_range` and `unit_range`.
fn line(section: &Section<'_>) -> Option<At<Scale>> {
    let (raw, value) = (section.pair("raw_range"), section.pair("unit_range"));
    let (raw, value) = match (raw, value) {
        (Some(raw), Some(value)) => (raw, value),
        (Some(one), None) | (None, Some(one)) => {
            section.log.fault(
                one.at,
                "`raw_range` and `unit_range` need each other",
                "write both: raw_range = [0, 4000], unit_range = [0.0, 100.0]",
            );
            return None;
        }
        (None, None) => return None,
    };
    for pair in [raw, value] {
        #[allow(clippy::float_cmp, reason = "what was written twice is the same number")]
        if pair.value.0 == pair.value.1 {
            section.log.fault(pair.at, "both ends of the range are the same", "write two numbers that differ");
            return None;
        }
    }
    Some(At { value: Scale::between(raw.value, value.value), at: raw.at })
}

/// What a signal's row says of everything that does not depend on the protocol.
#[derive(Debug)]
pub(super) struct Row<'t> {
    name: Option<At<&'t str>>,
    asset: Option<usize>,
    metric: Option<At<MetricId>>,
    fit: Fit,
    interval: Duration,
    publish: Publish,
    upload: Upload,
    counts: Counts,
    valid: Option<(f64, f64)>,
}

/// One of an array of signals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element {
    /// From 0.
    pub(super) index: u16,
    /// Whose it is, where each is another asset's.
    pub(super) asset: Option<usize>,
}

/// Everything of a signal that does not depend on the protocol. `decode` is `None`
/// when its own reading had faults; the rest is still checked. Gives the signal's index.
pub(super) fn common(
    section: &Section<'_>,
    decode: Option<Decode>,
    defaults: &Defaults,
    plant: &mut Plant,
) -> Option<u32> {
    let value_type = decode.as_ref().map(Decode::value_type);
    let mut row = Row::read(section, value_type, defaults, defaults.interval, true, plant);
    row.valid = valid_range(section, value_type).map(|valid| row.range(valid));
    section.finish();
    let decode = decode.map(|decode| row.converted(decode));
    row.add(section, decode.as_ref(), defaults, None, plant)
}

impl<'t> Row<'t> {
    /// Reads it; the caller finishes the section. `has_asset` is false where the assets of
    /// an array's elements are named one by one.
    pub(super) fn read(
        section: &Section<'t>,
        value_type: Option<ValueType>,
        defaults: &Defaults,
        interval: Duration,
        has_asset: bool,
        plant: &Plant,
    ) -> Self {
        let name = name(section, "name it: name = \"tonnage\"");
        let own = asset(section, plant);
        let asset = match if own == Named::No { defaults.asset } else { own } {
            Named::Asset(index) => Some(index),
            Named::No if has_asset => {
                section.missing("asset", "say whose number it is: asset = \"…\" here or on the device");
                None
            }
            Named::No | Named::Unknown => None,
        };
        let metric = section
            .required("metric", "an id that `sandan-gateway metrics` lists, or x_… for one of your own")
            .and_then(|text| {
                MetricId::new(text.value)
                    .inspect_err(|error| {
                        section.log.fault(text.at, error.to_string(), "write metric = \"press_force\" or \"x_…\"");
                    })
                    .ok()
                    .map(|metric| At { value: metric, at: text.at })
            });
        let unit = section.label("unit", MAX_UNIT_BYTES);
        let fit = metric.as_ref().map(|metric| dictionary::fit(section, metric, unit, value_type)).unwrap_or_default();
        let counts = counter::counts(section, fit.known, value_type);
        let kind = if counts.is_counter() { Some(Kind::Counter) } else { fit.known.map(|known| known.kind) };
        let upload = upload::upload(section, defaults.upload, value_type, kind, interval);
        let spacing = if let Upload::Bucketed { every, .. } = upload { every } else { interval };
        let mut publish = publish::publish(section, value_type, spacing);
        if let Some(conversion) = fit.conversion {
            publish = publish.converted(conversion);
        }
        Self { name, asset, metric, fit, interval, publish, upload, counts, valid: None }
    }

    /// A range in the signal's unit.
    fn range(&self, (from, to): (f64, f64)) -> (f64, f64) {
        let Some(conversion) = self.fit.conversion else { return (from, to) };
        let [from, to] = [from, to].map(|end| Scale::after(None, conversion).apply(end));
        (from.min(to), from.max(to))
    }

    /// The unit of the signal's values.
    pub(super) fn unit(&self) -> &str {
        &self.fit.unit
    }

    /// What the row says of values, with them in that unit.
    pub(super) fn converted(&self, decode: Decode) -> Decode {
        match self.fit.conversion {
            Some(conversion) => decode.converted(conversion),
            None => decode,
        }
    }

    /// Adds it to the plant. An element of an array is named `name[0]`; its metric stays
    /// the same where it has an asset of its own, else it ends in `_0`. Gives its index.
    pub(super) fn add(
        &self,
        section: &Section<'_>,
        decode: Option<&Decode>,
        defaults: &Defaults,
        element: Option<Element>,
        plant: &mut Plant,
    ) -> Option<u32> {
        let log = section.log;
        let name = self.name.map(|name| match element {
            Some(element) => format!("{}[{}]", name.value, element.index),
            None => name.value.into(),
        });
        if let (Some(metric), Some(Element { index: 0, asset: None })) = (&self.metric, element)
            && !metric.value.is_private()
        {
            log.fault(
                metric.at,
                format!("the elements of an array cannot all be `{}` of one asset", metric.value),
                "name an asset for each: assets = [\"zone-1\", \"zone-2\"], or a metric of your own: x_…",
            );
        }
        let metric = self.metric.as_ref().and_then(|metric| match element {
            Some(Element { index, asset: None }) => MetricId::new(&format!("{}_{index}", metric.value))
                .inspect_err(|error| log.fault(metric.at, error.to_string(), "shorten the metric"))
                .ok(),
            _ => Some(metric.value.clone()),
        });
        let asset = element.and_then(|element| element.asset).or(self.asset);
        if let (Some(at), Some(name)) = (self.name, &name)
            && !plant.names.insert(format!("{}\0{name}", defaults.device))
        {
            log.fault(
                at.at,
                format!("the device has two signals `{}`", notation::shown(name)),
                "give each signal of a device its own name",
            );
        }
        if let (Some(asset), Some(metric), Some(at)) = (asset, &metric, &self.metric)
            && !plant.series.insert((asset, metric.clone()))
        {
            log.fault(
                at.at,
                format!("`{metric}` of asset `{}` comes from two signals", plant.assets[asset].id),
                "one series has one source: change `metric` or `asset`",
            );
        }
        let index = u32::try_from(plant.signals.len()).ok()?;
        plant.signals.push(Signal {
            name: name?,
            device: defaults.device,
            asset: asset?,
            metric: metric?,
            unit: self.fit.unit.clone(),
            interval: self.interval,
            decode: decode?.clone(),
            publish: self.publish,
            valid: self.valid,
            plausible: self.fit.known.and_then(|known| known.range),
            counter: self.counts.counter(self.fit.conversion, decode?),
            upload: self.upload,
            series: None,
        });
        Some(index)
    }
}

/// `valid_range` of a value that stands in no register.
fn valid_range(section: &Section<'_>, value_type: Option<ValueType>) -> Option<(f64, f64)> {
    let valid = section.pair("valid_range")?;
    let log = section.log;
    if valid.value.0 > valid.value.1 {
        log.fault(valid.at, "`valid_range` begins above its end", "write the lower one first: valid_range = [0, 100]");
    }
    if matches!(value_type, Some(ValueType::Bool | ValueType::Text)) {
        log.fault(valid.at, "`valid_range` is for numbers", "leave it out");
    }
    Some(valid.value)
}
