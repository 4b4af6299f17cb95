//! Reads under a permit: raw readings or buckets, in bounded chunks.
//!
//! A reader pins the inbox, then takes the heads, then opens the firm's file, and drops
//! pinned rows at or below its mark. In this order a row that is packed meanwhile is
//! seen exactly once.

use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use super::merge::{Item, Merge, View, Wanted};
use super::{Shared, catalogue, facts};
use crate::consent::{Form, Grid, Permit};
use crate::store::aggregate::{Fold, Rules};
use crate::store::{Chunk, GapMark, Part, ReadCursor, Rows, StoreError, StoredReading};
use crate::time::{HOUR_US, MINUTE_US};

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

/// One chunk. `inbox` is a connection whose snapshot is pinned.
pub(super) fn chunk(
    shared: &Shared,
    inbox: &Connection,
    permit: &Permit,
    cursor: Option<ReadCursor>,
    bounds: &Bounds,
) -> Result<Chunk, StoreError> {
    let cursor = cursor.unwrap_or_else(|| ReadCursor::new(0, permit.from_us(), 0));
    if !cursor.belongs(permit) {
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
    let view = View::open(shared, inbox, firm, rows, (cursor.after, as_of), permit.through_commit())?;
    let (begin, after) = ((cursor.series, cursor.from_us), cursor.after);
    let (rows, next) = match permit.form() {
        Form::Raw => raw(&view, permit, &cursor, bounds)?,
        Form::Bucketed { grid } => buckets(&view, permit, cursor, bounds, grid)?,
    };
    let next = next.map(|next| ReadCursor { after, ..next.as_of(as_of) });
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

type Read = (Rows, Option<ReadCursor>);

fn raw(view: &View<'_>, permit: &Permit, cursor: &ReadCursor, bounds: &Bounds) -> Result<Read, StoreError> {
    let mut rows = Vec::new();
    for (series, key) in permit.series().iter().enumerate().skip(cursor.series) {
        let resumed = series == cursor.series;
        let from_us = if resumed { cursor.from_us } else { permit.from_us() };
        // How many readings of the latest time were handed out.
        let (mut at_us, mut handed_out) = (from_us, if resumed { cursor.skip } else { 0 });
        let mut to_skip = handed_out;
        let mut merged = Merge::new(view, permit, key, from_us, Wanted::Readings)?;
        while let Some(item) = merged.next()? {
            let Item::Reading(next) = item else { continue };
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
        let mut wanted = Wanted::Readings;
        let Part { mut at_us, skip: mut taken, mut fold } = if let Some(part) = cursor.part.take() {
            part
        } else {
            let rules = Rules::new(permit.functions(), catalogue::expected_interval_ms(view.inbox, view.firm, key)?);
            // Nothing that is not permitted is looked at, however little would show of it.
            let at_us = from_us.saturating_sub(rules.look_back_us()).max(permit.from_us());
            let fits = |width_us: &i64| !rules.durations && grid.lies_on(*width_us, at_us, permit.to_us());
            if let Some(width_us) = [HOUR_US, MINUTE_US].into_iter().find(fits) {
                wanted = Wanted::Stretches { width_us, hold_us: rules.hold_us };
            }
            Part { at_us, skip: 0, fold: Fold::new(series, grid.clone(), rules, from_us) }
        };
        let (begin_us, mut to_skip) = (at_us, taken);
        let mut merged = Merge::new(view, permit, key, begin_us, wanted)?;
        while let Some(item) = merged.next()? {
            let time_us = item.time_us();
            if to_skip > 0 && time_us == begin_us {
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
                let skip = if time_us == at_us { taken } else { 0 };
                next_chunk.part = Some(Part { at_us: time_us, skip, fold });
                return Ok((Rows::Buckets(rows), Some(next_chunk)));
            }
            bounds.look(scanned)?;
            scanned += usize::from(time_us >= from_us);
            taken = if time_us == at_us { taken + 1 } else { 1 };
            at_us = time_us;
            match item {
                Item::Reading(next) => fold.push(next.time_us, next.value.as_ref()),
                Item::Stretch(stats) => fold.push_stats(&stats),
            }
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
