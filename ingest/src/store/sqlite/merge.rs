//! One series out of all the places where its readings lie, in the order of time.
//!
//! A reader pins the inbox, then takes the heads, then opens the firm's file, and drops
//! pinned rows at or below its mark. In this order a row that is packed meanwhile is
//! seen exactly once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use rusqlite::Connection;
use sandan_proto::id::SeriesKey;
use sandan_proto::reading::{Quality, Value};

use super::firm_file::{self, Packed};
use super::firm_readers::FirmReader;
use super::heads::{Head, Heads};
use super::retain::{self, Rollup};
use super::rows::{self, Places};
use super::run::Run;
use super::slices::{self, Sliced};
use super::{Shared, catalogue};
use crate::consent::Permit;
use crate::store::aggregate::Stats;
use crate::store::{SeriesNo, StoreError};
use crate::time::HOUR_US;

/// One firm's readings as of one moment.
pub(super) struct View<'a> {
    pub inbox: &'a Connection,
    pub firm: i64,
    file: Option<FirmReader<'a>>,
    rows: Vec<Head>,
    heads: &'a Heads,
    /// Only what was stored up to this commit is there.
    as_of: i64,
    /// Only what was stored after this commit is there.
    after: i64,
    /// Whether this is what is permitted, and not only where a read began.
    bound: bool,
}

impl<'a> View<'a> {
    /// `inbox` is a connection whose snapshot is pinned, `rows` were taken after that. What came
    /// after the commit `through` is not permitted.
    pub(super) fn open(
        shared: &'a Shared,
        inbox: &'a Connection,
        firm: i64,
        rows: Vec<Head>,
        (after, as_of): (Option<i64>, i64),
        through: Option<u64>,
    ) -> Result<Self, StoreError> {
        let (file, rows) = open_file(shared, firm, rows)?;
        let as_of = through.map_or(as_of, |through| as_of.min(i64::try_from(through).unwrap_or(i64::MAX)));
        let after = after.unwrap_or(i64::MIN);
        Ok(Self { inbox, firm, file, rows, heads: &shared.heads, as_of, after, bound: through.is_some() })
    }
}

/// Opens a firm's file at its present state and drops the rows that are in it.
pub(super) fn open_file(
    shared: &Shared,
    firm: i64,
    mut rows: Vec<Head>,
) -> Result<(Option<FirmReader<'_>>, Vec<Head>), StoreError> {
    let Some(file) = shared.firm_readers.open(&shared.dir, firm)? else { return Ok((None, rows)) };
    let mark = firm_file::mark(&file, shared.uuid)?;
    rows.retain(|head| head.id > mark);
    Ok((Some(file), rows))
}

/// What is made of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Every reading.
    Readings,
    /// Whole hours where they are known, or the minutes or hours that are left of readings past
    /// their retention, and readings elsewhere.
    Stretches {
        /// A minute or an hour.
        width_us: i64,
        /// For how long a value holds now.
        hold_us: i64,
    },
}

/// What comes next of a series.
pub(super) enum Item {
    Reading(Next),
    /// All readings of one UTC minute or hour, or of a part of it.
    Stretch(Stats),
}

impl Item {
    /// When it begins.
    pub(super) fn time_us(&self) -> i64 {
        match self {
            Item::Reading(next) => next.time_us,
            Item::Stretch(stats) => stats.from_us,
        }
    }
}

/// One reading on its way out.
pub(super) struct Next {
    pub time_us: i64,
    pub commit: i64,
    pub value: Option<Value>,
    pub quality: Quality,
}

/// Where readings of a series lie.
#[derive(Clone, Copy)]
enum Source {
    Packed(Packed),
    Row(Head),
    Rollup(Rollup),
}

impl Source {
    fn first_us(&self) -> i64 {
        match self {
            Source::Packed(packed) => packed.first_us,
            Source::Row(head) => head.first_us,
            Source::Rollup(rollup) => rollup.day_us,
        }
    }
    fn last_us(&self) -> i64 {
        match self {
            Source::Packed(packed) => packed.last_us,
            Source::Row(head) => head.last_us,
            Source::Rollup(rollup) => rollup.last_us,
        }
    }
    /// Packed readings came before those that wait, and each kind in the order of its ids.
    fn order(&self) -> (u8, i64) {
        match self {
            Source::Rollup(rollup) => (0, rollup.day_us),
            Source::Packed(packed) => (1, packed.block),
            Source::Row(head) => (2, head.id),
        }
    }
}

/// Position of the next reading of an open run: time, commit, the source's order, run,
/// index. Compared in this order.
type Position = Reverse<(i64, i64, (u8, i64), usize, usize)>;

/// Merges all sources of one series by time, then commit. A source is opened when its
/// turn comes and let go when it is done, so memory follows how much overlaps.
pub(super) struct Merge<'a> {
    view: &'a View<'a>,
    versions: Vec<SeriesNo>,
    places: Places,
    waiting: VecDeque<Source>,
    /// Slices of the packed columns that may be taken for their readings.
    sliced: HashMap<i64, Sliced>,
    hours: VecDeque<Stats>,
    runs: Vec<Option<Run>>,
    heap: BinaryHeap<Position>,
    from_us: i64,
    to_us: i64,
}

impl<'a> Merge<'a> {
    pub(super) fn new(
        view: &'a View<'a>,
        permit: &Permit,
        key: &SeriesKey,
        from_us: i64,
        wanted: Wanted,
    ) -> Result<Self, StoreError> {
        let to_us = permit.to_us();
        let mut waiting = Vec::new();
        let mut versions = Vec::new();
        let mut sliced = HashMap::new();
        // The firm's number was looked up for the permit's firm, and serves no other.
        if key.firm == *permit.firm() {
            versions = catalogue::readable_versions(view.inbox, view.firm, key, view.heads)?;
        }
        if !versions.is_empty() {
            if let Some(file) = &view.file {
                for &version in &versions {
                    waiting.extend(firm_file::packed(file, version, from_us, to_us)?.into_iter().map(Source::Packed));
                    if let Wanted::Stretches { width_us, hold_us } = wanted {
                        // What is left of readings that are gone does not tell when they came.
                        if !view.bound {
                            let days = retain::rollups(file, version, width_us, from_us, to_us)?;
                            waiting.extend(days.into_iter().map(Source::Rollup));
                        }
                        if width_us == HOUR_US {
                            sliced.extend(slices::find(file, version, from_us, to_us)?);
                            sliced.retain(|_, it| it.hold_us == hold_us && it.newest_commit <= view.as_of);
                        }
                    }
                }
            }
            let rows = view.rows.iter().filter(|head| head.last_us >= from_us && head.first_us < to_us);
            waiting.extend(rows.copied().map(Source::Row));
        }
        waiting.sort_by_key(|source| (source.first_us(), source.order()));
        forget_overlapping(&waiting, &mut sliced);
        Ok(Self {
            view,
            versions,
            places: Places::default(),
            waiting: waiting.into(),
            sliced,
            hours: VecDeque::new(),
            runs: Vec::new(),
            heap: BinaryHeap::new(),
            from_us,
            to_us,
        })
    }

    pub(super) fn next(&mut self) -> Result<Option<Item>, StoreError> {
        loop {
            while let Some(source) = self.waiting.front().copied() {
                if self.earliest_us().is_some_and(|earliest_us| earliest_us < source.first_us()) {
                    break;
                }
                self.waiting.pop_front();
                self.open(source)?;
            }
            // Readings that came after their minute was counted stand beside it.
            let reading_us = self.heap.peek().map(|Reverse(top)| top.0);
            if self.hours.front().is_some_and(|hour| reading_us.is_none_or(|reading_us| hour.from_us <= reading_us)) {
                return Ok(self.hours.pop_front().map(Item::Stretch));
            }
            let Some(Reverse((time_us, commit, order, slot, index))) = self.heap.pop() else { return Ok(None) };
            let Some(run) = self.runs[slot].as_ref() else { return Ok(None) };
            let (value, quality) = run.reading(index);
            if let Some(&time) = run.times.get(index + 1).filter(|&&time| time < self.to_us) {
                self.heap.push(Reverse((time, run.commits[index + 1], order, slot, index + 1)));
            } else {
                self.runs[slot] = None;
            }
            if commit > self.view.after && commit <= self.view.as_of {
                return Ok(Some(Item::Reading(Next { time_us, commit, value, quality })));
            }
        }
    }

    /// When the next item of the opened sources begins.
    fn earliest_us(&self) -> Option<i64> {
        let reading_us = self.heap.peek().map(|Reverse(top)| top.0);
        reading_us.into_iter().chain(self.hours.front().map(|hour| hour.from_us)).min()
    }

    /// Takes stretches in, of which one that lies across the beginning lies before the first
    /// bucket as a whole, and tells what held when that began.
    fn take(&mut self, stretches: Vec<Stats>) {
        let wanted = |stats: &Stats| stats.to_us >= self.from_us && stats.from_us < self.to_us;
        let is_behind = self.hours.is_empty();
        self.hours.extend(stretches.into_iter().filter(wanted));
        if !is_behind {
            self.hours.make_contiguous().sort_by_key(|stats| stats.from_us);
        }
    }

    fn open(&mut self, source: Source) -> Result<(), StoreError> {
        let runs = match (source, &self.view.file) {
            (Source::Packed(packed), Some(file)) => {
                if let Some(sliced) = self.sliced.remove(&packed.id) {
                    self.take(sliced.unpack()?);
                    return Ok(());
                }
                vec![firm_file::unpack(file, packed)?]
            }
            (Source::Rollup(rollup), Some(file)) => {
                self.take(retain::unpack(file, rollup)?);
                return Ok(());
            }
            (Source::Packed(_) | Source::Rollup(_), None) => Vec::new(),
            (Source::Row(head), _) => match rows::record(self.view.inbox, head.id)? {
                Some(record) => rows::runs(self.view.inbox, &mut self.places, &record, &self.versions)?,
                // Committed after the snapshot was pinned: a later read's.
                None => Vec::new(),
            },
        };
        for run in runs {
            let start = run.times.partition_point(|&time| time < self.from_us);
            if let Some(&time) = run.times.get(start).filter(|&&time| time < self.to_us) {
                self.heap.push(Reverse((time, run.commits[start], source.order(), self.runs.len(), start)));
                self.runs.push(Some(run));
            }
        }
        Ok(())
    }
}

/// Leaves the slices of columns in whose time nothing else lies. `sources` begin in the order of
/// time.
fn forget_overlapping(sources: &[Source], sliced: &mut HashMap<i64, Sliced>) {
    let mut before: Option<&Source> = None;
    for source in sources {
        let mut forget = |source: &Source| {
            if let Source::Packed(packed) = source {
                sliced.remove(&packed.id);
            }
        };
        match before {
            Some(latest) if latest.last_us() >= source.first_us() => {
                forget(latest);
                forget(source);
                if source.last_us() > latest.last_us() {
                    before = Some(source);
                }
            }
            _ => before = Some(source),
        }
    }
}
