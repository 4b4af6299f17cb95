//! A gateway in a directory of its own, and its configuration for a plant.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use super::http::{Asker, Series};
use super::process::{Log, Process};
use super::{Ended, Programs, write_secret};
use crate::plcsim::Device;
use crate::plcsim::machine::{Area, Kind, Point, serial_point};

/// A device of the plant that a gateway reads.
#[derive(Debug, Clone)]
pub struct Use {
    /// What the plant says of it.
    pub device: Device,
    /// The asset behind it; its parts are assets `asset.part`.
    pub asset: String,
    /// Korean name of the asset.
    pub name_ko: String,
    /// English name of the asset.
    pub name_en: String,
    /// Poll interval, or expected interval of a publisher, ms.
    pub interval_ms: u64,
}

impl Use {
    /// A device read once a second.
    pub fn new(device: &Device, asset: &str, name_ko: &str, name_en: &str) -> Self {
        let (asset, name_ko, name_en) = (asset.to_owned(), name_ko.to_owned(), name_en.to_owned());
        Self { device: device.clone(), asset, name_ko, name_en, interval_ms: 1000 }
    }
    /// Read so often.
    #[must_use]
    pub fn every_ms(self, interval_ms: u64) -> Self {
        Self { interval_ms, ..self }
    }
    /// Its points with the serial numbers of its areas: everything that is read.
    pub fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        if self.device.topic.is_none() {
            for area in [Area::Holding, Area::Input] {
                if self.device.points.iter().any(|point| point.area == area) {
                    points.push(serial_point(area));
                }
            }
        }
        points.extend(self.device.points.iter().cloned());
        points
    }
    /// The series that a point becomes.
    pub fn series(&self, firm: &str, point: &Point) -> Series {
        Series::new(firm, &self.asset_of(point), point.metric)
    }
    fn asset_of(&self, point: &Point) -> String {
        match &point.part {
            Some(part) => format!("{}.{part}", self.asset),
            None => self.asset.clone(),
        }
    }
}

/// What a gateway's configuration is made from.
#[derive(Debug, Clone)]
pub struct GatewayPlan {
    /// `firm/name`.
    pub gateway: String,
    /// The ingest.
    pub url: String,
    /// What it reads.
    pub uses: Vec<Use>,
    /// Bound of the spool.
    pub spool: String,
    /// Request timeout.
    pub timeout_ms: u64,
}

impl GatewayPlan {
    /// A gateway with the product's defaults, but for a timeout that suits loopback.
    pub fn new(gateway: &str, url: &str, uses: Vec<Use>) -> Self {
        Self { gateway: gateway.into(), url: url.into(), uses, spool: "64MiB".into(), timeout_ms: 1000 }
    }
    /// The firm.
    pub fn firm(&self) -> &str {
        self.gateway.split('/').next().unwrap_or_default()
    }

    /// The configuration file. Devices at one address share its connection.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "gateway = \"{}\"\nstate_dir = \"state\"\n\n[uplink]\nurl = \"{}\"\n\n\
             [spool]\nmax_bytes = \"{}\"\n\n[http]\nlisten = \"127.0.0.1:0\"\n",
            self.gateway, self.url, self.spool
        );
        for used in &self.uses {
            let mut assets: Vec<String> = used.points().iter().map(|point| used.asset_of(point)).collect();
            assets.push(used.asset.clone());
            assets.sort();
            assets.dedup();
            for asset in assets {
                let _ = write!(
                    text,
                    "\n[[asset]]\nid = \"{asset}\"\npath = \"plant-1/{}\"\nname = {{ ko = \"{}\", en = \"{}\" }}\n\
                     time_zone = \"Asia/Seoul\"\n",
                    asset.replace('.', "/"),
                    used.name_ko,
                    used.name_en
                );
            }
        }
        let mut addresses: Vec<&str> = self.uses.iter().map(|used| used.device.address.as_str()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        for address in addresses {
            let uses = self.uses.iter().filter(|used| used.device.address == address);
            if address.starts_with("mqtt:") {
                let id = self.gateway.replace('/', "-");
                let _ = write!(text, "\n[[mqtt]]\naddress = \"{address}\"\nclient_id = \"{id}\"\n");
                uses.for_each(|used| write_publisher(&mut text, used));
            } else {
                let _ = write!(text, "\n[[modbus]]\naddress = \"{address}\"\ntimeout = \"{}ms\"\n", self.timeout_ms);
                uses.for_each(|used| write_unit(&mut text, used));
            }
        }
        text
    }
}

fn write_unit(text: &mut String, used: &Use) {
    let device = &used.device;
    let _ = write!(
        text,
        "\n  [[modbus.device]]\n  name = \"{}\"\n  unit = {}\n  asset = \"{}\"\n  interval = \"{}ms\"\n  \
         byte_order = \"{}\"\n  signals = [\n",
        device.name,
        device.unit.unwrap_or_default(),
        used.asset,
        used.interval_ms,
        device.byte_order.word()
    );
    for point in used.points() {
        let _ = write!(
            text,
            "    {{ name = \"{}\", metric = \"{}\", unit = \"{}\", at = \"{}:{}\"",
            point.name,
            point.metric,
            point.unit,
            point.area.word(),
            point.address
        );
        if point.kind != Kind::Bool {
            let _ = write!(text, ", type = \"{}\"", point.kind.word());
        }
        if let Some(scale) = point.scale {
            let _ = write!(text, ", scale = {scale}");
        }
        if point.part.is_some() {
            let _ = write!(text, ", asset = \"{}\"", used.asset_of(&point));
        }
        text.push_str(" },\n");
    }
    text.push_str("  ]\n");
}

fn write_publisher(text: &mut String, used: &Use) {
    let _ = write!(
        text,
        "\n  [[mqtt.device]]\n  name = \"{}\"\n  topic = \"{}\"\n  asset = \"{}\"\n  interval = \"{}ms\"\n  \
         signals = [\n    {{ name = \"serial\", metric = \"x_serial\", unit = \"1\", path = \"serial\", type = \"i64\" }},\n",
        used.device.name,
        used.device.topic.as_deref().unwrap_or_default(),
        used.asset,
        used.interval_ms
    );
    for point in used.points() {
        let path = if point.name == "current" { "current.rms" } else { &point.name };
        let kind = match point.kind {
            Kind::Bool => "bool",
            Kind::F32 | Kind::F64 => "f64",
            _ => "i64",
        };
        let _ = writeln!(
            text,
            "    {{ name = \"{}\", metric = \"{}\", unit = \"{}\", path = \"{path}\", type = \"{kind}\" }},",
            point.name, point.metric, point.unit
        );
    }
    text.push_str("  ]\n");
}

/// A gateway and its state directory.
pub struct Gateway {
    programs: Programs,
    label: String,
    config: PathBuf,
    log: Log,
    process: Option<Process>,
}

impl Gateway {
    /// Writes the config into `dir` and enrols it with the invitation; it is not started.
    pub fn new(programs: &Programs, dir: &Path, plan: &GatewayPlan, invitation: &str) -> anyhow::Result<Self> {
        let gateway = Self::alone(programs, dir, plan)?;
        gateway.enroll(invitation)?.success()?;
        Ok(gateway)
    }
    /// One that nobody has enrolled.
    pub fn alone(programs: &Programs, dir: &Path, plan: &GatewayPlan) -> anyhow::Result<Self> {
        Self::with_config(programs, dir, &plan.gateway, &plan.to_toml())
    }
    /// The same with a configuration of the caller's.
    pub fn with_config(programs: &Programs, dir: &Path, label: &str, config: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join("gateway.toml");
        std::fs::write(&path, config)?;
        Ok(Self {
            programs: programs.clone(),
            label: format!("gateway {label}"),
            config: path,
            log: Log::default(),
            process: None,
        })
    }
    /// Enrols it: how the command ended.
    pub fn enroll(&self, invitation: &str) -> anyhow::Result<Ended> {
        let (config, file) = (self.config.to_string_lossy(), self.config.with_file_name("invitation"));
        write_secret(&file, invitation)?;
        let file = file.to_string_lossy();
        self.programs.run("sandan-gateway", &["enroll", &config, "--invitation-file", &file])
    }
    /// Where its key and certificate are.
    pub fn identity(&self) -> PathBuf {
        self.config.with_file_name("state").join("identity").join("identity.json")
    }
    /// Starts it and waits until it runs.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let config = self.config.to_string_lossy().into_owned();
        let mut command = self.programs.command(super::AS_CHILD, "sandan-gateway", &["run", &config]);
        self.process = Some(Process::start_into(&self.label, &mut command, &self.log)?);
        Ok(())
    }
    /// kill -9; nothing when it is down.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }
    /// Asks it to end and waits.
    pub fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.take().context("the gateway is not running")?.terminate()
    }
    /// Asks it to read its configuration again.
    pub fn hang_up(&self) -> anyhow::Result<()> {
        let id = self.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(id.context("the gateway is not running")?, Signal::HUP)?;
        Ok(())
    }
    /// What all its starts said.
    pub fn log(&self) -> &Log {
        &self.log
    }
    /// Its config file.
    pub fn config(&self) -> &Path {
        &self.config
    }
    /// Process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }
    /// Whether it was started and ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| !process.is_running())
    }
    /// Its own HTTP address while it runs.
    pub fn http(&self) -> anyhow::Result<SocketAddr> {
        self.process.as_ref().context("the gateway is not running")?.address("http")
    }
    /// Its `/status`.
    pub fn status(&self) -> anyhow::Result<Json> {
        Asker::new(self.http()?, None).get("/status")?.ok()
    }
}
