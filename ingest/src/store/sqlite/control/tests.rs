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
    let (new, dump) =
        (SqliteControl::open(&dir.path().join("new.db")).unwrap(), "SELECT name FROM sqlite_schema ORDER BY name");
    let names = async |control: &SqliteControl| {
        control.read(move |tx| rows(tx, dump, [], |row| Ok(row.get::<_, String>(0)?))).await.unwrap()
    };
    assert_eq!(names(&control).await, names(&new).await);
}
