//! The coalescing plan: a device's signals become the fewest requests. Pure.
//!
//! Parts of one poll and one area are sorted by address and taken greedily. That gives
//! the fewest requests there can be: a request has to begin at the first part not yet
//! covered, whatever is legal for a run of registers is legal for a piece of it, and so
//! nothing is gained by leaving out a part that the request can reach.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::learned::{self, Learned};
use super::link::Answer;
use crate::config::{Area, ModbusDevice, Part, Point, RequestLimits};
use crate::driver::{Raw, Reading};

/// Bits in a word: a hole of as many bits costs as many bytes.
const WORD_BITS: u16 = 16;

/// The requests that are due together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// How often.
    pub interval: Duration,
    /// In the order in which they are sent.
    pub requests: Vec<Request>,
    /// Signals that are not asked for, because the device is known to refuse a part of them.
    pub left_out: Vec<(u32, Part)>,
}

/// One request, with the addresses as they go on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which table.
    pub area: Area,
    /// The first register or bit.
    pub address: u16,
    /// How many of them.
    pub count: u16,
    /// What is wanted of them, by address.
    pub pieces: Vec<Piece>,
}

/// A signal's part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Index into the configuration's signals.
    pub signal: u32,
    /// What it is to the signal.
    pub role: Role,
    /// Where it begins, counted from the request's first address.
    pub offset: u16,
    /// How many registers or bits.
    pub width: u16,
}

/// What registers are to a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Its value, and all that there is to know.
    Whole,
    /// Its value, which so many others say how to read.
    Value(usize),
    /// One of those others, from 0.
    Aid(usize),
}

/// The polls of a device, the shortest interval first, around what it is known to refuse.
pub fn polls(device: &ModbusDevice, learned: &Learned) -> Vec<Poll> {
    let mut groups: BTreeMap<(Duration, u16), Vec<&Point>> = BTreeMap::new();
    for point in &device.points {
        groups.entry((point.interval, point.group)).or_default().push(point);
    }
    groups.into_iter().map(|((interval, _), points)| poll(interval, &points, device.limits, learned)).collect()
}

/// The signals of a device that have no value because this range is refused. None where only
/// a hole or a border lies in it: then it is asked around.
pub fn concerned(device: &ModbusDevice, refused: Part) -> impl Iterator<Item = u32> {
    let holds = move |point: &&Point| {
        let mut parts = std::iter::once(&point.value).chain(&point.aids);
        parts.any(|part| learned::holds(*part, refused))
    };
    device.points.iter().filter(holds).map(|point| point.signal)
}

fn poll(interval: Duration, points: &[&Point], limits: RequestLimits, learned: &Learned) -> Poll {
    let mut areas: BTreeMap<Area, Vec<(Part, u32, Role)>> = BTreeMap::new();
    let mut left_out = Vec::new();
    for point in points {
        let parts = || std::iter::once(&point.value).chain(&point.aids);
        if let Some(refused) = parts().find_map(|part| learned.within(*part)) {
            left_out.push((point.signal, refused));
            continue;
        }
        let value = if point.aids.is_empty() { Role::Whole } else { Role::Value(point.aids.len()) };
        let roles = std::iter::once(value).chain((0..point.aids.len()).map(Role::Aid));
        for (part, role) in parts().zip(roles) {
            areas.entry(part.area).or_default().push((*part, point.signal, role));
        }
    }
    let requests = areas.into_iter().flat_map(|(area, parts)| coalesce(area, parts, limits, learned)).collect();
    Poll { interval, requests, left_out }
}

/// The fewest requests for the parts of one area. Every part fits into one alone.
fn coalesce(area: Area, mut parts: Vec<(Part, u32, Role)>, limits: RequestLimits, learned: &Learned) -> Vec<Request> {
    let (longest, hole) = if area.is_bits() {
        (limits.max_bits, limits.max_hole.saturating_mul(WORD_BITS))
    } else {
        (limits.max_words, limits.max_hole)
    };
    parts.sort_unstable();
    let mut requests: Vec<Request> = Vec::new();
    for (part, signal, role) in parts {
        // In u32, for the last register ends at 65536.
        let end = u32::from(part.address) + u32::from(part.width);
        if let Some(request) = requests.last_mut() {
            let request_end = u32::from(request.address) + u32::from(request.count);
            let reach = end.max(request_end) - u32::from(request.address);
            let gap = u32::from(part.address).saturating_sub(request_end);
            if gap <= hole.into() && reach <= longest.into() {
                let count = u16::try_from(reach).unwrap_or(u16::MAX);
                let whole = Part { area, address: request.address, width: count };
                if learned.within(whole).is_none() {
                    request.count = count;
                    let offset = part.address - request.address;
                    request.pieces.push(Piece { signal, role, offset, width: part.width });
                    continue;
                }
            }
        }
        let pieces = vec![Piece { signal, role, offset: 0, width: part.width }];
        requests.push(Request { area, address: part.address, count: part.width, pieces });
    }
    requests
}

impl Request {
    /// What it asks for.
    pub fn part(&self) -> Part {
        Part { area: self.area, address: self.address, width: self.count }
    }

    /// The signals that it brings, or a part of, each once.
    pub fn signals(&self) -> impl Iterator<Item = u32> {
        self.pieces.iter().map(|piece| piece.signal).collect::<BTreeSet<_>>().into_iter()
    }

    /// The words or bits of a piece. `None` where the answer is too short.
    fn cut<'a>(answer: &'a Answer, piece: &Piece) -> Option<Cut<'a>> {
        let range = usize::from(piece.offset)..usize::from(piece.offset) + usize::from(piece.width);
        match answer {
            Answer::Bits(bits) => bits.get(range.start).map(|bit| Cut::Bit(*bit)),
            Answer::Words(words) => words.get(range).map(Cut::Words),
        }
    }

    /// Cuts it in two where a border between pieces is nearest to the middle. `None` when
    /// there is no border: of one piece, or of pieces that lie over each other.
    pub fn halves(&self) -> Option<(Self, Self)> {
        let mut end = 0;
        let mut borders = Vec::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            if index > 0 && piece.offset >= end {
                borders.push((index, end, piece.offset));
            }
            end = end.max(piece.offset + piece.width);
        }
        let (index, end, begin) = borders
            .into_iter()
            .min_by_key(|(_, end, begin)| (u32::from(*end) + u32::from(*begin)).abs_diff(self.count.into()))?;
        let (left, right) = self.pieces.split_at(index);
        let right = right.iter().map(|piece| Piece { offset: piece.offset - begin, ..*piece }).collect();
        Some((
            Self { area: self.area, address: self.address, count: end, pieces: left.to_vec() },
            Self { area: self.area, address: self.address + begin, count: self.count - begin, pieces: right },
        ))
    }
}

enum Cut<'a> {
    Words(&'a [u16]),
    Bit(bool),
}

/// Puts the answers of one poll together into readings: a value and the registers that
/// say how to read it may come in several answers.
#[derive(Debug, Default)]
pub struct Assembly {
    held: BTreeMap<u32, Held>,
    failed: BTreeSet<u32>,
}

/// What came of a signal so far.
#[derive(Debug, Default)]
struct Held {
    value: Option<([u16; 4], usize)>,
    aids: BTreeMap<usize, u16>,
}

impl Assembly {
    /// Takes the answer to a request and gives the readings that are complete with it.
    pub fn take(&mut self, request: &Request, answer: &Answer) -> Vec<Reading> {
        let mut readings = Vec::new();
        for piece in &request.pieces {
            let signal = piece.signal;
            let raw = match (piece.role, Request::cut(answer, piece)) {
                (_, None) => continue,
                (_, Some(Cut::Bit(bit))) => Some(Raw::Bit(bit)),
                (Role::Whole, Some(Cut::Words(words))) if words.len() > 4 => Some(Raw::Long(words.to_vec())),
                (Role::Whole, Some(Cut::Words(words))) => Some(Raw::Words(four(words))),
                (Role::Value(aids), Some(Cut::Words(words))) => {
                    self.hold(signal, |held| held.value = Some((four(words), aids)))
                }
                (Role::Aid(index), Some(Cut::Words(words))) => {
                    self.hold(signal, |held| held.aids.extend(words.first().map(|word| (index, *word))))
                }
            };
            readings.extend(raw.map(|raw| Reading::new(signal, raw)));
        }
        readings
    }

    fn hold(&mut self, signal: u32, put: impl FnOnce(&mut Held)) -> Option<Raw> {
        if self.failed.contains(&signal) {
            return None;
        }
        let held = self.held.entry(signal).or_default();
        put(held);
        let (words, aids) = held.value.filter(|(_, aids)| held.aids.len() == *aids)?;
        debug_assert_eq!(aids, held.aids.len());
        let aids = std::mem::take(&mut held.aids).into_values().collect();
        self.held.remove(&signal);
        Some(Raw::Aided(words, aids))
    }

    /// The request brought no values: gives the signals that have none in this poll, each
    /// once in it.
    pub fn refuse(&mut self, request: &Request) -> Vec<u32> {
        request.signals().filter(|signal| self.failed.insert(*signal)).collect()
    }
}

fn four(slice: &[u16]) -> [u16; 4] {
    let mut words = [0; 4];
    words.iter_mut().zip(slice).for_each(|(word, given)| *word = *given);
    words
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(self.part()).fmt(f)
    }
}

/// A run of registers by its wire addresses: `holding 100–103`.
pub fn shown(part: Part) -> String {
    let first = format!("{} {}", part.area.name(), part.address);
    if part.width > 1 { format!("{first}–{}", u32::from(part.address) + u32::from(part.width) - 1) } else { first }
}

#[cfg(test)]
mod tests;
