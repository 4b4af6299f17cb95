//! A row of a register map on its way to a row of signals, and the machines that rows name.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::guess::{self, Head};
use super::is_asset;
use crate::config::Area;
use crate::config::columns::toml_of;
use crate::config::sheet::Row;

/// A signal in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// As the spreadsheet counts it.
    pub(super) row: usize,
    pub(super) name: String,
    metric: String,
    /// What of its own it is called where its metric is another signal's already.
    own: String,
    /// Index of its machine.
    machine: usize,
    /// Further keys in TOML.
    keys: Vec<(&'static str, String)>,
    /// What was guessed.
    pub(super) notes: Vec<String>,
    /// Why it is not taken.
    pub(super) left_out: Option<String>,
}

/// A text in TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

impl Draft {
    pub(super) fn new(row: &Row, heads: &[Head], plain: (Option<Area>, u16), machines: &mut Machines) -> Self {
        let cell = |wanted: Head| {
            let found = heads.iter().zip(&row.cells).find(|(head, cell)| **head == wanted && !cell.text.is_empty());
            found.map(|(_, cell)| cell.text.as_str())
        };
        let key = |key: &'static str| cell(Head::Key(key));
        let mut draft = Self { row: row.number, ..Self::default() };
        draft.machine = machines.index(key("asset"));
        draft.name = key("name").unwrap_or_default().chars().filter(|c| !c.is_control()).take(26).collect();
        let Some(address) = key("at") else {
            draft.left_out = Some("it has no address".into());
            return draft;
        };
        let place = match guess::place(address, cell(Head::Area).and_then(guess::area), cell(Head::Bit), plain) {
            Ok(place) => place,
            Err(why) => {
                draft.left_out = Some(why);
                return draft;
            }
        };
        draft.notes.extend(place.note);
        if draft.name.is_empty() {
            draft.name.clone_from(&place.at);
        }
        let is_bit = place.area.is_bits() || place.at.contains('.');
        draft.keys.push(("at", quoted(&place.at)));
        let unit = key("unit").filter(|unit| !["-", "none", "없음"].contains(unit)).unwrap_or_default();
        if !is_bit {
            draft.kind(key("type"), place.words);
        }
        let own = guess::slug(&draft.name);
        draft.own = if own.len() > 2 {
            format!("x_{own}")
        } else {
            format!(
                "x_{}_{}",
                place.area.name(),
                place
                    .at
                    .split([':', '.'])
                    .next_back()
                    .filter(|_| is_bit)
                    .map_or_else(|| place.address.to_string(), |bit| format!("{}_{bit}", place.address),)
            )
        };
        match key("metric") {
            Some(metric) => metric.clone_into(&mut draft.metric),
            None => {
                if let Some(metric) = guess::metric(&draft.name, unit, is_bit) {
                    draft.metric = metric.id.to_string();
                } else {
                    draft.metric.clone_from(&draft.own);
                    draft.notes.push("no metric of the dictionary fits name and unit: it is one of your own".into());
                }
            }
        }
        if !unit.is_empty() && !is_bit {
            draft.keys.push(("unit", quoted(unit)));
        }
        let decimals =
            cell(Head::Decimals).and_then(|text| text.parse::<u32>().ok()).filter(|places| (1..=6).contains(places));
        if let (Some(places), None) = (decimals, key("scale")) {
            draft.keys.push(("scale", format!("{}", 1.0 / 10f64.powi(places.try_into().unwrap_or(0)))));
        }
        let given = ["name", "metric", "at", "type", "unit", "asset"];
        for (head, cell) in heads.iter().zip(&row.cells) {
            if let Head::Key(name) = head
                && !given.contains(name)
                && !cell.text.is_empty()
                && !(is_bit && ["scale", "offset", "length", "byte_order"].contains(name))
                // A scale of 1 says nothing.
                && !(*name == "scale" && cell.text == "1")
            {
                draft.keys.push((name, toml_of(name, cell)));
            }
        }
        draft
    }

    fn kind(&mut self, text: Option<&str>, words: Option<u16>) {
        let (kind, order) = match (text.and_then(guess::kind), words) {
            (Some(found), _) => found,
            (None, Some(2)) => {
                self.notes.push("the type is not named: u32 by its two registers".into());
                ("u32", None)
            }
            (None, _) => {
                let given = text.map_or_else(String::new, |text| format!(" (`{text}` is none)"));
                self.notes.push(format!("the type is not named{given}: u16"));
                ("u16", None)
            }
        };
        self.keys.push(("type", quoted(kind)));
        if let Some(order) = order {
            self.keys.push(("byte_order", quoted(order)));
        }
    }

    /// Its lines of a configuration.
    pub(super) fn text(&self, machines: &Machines) -> String {
        let mut keys = format!("name = {}, metric = {}", quoted(&self.name), quoted(&self.metric));
        if self.machine != 0 || machines.all().len() > 1 {
            let _ = write!(keys, ", asset = {}", quoted(&machines.all()[self.machine].0));
        }
        for (key, value) in &self.keys {
            let _ = write!(keys, ", {key} = {value}");
        }
        if let Some(why) = &self.left_out {
            return format!("    # ? row {}: {{ {keys} }}: {}\n", self.row, why.replace(char::is_control, " "));
        }
        let mark = if self.notes.is_empty() { String::new() } else { format!("  # ? {}", self.notes.join("; ")) };
        format!("    {{ {keys} }},{}\n", mark.replace(char::is_control, " "))
    }
}

/// Tells apart what has one name, or would be one series.
pub(super) fn apart(drafts: &mut [Draft]) {
    let mut names = HashSet::new();
    let mut series = HashSet::new();
    for draft in drafts.iter_mut().filter(|draft| draft.left_out.is_none()) {
        if !names.insert(draft.name.clone()) {
            let name = format!("{} ({})", draft.name, draft.row);
            draft.notes.push("its name is another one's: the row's number is added".into());
            names.insert(name.clone());
            draft.name = name;
        }
        if !series.insert((draft.machine, draft.metric.clone())) {
            if !draft.metric.starts_with("x_") {
                let metric = &draft.metric;
                draft.notes.push(format!("`{metric}` of this machine is another row's already: it is one of your own"));
            }
            draft.metric.clone_from(&draft.own);
            if !series.insert((draft.machine, draft.metric.clone())) {
                let _ = write!(draft.metric, "_{}", draft.row);
                series.insert((draft.machine, draft.metric.clone()));
            }
        }
    }
}

/// The machines that numbers are about: id and Korean name.
#[derive(Debug, Default)]
pub(super) struct Machines {
    list: Vec<(String, String)>,
    default: String,
}

impl Machines {
    /// `default` is that of rows which name none.
    pub(super) fn new(default: &str) -> Self {
        Self { list: Vec::new(), default: default.into() }
    }

    fn index(&mut self, named: Option<&str>) -> usize {
        let (id, name) = match named {
            None => (self.default.clone(), String::new()),
            Some(id) if is_asset(id) => (id.to_owned(), String::new()),
            Some(name) => {
                let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
                if let Some(known) = self.list.iter().position(|(_, known)| *known == name) {
                    return known;
                }
                (format!("machine-{}", self.list.len() + 1), name)
            }
        };
        if let Some(known) = self.list.iter().position(|(known, _)| *known == id) {
            return known;
        }
        self.list.push((id, name));
        self.list.len() - 1
    }

    /// What the device says: the first.
    pub(super) fn default(&self) -> &str {
        self.list.first().map_or(&self.default, |(id, _)| id)
    }

    /// All, or the default where no row names any.
    pub(super) fn all(&self) -> Vec<(String, String)> {
        if self.list.is_empty() { vec![(self.default.clone(), String::new())] } else { self.list.clone() }
    }
}
