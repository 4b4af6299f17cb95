//! How far the readings of a database are, before anybody opens them: whether it was put back
//! to an older state.

use sandan_proto::id::TimelineId;

use super::database::Database;
use super::readings::{Options, PostgresReadings};
use crate::store::{Stand, StoreError};

fn failed<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl Fn(E) -> StoreError {
    move |source| StoreError::Engine { what, source: Box::new(source) }
}

/// Looks at the store in a database that has the layout of this build; none where there was
/// never one.
pub async fn stand(database: &Database) -> Result<Option<Stand>, StoreError> {
    let client = database.client().await.map_err(failed("looking at the store"))?;
    let found = client.query_opt(include_str!("sql/stand.sql"), &[]).await.map_err(failed("looking at the store"))?;
    let stand = |row: tokio_postgres::Row| {
        let timeline = TimelineId::from_bytes(row.get(0)).map_err(|error| StoreError::Damaged(error.to_string()))?;
        Ok(Stand { timeline, commits: u64::try_from(row.get::<_, i64>(1)).unwrap_or(0) })
    };
    found.map(stand).transpose()
}

/// Gives the store in a database another history: gateways send again what it may have lost.
pub async fn begin_timeline(database: &Database) -> Result<TimelineId, StoreError> {
    if stand(database).await?.is_none() {
        // A database that was lost altogether. Its first timeline is a new one.
        drop(PostgresReadings::open(database.clone(), Options { upkeep: None, ..Options::default() }).await?);
    }
    let timeline = TimelineId::random();
    let client = database.client().await.map_err(failed("beginning a timeline"))?;
    let update = "UPDATE readings.store SET timeline = $1";
    client.execute(update, &[&timeline.to_vec()]).await.map_err(failed("beginning a timeline"))?;
    Ok(timeline)
}
