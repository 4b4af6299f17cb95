//! What the texts of a configuration say, as one tree.
//!
//! Files, templates and tables of signals are texts of their own. Each has its range in one
//! row of byte offsets ([`Log::add`]), so that a value keeps the place where somebody wrote
//! it wherever it is moved to, and a single number tells file, line and column.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Log;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) value: Value,
}

/// What TOML knows. Numbers stay as they are written: whoever reads one knows its range.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(Integer),
    Float(String),
    Flag(bool),
    Date,
    List(Vec<Node>),
    Table(Table),
}

/// Keys with their values, in the order of the alphabet.
pub(super) type Table = BTreeMap<String, Entry>;

/// The value of a key.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Where the key stands.
    pub(super) key_at: usize,
    pub(super) node: Node,
}

/// An integer of any length.
#[derive(Debug, Clone)]
pub(super) struct Integer {
    /// Digits of its base, with a sign before them where there is one.
    pub(super) digits: String,
    pub(super) radix: u32,
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.radix {
            2 => "0b",
            8 => "0o",
            16 => "0x",
            _ => "",
        };
        write!(f, "{prefix}{}", self.digits)
    }
}

/// The tree of a text whose range begins at `base`; `None` when it is not TOML, which is noted.
pub(super) fn parse(text: &str, base: usize, log: &Log) -> Option<Table> {
    let (table, errors) = DeTable::parse_recoverable(text);
    // A broken text is parsed as something that nobody wrote: its faults would mislead.
    for error in &errors {
        log.syntax(base, error);
    }
    errors.is_empty().then(|| of_table(table.get_ref(), base))
}

/// One value in TOML's notation; `None` when it is none.
pub(super) fn parse_value(text: &str, at: usize) -> Option<Value> {
    let value = DeValue::parse(text).ok()?;
    let mut node = of_value(&value, at);
    // Within a cell there are no places of their own: all of it stands where the cell does.
    node.settle(at);
    Some(node.value)
}

fn of_table(table: &DeTable<'_>, base: usize) -> Table {
    let entry = |(key, value): (&Spanned<_>, _)| {
        let key: &Spanned<std::borrow::Cow<'_, str>> = key;
        (key.get_ref().to_string(), Entry { key_at: base + key.span().start, node: of_value(value, base) })
    };
    table.iter().map(entry).collect()
}

fn of_value(value: &Spanned<DeValue<'_>>, base: usize) -> Node {
    let at = base + value.span().start;
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(integer) => {
            Value::Integer(Integer { digits: integer.as_str().into(), radix: integer.radix() })
        }
        DeValue::Float(float) => Value::Float(float.as_str().into()),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(list) => Value::List(list.iter().map(|entry| of_value(entry, base)).collect()),
        DeValue::Table(table) => Value::Table(of_table(table, base)),
    };
    Node { at, value }
}

impl Node {
    /// Moves it, with all that is in it, to one place.
    pub(super) fn settle(&mut self, at: usize) {
        self.at = at;
        match &mut self.value {
            Value::List(list) => list.iter_mut().for_each(|node| node.settle(at)),
            Value::Table(table) => table.values_mut().for_each(|entry| {
                entry.key_at = at;
                entry.node.settle(at);
            }),
            _ => {}
        }
    }

    fn is_list_of_tables(&self) -> bool {
        matches!(&self.value, Value::List(list) if list.iter().all(|node| matches!(node.value, Value::Table(_))))
    }
}

/// The tables of a key that holds a list of them; nothing where something else stands.
pub(super) fn tables<'t>(table: &'t mut Table, key: &str) -> impl Iterator<Item = (usize, &'t mut Table)> + use<'t> {
    let list = match table.get_mut(key).map(|entry| &mut entry.node.value) {
        Some(Value::List(list)) => Some(list),
        _ => None,
    };
    list.into_iter().flatten().filter_map(|node| match &mut node.value {
        Value::Table(table) => Some((node.at, table)),
        _ => None,
    })
}

/// Adds another file's tree to one: tables are put together key by key, lists of tables one
/// after the other. Anything else that stands in both is a fault.
pub(super) fn merge(into: &mut Table, from: Table, log: &Log) {
    for (key, entry) in from {
        let Some(there) = into.get_mut(&key) else {
            into.insert(key, entry);
            continue;
        };
        let both_lists = there.node.is_list_of_tables() && entry.node.is_list_of_tables();
        match (&mut there.node.value, entry.node.value) {
            (Value::Table(there), Value::Table(more)) => merge(there, more, log),
            (Value::List(there), Value::List(more)) if both_lists => there.extend(more),
            _ => log.fault(
                entry.key_at,
                format!("`{}` is stated twice, first in {}", super::notation::shown(&key), log.place(there.key_at)),
                "keep it in one file of the directory",
            ),
        }
    }
}
