//! `check`: what would be served, without opening a port or changing anything.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use super::{RunError, data_dir};
use crate::admin::{Answer, Command};
use crate::config::{Config, Listen};
use crate::time::show_duration;

/// What `check` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Name of the installation.
    pub complex: String,
    /// Where gateways connect, and how it is protected.
    pub uplink: String,
    /// Where API and console are, and how they are protected.
    pub http: String,
    /// How old a reading may be when it arrives.
    pub retention: String,
    /// Where everything durable lives.
    pub data_dir: String,
    /// Whether a service runs on it.
    pub in_use: bool,
    /// Databases that are there.
    pub files: Vec<FileReport>,
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

/// Looks at the configuration and at what is there.
pub async fn check(config: &Config) -> Result<Report, RunError> {
    for (what, listen) in [("uplink", &config.uplink), ("http", &config.http.listen)] {
        if let Some(tls) = &listen.tls {
            super::http::server_config(what, tls)?;
        }
    }
    let dir = &config.data_dir;
    let mut report = Report {
        complex: config.complex.clone(),
        uplink: shown(&config.uplink, false),
        http: shown(&config.http.listen, config.http.behind_proxy),
        retention: show_duration(config.retention_us),
        data_dir: dir.display().to_string(),
        in_use: data_dir::in_use(dir),
        files: files(dir),
        counts: Vec::new(),
    };
    // Before the first start there is nothing to count, and looking must not make it.
    if dir.join(data_dir::CONTROL).exists() {
        let mut door = super::Door::open(config).await?;
        for command in [Command::FirmList, Command::GatewayList, Command::MemberList, Command::ConsentList] {
            if let Ok(answer) = door.execute(command).await {
                report.counts.extend(count(&answer));
            }
        }
        door.close().await;
    }
    Ok(report)
}

fn count(answer: &Answer) -> Option<(&'static str, usize)> {
    match answer {
        Answer::Firms(list) => Some(("firms", list.len())),
        Answer::Gateways(list) => Some(("gateways", list.iter().filter(|it| it.revoked_us.is_none()).count())),
        Answer::Members(list) => Some(("members", list.iter().filter(|it| it.revoked_us.is_none()).count())),
        Answer::Consents(list) => Some(("consents", list.len())),
        _ => None,
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
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    file.pragma_query_value(None, "user_version", |row| row.get(0))
}
