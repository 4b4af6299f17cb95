//! A table of a scenario file, read key by key, with every mistake noted on the way.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The file, and what is wrong with it.
pub(super) struct Log<'t> {
    text: &'t str,
    said: RefCell<Vec<(usize, String)>>,
}

impl<'t> Log<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, said: RefCell::default() }
    }
    /// In the order of the file.
    pub(super) fn into_lines(self) -> Vec<String> {
        let mut said = self.said.into_inner();
        said.sort();
        said.dedup();
        said.into_iter().map(|(_, said)| said).collect()
    }
}

/// One table.
pub(super) struct Part<'t> {
    name: String,
    table: &'t DeTable<'t>,
    /// Where it begins, bytes.
    pub(super) at: usize,
    asked: RefCell<Vec<&'static str>>,
    log: &'t Log<'t>,
}

impl<'t> Part<'t> {
    pub(super) fn new(name: &str, table: &'t DeTable<'t>, at: usize, log: &'t Log<'t>) -> Self {
        Self { name: name.into(), table, at, asked: RefCell::default(), log }
    }

    /// Notes a mistake at this byte.
    pub(super) fn fault(&self, at: usize, words: impl std::fmt::Display) {
        let line = self.log.text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        self.log.said.borrow_mut().push((at, format!("line {line}: {}: {words}", self.name)));
    }

    fn get(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Where a key's value stands, or else the table.
    pub(super) fn at_of(&self, key: &str) -> usize {
        self.table.get(key).map_or(self.at, |value| value.span().start)
    }

    /// Notes it when a key is not there.
    pub(super) fn require(&self, key: &'static str) {
        if !self.table.contains_key(key) {
            self.fault(self.at, format!("`{key}` is missing"));
        }
    }

    /// The value, or a note of why there is none.
    pub(super) fn take<T>(&self, at: usize, key: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|error| self.fault(at, format!("`{key}`: {error}"))).ok()
    }

    /// A text and where it stands.
    pub(super) fn text(&self, key: &'static str) -> Option<(usize, &'t str)> {
        let value = self.get(key)?;
        let at = value.span().start;
        match value.get_ref() {
            DeValue::String(text) => Some((at, text.as_ref())),
            _ => self.take(at, key, Err("a text is wanted, in quotes".into())),
        }
    }

    /// A text that must be there.
    pub(super) fn required(&self, key: &'static str) -> Option<String> {
        self.require(key);
        self.text(key).map(|(_, text)| text.to_owned())
    }

    /// A text that stands for something.
    pub(super) fn parsed<T>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (at, text) = self.text(key)?;
        self.take(at, key, parse(text))
    }

    /// A list of texts, each with where it stands.
    pub(super) fn texts(&self, key: &'static str) -> Vec<(usize, &'t str)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(list) = value.get_ref() else {
            self.fault(value.span().start, format!("`{key}`: a list of texts is wanted: [\"…\"]"));
            return Vec::new();
        };
        let text = |entry: &'t Spanned<DeValue<'t>>| match entry.get_ref() {
            DeValue::String(text) => Some((entry.span().start, text.as_ref())),
            _ => self.take(entry.span().start, key, Err("a text is wanted, in quotes".into())),
        };
        list.iter().filter_map(text).collect()
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let wrong = || format!("a whole number from {} to {} is wanted", range.start(), range.end());
        self.take(value.span().start, key, number.filter(|number| range.contains(number)).ok_or_else(wrong))
    }

    /// A finite number above zero.
    pub(super) fn number(&self, key: &'static str) -> Option<f64> {
        let value = self.get(key)?;
        let number = number(value.get_ref()).filter(|number| *number > 0.0);
        self.take(value.span().start, key, number.ok_or_else(|| "a number above 0 is wanted".into()))
    }

    /// A table of numbers by name, each with where it stands.
    pub(super) fn numbers(&self, key: &'static str) -> Option<Vec<(usize, &'t str, f64)>> {
        let value = self.get(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            return self.take(value.span().start, key, Err(format!("a table is wanted: {key} = {{ silent = 2 }}")));
        };
        let row = |(name, value): (&'t Spanned<std::borrow::Cow<'t, str>>, &'t Spanned<DeValue<'t>>)| {
            let at = name.span().start;
            let number = number(value.get_ref()).ok_or_else(|| format!("`{}` wants a number", name.get_ref()));
            Some((at, name.get_ref().as_ref(), self.take(at, key, number)?))
        };
        Some(table.iter().filter_map(row).collect())
    }

    /// A table in this one.
    pub(super) fn part(&self, key: &'static str) -> Option<Part<'t>> {
        let value = self.get(key)?;
        let at = value.span().start;
        match value.get_ref() {
            DeValue::Table(table) => Some(Part::new(&format!("{}, {key}", self.name), table, at, self.log)),
            _ => self.take(at, key, Err(format!("a table is wanted: {key} = {{ … }}"))),
        }
    }

    /// A list of tables.
    pub(super) fn parts(&self, key: &'static str) -> Vec<Part<'t>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(list) = value.get_ref() else {
            self.fault(value.span().start, format!("`{key}`: a list of tables is wanted: [[{key}]]"));
            return Vec::new();
        };
        let part = |entry: &'t Spanned<DeValue<'t>>| {
            let at = entry.span().start;
            let DeValue::Table(table) = entry.get_ref() else {
                return self.take(at, key, Err("a table is wanted".into()));
            };
            let name = match table.get("name").map(Spanned::get_ref) {
                Some(DeValue::String(name)) => format!("{key} `{name}`"),
                _ => key.to_owned(),
            };
            Some(Part::new(&name, table, at, self.log))
        };
        list.iter().filter_map(part).collect()
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for key in self.table.keys().filter(|key| !asked.contains(&key.get_ref().as_ref())) {
            let mut known = asked.clone();
            known.dedup();
            self.fault(
                key.span().start,
                format!("unknown key `{}`; hint: known are {}", key.get_ref(), known.join(", ")),
            );
        }
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    let number: f64 = match value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()? as f64,
        DeValue::Float(number) => number.as_str().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}
