//! A simulated plant: machines that behave like machines, behind Modbus TCP, RTU and
//! MQTT, with faults that are switched while it runs or come by chance, and a log of every
//! value that it gave away.
//!
//! It runs on its own (the `plcsim` program) and inside a test or the demo
//! ([`Plant::start`]). It knows nothing of gateways: it promises that what it served
//! is in the [`Truth`](truth::Truth), with the time at which it went out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::chance::Chance;

pub mod cli;
pub mod fault;
mod frame;
pub mod machine;
mod modbus;
mod mqtt;
pub mod pattern;
pub mod scenario;
mod serial;
pub mod truth;
mod unit;

use fault::Fault;
use frame::Framing;
use machine::{ByteOrder, Machine, Make, Point};
pub use scenario::{Absence, Chances, Listen, ModbusDevice, ModbusEndpoint, MqttDevice, Scenario};
use serial::Pty;
use truth::Truth;

/// A device as it came up.
#[derive(Debug, Clone, Serialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// As a gateway's configuration says it: `tcp://…`, `rtu-tcp://…`, `serial:…`, `mqtt://…`.
    pub address: String,
    /// Unit id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<u8>,
    /// Topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// What it is.
    pub machine: Make,
    /// How it lays out wide values.
    #[serde(skip)]
    pub byte_order: ByteOrder,
    /// Where its values are.
    #[serde(skip)]
    pub points: Vec<Point>,
}

/// A plant that runs until it is dropped.
pub struct Plant {
    truth: Truth,
    devices: Vec<Device>,
    endpoints: Vec<Arc<modbus::Endpoint>>,
    publishers: BTreeMap<String, Arc<AtomicBool>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Plant {
    /// Starts it; every endpoint listens when this returns.
    pub fn start(scenario: &Scenario) -> anyhow::Result<Self> {
        Self::start_with(scenario, Truth::default())
    }

    /// Starts it with the truth also in a file, one JSON object a line.
    pub fn start_logging(scenario: &Scenario, truth: &Path) -> anyhow::Result<Self> {
        let log = Truth::with_file(truth).with_context(|| format!("{} cannot be written", truth.display()))?;
        Self::start_with(scenario, log)
    }

    /// Starts it with a truth of the caller's.
    pub fn start_with(scenario: &Scenario, truth: Truth) -> anyhow::Result<Self> {
        let modbus = scenario.modbus.iter().flat_map(|endpoint| &endpoint.device).map(|device| &device.name);
        let mut names = BTreeSet::new();
        for name in modbus.chain(scenario.mqtt.iter().map(|device| &device.name)) {
            if !names.insert(name) {
                bail!("two devices are called {name}");
            }
        }
        // One worker: a plant is mostly asleep, and it must not take the machine from what is tested.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut plant = Self {
            truth,
            devices: Vec::new(),
            endpoints: Vec::new(),
            publishers: BTreeMap::new(),
            runtime: Some(runtime),
        };
        scenario.modbus.iter().try_for_each(|endpoint| plant.start_endpoint(scenario, endpoint))?;
        scenario.mqtt.iter().for_each(|device| plant.start_publisher(scenario, device));
        Ok(plant)
    }

    fn machine(&self, scenario: &Scenario, make: Make) -> Machine {
        // Each device has dice of its own, whatever stands beside it.
        Machine::new(make, scenario.seed.wrapping_mul(1_000_003).wrapping_add(self.devices.len() as u64))
    }

    fn start_endpoint(&mut self, scenario: &Scenario, plan: &ModbusEndpoint) -> anyhow::Result<()> {
        let Some(runtime) = &self.runtime else { bail!("the plant has stopped") };
        let listen = |address: &std::net::SocketAddr| {
            let listener = runtime.block_on(TcpListener::bind(*address));
            listener.with_context(|| format!("{address} cannot be listened on"))
        };
        let (line, way) = match &plan.listen {
            Listen::Tcp(address) => {
                let listener = listen(address)?;
                ((format!("tcp://{}", listener.local_addr()?), Framing::Tcp, true), Way::Socket(listener))
            }
            Listen::RtuTcp(address) => {
                let listener = listen(address)?;
                ((format!("rtu-tcp://{}", listener.local_addr()?), Framing::Rtu, true), Way::Socket(listener))
            }
            Listen::Serial(link) => {
                let _inside = runtime.enter();
                ((format!("serial:{}", link.display()), Framing::Rtu, false), Way::Port(link.clone(), Pty::open(link)?))
            }
        };
        let mut units = BTreeMap::new();
        for device in &plan.device {
            let machine = self.machine(scenario, device.machine);
            self.devices.push(Device {
                name: device.name.clone(),
                address: line.0.clone(),
                unit: Some(device.unit),
                topic: None,
                machine: device.machine,
                byte_order: device.byte_order,
                points: machine.points().to_vec(),
            });
            if units.insert(device.unit, unit::Unit::new(device, scenario.seed, machine)).is_some() {
                bail!("two devices at {} are unit {}", line.0, device.unit);
            }
        }
        let mut dice = Chance::new(scenario.seed ^ (self.endpoints.len() as u64 + 1) << 32);
        let shared = modbus::Endpoint::new(line, units, plan, self.truth.clone(), (dice.bits(), scenario.speed));
        for device in &plan.device {
            shared.set_fault(&device.name, device.fault);
        }
        self.endpoints.push(Arc::clone(&shared));
        if let Some(runtime) = &self.runtime {
            let absences = plan.device.iter().filter_map(|device| Some((Some(device.unit), device.away?)));
            for (unit, absence) in absences.chain(plan.away.map(|away| (None, away))) {
                runtime.spawn(come_and_go(Arc::clone(&shared), unit, absence, Chance::new(dice.bits())));
            }
            runtime.spawn(async move {
                let ended = match way {
                    Way::Socket(listener) => shared.serve(listener).await,
                    Way::Port(path, port) => shared.serve_serial(path, port).await,
                };
                if let Err(error) = ended {
                    tracing::error!(%error, "a line of the plant stopped");
                }
            });
        }
        Ok(())
    }

    fn start_publisher(&mut self, scenario: &Scenario, device: &MqttDevice) {
        let machine = self.machine(scenario, device.machine);
        self.devices.push(Device {
            name: device.name.clone(),
            address: format!("mqtt://{}", device.broker),
            unit: None,
            topic: Some(device.topic.clone()),
            machine: device.machine,
            byte_order: ByteOrder::Abcd,
            points: machine.points().to_vec(),
        });
        let paused = Arc::new(AtomicBool::new(device.fault != Fault::None));
        self.publishers.insert(device.name.clone(), Arc::clone(&paused));
        let publisher = mqtt::Publisher {
            name: device.name.as_str().into(),
            topic: device.topic.as_str().into(),
            interval: Duration::from_millis(device.interval_ms.max(1)),
            machine,
            truth: self.truth.clone(),
            speed: scenario.speed,
            paused,
        };
        if let Some(runtime) = &self.runtime {
            runtime.spawn(publisher.run(device.broker));
        }
    }

    /// What it served.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }
    /// Its devices, in the order of the scenario, Modbus first.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }
    /// The device of this name. Panics when there is none: a scenario names its own.
    pub fn device(&self, name: &str) -> &Device {
        let found = self.devices.iter().find(|device| device.name == name);
        found.unwrap_or_else(|| panic!("the plant has no device called {name}"))
    }
    /// Switches a fault of a device. For a publisher, anything but `none` keeps it silent.
    pub fn fault(&self, device: &str, fault: Fault) -> anyhow::Result<()> {
        if let Some(paused) = self.publishers.get(device) {
            paused.store(fault != Fault::None, Ordering::Relaxed);
            return Ok(());
        }
        if self.endpoints.iter().any(|endpoint| endpoint.set_fault(device, fault)) {
            return Ok(());
        }
        bail!("the plant has no device called {device}")
    }
    /// Nothing befalls anything any more: no chance, no absence. Faults that were switched stay.
    pub fn calm(&self) {
        self.endpoints.iter().for_each(|endpoint| endpoint.calm());
    }
}

/// What a line is reached through.
enum Way {
    Socket(TcpListener),
    Port(std::path::PathBuf, Pty),
}

/// Takes a line, or a unit of it, away now and then.
async fn come_and_go(line: Arc<modbus::Endpoint>, unit: Option<u8>, absence: Absence, mut dice: Chance) {
    let mut about = |time: Duration| time.mul_f64(0.5 + dice.below(1_000) as f64 / 1_000.0);
    loop {
        for (time, away) in [(about(absence.every), true), (about(absence.lasting), false)] {
            if line.calmed().run_until_cancelled(tokio::time::sleep(time)).await.is_none() {
                return;
            }
            line.set_away(unit, away);
        }
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;
