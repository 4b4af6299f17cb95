//! What health pages ask for.

use rusqlite::{Connection, ToSql, params};
use sandan_proto::id::{FirmId, GatewayId, LaneId, SeriesKey};
use sandan_proto::v1::{DeadLetterReason, GapCause};

use super::file::failed;
use crate::store::{DeadLetterCount, GapFact, LaneFacts, StoreError};

pub(super) fn lanes(conn: &Connection, gateway: &GatewayId) -> Result<Vec<LaneFacts>, StoreError> {
    let find = || {
        conn.prepare_cached(
            "SELECT lane, through, readings, newest_us, stored_us FROM lane
             JOIN gateway ON gateway.number = lane.gateway
             WHERE gateway.id = ?1 ORDER BY opened_us, lane",
        )?
        .query_map([gateway.as_str()], |row| {
            Ok((
                row.get::<_, Vec<u8>>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, Option<i64>>(3)?,
                row.get::<_, i64>(4)?,
            ))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()
    };
    find()
        .map_err(failed("listing lanes"))?
        .into_iter()
        .map(|(lane, through, readings, newest_us, stored_us)| {
            Ok(LaneFacts {
                lane: LaneId::from_bytes(&lane).map_err(|error| StoreError::Damaged(error.to_string()))?,
                through: through.cast_unsigned(),
                readings: readings.cast_unsigned(),
                newest_us,
                stored_us,
            })
        })
        .collect()
}

pub(super) fn dead_letters(conn: &Connection, gateway: &GatewayId) -> Result<Vec<DeadLetterCount>, StoreError> {
    let find = || {
        conn.prepare_cached(
            "SELECT reason, letters, readings, newest_us, detail, discarded, recovered FROM dead_total
             JOIN gateway ON gateway.number = dead_total.gateway
             WHERE gateway.id = ?1 ORDER BY reason",
        )?
        .query_map([gateway.as_str()], |row| {
            Ok(DeadLetterCount {
                reason: DeadLetterReason::try_from(row.get::<_, i32>(0)?).unwrap_or_default(),
                letters: row.get::<_, i64>(1)?.cast_unsigned(),
                readings: row.get::<_, i64>(2)?.cast_unsigned(),
                newest_us: row.get(3)?,
                detail: row.get(4)?,
                discarded: row.get::<_, i64>(5)?.cast_unsigned(),
                recovered: row.get::<_, i64>(6)?.cast_unsigned(),
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()
    };
    find().map_err(failed("counting dead letters"))
}

/// Gaps of the gateway that owns a series which may lie in [from, to): the newest ones.
pub(super) fn gaps_of(
    conn: &Connection,
    firm: i64,
    series: &SeriesKey,
    from_us: i64,
    to_us: i64,
) -> Result<Vec<GapFact>, StoreError> {
    let wanted = params![firm, series.asset.as_str(), series.metric.as_str(), from_us, to_us, MAX_MARKS];
    list_gaps(conn, include_str!("sql/list_gaps_of.sql"), wanted)
}

/// Marks of gaps in one chunk of an answer: more do not say more.
const MAX_MARKS: i64 = 1_000;

pub(super) fn gaps(conn: &Connection, firm: &FirmId, limit: usize) -> Result<Vec<GapFact>, StoreError> {
    let newest = "SELECT gateway.id, from_us, to_us, cause, readings, uncertain FROM gap
             JOIN firm ON firm.number = gap.firm JOIN gateway ON gateway.number = gap.gateway
             WHERE firm.id = ?1 ORDER BY gap.id DESC LIMIT ?2";
    list_gaps(conn, newest, params![firm.as_str(), limit as i64])
}

fn list_gaps(conn: &Connection, sql: &str, wanted: &[&dyn ToSql]) -> Result<Vec<GapFact>, StoreError> {
    let find = || {
        conn.prepare_cached(sql)?
            .query_map(wanted, |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get::<_, i32>(3)?,
                    row.get::<_, i64>(4)?,
                    row.get(5)?,
                ))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    find()
        .map_err(failed("listing gaps"))?
        .into_iter()
        .map(|(gateway, from_us, to_us, cause, readings, uncertain)| {
            Ok(GapFact {
                gateway: GatewayId::new(&gateway).map_err(|error| StoreError::Damaged(error.to_string()))?,
                from_us,
                to_us,
                cause: GapCause::try_from(cause).unwrap_or_default(),
                readings: readings.cast_unsigned(),
                uncertain,
            })
        })
        .collect()
}
