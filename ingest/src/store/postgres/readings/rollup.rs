//! Hours and minutes as they stand in their table, and how readings are counted in them.

use std::pin::pin;

use deadpool_postgres::{GenericClient, Object, Transaction};
use futures::TryStreamExt;
use sandan_proto::id::MetricId;
use tokio_postgres::IsolationLevel;
use tokio_postgres::types::ToSql;

use super::catalogue::{damaged, value_type};
use super::error::failed;
use super::rows::{TEXTS, table_of};
use super::tables::READINGS;
use super::types::Ts;
use super::{Shared, tables};
use crate::store::StoreError;
use crate::store::aggregate::packed::{pack_stats, unpack_stats};
use crate::store::aggregate::{Stats, count_in, hold_us};
use crate::time::{HOUR_US, MINUTE_US, SECOND_US};

/// What an hour is counted in.
pub(super) const WIDTHS: [i64; 2] = [MINUTE_US, HOUR_US];

/// One version of a series, for whoever counts.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub number: i32,
    /// Index of the table of its readings.
    pub table: usize,
    /// For how long its values hold.
    pub hold_us: i64,
    pub metric: MetricId,
}

impl Version {
    /// Whether its readings are numbers; a text has only states, which nothing is counted of.
    pub(super) fn counts(&self) -> bool {
        self.table != TEXTS
    }
    pub(super) fn table(&self) -> &'static str {
        READINGS[self.table]
    }
}

/// Every version of a firm's series.
pub(super) async fn versions(client: &impl GenericClient, firm: i64) -> Result<Vec<Version>, StoreError> {
    let rows = client
        .query(
            "SELECT version.number, version.type, series.expected_interval_ms, series.metric
             FROM readings.series JOIN readings.version ON version.series = series.number
             WHERE series.firm = $1 ORDER BY version.number",
            &[&firm],
        )
        .await
        .map_err(failed("listing series"))?;
    rows.iter()
        .map(|row| {
            Ok(Version {
                number: row.get(0),
                table: table_of(value_type(row.get(1))),
                hold_us: hold_us(u32::try_from(row.get::<_, i64>(2)).unwrap_or(0)),
                metric: MetricId::new(row.get(3)).map_err(damaged)?,
            })
        })
        .collect()
}

/// A transaction in which everything is of one moment: of two that write the same rows one fails.
pub(super) async fn moment(client: &mut Object) -> Result<Transaction<'_>, StoreError> {
    client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .await
        .map_err(failed("counting readings"))
}

/// From where on readings of a version are there, beside late ones.
pub(super) async fn raw_from(transaction: &Transaction<'_>, version: &Version) -> Result<i64, StoreError> {
    let sql = "SELECT raw_from_us FROM readings.version WHERE number = $1";
    let sql = transaction.prepare_cached(sql).await.map_err(failed("counting readings"))?;
    let found = transaction.query_opt(&sql, &[&version.number]).await.map_err(failed("counting readings"))?;
    Ok(found.and_then(|row| row.get::<_, Option<i64>>(0)).unwrap_or(i64::MIN))
}

/// What the readings of one hour come to.
#[derive(Debug, Clone)]
pub(super) struct Hour {
    pub start_us: i64,
    newest_commit: i64,
    /// Minutes, and the hour itself.
    by_width: [Vec<Stats>; 2],
}

impl Hour {
    fn new(start_us: i64) -> Self {
        Self { start_us, newest_commit: 0, by_width: [Vec::new(), Vec::new()] }
    }
    fn add(&mut self, stats: Stats, commit: i64, hold_us: i64) {
        self.newest_commit = self.newest_commit.max(commit);
        for (known, width_us) in self.by_width.iter_mut().zip(WIDTHS) {
            count_in(known, stats, width_us, hold_us);
        }
    }
}

/// The start of the UTC hour of a time.
pub(super) fn hour_of(time_us: i64) -> i64 {
    time_us.div_euclid(HOUR_US) * HOUR_US
}

/// Counts the readings of a version that lie in [from, to), hour by hour.
pub(super) async fn tally(
    shared: &Shared,
    transaction: &Transaction<'_>,
    version: &Version,
    from_us: i64,
    to_us: i64,
) -> Result<Vec<Hour>, StoreError> {
    let failed = failed("counting readings");
    let mut hours: Vec<Hour> = Vec::new();
    if from_us >= to_us || !version.counts() {
        return Ok(hours);
    }
    let sql = format!(
        "SELECT ts, commit_no, value::float8 FROM {} WHERE series_id = $1 AND ts >= $2 AND ts < $3 ORDER BY {}",
        version.table(),
        tables::order(shared)
    );
    let sql = transaction.prepare_cached(&sql).await.map_err(&failed)?;
    let (from, to) = (Ts(from_us), Ts(to_us));
    let values: [&(dyn ToSql + Sync); 3] = [&version.number, &from, &to];
    // Comes as it is taken: the server waits.
    let mut rows = pin!(transaction.query_raw(&sql, values).await.map_err(&failed)?);
    while let Some(row) = rows.try_next().await.map_err(&failed)? {
        let time_us = row.get::<_, Ts>(0).0;
        let start_us = hour_of(time_us);
        if hours.last().is_none_or(|hour| hour.start_us != start_us) {
            hours.push(Hour::new(start_us));
        }
        if let Some(hour) = hours.last_mut() {
            hour.add(Stats::of(time_us, row.get(2)), row.get(1), version.hold_us);
        }
    }
    Ok(hours)
}

/// Writes hours down in the place of what was known of them.
pub(super) async fn write(transaction: &Transaction<'_>, version: &Version, hours: &[Hour]) -> Result<(), StoreError> {
    let failed = failed("counting readings");
    if hours.is_empty() {
        return Ok(());
    }
    let sql = transaction.prepare_cached(include_str!("sql/write_rollups.sql")).await.map_err(&failed)?;
    let begins: Vec<i64> = hours.iter().map(|hour| hour.start_us).collect();
    let commits: Vec<i64> = hours.iter().map(|hour| hour.newest_commit).collect();
    for (at, width_us) in WIDTHS.into_iter().enumerate() {
        let stats: Vec<Vec<u8>> = hours.iter().map(|hour| pack_stats(hour.start_us, &hour.by_width[at])).collect();
        let values: [&(dyn ToSql + Sync); 6] =
            [&version.number, &seconds(width_us), &version.hold_us, &begins, &commits, &stats];
        transaction.execute(&sql, &values).await.map_err(&failed)?;
    }
    Ok(())
}

/// A width as it stands in the table.
fn seconds(width_us: i64) -> i32 {
    i32::try_from(width_us / SECOND_US).unwrap_or(i32::MAX)
}

/// Puts what is left of readings that are gone before hours that were counted of late ones.
pub(super) async fn join_left(
    transaction: &Transaction<'_>,
    version: &Version,
    before_us: i64,
    hours: &mut [Hour],
) -> Result<(), StoreError> {
    for hour in hours.iter_mut().filter(|hour| hour.start_us < before_us) {
        for (late, width_us) in hour.by_width.iter_mut().zip(WIDTHS) {
            let left = rows(transaction, version.number, width_us, hour.start_us, hour.start_us + HOUR_US).await?;
            let Some(left) = left.into_iter().next() else { continue };
            hour.newest_commit = hour.newest_commit.max(left.newest_commit);
            let mut all = left.unpack()?;
            for stats in late.drain(..) {
                count_in(&mut all, stats, width_us, version.hold_us);
            }
            *late = all;
        }
    }
    Ok(())
}

/// An hour of a version as it stands in the table.
pub(super) struct Row {
    pub hour_us: i64,
    pub hold_us: i64,
    pub newest_commit: i64,
    stats: Vec<u8>,
}

impl Row {
    pub(super) fn unpack(&self) -> Result<Vec<Stats>, StoreError> {
        unpack_stats(self.hour_us, &self.stats)
    }
}

/// The hours of a version that begin in [from, to), counted in one width.
pub(super) async fn rows(
    client: &impl GenericClient,
    version: i32,
    width_us: i64,
    from_us: i64,
    to_us: i64,
) -> Result<Vec<Row>, StoreError> {
    let failed = failed("reading hours");
    let sql = client
        .prepare_cached(
            "SELECT hour_us, hold_us, newest_commit, stats FROM readings.rollup
             WHERE series_id = $1 AND width_s = $2 AND hour_us >= $3 AND hour_us < $4 ORDER BY hour_us",
        )
        .await
        .map_err(&failed)?;
    let rows = client.query(&sql, &[&version, &seconds(width_us), &from_us, &to_us]).await.map_err(&failed)?;
    let row = |row: &tokio_postgres::Row| Row {
        hour_us: row.get(0),
        hold_us: row.get(1),
        newest_commit: row.get(2),
        stats: row.get(3),
    };
    Ok(rows.iter().map(row).collect())
}

/// Deletes what is left of hours before a time; gives how many days had any.
pub(super) async fn expire(
    client: &impl GenericClient,
    version: i32,
    width_us: i64,
    before_us: i64,
) -> Result<u64, StoreError> {
    let sql = include_str!("sql/expire_rollups.sql");
    let row = client
        .query_one(sql, &[&version, &seconds(width_us), &before_us, &crate::time::DAY_US])
        .await
        .map_err(failed("dropping hours"))?;
    Ok(row.get::<_, i64>(0).cast_unsigned())
}
