//! What nothing comes under any more is cleared away, a little each day: births, lanes,
//! clocks and checksums that are older than the retention.
//!
//! A lane goes when its gateway has been here since, no Hello has named it and nothing of it
//! came for longer than readings are kept: the gateway holds nothing of it any more. Of a
//! gateway that was away for as long lanes and clocks stay: it would else begin again at the
//! first number, and declare what is stored a gap.

use rusqlite::{Connection, OptionalExtension, params};

use super::Shared;
use super::inbox::Inbox;
use super::sums::KEPT_US;
use crate::store::StoreError;

/// How often it is done.
const EVERY_US: i64 = 86_400 * 1_000_000;
/// Beyond the retention: what is noted to the day, and clocks that differ.
const MARGIN_US: i64 = 2 * 86_400 * 1_000_000;
/// Rows of each kind that go at once, so that no commit waits long for it.
const AT_ONCE: i64 = 500;

/// When it was done last, µs since 1970.
#[derive(Debug, Default)]
pub(super) struct Cleared(Option<i64>);

/// Clears what is due, on the compactor's thread.
pub(super) fn clear_due(shared: &Shared, inbox: &Inbox, last: &mut Cleared) -> Result<(), StoreError> {
    let now_us = (shared.options.now)();
    if last.0.is_some_and(|at| now_us.saturating_sub(at) < EVERY_US) {
        return Ok(());
    }
    let retention_us = shared.options.retention_us;
    while inbox.write_blocking(move |conn, group| clear(conn, group.now_us, retention_us))? >= AT_ONCE {}
    last.0 = Some(now_us);
    Ok(())
}

/// Notes that births are in use.
pub(super) fn used(conn: &Connection, now_us: i64, births: &[u32]) -> rusqlite::Result<()> {
    let mut update = conn.prepare_cached("UPDATE births SET used_us = ?2 WHERE number = ?1 AND used_us < ?2 - ?3")?;
    for number in births {
        update.execute(params![number, now_us, EVERY_US])?;
    }
    Ok(())
}

/// One piece; gives the greatest number of rows of one kind that went.
pub(super) fn clear(conn: &Connection, now_us: i64, retention_us: i64) -> rusqlite::Result<i64> {
    let before = now_us.saturating_sub(retention_us).saturating_sub(MARGIN_US);
    let mut most = 0;
    let mut delete = |sql: &str, before: i64| -> rusqlite::Result<()> {
        let gone = conn.prepare_cached(sql)?.execute(params![before, AT_ONCE])?;
        most = most.max(i64::try_from(gone).unwrap_or(i64::MAX));
        Ok(())
    };
    delete(include_str!("sql/clear_lanes.sql"), before)?;
    delete(include_str!("sql/clear_clocks.sql"), before)?;
    delete(
        "DELETE FROM checksum WHERE number IN (SELECT number FROM checksum WHERE packed_us < ?1 LIMIT ?2)",
        now_us.saturating_sub(KEPT_US),
    )?;
    // What is in use is looked for only where something is old: it takes a look at every row.
    let old = conn
        .prepare_cached("SELECT 1 FROM births WHERE used_us < ?1 AND received_us < ?1")?
        .query_row([before], |_| Ok(()))
        .optional()?;
    if old.is_some() {
        delete(include_str!("sql/clear_births.sql"), before)?;
    }
    Ok(most)
}
