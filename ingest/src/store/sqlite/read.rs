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
use super::{Shared, catalogue};
use crate::consent::{Form, Permit};
use crate::store::{Bucket, Chunk, Part, ReadCursor, Rows, SeriesNo, StoreError, StoredReading};

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
        return Ok(Chunk { rows, next: None });
    };
    shared.learn_newest(firm)?;
    let rows = shared.heads.overlapping(firm, permit.from_us(), permit.to_us());
    let (file, rows) = open_file(shared, firm, rows)?;
    let view = View { inbox, file, firm, rows, heads: &shared.heads };
    match permit.form() {
        Form::Raw => raw(&view, permit, &cursor, bounds),
        Form::Bucketed { width_us } => buckets(&view, permit, cursor, bounds, (*width_us).max(1)),
    }
}

/// Whether a cursor is one that this read may have given. Buckets are gone on from at
/// their edges, or with what was read of them.
fn belongs(cursor: &ReadCursor, permit: &Permit) -> bool {
    let ReadCursor { series, from_us, skip, part } = cursor;
    let inside = *series <= permit.series().len() && (permit.from_us()..=permit.to_us()).contains(from_us);
    let fits = match *permit.form() {
        Form::Raw => part.is_none(),
        Form::Bucketed { width_us } => {
            let start_us = start_of(*from_us, width_us.max(1));
            let edge = *from_us == permit.from_us() || start_us == *from_us;
            let within = |part: &Part| part.at_us >= *from_us && start_of(part.at_us, width_us.max(1)) == start_us;
            edge && *skip == 0 && part.as_ref().is_none_or(within)
        }
    };
    inside && fits
}

/// Start of the bucket that a time lies in.
fn start_of(time_us: i64, width_us: i64) -> i64 {
    time_us.div_euclid(width_us) * width_us
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

fn raw(view: &View<'_>, permit: &Permit, cursor: &ReadCursor, bounds: &Bounds) -> Result<Chunk, StoreError> {
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
                let next = Some(ReadCursor::new(series, next.time_us, same));
                return Ok(Chunk { rows: Rows::Raw(rows), next });
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
    Ok(Chunk { rows: Rows::Raw(rows), next: None })
}

fn buckets(
    view: &View<'_>,
    permit: &Permit,
    mut cursor: ReadCursor,
    bounds: &Bounds,
    width_us: i64,
) -> Result<Chunk, StoreError> {
    let mut rows = Vec::new();
    let mut scanned = 0;
    for (series, key) in permit.series().iter().enumerate().skip(cursor.series) {
        let from_us = if series == cursor.series { cursor.from_us } else { permit.from_us() };
        if rows.len() >= bounds.rows || scanned >= bounds.scan {
            let next = Some(ReadCursor::new(series, from_us, 0));
            return Ok(Chunk { rows: Rows::Buckets(rows), next });
        }
        let mut open_start = i64::MIN;
        let (mut at_us, mut taken, mut open) = (from_us, 0, None);
        if let Some(part) = cursor.part.take() {
            open_start = start_of(from_us, width_us);
            (at_us, taken, open) = (part.at_us, part.skip, part.bucket);
        }
        let (begin_us, mut to_skip) = (at_us, taken);
        let mut merged = Merge::new(view, permit, key, begin_us)?;
        while let Some(next) = merged.next()? {
            if to_skip > 0 && next.time_us == begin_us {
                to_skip -= 1;
                continue;
            }
            let start_us = start_of(next.time_us, width_us);
            if start_us != open_start {
                rows.extend(open.take());
                if rows.len() >= bounds.rows || (scanned >= bounds.scan && open_start != i64::MIN) {
                    let next = Some(ReadCursor::new(series, start_us.max(from_us), 0));
                    return Ok(Chunk { rows: Rows::Buckets(rows), next });
                }
                open_start = start_us;
            } else if scanned >= bounds.scan {
                let mut next_chunk = ReadCursor::new(series, start_us.max(from_us), 0);
                // Behind finished buckets the next chunk begins anew, so that a cursor which
                // is shown to the asker never lies inside a bucket.
                if rows.is_empty() {
                    let skip = if next.time_us == at_us { taken } else { 0 };
                    next_chunk.part = Some(Part { at_us: next.time_us, skip, bucket: open });
                }
                return Ok(Chunk { rows: Rows::Buckets(rows), next: Some(next_chunk) });
            }
            bounds.look(scanned)?;
            scanned += 1;
            taken = if next.time_us == at_us { taken + 1 } else { 1 };
            at_us = next.time_us;
            let Some(value) = next.value.as_ref().and_then(Value::as_f64) else { continue };
            let empty = Bucket { series, start_us, count: 0, sum: 0.0, min: value, max: value, last: value };
            let bucket = open.get_or_insert(empty);
            bucket.count += 1;
            bucket.sum += value;
            bucket.min = bucket.min.min(value);
            bucket.max = bucket.max.max(value);
            bucket.last = value;
        }
        rows.extend(open);
    }
    Ok(Chunk { rows: Rows::Buckets(rows), next: None })
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
        Ok(Some(Next { time_us, commit, value, quality }))
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
