//! What there is of a firm.

use sandan_proto::id::FirmId;

use super::error::failed;
use super::types::Ts;
use super::{Shared, catalogue, rollup};
use crate::store::{Holdings, StoreError};

/// Counted series by series. How many bytes are one firm's nobody knows: the tables are shared.
pub(super) async fn of(shared: &Shared, firm: &FirmId) -> Result<Holdings, StoreError> {
    let failed = failed("counting what a firm has");
    let (_turn, client) = shared.reading().await?;
    let Some((number, _)) = catalogue::firm(&client, firm).await? else { return Ok(Holdings::default()) };
    let known = client.query_one(include_str!("sql/holdings.sql"), &[&number]).await.map_err(&failed)?;
    let count = |at| known.get::<_, i64>(at).unsigned_abs();
    let mut held = Holdings {
        series: count(0),
        gateways: count(1),
        gaps: count(2),
        dead_records: count(3),
        ..Holdings::default()
    };
    for version in rollup::versions(&client, number).await? {
        let sql = format!("SELECT count(*), min(ts), max(ts) FROM {} WHERE series_id = $1", version.table());
        let row = client.query_one(&sql, &[&version.number]).await.map_err(&failed)?;
        let time = |at| row.get::<_, Option<Ts>>(at).map(|ts| ts.0);
        held.readings += row.get::<_, i64>(0).unsigned_abs();
        held.from_us = held.from_us.into_iter().chain(time(1)).min();
        held.to_us = held.to_us.into_iter().chain(time(2)).max();
    }
    Ok(held)
}
