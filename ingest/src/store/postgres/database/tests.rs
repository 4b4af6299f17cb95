use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;
use crate::servers;

fn settings(dsn: &str) -> Settings {
    Settings::of(dsn.parse().unwrap())
}

#[tokio::test]
async fn a_server_says_what_it_is() {
    let server = servers::plain();
    let database = Database::connect(settings(server.dsn())).await.unwrap();
    assert!(database.facts().number >= OLDEST && database.facts().timescale.is_none());
    let client = database.client().await.unwrap();
    let commit: String = client.query_one("SHOW synchronous_commit", &[]).await.unwrap().get(0);
    assert_eq!(commit, "on");
}

#[tokio::test]
async fn the_extension_is_seen() {
    let server = servers::timescale();
    let database = Database::connect(settings(server.dsn())).await.unwrap();
    let timescale = database.facts().timescale.clone().unwrap();
    assert!(timescale.version.starts_with("2."), "{timescale:?}");
    assert_eq!(timescale.license, "timescale");
}

#[tokio::test]
async fn a_database_that_would_lose_what_it_acknowledged_is_refused() {
    let server = servers::plain();
    server
        .sql("ALTER DATABASE :\"DBNAME\" SET synchronous_commit = off".replace(":\"DBNAME\"", &name(&server)).as_str());
    let refused = Database::connect(settings(server.dsn())).await.unwrap_err();
    assert!(refused.to_string().contains("`synchronous_commit` is off"), "{refused}");
}

fn name(database: &servers::Database) -> String {
    database.sql("SELECT current_database()")
}

#[tokio::test]
async fn who_is_away_is_named_without_the_password() {
    let nobody = settings("host=127.0.0.1 port=1 user=sandan password=secret dbname=sandan");
    assert_eq!(nobody.shown(), "sandan@127.0.0.1:1/sandan");
    let refused = Database::connect(nobody.clone()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the database sandan@127.0.0.1:1/sandan cannot be reached");
    assert!(!format!("{refused:?}{nobody:?}").contains("secret"));
}

#[tokio::test]
async fn authorities_that_are_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, "nothing").unwrap();
    let with = Settings { ca_file: Some(path), ..settings("host=127.0.0.1 user=sandan") };
    let refused = Database::connect(with).await.unwrap_err();
    assert!(refused.to_string().ends_with("it holds no certificate"), "{refused}");
}

/// A port below those that the system gives to others.
fn port() -> u16 {
    let first = 20_000 + u16::try_from(std::process::id() % 9_000).unwrap();
    (first..first + 1_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// An authority, and a key and certificate of it for `localhost`.
struct Authority {
    ca: String,
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        Self { ca, certificate: leaf.pem(), key: key.serialize_pem() }
    }
}

/// Waits until new sessions have a setting that was changed.
fn await_setting(server: &servers::Database, name: &str, value: &str) {
    while server.sql(&format!("SHOW {name}")) != value {
        std::thread::yield_now();
    }
}

/// Puts a key and a certificate into the server's directory and has it use them.
fn secure(server: &servers::Server, database: &servers::Database, authority: &Authority) {
    let data = server.directory().join("data");
    let owner = std::fs::metadata(&data).unwrap();
    for (name, content) in [("server.crt", &authority.certificate), ("server.key", &authority.key)] {
        let path = data.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    database.sql("ALTER SYSTEM SET ssl = on");
    database.sql("SELECT pg_reload_conf()");
    await_setting(database, "ssl", "on");
}

fn kept(dir: &Path, name: &str, content: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_reached_by_tls_where_its_certificate_is_of_the_authority_and_the_name() {
    let port = port();
    let server = servers::Server::on_port(port);
    let database = server.database();
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let at = |host: &str, ca: &Authority| {
        let name = name(&database);
        let ca_file = kept(dir.path(), if ca.ca == own.ca { "own.pem" } else { "other.pem" }, &ca.ca);
        let dsn = format!("host={host} port={port} user=postgres password=secret dbname={name}");
        Settings { ca_file: Some(ca_file), ..settings(&dsn) }
    };
    // A server that offers none is not talked to in plain text.
    let refused = Database::connect(at("localhost", &own)).await.unwrap_err();
    let why = refused.source().unwrap().to_string();
    assert!(why.contains("TLS"), "{refused}: {why}");
    secure(&server, &database, &own);
    let connected = Database::connect(at("localhost", &own)).await.unwrap();
    for client in [&*connected.client().await.unwrap() as &tokio_postgres::Client, &connected.own().await.unwrap()] {
        let secure = client.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.unwrap();
        assert!(secure.get::<_, bool>(0));
    }
    for (host, ca, what) in [("localhost", &other, "UnknownIssuer"), ("127.0.0.1", &own, "not valid for name")] {
        let refused = Database::connect(at(host, ca)).await.unwrap_err();
        assert!(matches!(refused, DatabaseError::Unfit { .. }), "{refused:?}");
        assert!(!refused.is_away(), "nobody waits for another certificate");
        let said = refused.to_string();
        assert!(said.contains(what) && said.contains("hint: compare `ca_file`"), "{said}");
        assert!(!format!("{refused:?}").contains("secret"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_sync_is_refused_and_half_pages_are_told() {
    let server = servers::Server::start();
    let database = server.database();
    database.sql("ALTER SYSTEM SET full_page_writes = off");
    database.sql("SELECT pg_reload_conf()");
    await_setting(&database, "full_page_writes", "off");
    let connected = Database::connect(settings(database.dsn())).await.unwrap();
    assert!(connected.half_pages().unwrap().starts_with("full_page_writes is off"));
    database.sql("ALTER SYSTEM SET fsync = off");
    database.sql("SELECT pg_reload_conf()");
    await_setting(&database, "fsync", "off");
    let refused = Database::connect(settings(database.dsn())).await.unwrap_err();
    assert!(refused.to_string().contains("`fsync` is off"), "{refused}");
}
