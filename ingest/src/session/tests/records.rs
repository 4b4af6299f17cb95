//! What becomes of records, and of what they need.

use super::*;

#[tokio::test]
async fn what_is_sent_again_is_acknowledged_and_stored_once() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    let records: Vec<_> = (0..3).map(|second| plant.seal(&[pressure(second * SECOND, second as f64)])).collect();
    for record in &records {
        wire.sealed(record).await;
    }
    wire.ack_through(3).await;
    wire.sealed(&records[0]).await;
    let ack = wire.ack().await;
    assert_eq!(ack.watermarks[0].durable_through, 3);
    assert_eq!((ack.stored, ack.duplicate), (3, 1));
    drop(wire);
    let mut wire = rig.connect(&mut plant).await;
    for record in &records {
        wire.sealed(record).await;
    }
    wire.sealed(&plant.seal(&[pressure(9 * SECOND, 9.0)])).await;
    let ack = wire.ack_through(4).await;
    assert_eq!((ack.stored, ack.duplicate), (1, 3));
    assert_eq!(values(&*rig.store, plant.key(0)).await, [0.0, 1.0, 2.0, 9.0]);
}

#[tokio::test]
async fn a_missing_record_is_asked_for() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    let records: Vec<_> = (0..3).map(|second| plant.seal(&[pressure(second * SECOND, second as f64)])).collect();
    wire.sealed(&records[1]).await;
    wire.sealed(&records[2]).await;
    assert_eq!(wire.expected().await, 1);
    for record in &records {
        wire.sealed(record).await;
    }
    wire.ack_through(3).await;
    assert_eq!(values(&*rig.store, plant.key(0)).await, [0.0, 1.0, 2.0]);
}

#[tokio::test]
async fn births_and_clock_are_asked_for_before_a_record_is_taken() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.hello(&plant).await;
    plant.epoch = wire.welcome().await.epoch;
    let record = plant.seal(&[pressure(0, 1.0)]);
    wire.sealed(&record).await;
    match wire.answer().await.unwrap() {
        Some(ingest_frame::Frame::NeedBirths(need)) => assert_eq!(need.hash, record.births.as_bytes()),
        other => panic!("{other:?}"),
    }
    assert_eq!(wire.expected().await, 1);
    wire.send(gateway_frame::Frame::Births(plant.births.to_wire())).await;
    wire.sealed(&record).await;
    match wire.answer().await.unwrap() {
        Some(ingest_frame::Frame::NeedClock(need)) => assert_eq!(need.boot_id, record.boot.to_vec()),
        other => panic!("{other:?}"),
    }
    assert_eq!(wire.expected().await, 1);
    wire.send(clock(&plant, BOOTED_US)).await;
    wire.sealed(&record).await;
    wire.ack_through(1).await;
    // The first offset of a boot stays, whatever is said later.
    wire.send(clock(&plant, BOOTED_US + 7 * SECOND)).await;
    wire.sealed(&plant.seal(&[pressure(SECOND, 2.0)])).await;
    wire.ack_through(2).await;
    rig.fleet.wait_for("stored hanbit/press-hall 1000000 1").await;
}

#[tokio::test]
async fn births_that_never_come_do_not_stop_a_lane() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    let mut orphan = plant.seal(&[pressure(0, 1.0)]);
    orphan.births = sandan_proto::id::BirthsHash::of(b"lost");
    for _ in 0..8 {
        wire.sealed(&orphan).await;
        assert!(matches!(wire.answer().await.unwrap(), Some(ingest_frame::Frame::NeedBirths(_))));
        assert_eq!(wire.expected().await, 1);
    }
    wire.sealed(&orphan).await;
    let ack = wire.ack_through(1).await;
    assert_eq!(ack.dead_letters[0].reason(), DeadLetterReason::UnknownSeries);
    assert_eq!(ack.dead_letters[0].detail, "its births did not come after 8 requests");
    assert_eq!(ack.dead_lettered, 1);
    wire.sealed(&plant.seal(&[pressure(SECOND, 2.0)])).await;
    wire.ack_through(2).await;
}

#[tokio::test]
async fn a_damaged_record_is_asked_for_twice_and_then_dead_lettered() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    let good = plant.seal(&[pressure(0, 1.0)]);
    let mut damaged = good.to_wire();
    damaged.crc32c ^= 1;
    wire.send(gateway_frame::Frame::Sealed(damaged)).await;
    assert_eq!(wire.expected().await, 1);
    wire.sealed(&good).await;
    wire.ack_through(1).await;
    let mut damaged = plant.seal(&[pressure(SECOND, 2.0)]).to_wire();
    damaged.crc32c ^= 1;
    for _ in 0..2 {
        wire.send(gateway_frame::Frame::Sealed(damaged.clone())).await;
        assert_eq!(wire.expected().await, 2);
    }
    wire.send(gateway_frame::Frame::Sealed(damaged)).await;
    let ack = wire.ack_through(2).await;
    assert_eq!(ack.dead_letters[0].reason(), DeadLetterReason::BadChecksum);
    assert_eq!((ack.stored, ack.dead_lettered), (1, 1));
}

#[tokio::test]
async fn dead_letters_are_told_with_index_and_reason_and_the_rest_is_stored() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    let wrong = (1, 0, Value::F64(1.0), Quality::GOOD);
    wire.sealed(&plant.seal(&[pressure(0, 1.0), wrong, (7, 0, Value::F64(1.0), Quality::GOOD)])).await;
    let mut undecodable = plant.seal(&[pressure(SECOND, 2.0)]);
    undecodable.payload = bytes::Bytes::from_static(&[0xff]);
    wire.sealed(&undecodable).await;
    wire.sealed(&plant.seal(&[pressure(7_200 * SECOND, 3.0)])).await;
    wire.sealed(&plant.seal(&[pressure(-86_400 * SECOND, 3.0)])).await;
    wire.sealed(&plant.seal(&[pressure(3 * SECOND, 4.0)])).await;
    let ack = wire.ack_through(5).await;
    let letters: Vec<_> = ack
        .dead_letters
        .iter()
        .map(|letter| (letter.sequence, letter.series, letter.reason(), letter.readings))
        .collect();
    assert_eq!(
        letters,
        [
            (1, Some(1), DeadLetterReason::WrongType, 1),
            (1, Some(7), DeadLetterReason::UnknownSeries, 1),
            (2, None, DeadLetterReason::Undecodable, 1),
            (3, Some(0), DeadLetterReason::TimeAhead, 1),
            (4, Some(0), DeadLetterReason::TimeTooOld, 1),
        ]
    );
    assert_eq!((ack.stored, ack.dead_lettered), (2, 5));
    assert_eq!(values(&*rig.store, plant.key(0)).await, [1.0, 4.0]);
    let counts = rig.store.dead_letters(&plant.gateway).await.unwrap();
    assert_eq!(counts.iter().map(|count| count.letters).sum::<u64>(), 5);
}

#[tokio::test]
async fn a_gap_moves_the_watermark_and_is_clipped_to_what_is_missing() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    wire.sealed(&plant.seal(&[pressure(0, 1.0)])).await;
    wire.ack_through(1).await;
    let moment = |monotonic_us| Some(Moment { boot: plant.boot, monotonic_us });
    let gap = Gap {
        lane: plant.lane,
        first_sequence: 1,
        last_sequence: 4,
        cause: GapCause::SpoolFull,
        from: moment(0),
        to: moment(9 * SECOND),
        cumulative_before: 0,
        cumulative_after: 10,
    };
    wire.send(gateway_frame::Frame::Gap(gap.to_wire())).await;
    wire.ack_through(4).await;
    wire.send(gateway_frame::Frame::Gap(gap.to_wire())).await;
    assert_eq!(wire.ack().await.watermarks[0].durable_through, 4);
    let gaps = rig.store.gaps(&plant.firm(), 10).await.unwrap();
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].readings, gaps[0].cause), (9, GapCause::SpoolFull));
    assert_eq!((gaps[0].from_us, gaps[0].to_us), (Some(BOOTED_US), Some(BOOTED_US + 9 * SECOND)));
    (plant.sequence, plant.cumulative) = (4, 10);
    wire.sealed(&plant.seal(&[pressure(10 * SECOND, 2.0)])).await;
    wire.ack_through(5).await;
}

#[tokio::test]
async fn births_that_break_the_rules_cost_only_the_records_under_them() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    let set = v1::BirthSet {
        series: vec![v1::Series { metric: "pressure".into(), value_type: 1, ..Default::default() }],
        ..Default::default()
    };
    let content: bytes::Bytes = prost::Message::encode_to_vec(&set).into();
    let hash = sandan_proto::id::BirthsHash::of(&content);
    wire.send(gateway_frame::Frame::Births(v1::Births { hash: hash.as_bytes().to_vec(), content })).await;
    let mut record = plant.seal(&[pressure(0, 1.0)]);
    record.births = hash;
    wire.sealed(&record).await;
    let ack = wire.ack_through(1).await;
    assert_eq!(ack.dead_letters[0].detail, "its births were refused: series 0 points at asset 0, which is not there");
    wire.sealed(&plant.seal(&[pressure(SECOND, 2.0)])).await;
    assert_eq!(wire.ack_through(2).await.stored, 1);
}

#[tokio::test]
async fn a_lane_that_the_hello_did_not_name_is_taken() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    wire.sealed(&plant.seal(&[pressure(0, 1.0)])).await;
    wire.ack_through(1).await;
    (plant.lane, plant.sequence, plant.cumulative) = (sandan_proto::id::LaneId::random(), 0, 0);
    plant.births = births("press-1", "kPa");
    wire.send(gateway_frame::Frame::Births(plant.births.to_wire())).await;
    wire.sealed(&plant.seal(&[pressure(SECOND, 2.0)])).await;
    wire.ack_through(1).await;
    assert_eq!(rig.store.lanes(&plant.gateway).await.unwrap().len(), 2);
}

#[tokio::test]
async fn births_that_a_session_knows_are_not_registered_again() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    wire.sealed(&plant.seal(&[pressure(0, 1.0)])).await;
    wire.ack_through(1).await;
    let inbox = rusqlite::Connection::open(rig.dir.path().join("inbox.db")).unwrap();
    inbox.execute("UPDATE asset SET name_en = 'as it was'", []).unwrap();
    wire.send(gateway_frame::Frame::Births(plant.births.to_wire())).await;
    wire.sealed(&plant.seal(&[pressure(SECOND, 2.0)])).await;
    wire.ack_through(2).await;
    assert_eq!(rig.store.series(&plant.firm()).await.unwrap()[0].name_en, "as it was");
}

#[tokio::test]
async fn births_beyond_the_quota_cost_only_the_records_under_them() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    wire.sealed(&plant.seal(&[pressure(0, 1.0)])).await;
    wire.ack_through(1).await;
    let inbox = rusqlite::Connection::open(rig.dir.path().join("inbox.db")).unwrap();
    inbox
        .execute(
            "INSERT INTO births (gateway, hash, received_us, placed, content)
             WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 999)
             SELECT 1, CAST(i AS BLOB), 0, x'', x'' FROM n",
            [],
        )
        .unwrap();
    let known = std::mem::replace(&mut plant.births, births("press-2", "MPa"));
    wire.send(gateway_frame::Frame::Births(plant.births.to_wire())).await;
    wire.sealed(&plant.seal(&[pressure(SECOND, 2.0)])).await;
    let letters = wire.ack_through(2).await.dead_letters;
    assert_eq!(letters[0].reason(), DeadLetterReason::OverQuota);
    let detail = "its births were refused: the gateway has registered 1000 sets of births, as many as it may";
    assert_eq!(letters[0].detail, detail);
    plant.births = known;
    wire.sealed(&plant.seal(&[pressure(2 * SECOND, 3.0)])).await;
    assert_eq!(wire.ack_through(3).await.stored, 2);
}

#[tokio::test]
async fn lanes_that_are_drained_make_room_for_further_ones() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut wire = rig.connect(&mut plant).await;
    let mut last = plant.seal(&[pressure(0, 0.0)]);
    for second in 0..=2 * sandan_proto::limits::MAX_LANES as i64 {
        (plant.lane, plant.sequence, plant.cumulative) = (sandan_proto::id::LaneId::random(), 0, 0);
        last = plant.seal(&[pressure(second * SECOND, 1.0)]);
        wire.sealed(&last).await;
        wire.ack_through(1).await;
    }
    // One that was let go of is asked of the store again.
    wire.sealed(&last).await;
    assert_eq!(wire.ack_through(1).await.duplicate, 1);
}

/// What a gateway sends beyond its credits waits on the wire until something is synced.
#[tokio::test]
async fn beyond_its_credits_a_gateway_is_not_read() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut client = UplinkClient::connect(format!("http://{}", rig.address)).await.unwrap();
    let mut wire = rig.dial_over(&mut client, "hanbit/press-hall").await.unwrap();
    wire.send(gateway_frame::Frame::Hello(hello(&plant))).await;
    plant.epoch = wire.welcome().await.epoch;
    wire.send(gateway_frame::Frame::Births(plant.births.to_wire())).await;
    wire.send(clock(&plant, BOOTED_US)).await;
    wire.sealed(&plant.seal(&[pressure(0, 0.0)])).await;
    wire.ack_through(1).await;

    // From here on no commit comes to its end.
    let inbox = rusqlite::Connection::open(rig.dir.path().join("inbox.db")).unwrap();
    inbox.execute_batch("BEGIN IMMEDIATE").unwrap();
    let credits = i64::from(stream::credits().records);
    for second in 1..=credits {
        wire.sealed(&plant.seal(&[pressure(second * SECOND, 1.0)])).await;
    }
    let health = v1::Health { links: vec![v1::LinkHealth::default()], ..Default::default() };
    wire.send(gateway_frame::Frame::Health(health)).await;
    // Another stream of the same connection is answered, so that all of this has arrived.
    for _ in 0..3 {
        let other = rig.dial_over(&mut client, "hanbit/press-hall").await.unwrap();
        other.send(clock(&plant, 0)).await;
        assert_eq!(other.refused().await.message(), "protocol: the first frame is not a Hello");
    }
    assert!(!rig.fleet.events().iter().any(|event| event.starts_with("health")), "{:?}", rig.fleet.events());
    inbox.execute_batch("ROLLBACK").unwrap();
    wire.ack_through(1 + credits.cast_unsigned()).await;
    rig.fleet.wait_for("health hanbit/press-hall 1").await;
}
