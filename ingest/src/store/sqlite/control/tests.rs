use super::*;
use crate::store::conformance::control::{ControlEngine, by, conform_control, invite};

/// `control.db` in a directory of its own.
struct OwnFile {
    dir: tempfile::TempDir,
    control: Option<SqliteControl>,
}

impl OwnFile {
    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join(FILE)
    }
}

impl ControlEngine for OwnFile {
    async fn new() -> Self {
        let mut new = Self { dir: tempfile::tempdir().unwrap(), control: None };
        new.reopen().await;
        new
    }

    fn control(&self) -> &dyn Control {
        self.control.as_ref().unwrap()
    }

    async fn reopen(&mut self) {
        drop(self.control.take());
        self.control = Some(SqliteControl::open(&self.path()).unwrap());
    }

    async fn behind(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

conform_control!(OwnFile);

/// An installation of layout 1 keeps what it has; its gateways are invited anew.
#[tokio::test]
async fn layout_1_becomes_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("layout_1.sql")).unwrap();
    drop(old);
    let control = SqliteControl::open(&path).unwrap();
    let gateways = control.gateways().await.unwrap();
    let known: Vec<_> =
        gateways.iter().map(|it| (it.id.as_str(), it.added_us, it.revoked_us, it.enrolled_us)).collect();
    assert_eq!(known, [("hanbit/gw", 10, None, None), ("hanbit/old", 11, Some(12), None)]);
    control.apply(invite(&TokenHash::of("a"), false, false), by()).await.unwrap();
    assert_laid_out_as_new(dir.path(), &control).await;
}

/// One of layout 3 keeps its people and its consents as what they were.
#[tokio::test]
async fn layout_3_becomes_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("layout_3.sql")).unwrap();
    let rows = crate::store::conformance::sharing::of_layout_3(|hex| format!("x'{hex}'"));
    old.execute_batch(&rows).unwrap();
    old.pragma_update(None, "user_version", 3).unwrap();
    drop(old);
    let control = SqliteControl::open(&path).unwrap();
    crate::store::conformance::sharing::assert_layout_3_stays(&control).await;
    assert_laid_out_as_new(dir.path(), &control).await;
}

async fn assert_laid_out_as_new(dir: &std::path::Path, control: &SqliteControl) {
    let (new, dump) =
        (SqliteControl::open(&dir.join("new.db")).unwrap(), "SELECT name FROM sqlite_schema ORDER BY name");
    let names = async |control: &SqliteControl| {
        control.read(move |tx| rows(tx, dump, [], |row| Ok(row.get::<_, String>(0)?))).await.unwrap()
    };
    assert_eq!(names(control).await, names(&new).await);
}
