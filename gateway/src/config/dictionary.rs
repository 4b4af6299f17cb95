//! The metric dictionary: what a series can be about, in which unit, and how sensitive it is.
//!
//! `configs/metrics.toml` is part of the binary, so that a gateway cannot stand beside a
//! dictionary of another version; the head of that file says what each key means. It is
//! read once and checked as a whole. Here also a signal is held against it: an unknown
//! metric, a number that is none, a unit that cannot become the metric's.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use sandan_proto::id::MetricId;
use sandan_proto::limits::MAX_TEXT_BYTES;
use sandan_proto::reading::ValueType;
use serde::{Deserialize, Serialize};

use super::notation;
use super::section::{At, Section};
use super::units::{self, Conversion};

const TEXT: &str = include_str!("../../../configs/metrics.toml");

/// A constant that takes a parser to make: nothing changes it, and no two could differ.
static EMBEDDED: LazyLock<Dictionary> =
    LazyLock::new(|| Dictionary::parse(TEXT).unwrap_or_else(|error| panic!("configs/metrics.toml: {error}")));

/// The metrics of one version, in the order of the file.
#[derive(Debug)]
pub struct Dictionary {
    version: u32,
    metrics: Vec<Metric>,
    by_id: HashMap<MetricId, usize>,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// Its id; never that of a firm's own.
    pub id: MetricId,
    /// Its name, never empty.
    pub name: Words,
    /// Its UCUM code.
    pub unit: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Whether it is seen, wanted or demanded.
    pub role: Role,
    /// What is plausible, lowest and highest, in its unit; `None` for codes and texts.
    pub range: Option<[f64; 2]>,
    /// Where it is met; the first is the one that it is listed under.
    #[serde(rename = "process")]
    pub processes: Vec<Process>,
    /// How sensitive it is.
    pub class: Class,
    /// What its name does not say.
    pub about: Option<Words>,
}

/// A text in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Words {
    pub ko: String,
    pub en: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$word_doc])* #[serde(rename = $word)] $variant,)*
        }
        impl $name {
            /// All of them, as they are written.
            pub const ALL: &[(&'static str, Self)] = &[$(($word, Self::$variant),)*];
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)* })
            }
        }
    };
}

words!(
    /// How a metric moves.
    Kind {
        /// Up and down.
        Gauge = "gauge",
        /// Up only, from 0, until it is reset or wraps.
        Counter = "counter",
        /// Yes or no, a code, or a text.
        State = "state",
    }
);
words!(
    /// Whether a metric is seen, wanted or demanded.
    Role {
        /// Seen.
        Measured = "measured",
        /// What a measured one is wanted to be.
        SetPoint = "set-point",
        /// What a controller demands of an actuator.
        Output = "output",
    }
);
words!(
    /// Where a metric is met.
    #[allow(missing_docs)]
    Process {
        Any = "any",
        HeatTreatment = "heat-treatment",
        Forming = "forming",
        Casting = "casting",
        Plating = "plating",
        Welding = "welding",
        Moulds = "moulds",
        Machining = "machining",
        Utilities = "utilities",
    }
);
words!(
    /// How sensitive a metric is towards other firms.
    Class {
        /// How the machine and its supplies are.
        Condition = "condition",
        /// How a product is made: a firm's know-how.
        Process = "process",
        /// How much is made and when: competition law.
        Output = "output",
        /// What is used up by it: competition law.
        Cost = "cost",
        /// What lies ready: competition law.
        Stock = "stock",
    }
);

/// Why a text is no dictionary.
#[derive(Debug, thiserror::Error)]
pub enum DictionaryError {
    /// Not TOML, or a key or word that is not known.
    #[error("not of its form: {0}")]
    Form(#[from] Box<toml::de::Error>),
    /// A metric that breaks a rule.
    #[error("metric `{id}`: {rule}")]
    Metric {
        /// Its id, as it is written.
        id: String,
        /// The rule.
        rule: &'static str,
    },
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    version: u32,
    metric: Vec<RawMetric>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMetric {
    id: String,
    name: Words,
    unit: String,
    kind: Kind,
    role: Role,
    range: Option<[f64; 2]>,
    process: Vec<Process>,
    class: Class,
    about: Option<Words>,
}

impl Dictionary {
    /// The one that this program was built with.
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// Reads and checks a dictionary.
    pub fn parse(text: &str) -> Result<Self, DictionaryError> {
        let raw: Raw = toml::from_str(text).map_err(Box::new)?;
        let mut it =
            Self { version: raw.version, metrics: Vec::with_capacity(raw.metric.len()), by_id: HashMap::new() };
        for raw in raw.metric {
            let metric = metric(raw)?;
            if it.by_id.insert(metric.id.clone(), it.metrics.len()).is_some() {
                return Err(broken(&metric, "it stands there twice"));
            }
            it.metrics.push(metric);
        }
        for metric in it.metrics.iter().filter(|metric| metric.role == Role::SetPoint) {
            let seen = metric.id.as_str().strip_suffix(SETPOINT).and_then(|id| it.get(id));
            let Some(seen) = seen.filter(|seen| seen.role == Role::Measured) else {
                return Err(broken(metric, "a set-point is named after the measured metric that it is for"));
            };
            if seen.unit != metric.unit || seen.range != metric.range || seen.kind != metric.kind {
                return Err(broken(metric, "it has another unit, range or kind than what it is the set-point of"));
            }
        }
        Ok(it)
    }

    /// Goes up with every change.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// All metrics.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// The metric of an id.
    pub fn get(&self, id: &str) -> Option<&Metric> {
        self.by_id.get(&MetricId::new(id).ok()?).map(|index| &self.metrics[*index])
    }

    /// The ids that someone who wrote `given` may have meant, the nearest first.
    fn nearest(&self, given: &str) -> Vec<&str> {
        /// More than this is a list, and for lists there is a command.
        const MOST: usize = 3;
        let words: Vec<_> = given.split('_').filter(|word| !word.is_empty()).collect();
        let rank = |(place, metric): (usize, &'_ Metric)| {
            let id = metric.id.as_str();
            let typo = 1 + given.len().min(id.len()) / 4;
            // At least as many letters are missing as one is shorter than the other.
            if given.len().abs_diff(id.len()) <= typo {
                let distance = notation::distance(given, id);
                if distance <= typo {
                    return Some((distance, 0, place));
                }
            }
            // `oil_temp` for `oil_temperature`, `energy` for `active_energy`: those that add least first.
            let is_short = words.iter().all(|word| id.split('_').any(|long| long.starts_with(word)));
            (is_short && !words.is_empty()).then_some((usize::MAX, id.split('_').count(), place))
        };
        let mut near: Vec<_> = self.metrics.iter().enumerate().filter_map(rank).collect();
        near.sort_unstable();
        near.into_iter().take(MOST).map(|(.., place)| self.metrics[place].id.as_str()).collect()
    }
}

impl Metric {
    /// Whether it is met in a process, be it as at any machine.
    pub fn is_of(&self, process: Process) -> bool {
        self.processes.iter().any(|it| [process, Process::Any].contains(it))
    }

    /// Whether values in a unit are, or can become, its values.
    pub fn takes(&self, unit: &str) -> bool {
        units::conversion(unit, self.unit).is_some()
    }

    /// The range for people, `-` where there is none.
    pub fn shown_range(&self) -> String {
        /// From here on zeros are counted wrongly.
        const LONG: f64 = 1e9;
        let shown = |end: f64| if end.abs() < LONG { end.to_string() } else { format!("{end:e}") };
        self.range.map_or_else(|| "-".into(), |[low, high]| format!("{} … {}", shown(low), shown(high)))
    }
}

const SETPOINT: &str = "_setpoint";
const OUTPUT: &str = "_output";

fn metric(raw: RawMetric) -> Result<Metric, DictionaryError> {
    let id = raw.id.as_str();
    let fail = |rule| Err(DictionaryError::Metric { id: id.into(), rule });
    let Ok(checked) = MetricId::new(id) else { return fail("an id has 1 to 80 of a-z, 0-9 and _") };
    if checked.is_private() || !id.starts_with(|first: char| first.is_ascii_lowercase()) {
        return fail("an id begins with a letter, and not with x_, which is for a firm's own");
    }
    let role = match id {
        _ if id.ends_with(SETPOINT) => Role::SetPoint,
        _ if id.ends_with(OUTPUT) => Role::Output,
        _ => Role::Measured,
    };
    if raw.role != role {
        return fail("the ids of set-points end in _setpoint, of outputs in _output, and no others do");
    }
    for words in std::iter::once(&raw.name).chain(&raw.about) {
        let is_line = |text: &str| {
            !text.is_empty() && text.trim() == text && text.len() <= MAX_TEXT_BYTES && !text.contains(char::is_control)
        };
        if !is_line(&words.ko) || !is_line(&words.en) {
            return fail("each text is one line in Korean and one in English");
        }
    }
    let is_hangul = |c: char| ('가'..='힣').contains(&c);
    if !raw.name.ko.contains(is_hangul) || raw.name.en.contains(is_hangul) {
        return fail("the Korean name is in Hangul, and the English one is not");
    }
    let Some(unit) = units::quantity(&raw.unit)
        .and_then(|units| units.iter().find(|unit| unit.code == raw.unit))
        .map(|unit| unit.code)
    else {
        return fail("its unit is no UCUM code of the table of units");
    };
    match (raw.kind, raw.range) {
        (Kind::State, _) if unit != "1" => return fail("a state has the unit 1"),
        (Kind::State, None) => {}
        (_, None) => return fail("a number has a range"),
        (_, Some([low, high])) if !(low < high && low.is_finite() && high.is_finite()) => {
            return fail("a range goes from a lower number to a higher one");
        }
        (Kind::Counter, Some([low, _])) if low != 0.0 => return fail("a counter begins at 0"),
        _ => {}
    }
    let mut processes = raw.process.clone();
    processes.sort_unstable();
    processes.dedup();
    if processes.is_empty() || processes.len() != raw.process.len() {
        return fail("it names at least one process, and each once");
    }
    Ok(Metric {
        id: checked,
        name: raw.name,
        unit,
        kind: raw.kind,
        role,
        range: raw.range,
        processes: raw.process,
        class: raw.class,
        about: raw.about,
    })
}

fn broken(metric: &Metric, rule: &'static str) -> DictionaryError {
    DictionaryError::Metric { id: metric.id.to_string(), rule }
}

/// What the dictionary makes of a signal.
#[derive(Debug, Default)]
pub(super) struct Fit {
    /// The unit of its values.
    pub(super) unit: String,
    /// What brings them from the unit that is configured to that one.
    pub(super) conversion: Option<Conversion>,
    /// What the dictionary says of the metric.
    pub(super) known: Option<&'static Metric>,
}

/// Holds a signal against the dictionary. A firm's own metric has the unit that it is given.
pub(super) fn fit(
    section: &Section<'_>,
    metric: &At<MetricId>,
    unit: Option<At<&str>>,
    value_type: Option<ValueType>,
) -> Fit {
    let (id, log) = (metric.value.as_str(), section.log);
    let Some(known) = Dictionary::embedded().get(id) else {
        if !metric.value.is_private() {
            const ALL: &str = "`sandan-gateway metrics` lists all; one of your own is called x_…";
            let near: Vec<_> = Dictionary::embedded().nearest(id).iter().map(|id| format!("`{id}`")).collect();
            let hint = if near.is_empty() { ALL.into() } else { format!("did you mean {}? {ALL}", near.join(" or ")) };
            log.fault(metric.at, format!("no metric `{id}` in the dictionary"), hint);
        }
        return Fit { unit: unit.map_or("", |unit| unit.value).into(), conversion: None, known: None };
    };
    if known.kind != Kind::State
        && let Some(no_number @ (ValueType::Bool | ValueType::Text)) = value_type
    {
        let what = if no_number == ValueType::Bool { "yes or no" } else { "a text" };
        log.fault(
            metric.at,
            format!("`{id}` is a number, and the signal is {what}"),
            "name a state, such as `machine_running`, or a metric of your own: x_…",
        );
    }
    // Without a unit it is the dictionary's.
    let unit = unit.filter(|unit| !unit.value.is_empty());
    let given = unit.map_or(known.unit, |unit| unit.value);
    let Some(conversion) = units::conversion(given, known.unit) else {
        let others = units::quantity(known.unit).unwrap_or_default().iter().filter(|unit| unit.code != known.unit);
        let others: Vec<_> = others.map(units::Unit::shown).collect();
        let own = format!("write unit = \"{}\"", known.unit);
        let hint = match &others[..] {
            [] => format!("{own}, or leave it out"),
            others => format!("{own}, or one that is converted to it: {}", others.join(", ")),
        };
        log.fault(
            unit.map_or(metric.at, |unit| unit.at),
            format!("`{id}` is in {}, and `{}` cannot be converted to it", known.unit, notation::shown(given)),
            hint,
        );
        return Fit { known: Some(known), ..Fit::default() };
    };
    Fit { unit: known.unit.into(), conversion, known: Some(known) }
}

#[cfg(test)]
mod tests;
