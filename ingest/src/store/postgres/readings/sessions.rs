//! What sessions ask for beside deliveries: epochs, watermarks, clocks, checksums.

use deadpool_postgres::{GenericClient, Transaction};
use sandan_proto::id::{BootId, GatewayId, LaneId};

use super::Shared;
use super::catalogue;
use super::error::failed;
use crate::store::epochs::{EPOCHS_AHEAD, Used};
use crate::store::{Clock, Opening, Released, StoreError};

/// Boots of which a gateway may have a clock that nothing was stored under. A gateway that
/// tells more forgets its oldest.
const MAX_UNUSED: i64 = 256;
/// How exactly it is noted when births or a clock were last told or used: seldom enough to cost
/// nothing.
pub(super) const SEEN_US: i64 = crate::time::DAY_US;

/// Refuses a spool that is behind the epochs its gateway has used, or grants the next one.
pub(super) async fn open(
    shared: &Shared,
    gateway: &GatewayId,
    last_epoch: u64,
    lanes: &[LaneId],
) -> Result<Opening, StoreError> {
    let failed = failed("opening a session");
    let mut client = shared.session().await?;
    let transaction = client.transaction().await.map_err(&failed)?;
    let number = catalogue::ensure_gateway(&transaction, gateway).await?.gateway;
    let opening = grant(&transaction, (shared.options.now)(), number, last_epoch, lanes).await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    shared.metrics.commits.add(1);
    Ok(opening)
}

/// The gateway's row is locked.
async fn grant(
    transaction: &Transaction<'_>,
    now_us: i64,
    number: i64,
    last_epoch: u64,
    lanes: &[LaneId],
) -> Result<Opening, tokio_postgres::Error> {
    let row = transaction
        .query_one("SELECT granted, used, let_in FROM readings.gateway WHERE number = $1", &[&number])
        .await?;
    let (granted, used) = (row.get::<_, i64>(0).cast_unsigned(), Used::from_column(row.get(1)));
    let let_in: Option<Vec<u8>> = row.get(2);
    let behind = last_epoch < used.epoch;
    // The spool that a release let in, and that has not noted its new epoch yet: its connection
    // broke before. Lanes have random ids, so that no other copy that runs by itself names the
    // newest of it.
    let again = let_in.as_deref().is_some_and(|known| lanes.iter().any(|lane| lane.as_bytes()[..] == *known));
    if behind && !used.released && !again {
        transaction
            .execute("UPDATE readings.gateway SET fenced_us = $2 WHERE number = $1", &[&number, &now_us])
            .await?;
        return Ok(Opening::Fenced { used: used.epoch });
    }
    if last_epoch > granted.saturating_add(EPOCHS_AHEAD) {
        return Ok(Opening::NeverGranted { granted });
    }
    // A spool may know a later epoch than a store that was restored.
    let epoch = granted.max(last_epoch) + 1;
    // Whoever a release lets in is the gateway from here on; any other copy is fenced, also
    // before the first record comes.
    let (used, let_in) = match (behind, again) {
        (true, true) => (Used { epoch, ..used }, let_in),
        (true, false) => (Used { epoch, released: false }, lanes.last().map(|lane| lane.as_bytes().to_vec())),
        (false, _) => (used, let_in),
    };
    transaction
        .execute(
            "UPDATE readings.gateway SET granted = $2, used = $3, let_in = $4, fenced_us = NULL WHERE number = $1",
            &[&number, &epoch.cast_signed(), &used.to_column(), &let_in],
        )
        .await?;
    let mut watermarks = Vec::with_capacity(lanes.len());
    for &lane in lanes {
        let named = transaction
            .query_opt(
                "UPDATE readings.lane SET named_us = $3 WHERE gateway = $1 AND lane = $2 RETURNING through",
                &[&number, &lane.to_vec(), &now_us],
            )
            .await?;
        watermarks.push((lane, named.map_or(0, |row| row.get::<_, i64>(0).cast_unsigned())));
    }
    Ok(Opening::Granted { epoch, watermarks })
}

/// Lets the next Hello of a gateway in that would be fenced.
pub(super) async fn release(shared: &Shared, gateway: &GatewayId) -> Result<Released, StoreError> {
    let client = shared.session().await?;
    let released = client
        .execute(
            "UPDATE readings.gateway SET used = -abs(used), fenced_us = NULL WHERE id = $1 AND used <> 0",
            &[&gateway.as_str()],
        )
        .await
        .map_err(failed("releasing a gateway"))?;
    Ok(if released > 0 { Released::NextHello } else { Released::NothingFenced })
}

/// Gateways of which a spool was refused, and none was let in or released since; with the time
/// of the latest refusal.
pub(super) async fn fenced(shared: &Shared) -> Result<Vec<(GatewayId, i64)>, StoreError> {
    let (_turn, client) = shared.reading().await?;
    client
        .query("SELECT id, fenced_us FROM readings.gateway WHERE fenced_us IS NOT NULL ORDER BY id", &[])
        .await
        .map_err(failed("listing fenced gateways"))?
        .iter()
        .map(|row| Ok((GatewayId::new(row.get(0)).map_err(catalogue::damaged)?, row.get(1))))
        .collect()
}

/// Through which sequence a lane is durable; 0 for a new one.
pub(super) async fn watermark(shared: &Shared, gateway: &GatewayId, lane: LaneId) -> Result<u64, StoreError> {
    let client = shared.session().await?;
    let found = client
        .query_opt(
            "SELECT through FROM readings.lane JOIN readings.gateway ON gateway.number = lane.gateway
             WHERE gateway.id = $1 AND lane = $2",
            &[&gateway.as_str(), &lane.to_vec()],
        )
        .await
        .map_err(failed("reading a watermark"))?;
    Ok(found.map_or(0, |row| row.get::<_, i64>(0).cast_unsigned()))
}

/// Takes what a gateway tells of a boot; gives the clock in force.
pub(super) async fn set_clock(
    shared: &Shared,
    gateway: &GatewayId,
    boot: BootId,
    clock: Clock,
) -> Result<Clock, StoreError> {
    let failed = failed("keeping a clock");
    let now_us = (shared.options.now)();
    let mut client = shared.session().await?;
    let transaction = client.transaction().await.map_err(&failed)?;
    let gateway = catalogue::ensure_gateway(&transaction, gateway).await?.gateway;
    let boot = boot.as_bytes().to_vec();
    let changed = transaction
        .execute(
            include_str!("sql/set_clock.sql"),
            &[&gateway, &boot, &clock.offset_us, &clock.estimated, &now_us, &SEEN_US],
        )
        .await
        .map_err(&failed)?;
    if changed > 0 {
        transaction
            .execute(include_str!("sql/forget_clocks.sql"), &[&gateway, &boot, &MAX_UNUSED])
            .await
            .map_err(&failed)?;
    }
    let known = clock_of(&transaction, gateway, &boot).await.map_err(&failed)?.unwrap_or(clock);
    transaction.commit().await.map_err(&failed)?;
    if changed > 0 {
        shared.metrics.commits.add(1);
    }
    Ok(known)
}

/// The clock of a boot, where it is known.
pub(super) async fn clock(
    client: &impl GenericClient,
    gateway: &GatewayId,
    boot: BootId,
) -> Result<Option<Clock>, StoreError> {
    let failed = failed("reading a clock");
    let number = client
        .query_opt("SELECT number FROM readings.gateway WHERE id = $1", &[&gateway.as_str()])
        .await
        .map_err(&failed)?;
    match number {
        Some(row) => clock_of(client, row.get(0), boot.as_bytes()).await.map_err(&failed),
        None => Ok(None),
    }
}

/// As [`clock`], by the gateway's number.
pub(super) async fn clock_of(
    client: &impl GenericClient,
    gateway: i64,
    boot: &[u8],
) -> Result<Option<Clock>, tokio_postgres::Error> {
    let found = client
        .query_opt(
            "SELECT offset_us, estimated FROM readings.clock WHERE gateway = $1 AND boot = $2",
            &[&gateway, &boot],
        )
        .await?;
    Ok(found.map(|row| Clock { offset_us: row.get(0), estimated: row.get(1) }))
}

/// The checksum of a stored record, where it is still known.
pub(super) async fn checksum(
    shared: &Shared,
    gateway: &GatewayId,
    lane: LaneId,
    sequence: u64,
) -> Result<Option<u32>, StoreError> {
    let client = shared.session().await?;
    let found = client
        .query_opt(
            "SELECT first, sums FROM readings.checksum JOIN readings.gateway ON gateway.number = checksum.gateway
             WHERE gateway.id = $1 AND lane = $2 AND first <= $3 ORDER BY first DESC LIMIT 1",
            &[&gateway.as_str(), &lane.to_vec(), &sequence.cast_signed()],
        )
        .await
        .map_err(failed("looking up a checksum"))?;
    let Some(row) = found else { return Ok(None) };
    let index = usize::try_from(sequence - row.get::<_, i64>(0).cast_unsigned()).unwrap_or(usize::MAX);
    let sums: &[u8] = row.get(1);
    Ok(sums.chunks_exact(4).nth(index).map(|sum| u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]])))
}
