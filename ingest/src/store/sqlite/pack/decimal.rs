//! Numbers with few digits behind the point, as whole ones.
//!
//! A register in tenths comes as 110.7, the double that is nearest to it: 1107 and one digit say
//! the same in fewer bits, and compress as counts do. A single-precision register whose device
//! rounds is taken the same way, by the nearest single. What is no such number, as what was bad
//! and has no value, is kept beside them with its bits. Packing tries the way back on every value,
//! so that what comes out is what went in.
//!
//! `digits (1 byte, 0x80: singles) · exceptions · whole numbers`; exceptions are a count, and of
//! each run of equal ones how many values lie before it, how many it has, and their 8 bytes.

use super::{damaged, integers, unpacked};
use crate::store::StoreError;
use crate::store::aggregate::packed::{put, take};

/// Most digits behind the point: what instruments resolve.
const MAX_DIGITS: u8 = 6;
/// Set beside the digits of singles.
const SINGLE: u8 = 0x80;
/// Whole numbers below are exact as a double.
const EXACT: u64 = 1 << 53;
/// Whole numbers of singles: a step of the last digit is some steps of the single, else every
/// single were such a number, and its spare bits would be kept.
const EXACT_SINGLE: u64 = 1 << 20;
/// Values that are looked at to find the digits.
const SAMPLE: usize = 64;
/// One run of exceptions for so many values at most: each takes some 11 bytes.
const VALUES_PER_EXCEPTION: usize = 16;

/// What turns a number into a whole one and back.
#[derive(Debug, Clone, Copy)]
struct Scale {
    digits: u8,
    power: f64,
    single: bool,
}

impl Scale {
    fn new(digits: u8, single: bool) -> Self {
        Self { digits, power: 10_f64.powi(digits.into()), single }
    }

    fn all() -> impl Iterator<Item = Self> {
        [false, true].into_iter().flat_map(|single| (0..=MAX_DIGITS).map(move |digits| Self::new(digits, single)))
    }

    fn real(self, whole: i64) -> f64 {
        let real = whole as f64 / self.power;
        #[allow(clippy::cast_possible_truncation)] // to the nearest single, as a device has it
        if self.single { f64::from(real as f32) } else { real }
    }

    fn whole(self, value: f64) -> Option<i64> {
        #[allow(clippy::cast_possible_truncation)] // what is out of range does not come back
        let whole = (value * self.power).round() as i64;
        let bound = if self.single { EXACT_SINGLE } else { EXACT };
        (whole.unsigned_abs() < bound && self.real(whole).to_bits() == value.to_bits()).then_some(whole)
    }

    /// The fewest digits that nearly all of a sample have.
    fn of(values: &[f64]) -> Option<Self> {
        let sample: Vec<f64> =
            values.iter().copied().filter(|value| value.is_finite()).step_by((values.len() / SAMPLE).max(1)).collect();
        let fits = |scale: &Self| {
            let misses = sample.iter().filter(|value| scale.whole(**value).is_none());
            misses.take(1 + sample.len() / VALUES_PER_EXCEPTION).count() <= sample.len() / VALUES_PER_EXCEPTION
        };
        if sample.is_empty() { None } else { Self::all().find(fits) }
    }
}

/// Packs values that are decimals; none where too many are not.
pub(super) fn pack(values: &[f64]) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(scale) = Scale::of(values) else { return Ok(None) };
    let mut whole = Vec::with_capacity(values.len());
    // First position, length, bits.
    let mut exceptions: Vec<(usize, usize, u64)> = Vec::new();
    for (at, &value) in values.iter().enumerate() {
        if let Some(number) = scale.whole(value) {
            whole.push(number);
            continue;
        }
        // As the one before, which costs least.
        whole.push(whole.last().copied().unwrap_or(0));
        match exceptions.last_mut() {
            Some((from, len, bits)) if *from + *len == at && *bits == value.to_bits() => *len += 1,
            _ => exceptions.push((at, 1, value.to_bits())),
        }
        if exceptions.len() > 1 + values.len() / VALUES_PER_EXCEPTION {
            return Ok(None);
        }
    }
    let mut bytes = vec![if scale.single { scale.digits | SINGLE } else { scale.digits }];
    put(&mut bytes, exceptions.len() as u64);
    let mut behind = 0;
    for (from, len, bits) in exceptions {
        put(&mut bytes, (from - behind) as u64);
        put(&mut bytes, len as u64);
        bytes.extend(bits.to_le_bytes());
        behind = from + len;
    }
    bytes.extend(integers(&whole)?);
    Ok(Some(bytes))
}

/// The other way.
pub(super) fn unpack(bytes: &[u8], rows: usize) -> Result<Vec<f64>, StoreError> {
    let (&digits, mut bytes) = bytes.split_first().ok_or_else(|| damaged("it has no digits"))?;
    let scale = Scale::new(digits & !SINGLE, digits & SINGLE != 0);
    if scale.digits > MAX_DIGITS {
        return Err(damaged("it has more digits than there are"));
    }
    let mut exceptions = Vec::new();
    let mut behind = 0_usize;
    let length = |bytes: &mut &[u8]| take(bytes).map(|len| usize::try_from(len).unwrap_or(usize::MAX));
    for _ in 0..length(&mut bytes)? {
        let from = behind.saturating_add(length(&mut bytes)?);
        behind = from.saturating_add(length(&mut bytes)?);
        let (bits, rest) = bytes.split_first_chunk().ok_or_else(|| damaged("an exception is cut off"))?;
        bytes = rest;
        if behind > rows {
            return Err(damaged("an exception is behind its end"));
        }
        exceptions.push((from..behind, f64::from_le_bytes(*bits)));
    }
    let mut values: Vec<f64> = unpacked::<i64>(bytes, rows)?.into_iter().map(|whole| scale.real(whole)).collect();
    for (places, value) in exceptions {
        values[places].fill(value);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    fn back(values: &[f64]) -> Option<usize> {
        let packed = pack(values).unwrap()?;
        assert_eq!(bits(&unpack(&packed, values.len()).unwrap()), bits(values));
        Some(packed.len())
    }

    proptest! {
        #[test]
        fn decimals_with_exceptions_come_back_to_the_bit(
            whole in prop::collection::vec(-2_000_000_i64..2_000_000, 1..400),
            digits in 0..=i32::from(MAX_DIGITS),
            single: bool,
            odd in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..12),
        ) {
            let power = 10_f64.powi(digits);
            #[allow(clippy::cast_possible_truncation)] // as a device rounds
            let real = |whole: &i64| if single { f64::from((*whole as f64 / power) as f32) } else { *whole as f64 / power };
            let mut values: Vec<f64> = whole.iter().map(real).collect();
            for (at, bits) in odd {
                let at = at.index(values.len());
                values[at] = f64::from_bits(bits);
            }
            back(&values);
        }

        #[test]
        fn any_bytes_unpack_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes, 50);
        }
    }

    #[test]
    fn what_a_plant_says_is_taken_as_decimals() {
        let tenths: Vec<f64> = (0..4_096_i32).map(|at| f64::from(1_800 + at.wrapping_mul(at) % 37) / 10.0).collect();
        assert!(back(&tenths).is_some());
        let single: Vec<f64> = (0..4_096).map(|at| f64::from((1_800 + at % 37) as f32 / 100.0)).collect();
        assert!(back(&single).is_some());
        let mut down = tenths.clone();
        down[100..900].fill(f64::NAN);
        down[901] = -0.0;
        assert!(back(&down).unwrap() < back(&tenths).unwrap(), "a while without a value costs nothing");
    }

    #[test]
    fn what_is_measured_to_the_last_bit_is_left_alone() {
        let noise = |at: u32| f64::from(at.wrapping_mul(2_654_435_761)) / 4_294_967_296.0;
        let doubles: Vec<f64> = (0..500).map(|at| 90.0 + noise(at)).collect();
        assert_eq!(back(&doubles), None);
        #[allow(clippy::cast_possible_truncation)] // what a register of 32 bits holds
        let singles: Vec<f64> = doubles.iter().map(|value| f64::from(*value as f32)).collect();
        assert_eq!(back(&singles), None);
        assert_eq!(back(&[]), None);
        assert_eq!(back(&[f64::NAN; 9]), None);
    }
}
