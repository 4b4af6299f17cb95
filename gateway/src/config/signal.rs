//! A signal: where it is, what its raw value means, and when it is worth a record.

use std::time::Duration;

use sandan_proto::id::MetricId;
use sandan_proto::reading::ValueType;

use super::section::{At, Section};
use super::units::{Conversion, plain};
use super::{Plant, dictionary, notation};

/// Longest signal or device name, so that tables stay readable.
pub(super) const MAX_NAME_BYTES: usize = 80;
/// Longest unit: UCUM codes are short.
const MAX_UNIT_BYTES: usize = 64;
/// Shortest interval. PLCs scan in some ms, and a request takes about one.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// Longest interval; beyond it the freshness of a signal says nothing.
const MAX_INTERVAL: Duration = Duration::from_hours(24);
/// Heartbeat of an on-change signal that names none.
const DEFAULT_HEARTBEAT: Duration = Duration::from_mins(1);

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
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decode {
    /// A coil or discrete input.
    Bit,
    /// A bit of a register: 0 is the lowest.
    WordBit(u8),
    /// A number in one to four registers.
    Number(Format, ByteOrder, Option<Scale>),
    /// A value of a JSON payload.
    Json(JsonType, Option<Scale>),
}

impl Decode {
    /// The type of the series.
    pub fn value_type(self) -> ValueType {
        match self {
            Self::Bit | Self::WordBit(_) | Self::Json(JsonType::Bool, _) => ValueType::Bool,
            Self::Number(_, _, Some(_)) | Self::Json(JsonType::F64, _) | Self::Json(JsonType::I64, Some(_)) => {
                ValueType::F64
            }
            Self::Number(format, _, None) => {
                if format.is_float() {
                    ValueType::F64
                } else {
                    ValueType::I64
                }
            }
            Self::Json(JsonType::I64, None) => ValueType::I64,
            Self::Json(JsonType::Text, _) => ValueType::Text,
        }
    }
    /// The same with its numbers in another unit.
    fn converted(self, conversion: Conversion) -> Self {
        let whole = Scale::new(1.0, 0.0);
        let then = |scale: Option<Scale>| Some(scale.unwrap_or(whole).then(conversion));
        match self {
            Self::Number(format, order, scale) => Self::Number(format, order, then(scale)),
            Self::Json(kind @ (JsonType::F64 | JsonType::I64), scale) => Self::Json(kind, then(scale)),
            Self::Bit | Self::WordBit(_) | Self::Json(JsonType::Bool | JsonType::Text, _) => self,
        }
    }
}

/// How registers hold a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Format {
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
}

impl Format {
    /// All of them, as they are written.
    pub const ALL: [(&str, Self); 8] = [
        ("i16", Self::I16),
        ("u16", Self::U16),
        ("i32", Self::I32),
        ("u32", Self::U32),
        ("i64", Self::I64),
        ("u64", Self::U64),
        ("f32", Self::F32),
        ("f64", Self::F64),
    ];
    /// How many registers it takes.
    pub fn words(self) -> u16 {
        match self {
            Self::I16 | Self::U16 => 1,
            Self::I32 | Self::U32 | Self::F32 => 2,
            Self::I64 | Self::U64 | Self::F64 => 4,
        }
    }
    /// Whether it is IEEE 754.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

/// In which order the bytes of a number come, A being the most significant. The
/// letters show 32 bits; 64 bits go by the same two rules: are the words reversed,
/// and are the bytes in each word swapped. A single word is never swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Big endian: words as they come, bytes as they come.
    Abcd,
    /// Words reversed, bytes as they come.
    Cdab,
    /// Words as they come, bytes swapped in each.
    Badc,
    /// Little endian: words reversed, bytes swapped in each.
    Dcba,
}

impl ByteOrder {
    /// All of them, as they are written.
    pub const ALL: [(&str, Self); 4] =
        [("ABCD", Self::Abcd), ("CDAB", Self::Cdab), ("BADC", Self::Badc), ("DCBA", Self::Dcba)];
}

/// value = raw × factor + offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    factor: f64,
    /// The whole number that `factor` is one over: 10 for 0.1. Dividing by it gives
    /// 12.3 for 123, multiplying by 0.1 gives 12.3 and a tail of noise.
    divisor: Option<f64>,
    offset: f64,
}

impl Scale {
    /// A factor and an offset.
    pub fn new(factor: f64, offset: f64) -> Self {
        let divisor = (1.0 / factor).round();
        #[allow(clippy::float_cmp, reason = "the two must be the same number, bit for bit")]
        let exact = divisor.abs() >= 2.0 && divisor.is_finite() && 1.0 / divisor == factor;
        Self { factor, divisor: exact.then_some(divisor), offset }
    }
    /// The value of a raw number.
    pub fn apply(self, raw: f64) -> f64 {
        self.divisor.map_or_else(|| raw * self.factor, |divisor| raw / divisor) + self.offset
    }
    /// This one and then a change of unit, as one step.
    fn then(self, conversion: Conversion) -> Self {
        let Conversion { factor, offset } = conversion;
        Self::new(plain(self.factor * factor), plain(self.offset * factor + offset))
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

/// A signal of a JSON payload and where it stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// Index into [`Config::signals`](super::Config::signals).
    pub signal: u32,
    /// The path as it was written.
    pub path: String,
    /// The path in steps.
    pub steps: Vec<Step>,
}

/// Which values become readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Publish {
    /// Every one.
    Always,
    /// One that differs from the last that passed, and one a heartbeat.
    OnChange {
        /// Longest silence while nothing changes.
        heartbeat: Duration,
    },
    /// One that differs by at least `width` from the last that passed, and one a heartbeat.
    Deadband {
        /// In the unit of the signal.
        width: f64,
        /// Longest silence while nothing changes.
        heartbeat: Duration,
    },
}

impl Publish {
    /// Longest silence while all is well; `None` when every value passes.
    pub fn heartbeat(self) -> Option<Duration> {
        match self {
            Self::Always => None,
            Self::OnChange { heartbeat } | Self::Deadband { heartbeat, .. } => Some(heartbeat),
        }
    }
    /// The same with its width in another unit.
    fn converted(self, conversion: Conversion) -> Self {
        match self {
            Self::Deadband { width, heartbeat } => {
                Self::Deadband { width: plain(width * conversion.factor.abs()), heartbeat }
            }
            Self::Always | Self::OnChange { .. } => self,
        }
    }
}

/// What a device's section says for its signals.
#[derive(Debug)]
pub(super) struct Defaults {
    pub(super) device: usize,
    pub(super) asset: Named,
    pub(super) interval: Duration,
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
    section.duration("interval", MIN_INTERVAL..=MAX_INTERVAL).map(|interval| interval.value)
}

/// The `asset` key.
pub(super) fn asset(section: &Section<'_>, plant: &Plant) -> Named {
    let Some(id) = section.text("asset") else { return Named::No };
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
    if factor.is_none() && offset.is_none() {
        return None;
    }
    Some(Scale::new(factor.map_or(1.0, |factor| factor.value), offset.map_or(0.0, |offset| offset.value)))
}

/// Everything of a signal that does not depend on the protocol. `decode` is `None`
/// when its own reading had faults; the rest is still checked. Gives the signal's index.
pub(super) fn common(
    section: &Section<'_>,
    mut decode: Option<Decode>,
    defaults: &Defaults,
    own_interval: bool,
    plant: &mut Plant,
) -> Option<u32> {
    let name = name(section, "name it: name = \"tonnage\"");
    let own = asset(section, plant);
    let asset = match if own == Named::No { defaults.asset } else { own } {
        Named::Asset(index) => Some(index),
        Named::Unknown => None,
        Named::No => {
            section.missing("asset", "say whose number it is: asset = \"…\" here or on the device");
            None
        }
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
    let interval = if own_interval { interval(section) } else { None }.unwrap_or(defaults.interval);
    let value_type = decode.map(Decode::value_type);
    let mut publish = publish(section, value_type, interval);
    let fit = metric.as_ref().map(|metric| dictionary::fit(section, metric, unit, value_type)).unwrap_or_default();
    if let Some(conversion) = fit.conversion {
        decode = decode.map(|decode| decode.converted(conversion));
        publish = publish.converted(conversion);
    }
    section.finish();
    if let Some(name) = name
        && !plant.names.insert(format!("{}\0{}", defaults.device, name.value))
    {
        section.log.fault(
            name.at,
            format!("the device has two signals `{}`", notation::shown(name.value)),
            "give each signal of a device its own name",
        );
    }
    if let (Some(asset), Some(metric)) = (asset, &metric)
        && !plant.series.insert((asset, metric.value.clone()))
    {
        section.log.fault(
            metric.at,
            format!("`{}` of asset `{}` comes from two signals", metric.value, plant.assets[asset].id),
            "one series has one source: change `metric` or `asset`",
        );
    }
    let index = u32::try_from(plant.signals.len()).ok()?;
    plant.signals.push(Signal {
        name: name?.value.into(),
        device: defaults.device,
        asset: asset?,
        metric: metric?.value,
        unit: fit.unit,
        interval,
        decode: decode?,
        publish,
    });
    Some(index)
}

fn publish(section: &Section<'_>, value_type: Option<ValueType>, interval: Duration) -> Publish {
    let on_change = section.flag("on_change");
    let deadband = section.number("deadband");
    let heartbeat = section.duration("heartbeat", MIN_INTERVAL..=MAX_INTERVAL);
    let log = section.log;
    if let Some(heartbeat) = heartbeat {
        if deadband.is_none() && !on_change.is_some_and(|on_change| on_change.value) {
            log.fault(
                heartbeat.at,
                "`heartbeat` does nothing: every value is a reading already",
                "add on_change = true or a deadband, or leave heartbeat out",
            );
        } else if heartbeat.value < interval {
            let interval = notation::show_duration(interval);
            log.fault(
                heartbeat.at,
                format!("`heartbeat` is shorter than the interval, {interval}"),
                "make it a few intervals long",
            );
        }
    }
    let heartbeat = heartbeat.map_or(DEFAULT_HEARTBEAT.max(interval), |heartbeat| heartbeat.value);
    if let Some(deadband) = deadband {
        if deadband.value <= 0.0 {
            log.fault(deadband.at, "`deadband` is not above 0", "write on_change = true to pass every change");
        }
        if let (Some(on_change), true) = (on_change, on_change.is_some_and(|flag| flag.value)) {
            log.fault(on_change.at, "`on_change` and `deadband` exclude each other", "keep the deadband alone");
        }
        if matches!(value_type, Some(ValueType::Bool | ValueType::Text)) {
            log.fault(deadband.at, "`deadband` is for numbers", "write on_change = true instead");
        }
        return Publish::Deadband { width: deadband.value, heartbeat };
    }
    if on_change.is_some_and(|on_change| on_change.value) { Publish::OnChange { heartbeat } } else { Publish::Always }
}
