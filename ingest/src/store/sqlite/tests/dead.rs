//! Dead letters that are tried again and discarded, forked records, clocks, the old format.

use sandan_proto::record::GapCause;

use super::*;
use crate::store::Clock;

const NOW: i64 = BOOTED_US + 3_600 * SECOND;
const DAY: i64 = 86_400 * SECOND;

async fn dead(store: &SqliteReadings, plant: &Plant) -> Vec<crate::store::DeadRecord> {
    store.dead_records(&plant.firm(), &Choice::default(), 0, 100).await.unwrap()
}

async fn retry(store: &SqliteReadings, plant: &Plant, id: i64) -> Retried {
    store.retry_dead(&plant.firm(), id).await.unwrap().unwrap()
}

/// Delivers what a session would, without asking a clock or births that are not there.
async fn put_aside(store: &SqliteReadings, plant: &mut Plant, readings: &[Reading], reason: DeadLetterReason) {
    let sealed = plant.seal(readings);
    let letter = crate::session::admission::whole(reason, None, "not yet".into());
    let content = crate::session::admission::dead(&sealed, vec![letter]);
    let delivery = Delivery {
        gateway: plant.gateway.clone(),
        epoch: plant.epoch,
        lane: sealed.lane,
        first: sealed.sequence,
        last: sealed.sequence,
        cumulative: Some(sealed.cumulative_readings),
        content,
    };
    store.deliver(delivery).await.unwrap().await.unwrap().unwrap();
}

/// Stored, dead-lettered, as the store counts them.
async fn sums(store: &SqliteReadings, plant: &Plant) -> (u64, u64) {
    let stored = store.lanes(&plant.gateway).await.unwrap().iter().map(|lane| lane.readings).sum();
    let dead = store.dead_letters(&plant.gateway).await.unwrap().iter().map(|count| count.readings).sum();
    (stored, dead)
}

#[tokio::test]
async fn a_record_whose_clock_comes_late_is_stored_by_a_retry_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    plant.boot = BootId::random();
    put_aside(&store, &mut plant, &[pressure(0, 1.0), pressure(SECOND, 2.0)], DeadLetterReason::ClockUnknown).await;
    assert_eq!(sums(&store, &plant).await, (0, 2));
    let id = dead(&store, &plant).await[0].id;
    let kept = retry(&store, &plant, id).await;
    assert_eq!((kept.stored, kept.letters[0].reason), (0, DeadLetterReason::ClockUnknown));
    assert_eq!(kept.letters[0].detail, "the clock of its boot is not known");
    let content = store.dead_content(&plant.firm(), id).await.unwrap().unwrap();
    let readings = content.readings.unwrap();
    assert_eq!((readings.len(), readings[1].monotonic_us, readings[1].time_us), (2, SECOND, None));
    assert_eq!(readings[1].series.as_ref().unwrap().1.as_str(), "pressure");

    store.set_clock(&plant.gateway, plant.boot, CLOCK).await.unwrap();
    let firm = plant.firm();
    let both = tokio::join!(store.retry_dead(&firm, id), store.retry_dead(&firm, id));
    assert_eq!(both.0.unwrap().unwrap(), Retried { stored: 2, letters: Vec::new() });
    assert_eq!(both.1.unwrap(), None, "it is not there a second time");
    assert_eq!(values(&store, plant.key(0)).await, [1.0, 2.0]);
    assert_eq!(sums(&store, &plant).await, (2, 0));
    assert_eq!(store.dead_letters(&plant.gateway).await.unwrap()[0].recovered, 2);
    store.compact(&plant.firm()).await.unwrap();
    drop(store);
    let store = open(&dir);
    assert_eq!(values(&store, plant.key(0)).await, [1.0, 2.0]);
    assert_eq!(behind(&dir).query_row("SELECT dead_bytes FROM gateway", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[tokio::test]
async fn a_retry_stores_the_columns_that_were_put_aside_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut owner = Plant::new("hanbit/press-hall", "press-1");
    let mut second = Plant::new("hanbit/annex", "press-2");
    owner.connect(&store).await;
    second.connect(&store).await;
    let wrong = (1, 0, Value::F64(9.0), Quality::GOOD);
    let ahead = pressure(2 * 3_600 * SECOND, 5.0);
    // One column is good, one of a wrong type, one ahead of its time.
    second.deliver(&store, &[(4, 0, Value::F64(1.0), Quality::GOOD), wrong.clone()]).await;
    let registered = store.registered(&second.gateway, second.births.hash()).await.unwrap().unwrap();
    let sealed = second.seal(&[(4, SECOND, Value::F64(2.0), Quality::GOOD), ahead, wrong]);
    let mut delivery = second.admitted(&sealed, &registered);
    delivery.content = crate::session::admission::admit(
        sealed,
        &registered,
        CLOCK,
        crate::session::admission::Bounds::at(NOW, 86_400 * SECOND),
    );
    store.deliver(delivery).await.unwrap().await.unwrap().unwrap();
    assert_eq!((sums(&store, &second).await, values(&store, second.key(4)).await), ((2, 3), vec![1.0, 2.0]));

    // Time passes; a wrong type stays wrong.
    drop(store);
    let later = Options { now: Arc::new(|| NOW + 3 * 3_600 * SECOND), ..options() };
    let store = SqliteReadings::open(dir.path(), later).unwrap();
    let ids: Vec<_> = dead(&store, &second).await.iter().map(|record| record.id).collect();
    for packed in [false, true] {
        for &id in &ids {
            let tried = retry(&store, &second, id).await;
            assert_eq!(tried.stored, u64::from(!packed && id == ids[1]));
            let reasons: Vec<_> = tried.letters.iter().map(|letter| letter.reason).collect();
            assert_eq!(reasons, [DeadLetterReason::WrongType]);
        }
        assert_eq!(values(&store, second.key(4)).await, [1.0, 2.0]);
        assert_eq!(values(&store, second.key(0)).await, [5.0]);
        assert_eq!(sums(&store, &second).await, (3, 2));
        store.compact(&second.firm()).await.unwrap();
    }
    let content = store.dead_content(&second.firm(), ids[1]).await.unwrap().unwrap();
    let left: Vec<_> = content.readings.unwrap().into_iter().map(|reading| reading.value).collect();
    assert_eq!(left, [Value::F64(9.0)], "what is stored is no longer exported");
}

#[tokio::test]
async fn a_record_of_another_owner_is_stored_once_the_series_is_its_gateways() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (mut owner, mut second) = (Plant::new("hanbit/press-hall", "press-1"), Plant::new("hanbit/annex", "press-1"));
    owner.connect(&store).await;
    second.connect(&store).await;
    second.deliver(&store, &[pressure(0, 1.0)]).await;
    let id = dead(&store, &second).await[0].id;
    assert_eq!(retry(&store, &second, id).await.letters[0].reason, DeadLetterReason::OtherOwner);
    let move_to = "UPDATE series SET gateway = (SELECT number FROM gateway WHERE id = 'hanbit/annex')";
    behind(&dir).execute_batch(move_to).unwrap();
    assert_eq!(retry(&store, &second, id).await.stored, 1);
    assert_eq!(values(&store, second.key(0)).await, [1.0]);
}

#[tokio::test]
async fn what_is_discarded_stays_counted_and_another_firms_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    plant.deliver(&store, &[pressure(0, 1.0), (7, 0, Value::F64(1.0), Quality::GOOD)]).await;
    let id = dead(&store, &plant).await[0].id;
    let stranger = FirmId::new("daeil").unwrap();
    assert_eq!(store.retry_dead(&stranger, id).await.unwrap(), None);
    assert_eq!(store.discard_dead(&stranger, id).await.unwrap(), None);
    assert_eq!(store.dead_content(&stranger, id).await.unwrap(), None);
    assert_eq!(store.dead_records(&stranger, &Choice::default(), 0, 9).await.unwrap(), []);
    assert_eq!(store.discard_dead(&plant.firm(), id).await.unwrap(), Some(1));
    assert_eq!(store.discard_dead(&plant.firm(), id).await.unwrap(), None);
    let count = &store.dead_totals().await.unwrap()[&plant.gateway][0];
    assert_eq!((count.readings, count.discarded, count.letters), (1, 1, 1));
    assert_eq!(dead(&store, &plant).await, []);
    let choice = Choice { reason: Some(DeadLetterReason::WrongType), ..Choice::default() };
    put_aside(&store, &mut plant, &[pressure(1, 1.0)], DeadLetterReason::UnknownSeries).await;
    assert_eq!(store.dead_records(&plant.firm(), &choice, 0, 9).await.unwrap(), []);
}

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

#[tokio::test]
async fn checksums_are_known_of_what_waits_and_of_what_was_packed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wanted = Vec::new();
    for round in 0..3 {
        let registered = plant.connect(&store).await;
        for second in 0..300 {
            let sealed = plant.seal(&[pressure((round * 300 + second) * SECOND, second as f64)]);
            wanted.push(sealed.checksum());
            store.deliver(plant.admitted(&sealed, &registered)).await.unwrap().await.unwrap().unwrap();
        }
        if round < 2 {
            store.compact(&plant.firm()).await.unwrap();
            assert_eq!(store.shared.sums.len(), 0);
        }
        drop(store);
        store = open(&dir);
    }
    assert_eq!(store.shared.sums.len(), 300, "found again at the start");
    for (sum, sequence) in wanted.iter().zip(1..) {
        let known = store.checksum(&plant.gateway, plant.lane, sequence).await.unwrap();
        assert_eq!(known, Some(*sum), "{sequence}");
    }
    assert_eq!(store.checksum(&plant.gateway, plant.lane, 901).await.unwrap(), None);
    assert_eq!(store.checksum(&plant.gateway, LaneId::random(), 1).await.unwrap(), None);
    let runs: i64 = behind(&dir).query_row("SELECT count(*) FROM checksum", [], |row| row.get(0)).unwrap();
    assert_eq!(runs, 1, "one run of a lane without a hole");
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

#[tokio::test]
async fn a_clock_is_replaced_until_a_record_is_stored_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    let clock = |offset_us, estimated| Clock { offset_us, estimated };
    let set = async |boot, clock| store.set_clock(&plant.gateway, boot, clock).await.unwrap();
    let boot = plant.boot;
    assert_eq!(set(boot, clock(5, true)).await, clock(5, true));
    assert_eq!(set(boot, clock(BOOTED_US, false)).await, CLOCK);
    let other = BootId::random();
    assert_eq!(set(other, clock(9, true)).await, clock(9, true));
    plant.deliver(&store, &[pressure(0, 1.0)]).await;
    assert_eq!(store.set_clock(&plant.gateway, boot, clock(7, false)).await.unwrap(), CLOCK, "it is applied once");
    assert_eq!(store.set_clock(&plant.gateway, other, clock(8, false)).await.unwrap(), clock(8, false));
    // A gateway that makes boots up forgets its own, and never one that something is stored under.
    for offset_us in 0..300 {
        store.set_clock(&plant.gateway, BootId::random(), clock(offset_us, false)).await.unwrap();
    }
    let kept: i64 = behind(&dir).query_row("SELECT count(*) FROM clock", [], |row| row.get(0)).unwrap();
    assert_eq!((kept, store.clock(&plant.gateway, boot).await.unwrap()), (257, Some(CLOCK)));
}

#[tokio::test]
async fn readings_under_an_estimated_clock_are_uncertain_before_and_after_packing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let registered = plant.connect(&store).await;
    let bad = (0, SECOND, Value::F64(f64::NAN), Quality::BAD_NO_ANSWER);
    let source = (0, 2 * SECOND, Value::F64(3.0), Quality::UNCERTAIN_SOURCE);
    let sealed = plant.seal(&[pressure(0, 1.0), bad, source, (1, 0, Value::I64(4), Quality::GOOD)]);
    let mut delivery = plant.admitted(&sealed, &registered);
    let Content::Batch { clock, .. } = &mut delivery.content else { panic!() };
    clock.estimated = true;
    store.deliver(delivery).await.unwrap().await.unwrap().unwrap();
    plant.deliver(&store, &[pressure(5 * SECOND, 2.0)]).await;
    for _ in 0..2 {
        let Rows::Raw(rows) = store.read(&whole_day(plant.keys()), None, 10).await.unwrap().rows else { panic!() };
        let qualities: Vec<_> = rows.iter().map(|row| row.quality).collect();
        let wanted = [
            Quality::UNCERTAIN_CLOCK,
            Quality::BAD_NO_ANSWER,
            Quality::UNCERTAIN_SOURCE,
            Quality::GOOD,
            Quality::UNCERTAIN_CLOCK,
        ];
        assert_eq!(qualities, wanted);
        store.compact(&plant.firm()).await.unwrap();
    }
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
async fn a_gateway_is_fenced_across_restarts_and_let_in_for_as_long_as_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    plant.deliver(&store, &[pressure(0, 1.0)]).await;
    let copy = [LaneId::random()];
    let open_as = async |store: &SqliteReadings, lanes: &[LaneId]| store.open_session(&plant.gateway, 0, lanes).await;
    assert!(matches!(open_as(&store, &copy).await.unwrap(), Opening::Fenced { used: 1 }));
    drop(store);
    let store = open(&dir);
    assert_eq!(store.fenced().await.unwrap(), [(plant.gateway.clone(), NOW)]);
    store.release(&plant.gateway).await.unwrap();
    assert_eq!(store.fenced().await.unwrap(), []);
    // Its connection breaks before it has noted the epoch, and once more.
    for epoch in 2..5 {
        let Opening::Granted { epoch: granted, .. } = open_as(&store, &copy).await.unwrap() else { panic!() };
        assert_eq!(granted, epoch);
        assert!(matches!(open_as(&store, &[plant.lane]).await.unwrap(), Opening::Fenced { .. }), "another copy");
    }
    // A record came: the spool has noted its epoch.
    (plant.epoch, plant.lane, plant.sequence, plant.cumulative) = (4, copy[0], 0, 0);
    assert_eq!(done(&plant.deliver(&store, &[pressure(SECOND, 2.0)]).await), 1);
    let again = store.open_session(&plant.gateway, 0, &copy).await.unwrap();
    assert!(matches!(again, Opening::Fenced { used: 4 }), "{again:?}");
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

#[tokio::test]
async fn an_export_says_of_a_time_that_is_estimated_that_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    plant.boot = BootId::random();
    let bad = (4, 0, Value::F64(1.0), Quality::BAD_NO_ANSWER);
    put_aside(&store, &mut plant, &[pressure(0, 1.0), bad], DeadLetterReason::ClockUnknown).await;
    let id = dead(&store, &plant).await[0].id;
    let qualities = async || -> Vec<Quality> {
        let content = store.dead_content(&plant.firm(), id).await.unwrap().unwrap();
        content.readings.unwrap().iter().map(|reading| reading.quality).collect()
    };
    assert_eq!(qualities().await, [Quality::GOOD, Quality::BAD_NO_ANSWER], "no time at all");
    store.set_clock(&plant.gateway, plant.boot, Clock { estimated: true, ..CLOCK }).await.unwrap();
    assert_eq!(qualities().await, [Quality::UNCERTAIN_CLOCK, Quality::BAD_NO_ANSWER]);
}

#[tokio::test]
async fn numbers_are_taken_in_order_and_once_however_they_are_given() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    for at in 0..4 {
        put_aside(&store, &mut plant, &[pressure(at, 1.0)], DeadLetterReason::UnknownSeries).await;
    }
    let choice = Choice { ids: vec![4, 2, 2, 1], ..Choice::default() };
    let mut found = Vec::new();
    loop {
        let page = store.dead_records(&plant.firm(), &choice, found.last().copied().unwrap_or(0), 2).await.unwrap();
        let Some(_) = page.last() else { break };
        found.extend(page.iter().map(|record| record.id));
    }
    assert_eq!(found, [1, 2, 4]);
}
