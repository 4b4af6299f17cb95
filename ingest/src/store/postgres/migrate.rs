//! How a database gets the layout that this build works with: numbered steps, forward only.
//!
//! Each step is one transaction under one advisory lock, so that several processes may
//! start at once, a crash leaves a whole step or none, and a layout of a newer build is refused
//! by name.

use super::database::{Database, DatabaseError};

/// One step.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The layout that it makes. Numbers rise by one.
    pub number: i32,
    /// What it is about, as its file is named.
    pub name: &'static str,
    sql: &'static str,
}

/// A step from the file of its name.
macro_rules! step {
    ($number:literal, $file:literal) => {
        Migration { number: $number, name: $file, sql: include_str!(concat!("migrations/", $file, ".sql")) }
    };
}

/// All of them. What was released is never changed: a new step is added behind it.
pub const MIGRATIONS: &[Migration] = &[
    step!(1, "0001_control"),
    step!(2, "0002_readings"),
    step!(3, "0003_rollups"),
    step!(4, "0004_sharing"),
    step!(5, "0005_operations"),
];

/// Locks that processes on one database hold against each other: the first half of the
/// key is ours, so that other programs' locks stay out of the way.
pub(in crate::store) const LOCKS: i32 = 0x5a_4d_44_31;
const LOCK: i32 = 1;

impl Database {
    /// Brings the database to the layout of this build.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        self.migrate_through(MIGRATIONS).await
    }

    /// The layout that the database has; 0 for one that was never used.
    pub async fn layout(&self) -> Result<i32, DatabaseError> {
        let statement = |source| DatabaseError::Statement { what: "looking for its layout", source };
        let client = self.client().await?;
        let known: bool =
            client.query_one("SELECT to_regclass('layout') IS NOT NULL", &[]).await.map_err(statement)?.get(0);
        if !known {
            return Ok(0);
        }
        let found = client.query_one("SELECT coalesce(max(number), 0) FROM layout", &[]).await;
        Ok(found.map_err(statement)?.get(0))
    }

    /// Fails for a database that a newer build has laid out.
    pub async fn refuse_newer(&self) -> Result<(), DatabaseError> {
        let (found, known) = (self.layout().await?, newest());
        if found > known {
            return Err(DatabaseError::Newer { server: self.settings().shown(), found, known });
        }
        Ok(())
    }

    pub(in crate::store) async fn migrate_through(&self, steps: &[Migration]) -> Result<(), DatabaseError> {
        loop {
            let mut client = self.client().await?;
            let failed = |source| DatabaseError::Statement { what: "changing its layout", source };
            let tx = client.transaction().await.map_err(failed)?;
            // A step may take longer than what serves; and one process waits for another's.
            let alone = format!(
                "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
                 SELECT pg_advisory_xact_lock({LOCKS}, {LOCK}); {}",
                include_str!("sql/layout.sql")
            );
            tx.batch_execute(&alone).await.map_err(failed)?;
            let found: i32 =
                tx.query_one("SELECT coalesce(max(number), 0) FROM layout", &[]).await.map_err(failed)?.get(0);
            if found > last(steps) {
                let (server, known) = (self.settings().shown(), last(steps));
                return Err(DatabaseError::Newer { server, found, known });
            }
            let Some(step) = steps.iter().find(|step| step.number == found + 1) else {
                return tx.commit().await.map_err(failed);
            };
            let failed = |source| DatabaseError::Migration { number: step.number, name: step.name, source };
            tx.batch_execute(step.sql).await.map_err(failed)?;
            let by = env!("CARGO_PKG_VERSION");
            let noted = "INSERT INTO layout (number, name, build) VALUES ($1, $2, $3)";
            tx.execute(noted, &[&step.number, &step.name, &by]).await.map_err(failed)?;
            crash_point!("database.changed-before-commit");
            tx.commit().await.map_err(failed)?;
            crash_point!("database.changed-before-next");
            tracing::info!(layout = step.number, name = step.name, "the database was brought to a newer layout");
        }
    }
}

/// The layout of this build.
pub fn newest() -> i32 {
    last(MIGRATIONS)
}

fn last(steps: &[Migration]) -> i32 {
    steps.last().map_or(0, |step| step.number)
}

#[cfg(test)]
mod tests;
