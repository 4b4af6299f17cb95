//! `[[modbus]]`: a TCP connection and the units behind it.

use std::time::Duration;

use super::notation::{self, Address, AddressFault, RegisterFault};
use super::section::Section;
use super::signal::{self, Area, ByteOrder, Decode, Defaults, Format};
use super::{Device, Plant};

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

/// One TCP connection, shared by its units.
#[derive(Debug, Clone)]
pub struct Modbus {
    /// Where it is.
    pub address: Address,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Least time between an answer and the next request.
    pub pause: Duration,
    /// The units.
    pub devices: Vec<ModbusDevice>,
}

/// One unit.
#[derive(Debug, Clone)]
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

/// Where a signal is, with the address as it goes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Index into [`Config::signals`](super::Config::signals).
    pub signal: u32,
    /// Which table.
    pub area: Area,
    /// The first register or bit.
    pub address: u16,
    /// How many registers or bits.
    pub width: u16,
    /// How often it is read.
    pub interval: Duration,
}

impl Modbus {
    /// Protocol and place.
    pub fn place(&self) -> String {
        format!("modbus-tcp {}", self.address)
    }
}

/// What a device says for all its signals.
struct DeviceRules {
    order: ByteOrder,
    base: u16,
    limits: RequestLimits,
}

pub(super) fn endpoint(section: &Section<'_>, endpoint: usize, plant: &mut Plant) -> Option<Modbus> {
    let address =
        section.required("address", "say where it is: address = \"tcp://192.168.0.10:502\"").and_then(|text| {
            let (what, hint) = match notation::address(text.value, &[("tcp", 502)]) {
                Ok((_, address)) if plant.addresses.insert(address.to_string()) => return Some(address),
                Ok((_, address)) => (
                    format!("two endpoints at {address}"),
                    "a PLC often takes one connection only: put all its units under one [[modbus]]",
                ),
                Err(AddressFault::Scheme) => {
                    ("`address` does not begin with tcp://".into(), "write address = \"tcp://192.168.0.10:502\"")
                }
                Err(AddressFault::Credentials) => {
                    ("`address` holds credentials".into(), "Modbus has none: leave them out")
                }
                Err(AddressFault::Form) => {
                    ("`address` is not tcp://host:port".into(), "write address = \"tcp://192.168.0.10:502\"")
                }
            };
            section.log.fault(text.at, what, hint);
            None
        });
    let or = |given: Option<super::section::At<Duration>>, default| given.map_or(default, |given| given.value);
    let timeout = or(section.duration("timeout", TIMEOUTS), Duration::from_secs(1));
    let connect_timeout = or(section.duration("connect_timeout", TIMEOUTS), Duration::from_secs(3));
    let pause = or(section.duration("pause", PAUSES), Duration::ZERO);
    let sections = section.sections("device", "[[modbus.device]]");
    if sections.is_empty() {
        section.missing_table("device", "[[modbus.device]]", "add a [[modbus.device]] table for each unit");
    }
    section.finish();
    let mut devices = Vec::with_capacity(sections.len());
    for section in &sections {
        devices.push(device(section, endpoint, address.as_ref(), plant));
    }
    Some(Modbus {
        address: address?,
        timeout,
        connect_timeout,
        pause,
        devices: devices.into_iter().collect::<Option<_>>()?,
    })
}

fn device(
    section: &Section<'_>,
    endpoint: usize,
    address: Option<&Address>,
    plant: &mut Plant,
) -> Option<ModbusDevice> {
    let name = signal::name(section, "name it: name = \"press-plc\"");
    let unit = section.integer("unit", 0..=255).map_or(1, |unit| unit.value);
    let asset = signal::asset(section, plant);
    let interval = signal::interval(section).unwrap_or(Duration::from_secs(1));
    let order = section.word("byte_order", &ByteOrder::ALL).map_or(ByteOrder::Abcd, |order| order.value);
    let base = section.integer("base", 0..=1).map_or(0, |base| base.value);
    let limit = |key, range, default| section.integer(key, range).map_or(default, |limit| limit.value);
    let limits = RequestLimits {
        max_words: limit("max_words", 1..=MAX_WORDS, MAX_WORDS),
        max_bits: limit("max_bits", 1..=MAX_BITS, MAX_BITS),
        max_hole: limit("max_hole", 0..=MAX_WORDS, DEFAULT_HOLE),
    };
    let signals = section.sections("signals", "signal");
    if signals.is_empty() {
        section.missing_table(
            "signals",
            "signals",
            "list at least one: signals = [ { name = \"…\", metric = \"…\", at = \"holding:100\", type = \"u16\" } ]",
        );
    }
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
    let place = address.map_or_else(String::new, ToString::to_string);
    plant.devices.push(Device {
        name: name.map_or("", |name| name.value).into(),
        address: format!("modbus-tcp {place} unit {unit}"),
        endpoint,
        interval,
    });
    let defaults = Defaults { device: index, asset, interval };
    let rules = DeviceRules { order, base, limits };
    let mut points = Vec::with_capacity(signals.len());
    for section in &signals {
        points.push(point(section, &defaults, &rules, plant));
    }
    let unit = u8::try_from(unit).ok()?;
    let points: Vec<Point> = points.into_iter().collect::<Option<_>>()?;
    // What is expected of a device is what its fastest signal asks for.
    plant.devices[index].interval = points.iter().map(|point| point.interval).min()?;
    Some(ModbusDevice { device: index, name: name?.value.into(), unit, limits, points })
}

fn point(section: &Section<'_>, defaults: &Defaults, rules: &DeviceRules, plant: &mut Plant) -> Option<Point> {
    let place = place(section, rules.base);
    let decode = decode(section, place.as_ref().map(|place| (place.area, place.bit)), rules.order);
    let width = match decode {
        Some(Decode::Number(format, ..)) => format.words(),
        _ => 1,
    };
    if let Some(place) = &place {
        let last = u32::from(place.address) + u32::from(width) - 1;
        if last > u32::from(u16::MAX) {
            section.log.fault(
                place.at,
                format!("{width} words from {} {} on run past 65535", place.area.name(), place.address),
                "check the address and the type",
            );
        }
        if !place.area.is_bits() && width > rules.limits.max_words {
            section.log.fault(
                place.at,
                format!("the type takes {width} words, but the device's `max_words` is {}", rules.limits.max_words),
                "a number must come in one answer: raise max_words or choose a narrower type",
            );
        }
    }
    let signal = signal::common(section, decode, defaults, true, plant)?;
    let interval = plant.signals.last()?.interval;
    let place = place?;
    Some(Point { signal, area: place.area, address: place.address, width, interval })
}

/// A wire address and where it is written.
struct Place {
    area: Area,
    address: u16,
    bit: Option<u8>,
    at: usize,
}

fn place(section: &Section<'_>, base: u16) -> Option<Place> {
    let text = section.required("at", "say where it is: at = \"holding:100\"")?;
    let fault = |what: String, hint: String| {
        section.log.fault(text.at, what, hint);
        None
    };
    let shown = notation::shown(text.value);
    match notation::register(text.value) {
        Err(RegisterFault::Form) => fault(format!("`at` is not an address: `{shown}`"), modicon_hint(text.value, base)),
        Err(RegisterFault::Area(area)) => fault(
            format!("no area `{}` in `{shown}`", notation::shown(area)),
            notation::suggest(area, &Area::ALL.map(Area::name)),
        ),
        Err(RegisterFault::Bit) => fault(
            format!("no such bit: `{shown}`"),
            "bits 0 to 15 of holding and input registers can be named: at = \"holding:110.3\"".into(),
        ),
        Ok(written) => match written.number.checked_sub(base.into()).map(u16::try_from) {
            None => fault(
                format!("`{shown}` is below the first address: the device counts from 1"),
                "the first register is 1; or set base = 0 if the map counts from 0".into(),
            ),
            Some(Err(_)) => fault(
                format!("`{shown}` is past the last address"),
                format!("addresses go from {base} to {}", 65_535 + u32::from(base)),
            ),
            Some(Ok(address)) => Some(Place { area: written.area, address, bit: written.bit, at: text.at }),
        },
    }
}

/// Maps often write 40101 for holding register 100: says what that is here.
fn modicon_hint(text: &str, base: u16) -> String {
    let digits = text.trim();
    let area = match (digits.len(), digits.as_bytes().first()) {
        (5 | 6, Some(b'0')) => Some(Area::Coil),
        (5 | 6, Some(b'1')) => Some(Area::Discrete),
        (5 | 6, Some(b'3')) => Some(Area::Input),
        (5 | 6, Some(b'4')) => Some(Area::Holding),
        _ => None,
    };
    let number =
        digits.get(1..).and_then(|rest| rest.parse::<u32>().ok()).filter(|number| (1..=65_536).contains(number));
    match (area, number) {
        (Some(area), Some(number)) => {
            format!(
                "{digits} in Modicon's notation is at = \"{}:{}\" here (base = {base})",
                area.name(),
                number - 1 + u32::from(base)
            )
        }
        _ => "write area:number: \"holding:100\", \"input:7\", \"coil:0\", \"discrete:3\", or a bit: \"holding:110.3\""
            .into(),
    }
}

/// From `type`, `byte_order`, `scale` and `offset` to what the raw value means.
fn decode(section: &Section<'_>, place: Option<(Area, Option<u8>)>, default_order: ByteOrder) -> Option<Decode> {
    const WORDS: [(&str, Option<Format>); 9] = {
        let mut words = [("bool", None); 9];
        let mut index = 0;
        while index < Format::ALL.len() {
            words[index] = (Format::ALL[index].0, Some(Format::ALL[index].1));
            index += 1;
        }
        words
    };
    let format = section.word("type", &WORDS);
    let order = section.word("byte_order", &ByteOrder::ALL);
    let is_bit = place.map(|(area, bit)| area.is_bits() || bit.is_some());
    let scale = signal::scale(section, is_bit != Some(true) && format.is_none_or(|format| format.value.is_some()));
    if let Some(order) = order
        && (is_bit == Some(true) || format.is_some_and(|format| format.value.is_none_or(|format| format.words() == 1)))
    {
        section.log.fault(
            order.at,
            "`byte_order` is for types of more than one word",
            "leave it out; a 16-bit register has only one order on the wire",
        );
    }
    match (place?, format) {
        ((area, bit), format) if area.is_bits() || bit.is_some() => {
            if let Some(wrong) = format.filter(|format| format.value.is_some()) {
                section.log.fault(wrong.at, "a single bit is a bool", "leave `type` out");
                return None;
            }
            Some(bit.map_or(Decode::Bit, Decode::WordBit))
        }
        (_, Some(format)) => {
            let Some(number) = format.value else {
                section.log.fault(
                    format.at,
                    "a whole register is no bool",
                    "name the bit: at = \"holding:110.3\", or write type = \"u16\"",
                );
                return None;
            };
            Some(Decode::Number(number, order.map_or(default_order, |order| order.value), scale))
        }
        (_, None) => {
            section.has("type", "say how the register holds it: type = \"u16\" (i16 u16 i32 u32 i64 u64 f32 f64)");
            None
        }
    }
}
