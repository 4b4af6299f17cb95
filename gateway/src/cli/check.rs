//! `check`: what a good configuration asks of which device. The faults of a bad one are
//! [`Faults`](crate::config::Faults), which show themselves.

use std::fmt::Write as _;

use serde_json::json;

use super::table::table;
use crate::config::{Config, Endpoint, ModbusDevice, notation::show_duration};
use crate::driver::modbus::Learned;
use crate::driver::modbus::plan::{self, Poll, Role};

/// The summary, and with `plan` every request.
pub fn text(config: &Config, plan: bool) -> String {
    let mut out = format!(
        "{}: {}, {}, {}; config {}\n\n",
        config.gateway,
        count(config.endpoints.len(), "endpoint"),
        count(config.devices.len(), "device"),
        count(config.signals.len(), "signal"),
        &hex(&config.hash())[..12]
    );
    let mut rows = Vec::new();
    for endpoint in &config.endpoints {
        match endpoint {
            Endpoint::Modbus(modbus) => rows.extend(modbus.devices.iter().map(|device| {
                let polls = plan::polls(device, &Learned::nothing());
                let what = polls.iter().map(|poll| {
                    let requests = count(poll.requests.len(), "request");
                    format!("{requests} every {} for {}", show_duration(poll.interval), values(poll))
                });
                let unit = format!("unit {}", device.unit);
                [modbus.place(), device.name.clone(), unit, what.collect::<Vec<_>>().join("; ")]
            })),
            Endpoint::Mqtt(mqtt) => rows.extend(mqtt.devices.iter().map(|device| {
                let what = format!(
                    "{} expected every {}",
                    count(device.picks.len(), "value"),
                    show_duration(config.devices[device.device].interval)
                );
                [mqtt.place(), device.name.clone(), device.topic.clone(), what]
            })),
        }
    }
    out.push_str(&table(["ENDPOINT", "DEVICE", "AT", "READS"], &rows));
    if plan {
        let _ = write!(out, "\n{}", requests(config));
    }
    out
}

fn requests(config: &Config) -> String {
    let mut rows = Vec::new();
    each_request(config, |device, poll, request| {
        let names = request.pieces.iter().map(|piece| {
            let signal = &config.signals[piece.signal as usize];
            let aid = if matches!(piece.role, Role::Aid(_)) { "+" } else { "" };
            format!("{aid}{}@{}", signal.name, u32::from(request.address) + u32::from(piece.offset))
        });
        rows.push([
            device.name.clone(),
            show_duration(poll.interval),
            format!("FC{}", request.area.function_code()),
            request.to_string(),
            request.count.to_string(),
            names.collect::<Vec<_>>().join(" "),
        ]);
    });
    table(["DEVICE", "EVERY", "FUNCTION", "WIRE ADDRESSES", "COUNT", "SIGNALS"], &rows)
}

fn each_request(config: &Config, mut act: impl FnMut(&ModbusDevice, &Poll, &plan::Request)) {
    for endpoint in &config.endpoints {
        let Endpoint::Modbus(modbus) = endpoint else { continue };
        for device in &modbus.devices {
            for poll in plan::polls(device, &Learned::nothing()) {
                poll.requests.iter().for_each(|request| act(device, &poll, request));
            }
        }
    }
}

/// The same with every request, for programs.
pub fn json(config: &Config) -> Result<String, serde_json::Error> {
    let mut requests = Vec::new();
    each_request(config, |device, poll, request| {
        requests.push(json!({
            "device": device.name,
            "unit": device.unit,
            "interval_ms": poll.interval.as_millis(),
            "function": request.area.function_code(),
            "area": request.area.name(),
            "address": request.address,
            "count": request.count,
            "signals": request.signals().map(|signal| &config.signals[signal as usize].name).collect::<Vec<_>>(),
        }));
    });
    let devices = config.devices.iter().enumerate().map(|(index, device)| {
        let signals = config.signals.iter().filter(|signal| signal.device == index).count();
        json!({"device": device.name, "address": device.address, "signals": signals})
    });
    let summary = json!({
        "gateway": config.gateway,
        "config_hash": hex(&config.hash()),
        "devices": devices.collect::<Vec<_>>(),
        "requests": requests,
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&summary)?))
}

fn values(poll: &Poll) -> String {
    let is_value = |piece: &&plan::Piece| !matches!(piece.role, Role::Aid(_));
    let values = poll.requests.iter().map(|request| request.pieces.iter().filter(is_value).count());
    count(values.sum(), "value")
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
