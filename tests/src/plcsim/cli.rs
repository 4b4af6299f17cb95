//! The `plcsim` program: a plant on the command line.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

use super::fault::Fault;
use super::machine::Make;
use super::truth::Truth;
use super::{ModbusDevice, ModbusEndpoint, MqttDevice, Plant, Scenario};

/// A simulated plant: Modbus TCP, RTU and MQTT devices that behave like machines, or as badly
/// as real ones do.
#[derive(Debug, Parser)]
#[command(name = "plcsim", version, after_long_help = FAULTS)]
struct Args {
    #[command(subcommand)]
    what: What,
}

const FAULTS: &str = "\
Faults, in scenarios (`fault`, `chance`) and on standard input (`press late 1500ms`):
  none                  healthy
  silent                takes requests and answers none
  late 200ms            answers so much later; late-up-to 200ms: by anything up to it
  exception 4           answers with this exception
  short, garbage        half an answer; bytes that are no frame
  wrong-unit            answers in the name of another unit
  wrong-transaction     answers under another id (Modbus TCP)
  twice                 answers twice
  noise 3               flips one to three bits (RTU); noise-before: bytes before the answer
  byte-inserted         a byte too many somewhere (RTU); byte-dropped: one too few
  hang-up               closes the connection instead
  half-open             keeps it open and says nothing more
  absent                nothing listens at the address; the adapter is unplugged

docs/plcsim.md describes scenario files.";

#[derive(Debug, Subcommand)]
enum What {
    /// Runs a plant until it is killed
    ///
    /// The first line on standard output is JSON and names every device with its address, a
    /// serial port by the link to its pseudo-terminal. Without a scenario, one Modbus endpoint
    /// has a press (unit 1), a six-zone furnace (2), an energy meter (3) and a compressor (4),
    /// and with --mqtt a welder publishes. Lines on standard input switch faults: `press late
    /// 1500ms`, `press none`; `traffic` prints what was heard so far, `calm` ends all that
    /// comes by chance.
    Run {
        /// A TOML file that says what the plant is made of, in place of the built-in one
        #[arg(value_name = "SCENARIO", conflicts_with_all = ["modbus", "mqtt", "seed"])]
        scenario: Option<PathBuf>,
        /// Where the built-in plant's Modbus endpoint listens; port 0 takes a free one
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
        modbus: SocketAddr,
        /// The broker that the built-in plant's welder publishes to
        #[arg(long, value_name = "ADDRESS")]
        mqtt: Option<SocketAddr>,
        /// What everything that looks like chance comes from
        #[arg(long, default_value_t = 7)]
        seed: u64,
        /// Write every value served to this file, one JSON object a line
        #[arg(long, value_name = "FILE")]
        truth: Option<PathBuf>,
        /// Write every Modbus request to this file, one JSON object a line
        #[arg(long, value_name = "FILE")]
        capture: Option<PathBuf>,
    },
    /// Says what is wrong with a scenario, all of it at once
    Check {
        /// The TOML file
        #[arg(value_name = "SCENARIO")]
        scenario: PathBuf,
    },
}

/// Runs the program with these arguments, its own name first.
pub fn main(args: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(args.what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Scenario> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    Scenario::parse(&text).map_err(|mistakes| anyhow::anyhow!("{} is not a scenario\n{mistakes}", file.display()))
}

fn run(what: What) -> anyhow::Result<()> {
    let (scenario, truth, capture) = match what {
        What::Check { scenario } => {
            let plant = read(&scenario)?;
            let devices = plant.modbus.iter().map(|line| line.device.len()).sum::<usize>();
            println!("{} lines with {devices} devices, {} publishers", plant.modbus.len(), plant.mqtt.len());
            return Ok(());
        }
        What::Run { scenario: Some(file), truth, capture, .. } => (read(&file)?, truth, capture),
        What::Run { scenario: None, modbus, mqtt, seed, truth, capture } => {
            (built_in(modbus, mqtt, seed), truth, capture)
        }
    };
    let named = |file: &Path| format!("{} cannot be written", file.display());
    let mut log = match &truth {
        Some(file) => Truth::with_file(file).with_context(|| named(file))?,
        None => Truth::default(),
    };
    if let Some(file) = &capture {
        log = log.capturing(file).with_context(|| named(file))?;
    }
    // It may run for weeks.
    let plant = Plant::start_with(&scenario, log.forgetting())?;
    let ready = serde_json::json!({ "ready": true, "devices": plant.devices() });
    println!("{ready}");
    std::io::stdout().flush()?;
    for line in std::io::stdin().lock().lines() {
        if let Err(error) = obey(&plant, line?.trim()) {
            eprintln!("error: {error:#}");
        }
    }
    // Standard input has ended (a service, or `< /dev/null`): serve until killed.
    loop {
        std::thread::park();
    }
}

fn obey(plant: &Plant, line: &str) -> anyhow::Result<()> {
    match line {
        "" => {}
        "traffic" => println!("{}", serde_json::to_string(&plant.truth().traffic())?),
        "calm" => plant.calm(),
        _ => {
            let Some((device, fault)) = line.split_once(' ') else { bail!("a line is DEVICE FAULT, traffic or calm") };
            let fault: Fault = fault.parse().map_err(anyhow::Error::msg)?;
            plant.fault(device, fault)?;
            eprintln!("{device}: {fault}");
        }
    }
    Ok(())
}

fn built_in(modbus: SocketAddr, mqtt: Option<SocketAddr>, seed: u64) -> Scenario {
    let device = vec![
        ModbusDevice::new("press", 1, Make::Press),
        ModbusDevice::new("furnace", 2, Make::Furnace),
        ModbusDevice::new("meter", 3, Make::Meter),
        ModbusDevice::new("compressor", 4, Make::Compressor),
    ];
    let welder = |broker| MqttDevice {
        name: "welder".into(),
        broker,
        topic: "plant/welder/state".into(),
        machine: Make::Welder,
        interval_ms: 1000,
        fault: Fault::None,
    };
    let mqtt = mqtt.map(welder).into_iter().collect();
    Scenario { seed, speed: 1.0, modbus: vec![ModbusEndpoint::tcp(modbus, device)], mqtt }
}
