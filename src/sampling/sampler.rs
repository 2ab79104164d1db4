//! The steps from logits to a token: repetition penalty, temperature, top-k, top-p, min-p and the draw. Only as many tokens are sorted as
//! a choice needs.

use super::ranking::Ranking;
use crate::random::Random;
use crate::{Error, Result};

/// How the next token is chosen. The steps come in this order: repetition penalty, temperature, top-k, top-p, min-p.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingOptions {
    /// Divides the logits; 0 takes the likeliest token always.
    pub temperature: f64,
    /// Only this many of the likeliest tokens are candidates; 0 means all.
    pub top_k: usize,
    /// Only the likeliest whose probabilities together reach this are candidates; 1 means all.
    pub top_p: f64,
    /// Only those at least this share as likely as the likeliest are candidates; 0 means all.
    pub min_p: f64,
    /// Divides positive logits of tokens that are there already, and multiplies negative ones (Keskar et al. 2019, section 4.1); 1 changes
    /// nothing.
    pub repetition_penalty: f64,
    /// The seed of the random choice.
    pub seed: u64,
}

impl SamplingOptions {
    /// Always the likeliest token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 };

    /// Refuses what no choice can be made with.
    ///
    /// # Errors
    /// The user's: a number out of its range.
    pub fn validate(&self) -> Result<()> {
        let in_range = |name: &str, number: f64, is_fine: bool, rule: &str| match is_fine {
            true => Ok(()),
            false => Err(Error::input(format!("{name} {number}: it must be {rule}"))),
        };
        let Self { temperature, top_p, min_p, repetition_penalty, .. } = *self;
        in_range("temperature", temperature, temperature.is_finite() && temperature >= 0.0, "0 (greedy) or more")?;
        in_range("top-p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1")?;
        in_range("min-p", min_p, (0.0..=1.0).contains(&min_p), "0 to 1")?;
        in_range(
            "repetition penalty",
            repetition_penalty,
            repetition_penalty > 0.0 && repetition_penalty <= 100.0,
            "above 0 and at most 100",
        )
    }
}

/// Chooses tokens from logits; the same options and logits give the same choices.
#[derive(Debug)]
pub struct Sampler {
    options: SamplingOptions,
    random: Random,
    ranking: Ranking,
    /// By token, as far as tokens have come; empty where nothing is penalized.
    is_seen: Vec<bool>,
}

impl Sampler {
    /// A sampler at the beginning of its random stream.
    pub fn new(options: SamplingOptions) -> Self {
        Self { options, random: Random::derive(options.seed, "sampling", 0), ranking: Ranking::default(), is_seen: Vec::new() }
    }

    /// Tokens that are there already, such as the prompt; those that are chosen count by themselves.
    pub fn observe(&mut self, tokens: &[u32]) {
        if self.options.repetition_penalty == 1.0 {
            return;
        }
        for token in tokens.iter().map(|&token| token as usize) {
            self.is_seen.resize(self.is_seen.len().max(token + 1), false);
            self.is_seen[token] = true;
        }
    }

    /// The next token, given the logits of the whole vocabulary.
    ///
    /// # Errors
    /// The user's: no logit at all, or one that is no number or infinite, as a damaged model has them.
    pub fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        if logits.is_empty() || logits.iter().any(|logit| !logit.is_finite()) {
            return Err(Error::input("the model's logits are not finite").hint("its weights are damaged, or not of a trained model"));
        }
        let penalty = self.options.repetition_penalty as f32;
        let is_seen = &self.is_seen;
        let penalized = logits.iter().enumerate().map(|(token, &logit)| match is_seen.get(token) {
            Some(true) if logit > 0.0 => logit / penalty,
            Some(true) => logit * penalty,
            _ => logit,
        });
        let token = if self.options.temperature == 0.0 {
            likeliest(penalized)
        } else {
            self.ranking.fill(penalized);
            self.draw()
        };
        self.observe(&[token]);
        Ok(token)
    }

    /// A random one of the candidates.
    fn draw(&mut self) -> u32 {
        let (largest, temperature) = (f64::from(self.ranking.get(0).logit), self.options.temperature);
        let weight = |logit: f32| ((f64::from(logit) - largest) / temperature).exp();
        let (count, sum) = self.nucleus(&weight);
        let mut point = self.random.unit() * sum;
        for place in 0..count {
            let candidate = self.ranking.get(place);
            point -= weight(candidate.logit);
            if point < 0.0 {
                return candidate.token;
            }
        }
        self.ranking.get(count - 1).token
    }

    /// How many of the likeliest tokens are candidates, at least one, and the sum of their unnormalized probabilities.
    fn nucleus(&mut self, weight: &impl Fn(f32) -> f64) -> (usize, f64) {
        let SamplingOptions { top_k, top_p, min_p, .. } = self.options;
        let length = self.ranking.len();
        let limit = if top_k == 0 { length } else { top_k.min(length) };
        let total = match limit < length {
            true => (0..limit).map(|place| weight(self.ranking.get(place).logit)).sum::<f64>(),
            false => self.ranking.logits().map(weight).sum(),
        };
        if top_p == 1.0 && min_p == 0.0 {
            return (limit, total);
        }
        let enough = if top_p == 1.0 { f64::INFINITY } else { total * top_p };
        let mut reached = 0.0;
        for place in 0..limit {
            let weight = weight(self.ranking.get(place).logit);
            if place > 0 && (reached >= enough || weight < min_p) {
                return (place, reached);
            }
            reached += weight;
        }
        (limit, reached)
    }
}

/// The first of the largest.
fn likeliest(logits: impl Iterator<Item = f32>) -> u32 {
    let larger = |best: (u32, f32), (token, logit): (u32, f32)| if logit > best.1 { (token, logit) } else { best };
    (0..).zip(logits).fold((0, f32::NEG_INFINITY), larger).0
}

/// A token and how likely it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenLogProbability {
    /// Its id.
    pub token: u32,
    /// Natural logarithm of its probability at temperature 1, before any step of [`SamplingOptions`].
    pub log_probability: f32,
}

/// How likely a token was, and which would have been likelier.
#[derive(Debug, Clone, PartialEq)]
pub struct LogProbabilities {
    /// Log-probability of the token that was chosen.
    pub chosen: f32,
    /// The likeliest tokens, the likeliest first.
    pub top: Vec<TokenLogProbability>,
}

/// Log-probabilities of `chosen` and of the likeliest `num_top` tokens, given the logits of the whole vocabulary; none for a token that
/// is not in it.
pub fn log_probabilities(logits: &[f32], chosen: u32, num_top: usize) -> Option<LogProbabilities> {
    let chosen = *logits.get(chosen as usize)?;
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    let log_probability = |logit: f32| (f64::from(logit) - f64::from(largest) - sum.ln()) as f32;
    let mut ranking = Ranking::default();
    if num_top > 0 {
        ranking.fill(logits.iter().copied());
    }
    let top = (0..num_top.min(ranking.len())).map(|place| ranking.get(place));
    let top = top.map(|ranked| TokenLogProbability { token: ranked.token, log_probability: log_probability(ranked.logit) });
    Some(LogProbabilities { chosen: log_probability(chosen), top: top.collect() })
}
