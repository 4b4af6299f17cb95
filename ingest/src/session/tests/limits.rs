//! Forked records, rates, clocks that are estimated, a disk that is full.

use sandan_proto::v1::RetryLater;
use sandan_proto::v1::clock_offset::Source;

use super::*;
use crate::store::{Choice, DeadLetters};

impl Wire {
    async fn later(&mut self) -> RetryLater {
        match self.answer().await {
            Ok(Some(ingest_frame::Frame::RetryLater(later))) => later,
            other => panic!("not told to wait but {other:?}"),
        }
    }
}

#[tokio::test]
async fn another_record_under_a_stored_number_is_put_aside_and_the_lane_goes_on() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    let first = plant.seal(&[pressure(0, 1.0)]);
    let mut forked = sandan_proto::record::Sealed { first_us: -1, ..first.clone() };
    wire.sealed(&first).await;
    // On its way, stored, and packed: it is found each time, and counted once.
    wire.sealed(&forked).await;
    let ack = wire.ack_through(1).await;
    let letters = if ack.dead_letters.is_empty() { wire.ack().await.dead_letters } else { ack.dead_letters };
    assert_eq!((letters[0].reason(), letters[0].sequence), (DeadLetterReason::Forked, 1));
    rig.fleet.wait_for("forked hanbit/press-hall").await;
    for _ in 0..2 {
        wire.sealed(&forked).await;
        let ack = wire.ack().await;
        assert_eq!((ack.dead_letters.len(), ack.watermarks.len()), (0, 1));
        rig.store.compact(&plant.firm()).await.unwrap();
    }
    forked.first_us = -2;
    wire.sealed(&forked).await;
    assert_eq!(wire.ack().await.dead_letters.len(), 1);
    wire.sealed(&first).await;
    let ack = wire.ack().await;
    assert_eq!((ack.stored, ack.duplicate, ack.dead_lettered), (1, 1, 2));
    // One that was changed on the way is no other record.
    let mut damaged = first.to_wire();
    damaged.crc32c ^= 1;
    wire.send(gateway_frame::Frame::Sealed(damaged)).await;
    assert_eq!(wire.ack().await.dead_lettered, 2);
    wire.sealed(&plant.seal(&[pressure(SECOND, 2.0)])).await;
    assert_eq!(wire.ack_through(2).await.stored, 2);
    assert_eq!(values(&*rig.store, plant.key(0)).await, [1.0, 2.0], "the first stays");
    let count = &rig.store.dead_letters(&plant.gateway).await.unwrap()[0];
    assert_eq!((count.reason, count.letters), (DeadLetterReason::Forked, 2));
    let kept = rig.store.dead_records(&plant.firm(), &Choice::default(), 0, 9).await.unwrap();
    let tried = rig.store.retry_dead(&plant.firm(), kept[0].id).await.unwrap().unwrap();
    assert_eq!((tried.stored, tried.letters[0].reason), (0, DeadLetterReason::Forked), "it is never stored");
}

#[tokio::test]
async fn a_firm_beyond_its_rate_is_told_to_send_later_and_loses_nothing() {
    let now_us = Arc::new(std::sync::atomic::AtomicI64::new(BOOTED_US + 3_600 * SECOND));
    let clock_us = now_us.clone();
    let rig = Rig::with(move |settings| {
        settings.now = Arc::new(move || clock_us.load(Ordering::SeqCst));
        settings.quotas = Arc::new(Quotas::new(Rate { readings: 1.0, bytes: 1e9 }, BTreeMap::new()));
    })
    .await;
    let mut plants = [Plant::new("hanbit/press-hall", "press-1"), Plant::new("hanbit/annex", "press-2")];
    let mut neighbour = Plant::new("daeil/line-1", "furnace-1");
    let mut wires = [rig.connect(&mut plants[0]).await, rig.connect(&mut plants[1]).await];
    let many: Vec<_> = (0..20).map(|at| pressure(at, 1.0)).collect();
    wires[0].sealed(&plants[0].seal(&many)).await;
    assert_eq!(wires[0].ack_through(1).await.stored, 20, "one beyond the bucket passes");
    let held = [plants[0].seal(&[pressure(SECOND, 2.0)]), plants[1].seal(&[pressure(SECOND, 2.0)])];
    for ((wire, sealed), plant) in wires.iter_mut().zip(&held).zip(&plants) {
        wire.sealed(sealed).await;
        let later = wire.later().await;
        assert_eq!((later.lane, later.sequence, later.delay_ms), (plant.lane.to_vec(), sealed.sequence, 10_001));
        assert_eq!(later.reason, "the firm sends more readings a second than it may");
    }
    // What was on its way behind it asks for nothing more.
    wires[0].sealed(&plants[0].seal(&[pressure(2 * SECOND, 3.0)])).await;
    rig.fleet.wait_for("held back hanbit/annex").await;
    let mut other = rig.connect(&mut neighbour).await;
    other.sealed(&neighbour.seal(&[pressure(0, 1.0)])).await;
    assert_eq!(other.ack_through(1).await.stored, 1, "another firm is not held up");
    assert_eq!(rig.store.metrics().put_off.get(), 2);

    now_us.fetch_add(11 * SECOND, Ordering::SeqCst);
    for ((wire, sealed), stored) in wires.iter_mut().zip(&held).zip([21, 1]) {
        wire.sealed(sealed).await;
        let ack = wire.ack_through(sealed.sequence).await;
        assert_eq!((ack.stored, ack.dead_lettered), (stored, 0));
        now_us.fetch_add(SECOND, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn while_the_disk_is_short_nothing_is_stored_and_everything_afterwards() {
    let free = Arc::new(std::sync::atomic::AtomicU64::new(1_000));
    let probe = free.clone();
    let space = move || Ok(crate::disk::Space { free: probe.load(Ordering::SeqCst), total: 10_000 });
    let room = Arc::new(Room::new(crate::disk::Reserve { bytes: 500, percent: 100 }, Arc::new(space)));
    let kept = room.clone();
    let rig = Rig::with(move |settings| settings.room = kept).await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    let first = plant.seal(&[pressure(0, 1.0)]);
    wire.sealed(&first).await;
    assert_eq!(wire.ack_through(1).await.stored, 1);
    free.store(499, Ordering::SeqCst);
    assert!(room.look().unwrap().has_turned);
    let held = plant.seal(&[pressure(SECOND, 2.0)]);
    for again in [&held, &first] {
        wire.sealed(again).await;
        let later = wire.later().await;
        assert_eq!((later.sequence, later.delay_ms), (again.sequence, 10_000));
        assert_eq!(later.reason, "the ingest's disk is below its reserve");
    }
    assert_eq!(values(&*rig.store, plant.key(0)).await, [1.0], "reads go on");
    assert_eq!(rig.store.metrics().put_off.get(), 0, "it is not the firm that is too fast");
    free.store(550, Ordering::SeqCst);
    assert!(room.look().unwrap().has_turned);
    wire.sealed(&held).await;
    assert_eq!(wire.ack_through(2).await.stored, 2);
    assert_eq!(values(&*rig.store, plant.key(0)).await, [1.0, 2.0]);
}

#[tokio::test]
async fn what_came_under_a_clock_that_is_replaced_or_estimated_says_so() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.hello(&plant).await;
    plant.epoch = wire.welcome().await.epoch;
    wire.send(gateway_frame::Frame::Births(plant.births.to_wire())).await;
    let told = |boot: &sandan_proto::id::BootId, offset_us, source: Source| {
        let source = source.into();
        gateway_frame::Frame::Clock(v1::ClockOffset { boot_id: boot.to_vec(), offset_us, source })
    };
    // A clock that is an hour too far is corrected before anything is stored under it.
    wire.send(told(&plant.boot, BOOTED_US + 7_200 * SECOND, Source::System)).await;
    wire.sealed(&plant.seal(&[pressure(0, 1.0)])).await;
    assert_eq!(wire.ack_through(1).await.dead_letters[0].reason(), DeadLetterReason::TimeAhead);
    wire.send(told(&plant.boot, BOOTED_US, Source::Ingest)).await;
    wire.sealed(&plant.seal(&[pressure(SECOND, 2.0)])).await;
    assert_eq!(wire.ack_through(2).await.stored, 1);
    wire.send(told(&plant.boot, 5, Source::System)).await;
    wire.sealed(&plant.seal(&[pressure(2 * SECOND, 3.0)])).await;
    assert_eq!(wire.ack_through(3).await.stored, 2);
    let kept = rig.store.dead_records(&plant.firm(), &Choice::default(), 0, 9).await.unwrap();
    assert_eq!(rig.store.retry_dead(&plant.firm(), kept[0].id).await.unwrap().unwrap().stored, 1);
    assert_eq!(values(&*rig.store, plant.key(0)).await, [1.0, 2.0, 3.0]);

    plant.boot = sandan_proto::id::BootId::random();
    wire.send(told(&plant.boot, BOOTED_US, Source::Estimated)).await;
    let moment = |monotonic_us| Some(Moment { boot: plant.boot, monotonic_us });
    let gap = Gap {
        lane: plant.lane,
        first_sequence: 4,
        last_sequence: 4,
        cause: GapCause::Damaged,
        from: moment(0),
        to: None,
        cumulative_before: 3,
        cumulative_after: 5,
    };
    wire.send(gateway_frame::Frame::Gap(gap.to_wire())).await;
    wire.ack_through(4).await;
    assert!(rig.store.gaps(&plant.firm(), 1).await.unwrap()[0].uncertain);
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_session_and_the_next_goes_on() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    wire.sealed(&plant.seal(&[pressure(0, 1.0)])).await;
    wire.ack_through(1).await;
    let inbox = rusqlite::Connection::open(rig.dir.path().join("inbox.db")).unwrap();
    let broken = "CREATE TRIGGER broken BEFORE INSERT ON record BEGIN SELECT RAISE(ROLLBACK, 'no room'); END";
    inbox.execute_batch(broken).unwrap();
    let sealed = plant.seal(&[pressure(SECOND, 2.0)]);
    wire.sealed(&sealed).await;
    let status = wire.refused().await;
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "store: the store failed; send again"));
    inbox.execute_batch("DROP TRIGGER broken").unwrap();
    let mut wire = rig.connect(&mut plant).await;
    wire.sealed(&sealed).await;
    assert_eq!(wire.ack_through(2).await.stored, 1);
    assert_eq!(values(&*rig.store, plant.key(0)).await, [1.0, 2.0]);
}

#[tokio::test]
async fn a_gateway_that_sends_the_same_again_and_again_holds_its_firm_up_no_longer_than_one_record() {
    let now_us = Arc::new(std::sync::atomic::AtomicI64::new(BOOTED_US + 3_600 * SECOND));
    let clock_us = now_us.clone();
    let rig = Rig::with(move |settings| {
        settings.now = Arc::new(move || clock_us.load(Ordering::SeqCst));
        settings.quotas = Arc::new(Quotas::new(Rate { readings: 1e9, bytes: 100.0 }, BTreeMap::new()));
    })
    .await;
    let mut plants = [Plant::new("hanbit/press-hall", "press-1"), Plant::new("hanbit/annex", "press-2")];
    let mut wires = [rig.connect(&mut plants[0]).await, rig.connect(&mut plants[1]).await];
    let first = plants[0].seal(&[pressure(0, 1.0)]);
    wires[0].sealed(&first).await;
    wires[0].ack_through(1).await;
    let mut held = 0;
    for _ in 0..100 {
        wires[0].sealed(&first).await;
        match wires[0].answer().await {
            Ok(Some(ingest_frame::Frame::Ack(_))) => assert_eq!(held, 0, "an empty bucket fills by itself"),
            Ok(Some(ingest_frame::Frame::RetryLater(later))) => {
                assert_eq!((later.lane, later.sequence), (plants[0].lane.to_vec(), 1));
                held += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(held > 90, "{held}");
    // Its next record is taken all the same, and so is that of the firm's other gateway.
    for (wire, plant) in wires.iter_mut().zip(&mut plants) {
        now_us.fetch_add(4 * SECOND, Ordering::SeqCst);
        let next = plant.seal(&[pressure(SECOND, 2.0)]);
        wire.sealed(&next).await;
        assert_eq!(wire.ack_through(next.sequence).await.dead_lettered, 0);
    }
}
