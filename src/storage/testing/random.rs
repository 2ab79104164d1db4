//! Seeded randomness for the doubles: the same seed, the same power cut.

/// Steele, Lea and Flood's SplitMix64: a small generator that is good enough to choose what a power cut destroys.
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number from 0 to `bound` - 1; 0 when `bound` is 0. The bias is below 2^-32 for the small bounds of tests.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// True in `numerator` of four cases.
    pub fn quarters(&mut self, numerator: u64) -> bool {
        self.below(4) < numerator
    }
}
