//! Device templates: the register maps of common instruments, and how a device of the
//! configuration is made of one.
//!
//! `configs/devices` is part of the binary, as the metric dictionary is; `templates_dir` names
//! a directory with more, which come first. What a device says goes before what its template
//! says, and that before what the template says that it `extends`. Pure but for reading files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::dictionary::Words;
use super::fault::Log;
use super::notation;
use super::section::Section;
use super::tree::{self, Entry, Node, Table, Value};

/// Longest chain of templates: deeper, nobody finds where a value comes from.
const MAX_DEPTH: usize = 8;
/// Largest template file.
const MAX_BYTES: u64 = 1 << 20;
/// Most of what a template says about itself.
const MAX_HEAD_BYTES: usize = 400;

macro_rules! built_in {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../../../configs/devices/", $name, ".toml"))),)*]
    };
}

/// The shipped ones by name.
const BUILT_IN: &[(&str, &str)] = built_in!(
    "abb-acs550",
    "abb-b23",
    "autonics-tk",
    "danfoss-fc51",
    "eastron-sdm630",
    "fronius-inverter",
    "janitza-umg96rm-e",
    "moxa-iologik-e1210",
    "moxa-iologik-e1240",
    "schneider-iem3000",
    "schneider-pm3200",
    "siemens-pac2200",
    "solaredge-inverter",
    "sunspec-103",
);

/// What a shipped template says about itself, and its text.
#[derive(Debug, Clone)]
pub struct Template {
    /// As a device names it.
    pub name: &'static str,
    /// What it is for.
    pub title: Words,
    /// The document that its addresses are from.
    pub source: String,
    /// Speed, parity and stop bits with which the instrument leaves the factory, where it has
    /// a serial port.
    pub line: Option<(u32, String, u8)>,
    /// Its file.
    pub text: &'static str,
}

/// All shipped templates, in the order of their names.
pub fn built_in() -> Vec<Template> {
    // The tests read every one of them with its faults told.
    let log = Log::default();
    BUILT_IN.iter().filter_map(|(name, text)| described(name, text, &log)).collect()
}

fn described(name: &'static str, text: &'static str, log: &Log) -> Option<Template> {
    let table = tree::parse(text, log.add(Path::new(name), text), log)?;
    let head = Section::new(name, &table, 0, log).section("template", "{ }")?;
    let title = head.section("name", "{ }")?;
    let line = head.section("line", "{ }").map(|line| {
        let baud = line.wide_integer("baud", "9600").and_then(|baud| u32::try_from(baud.value).ok()).unwrap_or(9_600);
        let stop_bits = line.integer("stop_bits", 1..=2).and_then(|bits| u8::try_from(bits.value).ok()).unwrap_or(1);
        (baud, line.text("parity").map_or("none", |parity| parity.value).to_owned(), stop_bits)
    });
    Some(Template {
        name,
        title: Words { ko: title.text("ko")?.value.into(), en: title.text("en")?.value.into() },
        source: head.text("source")?.value.into(),
        line,
        text,
    })
}

/// Finds templates by name; each is read once.
#[derive(Debug)]
pub(super) struct Library<'l> {
    folder: Option<PathBuf>,
    log: &'l Log,
    known: BTreeMap<String, Option<Rc<Table>>>,
}

impl<'l> Library<'l> {
    /// With the files of `folder` before the shipped ones.
    pub(super) fn new(folder: Option<PathBuf>, log: &'l Log) -> Self {
        Self { folder, log, known: BTreeMap::new() }
    }

    /// Completes a device's table with its template, which is named at `at`. Leaves it as it is
    /// when there is none.
    pub(super) fn complete(&mut self, device: &mut Table, name: &str, at: usize) {
        let Some(template) = self.get(name, at, &mut Vec::new()) else { return };
        device.remove("template");
        let mut base = Table::clone(&template);
        // What a row of the template lacks is for the device to say: it is told there.
        if let Some(Value::List(rows)) = base.get_mut("signals").map(|entry| &mut entry.node.value) {
            for row in rows {
                row.at = at;
            }
        }
        *device = overlay(base, std::mem::take(device), self.log);
    }

    /// A template with what it extends; `None` when there is a fault, which is noted.
    fn get(&mut self, name: &str, at: usize, above: &mut Vec<String>) -> Option<Rc<Table>> {
        if above.iter().any(|one| one == name) || above.len() == MAX_DEPTH {
            let chain = format!("{} → {name}", above.join(" → "));
            self.log.fault(
                at,
                format!("templates extend each other in a circle, or too deep: {chain}"),
                "end the chain",
            );
            return None;
        }
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        above.push(name.to_owned());
        let found = self.read(name, at, above).map(Rc::new);
        above.pop();
        self.known.insert(name.to_owned(), found.clone());
        found
    }

    fn read(&mut self, name: &str, at: usize, above: &mut Vec<String>) -> Option<Table> {
        let log = self.log;
        let (file, text) = self.find(name, at)?;
        let begin = log.add(&file, &text);
        let table = tree::parse(&text, begin, log)?;
        let root = Section::new("the template", &table, begin, log);
        let mut extends = None;
        match root.section("template", "{ name = { … }, source = \"…\" }") {
            None => root.missing_table("template", "[template]", "begin with [template], name and source"),
            Some(head) => {
                extends = head.text("extends");
                head.label("source", MAX_HEAD_BYTES);
                head.has("source", "name the document that the addresses are from");
                if let Some(words) = head.section("name", "{ ko = \"…\", en = \"…\" }") {
                    words.label("ko", MAX_HEAD_BYTES);
                    words.label("en", MAX_HEAD_BYTES);
                    words.finish();
                }
                if let Some(line) = head.section("line", "{ baud = 9600 }") {
                    line.know(&["baud", "parity", "stop_bits"]);
                    line.finish();
                }
                head.finish();
            }
        }
        root.know(&["device"]);
        root.finish();
        let mut device = match table.get("device").map(|entry| &entry.node.value) {
            Some(Value::Table(device)) => device.clone(),
            Some(_) => {
                log.fault(begin, "`device` is not a table", "write [device] above byte_order, signals and the like");
                return None;
            }
            None => Table::new(),
        };
        short_rows(&mut device, log);
        match extends {
            None => Some(device),
            Some(name) => {
                let base = self.get(name.value, name.at, above)?;
                Some(overlay(Table::clone(&base), device, log))
            }
        }
    }

    /// The file of a name and its text.
    fn find(&self, name: &str, at: usize) -> Option<(PathBuf, String)> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_name) {
            let hint = "templates are named by a-z, 0-9 and -, without .toml";
            self.log.fault(at, format!("`{}` is no name of a template", notation::shown(name)), hint);
            return None;
        }
        if let Some(folder) = &self.folder {
            let file = folder.join(format!("{name}.toml"));
            match read(&file) {
                Ok(text) => return Some((file, text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let what = format!("the template {} cannot be read: {error}", file.display());
                    self.log.fault(at, what, "the gateway's user must be able to read it, as UTF-8");
                    return None;
                }
            }
        }
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Some((format!("{name}.toml (built in)").into(), (*text).to_owned()));
        }
        let known: Vec<_> = BUILT_IN.iter().map(|(known, _)| *known).collect();
        let hint =
            format!("{}; `sandan-gateway import --list` tells what each is for", notation::suggest(name, &known));
        self.log.fault(at, format!("no template `{}`", notation::shown(name)), hint);
        None
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    let length = std::fs::metadata(file)?.len();
    if length > MAX_BYTES {
        return Err(std::io::Error::other(format!("it has {length} bytes, more than {MAX_BYTES}")));
    }
    std::fs::read_to_string(file)
}

/// One table over another: keys replace keys, groups are put together, and rows of signals
/// are put together by name. `drop` takes rows of the lower table away.
fn overlay(mut base: Table, mut over: Table, log: &Log) -> Table {
    drop_rows(&mut base, &mut over, log);
    for (key, entry) in over {
        match (key.as_str(), base.get_mut(&key).map(|there| &mut there.node.value), entry) {
            ("signals", Some(Value::List(rows)), Entry { node: Node { value: Value::List(more), .. }, .. }) => {
                add_rows(rows, more);
            }
            ("groups", Some(Value::Table(groups)), Entry { node: Node { value: Value::Table(more), .. }, .. }) => {
                groups.extend(more);
            }
            (_, _, entry) => {
                base.insert(key, entry);
            }
        }
    }
    base
}

fn add_rows(rows: &mut Vec<Node>, more: Vec<Node>) {
    for row in more {
        let same = name_of(&row).and_then(|name| rows.iter().position(|known| name_of(known) == Some(name)));
        match (same, row.value) {
            (Some(index), Value::Table(keys)) => {
                rows[index].at = row.at;
                if let Value::Table(known) = &mut rows[index].value {
                    known.extend(keys);
                }
            }
            (_, value) => rows.push(Node { at: row.at, value }),
        }
    }
}

fn name_of(row: &Node) -> Option<&str> {
    let Value::Table(keys) = &row.value else { return None };
    match &keys.get("name")?.node.value {
        Value::Text(name) => Some(name),
        _ => None,
    }
}

fn drop_rows(base: &mut Table, over: &mut Table, log: &Log) {
    let Some(drop) = over.remove("drop") else { return };
    let hint = "write drop = [\"name\", \"name\"]";
    let Value::List(names) = drop.node.value else {
        log.fault(drop.node.at, "`drop` is not a list of names", hint);
        return;
    };
    let Some(Value::List(rows)) = base.get_mut("signals").map(|entry| &mut entry.node.value) else { return };
    for name in names {
        let Value::Text(wanted) = &name.value else {
            log.fault(name.at, "`drop` is not a list of names", hint);
            continue;
        };
        let before = rows.len();
        let known: Vec<_> = rows.iter().filter_map(|row| name_of(row).map(str::to_owned)).collect();
        rows.retain(|row| name_of(row) != Some(wanted));
        if rows.len() == before {
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            let what = format!("the template has no signal `{}`", notation::shown(wanted));
            log.fault(name.at, what, notation::suggest(wanted, &known));
        }
    }
}

/// The keys of a row that is a list: `["pv", "temperature", "input:1000", "i16", "Cel", 0.1]`,
/// and a table with further keys at its end.
const SHORT: [&str; 6] = ["name", "metric", "at", "type", "unit", "scale"];

/// Rows that are lists become tables.
pub(super) fn short_rows(device: &mut Table, log: &Log) {
    let Some(Value::List(rows)) = device.get_mut("signals").map(|entry| &mut entry.node.value) else { return };
    for row in rows {
        let Value::List(cells) = &mut row.value else { continue };
        let mut keys = Table::new();
        let cells = std::mem::take(cells);
        let count = cells.len();
        for (index, cell) in cells.into_iter().enumerate() {
            match (cell, SHORT.get(index)) {
                (Node { value: Value::Table(more), .. }, _) if index + 1 == count => keys.extend(more),
                (Node { value: Value::Text(text), .. }, _) if text.is_empty() => {}
                (cell, Some(key)) => {
                    keys.insert((*key).to_owned(), Entry { key_at: cell.at, node: cell });
                }
                (cell, None) => {
                    let hint = format!("a short row is [{}], and further keys in a table at its end", SHORT.join(", "));
                    log.fault(cell.at, "a short row has no further place", hint);
                }
            }
        }
        row.value = Value::Table(keys);
    }
}

#[cfg(test)]
mod tests;
