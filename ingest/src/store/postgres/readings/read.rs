//! Reads under a permit: raw readings or buckets, in bounded chunks.
//!
//! Where the edges of buckets are those of hours or minutes, hours that are counted stand for
//! their readings. What comes of both is told by the same [`Fold`] as for every engine.

use sandan_proto::id::SeriesKey;
use tokio_postgres::IsolationLevel;

use super::catalogue::Readable;
use super::error::failed;
use super::merge::{Item, Merge, Stretches, View};
use super::{Shared, catalogue, facts, tables};
use crate::consent::{Form, Grid, Permit};
use crate::store::aggregate::{Fold, Rules};
use crate::store::{Chunk, GapMark, Part, ReadCursor, Rows, StoreError, StoredReading};
use crate::time::{HOUR_US, MINUTE_US};

/// Most rows in one chunk, whatever is asked: about 5 MB of readings.
const CHUNK_ROWS: usize = 65_536;
/// Readings after which a chunk of buckets ends, if need be inside a bucket: about half of the
/// second after which consent is looked at again.
const CHUNK_SCAN: usize = 500_000;
/// Readings that are fetched at once.
const PAGE: usize = 8_192;

/// How much one chunk may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    rows: usize,
    /// Readings of buckets.
    scan: usize,
}

impl Bounds {
    pub(super) fn new(rows: usize) -> Self {
        Self { rows: rows.clamp(1, CHUNK_ROWS), scan: CHUNK_SCAN }
    }
}

/// One chunk.
pub(super) async fn chunk(
    shared: &Shared,
    permit: &Permit,
    cursor: Option<ReadCursor>,
    bounds: &Bounds,
) -> Result<Chunk, StoreError> {
    let cursor = cursor.unwrap_or_else(|| ReadCursor::new(0, permit.from_us(), 0));
    if !cursor.belongs(permit) {
        return Err(StoreError::Cursor);
    }
    let (_turn, mut client) = shared.reading().await?;
    let Some((firm, newest)) = catalogue::firm(&client, permit.firm()).await? else {
        let rows = match permit.form() {
            Form::Raw => Rows::Raw(Vec::new()),
            Form::Bucketed { .. } => Rows::Buckets(Vec::new()),
        };
        return Ok(Chunk { rows, gaps: Vec::new(), as_of: cursor.as_of.unwrap_or(0), next: None });
    };
    let as_of = cursor.as_of.unwrap_or(newest);
    // Readings, and the hours that stand for them, as they are at one moment.
    let moment = client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
    let transaction = moment.start().await.map_err(failed("reading"))?;
    let through = permit.through_commit().map(|through| i64::try_from(through).unwrap_or(i64::MAX));
    let view = View {
        transaction: &transaction,
        firm,
        as_of: through.map_or(as_of, |through| as_of.min(through)),
        after: cursor.after.unwrap_or(i64::MIN),
        bound: through.is_some(),
        order: tables::order(shared),
    };
    let (begin, after) = ((cursor.series, cursor.from_us), cursor.after);
    let (rows, next) = match permit.form() {
        Form::Raw => raw(&view, permit, &cursor, bounds).await?,
        Form::Bucketed { grid } => buckets(&view, permit, cursor, bounds, grid).await?,
    };
    let next = next.map(|next| ReadCursor { after, ..next.as_of(as_of) });
    let end = next.as_ref().map_or((permit.series().len(), permit.from_us()), |next| (next.series, next.from_us));
    let gaps = gap_marks(&view, permit, begin, end).await?;
    transaction.rollback().await.map_err(failed("reading"))?;
    Ok(Chunk { rows, gaps, as_of, next })
}

/// What is declared missing between two places of a read.
async fn gap_marks(
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
            for gap in facts::gaps_of(view.transaction, view.firm, key, from_us, to_us).await? {
                marks.extend(GapMark::of(&gap, series, permit.form(), (from_us, to_us)));
            }
        }
    }
    marks.sort_unstable();
    marks.dedup();
    Ok(marks)
}

type Read = (Rows, Option<ReadCursor>);

async fn raw(view: &View<'_>, permit: &Permit, cursor: &ReadCursor, bounds: &Bounds) -> Result<Read, StoreError> {
    let mut rows = Vec::new();
    for (series, key) in permit.series().iter().enumerate().skip(cursor.series) {
        let resumed = series == cursor.series;
        let from_us = if resumed { cursor.from_us } else { permit.from_us() };
        // How many readings of the latest time were handed out.
        let (mut at_us, mut handed_out) = (from_us, if resumed { cursor.skip } else { 0 });
        let mut to_skip = handed_out;
        let Some(readable) = view.readable(permit, key).await? else { continue };
        // One more than there is room for tells whether there is more.
        let page = (bounds.rows - rows.len()).saturating_add(to_skip as usize).saturating_add(1).min(PAGE);
        let mut merged = Merge::new(view, &readable, (from_us, permit.to_us()), page, None);
        while let Some(item) = merged.next().await? {
            // Without stretches there are none.
            let Item::Reading(next) = item else { continue };
            if to_skip > 0 && next.time_us == from_us {
                to_skip -= 1;
                continue;
            }
            let same = if next.time_us == at_us { handed_out } else { 0 };
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

async fn buckets(
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
        let Some(readable) = view.readable(permit, key).await? else { continue };
        let rules = Rules::new(permit.functions(), readable.expected_interval_ms);
        let resumed = cursor.part.is_some();
        let Part { mut at_us, skip: mut taken, mut fold } = cursor.part.take().unwrap_or_else(|| {
            // Nothing that is not permitted is looked at, however little would show of it.
            let at_us = from_us.saturating_sub(rules.look_back_us()).max(permit.from_us());
            Part { at_us, skip: 0, fold: Fold::new(series, grid.clone(), rules, from_us) }
        });
        let (begin_us, mut to_skip) = (at_us, taken);
        let fits = |width_us: &i64| !rules.durations && grid.lies_on(*width_us, begin_us, permit.to_us());
        let stretches = match [HOUR_US, MINUTE_US].into_iter().find(fits) {
            Some(width_us) => {
                let hold_us = rules.time_mean.then_some(rules.hold_us);
                Some(Stretches { width_us, hold_us, counted_us: view.counted_us().await?, resumed })
            }
            None => None,
        };
        let mut merged = Merge::new(view, &readable, (begin_us, permit.to_us()), PAGE, stretches);
        while let Some(item) = merged.next().await? {
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

impl View<'_> {
    /// What of a permitted series can be read; none where there is none. The firm's number was
    /// looked up for the permit's firm, and serves no other.
    async fn readable(&self, permit: &Permit, key: &SeriesKey) -> Result<Option<Readable>, StoreError> {
        if key.firm != *permit.firm() {
            return Ok(None);
        }
        catalogue::readable(self.transaction, self.firm, key).await
    }
}
