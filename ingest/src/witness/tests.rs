use super::*;
use crate::access::fixture::Complex;
use crate::store::SqliteReadings;
use crate::store::control::{Change, Stamp};

fn witness(complex: &Complex, path: PathBuf, known: Option<Record>) -> (Witness, Arc<Metrics>) {
    let readings = Arc::new(SqliteReadings::open(complex.dir.path(), crate::fixture::options()).unwrap());
    let metrics = Arc::new(Metrics::default());
    let it = Witness::new(path, "c".into(), known, complex.control.clone(), readings, metrics.clone());
    (it, metrics)
}

#[tokio::test]
async fn the_file_holds_every_revocation_and_forgets_none() {
    let complex = Complex::new().await;
    let disk = tempfile::tempdir().unwrap();
    let path = disk.path().join("witness.json");
    let (it, _) = witness(&complex, path.clone(), None);
    let id = complex.grant_raw().await;
    complex.revoke(id).await;
    it.write().await.unwrap();
    let record = Record::load(&path, "c").unwrap().unwrap();
    assert_eq!(record.revocations().consents.keys().collect::<Vec<_>>(), [&id]);
    assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 1, "nothing lies beside it");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&complex.owner.1) && !text.contains("press_force"), "no token, no terms: {text}");
    // Of another state of the store, in which none of it is.
    drop(it);
    let other = Complex::new().await;
    let (it, _) = witness(&other, path.clone(), Some(record.clone()));
    it.write().await.unwrap();
    let next = Record::load(&path, "c").unwrap().unwrap();
    assert_eq!(next.revocations(), record.revocations());
    assert_ne!(next.heads, record.heads);
    let foreign = Record::load(&path, "other").unwrap_err().to_string();
    assert!(foreign.ends_with("is the witness of the complex `c`, and the configuration is of `other`"), "{foreign}");
}

#[tokio::test]
async fn a_store_is_behind_by_its_timeline_its_log_or_its_readings() {
    let complex = Complex::new().await;
    let heads = complex.control.testimony().await.unwrap().heads;
    let revocations = Revocations::default();
    let record = Record { format: 1, complex: "c".into(), timeline: "t".into(), commits: 7, heads, revocations };
    let behind = async |timeline: Option<&str>, commits| {
        let timeline = timeline.map(str::to_owned);
        record.behind(complex.control.as_ref(), timeline, commits).await.unwrap()
    };
    assert_eq!(behind(Some("t"), 7).await, None);
    assert_eq!(behind(Some("t"), 8).await, None);
    assert_eq!(behind(Some("t"), 6).await.unwrap(), "the store has 6 commits, its witness knows of 7");
    assert_eq!(behind(Some("u"), 7).await.unwrap(), "the store is of timeline u, its witness of t");
    assert_eq!(behind(None, 0).await.unwrap(), "the store is of timeline none, its witness of t");
    complex.grant_raw().await;
    assert_eq!(behind(Some("t"), 7).await, None, "further is not behind");
    let mut forked = record.clone();
    let head = forked.heads.values_mut().next().unwrap();
    head.hash = crate::audit::Hash::NONE;
    let why = forked.behind(complex.control.as_ref(), Some("t".into()), 7).await.unwrap().unwrap();
    assert!(why.starts_with("the log of hanbit does not hold the entry "), "{why}");
    let mut cut = record.clone();
    cut.heads.values_mut().next().unwrap().number += 10;
    assert!(cut.behind(complex.control.as_ref(), Some("t".into()), 7).await.unwrap().is_some());
}

#[tokio::test]
async fn a_disk_that_fails_is_told_once_and_the_file_is_mended_when_it_is_back() {
    let complex = Complex::new().await;
    let disk = tempfile::tempdir().unwrap();
    let folder = disk.path().join("mounted");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("witness.json");
    let (it, metrics) = witness(&complex, path.clone(), None);
    it.write().await.unwrap();
    let id = complex.grant_raw().await;
    std::fs::rename(&folder, disk.path().join("away")).unwrap();
    complex.revoke(id).await;
    assert!(matches!(it.write().await, Err(WitnessError::NoDirectory(_))));
    assert_eq!(metrics.witness_behind.get(), 1);
    assert!(it.write().await.is_err());
    std::fs::rename(disk.path().join("away"), &folder).unwrap();
    it.write().await.unwrap();
    assert_eq!(metrics.witness_behind.get(), 0);
    assert!(Record::load(&path, "c").unwrap().unwrap().revocations().consents.contains_key(&id));
    std::fs::remove_file(&path).unwrap();
    it.write().await.unwrap();
    assert!(path.exists(), "one that somebody removed is written anew");
}

#[tokio::test(start_paused = true)]
async fn the_file_follows_the_log_while_the_service_runs() {
    let complex = Complex::new().await;
    let disk = tempfile::tempdir().unwrap();
    let path = disk.path().join("witness.json");
    let (it, _) = witness(&complex, path.clone(), None);
    let it = Arc::new(it);
    it.write().await.unwrap();
    let stop = CancellationToken::new();
    let keeping = {
        let (it, stop) = (it.clone(), stop.clone());
        tokio::spawn(async move { it.keep(stop).await })
    };
    let change = Change::AddFirm(crate::store::control::Firm {
        id: "daeyang".parse().unwrap(),
        name_ko: "대양".into(),
        name_en: "Daeyang".into(),
    });
    complex.control.apply(change, Stamp { actor: "a test".into(), now_us: 1 }).await.unwrap();
    let known = || Record::load(&path, "c").unwrap().unwrap().heads.contains_key(&"daeyang".parse().unwrap());
    while !known() {
        tokio::time::sleep(INTERVAL).await;
    }
    stop.cancel();
    keeping.await.unwrap();
}
