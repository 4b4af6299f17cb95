//! Keeps an eye on the room that is left on the disk, and says when it is short.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::disk::{Room, Seen};
use crate::metrics::Metrics;

/// Between two looks: what the fastest gateways together write in it is a part of the reserve.
const EVERY: Duration = Duration::from_secs(1);

/// Looks once, before anybody is taken from.
pub(super) fn look(room: &Room, metrics: &Metrics) {
    match room.look() {
        Ok(seen) => {
            let bytes = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            metrics.disk_free_bytes.set(bytes(seen.space.free));
            metrics.disk_reserve_bytes.set(bytes(seen.least));
            metrics.disk_short.set(seen.is_short.into());
            tell(&seen);
        }
        // Once a second is too much for a log, and what is wrong with a disk says the store.
        Err(error) => tracing::debug!(%error, "the disk's room could not be measured"),
    }
}

fn tell(seen: &Seen) {
    let Seen { space, least, is_short, has_turned } = *seen;
    if has_turned && is_short {
        tracing::error!(
            free = space.free,
            reserve = least,
            "the disk is below its reserve: nothing more is stored or acknowledged, and gateways keep what they read; \
             make room, or shorten the retention"
        );
    } else if has_turned {
        tracing::info!(free = space.free, reserve = least, "the disk has room again: gateways are taken from");
    }
}

/// Looks until `stop`.
pub(super) async fn keep(room: Arc<Room>, metrics: Arc<Metrics>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let (room, metrics) = (room.clone(), metrics.clone());
        // A disk that hangs holds up this look alone.
        if tokio::task::spawn_blocking(move || look(&room, &metrics)).await.is_err() {
            return;
        }
    }
}
