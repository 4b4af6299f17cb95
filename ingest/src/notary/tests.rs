use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::audit::offline::Kept;
use crate::audit::seal::TreeHead;
use crate::store::sqlite::control::SqliteControl;

const NOW: i64 = 1_795_000_000_000_000; // 2026-11-18

struct House {
    dir: tempfile::TempDir,
    control: SqliteControl,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = SqliteControl::open(&dir.path().join("control.db")).unwrap();
        Self { dir, control }
    }

    async fn open(&self) -> Result<Notary, NotaryError> {
        let clock: Clock = Arc::new(|| NOW);
        let dir = self.dir.path().join("audit");
        Notary::open("saesol", &dir, self.dir.path().join("heads"), &self.control, &clock).await
    }

    fn key_file(&self) -> PathBuf {
        self.dir.path().join("audit").join(KEY_FILE)
    }

    async fn say(&self, chain: &str) -> Entry {
        let draft = Draft::new(chain.parse().unwrap(), Kind::ReadStarted, "member 1");
        self.control.append(draft, NOW).await.unwrap()
    }
}

#[tokio::test]
async fn the_key_is_made_once_is_for_its_owner_alone_and_stands_in_the_log() {
    let house = House::new();
    let first = house.open().await.unwrap();
    let again = house.open().await.unwrap();
    assert_eq!(first.keys(), again.keys());
    assert_eq!(fs::metadata(house.key_file()).unwrap().permissions().mode() & 0o777, 0o600);
    let log = house.control.audit(&Chain::Complex, 0, 10).await.unwrap();
    assert_eq!(log.iter().map(|entry| entry.kind).collect::<Vec<_>>(), [Kind::AuditKeyMade]);
    assert_eq!(log[0].detail["key"], first.keys()[0].to_string().into());
    assert!(!format!("{first:?}").contains("BEGIN"));
}

#[tokio::test]
async fn a_lost_key_gives_way_to_a_new_one_and_what_it_signed_stays_good() {
    let house = House::new();
    let entry = house.say("hanbit").await;
    let old = house.open().await.unwrap().receipt(&entry);
    fs::remove_file(house.key_file()).unwrap();
    let new = house.open().await.unwrap();
    assert_eq!(new.keys().len(), 2);
    assert_ne!(new.receipt(&entry).key, old.key);
    assert_eq!(old.verify(new.keys()), Ok(()));
}

#[tokio::test]
async fn a_file_that_holds_no_key_is_named_with_what_to_do() {
    let house = House::new();
    house.open().await.unwrap();
    fs::write(house.key_file(), "secret words").unwrap();
    let refused = house.open().await.unwrap_err().to_string();
    assert!(refused.contains("key.pem holds no Ed25519 key") && refused.contains("hint: bring back"), "{refused}");
    assert!(!refused.contains("secret words"), "{refused}");
}

#[tokio::test]
async fn a_firm_keeps_the_end_of_its_log_and_finds_it_cut_off() {
    let house = House::new();
    let notary = house.open().await.unwrap();
    for _ in 0..3 {
        house.say("hanbit").await;
        house.say("saesol").await;
    }
    let chain: Chain = "hanbit".parse().unwrap();
    let proof = notary.proof(&house.control, &chain, NOW).await.unwrap().unwrap();
    assert_eq!((proof.number, proof.head.chains), (3, 3), "two firms and the complex");
    let log = house.control.audit(&chain, 0, 10).await.unwrap();
    let file = |entries: &[Entry]| -> String {
        entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect()
    };
    let kept = Kept { keys: notary.keys().to_vec(), receipts: Vec::new(), proofs: vec![proof] };
    assert_eq!(kept.check(Some(&mut file(&log).as_bytes())).unwrap().last, 3);
    let cut = kept.check(Some(&mut file(&log[..2]).as_bytes())).unwrap_err();
    assert_eq!(cut.to_string(), "the log ends at entry 2, and entry 3 was kept: its end was cut off");
    let unknown = "nobody".parse().unwrap();
    assert_eq!(notary.proof(&house.control, &unknown, NOW).await.unwrap(), None);
}

#[tokio::test]
async fn the_end_of_all_logs_is_put_down_where_it_has_moved() {
    let house = House::new();
    let notary = house.open().await.unwrap();
    let mut written = None;
    notary.follow(&house.control, NOW, &mut written).await.unwrap();
    notary.follow(&house.control, NOW + 60_000_000, &mut written).await.unwrap();
    house.say("hanbit").await;
    notary.follow(&house.control, NOW + 120_000_000, &mut written).await.unwrap();
    let text = fs::read_to_string(house.dir.path().join("heads").join("heads-2026-11.jsonl")).unwrap();
    let heads: Vec<TreeHead> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        heads.iter().map(|head| (head.time_us, head.chains)).collect::<Vec<_>>(),
        [(NOW, 1), (NOW + 120_000_000, 2)]
    );
    assert!(heads.iter().all(|head| head.verify(notary.keys()).is_ok()));
}
