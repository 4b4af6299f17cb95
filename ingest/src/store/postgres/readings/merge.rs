//! One series in the order of time, out of the tables of its versions: readings, and hours or
//! minutes that stand for them.
//!
//! Readings are fetched from portals, some thousand at a time, and hours some days at a time, so
//! that neither side holds more than that, however long the range is.

use std::collections::{BTreeSet, VecDeque};

use deadpool_postgres::Transaction;
use sandan_proto::reading::{Quality, Value, ValueType};
use tokio_postgres::{Portal, Row};

use super::catalogue::{Readable, Version};
use super::error::failed;
use super::rollup::{self, hour_of};
use super::rows::table_of;
use super::tables::READINGS;
use super::types::Ts;
use crate::store::StoreError;
use crate::store::aggregate::Stats;
use crate::time::{DAY_US, HOUR_US};

/// Hours that are looked up at once: a month of hours, two days of minutes.
const WINDOWS_US: [i64; 2] = [31 * DAY_US, 2 * DAY_US];

/// One firm's readings up to a commit.
pub(super) struct View<'a> {
    pub transaction: &'a Transaction<'a>,
    pub firm: i64,
    pub as_of: i64,
    /// Only what was stored after this commit is there.
    pub after: i64,
    /// Whether this is what is permitted, and not only where a read began.
    pub bound: bool,
    /// By what the server is asked to sort.
    pub order: &'static str,
}

impl View<'_> {
    /// Up to when the firm's hours are counted.
    pub(super) async fn counted_us(&self) -> Result<i64, StoreError> {
        let sql = self.transaction.prepare_cached("SELECT counted_us FROM readings.firm WHERE number = $1").await;
        let found = self.transaction.query_opt(&sql.map_err(failed("reading"))?, &[&self.firm]).await;
        let found = found.map_err(failed("reading"))?;
        Ok(found.and_then(|row| row.get::<_, Option<i64>>(0)).unwrap_or(i64::MIN))
    }
}

/// That hours or minutes may stand for their readings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretches {
    /// A minute or an hour.
    pub width_us: i64,
    /// For how long a value has to have held when they were counted; none where it is no matter.
    pub hold_us: Option<i64>,
    /// Up to when hours are counted.
    pub counted_us: i64,
    /// The range begins in what was read before, inside an hour.
    pub resumed: bool,
}

/// What comes next of a series.
pub(super) enum Item {
    Reading(Next),
    /// All readings of one UTC minute or hour.
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
    /// Stretches first: what lies beside them came after them.
    fn place(&self) -> (i64, i64, i16) {
        match self {
            Item::Reading(next) => (next.time_us, next.commit, next.nth),
            Item::Stretch(stats) => (stats.from_us, i64::MIN, 0),
        }
    }
}

/// One reading on its way out.
pub(super) struct Next {
    pub time_us: i64,
    pub commit: i64,
    pub nth: i16,
    pub value: Option<Value>,
    pub quality: Quality,
}

/// A part of a version's time.
enum Segment {
    /// Everything in it is counted.
    Counted(VecDeque<Stats>),
    /// Readings in [from, to), beside what is left of those that are gone.
    Readings(i64, i64, VecDeque<Stats>),
}

/// What comes of one version, in order.
struct Source {
    version: Version,
    to_us: i64,
    /// Up to when the segments go.
    planned_us: i64,
    segments: VecDeque<Segment>,
    /// Of the segment in hand.
    stretches: VecDeque<Stats>,
    portal: Option<Portal>,
    page: std::vec::IntoIter<Row>,
    reading: Option<Next>,
}

/// Everything of a series by time, commit and place in it.
pub(super) struct Merge<'a, 'v> {
    view: &'v View<'a>,
    sources: Vec<Source>,
    page: usize,
    stretches: Option<Stretches>,
}

impl<'a, 'v> Merge<'a, 'v> {
    pub(super) fn new(
        view: &'v View<'a>,
        readable: &Readable,
        (from_us, to_us): (i64, i64),
        page: usize,
        stretches: Option<Stretches>,
    ) -> Self {
        let source = |version: &Version| Source {
            version: *version,
            to_us,
            planned_us: from_us,
            segments: VecDeque::new(),
            stretches: VecDeque::new(),
            portal: None,
            page: Vec::new().into_iter(),
            reading: None,
        };
        let sources: Vec<Source> = readable.versions.iter().map(source).collect();
        // Of several versions one's readings may lie amid another's hour: they are told one by one.
        let counted_us = |it: Stretches| if sources.len() > 1 { i64::MIN } else { it.counted_us };
        let stretches = stretches.map(|it| Stretches { counted_us: counted_us(it), ..it });
        Self { view, sources, page, stretches }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Item>, StoreError> {
        for source in &mut self.sources {
            source.fill(self.view, self.page, self.stretches).await?;
        }
        let places = self.sources.iter().enumerate().filter_map(|(at, source)| Some((source.place()?, at)));
        Ok(places.min().and_then(|(_, at)| self.sources[at].take()))
    }
}

impl Source {
    /// Sees to it that what comes next is there, unless nothing does.
    async fn fill(&mut self, view: &View<'_>, page: usize, stretches: Option<Stretches>) -> Result<(), StoreError> {
        loop {
            if self.reading.is_none() {
                self.fetch(view, page).await?;
            }
            if self.place().is_some() {
                return Ok(());
            }
            match self.segments.pop_front() {
                Some(Segment::Counted(stretches)) => self.stretches = stretches,
                Some(Segment::Readings(from_us, to_us, left)) => {
                    self.stretches = left;
                    self.portal = Some(self.bind(view, from_us, to_us).await?);
                }
                None if self.planned_us >= self.to_us => return Ok(()),
                None => self.plan(view, stretches).await?,
            }
        }
    }

    fn place(&self) -> Option<(i64, i64, i16)> {
        let reading = self.reading.as_ref().map(|next| (next.time_us, next.commit, next.nth));
        let stretch = self.stretches.front().map(|stats| Item::Stretch(*stats).place());
        reading.into_iter().chain(stretch).min()
    }

    fn take(&mut self) -> Option<Item> {
        let first = self.place()?;
        match self.stretches.front() {
            Some(stats) if Item::Stretch(*stats).place() == first => self.stretches.pop_front().map(Item::Stretch),
            _ => self.reading.take().map(Item::Reading),
        }
    }

    async fn bind(&self, view: &View<'_>, from_us: i64, to_us: i64) -> Result<Portal, StoreError> {
        let sql = format!(
            "SELECT ts, commit_no, quality, nth, value FROM {}
             WHERE series_id = $1 AND ts >= $2 AND ts < $3 AND commit_no <= $4 AND commit_no > $5 ORDER BY {}",
            READINGS[table_of(self.version.of)],
            view.order
        );
        let sql = view.transaction.prepare_cached(&sql).await.map_err(failed("reading"))?;
        let (from, to) = (Ts(from_us), Ts(to_us));
        let range = view.transaction.bind(&sql, &[&self.version.number, &from, &to, &view.as_of, &view.after]).await;
        range.map_err(failed("reading"))
    }

    /// The next reading of the portal, where it has one.
    async fn fetch(&mut self, view: &View<'_>, page: usize) -> Result<(), StoreError> {
        if self.page.len() == 0
            && let Some(portal) = &self.portal
        {
            let most = i32::try_from(page).unwrap_or(i32::MAX);
            let rows = view.transaction.query_portal(portal, most).await.map_err(failed("reading"))?;
            if rows.len() < page {
                self.portal = None;
            }
            self.page = rows.into_iter();
        }
        self.reading = match self.page.next() {
            Some(row) => Some(reading(&row, self.version.of)?),
            None => None,
        };
        Ok(())
    }

    /// Lays out the next part of the time.
    async fn plan(&mut self, view: &View<'_>, stretches: Option<Stretches>) -> Result<(), StoreError> {
        let from_us = self.planned_us;
        let gone_us = self.version.raw_from_us.unwrap_or(i64::MIN);
        let known_us = stretches.map_or(i64::MIN, |it| it.counted_us.max(gone_us)).min(self.to_us);
        let Some(stretches) = stretches.filter(|_| from_us < known_us) else {
            self.planned_us = self.to_us;
            self.segments.push_back(Segment::Readings(from_us, self.to_us, VecDeque::new()));
            return Ok(());
        };
        let window_us = if stretches.width_us == HOUR_US { WINDOWS_US[0] } else { WINDOWS_US[1] };
        let until_us = hour_of(from_us).saturating_add(window_us).min(known_us);
        self.planned_us = until_us;
        let number = self.version.number;
        let rows = rollup::rows(view.transaction, number, stretches.width_us, hour_of(from_us), until_us).await?;
        let mut single = late(view, number, hour_of(from_us), until_us).await?;
        if stretches.resumed {
            single.insert(hour_of(from_us));
        }
        let holds = |row: &rollup::Row| stretches.hold_us.is_none_or(|hold_us| row.hold_us == hold_us);
        let stale = rows.iter().filter(|row| !holds(row) || row.newest_commit > view.as_of);
        single.extend(stale.map(|row| row.hour_us));
        single.retain(|hour_us| *hour_us >= gone_us);
        let permitted = |row: &&rollup::Row| !view.bound || row.newest_commit <= view.as_of;
        let mut counted = VecDeque::new();
        for row in rows.iter().filter(permitted).filter(|row| !single.contains(&row.hour_us)) {
            // One that lies across the beginning lies before the first bucket as a whole, and
            // tells what held when that began.
            let begins = |stats: &Stats| if stretches.resumed { stats.from_us } else { stats.to_us };
            let wanted = |stats: &Stats| begins(stats) >= from_us && stats.from_us < until_us;
            counted.extend(row.unpack()?.into_iter().filter(wanted));
        }
        self.lay(&mut counted, (from_us, until_us), gone_us, &single);
        Ok(())
    }

    /// Cuts a part of the time into segments: what is gone, then what is counted, with the hours
    /// between that are told by their readings.
    fn lay(
        &mut self,
        counted: &mut VecDeque<Stats>,
        (from_us, until_us): (i64, i64),
        gone_us: i64,
        single: &BTreeSet<i64>,
    ) {
        let mut before = |end_us: i64| {
            let at = counted.partition_point(|stats| stats.from_us < end_us);
            counted.drain(..at).collect::<VecDeque<_>>()
        };
        if from_us < gone_us {
            let end_us = gone_us.min(until_us);
            self.segments.push_back(Segment::Readings(from_us, end_us, before(end_us)));
        }
        for &hour_us in single {
            let counted = before(hour_us);
            if !counted.is_empty() {
                self.segments.push_back(Segment::Counted(counted));
            }
            let (begin_us, end_us) = (hour_us.max(from_us), (hour_us + HOUR_US).min(until_us));
            match self.segments.back_mut() {
                Some(Segment::Readings(_, to_us, _)) if *to_us == begin_us => *to_us = end_us,
                _ => self.segments.push_back(Segment::Readings(begin_us, end_us, VecDeque::new())),
            }
        }
        self.segments.push_back(Segment::Counted(before(until_us)));
    }
}

/// Hours of a version that have readings which are not counted.
async fn late(view: &View<'_>, version: i32, from_us: i64, to_us: i64) -> Result<BTreeSet<i64>, StoreError> {
    let sql = "SELECT hour_us FROM readings.late WHERE series_id = $1 AND hour_us >= $2 AND hour_us < $3";
    let sql = view.transaction.prepare_cached(sql).await.map_err(failed("reading hours"))?;
    let rows = view.transaction.query(&sql, &[&version, &from_us, &to_us]).await.map_err(failed("reading hours"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
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
