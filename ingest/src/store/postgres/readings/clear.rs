//! What has to be done by and by: partitions ahead, hours to be counted, readings beyond the
//! retention, and births, lanes, clocks and checksums that nothing comes under any more.
//!
//! A lane goes when its gateway has been here since, no Hello has named it and nothing of it
//! came for longer than readings are kept: the gateway holds nothing of it any more. Of a
//! gateway that was away for as long lanes and clocks stay. All of it may be done by several
//! processes at once, and again.

use std::sync::Arc;
use std::time::Duration;

use super::error::failed;
use super::{Shared, count, retain, tables};
use crate::store::StoreError;
use crate::store::postgres::lease::{Duty, Lease};
use crate::time::DAY_US;

/// How long checksums are kept: a gateway keeps what was acknowledged for 72 hours, and a day
/// more for whoever is away over the weekend.
const KEPT_SUMS_US: i64 = 4 * DAY_US;
/// Beyond the retention: what is noted to the day, and clocks that differ.
const MARGIN_US: i64 = 2 * DAY_US;
/// Rows of each kind that go at once, so that no commit waits long for it.
const AT_ONCE: i64 = 5_000;
/// How often all of it is done when a test hurries it.
const HURRY: Duration = Duration::from_millis(300);

/// Does it again and again until the store closes, as long as no other process does.
pub(super) async fn keep_up(shared: Arc<Shared>, every: Duration) {
    let every = if is_hurried!("retain.eager") { HURRY } else { every };
    let lease = Lease::ask(shared.database.clone(), Duty::Upkeep, shared.closing.clone());
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shared.closing.cancelled() => return,
        }
        if !lease.is_held() {
            continue;
        }
        if let Err(error) = upkeep(&shared).await {
            shared.metrics.upkeep_failures.add(1);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the upkeep of the store failed; it is tried again"
            );
        }
    }
}

/// All of it, once.
pub(super) async fn upkeep(shared: &Shared) -> Result<(), StoreError> {
    tables::ahead(shared).await?;
    for firm in count::firms(shared).await? {
        count::count(shared, firm).await?;
    }
    retain::retain_all(shared).await?;
    let now_us = (shared.options.now)();
    let before = now_us.saturating_sub(shared.options.retention_us).saturating_sub(MARGIN_US);
    for (sql, before) in [
        (include_str!("sql/clear_lanes.sql"), before),
        (include_str!("sql/clear_clocks.sql"), before),
        (include_str!("sql/clear_births.sql"), before),
        (
            "DELETE FROM readings.checksum WHERE ctid IN
             (SELECT ctid FROM readings.checksum WHERE stored_us < $1 LIMIT $2)",
            now_us.saturating_sub(KEPT_SUMS_US),
        ),
    ] {
        while piece(shared, sql, before).await? >= AT_ONCE.cast_unsigned() {}
    }
    shared.metrics.upkeeps.add(1);
    Ok(())
}

async fn piece(shared: &Shared, sql: &str, before: i64) -> Result<u64, StoreError> {
    let client = shared.session().await?;
    client.execute(sql, &[&before, &AT_ONCE]).await.map_err(failed("clearing what is not used"))
}
