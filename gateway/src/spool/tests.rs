use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use sandan_proto::batch::{self, BatchBuilder};
use sandan_proto::reading::{Quality, Value};
use sandan_proto::record::{Gap, GapCause, Sealed};

use super::*;

mod births;
mod cover;
mod dead;
mod delivered;
mod disk;
mod faults;
mod fixtures;
mod keep;
mod model;
mod show;

fn births() -> Births {
    Births::new(&v1::BirthSet {
        assets: vec![v1::Asset { id: "press-1".into(), ..v1::Asset::default() }],
        devices: vec![v1::Device::default()],
        series: vec![v1::Series { metric: "stroke_count".into(), value_type: 2, ..v1::Series::default() }],
    })
    .unwrap()
}

/// How many cases a property is tried with in CI; `PROPTEST_CASES` asks for more.
fn cases(in_ci: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().map_or(in_ci, |text| text.parse().expect("a number"))
}

fn boot() -> BootId {
    BootId::from_bytes(&[9; 16]).unwrap()
}

fn clock() -> v1::ClockOffset {
    v1::ClockOffset { boot_id: boot().to_vec(), offset_us: 77, source: 1 }
}

/// The smallest cap that the configuration allows.
const CAP: u64 = 16 << 20;

fn open(dir: &Path) -> (Writer, Spool, Recovery) {
    open_capped(dir, CAP)
}

fn open_capped(dir: &Path, max_bytes: u64) -> (Writer, Spool, Recovery) {
    Spool::open(&options(dir, max_bytes), &births(), Some(&clock()), boot()).unwrap()
}

fn options(dir: &Path, max_bytes: u64) -> Options {
    Options { dir: dir.to_owned(), max_bytes, when_full: WhenFull::DropOldest }
}

/// A batch of `readings` whose values begin at `value`, one a microsecond.
fn outgoing(value: i64, readings: u64) -> Outgoing {
    let mut builder = BatchBuilder::default();
    for reading in 0..readings as i64 {
        builder.push(0, value + reading, Value::I64(value + reading), Quality::GOOD).unwrap();
    }
    Outgoing {
        payload: batch::encode(&builder.take()),
        readings,
        first_us: value,
        last_us: value + readings as i64 - 1,
    }
}

/// Filling that is not packed, so that a few batches fill a segment.
fn bulky(value: i64) -> Outgoing {
    let mut builder = BatchBuilder::default();
    for reading in 0..100 {
        builder.push(0, value + reading, Value::Text("x".repeat(1000)), Quality::GOOD).unwrap();
    }
    let payload = batch::unpack(&batch::encode(&builder.take())).unwrap();
    Outgoing { payload, readings: 100, first_us: value, last_us: value + 99 }
}

/// A batch of ten readings.
fn tens(value: i64) -> Outgoing {
    outgoing(value, 10)
}

/// Appends and syncs batches one by one.
fn fill(writer: &mut Writer, batches: i64, batch: fn(i64) -> Outgoing) {
    let mut value = 0;
    for _ in 0..batches {
        let batch = batch(value);
        value = batch.last_us + 1;
        writer.append(&batch);
        writer.sync().unwrap();
    }
}

/// The lane of a process that synced so many batches and ended.
fn left_behind(dir: &Path, batches: i64, batch: fn(i64) -> Outgoing) -> LaneId {
    let (mut writer, _spool, _) = open(dir);
    fill(&mut writer, batches, batch);
    writer.lane()
}

fn drain(reader: &mut Reader) -> Vec<Item> {
    std::iter::from_fn(|| reader.next_item().unwrap()).collect()
}

fn lane_of(state: &v1::LaneState) -> LaneId {
    LaneId::from_bytes(&state.lane).unwrap()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

/// Every sequence once and in order, counts that add up.
fn assert_whole(items: &[Item], from: u64) {
    let mut next = from;
    let mut cumulative = None;
    for item in items {
        let (first, last, before, after) = match item {
            Item::Batch(wire) => {
                let sealed = Sealed::from_wire(wire.clone()).unwrap();
                let readings = batch::count(&batch::decode(&sealed.payload).unwrap());
                (sealed.sequence, sealed.sequence, sealed.cumulative_readings - readings, sealed.cumulative_readings)
            }
            Item::Gap(wire) => {
                let gap = Gap::from_wire(wire).unwrap();
                (gap.first_sequence, gap.last_sequence, gap.cumulative_before, gap.cumulative_after)
            }
        };
        assert_eq!(first, next, "the lane has a hole");
        assert_eq!(before, *cumulative.get_or_insert(before), "the counts do not add up at {first}");
        (next, cumulative) = (last + 1, Some(after));
    }
}

#[test]
fn only_what_is_synced_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool, _) = open(dir.path());
    let mut reader = spool.reader(writer.lane(), 0);
    writer.append(&outgoing(10, 3));
    assert_eq!(reader.next_item().unwrap(), None);
    writer.sync().unwrap();
    let items = drain(&mut reader);
    assert_eq!(items.len(), 1);
    assert_eq!((spool.depth().records, spool.depth().readings), (1, 3));
    let Item::Batch(sealed) = &items[0] else { panic!("not a batch") };
    assert_eq!(Sealed::from_wire(sealed.clone()).unwrap().payload, outgoing(10, 3).payload);
    assert_eq!(spool.births(&sealed.births_hash).unwrap(), births().to_wire());
    assert_eq!(spool.clock(&sealed.boot_id).unwrap(), clock());
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let error = Spool::open(&options(dir.path(), CAP), &births(), Some(&clock()), boot()).unwrap_err();
    assert!(matches!(error, SpoolError::Locked(_)), "{error}");
}

#[test]
fn a_restart_opens_a_new_lane_with_a_declared_gap() {
    let dir = tempfile::tempdir().unwrap();
    let old_lane = {
        let (mut writer, _spool, recovery) = open(dir.path());
        assert_eq!(recovery, Recovery::default());
        writer.append(&outgoing(100, 5));
        writer.sync().unwrap();
        writer.append(&outgoing(200, 5)); // never synced
        writer.lane()
    };
    let (mut writer, spool, recovery) = open(dir.path());
    assert_eq!(recovery.records, 1);
    assert_ne!(writer.lane(), old_lane);
    assert_eq!(drain(&mut spool.reader(old_lane, 0)).len(), 1);
    writer.append(&outgoing(300, 1));
    writer.sync().unwrap();
    let items = drain(&mut spool.reader(writer.lane(), 0));
    assert_whole(&items, 1);
    let Item::Gap(gap) = &items[0] else { panic!("no restart gap") };
    let gap = Gap::from_wire(gap).unwrap();
    assert_eq!(gap.cause, GapCause::Restart);
    assert_eq!(gap.from.unwrap().monotonic_us, 104);
    assert_eq!(gap.to.unwrap().monotonic_us, 300);
    let lanes = spool.lanes();
    assert_eq!(lanes.iter().map(|lane| lane.read_only).collect::<Vec<_>>(), [true, false]);
}

/// A disk that lost every reading of a spool that had a session: the next start says so.
#[test]
fn a_spool_that_lost_every_reading_declares_a_gap_without_a_begin() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (mut writer, spool, _) = open(dir.path());
        spool.save_session(1, b"timeline").unwrap();
        writer.append(&outgoing(100, 5));
        writer.sync().unwrap();
    }
    let path = scan::segment_path(dir.path(), 1);
    let segment = std::fs::File::options().write(true).open(path).unwrap();
    segment.set_len(format::HEADER_LEN as u64 + 8).unwrap();
    let (mut writer, spool, recovery) = open(dir.path());
    assert_eq!(recovery.records, 0);
    writer.append(&outgoing(300, 1));
    writer.sync().unwrap();
    let items = drain(&mut spool.reader(writer.lane(), 0));
    let Item::Gap(gap) = &items[0] else { panic!("no restart gap") };
    let gap = Gap::from_wire(gap).unwrap();
    assert_eq!((gap.cause, gap.from, gap.to.unwrap().monotonic_us), (GapCause::Restart, None, 300));
}

#[test]
fn the_first_start_declares_no_gap_and_the_first_offset_of_a_boot_stays() {
    let dir = tempfile::tempdir().unwrap();
    let lane = {
        let (mut writer, spool, _) = open(dir.path());
        writer.append(&outgoing(1, 1));
        writer.sync().unwrap();
        assert!(matches!(drain(&mut spool.reader(writer.lane(), 0))[..], [Item::Batch(_)]));
        writer.lane()
    };
    let stepped = v1::ClockOffset { offset_us: 5_000_000, ..clock() };
    let options = options(dir.path(), CAP);
    let (_writer, spool, _) = Spool::open(&options, &births(), Some(&stepped), boot()).unwrap();
    assert_eq!(spool.clock(&boot().to_vec()).unwrap().offset_us, 77);
    assert_eq!(lane_of(&spool.lanes()[0]), lane);
}

#[test]
fn acknowledged_segments_go_and_the_newest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool, _) = open(dir.path());
    fill(&mut writer, 40, bulky);
    assert!(segments(dir.path()).len() > 3);
    spool.acked(writer.lane(), 20);
    assert_eq!(spool.depth().records, 20);
    assert_eq!(spool.depth().readings, 2000);
    spool.acked(writer.lane(), 40);
    let kept: u64 = segments(dir.path()).iter().rev().skip(1).map(|path| path.metadata().unwrap().len()).sum();
    assert!(kept > CAP / 10 && kept <= CAP / 5, "{kept} bytes are kept");
    assert_eq!((spool.depth().records, spool.depth().readings), (0, 0));
    spool.acked(writer.lane(), 999);
    assert_eq!(spool.depth().records, 0, "an acknowledgement beyond what was sealed counts for what was sealed");
    drop((writer, spool));
    let (writer, spool, _) = open(dir.path());
    assert_eq!(spool.depth().records, 0, "the acknowledged position was lost");
    drop(writer);
}

#[test]
fn the_last_reading_is_remembered_over_starts_that_read_nothing() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (mut writer, spool, _) = open(dir.path());
        writer.append(&outgoing(100, 5));
        writer.sync().unwrap();
        spool.acked(writer.lane(), 1);
    }
    for _ in 0..3 {
        let (writer, spool, _) = open(dir.path());
        spool.acked(writer.lane(), 0);
    }
    let (mut writer, spool, _) = open(dir.path());
    writer.append(&outgoing(900, 1));
    writer.sync().unwrap();
    let items = drain(&mut spool.reader(writer.lane(), 0));
    let Item::Gap(gap) = &items[0] else { panic!("no restart gap") };
    assert_eq!(gap.from.as_ref().unwrap().monotonic_us, 104);
}

#[test]
fn a_reader_goes_back_where_the_ingest_asks() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool, _) = open(dir.path());
    fill(&mut writer, 40, bulky);
    let mut reader = spool.reader(writer.lane(), 0);
    let all = drain(&mut reader);
    assert_whole(&all, 1);
    for after in [0, 1, 7, 8, 21, 39] {
        reader.seek(after);
        assert_eq!(drain(&mut reader), all[usize::try_from(after).unwrap()..], "after {after}");
    }
}

#[test]
fn a_full_spool_drops_the_oldest_and_declares_it_in_its_own_lane() {
    let dir = tempfile::tempdir().unwrap();
    let old_lane = left_behind(dir.path(), 30, bulky);
    let (mut writer, spool, _) = open(dir.path());
    for batch in 0..400 {
        writer.append(&bulky(10_000 + batch * 100));
        writer.sync().unwrap();
        let on_disk: u64 = segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(on_disk <= CAP, "{on_disk} bytes");
    }
    let check = |spool: &Spool, new_lane| {
        let old = drain(&mut spool.reader(old_lane, 0));
        assert_whole(&old, 1);
        let [Item::Gap(gap)] = &old[..] else { panic!("{} items of the old lane", old.len()) };
        assert_eq!((gap.first_sequence, gap.last_sequence, gap.cumulative_after), (1, 30, 3000));
        let new = drain(&mut spool.reader(new_lane, 0));
        assert_whole(&new, 1);
        assert_eq!(new.last().unwrap().last_sequence(), 401);
        let causes = new.iter().filter_map(|item| if let Item::Gap(gap) = item { Some(gap.cause()) } else { None });
        let causes: Vec<_> = causes.collect();
        assert_eq!(causes, [GapCause::Restart, GapCause::SpoolFull], "segments that follow each other are one gap");
    };
    let new_lane = writer.lane();
    check(&spool, new_lane);
    drop((writer, spool));
    let (writer, spool, _) = open(dir.path());
    check(&spool, new_lane);
    assert_eq!(spool.lanes().len(), 3);
    spool.acked(old_lane, 30);
    spool.acked(new_lane, 401);
    assert_eq!(spool.depth().records, 0);
    assert_eq!(spool.lanes().len(), 1, "what is only kept does not show");
    drop(writer);
}

#[test]
fn a_flipped_bit_costs_one_record_and_is_declared() {
    let dir = tempfile::tempdir().unwrap();
    let lane = left_behind(dir.path(), 9, tens);
    let path = &segments(dir.path())[0];
    let clean = std::fs::read(path).unwrap();
    let first_batch = clean.windows(4).enumerate().filter(|(_, window)| window == b"SNDR").nth(2).unwrap().0;
    let fifth = clean.windows(4).enumerate().filter(|(_, window)| window == b"SNDR").nth(6).unwrap().0;
    for at in [first_batch + 3, first_batch + 20, fifth, fifth + 5, fifth + 12, fifth + 16, fifth + 90] {
        let mut bytes = clean.clone();
        bytes[at] ^= 0x10;
        std::fs::write(path, bytes).unwrap();
        let (writer, spool, recovery) = open(dir.path());
        assert_eq!(recovery.damaged_records, 1, "byte {at}");
        let items = drain(&mut spool.reader(lane, 0));
        assert_whole(&items, 1);
        let gaps: Vec<_> =
            items.iter().filter_map(|item| if let Item::Gap(gap) = item { Some(gap) } else { None }).collect();
        assert_eq!(gaps.len(), 1);
        assert_eq!(gaps[0].cause(), GapCause::Damaged);
        assert_eq!(gaps[0].cumulative_after - gaps[0].cumulative_before, 10);
        drop((writer, spool));
        // The start added a segment of its own.
        for path in &segments(dir.path())[1..] {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_segment_without_a_header_is_put_aside_and_a_newer_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let path = segments(dir.path())[0].clone();
    let clean = std::fs::read(&path).unwrap();
    let mut newer = clean.clone();
    newer[8] = 2;
    let crc = crc32c::crc32c(&newer[..60]);
    newer[60..64].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, newer).unwrap();
    let options = options(dir.path(), CAP);
    let error = Spool::open(&options, &births(), Some(&clock()), boot()).unwrap_err();
    assert!(matches!(error, SpoolError::Newer { found: 2, known: 1, .. }), "{error}");
    let mut damaged = clean;
    damaged[40] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let (_writer, _spool, recovery) = open(dir.path());
    assert_eq!(recovery.damaged_segments, 1);
    assert!(path.with_extension("seg.damaged").exists());
}

#[test]
fn the_epoch_survives() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_writer, spool, _) = open(dir.path());
        assert_eq!(spool.state().epoch, 0);
        spool.save_session(4, &[7; 16]).unwrap();
    }
    let (_writer, spool, _) = open(dir.path());
    assert_eq!((spool.state().epoch, spool.state().timeline_bytes()), (4, vec![7; 16]));
}

#[test]
fn a_disk_that_fails_for_long_costs_a_declared_gap_and_never_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool, _) = open(dir.path());
    // A batch that is larger than what may wait stands for a disk that took nothing.
    let mut lost = 0;
    for batch in 0..60 {
        lost += writer.append(&bulky(batch * 100));
    }
    assert!(lost > 0 && writer.unsynced_bytes() <= 4 << 20);
    writer.sync().unwrap();
    let items = drain(&mut spool.reader(writer.lane(), 0));
    assert!(matches!(items.last(), Some(Item::Gap(_))), "a loss is told at the next sync, before anything else comes");
    writer.append(&outgoing(6000, 1));
    writer.sync().unwrap();
    let items = drain(&mut spool.reader(writer.lane(), 0));
    assert_whole(&items, 1);
    let gaps: Vec<_> =
        items.iter().filter_map(|item| if let Item::Gap(gap) = item { Some(gap) } else { None }).collect();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].cause(), GapCause::DiskFull);
    assert_eq!(gaps[0].cumulative_after - gaps[0].cumulative_before, lost);
}

#[derive(Debug, Clone)]
enum Step {
    Append(u64),
    Bulk,
    Sync,
    Ack(u8),
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..20).prop_map(Step::Append),
        4 => Just(Step::Bulk),
        4 => Just(Step::Sync),
        2 => any::<u8>().prop_map(Step::Ack),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(12)))]

    /// Against a model: what was synced is read back byte-identical and once, in
    /// order, behind whatever was acknowledged; what was not synced is in no lane.
    #[test]
    fn what_was_synced_is_there_once(steps in prop::collection::vec(any_step(), 1..80)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, mut spool, _) = open_capped(dir.path(), 1 << 30);
        let mut model: Vec<(LaneId, Vec<Bytes>, u64)> = vec![(writer.lane(), vec![], 0)];
        let mut unsynced = Vec::new();
        let mut value = 0;
        for step in steps {
            match step {
                Step::Append(readings) => {
                    let batch = outgoing(value, readings);
                    value += readings as i64;
                    prop_assert_eq!(writer.append(&batch), 0);
                    unsynced.push(batch.payload);
                }
                Step::Bulk => {
                    let batch = bulky(value);
                    value += 100;
                    if writer.append(&batch) == 0 { unsynced.push(batch.payload); }
                }
                Step::Sync => {
                    writer.sync().unwrap();
                    model.last_mut().unwrap().1.append(&mut unsynced);
                }
                Step::Ack(share) => {
                    let (lane, payloads, acked) = model.last_mut().unwrap();
                    let items = drain(&mut spool.reader(*lane, *acked));
                    let keep = items.len() * usize::from(share) / 255;
                    if let Some(item) = keep.checked_sub(1).map(|last| &items[last]) {
                        *acked = item.last_sequence();
                        spool.acked(*lane, *acked);
                        let batches = items[..keep].iter().filter(|item| matches!(item, Item::Batch(_))).count();
                        payloads.drain(..batches);
                    }
                }
                Step::Restart => {
                    unsynced.clear();
                    drop((writer, spool));
                    (writer, spool, _) = open_capped(dir.path(), 1 << 30);
                    model.push((writer.lane(), vec![], 0));
                }
            }
            for (lane, payloads, acked) in &model {
                let items = drain(&mut spool.reader(*lane, *acked));
                assert_whole(&items, acked + 1);
                let found: Vec<_> = items.iter().filter_map(|item| match item {
                    Item::Batch(sealed) => Some(sealed.payload.clone()),
                    Item::Gap(gap) => { assert_eq!(gap.cause(), GapCause::Restart); None }
                }).collect();
                prop_assert_eq!(&found, payloads);
            }
        }
    }
}
