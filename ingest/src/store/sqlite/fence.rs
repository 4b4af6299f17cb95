//! The opening of sessions: epochs, and which spools are refused.

use rusqlite::{Connection, params};
use sandan_proto::id::{GatewayId, LaneId};

use super::catalogue;
use super::file::failed;
use super::watermark;
use crate::store::epochs::{EPOCHS_AHEAD, Used};
use crate::store::{Opening, Released, StoreError};

/// Refuses a spool that is behind the epochs its gateway has used, or grants the next one.
pub(super) fn open_session(
    conn: &Connection,
    now_us: i64,
    gateway: &GatewayId,
    last_epoch: u64,
    lanes: &[LaneId],
) -> rusqlite::Result<Opening> {
    let numbers = catalogue::ensure_gateway(conn, gateway)?;
    let (granted, used, let_in): (i64, i64, Option<Vec<u8>>) = conn
        .prepare_cached("SELECT granted, used, let_in FROM gateway WHERE number = ?1")?
        .query_row([numbers.gateway], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let (used, granted) = (Used::from_column(used), granted.cast_unsigned());
    let behind = last_epoch < used.epoch;
    // The spool that a release let in, and that has not noted its new epoch yet: its
    // connection broke before. Lanes have random ids, so that no other copy that runs by
    // itself names the newest of it.
    let again = let_in.as_deref().is_some_and(|known| lanes.iter().any(|lane| lane.as_bytes()[..] == *known));
    if behind && !used.released && !again {
        conn.prepare_cached("UPDATE gateway SET fenced_us = ?2 WHERE number = ?1")?
            .execute([numbers.gateway, now_us])?;
        return Ok(Opening::Fenced { used: used.epoch });
    }
    if last_epoch > granted.saturating_add(EPOCHS_AHEAD) {
        return Ok(Opening::NeverGranted { granted });
    }
    // A spool may know a later epoch than a store that was restored.
    let epoch = granted.max(last_epoch) + 1;
    // Whoever a release lets in is the gateway from here on; any other copy is fenced,
    // also before the first record comes.
    let (used, let_in) = match (behind, again) {
        (true, true) => (Used { epoch, ..used }, let_in),
        (true, false) => (Used { epoch, released: false }, lanes.last().map(|lane| lane.as_bytes().to_vec())),
        (false, _) => (used, let_in),
    };
    conn.prepare_cached("UPDATE gateway SET granted = ?2, used = ?3, let_in = ?4, fenced_us = NULL WHERE number = ?1")?
        .execute(params![numbers.gateway, epoch.cast_signed(), used.to_column(), let_in])?;
    let mut named = conn.prepare_cached("UPDATE lane SET named_us = ?3 WHERE gateway = ?1 AND lane = ?2")?;
    for lane in lanes {
        named.execute(params![numbers.gateway, lane.as_bytes(), now_us])?;
    }
    let watermarks =
        lanes.iter().map(|&lane| Ok((lane, watermark(conn, gateway, lane)?))).collect::<rusqlite::Result<_>>()?;
    Ok(Opening::Granted { epoch, watermarks })
}

/// Lets the next Hello of a gateway in that would be fenced.
pub(super) fn release(conn: &Connection, gateway: &GatewayId) -> rusqlite::Result<Released> {
    let released = conn
        .prepare_cached("UPDATE gateway SET used = -abs(used), fenced_us = NULL WHERE id = ?1 AND used <> 0")?
        .execute([gateway.as_str()])?;
    Ok(if released > 0 { Released::NextHello } else { Released::NothingFenced })
}

/// Gateways of which a spool was refused, and none was let in or released since; with the
/// time of the latest refusal.
pub(super) fn list(conn: &Connection) -> Result<Vec<(GatewayId, i64)>, StoreError> {
    let find = || {
        conn.prepare_cached("SELECT id, fenced_us FROM gateway WHERE fenced_us IS NOT NULL ORDER BY id")?
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    find()
        .map_err(failed("listing fenced gateways"))?
        .into_iter()
        .map(|(id, at)| Ok((GatewayId::new(&id).map_err(|error| StoreError::Damaged(error.to_string()))?, at)))
        .collect()
}
