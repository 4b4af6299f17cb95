//! Opening database files: format versions, synchronous commits.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::store::StoreError;

/// How long a statement waits for another connection's lock. Only a checkpoint or a
/// recovery takes one that matters, and both are short.
const BUSY: Duration = Duration::from_secs(10);
/// Log pages before the writer copies them into the file: 16 MiB, so that a checkpoint
/// (two more syncs) comes seldom and a reader that pins the log delays it harmlessly.
const CHECKPOINT_PAGES: i64 = 4_096;
/// Prepared statements a connection keeps: more than any module here uses.
const STATEMENTS: usize = 64;

/// What a file is.
pub(super) struct Format {
    /// In the file's header, so that a misplaced file is refused.
    pub application_id: i64,
    /// The newest version that this build knows.
    pub version: i64,
    /// What makes a new file.
    pub schema: &'static str,
    /// What makes a file of an older version one of the next: the first for version 1.
    pub migrations: &'static [&'static str],
    /// In words.
    pub name: &'static str,
}

/// The shared inbox.
pub(super) const INBOX: Format = Format {
    application_id: 0x7361_6e69,
    version: 3,
    schema: include_str!("inbox.sql"),
    migrations: &[include_str!("migrations/inbox_2.sql"), include_str!("migrations/inbox_3.sql")],
    name: "a sandan inbox",
};
/// A firm's own file.
pub(super) const FIRM: Format = Format {
    application_id: 0x7361_6e66,
    version: 3,
    schema: include_str!("firm_file.sql"),
    migrations: &[include_str!("migrations/firm_2.sql"), include_str!("migrations/firm_3.sql")],
    name: "a sandan firm file",
};

/// Wraps an engine error with what was being done.
pub(super) fn failed(what: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |source| StoreError::Engine { what, source: Box::new(source) }
}

/// Opens for writing and makes the file where there is none. `fill` adds its first
/// rows in the transaction that makes it.
pub(super) fn open(
    path: &Path,
    format: &Format,
    fill: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<Connection, StoreError> {
    let mut conn = Connection::open(path).map_err(|error| refused(path, format, error))?;
    conn.busy_timeout(BUSY).map_err(failed("setting up a database file"))?;
    if !check(&conn, path, format)? {
        // In this order: the log's first sync also syncs the directory entry.
        let create = |conn: &mut Connection| {
            conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
            conn.pragma_update(None, "synchronous", "full")?;
            let tx = conn.transaction()?;
            tx.execute_batch(format.schema)?;
            fill(&tx)?;
            tx.pragma_update(None, "application_id", format.application_id)?;
            tx.pragma_update(None, "user_version", format.version)?;
            crash_point!("file.made-before-commit");
            tx.commit()
        };
        create(&mut conn).map_err(failed("making a database file"))?;
    }
    migrate(&mut conn, format).map_err(failed("bringing a database file to this build's format"))?;
    let set_up = || {
        conn.pragma_update(None, "synchronous", "full")?;
        conn.pragma_update(None, "temp_store", "memory")?;
        conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
    };
    set_up().map_err(failed("setting up a database file"))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(conn)
}

/// Brings an older file to the newest version, one step after the other, all of it or nothing.
fn migrate(conn: &mut Connection, format: &Format) -> rusqlite::Result<()> {
    let version = |conn: &Connection| conn.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    if version(conn)? >= format.version {
        return Ok(());
    }
    conn.pragma_update(None, "synchronous", "full")?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Readers and the compactor may come at the same time: the first of them does it.
    let done = usize::try_from(version(&tx)? - 1).unwrap_or(0);
    for step in format.migrations.get(done..).unwrap_or_default() {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", format.version)?;
    crash_point!("file.migrated-before-commit");
    tx.commit()?;
    crash_point!("file.migrated-before-use");
    Ok(())
}

/// Opens an existing file for reading. None where there is none, or where its making
/// has not been committed yet.
pub(super) fn open_to_read(path: &Path, format: &Format) -> Result<Option<Connection>, StoreError> {
    // Asked before and not after the attempt: one that is being made meanwhile is none yet.
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|error| refused(path, format, error))?;
    conn.busy_timeout(BUSY).map_err(failed("setting up a database file"))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    roll_back_for(&conn, path).map_err(|error| refused(path, format, error))?;
    if !check(&conn, path, format)? {
        return Ok(None);
    }
    let version: i64 =
        conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed("reading a database file"))?;
    if version < format.version {
        // A reader cannot: whoever comes first writes.
        drop(open(path, format, |_| Ok(()))?);
    }
    Ok(Some(conn))
}

/// A kill in the making of a file, before it has its log, leaves a journal beside it that
/// only a writer may roll back. One whose writer lives is not seen as such.
fn roll_back_for(reader: &Connection, path: &Path) -> rusqlite::Result<()> {
    let looked = |conn: &Connection| conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    match looked(reader) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {
            let writer = Connection::open(path)?;
            writer.busy_timeout(BUSY)?;
            looked(&writer)
        }
        other => other,
    }
}

/// Whether the file has content, which then is of a known format.
pub(super) fn check(conn: &Connection, path: &Path, format: &Format) -> Result<bool, StoreError> {
    let header = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let read = || {
        let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((header("application_id")?, header("user_version")?, tables))
    };
    let (application_id, version, tables) = read().map_err(|error| refused(path, format, error))?;
    if (application_id, version, tables) == (0, 0, 0) {
        return Ok(false);
    }
    if application_id != format.application_id {
        return Err(StoreError::Foreign { path: path.into(), expected: format.name });
    }
    if version > format.version {
        return Err(StoreError::Newer { path: path.into(), found: version, known: format.version });
    }
    Ok(true)
}

fn refused(path: &Path, format: &Format, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::Foreign { path: path.into(), expected: format.name },
        _ => StoreError::Io { path: path.into(), source: std::io::Error::other(error) },
    }
}

#[cfg(test)]
mod tests;
