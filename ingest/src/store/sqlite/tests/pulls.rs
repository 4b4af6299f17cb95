//! Chunks in their bounds.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::store::conformance::minutes;
use crate::store::sqlite::read::Bounds;

async fn chunk(
    store: &SqliteReadings,
    permit: &Permit,
    at: Option<ReadCursor>,
    bounds: Bounds,
) -> Result<Chunk, StoreError> {
    let permit = permit.clone();
    store.reading(move |shared, conn| read::chunk(shared, conn, &permit, at, &bounds)).await
}

#[tokio::test]
async fn a_bucket_larger_than_a_chunk_is_read_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    unruly(&mut plant, &store).await;
    store.compact(&plant.firm()).await.unwrap();
    unruly(&mut plant, &store).await;
    for width in [600, 10, 3] {
        let permit = minutes(&plant, width * SECOND);
        let whole = read_all(&store, &permit, 1_000).await;
        for (scan, limit) in [(1, 1_000), (2, 1), (3, 2), (7, 1_000), (40, 1_000)] {
            let (mut seen, mut cursor, mut chunks) = (Vec::new(), None, 0);
            loop {
                let bounds = Bounds::new(limit, CancellationToken::new()).scanning(scan);
                let chunk = chunk(&store, &permit, cursor, bounds).await.unwrap();
                let Rows::Buckets(rows) = chunk.rows else { panic!() };
                chunks += 1;
                cursor = chunk.next;
                if let Some(next) = &cursor {
                    assert!(rows.is_empty() || next.part.is_none(), "what is shown begins at an edge");
                    assert_eq!(next.from_us.rem_euclid(width * SECOND), 0);
                }
                seen.extend(rows.into_iter().map(|row| format!("{row:?}")));
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, whole, "{width} s, {scan} a chunk");
            // 2 × 8 records of 7 readings, none of which is looked at in one go with the rest.
            assert!(chunks >= 2 * 8 * 7 / (scan + 10), "{width} s, {scan} a chunk: {chunks} chunks");
        }
    }
}

#[tokio::test]
async fn a_chunk_that_nobody_waits_for_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    plant.deliver(&store, &[pressure(0, 1.0)]).await;
    for permit in [minutes(&plant, SECOND), whole_day(plant.keys())] {
        let gone = CancellationToken::new();
        gone.cancel();
        let answer = chunk(&store, &permit, None, Bounds::new(10, gone)).await;
        assert!(matches!(answer, Err(StoreError::Cancelled)), "{answer:?}");
    }
}

#[tokio::test]
async fn sessions_look_up_while_every_reader_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    let _busy = store.shared.turns.readers.acquire_many(u32::try_from(READERS).unwrap()).await.unwrap();
    assert!(store.registered(&plant.gateway, plant.births.hash()).await.unwrap().is_some());
    assert_eq!(store.clock(&plant.gateway, plant.boot).await.unwrap(), Some(CLOCK));
    assert_eq!(store.watermark(&plant.gateway, plant.lane).await.unwrap(), 0);
}

#[tokio::test]
async fn a_store_whose_writer_died_or_whose_inbox_is_unreadable_is_not_well() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.check().await.unwrap();
    let died = store.inbox.write(0, |_, _| -> rusqlite::Result<()> { panic!("as a bug would") }).await;
    assert!(matches!(died, Err(StoreError::Closed)), "{died:?}");
    // The queue closes once the writer's thread has gone.
    while store.inbox.write(0, |_, _| Ok(())).await.is_ok() {}
    assert!(matches!(store.check().await, Err(StoreError::Closed)));
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    behind(&dir).execute_batch("DROP TABLE store").unwrap();
    assert!(matches!(store.check().await, Err(StoreError::Engine { .. })));
}
