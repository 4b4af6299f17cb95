//! `inactive → pending → firing → resolved`, for each kind and subject.
//!
//! Pure: whoever holds it looks with all conditions of now, keeps what changed, and hands on what it is
//! given to tell. What is told in one look is one message, so that fifty gateways of one switch are one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kind::{Condition, Kind, Level, Subject};
use super::quiet::Quiet;
use crate::time::{HOUR_US, MINUTE_US};

/// Messages that may go at once: the first faults of a bad morning are told without delay.
const BURST: i64 = 10;
/// One more may go after this: twelve an hour is what a person can still read.
const REFILL_US: i64 = 5 * MINUTE_US;
/// Left for critical ones when nothing but warnings has used up the rest.
const FOR_CRITICAL: i64 = 3;

/// How long things last before somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Of single kinds, µs; else [`Kind::usual_for_us`].
    pub for_us: BTreeMap<Kind, i64>,
    /// Kinds of which nobody is told.
    pub off: BTreeSet<Kind>,
    /// Gone for so long, µs, it is over: what comes and goes is one alert.
    pub resolve_us: i64,
    /// A critical one that lasts is told again after this, µs.
    pub repeat_critical_us: i64,
    /// So is a warning, µs.
    pub repeat_warn_us: i64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            for_us: BTreeMap::new(),
            off: BTreeSet::new(),
            resolve_us: MINUTE_US,
            repeat_critical_us: 4 * HOUR_US,
            repeat_warn_us: 24 * HOUR_US,
        }
    }
}

impl Timing {
    /// How long it has to last before anybody is told, µs.
    pub fn for_us(&self, kind: Kind) -> i64 {
        self.for_us.get(&kind).copied().unwrap_or_else(|| kind.usual_for_us())
    }

    fn repeat_us(&self, level: Level) -> i64 {
        match level {
            Level::Critical => self.repeat_critical_us,
            Level::Warn => self.repeat_warn_us,
        }
    }
}

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It began.
    Firing,
    /// It was a warning before.
    Worse,
    /// It lasts.
    Still,
    /// It is over.
    Resolved,
}

impl Event {
    /// Its word in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Event::Firing => "firing",
            Event::Worse => "worse",
            Event::Still => "still",
            Event::Resolved => "resolved",
        }
    }
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The same from the beginning of an alert until its end.
    pub id: String,
    /// What happened.
    pub event: Event,
    /// What is wrong, or was.
    #[serde(flatten)]
    pub condition: Condition,
    /// The worst level that was told of it, with this.
    pub worst: Level,
    /// When it ended, µs since 1970.
    pub ended_us: Option<i64>,
}

/// What has to outlive a restart of one alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// As it was seen last.
    pub condition: Condition,
    /// Since when it is told, or would be but for quiet, µs since 1970.
    pub fired_us: i64,
    /// Since when the condition is gone, µs since 1970.
    pub gone_us: Option<i64>,
    /// What was told of it last.
    pub told: Option<Told>,
}

/// What was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The worst that was told.
    pub level: Level,
    /// When last, µs since 1970.
    pub at_us: i64,
}

/// An alert in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// What is wrong.
    #[serde(flatten)]
    pub condition: Condition,
    /// Whether it has lasted long enough.
    pub is_firing: bool,
    /// Whether somebody was told.
    pub is_told: bool,
}

type Key = (Kind, Subject);

/// All alerts of one audience.
#[derive(Debug, Default)]
pub struct Engine {
    /// Those that have not lasted long enough: since when they are seen.
    pending: BTreeMap<Key, (Condition, i64)>,
    firing: BTreeMap<Key, Saved>,
    /// Changed since the last [`Engine::changes`].
    changed: BTreeSet<Key>,
    budget: Budget,
    now_us: i64,
}

impl Engine {
    /// Goes on with what was saved.
    pub fn restore(saved: impl IntoIterator<Item = Saved>) -> Self {
        let firing = saved.into_iter().map(|it| ((it.condition.kind, it.condition.subject.clone()), it)).collect();
        Self { firing, ..Self::default() }
    }

    /// Looks at all conditions of now; gives what is to be told, the worst first, in one message. A time that
    /// goes back is taken for the latest that was seen.
    pub fn look(&mut self, conditions: &[Condition], quiet: &Quiet, timing: &Timing, now_us: i64) -> Vec<Notice> {
        self.now_us = self.now_us.max(now_us);
        let seen: BTreeMap<Key, &Condition> = conditions
            .iter()
            .filter(|it| !timing.off.contains(&it.kind))
            .map(|it| ((it.kind, it.subject.clone()), it))
            .collect();
        // Kinds that are switched off for people hide what is below them all the same.
        let hiding = conditions.iter().filter(|it| it.kind.hides_what_is_below());
        let dark: BTreeSet<&Subject> = hiding.map(|it| &it.subject).collect();
        let hidden: BTreeSet<Key> =
            conditions.iter().filter(|it| it.is_hidden).map(|it| (it.kind, it.subject.clone())).collect();
        let is_dark = |key: &Key| hidden.contains(key) || key.1.above().any(|above| dark.contains(&above));
        self.note(&seen, &is_dark, timing);
        self.tell(quiet, timing, &is_dark)
    }

    /// Moves what is pending and what is firing on.
    fn note(&mut self, seen: &BTreeMap<Key, &Condition>, is_dark: &impl Fn(&Key) -> bool, timing: &Timing) {
        let now_us = self.now_us;
        self.pending.retain(|key, _| seen.contains_key(key) && !is_dark(key));
        for (key, condition) in seen {
            if is_dark(key) {
                continue;
            }
            if let Some(it) = self.firing.get_mut(key) {
                let next = Condition { since_us: it.condition.since_us, ..(*condition).clone() };
                if it.condition != next || it.gone_us.is_some() {
                    (it.condition, it.gone_us) = (next, None);
                    self.changed.insert(key.clone());
                }
                continue;
            }
            let (pending, first_us) = self.pending.entry(key.clone()).or_insert(((*condition).clone(), now_us));
            *pending = (*condition).clone();
            if now_us - *first_us >= timing.for_us(key.0)
                && let Some((condition, _)) = self.pending.remove(key)
            {
                let saved = Saved { condition, fired_us: now_us, gone_us: None, told: None };
                self.firing.insert(key.clone(), saved);
                self.changed.insert(key.clone());
            }
        }
        // What is hidden is neither there nor gone.
        for (key, it) in &mut self.firing {
            if it.gone_us.is_none() && !seen.contains_key(key) && !is_dark(key) {
                it.gone_us = Some(now_us);
                self.changed.insert(key.clone());
            }
        }
        // What nobody was told of ends without a word.
        let over = |it: &Saved| it.gone_us.is_some_and(|gone_us| now_us - gone_us >= timing.resolve_us);
        for (key, _) in self.firing.extract_if(.., |_, it| it.told.is_none() && over(it)) {
            self.changed.insert(key);
        }
    }

    /// Gathers what is due, if a message may go.
    fn tell(&mut self, quiet: &Quiet, timing: &Timing, is_dark: &impl Fn(&Key) -> bool) -> Vec<Notice> {
        let now_us = self.now_us;
        let due = |key: &Key, it: &Saved| -> Option<Event> {
            if let Some(gone_us) = it.gone_us {
                // An end is told in quiet too: whoever was told waits for it.
                return (it.told.is_some() && now_us - gone_us >= timing.resolve_us).then_some(Event::Resolved);
            }
            if is_dark(key) || quiet.covers(key.0, &key.1, now_us) {
                return None;
            }
            match it.told {
                None => Some(Event::Firing),
                Some(told) if it.condition.level > told.level => Some(Event::Worse),
                Some(told) if now_us - told.at_us >= timing.repeat_us(it.condition.level) => Some(Event::Still),
                Some(_) => None,
            }
        };
        let mut told: Vec<(Key, Event)> =
            self.firing.iter().filter_map(|(key, it)| Some((key.clone(), due(key, it)?))).collect();
        let worst = told.iter().filter_map(|(key, _)| self.firing.get(key)).map(|it| it.condition.level).max();
        let Some(worst) = worst else { return Vec::new() };
        if !self.budget.take(worst, now_us) {
            return Vec::new();
        }
        let rank = |key: &Key| self.firing.get(key).map(|it| std::cmp::Reverse(it.condition.level));
        told.sort_by_key(|(key, event)| (*event == Event::Resolved, rank(key)));
        let mut notices = Vec::with_capacity(told.len());
        for (key, event) in told {
            let Some(it) = self.firing.get_mut(&key) else { continue };
            let id = format!("{}:{}@{}", key.0, key.1, it.fired_us);
            let worst = it.told.map_or(it.condition.level, |told| told.level.max(it.condition.level));
            notices.push(Notice { id, event, condition: it.condition.clone(), worst, ended_us: it.gone_us });
            if event == Event::Resolved {
                self.firing.remove(&key);
            } else {
                let level = worst;
                it.told = Some(Told { level, at_us: now_us });
            }
            self.changed.insert(key);
        }
        notices
    }

    /// What has to be kept since it was asked last: by key, none of what is over.
    pub fn changes(&mut self) -> Vec<(String, Option<Saved>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|key| (format!("{}:{}", key.0, key.1), self.firing.get(&key).cloned())).collect()
    }

    /// All that is wrong, also what nobody is told of yet, the worst first.
    pub fn shown(&self) -> Vec<Shown> {
        let firing = self.firing.values().filter(|it| it.gone_us.is_none()).map(|it| Shown {
            condition: it.condition.clone(),
            is_firing: true,
            is_told: it.told.is_some(),
        });
        let pending = self.pending.values();
        let pending =
            pending.map(|(condition, _)| Shown { condition: condition.clone(), is_firing: false, is_told: false });
        let mut all: Vec<_> = firing.chain(pending).collect();
        all.sort_by_key(|it| (!it.is_firing, std::cmp::Reverse(it.condition.level), it.condition.since_us));
        all
    }
}

/// How many messages may still go.
#[derive(Debug)]
struct Budget {
    left: i64,
    /// When the last one was added, µs since 1970.
    filled_us: i64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: BURST, filled_us: 0 }
    }
}

impl Budget {
    fn take(&mut self, level: Level, now_us: i64) -> bool {
        if self.left >= BURST {
            self.filled_us = now_us;
        }
        let more = (now_us - self.filled_us).max(0) / REFILL_US;
        self.filled_us += more * REFILL_US;
        self.left = self.left.saturating_add(more).min(BURST);
        let kept = if level == Level::Critical { 0 } else { FOR_CRITICAL };
        if self.left <= kept {
            return false;
        }
        self.left -= 1;
        true
    }
}

/// The most messages in a length of time, µs.
#[cfg(test)]
pub(super) fn most_messages(us: i64) -> i64 {
    BURST + us / REFILL_US + 1
}

#[cfg(test)]
mod tests;
