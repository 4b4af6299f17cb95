//! What many readings come to: pure, and the same for every engine.
//!
//! [`Stats`] of pieces of a series that follow one another are joined to the stats of the
//! whole, so that an hour that was counted once is never decoded again; [`Fold`] makes
//! buckets of readings and pieces. Joining gives what counting all of it in one go gives: the
//! sums are kept to twice the precision of what is shown.

use std::collections::BTreeSet;

use sandan_proto::reading::Value;

use crate::consent::Function;
use crate::time::{DAY_US, MINUTE_US};

mod fold;
pub(in crate::store) mod packed;

pub use fold::Fold;

/// A value holds for so many of its series' expected intervals when nothing follows: one
/// missed poll and some delay are no gap, two are.
const HELD_INTERVALS: i64 = 3;
/// For how long a value holds of which the gateway does not say how often it comes.
const HELD_UNKNOWN_US: i64 = 10 * MINUTE_US;
/// Two readings of a counter further apart do not tell by how much it grew: across a longer
/// pause a reset and an overflow cannot be told from work.
const LINKED_US: i64 = DAY_US;
/// The sizes at which counters of machines overflow: 16 and 32 bits.
const COUNTER_SIZES: [f64; 2] = [65_536.0, 4_294_967_296.0];
/// A counter that falls has overflown where that is a step of at most this part of its size;
/// else it was set to 0.
const OVERFLOW_STEP: f64 = 1.0 / 16.0;

/// For how long a value of a series holds, µs, from its expected interval or heartbeat.
pub fn hold_us(expected_interval_ms: u32) -> i64 {
    match i64::from(expected_interval_ms) {
        0 => HELD_UNKNOWN_US,
        ms => ms * 1_000 * HELD_INTERVALS,
    }
}

/// By how much a counter grew from one reading to the next.
pub fn counter_step(from: f64, to: f64) -> f64 {
    if to >= from {
        return to - from;
    }
    let whole = from.fract() == 0.0 && to.fract() == 0.0;
    let overflow = COUNTER_SIZES
        .into_iter()
        .find(|size| from < *size)
        .map(|size| (size - from + to, size))
        .filter(|(step, size)| whole && to >= 0.0 && *step <= size * OVERFLOW_STEP);
    overflow.map_or(to.max(0.0), |(step, _)| step)
}

/// A sum of many numbers to twice the precision of one, so that it hardly depends on how they
/// were put together. After T. J. Dekker, 1971.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sum {
    /// The sum, rounded.
    pub high: f64,
    /// What the rounding left out.
    pub low: f64,
}

impl Sum {
    /// Adds a number.
    pub fn add(&mut self, value: f64) {
        self.join(Sum { high: value, low: 0.0 });
    }

    /// Adds another sum.
    pub fn join(&mut self, other: Sum) {
        let sum = self.high + other.high;
        let part = sum - self.high;
        let lost = (self.high - (sum - part)) + (other.high - part);
        let low = self.low + other.low + lost;
        self.high = sum + low;
        // Beyond the greatest number nothing is left to be precise about.
        self.low = if self.high.is_finite() { low - (self.high - sum) } else { 0.0 };
    }
}

/// A reading at a time, µs since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    /// When.
    pub time_us: i64,
    /// What.
    pub value: f64,
}

/// What a stretch of one series comes to. Only numbers count; what is bad or a text ends the
/// holding of what came before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// Its first reading, of whatever quality, µs since 1970.
    pub from_us: i64,
    /// Its last one.
    pub to_us: i64,
    /// Numbers in it. With none of them the next fields mean nothing.
    pub count: u64,
    /// The first.
    pub first: Point,
    /// The last.
    pub last: Point,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All of them together.
    pub sum: Sum,
    /// Value times µs from the first reading to the last, each value held until the next.
    pub integral: Sum,
    /// For how much of this time a value was held.
    pub covered_us: i64,
    /// By how much a counter grew from the first to the last.
    pub increase: Sum,
    /// Whether `last` is also the last of whatever quality, and so holds on.
    pub held: bool,
}

impl Stats {
    /// Of one reading: none where it is bad or no number.
    pub fn of(time_us: i64, value: Option<f64>) -> Self {
        let value = value.filter(|value| value.is_finite());
        let point = Point { time_us, value: value.unwrap_or(0.0) };
        let mut sum = Sum::default();
        sum.add(point.value);
        Self {
            from_us: time_us,
            to_us: time_us,
            count: value.is_some().into(),
            first: point,
            last: point,
            min: point.value,
            max: point.value,
            sum,
            integral: Sum::default(),
            covered_us: 0,
            increase: Sum::default(),
            held: value.is_some(),
        }
    }

    /// Joins what follows: nothing of it lies before the end of this.
    pub fn join(&mut self, next: &Stats, hold_us: i64) {
        if let Some(last) = self.holding() {
            let span_us = next.from_us.saturating_sub(last.time_us).clamp(0, hold_us);
            self.integral.add(last.value * span_us as f64);
            self.covered_us += span_us;
        }
        if let Some(step) = self.link().and_then(|last| step_to(last, next)) {
            self.increase.add(step);
        }
        self.add(next);
        self.to_us = next.to_us;
        self.held = next.held;
    }

    /// Adds what is inside of `next`, and nothing of what lies between.
    fn add(&mut self, next: &Stats) {
        if next.count > 0 {
            if self.count == 0 {
                (self.first, self.min, self.max) = (next.first, next.min, next.max);
                self.sum = Sum::default();
            }
            self.last = next.last;
            self.min = self.min.min(next.min);
            self.max = self.max.max(next.max);
            self.sum.join(next.sum);
            self.count += next.count;
        }
        self.integral.join(next.integral);
        self.covered_us += next.covered_us;
        self.increase.join(next.increase);
    }

    /// The value that holds on behind it.
    fn holding(&self) -> Option<Point> {
        (self.count > 0 && self.held).then_some(self.last)
    }

    /// The reading from which a counter is followed.
    fn link(&self) -> Option<Point> {
        (self.count > 0).then_some(self.last)
    }
}

/// By how much a counter grew from a reading to the first of what follows.
fn step_to(last: Point, next: &Stats) -> Option<f64> {
    let near = next.count > 0 && next.first.time_us.saturating_sub(last.time_us) <= LINKED_US;
    near.then(|| counter_step(last.value, next.first.value))
}

/// Joins a stretch to those that are known of its width, of which each lies in one slot of it.
/// What comes behind its time is counted as if it had come in order.
pub(in crate::store) fn count_in(known: &mut Vec<Stats>, stats: Stats, width_us: i64, hold_us: i64) {
    let slot = |stats: &Stats| stats.from_us.div_euclid(width_us);
    let at = known.partition_point(|known| slot(known) <= slot(&stats));
    match known[..at].last_mut().filter(|known| slot(known) == slot(&stats)) {
        Some(known) => known.join(&stats, hold_us),
        None => known.insert(at, stats),
    }
}

/// What of a bucket is asked for, and how far one reading tells of what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// For how long a value holds, µs.
    pub hold_us: i64,
    /// The mean over time.
    pub time_mean: bool,
    /// The growth of a counter.
    pub increase: bool,
    /// How long each state was held.
    pub durations: bool,
}

impl Rules {
    /// From what is asked of a series.
    pub fn new(functions: &BTreeSet<Function>, expected_interval_ms: u32) -> Self {
        let asked = |function| functions.contains(&function);
        Self {
            hold_us: hold_us(expected_interval_ms),
            time_mean: asked(Function::TimeMean),
            increase: asked(Function::Increase),
            durations: asked(Function::Durations),
        }
    }

    /// How far before a bucket readings tell something of it, µs.
    pub fn look_back_us(&self) -> i64 {
        let held = if self.time_mean || self.durations { self.hold_us } else { 0 };
        let linked = if self.increase { LINKED_US } else { 0 };
        held.max(linked)
    }

    /// Whether buckets come that hold no reading, but time for which an earlier one holds.
    fn fills(&self) -> bool {
        self.time_mean || self.durations
    }
}

/// The state that a value stands for; none for a measured number.
pub fn state_of(value: &Value) -> Option<String> {
    match value {
        Value::F64(_) => None,
        Value::Bool(_) | Value::I64(_) | Value::Text(_) => Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests;
