//! Buckets: one reading for all values of a stretch of time, where the raw ones are not to
//! leave the plant.
//!
//! Edges lie at multiples of the bucket's length on the wall clock as it was believed when the
//! process started, so that a minute is a minute of the day; a wall clock that is set later
//! does not move them. A bucket's reading has the time of the last millisecond in it.
//!
//! There is at most one reading a bucket, whatever happens: a bucket that a stop or a kill
//! cuts short is given up, and the next process' reading of it is uncertain(partial). Two
//! halves would tell more than the policy lets out.

use sandan_proto::reading::{Quality, QualityClass, Value, ValueType};

use super::gate::Seen;
use crate::config::Function;

/// A bucket that no later value closes is closed so long after its end: what is on its way
/// from a driver is counted until then.
const GRACE_US: i64 = 2_000_000;
/// A reading's time is rounded to this.
const MILLISECOND_US: i64 = 1_000;

#[derive(Debug, Clone)]
pub(super) struct Bucket {
    every_us: i64,
    /// Wall clock less boot clock.
    offset_us: i64,
    function: Function,
    interval_us: i64,
    /// The type of its readings.
    value_type: ValueType,
    open: Option<Open>,
    /// The last bucket that was closed, by number.
    closed: Option<i64>,
    /// The last value was bad: so was the signal until the next one.
    is_bad: bool,
}

/// What is known of the bucket that is being filled.
#[derive(Debug, Clone)]
struct Open {
    number: i64,
    count: u32,
    sum: f64,
    value: Option<Value>,
    /// Of the values that can be used: the first that is uncertain, or a counter's mark.
    quality: Quality,
    /// The last value that cannot be used.
    bad: Option<Quality>,
    is_partial: bool,
}

impl Bucket {
    pub(super) fn new(
        every_us: i64,
        offset_us: i64,
        function: Function,
        interval_us: i64,
        value_type: ValueType,
    ) -> Self {
        let every_us = every_us.max(MILLISECOND_US);
        Self { every_us, offset_us, function, interval_us, value_type, open: None, closed: None, is_bad: false }
    }

    /// Adds a value; gives the reading of the bucket that it ends. A value of a bucket that has
    /// been closed comes too late and is left out.
    pub(super) fn take(&mut self, seen: &Seen) -> Option<Seen> {
        let since_zero = seen.at_us.saturating_add(self.offset_us);
        let number = since_zero.div_euclid(self.every_us);
        let newest = self.open.as_ref().map(|open| open.number).or(self.closed);
        if newest.is_some_and(|newest| number < newest) || self.closed == Some(number) {
            return None;
        }
        let ended = if self.open.as_ref().is_some_and(|open| open.number < number) { self.close() } else { None };
        let is_first = newest.is_none() && since_zero.rem_euclid(self.every_us) >= self.interval_us;
        let was_bad = self.is_bad;
        let open = self.open.get_or_insert_with(|| Open::new(number, is_first || was_bad));
        open.add(seen, self.function);
        self.is_bad = seen.quality.is_bad();
        ended
    }

    /// The reading of a bucket that is over and that no value closed.
    pub(super) fn due(&mut self, now_us: i64) -> Option<Seen> {
        let number = self.open.as_ref()?.number;
        if now_us < self.end_us(number).saturating_add(GRACE_US) { None } else { self.close() }
    }

    fn end_us(&self, number: i64) -> i64 {
        number.saturating_add(1).saturating_mul(self.every_us).saturating_sub(self.offset_us)
    }

    fn close(&mut self) -> Option<Seen> {
        let open = self.open.take()?;
        self.closed = Some(open.number);
        let at_us = self.end_us(open.number) - MILLISECOND_US;
        let (value, quality) = match (self.function, open.value, open.bad) {
            (Function::Mean, Some(_), bad) => {
                let mean = open.sum / f64::from(open.count);
                let quality = if mean.is_finite() { Ok(bad) } else { Err(Quality::BAD_OUT_OF_RANGE) };
                (Value::F64(mean), quality)
            }
            (_, Some(value), bad) => (value, Ok(bad)),
            (_, None, bad) => (Value::place_holder(self.value_type), Err(bad.unwrap_or(Quality::BAD_SOURCE))),
        };
        Some(match quality {
            Err(bad) => Seen { at_us, value: Value::place_holder(self.value_type), quality: bad },
            Ok(bad) => {
                let is_partial = open.is_partial || bad.is_some();
                let is_uncertain = open.quality.class() == QualityClass::Uncertain;
                let quality = if is_partial && !is_uncertain { Quality::UNCERTAIN_PARTIAL } else { open.quality };
                Seen { at_us, value, quality }
            }
        })
    }
}

impl Open {
    fn new(number: i64, is_partial: bool) -> Self {
        Self { number, count: 0, sum: 0.0, value: None, quality: Quality::GOOD, bad: None, is_partial }
    }

    fn add(&mut self, seen: &Seen, function: Function) {
        if seen.quality.is_bad() {
            self.bad = Some(seen.quality);
            return;
        }
        // An uncertain value makes the bucket so; a reset counts more than a wrap beside it.
        let weight = |quality: Quality| match quality {
            Quality::GOOD => 0,
            Quality::GOOD_COUNTER_WRAP => 1,
            _ if quality.class() == QualityClass::Good => 2,
            _ => 3,
        };
        if weight(seen.quality) > weight(self.quality) {
            self.quality = seen.quality;
        }
        self.count += 1;
        self.sum += seen.value.as_f64().unwrap_or_default();
        let replaces = self.value.as_ref().is_none_or(|value| match function {
            Function::Mean | Function::Last => true,
            Function::Min => is_less(&seen.value, value),
            Function::Max => is_less(value, &seen.value),
        });
        if replaces {
            self.value = Some(seen.value.clone());
        }
    }
}

fn is_less(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::I64(one), Value::I64(other)) => one < other,
        (one, other) => one.as_f64() < other.as_f64(),
    }
}
