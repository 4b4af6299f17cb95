//! How stats of stretches are packed: each takes some 30 to 70 bytes.
//!
//! Times are differences; a number that is a short decimal is an integer and its digits, any
//! other its 8 bytes. Everything is lossless, to the bit.

use super::{Point, Stats, Sum};
use crate::store::StoreError;

/// Most stats in one column: the minutes of a day.
const MAX_STATS: usize = 1_440;
/// Numbers of one stretch.
const NUMBERS: usize = 10;
/// Above the bits that say which numbers are raw.
const HELD: u64 = 1 << NUMBERS;
/// Digits behind the point that a short decimal may have.
const POWERS: [f64; 4] = [1.0, 10.0, 100.0, 1_000.0];
/// Integers below are exact as a number.
const EXACT: u64 = 1 << 53;

/// A number, seven bits a byte.
pub(in crate::store) fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// A short decimal as one integer: its digits, and how many stand behind the point.
fn decimal(value: f64) -> Option<u64> {
    POWERS.iter().enumerate().find_map(|(digits, power)| {
        #[allow(clippy::cast_possible_truncation)] // what is out of range is not the same
        let scaled = (value * power).round() as i64;
        let same = scaled.unsigned_abs() < EXACT && (scaled as f64 / power).to_bits() == value.to_bits();
        same.then(|| zigzag(scaled) << 2 | digits as u64)
    })
}

/// Packs the stretches of a column that begins at `first_us`.
pub(in crate::store) fn pack_stats(first_us: i64, all: &[Stats]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 * all.len());
    let mut before_us = first_us;
    for stats in all {
        let numbers: [f64; NUMBERS] = [
            stats.first.value,
            stats.last.value,
            stats.min,
            stats.max,
            stats.sum.high,
            stats.sum.low,
            stats.integral.high,
            stats.integral.low,
            stats.increase.high,
            stats.increase.low,
        ];
        let decimals = numbers.map(decimal);
        let raw = decimals.iter().enumerate().filter(|(_, it)| it.is_none()).fold(0, |raw, (at, _)| raw | 1 << at);
        put(&mut bytes, raw | if stats.held { HELD } else { 0 });
        put(&mut bytes, zigzag(stats.from_us - before_us));
        for span_us in [
            stats.to_us - stats.from_us,
            stats.first.time_us - stats.from_us,
            stats.to_us - stats.last.time_us,
            stats.to_us - stats.from_us - stats.covered_us,
        ] {
            put(&mut bytes, zigzag(span_us));
        }
        put(&mut bytes, stats.count);
        for (number, decimal) in numbers.into_iter().zip(decimals) {
            match decimal {
                Some(decimal) => put(&mut bytes, decimal),
                None => bytes.extend(number.to_le_bytes()),
            }
        }
        before_us = stats.to_us;
    }
    bytes
}

/// The other way.
pub(in crate::store) fn unpack_stats(first_us: i64, mut bytes: &[u8]) -> Result<Vec<Stats>, StoreError> {
    let mut all = Vec::new();
    let mut before_us = first_us;
    while !bytes.is_empty() {
        if all.len() == MAX_STATS {
            return Err(damaged("it has more stretches than a day has minutes"));
        }
        let flags = take(&mut bytes)?;
        let from_us = before_us.wrapping_add(unzigzag(take(&mut bytes)?));
        let mut span = || take(&mut bytes).map(unzigzag);
        let to_us = from_us.wrapping_add(span()?);
        let first_us = from_us.wrapping_add(span()?);
        let last_us = to_us.wrapping_sub(span()?);
        let covered_us = to_us.wrapping_sub(from_us).wrapping_sub(span()?);
        let count = take(&mut bytes)?;
        let mut numbers = [0.0; NUMBERS];
        for (at, number) in numbers.iter_mut().enumerate() {
            *number = if flags & 1 << at == 0 {
                let packed = take(&mut bytes)?;
                unzigzag(packed >> 2) as f64 / POWERS[(packed & 3) as usize]
            } else {
                let (raw, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| damaged("a stretch is cut off"))?;
                bytes = rest;
                f64::from_le_bytes(*raw)
            };
        }
        let [first, last, min, max, sum, sum_low, integral, integral_low, increase, increase_low] = numbers;
        all.push(Stats {
            from_us,
            to_us,
            count,
            first: Point { time_us: first_us, value: first },
            last: Point { time_us: last_us, value: last },
            min,
            max,
            sum: Sum { high: sum, low: sum_low },
            integral: Sum { high: integral, low: integral_low },
            covered_us,
            increase: Sum { high: increase, low: increase_low },
            held: flags & HELD != 0,
        });
        before_us = to_us;
    }
    Ok(all)
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("packed stats cannot be read: {what}"))
}

/// The other way.
pub(in crate::store) fn take(bytes: &mut &[u8]) -> Result<u64, StoreError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or_else(|| damaged("a number is cut off"))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(damaged("a number is longer than 64 bits"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_number()(short in -1_000_000_000_i64..1_000_000_000, digits in 0_i32..5, long in any::<f64>(), which in 0..4) -> f64 {
            match which {
                0 => long,
                1 => -0.0,
                _ => short as f64 / 10_f64.powi(digits),
            }
        }
    }

    prop_compose! {
        fn any_stats()(
            numbers in prop::collection::vec(any_number(), NUMBERS), times in prop::array::uniform5(-9_000_000_000_000_000_i64..9_000_000_000_000_000),
            count in any::<u64>(), held in any::<bool>(),
        ) -> Stats {
            Stats {
                from_us: times[0],
                to_us: times[1],
                count,
                first: Point { time_us: times[2], value: numbers[0] },
                last: Point { time_us: times[3], value: numbers[1] },
                min: numbers[2],
                max: numbers[3],
                sum: Sum { high: numbers[4], low: numbers[5] },
                integral: Sum { high: numbers[6], low: numbers[7] },
                covered_us: times[4],
                increase: Sum { high: numbers[8], low: numbers[9] },
                held,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_to_the_bit(
            first_us in -9_000_000_000_000_000_i64..9_000_000_000_000_000,
            all in prop::collection::vec(any_stats(), 0..9),
        ) {
            let unpacked = unpack_stats(first_us, &pack_stats(first_us, &all)).unwrap();
            prop_assert_eq!(format!("{unpacked:?}"), format!("{all:?}"));
        }

        #[test]
        fn damaged_bytes_are_refused_or_are_stats(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = unpack_stats(0, &bytes);
        }
    }

    #[test]
    fn an_hour_of_a_machine_takes_little() {
        let mut hour = Stats::of(0, Some(181.3));
        for second in 1..3_600_i32 {
            let value = f64::from(1_800 + second % 37) / 10.0;
            hour.join(&Stats::of(i64::from(second) * 1_000_000, Some(value)), 3_000_000);
        }
        let packed = pack_stats(0, &[hour]);
        assert!(packed.len() < 70, "{} bytes", packed.len());
    }
}
