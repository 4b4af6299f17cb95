//! The conformance suite over this engine.

use proptest::prelude::*;

use super::*;
use crate::store::conformance::{Engine, TestClock, conform, model};

/// A store in a directory of its own.
pub(crate) struct Sqlite {
    dir: tempfile::TempDir,
    clock: TestClock,
    store: Option<SqliteReadings>,
}

impl Sqlite {
    fn open(&self) -> SqliteReadings {
        SqliteReadings::open(self.dir.path(), Options { now: self.clock.now(), ..options() }).unwrap()
    }
    fn opened(&self) -> &SqliteReadings {
        self.store.as_ref().unwrap()
    }
}

impl Engine for Sqlite {
    async fn new(clock: TestClock) -> Self {
        let mut engine = Self { dir: tempfile::tempdir().unwrap(), clock, store: None };
        engine.store = Some(engine.open());
        engine
    }
    fn store(&self) -> &dyn Readings {
        self.opened()
    }
    async fn reopen(&mut self) {
        // Closed before it is opened again: the directory is one process's.
        self.store = None;
        self.store = Some(self.open());
    }
    fn stop_at(&self, step: &'static str) {
        *self.opened().shared.crash_at.lock().unwrap() = Some(step);
    }
    async fn crash_rearranging(&mut self, firm: &FirmId, step: &'static str) {
        self.stop_at(step);
        // Fails at that step, unless it does not come by it.
        let _ = self.opened().compact(firm).await;
        self.reopen().await;
    }
    async fn rearrange(&self, firm: &FirmId) {
        self.opened().compact(firm).await.unwrap();
        let clear = |shared: &Shared, inbox: &Inbox| clear::clear_due(shared, inbox, &mut clear::Cleared::default());
        self.opened().alone(clear).await.unwrap();
    }
    async fn behind(&self, sql: &str) {
        behind(&self.dir).execute_batch(sql).unwrap();
    }
    async fn count(&self, sql: &str) -> i64 {
        behind(&self.dir).query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

conform!(super::Sqlite);

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn reads_give_what_was_delivered(run in model::any_run()) {
        model::holds::<Sqlite>(run);
    }
}
