//! Counts hours that are over: what reads of hours, days and minutes are answered from, and what
//! is left once readings are past their retention.
//!
//! A firm's hours are closed first, in the row that every commit of the firm locks: whoever
//! stores readings of a closed hour from then on notes it as late. Then they are counted, in
//! transactions that began after that, so that each reading is counted or its hour is noted. Hours
//! that are noted are counted again; until then they are read from their readings.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::Transaction;

use super::error::failed;
use super::rollup::{self, Version, hour_of};
use super::types::Ts;
use super::{Shared, rows};
use crate::store::StoreError;
use crate::time::{HOUR_US, MINUTE_US};

/// How long an hour has to be over: what a gateway sends live has come by then, and what comes
/// later costs a row and a second counting. In tests nothing, so that hours are used everywhere.
const SETTLED_US: i64 = if cfg!(test) { 0 } else { 10 * MINUTE_US };
/// Hours that are counted before it is noted how far that is.
const STRETCH_US: i64 = 24 * HOUR_US;
/// Versions that are counted in one transaction: some seconds at one reading a second.
const AT_ONCE: usize = 64;
/// Late hours that are looked up at once.
const LATE_AT_ONCE: i64 = 4_096;
/// Before every reading.
const BEGINNING_US: i64 = i64::MIN / 2;

/// Every firm's number.
pub(super) async fn firms(shared: &Shared) -> Result<Vec<i64>, StoreError> {
    let client = shared.session().await?;
    let rows = client.query("SELECT number FROM readings.firm ORDER BY number", &[]).await;
    Ok(rows.map_err(failed("listing firms"))?.iter().map(|row| row.get(0)).collect())
}

/// Counts what is over of a firm, and again what came late.
pub(super) async fn count(shared: &Shared, firm: i64) -> Result<(), StoreError> {
    let over_us = hour_of((shared.options.now)().saturating_sub(SETTLED_US));
    while let Some((from_us, to_us)) = close(shared, firm, over_us).await? {
        // Listed behind the closing: of what is registered later all is late.
        let versions = rollup::versions(&shared.session().await?, firm).await?;
        let versions: Vec<_> = versions.into_iter().filter(Version::counts).collect();
        for some in versions.chunks(AT_ONCE) {
            let mut client = shared.session().await?;
            let transaction = rollup::moment(&mut client).await?;
            for version in some {
                let from_us = from_us.max(rollup::raw_from(&transaction, version).await?);
                let hours = rollup::tally(shared, &transaction, version, from_us, to_us).await?;
                rollup::write(&transaction, version, &hours).await?;
                shared.metrics.hours_counted.add(hours.len() as u64);
            }
            crash_point!("database.counted-before-commit");
            transaction.commit().await.map_err(failed("counting readings"))?;
        }
        let client = shared.session().await?;
        let counted = "UPDATE readings.firm SET counted_us = $2 WHERE number = $1";
        client.execute(counted, &[&firm, &to_us]).await.map_err(failed("counting readings"))?;
    }
    count_late(shared, firm).await
}

/// Closes the next hours of a firm that are not counted; none where all that are over are.
async fn close(shared: &Shared, firm: i64, over_us: i64) -> Result<Option<(i64, i64)>, StoreError> {
    let failed = failed("closing hours");
    let client = shared.session().await?;
    let row = client.query_opt("SELECT counted_us FROM readings.firm WHERE number = $1", &[&firm]).await;
    let Some(row) = row.map_err(&failed)? else { return Ok(None) };
    let from_us = row.get::<_, Option<i64>>(0).unwrap_or(BEGINNING_US);
    if from_us >= over_us {
        return Ok(None);
    }
    let first = client.query_one(include_str!("sql/first_reading.sql"), &[&firm, &Ts(from_us)]).await;
    let first = first.map_err(&failed)?.get::<_, Option<Ts>>(0).map(|ts| hour_of(ts.0));
    let to_us = first.map_or(over_us, |first_us| over_us.min(first_us + STRETCH_US));
    let closed = "UPDATE readings.firm SET closed_us = greatest(closed_us, $2) WHERE number = $1";
    client.execute(closed, &[&firm, &to_us]).await.map_err(&failed)?;
    Ok(Some((from_us, to_us)))
}

/// Counts the late hours of a firm again.
async fn count_late(shared: &Shared, firm: i64) -> Result<(), StoreError> {
    loop {
        let client = shared.session().await?;
        let found = client.query(include_str!("sql/list_late.sql"), &[&firm, &LATE_AT_ONCE]).await;
        let found = found.map_err(failed("listing late hours"))?;
        let mut late = BTreeMap::<i32, Vec<i64>>::new();
        for row in &found {
            late.entry(row.get(0)).or_default().push(row.get(1));
        }
        let versions = if late.is_empty() { Vec::new() } else { rollup::versions(&client, firm).await? };
        drop(client);
        for version in versions {
            let Some(hours) = late.get(&version.number) else { continue };
            let mut client = shared.session().await?;
            let transaction = rollup::moment(&mut client).await?;
            count_again(shared, &transaction, &version, hours).await?;
            transaction.commit().await.map_err(failed("counting readings"))?;
        }
        if found.len() < usize::try_from(LATE_AT_ONCE).unwrap_or(0) {
            return Ok(());
        }
    }
}

async fn count_again(
    shared: &Shared,
    transaction: &Transaction<'_>,
    version: &Version,
    hours: &[i64],
) -> Result<(), StoreError> {
    let gone = "DELETE FROM readings.late WHERE series_id = $1 AND hour_us = ANY ($2)";
    transaction.execute(gone, &[&version.number, &hours]).await.map_err(failed("counting readings"))?;
    let raw_from_us = rollup::raw_from(transaction, version).await?;
    // What comes to an hour whose readings are gone is counted when it goes itself.
    for &hour_us in hours.iter().filter(|hour_us| **hour_us >= raw_from_us) {
        let counted = rollup::tally(shared, transaction, version, hour_us, hour_us + HOUR_US).await?;
        rollup::write(transaction, version, &counted).await?;
        shared.metrics.hours_counted.add(counted.len() as u64);
    }
    Ok(())
}

/// Notes closed hours that readings are stored in.
pub(super) async fn note_late(
    transaction: &Transaction<'_>,
    late: &BTreeSet<rows::Late>,
) -> Result<(), tokio_postgres::Error> {
    if late.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO readings.late (series_id, hour_us) SELECT * FROM unnest($1::integer[], $2::bigint[])";
    let sql = transaction.prepare_cached(sql).await?;
    let (series, hours): (Vec<i32>, Vec<i64>) = late.iter().copied().unzip();
    transaction.execute(&sql, &[&series, &hours]).await.map(drop)
}
