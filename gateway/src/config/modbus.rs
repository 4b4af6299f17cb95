//! `[[modbus]]`: one line, TCP or serial, and the units behind it.

use std::path::PathBuf;
use std::time::Duration;

use super::notation;
use super::register::ByteOrder;
use super::section::{At, Section};
use super::signal::{self, Area, Defaults};
use super::{Device, Plant};

mod line;
mod point;

pub use line::{Line, Parity, Serial};

/// What Modbus allows in one answer.
const MAX_WORDS: u16 = 125;
/// What Modbus allows in one answer.
const MAX_BITS: u16 = 2_000;
/// A hole of eight words costs less than a second request on any line.
const DEFAULT_HOLE: u16 = 8;
/// What a poll may wait; beyond a minute a device is as good as absent.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);
/// A pause longer than this is an interval.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10);

/// Shortest and longest silence that a line is given after a fault.
const DRAINS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10);
/// An answer that comes later than its timeout mostly comes within this.
const DEFAULT_DRAIN: Duration = Duration::from_millis(100);
/// More would hold up the neighbours of a bad unit.
const MAX_RETRIES: u16 = 5;
/// Most named groups of a device: people tell no more apart.
const MAX_GROUPS: usize = 16;

/// One line, shared by its units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modbus {
    /// Where it is and how it is spoken on.
    pub line: Line,
    /// How long an answer may take to begin (RTU), or to be there (TCP).
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Least time between an answer and the next request.
    pub pause: Duration,
    /// How long an RTU line must be silent after a fault before anything is asked again.
    pub drain: Duration,
    /// How often a request is sent again at once when its answer is damaged, or the device
    /// is busy. A silence is never asked again at once.
    pub retries: u16,
    /// The units.
    pub devices: Vec<ModbusDevice>,
    /// Where to remember what the units refuse; `None` to remember nothing.
    pub memory: Option<PathBuf>,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModbusDevice {
    /// Index into [`Config::devices`](super::Config::devices).
    pub device: usize,
    /// Its name, unique in the gateway.
    pub name: String,
    /// The unit id.
    pub unit: u8,
    /// What one request may ask of it.
    pub limits: RequestLimits,
    /// Its signals.
    pub points: Vec<Point>,
}

/// What one request may ask of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Most registers.
    pub max_words: u16,
    /// Most coils or discrete inputs.
    pub max_bits: u16,
    /// The largest run of registers that nobody asked for and is read through all the
    /// same; for bits sixteen times that, which is as many bytes.
    pub max_hole: u16,
}

/// Where a signal is, with the addresses as they go on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Index into [`Config::signals`](super::Config::signals).
    pub signal: u32,
    /// Its own registers or bit.
    pub value: Part,
    /// The registers that say how to read it, read with it.
    pub aids: Vec<Part>,
    /// How often it is read.
    pub interval: Duration,
    /// Signals of one interval are read together when they are of one group. 0 is none.
    pub group: u16,
}

/// A run of registers or bits that must come in one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Which table.
    pub area: Area,
    /// The first register or bit.
    pub address: u16,
    /// How many registers or bits.
    pub width: u16,
}

impl Modbus {
    /// Protocol and place.
    pub fn place(&self) -> String {
        format!("{} {}", self.line.protocol(), self.line)
    }
}

/// What a device says for all its signals.
struct DeviceRules<'t> {
    order: ByteOrder,
    base: u16,
    limits: RequestLimits,
    groups: Vec<(&'t str, Duration)>,
}

pub(super) fn endpoint(section: &Section<'_>, endpoint: usize, plant: &mut Plant) -> Option<Modbus> {
    let line = line::line(section, plant);
    let is_rtu = line.as_ref().is_some_and(Line::is_rtu);
    let or = |given: Option<At<Duration>>, default| given.map_or(default, |given| given.value);
    let timeout = or(section.duration("timeout", TIMEOUTS), line.as_ref().map_or(Duration::ZERO, Line::timeout));
    let connect_timeout = or(section.duration("connect_timeout", TIMEOUTS), Duration::from_secs(3));
    let pause = or(section.duration("pause", PAUSES), Duration::ZERO);
    let drain = section.duration("drain", DRAINS);
    if let (Some(drain), Some(false)) = (drain, line.as_ref().map(Line::is_rtu)) {
        section.log.fault(
            drain.at,
            "`drain` is for RTU lines",
            "leave it out: a TCP connection is dropped instead, and nothing late can come over the next one",
        );
    }
    let retries = section.integer("retries", 0..=MAX_RETRIES).map_or(u16::from(is_rtu), |retries| retries.value);
    let sections = section.sections("device", "[[modbus.device]]");
    if sections.is_empty() {
        section.missing_table("device", "[[modbus.device]]", "add a [[modbus.device]] table for each unit");
    }
    section.finish();
    let mut devices = Vec::with_capacity(sections.len());
    for section in &sections {
        devices.push(device(section, endpoint, line.as_ref(), plant));
    }
    Some(Modbus {
        line: line?,
        timeout,
        connect_timeout,
        pause,
        drain: or(drain, DEFAULT_DRAIN),
        retries,
        devices: devices.into_iter().collect::<Option<_>>()?,
        memory: None,
    })
}

/// The named groups of a device and their intervals.
fn groups<'t>(section: &Section<'t>) -> Vec<(&'t str, Duration)> {
    let mut groups = Vec::new();
    let entries = section.words("groups", "{ fast = \"200ms\", slow = \"10s\" }");
    if entries.len() > MAX_GROUPS {
        section.log.fault(entries[MAX_GROUPS].0.at, format!("more than {MAX_GROUPS} groups"), "put some together");
    }
    for (name, text) in entries {
        match notation::duration(text.value).filter(|interval| signal::INTERVALS.contains(interval)) {
            Some(interval) => groups.push((name.value, interval)),
            None => section.log.fault(
                text.at,
                format!("the interval of group `{}` is no duration from 10ms to 1d", notation::shown(name.value)),
                "write groups = { fast = \"200ms\", slow = \"10s\" }",
            ),
        }
    }
    groups
}

fn device(section: &Section<'_>, endpoint: usize, line: Option<&Line>, plant: &mut Plant) -> Option<ModbusDevice> {
    let name = signal::name(section, "name it: name = \"press-plc\"");
    let unit = section.integer("unit", 0..=255).map_or(1, |unit| unit.value);
    let asset = signal::asset(section, plant);
    let interval = signal::interval(section).unwrap_or(Duration::from_secs(1));
    let order = section.word("byte_order", &ByteOrder::OF_DEVICES).map_or(ByteOrder::Abcd, |order| order.value);
    let base = section.integer("base", 0..=1).map_or(0, |base| base.value);
    let limit = |key, range, default| section.integer(key, range).map_or(default, |limit| limit.value);
    let limits = RequestLimits {
        max_words: limit("max_words", 1..=MAX_WORDS, MAX_WORDS),
        max_bits: limit("max_bits", 1..=MAX_BITS, MAX_BITS),
        max_hole: limit("max_hole", 0..=MAX_WORDS, DEFAULT_HOLE),
    };
    let groups = groups(section);
    // Put into the table before: what is left of them is no text.
    let is_left = [section.text("template"), section.text("signals_csv")].iter().any(Option::is_some);
    section.know(&["drop"]);
    let signals = section.sections("signals", "signal");
    if signals.is_empty() && !is_left {
        section.missing_table(
            "signals",
            "signals",
            "list at least one, or name a template: signals = [ { name = \"…\", metric = \"…\", at = \"holding:100\", type = \"u16\" } ]",
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
    let place = line.map_or_else(String::new, |line| format!("{} {line}", line.protocol()));
    plant.devices.push(Device {
        name: name.map_or("", |name| name.value).into(),
        address: format!("{place} unit {unit}"),
        endpoint,
        interval,
    });
    let defaults = Defaults { device: index, asset, interval, upload };
    let rules = DeviceRules { order, base, limits, groups };
    let mut points = Vec::with_capacity(signals.len());
    for section in &signals {
        points.push(point::points(section, &defaults, &rules, plant));
    }
    let unit = u8::try_from(unit).ok()?;
    let points = points.into_iter().collect::<Option<Vec<_>>>()?.concat();
    // What is expected of a device is what its fastest signal asks for.
    plant.devices[index].interval = points.iter().map(|point| point.interval).min()?;
    Some(ModbusDevice { device: index, name: name?.value.into(), unit, limits, points })
}
