//! A plant to be: what a scenario file says, checked, with every mistake told at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use toml::de::DeTable;

use super::fault::{Befalls, Fault, duration};
use super::machine::{Area, ByteOrder, Make};

mod part;

use part::{Log, Part};

/// A plant to be.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Everything that looks like chance comes from it.
    pub seed: u64,
    /// Simulated seconds a second.
    pub speed: f64,
    /// Lines with Modbus units.
    pub modbus: Vec<ModbusEndpoint>,
    /// Devices that publish.
    pub mqtt: Vec<MqttDevice>,
}

/// Where a line is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Modbus TCP; port 0 takes a free one.
    Tcp(SocketAddr),
    /// RTU frames over TCP, as behind a converter.
    RtuTcp(SocketAddr),
    /// RTU behind a pseudo-terminal, with a link to it under this name.
    Serial(PathBuf),
}

/// A line and the units on it.
#[derive(Debug, Clone)]
pub struct ModbusEndpoint {
    /// Where.
    pub listen: Listen,
    /// Its units.
    pub device: Vec<ModbusDevice>,
    /// How fast bytes pass on a serial line.
    pub baud: u32,
    /// From a request to its answer, beside what the bytes take.
    pub turnaround: Duration,
    /// Connections at once; more are closed as soon as they are made.
    pub connections: Option<usize>,
    /// What befalls the answers of its units.
    pub chance: Chances,
    /// When the line is gone: nothing listens, or the adapter is unplugged.
    pub away: Option<Absence>,
}

impl ModbusEndpoint {
    /// A faultless Modbus TCP endpoint.
    pub fn tcp(listen: SocketAddr, device: Vec<ModbusDevice>) -> Self {
        Self::at(Listen::Tcp(listen), device)
    }
    /// A faultless line.
    pub fn at(listen: Listen, device: Vec<ModbusDevice>) -> Self {
        let (turnaround, chance) = (Duration::ZERO, Chances::default());
        Self { listen, device, baud: BAUD, turnaround, connections: None, chance, away: None }
    }
}

const BAUD: u32 = 115_200;

/// A unit.
#[derive(Debug, Clone)]
pub struct ModbusDevice {
    /// How the truth, faults and people call it; of its own in the plant.
    pub name: String,
    /// Unit id.
    pub unit: u8,
    /// What is behind it.
    pub machine: Make,
    /// How it lays out wide values.
    pub byte_order: ByteOrder,
    /// What is wrong with it from the start.
    pub fault: Fault,
    /// Registers that it gives at once; more is exception 3.
    pub max_words: u16,
    /// Addresses that it refuses.
    pub refuse: Vec<Refusal>,
    /// What befalls its answers, in the place of what befalls those of the line.
    pub chance: Option<Chances>,
    /// When it is switched off, while the line stays.
    pub away: Option<Absence>,
}

impl ModbusDevice {
    /// A healthy unit in the specification's byte order.
    pub fn new(name: &str, unit: u8, machine: Make) -> Self {
        Self {
            name: name.into(),
            unit,
            machine,
            byte_order: ByteOrder::Abcd,
            fault: Fault::None,
            max_words: MAX_WORDS,
            refuse: Vec::new(),
            chance: None,
            away: None,
        }
    }
    /// The same in another byte order.
    #[must_use]
    pub fn in_order(self, byte_order: ByteOrder) -> Self {
        Self { byte_order, ..self }
    }
}

/// What the specification allows.
const MAX_WORDS: u16 = 125;

/// Addresses that a device refuses: `holding:40`, `input:10-19 exception 3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    area: Area,
    addresses: RangeInclusive<u16>,
    /// The exception.
    pub code: u8,
}

impl Refusal {
    /// Whether a request meets it.
    pub fn meets(&self, area: Area, address: u16, count: u16) -> bool {
        let last = u32::from(address) + u32::from(count);
        area == self.area && u32::from(*self.addresses.start()) < last && address <= *self.addresses.end()
    }
}

impl FromStr for Refusal {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not `holding:40`, `input:10-19` or `input:10-19 exception 3`");
        let mut words = text.split_whitespace();
        let (place, code) = match (words.next(), words.next(), words.next(), words.next()) {
            (Some(place), None, ..) => (place, 2),
            (Some(place), Some("exception"), Some(code), None) => (place, code.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        };
        let (area, addresses) = place.split_once(':').ok_or_else(wrong)?;
        let area = [Area::Coil, Area::Discrete, Area::Holding, Area::Input].into_iter().find(|one| one.word() == area);
        let (first, last) = addresses.split_once('-').unwrap_or((addresses, addresses));
        match (area, first.parse(), last.parse()) {
            (Some(area), Ok(first), Ok(last)) if first <= last => Ok(Self { area, addresses: first..=last, code }),
            _ => Err(wrong()),
        }
    }
}

/// Faults that befall answers, each so many times in a hundred.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chances(pub Vec<(Fault, f64)>);

/// Being gone now and then: each stay and each absence takes from half of to one and a
/// half times what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// From a return to the next leave.
    pub every: Duration,
    /// How long it is gone.
    pub lasting: Duration,
}

/// A device that publishes.
#[derive(Debug, Clone)]
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
    pub interval_ms: u64,
    /// What is wrong with it from the start; anything but `none` keeps it silent.
    pub fault: Fault,
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let address = |text: &str| text.parse().map_err(|_| format!("`{text}` is not `address:port`"));
        match text.split_once(':') {
            Some(("tcp", rest)) => address(rest.trim_start_matches('/')).map(Self::Tcp),
            Some(("rtu-tcp", rest)) => address(rest.trim_start_matches('/')).map(Self::RtuTcp),
            Some(("serial", path)) if path.len() > 1 => Ok(Self::Serial(path.into())),
            _ => Err(format!(
                "`{text}` is not a line such as `tcp://127.0.0.1:502`, `rtu-tcp://127.0.0.1:0` or `serial:/tmp/bus`"
            )),
        }
    }
}

/// Mistakes, each with its line.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Mistakes(pub Vec<String>);

impl Scenario {
    /// What a file says. All its mistakes come together; only what is no TOML comes alone.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        let table = DeTable::parse(text).map_err(|error| Mistakes(vec![error.to_string().trim_end().to_owned()]))?;
        let log = Log::new(text);
        let scenario = scenario(&Part::new("the scenario", table.get_ref(), 0, &log));
        let said = log.into_lines();
        if said.is_empty() { Ok(scenario) } else { Err(Mistakes(said)) }
    }
}

fn scenario(top: &Part<'_>) -> Scenario {
    let scenario = Scenario {
        seed: top.whole("seed", 0..=u64::MAX).unwrap_or(0),
        speed: top.number("speed").unwrap_or(1.0),
        modbus: top.parts("modbus").iter().map(endpoint).collect(),
        mqtt: top.parts("mqtt").iter().map(publisher).collect(),
    };
    if scenario.modbus.is_empty() && scenario.mqtt.is_empty() {
        top.fault(0, "nothing is in it; hint: begin with [[modbus]] and [[modbus.device]]");
    }
    let mut names: Vec<&str> = scenario.modbus.iter().flat_map(|line| &line.device).map(|one| &*one.name).collect();
    names.extend(scenario.mqtt.iter().map(|device| &*device.name));
    names.sort_unstable();
    for pair in names.windows(2).filter(|pair| pair[0] == pair[1] && !pair[0].is_empty()) {
        top.fault(0, format!("two devices are called `{}`", pair[0]));
    }
    top.finish();
    scenario
}

fn endpoint(part: &Part<'_>) -> ModbusEndpoint {
    let listen = part.parsed("listen", Listen::from_str).unwrap_or(Listen::Tcp((Ipv4Addr::LOCALHOST, 0).into()));
    let device: Vec<_> = part.parts("device").iter().map(|part| unit(part, &listen)).collect();
    if device.is_empty() {
        part.fault(part.at, "the line has no device; hint: add [[modbus.device]]");
    }
    let mut units: Vec<_> = device.iter().map(|device| device.unit).collect();
    units.sort_unstable();
    for pair in units.windows(2).filter(|pair| pair[0] == pair[1]) {
        part.fault(part.at, format!("two devices of the line are unit {}", pair[0]));
    }
    let endpoint = ModbusEndpoint {
        device,
        baud: part.whole("baud", 300..=10_000_000).and_then(|baud| u32::try_from(baud).ok()).unwrap_or(BAUD),
        turnaround: part.parsed("turnaround", duration).unwrap_or_default(),
        connections: part.whole("connections", 1..=10_000).and_then(|most| usize::try_from(most).ok()),
        chance: chances(part, &listen).unwrap_or_default(),
        away: absence(part),
        listen,
    };
    part.finish();
    endpoint
}

fn unit(part: &Part<'_>, listen: &Listen) -> ModbusDevice {
    let name = part.required("name").unwrap_or_default();
    let fault = part.parsed("fault", Fault::from_str).unwrap_or_default();
    part.check_fault("fault", fault, listen);
    let device = ModbusDevice {
        unit: part.whole("unit", 0..=255).and_then(|unit| u8::try_from(unit).ok()).unwrap_or(1),
        machine: part.parsed("machine", make).unwrap_or(Make::Pattern),
        byte_order: part.parsed("byte_order", byte_order).unwrap_or_default(),
        fault,
        max_words: part.whole("max_words", 1..=125).and_then(|most| u16::try_from(most).ok()).unwrap_or(MAX_WORDS),
        refuse: part
            .texts("refuse")
            .into_iter()
            .filter_map(|(at, text)| part.take(at, "refuse", text.parse()))
            .collect(),
        chance: chances(part, listen),
        away: absence(part),
        name,
    };
    part.finish();
    device
}

fn publisher(part: &Part<'_>) -> MqttDevice {
    let broker = |text: &str| text.parse().map_err(|_| format!("`{text}` is not `address:port`"));
    for key in ["broker", "topic", "machine"] {
        part.require(key);
    }
    let device = MqttDevice {
        name: part.required("name").unwrap_or_default(),
        broker: part.parsed("broker", broker).unwrap_or((Ipv4Addr::LOCALHOST, 1883).into()),
        topic: part.text("topic").map(|(_, text)| text.to_owned()).unwrap_or_default(),
        machine: part.parsed("machine", make).unwrap_or(Make::Welder),
        interval_ms: part.whole("interval_ms", 1..=3_600_000).unwrap_or(1000),
        fault: part.parsed("fault", Fault::from_str).unwrap_or_default(),
    };
    part.finish();
    device
}

/// `chance = { silent = 2, "late-up-to 300ms" = 5.5 }`.
fn chances(part: &Part<'_>, listen: &Listen) -> Option<Chances> {
    let mut chances = Vec::new();
    for (at, name, percent) in part.numbers("chance")? {
        let Some(fault) = part.take(at, "chance", Fault::from_str(name)) else { continue };
        part.check_fault("chance", fault, listen);
        if fault == Fault::Absent {
            part.fault(
                at,
                "`absent` cannot befall a single answer; hint: away = { every = \"60s\", lasting = \"5s\" }",
            );
        }
        if !(0.0..=100.0).contains(&percent) {
            part.fault(at, format!("`{name}` befalls {percent} answers of a hundred"));
        }
        chances.push((fault, percent));
    }
    let sum: f64 = chances.iter().map(|(_, percent)| percent).sum();
    if sum > 100.0 {
        part.fault(part.at, format!("the chances come to {sum} of a hundred"));
    }
    Some(Chances(chances))
}

/// `away = { every = "60s", lasting = "5s" }`.
fn absence(part: &Part<'_>) -> Option<Absence> {
    let away = part.part("away")?;
    for key in ["every", "lasting"] {
        away.require(key);
    }
    let (every, lasting) = (away.parsed("every", duration), away.parsed("lasting", duration));
    away.finish();
    Some(Absence { every: every?, lasting: lasting? })
}

fn make(text: &str) -> Result<Make, String> {
    Make::from_str(text, false).map_err(|_| {
        let makes: Vec<_> = Make::value_variants()
            .iter()
            .filter_map(|make| Some(make.to_possible_value()?.get_name().to_owned()))
            .collect();
        format!("`{text}` is not a machine: {}", makes.join(", "))
    })
}

fn byte_order(text: &str) -> Result<ByteOrder, String> {
    let all = [ByteOrder::Abcd, ByteOrder::Cdab, ByteOrder::Badc, ByteOrder::Dcba];
    all.into_iter()
        .find(|order| order.word() == text)
        .ok_or_else(|| format!("`{text}` is not ABCD, CDAB, BADC or DCBA"))
}

impl Part<'_> {
    /// A fault that cannot befall a line of this kind is a mistake: the test would test nothing,
    /// or ask what nothing can give.
    fn check_fault(&self, key: &'static str, fault: Fault, listen: &Listen) {
        let wrong = match (fault.befalls(), listen) {
            (Befalls::Transactions, Listen::RtuTcp(_) | Listen::Serial(_)) => "RTU frames have no transaction id",
            (Befalls::Checksums, Listen::Tcp(_)) => "Modbus TCP has no checksum of its own: nobody could tell",
            (Befalls::Sockets, Listen::Serial(_)) => "a serial port has no connection",
            _ => return,
        };
        self.fault(self.at_of(key), format!("`{fault}` cannot befall this line: {wrong}"));
    }
}
