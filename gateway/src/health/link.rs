//! One device's record: counts, the last five minutes, and what is wrong right now.

use std::collections::BTreeMap;
use std::time::Duration;

use sandan_proto::v1::{LinkHealth, LinkState};

use super::millis;
use super::signals::Signals;

/// The window that success and latency are judged over.
const WINDOW_US: i64 = 300_000_000;
/// It moves in steps of half a minute.
const SLOTS: usize = 10;
const SLOT_US: i64 = WINDOW_US / SLOTS as i64;
/// Upper edges of latency classes, in milliseconds; the last class is open.
const LATENCY_MS: [u32; 20] =
    [1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500, 800, 1_200, 2_000, 5_000, 20_000, 60_000];
/// Below this share of good polls a link is called flaky.
const FLAKY_PERMILLE: u32 = 950;
/// A device is late when nothing good came for this many of its intervals …
const STALE_INTERVALS: u32 = 3;
/// … and this much more, for a timeout and a reconnect.
const STALE_GRACE: Duration = Duration::from_secs(2);
/// Most refused parts that are remembered with their sentence.
const MAX_REFUSED: usize = 64;

/// What is wrong with a device that has not spoken since the start.
pub(crate) const NOTHING_HEARD: &str = "nothing heard yet";

#[derive(Debug)]
pub(super) struct Link {
    device: String,
    endpoint: String,
    interval: Duration,
    since_us: i64,
    polls: u64,
    failures: u64,
    pub(super) skipped: u64,
    pub(super) ignored: u64,
    last_good_us: Option<i64>,
    /// Why it cannot be heard at all.
    silent: Option<String>,
    /// What it answers instead of values, by part.
    refused: BTreeMap<usize, String>,
    /// How its signals are; none before they were counted.
    pub(super) signals: Option<Signals>,
    slots: [Slot; SLOTS],
}

/// After this long without a good value a device, or a signal, is late.
pub(super) fn patience(interval: Duration) -> Duration {
    interval * STALE_INTERVALS + STALE_GRACE
}

/// Half a minute.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    number: i64,
    polls: u32,
    failures: u32,
    latency: [u32; LATENCY_MS.len()],
}

impl Link {
    /// A device that is listened to since `since_us`.
    pub(super) fn new(device: &str, endpoint: String, interval: Duration, since_us: i64) -> Self {
        Self {
            device: device.into(),
            endpoint,
            interval,
            since_us,
            polls: 0,
            failures: 0,
            skipped: 0,
            ignored: 0,
            last_good_us: None,
            silent: None,
            refused: BTreeMap::new(),
            signals: None,
            slots: [Slot::default(); SLOTS],
        }
    }

    pub(super) fn answered(&mut self, part: usize, latency: Option<Duration>, now_us: i64) {
        self.count(false, latency, now_us);
        self.last_good_us = Some(now_us);
        self.silent = None;
        self.refused.remove(&part);
    }

    pub(super) fn refused(&mut self, part: usize, latency: Option<Duration>, fault: &str, now_us: i64) {
        self.count(true, latency, now_us);
        self.silent = None;
        if self.refused.len() < MAX_REFUSED || self.refused.contains_key(&part) {
            self.refused.insert(part, fault.into());
        }
    }

    pub(super) fn silent(&mut self, fault: &str, now_us: i64) {
        self.count(true, None, now_us);
        self.silent = Some(fault.into());
    }

    pub(super) fn reachable(&mut self) {
        self.silent = None;
    }

    fn count(&mut self, failed: bool, latency: Option<Duration>, now_us: i64) {
        self.polls += 1;
        self.failures += u64::from(failed);
        let number = now_us.div_euclid(SLOT_US);
        let slot = &mut self.slots[usize::try_from(number.rem_euclid(SLOTS as i64)).unwrap_or(0)];
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        slot.polls += 1;
        slot.failures += u32::from(failed);
        if let Some(latency) = latency {
            let class = LATENCY_MS.partition_point(|edge| latency > Duration::from_millis((*edge).into()));
            slot.latency[class.min(LATENCY_MS.len() - 1)] += 1;
        }
    }

    pub(super) fn snapshot(&self, now_us: i64) -> LinkHealth {
        let oldest = now_us.div_euclid(SLOT_US) - SLOTS as i64 + 1;
        let recent = || self.slots.iter().filter(|slot| slot.number >= oldest);
        let polls: u32 = recent().map(|slot| slot.polls).sum();
        let failures: u32 = recent().map(|slot| slot.failures).sum();
        let permille = if polls == 0 { 0 } else { u64::from(polls - failures) * 1_000 / u64::from(polls) };
        let permille = u32::try_from(permille).unwrap_or(1_000);
        let age = self.last_good_us.map(|good| millis(now_us - good));
        let (state, fault) = self.judge(now_us, age, polls, permille);
        LinkHealth {
            device: self.device.clone(),
            endpoint: self.endpoint.clone(),
            state: state.into(),
            fault,
            polls_total: self.polls,
            failures_total: self.failures,
            success_permille_5min: permille,
            latency_p99_ms: p99(&recent()),
            last_good_age_ms: age,
            interval_ms: u32::try_from(self.interval.as_millis()).unwrap_or(u32::MAX),
            signals: self.signals.as_ref().map(|signals| signals.counts),
            worst_signals: self.signals.as_ref().map(|signals| signals.worst.clone()).unwrap_or_default(),
        }
    }

    fn judge(&self, now_us: i64, age: Option<u64>, polls: u32, permille: u32) -> (LinkState, String) {
        if let Some(fault) = &self.silent {
            return (LinkState::Down, fault.clone());
        }
        let refused = self.refused.values().next().map(|first| match self.refused.len() {
            1 => first.clone(),
            more => format!("{first}, and {} more such faults", more - 1),
        });
        let patience = patience(self.interval);
        match (age, refused) {
            (None, Some(fault)) => (LinkState::Down, fault),
            (None, None) if u128::from(millis(now_us - self.since_us)) > patience.as_millis() => {
                (LinkState::Down, NOTHING_HEARD.into())
            }
            // It had no time to answer: whoever calls it down would cry at each start.
            (None, None) => (LinkState::Unspecified, NOTHING_HEARD.into()),
            (Some(age), fault) if u128::from(age) > patience.as_millis() => {
                (LinkState::Down, fault.unwrap_or_else(|| format!("no good value for {} s", age / 1_000)))
            }
            (Some(_), Some(fault)) => (LinkState::Flaky, fault),
            (Some(_), None) if polls > 0 && permille < FLAKY_PERMILLE => (
                LinkState::Flaky,
                format!("only {} % of the polls of the last 5 minutes brought values", permille / 10),
            ),
            (Some(_), None) => (LinkState::Up, String::new()),
        }
    }
}

/// The upper edge of the class that 99 of 100 answers do not exceed; 0 without answers.
fn p99<'a>(slots: &(impl Iterator<Item = &'a Slot> + Clone)) -> u32 {
    let in_class = |class: usize| slots.clone().map(|slot| u64::from(slot.latency[class])).sum::<u64>();
    let total: u64 = (0..LATENCY_MS.len()).map(in_class).sum();
    let mut seen = 0;
    for (class, edge) in LATENCY_MS.into_iter().enumerate() {
        seen += in_class(class);
        if total > 0 && seen * 100 >= total * 99 {
            return edge;
        }
    }
    0
}
