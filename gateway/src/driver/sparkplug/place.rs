//! One device of a node, or the node itself: which of its metrics are signals, what its
//! birth said of them, and what was told of each.

use std::collections::{BTreeMap, HashMap, HashSet};

use sandan_proto::reading::Quality;

use super::payload::{Metric, Payload, Refusal};
use super::{Now, value};
use crate::config::{JsonType, SparkplugDevice};
use crate::driver::Raw;
use crate::driver::message::{Link, Outcome, Sample};

/// A source's clock may be so far ahead of ours before its times are not believed: what two
/// machines differ by that are both set over the network, and a slow broker the other way.
const AHEAD_US: i64 = 5_000_000;

/// A place that signals come from.
#[derive(Debug)]
pub(super) struct Place {
    /// Index of the device in the configuration.
    device: usize,
    /// The signals of each metric, in an order that faults can be told in.
    targets: BTreeMap<String, Vec<Target>>,
    /// What stands before a `/` in those names, and may be a template's.
    folders: HashSet<String>,
    /// None before its birth, and after a message of the node was missed.
    birth: Option<Birth>,
}

/// One signal of a metric.
#[derive(Debug)]
struct Target {
    signal: u32,
    element: Option<usize>,
    kind: JsonType,
    /// The newest moment that was told of it, wall microseconds: nothing newer may be told as
    /// older. `i64::MIN` when nothing was told.
    floor_us: i64,
    /// When by the node's clock it was captured what was told last; none after a silence.
    captured_ms: Option<u64>,
}

/// What a birth said.
#[derive(Debug, Default)]
struct Birth {
    /// The names behind the aliases; `None` for names that are no signals.
    aliases: HashMap<u64, Option<Box<str>>>,
    /// Aliases that stand for two names.
    ambiguous: HashSet<u64>,
    /// The types of those metrics that are signals, and of their templates.
    types: HashMap<Box<str>, u32>,
}

/// What could not be used of one message.
#[derive(Debug, Default)]
struct Problems {
    first: Option<String>,
    count: usize,
}

impl Problems {
    fn note(&mut self, what: String) {
        self.count += 1;
        self.first.get_or_insert(what);
    }

    fn sentence(self) -> Option<String> {
        let first = self.first?;
        Some(match self.count {
            1 => first,
            count => format!("{first}, and {} more such faults", count - 1),
        })
    }
}

/// What a metric of a message is called, or why that is not known.
enum Called {
    Name(String),
    /// A metric that is no signal.
    Other,
    /// A sentence, and whether a birth would help.
    Unknown(String, bool),
}

/// What a message is read with: its place's memory and what it brings.
struct Reading<'m> {
    sent_ms: Option<u64>,
    now: Now,
    is_birth: bool,
    outcome: &'m mut Outcome,
    problems: Problems,
    /// Something that is current was said, and understood.
    is_live: bool,
}

impl Place {
    pub(super) fn new(configured: &SparkplugDevice) -> Self {
        let mut targets: BTreeMap<String, Vec<Target>> = BTreeMap::new();
        let mut folders = HashSet::new();
        for tag in &configured.tags {
            let target = Target {
                signal: tag.signal,
                element: tag.element,
                kind: tag.kind,
                floor_us: i64::MIN,
                captured_ms: None,
            };
            targets.entry(tag.name.clone()).or_default().push(target);
            folders.extend(tag.name.match_indices('/').map(|(at, _)| tag.name[..at].into()));
        }
        Self { device: configured.device, targets, folders, birth: None }
    }

    pub(super) fn is_born(&self) -> bool {
        self.birth.is_some()
    }

    /// What its birth said does not hold any more.
    pub(super) fn forget(&mut self) {
        self.birth = None;
    }

    /// How many aliases its birth told.
    pub(super) fn aliases(&self) -> usize {
        self.birth.as_ref().map_or(0, |birth| birth.aliases.len())
    }

    /// Its signals have no value as of now, and somebody else says so.
    pub(super) fn silence(&mut self, now: Now) {
        self.birth = None;
        for target in self.targets.values_mut().flatten() {
            target.floor_us = target.floor_us.max(now.wall_us);
            target.captured_ms = None;
        }
    }

    /// It is gone: `why` in one sentence.
    pub(super) fn down(&mut self, why: &str, now: Now, outcome: &mut Outcome) {
        self.silence(now);
        outcome.links.push((self.device, Link::Down(why.into())));
    }

    /// It said something that cannot be used: why, in one sentence.
    pub(super) fn refuse(&self, why: &str, outcome: &mut Outcome) {
        outcome.links.push((self.device, Link::Refused(why.into())));
    }

    /// A birth: names, aliases and types from now on, and the values of this moment.
    pub(super) fn born(&mut self, payload: &Payload, now: Now, outcome: &mut Outcome) {
        let mut birth = Birth::default();
        let mut seen = HashSet::new();
        for metric in payload.metrics().flatten() {
            let Some(name) = &metric.name else { continue };
            let is_signal = self.targets.contains_key(name);
            let is_folder = self.folders.contains(name);
            if let Some(alias) = metric.alias {
                let known = (is_signal || is_folder).then(|| name.as_str().into());
                if birth.aliases.get(&alias).is_some_and(|other| *other != known) {
                    birth.ambiguous.insert(alias);
                }
                birth.aliases.insert(alias, known);
            }
            if is_signal {
                seen.insert(name.clone());
            }
            if let (true, Some(datatype)) = (is_signal || is_folder, metric.datatype) {
                birth.types.insert(name.as_str().into(), datatype);
            }
            if is_folder && metric.is_template(metric.datatype) {
                for member in metric.members().unwrap_or_default().into_iter().flatten() {
                    let Some(path) = member.name.as_ref().map(|member| format!("{name}/{member}")) else { continue };
                    if self.targets.contains_key(&path) {
                        birth.types.extend(member.datatype.map(|datatype| (path.as_str().into(), datatype)));
                        seen.insert(path);
                    }
                }
            }
        }
        self.birth = Some(birth);
        let missing: Vec<_> = self.targets.keys().filter(|name| !seen.contains(*name)).cloned().collect();
        let mut reading = Reading::new(payload.sent_ms, now, true, outcome);
        for name in missing {
            reading.problems.note(format!("the birth has no metric `{}`", shown(&name)));
            let targets = self.targets.get_mut(&name).into_iter().flatten();
            targets.for_each(|target| reading.fail(target, Quality::BAD_NO_ANSWER));
        }
        // A birth is alive even if no metric of it is a signal.
        reading.is_live = true;
        self.read(payload, reading);
    }

    /// Data. Says whether a birth is needed to understand it.
    pub(super) fn data(&mut self, payload: &Payload, now: Now, outcome: &mut Outcome) -> bool {
        let reading = Reading::new(payload.sent_ms, now, false, outcome);
        self.read(payload, reading)
    }

    fn read(&mut self, payload: &Payload, mut reading: Reading<'_>) -> bool {
        let mut wants_birth = self.birth.is_none();
        for metric in payload.metrics() {
            let metric = match metric {
                Ok(metric) => metric,
                Err(refusal) => {
                    reading.problems.note(format!("a metric {refusal}"));
                    continue;
                }
            };
            match self.called(&metric, reading.is_birth) {
                Called::Name(name) => self.metric(&name, &metric, &mut reading),
                Called::Other => reading.is_live |= !metric.is_historical,
                Called::Unknown(why, helps) => {
                    wants_birth |= helps;
                    reading.problems.note(why);
                }
            }
        }
        reading.finish(self.device);
        wants_birth
    }

    fn called(&self, metric: &Metric, is_birth: bool) -> Called {
        let birth = self.birth.as_ref();
        let by_alias = |alias| {
            let Some(birth) = birth else {
                return Called::Unknown(format!("alias {alias} came before the birth that names it"), true);
            };
            if birth.ambiguous.contains(&alias) {
                return Called::Unknown(format!("alias {alias} stands for two metrics in the birth"), false);
            }
            match birth.aliases.get(&alias) {
                None => Called::Unknown(format!("alias {alias} is in no birth"), true),
                Some(None) => Called::Other,
                Some(Some(name)) => Called::Name(name.to_string()),
            }
        };
        match (&metric.name, metric.alias) {
            (None, None) => Called::Unknown("a metric has neither a name nor an alias".into(), false),
            (None, Some(alias)) => by_alias(alias),
            (Some(name), alias) => {
                let known = self.targets.contains_key(name) || self.folders.contains(name);
                // In a birth it is the name that gives the alias its meaning.
                let told = alias.filter(|_| !is_birth).and_then(|alias| birth?.aliases.get(&alias));
                match told {
                    // The names that are no signals are not kept, so of two such nothing is said.
                    Some(told) if told.as_deref() != known.then_some(name.as_str()) => {
                        let name = shown(name);
                        Called::Unknown(format!("metric `{name}` has an alias that the birth gave to another"), true)
                    }
                    _ if known => Called::Name(name.clone()),
                    _ => Called::Other,
                }
            }
        }
    }

    /// A metric that is a signal or may be a template with some.
    fn metric(&mut self, name: &str, metric: &Metric, reading: &mut Reading<'_>) {
        let told = self.birth.as_ref().and_then(|birth| birth.types.get(name).copied());
        let datatype = metric.datatype.or(told);
        if !reading.is_birth && told.is_some() && datatype != told {
            reading.problems.note(format!("metric `{}` has another type than in the birth", shown(name)));
            self.each(name, |target| reading.fail(target, Quality::BAD_UNDECODABLE));
            return;
        }
        self.each(name, |target| reading.take(target, name, metric, datatype));
        if self.folders.contains(name) && metric.is_template(datatype) {
            self.template(name, metric, reading);
        } else if !self.targets.contains_key(name) {
            // A folder's name that is no template.
            reading.is_live |= !metric.is_historical;
        }
    }

    fn each(&mut self, name: &str, act: impl FnMut(&mut Target)) {
        self.targets.get_mut(name).into_iter().flatten().for_each(act);
    }

    /// The members of a template, one level of them.
    fn template(&mut self, name: &str, metric: &Metric, reading: &mut Reading<'_>) {
        if metric.is_null {
            let folder = format!("{name}/");
            let within = self.targets.iter_mut().filter(|(path, _)| path.starts_with(&folder));
            within.flat_map(|(_, targets)| targets).for_each(|target| reading.fail(target, Quality::BAD_SOURCE));
            return;
        }
        let members = match metric.members() {
            Ok(members) => members,
            Err(refusal) => return reading.problems.note(format!("template `{}` {refusal}", shown(name))),
        };
        for member in members {
            let mut member = match member {
                Ok(member) => member,
                Err(refusal) => {
                    reading.problems.note(format!("a member of template `{}` {refusal}", shown(name)));
                    continue;
                }
            };
            let Some(path) = member.name.as_ref().map(|member| format!("{name}/{member}")) else {
                reading.problems.note(format!("a member of template `{}` has no name", shown(name)));
                continue;
            };
            member.captured_ms = member.captured_ms.or(metric.captured_ms);
            member.is_historical |= metric.is_historical;
            member.is_transient |= metric.is_transient;
            if member.quality == Quality::GOOD {
                member.quality = metric.quality;
            }
            if self.folders.contains(&path) && member.is_template(member.datatype) {
                reading.problems.note(format!("metric `{}` {}", shown(&path), Refusal::Nested));
                continue;
            }
            let told = self.birth.as_ref().and_then(|birth| birth.types.get(path.as_str()).copied());
            let datatype = member.datatype.or(told);
            self.each(&path, |target| reading.take(target, &path, &member, datatype));
        }
    }
}

impl<'m> Reading<'m> {
    fn new(sent_ms: Option<u64>, now: Now, is_birth: bool, outcome: &'m mut Outcome) -> Self {
        Self { sent_ms, now, is_birth, outcome, problems: Problems::default(), is_live: false }
    }

    /// A signal has no value as of now.
    fn fail(&mut self, target: &mut Target, quality: Quality) {
        target.floor_us = target.floor_us.max(self.now.wall_us);
        target.captured_ms = None;
        self.outcome.samples.push(Sample::new(target.signal, Raw::Failed(quality)));
    }

    /// The value of a metric for one of its signals.
    fn take(&mut self, target: &mut Target, name: &str, metric: &Metric, datatype: Option<u32>) {
        if metric.is_transient {
            // The node asks not to keep it; said where it can be seen and changed.
            if self.is_birth {
                self.problems.note(format!("metric `{}` is transient: the node asks not to store it", shown(name)));
            }
            return;
        }
        let captured_ms = metric.captured_ms.or(self.sent_ms).filter(|captured| *captured > 0);
        let raw = match (&metric.value, metric.is_null) {
            (_, true) | (None, _) => Raw::Failed(Quality::BAD_SOURCE),
            _ if metric.quality.is_bad() => Raw::Failed(metric.quality),
            (Some(value), false) => match value::raw(datatype, value, target.element) {
                Ok(raw) if !value::fits(&raw, target.kind) => {
                    self.problems.note(format!("metric `{}` {}", shown(name), Refusal::Configured));
                    Raw::Failed(Quality::BAD_UNDECODABLE)
                }
                Ok(raw) => raw,
                Err(refusal) => {
                    self.problems.note(format!("metric `{}` {refusal}", shown(name)));
                    Raw::Failed(Quality::BAD_UNDECODABLE)
                }
            },
        };
        let quality = if matches!(raw, Raw::Failed(_)) { Quality::GOOD } else { metric.quality };
        let mut sample = Sample { quality, ..Sample::new(target.signal, raw) };
        let own_us = captured_ms.and_then(|ms| i64::try_from(ms).ok()?.checked_mul(1_000));
        let believed_us = own_us.filter(|own| *own <= self.now.wall_us.saturating_add(AHEAD_US));
        if metric.is_historical {
            // What was, and nobody knows when, is no reading.
            if believed_us.is_none() {
                let what = if own_us.is_some() { "a time that is still to come" } else { "no time" };
                return self.problems.note(format!("metric `{}` is historical and has {what}", shown(name)));
            }
            sample.wall_us = believed_us;
            sample.is_historical = true;
            self.outcome.samples.push(sample);
            return;
        }
        self.is_live = true;
        if self.is_birth && captured_ms.is_some() && captured_ms == target.captured_ms {
            // The node says again what it said.
            return;
        }
        target.captured_ms = captured_ms;
        // A clock that was set back, or one behind ours after a silence, would put what is
        // true now before what was.
        sample.wall_us = believed_us.filter(|captured| *captured > target.floor_us);
        target.floor_us = target.floor_us.max(sample.wall_us.unwrap_or(self.now.wall_us));
        self.outcome.samples.push(sample);
    }

    fn finish(self, device: usize) {
        if self.is_live {
            self.outcome.links.push((device, Link::Up));
        }
        if let Some(sentence) = self.problems.sentence() {
            self.outcome.links.push((device, Link::Refused(sentence.clone())));
            // A birth's values stand in it as far as they can be used; nothing is lost with it.
            if !self.is_birth {
                self.outcome.dead.get_or_insert(format!("cannot be used as a whole: {sentence}"));
            }
        }
    }
}

/// A name as a sentence takes it.
fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}
