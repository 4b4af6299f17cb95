//! Erasing a firm: its file, and whatever the inbox has of it.
//!
//! On the compactor's thread, while nobody reads. What goes last is the firm's number, so that a
//! kill in between leaves a firm that can be erased again, and never a file that nobody names.

use rusqlite::{Connection, params};
use sandan_proto::id::FirmId;

use super::inbox::Inbox;
use super::{Shared, catalogue, firm_file};
use crate::store::StoreError;

/// Rows that go in one commit, so that none waits long for it.
const AT_ONCE: i64 = 256;

/// Deletes everything of a firm; false where there was nothing of it.
pub(super) fn erase(shared: &Shared, inbox: &Inbox, firm: &FirmId) -> Result<bool, StoreError> {
    let reader = shared.reader()?;
    let number = catalogue::firm_number(&reader, firm);
    shared.give_back(reader);
    let Some(number) = number? else { return Ok(false) };
    while inbox.write_blocking(move |conn, _| records(conn, number))? > 0 {}
    shared.crash_point("erased from the inbox")?;
    let waiting = tokio::runtime::Builder::new_current_thread().build();
    let path = firm_file::path(&shared.dir, number);
    let waiting = waiting.map_err(|source| StoreError::Io { path: path.clone(), source })?;
    let held = waiting.block_on(shared.turns.all())?;
    shared.firm_readers.forget(number);
    shared.heads.forget(number);
    // The log first: without its file it is none.
    for suffix in ["-wal", "-shm", ""] {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Io { path: name.into(), source: error });
            }
            _ => {}
        }
    }
    let folder = shared.dir.join("firms");
    std::fs::File::open(&folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| StoreError::Io { path: folder, source })?;
    drop(held);
    shared.crash_point("erased its file")?;
    inbox.write_blocking(move |conn, _| the_rest(conn, number))?;
    // What came in the meantime is gone as well.
    shared.heads.forget(number);
    Ok(true)
}

/// Deletes some of what waits and of what was put aside; gives how many rows.
fn records(conn: &Connection, firm: i64) -> rusqlite::Result<usize> {
    let mut gone = conn
        .prepare_cached("DELETE FROM record WHERE id IN (SELECT id FROM record WHERE firm = ?1 LIMIT ?2)")?
        .execute(params![firm, AT_ONCE])?;
    let dead = "SELECT id FROM dead_record WHERE gateway IN (SELECT number FROM gateway WHERE firm = ?1) LIMIT ?2";
    conn.execute(&format!("DELETE FROM dead_letter WHERE record IN ({dead})"), params![firm, AT_ONCE])?;
    gone += conn.execute(&format!("DELETE FROM dead_record WHERE id IN ({dead})"), params![firm, AT_ONCE])?;
    Ok(gone)
}

/// Deletes the catalogue, and the firm's number with it.
fn the_rest(conn: &Connection, firm: i64) -> rusqlite::Result<()> {
    while records(conn, firm)? > 0 {}
    for table in ["lane", "clock", "births", "checksum", "dead_total"] {
        conn.execute(
            &format!("DELETE FROM {table} WHERE gateway IN (SELECT number FROM gateway WHERE firm = ?1)"),
            [firm],
        )?;
    }
    conn.execute("DELETE FROM version WHERE series IN (SELECT number FROM series WHERE firm = ?1)", [firm])?;
    for table in ["gap", "refused", "series", "asset", "gateway"] {
        conn.execute(&format!("DELETE FROM {table} WHERE firm = ?1"), [firm])?;
    }
    // By these a store is told from an older state of itself.
    conn.execute(
        "UPDATE store SET erased_commits = erased_commits + (SELECT commits FROM firm WHERE number = ?1)",
        [firm],
    )?;
    conn.execute("DELETE FROM firm WHERE number = ?1", [firm])?;
    Ok(())
}
