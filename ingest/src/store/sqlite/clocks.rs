//! Clocks of boots: what turns their monotonic times into wall time.
//!
//! Until a record of a boot is stored a newer offset takes the place of the older one; from
//! then on it stays, so that an offset is applied once.

use rusqlite::{Connection, OptionalExtension, params};
use sandan_proto::id::{BootId, GatewayId};

use super::catalogue;
use crate::store::Clock;

/// Boots of which a gateway may have a clock that nothing was stored under. A gateway that
/// tells more forgets its oldest.
const MAX_UNUSED: i64 = 256;
/// How exactly it is noted when a clock was last told or used: seldom enough to cost nothing.
pub(super) const SEEN_US: i64 = 86_400 * 1_000_000;

/// Takes what a gateway tells of a boot; gives the clock in force.
pub(super) fn set(
    conn: &Connection,
    now_us: i64,
    gateway: &GatewayId,
    boot: BootId,
    clock: Clock,
) -> rusqlite::Result<Clock> {
    let gateway = catalogue::ensure_gateway(conn, gateway)?.gateway;
    let changed = conn
        .prepare_cached(
            "INSERT INTO clock (gateway, boot, offset_us, estimated, seen_us) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (gateway, boot) DO UPDATE SET
                 offset_us = iif(fixed, offset_us, excluded.offset_us),
                 estimated = iif(fixed, estimated, excluded.estimated),
                 seen_us   = max(seen_us, excluded.seen_us)
             WHERE (NOT fixed AND (offset_us, estimated) IS NOT (excluded.offset_us, excluded.estimated))
                OR seen_us < excluded.seen_us - ?6",
        )?
        .execute(params![gateway, boot.as_bytes(), clock.offset_us, clock.estimated, now_us, SEEN_US])?;
    if changed > 0 {
        conn.prepare_cached(
            "DELETE FROM clock WHERE gateway = ?1 AND NOT fixed AND boot IN (
                 SELECT boot FROM clock WHERE gateway = ?1 AND NOT fixed ORDER BY seen_us DESC, boot = ?2 DESC
                 LIMIT -1 OFFSET ?3)",
        )?
        .execute(params![gateway, boot.as_bytes(), MAX_UNUSED])?;
    }
    Ok(of(conn, gateway, boot)?.unwrap_or(clock))
}

/// The clock of a boot, where it is known.
pub(super) fn get(conn: &Connection, gateway: &GatewayId, boot: BootId) -> rusqlite::Result<Option<Clock>> {
    let number = conn
        .prepare_cached("SELECT number FROM gateway WHERE id = ?1")?
        .query_row([gateway.as_str()], |row| row.get(0))
        .optional()?;
    number.map_or(Ok(None), |number| of(conn, number, boot))
}

/// As [`get`], by the gateway's number.
pub(super) fn of(conn: &Connection, gateway: i64, boot: BootId) -> rusqlite::Result<Option<Clock>> {
    conn.prepare_cached("SELECT offset_us, estimated FROM clock WHERE gateway = ?1 AND boot = ?2")?
        .query_row(params![gateway, boot.as_bytes()], |row| {
            Ok(Clock { offset_us: row.get(0)?, estimated: row.get(1)? })
        })
        .optional()
}
