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
    fn is_list_of_tables(&self) -> bool {
        matches!(&self.value, Value::List(list) if list.iter().all(|node| matches!(node.value, Value::Table(_))))
    }
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
