//! A table of the file, read key by key with every fault noted on the way.
//!
//! A value that is missing or wrong comes out as `None` and its fault is in the log;
//! reading goes on, so one run of `check` shows everything. Keys that nobody asked
//! for are faults too.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::Log;
use super::notation;
use super::tree::{Node, Table, Value};

mod lists;

pub(super) use lists::Code;

/// A value and the byte offset where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// One table.
#[derive(Debug)]
pub(super) struct Section<'t> {
    /// How messages name it: `[uplink]`, `signal 3`.
    name: String,
    table: &'t Table,
    pub(super) at: usize,
    asked: RefCell<Vec<&'static str>>,
    pub(super) log: &'t Log,
}

impl<'t> Section<'t> {
    pub(super) fn new(name: &str, table: &'t Table, at: usize, log: &'t Log) -> Self {
        Self { name: name.into(), table, at, asked: RefCell::default(), log }
    }

    fn get(&self, key: &'static str) -> Option<&'t Node> {
        let mut asked = self.asked.borrow_mut();
        // Some are asked for twice, but the list of known keys names each once.
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.table.get(key).map(|entry| &entry.node)
    }

    fn wrong(&self, value: &Node, key: &str, wanted: &str, example: &str) {
        let (article, given) = match &value.value {
            Value::Text(_) => ("a", "text"),
            Value::Integer(_) => ("an", "integer"),
            Value::Float(_) => ("a", "number with a point"),
            Value::Flag(_) => ("a", "yes-or-no value"),
            Value::Date => ("a", "date"),
            Value::List(_) => ("a", "list"),
            Value::Table(_) => ("a", "table"),
        };
        self.log.fault(value.at, format!("`{key}` is {article} {given}, not {wanted}"), format!("write {example}"));
    }

    /// Whether something stands there, be it right or wrong.
    pub(super) fn is_there(&self, key: &'static str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether a table stands there.
    pub(super) fn is_table(&self, key: &'static str) -> bool {
        matches!(self.table.get(key).map(|entry| &entry.node.value), Some(Value::Table(_)))
    }

    /// Notes that a key which must be there is not.
    pub(super) fn missing(&self, key: &str, hint: &str) {
        self.log.fault(self.at, format!("{} has no `{key}`", self.name), hint);
    }

    /// The same of a table or a list of them, called `name`. Nothing where something else
    /// stands in its place, for that has been noted.
    pub(super) fn missing_table(&self, key: &'static str, name: &str, hint: &str) {
        let stands = self.table.get(key).map(|entry| &entry.node.value);
        if stands.is_none_or(|value| matches!(value, Value::List(list) if list.is_empty())) {
            self.missing(name, hint);
        }
    }

    pub(super) fn text(&self, key: &'static str) -> Option<At<&'t str>> {
        self.text_like(key, "\"…\"")
    }

    /// A text; `example` is shown where something else stands.
    pub(super) fn text_like(&self, key: &'static str, example: &str) -> Option<At<&'t str>> {
        let value = self.get(key)?;
        let Value::Text(text) = &value.value else {
            self.wrong(value, key, "a text", &format!("{key} = {example}"));
            return None;
        };
        Some(At { value: text.as_str(), at: value.at })
    }

    /// Whether the key is there; a fault if not.
    pub(super) fn has(&self, key: &'static str, hint: &str) -> bool {
        let there = self.get(key).is_some();
        if !there {
            self.missing(key, hint);
        }
        there
    }

    /// A text that must be there.
    pub(super) fn required(&self, key: &'static str, hint: &str) -> Option<At<&'t str>> {
        if self.has(key, hint) { self.text(key) } else { None }
    }

    /// A text of people's choice: names, paths, units.
    pub(super) fn label(&self, key: &'static str, max: usize) -> Option<At<&'t str>> {
        let text = self.text(key)?;
        if text.value.len() > max || text.value.chars().any(char::is_control) {
            self.log.fault(
                text.at,
                format!("`{key}` has more than {max} bytes or holds a control character"),
                "shorten it to one plain line",
            );
            return None;
        }
        Some(text)
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<At<bool>> {
        let value = self.get(key)?;
        let Value::Flag(flag) = &value.value else {
            self.wrong(value, key, "true or false", &format!("{key} = true"));
            return None;
        };
        Some(At { value: *flag, at: value.at })
    }

    pub(super) fn integer(&self, key: &'static str, range: RangeInclusive<u16>) -> Option<At<u16>> {
        let value = self.get(key)?;
        let at = value.at;
        let Value::Integer(integer) = &value.value else {
            self.wrong(value, key, "an integer", &format!("{key} = {}", range.start()));
            return None;
        };
        match u16::from_str_radix(&integer.digits, integer.radix) {
            Ok(integer) if range.contains(&integer) => Some(At { value: integer, at }),
            _ => {
                let (from, to) = (range.start(), range.end());
                self.log.fault(
                    at,
                    format!("`{key}` is {integer}, outside {from} to {to}"),
                    format!("write an integer from {from} to {to}"),
                );
                None
            }
        }
    }

    /// A finite number.
    pub(super) fn number(&self, key: &'static str) -> Option<At<f64>> {
        let value = self.get(key)?;
        let at = value.at;
        let number = match &value.value {
            Value::Integer(integer) => {
                i64::from_str_radix(&integer.digits, integer.radix).ok().map(|integer| integer as f64)
            }
            Value::Float(float) => float.parse().ok(),
            _ => {
                self.wrong(value, key, "a number", &format!("{key} = 0.1"));
                return None;
            }
        };
        let Some(value) = number.filter(|number: &f64| number.is_finite()) else {
            self.log.fault(at, format!("`{key}` is not a finite number"), format!("write {key} = 0.1"));
            return None;
        };
        Some(At { value, at })
    }

    /// A duration within bounds.
    pub(super) fn duration(&self, key: &'static str, range: RangeInclusive<Duration>) -> Option<At<Duration>> {
        let text = self.text_like(key, "\"1s\"")?;
        let show = notation::show_duration;
        let bounds = format!("from {} to {}", show(*range.start()), show(*range.end()));
        let Some(value) = notation::duration(text.value) else {
            self.log.fault(
                text.at,
                format!("`{key}` is not a duration: `{}`", notation::shown(text.value)),
                format!("write an integer and ms, s, m, h or d: \"500ms\", \"1s\"; {bounds}"),
            );
            return None;
        };
        if !range.contains(&value) {
            let side = if value < *range.start() { "too short" } else { "too long" };
            self.log.fault(
                text.at,
                format!("`{key}` is {}, {side}", show(value)),
                format!("write a duration {bounds}"),
            );
            return None;
        }
        Some(At { value, at: text.at })
    }

    /// One of a list of words.
    pub(super) fn word<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)]) -> Option<At<T>> {
        let text = self.text(key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(At { value: *value, at: text.at });
        }
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.log.fault(
            text.at,
            format!("`{key}` cannot be `{}`", notation::shown(text.value)),
            notation::suggest(text.value, &names),
        );
        None
    }

    /// A table inside this one; `example` is shown where something else stands. It is one
    /// in braces: a head in brackets would take the keys below it away from this table.
    pub(super) fn section(&self, key: &'static str, example: &str) -> Option<Section<'t>> {
        let value = self.get(key)?;
        let Value::Table(table) = &value.value else {
            self.wrong(value, key, "a table", &format!("{key} = {example}"));
            return None;
        };
        Some(Section::new(&format!("[{key}]"), table, value.at, self.log))
    }

    /// A table in the place of a secret: what else stands there is not described, for it may
    /// be the secret itself.
    pub(super) fn secret_section(&self, key: &'static str, hint: &str) -> Option<Section<'t>> {
        let node = self.get(key)?;
        let Value::Table(table) = &node.value else {
            self.log.fault(node.at, format!("`{key}` does not stand in the configuration"), hint);
            return None;
        };
        Some(Section::new(&format!("[{key}]"), table, node.at, self.log))
    }

    /// A list of tables; `name` is how messages call one of them.
    pub(super) fn sections(&self, key: &'static str, name: &str) -> Vec<Section<'t>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Value::List(array) = &value.value else {
            let example = match &value.value {
                Value::Table(_) if name.starts_with("[[") => format!("{name}, with two brackets on each side"),
                // Such a head in this place would take the keys below it away from this table.
                _ if name.starts_with("[[") => {
                    format!("a table {name} below the plain keys of {}, and leave this one out", self.name)
                }
                _ => format!("{key} = [ {{ … }}, {{ … }} ]"),
            };
            self.wrong(value, key, &format!("a list of {name}s"), &example);
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for entry in array {
            if let Value::Table(table) = &entry.value {
                sections.push(Section::new(name, table, entry.at, self.log));
            } else {
                self.wrong(entry, key, &format!("a {name}"), "a table in braces: { … }");
            }
        }
        sections
    }

    /// Names keys that others have read, so that they are known.
    pub(super) fn know(&self, keys: &[&'static str]) {
        self.asked.borrow_mut().extend(keys);
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, entry) in self.table.iter().filter(|(key, _)| !asked.contains(&key.as_str())) {
            let name = key.as_str();
            let hint = match name {
                "password" | "token" => format!("secrets stand in a file of their own: {name}_file = \"…\""),
                _ => notation::suggest(name, &asked),
            };
            self.log.fault(entry.key_at, format!("unknown key `{}` in {}", notation::shown(name), self.name), hint);
        }
    }
}
