//! What a kill can leave of a file.

use super::*;

#[test]
fn a_file_whose_making_was_cut_short_is_none_yet() {
    let dir = tempfile::tempdir().unwrap();
    let (made, left) = (dir.path().join("made.db"), dir.path().join("left.db"));
    let journal = |path: &Path| path.with_extension("db-journal");
    // What stands on the disk in the middle of a transaction: changed pages, and the journal that
    // takes them back.
    let conn = Connection::open(&made).unwrap();
    conn.execute_batch("CREATE TABLE t (x); DROP TABLE t; VACUUM; PRAGMA cache_size = 1; BEGIN; CREATE TABLE t (x)")
        .unwrap();
    for _ in 0..100 {
        conn.execute("INSERT INTO t VALUES (zeroblob(4000))", []).unwrap();
    }
    std::fs::copy(&made, &left).unwrap();
    std::fs::copy(journal(&made), journal(&left)).unwrap();
    drop(conn);
    let read_only = Connection::open_with_flags(&left, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let refused = read_only.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).unwrap_err();
    assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::ReadOnly), "the journal is not a hot one");
    assert!(open_to_read(&left, &FIRM).unwrap().is_none());
    assert!(!journal(&left).exists());
}
