//! Retention: readings that are old enough go once they are counted in minutes and hours, and
//! these go in their time.
//!
//! Days of which everything is past the longest retention are dropped as a whole, which costs
//! nothing; readings of a class that is kept for less, and late ones among what is gone, are
//! counted and deleted day by day, each day of a series in one transaction. A kill at any
//! moment loses and doubles nothing: what is counted and what goes change together.

use deadpool_postgres::{GenericClient, Transaction};
use sandan_proto::id::FirmId;
use tokio_postgres::types::ToSql;

use super::count::firms;
use super::error::failed;
use super::rollup::{self, Version, WIDTHS};
use super::types::Ts;
use super::{Shared, catalogue, tables};
use crate::store::StoreError;
use crate::store::retention::{Pass, Retained, Retention};
use crate::time::DAY_US;

/// Beyond the retention: what was admitted last is stored by then.
const MARGIN_US: i64 = 2 * DAY_US;

/// The day before which nothing is kept that is kept for so long.
fn day_before(now_us: i64, kept_us: i64) -> i64 {
    now_us.saturating_sub(kept_us).saturating_sub(MARGIN_US).div_euclid(DAY_US).saturating_mul(DAY_US)
}

/// One pass over a firm; or what one would come to.
pub(super) async fn retain(shared: &Shared, firm: &FirmId, pass: Pass) -> Result<Retained, StoreError> {
    let now_us = (shared.options.now)();
    let mut done = Retained::default();
    let client = shared.session().await?;
    let Some((number, _)) = catalogue::firm(&client, firm).await? else { return Ok(done) };
    let versions = rollup::versions(&client, number).await?;
    drop(client);
    for version in versions {
        let retention = shared.options.classes.of(firm, &version.metric);
        let before_us = day_before(now_us, retention.raw_us);
        done.add(match pass {
            Pass::Apply => go(shared, &version, before_us).await?,
            Pass::Look => look(shared, &version, before_us).await?,
        });
        done.days += expire(shared, &version, now_us, retention, pass).await?;
    }
    Ok(done)
}

/// What of a version lies before a day's begin.
async fn look(shared: &Shared, version: &Version, before_us: i64) -> Result<Retained, StoreError> {
    let client = shared.session().await?;
    let sql = format!("SELECT count(*), min(ts) FROM {} WHERE series_id = $1 AND ts < $2", version.table());
    let row = client.query_one(&sql, &[&version.number, &Ts(before_us)]).await;
    let row = row.map_err(failed("looking at what would go"))?;
    let from_us = row.get::<_, Option<Ts>>(1).map(|ts| ts.0);
    Ok(Retained { readings: row.get::<_, i64>(0).cast_unsigned(), from_us, ..Retained::default() })
}

/// Lets minutes and hours of a version go.
async fn expire(
    shared: &Shared,
    version: &Version,
    now_us: i64,
    retention: Retention,
    pass: Pass,
) -> Result<u64, StoreError> {
    let mut client = shared.session().await?;
    let transaction = client.transaction().await.map_err(failed("dropping hours"))?;
    let mut days = 0;
    for (width_us, kept_us) in WIDTHS.into_iter().zip([retention.minutes_us, retention.hours_us]) {
        days += rollup::expire(&transaction, version.number, width_us, day_before(now_us, kept_us)).await?;
    }
    if pass == Pass::Apply && days > 0 {
        crash_point!("database.expired-before-commit");
        transaction.commit().await.map_err(failed("dropping hours"))?;
    }
    Ok(days)
}

/// Counts and deletes the readings of a version before a day's begin.
async fn go(shared: &Shared, version: &Version, before_us: i64) -> Result<Retained, StoreError> {
    let failed = failed("retention");
    let mut done = Retained::default();
    loop {
        let mut client = shared.session().await?;
        let sql = format!("SELECT ts FROM {} WHERE series_id = $1 AND ts < $2 ORDER BY ts LIMIT 1", version.table());
        let first = client.query_opt(&sql, &[&version.number, &Ts(before_us)]).await.map_err(&failed)?;
        let Some(first) = first else { return Ok(done) };
        let first_us = first.get::<_, Ts>(0).0;
        let transaction = rollup::moment(&mut client).await?;
        let readings = go_day(shared, &transaction, version, tables::day_of(first_us) * DAY_US).await?;
        crash_point!("database.retained-before-commit");
        transaction.commit().await.map_err(&failed)?;
        crash_point!("database.retained-before-next");
        shared.metrics.retained_readings.add(readings);
        done.add(Retained { readings, from_us: Some(first_us), ..Retained::default() });
    }
}

/// One day of a version: counted, then deleted.
async fn go_day(
    shared: &Shared,
    transaction: &Transaction<'_>,
    version: &Version,
    day_us: i64,
) -> Result<u64, StoreError> {
    let failed = failed("retention");
    let end_us = day_us + DAY_US;
    let gone_us = rollup::raw_from(transaction, version).await?;
    let mut hours = rollup::tally(shared, transaction, version, day_us, end_us).await?;
    rollup::join_left(transaction, version, gone_us, &mut hours).await?;
    rollup::write(transaction, version, &hours).await?;
    let (from, to) = (Ts(day_us), Ts(end_us));
    let range: [&(dyn ToSql + Sync); 3] = [&version.number, &from, &to];
    let table = version.table();
    let newest =
        format!("SELECT ts FROM {table} WHERE series_id = $1 AND ts >= $2 AND ts < $3 ORDER BY ts DESC LIMIT 1");
    let newest = transaction.query_opt(&newest, &range).await.map_err(&failed)?;
    let newest_us = newest.map(|row| row.get::<_, Ts>(0).0);
    let delete = format!("DELETE FROM {table} WHERE series_id = $1 AND ts >= $2 AND ts < $3");
    let gone = transaction.execute(&delete, &range).await.map_err(&failed)?;
    let late = "DELETE FROM readings.late WHERE series_id = $1 AND hour_us >= $2 AND hour_us < $3";
    transaction.execute(late, &[&version.number, &day_us, &end_us]).await.map_err(&failed)?;
    let noted = "UPDATE readings.version SET
                     raw_from_us = greatest(raw_from_us, $2), newest_us = greatest(newest_us, $3)
                 WHERE number = $1";
    transaction.execute(noted, &[&version.number, &end_us, &newest_us]).await.map_err(&failed)?;
    Ok(gone)
}

/// What the upkeep does for all firms: single readings where they cannot go by the day, minutes and
/// hours, then whole days.
pub(super) async fn retain_all(shared: &Shared) -> Result<(), StoreError> {
    let now_us = (shared.options.now)();
    let classes = &shared.options.classes;
    let longest_us = classes.longest_us();
    for number in firms(shared).await? {
        let client = shared.session().await?;
        let Some(firm) = firm_id(&client, number).await? else { continue };
        let versions = rollup::versions(&client, number).await?;
        drop(client);
        for version in versions {
            let retention = classes.of(&firm, &version.metric);
            let client = shared.session().await?;
            let sql = "SELECT raw_from_us FROM readings.version WHERE number = $1";
            let row = client.query_opt(sql, &[&version.number]).await.map_err(failed("retention"))?;
            drop(client);
            let late_us = row.and_then(|row| row.get::<_, Option<i64>>(0)).unwrap_or(i64::MIN);
            let old_us = if retention.raw_us < longest_us { day_before(now_us, retention.raw_us) } else { i64::MIN };
            let mut gone = go(shared, &version, late_us.max(old_us)).await?;
            gone.days += expire(shared, &version, now_us, retention, Pass::Apply).await?;
            if !gone.is_nothing() {
                let Retained { readings, days, .. } = gone;
                tracing::info!(%firm, metric = %version.metric, readings, days, "past their retention: gone");
            }
        }
    }
    let before_us = day_before(now_us, longest_us);
    if before_us > 0 {
        go_rest(shared, before_us).await?;
        tables::drop_days(shared, before_us).await?;
    }
    Ok(())
}

async fn firm_id(client: &impl GenericClient, number: i64) -> Result<Option<FirmId>, StoreError> {
    let row = client.query_opt("SELECT id FROM readings.firm WHERE number = $1", &[&number]).await;
    let row = row.map_err(failed("looking up a firm"))?;
    row.map(|row| FirmId::new(row.get(0)).map_err(catalogue::damaged)).transpose()
}

/// What lies outside the partitions of days goes one by one.
async fn go_rest(shared: &Shared, before_us: i64) -> Result<(), StoreError> {
    for (at, table) in tables::rests(shared) {
        let client = shared.session().await?;
        let sql = format!("SELECT DISTINCT series_id FROM {table} WHERE ts < $1");
        let rows = client.query(&sql, &[&Ts(before_us)]).await.map_err(failed("retention"))?;
        let of: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        drop(client);
        if of.is_empty() {
            continue;
        }
        for firm in firms(shared).await? {
            let versions = rollup::versions(&shared.session().await?, firm).await?;
            for version in versions.iter().filter(|it| it.table == at && of.contains(&it.number)) {
                go(shared, version, before_us).await?;
            }
        }
        // What is of no series any more is nobody's.
        let client = shared.session().await?;
        let delete =
            format!("DELETE FROM {table} WHERE ts < $1 AND series_id NOT IN (SELECT number FROM readings.version)");
        client.execute(&delete, &[&Ts(before_us)]).await.map_err(failed("retention"))?;
    }
    Ok(())
}
