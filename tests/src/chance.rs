//! Chance that can be repeated: everything random in a test comes from one seed, which
//! the output shows and `SANDAN_SEED` sets.

use std::ops::Range;

/// `SplitMix64` (Steele, Lea, Flood 2014): tiny, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Chance(u64);

/// The seed of `SANDAN_SEED`, when it is set.
pub fn asked_seed() -> Option<u64> {
    std::env::var("SANDAN_SEED").ok()?.parse().ok()
}

/// A seed that nobody chose.
pub fn fresh_seed() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap_or_else(|error| panic!("no randomness: {error}"));
    // Short enough to be typed.
    u64::from_le_bytes(bytes) >> 24
}

impl Chance {
    /// The same seed gives the same chance.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// The seed of `SANDAN_SEED`, or a fresh one; shown either way.
    pub fn announced() -> Self {
        let seed = asked_seed().unwrap_or_else(fresh_seed);
        eprintln!("SANDAN_SEED={seed}");
        Self(seed)
    }
    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    /// In [0, bound); 0 where the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound.max(1)
    }
    /// In the range.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }
    /// True so many times in a hundred.
    pub fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }
    /// One of them. Panics when there is none.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        assert!(!of.is_empty(), "nothing to choose from");
        let at = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        &of[at]
    }
    /// In another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for left in (1..items.len()).rev() {
            items.swap(left, usize::try_from(self.below(left as u64 + 1)).unwrap_or(0));
        }
    }
}
