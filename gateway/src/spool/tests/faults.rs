//! What a bad disk, a kill and a later version do to a spool.

use super::*;

/// The open segment can no longer be written to, nor shortened.
fn break_disk(writer: &mut Writer) {
    writer.replace_file(|path| std::fs::File::open(path).unwrap());
}

fn gaps_of(items: &[Item]) -> Vec<(u64, u64, GapCause)> {
    let gap = |item: &Item| match item {
        Item::Gap(gap) => Some((gap.first_sequence, gap.last_sequence, gap.cause())),
        Item::Batch(_) => None,
    };
    items.iter().filter_map(gap).collect()
}

#[test]
fn a_failed_write_at_the_cap_loses_no_lane_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let old_lane = left_behind(dir.path(), 60, bulky);
    let (mut writer, spool, _) = open(dir.path());
    for batch in 0..400 {
        if batch % 7 == 0 {
            break_disk(&mut writer);
        }
        writer.append(&bulky(10_000 + batch * 100));
        let _ = writer.sync();
    }
    writer.sync().unwrap();
    let old = drain(&mut spool.reader(old_lane, 0));
    assert_eq!(gaps_of(&old), [(1, 60, GapCause::SpoolFull)]);
    let new = drain(&mut spool.reader(writer.lane(), 0));
    assert_whole(&new, 1);
    assert_eq!(new.last().unwrap().last_sequence(), 401);
    let causes: Vec<_> = gaps_of(&new).iter().map(|(_, _, cause)| *cause).collect();
    assert_eq!(causes, [GapCause::Restart, GapCause::SpoolFull]);
    assert!(spool.depth().bytes <= CAP);
}

#[test]
fn what_a_second_try_synced_is_not_hidden_by_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let lane = {
        let (mut writer, _spool, _) = open(dir.path());
        writer.append(&outgoing(10, 1));
        writer.sync().unwrap();
        writer.append(&outgoing(20, 1));
        writer.append(&outgoing(30, 1));
        // The disk takes both, the first of them torn, and says no.
        let path = segments(dir.path())[0].clone();
        let mut torn = writer.unsynced().to_vec();
        torn[20] ^= 0xff;
        let end = std::fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &torn, end).unwrap();
        break_disk(&mut writer);
        writer.sync().unwrap_err();
        writer.sync().unwrap();
        writer.lane()
    };
    let (_writer, spool, _) = open(dir.path());
    let items = drain(&mut spool.reader(lane, 0));
    assert_whole(&items, 1);
    assert_eq!((items.len(), gaps_of(&items)), (3, vec![]));
}

#[test]
fn starts_that_record_nothing_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for start in 0..40 {
        let (mut writer, _spool, _) = open(dir.path());
        if start % 4 == 0 {
            writer.append(&outgoing(start * 10, 3));
            writer.sync().unwrap();
        }
    }
    let (_writer, spool, _) = open(dir.path());
    assert_eq!(segments(dir.path()).len(), 11, "ten with a record and the new one");
    assert!(spool.depth().bytes < 11 * 1024);
    let on_disk: u64 = segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(on_disk < (1 << 20) + 11 * 1024, "{on_disk} bytes of room behind old records are kept");
    assert!(spool.lanes().iter().all(|lane| {
        let lane = lane_of(lane);
        gaps_of(&drain(&mut spool.reader(lane, 0))).iter().all(|(_, _, cause)| *cause == GapCause::Restart)
    }));
}

#[test]
fn a_segment_whose_file_is_gone_is_a_hole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool, _) = open(dir.path());
    fill(&mut writer, 30, bulky);
    std::fs::remove_file(&segments(dir.path())[1]).unwrap();
    let items = drain(&mut spool.reader(writer.lane(), 0));
    assert_whole(&items, 1);
    assert_eq!(gaps_of(&items).len(), 1);
    spool.acked(writer.lane(), 30);
    assert_eq!(spool.depth().records, 0);
}

#[test]
fn what_was_acknowledged_and_removed_is_a_replay_window() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool, _) = open(dir.path());
    fill(&mut writer, 60, bulky);
    spool.acked(writer.lane(), 60);
    let items = drain(&mut spool.reader(writer.lane(), 4));
    assert_whole(&items, 5);
    assert_eq!(gaps_of(&items).iter().map(|gap| gap.2).collect::<Vec<_>>(), [GapCause::ReplayWindow]);
    assert!(items.len() > 1, "what is kept is there");
}

#[test]
fn a_lane_that_was_told_pins_nothing_and_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let old_lane = left_behind(dir.path(), 30, bulky);
    let (mut writer, spool, _) = open(dir.path());
    for batch in 0..600 {
        writer.append(&bulky(10_000 + batch * 100));
        writer.sync().unwrap();
        if batch > 250 {
            spool.acked(old_lane, 30);
            spool.acked(writer.lane(), u64::MAX);
            assert_eq!(spool.depth().records, 0, "batch {batch}");
            assert!(segments(dir.path()).len() <= 5, "{} segments", segments(dir.path()).len());
        }
    }
}

#[test]
fn a_record_of_zeros_hides_none_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let lane = left_behind(dir.path(), 5, tens);
    let path = &segments(dir.path())[0];
    let mut bytes = std::fs::read(path).unwrap();
    let starts: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, window)| window == b"SNDR").map(|(at, _)| at).collect();
    bytes[starts[4]..starts[5]].fill(0);
    std::fs::write(path, bytes).unwrap();
    let (_writer, spool, recovery) = open(dir.path());
    assert_eq!(recovery.damaged_records, 1);
    let items = drain(&mut spool.reader(lane, 0));
    assert_whole(&items, 1);
    assert_eq!(gaps_of(&items), [(3, 3, GapCause::Damaged)]);
}

#[test]
fn a_damaged_header_costs_nothing_and_an_empty_file_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let lane = left_behind(dir.path(), 5, tens);
    let path = segments(dir.path())[0].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    // A process that was killed between taking the room and writing the header.
    std::fs::write(dir.path().join("00000000000000aa.seg"), vec![0; 4096]).unwrap();
    let (_writer, spool, recovery) = open(dir.path());
    assert_eq!((recovery.damaged_segments, recovery.damaged_records), (0, 1));
    let items = drain(&mut spool.reader(lane, 0));
    assert_whole(&items, 1);
    assert_eq!((items.len(), gaps_of(&items)), (5, vec![]));
    assert!(!dir.path().join("00000000000000aa.seg").exists());
}

#[test]
fn a_state_of_a_later_version_is_refused_and_a_damaged_one_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_writer, spool, _) = open(dir.path());
        spool.save_session(7, &[7; 16]).unwrap();
    }
    let path = dir.path().join("state.json");
    let known = std::fs::read_to_string(&path).unwrap();
    // As a build without checksums wrote it, and one of later.
    let json = known.lines().next().unwrap();
    std::fs::write(&path, json).unwrap();
    assert_eq!(open(dir.path()).1.state().epoch, 7);
    std::fs::write(&path, json.replace("\"version\":1", "\"version\":2,\"more\":true")).unwrap();
    let options = options(dir.path(), CAP);
    let error = Spool::open(&options, &births(), Some(&clock()), boot()).unwrap_err();
    assert!(matches!(error, SpoolError::Newer { found: 2, .. }), "{error}");
    for damaged in [known[..20].to_owned(), known.replace("\"epoch\":7", "\"epoch\":3")] {
        std::fs::write(&path, damaged).unwrap();
        let (_writer, spool, _) = open(dir.path());
        assert_eq!(spool.state().epoch, 0);
        std::fs::remove_file(dir.path().join("state.json.damaged")).unwrap();
    }
}

#[test]
fn births_that_fill_a_small_segment_do_not_fill_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let series = (0..15_000u32).map(|index| v1::Series {
        metric: format!("x_{index}_{}", "m".repeat(60)),
        value_type: 2,
        ..v1::Series::default()
    });
    let large = Births::new(&v1::BirthSet {
        assets: vec![v1::Asset { id: "press-1".into(), ..v1::Asset::default() }],
        devices: vec![v1::Device::default()],
        series: series.collect(),
    })
    .unwrap();
    assert!(large.content().len() > 1 << 20);
    let options = options(dir.path(), CAP);
    let (mut writer, spool, _) = Spool::open(&options, &large, Some(&clock()), boot()).unwrap();
    for batch in 0..30 {
        writer.append(&outgoing(batch * 10, 10));
        writer.sync().unwrap();
    }
    let items = drain(&mut spool.reader(writer.lane(), 0));
    assert_eq!((items.len(), gaps_of(&items)), (30, vec![]));
}
