//! The catalogue: which series a firm has, who owns them, and under which numbers
//! their versions are stored.

use rusqlite::{Connection, OptionalExtension, params};
use sandan_proto::births::{Births, Series};
use sandan_proto::id::{AssetId, BirthsHash, FirmId, GatewayId, IdError, MetricId, SeriesKey};
use sandan_proto::reading::ValueType;

use super::file::failed;
use super::heads::Heads;
use crate::store::{Placement, RefusedSeries, Registered, SeriesInfo, SeriesNo, StoreError};

/// Stands in a births' places for a series of another gateway. Numbers begin at 1.
const OTHER_OWNER: u32 = 0;

/// Numbers of a gateway and its firm.
#[derive(Debug, Clone, Copy)]
pub(super) struct GatewayNo {
    pub firm: i64,
    pub gateway: i64,
}

/// The number of a firm that has delivered before.
pub(super) fn firm_number(conn: &Connection, firm: &FirmId) -> Result<Option<i64>, StoreError> {
    let find = || {
        conn.prepare_cached("SELECT number FROM firm WHERE id = ?1")?
            .query_row([firm.as_str()], |row| row.get(0))
            .optional()
    };
    find().map_err(failed("looking up a firm"))
}

/// The numbers of a gateway, made where it has none yet.
pub(super) fn ensure_gateway(conn: &Connection, gateway: &GatewayId) -> rusqlite::Result<GatewayNo> {
    let find = || {
        conn.prepare_cached("SELECT firm, number FROM gateway WHERE id = ?1")?
            .query_row([gateway.as_str()], |row| Ok(GatewayNo { firm: row.get(0)?, gateway: row.get(1)? }))
            .optional()
    };
    if let Some(known) = find()? {
        return Ok(known);
    }
    let firm = gateway.firm();
    conn.execute("INSERT INTO firm (id) VALUES (?1) ON CONFLICT DO NOTHING", [firm.as_str()])?;
    let firm: i64 = conn.query_row("SELECT number FROM firm WHERE id = ?1", [firm.as_str()], |row| row.get(0))?;
    conn.execute("INSERT INTO gateway (firm, id) VALUES (?1, ?2)", params![firm, gateway.as_str()])?;
    Ok(GatewayNo { firm, gateway: conn.last_insert_rowid() })
}

/// Keeps births: assets as they are now named, series that are new, a version for
/// each unit and type, and the places of all of them.
pub(super) fn register(
    conn: &Connection,
    now_us: i64,
    gateway: &GatewayId,
    births: Births,
) -> rusqlite::Result<Registered> {
    let numbers = ensure_gateway(conn, gateway)?;
    let mut asset_now = conn.prepare_cached(include_str!("sql/upsert_asset.sql"))?;
    for asset in &births.assets {
        let id = asset.id.as_str();
        asset_now.execute(params![numbers.firm, id, asset.path, asset.name_ko, asset.name_en, asset.time_zone])?;
    }
    conn.prepare_cached("DELETE FROM refused WHERE firm = ?1 AND gateway = ?2")?
        .execute(params![numbers.firm, numbers.gateway])?;
    let places = births
        .series
        .iter()
        .map(|series| place(conn, numbers, births.assets[series.asset].id.as_str(), series))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let placed: Vec<u8> = places
        .iter()
        .flat_map(|place| match place {
            Placement::Own(SeriesNo(number), _) => number.to_le_bytes(),
            Placement::OtherOwner => OTHER_OWNER.to_le_bytes(),
        })
        .collect();
    let number = conn.prepare_cached(include_str!("sql/upsert_births.sql"))?.query_row(
        params![numbers.gateway, births.hash().as_bytes(), now_us, placed, births.content().as_ref()],
        |row| row.get(0),
    )?;
    Ok(Registered { number, births, places })
}

fn place(conn: &Connection, numbers: GatewayNo, asset: &str, series: &Series) -> rusqlite::Result<Placement> {
    let metric = series.metric.as_str();
    let known: Option<(i64, i64, u32)> = conn
        .prepare_cached(
            "SELECT number, gateway, expected_interval_ms FROM series WHERE firm = ?1 AND asset = ?2 AND metric = ?3",
        )?
        .query_row(params![numbers.firm, asset, metric], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let number = match known {
        Some((_, owner, _)) if owner != numbers.gateway => {
            conn.prepare_cached("INSERT INTO refused (firm, gateway, asset, metric) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![numbers.firm, numbers.gateway, asset, metric])?;
            return Ok(Placement::OtherOwner);
        }
        Some((number, _, interval)) => {
            if interval != series.expected_interval_ms {
                conn.prepare_cached("UPDATE series SET expected_interval_ms = ?2 WHERE number = ?1")?
                    .execute(params![number, series.expected_interval_ms])?;
            }
            number
        }
        None => {
            conn.prepare_cached(
                "INSERT INTO series (firm, asset, metric, gateway, expected_interval_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                numbers.firm,
                asset,
                metric,
                numbers.gateway,
                series.expected_interval_ms
            ])?;
            conn.last_insert_rowid()
        }
    };
    let version = params![number, series.unit, i32::from(series.value_type)];
    let found: Option<u32> = conn
        .prepare_cached("SELECT number FROM version WHERE series = ?1 AND unit = ?2 AND type = ?3")?
        .query_row(version, |row| row.get(0))
        .optional()?;
    let number = match found {
        Some(number) => number,
        None => conn
            .prepare_cached("INSERT INTO version (series, unit, type) VALUES (?1, ?2, ?3) RETURNING number")?
            .query_row(version, |row| row.get(0))?,
    };
    Ok(Placement::Own(SeriesNo(number), series.value_type))
}

/// Births that a gateway registered before.
pub(super) fn registered(
    conn: &Connection,
    gateway: &GatewayId,
    hash: BirthsHash,
) -> Result<Option<Registered>, StoreError> {
    let find = || {
        conn.prepare_cached(
            "SELECT births.number, placed, content FROM births JOIN gateway ON gateway.number = births.gateway
             WHERE gateway.id = ?1 AND hash = ?2",
        )?
        .query_row(params![gateway.as_str(), hash.as_bytes()], |row| {
            Ok((row.get::<_, u32>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?))
        })
        .optional()
    };
    let Some((number, placed, content)) = find().map_err(failed("looking up births"))? else { return Ok(None) };
    let births = Births::from_content(content.into())
        .map_err(|error| StoreError::Damaged(format!("births {number}: {error}")))?;
    let places = places(&placed)
        .zip(&births.series)
        .map(|(number, series)| {
            number.map_or(Placement::OtherOwner, |number| Placement::Own(number, series.value_type))
        })
        .collect();
    Ok(Some(Registered { number, births, places }))
}

/// Under which number each series of some births is stored.
pub(super) fn places_of(conn: &Connection, births: u32) -> Result<Vec<Option<SeriesNo>>, StoreError> {
    let find = || {
        conn.prepare_cached("SELECT placed FROM births WHERE number = ?1")?
            .query_row([births], |row| row.get::<_, Vec<u8>>(0))
    };
    Ok(places(&find().map_err(failed("looking up births"))?).collect())
}

fn places(placed: &[u8]) -> impl Iterator<Item = Option<SeriesNo>> + '_ {
    placed.chunks_exact(4).map(|bytes| {
        let number = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        (number != OTHER_OWNER).then_some(SeriesNo(number))
    })
}

/// The version whose readings are the newest: by observation time, never by arrival.
fn current(newest: &[Option<i64>]) -> Option<usize> {
    (0..newest.len()).max_by_key(|&index| (newest[index], index))
}

/// The versions of a series that a read gives: all that have the unit of the current
/// one. Readings in another unit would be taken for what they are not.
pub(super) fn readable_versions(
    conn: &Connection,
    firm: i64,
    key: &SeriesKey,
    heads: &Heads,
) -> Result<Vec<SeriesNo>, StoreError> {
    let find = || {
        conn.prepare_cached(include_str!("sql/list_versions.sql"))?
            .query_map(params![firm, key.asset.as_str(), key.metric.as_str()], |row| {
                Ok((SeriesNo(row.get(0)?), row.get::<_, String>(1)?))
            })?
            .collect::<rusqlite::Result<(Vec<_>, Vec<_>)>>()
    };
    let (numbers, units) = find().map_err(failed("looking up a series"))?;
    let Some(current) = current(&heads.newest(firm, &numbers)) else { return Ok(Vec::new()) };
    Ok(numbers.into_iter().zip(&units).filter(|(_, unit)| **unit == units[current]).map(|(number, _)| number).collect())
}

/// How many series a firm has.
pub(super) fn count_series(conn: &Connection, firm: i64) -> Result<u64, StoreError> {
    let count = || {
        conn.prepare_cached("SELECT count(*) FROM series WHERE firm = ?1")?
            .query_row([firm], |row| row.get::<_, i64>(0))
    };
    count().map(i64::cast_unsigned).map_err(failed("counting series"))
}

/// Every series of a firm, by asset and metric.
pub(super) fn list(
    conn: &Connection,
    firm: &FirmId,
    number: i64,
    heads: &Heads,
) -> Result<Vec<SeriesInfo>, StoreError> {
    struct Row {
        series: i64,
        version: SeriesNo,
        unit: String,
        value_type: i32,
        asset: String,
        metric: String,
        gateway: String,
        info: [String; 4],
        interval: u32,
    }
    let find = || {
        conn.prepare_cached(include_str!("sql/list_series.sql"))?
            .query_map([number], |row| {
                Ok(Row {
                    series: row.get(0)?,
                    asset: row.get(1)?,
                    metric: row.get(2)?,
                    info: [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?],
                    interval: row.get(7)?,
                    gateway: row.get(8)?,
                    version: SeriesNo(row.get(9)?),
                    unit: row.get(10)?,
                    value_type: row.get(11)?,
                })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    let rows = find().map_err(failed("listing series"))?;
    let mut series = Vec::new();
    for versions in rows.chunk_by(|one, next| one.series == next.series) {
        let numbers: Vec<_> = versions.iter().map(|row| row.version).collect();
        let newest = heads.newest(number, &numbers);
        let Some(current) = current(&newest) else { continue };
        let row = &versions[current];
        let [path, name_ko, name_en, time_zone] = row.info.clone();
        let key = key(firm, &row.asset, &row.metric).map_err(damaged)?;
        series.push(SeriesInfo {
            key,
            path,
            name_ko,
            name_en,
            time_zone,
            unit: row.unit.clone(),
            value_type: ValueType::try_from(row.value_type).unwrap_or_default(),
            expected_interval_ms: row.interval,
            gateway: GatewayId::new(&row.gateway).map_err(damaged)?,
            newest_us: newest[current],
        });
    }
    Ok(series)
}

/// Series that a gateway declares while another owns them.
pub(super) fn refused(conn: &Connection, firm: &FirmId, number: i64) -> Result<Vec<RefusedSeries>, StoreError> {
    let find = || {
        conn.prepare_cached(include_str!("sql/list_refused.sql"))?
            .query_map([number], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?
            .collect::<rusqlite::Result<Vec<[String; 4]>>>()
    };
    find()
        .map_err(failed("listing refused series"))?
        .into_iter()
        .map(|[asset, metric, owner, refused]| {
            Ok(RefusedSeries {
                key: key(firm, &asset, &metric)?,
                owner: GatewayId::new(&owner)?,
                refused: GatewayId::new(&refused)?,
            })
        })
        .collect::<Result<_, _>>()
        .map_err(damaged)
}

fn key(firm: &FirmId, asset: &str, metric: &str) -> Result<SeriesKey, IdError> {
    Ok(SeriesKey { firm: firm.clone(), asset: AssetId::new(asset)?, metric: MetricId::new(metric)? })
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` wants it
fn damaged(error: IdError) -> StoreError {
    StoreError::Damaged(error.to_string())
}

/// The firm of a number.
pub(super) fn firm_id(conn: &Connection, number: i64) -> Result<FirmId, StoreError> {
    let find = || {
        conn.prepare_cached("SELECT id FROM firm WHERE number = ?1")?.query_row([number], |row| row.get::<_, String>(0))
    };
    FirmId::new(&find().map_err(failed("looking up a firm"))?).map_err(damaged)
}
