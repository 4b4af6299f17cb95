//! The behaviour of each make of machine.

use std::f64::consts::TAU;

use sandan_proto::reading::Value;

use super::{Area, Kind, Make, Point, STEP};

/// Seconds of one step.
const DT: f64 = STEP.as_millis() as f64 / 1000.0;

/// What a make of machine is inside.
pub(super) trait State: Send {
    fn points(&self) -> Vec<Point>;
    fn step(&mut self);
    fn values(&self) -> Vec<Value>;
}

pub(super) fn state(make: Make, seed: u64) -> Box<dyn State> {
    let dice = Dice(seed ^ 0x5a4d_u64 << 40 ^ make as u64);
    match make {
        Make::Press => Box::new(Press::new(dice)),
        Make::Furnace => Box::new(Furnace::new(dice)),
        Make::Meter => Box::new(Meter::new(dice)),
        Make::Compressor => Box::new(Compressor::new(dice)),
        Make::Welder => Box::new(Welder::new(dice)),
        Make::Rack => Box::new(Rack::new(dice)),
        Make::Pattern => Box::new(Still),
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): tiny, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    /// In [low, high).
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.bits() >> 11) as f64 / (1u64 << 53) as f64)
    }
    /// About normal: the sum of four even throws, good enough for sensor noise.
    fn noise(&mut self, width: f64) -> f64 {
        (0..4).map(|_| self.between(-0.5, 0.5)).sum::<f64>() * width
    }
}

struct Layout(Vec<Point>);

impl Layout {
    fn at(mut self, name: &str, metric: &'static str, unit: &'static str, at: (Area, u16, Kind)) -> Self {
        let (area, address, kind) = at;
        self.0.push(Point { name: name.into(), part: None, metric, unit, area, address, kind, scale: None });
        self
    }
    /// The last one is scaled.
    fn scaled(mut self, scale: f64) -> Self {
        if let Some(last) = self.0.last_mut() {
            last.scale = Some(scale);
        }
        self
    }
    /// The last one belongs to a part of the machine.
    fn of(mut self, part: String) -> Self {
        if let Some(last) = self.0.last_mut() {
            last.part = Some(part);
        }
        self
    }
}

/// Nothing that moves: what its registers hold is made when they are read.
struct Still;

impl State for Still {
    fn points(&self) -> Vec<Point> {
        Vec::new()
    }
    fn step(&mut self) {}
    fn values(&self) -> Vec<Value> {
        Vec::new()
    }
}

/// What a machine that a person tends is doing.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Running,
    Idle,
    Down,
}

/// Shifts between running, idle and down, with times as on a shop floor.
struct Shift {
    work: Work,
    left: f64,
}

impl Shift {
    fn step(&mut self, dice: &mut Dice) {
        self.left -= DT;
        if self.left > 0.0 {
            return;
        }
        (self.work, self.left) = match self.work {
            Work::Running if dice.between(0.0, 1.0) < 0.15 => (Work::Down, dice.between(30.0, 240.0)),
            Work::Running => (Work::Idle, dice.between(5.0, 45.0)),
            Work::Idle | Work::Down => (Work::Running, dice.between(60.0, 600.0)),
        };
    }
}

struct Press {
    dice: Dice,
    shift: Shift,
    phase: f64,
    period: f64,
    strokes: u32,
    peak: f64,
    oil: f64,
}

impl Press {
    fn new(mut dice: Dice) -> Self {
        let strokes = 1_200_000 + (dice.bits() >> 48) as u32;
        let left = dice.between(40.0, 200.0);
        Self {
            dice,
            shift: Shift { work: Work::Running, left },
            phase: 0.0,
            period: 1.5,
            strokes,
            peak: 0.0,
            oil: 38.0,
        }
    }
}

impl State for Press {
    fn points(&self) -> Vec<Point> {
        Layout(Vec::new())
            .at("tonnage", "press_force", "kN", (Area::Holding, 100, Kind::U16))
            .scaled(0.1)
            .at("strokes", "stroke_count", "1", (Area::Holding, 102, Kind::U32))
            .at("oil", "oil_temperature", "Cel", (Area::Holding, 104, Kind::I16))
            .scaled(0.1)
            .at("running", "machine_running", "1", (Area::Coil, 0, Kind::Bool))
            .at("guard", "x_guard_closed", "1", (Area::Discrete, 0, Kind::Bool))
            .0
    }
    fn step(&mut self) {
        self.shift.step(&mut self.dice);
        let target = if self.shift.work == Work::Running { 52.0 } else { 28.0 };
        self.oil += (target - self.oil) * DT / 600.0 + self.dice.noise(0.02);
        if self.shift.work != Work::Running {
            return;
        }
        self.phase += DT / self.period;
        if self.phase >= 1.0 {
            self.phase -= 1.0;
            self.strokes = self.strokes.wrapping_add(1);
            self.peak = 820.0 + self.dice.noise(60.0);
            self.period = 1.5 + self.dice.noise(0.1);
        }
    }
    fn values(&self) -> Vec<Value> {
        vec![
            Value::F64(self.peak),
            Value::I64(i64::from(self.strokes)),
            Value::F64(self.oil),
            Value::Bool(self.shift.work == Work::Running),
            Value::Bool(self.shift.work != Work::Down),
        ]
    }
}

/// Zones of the furnace.
const ZONES: u16 = 6;

struct Furnace {
    dice: Dice,
    elapsed: f64,
    /// When the door opens and closes, s.
    door: (f64, f64),
    measured: [f64; ZONES as usize],
    set: [f64; ZONES as usize],
}

impl Furnace {
    fn new(mut dice: Dice) -> Self {
        let opens = dice.between(20.0, 60.0);
        let closes = opens + dice.between(15.0, 40.0);
        let measured = std::array::from_fn(|_| 780.0 + dice.noise(8.0));
        Self { dice, elapsed: 0.0, door: (opens, closes), measured, set: [800.0; ZONES as usize] }
    }
    fn open(&self) -> bool {
        (self.door.0..self.door.1).contains(&self.elapsed)
    }
}

impl State for Furnace {
    fn points(&self) -> Vec<Point> {
        let mut layout = Layout(Vec::new());
        for zone in 1..=ZONES {
            layout = layout
                .at(&format!("zone{zone}"), "temperature", "Cel", (Area::Input, 98 + 2 * zone, Kind::F32))
                .of(format!("zone-{zone}"));
        }
        for zone in 1..=ZONES {
            layout = layout
                .at(&format!("set{zone}"), "temperature_setpoint", "Cel", (Area::Holding, 99 + zone, Kind::I16))
                .scaled(0.1)
                .of(format!("zone-{zone}"));
        }
        layout.at("door", "door_open", "1", (Area::Discrete, 0, Kind::Bool)).0
    }
    fn step(&mut self) {
        self.elapsed += DT;
        // Ramp 6 K/min up to 860 °C, soak for half an hour, ramp down to 800 °C.
        let minute = (self.elapsed / 60.0) % 60.0;
        let base = if minute < 10.0 {
            800.0 + 6.0 * minute
        } else if minute < 40.0 {
            860.0
        } else {
            (860.0 - 6.0 * (minute - 40.0)).max(800.0)
        };
        let open = self.open();
        for zone in 0..ZONES as usize {
            self.set[zone] = base + [0.0, 5.0, 10.0, 10.0, 5.0, -5.0][zone];
            // The door is at zone 1; the cold reaches less deep.
            let loss = if open { 2.5 / (1.0 + zone as f64) } else { 0.0 };
            self.measured[zone] += ((self.set[zone] - self.measured[zone]) / 90.0 - loss) * DT + self.dice.noise(0.08);
        }
    }
    fn values(&self) -> Vec<Value> {
        let measured = self.measured.iter().map(|zone| Value::F64((zone * 100.0).round() / 100.0));
        let set = self.set.iter().map(|zone| Value::F64(*zone));
        measured.chain(set).chain([Value::Bool(self.open())]).collect()
    }
}

struct Meter {
    dice: Dice,
    elapsed: f64,
    energy_wh: f64,
    power_kw: f64,
}

impl Meter {
    fn new(mut dice: Dice) -> Self {
        // Above what a u32 of Wh can hold, so that the wide counter has to be read right.
        let energy_wh = 5_000_000_000.0 + dice.between(0.0, 1e6);
        Self { dice, elapsed: 0.0, energy_wh, power_kw: 90.0 }
    }
}

impl State for Meter {
    fn points(&self) -> Vec<Point> {
        Layout(Vec::new())
            .at("energy", "energy_total", "W.h", (Area::Input, 100, Kind::U64))
            .at("energy_kwh", "x_energy_kwh", "kW.h", (Area::Input, 104, Kind::U32))
            .at("power", "active_power", "kW", (Area::Input, 106, Kind::F32))
            .at("voltage", "voltage", "V", (Area::Input, 108, Kind::U16))
            .scaled(0.1)
            .at("factor", "power_factor", "1", (Area::Input, 109, Kind::I16))
            .scaled(0.001)
            .0
    }
    fn step(&mut self) {
        self.elapsed += DT;
        let swing = 25.0 * (self.elapsed * TAU / 300.0).sin();
        self.power_kw += (90.0 + swing - self.power_kw) * DT / 4.0 + self.dice.noise(1.2);
        self.energy_wh += self.power_kw * 1000.0 * DT / 3600.0;
    }
    fn values(&self) -> Vec<Value> {
        #[allow(clippy::cast_possible_truncation)] // a counter shows whole units
        let whole = |wh: f64| Value::I64(wh as i64);
        vec![
            whole(self.energy_wh),
            whole(self.energy_wh / 1000.0),
            Value::F64(self.power_kw),
            Value::F64(380.0 + 4.0 * (self.elapsed * TAU / 97.0).sin()),
            Value::F64(0.93 + 0.02 * (self.elapsed * TAU / 61.0).cos()),
        ]
    }
}

struct Compressor {
    dice: Dice,
    bar: f64,
    loaded: bool,
    seconds: f64,
}

impl Compressor {
    fn new(mut dice: Dice) -> Self {
        let seconds = dice.between(1e7, 2e7);
        Self { dice, bar: 6.4, loaded: true, seconds }
    }
}

impl State for Compressor {
    fn points(&self) -> Vec<Point> {
        Layout(Vec::new())
            .at("pressure", "air_pressure", "bar", (Area::Input, 100, Kind::F32))
            .at("seconds", "x_loaded_time", "s", (Area::Input, 102, Kind::U32))
            .at("loaded", "machine_running", "1", (Area::Coil, 0, Kind::Bool))
            .0
    }
    fn step(&mut self) {
        self.bar += (if self.loaded { 0.05 } else { -0.03 } + self.dice.noise(0.02)) * DT;
        self.loaded = if self.loaded { self.bar < 7.5 } else { self.bar < 6.2 };
        self.seconds += if self.loaded { DT } else { 0.0 };
    }
    fn values(&self) -> Vec<Value> {
        #[allow(clippy::cast_possible_truncation)] // whole seconds
        let seconds = self.seconds as i64;
        vec![Value::F64(self.bar), Value::I64(seconds), Value::Bool(self.loaded)]
    }
}

struct Welder {
    dice: Dice,
    shift: Shift,
    left: f64,
    arc: bool,
    seams: u32,
    current: f64,
    voltage: f64,
    wire: f64,
}

impl Welder {
    fn new(mut dice: Dice) -> Self {
        let left = dice.between(60.0, 300.0);
        let shift = Shift { work: Work::Running, left };
        Self { dice, shift, left: 3.0, arc: true, seams: 0, current: 180.0, voltage: 22.0, wire: 7.5 }
    }
}

impl State for Welder {
    /// Also as registers, for a welder behind a PLC.
    fn points(&self) -> Vec<Point> {
        Layout(Vec::new())
            .at("current", "welding_current", "A", (Area::Input, 100, Kind::F32))
            .at("voltage", "welding_voltage", "V", (Area::Input, 102, Kind::F32))
            .at("wire_speed", "wire_feed_speed", "m/min", (Area::Input, 104, Kind::F32))
            .at("seams", "seam_count", "1", (Area::Input, 106, Kind::U32))
            .at("arc", "machine_running", "1", (Area::Coil, 0, Kind::Bool))
            .0
    }
    fn step(&mut self) {
        self.shift.step(&mut self.dice);
        self.left -= DT;
        if self.left <= 0.0 {
            self.seams += u32::from(self.arc);
            self.arc = !self.arc && self.shift.work == Work::Running;
            self.left = if self.arc { self.dice.between(2.0, 9.0) } else { self.dice.between(1.0, 4.0) };
        }
        (self.current, self.voltage, self.wire) = if self.arc {
            (185.0 + self.dice.noise(12.0), 22.5 + self.dice.noise(1.0), 7.6 + self.dice.noise(0.2))
        } else {
            (0.0, 0.0, 0.0)
        };
    }
    fn values(&self) -> Vec<Value> {
        let tenth = |value: f64| Value::F64((value * 10.0).round() / 10.0);
        vec![
            tenth(self.current),
            tenth(self.voltage),
            tenth(self.wire),
            Value::I64(i64::from(self.seams)),
            Value::Bool(self.arc),
        ]
    }
}

/// Channels of the rack.
const CHANNELS: u16 = 50;

struct Rack {
    dice: Dice,
    channels: Vec<f64>,
}

impl Rack {
    fn new(mut dice: Dice) -> Self {
        let channels = (0..CHANNELS).map(|_| dice.between(100.0, 900.0)).collect();
        Self { dice, channels }
    }
}

impl State for Rack {
    fn points(&self) -> Vec<Point> {
        (0..CHANNELS)
            .fold(Layout(Vec::new()), |layout, channel| {
                layout
                    .at(&format!("ch{channel}"), "temperature", "Cel", (Area::Holding, 100 + channel, Kind::I16))
                    .scaled(0.1)
                    .of(format!("ch-{channel}"))
            })
            .0
    }
    fn step(&mut self) {
        for channel in &mut self.channels {
            *channel = (*channel + self.dice.noise(0.5)).clamp(0.0, 1000.0);
        }
    }
    fn values(&self) -> Vec<Value> {
        self.channels.iter().map(|channel| Value::F64(*channel)).collect()
    }
}
