//! `signals_csv`: rows of a sheet as rows of signals. The columns are the keys of a signal,
//! under their own names or as register maps call them, Korean or English.

use std::path::Path;

use super::fault::Log;
use super::notation;
use super::sheet::{Cell, MAX_BYTES, Row, Sheet, SheetFault};
use super::tree::{self, Entry, Integer, Node, Table, Value};

/// Within so many rows there is one that names the columns; titles stand above it.
const HEADER_WITHIN: usize = 20;

/// What the cells of a column hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// An integer, a number with a point, or a fraction.
    Number,
    /// A number where it is one, else a text.
    NumberOrText,
    Flag,
    /// `0~100`, `a; b`, or a list as in TOML.
    List,
    /// `0=stop; 1=run`, or a table as in TOML.
    Table,
}

/// The keys of a signal, what their cells hold, and what else heads their columns: without
/// blanks, in lower case.
const COLUMNS: &[(&str, Kind, &[&str])] = &[
    (
        "name",
        Kind::Text,
        &["이름", "신호", "신호명", "태그", "태그명", "명칭", "항목", "항목명", "tag", "tagname", "signal"],
    ),
    ("metric", Kind::Text, &["측정항목", "메트릭", "지표"]),
    ("at", Kind::Text, &["주소", "어드레스", "번지", "레지스터", "address", "addr", "register"]),
    ("type", Kind::Text, &["타입", "형식", "자료형", "데이터타입", "데이터형식", "datatype", "format"]),
    ("unit", Kind::Text, &["단위", "units", "engunit"]),
    ("scale", Kind::Number, &["배율", "스케일", "계수", "승수", "factor", "multiplier", "gain"]),
    ("offset", Kind::Number, &["오프셋", "보정값"]),
    ("asset", Kind::Text, &["설비", "자산", "기계", "machine"]),
    ("interval", Kind::Text, &["주기", "수집주기", "폴링주기", "period"]),
    ("group", Kind::Text, &["그룹", "수집그룹"]),
    ("byte_order", Kind::Text, &["바이트순서", "워드순서", "byteorder", "wordorder"]),
    ("byte", Kind::Text, &["바이트"]),
    ("length", Kind::Number, &["길이", "워드수"]),
    ("count", Kind::Number, &["개수", "배열수"]),
    ("stride", Kind::Number, &["간격"]),
    ("assets", Kind::List, &["설비들"]),
    ("raw_range", Kind::List, &["원시범위", "rawrange"]),
    ("unit_range", Kind::List, &["공학범위", "unitrange"]),
    ("valid_range", Kind::List, &["유효범위", "validrange"]),
    ("sentinels", Kind::List, &["무효값"]),
    ("mask", Kind::Number, &["마스크"]),
    ("names", Kind::Table, &["상태명", "코드표", "enum"]),
    ("flags", Kind::Table, &["비트명", "bits"]),
    ("decimals_at", Kind::Text, &["소수점주소"]),
    ("exponent_at", Kind::Text, &["지수주소"]),
    ("factor_at", Kind::Text, &["배율주소"]),
    ("factors", Kind::Table, &["배율표"]),
    ("unit_at", Kind::Text, &["단위주소"]),
    ("units", Kind::Table, &["단위표"]),
    ("deadband", Kind::NumberOrText, &["불감대", "데드밴드"]),
    ("on_change", Kind::Flag, &["변화시", "변경시", "onchange"]),
    ("heartbeat", Kind::Text, &["하트비트"]),
    ("upload", Kind::Text, &["전송", "업로드"]),
    ("min_interval", Kind::Text, &["최소주기"]),
    ("max_interval", Kind::Text, &["최대주기"]),
    ("wrap", Kind::NumberOrText, &["한바퀴"]),
];

/// Heads of columns that are for people.
const REMARKS: &[&str] = &[
    "",
    "no",
    "no.",
    "번호",
    "순번",
    "비고",
    "메모",
    "설명",
    "remark",
    "remarks",
    "note",
    "notes",
    "comment",
    "description",
];

/// What a column is, by its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// A key of a signal.
    Key(&'static str, Kind),
    /// For people.
    Remark,
    Unknown,
}

impl Column {
    pub(crate) fn of(head: &str) -> Self {
        let plain = plain(head);
        if head.starts_with('#') || REMARKS.contains(&plain.as_str()) {
            return Self::Remark;
        }
        let is_it = |key: &str, also: &[&str]| key == head || key.replace('_', "") == plain || also.contains(&&*plain);
        // `units` is a key of its own and `unit` in some sheets: the key comes first.
        let exact = COLUMNS.iter().find(|(key, ..)| *key == head.to_lowercase());
        let found = exact.or_else(|| COLUMNS.iter().find(|(key, _, also)| is_it(key, also)));
        found.map_or(Self::Unknown, |(key, kind, _)| Self::Key(key, *kind))
    }
}

/// A head without blanks, punctuation and what stands in brackets, in lower case.
pub(crate) fn plain(head: &str) -> String {
    let end = head.find(['(', '[', '（']).unwrap_or(head.len());
    head[..end].chars().filter(|c| !c.is_whitespace() && !"_-*:".contains(*c)).flat_map(char::to_lowercase).collect()
}

/// The row that names the columns: the first with an address and another known one.
pub(crate) fn header(sheet: &Sheet, is_known: impl Fn(&str) -> Option<&'static str>) -> Option<usize> {
    let names = |row: &Row| row.cells.iter().filter_map(|cell| is_known(&cell.text)).collect::<Vec<_>>();
    sheet.rows.iter().take(HEADER_WITHIN).position(|row| {
        let names = names(row);
        names.contains(&"at") && names.len() > 1
    })
}

/// The rows of a sheet's file; faults are noted at `at`, where it is named, and in it. `None`
/// when it cannot be read as one.
pub(super) fn signals(file: &Path, at: usize, log: &Log) -> Option<Vec<Node>> {
    let sheet = match open(file) {
        Ok(sheet) => sheet,
        Err((what, hint)) => {
            log.fault(at, format!("`signals_csv` {what}: {}", file.display()), hint);
            return None;
        }
    };
    let base = log.add(file, &sheet.text);
    log.name_cells(sheet.names());
    let key = |head: &str| match Column::of(head) {
        Column::Key(key, _) => Some(key),
        Column::Remark | Column::Unknown => None,
    };
    let Some(head) = header(&sheet, key) else {
        log.fault(
            base,
            "no row names the columns",
            "begin with a row such as name,metric,at,type,unit,scale, or 이름,측정항목,주소,타입,단위,배율",
        );
        return None;
    };
    let mut columns = Vec::new();
    for cell in &sheet.rows[head].cells {
        let column = Column::of(&cell.text);
        let shown = notation::shown(&cell.text);
        if column == Column::Unknown {
            let keys: Vec<_> = COLUMNS.iter().map(|(key, ..)| *key).collect();
            let hint = format!("{}; a head that begins with # is for people", notation::suggest(&cell.text, &keys));
            log.fault(base + cell.at, format!("unknown column `{shown}`"), hint);
        } else if column != Column::Remark && columns.contains(&column) {
            log.fault(base + cell.at, format!("`{shown}` heads a second column of one key"), "leave one of them");
        }
        columns.push(column);
    }
    let is_comment = |row: &Row| row.cells.first().is_some_and(|cell| cell.text.starts_with('#'));
    let rows = sheet.rows[head + 1..].iter().filter(|row| !is_comment(row));
    Some(rows.map(|row| signal(row, &columns, base)).collect())
}

fn open(file: &Path) -> Result<Sheet, (String, &'static str)> {
    let unreadable = |error: std::io::Error| {
        (
            format!("cannot be read ({error})"),
            "the path is relative to the configuration; the gateway's user must be able to read it",
        )
    };
    let metadata = std::fs::metadata(file).map_err(unreadable)?;
    if metadata.len() > MAX_BYTES as u64 {
        return Err((format!("has {} bytes, more than {MAX_BYTES}", metadata.len()), "split it over several devices"));
    }
    Sheet::read(&std::fs::read(file).map_err(unreadable)?)
        .map_err(|fault| (format!("cannot be taken: {fault}"), hint(&fault)))
}

/// What to do about a sheet that is none.
pub(crate) fn hint(fault: &SheetFault) -> &'static str {
    match fault {
        SheetFault::TooLarge { .. } => "export the register map alone, a row for each signal",
        SheetFault::Encoding { .. } | SheetFault::Utf16 => "save it as \"CSV UTF-8\"",
        SheetFault::Workbook => "save it as CSV: the sheet, not the workbook",
        SheetFault::Quotes { .. } => "a cell with a quote in it is written \"like \"\"this\"\"\"",
    }
}

fn signal(row: &Row, columns: &[Column], base: usize) -> Node {
    let mut table = Table::new();
    for (cell, column) in row.cells.iter().zip(columns) {
        let Column::Key(key, kind) = column else { continue };
        if cell.text.is_empty() {
            continue;
        }
        let at = base + cell.at;
        table.insert((*key).to_owned(), Entry { key_at: at, node: Node { at, value: value(cell, *kind, at) } });
    }
    let at = row.cells.first().map_or(base, |cell| base + cell.at);
    Node { at, value: Value::Table(table) }
}

/// What a cell says, as TOML would. What does not fit stays a text: whoever reads it says so.
fn value(cell: &Cell, kind: Kind, at: usize) -> Value {
    let text = cell.text.as_str();
    match kind {
        Kind::Text => Value::Text(text.into()),
        Kind::Number | Kind::NumberOrText => number(text).unwrap_or_else(|| Value::Text(text.into())),
        Kind::Flag => match text.to_lowercase().as_str() {
            "true" | "yes" | "y" | "1" | "o" | "예" | "네" => Value::Flag(true),
            "false" | "no" | "n" | "0" | "x" | "아니오" | "아니요" => Value::Flag(false),
            _ => Value::Text(text.into()),
        },
        Kind::List if text.starts_with('[') => toml(text, at),
        Kind::List => {
            let parts = text.split("..").flat_map(|part| part.split([';', '|', '~']));
            let entry =
                |part: &str| Node { at, value: number(part).unwrap_or_else(|| Value::Text(part.trim().into())) };
            Value::List(parts.filter(|part| !part.trim().is_empty()).map(entry).collect())
        }
        Kind::Table if text.starts_with('{') => toml(text, at),
        Kind::Table => {
            let mut table = Table::new();
            for part in text.split([';', '|', ',', '\n']).filter(|part| !part.trim().is_empty()) {
                let (key, value) = part.split_once(['=', ':']).unwrap_or((part, ""));
                let value = number(value).unwrap_or_else(|| Value::Text(value.trim().into()));
                table.insert(key.trim().into(), Entry { key_at: at, node: Node { at, value } });
            }
            Value::Table(table)
        }
    }
}

/// A cell in the notation of TOML, for a key of a signal.
pub(crate) fn toml_of(key: &str, cell: &Cell) -> String {
    fn shown(value: &Value) -> String {
        match value {
            Value::Text(text) => toml::Value::from(text.as_str()).to_string(),
            Value::Integer(integer) => integer.to_string(),
            Value::Float(float) if float.contains(['.', 'e']) => float.clone(),
            Value::Float(float) => format!("{float}.0"),
            Value::Flag(flag) => flag.to_string(),
            Value::Date => String::new(),
            Value::List(list) => {
                format!("[{}]", list.iter().map(|node| shown(&node.value)).collect::<Vec<_>>().join(", "))
            }
            Value::Table(table) => {
                let entry = |(key, entry): (&String, &Entry)| {
                    format!("{} = {}", toml::Value::from(key.as_str()), shown(&entry.node.value))
                };
                format!("{{ {} }}", table.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }
    let kind = COLUMNS.iter().find(|(known, ..)| *known == key).map_or(Kind::Text, |(_, kind, _)| *kind);
    shown(&value(cell, kind, cell.at))
}

fn toml(text: &str, at: usize) -> Value {
    tree::parse_value(text, at).unwrap_or_else(|| Value::Text(text.into()))
}

/// A number as people write it: `0.1`, `1,000`, `0x7FFF`, `1/10`, `×0.1`.
fn number(text: &str) -> Option<Value> {
    let text = text.trim().trim_start_matches(['×', '*']).trim();
    if let Some((above, below)) = text.split_once('/') {
        let (above, below): (f64, f64) = (above.trim().parse().ok()?, below.trim().parse().ok()?);
        return (below != 0.0).then(|| Value::Float((above / below).to_string()));
    }
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.trim_start_matches('+')), |digits| ("-", digits));
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        let is_hex = !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        return is_hex.then(|| Value::Integer(Integer { digits: format!("{sign}{hex}"), radix: 16 }));
    }
    let digits = thousands(digits);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Value::Integer(Integer { digits: format!("{sign}{digits}"), radix: 10 }));
    }
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = digits.parse().ok().filter(|_| is_number)?;
    Some(Value::Float(format!("{sign}{number}")))
}

/// Without the commas of `1,000,000`; what has them elsewhere is left as it is.
fn thousands(digits: &str) -> String {
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut groups = whole.split(',');
    let is_head = groups.next().is_some_and(|head| (1..=3).contains(&head.len()));
    if is_head && groups.all(|group| group.len() == 3) {
        format!("{}{rest}", whole.replace(',', ""))
    } else {
        digits.into()
    }
}

#[cfg(test)]
mod tests;
