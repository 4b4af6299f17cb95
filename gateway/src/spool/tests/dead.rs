//! Messages that could not be used: kept beside the readings, and never in their way.

use super::super::dead::SHARE;
use super::*;

const CAP: u64 = 16 << 20;

fn letter(payload: usize) -> DeadLetter {
    DeadLetter::new("mqtt 127.0.0.1:1883", "a/b", "is not JSON", &vec![b'x'; payload].into(), 7)
}

fn letters(dir: &Path) -> Vec<(Option<BootId>, DeadLetter)> {
    let mut found = Vec::new();
    export::<SpoolError>(dir, |record| {
        if let Exported::Dead(boot, letter) = record {
            found.push((boot, letter));
        }
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn a_dead_letter_is_kept_without_a_reading_and_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool, _) = open(dir.path());
    let lane = writer.lane();
    assert!(writer.append_dead(&letter(5)));
    writer.sync().unwrap();
    assert!(drain(&mut spool.reader(lane, 0)).is_empty(), "nothing of it is sent");
    drop((writer, spool));
    assert_eq!(letters(dir.path()), [(Some(boot()), letter(5))]);
    for _ in 0..2 {
        let (mut writer, spool, recovery) = open(dir.path());
        assert_eq!(recovery.damaged_records, 0);
        writer.append(&outgoing(1, 1));
        writer.sync().unwrap();
        spool.acked(writer.lane(), 1);
    }
    assert_eq!(letters(dir.path()).len(), 1, "it stays when what came after it is acknowledged");
    let survey = survey(dir.path()).unwrap();
    assert_eq!(survey.segments.iter().map(|segment| segment.found.dead_letters).sum::<u64>(), 1);
    assert!(!survey.is_damaged());
}

#[test]
fn dead_letters_take_a_share_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool, _) = open_capped(dir.path(), CAP);
    let long = letter(1 << 20);
    assert_eq!((long.payload.len(), long.payload_bytes), (DEAD_PAYLOAD_BYTES, 1 << 20));
    let mut kept = 0;
    while writer.append_dead(&long) {
        kept += 1;
        writer.sync().unwrap();
    }
    let bytes = spool.index().dead_bytes();
    assert!(bytes <= CAP / SHARE && bytes + (DEAD_PAYLOAD_BYTES as u64) + 200 > CAP / SHARE, "{bytes} bytes");
    writer.append(&outgoing(1, 3));
    writer.sync().unwrap();
    assert_eq!(drain(&mut spool.reader(writer.lane(), 0)).len(), 1, "readings have their room");
    drop((writer, spool));
    let (mut writer, spool, _) = open_capped(dir.path(), CAP);
    assert_eq!(spool.index().dead_bytes(), bytes, "it is known over a restart");
    assert!(!writer.append_dead(&long));
    drop((writer, spool));
    assert_eq!(letters(dir.path()).len(), kept);
}

#[test]
fn a_repair_carries_dead_letters_over() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool, _) = open(dir.path());
    assert!(writer.append_dead(&letter(5)));
    fill(&mut writer, 3, bulky);
    drop((writer, spool));
    let path = &segments(dir.path())[0];
    let mut bytes = std::fs::read(path).unwrap();
    let last = bytes.windows(4).rposition(|window| window == b"SNDR").unwrap();
    let second = bytes[..last].windows(4).rposition(|window| window == b"SNDR").unwrap();
    bytes[second + 40] ^= 1;
    std::fs::write(path, bytes).unwrap();
    assert_eq!(repair(dir.path()).unwrap().len(), 1);
    assert_eq!(letters(dir.path()), [(Some(boot()), letter(5))]);
}
