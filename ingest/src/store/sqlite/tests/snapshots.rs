//! Series of backups of which each shares with the one before what has not changed since.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::restore::verify;
use super::backups::{deliver, numbers, order, restored, with_control};
use super::*;
use crate::store::backup::{BackupError, BackupOrder, MANIFEST, Manifest};

/// Two firms, and the backups that were made of them.
struct Series {
    dir: tempfile::TempDir,
    backups: tempfile::TempDir,
    store: SqliteReadings,
    plants: [Plant; 2],
    delivered: [u32; 2],
    /// Each with what was delivered by then.
    made: Vec<(PathBuf, [u32; 2])>,
}

impl Series {
    async fn begin() -> Self {
        let (dir, backups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        with_control(dir.path());
        let store = open(&dir);
        let mut plants = [Plant::new("hanbit/press-hall", "press-1"), Plant::new("daeil/line-1", "furnace-1")];
        for plant in &mut plants {
            plant.connect(&store).await;
        }
        Self { dir, backups, store, plants, delivered: [0; 2], made: Vec::new() }
    }

    async fn deliver(&mut self, firm: usize, pack: bool) {
        deliver(&self.store, &mut self.plants[firm], self.delivered[firm]).await;
        self.delivered[firm] += 1;
        if pack {
            self.store.compact(&self.plants[firm].firm()).await.unwrap();
        }
    }

    /// As if the files of the firms had been written long ago.
    fn grow_old(&self) {
        for entry in std::fs::read_dir(self.dir.path().join("firms")).unwrap().map(Result::unwrap) {
            if entry.path().extension().is_some_and(|extension| extension == "db") {
                let hour_ago = SystemTime::now() - Duration::from_hours(1);
                std::fs::File::options().write(true).open(entry.path()).unwrap().set_modified(hour_ago).unwrap();
            }
        }
    }

    async fn back_up(&mut self) -> Manifest {
        let to = self.backups.path().join(format!("day-{}", self.made.len()));
        let since = self.made.last().map(|(dir, _)| dir.clone());
        let manifest = self.store.back_up(BackupOrder { since, ..order(&to) }).await.unwrap();
        self.made.push((to, self.delivered));
        manifest
    }

    fn inode(&self, backup: usize, file: &str) -> u64 {
        std::fs::metadata(self.made[backup].0.join(file)).unwrap().ino()
    }

    /// Each backup gives the store as it was then.
    async fn restore_all(&self) {
        for (from, delivered) in &self.made {
            assert_eq!(
                verify(from, "c").unwrap().files.len(),
                std::fs::read_dir(from.join("firms")).unwrap().count() + 2
            );
            let (_dir, store) = restored(from);
            for (plant, delivered) in self.plants.iter().zip(delivered) {
                let found = if *delivered == 0 { Vec::new() } else { values(&store, plant.key(0)).await };
                assert_eq!(found, numbers(*delivered), "{}", from.display());
            }
        }
    }
}

#[tokio::test]
async fn files_that_have_not_changed_are_shared_and_each_backup_stands_alone() {
    let mut series = Series::begin().await;
    series.deliver(0, true).await;
    series.deliver(1, true).await;
    series.grow_old();
    assert_eq!(series.back_up().await.shared, None, "the first has nobody to share with");
    series.deliver(1, true).await;
    series.deliver(0, false).await;
    let second = series.back_up().await.shared.unwrap();
    assert_eq!((second.files, second.with.as_path()), (1, series.made[0].0.as_path()), "only one firm was packed");
    assert_eq!(series.inode(1, "firms/1.db"), series.inode(0, "firms/1.db"));
    assert_ne!(series.inode(1, "firms/2.db"), series.inode(0, "firms/2.db"));
    // Nothing was packed, but the second firm's file was written a moment ago: it is compared.
    let third = series.back_up().await;
    assert_eq!(third.shared.unwrap().files, 2);
    assert_eq!(series.inode(2, "firms/2.db"), series.inode(1, "firms/2.db"));
    assert_eq!(third.files[1].stamp, None);
    assert!(third.files[0].stamp.is_some());
    series.restore_all().await;
    // Any of them may go.
    std::fs::remove_dir_all(&series.made.remove(0).0).unwrap();
    std::fs::remove_dir_all(&series.made.remove(0).0).unwrap();
    series.restore_all().await;
}

#[tokio::test]
async fn a_damaged_file_is_told_whoever_shares_it() {
    let mut series = Series::begin().await;
    series.deliver(0, true).await;
    series.grow_old();
    series.back_up().await;
    series.back_up().await;
    let file = series.made[0].0.join("firms/1.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    for (dir, _) in &series.made {
        let told = verify(dir, "c").unwrap_err().to_string();
        assert!(told.contains("firms/1.db is damaged: its SHA-256 is "), "{told}");
    }
    // One that is made without the others is not.
    series.made.clear();
    let alone = series.backups.path().join("alone");
    series.store.back_up(order(&alone)).await.unwrap();
    verify(&alone, "c").unwrap();
}

#[tokio::test]
async fn nothing_is_shared_with_what_is_no_backup_of_this_store() {
    let mut series = Series::begin().await;
    series.deliver(0, true).await;
    series.grow_old();
    series.back_up().await;
    let first = series.made[0].0.clone();
    let to = series.backups.path().join("next");
    let since = |dir: &Path| BackupOrder { since: Some(dir.to_owned()), ..order(&to) };
    // A store that goes on from a backup has a history of its own, even in the same files.
    let text = std::fs::read_to_string(first.join(MANIFEST)).unwrap();
    let timeline = series.store.timeline().to_string();
    std::fs::write(first.join(MANIFEST), text.replace(&timeline, &TimelineId::random().to_string())).unwrap();
    let made = series.store.back_up(since(&first)).await.unwrap();
    assert_eq!(made.shared.unwrap().files, 0);
    std::fs::remove_dir_all(&to).unwrap();
    std::fs::remove_file(first.join(MANIFEST)).unwrap();
    let refused = series.store.back_up(since(&first)).await.unwrap_err();
    assert!(matches!(refused, BackupError::NotWhole { .. }), "{refused}");
    assert!(!to.exists());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 12, ..Default::default() })]

    #[test]
    fn any_backup_of_a_series_gives_the_store_as_it_was_then(
        steps in proptest::collection::vec((0usize..2, proptest::bool::ANY, proptest::bool::ANY, proptest::bool::ANY), 1..14),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut series = Series::begin().await;
            for (firm, pack, old, back_up) in steps {
                series.deliver(firm, pack).await;
                if old {
                    series.grow_old();
                }
                if back_up {
                    series.back_up().await;
                }
            }
            series.back_up().await;
            series.restore_all().await;
        });
    }
}
