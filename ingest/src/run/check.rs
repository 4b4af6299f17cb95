//! `check`: what would be served, without opening a port or changing anything.

use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::Serialize;

use super::data_dir::Place;
use super::forecast::{Forecast, Measured, WINDOW_US, forecast};
use super::{RunError, data_dir};
use crate::admin::{BACKUP_RATE, socket};
use crate::config::{Config, Engine, Listen, Postgres, Uplink, shown_retention};
use crate::disk;
use crate::retention::Retention;
use crate::store::control::Control;
use crate::store::postgres::{self, Database, PostgresControl};
use crate::store::sqlite::control::SqliteControl;
use crate::store::sqlite::{SqliteReadings, census, look, verify};
use crate::store::{StoreError, Verified};
use crate::time::system_clock;
use crate::witness::Record;

/// What `check` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Name of the installation.
    pub complex: String,
    /// Where gateways connect, and how it is protected.
    pub uplink: String,
    /// Where API and console are, and how they are protected.
    pub http: String,
    /// For how long what is kept.
    pub retention: String,
    /// Where everything durable lives.
    pub data_dir: String,
    /// Whether a service runs on it.
    pub in_use: bool,
    /// Databases that are there.
    pub files: Vec<FileReport>,
    /// When the disk is full, and how long a backup takes; none before the first start, while files of an
    /// older layout are there, and of a database, whose disk is its server's.
    pub forecast: Option<Forecast>,
    /// The database that keeps everything durable; none with the `SQLite` engine.
    pub database: Option<DatabaseReport>,
    /// The witness, and how the store stands to it; none where none is configured.
    pub witness: Option<String>,
    /// What a deep check found; none where none was asked for.
    pub deep: Option<Verified>,
    /// How many of what there are.
    pub counts: Vec<(&'static str, usize)>,
}

/// One database.
#[derive(Debug, Serialize)]
pub struct FileReport {
    /// Within the data directory.
    pub name: String,
    /// With its log.
    pub bytes: u64,
    /// Its layout.
    pub version: i64,
}

/// What a database server said of itself.
#[derive(Debug, Serialize)]
pub struct DatabaseReport {
    /// `user@host:5432/dbname`.
    pub server: String,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// `15.18 (Debian …)`.
    pub version: String,
    /// `2.28.3, timescale`; none without the extension.
    pub timescale: Option<String>,
    /// What it takes on the server's disk.
    pub bytes: u64,
    /// Its layout; 0 for one that was never used.
    pub layout: i32,
    /// Whether another process serves it or is at work on it.
    pub shared: bool,
    /// What an operator should know of the server's settings.
    pub notes: Vec<String>,
}

/// Looks at the configuration and at what is there; if it is to be `deep`, at all of it.
pub async fn check(config: &Config, deep: bool) -> Result<Report, RunError> {
    for (what, tls) in
        [("uplink", &config.uplink.tls), ("uplink.ca", &config.uplink.ca), ("http", &config.http.listen.tls)]
    {
        if let Some(tls) = tls {
            super::http::server_config(what, tls)?;
        }
    }
    let dir = &config.data_dir;
    let mut report = Report {
        complex: config.complex.clone(),
        uplink: format!("{} (TLS, {})", config.uplink.address, certificate(&config.uplink)),
        http: shown(&config.http.listen, config.http.behind_proxy),
        retention: retention(config),
        data_dir: dir.display().to_string(),
        in_use: in_use(dir),
        files: files(dir),
        forecast: None,
        database: None,
        witness: None,
        deep: None,
        counts: Vec::new(),
    };
    if deep {
        let found = match &config.engine {
            Engine::Sqlite => look_deeply(dir).await?,
            Engine::Postgres(it) => look_deeply_at(it).await?,
        };
        let is_whole = found.flaws.is_empty();
        report.deep = Some(found);
        // What is damaged is named, and not leant on for the rest.
        if !is_whole {
            return Ok(report);
        }
    }
    let known = config.witness.as_ref().map(|path| Record::load(path, &config.complex)).transpose()?.flatten();
    match &config.engine {
        Engine::Sqlite => look_at_files(config, &mut report, known.as_ref()).await?,
        Engine::Postgres(it) => look_at_database(config, it, &mut report, known.as_ref()).await?,
    }
    Ok(report)
}

async fn look_deeply(dir: &Path) -> Result<Verified, RunError> {
    if !dir.join(data_dir::INBOX).exists() {
        return Ok(Verified::default());
    }
    let (dir, control) = (dir.to_owned(), dir.join(data_dir::CONTROL));
    let verifying = tokio::task::spawn_blocking(move || verify::verify(&dir, &[&control]));
    Ok(verifying.await.map_err(|_| RunError::Ended("the deep check"))??)
}

async fn look_deeply_at(it: &Postgres) -> Result<Verified, RunError> {
    let database = Database::connect(data_dir::settings(it)).await?;
    database.refuse_newer().await?;
    match database.layout().await? {
        0 => Ok(Verified::default()),
        layout if layout < postgres::migrate::newest() => Err(StoreError::Unsupported(OLDER).into()),
        _ => Ok(postgres::readings::verify(&database).await?),
    }
}

/// What is not done, and what to do.
const OLDER: &str =
    "a deep check of a database that an older build laid out: the next start brings it up to date, and before it";

async fn look_at_files(config: &Config, report: &mut Report, known: Option<&Record>) -> Result<(), RunError> {
    let dir = &config.data_dir;
    // Before the first start there is nothing to count, and looking must not make it.
    if dir.join(data_dir::CONTROL).exists() {
        let control = SqliteControl::look(&dir.join(data_dir::CONTROL))?;
        look_at_control(config, report, &control, &Place::Files(dir), known).await?;
    }
    if dir.join(data_dir::INBOX).exists() {
        report.counts.extend(SqliteReadings::look(&dir.join(data_dir::INBOX))?);
        report.forecast = measured(config, &report.files, system_clock()())?.map(|it| forecast(&it));
    }
    Ok(())
}

/// Measures what the files hold and the disk has left.
fn measured(config: &Config, files: &[FileReport], now_us: i64) -> Result<Option<Measured>, RunError> {
    let dir = &config.data_dir;
    let Some(found) = census::take(dir, now_us.saturating_sub(WINDOW_US), now_us)? else { return Ok(None) };
    let space = disk::space(dir).map_err(|source| RunError::DataDir { path: dir.clone(), source })?;
    Ok(Some(Measured {
        bytes: files.iter().map(|file| file.bytes).sum(),
        readings: found.readings,
        age_us: found.from_us.map(|from_us| now_us.saturating_sub(from_us)),
        of_window: found.of_span,
        room: space.free.saturating_sub(config.reserve.of(space.total)),
        kept_us: config.retention.longest_us(),
        backup_rate: BACKUP_RATE,
    }))
}

async fn look_at_database(
    config: &Config,
    it: &Postgres,
    report: &mut Report,
    known: Option<&Record>,
) -> Result<(), RunError> {
    let database = Database::connect(data_dir::settings(it)).await?;
    database.refuse_newer().await?;
    let (facts, layout) = (database.facts(), database.layout().await?);
    let notes = database.half_pages().into_iter().map(str::to_owned).collect();
    report.database = Some(DatabaseReport {
        server: database.settings().shown(),
        tls: it.ca_file.is_some(),
        version: facts.version.clone(),
        timescale: facts.timescale.as_ref().map(|it| format!("{}, {}", it.version, it.license)),
        bytes: database.bytes().await?,
        layout,
        shared: database.is_shared().await?,
        notes,
    });
    // What an older layout holds cannot be asked for, and looking must not change it.
    if layout == postgres::migrate::newest() {
        let control = PostgresControl::new(database.clone());
        look_at_control(config, report, &control, &Place::Database(&database), known).await?;
    }
    Ok(())
}

async fn look_at_control(
    config: &Config,
    report: &mut Report,
    control: &dyn Control,
    place: &Place<'_>,
    known: Option<&Record>,
) -> Result<(), RunError> {
    let now_us = crate::time::system_clock()();
    let gateways = control.gateways().await?;
    let members = control.members().await?;
    report.counts = vec![
        ("firms", control.firms().await?.len()),
        ("gateways", gateways.iter().filter(|it| it.revoked_us.is_none()).count()),
        ("members", members.iter().filter(|it| it.revoked_us.is_none()).count()),
        ("consents", control.consents().await?.len()),
        ("suspended consents", usize::try_from(control.suspended(now_us).await?).unwrap_or(usize::MAX)),
    ];
    if let Some(path) = &config.witness {
        // The files of a running service are its own; it says by `/healthz` how they are.
        let stands = match data_dir::behind(config, control, place, known).await {
            _ if report.in_use => "in use".to_owned(),
            Ok(None) if known.is_none() => "not written yet".to_owned(),
            Ok(None) => "up to the store".to_owned(),
            Ok(Some(why)) => format!("{why}: the next start suspends every consent"),
            Err(error) => return Err(error),
        };
        report.witness = Some(format!("{} ({stands})", path.display()));
    }
    Ok(())
}

/// Whether a service answers there. The lock is left alone: whoever tries it, if only for
/// a moment, makes a service that is just starting give up.
pub(super) fn in_use(dir: &Path) -> bool {
    UnixStream::connect(dir.join(socket::NAME)).is_ok()
}

fn retention(config: &Config) -> String {
    let Retention { raw_us, minutes_us, hours_us } = config.retention.all;
    let [readings, minutes, hours] = [raw_us, minutes_us, hours_us].map(shown_retention);
    let except = match config.retention.except.len() {
        0 => String::new(),
        count => format!("; {count} exceptions"),
    };
    format!("readings {readings}, minutes {minutes}, hours {hours}{except}")
}

fn certificate(uplink: &Uplink) -> &'static str {
    match (&uplink.tls, &uplink.ca) {
        (Some(_), _) => "a certificate of its own",
        (None, Some(_)) => "a certificate of the outside authority",
        (None, None) => "a certificate of the built-in authority",
    }
}

fn shown(listen: &Listen, behind_proxy: bool) -> String {
    let how = match (&listen.tls, behind_proxy) {
        (Some(_), _) => "TLS",
        (None, true) => "plain text, behind a proxy",
        (None, false) => "plain text, this machine only",
    };
    format!("{} ({how})", listen.address)
}

fn files(dir: &Path) -> Vec<FileReport> {
    let mut files = Vec::new();
    for folder in ["", "firms"] {
        let Ok(entries) = std::fs::read_dir(dir.join(folder)) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "db")
                && let Ok(version) = version(&path)
            {
                let size = |suffix: &str| {
                    let mut name = path.clone().into_os_string();
                    name.push(suffix);
                    std::fs::metadata(name).map_or(0, |file| file.len())
                };
                let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
                files.push(FileReport { name, bytes: size("") + size("-wal"), version });
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

fn version(path: &Path) -> rusqlite::Result<i64> {
    look(path)?.pragma_query_value(None, "user_version", |row| row.get(0))
}
