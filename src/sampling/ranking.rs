//! Tokens from the likeliest down, sorted only as far as anybody looks: a vocabulary has a hundred thousand, a choice needs a few.

/// Tokens that are sorted first; each further look sorts [`GROWTH`] times as many.
const FIRST_LOOK: usize = 64;
const GROWTH: usize = 8;

/// Logits in order; equal ones by token. Its memory is used again and again.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    /// For each token its logit and id in one number that is the smaller, the likelier the token.
    keys: Vec<u64>,
    num_sorted: usize,
}

/// A token with its logit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ranked {
    pub token: u32,
    pub logit: f32,
}

impl Ranking {
    /// Puts the logits of tokens 0, 1, .. in place of what was there.
    pub fn fill(&mut self, logits: impl Iterator<Item = f32>) {
        self.keys.clear();
        self.keys.extend((0..).zip(logits).map(|(token, logit): (u32, f32)| u64::from(!ascending(logit)) << 32 | u64::from(token)));
        self.num_sorted = 0;
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// All logits, in no order.
    pub fn logits(&self) -> impl Iterator<Item = f32> {
        self.keys.iter().map(|&key| ranked(key).logit)
    }

    /// The token at `place`, 0 being the likeliest; below [`Self::len`].
    pub fn get(&mut self, place: usize) -> Ranked {
        while self.num_sorted <= place && self.num_sorted < self.keys.len() {
            let target = (self.num_sorted * GROWTH).max(FIRST_LOOK).min(self.keys.len());
            let rest = &mut self.keys[self.num_sorted..];
            let count = target - self.num_sorted;
            if count < rest.len() {
                rest.select_nth_unstable(count - 1);
            }
            rest[..count].sort_unstable();
            self.num_sorted = target;
        }
        ranked(self.keys[place])
    }
}

/// Bits that are ordered as the numbers are, those below zero too.
fn ascending(number: f32) -> u32 {
    let bits = number.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

fn ranked(key: u64) -> Ranked {
    let ascending = !((key >> 32) as u32);
    let bits = if ascending >> 31 == 1 { ascending & !(1 << 31) } else { !ascending };
    Ranked { token: key as u32, logit: f32::from_bits(bits) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn places_are_those_of_a_whole_sort_however_far_one_looks() {
        let mut random = Random::derive(3, "ranking", 0);
        for length in [1, 2, 63, 64, 65, 700, 5000] {
            let logits: Vec<f32> = (0..length).map(|_| random.below(200) as f32 / 7.0 - 14.0).collect();
            let mut sorted: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
            sorted.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
            let mut ranking = Ranking::default();
            ranking.fill(logits.into_iter());
            for (place, &(token, logit)) in sorted.iter().enumerate() {
                assert_eq!(ranking.get(place), Ranked { token, logit }, "place {place} of {length}");
            }
        }
    }
}
