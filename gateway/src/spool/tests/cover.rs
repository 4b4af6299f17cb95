//! Gaps in place of gaps: a loss that was declared once stays declared, with its own time.

use super::*;

fn gaps(items: &[Item]) -> Vec<Gap> {
    let gap = |item: &Item| if let Item::Gap(gap) = item { Gap::from_wire(gap).ok() } else { None };
    items.iter().filter_map(gap).collect()
}

fn times(gap: &Gap) -> (Option<i64>, Option<i64>) {
    (gap.from.map(|at| at.monotonic_us), gap.to.map(|at| at.monotonic_us))
}

/// A lane behind another: restart gap, batches, a loss because the disk failed, batches.
fn lane_with_gaps(dir: &Path) -> (Writer, Spool) {
    left_behind(dir, 1, tens);
    let (mut writer, spool, _) = open(dir);
    writer.append(&outgoing(100, 10));
    writer.sync().unwrap();
    let mut value = 200;
    let mut lost = 0;
    while lost == 0 {
        lost += writer.append(&bulky(value));
        value += 100;
    }
    writer.sync().unwrap();
    for _ in 0..5 {
        writer.append(&bulky(value));
        writer.sync().unwrap();
        value += 100;
    }
    (writer, spool)
}

#[test]
fn gaps_of_a_dropped_segment_keep_their_cause_and_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool) = lane_with_gaps(dir.path());
    let told = gaps(&drain(&mut spool.reader(writer.lane(), 0)));
    assert_eq!(told.iter().map(|gap| gap.cause).collect::<Vec<_>>(), [GapCause::Restart, GapCause::DiskFull]);
    let check = |spool: &Spool, lane| {
        let items = drain(&mut spool.reader(lane, 0));
        assert_whole(&items, 1);
        let left = gaps(&items);
        let causes: Vec<_> = left.iter().map(|gap| gap.cause).collect();
        let expected = [GapCause::Restart, GapCause::SpoolFull, GapCause::DiskFull, GapCause::SpoolFull];
        assert_eq!(causes, expected);
        assert_eq!([&left[0], &left[2]], [&told[0], &told[1]], "as they were written");
        assert_eq!((left[0].readings(), times(&left[0])), (0, (Some(9), Some(100))));
        assert_eq!(times(&left[1]).0, Some(100));
    };
    for value in 100..400 {
        writer.append(&bulky(value * 1000));
        writer.sync().unwrap();
    }
    check(&spool, writer.lane());
    let lane = writer.lane();
    drop((writer, spool));
    let (writer, spool, _) = open(dir.path());
    check(&spool, lane);
    drop(writer);
}

#[test]
fn a_damaged_gap_is_covered_by_its_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, spool) = lane_with_gaps(dir.path());
    let lane = writer.lane();
    let whole = drain(&mut spool.reader(lane, 0));
    drop((writer, spool));
    for told in gaps(&whole) {
        let body = told.to_wire().encode_to_vec();
        let find = |bytes: &[u8]| bytes.windows(body.len()).position(|window| window == body);
        let (path, at) = segments(dir.path())
            .into_iter()
            .find_map(|path| std::fs::read(&path).ok().and_then(|bytes| find(&bytes)).map(|at| (path, at)))
            .unwrap();
        let clean = std::fs::read(&path).unwrap();
        let mut bytes = clean.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let seen = |spool: &Spool| {
            let items = drain(&mut spool.reader(lane, 0));
            assert_whole(&items, 1);
            let hole = gaps(&items).into_iter().find(|gap| gap.cause == GapCause::Damaged).unwrap();
            assert_eq!((hole.first_sequence, hole.last_sequence), (told.first_sequence, told.last_sequence));
            assert_eq!(hole.readings(), told.readings());
            assert!(times(&hole).0.unwrap() <= times(&told).0.unwrap(), "{hole:?} for {told:?}");
            assert!(times(&hole).1.unwrap() >= times(&told).1.unwrap(), "{hole:?} for {told:?}");
        };
        let (writer, spool, _) = open(dir.path());
        seen(&spool);
        drop((writer, spool));
        assert_eq!(repair(dir.path()).unwrap().len(), 1);
        let (writer, spool, _) = open(dir.path());
        seen(&spool);
        drop((writer, spool));
        std::fs::write(&path, clean).unwrap();
    }
}

#[test]
fn a_segment_of_gaps_does_not_fill_the_next() {
    let (disk, options) = (super::disk::Disk::new(1), options(Path::new("spool"), CAP));
    let (mut writer, spool, _) =
        Spool::open_on(Arc::new(disk), None, &options, &births(), Some(&clock()), boot()).unwrap();
    let mut value = 0;
    for _ in 0..100 {
        for _ in 0..2 {
            let moment = |at| sandan_proto::record::Moment { boot: boot(), monotonic_us: at };
            writer.append_gap(GapCause::DiskFull, Some(moment(value)), moment(value + 1), 2);
            writer.append(&outgoing(value + 2, 2));
            value += 4;
        }
        writer.sync().unwrap();
    }
    for _ in 0..400 {
        writer.append(&bulky(value));
        writer.sync().unwrap();
        value += 100;
    }
    let items = drain(&mut spool.reader(writer.lane(), 0));
    assert_whole(&items, 1);
    let left = gaps(&items);
    assert!(left.len() < 40, "{} gaps", left.len());
    let ends: Vec<_> = left.iter().map(times).collect();
    assert!(ends.windows(2).all(|pair| pair[0].1.unwrap() + 1 >= pair[1].0.unwrap()), "without a hole: {ends:?}");
}
