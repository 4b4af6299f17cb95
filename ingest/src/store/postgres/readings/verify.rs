//! A deep check: whether hours and minutes are what their readings come to, and whether the tables
//! fit together. Reads only, a day of a series at a time, each series as it is at one moment; pages
//! on the server's disk are for the server to check.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::{Object, Transaction};

use super::catalogue::damaged;
use super::error::failed;
use super::rollup::{self, Row, Version, WIDTHS, hour_of};
use super::types::Ts;
use crate::store::aggregate::Stats;
use crate::store::holdings::MAX_FLAWS;
use crate::store::postgres::Database;
use crate::store::references::REFERENCES;
use crate::store::{Flaw, StoreError, Verified};
use crate::time::{DAY_US, HOUR_US, rfc3339};

const RESTORE: &str = "restore the newest dump or archive of the database; what came since comes back from the \
                       gateways as far as their spools keep it";
const REPORT: &str = "reads of hours give what was counted, single readings are whole: keep a dump, and report it";

/// Checks the readings in a database that has the layout of this build.
pub async fn verify(database: &Database) -> Result<Verified, StoreError> {
    let failed_at = failed("the deep check");
    let mut found = Verified::default();
    let mut client = connect(database).await?;
    references(&mut client, &mut found).await?;
    let firms = "SELECT number, id, counted_us FROM readings.firm ORDER BY number";
    for firm in client.query(firms, &[]).await.map_err(&failed_at)? {
        let id = sandan_proto::id::FirmId::new(firm.get(1)).map_err(damaged)?;
        for version in rollup::versions(&client, firm.get(0)).await?.iter().filter(|it| it.counts()) {
            let place = format!("{id}, {} (series_id {})", version.metric, version.number);
            series(&mut client, firm.get(0), version, &place, &mut found).await?;
            if found.flaws.len() >= MAX_FLAWS {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

async fn connect(database: &Database) -> Result<Object, StoreError> {
    let connected = database.client().await;
    connected.map_err(|error| StoreError::Engine { what: "connecting to the database", source: Box::new(error) })
}

fn add(found: &mut Verified, place: String, what: impl Into<String>, hint: &str) {
    if found.flaws.len() < MAX_FLAWS {
        found.flaws.push(Flaw { place, what: what.into(), hint: hint.to_owned() });
    }
}

/// Whether watermarks, catalogue and dead letters fit together.
async fn references(client: &mut Object, found: &mut Verified) -> Result<(), StoreError> {
    let failed = failed("the deep check");
    let transaction = rollup::moment(client).await?;
    transaction.batch_execute("SET LOCAL search_path = readings, public").await.map_err(&failed)?;
    // Those of what is counted are this engine's own.
    let counted = "SELECT DISTINCT 'series_id ' || series_id FROM
                       (SELECT series_id FROM rollup UNION SELECT series_id FROM late) AS named
                   WHERE series_id NOT IN (SELECT number FROM version) LIMIT 10";
    let shared = REFERENCES.iter().map(|it| (it.query(), it.what));
    for (sql, what) in shared.chain([(counted.to_owned(), "hours are counted of a series that is not there")]) {
        for row in transaction.query(&sql, &[]).await.map_err(&failed)? {
            add(found, row.get(0), what, RESTORE);
        }
    }
    transaction.rollback().await.map_err(&failed)
}

/// Compares the hours of a series with its readings.
async fn series(
    client: &mut Object,
    firm: i64,
    version: &Version,
    place: &str,
    found: &mut Verified,
) -> Result<(), StoreError> {
    let failed = failed("the deep check");
    let transaction = rollup::moment(client).await?;
    let raw_from_us = rollup::raw_from(&transaction, version).await?;
    let counted = "SELECT coalesce(counted_us, 0) FROM readings.firm WHERE number = $1";
    let counted_us: i64 = transaction.query_one(counted, &[&firm]).await.map_err(&failed)?.get(0);
    let late = "SELECT DISTINCT hour_us FROM readings.late WHERE series_id = $1";
    let late = transaction.query(late, &[&version.number]).await.map_err(&failed)?;
    let late: BTreeSet<i64> = late.iter().map(|row| row.get(0)).collect();
    let mut from_us = hour_of(i64::MIN / 2);
    while let Some(start_us) = next(&transaction, version, from_us).await? {
        let end_us = start_us + DAY_US;
        let readings = count(&transaction, version, start_us, end_us).await?;
        found.readings += readings.values().map(|(all, _)| all).sum::<u64>();
        let mut counts: [BTreeMap<i64, u64>; 2] = Default::default();
        for (counts, width_us) in counts.iter_mut().zip(WIDTHS) {
            for row in rollup::rows(&transaction, version.number, width_us, start_us, end_us).await? {
                match row.unpack() {
                    Ok(stats) => drop(counts.insert(row.hour_us, numbers(&stats))),
                    Err(error) => add(found, at(place, &row), format!("cannot be decoded: {error}"), RESTORE),
                }
            }
        }
        let [minutes, hours] = &counts;
        for hour_us in readings.keys().chain(hours.keys()).collect::<BTreeSet<_>>() {
            let (hour, minutes) = (hours.get(hour_us), minutes.get(hour_us));
            let place = || format!("{place}: the hour of {}", rfc3339(*hour_us));
            if let (Some(hour), Some(minutes)) = (hour, minutes)
                && hour != minutes
            {
                add(found, place(), format!("it counts {hour} numbers, its minutes {minutes}"), REPORT);
            }
            // Of what is gone nothing is there to compare it with; what is late is not counted yet.
            if *hour_us < raw_from_us || *hour_us >= counted_us || late.contains(hour_us) {
                continue;
            }
            match (hour, readings.get(hour_us)) {
                (None, Some((all, _))) => add(found, place(), format!("its {all} readings are not counted"), REPORT),
                (Some(hour), there) => {
                    let there = there.map_or(0, |(_, numbers)| *numbers);
                    if *hour != there {
                        add(found, place(), format!("it counts {hour} numbers, and {there} are there"), RESTORE);
                    }
                }
                (None, None) => {}
            }
        }
        from_us = end_us;
    }
    transaction.rollback().await.map_err(&failed)
}

fn at(place: &str, row: &Row) -> String {
    format!("{place}: the hour of {}", rfc3339(row.hour_us))
}

fn numbers(stats: &[Stats]) -> u64 {
    stats.iter().map(|stats| stats.count).sum()
}

/// The next hour from a time on of which something is there or counted.
async fn next(transaction: &Transaction<'_>, version: &Version, from_us: i64) -> Result<Option<i64>, StoreError> {
    let failed = failed("the deep check");
    let counted = "SELECT min(hour_us) FROM readings.rollup WHERE series_id = $1 AND width_s = 3600 AND hour_us >= $2";
    let counted = transaction.query_one(counted, &[&version.number, &from_us]).await.map_err(&failed)?;
    let read = format!("SELECT ts FROM {} WHERE series_id = $1 AND ts >= $2 ORDER BY ts LIMIT 1", version.table());
    let read = transaction.query_opt(&read, &[&version.number, &Ts(from_us)]).await.map_err(&failed)?;
    let read = read.map(|row| hour_of(row.get::<_, Ts>(0).0));
    Ok(counted.get::<_, Option<i64>>(0).into_iter().chain(read).min())
}

/// How many readings there are in each hour, and how many of them are numbers.
async fn count(
    transaction: &Transaction<'_>,
    version: &Version,
    from_us: i64,
    to_us: i64,
) -> Result<BTreeMap<i64, (u64, u64)>, StoreError> {
    // NaN is greater than every number.
    let sql = format!(
        "SELECT floor(extract(epoch FROM ts) / 3600)::bigint, count(*),
                count(*) FILTER (WHERE value::float8 > '-Infinity' AND value::float8 < 'Infinity')
         FROM {} WHERE series_id = $1 AND ts >= $2 AND ts < $3 GROUP BY 1",
        version.table()
    );
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&version.number, &Ts(from_us), &Ts(to_us)];
    let rows = transaction.query(&sql, &values).await.map_err(failed("the deep check"))?;
    let count = |row: &tokio_postgres::Row, at| row.get::<_, i64>(at).unsigned_abs();
    Ok(rows.iter().map(|row| (row.get::<_, i64>(0) * HOUR_US, (count(row, 1), count(row, 2)))).collect())
}
