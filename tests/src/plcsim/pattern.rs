//! Registers whose every value tells where and when it was read.
//!
//! A register holds a hash of its device, its area, its address and the time, which goes
//! on in ticks of [`TICK_US`]. So a value that was taken for another register's, for
//! another device's or for a later answer is found out from the value alone, and no log of
//! what was served is needed: over an hour that log would be larger than the rest.

use super::machine::Area;

/// How long a value stands, µs: finer than any time-out, so that an answer to an earlier
/// request is told from the right one.
pub const TICK_US: i64 = 10_000;
/// Registers and bits of each area, from address 0.
pub const COUNT: u16 = 400;

/// What makes a device's registers its own.
pub fn seed(scenario: u64, device: &str) -> u64 {
    device.bytes().fold(mixed(scenario), |seed, byte| mixed(seed ^ u64::from(byte)))
}

/// The tick at a time of the boot clock, µs.
pub fn tick(mono_us: i64) -> i64 {
    mono_us.div_euclid(TICK_US)
}

/// What a register holds in a tick; of a bit the lowest one counts.
pub fn word(seed: u64, area: Area, address: u16, tick: i64) -> u16 {
    let place = (area as u64) << 16 | u64::from(address);
    let [high, low, ..] = mixed(mixed(seed ^ place).wrapping_add(tick.cast_unsigned())).to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// The registers from an address on, as one number of the first so many.
pub fn number(seed: u64, area: Area, address: u16, width: u16, tick: i64) -> u64 {
    (address..address + width).fold(0, |number, at| number << 16 | u64::from(word(seed, area, at, tick)))
}

/// The finaliser of `SplitMix64`.
fn mixed(bits: u64) -> u64 {
    let mut z = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_value_tells_its_device_its_place_and_its_time() {
        let mut seen = BTreeSet::new();
        for device in ["a", "b"] {
            for area in [Area::Holding, Area::Input] {
                for address in (0..40).step_by(2) {
                    for tick in 0..100 {
                        assert!(seen.insert(number(seed(7, device), area, address, 2, tick)));
                    }
                }
            }
        }
        assert_eq!(word(seed(7, "a"), Area::Input, 3, 9), word(seed(7, "a"), Area::Input, 3, 9));
        assert_eq!((tick(9_999), tick(10_000), tick(-1)), (0, 1, -1));
    }
}
