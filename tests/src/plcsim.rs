//! A simulated plant: machines that behave like machines, behind Modbus TCP and
//! MQTT, with faults that are switched while it runs and a log of every value that
//! it gave away.
//!
//! It runs on its own (the `plcsim` program) and inside a test or the demo
//! ([`Plant::start`]). It knows nothing of gateways: it promises that what it served
//! is in the [`Truth`](truth::Truth), with the time at which it went out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

pub mod cli;
pub mod fault;
pub mod machine;
mod modbus;
mod mqtt;
pub mod truth;

use fault::Fault;
use machine::{ByteOrder, Machine, Make, Point};
use truth::Truth;

/// A plant to be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Everything that looks like chance comes from it.
    #[serde(default)]
    pub seed: u64,
    /// Simulated seconds a second.
    #[serde(default = "real_time")]
    pub speed: f64,
    /// Modbus TCP endpoints.
    #[serde(default)]
    pub modbus: Vec<ModbusEndpoint>,
    /// Devices that publish.
    #[serde(default)]
    pub mqtt: Vec<MqttDevice>,
}

fn real_time() -> f64 {
    1.0
}

/// An address and the units behind it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModbusEndpoint {
    /// Port 0 takes a free one.
    #[serde(default = "any_port")]
    pub listen: SocketAddr,
    /// Its units.
    pub device: Vec<ModbusDevice>,
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A unit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModbusDevice {
    /// How the truth, faults and people call it; of its own in the plant.
    pub name: String,
    /// Unit id.
    pub unit: u8,
    /// What is behind it.
    pub machine: Make,
    /// How it lays out wide values.
    #[serde(default)]
    pub byte_order: ByteOrder,
    /// What is wrong with it from the start.
    #[serde(default)]
    pub fault: Fault,
}

/// A device that publishes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttDevice {
    /// How the truth and people call it; of its own in the plant.
    pub name: String,
    /// The broker's address.
    pub broker: SocketAddr,
    /// Where it publishes.
    pub topic: String,
    /// What it is.
    pub machine: Make,
    /// Time between two messages, ms.
    #[serde(default = "every_second")]
    pub interval_ms: u64,
    /// What is wrong with it from the start; anything but `none` keeps it silent.
    #[serde(default)]
    pub fault: Fault,
}

fn every_second() -> u64 {
    1000
}

impl ModbusDevice {
    /// A healthy unit in the specification's byte order.
    pub fn new(name: &str, unit: u8, machine: Make) -> Self {
        Self { name: name.into(), unit, machine, byte_order: ByteOrder::Abcd, fault: Fault::None }
    }
    /// The same in another byte order.
    #[must_use]
    pub fn in_order(self, byte_order: ByteOrder) -> Self {
        Self { byte_order, ..self }
    }
}

/// A device as it came up.
#[derive(Debug, Clone, Serialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// `tcp://…` or `mqtt://…`.
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

    fn start_with(scenario: &Scenario, truth: Truth) -> anyhow::Result<Self> {
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

    fn start_endpoint(&mut self, scenario: &Scenario, endpoint: &ModbusEndpoint) -> anyhow::Result<()> {
        let Some(runtime) = &self.runtime else { bail!("the plant has stopped") };
        let listener = runtime
            .block_on(TcpListener::bind(endpoint.listen))
            .with_context(|| format!("{} cannot be listened on", endpoint.listen))?;
        let address = format!("tcp://{}", listener.local_addr()?);
        let mut units = BTreeMap::new();
        for device in &endpoint.device {
            let machine = self.machine(scenario, device.machine);
            self.devices.push(Device {
                name: device.name.clone(),
                address: address.clone(),
                unit: Some(device.unit),
                topic: None,
                machine: device.machine,
                byte_order: device.byte_order,
                points: machine.points().to_vec(),
            });
            let unit = modbus::Unit::new(&device.name, device.byte_order, machine);
            if units.insert(device.unit, unit).is_some() {
                bail!("two devices at {address} are unit {}", device.unit);
            }
        }
        let shared = modbus::Endpoint::new(units, self.truth.clone(), scenario.speed);
        for device in &endpoint.device {
            shared.set_fault(&device.name, device.fault);
        }
        self.endpoints.push(Arc::clone(&shared));
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                if let Err(error) = shared.serve(listener).await {
                    tracing::error!(%error, "an endpoint of the plant stopped");
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
