//! The configuration: what a TOML file, or a directory of them, may say, and the checked
//! form of it.
//!
//! [`Config::load`] reads every key, notes each fault with its place and a hint, and gives
//! back either a configuration that cannot be wrong or all faults together. Faults of the
//! texts and of the files that they name are kept apart, for [`Config::survey`]. The texts are
//! walked as a tree instead of through serde, because serde ends at the first wrong type, and
//! because one tree is put together from many of them. Nothing here opens a connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandan_proto::births::Births;
use sandan_proto::id::GatewayId;
use sandan_proto::limits::{MAX_LINKS, MAX_SERIES};
use sandan_proto::v1;

mod base;
pub(crate) mod columns;
pub mod dictionary;
mod expand;
mod fault;
mod modbus;
mod mqtt;
pub(crate) mod notation;
mod register;
mod secret;
mod section;
pub mod sheet;
mod signal;
mod sparkplug;
pub mod template;
mod tree;
mod units;

pub use fault::{Fault, Faults, Position};
pub use modbus::{Line, Modbus, ModbusDevice, Parity, Part, Point, RequestLimits, Serial};
pub use mqtt::{JsonForm, Mqtt, MqttDevice, MqttVersion, OwnTime, Payload, TimeFormat, Topic, TopicMatch};
pub use notation::Address;
pub use register::{Aid, ByteOrder, Format, Meaning, Register, Sentinel};
pub use sandan_proto::births::Asset;
pub use secret::Secret;
pub use signal::{Area, Change, Counter, Decode, Function, JsonType, Pick, Publish, Scale, Signal, Step, Upload};
pub use sparkplug::{SparkplugDevice, SparkplugNode, SparkplugTag};

/// Most `[[modbus]]` and `[[mqtt]]` tables: each is a connection and a task, and a
/// box of 512 MB has other things to do beyond this.
const MAX_ENDPOINTS: usize = 256;
/// Largest configuration file: the most series with generous comments.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Most files of a directory: one for each endpoint, and some that hold none.
const MAX_FILES: usize = 512;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who this gateway is.
    pub gateway: GatewayId,
    /// Spool and state live here; made when missing.
    pub state_dir: PathBuf,
    /// Where readings go.
    pub uplink: Uplink,
    /// The buffer on disk.
    pub spool: Spool,
    /// The local HTTP server.
    pub http: Http,
    /// The machines; signals refer to them by index.
    pub assets: Vec<Asset>,
    /// One connection each: all Modbus endpoints, then all MQTT ones, in the order of the file.
    pub endpoints: Vec<Endpoint>,
    /// PLCs and topics of all endpoints; signals refer to them by index.
    pub devices: Vec<Device>,
    /// Every signal, also those of which nothing leaves the plant.
    pub signals: Vec<Signal>,
    births: Births,
    hash: [u8; 32],
}

/// `[uplink]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uplink {
    /// Where the ingest is; none: where the invitation said.
    pub ingest: Option<Address>,
    /// An HTTP proxy on the way to it.
    pub proxy: Option<Proxy>,
}

/// An HTTP proxy that gives tunnels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where.
    pub address: Address,
    /// User and password.
    pub login: Option<(String, Secret)>,
}

/// `[spool]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// What the spool may take on disk.
    pub max_bytes: u64,
    /// How often it is synced, which is what a power cut may cost.
    pub sync_interval: Duration,
    /// What goes when it is full.
    pub when_full: WhenFull,
}

/// `[spool] when_full`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest readings make room.
    #[default]
    DropOldest,
    /// What is there stays; the newest readings are lost.
    RefuseNewest,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// A loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
}

impl Default for Spool {
    fn default() -> Self {
        Self { max_bytes: 1 << 30, sync_interval: Duration::from_secs(1), when_full: WhenFull::DropOldest }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7480)) }
    }
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A line to one or more Modbus units.
    Modbus(Modbus),
    /// A connection to a broker.
    Mqtt(Mqtt),
}

impl Endpoint {
    /// Protocol and place, without credentials.
    pub fn place(&self) -> String {
        match self {
            Self::Modbus(endpoint) => endpoint.place(),
            Self::Mqtt(endpoint) => endpoint.place(),
        }
    }

    /// Gives every index of a device, and of its signals behind it, to be changed.
    pub fn renumber(&mut self, device: &mut dyn FnMut(&mut usize), signal: &mut dyn FnMut(&mut u32)) {
        match self {
            Self::Modbus(endpoint) => {
                for unit in &mut endpoint.devices {
                    device(&mut unit.device);
                    unit.points.iter_mut().for_each(|point| signal(&mut point.signal));
                }
            }
            Self::Mqtt(endpoint) => {
                for topic in &mut endpoint.devices {
                    device(&mut topic.device);
                    topic.picks.iter_mut().for_each(|pick| signal(&mut pick.signal));
                }
                for of_node in endpoint.sparkplug.iter_mut().flat_map(|node| &mut node.devices) {
                    device(&mut of_node.device);
                    of_node.tags.iter_mut().for_each(|tag| signal(&mut tag.signal));
                }
            }
        }
    }
}

/// What all devices have, whatever they speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Unique in the gateway.
    pub name: String,
    /// Protocol and place, without credentials: `modbus-tcp 10.0.0.5:502 unit 1`.
    pub address: String,
    /// Index of its endpoint.
    pub endpoint: usize,
    /// How often an answer or message is expected.
    pub interval: Duration,
}

impl Config {
    /// Reads and checks a file, or all files of a directory that end in `.toml`, and what
    /// they name on this machine, as `run` needs it.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        complete(Self::survey(path)?)
    }

    /// Reads texts that must be good. What is wrong on this machine, such as a token file
    /// that is not there yet, is told beside it: one can plan and read a PLC without.
    pub fn survey(path: &Path) -> Result<(Self, Option<Faults>), Faults> {
        if !path.is_dir() {
            return Self::survey_texts(folder_of(path), &[(path.into(), read(path)?)]);
        }
        let mut texts = Vec::new();
        for file in files(path)? {
            let text = read(&file)?;
            texts.push((file, text));
        }
        Self::survey_texts(path, &texts)
    }

    /// Checks a text as if it had been read from `file`: relative paths in it start there.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Faults> {
        complete(Self::survey_texts(folder_of(file), &[(file.into(), text.into())])?)
    }

    fn survey_texts(folder: &Path, texts: &[(PathBuf, String)]) -> Result<(Self, Option<Faults>), Faults> {
        let log = fault::Log::default();
        let trees: Vec<_> = texts.iter().map(|(file, text)| tree::parse(text, log.add(file, text), &log)).collect();
        let trees: Option<Vec<_>> = trees.into_iter().collect();
        let config = trees.and_then(|trees| {
            let mut whole = tree::Table::new();
            for tree in trees {
                tree::merge(&mut whole, tree, &log);
            }
            expand::expand(&mut whole, folder, &log);
            build(folder, &whole, &log)
        });
        let on_this_machine = log.finish()?;
        Ok((config.ok_or_else(|| Faults::unexplained(&texts[0].0))?, on_this_machine))
    }

    /// What the series are, for the ingest.
    pub fn births(&self) -> Births {
        self.births.clone()
    }

    /// SHA-256 of everything that was read: the file's text, where it is one.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

fn complete((config, on_this_machine): (Config, Option<Faults>)) -> Result<Config, Faults> {
    on_this_machine.map_or(Ok(config), Err)
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// The configuration files of a directory in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Faults> {
    let unreadable = |error| Faults::unreadable(folder, &error);
    let entries = std::fs::read_dir(folder).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let is_toml = |path: &PathBuf| {
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        !is_hidden && path.extension().is_some_and(|extension| extension == "toml")
    };
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).filter(is_toml).collect();
    files.sort();
    match files.len() {
        0 => Err(Faults::empty_directory(folder)),
        1..=MAX_FILES => Ok(files),
        more => Err(unreadable(std::io::Error::other(format!("it has {more} files, more than {MAX_FILES}")))),
    }
}

fn read(file: &Path) -> Result<String, Faults> {
    let unreadable = |error| Faults::unreadable(file, &error);
    let length = std::fs::metadata(file).map_err(unreadable)?.len();
    if length > MAX_FILE_BYTES {
        return Err(unreadable(std::io::Error::other(format!("it has {length} bytes, more than {MAX_FILE_BYTES}"))));
    }
    String::from_utf8(std::fs::read(file).map_err(unreadable)?).map_err(|error| Faults::not_utf8(file, &error))
}

/// Devices and signals while endpoints are read, with the places of what must be unique.
#[derive(Debug, Default)]
struct Plant {
    assets: Vec<Asset>,
    /// An asset has no readable id, so that a name not found may well be meant for it.
    has_nameless_asset: bool,
    devices: Vec<Device>,
    signals: Vec<Signal>,
    names: std::collections::HashSet<String>,
    addresses: std::collections::HashSet<String>,
    series: std::collections::HashSet<(usize, sandan_proto::id::MetricId)>,
}

/// Relative paths start at `folder`.
fn build(folder: &Path, table: &tree::Table, log: &fault::Log) -> Option<Config> {
    let root = section::Section::new("the file", table, 0, log);
    let gateway = base::gateway(&root);
    let state_dir = base::state_dir(&root, folder);
    let uplink = base::uplink(&root, folder);
    let spool = base::spool(&root);
    let http = base::http(&root);
    root.label("templates_dir", sandan_proto::limits::MAX_TEXT_BYTES);
    let mut plant = Plant::default();
    base::assets(&root, &mut plant);
    let modbus = root.sections("modbus", "[[modbus]]");
    let mqtt = root.sections("mqtt", "[[mqtt]]");
    if modbus.is_empty() && mqtt.is_empty() && log.is_clean() {
        log.fault(0, "nothing to read: there is no [[modbus]] and no [[mqtt]]", "add a [[modbus]] or [[mqtt]] table");
    }
    if modbus.len() + mqtt.len() > MAX_ENDPOINTS {
        log.fault(0, format!("more than {MAX_ENDPOINTS} endpoints"), "split the plant over several gateways");
    }
    let mut endpoints = Vec::with_capacity(modbus.len() + mqtt.len());
    // An endpoint with faults still takes its index, so that the rest is checked as it would be.
    for section in &modbus {
        endpoints.push(modbus::endpoint(section, endpoints.len(), &mut plant).map(Endpoint::Modbus));
    }
    for section in &mqtt {
        let endpoint = mqtt::endpoint(section, endpoints.len(), folder, gateway.as_ref(), &mut plant);
        endpoints.push(endpoint.map(Endpoint::Mqtt));
    }
    if plant.signals.len() > MAX_SERIES {
        let count = plant.signals.len();
        log.fault(0, format!("{count} signals, more than {MAX_SERIES}"), "split the plant over several gateways");
    }
    if plant.devices.len() > MAX_LINKS {
        let count = plant.devices.len();
        log.fault(0, format!("{count} devices, more than {MAX_LINKS}"), "split the plant over several gateways");
    }
    root.finish();
    if !log.is_clean() {
        return None;
    }
    let uploaded = plant.signals.iter_mut().filter(|signal| signal.upload != Upload::None);
    for (signal, series) in uploaded.zip(0..) {
        signal.series = Some(series);
    }
    let births = match Births::new(&birth_set(&plant)) {
        Ok(births) => births,
        Err(error) => {
            log.fault(
                0,
                format!("the series cannot be declared: {error}"),
                "shorten names and paths, or split the plant",
            );
            return None;
        }
    };
    let state_dir = state_dir?;
    let mut endpoints = endpoints.into_iter().collect::<Option<Vec<_>>>()?;
    for endpoint in &mut endpoints {
        if let Endpoint::Modbus(modbus) = endpoint {
            modbus.memory = Some(state_dir.join("modbus").join(modbus.line.file_name()));
        }
    }
    Some(Config {
        gateway: gateway?,
        state_dir,
        uplink: uplink?,
        spool,
        http,
        assets: plant.assets,
        endpoints,
        devices: plant.devices,
        signals: plant.signals,
        births,
        hash: log.hash(),
    })
}

fn birth_set(plant: &Plant) -> v1::BirthSet {
    let index = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    v1::BirthSet {
        assets: plant
            .assets
            .iter()
            .map(|asset| v1::Asset {
                id: asset.id.to_string(),
                path: asset.path.clone(),
                name_ko: asset.name_ko.clone(),
                name_en: asset.name_en.clone(),
                time_zone: asset.time_zone.clone(),
            })
            .collect(),
        devices: plant
            .devices
            .iter()
            .map(|device| v1::Device { name: device.name.clone(), address: device.address.clone() })
            .collect(),
        series: plant
            .signals
            .iter()
            .filter(|signal| signal.series.is_some())
            .map(|signal| v1::Series {
                asset: index(signal.asset),
                device: index(signal.device),
                metric: signal.metric.to_string(),
                unit: signal.unit.clone(),
                value_type: signal.value_type().into(),
                expected_interval_ms: millis(signal.expected_interval()),
                signal: signal.name.clone(),
                wrap: signal.counter.and_then(|counter| counter.wrap).unwrap_or_default(),
            })
            .collect(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
