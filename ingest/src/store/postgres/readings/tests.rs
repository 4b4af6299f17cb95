//! The engine over real servers.

use sandan_proto::id::FirmId;

use super::super::database::Settings;
use super::*;
use crate::servers;
use crate::store::conformance::{Engine, TestClock};

pub(crate) mod conformance;
mod faults;
mod rollups;
mod verify;

/// Options under which nothing happens by itself.
fn options(clock: &TestClock) -> Options {
    Options {
        commit_interval: Duration::ZERO,
        now: clock.now(),
        readmit: Some(crate::session::admission::readmit(crate::time::DAY_US)),
        classes: crate::store::retention::Classes::default(),
        retention_us: 90 * crate::time::DAY_US,
        upkeep: None,
    }
}

/// A store in an empty database.
struct Bed {
    place: servers::Database,
    clock: TestClock,
    store: Option<PostgresReadings>,
}

impl Bed {
    async fn new(place: servers::Database, clock: TestClock) -> Self {
        let mut bed = Self { place, clock, store: None };
        // The server in WASM has but one database.
        bed.place.sql("DROP SCHEMA IF EXISTS readings CASCADE");
        bed.connect().await.migrate().await.unwrap();
        bed.open().await;
        bed
    }
    async fn connect(&self) -> Database {
        let settings = Settings { pool_size: 8, ..Settings::of(self.place.dsn().parse().unwrap()) };
        Database::connect(settings).await.unwrap()
    }
    async fn open(&mut self) {
        self.store = None;
        self.store = Some(PostgresReadings::open(self.connect().await, options(&self.clock)).await.unwrap());
    }
    fn store(&self) -> &PostgresReadings {
        self.store.as_ref().unwrap()
    }
    /// Runs SQL that names the tables of readings by themselves.
    fn sql(&self, sql: &str) -> String {
        self.place.sql(&format!("SET search_path = readings, public; {sql}"))
    }
}
