//! What flipped bits cost, wherever they are.

use super::*;

/// Ten segments of whole records; where each begins, and where it ends.
fn ten_segments(dir: &Path) -> LaneId {
    let (mut writer, _spool, _) = open(dir);
    let mut value = 0;
    while segments(dir).len() < 10 {
        writer.append(&bulky(value));
        value += 100;
        writer.sync().unwrap();
    }
    writer.lane()
}

fn record_starts(bytes: &[u8]) -> Vec<usize> {
    bytes.windows(4).enumerate().filter(|(_, window)| window == b"SNDR").map(|(at, _)| at).collect()
}

#[test]
fn ten_segments_with_a_bit_flipped_in_three_lose_three_records() {
    let dir = tempfile::tempdir().unwrap();
    let lane = ten_segments(dir.path());
    let before = drain(&mut open(dir.path()).1.reader(lane, 0));
    let paths = segments(dir.path());
    for (segment, record, bit) in [(1, 3, 0), (4, 5, 3), (8, 7, 7)] {
        let mut bytes = std::fs::read(&paths[segment]).unwrap();
        let at = record_starts(&bytes)[record] + 1000;
        bytes[at] ^= 1 << bit;
        std::fs::write(&paths[segment], bytes).unwrap();
    }
    let survey = survey(dir.path()).unwrap();
    let damaged: Vec<_> =
        survey.segments.iter().enumerate().filter(|(_, found)| !found.found.damage.is_empty()).collect();
    assert_eq!(damaged.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 4, 8]);
    assert!(damaged.iter().all(|(_, found)| found.found.damage.len() == 1 && found.found.damage[0].bytes > 100_000));

    let check = |recovery_damaged: u64| {
        let (_writer, spool, recovery) = open(dir.path());
        assert_eq!((recovery.damaged_records, recovery.damaged_segments), (recovery_damaged, 0));
        let items = drain(&mut spool.reader(lane, 0));
        assert_whole(&items, 1);
        let (mut gaps, mut same) = (Vec::new(), 0);
        for item in &items {
            match item {
                Item::Gap(gap) => gaps.push((gap.cause(), gap.cumulative_after - gap.cumulative_before)),
                Item::Batch(_) => same += usize::from(before.contains(item)),
            }
        }
        assert_eq!(gaps, [(GapCause::Damaged, 100); 3]);
        assert_eq!(same, before.len() - 3, "all others are as they were");
    };
    check(3);
    // A repair makes that lasting: clean segments that hold the gaps, the originals beside.
    let done = repair(dir.path()).unwrap();
    assert_eq!(done.iter().map(|done| (done.lost_records, done.lost_readings)).collect::<Vec<_>>(), [(1, 100); 3]);
    assert!(!super::super::survey(dir.path()).unwrap().is_damaged());
    check(0);
}

type Left = (LaneId, Vec<(std::ffi::OsString, Vec<u8>)>);

/// A spool that three processes left, made once: the lane of the second, and the files. The
/// third is there so that what was last is not what was being written.
fn left_by_three() -> &'static Left {
    static LEFT: std::sync::OnceLock<Left> = std::sync::OnceLock::new();
    LEFT.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        left_behind(dir.path(), 3, tens);
        let lane = left_behind(dir.path(), 8, tens);
        left_behind(dir.path(), 1, tens);
        let file = |path: PathBuf| (path.file_name().unwrap().to_owned(), std::fs::read(&path).unwrap());
        (lane, segments(dir.path()).into_iter().map(file).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(100)))]

    /// One bit anywhere: header, frame, births, clock, gap or batch. What is not in that
    /// record is as it was, and what is, is declared with its size.
    #[test]
    fn a_bit_anywhere_costs_at_most_the_record_that_it_is_in(position: prop::sample::Index, bit in 0u8..8) {
        let dir = tempfile::tempdir().unwrap();
        let (lane, files) = left_by_three();
        for (name, bytes) in files {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let path = segments(dir.path())[1].clone();
        let mut bytes = std::fs::read(&path).unwrap();
        let written = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let at = position.index(written);
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, &bytes).unwrap();
        let (_writer, spool, recovery) = open(dir.path());
        prop_assert!(recovery.damaged_records <= 1 && recovery.damaged_segments == 0);
        let items = drain(&mut spool.reader(*lane, 0));
        assert_whole(&items, 1);
        prop_assert_eq!(items.last().map(Item::last_sequence), Some(9));
        let batches = items.iter().filter(|item| matches!(item, Item::Batch(_))).count();
        let lost: u64 = items.iter().filter_map(|item| match item {
            Item::Gap(gap) if gap.cause() == GapCause::Damaged => Some(gap.cumulative_after - gap.cumulative_before),
            _ => None,
        }).sum();
        prop_assert_eq!(batches as u64 * 10 + lost, 80);
        prop_assert!(batches >= 7);
        let lanes = spool.lanes().len();
        prop_assert_eq!(lanes, 4);
        let inspected = inspect_bytes(&bytes);
        prop_assert!(inspected.damage.len() + usize::from(inspected.unfinished.is_some()) == 1);
    }

    /// Any bytes are read without a panic, and without more memory than they take.
    #[test]
    fn any_bytes_can_be_inspected(
        mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        cut in 0usize..900,
        changes in prop::collection::vec((0usize..900, any::<u8>()), 0..6),
        is_segment: bool,
    ) {
        if is_segment {
            bytes.clone_from(&left_by_three().1[0].1);
            bytes.truncate(cut);
            for (at, byte) in changes {
                if let Some(there) = bytes.get_mut(at) { *there = byte; }
            }
        }
        let found = inspect_bytes(&bytes);
        prop_assert!(found.records <= bytes.len() as u64 / 16 && found.damage.len() <= bytes.len() / 16 + 1);
    }
}
