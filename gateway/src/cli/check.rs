//! `check`: what a good configuration asks of which device, around what the devices are
//! remembered to refuse. The faults of a bad one are [`Faults`](crate::config::Faults), which
//! show themselves.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::table::table;
use crate::config::{Config, Endpoint, Line, Modbus, ModbusDevice, Mqtt, Part, notation::show_duration};
use crate::driver::modbus::load::{Load, Silence, time_of};
use crate::driver::modbus::plan::{self, Poll, Role};
use crate::driver::modbus::{RETRY_AFTER, remembered};

/// The summary, and with `plan`, which is what a device takes to answer, every request and
/// what it takes.
pub fn text(config: &Config, plan: Option<Duration>) -> String {
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
            Endpoint::Modbus(modbus) => {
                rows.extend(modbus.devices.iter().zip(remembered(modbus)).map(|(device, learned)| {
                    let polls = plan::polls(device, &learned);
                    let what = polls.iter().map(|poll| {
                        let requests = count(poll.requests.len(), "request");
                        format!("{requests} every {} for {}", show_duration(poll.interval), values(poll))
                    });
                    let ranges = learned.ranges().count();
                    let refused = (ranges > 0).then(|| format!("{} refused", count(ranges, "range")));
                    let unit = format!("unit {}", device.unit);
                    let what = what.chain(refused).collect::<Vec<_>>().join("; ");
                    [modbus.place(), device.name.clone(), unit, what]
                }));
            }
            Endpoint::Mqtt(mqtt) => {
                rows.extend(sparkplug(config, mqtt));
                rows.extend(mqtt.devices.iter().map(|device| {
                    let what = format!(
                        "{} expected every {}",
                        count(device.picks.len(), "value"),
                        show_duration(config.devices[device.device].interval)
                    );
                    [mqtt.place(), device.name.clone(), device.topic.to_string(), what]
                }));
            }
        }
    }
    out.push_str(&table(["ENDPOINT", "DEVICE", "AT", "READS"], &rows));
    out.push_str(&names_that_change(config));
    if let Some(round_trip) = plan {
        let _ = write!(out, "\n{}\n{}", requests(config, round_trip), lines(config, round_trip));
        out.push_str(&refused(config));
    }
    out
}

/// Names of serial ports that the system gives by the order in which it finds them.
const NUMBERED: [&str; 2] = ["/dev/ttyUSB", "/dev/ttyACM"];

/// A note for every port that may be another adapter after the next start.
fn names_that_change(config: &Config) -> String {
    let mut notes = String::new();
    for modbus in lines_of(config) {
        let Line::Serial(serial) = &modbus.line else { continue };
        let path = serial.path.display().to_string();
        if NUMBERED.iter().any(|name| path.starts_with(name)) {
            let _ = writeln!(
                notes,
                "\nnote: {path} may be another adapter after a restart or when one is unplugged\n  hint: write the name of \
                 this one: ls -l /dev/serial/by-id"
            );
        }
    }
    notes
}

/// The edge nodes of a broker and their devices.
fn sparkplug<'c>(config: &'c Config, mqtt: &'c Mqtt) -> impl Iterator<Item = [String; 4]> + 'c {
    let devices = mqtt.sparkplug.iter().flat_map(|node| node.devices.iter().map(move |device| (node, device)));
    devices.map(|(node, device)| {
        let id = device.id.as_ref().map_or_else(String::new, |id| format!("/{id}"));
        let what = format!(
            "{} expected every {}",
            count(device.tags.len(), "value"),
            show_duration(config.devices[device.device].interval)
        );
        [mqtt.place(), device.name.clone(), format!("sparkplug {}/{}{id}", node.group, node.node), what]
    })
}

/// How busy each line is.
fn lines(config: &Config, round_trip: Duration) -> String {
    let mut rows = Vec::new();
    for modbus in lines_of(config) {
        let load = Load::of(modbus, &remembered(modbus), round_trip);
        let longest = load.polls.iter().map(|(_, _, takes)| *takes).max().unwrap_or_default();
        let dead = Silence::of(modbus, round_trip).map_or_else(
            || "no neighbours".into(),
            |Silence { each, patience, share }| {
                format!("{patience} × {} each, then {:.0} % together", millis(each), share * 100.0)
            },
        );
        rows.push([
            modbus.place(),
            millis(longest),
            format!("{:.0} %", load.share * 100.0),
            dead,
            assumed(modbus, round_trip),
        ]);
    }
    table(["LINE", "LONGEST POLL", "BUSY", "DEAD UNITS COST AT MOST", "IF"], &rows)
}

fn lines_of(config: &Config) -> impl Iterator<Item = &Modbus> {
    config.endpoints.iter().filter_map(|endpoint| match endpoint {
        Endpoint::Modbus(modbus) => Some(modbus),
        Endpoint::Mqtt(_) => None,
    })
}

/// What devices are remembered to refuse, whose signals suffer, and when it is asked for again.
/// Empty where nothing is.
fn refused(config: &Config) -> String {
    let mut rows = Vec::new();
    let mut notes = String::new();
    for modbus in lines_of(config) {
        let before = rows.len();
        each_refusal(modbus, |device, part, code| {
            let names: Vec<_> = concerned(config, device, part).collect();
            let signals = if names.is_empty() { "none: it is asked around".to_owned() } else { names.join(" ") };
            let exception = format!("exception {code}");
            rows.push([device.name.clone(), plan::shown(part), part.width.to_string(), exception, signals]);
        });
        let Some(file) = &modbus.memory else { continue };
        let shown = file.display();
        if rows.len() > before {
            let (first, last) = RETRY_AFTER;
            let _ = writeln!(
                notes,
                "\n{}: what is refused is asked for again {} after the start, then ever more seldom, at least every {}; it is \
                 remembered in {shown}",
                modbus.place(),
                show_duration(first),
                show_duration(last)
            );
        } else if let Err(error) = std::fs::File::open(file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            let _ = writeln!(
                notes,
                "\nnote: {shown} cannot be read ({error}): what devices refuse is not in this plan\n  hint: check it as the user \
                 that the gateway runs as"
            );
        }
    }
    let shown = if rows.is_empty() {
        String::new()
    } else {
        format!("\n{}", table(["DEVICE", "REFUSED", "COUNT", "WITH", "SIGNALS WITHOUT A VALUE"], &rows))
    };
    shown + &notes
}

fn each_refusal(modbus: &Modbus, mut act: impl FnMut(&ModbusDevice, Part, u8)) {
    for (device, learned) in modbus.devices.iter().zip(remembered(modbus)) {
        let mut ranges: Vec<Part> = learned.ranges().collect();
        ranges.sort_unstable();
        for part in ranges {
            act(device, part, learned.code(part).unwrap_or_default());
        }
    }
}

/// The names of the signals that a refusal leaves without a value.
fn concerned<'c>(config: &'c Config, device: &ModbusDevice, part: Part) -> impl Iterator<Item = &'c str> {
    plan::concerned(device, part).map(|signal| config.signals[signal as usize].name.as_str())
}

/// What the prediction rests on.
fn assumed(modbus: &Modbus, round_trip: Duration) -> String {
    let answer = format!("a device answers after {}", show_duration(round_trip));
    match &modbus.line {
        Line::Serial(serial) => format!("{answer}, and {} baud", serial.baud),
        Line::Tcp(_) | Line::RtuTcp(_) => answer,
    }
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}

/// One fault with a hint for every line whose intervals cannot be met; empty where all can.
pub fn unmet(config: &Config, round_trip: Duration) -> String {
    let mut faults = String::new();
    for modbus in lines_of(config) {
        let load = Load::of(modbus, &remembered(modbus), round_trip);
        let place = modbus.place();
        let mut is_told = false;
        for (device, poll, takes) in load.too_long(modbus) {
            let _ = writeln!(
                faults,
                "{place}: a poll of `{}` takes {}, and its interval is {}, if {}",
                device.name,
                millis(takes),
                show_duration(poll.interval),
                assumed(modbus, round_trip)
            );
            is_told = true;
        }
        if !is_told && load.share > 1.0 {
            let _ = writeln!(
                faults,
                "{place}: all polls together take {:.2} s of each second, if {}",
                load.share,
                assumed(modbus, round_trip)
            );
            is_told = true;
        }
        if is_told {
            faults.push_str(
                "  hint: lengthen intervals, put slow signals into a group of their own, raise max_hole or the baud \
                 rate; --round-trip says what a device takes\n",
            );
        }
    }
    faults
}

fn requests(config: &Config, round_trip: Duration) -> String {
    let mut rows = Vec::new();
    each_request(config, |modbus, device, poll, request| {
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
            millis(time_of(modbus, request, round_trip)),
            names.collect::<Vec<_>>().join(" "),
        ]);
    });
    table(["DEVICE", "EVERY", "FUNCTION", "WIRE ADDRESSES", "COUNT", "TAKES", "SIGNALS"], &rows)
}

fn each_request(config: &Config, mut act: impl FnMut(&Modbus, &ModbusDevice, &Poll, &plan::Request)) {
    for modbus in lines_of(config) {
        for (device, learned) in modbus.devices.iter().zip(remembered(modbus)) {
            for poll in plan::polls(device, &learned) {
                poll.requests.iter().for_each(|request| act(modbus, device, &poll, request));
            }
        }
    }
}

/// The same with every request, for programs.
pub fn json(config: &Config, round_trip: Duration) -> Result<String, serde_json::Error> {
    let mut requests = Vec::new();
    each_request(config, |modbus, device, poll, request| {
        requests.push(json!({
            "device": device.name,
            "unit": device.unit,
            "interval_ms": poll.interval.as_millis(),
            "function": request.area.function_code(),
            "area": request.area.name(),
            "address": request.address,
            "count": request.count,
            "predicted_ms": time_of(modbus, request, round_trip).as_secs_f64() * 1_000.0,
            "signals": request.signals().map(|signal| &config.signals[signal as usize].name).collect::<Vec<_>>(),
        }));
    });
    let devices = config.devices.iter().enumerate().map(|(index, device)| {
        let signals = config.signals.iter().filter(|signal| signal.device == index).count();
        json!({"device": device.name, "address": device.address, "signals": signals})
    });
    let mut refusals = Vec::new();
    for modbus in lines_of(config) {
        each_refusal(modbus, |device, part, code| {
            refusals.push(json!({
                "device": device.name,
                "unit": device.unit,
                "area": part.area.name(),
                "address": part.address,
                "count": part.width,
                "exception": code,
                "signals": concerned(config, device, part).collect::<Vec<_>>(),
            }));
        });
    }
    let lines = lines_of(config).map(|modbus| {
        let silence = Silence::of(modbus, round_trip).map(|silence| {
            json!({
                "silence_ms": silence.each.as_secs_f64() * 1_000.0,
                "silences_until_lost": silence.patience,
                "share": silence.share,
            })
        });
        let busy = Load::of(modbus, &remembered(modbus), round_trip).share;
        json!({"line": modbus.place(), "busy": busy, "dead_units": silence})
    });
    let (first, last) = RETRY_AFTER;
    let summary = json!({
        "gateway": config.gateway,
        "config_hash": hex(&config.hash()),
        "devices": devices.collect::<Vec<_>>(),
        "lines": lines.collect::<Vec<_>>(),
        "requests": requests,
        "refused": refusals,
        "refused_is_retried_after_s": [first.as_secs(), last.as_secs()],
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
