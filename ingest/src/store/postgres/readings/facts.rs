//! What health pages ask for.

use std::collections::BTreeMap;

use deadpool_postgres::GenericClient;
use sandan_proto::id::{FirmId, GatewayId, LaneId, SeriesKey};
use sandan_proto::v1::{DeadLetterReason, GapCause};
use tokio_postgres::Row;

use super::Shared;
use super::catalogue::damaged;
use super::error::failed;
use crate::store::{DeadLetterCount, GapFact, LaneFacts, StoreError};

/// Marks of gaps in one chunk of an answer: more do not say more.
const MAX_MARKS: i64 = 1_000;

pub(super) async fn check(shared: &Shared) -> Result<(), StoreError> {
    let client = shared.session().await?;
    client.query_one("SELECT one FROM readings.store", &[]).await.map(drop).map_err(failed("reading the store"))
}

pub(super) async fn commits(shared: &Shared) -> Result<u64, StoreError> {
    let client = shared.session().await?;
    let row = client.query_one(include_str!("../sql/stand.sql"), &[]).await.map_err(failed("counting commits"))?;
    Ok(row.get::<_, i64>(1).cast_unsigned())
}

pub(super) async fn lanes(shared: &Shared, gateway: &GatewayId) -> Result<Vec<LaneFacts>, StoreError> {
    let (_turn, client) = shared.reading().await?;
    client
        .query(
            "SELECT lane, through, readings, newest_us, stored_us FROM readings.lane
             JOIN readings.gateway ON gateway.number = lane.gateway
             WHERE gateway.id = $1 ORDER BY opened_us, lane",
            &[&gateway.as_str()],
        )
        .await
        .map_err(failed("listing lanes"))?
        .iter()
        .map(|row| {
            Ok(LaneFacts {
                lane: LaneId::from_bytes(row.get(0)).map_err(damaged)?,
                through: row.get::<_, i64>(1).cast_unsigned(),
                readings: row.get::<_, i64>(2).cast_unsigned(),
                newest_us: row.get(3),
                stored_us: row.get(4),
            })
        })
        .collect()
}

/// Counts by gateway and reason, of one gateway or of all.
pub(super) async fn dead_totals(
    shared: &Shared,
    gateway: Option<&GatewayId>,
) -> Result<BTreeMap<GatewayId, Vec<DeadLetterCount>>, StoreError> {
    let (_turn, client) = shared.reading().await?;
    let rows = client
        .query(
            "SELECT gateway.id, reason, letters, readings, newest_us, detail, discarded, recovered
             FROM readings.dead_total JOIN readings.gateway ON gateway.number = dead_total.gateway
             WHERE $1::text IS NULL OR gateway.id = $1 ORDER BY gateway.id, reason",
            &[&gateway.map(GatewayId::as_str)],
        )
        .await
        .map_err(failed("counting dead letters"))?;
    let mut totals = BTreeMap::<GatewayId, Vec<DeadLetterCount>>::new();
    for row in rows {
        let count = |at: usize| row.get::<_, i64>(at).cast_unsigned();
        totals.entry(GatewayId::new(row.get(0)).map_err(damaged)?).or_default().push(DeadLetterCount {
            reason: DeadLetterReason::try_from(row.get::<_, i32>(1)).unwrap_or_default(),
            letters: count(2),
            readings: count(3),
            newest_us: row.get(4),
            detail: row.get(5),
            discarded: count(6),
            recovered: count(7),
        });
    }
    Ok(totals)
}

/// The newest declared gaps of a firm, newest first.
pub(super) async fn gaps(shared: &Shared, firm: &FirmId, limit: usize) -> Result<Vec<GapFact>, StoreError> {
    let (_turn, client) = shared.reading().await?;
    let sql = "SELECT gateway.id, from_us, to_us, cause, readings, uncertain FROM readings.gap
               JOIN readings.firm ON firm.number = gap.firm JOIN readings.gateway ON gateway.number = gap.gateway
               WHERE firm.id = $1 ORDER BY gap.id DESC LIMIT $2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query(sql, &[&firm.as_str(), &limit]).await.map_err(failed("listing gaps"))?;
    rows.iter().map(gap).collect()
}

/// Gaps of the gateway that owns a series which may lie in [from, to): the newest ones.
pub(super) async fn gaps_of(
    client: &impl GenericClient,
    firm: i64,
    series: &SeriesKey,
    from_us: i64,
    to_us: i64,
) -> Result<Vec<GapFact>, StoreError> {
    let rows = client
        .query(
            include_str!("sql/list_gaps_of.sql"),
            &[&firm, &series.asset.as_str(), &series.metric.as_str(), &from_us, &to_us, &MAX_MARKS],
        )
        .await
        .map_err(failed("listing gaps"))?;
    rows.iter().map(gap).collect()
}

fn gap(row: &Row) -> Result<GapFact, StoreError> {
    Ok(GapFact {
        gateway: GatewayId::new(row.get(0)).map_err(damaged)?,
        from_us: row.get(1),
        to_us: row.get(2),
        cause: GapCause::try_from(row.get::<_, i32>(3)).unwrap_or_default(),
        readings: row.get::<_, i64>(4).cast_unsigned(),
        uncertain: row.get(5),
    })
}
