//! Buckets out of readings and of stats that were counted before.

use std::collections::BTreeMap;

use sandan_proto::reading::Value;

use super::{Point, Rules, Stats, Sum, state_of, step_to};
use crate::consent::Grid;
use crate::store::Bucket;

/// States that a bucket tells apart. Beyond them a text is no state of a machine.
const MAX_STATES: usize = 64;
/// The name under which the others are put together.
const OTHER_STATES: &str = "…";

/// Makes buckets of one series. What is pushed comes in the order of time; after each push
/// [`pop`](Self::pop) is called until it gives nothing more.
///
/// What is pushed of the time before the first bucket only tells what held when it began.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    series: usize,
    grid: Grid,
    rules: Rules,
    /// The edge from which the next bucket comes.
    edge_us: i64,
    open: Option<Open>,
    /// The number that holds on.
    holding: Option<Point>,
    /// The last number.
    link: Option<Point>,
    /// The state that holds on, and since when.
    state: Option<(i64, String)>,
    pending: Option<Pending>,
}

#[derive(Debug, Clone, PartialEq)]
struct Open {
    start_us: i64,
    end_us: i64,
    stats: Option<Stats>,
    integral: Sum,
    covered_us: i64,
    increase: Sum,
    states: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, PartialEq)]
enum Pending {
    Piece(Stats, Option<String>),
    /// Nothing comes any more before this time.
    End(i64),
}

impl Fold {
    /// Buckets from `edge_us` on, which is an edge of the grid.
    pub fn new(series: usize, grid: Grid, rules: Rules, edge_us: i64) -> Self {
        Self { series, grid, rules, edge_us, open: None, holding: None, link: None, state: None, pending: None }
    }

    /// The edge from which the next bucket comes, µs since 1970: where a read goes on that
    /// ends here.
    pub fn edge_us(&self) -> i64 {
        self.open.as_ref().map_or(self.edge_us, |open| open.start_us)
    }

    /// Whether a bucket is begun.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the next reading; no value where it is bad.
    pub fn push(&mut self, time_us: i64, value: Option<&Value>) {
        let state = if self.rules.durations { value.and_then(state_of) } else { None };
        self.pending = Some(Pending::Piece(Stats::of(time_us, value.and_then(Value::as_f64)), state));
    }

    /// Takes the next stretch, all of which lies in one bucket. Not where durations are asked
    /// for, of which it knows nothing.
    pub fn push_stats(&mut self, stats: &Stats) {
        self.pending = Some(Pending::Piece(*stats, None));
    }

    /// Says that nothing comes any more before `to_us`, an edge of the grid.
    pub fn end(&mut self, to_us: i64) {
        self.pending = Some(Pending::End(to_us));
    }

    /// The next bucket that is whole; none when the last push is taken in.
    pub fn pop(&mut self) -> Option<Bucket> {
        loop {
            let pending = self.pending.take()?;
            let next_edge_us = match &pending {
                Pending::End(to_us) => *to_us,
                Pending::Piece(piece, _) => match &self.open {
                    Some(open) if piece.from_us < open.end_us => open.start_us,
                    _ => self.grid.bucket(piece.from_us).0,
                },
            };
            let whole = match self.open.take() {
                Some(open) if open.start_us < next_edge_us => Some(self.close(open)),
                Some(open) => {
                    self.open = Some(open);
                    None
                }
                None if self.edge_us < next_edge_us => self.filled().map(Some),
                None => None,
            };
            match (whole, pending) {
                (Some(bucket), pending) => {
                    self.pending = Some(pending);
                    if bucket.is_some() {
                        return bucket;
                    }
                }
                (None, Pending::End(to_us)) => {
                    self.edge_us = self.edge_us.max(to_us);
                    return None;
                }
                (None, Pending::Piece(piece, state)) => {
                    if self.open.is_none() {
                        self.edge_us = self.edge_us.max(next_edge_us);
                    }
                    if piece.from_us >= self.edge_us || self.open.is_some() {
                        self.take(&piece);
                    }
                    self.follow(&piece, state);
                    return None;
                }
            }
        }
    }

    /// Adds a piece to the bucket that it lies in.
    fn take(&mut self, piece: &Stats) {
        let mut open = self.open.take().unwrap_or_else(|| self.begin(self.edge_us));
        self.hold(&mut open, piece.from_us);
        if let Some(step) = self.link.and_then(|link| step_to(link, piece)) {
            open.increase.add(step);
        }
        match &mut open.stats {
            Some(stats) => stats.add(piece),
            none => *none = Some(*piece),
        }
        self.open = Some(open);
    }

    /// Remembers what holds on behind a piece.
    fn follow(&mut self, piece: &Stats, state: Option<String>) {
        self.holding = piece.holding();
        self.link = piece.link().or(self.link);
        self.state = state.map(|state| (piece.to_us, state));
    }

    fn begin(&self, start_us: i64) -> Open {
        let (_, end_us) = self.grid.bucket(start_us);
        Open {
            start_us,
            end_us,
            stats: None,
            integral: Sum::default(),
            covered_us: 0,
            increase: Sum::default(),
            states: BTreeMap::new(),
        }
    }

    /// What held when `to_us` came, as far as it lies in the bucket.
    fn hold(&self, open: &mut Open, to_us: i64) {
        let span_us = |since_us: i64| {
            let until_us = since_us.saturating_add(self.rules.hold_us).min(to_us).min(open.end_us);
            until_us.saturating_sub(since_us.max(open.start_us)).max(0)
        };
        if let Some(point) = self.holding {
            let span_us = span_us(point.time_us);
            open.integral.add(point.value * span_us as f64);
            open.covered_us += span_us;
        }
        if let Some((since_us, state)) = &self.state {
            let span_us = span_us(*since_us);
            if span_us > 0 {
                let known = open.states.len() < MAX_STATES || open.states.contains_key(state);
                let name = if known { state.as_str() } else { OTHER_STATES };
                *open.states.entry(name.to_owned()).or_default() += span_us;
            }
        }
    }

    /// The bucket at the edge where an earlier value holds in it, though no reading is there.
    fn filled(&mut self) -> Option<Bucket> {
        if !self.rules.fills() {
            return None;
        }
        let mut open = self.begin(self.edge_us);
        self.hold(&mut open, i64::MAX);
        let end_us = open.end_us;
        let bucket = self.shown(open)?;
        self.edge_us = end_us;
        Some(bucket)
    }

    /// Ends a bucket with what holds on to its end; none where nothing in it counts.
    fn close(&mut self, mut open: Open) -> Option<Bucket> {
        self.hold(&mut open, i64::MAX);
        self.edge_us = open.end_us;
        self.shown(open)
    }

    /// What was asked for.
    fn shown(&self, open: Open) -> Option<Bucket> {
        let Rules { time_mean, increase, durations, .. } = self.rules;
        let stats = open.stats.filter(|stats| stats.count > 0);
        let of = |pick: fn(&Stats) -> f64| stats.as_ref().map_or(f64::NAN, pick);
        let (mut integral, mut covered_us, mut grown) = (open.integral, open.covered_us, open.increase);
        if let Some(stats) = &open.stats {
            integral.join(stats.integral);
            covered_us += stats.covered_us;
            grown.join(stats.increase);
        }
        let counts = stats.is_some() || (time_mean && covered_us > 0) || !open.states.is_empty();
        counts.then(|| Bucket {
            series: self.series,
            start_us: open.start_us,
            end_us: open.end_us,
            count: stats.map_or(0, |stats| stats.count),
            sum: stats.map_or(0.0, |stats| stats.sum.high),
            min: of(|stats| stats.min),
            max: of(|stats| stats.max),
            first: of(|stats| stats.first.value),
            last: of(|stats| stats.last.value),
            integral: if time_mean { integral.high } else { 0.0 },
            covered_us: if time_mean { covered_us } else { 0 },
            increase: if increase { grown.high } else { 0.0 },
            durations: if durations { open.states.into_iter().collect() } else { Vec::new() },
        })
    }
}
