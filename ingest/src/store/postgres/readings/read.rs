//! Reads under a permit: raw readings or buckets, in bounded chunks.
//!
//! Readings are fetched from portals, some thousand at a time, so that neither side holds more
//! than that of them. What they come to is told by the same [`Fold`] as for every engine.

use deadpool_postgres::Transaction;
use sandan_proto::id::SeriesKey;
use sandan_proto::reading::{Quality, Value, ValueType};
use tokio_postgres::{Portal, Row};

use super::catalogue::Readable;
use super::error::failed;
use super::rows::table_of;
use super::tables::READINGS;
use super::types::Ts;
use super::{Shared, catalogue, facts, tables};
use crate::consent::{Form, Grid, Permit};
use crate::store::aggregate::{Fold, Rules};
use crate::store::{Chunk, GapMark, Part, ReadCursor, Rows, StoreError, StoredReading};

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

/// One firm's readings up to a commit.
struct View<'a> {
    transaction: &'a Transaction<'a>,
    firm: i64,
    as_of: i64,
    /// By what the server is asked to sort.
    order: &'static str,
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
    let transaction = client.build_transaction().read_only(true).start().await.map_err(failed("reading"))?;
    let view = View { transaction: &transaction, firm, as_of, order: tables::order(shared) };
    let begin = (cursor.series, cursor.from_us);
    let (rows, next) = match permit.form() {
        Form::Raw => raw(&view, permit, &cursor, bounds).await?,
        Form::Bucketed { grid } => buckets(&view, permit, cursor, bounds, grid).await?,
    };
    let next = next.map(|next| next.as_of(as_of));
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
        let mut merged = Merge::new(view, &readable, (from_us, permit.to_us()), page).await?;
        while let Some(next) = merged.next().await? {
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
        let Part { mut at_us, skip: mut taken, mut fold } = cursor.part.take().unwrap_or_else(|| {
            let rules = Rules::new(permit.functions(), readable.expected_interval_ms);
            // Nothing that is not permitted is looked at, however little would show of it.
            let at_us = from_us.saturating_sub(rules.look_back_us()).max(permit.from_us());
            Part { at_us, skip: 0, fold: Fold::new(series, grid.clone(), rules, from_us) }
        });
        let (begin_us, mut to_skip) = (at_us, taken);
        let mut merged = Merge::new(view, &readable, (begin_us, permit.to_us()), PAGE).await?;
        while let Some(next) = merged.next().await? {
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

/// One reading on its way out.
struct Next {
    time_us: i64,
    commit: i64,
    nth: i16,
    value: Option<Value>,
    quality: Quality,
}

/// The readings of one version, in order.
struct Source {
    portal: Portal,
    of: ValueType,
    page: std::vec::IntoIter<Row>,
    /// The next one, where it was fetched.
    head: Option<Next>,
    ended: bool,
}

/// The readings of all versions of a series by time, commit and place in it.
struct Merge<'a> {
    transaction: &'a Transaction<'a>,
    sources: Vec<Source>,
    page: usize,
}

impl<'a> Merge<'a> {
    async fn new(
        view: &View<'a>,
        readable: &Readable,
        (from_us, to_us): (i64, i64),
        page: usize,
    ) -> Result<Self, StoreError> {
        let failed = failed("reading");
        let mut sources = Vec::with_capacity(readable.versions.len());
        for &(version, of) in &readable.versions {
            let sql = format!(
                "SELECT ts, commit_no, quality, nth, value FROM {}
                 WHERE series_id = $1 AND ts >= $2 AND ts < $3 AND commit_no <= $4 ORDER BY {}",
                READINGS[table_of(of)],
                view.order
            );
            let sql = view.transaction.prepare_cached(&sql).await.map_err(&failed)?;
            let portal = view
                .transaction
                .bind(&sql, &[&version, &Ts(from_us), &Ts(to_us), &view.as_of])
                .await
                .map_err(&failed)?;
            sources.push(Source { portal, of, page: Vec::new().into_iter(), head: None, ended: false });
        }
        Ok(Self { transaction: view.transaction, sources, page })
    }

    async fn next(&mut self) -> Result<Option<Next>, StoreError> {
        for source in &mut self.sources {
            source.fill(self.transaction, self.page).await?;
        }
        let first = self
            .sources
            .iter_mut()
            .filter(|source| source.head.is_some())
            .min_by_key(|source| source.head.as_ref().map(|head| (head.time_us, head.commit, head.nth)));
        Ok(first.and_then(|source| source.head.take()))
    }
}

impl Source {
    async fn fill(&mut self, transaction: &Transaction<'_>, page: usize) -> Result<(), StoreError> {
        if self.head.is_some() {
            return Ok(());
        }
        if self.page.len() == 0 && !self.ended {
            let most = i32::try_from(page).unwrap_or(i32::MAX);
            let rows = transaction.query_portal(&self.portal, most).await.map_err(failed("reading"))?;
            self.ended = rows.len() < page;
            self.page = rows.into_iter();
        }
        self.head = match self.page.next() {
            Some(row) => Some(reading(&row, self.of)?),
            None => None,
        };
        Ok(())
    }
}

fn reading(row: &Row, of: ValueType) -> Result<Next, StoreError> {
    let code: i16 = row.get(2);
    let quality = u32::try_from(code).ok().and_then(Quality::from_code);
    let quality = quality.ok_or_else(|| StoreError::Damaged(format!("a reading of quality {code}")))?;
    let value = match of {
        ValueType::F64 | ValueType::Unspecified => row.get::<_, Option<f64>>(4).map(Value::F64),
        ValueType::I64 => row.get::<_, Option<i64>>(4).map(Value::I64),
        ValueType::Bool => row.get::<_, Option<i64>>(4).map(|value| Value::Bool(value != 0)),
        ValueType::Text => row.get::<_, Option<String>>(4).map(Value::Text),
    };
    Ok(Next { time_us: row.get::<_, Ts>(0).0, commit: row.get(1), nth: row.get(3), value, quality })
}
