//! The catalogue: which series a firm has, who owns them, and under which numbers their
//! versions are stored.
//!
//! Births of thousands of series are looked up and written in a handful of statements, while
//! the firm's row is locked: two gateways of a firm cannot both become the owner of a series.

use std::collections::{BTreeSet, HashMap};

use deadpool_postgres::{GenericClient, Transaction};
use sandan_proto::births::Births;
use sandan_proto::id::{AssetId, BirthsHash, FirmId, GatewayId, IdError, MetricId, SeriesKey};
use sandan_proto::limits::MAX_SERIES;
use sandan_proto::reading::ValueType;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::Shared;
use super::error::failed;
use super::rows::table_of;
use super::tables::READINGS;
use super::types::Ts;
use crate::store::{Placement, RefusedSeries, Registered, SeriesInfo, SeriesNo, StoreError};
use crate::time::DAY_US;

/// Stands in a births' places for a series of another gateway. Numbers begin at 1.
const OTHER_OWNER: u32 = 0;
/// Stands there for a series beyond what the gateway may have.
const OVER_QUOTA: u32 = u32::MAX;
/// Versions of series that one gateway may own: all that one set of births may declare, and
/// once more for changed units and names.
const MAX_VERSIONS: i64 = 2 * MAX_SERIES as i64;
/// Sets of births that a gateway may register: a changed configuration every working day for
/// four years.
const MAX_BIRTHS: i64 = 1_000;
/// Bytes of births that are kept for a gateway, as for its dead letters.
const KEPT_BIRTHS_BYTES: i64 = 64 << 20;

/// Numbers of a gateway and its firm.
#[derive(Debug, Clone, Copy)]
pub(super) struct GatewayNo {
    pub firm: i64,
    pub gateway: i64,
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` wants it
pub(super) fn damaged(error: IdError) -> StoreError {
    StoreError::Damaged(error.to_string())
}

/// The numbers of a gateway, made where it has none yet; its row is locked.
pub(super) async fn ensure_gateway(
    transaction: &Transaction<'_>,
    gateway: &GatewayId,
) -> Result<GatewayNo, StoreError> {
    let failed = failed("looking up a gateway");
    let find = "SELECT firm, number FROM readings.gateway WHERE id = $1 FOR UPDATE";
    let id = gateway.as_str();
    let mut found = transaction.query_opt(find, &[&id]).await.map_err(&failed)?;
    if found.is_none() {
        let firm = gateway.firm();
        transaction
            .execute("INSERT INTO readings.firm (id) VALUES ($1) ON CONFLICT DO NOTHING", &[&firm.as_str()])
            .await
            .map_err(&failed)?;
        transaction
            .execute(
                "INSERT INTO readings.gateway (firm, id) SELECT number, $2 FROM readings.firm WHERE id = $1
                 ON CONFLICT DO NOTHING",
                &[&firm.as_str(), &id],
            )
            .await
            .map_err(&failed)?;
        found = transaction.query_opt(find, &[&id]).await.map_err(&failed)?;
    }
    let row = found.ok_or_else(|| StoreError::Damaged(format!("gateway {gateway} cannot be made")))?;
    Ok(GatewayNo { firm: row.get(0), gateway: row.get(1) })
}

/// Keeps births: assets as they are now named, series that are new, a version for each unit
/// and type, and the places of all of them. Writes nothing where all is as it was.
pub(super) async fn register(shared: &Shared, gateway: &GatewayId, births: Births) -> Result<Registered, StoreError> {
    let failed = failed("registering births");
    let mut client = shared.session().await?;
    let transaction = client.transaction().await.map_err(&failed)?;
    let numbers = ensure_gateway(&transaction, gateway).await?;
    lock_firm(&transaction, numbers.firm).await.map_err(&failed)?;
    let hash = births.hash().as_bytes().to_vec();
    let known = transaction
        .query_opt(
            "SELECT number, placed, used_us FROM readings.births WHERE gateway = $1 AND hash = $2",
            &[&numbers.gateway, &hash],
        )
        .await
        .map_err(&failed)?;
    if known.is_none() {
        refuse_over_quota(&transaction, numbers, &births).await?;
    }
    let mut changed = write_assets(&transaction, numbers, &births).await.map_err(&failed)?;
    let (places, placing) = place(&transaction, numbers, &births).await.map_err(&failed)?;
    changed |= placing;
    changed |= refuse(&transaction, numbers, &births, &places).await.map_err(&failed)?;
    let numbered = placed(&places);
    let now_us = (shared.options.now)();
    // Noted as told by the day, or they would be cleared away under the session that told them.
    let is_noted = |row: &Row| now_us.saturating_sub(row.get(2)) <= DAY_US;
    if let Some(row) = known.filter(|row| !changed && is_noted(row) && row.get::<_, &[u8]>(1) == numbered) {
        let number = row.get::<_, i32>(0).cast_unsigned();
        transaction.rollback().await.map_err(&failed)?;
        return Ok(Registered { number, births, places });
    }
    let row = transaction
        .query_one(
            "INSERT INTO readings.births (gateway, hash, received_us, used_us, placed, content)
             VALUES ($1, $2, $3, $3, $4, $5)
             ON CONFLICT (gateway, hash) DO UPDATE SET placed = excluded.placed, used_us = excluded.used_us
             RETURNING number",
            &[&numbers.gateway, &hash, &now_us, &numbered, &births.content().as_ref()],
        )
        .await
        .map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    shared.metrics.commits.add(1);
    Ok(Registered { number: row.get::<_, i32>(0).cast_unsigned(), births, places })
}

async fn lock_firm(transaction: &Transaction<'_>, firm: i64) -> Result<(), Error> {
    transaction.execute("SELECT 1 FROM readings.firm WHERE number = $1 FOR UPDATE", &[&firm]).await.map(drop)
}

async fn refuse_over_quota(
    transaction: &Transaction<'_>,
    numbers: GatewayNo,
    births: &Births,
) -> Result<(), StoreError> {
    let row = transaction
        .query_one(
            "SELECT count(*), coalesce(sum(length(content)), 0)::bigint FROM readings.births WHERE gateway = $1",
            &[&numbers.gateway],
        )
        .await
        .map_err(failed("counting births"))?;
    let (sets, bytes): (i64, i64) = (row.get(0), row.get(1));
    if sets >= MAX_BIRTHS || bytes.saturating_add(births.content().len() as i64) > KEPT_BIRTHS_BYTES {
        let sentence = format!("the gateway has registered {sets} sets of births, as many as it may");
        return Err(StoreError::OverQuota(sentence));
    }
    Ok(())
}

async fn write_assets(transaction: &Transaction<'_>, numbers: GatewayNo, births: &Births) -> Result<bool, Error> {
    let of = |pick: fn(&sandan_proto::births::Asset) -> &str| births.assets.iter().map(pick).collect::<Vec<&str>>();
    let written = transaction
        .execute(
            include_str!("sql/upsert_assets.sql"),
            &[
                &numbers.firm,
                &of(|asset| asset.id.as_str()),
                &of(|asset| &asset.path),
                &of(|asset| &asset.name_ko),
                &of(|asset| &asset.name_en),
                &of(|asset| &asset.time_zone),
            ],
        )
        .await?;
    Ok(written > 0)
}

/// What the catalogue knows of one declared series.
struct Seen {
    number: Option<i64>,
    owner: Option<i64>,
    interval: Option<i64>,
    version: Option<i32>,
}

/// The places of the series of some births, which are made where there are none; and whether
/// anything was written. The firm is locked.
async fn place(
    transaction: &Transaction<'_>,
    numbers: GatewayNo,
    births: &Births,
) -> Result<(Vec<Placement>, bool), Error> {
    let declared: Vec<_> =
        births.series.iter().map(|series| (births.assets[series.asset].id.as_str(), series)).collect();
    let assets: Vec<&str> = declared.iter().map(|(asset, _)| *asset).collect();
    let metrics: Vec<&str> = declared.iter().map(|(_, series)| series.metric.as_str()).collect();
    let units: Vec<&str> = declared.iter().map(|(_, series)| series.unit.as_str()).collect();
    let types: Vec<i32> = declared.iter().map(|(_, series)| series.value_type.into()).collect();
    let mut seen: Vec<Seen> = transaction
        .query(include_str!("sql/look_up_series.sql"), &[&numbers.firm, &assets, &metrics, &units, &types])
        .await?
        .iter()
        .map(|row| Seen { number: row.get(0), owner: row.get(1), interval: row.get(2), version: row.get(3) })
        .collect();
    let foreign = |seen: &Seen| seen.owner.is_some_and(|owner| owner != numbers.gateway);
    let missing: Vec<usize> = (0..seen.len()).filter(|&at| seen[at].version.is_none() && !foreign(&seen[at])).collect();
    let slower: Vec<usize> = (0..seen.len())
        .filter(|&at| {
            let interval = i64::from(declared[at].1.expected_interval_ms);
            !foreign(&seen[at]) && seen[at].interval.is_some_and(|known| known != interval)
        })
        .collect();
    if !slower.is_empty() {
        let series: Vec<i64> = slower.iter().filter_map(|&at| seen[at].number).collect();
        let intervals: Vec<i64> = slower.iter().map(|&at| declared[at].1.expected_interval_ms.into()).collect();
        transaction
            .execute(
                "UPDATE readings.series SET expected_interval_ms = told.interval
                 FROM unnest($1::bigint[], $2::bigint[]) AS told (number, interval) WHERE series.number = told.number",
                &[&series, &intervals],
            )
            .await?;
    }
    let mut taken = Vec::new();
    if !missing.is_empty() {
        let room = room_for_versions(transaction, numbers).await?;
        taken = missing.iter().copied().take(usize::try_from(room).unwrap_or(0)).collect();
        make(transaction, numbers, &declared, &taken, &mut seen).await?;
    }
    let places = seen
        .iter()
        .zip(&births.series)
        .map(|(seen, series)| match seen.version {
            _ if foreign(seen) => Placement::OtherOwner,
            Some(version) => Placement::Own(SeriesNo(version.cast_unsigned()), series.value_type),
            None => Placement::OverQuota,
        })
        .collect();
    Ok((places, !slower.is_empty() || !taken.is_empty()))
}

/// How many more versions of series a gateway may have.
async fn room_for_versions(transaction: &Transaction<'_>, numbers: GatewayNo) -> Result<i64, Error> {
    let row = transaction
        .query_one(
            "SELECT count(*) FROM readings.series JOIN readings.version ON version.series = series.number
             WHERE series.firm = $1 AND series.gateway = $2",
            &[&numbers.firm, &numbers.gateway],
        )
        .await?;
    Ok((MAX_VERSIONS - row.get::<_, i64>(0)).max(0))
}

/// Makes series that are new, and a version of each of `taken`.
async fn make(
    transaction: &Transaction<'_>,
    numbers: GatewayNo,
    declared: &[(&str, &sandan_proto::births::Series)],
    taken: &[usize],
    seen: &mut [Seen],
) -> Result<(), Error> {
    let fresh: Vec<usize> = taken.iter().copied().filter(|&at| seen[at].number.is_none()).collect();
    if !fresh.is_empty() {
        let assets: Vec<&str> = fresh.iter().map(|&at| declared[at].0).collect();
        let metrics: Vec<&str> = fresh.iter().map(|&at| declared[at].1.metric.as_str()).collect();
        let intervals: Vec<i64> = fresh.iter().map(|&at| declared[at].1.expected_interval_ms.into()).collect();
        let made = transaction
            .query(
                "INSERT INTO readings.series (firm, asset, metric, gateway, expected_interval_ms)
                 SELECT $1::bigint, asset, metric, $2::bigint, interval
                 FROM unnest($3::text[], $4::text[], $5::bigint[]) WITH ORDINALITY AS new (asset, metric, interval, nth)
                 ORDER BY nth
                 RETURNING asset, metric, number",
                &[&numbers.firm, &numbers.gateway, &assets, &metrics, &intervals],
            )
            .await?;
        let made: HashMap<(&str, &str), i64> = made.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
        for at in fresh {
            let (asset, series) = declared[at];
            (seen[at].number, seen[at].owner) =
                (made.get(&(asset, series.metric.as_str())).copied(), Some(numbers.gateway));
        }
    }
    let of: Vec<i64> = taken.iter().map(|&at| seen[at].number.unwrap_or(0)).collect();
    let units: Vec<&str> = taken.iter().map(|&at| declared[at].1.unit.as_str()).collect();
    let types: Vec<i32> = taken.iter().map(|&at| declared[at].1.value_type.into()).collect();
    let made = transaction
        .query(
            "INSERT INTO readings.version (series, unit, type)
             SELECT series, unit, type
             FROM unnest($1::bigint[], $2::text[], $3::integer[]) WITH ORDINALITY AS new (series, unit, type, nth)
             ORDER BY nth
             RETURNING series, number",
            &[&of, &units, &types],
        )
        .await?;
    let made: HashMap<i64, i32> = made.iter().map(|row| (row.get(0), row.get(1))).collect();
    for &at in taken {
        seen[at].version = seen[at].number.and_then(|number| made.get(&number).copied());
    }
    Ok(())
}

/// Notes which series are refused to the gateway, in the place of those that were; and whether
/// that changed anything.
async fn refuse(
    transaction: &Transaction<'_>,
    numbers: GatewayNo,
    births: &Births,
    places: &[Placement],
) -> Result<bool, Error> {
    let foreign: Vec<_> = births.series.iter().zip(places).filter(|(_, it)| **it == Placement::OtherOwner).collect();
    let assets: Vec<&str> = foreign.iter().map(|(series, _)| births.assets[series.asset].id.as_str()).collect();
    let metrics: Vec<&str> = foreign.iter().map(|(series, _)| series.metric.as_str()).collect();
    let gone = transaction
        .execute(
            "DELETE FROM readings.refused WHERE firm = $1 AND gateway = $2
             AND (asset, metric) NOT IN (SELECT * FROM unnest($3::text[], $4::text[]))",
            &[&numbers.firm, &numbers.gateway, &assets, &metrics],
        )
        .await?;
    let new = transaction
        .execute(
            "INSERT INTO readings.refused (firm, gateway, asset, metric)
             SELECT $1::bigint, $2::bigint, * FROM unnest($3::text[], $4::text[]) ON CONFLICT DO NOTHING",
            &[&numbers.firm, &numbers.gateway, &assets, &metrics],
        )
        .await?;
    Ok(gone + new > 0)
}

/// Places as they stand in the row.
fn placed(places: &[Placement]) -> Vec<u8> {
    places
        .iter()
        .flat_map(|place| match place {
            Placement::Own(SeriesNo(number), _) => number.to_le_bytes(),
            Placement::OtherOwner => OTHER_OWNER.to_le_bytes(),
            Placement::OverQuota => OVER_QUOTA.to_le_bytes(),
        })
        .collect()
}

fn placements<'a>(placed: &'a [u8], births: &'a Births) -> impl Iterator<Item = Placement> + 'a {
    let numbers = placed.chunks_exact(4).map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]));
    numbers.zip(&births.series).map(|(number, series)| match number {
        OTHER_OWNER => Placement::OtherOwner,
        OVER_QUOTA => Placement::OverQuota,
        number => Placement::Own(SeriesNo(number), series.value_type),
    })
}

/// Births that a gateway registered before.
pub(super) async fn registered(
    client: &impl GenericClient,
    gateway: &GatewayId,
    hash: BirthsHash,
) -> Result<Option<Registered>, StoreError> {
    let found = client
        .query_opt(
            "SELECT births.number, placed, content
             FROM readings.births JOIN readings.gateway ON gateway.number = births.gateway
             WHERE gateway.id = $1 AND hash = $2",
            &[&gateway.as_str(), &hash.as_bytes().as_slice()],
        )
        .await
        .map_err(failed("looking up births"))?;
    let Some(row) = found else { return Ok(None) };
    let number = row.get::<_, i32>(0).cast_unsigned();
    let births = Births::from_content(row.get::<_, Vec<u8>>(2).into())
        .map_err(|error| StoreError::Damaged(format!("births {number}: {error}")))?;
    let places = placements(row.get(1), &births).collect();
    Ok(Some(Registered { number, births, places }))
}

/// Births that a gateway registered before, with the places that their series have now. What
/// was another's, or beyond the quota, may have become the gateway's own; nothing else is
/// changed, least of all the names of assets.
pub(super) async fn replaced(
    transaction: &Transaction<'_>,
    gateway: &GatewayId,
    numbers: GatewayNo,
    hash: BirthsHash,
) -> Result<Option<Registered>, StoreError> {
    let failed = failed("looking up births");
    let Some(mut registered) = registered(transaction, gateway, hash).await? else { return Ok(None) };
    let (now, _) = place(transaction, numbers, &registered.births).await.map_err(&failed)?;
    // What is stored under these births stays where it is.
    let kept: Vec<Placement> = registered
        .places
        .iter()
        .zip(&now)
        .map(|(known, now)| if matches!(known, Placement::Own(..)) { *known } else { *now })
        .collect();
    if kept != registered.places {
        transaction
            .execute(
                "UPDATE readings.births SET placed = $2 WHERE number = $1",
                &[&registered.number.cast_signed(), &placed(&kept)],
            )
            .await
            .map_err(&failed)?;
    }
    registered.places = now;
    Ok(Some(registered))
}

/// The number of a firm that has delivered before, and its newest commit.
pub(super) async fn firm(client: &impl GenericClient, firm: &FirmId) -> Result<Option<(i64, i64)>, StoreError> {
    let found = client
        .query_opt("SELECT number, commits FROM readings.firm WHERE id = $1", &[&firm.as_str()])
        .await
        .map_err(failed("looking up a firm"))?;
    Ok(found.map(|row| (row.get(0), row.get(1))))
}

/// What a read has to know of one series.
pub(super) struct Readable {
    /// 0 when unknown.
    pub expected_interval_ms: u32,
    /// The versions that a read gives: all that have the unit of the current one. Readings in
    /// another unit would be taken for what they are not.
    pub versions: Vec<Version>,
}

/// One version of a series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version {
    pub number: i32,
    pub of: ValueType,
    /// Readings before it are gone but for late ones, and counted in minutes and hours.
    pub raw_from_us: Option<i64>,
    /// The newest of these.
    newest_us: Option<i64>,
}

/// A series as a read gives it; none where there is no such series.
pub(super) async fn readable(
    client: &impl GenericClient,
    firm: i64,
    key: &SeriesKey,
) -> Result<Option<Readable>, StoreError> {
    let failed = failed("looking up a series");
    let rows = client
        .query(
            "SELECT version.number, version.unit, version.type, series.expected_interval_ms,
                    version.raw_from_us, version.newest_us
             FROM readings.series JOIN readings.version ON version.series = series.number
             WHERE series.firm = $1 AND series.asset = $2 AND series.metric = $3 ORDER BY version.number",
            &[&firm, &key.asset.as_str(), &key.metric.as_str()],
        )
        .await
        .map_err(&failed)?;
    let Some(first) = rows.first() else { return Ok(None) };
    let expected_interval_ms = u32::try_from(first.get::<_, i64>(3)).unwrap_or(0);
    let version = |row: &Row| Version {
        number: row.get(0),
        of: value_type(row.get(2)),
        raw_from_us: row.get(4),
        newest_us: row.get(5),
    };
    let versions: Vec<Version> = rows.iter().map(version).collect();
    let mut newest = Vec::with_capacity(rows.len());
    for version in &versions {
        // Where there is but one version, it is the current one.
        newest.push(if rows.len() > 1 {
            newest_of(client, version.number, version.of).await.map_err(&failed)?.max(version.newest_us)
        } else {
            None
        });
    }
    let unit: &str = rows[current(&newest).unwrap_or(0)].get(1);
    let versions = versions.into_iter().zip(&rows).filter(|(_, row)| row.get::<_, &str>(1) == unit);
    Ok(Some(Readable { expected_interval_ms, versions: versions.map(|(version, _)| version).collect() }))
}

async fn newest_of(client: &impl GenericClient, version: i32, of: ValueType) -> Result<Option<i64>, Error> {
    let sql = format!("SELECT ts FROM {} WHERE series_id = $1 ORDER BY ts DESC LIMIT 1", READINGS[table_of(of)]);
    let statement = client.prepare_cached(&sql).await?;
    Ok(client.query_opt(&statement, &[&version]).await?.map(|row| row.get::<_, Ts>(0).0))
}

pub(super) fn value_type(number: i32) -> ValueType {
    ValueType::try_from(number).unwrap_or_default()
}

/// The version whose readings are the newest: by observation time, never by arrival.
fn current(newest: &[Option<i64>]) -> Option<usize> {
    (0..newest.len()).max_by_key(|&index| (newest[index], index))
}

/// Every series of a firm, by asset and metric.
pub(super) async fn list(
    shared: &Shared,
    of: &FirmId,
    only: Option<&SeriesKey>,
) -> Result<Vec<SeriesInfo>, StoreError> {
    let (_turn, client) = shared.reading().await?;
    let Some((number, _)) = firm(&client, of).await? else { return Ok(Vec::new()) };
    let (asset, metric) = (only.map(|key| key.asset.as_str()), only.map(|key| key.metric.as_str()));
    let (which, values): (_, &[&(dyn ToSql + Sync)]) = match only {
        Some(_) => ("AND series.asset = $2 AND series.metric = $3", &[&number, &asset, &metric]),
        None => ("", &[&number]),
    };
    let all = include_str!("sql/list_series.sql");
    let sql = format!("{all} {which} ORDER BY series.asset, series.metric, version.number");
    let sql = client.prepare_cached(&sql).await.map_err(failed("listing series"))?;
    let rows = client.query(&sql, values).await.map_err(failed("listing series"))?;
    let mut series = Vec::new();
    for versions in rows.chunk_by(|one, next| one.get::<_, i64>(0) == next.get::<_, i64>(0)) {
        let newest: Vec<Option<i64>> =
            versions.iter().map(|row| row.get::<_, Option<Ts>>(12).map(|ts| ts.0).max(row.get(13))).collect();
        let Some(current) = current(&newest) else { continue };
        let row = &versions[current];
        let text = |at: usize| row.get::<_, String>(at);
        let unit = text(10);
        let others: BTreeSet<&str> = versions
            .iter()
            .zip(&newest)
            .filter(|(row, newest)| newest.is_some() && row.get::<_, &str>(10) != unit)
            .map(|(row, _)| row.get(10))
            .collect();
        series.push(SeriesInfo {
            key: key(of, row.get(1), row.get(2)).map_err(damaged)?,
            path: text(3),
            name_ko: text(4),
            name_en: text(5),
            time_zone: text(6),
            other_units: others.into_iter().map(str::to_owned).collect(),
            unit,
            value_type: value_type(row.get(11)),
            expected_interval_ms: u32::try_from(row.get::<_, i64>(7)).unwrap_or(0),
            gateway: GatewayId::new(row.get(8)).map_err(damaged)?,
            newest_us: newest[current],
        });
    }
    Ok(series)
}

/// Series that a gateway declares while another owns them.
pub(super) async fn refused(shared: &Shared, firm: &FirmId) -> Result<Vec<RefusedSeries>, StoreError> {
    let (_turn, client) = shared.reading().await?;
    client
        .query(include_str!("sql/list_refused.sql"), &[&firm.as_str()])
        .await
        .map_err(failed("listing refused series"))?
        .iter()
        .map(|row| {
            Ok(RefusedSeries {
                key: key(firm, row.get(0), row.get(1))?,
                owner: GatewayId::new(row.get(2))?,
                refused: GatewayId::new(row.get(3))?,
            })
        })
        .collect::<Result<_, _>>()
        .map_err(damaged)
}

fn key(firm: &FirmId, asset: &str, metric: &str) -> Result<SeriesKey, IdError> {
    Ok(SeriesKey { firm: firm.clone(), asset: AssetId::new(asset)?, metric: MetricId::new(metric)? })
}
