//! One table of the file, asked key by key. What is missing or wrong comes out as
//! none with its fault noted, so that one run shows everything; a key that nobody
//! asked for is a fault too.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Log;

/// Longest text that a fault repeats.
const SHOWN_CHARS: usize = 60;

pub(super) struct Table<'t> {
    /// `[http]`; "the file" for the root.
    name: String,
    at: usize,
    tree: &'t DeTable<'t>,
    asked: RefCell<Vec<&'static str>>,
    log: &'t Log<'t>,
}

/// A text and where it stands.
pub(super) struct Text<'t> {
    key: &'t str,
    pub(super) value: &'t str,
    pub(super) at: usize,
}

impl Text<'_> {
    /// Notes that the text is not `wanted`. Always none.
    pub(super) fn refuse<T>(&self, of: &Table<'_>, wanted: &str, hint: &str) -> Option<T> {
        let given: String = self.value.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
        of.log.note(self.at, format!("`{}` is `{given}`, not {wanted}", self.key), hint);
        None
    }
}

impl<'t> Table<'t> {
    pub(super) fn root(table: &'t DeTable<'t>, log: &'t Log<'t>) -> Self {
        Self { name: "the file".to_owned(), at: 0, tree: table, asked: RefCell::default(), log }
    }

    pub(super) fn fault(&self, at: usize, what: String, hint: &str) {
        self.log.note(at, what, hint);
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.tree.contains_key(key)
    }

    fn get(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().push(key);
        self.tree.get(key)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let given = value.get_ref().type_str();
        self.log.note(
            value.span().start,
            format!("`{key}` is of type {given}, not {wanted}"),
            &format!("write {wanted}"),
        );
    }

    pub(super) fn text(&self, key: &'static str) -> Option<Text<'t>> {
        let value = self.get(key)?;
        if let DeValue::String(text) = value.get_ref() {
            return Some(Text { key, value: text.as_ref(), at: value.span().start });
        }
        self.wrong(key, value, "a text in quotes");
        None
    }

    pub(super) fn required(&self, key: &'static str, hint: &str) -> Option<Text<'t>> {
        if !self.has(key) {
            self.log.note(self.at, format!("{} has no `{key}`", self.name), hint);
        }
        self.text(key)
    }

    /// A list of texts, each with its place.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Text<'t>>> {
        let value = self.get(key)?;
        let list: &'t [_] = if let DeValue::Array(list) = value.get_ref() { list } else { &[] };
        let text = |entry: &'t Spanned<DeValue<'t>>| match entry.get_ref() {
            DeValue::String(text) => Some(Text { key, value: text.as_ref(), at: entry.span().start }),
            _ => None,
        };
        match list.iter().map(text).collect::<Option<Vec<_>>>() {
            Some(texts) if !texts.is_empty() => Some(texts),
            _ => {
                self.wrong(key, value, "a list of texts in quotes");
                None
            }
        }
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        if let DeValue::Boolean(flag) = value.get_ref() {
            return Some(*flag);
        }
        self.wrong(key, value, "true or false");
        None
    }

    /// A whole number from 1 on.
    pub(super) fn count(&self, key: &'static str) -> Option<u64> {
        let value = self.get(key)?;
        let DeValue::Integer(number) = value.get_ref() else {
            self.wrong(key, value, "a whole number");
            return None;
        };
        let number = u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| *number > 0);
        if number.is_none() {
            let what = format!("`{key}` is not a whole number from 1 on");
            self.log.note(value.span().start, what, "write a whole number from 1 on, like 1000");
        }
        number
    }

    /// A number from 0 on, whole or not.
    pub(super) fn number(&self, key: &'static str) -> Option<f64> {
        let value = self.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|it| it as f64),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number: &f64| number.is_finite() && *number >= 0.0);
        if number.is_none() {
            let what = format!("`{key}` is not a number from 0 on");
            self.log.note(value.span().start, what, "write a number from 0 on, like 3 or 0.5");
        }
        number
    }

    /// The texts of this one, whatever they are called.
    pub(super) fn every_text(&self) -> Vec<(&'t str, Text<'t>)> {
        let text = |(key, value): (&'t Spanned<_>, &'t Spanned<DeValue<'t>>)| {
            let name: &str = AsRef::<str>::as_ref(key.get_ref());
            let DeValue::String(text) = value.get_ref() else {
                self.wrong(name, value, "a text in quotes");
                return None;
            };
            Some((name, Text { key: name, value: text.as_ref(), at: value.span().start }))
        };
        self.tree.iter().filter_map(text).collect()
    }

    /// The tables of this one, whatever they are called.
    pub(super) fn tables(&self) -> Vec<(&'t str, Table<'t>)> {
        let table = |(key, value): (&'t Spanned<_>, &'t Spanned<DeValue<'t>>)| {
            let name: &str = AsRef::<str>::as_ref(key.get_ref());
            let DeValue::Table(tree) = value.get_ref() else {
                self.wrong(name, value, &format!("a table [{}.{name}]", self.name.trim_matches(['[', ']'])));
                return None;
            };
            let of = format!("[{}.{name}]", self.name.trim_matches(['[', ']']));
            let at = key.span().start;
            Some((name, Table { name: of, at, tree, asked: RefCell::default(), log: self.log }))
        };
        self.tree.iter().filter_map(table).collect()
    }

    /// Where it stands.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn table(&self, key: &'static str) -> Option<Table<'t>> {
        let value = self.get(key)?;
        if let DeValue::Table(table) = value.get_ref() {
            // The root alone has a name without brackets.
            let name = match self.name.strip_prefix('[') {
                Some(of) => format!("[{}.{key}]", of.trim_end_matches(']')),
                None => format!("[{key}]"),
            };
            return Some(Table { name, at: value.span().start, tree: table, asked: RefCell::default(), log: self.log });
        }
        self.wrong(key, value, &format!("a table [{key}]"));
        None
    }

    /// Takes keys as known that were not looked at.
    pub(super) fn skip(&self, keys: &[&'static str]) {
        self.asked.borrow_mut().extend(keys);
    }

    /// Notes the keys that were not asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, _) in self.tree {
            if !asked.iter().any(|known| *known == key.get_ref().as_ref()) {
                let given: String = key.get_ref().chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
                let what = format!("{} knows no `{given}`", self.name);
                self.log.note(key.span().start, what, &format!("it knows {}", asked.join(", ")));
            }
        }
    }
}
