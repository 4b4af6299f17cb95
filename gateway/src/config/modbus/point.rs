//! A signal's row: where its registers are and what they mean.

use std::collections::BTreeMap;
use std::time::Duration;

use sandan_proto::reading::ValueType;

use super::{DeviceRules, Part, Point};
use crate::config::Plant;
use crate::config::notation::{self, RegisterFault, Wire};
use crate::config::register::{Aid, ByteOrder, Format, Meaning, Register, Sentinel, way};
use crate::config::section::{At, Code, Section};
use crate::config::signal::{self, Area, Decode, Defaults, Element, Named, Row};

/// Longest array: as many coils as one answer holds.
const MAX_COUNT: u16 = 2_000;
/// Longest text, in registers: what one answer holds.
const MAX_TEXT_WORDS: u16 = 125;

/// The points of one row: one, or one for each element of an array.
pub(super) fn points(
    section: &Section<'_>,
    defaults: &Defaults,
    rules: &DeviceRules<'_>,
    plant: &mut Plant,
) -> Option<Vec<Point>> {
    let place =
        section.required("at", "say where it is: at = \"holding:100\"").and_then(|at| place(section, at, rules));
    let (interval, group) = timing(section, defaults, rules);
    let mut decode = what(section, place.as_ref(), rules);
    let aids = aids(section, rules);
    let count = section.integer("count", 1..=MAX_COUNT);
    let stride = section.integer("stride", 1..=MAX_COUNT);
    let assets = assets(section, count, plant);
    if let (Some(decode), Some(first)) = (&decode, aids.first())
        && !takes_aids(decode)
    {
        section.log.fault(
            first.place.at,
            "another register can say how to read a number, and this is none",
            "leave it out for a bool, a text or names",
        );
    }
    let value_type = decode.as_ref().map(|decode| match decode {
        decode if takes_aids(decode) && !aids.is_empty() => ValueType::F64,
        decode => decode.value_type(),
    });
    let row = Row::read(section, value_type, defaults, interval, assets.is_none(), plant);
    section.finish();
    let mut width = 1;
    if let Some(Decode::Register(register)) = &mut decode {
        register.aids = aids.iter().map(|aid| aid.aid(row.unit())).collect();
        width = register.format.words();
    }
    let decode = decode.map(|decode| row.converted(decode));
    let elements = count.map_or(1, |count| count.value);
    let step = stride.map_or(width, |stride| stride.value);
    if let Some(stride) = stride
        && (count.is_none() || stride.value < width)
    {
        section.log.fault(
            stride.at,
            "`stride` is from one element of an array to the next",
            format!("write it beside `count`, and not below the {width} that an element takes"),
        );
    }
    if let Some(place) = &place {
        room(section, place, width, u32::from(elements - 1) * u32::from(step), rules);
        if let (Some(count), Some(_)) = (count, place.bit) {
            section.log.fault(count.at, "`count` is not for bits of a register", "write a row for each bit");
        }
    }
    let mut points = Vec::with_capacity(elements.into());
    for index in 0..elements {
        let element = count.map(|_| Element {
            index,
            asset: assets.as_ref().and_then(|assets| assets.get(usize::from(index)).copied().flatten()),
        });
        let signal = row.add(section, decode.as_ref(), defaults, element, plant);
        // All elements are added, so that each fault of them is noted.
        let (Some(signal), Some(place)) = (signal, &place) else { continue };
        let Some(address) = place.address.checked_add(index.saturating_mul(step)) else { continue };
        let value = Part { area: place.area, address, width };
        let aids = aids.iter().map(|aid| Part { area: aid.place.area, address: aid.place.address, width: 1 }).collect();
        points.push(Point { signal, value, aids, interval, group });
    }
    (points.len() == usize::from(elements)).then_some(points)
}

/// Whether it is a number, which other registers can say more about.
fn takes_aids(decode: &Decode) -> bool {
    let Decode::Register(register) = decode else { return false };
    matches!(register.meaning, Meaning::Value(_)) && !register.format.is_text()
}

fn timing(section: &Section<'_>, defaults: &Defaults, rules: &DeviceRules<'_>) -> (Duration, u16) {
    let own = signal::interval(section);
    let Some(name) = section.text("group") else { return (own.unwrap_or(defaults.interval), 0) };
    if own.is_some() {
        section.log.fault(name.at, "`group` and `interval` exclude each other", "the group has its interval");
    }
    if let Some(index) = rules.groups.iter().position(|(group, _)| *group == name.value) {
        return (rules.groups[index].1, u16::try_from(index + 1).unwrap_or(u16::MAX));
    }
    let known: Vec<_> = rules.groups.iter().map(|(group, _)| *group).collect();
    let hint = if known.is_empty() {
        "name it on the device: groups = { fast = \"200ms\", slow = \"10s\" }".into()
    } else {
        notation::suggest(name.value, &known)
    };
    section.log.fault(name.at, format!("no group `{}`", notation::shown(name.value)), hint);
    (defaults.interval, 0)
}

/// Whether all registers exist and fit into one answer.
fn room(section: &Section<'_>, place: &Place, width: u16, further: u32, rules: &DeviceRules<'_>) {
    let last = u32::from(place.address) + further + u32::from(width) - 1;
    if last > u32::from(u16::MAX) {
        let words = further + u32::from(width);
        section.log.fault(
            place.at,
            format!("{words} words from {} {} on run past 65535", place.area.name(), place.address),
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

/// The assets of an array's elements, where they are named one by one.
fn assets(section: &Section<'_>, count: Option<At<u16>>, plant: &Plant) -> Option<Vec<Option<usize>>> {
    let names = section.texts("assets", "[\"zone-1\", \"zone-2\"]");
    let first = names.first()?.at;
    if count.is_none_or(|count| usize::from(count.value) != names.len()) {
        section.log.fault(
            first,
            format!("`assets` names {}, and `count` is another number", names.len()),
            "write `count` and one asset for each element",
        );
    }
    let asset = |name: &At<&str>| match signal::asset_called(section, *name, plant) {
        Named::Asset(index) => Some(index),
        Named::No | Named::Unknown => None,
    };
    Some(names.iter().map(asset).collect())
}

/// A wire address and where it is written.
struct Place {
    area: Area,
    address: u16,
    bit: Option<u8>,
    at: usize,
}

fn place(section: &Section<'_>, text: At<&str>, rules: &DeviceRules<'_>) -> Option<Place> {
    let base = rules.base;
    let fault = |what: String, hint: String| {
        section.log.fault(text.at, what, hint);
        None
    };
    let shown = notation::shown(text.value);
    let is_modicon = !text.value.contains(':');
    match notation::register(text.value, base) {
        Ok(Wire { area, address, bit }) => Some(Place { area, address, bit, at: text.at }),
        Err(RegisterFault::Form) => fault(
            format!("`at` is not an address: `{shown}`"),
            "write area:number: \"holding:100\", \"input:7\", \"coil:0\", \"discrete:3\", or a bit: \"holding:110.3\"; \
             or five or six digits in Modicon's notation: \"40101\""
                .into(),
        ),
        Err(RegisterFault::Table) => fault(
            format!("no table in Modicon's notation begins as `{shown}` does"),
            "0 is for coils, 1 for discrete inputs, 3 for input and 4 for holding registers; a plain number takes its \
             area before it: \"holding:50001\""
                .into(),
        ),
        Err(RegisterFault::Area(area)) => fault(
            format!("no area `{}` in `{shown}`", notation::shown(area)),
            notation::suggest(area, &Area::ALL.map(Area::name)),
        ),
        Err(RegisterFault::Bit) => fault(
            format!("no such bit: `{shown}`"),
            "bits 0 to 15 of holding and input registers can be named: at = \"holding:110.3\"".into(),
        ),
        Err(RegisterFault::Below) if is_modicon => fault(
            format!("`{shown}` is below the first address: Modicon's notation counts from 1"),
            "the first register is 40001 or 400001, which is 0 on the wire".into(),
        ),
        Err(RegisterFault::Below) => fault(
            format!("`{shown}` is below the first address: the device counts from 1"),
            "the first register is 1; or set base = 0 if the map counts from 0".into(),
        ),
        Err(RegisterFault::Past) if is_modicon => fault(
            format!("`{shown}` is past the last address"),
            "six digits go up to 465536, which is 65535 on the wire".into(),
        ),
        Err(RegisterFault::Past) => fault(
            format!("`{shown}` is past the last address"),
            format!("addresses go from {base} to {}", 65_535 + u32::from(base)),
        ),
    }
}

/// From `type`, `byte_order`, `byte`, `length`, `mask`, `names`, `flags`, `sentinels`, the
/// scale and `valid_range` to what the raw value means.
fn what(section: &Section<'_>, place: Option<&Place>, rules: &DeviceRules<'_>) -> Option<Decode> {
    /// What `type` can say.
    #[derive(Clone, Copy)]
    enum Kind {
        Bool,
        Text,
        Number(Format),
    }
    const WORDS: [(&str, Kind); Format::ALL.len() + 2] = {
        let mut words = [("bool", Kind::Bool); Format::ALL.len() + 2];
        words[1] = ("text", Kind::Text);
        let mut index = 0;
        while index < Format::ALL.len() {
            words[index + 2] = (Format::ALL[index].0, Kind::Number(Format::ALL[index].1));
            index += 1;
        }
        words
    };
    let log = section.log;
    let kind = section.word("type", &WORDS);
    let is_bit = place.is_some_and(|place| place.area.is_bits() || place.bit.is_some());
    let length = section.integer("length", 1..=MAX_TEXT_WORDS.min(rules.limits.max_words));
    let format = match kind.map(|kind| kind.value) {
        Some(Kind::Number(format)) => Some(format),
        Some(Kind::Text) => length.map(|length| Format::Text(length.value)),
        _ => None,
    };
    let is_text = matches!(kind.map(|kind| kind.value), Some(Kind::Text));
    let is_bool = is_bit || matches!(kind.map(|kind| kind.value), Some(Kind::Bool));
    if is_text && length.is_none() {
        section.has("length", "say how many registers the text takes: length = 8");
    }
    if let (Some(length), false) = (length, is_text) {
        log.fault(length.at, "`length` is for texts", "a number takes the registers of its type; an array has `count`");
    }
    let order = order(section, format, is_bool, rules);
    let names = section.names("names", "{ 0 = \"stop\", 1 = \"run\" }");
    let flags = section.names("flags", "{ 0 = \"overheat\", 3 = \"door\" }");
    let mask = section.wide_integer("mask", "0x00F0");
    let scale = signal::scale(section, !is_bool && !is_text && names.is_empty() && flags.is_empty());
    let sentinels = sentinels(section, format);
    let valid = section.pair("valid_range");
    let has_names = names.first().or(flags.first()).map(|(code, _)| code.at);
    let of_integers = has_names.or(mask.map(|mask| mask.at));
    if let Some(at) = of_integers
        && (is_bool || is_text || format.is_some_and(|format| !format.is_integer()))
    {
        log.fault(
            at,
            "`names`, `flags` and `mask` are for integers",
            "leave them out, or choose a type from u8 to i64",
        );
    }
    if let ([.., (code, _)], false) = (&flags[..], names.is_empty()) {
        log.fault(code.at, "`names` and `flags` exclude each other", "names are of numbers, flags of bits");
    }
    if let Some(mask) = mask.filter(|mask| mask.value == 0) {
        log.fault(mask.at, "`mask` is 0: nothing would be left", "write the bits that count: mask = 0x00F0");
    }
    if let Some(valid) = valid {
        if valid.value.0 > valid.value.1 {
            log.fault(
                valid.at,
                "`valid_range` begins above its end",
                "write the lower one first: valid_range = [0, 100]",
            );
        }
        if is_bool || is_text || has_names.is_some() {
            log.fault(valid.at, "`valid_range` is for numbers", "leave it out");
        }
    }
    let place = place?;
    if place.area.is_bits() || place.bit.is_some() {
        if let Some(wrong) = kind.filter(|kind| !matches!(kind.value, Kind::Bool)) {
            log.fault(wrong.at, "a single bit is a bool", "leave `type` out");
            return None;
        }
        return Some(place.bit.map_or(Decode::Bit, Decode::WordBit));
    }
    let Some(kind) = kind else {
        section.has(
            "type",
            "say how the register holds it: type = \"u16\" (i8 u8 i16 u16 i32 u32 i64 u64 f16 f32 f64 bcd16 bcd32 text)",
        );
        return None;
    };
    if matches!(kind.value, Kind::Bool) {
        let hint = "name the bit: at = \"holding:110.3\", or write type = \"u16\"";
        log.fault(kind.at, "a whole register is no bool", hint);
        return None;
    }
    let meaning = if !names.is_empty() {
        Meaning::Names(names.into_iter().map(|(code, name)| (code.value, name.value.into())).collect())
    } else if !flags.is_empty() {
        Meaning::Flags(bits(section, &flags, format?))
    } else {
        Meaning::Value(scale)
    };
    let register = Register {
        format: format?,
        order,
        mask: mask.map(|mask| mask.value),
        meaning,
        sentinels,
        aids: Vec::new(),
        valid: valid.map(|valid| valid.value),
    };
    Some(Decode::Register(Box::new(register)))
}

/// From `byte_order` and `byte`. What the device says is for values of several registers:
/// one that swaps the bytes of those may well send single ones plainly.
fn order(section: &Section<'_>, format: Option<Format>, is_bool: bool, rules: &DeviceRules<'_>) -> ByteOrder {
    let log = section.log;
    let order = section.word("byte_order", &ByteOrder::ALL.map(|(name, words, order)| (name, (words, order))));
    let is_byte = matches!(format, Some(Format::I8 | Format::U8));
    if let Some(byte) = section.word("byte", &[("high", ByteOrder::Badc), ("low", ByteOrder::Abcd)]) {
        if is_byte && order.is_none() {
            return byte.value;
        }
        log.fault(byte.at, "`byte` is for i8 and u8", "leave it out, or write type = \"u8\" without byte_order");
    }
    let words = format.map_or(0, |format| if format.is_text() { 1 } else { format.words() });
    let Some(order) = order else { return if words > 1 { rules.order } else { ByteOrder::Abcd } };
    let (letters, value) = order.value;
    let hint = match words {
        _ if is_bool => "leave it out: a bit has no order",
        _ if is_byte => "leave it out; of i8 and u8, byte = \"high\" or \"low\" says which half of the register",
        0 => return value,
        1 => "write AB, or BA where the bytes of each register are swapped",
        2 => "write ABCD, CDAB, BADC or DCBA",
        _ => "write ABCD, CDAB, BADC or DCBA, or all eight letters",
    };
    // The four-letter names are for 64 bits too.
    if is_bool || is_byte || !(letters == words || (letters == 2 && words == 4)) {
        log.fault(order.at, "`byte_order` does not fit the type", hint);
    }
    value
}

fn sentinels(section: &Section<'_>, format: Option<Format>) -> Vec<Sentinel> {
    const EXAMPLE: &str = "[0x7FFF, -999, \"nan\"]";
    let is_float = format.is_some_and(Format::is_float);
    let mut sentinels = Vec::new();
    for code in section.codes("sentinels", EXAMPLE) {
        if format.is_none_or(Format::is_text) {
            section.log.fault(code.at, "`sentinels` are for numbers in registers", "leave them out");
            break;
        }
        match code.value {
            Code::Word("nan") if is_float => sentinels.push(Sentinel::Nan),
            Code::Float(number) if is_float => sentinels.push(Sentinel::Number(number)),
            // Of a float, -999 is the number and 0xFFFFFFFF the bits.
            Code::Integer { bits, negative: true } if is_float => {
                sentinels.push(Sentinel::Number(bits.cast_signed() as f64));
            }
            Code::Integer { bits, .. } => sentinels.push(Sentinel::Bits(bits)),
            Code::Word(_) | Code::Float(_) => section.log.fault(
                code.at,
                "a sentinel does not fit the type",
                "write integers as they stand in the register; numbers with a point and \"nan\" are for f16, f32 and f64",
            ),
        }
    }
    sentinels
}

fn bits(section: &Section<'_>, flags: &[(At<i64>, At<&str>)], format: Format) -> BTreeMap<u8, String> {
    let bit = |(code, name): &(At<i64>, At<&str>)| match u8::try_from(code.value) {
        Ok(bit) if u32::from(bit) < format.bits() => Some((bit, name.value.to_owned())),
        _ => {
            let last = format.bits() - 1;
            section.log.fault(code.at, format!("the type has no bit {}", code.value), format!("bits are 0 to {last}"));
            None
        }
    };
    flags.iter().filter_map(bit).collect()
}

/// Another register that a number is read with.
struct AidRow<'t> {
    place: Place,
    kind: AidKind<'t>,
}

enum AidKind<'t> {
    Plain(Aid),
    Units(Vec<(u16, &'t str)>),
}

impl AidRow<'_> {
    /// What it says, for a signal in this unit.
    fn aid(&self, unit: &str) -> Aid {
        match &self.kind {
            AidKind::Plain(aid) => aid.clone(),
            AidKind::Units(units) => Aid::Unit(units.iter().map(|(code, from)| (*code, way(from, unit))).collect()),
        }
    }
}

/// From `decimals_at`, `exponent_at`, `factor_at` with `factors`, and `unit_at` with `units`.
fn aids<'t>(section: &Section<'t>, rules: &DeviceRules<'_>) -> Vec<AidRow<'t>> {
    let log = section.log;
    let code = |code: At<i64>| {
        u16::try_from(code.value)
            .inspect_err(|_| {
                log.fault(code.at, "a code is outside 0 to 65535", "write it as it stands in the register");
            })
            .ok()
    };
    let factors = section.factors("factors", "{ 0 = 1, 1 = 0.1 }");
    let units = section.names("units", "{ 0 = \"Cel\", 1 = \"[degF]\" }");
    let mut found: Vec<AidRow<'_>> = Vec::new();
    for (key, with) in [("decimals_at", 0), ("exponent_at", 0), ("factor_at", factors.len()), ("unit_at", units.len())]
    {
        let (table, needs) = match key {
            "factor_at" => ("factors", true),
            "unit_at" => ("units", true),
            _ => ("", false),
        };
        let Some(text) = section.text(key) else {
            if needs && with > 0 {
                section.has(key, &format!("`{table}` tells what its codes mean: {key} = \"holding:10\""));
            }
            continue;
        };
        if needs && with == 0 {
            log.fault(
                text.at,
                format!("`{key}` needs `{table}`"),
                format!("say what its codes mean: {table} = {{ 0 = … }}"),
            );
        }
        let Some(place) = place(section, text, rules) else { continue };
        if place.area.is_bits() || place.bit.is_some() {
            log.fault(text.at, format!("`{key}` is not a whole register"), "write \"holding:10\" or \"input:10\"");
        }
        if key != "unit_at" && !found.is_empty() {
            log.fault(
                text.at,
                "`decimals_at`, `exponent_at` and `factor_at` exclude each other",
                "keep the one that the manual describes",
            );
        }
        let kind = match key {
            "decimals_at" => AidKind::Plain(Aid::Decimals),
            "exponent_at" => AidKind::Plain(Aid::Exponent),
            "factor_at" => AidKind::Plain(Aid::Factor(
                factors.iter().filter_map(|(at, factor)| Some((code(*at)?, factor.value))).collect(),
            )),
            _ => AidKind::Units(units.iter().filter_map(|(at, unit)| Some((code(*at)?, unit.value))).collect()),
        };
        found.push(AidRow { place, kind });
    }
    found
}
