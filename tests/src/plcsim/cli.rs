//! The `plcsim` program: a plant on the command line.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use super::fault::Fault;
use super::machine::Make;
use super::{ModbusDevice, ModbusEndpoint, MqttDevice, Plant, Scenario};

/// A simulated plant: Modbus TCP and MQTT devices that behave like machines.
///
/// Without a scenario, one Modbus endpoint has a press (unit 1), a six-zone furnace
/// (2), an energy meter (3) and a compressor (4), and with --mqtt a welder publishes.
/// Lines on standard input switch faults: `press late 1500ms`, `press none`.
#[derive(Debug, Parser)]
#[command(name = "plcsim", version)]
struct Args {
    /// Where the built-in plant's Modbus endpoint listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    modbus: SocketAddr,
    /// The broker that the built-in plant's welder publishes to
    #[arg(long, value_name = "ADDRESS")]
    mqtt: Option<SocketAddr>,
    /// What everything that looks like chance comes from
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// A TOML file that says what the plant is made of, in place of the built-in one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["modbus", "mqtt", "seed"])]
    scenario: Option<PathBuf>,
    /// Write every value served to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
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
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let scenario = match &args.scenario {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
            toml::from_str(&text).with_context(|| format!("{} is not a scenario", file.display()))?
        }
        None => built_in(args),
    };
    let plant = match &args.truth {
        Some(file) => Plant::start_logging(&scenario, file)?,
        None => Plant::start(&scenario)?,
    };
    let ready = serde_json::json!({ "ready": true, "devices": plant.devices() });
    println!("{ready}");
    std::io::stdout().flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        if let Err(error) = switch(&plant, &line) {
            eprintln!("error: {error:#}");
        }
    }
    // Standard input has ended (a service, or `< /dev/null`): serve until killed.
    loop {
        std::thread::park();
    }
}

fn switch(plant: &Plant, line: &str) -> anyhow::Result<()> {
    let (device, fault) = line.trim().split_once(' ').context("a line is DEVICE FAULT")?;
    let fault: Fault = fault.parse().map_err(anyhow::Error::msg)?;
    plant.fault(device, fault)?;
    eprintln!("{device}: {fault}");
    Ok(())
}

fn built_in(args: &Args) -> Scenario {
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
        interval_ms: super::every_second(),
        fault: Fault::None,
    };
    Scenario {
        seed: args.seed,
        speed: super::real_time(),
        modbus: vec![ModbusEndpoint { listen: args.modbus, device }],
        mqtt: args.mqtt.map(welder).into_iter().collect(),
    }
}
