//! What a device refuses: found by halving a refused request, kept in a small file, and
//! asked again now and then.
//!
//! A range here holds something that the device answers with an exception of address or
//! count whenever all of the range is asked for at once. The plan then makes no request
//! with the whole of it: a register that is not there, or two that are not given together.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::plan::Request;
use crate::config::{Area, Modbus, Part};

/// Most ranges of one device. A map that is wrong from end to end has more; then the
/// device is asked, and refuses, as if nothing had been learnt.
const MAX_RANGES: usize = 256;
/// Largest file that is read: all ranges of all 256 units take less.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// The form of the file. Another one is not read: what it knew is found out again.
const VERSION: u32 = 1;

/// What one device refuses, with the exception that it answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learned(Vec<(Part, u8)>);

/// Whether an exception says that it is about these addresses or this count.
pub(super) fn is_about_addresses(code: u8) -> bool {
    matches!(code, 2 | 3)
}

fn end(part: Part) -> u32 {
    u32::from(part.address) + u32::from(part.width)
}

pub(super) fn holds(outer: Part, inner: Part) -> bool {
    outer.area == inner.area && outer.address <= inner.address && end(inner) <= end(outer)
}

impl Learned {
    /// Nothing.
    pub fn nothing() -> Self {
        Self::default()
    }
    /// A refused range that lies in this one.
    pub fn within(&self, part: Part) -> Option<Part> {
        self.0.iter().find(|(refused, _)| holds(part, *refused)).map(|(refused, _)| *refused)
    }
    /// All of them.
    pub fn ranges(&self) -> impl Iterator<Item = Part> {
        self.0.iter().map(|(part, _)| *part)
    }
    /// The exception that a range was refused with.
    pub fn code(&self, part: Part) -> Option<u8> {
        self.0.iter().find(|(refused, _)| *refused == part).map(|(_, code)| *code)
    }
    /// Whether it is new: a range in which another one lies says nothing more.
    pub fn add(&mut self, part: Part, code: u8) -> bool {
        if self.within(part).is_some() || self.0.len() >= MAX_RANGES {
            return false;
        }
        self.0.retain(|(known, _)| !holds(*known, part));
        self.0.push((part, code));
        true
    }
    /// It was answered: whatever lies in it is not refused.
    pub fn accept(&mut self, part: Part) -> bool {
        let before = self.0.len();
        self.0.retain(|(known, _)| !holds(part, *known));
        self.0.len() < before
    }
}

/// What the refusals and answers of one search say. A refused request that could be cut
/// in two, and whose halves were both answered, is refused for what is between them.
pub(super) fn conclude(refused: &[(Request, u8)], answered: &[Part]) -> Vec<(Part, u8)> {
    let mut found = Vec::new();
    for (request, code) in refused {
        let part = request.part();
        let is_narrower = |other: &Request| other.part() != part && holds(part, other.part());
        if refused.iter().any(|(other, _)| is_narrower(other)) {
            continue;
        }
        let between = request.halves().filter(|(left, right)| {
            [left, right].iter().all(|half| answered.iter().any(|answered| holds(*answered, half.part())))
        });
        let part = between.map_or(part, |(left, right)| {
            let address = left.address + left.count - 1;
            Part { area: part.area, address, width: right.address - address + 1 }
        });
        found.push((part, *code));
    }
    found
}

/// A range as it stands in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    unit: u8,
    area: String,
    address: u16,
    count: u16,
    exception: u8,
}

#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    version: u32,
    refused: Vec<Kept>,
}

/// What the devices of a line are remembered to refuse, in their order.
pub fn remembered(endpoint: &Modbus) -> Vec<Learned> {
    match &endpoint.memory {
        Some(file) => load(file, endpoint.devices.iter().map(|device| device.unit)),
        None => vec![Learned::nothing(); endpoint.devices.len()],
    }
}

/// What a line's units refused, as far as a file says. One that is missing, damaged or too
/// large says nothing: what it knew is found out again.
fn load(file: &Path, units: impl Iterator<Item = u8>) -> Vec<Learned> {
    let read = || {
        let small = std::fs::metadata(file).is_ok_and(|metadata| metadata.len() <= MAX_FILE_BYTES);
        let text = if small { std::fs::read(file).ok() } else { None }?;
        serde_json::from_slice::<Memory>(&text).ok().filter(|memory| memory.version == VERSION)
    };
    let kept = read().map_or_else(Vec::new, |memory| memory.refused);
    units
        .map(|unit| {
            let mut learned = Learned::default();
            for kept in kept.iter().filter(|kept| kept.unit == unit && kept.count > 0) {
                if let Some(area) = Area::ALL.into_iter().find(|area| area.name() == kept.area) {
                    learned.add(Part { area, address: kept.address, width: kept.count }, kept.exception);
                }
            }
            learned
        })
        .collect()
}

/// Writes what the units refuse. It is not synced: what a power cut takes is found again.
pub(super) fn save<'a>(file: &Path, units: impl Iterator<Item = (u8, &'a Learned)>) -> io::Result<()> {
    let mut refused = Vec::new();
    for (unit, learned) in units {
        refused.extend(learned.0.iter().map(|(part, exception)| Kept {
            unit,
            area: part.area.name().into(),
            address: part.address,
            count: part.width,
            exception: *exception,
        }));
    }
    let text = serde_json::to_vec_pretty(&Memory { version: VERSION, refused })?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, file)
}

#[cfg(test)]
mod tests;
