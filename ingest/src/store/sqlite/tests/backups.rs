//! Backups of a store that goes on, and what comes back with them.

use std::path::{Path, PathBuf};

use sandan_proto::record::{Gap, Sealed};
use sandan_proto::v1::GapCause;

use super::super::restore::{begin_timeline, clear, copy, manifest, stand};
use super::*;
use crate::store::backup::{BackupError, BackupOrder, KEYS, MANIFEST, Manifest};

pub(super) fn order(to: &Path) -> BackupOrder {
    BackupOrder { to: to.into(), complex: "c".into(), with_keys: false, since: None, bytes_per_second: u64::MAX }
}

/// A data directory as the service has one: with control data beside the readings.
pub(super) fn with_control(dir: &Path) {
    control::SqliteControl::open(&dir.join(control::FILE)).unwrap();
}

/// A restored store, in a directory of its own.
pub(super) fn restored(from: &Path) -> (tempfile::TempDir, SqliteReadings) {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(from, "c").unwrap();
    copy(from, dir.path(), &manifest).unwrap();
    begin_timeline(dir.path()).unwrap();
    let store = SqliteReadings::open(dir.path(), options()).unwrap();
    (dir, store)
}

/// Delivers records again, from the one after the store's watermark or from an earlier one.
async fn replay(store: &SqliteReadings, plant: &Plant, records: &[Sealed]) -> Vec<Stored> {
    let registered = store.register(&plant.gateway, plant.births.clone()).await.unwrap();
    let mut outcomes = Vec::new();
    for sealed in records {
        let receipt = store.deliver(plant.admitted(sealed, &registered)).await.unwrap();
        outcomes.push(receipt.await.unwrap().unwrap());
    }
    outcomes
}

pub(super) async fn deliver(store: &SqliteReadings, plant: &mut Plant, value: u32) -> Sealed {
    let registered = store.registered(&plant.gateway, plant.births.hash()).await.unwrap().unwrap();
    let sealed = plant.seal(&[pressure(i64::from(value) * SECOND, f64::from(value))]);
    let receipt = store.deliver(plant.admitted(&sealed, &registered)).await.unwrap();
    done(&receipt.await.unwrap().unwrap());
    sealed
}

pub(super) fn numbers(through: u32) -> Vec<f64> {
    (0..through).map(f64::from).collect()
}

#[tokio::test]
async fn what_came_after_the_backup_comes_again_and_is_stored_once() {
    let (dir, backups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    with_control(dir.path());
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    let mut records = Vec::new();
    for value in 0..6 {
        records.push(deliver(&store, &mut plant, value).await);
        if value == 3 {
            store.compact(&plant.firm()).await.unwrap();
        }
    }
    let to = backups.path().join("monday");
    let made = store.back_up(order(&to)).await.unwrap();
    let names: Vec<_> = made.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["firms/1.db", "control.db", "inbox.db"], "the inbox last");
    assert_eq!((made.commits, made.timeline.as_str()), (6, store.timeline().to_string().as_str()));
    let epoch_of_backup = plant.epoch;
    for value in 6..10 {
        plant.connect(&store).await;
        records.push(deliver(&store, &mut plant, value).await);
        store.compact(&plant.firm()).await.unwrap();
    }
    assert!(plant.epoch > epoch_of_backup + 3);
    let old = store.timeline();
    drop(store);

    let (_dir, store) = restored(&to);
    assert_ne!(store.timeline(), old, "gateways are told to send again");
    assert_eq!(store.watermark(&plant.gateway, plant.lane).await.unwrap(), 6);
    assert_eq!(values(&store, plant.key(0)).await, numbers(6));
    // The gateway knows an epoch that this store never granted, and is let in under a newer one.
    let known = plant.epoch;
    let Opening::Granted { epoch, watermarks } =
        store.open_session(&plant.gateway, known, &[plant.lane]).await.unwrap()
    else {
        panic!("it was not let in")
    };
    assert_eq!((epoch, watermarks.as_slice()), (known + 1, [(plant.lane, 6)].as_slice()));
    plant.epoch = epoch;
    let outcomes = replay(&store, &plant, &records).await;
    assert!(outcomes[..6].iter().all(|it| *it == Stored::Duplicate { through: 6 }), "{outcomes:?}");
    assert!(outcomes[6..].iter().all(|it| done(it) == 1), "{outcomes:?}");
    assert_eq!(values(&store, plant.key(0)).await, numbers(10));
    store.compact(&plant.firm()).await.unwrap();
    let next = deliver(&store, &mut plant, 10).await;
    assert_eq!(replay(&store, &plant, &[next]).await, [Stored::Duplicate { through: 11 }]);
    assert_eq!(values(&store, plant.key(0)).await, numbers(11));
}

#[tokio::test]
async fn an_epoch_far_beyond_what_a_restored_store_granted_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let gateway = GatewayId::new("hanbit/press-hall").unwrap();
    let ahead = |epochs| store.open_session(&gateway, epochs, &[]);
    assert!(
        matches!(ahead(crate::store::epochs::EPOCHS_AHEAD).await.unwrap(), Opening::Granted { epoch, .. } if epoch == crate::store::epochs::EPOCHS_AHEAD + 1)
    );
    let beyond = 2 * crate::store::epochs::EPOCHS_AHEAD + 2;
    assert_eq!(ahead(beyond).await.unwrap(), Opening::NeverGranted { granted: crate::store::epochs::EPOCHS_AHEAD + 1 });
}

#[tokio::test]
async fn what_the_gateway_no_longer_has_is_a_gap_of_its_size() {
    let (dir, backups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    with_control(dir.path());
    let store = open(&dir);
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    deliver(&store, &mut plant, 0).await;
    let to = backups.path().join("monday");
    store.back_up(order(&to)).await.unwrap();
    for value in 1..4 {
        deliver(&store, &mut plant, value).await;
    }
    let kept = deliver(&store, &mut plant, 4).await;
    drop(store);
    let (_dir, store) = restored(&to);
    plant.connect(&store).await;
    let gap = Gap {
        lane: plant.lane,
        first_sequence: 1,
        last_sequence: 4,
        cause: GapCause::ReplayWindow,
        from: None,
        to: None,
        cumulative_before: 0,
        cumulative_after: 4,
    };
    let delivery = Delivery {
        gateway: plant.gateway.clone(),
        epoch: plant.epoch,
        lane: plant.lane,
        first: gap.first_sequence,
        last: gap.last_sequence,
        cumulative: Some(gap.cumulative_after),
        content: Content::Gap { gap, from_us: None, to_us: None, uncertain: false },
    };
    store.deliver(delivery).await.unwrap().await.unwrap().unwrap();
    assert_eq!(done(&replay(&store, &plant, &[kept]).await[0]), 1);
    assert_eq!(values(&store, plant.key(0)).await, [0.0, 4.0]);
    let gaps = store.gaps(&plant.firm(), 10).await.unwrap();
    let found: Vec<_> = gaps.iter().map(|gap| (gap.cause, gap.readings)).collect();
    assert_eq!(found, [(GapCause::ReplayWindow, 3)], "what was stored is no part of it");
}

/// One run: a writer and packing go on while the store is copied.
async fn under_load(before: u32, packed: u32, rate: u64) {
    let (dir, backups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    with_control(dir.path());
    let store = Arc::new(open(&dir));
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&*store).await;
    let mut records = Vec::new();
    for value in 0..before {
        records.push(deliver(&store, &mut plant, value).await);
        if value + 1 == packed {
            store.compact(&plant.firm()).await.unwrap();
        }
    }
    let to = backups.path().join("live");
    let copying = {
        let (store, order) = (store.clone(), BackupOrder { bytes_per_second: rate, ..order(&to) });
        tokio::spawn(async move { store.back_up(order).await })
    };
    let firm = plant.firm();
    let packing = {
        let (store, firm) = (store.clone(), firm.clone());
        tokio::spawn(async move { store.compact(&firm).await })
    };
    let mut value = before;
    while !copying.is_finished() || value < before + 5 {
        records.push(deliver(&store, &mut plant, value).await);
        value += 1;
    }
    copying.await.unwrap().unwrap();
    packing.await.unwrap().unwrap();
    assert_eq!(values(store.as_ref(), plant.key(0)).await, numbers(value), "the store itself lost nothing");
    drop(store);

    let (_dir, store) = restored(&to);
    let through = store.watermark(&plant.gateway, plant.lane).await.unwrap();
    assert!(through >= u64::from(before), "{through}: acknowledged before the backup began");
    let through = u32::try_from(through).unwrap();
    assert_eq!(values(&store, plant.key(0)).await, numbers(through), "as far as the watermark, and no further");
    plant.connect(&store).await;
    replay(&store, &plant, &records).await;
    assert_eq!(values(&store, plant.key(0)).await, numbers(value));
    store.compact(&firm).await.unwrap();
    assert_eq!(values(&store, plant.key(0)).await, numbers(value));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 24, ..Default::default() })]

    #[test]
    fn a_backup_under_load_holds_what_was_acknowledged_before_it_began(
        before in 1u32..30, packed in 0u32..30, mib_per_second in 1u64..16,
    ) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
            .block_on(under_load(before, packed, mib_per_second << 20));
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// A store with one firm file, and a backup of it.
async fn backed_up() -> (tempfile::TempDir, PathBuf, Manifest) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    with_control(&data);
    let store = SqliteReadings::open(&data, options()).unwrap();
    let mut plant = Plant::new("hanbit/press-hall", "press-1");
    plant.connect(&store).await;
    deliver(&store, &mut plant, 0).await;
    store.compact(&plant.firm()).await.unwrap();
    deliver(&store, &mut plant, 1).await;
    let to = dir.path().join("backup");
    let made = store.back_up(order(&to)).await.unwrap();
    (dir, to, made)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_given_up_leaves_nothing() {
    let (dir, _, _) = backed_up().await;
    let store = Arc::new(SqliteReadings::open(&dir.path().join("data"), options()).unwrap());
    let (to, unfinished) = (dir.path().join("second"), dir.path().join(".unfinished-second"));
    let slow = BackupOrder { bytes_per_second: 1, ..order(&to) };
    let copying = {
        let (store, slow) = (store.clone(), slow.clone());
        tokio::spawn(async move { store.back_up(slow).await })
    };
    while !unfinished.join("firms").exists() {
        tokio::task::yield_now().await;
    }
    copying.abort();
    // What comes after it on the same thread waits until it has ended.
    store.compact(&FirmId::new("hanbit").unwrap()).await.unwrap();
    assert!(!unfinished.exists() && !to.exists());
    // The end of the store ends one too.
    let copying = tokio::spawn(async move { store.back_up(slow).await });
    while !unfinished.join("firms").exists() {
        tokio::task::yield_now().await;
    }
    copying.abort();
    assert!(copying.await.unwrap_err().is_cancelled());
    while unfinished.exists() {
        tokio::task::yield_now().await;
    }
    assert!(!to.exists());
}

#[tokio::test]
async fn what_a_killed_backup_left_is_no_backup_and_is_cleared_away() {
    let (dir, to, _) = backed_up().await;
    let left = dir.path().join(".unfinished-second");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("a-backup-that-is-not-whole"), "").unwrap();
    std::fs::copy(to.join("inbox.db"), left.join("inbox.db")).unwrap();
    assert!(matches!(manifest(&left, "c"), Err(BackupError::NotWhole { .. })));
    let store = SqliteReadings::open(&dir.path().join("data"), options()).unwrap();
    store.back_up(order(&dir.path().join("second"))).await.unwrap();
    assert!(!left.exists());
    let taken = store.back_up(order(&to)).await.unwrap_err();
    assert!(taken.to_string().ends_with("is there and not empty; name a directory that is not there yet"), "{taken}");
    // One that another made is not ours to clear.
    std::fs::create_dir(dir.path().join(".unfinished-third")).unwrap();
    assert!(store.back_up(order(&dir.path().join("third"))).await.is_err());
    assert!(dir.path().join(".unfinished-third").exists());
}

#[tokio::test]
async fn a_backup_that_is_not_as_its_manifest_says_is_refused_and_leaves_nothing() {
    let (dir, to, made) = backed_up().await;
    let target = dir.path().join("new");
    std::fs::create_dir(&target).unwrap();
    let refused = |manifest_of: &dyn Fn(&mut Manifest)| {
        let mut changed = made.clone();
        manifest_of(&mut changed);
        std::fs::write(to.join(MANIFEST), serde_json::to_vec(&changed).unwrap()).unwrap();
        manifest(&to, "c").unwrap_err().to_string()
    };
    let newer = refused(&|it| it.format = 3);
    assert_eq!(
        newer,
        "the manifest of the backup has format 3, this build knows up to 2; restore it with the newer build"
    );
    let newer = refused(&|it| it.files[0].layout = Some(99));
    assert!(newer.starts_with("firms/1.db of the backup has format 99"), "{newer}");
    let foreign = refused(&|it| it.complex = "other".into());
    assert_eq!(foreign, "this is a backup of the complex `other`, and the configuration is of `c`");
    for name in ["../escape.db", "firms/../../escape.db", "firms/x.db", "ca/../x", "/etc/passwd", "ca/.."] {
        let escaped = refused(&|it| it.files[0].name = name.into());
        assert!(escaped.contains("which is no file of a backup"), "{name}: {escaped}");
    }
    let missing = refused(&|it| drop(it.files.pop()));
    assert!(missing.ends_with("it has no inbox.db"), "{missing}");
    let short = refused(&|it| it.files[0].bytes += 1);
    assert!(short.contains("firms/1.db is damaged: it has "), "{short}");
    std::fs::write(to.join(MANIFEST), serde_json::to_vec(&made).unwrap()).unwrap();
    for file in &made.files {
        let path = to.join(&file.name);
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        std::fs::write(&path, flipped).unwrap();
        let damaged = copy(&to, &target, &manifest(&to, "c").unwrap()).unwrap_err().to_string();
        assert!(damaged.contains(&file.name) && damaged.contains("its SHA-256 is"), "{damaged}");
        clear(&target, &made).unwrap();
        assert_eq!(entries(&target), Vec::<PathBuf>::new());
        std::fs::write(&path, whole).unwrap();
    }
    copy(&to, &target, &manifest(&to, "c").unwrap()).unwrap();
    assert_eq!(stand(&target).unwrap().unwrap().timeline.to_string(), made.timeline);
    std::fs::remove_file(to.join(MANIFEST)).unwrap();
    let not_whole = manifest(&to, "c").unwrap_err().to_string();
    assert!(not_whole.ends_with("it has no manifest.json, which is written last"), "{not_whole}");
}

#[tokio::test]
async fn the_authoritys_keys_are_in_a_backup_only_where_they_are_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, to, made) = backed_up().await;
    assert!(!made.keys && !to.join(KEYS).exists());
    let keys = dir.path().join("data").join(KEYS);
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join("root.key"), "secret").unwrap();
    let store = SqliteReadings::open(&dir.path().join("data"), options()).unwrap();
    let without = dir.path().join("without");
    store.back_up(order(&without)).await.unwrap();
    assert!(!without.join(KEYS).exists());
    let with = dir.path().join("with");
    let made = store.back_up(BackupOrder { with_keys: true, ..order(&with) }).await.unwrap();
    assert!(made.keys && made.files.iter().any(|file| file.name == "ca/root.key"));
    let target = dir.path().join("new");
    std::fs::create_dir(&target).unwrap();
    copy(&with, &target, &manifest(&with, "c").unwrap()).unwrap();
    for dir in [&with, &target] {
        let key = dir.join(KEYS).join("root.key");
        assert_eq!(std::fs::read_to_string(&key).unwrap(), "secret");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::metadata(&with).unwrap().permissions().mode() & 0o777, 0o700);
}
