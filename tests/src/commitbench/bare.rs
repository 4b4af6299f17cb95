//! The bare copy: what an ingest stored, taken out transaction by transaction and copied into the
//! emptied table by `psql`, in the same order and the same transactions, over one connection.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value as Json, json};

use crate::harness::process::{cpu_seconds, cpu_seconds_of_children};
use crate::servers::{Database, binary};

const COLUMNS: &str = "ts, value, commit_no, series_id, quality, nth";
/// From this version on the ingest has its rows compressed as they come.
const COMPRESSES: &str = "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'
    AND current_setting('timescaledb.license', true) = 'timescale'
    AND string_to_array(split_part(extversion, '-', 1), '.')::int[] >= '{2,28,1}'";

/// The processes of a server on this machine.
pub(super) struct Server {
    postmaster: u32,
}

impl Server {
    /// The one in this directory.
    pub(super) fn of(directory: &Path) -> anyhow::Result<Self> {
        let file = std::fs::read_to_string(directory.join("data/postmaster.pid"))?;
        let postmaster = file.lines().next().and_then(|line| line.trim().parse().ok());
        Ok(Self { postmaster: postmaster.context("the server has no process id")? })
    }

    /// CPU seconds of all of its processes so far, also of those that have ended.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let mut sum = cpu_seconds(self.postmaster)? + cpu_seconds_of_children(self.postmaster)?;
        for process in std::fs::read_dir("/proc")? {
            let Some(id) = process?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
            if parent == Some(self.postmaster) {
                // It may end in between; then its parent has it.
                sum += cpu_seconds(id).unwrap_or(0.0);
            }
        }
        Ok(sum)
    }
}

/// Copies what is in the table of numbers once more, as bare as it goes.
pub(super) fn copy_again(database: &Database, server: Option<&Server>) -> anyhow::Result<Json> {
    let dir = tempfile::Builder::new().prefix("sandan-copy-").tempdir()?;
    // For the taking out only: the copy is to meet the table as the ingest met it.
    database.sql("CREATE INDEX taken_out ON readings.reading (commit_no)");
    let commits = database.sql("SELECT commit_no, count(*) FROM readings.reading GROUP BY 1 ORDER BY 1");
    let commits: Vec<(i64, u64)> = commits
        .lines()
        .map(|line| {
            let (commit, rows) = line.split_once('|').context("a commit and its rows")?;
            Ok((commit.parse()?, rows.parse()?))
        })
        .collect::<anyhow::Result<_>>()?;
    let (mut out, mut back) = (String::new(), String::new());
    if database.sql(COMPRESSES) == "1" {
        back.push_str("SET timescaledb.enable_direct_compress_copy = on;\n");
    }
    for (commit, _) in &commits {
        let file = dir.path().join(format!("{commit}.copy"));
        let file = file.display();
        writeln!(
            out,
            "\\copy (SELECT {COLUMNS} FROM readings.reading WHERE commit_no = {commit}) TO '{file}' (FORMAT binary)"
        )?;
        writeln!(back, "\\copy readings.reading ({COLUMNS}) FROM '{file}' (FORMAT binary)")?;
    }
    psql(database, &dir.path().join("out.sql"), &out)?;
    database.sql("DROP INDEX readings.taken_out");
    database.sql("TRUNCATE readings.reading");
    database.sql("CHECKPOINT");
    let own = std::process::id();
    let cpu = || -> anyhow::Result<[f64; 2]> {
        Ok([cpu_seconds_of_children(own)?, server.map_or(Ok(0.0), Server::cpu_seconds)?])
    };
    let before = cpu()?;
    let began = Instant::now();
    psql(database, &dir.path().join("back.sql"), &back)?;
    let took = began.elapsed().as_secs_f64();
    let after = cpu()?;
    let rows: u64 = commits.iter().map(|(_, rows)| rows).sum();
    ensure!(database.sql("SELECT count(*) FROM readings.reading") == rows.to_string(), "the copy is not whole");
    let spent = |at: usize| (after[at] - before[at]) * 1e6 / rows.max(1) as f64;
    Ok(json!({
        "readings_per_second": rows as f64 / took,
        "readings": rows,
        "transactions": commits.len(),
        "cpu_psql_s_per_million": spent(0),
        "cpu_server_s_per_million": server.map(|_| spent(1)),
    }))
}

fn psql(database: &Database, script: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(script, text)?;
    let mut command = Command::new(binary("psql"));
    command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file"]).arg(script).arg(database.dsn());
    let ended = command.output().context("psql cannot be started")?;
    ensure!(ended.status.success(), "psql failed: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}
