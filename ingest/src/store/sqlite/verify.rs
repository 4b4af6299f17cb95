//! A deep check: everything in the files is decoded and compared with what is noted of it. Reads
//! only, also while a service runs; holds one packed column, or one record that waits, at a time.

use std::path::Path;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, params};

use super::file::{FIRM, Format, INBOX, failed};
use super::firm_file::{self, Packed};
use super::shared::inbox_path;
use super::{look, pack, slices};
use crate::store::holdings::MAX_FLAWS;
use crate::store::{Flaw, SeriesNo, StoreError, Verified};

mod left;
mod waiting;

/// Packed columns, or records, that are listed at once.
const PAGE: i64 = 1_000;
/// Looks at a file that the service writes to meanwhile, where it had no log to read it beside.
const LOOKS: usize = 5;

const RESTORE: &str = "restore the newest backup that `backup --verify` finds whole; what came since comes back from the \
                       gateways as far as their spools keep it";
const REPORT: &str = "keep a copy of the data directory, and report it";

/// Checks the inbox and every firm's file in `dir`, and of `others` that the engine finds them whole.
pub fn verify(dir: &Path, others: &[&Path]) -> Result<Verified, StoreError> {
    let mut all = Verified::default();
    for path in others {
        all.join(at_rest(path, |conn| engine(conn, path))?);
    }
    let inbox = inbox_path(dir);
    all.join(at_rest(&inbox, |conn| the_inbox(conn, &inbox))?);
    let firms = || {
        let conn = look(&inbox)?;
        let mut find = conn.prepare("SELECT number FROM firm ORDER BY number")?;
        find.query_map([], |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()
    };
    for firm in firms().map_err(failed("reading the inbox"))? {
        let path = firm_file::path(dir, firm);
        if path.exists() {
            all.join(at_rest(&path, |conn| firm_file(conn, &path, &inbox))?);
        }
    }
    Ok(all)
}

impl Verified {
    fn join(&mut self, other: Self) {
        self.readings += other.readings;
        let left = MAX_FLAWS.saturating_sub(self.flaws.len());
        self.flaws.extend(other.flaws.into_iter().take(left));
    }

    fn add(&mut self, path: &Path, place: &str, what: impl Into<String>, hint: &str) {
        if self.flaws.len() < MAX_FLAWS {
            let place =
                if place.is_empty() { path.display().to_string() } else { format!("{}: {place}", path.display()) };
            self.flaws.push(Flaw { place, what: what.into(), hint: hint.to_owned() });
        }
    }
}

/// Runs a check in one view of a file. One that was read without a log, and written to meanwhile, is read again.
fn at_rest(path: &Path, check: impl Fn(&Connection) -> Verified) -> Result<Verified, StoreError> {
    let stamp = || -> Option<(u64, Option<SystemTime>, bool)> {
        let file = std::fs::metadata(path).ok()?;
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Some((file.len(), file.modified().ok(), Path::new(&log).exists()))
    };
    let once = || {
        let conn = look(path)?;
        conn.execute_batch("BEGIN")?;
        Ok(conn)
    };
    for _ in 0..LOOKS {
        let before = stamp();
        let opened: rusqlite::Result<Connection> = once();
        let found = match opened {
            Ok(conn) => check(&conn),
            Err(error) => {
                let mut found = Verified::default();
                found.add(path, "", format!("cannot be opened: {error}"), RESTORE);
                found
            }
        };
        // Beside a log a view stays as it is.
        if found.flaws.is_empty() || before.is_some_and(|it| it.2) || before == stamp() {
            return Ok(found);
        }
    }
    Err(StoreError::Damaged(format!("{} was written to at every look; check it at a quieter time", path.display())))
}

/// What the engine itself finds.
fn engine(conn: &Connection, path: &Path) -> Verified {
    let mut found = Verified::default();
    let told = || {
        let mut check = conn.prepare("PRAGMA integrity_check(10)")?;
        check.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()
    };
    match told() {
        Ok(lines) => lines.iter().filter(|line| *line != "ok").for_each(|line| found.add(path, "", line, RESTORE)),
        Err(error) => found.add(path, "", format!("cannot be read: {error}"), RESTORE),
    }
    found
}

/// Whether a file is of an older layout: it is brought to this build's when the service first opens it,
/// and checked then.
fn is_older(conn: &Connection, format: &Format) -> bool {
    let layout = conn.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    layout.is_ok_and(|layout| layout < format.version)
}

fn the_inbox(conn: &Connection, path: &Path) -> Verified {
    let mut found = engine(conn, path);
    if is_older(conn, &INBOX) {
        return found;
    }
    let looked = waiting::records(conn, path, &mut found).and_then(|()| waiting::references(conn, path, &mut found));
    if let Err(error) = looked {
        found.add(path, "", format!("cannot be read: {error}"), RESTORE);
    }
    found
}

fn firm_file(conn: &Connection, path: &Path, inbox: &Path) -> Verified {
    let mut found = engine(conn, path);
    if is_older(conn, &FIRM) {
        return found;
    }
    let looked = mark(conn, path, inbox, &mut found)
        .and_then(|()| columns(conn, path, &mut found))
        .and_then(|()| left::rollups(conn, path, &mut found))
        .and_then(|()| left_over(conn, path, &mut found));
    if let Err(error) = looked {
        found.add(path, "", format!("cannot be read: {error}"), RESTORE);
    }
    found
}

/// The file is of this inbox, and not ahead of it.
fn mark(conn: &Connection, path: &Path, inbox: &Path, found: &mut Verified) -> rusqlite::Result<()> {
    let (of, id): (Vec<u8>, i64) =
        conn.query_row("SELECT inbox, id FROM mark WHERE one = 1", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let inbox = look(inbox)?;
    let ours: Vec<u8> = inbox.query_row("SELECT uuid FROM store", [], |row| row.get(0))?;
    if of != ours {
        found.add(path, "mark", format!("it is of another store, not of {}", INBOX.name), RESTORE);
        return Ok(());
    }
    // Looked at after the mark: it only grows.
    let newest = inbox
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'record'", [], |row| row.get::<_, i64>(0))
        .optional()?
        .unwrap_or(0);
    if id > newest {
        let what = format!("it holds what came up to row {id} of the inbox, which knows rows up to {newest}");
        found.add(path, "mark", what, "inbox and firm file are of different moments: restore both from one backup");
    }
    Ok(())
}

/// Decodes every packed column and compares it with its statistics.
fn columns(conn: &Connection, path: &Path, found: &mut Verified) -> rusqlite::Result<()> {
    let mut after = 0;
    loop {
        let page = conn
            .prepare_cached(
                "SELECT id, block, first_us, last_us, series FROM packed WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?
            .query_map(params![after, PAGE], |row| {
                let packed =
                    Packed { id: row.get(0)?, block: row.get(1)?, first_us: row.get(2)?, last_us: row.get(3)? };
                Ok((packed, SeriesNo(row.get(4)?)))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = last.id;
        for (packed, series) in page {
            column(conn, path, packed, series, found)?;
            if found.flaws.len() >= MAX_FLAWS {
                return Ok(());
            }
        }
    }
}

fn column(
    conn: &Connection,
    path: &Path,
    packed: Packed,
    series: SeriesNo,
    found: &mut Verified,
) -> rusqlite::Result<()> {
    let place = format!("block {}, column {} of series {}", packed.block, packed.id, series.0);
    let run = match firm_file::unpack(conn, packed) {
        Ok(run) => run,
        Err(error) => {
            found.add(path, &place, format!("cannot be decoded: {error}"), RESTORE);
            return Ok(());
        }
    };
    found.readings += run.len() as u64;
    let noted = (Some(&packed.first_us), Some(&packed.last_us));
    if (run.times.first(), run.times.last()) != noted {
        found.add(path, &place, "its times are not those that are noted of it", RESTORE);
    }
    let counted: Option<(i64, i64)> = conn
        .prepare_cached("SELECT newest_us, longest_us FROM newest WHERE series = ?1")?
        .query_row([series.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let fits = |(newest_us, longest_us): (i64, i64)| {
        newest_us >= packed.last_us && longest_us >= packed.last_us.saturating_sub(packed.first_us)
    };
    if !counted.is_some_and(fits) {
        found.add(
            path,
            &place,
            "reads may not find it: it is newer or longer than what is noted of its series",
            REPORT,
        );
    }
    let slice: Option<(i64, i64, Vec<u8>)> = conn
        .prepare_cached(
            "SELECT newest_commit, hold_us, stats FROM slices WHERE series = ?1 AND first_us = ?2 AND packed = ?3",
        )?
        .query_row(params![series.0, packed.first_us, packed.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    // A column without is answered by decoding it.
    let Some((newest_commit, hold_us, stats)) = slice else { return Ok(()) };
    let anew = slices::of(&run.times, &run, hold_us).map(|all| pack::pack_stats(packed.first_us, &all));
    if anew.as_ref() != Some(&stats) || run.commits.iter().max() != Some(&newest_commit) {
        found.add(path, &place, "its hours do not come to what is noted of them: one of both is damaged", RESTORE);
    }
    Ok(())
}

/// Statistics of columns that are not there, and columns of blocks that are not.
fn left_over(conn: &Connection, path: &Path, found: &mut Verified) -> rusqlite::Result<()> {
    let lost: i64 = conn.query_row(
        "SELECT count(*) FROM slices WHERE NOT EXISTS
             (SELECT 1 FROM packed WHERE packed.id = slices.packed AND packed.series = slices.series)",
        [],
        |row| row.get(0),
    )?;
    if lost > 0 {
        found.add(path, "slices", format!("{lost} are of columns that are not there"), REPORT);
    }
    Ok(())
}
