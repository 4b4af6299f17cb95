//! Modbus frames as a device sees them, and what spoils them. Written apart from the
//! gateway's, and from the library that it uses: a mistake would have to be made twice.

use crate::chance::Chance;

use super::fault::Fault;
use super::machine::Area;

/// Bytes of a Modbus TCP frame before its unit id; the last two are the length of the rest.
const PREFIX: usize = 6;
/// The longest Modbus TCP frame: 7 bytes of header and a PDU of 253.
const MAX_FRAME: usize = 260;
/// The shortest RTU request that there is.
const SHORTEST: usize = 8;

/// How frames stand on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Tcp,
    Rtu,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) transaction: [u8; 2],
    pub(super) unit: u8,
    pub(super) function: u8,
    /// What follows the function.
    pub(super) data: Vec<u8>,
    /// All bytes of its frame.
    pub(super) raw: Vec<u8>,
}

impl Request {
    /// What it reads: area, first address, count. None when it is not a read.
    pub(super) fn range(&self) -> Option<(Area, u16, u16)> {
        let area = match self.function {
            1 => Area::Coil,
            2 => Area::Discrete,
            3 => Area::Holding,
            4 => Area::Input,
            _ => return None,
        };
        let [a, b, c, d] = self.data[..] else { return None };
        Some((area, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }
}

/// What the bytes that came begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Request(Request),
    /// Not enough to tell.
    More,
    /// No request.
    Strange,
}

impl Framing {
    /// Takes a request off the front of what came. Of what is no RTU frame one byte is taken.
    pub(super) fn take(self, heard: &mut Vec<u8>) -> Taken {
        match self {
            Self::Tcp => take_tcp(heard),
            Self::Rtu => take_rtu(heard),
        }
    }

    /// The frame of an answer.
    pub(super) fn frame(self, request: &Request, unit: u8, pdu: &[u8]) -> Vec<u8> {
        match self {
            Self::Tcp => {
                let length = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX).to_be_bytes();
                let mut frame = [request.transaction, [0, 0], length].concat();
                frame.push(unit);
                frame.extend(pdu);
                frame
            }
            Self::Rtu => {
                let mut frame = vec![unit];
                frame.extend(pdu);
                frame.extend(crc(&frame).to_le_bytes());
                frame
            }
        }
    }

    /// Does to a frame what the fault says; those that are not about its bytes leave it.
    pub(super) fn spoil(self, frame: &mut Vec<u8>, fault: Fault, dice: &mut Chance) {
        let mut place = |frame: &[u8]| usize::try_from(dice.below(frame.len() as u64)).unwrap_or(0);
        match fault {
            // Not zero: a protocol id of zero would make it half a frame.
            Fault::Garbage => frame.fill(0xa5),
            Fault::Short if self == Self::Tcp => frame.truncate(frame.len() - 2),
            Fault::Short => frame.truncate(frame.len() / 2),
            Fault::WrongTransaction if self == Self::Tcp => frame[1] = frame[1].wrapping_add(1),
            Fault::Twice => frame.extend_from_within(..),
            Fault::Noise(bits) => {
                for _ in 0..=dice.below(bits.into()) {
                    let at = dice.below(frame.len() as u64 * 8);
                    frame[usize::try_from(at / 8).unwrap_or(0)] ^= 1 << (at % 8);
                }
            }
            Fault::NoiseBefore => frame.splice(0..0, [0, 0xff, 0]).for_each(drop),
            Fault::ByteInserted => {
                let at = place(frame);
                frame.insert(at, dice.bits().to_be_bytes()[0]);
            }
            Fault::ByteDropped => {
                let at = place(frame);
                frame.remove(at);
            }
            _ => {}
        }
    }
}

fn take_tcp(heard: &mut Vec<u8>) -> Taken {
    if heard.len() < PREFIX {
        return Taken::More;
    }
    let rest = usize::from(u16::from_be_bytes([heard[4], heard[5]]));
    if heard[2..4] != [0, 0] || !(2..=MAX_FRAME - PREFIX).contains(&rest) {
        return Taken::Strange;
    }
    if heard.len() < PREFIX + rest {
        return Taken::More;
    }
    let raw: Vec<u8> = heard.drain(..PREFIX + rest).collect();
    Taken::Request(Request {
        transaction: [raw[0], raw[1]],
        unit: raw[PREFIX],
        function: raw[PREFIX + 1],
        data: raw[PREFIX + 2..].to_vec(),
        raw,
    })
}

fn take_rtu(heard: &mut Vec<u8>) -> Taken {
    if heard.len() < SHORTEST {
        return Taken::More;
    }
    // Writes of many carry their length; whatever else a master could send is as long as a read.
    let length = if matches!(heard[1], 15 | 16) { 9 + usize::from(heard[6]) } else { SHORTEST };
    let Some(raw) = heard.get(..length).map(<[u8]>::to_vec) else { return Taken::More };
    let (data, sum) = raw.split_at(length - 2);
    if crc(data).to_le_bytes() != *sum {
        heard.remove(0);
        return Taken::Strange;
    }
    heard.drain(..length);
    let (unit, function, data) = (raw[0], raw[1], data[2..].to_vec());
    Taken::Request(Request { transaction: [0, 0], unit, function, data, raw })
}

/// CRC-16/MODBUS by the book's table-free loop.
pub(super) fn crc(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0xFFFF, |crc, byte| (0..8).fold(crc ^ u16::from(*byte), |crc, _| (crc >> 1) ^ (0xA001 * (crc & 1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_those_of_the_specification() {
        let mut heard = vec![0xff, 0x11, 3, 0, 0x6B, 0, 3, 0x76, 0x87, 0x11];
        assert_eq!(Framing::Rtu.take(&mut heard), Taken::Strange);
        let Taken::Request(request) = Framing::Rtu.take(&mut heard) else { panic!("a request") };
        assert_eq!((request.unit, request.range()), (17, Some((Area::Holding, 107, 3))));
        assert_eq!((Framing::Rtu.take(&mut heard), heard), (Taken::More, vec![0x11]));
        let mut heard = vec![0, 9, 0, 0, 0, 6, 1, 4, 0, 1, 0, 2, 0];
        let Taken::Request(request) = Framing::Tcp.take(&mut heard) else { panic!("a request") };
        assert_eq!((request.transaction, request.range()), ([0, 9], Some((Area::Input, 1, 2))));
        assert_eq!(Framing::Tcp.frame(&request, 1, &[4, 2, 0, 7]), [0, 9, 0, 0, 0, 5, 1, 4, 2, 0, 7]);
        assert_eq!(Framing::Tcp.take(&mut heard), Taken::More);
        assert_eq!(Framing::Tcp.take(&mut b"GET / HTTP/1.1".to_vec()), Taken::Strange);
        // A write of many registers is one request, however long.
        let mut write = vec![1, 16, 0, 0, 0, 2, 4, 0, 1, 0, 2];
        write.extend(crc(&write).to_le_bytes());
        let Taken::Request(request) = Framing::Rtu.take(&mut write) else { panic!("a request") };
        assert_eq!((request.function, request.range()), (16, None));
    }

    #[test]
    fn a_fault_spoils_a_frame_and_the_seed_says_how() {
        let request = Request { transaction: [0, 1], unit: 1, function: 3, data: vec![0; 4], raw: Vec::new() };
        let whole = Framing::Rtu.frame(&request, 1, &[3, 4, 1, 2, 3, 4]);
        assert_eq!(crc(&whole), 0, "a frame with its checksum has the checksum 0");
        let spoilt = |fault, seed| {
            let mut frame = whole.clone();
            Framing::Rtu.spoil(&mut frame, fault, &mut Chance::new(seed));
            frame
        };
        for seed in 0..200 {
            let noisy = spoilt(Fault::Noise(3), seed);
            let flips: u32 = noisy.iter().zip(&whole).map(|(one, other)| (one ^ other).count_ones()).sum();
            assert!(flips <= 3 && noisy.len() == whole.len());
            assert!(flips == 0 || crc(&noisy) != 0, "up to three bits are always found");
            assert_eq!(spoilt(Fault::ByteInserted, seed).len(), whole.len() + 1);
            assert_eq!(spoilt(Fault::ByteDropped, seed).len(), whole.len() - 1);
            assert_eq!(noisy, spoilt(Fault::Noise(3), seed));
        }
        assert_eq!(spoilt(Fault::Twice, 1), [whole.clone(), whole.clone()].concat());
        assert_eq!(spoilt(Fault::Silent, 1), whole);
    }
}
