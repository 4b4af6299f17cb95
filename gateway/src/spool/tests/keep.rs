//! What is kept and remembered for a store that is restored, and what goes when it is full.

use super::*;

const NEW: [u8; 16] = [2; 16];

fn all(spool: &Spool) -> Vec<(LaneId, Vec<Item>)> {
    let lanes = spool.lanes();
    lanes.iter().map(|state| (lane_of(state), drain(&mut spool.reader(lane_of(state), 0)))).collect()
}

fn gaps(items: &[Item]) -> Vec<Gap> {
    let gap = |item: &Item| if let Item::Gap(gap) = item { Gap::from_wire(gap).ok() } else { None };
    items.iter().filter_map(gap).collect()
}

fn first_session(spool: &Spool) {
    assert!(!spool.rewind(&[1; 16], 3).unwrap(), "the first timeline is only remembered");
    assert_eq!((spool.state().epoch, spool.state().timeline_bytes()), (3, vec![1; 16]));
}

#[test]
fn a_restored_store_gets_what_is_kept_and_a_gap_for_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    // A lane that is wholly gone, one of which the end is kept, and the current one.
    let gone = {
        let (mut writer, spool, _) = open(dir.path());
        first_session(&spool);
        fill(&mut writer, 15, bulky);
        spool.acked(writer.lane(), 15);
        spool.save_state().unwrap();
        writer.lane()
    };
    let (mut writer, spool, _) = open(dir.path());
    fill(&mut writer, 60, bulky);
    spool.acked(writer.lane(), 61);
    assert_eq!((spool.depth().records, spool.lanes().len()), (0, 1), "what is kept does not show");
    let kept = writer.lane();
    assert!(spool.rewind(&NEW, 4).unwrap());
    let check = |spool: &Spool| {
        assert_eq!((spool.state().epoch, spool.state().timeline_bytes()), (4, NEW.to_vec()));
        let all = all(spool);
        assert_eq!(all[..2].iter().map(|(lane, _)| *lane).collect::<Vec<_>>(), [gone, kept]);
        let [Item::Gap(whole)] = &all[0].1[..] else { panic!("{} items", all[0].1.len()) };
        let whole = Gap::from_wire(whole).unwrap();
        assert_eq!((whole.first_sequence, whole.last_sequence, whole.readings()), (1, 15, 1500));
        assert_eq!(whole.cause, GapCause::ReplayWindow);
        assert_eq!((whole.from.unwrap().monotonic_us, whole.to.unwrap().monotonic_us), (0, 1499));
        assert_whole(&all[1].1, 1);
        let window = &gaps(&all[1].1)[0];
        assert_eq!((window.cause, window.first_sequence), (GapCause::ReplayWindow, 1));
        assert!(all[1].1.len() > 20, "a fifth of the cap is kept");
        assert_eq!(spool.depth().records, 15 + 61);
    };
    check(&spool);
    assert!(!spool.rewind(&NEW, 4).unwrap(), "once");
    drop((writer, spool));
    let (writer, spool, _) = open(dir.path());
    check(&spool);
    spool.acked(gone, 15);
    spool.acked(kept, 61);
    assert_eq!(spool.lanes().len(), 1);
    drop((writer, spool));
    let (_writer, spool, _) = open(dir.path());
    assert_eq!((spool.lanes().len(), spool.depth().records), (1, 0));
}

#[test]
fn what_is_kept_goes_after_three_days_and_before_what_is_not_told() {
    let disk = super::disk::Disk::new(1);
    let options = options(Path::new("spool"), CAP);
    let open = || Spool::open_on(Arc::new(disk.clone()), None, &options, &births(), Some(&clock()), boot()).unwrap();
    let (mut writer, spool, _) = open();
    fill(&mut writer, 25, bulky);
    spool.acked(writer.lane(), 25);
    let kept = drain(&mut spool.reader(writer.lane(), 0)).len();
    assert_eq!(kept, 25);
    disk.pass(Duration::from_hours(71));
    spool.acked(writer.lane(), 25);
    assert_eq!(drain(&mut spool.reader(writer.lane(), 0)).len(), 25);
    disk.pass(Duration::from_hours(2));
    spool.acked(writer.lane(), 25);
    assert_eq!(gaps(&drain(&mut spool.reader(writer.lane(), 0)))[0].cause, GapCause::ReplayWindow);

    // An outage fills the spool: what was acknowledged makes room without a gap.
    fill(&mut writer, 20, bulky);
    spool.acked(writer.lane(), 45);
    fill(&mut writer, 130, bulky);
    let waiting = drain(&mut spool.reader(writer.lane(), 45));
    assert_whole(&waiting, 46);
    assert_eq!((waiting.len(), gaps(&waiting).len()), (130, 0));
}

#[test]
fn lanes_that_are_gone_are_remembered_up_to_a_bound() {
    let disk = super::disk::Disk::new(1);
    let options = options(Path::new("spool"), CAP);
    let open = || Spool::open_on(Arc::new(disk.clone()), None, &options, &births(), Some(&clock()), boot()).unwrap();
    first_session(&open().1);
    for _ in 0..300 {
        let (mut writer, spool, _) = open();
        writer.append(&tens(1));
        writer.sync().unwrap();
        spool.acked(writer.lane(), 9);
        disk.pass(Duration::from_hours(73));
        spool.acked(writer.lane(), 9);
        spool.save_state().unwrap();
    }
    let (_writer, spool, _) = open();
    disk.pass(Duration::from_hours(73));
    spool.acked(LaneId::random(), 0);
    assert!(spool.rewind(&NEW, 4).unwrap());
    let lanes = all(&spool);
    assert_eq!(lanes.len(), 256 + 2, "those, the one of the last reading, and the current one");
    assert!(lanes[..256].iter().all(|(_, items)| matches!(&items[..], [Item::Gap(_)])));
}

#[test]
fn a_lane_that_is_asked_for_begins_after_a_sync_and_no_more_than_eight_are_open() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool, _) = open(dir.path());
    let mut lanes = vec![writer.lane()];
    spool.request_lane();
    writer.append(&tens(0));
    assert_eq!(writer.lane(), lanes[0], "nothing stands in the one that is there");
    for value in 1..12 {
        writer.append(&tens(20 * value - 10));
        spool.request_lane();
        writer.append(&tens(20 * value - 5));
        assert_eq!(writer.lane(), *lanes.last().unwrap(), "what is not synced stays in its lane");
        writer.sync().unwrap();
        writer.append(&tens(20 * value));
        if writer.lane() != *lanes.last().unwrap() {
            lanes.push(writer.lane());
        }
        writer.sync().unwrap();
    }
    assert_eq!(lanes.len(), 8);
    assert_eq!(spool.lanes().iter().map(lane_of).collect::<Vec<_>>(), lanes, "in the order in which they were opened");
    drop((writer, spool));
    // All of them come back, and the restart is told from the last reading of any.
    let (mut writer, spool, _) = open(dir.path());
    assert_eq!(spool.lanes()[..8].iter().map(lane_of).collect::<Vec<_>>(), lanes);
    assert_eq!(spool.lanes().len(), 9);
    writer.append(&tens(900));
    writer.sync().unwrap();
    let restart = &gaps(&drain(&mut spool.reader(writer.lane(), 0)))[0];
    assert_eq!((restart.cause, restart.from.unwrap().monotonic_us), (GapCause::Restart, 229));
    for lane in &lanes[..2] {
        spool.acked(*lane, 99);
    }
    spool.request_lane();
    writer.append(&tens(1000));
    assert!(!lanes.contains(&writer.lane()), "there is room for one again");
}

#[test]
fn a_spool_that_refuses_the_newest_keeps_what_it_has_and_declares_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { when_full: WhenFull::RefuseNewest, ..options(dir.path(), CAP) };
    let (mut writer, spool, _) = Spool::open(&options, &births(), Some(&clock()), boot()).unwrap();
    let (mut value, mut lost) = (0, 0);
    let mut full = None;
    while lost < 500 {
        lost += writer.append(&bulky(value));
        value += 100;
        if let Err(error) = writer.sync() {
            full = Some(error);
        }
    }
    assert!(full.unwrap().to_string().contains("refuse the newest"));
    assert!(spool.depth().bytes <= CAP);
    spool.acked(writer.lane(), 60);
    writer.sync().unwrap();
    let items = drain(&mut spool.reader(writer.lane(), 0));
    let told = gaps(&items);
    let gap = told.last().unwrap();
    assert_eq!(
        (gap.cause, gap.readings(), gap.last_sequence),
        (GapCause::SpoolFull, lost, items.last().unwrap().last_sequence())
    );
    assert_eq!((gap.from.unwrap().monotonic_us, gap.to.unwrap().monotonic_us), (value - 500, value - 1));
    assert!(told[..told.len() - 1].iter().all(|gap| gap.cause == GapCause::ReplayWindow));
    assert_eq!(gap.cumulative_after, u64::try_from(value).unwrap());
}
