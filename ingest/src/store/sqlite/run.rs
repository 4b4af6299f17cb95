//! A run: readings of one series in the order of time, out of one inbox row or one
//! block. What is read and what is packed is made of runs.

use sandan_proto::batch::{Column, Group, Values};
use sandan_proto::reading::{Quality, QualityClass, Value, ValueType};

/// Readings of one series; the columns are equally long but for `quality`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    /// Observation times, µs since 1970.
    pub times: Vec<i64>,
    /// The commit that stored each.
    pub commits: Vec<i64>,
    /// Empty while all are good.
    pub quality: Vec<Quality>,
    pub values: Values,
}

/// How a record was stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    /// Wall time = monotonic time + offset.
    pub offset_us: i64,
    /// The offset is estimated: what is good is uncertain(clock).
    pub uncertain: bool,
    /// The commit that stored it.
    pub commit: i64,
}

impl Run {
    pub(super) fn new(of: ValueType) -> Self {
        Self { times: Vec::new(), commits: Vec::new(), quality: Vec::new(), values: Values::empty(of) }
    }

    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    pub(super) fn quality(&self, index: usize) -> Quality {
        self.quality.get(index).copied().unwrap_or_default()
    }

    /// Appends a column of a batch; false when its type is another.
    pub(super) fn extend(&mut self, group: &Group, column: &Column, stored: Stored) -> bool {
        let Stored { offset_us, uncertain, commit } = stored;
        match (&mut self.values, &column.values) {
            (Values::F64(all), Values::F64(more)) => all.extend_from_slice(more),
            (Values::I64(all), Values::I64(more)) => all.extend_from_slice(more),
            (Values::Bool(all), Values::Bool(more)) => all.extend_from_slice(more),
            (Values::Text(all), Values::Text(more)) => all.extend_from_slice(more),
            _ => return false,
        }
        if !self.quality.is_empty() || !column.quality.is_empty() || uncertain {
            self.quality.resize(self.times.len(), Quality::GOOD);
            self.quality.extend(column.qualities());
        }
        if uncertain {
            for quality in &mut self.quality[self.times.len()..] {
                if quality.class() == QualityClass::Good {
                    *quality = Quality::UNCERTAIN_CLOCK;
                }
            }
        }
        // Admission has seen that the sum does not overflow.
        self.times.extend(group.times_us.iter().map(|time_us| time_us.saturating_add(offset_us)));
        self.commits.resize(self.times.len(), commit);
        true
    }

    /// Appends another run; false when its type is another.
    pub(super) fn append(&mut self, more: Self) -> bool {
        let rows = self.len();
        match (&mut self.values, more.values) {
            (Values::F64(all), Values::F64(more)) => all.extend(more),
            (Values::I64(all), Values::I64(more)) => all.extend(more),
            (Values::Bool(all), Values::Bool(more)) => all.extend(more),
            (Values::Text(all), Values::Text(more)) => all.extend(more),
            _ => return false,
        }
        if !self.quality.is_empty() || !more.quality.is_empty() {
            self.quality.resize(rows, Quality::GOOD);
            self.quality.extend(more.quality);
            self.quality.resize(rows + more.times.len(), Quality::GOOD);
        }
        self.times.extend(more.times);
        self.commits.extend(more.commits);
        true
    }

    /// Orders by time, then commit. Readings of one time and commit stay as they are.
    pub(super) fn sort_by_commit(&mut self) {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|&index| (self.times[index], self.commits[index]));
        *self = self.pick(&order);
    }

    /// Orders by time. Readings of one time stay as they came, which is the order of
    /// their commits.
    pub(super) fn sort(&mut self) {
        if self.times.is_sorted() {
            return;
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|&index| self.times[index]);
        *self = self.pick(&order);
    }

    fn pick(&self, order: &[usize]) -> Self {
        fn picked<T: Clone>(from: &[T], order: &[usize]) -> Vec<T> {
            order.iter().map(|&index| from[index].clone()).collect()
        }
        Self {
            times: picked(&self.times, order),
            commits: picked(&self.commits, order),
            quality: if self.quality.is_empty() { Vec::new() } else { picked(&self.quality, order) },
            values: match &self.values {
                Values::F64(values) => Values::F64(picked(values, order)),
                Values::I64(values) => Values::I64(picked(values, order)),
                Values::Bool(values) => Values::Bool(picked(values, order)),
                Values::Text(values) => Values::Text(picked(values, order)),
            },
        }
    }

    /// The readings at these positions, which are within the run.
    pub(super) fn slice(&self, rows: std::ops::Range<usize>) -> Self {
        self.pick(&rows.collect::<Vec<_>>())
    }

    /// The reading at a position: none as its value when it is bad. A number that is not
    /// finite is bad, whatever it came with.
    pub(super) fn reading(&self, index: usize) -> (Option<Value>, Quality) {
        let quality = self.quality(index);
        match self.values.get(index) {
            _ if quality.is_bad() => (None, quality),
            Some(Value::F64(value)) if !value.is_finite() => (None, Quality::BAD_OUT_OF_RANGE),
            value => (value, quality),
        }
    }

    /// The number at a position; none where it is bad or a text.
    pub(super) fn number(&self, index: usize) -> Option<f64> {
        if self.quality(index).is_bad() {
            return None;
        }
        match &self.values {
            Values::F64(values) => values.get(index).copied().filter(|value| value.is_finite()),
            Values::I64(values) => values.get(index).map(|value| *value as f64),
            Values::Bool(values) => values.get(index).map(|value| f64::from(u8::from(*value))),
            Values::Text(_) => None,
        }
    }
}
