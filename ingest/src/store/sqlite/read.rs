//! Reads under a permit: raw readings or buckets, in bounded chunks.
//!
//! A reader pins the inbox, then takes the heads, then opens the firm's file, and drops
//! pinned rows at or below its mark. In this order a row that is packed meanwhile is
//! seen exactly once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rusqlite::Connection;
use sandan_proto::id::SeriesKey;
use sandan_proto::reading::{Quality, Value};
use tokio_util::sync::CancellationToken;

use super::firm_file::{self, Packed};
use super::heads::{Head, Heads};
use super::rows::{self, Places};
use super::run::Run;
use super::{Shared, catalogue, facts};
use crate::consent::{Form, Grid, Permit};
use crate::store::aggregate::{Fold, Rules};
use crate::store::{Chunk, GapMark, Part, ReadCursor, Rows, SeriesNo, StoreError, StoredReading};

/// Most rows in one chunk, whatever is asked: about 5 MB of readings.
const CHUNK_ROWS: usize = 65_536;
/// Readings after which a chunk of buckets ends, if need be inside a bucket: about a
/// tenth of the second after which consent is looked at again.
const CHUNK_SCAN: usize = 500_000;
/// Readings between two looks at whether anybody still waits for the chunk.
const CANCEL_SCAN: usize = 4_096;

/// How much one chunk may do.
pub(super) struct Bounds {
    /// Rows.
    rows: usize,
    /// Readings of buckets.
    scan: usize,
    /// Whoever asked went away.
    cancelled: CancellationToken,
}

impl Bounds {
    pub(super) fn new(rows: usize, cancelled: CancellationToken) -> Self {
        Self { rows: rows.clamp(1, CHUNK_ROWS), scan: CHUNK_SCAN, cancelled }
    }

    /// With a bound that a test reaches.
    #[cfg(test)]
    pub(super) fn scanning(self, scan: usize) -> Self {
        Self { scan, ..self }
    }

    fn look(&self, readings: usize) -> Result<(), StoreError> {
        let gone = readings.is_multiple_of(CANCEL_SCAN) && self.cancelled.is_cancelled();
        if gone { Err(StoreError::Cancelled) } else { Ok(()) }
    }
}

/// One firm's readings as of one moment.
struct View<'a> {
    inbox: &'a Connection,
    file: Option<Connection>,
    firm: i64,
    rows: Vec<Head>,
    heads: &'a Heads,
    /// Only what was stored up to this commit is there.
    as_of: i64,
}

/// One chunk. `inbox` is a connection whose snapshot is pinned.
pub(super) fn chunk(
    shared: &Shared,
    inbox: &Connection,
    permit: &Permit,
    cursor: Option<ReadCursor>,
    bounds: &Bounds,
) -> Result<Chunk, StoreError> {
    let cursor = cursor.unwrap_or_else(|| ReadCursor::new(0, permit.from_us(), 0));
    if !belongs(&cursor, permit) {
        return Err(StoreError::Cursor);
    }
    let Some(firm) = catalogue::firm_number(inbox, permit.firm())? else {
        let rows = match permit.form() {
            Form::Raw => Rows::Raw(Vec::new()),
            Form::Bucketed { .. } => Rows::Buckets(Vec::new()),
        };
        return Ok(Chunk { rows, gaps: Vec::new(), as_of: cursor.as_of.unwrap_or(0), next: None });
    };
    shared.learn_newest(firm)?;
    let as_of = cursor.as_of.map_or_else(|| catalogue::newest_commit(inbox, firm), Ok)?;
    let rows = shared.heads.overlapping(firm, permit.from_us(), permit.to_us());
    let (file, rows) = open_file(shared, firm, rows)?;
    let view = View { inbox, file, firm, rows, heads: &shared.heads, as_of };
    let begin = (cursor.series, cursor.from_us);
    let (rows, next) = match permit.form() {
        Form::Raw => raw(&view, permit, &cursor, bounds)?,
        Form::Bucketed { grid } => buckets(&view, permit, cursor, bounds, grid)?,
    };
    let next = next.map(|next| next.as_of(as_of));
    let end = next.as_ref().map_or((permit.series().len(), permit.from_us()), |next| (next.series, next.from_us));
    Ok(Chunk { rows, gaps: gap_marks(&view, permit, begin, end)?, as_of, next })
}

/// What is declared missing between two places of a read.
fn gap_marks(
    view: &View<'_>,
    permit: &Permit,
    begin: (usize, i64),
    end: (usize, i64),
) -> Result<Vec<GapMark>, StoreError> {
    let mut marks = Vec::new();
    for (series, key) in permit.series().iter().enumerate().skip(begin.0).take_while(|(series, _)| *series <= end.0) {
        let from_us = if series == begin.0 { begin.1 } else { permit.from_us() };
        let to_us = if series == end.0 { end.1 } else { permit.to_us() };
        if from_us < to_us && key.firm == *permit.firm() {
            for gap in facts::gaps_of(view.inbox, view.firm, key, from_us, to_us)? {
                marks.extend(GapMark::of(&gap, series, permit.form(), (from_us, to_us)));
            }
        }
    }
    marks.sort_unstable();
    marks.dedup();
    Ok(marks)
}

/// Whether a cursor is one that this read may have given. Buckets are gone on from at
/// their edges, or with what was read of them.
fn belongs(cursor: &ReadCursor, permit: &Permit) -> bool {
    let ReadCursor { series, from_us, skip, part, .. } = cursor;
    let inside = *series <= permit.series().len() && (permit.from_us()..=permit.to_us()).contains(from_us);
    let fits = match permit.form() {
        Form::Raw => part.is_none(),
        Form::Bucketed { grid } => {
            let edge = *from_us == permit.from_us() || grid.is_edge(*from_us);
            edge && *skip == 0 && part.as_ref().is_none_or(|part| part.at_us >= *from_us)
        }
    };
    inside && fits
}

/// Opens a firm's file at its present state and drops the rows that are in it.
pub(super) fn open_file(
    shared: &Shared,
    firm: i64,
    mut rows: Vec<Head>,
) -> Result<(Option<Connection>, Vec<Head>), StoreError> {
    let Some(file) = firm_file::open_to_read(&shared.dir, firm)? else { return Ok((None, rows)) };
    file.execute_batch("BEGIN").map_err(super::file::failed("reading a firm file"))?;
    let mark = firm_file::mark(&file, shared.uuid)?;
    rows.retain(|head| head.id > mark);
    Ok((Some(file), rows))
}

type Read = (Rows, Option<ReadCursor>);

fn raw(view: &View<'_>, permit: &Permit, cursor: &ReadCursor, bounds: &Bounds) -> Result<Read, StoreError> {
    let mut rows = Vec::new();
    for (series, key) in permit.series().iter().enumerate().skip(cursor.series) {
        let resumed = series == cursor.series;
        let from_us = if resumed { cursor.from_us } else { permit.from_us() };
        // How many readings of the latest time were handed out.
        let (mut at_us, mut handed_out) = (from_us, if resumed { cursor.skip } else { 0 });
        let mut to_skip = handed_out;
        let mut merged = Merge::new(view, permit, key, from_us)?;
        while let Some(next) = merged.next()? {
            if to_skip > 0 && next.time_us == from_us {
                to_skip -= 1;
                continue;
            }
            let same = if next.time_us == at_us { handed_out } else { 0 };
            bounds.look(rows.len())?;
            if rows.len() == bounds.rows {
                return Ok((Rows::Raw(rows), Some(ReadCursor::new(series, next.time_us, same))));
            }
            (at_us, handed_out) = (next.time_us, same + 1);
            rows.push(StoredReading {
                series,
                time_us: next.time_us,
                value: next.value,
                quality: next.quality,
                commit: next.commit,
            });
        }
    }
    Ok((Rows::Raw(rows), None))
}

fn buckets(
    view: &View<'_>,
    permit: &Permit,
    mut cursor: ReadCursor,
    bounds: &Bounds,
    grid: &Grid,
) -> Result<Read, StoreError> {
    let mut rows = Vec::new();
    let mut scanned = 0;
    for (series, key) in permit.series().iter().enumerate().skip(cursor.series) {
        let from_us = if series == cursor.series { cursor.from_us } else { permit.from_us() };
        let at = |edge_us| Some(ReadCursor::new(series, edge_us, 0));
        if rows.len() >= bounds.rows || scanned >= bounds.scan {
            return Ok((Rows::Buckets(rows), at(from_us)));
        }
        let Part { mut at_us, skip: mut taken, mut fold } = if let Some(part) = cursor.part.take() {
            part
        } else {
            let rules = Rules::new(permit.functions(), catalogue::expected_interval_ms(view.inbox, view.firm, key)?);
            // Nothing that is not permitted is looked at, however little would show of it.
            let at_us = from_us.saturating_sub(rules.look_back_us()).max(permit.from_us());
            Part { at_us, skip: 0, fold: Fold::new(series, grid.clone(), rules, from_us) }
        };
        let (begin_us, mut to_skip) = (at_us, taken);
        let mut merged = Merge::new(view, permit, key, begin_us)?;
        while let Some(next) = merged.next()? {
            if to_skip > 0 && next.time_us == begin_us {
                to_skip -= 1;
                continue;
            }
            if rows.len() >= bounds.rows || (scanned >= bounds.scan && !rows.is_empty()) {
                // The bucket in hand is begun anew, so that a cursor which is shown to the
                // asker never lies inside one.
                return Ok((Rows::Buckets(rows), at(fold.edge_us())));
            }
            if scanned >= bounds.scan {
                let mut next_chunk = ReadCursor::new(series, fold.edge_us(), 0);
                let skip = if next.time_us == at_us { taken } else { 0 };
                next_chunk.part = Some(Part { at_us: next.time_us, skip, fold });
                return Ok((Rows::Buckets(rows), Some(next_chunk)));
            }
            bounds.look(scanned)?;
            scanned += usize::from(next.time_us >= from_us);
            taken = if next.time_us == at_us { taken + 1 } else { 1 };
            at_us = next.time_us;
            fold.push(next.time_us, next.value.as_ref());
            while let Some(bucket) = fold.pop() {
                if rows.len() == bounds.rows {
                    return Ok((Rows::Buckets(rows), at(bucket.start_us)));
                }
                rows.push(bucket);
            }
        }
        fold.end(permit.to_us());
        while let Some(bucket) = fold.pop() {
            if rows.len() == bounds.rows {
                return Ok((Rows::Buckets(rows), at(bucket.start_us)));
            }
            rows.push(bucket);
        }
    }
    Ok((Rows::Buckets(rows), None))
}

/// One reading on its way out.
struct Next {
    time_us: i64,
    commit: i64,
    value: Option<Value>,
    quality: Quality,
}

/// Where readings of a series lie.
#[derive(Clone, Copy)]
enum Source {
    Packed(Packed),
    Row { id: i64, first_us: i64 },
}

impl Source {
    fn first_us(&self) -> i64 {
        match self {
            Source::Packed(packed) => packed.first_us,
            Source::Row { first_us, .. } => *first_us,
        }
    }
    /// Packed readings came before those that wait, and each kind in the order of its ids.
    fn order(&self) -> (u8, i64) {
        match self {
            Source::Packed(packed) => (0, packed.block),
            Source::Row { id, .. } => (1, *id),
        }
    }
}

/// Position of the next reading of an open run: time, commit, the source's order, run,
/// index. Compared in this order.
type Position = Reverse<(i64, i64, (u8, i64), usize, usize)>;

/// Merges all sources of one series by time, then commit. A source is opened when its
/// turn comes and let go when it is done, so memory follows how much overlaps.
struct Merge<'a> {
    view: &'a View<'a>,
    versions: Vec<SeriesNo>,
    places: Places,
    waiting: VecDeque<Source>,
    runs: Vec<Option<Run>>,
    heap: BinaryHeap<Position>,
    from_us: i64,
    to_us: i64,
}

impl<'a> Merge<'a> {
    fn new(view: &'a View<'a>, permit: &Permit, key: &SeriesKey, from_us: i64) -> Result<Self, StoreError> {
        let to_us = permit.to_us();
        let mut waiting = Vec::new();
        let mut versions = Vec::new();
        // The firm's number was looked up for the permit's firm, and serves no other.
        if key.firm == *permit.firm() {
            versions = catalogue::readable_versions(view.inbox, view.firm, key, view.heads)?;
        }
        if !versions.is_empty() {
            if let Some(file) = &view.file {
                for &version in &versions {
                    waiting.extend(firm_file::packed(file, version, from_us, to_us)?.into_iter().map(Source::Packed));
                }
            }
            let rows = view.rows.iter().filter(|head| head.last_us >= from_us);
            waiting.extend(rows.map(|head| Source::Row { id: head.id, first_us: head.first_us }));
        }
        waiting.sort_by_key(|source| (source.first_us(), source.order()));
        Ok(Self {
            view,
            versions,
            places: Places::default(),
            waiting: waiting.into(),
            runs: Vec::new(),
            heap: BinaryHeap::new(),
            from_us,
            to_us,
        })
    }

    fn next(&mut self) -> Result<Option<Next>, StoreError> {
        loop {
            while let Some(source) = self.waiting.front().copied() {
                if self.heap.peek().is_some_and(|Reverse(top)| top.0 < source.first_us()) {
                    break;
                }
                self.waiting.pop_front();
                self.open(source)?;
            }
            let Some(Reverse((time_us, commit, order, slot, index))) = self.heap.pop() else { return Ok(None) };
            let Some(run) = self.runs[slot].as_ref() else { return Ok(None) };
            let (value, quality) = run.reading(index);
            if let Some(&time) = run.times.get(index + 1).filter(|&&time| time < self.to_us) {
                self.heap.push(Reverse((time, run.commits[index + 1], order, slot, index + 1)));
            } else {
                self.runs[slot] = None;
            }
            if commit <= self.view.as_of {
                return Ok(Some(Next { time_us, commit, value, quality }));
            }
        }
    }

    fn open(&mut self, source: Source) -> Result<(), StoreError> {
        let runs = match (source, &self.view.file) {
            (Source::Packed(packed), Some(file)) => vec![firm_file::unpack(file, packed)?],
            (Source::Packed(_), None) => Vec::new(),
            (Source::Row { id, .. }, _) => match rows::record(self.view.inbox, id)? {
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
