//! How the database is reached: one pool of connections, TLS, timeouts, and what the server
//! said of itself.
//!
//! It promises that no connection is handed out on which a commit could be acknowledged
//! before it is synced, and that no password is in a message or a `Debug`.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, QueueMode, RecyclingMethod, Runtime,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

/// As the server's list of connections shows ours, with the process behind it: by it
/// processes see each other.
const APPLICATION: &str = "sandan-ingest/";
/// The oldest server that the tests run on.
const OLDEST: u32 = 150_000;
/// Until a server that does not answer is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until a server that vanished in the middle of a statement is given up: the network's own
/// patience is a quarter of an hour.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a statement waits for another one's lock: a transaction of ours that takes
/// longer is stuck.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long somebody waits for a connection of the pool: a reader's patience. Longer queues
/// would only hide that the database is too slow.
const POOL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the database is, and how it is used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host, port, user, password, database, whether TLS is asked for.
    pub server: tokio_postgres::Config,
    /// Authorities that the server's certificate is of, PEM; none where the connection stays
    /// on this machine, or is meant to be plain.
    pub ca_file: Option<PathBuf>,
    /// Most connections at once.
    pub pool_size: usize,
    /// The server gives a statement up after so long.
    pub statement_timeout: Duration,
}

impl Settings {
    /// Connections of a process that serves: 4 reads at once, the commits of both stores, and
    /// the rest for what is asked beside them.
    pub const POOL_SIZE: usize = 12;
    /// A statement reads or writes a bounded piece. One that takes longer never ends.
    pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

    /// The usual settings for `host=… user=… dbname=…` or `postgresql://…`.
    pub fn of(server: tokio_postgres::Config) -> Self {
        let (pool_size, statement_timeout) = (Self::POOL_SIZE, Self::STATEMENT_TIMEOUT);
        Self { server, ca_file: None, pool_size, statement_timeout }
    }

    /// `user@host:5432/dbname`, for people. Never a password.
    pub fn shown(&self) -> String {
        let server = &self.server;
        let hosts = server.get_hosts().iter().enumerate().map(|(at, host)| {
            let port = server.get_ports().get(at).or(server.get_ports().first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        let user = server.get_user().unwrap_or_default();
        format!("{user}@{hosts}/{}", server.get_dbname().or(server.get_user()).unwrap_or_default())
    }
}

/// Why there is no database to work with.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Nobody answers, or not to us.
    #[error("the database {server} cannot be reached")]
    Unreachable {
        /// Which, without a password.
        server: String,
        /// Why.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The authorities' file is of no use.
    #[error("the database's authorities {} cannot be used: {reason}", path.display())]
    Authorities {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The server is not one to keep anything on.
    #[error("the database {server} cannot be used: {what}\n  hint: {hint}")]
    Unfit {
        /// Which, without a password.
        server: String,
        /// What is wrong with it.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// It was laid out by a newer build.
    #[error(
        "the database {server} has layout {found}, this build knows up to {known}\n  hint: start the newer build again"
    )]
    Newer {
        /// Which, without a password.
        server: String,
        /// Its layout.
        found: i32,
        /// The newest known one.
        known: i32,
    },
    /// A change of the layout failed, and left nothing behind.
    #[error("the database cannot be brought to layout {number} ({name})")]
    Migration {
        /// The layout.
        number: i32,
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: tokio_postgres::Error,
    },
    /// All connections are in use, or none is to be had.
    #[error("no connection to the database is to be had")]
    Pool(#[source] PoolError),
    /// A statement failed.
    #[error("the database failed: {what}")]
    Statement {
        /// What was being done.
        what: &'static str,
        /// The database's own words.
        #[source]
        source: tokio_postgres::Error,
    },
}

/// What the server said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `15.18 (Debian …)`.
    pub version: String,
    /// `150018`.
    pub number: u32,
    /// The extension in this database; none without it.
    pub timescale: Option<Timescale>,
    /// Whether a power cut in the middle of a page's writing is mended.
    pub full_page_writes: bool,
}

/// The extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timescale {
    /// `2.28.3`.
    pub version: String,
    /// `timescale` with everything, `apache` without columnstore and policies.
    pub license: String,
}

/// A pool of connections to one database that is fit to keep data.
#[derive(Debug, Clone)]
pub struct Database {
    pool: Pool,
    settings: Arc<Settings>,
    facts: Arc<Facts>,
}

/// How an error of this database, or of what stands on it, is to be taken.
pub(in crate::store) fn is_away(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(it) = cause {
        if let Some(error) = it.downcast_ref::<DatabaseError>() {
            return error.is_away();
        }
        if let Some(error) = it.downcast_ref::<tokio_postgres::Error>() {
            return broke(error);
        }
        cause = it.source();
    }
    false
}

/// Whether there was no answer, or one of a server that is starting or ending.
fn broke(error: &tokio_postgres::Error) -> bool {
    let of_the_server = |code: &SqlState| {
        let code = code.code();
        // Connection exceptions, too few resources, ended by an operator, and our statement timeout.
        ["08", "53", "57"].iter().any(|class| code.starts_with(class))
    };
    match error.code() {
        Some(code) => of_the_server(code),
        None => error.is_closed() || error.source().is_some_and(<dyn Error>::is::<std::io::Error>),
    }
}

impl DatabaseError {
    /// Whether it may be well in a moment without anybody doing anything.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Pool(PoolError::Backend(error)) => broke(error),
            Self::Pool(_) => true,
            Self::Unreachable { source, .. } | Self::Migration { source, .. } | Self::Statement { source, .. } => {
                broke(source)
            }
            Self::Authorities { .. } | Self::Unfit { .. } | Self::Newer { .. } => false,
        }
    }
}

impl Database {
    /// Connects, and looks whether what is acknowledged there stays. Changes nothing.
    pub async fn connect(mut settings: Settings) -> Result<Self, DatabaseError> {
        settings.server.application_name(format!("{APPLICATION}{}", uuid::Uuid::new_v4()));
        let tls = connector(&settings)?;
        let server = prepared(&settings);
        // One connection by hand first: a pool would not tell what was wrong.
        let (client, connection) =
            server.connect(tls.clone()).await.map_err(|source| unreachable(&settings, source))?;
        let driving = tokio::spawn(connection);
        let facts = facts(&client, &settings).await;
        drop(client);
        driving.abort();
        let facts = Arc::new(facts?);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let session = session_settings(&settings);
        let pool = Pool::builder(Manager::from_config(server, tls, recycling))
            .max_size(settings.pool_size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(POOL_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            // The one that was used last: its backend has the tables at hand.
            .queue_mode(QueueMode::Lifo)
            .post_create(Hook::async_fn(move |client, _| {
                let session = session.clone();
                Box::pin(async move { client.batch_execute(&session).await.map_err(HookError::Backend) })
            }))
            .build()
            .map_err(|error| DatabaseError::Unfit {
                server: settings.shown(),
                what: error.to_string(),
                hint: "this is a fault of the program",
            })?;
        Ok(Self { pool, settings: Arc::new(settings), facts })
    }

    /// A connection, which goes back when it is dropped.
    pub async fn client(&self) -> Result<Object, DatabaseError> {
        self.pool.get().await.map_err(DatabaseError::Pool)
    }

    /// A connection that never goes back: what is held for as long as the process serves.
    pub async fn own(&self) -> Result<tokio_postgres::Client, DatabaseError> {
        let unreachable = |source| unreachable(&self.settings, source);
        let tls = connector(&self.settings)?;
        let (client, connection) = prepared(&self.settings).connect(tls).await.map_err(unreachable)?;
        // Ends with the client, or when the server goes; whoever asks next hears of it.
        tokio::spawn(connection);
        client.batch_execute(&session_settings(&self.settings)).await.map_err(unreachable)?;
        Ok(client)
    }

    /// Whether another process has connections to it now.
    pub async fn is_shared(&self) -> Result<bool, DatabaseError> {
        let client = self.client().await?;
        let own = self.settings.server.get_application_name().unwrap_or_default();
        let found = client.query_one(include_str!("sql/others.sql"), &[&own, &format!("{APPLICATION}%")]).await;
        let found = found.map_err(|source| DatabaseError::Statement { what: "looking for other processes", source })?;
        Ok(found.get::<_, i64>(0) > 0)
    }

    /// What it takes on the server's disk.
    pub async fn bytes(&self) -> Result<u64, DatabaseError> {
        let found = self.client().await?.query_one("SELECT pg_database_size(current_database())", &[]).await;
        let found = found.map_err(|source| DatabaseError::Statement { what: "asking for its size", source })?;
        Ok(found.get::<_, i64>(0).unsigned_abs())
    }

    /// What the server said of itself when it was first reached.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// A sentence for whoever runs it, where a power cut may leave half a page behind.
    pub fn half_pages(&self) -> Option<&'static str> {
        (!self.facts.full_page_writes).then_some(
            "full_page_writes is off: only right on a file system that never writes half a page, such as ZFS",
        )
    }

    /// Where it is.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// Why nobody is reached: a certificate that is refused is no server that is away.
fn unreachable(settings: &Settings, source: tokio_postgres::Error) -> DatabaseError {
    let server = settings.shown();
    match certificate_fault(&source) {
        Some(what) => DatabaseError::Unfit {
            server,
            what,
            hint: "compare `ca_file` and the host's name with the certificate in the server's ssl_cert_file",
        },
        None => DatabaseError::Unreachable { server, source },
    }
}

/// What is wrong with the server's certificate, where that is what failed.
fn certificate_fault(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(it) = cause {
        // An error of the stream stands around the one of TLS, and does not name it as its source.
        let inner = it.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| it.downcast_ref());
        if let Some(refused @ rustls::Error::InvalidCertificate(_)) = tls {
            return Some(refused.to_string());
        }
        cause = it.source();
    }
    None
}

/// What every session of ours has, whatever the server's defaults are.
fn session_settings(settings: &Settings) -> String {
    format!(
        "SET synchronous_commit = on; SET timezone = 'UTC'; SET client_min_messages = warning; \
         SET statement_timeout = {}; SET lock_timeout = {}",
        settings.statement_timeout.as_millis(),
        LOCK_TIMEOUT.as_millis()
    )
}

fn prepared(settings: &Settings) -> tokio_postgres::Config {
    let mut server = settings.server.clone();
    if server.get_connect_timeout().is_none() {
        server.connect_timeout(CONNECT_TIMEOUT);
    }
    if server.get_tcp_user_timeout().is_none() {
        server.tcp_user_timeout(SILENCE);
    }
    // Whoever named the authorities wants to be sure whom the password goes to.
    if settings.ca_file.is_some() {
        server.ssl_mode(SslMode::Require);
    } else if server.get_ssl_mode() == SslMode::Prefer {
        server.ssl_mode(SslMode::Disable);
    }
    server
}

fn connector(settings: &Settings) -> Result<MakeRustlsConnect, DatabaseError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &settings.ca_file {
        let refused = |reason: String| DatabaseError::Authorities { path: path.clone(), reason };
        let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        for certificate in certificates.map_err(|error| refused(error.to_string()))? {
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(refused("it holds no certificate".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| DatabaseError::Authorities {
        path: settings.ca_file.clone().unwrap_or_default(),
        reason: error.to_string(),
    })?;
    Ok(MakeRustlsConnect::new(config.with_root_certificates(roots).with_no_client_auth()))
}

async fn facts(client: &tokio_postgres::Client, settings: &Settings) -> Result<Facts, DatabaseError> {
    let asked = client.query_one(include_str!("sql/facts.sql"), &[]).await;
    let row = asked.map_err(|source| DatabaseError::Statement { what: "asking what it is", source })?;
    let setting = |at: usize| row.get::<_, Option<String>>(at).unwrap_or_default();
    let unfit = |what: String, hint| Err(DatabaseError::Unfit { server: settings.shown(), what, hint });
    let number = setting(1).parse().unwrap_or(0);
    if number < OLDEST {
        return unfit(format!("it is PostgreSQL {}", setting(0)), "PostgreSQL 15 is the oldest that is tested");
    }
    if row.get::<_, bool>(5) {
        return unfit("it is a standby".to_owned(), "name the primary");
    }
    if setting(2) != "on" {
        return unfit(
            "`fsync` is off, and a power cut would damage all of it".to_owned(),
            "set fsync = on in postgresql.conf and restart it",
        );
    }
    if setting(3) == "off" {
        return unfit(
            "`synchronous_commit` is off, and a crash would lose what was acknowledged".to_owned(),
            "set synchronous_commit = on for the server, the database and the user",
        );
    }
    if setting(6) != "UTF8" {
        let hint = "make the database with ENCODING 'UTF8'";
        return unfit(format!("its texts are in {}, which cannot hold every name", setting(6)), hint);
    }
    let extension: Option<String> = row.get(7);
    let timescale = extension.map(|version| Timescale { version, license: setting(8) });
    Ok(Facts { version: setting(0), number, full_page_writes: setting(4) == "on", timescale })
}

#[cfg(test)]
mod tests;
