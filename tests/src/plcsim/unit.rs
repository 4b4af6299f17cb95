//! A unit on a line: what its registers hold, and whether it is there.

use std::sync::Arc;
use std::time::Duration;

use sandan_gateway::clock;
use sandan_proto::reading::Value;

use super::fault::Fault;
use super::machine::{Area, ByteOrder, Machine, Make, SERIAL_ADDRESS, serial_point};
use super::pattern;
use super::scenario::{Chances, ModbusDevice, Refusal};
use super::truth::{Served, Truth};

/// Registers and bits above the last point that still answer, as those of real
/// devices do; beyond them the address is refused.
const SPARE: u16 = 16;
/// The most that the specification lets one request ask for: registers, bits.
const MOST_WORDS: u16 = 125;
const MOST_BITS: u16 = 2_000;
/// Exceptions.
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;

/// What its values come from.
pub(super) enum Content {
    Machine(Box<Machine>),
    /// [`pattern`], by its seed.
    Pattern(u64),
}

pub(super) struct Unit {
    pub(super) name: Arc<str>,
    pub(super) fault: Fault,
    pub(super) chance: Option<Chances>,
    pub(super) away: bool,
    order: ByteOrder,
    content: Content,
    max_words: u16,
    refuse: Vec<Refusal>,
    /// Requests served that covered the serial register: holding, input.
    serials: [u32; 2],
    /// The number of its return while it has not answered since.
    returning: Option<usize>,
}

impl Unit {
    pub(super) fn new(plan: &ModbusDevice, scenario: u64, machine: Machine) -> Self {
        let content = match plan.machine {
            Make::Pattern => Content::Pattern(pattern::seed(scenario, &plan.name)),
            _ => Content::Machine(Box::new(machine)),
        };
        Self {
            name: plan.name.as_str().into(),
            fault: Fault::None,
            chance: plan.chance.clone(),
            away: false,
            order: plan.byte_order,
            content,
            max_words: plan.max_words,
            refuse: plan.refuse.clone(),
            serials: [0; 2],
            returning: None,
        }
    }

    /// It went, or is there again.
    pub(super) fn note_presence(&mut self, is_there: bool, truth: &Truth) {
        match (is_there, self.returning) {
            // One that is silent for good comes back to nobody.
            (true, None) if self.fault == Fault::None => self.returning = Some(truth.came_back(&self.name)),
            (false, Some(number)) => {
                truth.left(number);
                self.returning = None;
            }
            _ => {}
        }
    }
    /// The number of its return, when it has not answered since.
    pub(super) fn returning(&self) -> Option<usize> {
        self.returning
    }
    /// It answers.
    pub(super) fn has_returned(&mut self) {
        self.returning = None;
    }

    /// The registers or bits of a range, or the exception. `elapsed` is simulated time.
    pub(super) fn read(&mut self, area: Area, address: u16, count: u16, elapsed: Duration) -> Result<Vec<u16>, u8> {
        let is_bits = area <= Area::Discrete;
        let most = if is_bits { MOST_BITS } else { self.max_words.min(MOST_WORDS) };
        if count == 0 || count > most {
            return Err(ILLEGAL_VALUE);
        }
        if let Some(refusal) = self.refuse.iter().find(|refusal| refusal.meets(area, address, count)) {
            return Err(refusal.code);
        }
        let end = address.checked_add(count).ok_or(ILLEGAL_ADDRESS)?;
        let machine = match &mut self.content {
            Content::Pattern(_) if end > pattern::COUNT => return Err(ILLEGAL_ADDRESS),
            Content::Pattern(seed) => {
                let tick = pattern::tick(clock::monotonic_us());
                let word = |at| pattern::word(*seed, area, at, tick) & if is_bits { 1 } else { u16::MAX };
                return Ok((address..end).map(word).collect());
            }
            Content::Machine(machine) => machine,
        };
        machine.advance_to(elapsed);
        let points = machine.points();
        let last =
            points.iter().filter(|point| point.area == area).map(|point| point.address + point.kind.width()).max();
        if end > last.ok_or(ILLEGAL_ADDRESS)?.max(SERIAL_ADDRESS) + SPARE {
            return Err(ILLEGAL_ADDRESS);
        }
        let mut words = vec![0; usize::from(count)];
        let mut place = |at: u16, values: &[u16]| {
            for (offset, value) in (at..).zip(values) {
                if let Some(word) = offset.checked_sub(address).and_then(|index| words.get_mut(usize::from(index))) {
                    *word = *value;
                }
            }
        };
        for (point, value) in points.iter().zip(machine.values()).filter(|(point, _)| point.area == area) {
            place(point.address, &point.encode(&value, self.order));
        }
        let serial = serial_point(area);
        if !is_bits && address <= SERIAL_ADDRESS && end >= SERIAL_ADDRESS + serial.kind.width() {
            let count = &mut self.serials[usize::from(area == Area::Input)];
            *count += 1;
            place(SERIAL_ADDRESS, &serial.encode(&Value::I64(i64::from(*count)), self.order));
        }
        Ok(words)
    }

    /// What goes into the truth; nothing of a pattern, whose values tell for themselves.
    pub(super) fn served(
        &self,
        unit: u8,
        (area, address): (Area, u16),
        words: Vec<u16>,
        fault: Fault,
    ) -> Option<Served> {
        let Content::Machine(_) = self.content else { return None };
        Some(Served {
            device: Arc::clone(&self.name),
            unit,
            area,
            address,
            order: self.order,
            serial: Served::serial_of(area, address, &words, self.order),
            words,
            mono_us: 0, // known when the bytes go out
            wall_us: 0,
            fault,
        })
    }
}
