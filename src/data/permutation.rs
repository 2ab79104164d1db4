//! A shuffle that is computed, not stored: where each index goes, and nothing of what came before has to be known. A Feistel network
//! permutes the next larger power of four; results beyond the count are permuted again until they fall inside (cycle walking).

use crate::random::Random;

const ROUNDS: usize = 8;

/// A permutation of `0..count`, keyed by a seed, a purpose and an index.
#[derive(Debug, Clone)]
pub struct Permutation {
    count: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// That of `purpose` at `index`, such as an epoch. `count` is at most 2^62.
    pub fn derive(count: u64, seed: u64, purpose: &str, index: u64) -> Self {
        let bits = 64 - count.saturating_sub(1).leading_zeros();
        let mut random = Random::derive(seed, purpose, index);
        Self { count, half_bits: bits.div_ceil(2).max(1), keys: std::array::from_fn(|_| random.next_u64()) }
    }

    /// Where `position`, below the count, goes: each position to another place below the count.
    pub fn at(&self, position: u64) -> u64 {
        if self.count <= 1 {
            return 0;
        }
        let mut place = self.permuted(position);
        while place >= self.count {
            place = self.permuted(place); // on average fewer than four times, as the network's domain is at most four times the count
        }
        place
    }

    fn permuted(&self, position: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (position >> self.half_bits, position & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mixed(right ^ key) & mask));
        }
        left << self.half_bits | right
    }
}

/// Every bit depends on every bit (the finalizer of SplitMix64).
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_position_goes_to_another_place_below_the_count() {
        for count in [1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4097] {
            let permutation = Permutation::derive(count, 1, "test", 0);
            let mut places: Vec<u64> = (0..count).map(|position| permutation.at(position)).collect();
            places.sort_unstable();
            assert_eq!(places, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn it_depends_on_seed_purpose_and_index() {
        let order = |seed, purpose, index| -> Vec<u64> {
            let permutation = Permutation::derive(100, seed, purpose, index);
            (0..100).map(|position| permutation.at(position)).collect()
        };
        assert_eq!(order(1, "a", 2), order(1, "a", 2));
        assert!([order(2, "a", 2), order(1, "b", 2), order(1, "a", 3)].iter().all(|other| *other != order(1, "a", 2)));
    }

    #[test]
    fn neighbours_are_torn_apart_and_places_are_evenly_likely() {
        let permutation = Permutation::derive(1 << 20, 3, "test", 0);
        let places: Vec<u64> = (0..10_000).map(|position| permutation.at(position)).collect();
        let in_order = places.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
        assert!(in_order < 5, "{in_order} neighbours stayed together");
        let mut counts = [0usize; 16];
        places.iter().for_each(|place| counts[(place >> 16) as usize] += 1);
        // Five standard deviations of 625.
        assert!(counts.iter().all(|&count| count.abs_diff(625) < 122), "{counts:?}");
    }
}
