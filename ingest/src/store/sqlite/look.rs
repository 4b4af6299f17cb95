//! Looking at a database file without leaving a trace, not even a file beside it.

use std::fmt::Write;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// Opens a file that is there for reading. One without a log is taken as it stands: the
/// engine would make the log's files to read it. Beside a log, which a running service or
/// a crash left, they are there already.
pub(crate) fn look(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match path.to_str() {
        Some(text) if !Path::new(&log).exists() => {
            Connection::open_with_flags(immutable(text), flags | OpenFlags::SQLITE_OPEN_URI)
        }
        _ => Connection::open_with_flags(path, flags),
    }
}

/// The file as a URI that tells the engine that nobody changes it.
fn immutable(path: &str) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing into a text cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_name_is_looked_at_and_nothing_comes_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("한 빛?immutable=0#%41.db");
        let made = Connection::open(&path).unwrap();
        made.pragma_update(None, "journal_mode", "wal").unwrap();
        made.pragma_update(None, "user_version", 7).unwrap();
        let seen = || -> (i64, usize) {
            let version = look(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            (version, std::fs::read_dir(dir.path()).unwrap().count())
        };
        assert_eq!(seen(), (7, 3), "the log is read where there is one");
        drop(made);
        assert_eq!(seen(), (7, 1));
        assert!(look(&dir.path().join("none.db")).is_err());
    }
}
