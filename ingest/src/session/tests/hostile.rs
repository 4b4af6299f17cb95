//! Whatever a gateway sends: nothing is stored twice, watermarks only rise, and the service
//! goes on.

use proptest::prelude::*;
use sandan_proto::batch::BatchBuilder;
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::record::Sealed;

use super::*;

#[derive(Debug, Clone)]
enum Act {
    /// Lane, sequence, what is wrong with it.
    Sealed(usize, u64, u8),
    Gap(usize, u64, u64, bool),
    Clock(i64, bool),
    Births(u8),
    Health,
    /// Breaks the protocol: the session ends, and another begins.
    Break,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (0usize..3, 1u64..7, 0u8..12).prop_map(|(lane, sequence, wrong)| Act::Sealed(lane, sequence, wrong)),
        3 => (0usize..3, 1u64..7, 0u64..4, any::<bool>()).prop_map(|(lane, first, more, odd)| Act::Gap(lane, first, first + more, odd)),
        1 => (any::<i64>(), any::<bool>()).prop_map(|(offset, own)| Act::Clock(offset, own)),
        1 => (0u8..3).prop_map(Act::Births),
        1 => Just(Act::Health),
        1 => Just(Act::Break),
    ]
}

/// A payload in more bytes than it says, or fewer.
fn lying(plain: &bytes::Bytes, size: u32) -> bytes::Bytes {
    let mut batch: v1::Batch = prost::Message::decode(plain.clone()).unwrap();
    match &mut batch.packed {
        Some(packed) => packed.size = size,
        None => batch.packed = Some(v1::Packed { compression: 1, size, data: b"none".to_vec() }),
    }
    prost::Message::encode_to_vec(&batch).into()
}

fn wire(plant: &Plant, lane: LaneId, sequence: u64, wrong: u8) -> v1::Sealed {
    let mut builder = BatchBuilder::default();
    let at = i64::try_from(sequence).unwrap() * SECOND;
    builder.push(0, at, Value::F64(1.0), Quality::GOOD).unwrap();
    match wrong {
        1 => builder.push(99, at, Value::F64(1.0), Quality::GOOD).unwrap(),
        2 => builder.push(1, at, Value::F64(1.0), Quality::GOOD).unwrap(),
        3 => builder.push(3, at, Value::Text("a\0b".into()), Quality::GOOD).unwrap_or_default(),
        _ => {}
    }
    let payload = sandan_proto::batch::encode(&builder.take());
    let mut sealed = Sealed {
        lane,
        sequence,
        births: plant.births.hash(),
        boot: plant.boot,
        cumulative_readings: sequence,
        first_us: at,
        last_us: at,
        payload,
    };
    match wrong {
        4 => sealed.payload = bytes::Bytes::from_static(&[0xff, 0xff]),
        5 => sealed.payload = lying(&sealed.payload, 1),
        6 => sealed.payload = lying(&sealed.payload, u32::MAX),
        7 => sealed.boot = BootId::random(),
        8 => sealed.births = sandan_proto::id::BirthsHash::of(b"never"),
        9 => sealed.cumulative_readings = u64::MAX,
        10 => (sealed.first_us, sealed.last_us) = (at + 1, at),
        _ => {}
    }
    let mut wire = sealed.to_wire();
    if wrong == 11 {
        wire.crc32c ^= 1;
    }
    wire
}

async fn run(acts: Vec<Act>) {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let lanes: Vec<LaneId> = (0..3).map(|_| LaneId::random()).collect();
    let mut session = rig.connect(&mut plant).await;
    let mut through = BTreeMap::<Vec<u8>, u64>::new();
    for act in acts.into_iter().chain([Act::Break]) {
        let frame = match act {
            // Asked for often enough, as a gateway does that has nothing else.
            Act::Sealed(lane, sequence, wrong) => {
                gateway_frame::Frame::Sealed(wire(&plant, lanes[lane], sequence, wrong))
            }
            Act::Gap(lane, first, last, odd) => gateway_frame::Frame::Gap(v1::Gap {
                lane: lanes[lane].to_vec(),
                first_sequence: first,
                last_sequence: last,
                cause: if odd { 77 } else { 2 },
                cumulative_before: first,
                cumulative_after: if odd { 0 } else { last },
                ..Default::default()
            }),
            Act::Clock(offset, own) => gateway_frame::Frame::Clock(v1::ClockOffset {
                boot_id: if own { plant.boot } else { BootId::random() }.to_vec(),
                offset_us: offset,
                source: 3,
            }),
            Act::Births(fill) => {
                gateway_frame::Frame::Births(v1::Births { hash: vec![fill; 32], content: vec![fill; 9].into() })
            }
            Act::Health => gateway_frame::Frame::Health(v1::Health::default()),
            Act::Break => gateway_frame::Frame::Sealed(v1::Sealed { lane: lanes[0].to_vec(), ..Default::default() }),
        };
        let breaks = matches!(&frame, gateway_frame::Frame::Sealed(sealed) if sealed.sequence == 0);
        session.send(frame).await;
        if !breaks {
            continue;
        }
        loop {
            match session.answer().await {
                Ok(Some(ingest_frame::Frame::Ack(ack))) => {
                    for mark in ack.watermarks {
                        let before = through.insert(mark.lane, mark.durable_through).unwrap_or(0);
                        assert!(before <= mark.durable_through, "a watermark went back");
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(status) => {
                    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
                    break;
                }
            }
        }
        session = rig.connect(&mut plant).await;
    }
    drop(session);
    let inbox = rusqlite::Connection::open(rig.dir.path().join("inbox.db")).unwrap();
    let doubled: i64 = inbox
        .query_row("SELECT count(*) - count(DISTINCT hex(lane) || sequence) FROM record", [], |row| row.get(0))
        .unwrap();
    assert_eq!(doubled, 0, "stored twice");
    for lane in rig.store.lanes(&plant.gateway).await.unwrap() {
        let told = through.get(&lane.lane.to_vec()).copied().unwrap_or(0);
        assert!(told <= lane.through, "acknowledged and not durable");
    }
    // An honest neighbour is served as ever.
    let mut neighbour = Plant::new("daeil/line-1", "furnace-1");
    let mut other = rig.connect(&mut neighbour).await;
    other.sealed(&neighbour.seal(&[pressure(0, 1.0)])).await;
    assert_eq!(other.ack_through(1).await.stored, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn no_sequence_of_frames_doubles_a_record_or_moves_a_watermark_back(acts in prop::collection::vec(act(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(acts));
    }
}

#[tokio::test]
async fn each_thing_that_cannot_be_stored_is_put_aside_and_its_lane_goes_on() {
    let rig = Rig::start().await;
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    let mut session = rig.connect(&mut plant).await;
    let reasons = [
        (1, DeadLetterReason::UnknownSeries),
        (2, DeadLetterReason::WrongType),
        (4, DeadLetterReason::Undecodable),
        (5, DeadLetterReason::Undecodable),
        (10, DeadLetterReason::Undecodable),
        (11, DeadLetterReason::BadChecksum),
        (8, DeadLetterReason::UnknownSeries),
        (7, DeadLetterReason::ClockUnknown),
    ];
    for ((wrong, reason), sequence) in reasons.into_iter().zip(1u64..) {
        let frame = wire(&plant, plant.lane, sequence, wrong);
        // What is asked for comes again as it is, until the asking ends.
        let letters = loop {
            session.send(gateway_frame::Frame::Sealed(frame.clone())).await;
            let mut answer = session.answer().await.unwrap().unwrap();
            while let ingest_frame::Frame::NeedBirths(_) | ingest_frame::Frame::NeedClock(_) = answer {
                answer = session.answer().await.unwrap().unwrap();
            }
            match answer {
                ingest_frame::Frame::Ack(ack) => break ack.dead_letters,
                ingest_frame::Frame::Expected(expected) => assert_eq!(expected.sequence, sequence),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(letters.iter().map(v1::DeadLetter::reason).collect::<Vec<_>>(), [reason], "{wrong}");
    }
    plant.sequence = reasons.len() as u64;
    session.sealed(&plant.seal(&[pressure(20 * SECOND, 2.0)])).await;
    session.ack_through(plant.sequence).await;
    assert_eq!(values(&*rig.store, plant.key(0)).await, [1.0, 1.0, 2.0]);
}
