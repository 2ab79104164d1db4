//! Random numbers that are derived, never stored: each consumer makes its generator from (seed, purpose, index). Owns the derivation and
//! the few distributions that data needs, so that no release of another crate can change them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Separates these generators from every other use of the hash.
const DOMAIN: &str = "bitnet 2026: a generator from seed, purpose and index";

/// A stream of random numbers that is a function of (seed, purpose, index) alone.
#[derive(Debug, Clone)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The generator of `purpose` at `index`: a ChaCha8 stream, keyed by a hash of the three.
    pub fn derive(seed: u64, purpose: &str, index: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
        hasher.update(&seed.to_le_bytes()).update(&index.to_le_bytes()).update(purpose.as_bytes());
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from 0 to `bound - 1`, each equally likely; 0 if `bound` is 0. Draws again while a draw falls into the part of the
    /// 64-bit range that `bound` does not divide.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let surplus = (u64::MAX % bound + 1) % bound;
        loop {
            let draw = self.next_u64();
            if draw <= u64::MAX - surplus {
                return draw % bound;
            }
        }
    }

    /// A number from 0, included, to 1, not included: a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, purpose: &str, index: u64) -> u64 {
        Random::derive(seed, purpose, index).next_u64()
    }

    #[test]
    fn a_stream_depends_on_seed_purpose_and_index_and_on_nothing_else() {
        assert_eq!(first(1, "data", 2), first(1, "data", 2));
        let others = [first(2, "data", 2), first(1, "dato", 2), first(1, "data", 3), first(2, "data", 1)];
        assert!(others.iter().all(|&other| other != first(1, "data", 2)));
    }

    #[test]
    fn bounded_numbers_are_equally_likely() {
        let mut random = Random::derive(7, "test", 0);
        let mut counts = [0u32; 6];
        (0..60_000).for_each(|_| counts[random.below(6) as usize] += 1);
        // Five standard deviations of a binomial count.
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 457), "{counts:?}");
    }

    #[test]
    fn a_bound_just_over_half_the_range_is_not_biased() {
        let bound = (1u64 << 63) + 1;
        let mut random = Random::derive(7, "test", 1);
        let low = (0..10_000).filter(|_| random.below(bound) < bound / 2).count();
        assert!(low.abs_diff(5000) < 250, "{low} of 10000 in the lower half");
    }

    #[test]
    fn bounds_of_nothing_and_one_give_zero() {
        let mut random = Random::derive(7, "test", 2);
        assert_eq!((random.below(0), random.below(1)), (0, 0));
    }

    #[test]
    fn units_fill_the_interval_evenly() {
        let mut random = Random::derive(7, "test", 3);
        let draws: Vec<f64> = (0..10_000).map(|_| random.unit()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.5).abs() < 0.015, "{mean}");
    }
}
