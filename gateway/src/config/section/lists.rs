//! Keys that hold lists and tables of plain values: ranges, codes and their names.

use super::{At, Section};
use crate::config::notation;
use crate::config::tree::{Node, Value};

/// Most entries of one list or table: every code of a controller has a place.
const MAX_ENTRIES: usize = 256;

/// One entry of a list of codes.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) enum Code<'t> {
    /// An integer, a negative one in two's complement of 64 bits.
    Integer { bits: u64, negative: bool },
    /// A number with a point.
    Float(f64),
    /// A word.
    Word(&'t str),
}

/// An integer of any base as it stands in 64 bits, and whether it is negative. `None`
/// when it does not fit there.
fn bits(text: &str, radix: u32) -> Option<(u64, bool)> {
    if text.starts_with('-') {
        return i64::from_str_radix(text, radix).ok().map(|integer| (integer.cast_unsigned(), true));
    }
    u64::from_str_radix(text, radix).ok().map(|bits| (bits, false))
}

fn float(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Integer(integer) => {
            i64::from_str_radix(&integer.digits, integer.radix).ok().map(|integer| integer as f64)
        }
        Value::Float(float) => float.parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

impl<'t> Section<'t> {
    /// Two finite numbers.
    pub(in crate::config) fn pair(&self, key: &'static str) -> Option<At<(f64, f64)>> {
        let value = self.get(key)?;
        let Value::List(list) = &value.value else {
            self.wrong(value, key, "a list of two numbers", &format!("{key} = [0, 100]"));
            return None;
        };
        let numbers: Vec<_> = list.iter().map(|entry| float(&entry.value)).collect();
        if let [Some(from), Some(to)] = numbers[..] {
            return Some(At { value: (from, to), at: value.at });
        }
        let what = format!("`{key}` is not a list of two finite numbers");
        self.log.fault(value.at, what, format!("write {key} = [0, 100]"));
        None
    }

    /// An integer that may take all of 64 bits.
    pub(in crate::config) fn wide_integer(&self, key: &'static str, example: &str) -> Option<At<u64>> {
        let value = self.get(key)?;
        if let Value::Integer(integer) = &value.value
            && let Some((bits, false)) = bits(&integer.digits, integer.radix)
        {
            return Some(At { value: bits, at: value.at });
        }
        let what = format!("`{key}` is not an integer of 64 bits without a sign");
        self.log.fault(value.at, what, format!("write {key} = {example}"));
        None
    }

    fn entries(&self, key: &'static str, example: &str) -> impl Iterator<Item = &'t Node> + use<'t> {
        let mut found = None;
        if let Some(value) = self.get(key) {
            if let Value::List(list) = &value.value {
                self.bounded(key, value, list.len());
                found = Some(list);
            } else {
                self.wrong(value, key, "a list", &format!("{key} = {example}"));
            }
        }
        found.into_iter().flat_map(|list| list.iter())
    }

    /// A list of integers, numbers and words.
    pub(in crate::config) fn codes(&self, key: &'static str, example: &str) -> Vec<At<Code<'t>>> {
        let code = |entry: &'t Node| {
            let value = match &entry.value {
                Value::Integer(integer) => {
                    bits(&integer.digits, integer.radix).map(|(bits, negative)| Code::Integer { bits, negative })
                }
                Value::Float(float) if float.ends_with("nan") => Some(Code::Word("nan")),
                Value::Text(word) => Some(Code::Word(word.as_str())),
                other => float(other).map(Code::Float),
            };
            if value.is_none() {
                self.wrong(entry, key, "a list of numbers", &format!("{key} = {example}"));
            }
            value.map(|value| At { value, at: entry.at })
        };
        self.entries(key, example).filter_map(code).collect()
    }

    /// A list of texts.
    pub(in crate::config) fn texts(&self, key: &'static str, example: &str) -> Vec<At<&'t str>> {
        let text = |entry: &'t Node| {
            let Value::Text(text) = &entry.value else {
                self.wrong(entry, key, "a list of texts", &format!("{key} = {example}"));
                return None;
            };
            Some(At { value: text.as_str(), at: entry.at })
        };
        self.entries(key, example).filter_map(text).collect()
    }

    /// A table from integers to texts.
    pub(in crate::config) fn names(&self, key: &'static str, example: &str) -> Vec<(At<i64>, At<&'t str>)> {
        self.by_code(key, example, |value| match value {
            Value::Text(text) if !text.is_empty() && !text.chars().any(char::is_control) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A table from integers to finite numbers.
    pub(in crate::config) fn factors(&self, key: &'static str, example: &str) -> Vec<(At<i64>, At<f64>)> {
        self.by_code(key, example, float)
    }

    /// A table from keys to texts.
    pub(in crate::config) fn words(&self, key: &'static str, example: &str) -> Vec<(At<&'t str>, At<&'t str>)> {
        let entries = self.table_entries(key, example);
        let entry = |(name, value): (At<&'t str>, &'t Node)| {
            let Value::Text(text) = &value.value else {
                self.wrong(value, name.value, "a text", &format!("{key} = {example}"));
                return None;
            };
            Some((name, At { value: text.as_str(), at: value.at }))
        };
        entries.into_iter().filter_map(entry).collect()
    }

    fn by_code<T>(
        &self,
        key: &'static str,
        example: &str,
        take: impl Fn(&'t Value) -> Option<T>,
    ) -> Vec<(At<i64>, At<T>)> {
        let mut entries = Vec::new();
        for (name, value) in self.table_entries(key, example) {
            let number = match name.value.strip_prefix("0x") {
                Some(digits) => i64::from_str_radix(digits, 16).ok(),
                None => name.value.parse().ok(),
            };
            let shown = notation::shown(name.value);
            let hint = format!("write {key} = {example}");
            match (number, take(&value.value)) {
                (Some(number), Some(taken)) => {
                    entries.push((At { value: number, at: name.at }, At { value: taken, at: value.at }));
                }
                (None, _) => self.log.fault(name.at, format!("`{shown}` in `{key}` is not an integer"), hint),
                (_, None) => {
                    self.log.fault(value.at, format!("what stands for {shown} in `{key}` does not fit"), hint);
                }
            }
        }
        entries
    }

    fn table_entries(&self, key: &'static str, example: &str) -> Vec<(At<&'t str>, &'t Node)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Value::Table(table) = &value.value else {
            self.wrong(value, key, "a table", &format!("{key} = {example}"));
            return Vec::new();
        };
        if table.is_empty() {
            self.log.fault(value.at, format!("`{key}` is empty"), format!("write {key} = {example}"));
        }
        self.bounded(key, value, table.len());
        table.iter().map(|(name, entry)| (At { value: name.as_str(), at: entry.key_at }, &entry.node)).collect()
    }

    fn bounded(&self, key: &str, value: &Node, entries: usize) {
        if entries > MAX_ENTRIES {
            let what = format!("`{key}` has {entries} entries, more than {MAX_ENTRIES}");
            self.log.fault(value.at, what, "leave out what does not occur");
        }
    }
}
