//! Dead letters that are tried again and discarded, forked records, clocks, the old format.

use sandan_proto::record::GapCause;

use super::*;
use crate::consent::Form;
use crate::store::Clock;
use crate::store::conformance::NOW;
use crate::store::conformance::dead::{dead, put_aside, retry, sums};

const DAY: i64 = 86_400 * SECOND;

#[tokio::test]
async fn a_retry_that_the_disk_refuses_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    put_aside(&store, &mut plant, &[pressure(0, 1.0)], DeadLetterReason::UnknownSeries).await;
    let id = dead(&store, &plant).await[0].id;
    let broken = "CREATE TRIGGER broken BEFORE DELETE ON dead_record BEGIN SELECT RAISE(ROLLBACK, 'no room'); END";
    behind(&dir).execute_batch(broken).unwrap();
    store.retry_dead(&plant.firm(), id).await.unwrap_err();
    assert_eq!((inbox_rows(&dir), sums(&store, &plant).await), (0, (0, 1)));
    assert_eq!(values(&store, plant.key(0)).await, Vec::<f64>::new());
    behind(&dir).execute_batch("DROP TRIGGER broken").unwrap();
    assert_eq!(retry(&store, &plant, id).await.stored, 1);
}

#[test]
fn checksums_in_memory_go_with_their_rows() {
    let (sums, gateway, lane) = (Sums::default(), GatewayId::new("hanbit/a").unwrap(), LaneId::random());
    for sequence in [1u64, 2, 3, 7, 8, 20] {
        sums.add(&gateway, lane, sequence, u32::try_from(sequence).unwrap());
    }
    sums.remove_through(&gateway, lane, 7);
    let left: Vec<_> = (1..=20).filter_map(|sequence| sums.get(&gateway, lane, sequence)).collect();
    assert_eq!(left, [8, 20]);
    sums.remove_through(&gateway, lane, 20);
    assert_eq!((sums.len(), sums.get(&gateway, lane, 20)), (0, None));
    sums.remove_through(&gateway, lane, 30);
}

/// A data directory as the first format left it.
fn old(dir: &tempfile::TempDir) -> (Plant, Vec<u8>) {
    let conn = Connection::open(inbox_path(dir.path())).unwrap();
    conn.pragma_update(None, "journal_mode", "wal").unwrap();
    conn.execute_batch(include_str!("inbox_1.sql")).unwrap();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let good = plant.seal(&[pressure(0, 1.0), (7, 0, Value::F64(9.0), Quality::GOOD)]);
    let whole = plant.seal(&[pressure(SECOND, 2.0)]);
    let lane = plant.lane.as_bytes();
    let uuid = Uuid::new_v4();
    conn.execute("INSERT INTO store VALUES (1, ?1, ?2)", params![uuid.as_bytes(), TimelineId::random().as_bytes()])
        .unwrap();
    conn.execute_batch("INSERT INTO firm (id, commits) VALUES ('hanbit', 4)").unwrap();
    conn.execute_batch("INSERT INTO gateway (firm, id, granted, used) VALUES (1, 'hanbit/press-hall', 1, 1)").unwrap();
    conn.execute("INSERT INTO lane VALUES (1, ?1, 2, 3, 1, 0, 0, 0)", [lane]).unwrap();
    conn.execute("INSERT INTO clock VALUES (1, ?1, ?2)", params![plant.boot.as_bytes(), BOOTED_US]).unwrap();
    let insert = "INSERT INTO record VALUES (41, 1, 1, ?1, 1, 1, ?2, ?3, 2, 4, 0, ?3, ?3, 1, x'01000000', ?4)";
    conn.execute(insert, params![lane, plant.boot.as_bytes(), BOOTED_US, good.payload.as_ref()]).unwrap();
    for (sequence, sealed, series) in [(1, &good, Some(7)), (2, &whole, None)] {
        let original = prost::Message::encode_to_vec(&sealed.to_wire());
        let dead = "INSERT INTO dead_record (gateway, lane, sequence, received_us, original) VALUES (1, ?1, ?2, 0, ?3)";
        conn.execute(dead, params![lane, sequence, original]).unwrap();
        conn.execute("INSERT INTO dead_letter VALUES (?1, 0, ?2, 2, 1, 'old')", params![sequence, series]).unwrap();
    }
    conn.execute_batch("INSERT INTO dead_total VALUES (1, 2, 2, 2, 0, 'old')").unwrap();
    conn.execute_batch("INSERT INTO gap VALUES (1, 1, 1, x'00', 1, 1, 1, NULL, NULL, 3, 0)").unwrap();
    conn.pragma_update(None, "application_id", file::INBOX.application_id).unwrap();
    conn.pragma_update(None, "user_version", 1).unwrap();
    (plant, uuid.as_bytes().to_vec())
}

#[tokio::test]
async fn a_data_directory_of_the_first_format_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let (mut plant, uuid) = old(&dir);
    let (old_boot, old_lane) = (plant.boot, plant.lane);
    // Of the row's births, which the store numbers.
    let store = open(&dir);
    assert_eq!(store.shared.uuid.as_bytes()[..], uuid[..]);
    plant.epoch = 1;
    plant.connect(&store).await;
    assert_eq!(values(&store, plant.key(0)).await, [1.0], "what waits in the inbox is readable");
    let clock = Clock { offset_us: 3, estimated: false };
    assert_eq!(store.set_clock(&plant.gateway, old_boot, clock).await.unwrap(), CLOCK);
    assert_eq!(store.checksum(&plant.gateway, old_lane, 1).await.unwrap(), None, "it was not kept then");
    let gap = &store.gaps(&plant.firm(), 9).await.unwrap()[0];
    assert_eq!((gap.cause, gap.uncertain), (GapCause::Restart, false));
    plant.deliver(&store, &[pressure(9 * SECOND, 3.0)]).await;
    let newest: i64 = behind(&dir).query_row("SELECT max(id) FROM record", [], |row| row.get(0)).unwrap();
    assert_eq!(newest, 42, "numbers go on where they were");
    // What of the dead records was stored is known, so a retry stores only the rest.
    assert_eq!(retry(&store, &plant, 1).await.letters[0].reason, DeadLetterReason::UnknownSeries);
    assert_eq!(retry(&store, &plant, 2).await.stored, 1);
    assert_eq!(values(&store, plant.key(0)).await, [1.0, 2.0, 3.0]);
    drop(store);
    assert_eq!(values(&open(&dir), plant.key(0)).await, [1.0, 2.0, 3.0]);
}

#[tokio::test]
async fn while_the_disk_is_full_nothing_is_acknowledged_and_later_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let registered = plant.connect(&store).await;
    plant.deliver(&store, &[pressure(0, 1.0)]).await;
    let limit = async |pages: i64| {
        store
            .inbox
            .write(0, move |conn, _| conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())))
            .await
    };
    limit(1).await.unwrap();
    // Numbers that do not pack, so that there is no room for them.
    let number = |at: i64| f64::from_bits(at.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12);
    let many: Vec<_> = (1..20_000).map(|at| pressure(at, number(at))).collect();
    let sealed = plant.seal(&many);
    for _ in 0..3 {
        let refused = store.deliver(plant.admitted(&sealed, &registered)).await.unwrap().await.unwrap();
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(store.watermark(&plant.gateway, plant.lane).await.unwrap(), 1);
    }
    assert_eq!(store.dead_letters(&plant.gateway).await.unwrap(), [], "a full disk is nobody's fault");
    limit(1 << 30).await.unwrap();
    let stored = store.deliver(plant.admitted(&sealed, &registered)).await.unwrap().await.unwrap().unwrap();
    assert_eq!(done(&stored), 19_999);
}

#[tokio::test]
async fn what_nothing_comes_under_any_more_is_cleared_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let now_us = Arc::new(std::sync::atomic::AtomicI64::new(NOW));
    let clock_us = Arc::clone(&now_us);
    let now: Now = Arc::new(move || clock_us.load(std::sync::atomic::Ordering::SeqCst));
    let store = SqliteReadings::open(dir.path(), Options { now, ..options() }).unwrap();
    let counts = || -> Vec<i64> {
        ["lane", "births", "clock", "checksum"]
            .map(|table| {
                behind(&dir).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
            })
            .into()
    };
    let clear = async || store.inbox.write(0, |conn, group| clear::clear(conn, group.now_us, 90 * DAY)).await.unwrap();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    plant.deliver(&store, &[pressure(0, 1.0)]).await;
    store.compact(&plant.firm()).await.unwrap();
    let old_lane = std::mem::replace(&mut plant.lane, LaneId::random());
    (plant.births, plant.boot, plant.sequence, plant.cumulative) = (births("press-9", "MPa"), BootId::random(), 0, 0);
    now_us.fetch_add(50 * DAY, std::sync::atomic::Ordering::SeqCst);
    plant.connect(&store).await;
    plant.deliver(&store, &[pressure(SECOND, 2.0)]).await;
    clear().await;
    assert_eq!(counts(), [2, 2, 2, 0], "only checksums beyond the window of a replay");
    now_us.fetch_add(50 * DAY, std::sync::atomic::Ordering::SeqCst);
    // A Hello names the old lane: it is not drained.
    store.open_session(&plant.gateway, plant.epoch, &[old_lane, plant.lane]).await.unwrap();
    clear().await;
    assert_eq!(counts(), [2, 1, 1, 0]);
    assert_eq!(store.watermark(&plant.gateway, old_lane).await.unwrap(), 1);
    now_us.fetch_add(170 * DAY, std::sync::atomic::Ordering::SeqCst);
    clear().await;
    assert_eq!(counts(), [2, 1, 1, 0], "a gateway that is away goes on where it was");
    // It came back, and names what it still holds.
    store.open_session(&plant.gateway, plant.epoch + 1, &[plant.lane]).await.unwrap();
    clear().await;
    assert_eq!(store.watermark(&plant.gateway, old_lane).await.unwrap(), 0);
    assert_eq!(counts(), [1, 1, 0, 0], "births stay that a row waits under");
    assert_eq!(store.watermark(&plant.gateway, plant.lane).await.unwrap(), 1);
    let everything = Permit::for_test(plant.keys(), Form::Raw, 0, i64::MAX);
    assert_eq!(read_all(&store, &everything, 10).await.len(), 1);
}

#[tokio::test]
async fn the_clock_of_a_session_that_lasts_longer_than_the_retention_stays() {
    let dir = tempfile::tempdir().unwrap();
    let now_us = Arc::new(std::sync::atomic::AtomicI64::new(NOW));
    let clock_us = Arc::clone(&now_us);
    let now: Now = Arc::new(move || clock_us.load(std::sync::atomic::Ordering::SeqCst));
    let store = SqliteReadings::open(dir.path(), Options { now, ..options() }).unwrap();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    for at in 0..3 {
        plant.deliver(&store, &[pressure(at * SECOND, 1.0)]).await;
        now_us.fetch_add(60 * DAY, std::sync::atomic::Ordering::SeqCst);
    }
    store.inbox.write(0, |conn, group| clear::clear(conn, group.now_us, 90 * DAY)).await.unwrap();
    let other = Clock { offset_us: 7, estimated: false };
    assert_eq!(store.set_clock(&plant.gateway, plant.boot, other).await.unwrap(), CLOCK, "it is applied once");
}
