//! Erasing a firm: its readings, what they were counted in, and whatever is known of it.
//!
//! Readings go series by series and day by day, so that no statement is long; what goes last, in
//! one transaction, is the firm itself, so that a kill in between leaves a firm that can be erased
//! again.

use deadpool_postgres::GenericClient;
use sandan_proto::id::FirmId;

use super::error::failed;
use super::rollup::{self, Version};
use super::types::Ts;
use super::{Shared, catalogue, tables};
use crate::store::StoreError;
use crate::time::DAY_US;

/// Deletes everything of a firm; false where there was nothing of it.
pub(super) async fn erase(shared: &Shared, firm: &FirmId) -> Result<bool, StoreError> {
    let failed = failed("erasing a firm");
    let client = shared.session().await?;
    let Some((number, _)) = catalogue::firm(&client, firm).await? else { return Ok(false) };
    let versions = rollup::versions(&client, number).await?;
    drop(client);
    for version in versions {
        erase_readings(shared, &version).await?;
    }
    let mut client = shared.session().await?;
    let transaction = client.transaction().await.map_err(&failed)?;
    // As whoever commits locks them: nothing of the firm is on its way from here on.
    transaction
        .batch_execute(&format!(
            "SELECT 1 FROM readings.gateway WHERE firm = {number} ORDER BY number FOR UPDATE;
             SELECT 1 FROM readings.firm WHERE number = {number} FOR UPDATE"
        ))
        .await
        .map_err(&failed)?;
    for version in rollup::versions(&transaction, number).await? {
        // What came in the meantime.
        let delete = format!("DELETE FROM {} WHERE series_id = $1", version.table());
        transaction.execute(&delete, &[&version.number]).await.map_err(&failed)?;
    }
    for sql in include_str!("sql/erase_firm.sql").split(';').map(str::trim).filter(|sql| !sql.is_empty()) {
        transaction.execute(sql, &[&number]).await.map_err(&failed)?;
    }
    transaction.commit().await.map_err(&failed)?;
    Ok(true)
}

async fn erase_readings(shared: &Shared, version: &Version) -> Result<(), StoreError> {
    let failed = failed("erasing readings");
    let table = version.table();
    loop {
        let client = shared.session().await?;
        let first = format!("SELECT ts FROM {table} WHERE series_id = $1 ORDER BY ts LIMIT 1");
        let first = client.query_opt(&first, &[&version.number]).await.map_err(&failed)?;
        let Some(first) = first else { return Ok(()) };
        let end_us = (tables::day_of(first.get::<_, Ts>(0).0) + 1) * DAY_US;
        let delete = format!("DELETE FROM {table} WHERE series_id = $1 AND ts < $2");
        client.execute(&delete, &[&version.number, &Ts(end_us)]).await.map_err(&failed)?;
    }
}
