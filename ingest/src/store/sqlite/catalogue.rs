//! The catalogue: which series a firm has, who owns them, and under which numbers
//! their versions are stored.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};
use sandan_proto::births::{Births, Series};
use sandan_proto::id::{AssetId, BirthsHash, FirmId, GatewayId, IdError, MetricId, SeriesKey};
use sandan_proto::limits::MAX_SERIES;
use sandan_proto::reading::ValueType;

use super::file::failed;
use super::heads::Heads;
use crate::store::aggregate::hold_us;
use crate::store::{Placement, RefusedSeries, Registered, SeriesInfo, SeriesNo, StoreError};
use crate::time::DAY_US;

/// Stands in a births' places for a series of another gateway. Numbers begin at 1.
const OTHER_OWNER: u32 = 0;
/// Stands there for a series beyond what the gateway may have.
const OVER_QUOTA: u32 = u32::MAX;

/// Versions of series that one gateway may own: all that one set of births may declare,
/// and once more for changed units and names. Every one of them is looked at whenever
/// the firm's catalogue is.
const MAX_VERSIONS: i64 = 2 * MAX_SERIES as i64;
/// Sets of births that a gateway may register: a changed configuration every working day
/// for four years.
const MAX_BIRTHS: i64 = 1_000;
/// Bytes of births that are kept for a gateway, as for its dead letters.
const KEPT_BIRTHS_BYTES: i64 = 64 << 20;

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
/// each unit and type, and the places of all of them. Refused with a sentence when the
/// gateway has registered too many.
pub(super) fn register(
    conn: &Connection,
    now_us: i64,
    gateway: &GatewayId,
    births: Births,
) -> rusqlite::Result<Result<Registered, String>> {
    let numbers = ensure_gateway(conn, gateway)?;
    if let Some(refused) = over_quota(conn, numbers, &births)? {
        return Ok(Err(refused));
    }
    let mut asset_now = conn.prepare_cached(include_str!("sql/upsert_asset.sql"))?;
    for asset in &births.assets {
        let id = asset.id.as_str();
        asset_now.execute(params![numbers.firm, id, asset.path, asset.name_ko, asset.name_en, asset.time_zone])?;
    }
    conn.prepare_cached("DELETE FROM refused WHERE firm = ?1 AND gateway = ?2")?
        .execute(params![numbers.firm, numbers.gateway])?;
    let mut room = None;
    let places = births
        .series
        .iter()
        .map(|series| place(conn, numbers, births.assets[series.asset].id.as_str(), series, &mut room))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let numbered = placed(&places);
    let number = conn.prepare_cached(include_str!("sql/upsert_births.sql"))?.query_row(
        params![numbers.gateway, births.hash().as_bytes(), now_us, numbered, births.content().as_ref()],
        |row| row.get(0),
    )?;
    Ok(Ok(Registered { number, births, places }))
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

/// Why a gateway may not register these births; none when it may, or has.
fn over_quota(conn: &Connection, numbers: GatewayNo, births: &Births) -> rusqlite::Result<Option<String>> {
    let (sets, bytes, known): (i64, i64, bool) = conn
        .prepare_cached(include_str!("sql/count_births.sql"))?
        .query_row(params![numbers.gateway, births.hash().as_bytes()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    if known {
        return Ok(None);
    }
    let bytes = bytes.saturating_add(births.content().len() as i64);
    Ok((sets >= MAX_BIRTHS || bytes > KEPT_BIRTHS_BYTES)
        .then(|| format!("the gateway has registered {sets} sets of births, as many as it may")))
}

/// How many more versions of series a gateway may have.
fn room_for_versions(conn: &Connection, numbers: GatewayNo) -> rusqlite::Result<i64> {
    let versions: i64 = conn
        .prepare_cached(
            "SELECT count(*) FROM series JOIN version ON version.series = series.number
             WHERE series.firm = ?1 AND series.gateway = ?2",
        )?
        .query_row([numbers.firm, numbers.gateway], |row| row.get(0))?;
    Ok(MAX_VERSIONS - versions)
}

/// `room` is how many more versions the gateway may have, counted when one is new.
fn place(
    conn: &Connection,
    numbers: GatewayNo,
    asset: &str,
    series: &Series,
    room: &mut Option<i64>,
) -> rusqlite::Result<Placement> {
    let mut take_room = || {
        let left = match *room {
            Some(left) => left,
            None => room_for_versions(conn, numbers)?,
        };
        *room = Some((left - 1).max(0));
        Ok::<_, rusqlite::Error>(left > 0)
    };
    let metric = series.metric.as_str();
    let known: Option<(i64, i64, u32)> = conn
        .prepare_cached(
            "SELECT number, gateway, expected_interval_ms FROM series WHERE firm = ?1 AND asset = ?2 AND metric = ?3",
        )?
        .query_row(params![numbers.firm, asset, metric], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let number = match known {
        Some((_, owner, _)) if owner != numbers.gateway => {
            conn.prepare_cached(
                "INSERT INTO refused (firm, gateway, asset, metric) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )?
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
            if !take_room()? {
                return Ok(Placement::OverQuota);
            }
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
        None if known.is_some() && !take_room()? => return Ok(Placement::OverQuota),
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
    let Some((number, numbered, content)) = find().map_err(failed("looking up births"))? else { return Ok(None) };
    let births = Births::from_content(content.into())
        .map_err(|error| StoreError::Damaged(format!("births {number}: {error}")))?;
    let places = placements(&numbered, &births).collect();
    Ok(Some(Registered { number, births, places }))
}

/// Births that a gateway registered before, with the places that their series have now.
/// What was another's, or beyond the quota, may have become the gateway's own; nothing
/// else is changed, least of all the names of assets.
pub(super) fn replaced(
    conn: &Connection,
    gateway: &GatewayId,
    numbers: GatewayNo,
    hash: BirthsHash,
) -> rusqlite::Result<Option<Registered>> {
    let boxed = |error: StoreError| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    let Some(mut registered) = registered(conn, gateway, hash).map_err(boxed)? else { return Ok(None) };
    let mut room = None;
    let mut changed = false;
    let mut kept = Vec::with_capacity(registered.places.len());
    for (series, known) in registered.births.series.iter().zip(&mut registered.places) {
        let asset = registered.births.assets[series.asset].id.as_str();
        let now = place(conn, numbers, asset, series, &mut room)?;
        changed |= now != *known && !matches!(known, Placement::Own(..));
        // What is stored under these births stays where it is.
        kept.push(if matches!(known, Placement::Own(..)) { *known } else { now });
        *known = now;
    }
    if changed {
        conn.prepare_cached("UPDATE births SET placed = ?2 WHERE number = ?1")?
            .execute(params![registered.number, placed(&kept)])?;
    }
    Ok(Some(registered))
}

/// The number and places of births that are registered, if registering them again would
/// change nothing. Looks only.
pub(super) fn as_before(
    conn: &Connection,
    now_us: i64,
    gateway: &GatewayId,
    births: &Births,
) -> Result<Option<(u32, Vec<Placement>)>, StoreError> {
    let find = || {
        let known = conn
            .prepare_cached(
                "SELECT gateway.firm, gateway.number, births.number, placed, used_us
                 FROM births JOIN gateway ON gateway.number = births.gateway WHERE gateway.id = ?1 AND hash = ?2",
            )?
            .query_row(params![gateway.as_str(), births.hash().as_bytes()], |row| {
                let numbers = GatewayNo { firm: row.get(0)?, gateway: row.get(1)? };
                Ok((numbers, row.get::<_, u32>(2)?, row.get::<_, Vec<u8>>(3)?, row.get::<_, i64>(4)?))
            })
            .optional()?;
        let Some((numbers, number, numbered, used_us)) = known else { return Ok(None) };
        if now_us.saturating_sub(used_us) > DAY_US {
            // Noted as told, or they would be cleared away under the session that told them.
            return Ok(None);
        }
        let places: Vec<_> = placements(&numbered, births).collect();
        Ok(unchanged(conn, numbers, births, &places)?.then_some((number, places)))
    };
    find().map_err(failed("looking up births"))
}

/// Whether assets, owners, intervals and refusals are as these births say.
fn unchanged(conn: &Connection, numbers: GatewayNo, births: &Births, places: &[Placement]) -> rusqlite::Result<bool> {
    let GatewayNo { firm, gateway } = numbers;
    let mut same_asset = conn.prepare_cached(
        "SELECT 1 FROM asset
         WHERE firm = ?1 AND id = ?2 AND path = ?3 AND name_ko = ?4 AND name_en = ?5 AND time_zone = ?6",
    )?;
    for asset in &births.assets {
        let id = asset.id.as_str();
        if !same_asset.exists(params![firm, id, asset.path, asset.name_ko, asset.name_en, asset.time_zone])? {
            return Ok(false);
        }
    }
    let mut still_own = conn.prepare_cached(
        "SELECT 1 FROM version JOIN series ON series.number = version.series
         WHERE version.number = ?1 AND series.gateway = ?2 AND series.expected_interval_ms = ?3",
    )?;
    let mut still_refused = conn.prepare_cached(
        "SELECT 1 FROM refused NATURAL JOIN (SELECT firm, asset, metric, gateway AS owner FROM series)
         WHERE firm = ?1 AND gateway = ?2 AND asset = ?3 AND metric = ?4 AND owner <> gateway",
    )?;
    let mut refused: i64 = conn
        .prepare_cached("SELECT count(*) FROM refused WHERE firm = ?1 AND gateway = ?2")?
        .query_row([firm, gateway], |row| row.get(0))?;
    let mut room = None;
    for (place, series) in places.iter().zip(&births.series) {
        let same = match place {
            Placement::Own(number, _) => still_own.exists(params![number.0, gateway, series.expected_interval_ms])?,
            Placement::OtherOwner => {
                refused -= 1;
                let asset = births.assets[series.asset].id.as_str();
                still_refused.exists(params![firm, gateway, asset, series.metric.as_str()])?
            }
            Placement::OverQuota => {
                let left = match room {
                    Some(left) => left,
                    None => *room.insert(room_for_versions(conn, numbers)?),
                };
                left <= 0
            }
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(refused == 0)
}

/// Under which number each series of some births is stored.
pub(super) fn places_of(conn: &Connection, births: u32) -> Result<Vec<Option<SeriesNo>>, StoreError> {
    let find = || {
        conn.prepare_cached("SELECT placed FROM births WHERE number = ?1")?
            .query_row([births], |row| row.get::<_, Vec<u8>>(0))
    };
    let placed = find().map_err(failed("looking up births"))?;
    Ok(numbers_in(&placed)
        .map(|number| (number != OTHER_OWNER && number != OVER_QUOTA).then_some(SeriesNo(number)))
        .collect())
}

fn numbers_in(placed: &[u8]) -> impl Iterator<Item = u32> + '_ {
    placed.chunks_exact(4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn placements<'a>(placed: &'a [u8], births: &'a Births) -> impl Iterator<Item = Placement> + 'a {
    numbers_in(placed).zip(&births.series).map(|(number, series)| match number {
        OTHER_OWNER => Placement::OtherOwner,
        OVER_QUOTA => Placement::OverQuota,
        number => Placement::Own(SeriesNo(number), series.value_type),
    })
}

/// The version whose readings are the newest: by observation time, never by arrival.
fn current(newest: &[Option<i64>]) -> Option<usize> {
    (0..newest.len()).max_by_key(|&index| (newest[index], index))
}

/// Units but the current one in which there are readings.
fn other_units<'a>(versions: impl Iterator<Item = (&'a str, &'a Option<i64>)>, current: &str) -> Vec<String> {
    let stored = versions.filter(|(unit, newest)| *unit != current && newest.is_some());
    let units: BTreeSet<&str> = stored.map(|(unit, _)| unit).collect();
    units.into_iter().map(str::to_owned).collect()
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

/// The numbers of all firms.
pub(super) fn firm_numbers(conn: &Connection) -> Result<Vec<i64>, StoreError> {
    let find =
        || conn.prepare_cached("SELECT number FROM firm")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>();
    find().map_err(failed("listing firms"))
}

/// The newest commit of a firm, as the connection sees it.
pub(super) fn newest_commit(conn: &Connection, firm: i64) -> Result<i64, StoreError> {
    let find = || {
        conn.prepare_cached("SELECT commits FROM firm WHERE number = ?1")?.query_row([firm], |row| row.get::<_, i64>(0))
    };
    find().map_err(failed("looking up a firm"))
}

/// How often a reading of a series is expected; 0 where that is not known.
pub(super) fn expected_interval_ms(conn: &Connection, firm: i64, key: &SeriesKey) -> Result<u32, StoreError> {
    let find = || {
        conn.prepare_cached("SELECT expected_interval_ms FROM series WHERE firm = ?1 AND asset = ?2 AND metric = ?3")?
            .query_row(params![firm, key.asset.as_str(), key.metric.as_str()], |row| row.get(0))
            .optional()
    };
    Ok(find().map_err(failed("looking up a series"))?.unwrap_or(0))
}

/// For how long a value of each version of a firm's series holds, µs.
pub(super) fn holds(conn: &Connection, firm: i64) -> Result<HashMap<SeriesNo, i64>, StoreError> {
    let find = || {
        conn.prepare_cached(
            "SELECT version.number, expected_interval_ms FROM series JOIN version ON version.series = series.number
             WHERE series.firm = ?1",
        )?
        .query_map([firm], |row| Ok((SeriesNo(row.get(0)?), hold_us(row.get(1)?))))?
        .collect::<rusqlite::Result<_>>()
    };
    find().map_err(failed("listing series"))
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
    only: Option<&SeriesKey>,
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
    let (asset, metric) = (only.map(|key| key.asset.as_str()), only.map(|key| key.metric.as_str()));
    let sql = match only {
        Some(_) => concat!(include_str!("sql/list_series.sql"), "AND series.asset = ?2 AND series.metric = ?3"),
        None => include_str!("sql/list_series.sql"),
    };
    let find = || {
        let mut statement =
            conn.prepare_cached(&format!("{sql} ORDER BY series.asset, series.metric, version.number"))?;
        let values = [Some(&number as &dyn ToSql), asset.as_ref().map(|it| it as _), metric.as_ref().map(|it| it as _)];
        statement
            .query_map(params_from_iter(values.into_iter().flatten()), |row| {
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
            other_units: other_units(versions.iter().map(|row| row.unit.as_str()).zip(&newest), &row.unit),
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
