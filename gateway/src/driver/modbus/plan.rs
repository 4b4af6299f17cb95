//! The coalescing plan: a device's signals become the fewest requests. Pure.
//!
//! Signals of one interval and one area are sorted by address and taken greedily. That
//! gives the fewest requests there can be: a request has to begin at the first signal
//! not yet covered, and nothing is gained by leaving out a signal that it can reach.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::link::Answer;
use crate::config::{Area, ModbusDevice, Point, RequestLimits};
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
    /// What is wanted of them.
    pub pieces: Vec<Piece>,
}

/// A signal's part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Index into the configuration's signals.
    pub signal: u32,
    /// Where it begins, counted from the request's first address.
    pub offset: u16,
    /// How many registers or bits.
    pub width: u16,
}

/// The polls of a device, the shortest interval first.
pub fn polls(device: &ModbusDevice) -> Vec<Poll> {
    let mut groups: BTreeMap<Duration, BTreeMap<Area, Vec<Point>>> = BTreeMap::new();
    for point in &device.points {
        groups.entry(point.interval).or_default().entry(point.area).or_default().push(*point);
    }
    groups
        .into_iter()
        .map(|(interval, areas)| {
            let requests = areas.into_iter().flat_map(|(area, points)| coalesce(area, points, device.limits));
            Poll { interval, requests: requests.collect() }
        })
        .collect()
}

/// The fewest requests for the points of one area. Every point fits into one alone.
fn coalesce(area: Area, mut points: Vec<Point>, limits: RequestLimits) -> Vec<Request> {
    let (longest, hole) = if area.is_bits() {
        (limits.max_bits, limits.max_hole.saturating_mul(WORD_BITS))
    } else {
        (limits.max_words, limits.max_hole)
    };
    points.sort_by_key(|point| (point.address, point.width));
    let mut requests: Vec<Request> = Vec::new();
    for point in points {
        // In u32, for the last register ends at 65536.
        let end = u32::from(point.address) + u32::from(point.width);
        if let Some(request) = requests.last_mut() {
            let request_end = u32::from(request.address) + u32::from(request.count);
            let reach = end.max(request_end) - u32::from(request.address);
            let gap = u32::from(point.address).saturating_sub(request_end);
            if gap <= hole.into() && reach <= longest.into() {
                request.count = u16::try_from(reach).unwrap_or(u16::MAX);
                request.pieces.push(piece(&point, request.address));
                continue;
            }
        }
        let pieces = vec![piece(&point, point.address)];
        requests.push(Request { area, address: point.address, count: point.width, pieces });
    }
    requests
}

fn piece(point: &Point, from: u16) -> Piece {
    Piece { signal: point.signal, offset: point.address - from, width: point.width }
}

impl Request {
    /// The signals that it brings.
    pub fn signals(&self) -> impl Iterator<Item = u32> {
        self.pieces.iter().map(|piece| piece.signal)
    }

    /// Cuts an answer of the request's length into the raw values of its signals.
    pub fn readings(&self, answer: &Answer) -> Vec<Reading> {
        let raw = |piece: &Piece| {
            let from = usize::from(piece.offset);
            match answer {
                Answer::Bits(bits) => bits.get(from).copied().map(Raw::Bit),
                Answer::Words(words) => words.get(from..from + usize::from(piece.width)).map(|slice| {
                    let mut words = [0; 4];
                    words.iter_mut().zip(slice).for_each(|(word, given)| *word = *given);
                    Raw::Words(words)
                }),
            }
        };
        self.pieces.iter().filter_map(|piece| Some(Reading { signal: piece.signal, raw: raw(piece)? })).collect()
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.area.name(), self.address)?;
        if self.count > 1 {
            write!(f, "–{}", u32::from(self.address) + u32::from(self.count) - 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
