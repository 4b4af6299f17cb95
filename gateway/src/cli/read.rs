//! `read`: every signal once, straight from the devices, with what is on the wire.
//!
//! For the twenty minutes with a register map and a cabinet door open: the raw words
//! beside the value show a wrong address, type or byte order at a glance, and the round trip
//! what `check --plan --round-trip` can count on.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use sandan_proto::reading::Quality;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::table::table;
use crate::clock::{self, KnownOffset};
use crate::config::{Config, Decode, Endpoint, Modbus, Mqtt, Signal};
use crate::driver::modbus::plan::shown;
use crate::driver::modbus::sweep;
use crate::driver::{self, Outlet, Raw};
use crate::health::Health;
use crate::tag::judge;

/// One row.
struct Row {
    signal: u32,
    wire: String,
    raw: String,
    value: Raw,
    /// When it was so, monotonic microseconds; `None` where nothing came.
    at_us: Option<i64>,
    /// How long the device took to answer the request that brought it.
    took: Option<Duration>,
}

/// What one endpoint gave.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    /// One sentence a device that gave less than all.
    faults: Vec<String>,
}

pub(super) async fn read(
    config: &Config,
    device: Option<&str>,
    wait: Duration,
    json: bool,
) -> anyhow::Result<ExitCode> {
    if let Some(name) = device
        && !config.devices.iter().any(|device| device.name == name)
    {
        let known: Vec<_> = config.devices.iter().map(|device| device.name.as_str()).collect();
        bail!("no device `{name}` in the configuration; there are {}", known.join(", "));
    }
    let wanted = |name: &str| device.is_none_or(|device| device == name);
    // All endpoints at once: an absent one must not hold up the others.
    let found =
        futures::future::join_all(config.endpoints.iter().enumerate().map(async |(index, endpoint)| match endpoint {
            Endpoint::Modbus(modbus) => read_modbus(config, modbus, wanted).await,
            Endpoint::Mqtt(mqtt) => read_mqtt(config, index, mqtt, wanted, wait).await,
        }))
        .await;
    let mut all = Found::default();
    for found in found {
        all.rows.extend(found.rows);
        all.faults.extend(found.faults);
    }
    all.rows.sort_by_key(|row| row.signal);
    print!("{}", if json { as_json(config, &all.rows)? } else { as_table(config, &all.rows) });
    all.faults.iter().for_each(|fault| eprintln!("{fault}"));
    Ok(if all.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn read_modbus(config: &Config, endpoint: &Modbus, wanted: impl Fn(&str) -> bool) -> Found {
    let mut found = Found::default();
    for outcome in sweep(endpoint, wanted).await {
        let name = &config.devices[outcome.device].name;
        for reading in outcome.readings {
            found.rows.push(Row {
                signal: reading.signal,
                wire: wire(endpoint, reading.signal),
                raw: raw(&config.signals[reading.signal as usize], &reading.raw),
                value: reading.raw,
                at_us: Some(outcome.at_us),
                took: outcome.took,
            });
        }
        if let Err(fault) = &outcome.answer {
            let sentence = format!("{name}: {}", fault.sentence(&outcome.request));
            // After a silence the other requests of a device were not even sent.
            if fault.is_answer() || !found.faults.iter().any(|told| told.starts_with(&format!("{name}: "))) {
                found.faults.push(sentence);
            }
            let quality = if fault.is_answer() { Quality::BAD_EXCEPTION } else { Quality::BAD_NO_ANSWER };
            found.rows.extend(outcome.failed.into_iter().map(|signal| Row {
                signal,
                wire: wire(endpoint, signal),
                raw: String::new(),
                value: Raw::Failed(quality),
                at_us: fault.is_answer().then_some(outcome.at_us),
                took: outcome.took,
            }));
        }
    }
    found
}

/// The wire addresses of a signal, and of what it is read with.
fn wire(endpoint: &Modbus, signal: u32) -> String {
    let points = endpoint.devices.iter().flat_map(|device| &device.points);
    let Some(point) = points.into_iter().find(|point| point.signal == signal) else { return String::new() };
    let parts = std::iter::once(&point.value).chain(&point.aids);
    parts.map(|part| shown(*part)).collect::<Vec<_>>().join(" + ")
}

/// The words or the bit as they came.
fn raw(signal: &Signal, raw: &Raw) -> String {
    let hex = |words: &[u16]| words.iter().map(|word| format!("{word:04x}")).collect::<Vec<_>>().join(" ");
    let width = match &signal.decode {
        Decode::Register(register) => usize::from(register.format.words()).min(4),
        _ => 1,
    };
    match raw {
        Raw::Words(words) => hex(&words[..width]),
        Raw::Long(words) => hex(words),
        Raw::Aided(words, aids) => format!("{} + {}", hex(&words[..width]), hex(aids)),
        Raw::Bit(bit) => u8::from(*bit).to_string(),
        _ => String::new(),
    }
}

/// Runs the real driver until every wanted signal has a value or the time is over, in a
/// session of its own, so that a running gateway loses nothing.
async fn read_mqtt(
    config: &Config,
    source: usize,
    endpoint: &Mqtt,
    wanted: impl Fn(&str) -> bool,
    wait: Duration,
) -> Found {
    /// A message at a time is enough for a look.
    const REPLIES: usize = 1;
    let mut endpoint = endpoint.clone();
    endpoint.devices.retain(|device| wanted(&device.name));
    for node in &mut endpoint.sparkplug {
        node.devices.retain(|device| wanted(&device.name));
    }
    endpoint.sparkplug.retain(|node| !node.devices.is_empty());
    if endpoint.devices.is_empty() && endpoint.sparkplug.is_empty() {
        return Found::default();
    }
    // Beside a running gateway of the same name the broker would hang up on one of the two.
    endpoint.client_id = format!("{}-read-{}", endpoint.client_id, std::process::id());
    let health = Health::new(config);
    let (replies, mut inbox) = mpsc::channel::<driver::Reply>(REPLIES);
    let (_synced, synced) = watch::channel(0);
    // Each signal, and what its source calls it.
    let topics = endpoint.devices.iter().flat_map(|device| &device.picks);
    let nodes = endpoint.sparkplug.iter().flat_map(|node| &node.devices);
    let tags = nodes.clone().flat_map(|device| &device.tags);
    let sources: Vec<(u32, String)> = topics
        .map(|pick| (pick.signal, pick.path.clone()))
        .chain(tags.map(|tag| (tag.signal, tag.name.clone())))
        .collect();
    let devices: Vec<_> =
        endpoint.devices.iter().map(|device| device.device).chain(nodes.map(|device| device.device)).collect();
    let mut values: Vec<Option<(Raw, i64)>> = vec![None; sources.len()];
    // Times that a source tells are shown as the source told them.
    let offset = KnownOffset::default();
    offset.learn(wall_offset_us());
    let collect = async {
        let deadline = Instant::now() + wait;
        while values.iter().any(Option::is_none) {
            let Ok(Some(reply)) = timeout_at(deadline, inbox.recv()).await else { break };
            let only_lost = |reading: &driver::Reading| reading.raw == Raw::Failed(Quality::BAD_NO_ANSWER);
            for reading in reply.readings.into_iter().filter(|reading| !only_lost(reading)) {
                if let Some(index) = sources.iter().position(|(signal, _)| *signal == reading.signal) {
                    values[index] = Some((reading.raw, reading.at_us.unwrap_or(reply.at_us)));
                }
            }
        }
    };
    tokio::select! {
        () = driver::mqtt::read_once(endpoint, Outlet::new(source, replies, synced).dated_by(offset), health.clone()) => {}
        () = collect => {}
    }
    let status = health.status(crate::clock::monotonic_us());
    let mut found = Found::default();
    for device in devices {
        let name = &config.devices[device].name;
        let missing = sources
            .iter()
            .zip(&values)
            .any(|((signal, _), value)| value.is_none() && config.signals[*signal as usize].device == device);
        let fault = &status.links[device].fault;
        if missing && fault.is_empty() {
            found.faults.push(format!("{name}: not every path came within {wait:?}"));
        } else if missing && fault == crate::health::NOTHING_HEARD {
            found.faults.push(format!("{name}: no message within {wait:?}"));
        } else if missing {
            found.faults.push(format!("{name}: {fault}"));
        }
    }
    found.rows = sources
        .into_iter()
        .zip(values)
        .map(|((signal, wire), value)| {
            let (value, at_us) = value.unzip();
            let value = value.unwrap_or(Raw::Failed(Quality::BAD_NO_ANSWER));
            Row { signal, wire, raw: String::new(), value, at_us, took: None }
        })
        .collect();
    found
}

/// What brings monotonic time to wall time, by this machine's clock.
fn wall_offset_us() -> i64 {
    clock::wall_us() - clock::monotonic_us()
}

/// The time of a row in UTC, to a millisecond.
fn shown_time(row: &Row) -> Option<String> {
    let time = jiff::Timestamp::from_microsecond(row.at_us? + wall_offset_us()).ok()?;
    Some(format!("{time:.3}"))
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

fn as_table(config: &Config, rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        let signal = &config.signals[row.signal as usize];
        let (value, quality) = judge(signal, &row.value);
        let value = value.map_or_else(|| "-".into(), |value| value.to_string());
        [
            config.devices[signal.device].name.clone(),
            config.assets[signal.asset].id.to_string(),
            signal.metric.to_string(),
            value,
            signal.unit.clone(),
            quality.to_string(),
            shown_time(row).unwrap_or_default(),
            row.took.map_or_else(String::new, |took| format!("{:.1}", millis(took))),
            row.wire.clone(),
            row.raw.clone(),
        ]
    });
    table(
        ["DEVICE", "ASSET", "METRIC", "VALUE", "UNIT", "QUALITY", "TIME", "MS", "WIRE", "RAW"],
        &cells.collect::<Vec<_>>(),
    )
}

fn as_json(config: &Config, rows: &[Row]) -> serde_json::Result<String> {
    let rows = rows.iter().map(|row| {
        let signal = &config.signals[row.signal as usize];
        let (value, quality) = judge(signal, &row.value);
        json!({
            "device": config.devices[signal.device].name,
            "signal": signal.name,
            "asset": config.assets[signal.asset].id,
            "metric": signal.metric,
            "value": value,
            "unit": signal.unit,
            "quality": quality.to_string(),
            "time": shown_time(row),
            "round_trip_ms": row.took.map(millis),
            "wire": row.wire,
            "raw": row.raw,
        })
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?))
}
