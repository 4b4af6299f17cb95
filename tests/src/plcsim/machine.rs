//! Machines that behave like machines: what they hold at each moment.
//!
//! A machine advances in steps of [`STEP`] from its own seed, so its values depend
//! on the seed and the simulated time alone, never on who asks or how often. It
//! knows nothing of Modbus frames or MQTT; it names its values as [`Point`]s, and
//! whoever needs a register map or a gateway configuration takes it from there.

use std::time::Duration;

use sandan_proto::reading::Value;
use serde::{Deserialize, Serialize};

mod plant;

/// One step of simulated time. A tenth of a second is finer than any poll
/// interval that a PLC is asked at, and coarse enough to catch up in no time.
pub const STEP: Duration = Duration::from_millis(100);
/// Register address of the serial number in the holding and the input area.
pub const SERIAL_ADDRESS: u16 = 98;

/// The four areas of a Modbus device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// Function code 1.
    Coil,
    /// Function code 2.
    Discrete,
    /// Function code 3.
    Holding,
    /// Function code 4.
    Input,
}

impl Area {
    /// The word of the gateway's configuration.
    pub fn word(self) -> &'static str {
        match self {
            Area::Coil => "coil",
            Area::Discrete => "discrete",
            Area::Holding => "holding",
            Area::Input => "input",
        }
    }
}

/// How a value lies in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Kind {
    Bool,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
}

impl Kind {
    /// Registers (or bits) that it takes.
    pub fn width(self) -> u16 {
        match self {
            Kind::Bool | Kind::I16 | Kind::U16 => 1,
            Kind::I32 | Kind::U32 | Kind::F32 => 2,
            Kind::I64 | Kind::U64 | Kind::F64 => 4,
        }
    }
    /// The word of the gateway's configuration.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::I16 => "i16",
            Kind::U16 => "u16",
            Kind::I32 => "i32",
            Kind::U32 => "u32",
            Kind::I64 => "i64",
            Kind::U64 => "u64",
            Kind::F32 => "f32",
            Kind::F64 => "f64",
        }
    }
}

/// The order of the bytes of a value that takes more than one register, as
/// vendors write it: A is the most significant byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ByteOrder {
    /// Big-endian, the specification's own.
    #[default]
    #[serde(rename = "ABCD")]
    Abcd,
    /// Words swapped.
    #[serde(rename = "CDAB")]
    Cdab,
    /// Bytes of each word swapped.
    #[serde(rename = "BADC")]
    Badc,
    /// Little-endian.
    #[serde(rename = "DCBA")]
    Dcba,
}

impl ByteOrder {
    /// The word of the gateway's configuration.
    pub fn word(self) -> &'static str {
        match self {
            ByteOrder::Abcd => "ABCD",
            ByteOrder::Cdab => "CDAB",
            ByteOrder::Badc => "BADC",
            ByteOrder::Dcba => "DCBA",
        }
    }
    /// Between big-endian words and the words of this order; its own inverse. A
    /// single word is as the specification says, whatever the order of wider values.
    fn arrange(self, words: &mut [u16]) {
        if words.len() < 2 {
            return;
        }
        if matches!(self, ByteOrder::Cdab | ByteOrder::Dcba) {
            words.reverse();
        }
        if matches!(self, ByteOrder::Badc | ByteOrder::Dcba) {
            for word in words {
                *word = word.swap_bytes();
            }
        }
    }
}

/// One value of a machine: where it lies and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Name of the signal.
    pub name: String,
    /// Appended to the asset id with a dot when the value belongs to a part of the machine (`zone-3`).
    pub part: Option<String>,
    /// Metric of the dictionary.
    pub metric: &'static str,
    /// UCUM.
    pub unit: &'static str,
    /// Where.
    pub area: Area,
    /// First register or bit, as on the wire.
    pub address: u16,
    /// How.
    pub kind: Kind,
    /// What one count is worth, one over a whole number; none for plain integers and floats.
    pub scale: Option<f64>,
}

impl Point {
    /// The registers of `value`, in the order of the wire.
    pub fn encode(&self, value: &Value, order: ByteOrder) -> Vec<u16> {
        let real = value.as_f64().unwrap_or_default() / self.scale.unwrap_or(1.0);
        let whole = match value {
            Value::I64(whole) if self.scale.is_none() => *whole,
            #[allow(clippy::cast_possible_truncation)] // saturates, as a PLC's conversion block does
            _ => real.round() as i64,
        };
        #[allow(clippy::cast_possible_truncation)] // an f32 register is what the machine has
        let bytes = match self.kind {
            Kind::Bool => return vec![u16::from(real != 0.0)],
            Kind::I16 | Kind::U16 => whole.to_be_bytes()[6..].to_vec(),
            Kind::I32 | Kind::U32 => whole.to_be_bytes()[4..].to_vec(),
            Kind::I64 | Kind::U64 => whole.to_be_bytes().to_vec(),
            Kind::F32 => (real as f32).to_be_bytes().to_vec(),
            Kind::F64 => real.to_be_bytes().to_vec(),
        };
        let mut words: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        order.arrange(&mut words);
        words
    }

    /// What a gateway must make of these registers: the type of the series is a
    /// float when there is a scale or the register is one, else an integer.
    pub fn decode(&self, words: &[u16], order: ByteOrder) -> Option<Value> {
        let mut words = words.get(..usize::from(self.kind.width()))?.to_vec();
        if self.kind == Kind::Bool {
            return Some(Value::Bool(words[0] != 0));
        }
        order.arrange(&mut words);
        let bits = words.iter().fold(0u64, |bits, word| bits << 16 | u64::from(*word));
        #[allow(clippy::cast_possible_truncation)] // each arm takes the width that it has
        let whole = match self.kind {
            Kind::I16 => i64::from(bits as i16),
            Kind::I32 => i64::from(bits as i32),
            Kind::F32 => return Some(Value::F64(f64::from(f32::from_bits(bits as u32)) * self.scale.unwrap_or(1.0))),
            Kind::F64 => return Some(Value::F64(f64::from_bits(bits) * self.scale.unwrap_or(1.0))),
            _ => bits as i64,
        };
        Some(match self.scale {
            // The number nearest to the decimal one: 1107 tenths are 110.7.
            Some(scale) => Value::F64(whole as f64 / (1.0 / scale).round()),
            None => Value::I64(whole),
        })
    }
}

/// The kinds of machine that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Make {
    /// A mechanical press: strokes, force, oil temperature, idle and down times.
    Press,
    /// A furnace of six zones: measured and set-point temperature of each, a door.
    Furnace,
    /// An energy meter: counters of two widths, power, voltage, power factor.
    Meter,
    /// A compressor that loads and unloads.
    Compressor,
    /// An arc welder.
    Welder,
    /// Fifty analogue channels, for load.
    Rack,
    /// Registers whose every value tells where and when it was read; see `pattern`.
    Pattern,
}

/// A machine at one moment of simulated time.
pub struct Machine {
    make: Make,
    points: Vec<Point>,
    state: Box<dyn plant::State>,
    steps: u64,
}

impl Machine {
    /// A machine at time zero.
    pub fn new(make: Make, seed: u64) -> Self {
        let state = plant::state(make, seed);
        Self { make, points: state.points(), state, steps: 0 }
    }
    /// What it is.
    pub fn make(&self) -> Make {
        self.make
    }
    /// Its values' places, in the order of [`values`](Self::values).
    pub fn points(&self) -> &[Point] {
        &self.points
    }
    /// Lets it run until `elapsed` since time zero; never backwards.
    pub fn advance_to(&mut self, elapsed: Duration) {
        let due = elapsed.as_millis() / STEP.as_millis();
        while u128::from(self.steps) < due {
            self.state.step();
            self.steps += 1;
        }
    }
    /// What it holds now.
    pub fn values(&self) -> Vec<Value> {
        self.state.values()
    }
}

/// The point of the serial number in an area of registers.
pub fn serial_point(area: Area) -> Point {
    Point {
        name: format!("{}_serial", area.word()),
        part: None,
        metric: if area == Area::Input { "x_input_serial" } else { "x_holding_serial" },
        unit: "1",
        area,
        address: SERIAL_ADDRESS,
        kind: Kind::U32,
        scale: None,
    }
}

#[cfg(test)]
mod tests;
