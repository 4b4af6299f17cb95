//! A lane whose declarations change on the way.

use super::*;

fn others() -> Births {
    let mut series = births().content().clone();
    series = {
        let mut set = v1::BirthSet::decode(series).unwrap();
        set.series[0].metric = "part_count".into();
        set.encode_to_vec().into()
    };
    Births::from_content(series).unwrap()
}

/// By which hash each batch of the lane names its births, and whether the spool knows them.
fn named(spool: &Spool, lane: LaneId) -> Vec<(Vec<u8>, bool)> {
    let items = drain(&mut spool.reader(lane, 0));
    assert_whole(&items, 1);
    let batches = items.into_iter().filter_map(|item| if let Item::Batch(sealed) = item { Some(sealed) } else { None });
    batches
        .map(|sealed| {
            let is_known = spool.births(&sealed.births_hash).is_some();
            (sealed.births_hash, is_known)
        })
        .collect()
}

#[test]
fn every_batch_is_read_under_the_births_that_it_was_sealed_under() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool, _) = open(dir.path());
    let (before, after) = (births().hash().as_bytes().to_vec(), others().hash().as_bytes().to_vec());
    writer.append(&tens(0));
    writer.set_births(&others());
    writer.append(&tens(10));
    writer.sync().unwrap();
    writer.append(&tens(20));
    writer.set_births(&births());
    writer.append(&tens(30));
    writer.sync().unwrap();
    let wanted: Vec<_> = [&before, &after, &after, &before].map(|hash| (hash.clone(), true)).into();
    let lane = writer.lane();
    assert_eq!(named(&spool, lane), wanted);
    drop((writer, spool));
    let (_writer, spool, recovery) = open(dir.path());
    assert_eq!((recovery.records, recovery.damaged_records), (4, 0));
    assert_eq!(named(&spool, lane), wanted);
}

#[test]
fn what_waits_for_a_failing_disk_keeps_its_births() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, spool, _) = open(dir.path());
    let lane = writer.lane();
    writer.append(&tens(0));
    writer.set_births(&others());
    writer.append(&tens(10));
    writer.replace_file(|path| std::fs::File::open(path).unwrap());
    writer.sync().unwrap_err();
    writer.append(&tens(20));
    writer.sync().unwrap();
    drop((writer, spool));
    // The first segment, which had the old births at its head, is lost.
    let all = segments(dir.path());
    assert_eq!(all.len(), 2);
    std::fs::remove_file(&all[0]).unwrap();
    let (_writer, spool, _) = open(dir.path());
    let hashes: Vec<_> = named(&spool, lane);
    assert_eq!(hashes.len(), 3);
    assert!(hashes.iter().all(|(_, is_known)| *is_known), "{hashes:?}");
    assert_eq!(hashes[0].0, births().hash().as_bytes());
}
