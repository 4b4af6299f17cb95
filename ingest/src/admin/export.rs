//! A firm's own data in a directory, for the firm: JSON lines and a manifest.
//!
//! It promises that a directory of that name is whole: it has another name until all of it is synced.

use std::fs::{DirBuilder, File as Lock, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sandan_proto::id::FirmId;
use sandan_proto::reading::ValueType;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::{ACTOR, Admin, Answer, Refused};
use crate::audit::Hash;
use crate::store::{GapFact, SeriesInfo, StoredReading};
use crate::time::{parse_time, rfc3339};

/// The version of [`Exported`] and of the lines beside it.
const FORMAT: u32 = 1;
/// The times that can be written: all there are, where none is said.
const ALWAYS: [&str; 2] = ["-009999-01-02T01:59:59Z", "9999-12-30T22:00:00Z"];
/// Begins the name of a directory that is not an export yet, beside the one that it becomes.
const UNFINISHED: &str = ".unfinished-export-";
/// In a directory of that name and locked by who writes there, so that none but ours is cleared away.
const MARK: &str = "an-export-that-is-not-whole";

/// An export as it is asked for. The service may have another working directory: its path is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedExport {
    /// Whose data.
    pub firm: FirmId,
    /// First observation time, µs since 1970; none: from the first on.
    pub from_us: Option<i64>,
    /// Observation times before this; none: through the last.
    pub to_us: Option<i64>,
    /// The directory to make.
    pub to: PathBuf,
}

/// `manifest.json`: what an export says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// Of the manifest and of the lines beside it.
    pub format: u32,
    /// Version of the program that made it.
    pub software: String,
    /// The installation's name.
    pub complex: String,
    /// Whose data.
    pub firm: FirmId,
    /// RFC 3339, first observation time asked for.
    pub from: Option<String>,
    /// RFC 3339, observation times before this were asked for.
    pub to: Option<String>,
    /// RFC 3339, when it was begun.
    pub began: String,
    /// The firm's commit up to which readings are in it; none where there is no series.
    pub as_of: Option<i64>,
    /// Lines of `series.ndjson`.
    pub series: u64,
    /// Lines of `gaps.ndjson`.
    pub gaps: u64,
    /// Whether these are all; otherwise the newest.
    pub all_gaps: bool,
    /// Lines of `readings.ndjson`.
    pub readings: u64,
    /// Every file but this one.
    pub files: Vec<ExportedFile>,
}

/// One file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedFile {
    /// Within the directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of it.
    pub sha256: Hash,
}

impl Admin {
    /// Writes what a firm has stored into a new directory. Given up when the future is dropped.
    pub(super) async fn export(&self, wanted: WantedExport) -> Result<Answer, Refused> {
        let WantedExport { firm, from_us, to_us, to } = wanted;
        self.known(&firm).await?;
        let [first, last] = ALWAYS.map(|text| parse_time(text, 0).map_err(|error| Refused::new(&error, "")));
        let range = (from_us.map_or(first, Ok)?, to_us.map_or(last, Ok)?);
        if range.0 >= range.1 {
            return Err(Refused::new("`from` is not before `to`", "`to` is the first time that is not exported"));
        }
        let began = rfc3339(self.access.now_us());
        let unfinished = Unfinished::begin(&to)?;
        let mut export = self.access.export_firm(ACTOR, &firm, range).await?;

        let mut series = Lines::create(&unfinished.dir, "series.ndjson").await?;
        series.write(export.series().iter().map(series_line)).await?;
        let mut gaps = Lines::create(&unfinished.dir, "gaps.ndjson").await?;
        let (declared, all_gaps) = export.gaps().await?;
        gaps.write(declared.iter().map(gap_line)).await?;
        let mut readings = Lines::create(&unfinished.dir, "readings.ndjson").await?;
        while let Some((info, rows)) = export.next().await? {
            readings.write(rows.iter().map(|row| reading_line(info, row))).await?;
        }
        if !export.is_sound().await? {
            return Err(Refused::new("a series got another unit, or went, amid the export", "run it again"));
        }
        let manifest = Exported {
            format: FORMAT,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            complex: self.complex.clone(),
            firm,
            from: from_us.map(rfc3339),
            to: to_us.map(rfc3339),
            began,
            as_of: export.as_of(),
            series: series.count,
            gaps: gaps.count,
            all_gaps,
            readings: readings.count,
            files: vec![series.finish().await?, gaps.finish().await?, readings.finish().await?],
        };
        let mut last = Lines::create(&unfinished.dir, "manifest.json").await?;
        last.write([json!(manifest)].into_iter()).await?;
        last.finish().await?;
        unfinished.finish(&to)?;
        Ok(Answer::Exported(Box::new(manifest)))
    }
}

fn series_line(info: &SeriesInfo) -> Json {
    let kind = match info.value_type {
        ValueType::F64 | ValueType::Unspecified => "f64",
        ValueType::I64 => "i64",
        ValueType::Bool => "bool",
        ValueType::Text => "text",
    };
    json!({
        "asset": info.key.asset, "metric": info.key.metric, "unit": info.unit, "other_units": info.other_units,
        "type": kind, "path": info.path, "name": { "ko": info.name_ko, "en": info.name_en },
        "time_zone": info.time_zone, "expected_interval_ms": info.expected_interval_ms, "gateway": info.gateway,
    })
}

fn gap_line(gap: &GapFact) -> Json {
    json!({
        "gateway": gap.gateway, "from": gap.from_us.map(rfc3339), "to": gap.to_us.map(rfc3339),
        "cause": gap.cause.as_str_name().trim_start_matches("GAP_CAUSE_").to_lowercase(),
        "readings": gap.readings, "clock": if gap.uncertain { "estimated" } else { "known" },
    })
}

fn reading_line(info: &SeriesInfo, row: &StoredReading) -> Json {
    json!({
        "asset": info.key.asset, "metric": info.key.metric, "unit": info.unit,
        "time": rfc3339(row.time_us), "value": row.value, "quality": row.quality.to_string(),
    })
}

/// A file of JSON lines, digested as it grows.
struct Lines {
    path: PathBuf,
    name: &'static str,
    file: File,
    count: u64,
    bytes: u64,
    hasher: Sha256,
}

impl Lines {
    async fn create(dir: &Path, name: &'static str) -> Result<Self, Refused> {
        let path = dir.join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).await;
        let file = file.map_err(at(&path))?;
        Ok(Self { path, name, file, count: 0, bytes: 0, hasher: Sha256::new() })
    }

    async fn write(&mut self, lines: impl Iterator<Item = Json>) -> Result<(), Refused> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.to_string());
            text.push('\n');
            self.count += 1;
        }
        self.bytes += text.len() as u64;
        self.hasher.update(&text);
        self.file.write_all(text.as_bytes()).await.map_err(at(&self.path))
    }

    async fn finish(mut self) -> Result<ExportedFile, Refused> {
        self.file.flush().await.map_err(at(&self.path))?;
        self.file.sync_all().await.map_err(at(&self.path))?;
        let sha256 = Hash::from_bytes(&self.hasher.finalize()).ok_or_else(|| Refused::new("no SHA-256", ""))?;
        Ok(ExportedFile { name: self.name.to_owned(), bytes: self.bytes, sha256 })
    }
}

/// A directory that becomes an export, or goes.
struct Unfinished {
    dir: PathBuf,
    finished: bool,
    /// Held until it is one.
    _mark: Lock,
}

impl Unfinished {
    fn begin(to: &Path) -> Result<Self, Refused> {
        if to.symlink_metadata().is_ok() {
            let what = format!("{} is there already", to.display());
            return Err(Refused::new(&what, "name a directory that is not there yet"));
        }
        let name = to.file_name().ok_or_else(|| at(to)(io::Error::from(io::ErrorKind::InvalidInput)))?;
        let mut hidden = std::ffi::OsString::from(UNFINISHED);
        hidden.push(name);
        let dir = to.with_file_name(hidden);
        let path = dir.join(MARK);
        if let Ok(left) = Lock::open(&path) {
            if matches!(left.try_lock(), Err(TryLockError::WouldBlock)) {
                return Err(Refused::new(&format!("another export to {} goes on", to.display()), "wait for its end"));
            }
            // A process that was killed left it.
            std::fs::remove_dir_all(&dir).map_err(at(&dir))?;
        }
        DirBuilder::new().mode(0o700).create(&dir).map_err(at(&dir))?;
        let mark = Lock::create_new(&path).and_then(|mark| mark.lock().map(|()| mark)).map_err(at(&path))?;
        Ok(Self { dir, finished: false, _mark: mark })
    }

    fn finish(mut self, to: &Path) -> Result<(), Refused> {
        let sync = |dir: &Path| Lock::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir));
        let mark = self.dir.join(MARK);
        std::fs::remove_file(&mark).map_err(at(&mark))?;
        sync(&self.dir)?;
        std::fs::rename(&self.dir, to).map_err(at(to))?;
        self.finished = true;
        sync(to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            tracing::warn!(dir = %self.dir.display(), %error, "what an export that failed left could not be removed");
        }
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> Refused {
    move |error| Refused::new(&format!("cannot use {}: {error}", path.display()), "")
}
