//! RTU frames: unit, function, data, checksum. Pure, and safe on any bytes.
//!
//! The format is that of "Modbus over Serial Line" 1.02, sections 2.5.1 and 6.2.2.

use super::Answer;
use crate::config::Area;
use crate::driver::modbus::plan::Request;

/// Length of an exception, which is the shortest frame.
pub(super) const SHORTEST: usize = 5;

/// CRC-16/MODBUS: polynomial 0x8005 reflected, from all ones; sent low byte first. It
/// finds every frame in which up to three bits are wrong.
pub(super) fn crc(bytes: &[u8]) -> u16 {
    let mut crc = 0xFFFF;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
        }
    }
    crc
}

/// The frame that asks a unit.
pub(super) fn request(unit: u8, request: &Request) -> [u8; 8] {
    let [address_high, address_low] = request.address.to_be_bytes();
    let [count_high, count_low] = request.count.to_be_bytes();
    let mut frame = [unit, request.area.function_code(), address_high, address_low, count_high, count_low, 0, 0];
    let crc = crc(&frame[..6]).to_le_bytes();
    frame[6..].copy_from_slice(&crc);
    frame
}

/// How many bytes the values of an answer take.
fn value_bytes(request: &Request) -> usize {
    let count = usize::from(request.count);
    if request.area.is_bits() { count.div_ceil(8) } else { count * 2 }
}

/// How long the frame with the answer is.
pub(super) fn answer_bytes(request: &Request) -> usize {
    value_bytes(request) + SHORTEST
}

/// An answer among the bytes that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The values, or the exception.
    pub(super) answer: Result<Answer, u8>,
    /// Where it ends.
    pub(super) end: usize,
}

/// Looks for the answer to a request. Noise before it, and whole frames of other units or
/// of another length, are passed over.
pub(super) fn find(bytes: &[u8], unit: u8, request: &Request) -> Option<Found> {
    let function = request.area.function_code();
    let is_whole = |frame: &[u8]| {
        let (data, sum) = frame.split_at(frame.len() - 2);
        crc(data).to_le_bytes() == *sum
    };
    (0..bytes.len()).find_map(|from| {
        let rest = &bytes[from..];
        if rest.first() != Some(&unit) {
            return None;
        }
        let given = *rest.get(1)?;
        let (length, is_exception) = if given == function {
            (answer_bytes(request), false)
        } else if given == function | 0x80 {
            (SHORTEST, true)
        } else {
            return None;
        };
        let frame = rest.get(..length)?;
        if !is_whole(frame) || (!is_exception && usize::from(frame[2]) != value_bytes(request)) {
            return None;
        }
        let values = &frame[3..length - 2];
        let answer = if is_exception { Err(frame[2]) } else { Ok(decoded(values, request)) };
        Some(Found { answer, end: from + length })
    })
}

fn decoded(values: &[u8], request: &Request) -> Answer {
    match request.area {
        Area::Coil | Area::Discrete => {
            let bit = |index: usize| values[index / 8] >> (index % 8) & 1 == 1;
            Answer::Bits((0..usize::from(request.count)).map(bit).collect())
        }
        Area::Holding | Area::Input => {
            Answer::Words(values.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(area: Area, address: u16, count: u16) -> Request {
        Request { area, address, count, pieces: Vec::new() }
    }

    fn sealed(data: &[u8]) -> Vec<u8> {
        let mut frame = data.to_vec();
        frame.extend(crc(data).to_le_bytes());
        frame
    }

    #[test]
    fn frames_are_those_of_the_specification() {
        // The check value of CRC-16/MODBUS.
        assert_eq!(crc(b"123456789"), 0x4B37);
        assert_eq!(request(17, &asked(Area::Holding, 107, 3)), [0x11, 3, 0, 0x6B, 0, 3, 0x76, 0x87]);
        let answer = sealed(&[17, 3, 6, 0xAE, 0x41, 0x56, 0x52, 0x43, 0x40]);
        let words = Answer::Words(vec![0xAE41, 0x5652, 0x4340]);
        assert_eq!(find(&answer, 17, &asked(Area::Holding, 107, 3)), Some(Found { answer: Ok(words), end: 11 }));
        let coils = sealed(&[4, 1, 2, 0b0000_1010, 0b0000_0001]);
        let bits = [false, true, false, true, false, false, false, false, true];
        let found = find(&coils, 4, &asked(Area::Coil, 0, 9)).unwrap();
        assert_eq!(found.answer, Ok(Answer::Bits(bits.to_vec())));
        let exception = sealed(&[10, 0x81, 2]);
        assert_eq!(find(&exception, 10, &asked(Area::Coil, 0, 9)), Some(Found { answer: Err(2), end: 5 }));
    }

    #[test]
    fn what_is_not_the_answer_is_passed_over() {
        let wanted = asked(Area::Input, 3, 1);
        let answer = sealed(&[1, 4, 2, 0, 7]);
        for before in [
            vec![0, 0xFF, 1],
            sealed(&[2, 4, 2, 0, 9]),
            sealed(&[1, 4, 4, 0, 9, 0, 9]),
            sealed(&[1, 3, 2, 0, 9]),
            vec![1, 4, 2, 0, 9, 0, 0],
        ] {
            let bytes = [before.clone(), answer.clone()].concat();
            assert_eq!(find(&before, 1, &wanted), None, "{before:?}");
            let found = find(&bytes, 1, &wanted).unwrap();
            assert_eq!((found.answer, found.end), (Ok(Answer::Words(vec![7])), bytes.len()), "{before:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_through(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 1u16..126) {
            if let Some(found) = find(&bytes, 1, &asked(Area::Holding, 0, count)) {
                prop_assert!(found.end <= bytes.len());
            }
        }

        #[test]
        fn up_to_three_wrong_bits_are_never_a_value(
            words in prop::collection::vec(any::<u16>(), 1..40), flips in prop::collection::btree_set(0usize..10_000, 1..4),
        ) {
            let mut data = vec![9, 3, u8::try_from(words.len() * 2).unwrap()];
            data.extend(words.iter().flat_map(|word| word.to_be_bytes()));
            let mut frame = sealed(&data);
            let bits: std::collections::BTreeSet<usize> = flips.iter().map(|flip| flip % (frame.len() * 8)).collect();
            for bit in bits {
                frame[bit / 8] ^= 1 << (bit % 8);
            }
            let found = find(&frame, 9, &asked(Area::Holding, 0, u16::try_from(words.len()).unwrap()));
            let has_values = found.is_some_and(|found| found.answer.is_ok());
            prop_assert!(!has_values);
        }
    }
}
