//! The metric dictionary: what metrics are called, their units, and how sensitive they are.
//!
//! `configs/metrics.toml` is part of the program, as it is of the gateway's: a page that people
//! sign and a decision must not rest on a file that somebody edits beside them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sandan_proto::id::MetricId;
use serde::Deserialize;

use super::page::Name;
use super::rules::{Class, Dictionary, Meaning};

const TEXT: &str = include_str!("../../../configs/metrics.toml");

/// A constant that takes a parser to make. The gateway's tests hold the file itself to its rules.
static WORDS: LazyLock<Lexicon> =
    LazyLock::new(|| Lexicon::parse(TEXT).unwrap_or_else(|error| panic!("configs/metrics.toml: {error}")));

/// One metric for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// 가압력, Press force.
    pub name: Name,
    /// Its UCUM code; `1` for pure numbers and states.
    pub unit: String,
    /// Whether it is a code or a text, which is never averaged.
    pub is_state: bool,
}

struct Lexicon {
    words: BTreeMap<MetricId, Word>,
    dictionary: Dictionary,
}

#[derive(Deserialize)]
struct File {
    version: u32,
    metric: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: MetricId,
    name: Words,
    unit: String,
    kind: String,
    class: Class,
    /// The version since which it means what it means; the first, where it is not said.
    #[serde(default = "first")]
    since: u32,
}

#[derive(Deserialize)]
struct Words {
    ko: String,
    en: String,
}

fn first() -> u32 {
    1
}

impl Lexicon {
    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let file: File = toml::from_str(text)?;
        let metrics = file.metric.iter().map(|it| (it.id.clone(), Meaning { class: it.class, since: it.since }));
        let dictionary = Dictionary { version: file.version, metrics: metrics.collect() };
        let word = |it: Entry| {
            let name = Name { ko: it.name.ko, en: it.name.en };
            (it.id, Word { name, unit: it.unit, is_state: it.kind == "state" })
        };
        Ok(Self { words: file.metric.into_iter().map(word).collect(), dictionary })
    }
}

/// What a metric is called; none for one that the dictionary does not have.
pub fn word(metric: &MetricId) -> Option<&'static Word> {
    WORDS.words.get(metric)
}

/// What the metrics mean, for decisions.
pub fn dictionary() -> &'static Dictionary {
    &WORDS.dictionary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_names_what_it_judges() {
        let force = word(&"press_force".parse().unwrap()).unwrap();
        assert_eq!((force.name.en.as_str(), force.unit.as_str(), force.is_state), ("Press force", "kN", false));
        assert!(word(&"machine_running".parse().unwrap()).unwrap().is_state);
        let all = dictionary();
        assert!(all.version >= 1 && all.metrics.len() > 50);
        assert_eq!(all.metrics[&"machine_running".parse().unwrap()].class, Class::Output);
        assert!(all.metrics.keys().all(|id| word(id).is_some_and(|it| !it.name.ko.is_empty())));
    }
}
