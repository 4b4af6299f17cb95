//! What a row of somebody's register map means: the address in any of the notations that
//! makers use, the type by any of its names, the metric by the words of the row's name.
//!
//! Every guess is told. What cannot be guessed is left to people. Pure.

use crate::config::Area;
use crate::config::columns::{Column, plain};
use crate::config::dictionary::{Dictionary, Kind, Metric, Role};
use crate::config::notation::{RegisterFault, register};

/// What a column of a map is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// A key of a signal.
    Key(&'static str),
    /// The table, or the function code that reads it.
    Area,
    /// How many decimal places an integer has.
    Decimals,
    /// Which bit of a register.
    Bit,
    /// For people.
    Other,
}

impl Head {
    pub(super) fn of(text: &str) -> Self {
        const AREAS: [&str; 11] = [
            "영역",
            "기능코드",
            "펑션코드",
            "구분",
            "메모리",
            "fc",
            "function",
            "functioncode",
            "area",
            "registertype",
            "table",
        ];
        const DECIMALS: [&str; 6] = ["소수점", "소수자리", "소수점자리", "소수", "decimals", "decimal"];
        let plain = plain(text);
        match plain.as_str() {
            "비트" | "비트번호" | "bit" => Self::Bit,
            word if AREAS.contains(&word) => Self::Area,
            word if DECIMALS.contains(&word) => Self::Decimals,
            _ => match Column::of(text) {
                Column::Key(key, _) => Self::Key(key),
                Column::Remark | Column::Unknown => Self::Other,
            },
        }
    }
}

/// The table that a cell names: a word, or a function code.
pub(super) fn area(text: &str) -> Option<Area> {
    let plain = plain(text);
    let has = |words: &[&str]| words.iter().any(|word| plain.contains(word));
    match plain.trim_start_matches("fc").trim_start_matches('0') {
        "1" | "x" => return Some(Area::Coil),
        "2" | "1x" => return Some(Area::Discrete),
        "3" | "4x" => return Some(Area::Holding),
        "4" | "3x" => return Some(Area::Input),
        _ => {}
    }
    if has(&["coil", "코일"]) {
        Some(Area::Coil)
    } else if has(&["discrete", "접점입력", "디지털입력"]) {
        Some(Area::Discrete)
    } else if has(&["holding", "홀딩", "보유"]) {
        Some(Area::Holding)
    } else if has(&["input", "입력"]) {
        Some(Area::Input)
    } else {
        None
    }
}

/// An address as a configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: String,
    pub(super) area: Area,
    pub(super) address: u16,
    /// Registers, where the cell names the last one too.
    pub(super) words: Option<u16>,
    /// What was guessed.
    pub(super) note: Option<String>,
}

/// Reads an address. `area` is what another column says, `other` what plain numbers are in
/// where none does, and `base` is what they count from.
pub(super) fn place(
    text: &str,
    area: Option<Area>,
    bit: Option<&str>,
    (other, base): (Option<Area>, u16),
) -> Result<Place, String> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let (first, last) = match text.split_once(['~', '-']) {
        Some((first, last)) => (first.to_owned(), Some(last.to_owned())),
        None => (text.clone(), None),
    };
    let with_bit = |at: String| match bit {
        Some(bit) if !at.contains('.') => format!("{at}.{bit}"),
        _ => at,
    };
    let number = number(&first);
    // Five digits may be Modicon's notation, and may be a number. What the sheet says of the
    // table tells them apart.
    let modicon = register(&first, base).ok().filter(|wire| area.is_none_or(|area| area == wire.area));
    let (at, note) = match (modicon, number, area.or(other)) {
        (Some(_), ..) => (first.clone(), None),
        (None, Some(number), Some(area)) => {
            let digits = first.split('.').nth(1).map_or_else(String::new, |bit| format!(".{bit}"));
            (format!("{}:{number}{digits}", area.name()), None)
        }
        (None, Some(number), None) => {
            (format!("holding:{number}"), Some("the table is not named: taken as holding registers".to_owned()))
        }
        (None, None, _) => match with_letter(&first) {
            Some(at) => (at, None),
            None => return Err(format!("`{text}` is no address of Modbus")),
        },
    };
    let at = with_bit(at);
    let wire = register(&at, base).map_err(|fault| match fault {
        RegisterFault::Bit => format!("`{at}` has no such bit"),
        RegisterFault::Below => format!("`{at}` is below the first address"),
        RegisterFault::Past => format!("`{at}` is past the last address"),
        RegisterFault::Form | RegisterFault::Area(_) | RegisterFault::Table => {
            format!("`{at}` is no address of Modbus")
        }
    })?;
    // 40001~40002, or 40001~2 in short.
    let tail = |text: &str| text.len().min(first.len());
    let words = last.and_then(|last| {
        let from: u32 = first[first.len() - tail(&last)..].parse().ok()?;
        let to: u32 = last.parse().ok()?;
        u16::try_from(to.checked_sub(from)? + 1).ok()
    });
    Ok(Place { at, area: wire.area, address: wire.address, words, note })
}

/// `100`, `100.3`, `0x0064`, `0064h`.
fn number(text: &str) -> Option<u32> {
    let whole = text.split('.').next().unwrap_or_default();
    let hex = |digits: &str| u32::from_str_radix(digits, 16).ok();
    if let Some(digits) = whole.strip_prefix("0x").or_else(|| whole.strip_prefix("0X")) {
        return hex(digits);
    }
    if let Some(digits) = whole.strip_suffix(['h', 'H']) {
        return hex(digits);
    }
    whole.parse().ok()
}

/// `4x0101`, `3X7`: the table, and a number that counts from 1.
fn with_letter(text: &str) -> Option<String> {
    let (table, number) = text.split_once(['x', 'X'])?;
    let area = Area::ALL.into_iter().find(|area| area.table() == table)?;
    let number: u32 = number.parse().ok()?;
    Some(format!("{}:{}", area.name(), number.checked_sub(1)?))
}

/// The type that a cell names, and the order of bytes where it names one.
pub(super) fn kind(text: &str) -> Option<(&'static str, Option<&'static str>)> {
    const ORDERS: [&str; 4] = ["ABCD", "CDAB", "BADC", "DCBA"];
    let order = ORDERS.into_iter().find(|order| text.to_uppercase().contains(order));
    let mut plain = plain(text);
    if let Some(order) = order {
        plain = plain.replace(&order.to_lowercase(), "");
    }
    let has = |words: &[&str]| words.iter().any(|word| plain.contains(word));
    let bits = [64, 32, 16, 8].into_iter().find(|bits: &u32| plain.contains(&bits.to_string()));
    let is_unsigned = has(&["unsigned", "무부호", "부호없"])
        || plain.starts_with('u')
        || (has(&["word", "byte", "워드"]) && !has(&["signed", "부호있"]));
    let of = |signed: [&'static str; 4], unsigned: [&'static str; 4], bits: u32| {
        let index = bits.trailing_zeros().saturating_sub(3) as usize;
        if is_unsigned { unsigned[index.min(3)] } else { signed[index.min(3)] }
    };
    let kind = if has(&["bcd"]) {
        if bits == Some(32) { "bcd32" } else { "bcd16" }
    } else if has(&["double", "lreal", "배정도"]) || (has(&["float", "real", "실수", "f64"]) && bits == Some(64)) {
        "f64"
    } else if has(&["float", "real", "실수", "ieee", "f32"]) {
        "f32"
    } else if has(&["bool", "bit", "비트", "접점", "디지털"]) && bits.is_none() {
        "bool"
    } else if has(&["string", "ascii", "text", "문자"]) {
        "text"
    } else {
        let bits = if has(&["lword", "lint", "qword"]) {
            64
        } else if has(&["dword", "dint", "long", "더블워드"]) {
            32
        } else if let Some(bits) = bits {
            bits
        } else if has(&["int", "word", "short", "정수", "워드"]) {
            16
        } else if has(&["byte", "바이트"]) {
            8
        } else {
            return None;
        };
        of(["i8", "i16", "i32", "i64"], ["u8", "u16", "u32", "u64"], bits)
    };
    Some((kind, order))
}

/// Words of names that the dictionary has in other words, the longest first.
const WORDS: &[(&str, &str)] = &[
    ("현재온도", "temperature"),
    ("설정온도", "temperature_setpoint"),
    ("온도설정", "temperature_setpoint"),
    ("조작량", "temperature_output"),
    ("유효전력량", "active_energy"),
    ("전력량", "active_energy"),
    ("유효전력", "active_power"),
    ("전력", "active_power"),
    ("가동", "machine_running"),
    ("운전", "machine_running"),
    ("알람", "alarm_active"),
    ("경보", "alarm_active"),
    ("도어", "door_open"),
    ("생산량", "part_count"),
    ("생산수량", "part_count"),
];

/// The metric that a name and its unit most likely mean; `None` where several or none do.
pub(super) fn metric(name: &str, unit: &str, is_bit: bool) -> Option<&'static Metric> {
    let dictionary = Dictionary::embedded();
    let plain = plain(name).replace('.', "");
    let is_wanted = ["설정", "setpoint"].iter().any(|word| plain.contains(word)) || plain.ends_with("sv");
    let is_demanded = ["출력량", "조작", "output"].iter().any(|word| plain.contains(word)) || plain.ends_with("mv");
    let role = match (is_wanted, is_demanded) {
        (true, _) => Role::SetPoint,
        (_, true) => Role::Output,
        _ => Role::Measured,
    };
    let fits = |metric: &&'static Metric| {
        let is_state = metric.kind == Kind::State;
        // Without a unit a number could be anything.
        metric.role == role && is_state == is_bit && (is_bit || (!unit.is_empty() && metric.takes(unit)))
    };
    let known = |word: &str| word.to_lowercase().replace([' ', ',', '_', '-'], "");
    let named = dictionary.metrics().iter().filter(fits).flat_map(|metric| {
        [known(&metric.name.ko), known(&metric.name.en), known(metric.id.as_str())].map(|word| (word, metric))
    });
    let words = WORDS.iter().filter_map(|(word, id)| Some(((*word).to_owned(), dictionary.get(id).filter(fits)?)));
    let found = named.chain(words).filter(|(word, _)| plain.contains(word.as_str()));
    found.max_by_key(|(word, metric)| (word.chars().count(), metric.id.as_str() == plain)).map(|(_, metric)| metric)
}

/// The letters, digits and points of a text as an id; empty where there are none.
pub(super) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('_') && !slug.is_empty() {
            slug.push('_');
        }
    }
    slug.trim_matches('_').chars().take(40).collect()
}

#[cfg(test)]
mod tests;
