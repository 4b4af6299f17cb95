//! Commands and a service over a PostgreSQL database.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use super::*;
use crate::admin::WantedBackup;
use crate::config::Engine;
use crate::consent::Consent;
use crate::servers::{Database, Server, binary, plain};

/// An installation: a directory, and a database.
struct Site {
    dir: tempfile::TempDir,
    config: Config,
}

fn store(dsn: &str) -> String {
    format!("[store]\nengine = \"postgres\"\nurl = \"{dsn}\"\n")
}

impl Site {
    fn new(dsn: &str, further: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "complex = \"c\"\ndata_dir = \"data\"\n[uplink]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n{}{further}",
            store(dsn)
        );
        let config = Config::parse(&dir.path().join("ingest.toml"), &text).unwrap();
        Self { dir, config }
    }

    fn with_witness(dsn: &str) -> Self {
        let site = Self::new(dsn, "[witness]\nfile = \"other-disk/witness.json\"\n");
        std::fs::create_dir(site.witness().parent().unwrap()).unwrap();
        site
    }

    fn witness(&self) -> PathBuf {
        self.dir.path().join("other-disk/witness.json")
    }

    async fn does(&self, command: Command) -> Answer {
        let mut door = loop {
            match Door::open(&self.config).await {
                // The last task of a service that ended here a moment ago still holds the directory.
                Err(RunError::InUse(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                opened => break opened.unwrap(),
            }
        };
        let answer = door.execute(command).await.unwrap();
        door.close().await;
        answer
    }

    async fn consents(&self) -> Vec<Consent> {
        match self.does(Command::ConsentList).await {
            Answer::Consents(consents) => consents,
            other => panic!("{other:?}"),
        }
    }

    /// Two firms and a consent.
    async fn furnish(&self) {
        for id in ["hanbit", "saesol"] {
            self.does(add(id)).await;
        }
        let grant = Grant {
            grantor: firm("hanbit"),
            grantee: firm("saesol"),
            assets: ["press-1".parse().unwrap()].into(),
            metrics: ["press_force".parse().unwrap()].into(),
            form: SharedForm::Raw,
            event: EventWindow { from_us: None, to_us: None },
            not_before_us: None,
            until_us: i64::MAX,
        };
        self.does(Command::ConsentGrant(grant)).await;
    }

    /// Serves until the sender is used.
    async fn serve(&self) -> (Ready, oneshot::Sender<&'static str>, tokio::task::JoinHandle<Result<(), RunError>>) {
        let (end, ended) = oneshot::channel();
        let (say, ready) = oneshot::channel();
        let config = self.config.clone();
        let serving = tokio::spawn(async move {
            let ending = async { ended.await.unwrap_or("dropped") };
            serve_until(&config, ending, |ready| say.send(ready).unwrap()).await
        });
        (ready.await.unwrap(), end, serving)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_works_on_a_database() {
    let place = plain();
    let mut site = Site::new(place.dsn(), "");
    site.config.uplink.public_address = Some(("sandan.example".into(), 443));
    let mut door = Door::open(&site.config).await.unwrap();
    happy_path(&mut door).await;
    door.close().await;
    let report = check(&site.config, false).await.unwrap();
    let database = report.database.unwrap();
    assert!(database.timescale.is_none() && !database.tls && database.layout > 0 && database.bytes > 0, "{database:?}");
    assert!(report.files.is_empty() && report.counts.contains(&("firms", 2)), "{:?}", report.counts);
}

#[tokio::test]
async fn looking_at_a_database_before_the_first_start_makes_nothing() {
    let place = plain();
    let site = Site::new(place.dsn(), "");
    let report = check(&site.config, false).await.unwrap();
    assert_eq!((report.database.unwrap().layout, report.counts.len()), (0, 0));
    assert_eq!(place.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_a_database_from_its_start_over_a_pull_to_its_end() {
    let place = plain();
    a_whole_life(&store(place.dsn())).await;
}

#[tokio::test]
async fn a_database_is_backed_up_by_its_own_tools() {
    let place = plain();
    let site = Site::new(place.dsn(), "");
    let mut door = Door::open(&site.config).await.unwrap();
    let to = site.dir.path().join("backup");
    let wanted = WantedBackup { to: to.clone(), with_keys: false, since: None, bytes_per_second: None };
    let refused = door.execute(Command::Backup(wanted)).await.unwrap_err();
    assert!(refused.to_string().contains("pg_dump") || refused.hint.contains("pg_dump"), "{refused:?}");
    let refused = restore(&site.config, &to).await.unwrap_err();
    assert!(refused.to_string().contains("pg_restore"), "{refused}");
}

fn tool(name: &str, args: &[&str]) {
    let ended = std::process::Command::new(binary(name)).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(ended.status.success(), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
}

fn dump(place: &Database, to: &std::path::Path) {
    tool("pg_dump", &["--format=custom", "--file", &to.to_string_lossy(), place.dsn()]);
}

fn put_back(place: &Database, from: &std::path::Path) {
    place.sql("DROP SCHEMA public CASCADE; DROP SCHEMA readings CASCADE; CREATE SCHEMA public");
    tool("pg_restore", &["--dbname", place.dsn(), "--exit-on-error", &from.to_string_lossy()]);
}

/// An older dump in the place of the database: nobody has what was withdrawn since, and
/// gateways send again.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_put_back_is_found_by_the_witness() {
    let place = plain();
    let site = Site::with_witness(place.dsn());
    site.furnish().await;
    let [timeline, consent] =
        [place.sql("SELECT timeline FROM readings.store"), site.consents().await[0].id.to_string()];
    let file = site.dir.path().join("monday.dump");
    dump(&place, &file);
    site.does(Command::ConsentRevoke { id: consent.parse().unwrap() }).await;
    put_back(&place, &file);
    let told = check(&site.config, false).await.unwrap().witness.unwrap();
    assert!(told.contains("the next start suspends every consent"), "{told}");

    // Not while another process goes on with it.
    let other = Site::new(place.dsn(), "");
    let (_, end, serving) = other.serve().await;
    let refused = Door::open(&site.config).await.err().unwrap();
    assert!(matches!(refused, RunError::Shared(_)), "{refused:?}");
    end.send("the test").unwrap();
    serving.await.unwrap().unwrap();

    let door = Door::open(&site.config).await.unwrap();
    let notice = door.notice().unwrap().to_owned();
    assert!(notice.contains("revocations done again: 1"), "{notice}");
    door.close().await;
    assert!(matches!(site.consents().await[0].status, Status::Revoked { .. }));
    assert_ne!(place.sql("SELECT timeline FROM readings.store"), timeline);
    // The witness follows: the next start finds nothing amiss.
    assert!(Door::open(&site.config).await.unwrap().notice().is_none());
}

/// Its witness may be the only one that is gone: the others would find their consents suspended.
#[tokio::test(flavor = "multi_thread")]
async fn a_further_process_without_its_witness_does_not_begin_a_timeline() {
    let place = plain();
    let first = Site::with_witness(place.dsn());
    first.furnish().await;
    let (_, end, serving) = first.serve().await;
    let further = Site::with_witness(place.dsn());
    let refused = Door::open(&further.config).await.err().unwrap();
    assert!(matches!(&refused, RunError::Shared(why) if why.contains("is gone")), "{refused:?}");
    std::fs::copy(first.witness(), further.witness()).unwrap();
    assert!(Door::open(&further.config).await.unwrap().notice().is_none());
    end.send("the test").unwrap();
    serving.await.unwrap().unwrap();
    assert_eq!(first.consents().await[0].status, Status::Active);
}

/// A lost database is waited for, at the start and amid everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_waits_for_its_database() {
    let mut server = Server::start();
    let place = server.database();
    let site = Site::new(place.dsn(), "");
    site.does(add("hanbit")).await;
    let Answer::Line(token) = site
        .does(Command::MemberAdd {
            firm: firm("hanbit"),
            name: "김하늘".into(),
            role: crate::consent::Role::Member,
            until_us: None,
        })
        .await
    else {
        panic!()
    };
    let bearer = format!("Authorization: Bearer {token}");
    server.crash();
    let away = Door::open(&site.config).await.err().unwrap();
    assert!(matches!(&away, RunError::Database(error) if error.is_away()), "{away:?}");
    let (up, server) = tokio::join!(site.serve(), async {
        tokio::task::spawn_blocking(move || {
            server.resume();
            server
        })
        .await
        .unwrap()
    });
    let (Ready { http, .. }, end, serving) = up;
    let mut server = server;
    assert_eq!(get(http, "/v1/series", &bearer).await.0, 200);

    server.crash();
    let (status, problem) = get(http, "/v1/series", &bearer).await;
    assert!(status == 503 && problem.contains("\"code\":\"store_away\""), "{status} {problem}");
    // What it said a moment ago is believed for a second.
    while get(http, "/healthz", "").await.0 != 503 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.resume();
    while get(http, "/healthz", "").await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(get(http, "/v1/series", &bearer).await.0, 200);
    end.send("the test").unwrap();
    serving.await.unwrap().unwrap();
}

#[test]
fn the_password_is_read_from_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("database.password");
    let text = "complex = \"c\"\ndata_dir = \"d\"\n[store]\nengine = \"postgres\"\nurl = \"postgresql://sandan@localhost/sandan\"\npassword_file = \"database.password\"\n";
    let parse = || Config::parse(&dir.path().join("ingest.toml"), text);
    std::fs::write(&path, "geheim\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(parse().unwrap_err().to_string().contains("run chmod o-rwx on it"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = parse().unwrap();
    let Engine::Postgres(it) = &config.engine else { panic!("{config:?}") };
    assert_eq!(it.server.get_password(), Some(b"geheim".as_slice()));
    assert!(!format!("{config:?}").contains("geheim"));
}
