//! Backup, restore and the witness over whole data directories.

use std::path::PathBuf;

use sandan_proto::id::FirmId;

use super::*;
use crate::admin::{Answer, Command, Grant, WantedBackup};
use crate::audit::{Chain, Entry, Kind};
use crate::consent::{Consent, EventWindow, SharedForm, Status};
use crate::run::{Door, check};
use crate::store::control::Firm;

struct Site {
    dir: tempfile::TempDir,
    config: Config,
}

impl Site {
    fn new(witness: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("other-disk")).unwrap();
        let witness = if witness { "[witness]\nfile = \"other-disk/witness.json\"\n" } else { "" };
        let text = format!("complex = \"c\"\ndata_dir = \"data\"\n{witness}");
        let config = Config::parse(&dir.path().join("ingest.toml"), &text).unwrap();
        Self { dir, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn witness(&self) -> PathBuf {
        self.path("other-disk/witness.json")
    }

    async fn does(&self, command: Command) -> Answer {
        let mut door = Door::open(&self.config).await.unwrap();
        let answer = door.execute(command).await.unwrap();
        door.close().await;
        answer
    }

    /// What a command that only looks is told of the store.
    async fn notice(&self) -> Option<String> {
        let door = Door::open(&self.config).await.unwrap();
        let notice = door.notice().map(str::to_owned);
        door.close().await;
        notice
    }

    /// Two firms, a member, and a consent.
    async fn furnish(&self) -> Consent {
        for id in ["hanbit", "saesol"] {
            let it = Firm { id: FirmId::new(id).unwrap(), name_ko: "한빛금형".into(), name_en: "Hanbit".into() };
            self.does(Command::FirmAdd(it)).await;
        }
        self.does(Command::MemberAdd {
            firm: FirmId::new("saesol").unwrap(),
            name: "김하늘".into(),
            role: crate::consent::Role::Member,
            until_us: None,
        })
        .await;
        self.grant().await
    }

    async fn grant(&self) -> Consent {
        let grant = Grant {
            grantor: FirmId::new("hanbit").unwrap(),
            grantee: FirmId::new("saesol").unwrap(),
            assets: ["press-1".parse().unwrap()].into(),
            metrics: ["press_force".parse().unwrap()].into(),
            form: SharedForm::Raw,
            event: EventWindow { from_us: None, to_us: None },
            not_before_us: None,
            until_us: i64::MAX,
        };
        self.does(Command::ConsentGrant(grant)).await;
        self.consents().await.pop().unwrap()
    }

    async fn consents(&self) -> Vec<Consent> {
        match self.does(Command::ConsentList).await {
            Answer::Consents(consents) => consents,
            other => panic!("{other:?}"),
        }
    }

    async fn log(&self, chain: &str) -> Vec<Entry> {
        match self.does(Command::AuditPage { chain: chain.parse().unwrap(), after: 0 }).await {
            Answer::Audit(entries) => entries,
            other => panic!("{other:?}"),
        }
    }

    async fn verify(&self, chain: &str) {
        let chain: Chain = chain.parse().unwrap();
        assert!(matches!(self.does(Command::AuditVerify { chain }).await, Answer::AuditHolds(_)));
    }

    async fn back_up(&self, name: &str) -> PathBuf {
        let to = self.path(name);
        let wanted = WantedBackup { to: to.clone(), with_keys: false, since: None, bytes_per_second: None };
        self.does(Command::Backup(wanted)).await;
        to
    }

    /// As a disk image that is put back, or `cp -a`.
    fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.path(from), self.path(to));
        let _ = std::fs::remove_dir_all(&to);
        for folder in ["", "firms"] {
            std::fs::create_dir_all(to.join(folder)).unwrap();
            for entry in std::fs::read_dir(from.join(folder)).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_file() {
                    std::fs::copy(entry.path(), to.join(folder).join(entry.file_name())).unwrap();
                }
            }
        }
        std::fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }

    fn lose_data(&self) {
        std::fs::remove_dir_all(&self.config.data_dir).unwrap();
    }

    fn timeline(&self) -> String {
        files::stand(&self.config.data_dir).unwrap().unwrap().timeline.to_string()
    }
}

fn is_suspended(consent: &Consent) -> bool {
    matches!(consent.status, Status::Suspended { .. })
}

#[tokio::test]
async fn a_restore_begins_a_timeline_and_every_consent_waits_for_its_grantor() {
    let site = Site::new(false);
    let consent = site.furnish().await;
    let backup = site.back_up("monday").await;
    let old = site.timeline();
    let kept = site.log("@complex").await;
    assert_eq!(kept.last().unwrap().kind, Kind::BackedUp);
    let refused = restore(&site.config, &backup).await.unwrap_err();
    assert!(matches!(refused, RunError::NotEmpty(_)), "{refused}");
    site.lose_data();
    let report = restore(&site.config, &backup).await.unwrap();
    assert_eq!(report.undone, Undone { suspended: 1, revoked: 0 });
    assert_eq!((report.timeline.as_str(), report.files), (site.timeline().as_str(), 2));
    assert_ne!(report.timeline, old);
    let found = site.consents().await;
    assert!(found.len() == 1 && is_suspended(&found[0]), "{found:?}");
    let kinds: Vec<_> = site.log("hanbit").await.into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::FirmAdded, Kind::ConsentGranted, Kind::ConsentSuspended, Kind::StoreRestored]);
    for chain in ["hanbit", "saesol", "@complex"] {
        site.verify(chain).await;
    }
    assert!(check(&site.config, false).await.unwrap().counts.contains(&("suspended consents", 1)));
    assert_eq!(site.does(Command::ConsentConfirm { id: consent.id }).await, Answer::Done);
    assert_eq!(site.consents().await[0].status, Status::Active);
    assert_eq!(site.notice().await, None, "it is settled");
    assert_eq!(site.timeline(), report.timeline);
}

#[tokio::test]
async fn what_was_withdrawn_after_the_backup_stays_withdrawn_by_the_witness() {
    let site = Site::new(true);
    let (first, second) = (site.furnish().await, site.grant().await);
    site.does(Command::OperatorAdd { name: "관제실".into(), role: crate::consent::Role::Operator }).await;
    let backup = site.back_up("monday").await;
    site.does(Command::ConsentRevoke { id: first.id }).await;
    let Answer::Members(members) = site.does(Command::MemberList).await else { panic!() };
    site.does(Command::MemberRevoke { id: members[0].id }).await;
    let Answer::Operators(operators) = site.does(Command::OperatorList).await else { panic!() };
    site.does(Command::OperatorRevoke { id: operators[0].id }).await;
    site.lose_data();
    let report = restore(&site.config, &backup).await.unwrap();
    assert_eq!(report.undone, Undone { suspended: 1, revoked: 3 });
    let found = site.consents().await;
    assert!(matches!(found[0].status, Status::Revoked { .. }) && is_suspended(&found[1]), "{found:?}");
    assert_eq!(found[1].id, second.id);
    let Answer::Members(members) = site.does(Command::MemberList).await else { panic!() };
    assert!(members[0].revoked_us.is_some());
    let Answer::Operators(operators) = site.does(Command::OperatorList).await else { panic!() };
    assert!(operators[0].revoked_us.is_some());
    // The witness follows the new timeline: the next start finds nothing amiss.
    assert_eq!(site.notice().await, None);
    site.does(Command::ConsentConfirm { id: second.id }).await;
    assert_eq!(site.notice().await, None);
    assert_eq!(site.consents().await[1].status, Status::Active);
    // And a second restore of the same backup still knows all of it.
    site.lose_data();
    assert_eq!(restore(&site.config, &backup).await.unwrap().undone, Undone { suspended: 1, revoked: 3 });
}

#[tokio::test]
async fn a_data_directory_that_was_put_back_is_found_by_the_witness() {
    let site = Site::new(true);
    let consent = site.furnish().await;
    site.copy("data", "image");
    site.does(Command::ConsentRevoke { id: consent.id }).await;
    let old = site.timeline();
    site.copy("image", "data");
    let told = check(&site.config, false).await.unwrap().witness.unwrap();
    assert!(told.contains("does not hold the entry 3 of the witness: the next start suspends every consent"), "{told}");
    assert_eq!(site.timeline(), old, "looking changes nothing");
    let notice = site.notice().await.unwrap();
    assert!(notice.starts_with("the store is an older state: the log of hanbit does not hold the entry 3"), "{notice}");
    assert!(notice.ends_with("consents suspended until their grantors confirm them: 0, revocations done again: 1"));
    assert!(matches!(site.consents().await[0].status, Status::Revoked { .. }));
    assert_ne!(site.timeline(), old);
    assert_eq!(site.notice().await, None, "once");
    for chain in ["hanbit", "saesol", "@complex"] {
        site.verify(chain).await;
    }
    // The state from before the restore is now a foreign one too, though no shorter.
    site.copy("image", "data");
    assert!(site.notice().await.unwrap().contains("the store is of timeline"));
}

#[tokio::test]
async fn a_witness_that_is_gone_suspends_and_one_that_never_was_does_not() {
    let site = Site::new(true);
    site.furnish().await;
    assert_eq!(site.notice().await, None);
    std::fs::remove_file(site.witness()).unwrap();
    let told = check(&site.config, false).await.unwrap().witness.unwrap();
    assert!(told.contains("is gone: the next start suspends every consent"), "{told}");
    assert!(site.notice().await.unwrap().contains("until their grantors confirm them: 1,"));
    assert!(is_suspended(&site.consents().await[0]));
    assert!(site.witness().exists(), "there is one again");
    // A disk that is not mounted is not a witness that is gone.
    std::fs::rename(site.path("other-disk"), site.path("unplugged")).unwrap();
    let refused = Door::open(&site.config).await.err().unwrap().to_string();
    assert!(refused.ends_with("is not there; is its disk mounted?"), "{refused}");
    std::fs::rename(site.path("unplugged"), site.path("other-disk")).unwrap();
    assert_eq!(site.notice().await, None);
    std::fs::write(site.witness(), "{}").unwrap();
    let refused = Door::open(&site.config).await.err().unwrap().to_string();
    assert!(refused.contains("cannot be read: missing field"), "{refused}");
}

#[tokio::test]
async fn a_revocation_that_the_witness_does_not_have_holds_and_is_not_acknowledged() {
    let site = Site::new(true);
    let consent = site.furnish().await;
    let mut door = Door::open(&site.config).await.unwrap();
    std::fs::rename(site.path("other-disk"), site.path("unplugged")).unwrap();
    let refused = door.execute(Command::ConsentRevoke { id: consent.id }).await.unwrap_err();
    assert!(refused.message.starts_with("it is withdrawn here, and the directory of the witness"), "{refused}");
    assert!(refused.hint.starts_with("until the witness is written, a restore would bring back"), "{}", refused.hint);
    let Answer::Consents(found) = door.execute(Command::ConsentList).await.unwrap() else { panic!() };
    assert!(matches!(found[0].status, Status::Revoked { .. }));
    std::fs::rename(site.path("unplugged"), site.path("other-disk")).unwrap();
    let before = std::fs::read_to_string(site.witness()).unwrap();
    assert!(!before.contains(&consent.id.to_string()));
    door.close().await;
    assert!(std::fs::read_to_string(site.witness()).unwrap().contains(&consent.id.to_string()), "tried again");
}

#[tokio::test]
async fn a_restore_that_fails_leaves_an_empty_directory_and_one_that_was_killed_is_refused() {
    let site = Site::new(false);
    site.furnish().await;
    let backup = site.back_up("monday").await;
    site.lose_data();
    let inbox = backup.join("inbox.db");
    let whole = std::fs::read(&inbox).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&inbox, flipped).unwrap();
    let refused = restore(&site.config, &backup).await.unwrap_err();
    assert!(matches!(refused, RunError::Backup(BackupError::Damaged { .. })), "{refused}");
    assert!(is_empty(&site.config.data_dir).unwrap());
    std::fs::write(&inbox, whole).unwrap();
    std::fs::write(site.config.data_dir.join(data_dir::RESTORING), "").unwrap();
    let refused = Door::open(&site.config).await.err().unwrap();
    assert!(matches!(refused, RunError::HalfRestored(_)), "{refused}");
    assert!(matches!(restore(&site.config, &backup).await, Err(RunError::NotEmpty(_))));
    std::fs::remove_file(site.config.data_dir.join(data_dir::RESTORING)).unwrap();
    let door_is_shut = Config { complex: "other".into(), ..site.config.clone() };
    let refused = restore(&door_is_shut, &backup).await.unwrap_err();
    assert!(matches!(refused, RunError::Backup(BackupError::Foreign { .. })), "{refused}");
    restore(&site.config, &backup).await.unwrap();
    // Not under a service or a command that has it open.
    let door = Door::open(&site.config).await.unwrap();
    assert!(matches!(restore(&site.config, &backup).await, Err(RunError::InUse(_))));
    door.close().await;
}

#[tokio::test]
async fn a_witness_whose_disk_hangs_does_not_hold_the_end_up() {
    let site = Site::new(true);
    let mut door = Door::open(&site.config).await.unwrap();
    let firm = Firm { id: FirmId::new("hanbit").unwrap(), name_ko: "한빛금형".into(), name_en: "Hanbit".into() };
    door.execute(Command::FirmAdd(firm)).await.unwrap();
    // Opening it to write waits for whoever reads, who does not come.
    let pipe = site.path("other-disk/witness.json.new");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    door.close().await;
    let reader = std::fs::File::open(&pipe).unwrap();
    std::fs::remove_file(&pipe).unwrap();
    drop(reader);
    assert!(Door::open(&site.config).await.is_ok(), "the lock went with it");
}
