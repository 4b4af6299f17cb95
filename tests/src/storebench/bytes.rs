//! What a reading takes on disk once it is packed: of simulated machines and of recordings,
//! beside the same columns under zstd.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use sandan_ingest::consent::Form;
use sandan_ingest::store::{Readings, Rows};
use sandan_proto::batch::{Column, Group, Values};
use sandan_proto::reading::Value;
use serde_json::json;

use super::open;
use super::plant::{BEGAN_US, Plant, Series, own};
use crate::chance::Chance;
use crate::plcsim::machine::{ByteOrder, Machine, Make, Point};

/// The level of the comparison, as PostgreSQL and file systems offer it.
const ZSTD_LEVEL: i32 = 3;
/// Readings a column of one batch.
const BATCH: usize = 100;
/// Readings a series after which the firm is packed, as the service does.
const PACKED: usize = 4_096;
const MACHINES: [Make; 6] = [Make::Press, Make::Furnace, Make::Meter, Make::Compressor, Make::Welder, Make::Rack];

/// Bytes of everything in a directory.
pub(super) fn size_of(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        bytes += if path.is_dir() { size_of(&path)? } else { path.metadata()?.len() };
    }
    Ok(bytes)
}

/// Columns that share their times.
struct Recording {
    name: String,
    names: Vec<String>,
    times_us: Vec<i64>,
    columns: Vec<Values>,
}

/// Packs machines and recordings, and prints what each takes.
pub(super) async fn bytes(recordings: &[PathBuf], hours: u32) -> anyhow::Result<()> {
    for (named, tenths) in [("rounded to 0.1", true), ("as polled", false)] {
        let machines: Vec<_> = MACHINES.into_iter().map(|make| machine(make, hours, tenths)).collect();
        for machine in &machines {
            measure(&format!("{}, {named}", machine.name), std::slice::from_ref(machine)).await?;
        }
        measure(&format!("all machines, {named}"), &machines).await?;
    }
    for dir in recordings {
        let mut files: Vec<_> = std::fs::read_dir(dir)
            .with_context(|| format!("reading {}", dir.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        let recorded = files.iter().map(|file| recorded(file)).collect::<anyhow::Result<Vec<_>>>()?;
        measure(&format!("recordings of {}", dir.display()), &recorded).await?;
    }
    Ok(())
}

/// A machine polled once a second by a gateway whose replies take some ms, now and then many. Its
/// values are what its registers say: tenths where it has tenths, singles where it has those; or
/// all of them rounded to tenths.
fn machine(make: Make, hours: u32, tenths: bool) -> Recording {
    let mut machine = Machine::new(make, 7);
    let mut chance = Chance::new(make as u64);
    let names = machine.points().iter().enumerate().map(|(at, _)| format!("x_{at}")).collect();
    let mut columns: Vec<Values> = Vec::new();
    let mut times_us = Vec::new();
    for second in 0..i64::from(hours) * 3_600 {
        let late_ms = if chance.percent(1) { chance.within(10..80) } else { chance.within(2..7) };
        times_us.push(second * 1_000_000 + late_ms.cast_signed() * 1_000);
        machine.advance_to(Duration::from_secs(second.cast_unsigned()));
        let polled = machine.values().into_iter().zip(machine.points());
        let values: Vec<Value> = polled.map(|(value, point)| polled_as(point, value, tenths)).collect();
        if columns.is_empty() {
            columns = values.iter().map(|value| Values::empty(value.value_type())).collect();
        }
        for (column, value) in columns.iter_mut().zip(values) {
            // Of the column's type, as a machine's values keep theirs.
            drop(column.push(value));
        }
    }
    Recording { name: format!("{make:?}").to_lowercase(), names, times_us, columns }
}

/// What a gateway makes of a value.
fn polled_as(point: &Point, value: Value, tenths: bool) -> Value {
    let order = ByteOrder::default();
    match point.decode(&point.encode(&value, order), order).unwrap_or(value) {
        Value::F64(real) if tenths => Value::F64((real * 10.0).round() / 10.0),
        polled => polled,
    }
}

/// `time;one;two`, a header first; labels at the end are left out.
fn recorded(file: &Path) -> anyhow::Result<Recording> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = if file.extension().is_some_and(|extension| extension == "gz") {
        let unpacked = std::process::Command::new("gzip").arg("-dc").arg(file).output().context("running gzip")?;
        String::from_utf8(unpacked.stdout)?
    } else {
        std::fs::read_to_string(file)?
    };
    let mut lines = text.lines();
    let header = lines.next().context("an empty recording")?;
    let wanted = header.split(';').skip(1).take_while(|name| !["anomaly", "changepoint"].contains(name)).count();
    let mut times_us = Vec::new();
    let mut columns = vec![Vec::new(); wanted];
    for line in lines {
        let mut cells = line.split(';');
        let time = cells.next().unwrap_or_default();
        let time: jiff::civil::DateTime = time.parse().with_context(|| format!("{name}: `{time}` is no time"))?;
        times_us.push(time.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_microsecond());
        for column in &mut columns {
            let cell = cells.next().with_context(|| format!("{name}: a line is too short"))?;
            column.push(cell.parse::<f64>().with_context(|| format!("{name}: `{cell}` is no number"))?);
        }
    }
    if !times_us.is_sorted() {
        bail!("{name}: its times go backwards");
    }
    let first_us = times_us.first().copied().unwrap_or(0);
    for time in &mut times_us {
        *time -= first_us;
    }
    let names = (0..wanted).map(|at| format!("x_{at}")).collect();
    Ok(Recording { name, names, times_us, columns: columns.into_iter().map(Values::F64).collect() })
}

fn slice(values: &Values, from: usize, to: usize) -> Values {
    match values {
        Values::F64(all) => Values::F64(all[from..to].to_vec()),
        Values::I64(all) => Values::I64(all[from..to].to_vec()),
        Values::Bool(all) => Values::Bool(all[from..to].to_vec()),
        Values::Text(all) => Values::Text(all[from..to].to_vec()),
    }
}

/// As raw little-endian columns: times and values, each column packed by itself.
fn under_zstd(recording: &Recording) -> anyhow::Result<u64> {
    let mut columns: Vec<Vec<u8>> = vec![recording.times_us.iter().flat_map(|time| time.to_le_bytes()).collect()];
    for values in &recording.columns {
        columns.push(match values {
            Values::F64(all) => all.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::I64(all) => all.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::Bool(all) => all.iter().map(|value| u8::from(*value)).collect(),
            Values::Text(all) => all.iter().flat_map(|text| text.bytes().chain([0])).collect(),
        });
    }
    let mut bytes = 0;
    for column in columns {
        bytes += zstd::bulk::compress(&column, ZSTD_LEVEL)?.len() as u64;
    }
    Ok(bytes)
}

/// Bytes that a coder needs which knows beforehand how often each value comes, or each step from
/// one to the next, whichever is less, and for times how late each is behind its second. What
/// is measured to the last bit has hardly a value twice, so that its bound is a poor one.
fn bound(recording: &Recording) -> f64 {
    let late = recording.times_us.iter().map(|time_us| time_us.rem_euclid(1_000_000));
    let mut bytes = entropy(late);
    for values in &recording.columns {
        bytes += match values {
            Values::F64(all) => least(&all.iter().map(|value| shifted(*value)).collect::<Vec<_>>()),
            Values::I64(all) => least(all),
            Values::Bool(all) => least(&all.iter().map(|value| i64::from(*value)).collect::<Vec<_>>()),
            Values::Text(all) => entropy(all.iter()),
        };
    }
    bytes
}

/// A number in thousandths where it is one; its bits where not.
fn shifted(value: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)] // what is out of range does not come back
    let whole = (value * 1_000.0).round() as i64;
    if (whole as f64 / 1_000.0).to_bits() == value.to_bits() { whole } else { value.to_bits().cast_signed() }
}

fn least(values: &[i64]) -> f64 {
    entropy(values.iter()).min(entropy(values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]))))
}

fn entropy<T: Eq + Hash>(of: impl Iterator<Item = T>) -> f64 {
    let mut counts = HashMap::<T, u64>::new();
    of.for_each(|it| *counts.entry(it).or_default() += 1);
    let all = counts.values().sum::<u64>() as f64;
    counts.values().map(|count| *count as f64 * (all / *count as f64).log2()).sum::<f64>() / 8.0
}

/// Stores recordings in a store of their own, packs it, reads everything back, and prints what
/// it takes.
async fn measure(name: &str, recordings: &[Recording]) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = open(dir.path())?;
    let mut readings = 0;
    for (number, recording) in recordings.iter().enumerate() {
        let series: Vec<_> = recording
            .names
            .iter()
            .zip(&recording.columns)
            .map(|(metric, values)| Series {
                asset: format!("machine-{number}"),
                metric: metric.clone(),
                of: values.value_type(),
            })
            .collect();
        let mut plant = Plant::connect(&store, &format!("bench/gw-{number}"), &series).await?;
        let rows = recording.times_us.len();
        for from in (0..rows).step_by(BATCH) {
            let to = rows.min(from + BATCH);
            let column = |(series, values): (u32, &Values)| Column {
                series,
                quality: Vec::new(),
                values: slice(values, from, to),
            };
            let columns = (0..).zip(&recording.columns).map(column).collect();
            plant.deliver(&store, &[Group { times_us: recording.times_us[from..to].to_vec(), columns }]).await?;
            if to % PACKED < BATCH || to == rows {
                plant.settle(0).await?;
                store.compact(&plant.firm()).await?;
            }
        }
        readings += rows as u64 * recording.columns.len() as u64;
        for (at, values) in recording.columns.iter().enumerate() {
            came_back(&store, &plant, at, &recording.times_us, values).await?;
        }
    }
    drop(store);
    let bytes = size_of(&dir.path().join("firms"))?;
    let zstd = recordings.iter().map(under_zstd).sum::<anyhow::Result<u64>>()?;
    let bound: f64 = recordings.iter().map(bound).sum();
    let line = json!({
        "figure": name,
        "readings": readings,
        "bytes": bytes,
        "bytes_per_reading": bytes as f64 / readings as f64,
        "zstd_bytes_per_reading": zstd as f64 / readings as f64,
        "entropy_bytes_per_reading": bound / readings as f64,
    });
    println!("{line}");
    Ok(())
}

/// Fails unless every reading comes out as it went in, to the bit.
async fn came_back(
    store: &dyn Readings,
    plant: &Plant,
    series: usize,
    times_us: &[i64],
    values: &Values,
) -> anyhow::Result<()> {
    let to_us = BEGAN_US + times_us.last().copied().unwrap_or(0) + 1;
    let permit = own(&plant.key(series), Form::Raw, &[], BEGAN_US, to_us)?;
    let (mut at, mut cursor) = (0, None);
    loop {
        let chunk = store.read(&permit, cursor, 10_000).await?;
        let Rows::Raw(rows) = chunk.rows else { bail!("raw readings were asked for") };
        for row in rows {
            let same = match (&row.value, values.get(at)) {
                (Some(Value::F64(one)), Some(Value::F64(other))) => one.to_bits() == other.to_bits(),
                (one, other) => *one == other,
            };
            if !same || row.time_us != BEGAN_US + times_us[at] {
                bail!("reading {at} of series {series} came back as another");
            }
            at += 1;
        }
        cursor = chunk.next;
        if cursor.is_none() {
            break;
        }
    }
    if at != times_us.len() {
        bail!("{at} of {} readings came back", times_us.len());
    }
    Ok(())
}
