//! The case folders `tests/cases/sparkplug/<name>/`: a configuration, the messages of a
//! broker, and what comes of them. `SANDAN_UPDATE_EXPECTED=1` writes the last anew.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value as Json;

use super::*;
use crate::config::{Config, Endpoint};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/sparkplug");

/// What one message brings, a line for each thing.
fn shown(config: &Config, outcome: &Outcome) -> String {
    let mut text = String::new();
    for sample in &outcome.samples {
        let signal = &config.signals[sample.signal as usize];
        let time = sample.wall_us.map_or("on arrival".into(), |us| format!("at {us} µs"));
        let historical = if sample.is_historical { ", historical" } else { "" };
        let value = match crate::tag::decode(&signal.decode, &sample.raw) {
            Ok(value) => format!("{value} ({})", sample.quality),
            Err(quality) => quality.to_string(),
        };
        let device = &config.devices[signal.device].name;
        writeln!(text, "  {device}/{} = {value} {time}{historical}", signal.name).unwrap();
    }
    for (device, link) in &outcome.links {
        let (what, why) = match link {
            Link::Up => ("is up", ""),
            Link::Down(why) => ("is down: ", why.as_str()),
            Link::Refused(why) => ("is refused: ", why.as_str()),
        };
        writeln!(text, "  {} {what}{why}", config.devices[*device].name).unwrap();
    }
    if let Some(rebirth) = &outcome.rebirth {
        writeln!(text, "  publishes {} to {}", hex(&rebirth.payload), rebirth.topic()).unwrap();
    }
    if let Some(why) = &outcome.dead {
        writeln!(text, "  dead letter: a message {why}").unwrap();
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(hex: &str) -> Bytes {
    assert_eq!(hex.len() % 2, 0, "half a byte: {hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect::<Vec<_>>().into()
}

fn run(dir: &Path) -> String {
    let text = std::fs::read_to_string(dir.join("gateway.toml")).unwrap();
    let config = Config::parse(&dir.join("gateway.toml"), &text).unwrap_or_else(|faults| panic!("{faults}"));
    let Endpoint::Mqtt(endpoint) = &config.endpoints[0] else { panic!("{} has no broker", dir.display()) };
    let mut nodes = Nodes::new(&endpoint.sparkplug);
    nodes.connected();
    let messages = std::fs::read_to_string(dir.join("messages.json")).unwrap();
    let messages: Vec<Json> = serde_json::from_str(&messages).unwrap();
    let mut shown_all = String::new();
    for (count, message) in messages.iter().enumerate() {
        // Seconds after the beginning, or one after the other.
        let seconds = message["at"].as_i64().unwrap_or(i64::try_from(count).unwrap());
        let now = at(seconds);
        let topic = message["topic"].as_str().unwrap();
        let outcome = nodes.take(topic, &bytes(message["payload"].as_str().unwrap()), now);
        write!(shown_all, "{seconds} s {topic}\n{}", shown(&config, &outcome)).unwrap();
    }
    shown_all
}

#[test]
fn every_case_folder_comes_out_as_expected() {
    let mut dirs: Vec<_> =
        std::fs::read_dir(ROOT).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    dirs.sort();
    assert!(dirs.len() > 3, "the cases are missing");
    for dir in dirs {
        let found = run(&dir);
        let expected = dir.join("expected.txt");
        if std::env::var_os("SANDAN_UPDATE_EXPECTED").is_some() {
            std::fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&expected).unwrap_or_default(), "{}", dir.display());
    }
}
