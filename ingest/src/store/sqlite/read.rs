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

use super::firm_file::{self, Packed};
use super::heads::{Head, Heads};
use super::rows::{self, Places};
use super::run::Run;
use super::{Shared, catalogue};
use crate::consent::{Form, Permit};
use crate::store::{Bucket, Chunk, ReadCursor, Rows, SeriesNo, StoreError, StoredReading};

/// Most rows in one chunk, whatever is asked: about 5 MB of readings.
const CHUNK_ROWS: usize = 65_536;
/// Readings after which a chunk of buckets ends at the next bucket, so that a chunk
/// stays well under the second after which consent is looked at again.
const CHUNK_SCAN: usize = 1_000_000;

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
    limit: usize,
) -> Result<Chunk, StoreError> {
    let first = ReadCursor { series: 0, from_us: permit.from_us(), skip: 0 };
    let cursor = cursor.unwrap_or(first);
    if cursor.series > permit.series().len() || cursor.from_us < permit.from_us() || cursor.from_us > permit.to_us() {
        return Err(StoreError::Cursor);
    }
    let limit = limit.clamp(1, CHUNK_ROWS);
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
        Form::Raw => raw(&view, permit, &cursor, limit),
        Form::Bucketed { width_us } => buckets(&view, permit, &cursor, limit, (*width_us).max(1)),
    }
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

fn raw(view: &View<'_>, permit: &Permit, cursor: &ReadCursor, limit: usize) -> Result<Chunk, StoreError> {
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
            if rows.len() == limit {
                let next = Some(ReadCursor { series, from_us: next.time_us, skip: same });
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
    cursor: &ReadCursor,
    limit: usize,
    width_us: i64,
) -> Result<Chunk, StoreError> {
    let mut rows = Vec::new();
    let mut scanned = 0;
    for (series, key) in permit.series().iter().enumerate().skip(cursor.series) {
        let from_us = if series == cursor.series { cursor.from_us } else { permit.from_us() };
        if rows.len() >= limit || scanned >= CHUNK_SCAN {
            return Ok(Chunk { rows: Rows::Buckets(rows), next: Some(ReadCursor { series, from_us, skip: 0 }) });
        }
        let mut merged = Merge::new(view, permit, key, from_us)?;
        let mut open: Option<Bucket> = None;
        let mut open_start = i64::MIN;
        while let Some(next) = merged.next()? {
            scanned += 1;
            let start_us = next.time_us.div_euclid(width_us) * width_us;
            if start_us != open_start {
                rows.extend(open.take());
                if rows.len() >= limit || (scanned > CHUNK_SCAN && open_start != i64::MIN) {
                    let next = Some(ReadCursor { series, from_us: start_us.max(from_us), skip: 0 });
                    return Ok(Chunk { rows: Rows::Buckets(rows), next });
                }
                open_start = start_us;
            }
            let Some(value) = next.value.as_ref().and_then(Value::as_f64) else { continue };
            let bucket = open.get_or_insert(Bucket {
                series,
                start_us,
                count: 0,
                sum: 0.0,
                min: value,
                max: value,
                last: value,
            });
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
