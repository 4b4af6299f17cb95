//! `spool check|export|repair`: looks into the files of the spool itself, without a gateway.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use sandan_proto::id::{BootId, LaneId};
use sandan_proto::reading::Quality;
use sandan_proto::record::{Gap, GapCause, Moment, Sealed};
use sandan_proto::{batch, v1};
use serde_json::{Value, json};

use super::ConfigFile;
use super::table::table;
use crate::config::Config;
use crate::spool::{self, Cause, Damage, DeadLetter, Exported, SpoolError, Survey};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show segments and what is damaged in them; a running gateway is not disturbed
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Print readings, gaps and dead letters, a JSON object a line; the gateway must be stopped
    Export {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        range: Range,
    },
    /// Rebuild damaged segments; the gateway must be stopped
    Repair {
        #[command(flatten)]
        config: ConfigFile,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}

/// What of a spool is exported.
#[derive(Debug, Args)]
pub(super) struct Range {
    /// Only this lane
    #[arg(long, value_name = "ID")]
    lane: Option<LaneId>,
    /// From this sequence of each lane on
    #[arg(long, value_name = "SEQUENCE", default_value_t = 1)]
    first: u64,
    /// Through this sequence of each lane
    #[arg(long, value_name = "SEQUENCE", default_value_t = u64::MAX)]
    last: u64,
}

pub(super) fn spool(command: Command) -> anyhow::Result<ExitCode> {
    let out = &mut std::io::stdout().lock();
    match command {
        Command::Check { config, json } => check(&dir(&config)?, json, out),
        Command::Export { config, range } => match export(&dir(&config)?, &range, out) {
            // Whoever read it has seen enough.
            Err(error) if is_closed(&error) => Ok(ExitCode::SUCCESS),
            done => done.map(|()| ExitCode::SUCCESS),
        },
        Command::Repair { config, json } => repair(&dir(&config)?, json, out),
    }
}

fn dir(config: &ConfigFile) -> anyhow::Result<PathBuf> {
    // Whoever looks after a broken box need not be able to read its keys.
    let (config, _) = Config::survey(&config.file)?;
    let dir = config.state_dir.join("spool");
    anyhow::ensure!(dir.is_dir(), "there is no spool in {}; has the gateway run?", dir.display());
    Ok(dir)
}

fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

pub(super) fn check(dir: &Path, json: bool, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let survey = spool::survey(dir)?;
    if json {
        let mut object = serde_json::to_value(&survey)?;
        object["lanes"] = serde_json::to_value(lanes(&survey))?;
        writeln!(out, "{}", serde_json::to_string_pretty(&object)?)?;
    } else {
        write!(out, "{}", text(&survey))?;
    }
    for file in &survey.aside {
        eprintln!("{file} was put aside as damaged; it takes room under the cap until it is removed");
    }
    if !survey.state_is_whole {
        eprintln!("state.json is damaged: the next start puts it aside, and the ingest asks for a release");
    }
    if survey.is_damaged() {
        eprintln!("hint: `sandan-gateway spool repair` rebuilds damaged segments while the gateway is stopped");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Records and readings by lane, oldest first.
fn lanes(survey: &Survey) -> Vec<Value> {
    let mut lanes: Vec<(String, u64, u64, u64)> = Vec::new();
    for segment in &survey.segments {
        let (Some(lane), Some(_)) = (&segment.found.lane, segment.found.sequences) else { continue };
        let found = &segment.found;
        match lanes.iter_mut().find(|known| known.0 == *lane) {
            Some(known) => {
                known.1 += 1;
                known.2 += found.lane_records;
                known.3 += found.readings;
            }
            None => lanes.push((lane.clone(), 1, found.lane_records, found.readings)),
        }
    }
    let object = |(lane, segments, records, readings)| json!({"lane": lane, "segments": segments, "records": records, "readings": readings});
    lanes.into_iter().map(object).collect()
}

fn text(survey: &Survey) -> String {
    let sequences =
        |range: Option<(u64, u64)>| range.map_or_else(|| "-".into(), |(first, last)| format!("{first}–{last}"));
    let rows: Vec<[String; 7]> = survey
        .segments
        .iter()
        .map(|segment| {
            let found = &segment.found;
            let state = match (found.newer, found.damage.len(), &found.unfinished) {
                (Some(version), ..) => format!("format {version}, newer than this program"),
                (None, 0, None) => "whole".into(),
                (None, 0, Some(_)) => "whole, with an unfinished write at its end".into(),
                (None, count, _) => format!("{count} damaged"),
            };
            [
                segment.file.clone(),
                found.lane.clone().unwrap_or_else(|| "-".into()),
                segment.bytes.to_string(),
                found.records.to_string(),
                sequences(found.sequences),
                found.readings.to_string(),
                state,
            ]
        })
        .collect();
    let mut text = table(["SEGMENT", "LANE", "BYTES", "RECORDS", "SEQUENCES", "READINGS", "STATE"], &rows);
    let damage: Vec<[String; 4]> = survey
        .segments
        .iter()
        .flat_map(|segment| segment.found.damage.iter().map(|damage| damaged(&segment.file, damage)))
        .collect();
    if !damage.is_empty() {
        text.push('\n');
        text.push_str(&table(["SEGMENT", "OFFSET", "BYTES", "DAMAGE"], &damage));
    }
    text
}

fn damaged(file: &str, damage: &Damage) -> [String; 4] {
    let cause = match damage.cause {
        Cause::Header => "the segment's header fails its checksum; its records are read all the same",
        Cause::Checksum => "no record here passes its checksum",
        Cause::Content => "a record holds something else than its kind says",
    };
    [file.into(), damage.offset.to_string(), damage.bytes.to_string(), cause.into()]
}

pub(super) fn repair(dir: &Path, json: bool, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let done = spool::repair(dir).context("the spool was not repaired")?;
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&done)?)?;
    } else if !done.is_empty() {
        let row = |done: &spool::Repaired| {
            let carried = done.records.to_string();
            [
                done.file.clone(),
                carried,
                done.lost_records.to_string(),
                done.lost_readings.to_string(),
                done.original.clone(),
            ]
        };
        let rows: Vec<_> = done.iter().map(row).collect();
        write!(out, "{}", table(["SEGMENT", "RECORDS", "LOST RECORDS", "LOST READINGS", "ORIGINAL"], &rows))?;
    }
    if done.is_empty() {
        eprintln!("nothing is damaged");
    } else {
        eprintln!("the originals are kept, and take room under the cap until you remove them");
    }
    Ok(ExitCode::SUCCESS)
}

/// What the lines need that stands elsewhere in the spool.
#[derive(Default)]
struct Names {
    births: HashMap<Vec<u8>, v1::BirthSet>,
    clocks: HashMap<Vec<u8>, i64>,
}

pub(super) fn export(dir: &Path, range: &Range, out: &mut impl Write) -> anyhow::Result<()> {
    let mut names = Names::default();
    // An offset may be learnt after the readings that it is for.
    spool::export::<anyhow::Error>(dir, |record| {
        match record {
            Exported::Births(births) if !names.births.contains_key(&births.hash) => {
                let set = prost::Message::decode(births.content).context("births cannot be decoded")?;
                names.births.insert(births.hash, set);
            }
            Exported::Clock(clock) => {
                names.clocks.insert(clock.boot_id, clock.offset_us);
            }
            _ => {}
        }
        Ok(())
    })?;
    let is_wanted = |lane: LaneId, first: u64, last: u64| {
        range.lane.is_none_or(|wanted| wanted == lane) && last >= range.first && first <= range.last
    };
    spool::export::<anyhow::Error>(dir, |record| match record {
        Exported::Batch(sealed) if is_wanted(sealed.lane, sealed.sequence, sealed.sequence) => {
            names.batch(&sealed, out)
        }
        Exported::Gap(gap) if is_wanted(gap.lane, gap.first_sequence, gap.last_sequence) => names.gap(&gap, out),
        // It is of no lane.
        Exported::Dead(boot, letter) if range.lane.is_none() => names.dead(boot, &letter, out),
        _ => Ok(()),
    })
}

impl Names {
    fn time(&self, moment: Moment) -> Value {
        let offset = self.clocks.get(&moment.boot.to_vec());
        let wall = offset.and_then(|offset| jiff::Timestamp::from_microsecond(moment.monotonic_us + offset).ok());
        wall.map_or(Value::Null, |wall| json!(wall.to_string()))
    }

    fn batch(&self, sealed: &Sealed, out: &mut impl Write) -> anyhow::Result<()> {
        let groups = batch::decode(&sealed.payload)
            .with_context(|| format!("record {} of lane {} cannot be decoded", sealed.sequence, sealed.lane))?;
        let births = self.births.get(sealed.births.as_bytes().as_slice());
        for group in groups {
            for column in group.columns {
                let series = births.and_then(|births| births.series.get(column.series as usize));
                let asset = series.and_then(|series| births?.assets.get(series.asset as usize));
                let runs =
                    column.quality.iter().flat_map(|(count, quality)| std::iter::repeat_n(*quality, *count as usize));
                let qualities = runs.chain(std::iter::repeat(Quality::GOOD));
                for (at, (time, quality)) in group.times_us.iter().zip(qualities).enumerate() {
                    let line = json!({
                        "time": self.time(Moment { boot: sealed.boot, monotonic_us: *time }),
                        "monotonic_us": time,
                        "boot": sealed.boot.to_string(),
                        "asset": asset.map(|asset| &asset.id),
                        "metric": series.map(|series| &series.metric),
                        "value": if quality.is_bad() { Value::Null } else { value(&column.values, at) },
                        "quality": quality.to_string(),
                        "lane": sealed.lane.to_string(),
                        "sequence": sealed.sequence,
                    });
                    writeln!(out, "{line}")?;
                }
            }
        }
        Ok(())
    }

    fn dead(&self, boot: Option<BootId>, letter: &DeadLetter, out: &mut impl Write) -> anyhow::Result<()> {
        let text = std::str::from_utf8(&letter.payload).ok();
        let hex = || letter.payload.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let line = json!({
            "dead_letter": letter.reason,
            "time": boot.map(|boot| self.time(Moment { boot, monotonic_us: letter.at_us })),
            "source": letter.source,
            "topic": letter.topic,
            "payload": text,
            "payload_hex": text.is_none().then(hex),
            "payload_bytes": letter.payload_bytes,
        });
        Ok(writeln!(out, "{line}")?)
    }

    fn gap(&self, gap: &Gap, out: &mut impl Write) -> anyhow::Result<()> {
        let cause = match gap.cause {
            GapCause::Restart => "restart",
            GapCause::SpoolFull => "spool-full",
            GapCause::DiskFull => "disk-full",
            GapCause::Damaged => "damaged",
            GapCause::ReplayWindow => "replay-window",
            GapCause::Unspecified => "unknown",
        };
        let line = json!({
            "gap": cause,
            "lane": gap.lane.to_string(),
            "first": gap.first_sequence,
            "last": gap.last_sequence,
            "readings": gap.readings(),
            "from": gap.from.map(|moment| self.time(moment)),
            "to": gap.to.map(|moment| self.time(moment)),
        });
        Ok(writeln!(out, "{line}")?)
    }
}

fn value(values: &batch::Values, at: usize) -> Value {
    match values {
        batch::Values::F64(values) => json!(values.get(at)),
        batch::Values::I64(values) => json!(values.get(at)),
        batch::Values::Bool(values) => json!(values.get(at)),
        batch::Values::Text(values) => json!(values.get(at)),
    }
}

/// A lock that is held means that the gateway runs: said with what to do.
pub(super) fn hint(error: &anyhow::Error) -> Option<&'static str> {
    let is_locked = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(SpoolError::Locked(_))));
    is_locked.then_some("stop the gateway first; `spool check` looks into a running one")
}

#[cfg(test)]
mod tests;
