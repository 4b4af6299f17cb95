//! Messages that may come again after a kill.

use super::*;

const SESSION: [u8; 16] = [4; 16];

fn delivery(packet_id: u16, unsettled: u32) -> Delivery {
    Delivery { session: SESSION, packet_id, digest: [packet_id.to_le_bytes()[0]; 16], unsettled }
}

fn known(spool: &Spool, session: [u8; 16]) -> Vec<u16> {
    let mut known = spool.take_delivered(session);
    assert!(known.iter().all(|(packet_id, digest)| *digest == [packet_id.to_le_bytes()[0]; 16]));
    known.sort_unstable();
    known.into_iter().map(|(packet_id, _)| packet_id).collect()
}

/// Appends a batch of one reading that answers for messages.
fn deliver(writer: &mut Writer, value: i64, deliveries: &[Delivery]) {
    assert_eq!(writer.append_delivered(&outgoing(value, 1), deliveries), 0);
}

#[test]
fn what_was_synced_is_known_after_a_kill_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let lane = {
        let (mut writer, spool, _) = open(dir.path());
        deliver(&mut writer, 1, &[delivery(7, 1), delivery(8, 2)]);
        writer.sync().unwrap();
        deliver(&mut writer, 2, &[delivery(9, 3)]);
        assert!(known(&spool, SESSION).is_empty(), "only a start needs to know");
        writer.lane()
    };
    let (_writer, spool, recovery) = open(dir.path());
    assert_eq!(recovery.records, 1);
    assert_eq!(known(&spool, SESSION), [7, 8]);
    assert!(known(&spool, SESSION).is_empty(), "given once");
    assert!(known(&spool, [5; 16]).is_empty());
    let items = drain(&mut spool.reader(lane, 0));
    let [Item::Batch(sealed)] = &items[..] else { panic!("{items:?}") };
    assert_eq!(Sealed::from_wire(sealed.clone()).unwrap().payload, outgoing(1, 1).payload);
}

#[test]
fn what_cannot_come_again_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (mut writer, _spool, _) = open(dir.path());
        for packet_id in 1..=200 {
            // The broker has two messages out at most, and the same number twice.
            deliver(&mut writer, packet_id.into(), &[delivery(packet_id, 2)]);
        }
        deliver(&mut writer, 201, &[delivery(200, 2)]);
        deliver(&mut writer, 202, &[Delivery { session: [5; 16], ..delivery(3, 70_000) }]);
        writer.sync().unwrap();
    }
    let (_writer, spool, _) = open(dir.path());
    assert_eq!((known(&spool, SESSION), known(&spool, [5; 16])), (vec![199, 200], vec![3]));
}

#[test]
fn a_damaged_record_answers_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (mut writer, _spool, _) = open(dir.path());
        deliver(&mut writer, 1, &[delivery(7, 1)]);
        deliver(&mut writer, 2, &[delivery(8, 2)]);
        writer.sync().unwrap();
    }
    let path = &segments(dir.path())[0];
    let clean = std::fs::read(path).unwrap();
    let starts: Vec<usize> =
        clean.windows(4).enumerate().filter(|(_, window)| window == b"SNDR").map(|(at, _)| at).collect();
    // Anywhere in it: neither the batch without the message, nor the message without it.
    for at in (starts[2]..starts[3]).step_by(7) {
        let mut bytes = clean.clone();
        bytes[at] ^= 2;
        std::fs::write(path, bytes).unwrap();
        let (writer, spool, recovery) = open(dir.path());
        assert_eq!((recovery.damaged_records, known(&spool, SESSION)), (1, vec![8]), "byte {at}");
        drop((writer, spool));
        for path in &segments(dir.path())[1..] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
