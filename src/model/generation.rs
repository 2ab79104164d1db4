//! Continuing a prompt token by token: the choice of the next token, and the loop around it. The packed engine has its own; this
//! one serves samples while training.

use super::{Cache, Decoder};
use crate::random::Random;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor, no_grad};

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingOptions {
    /// Divides the logits; 0 takes the likeliest token always.
    pub temperature: f64,
    /// Only the likeliest so many are candidates; 0 means all.
    pub top_k: usize,
    /// Only the likeliest whose probabilities together reach this are candidates; 1 means all.
    pub top_p: f64,
    /// Of the random choice.
    pub seed: u64,
}

impl SamplingOptions {
    /// Always the likeliest token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 };
}

/// Chooses tokens from logits; the same options and logits give the same choices.
#[derive(Debug)]
pub struct Sampler {
    options: SamplingOptions,
    random: Random,
}

impl Sampler {
    /// A sampler at the beginning of its random stream.
    pub fn new(options: SamplingOptions) -> Self {
        Self { options, random: Random::derive(options.seed, "sampling", 0) }
    }

    /// The next token's id, given the logits of the whole vocabulary.
    pub fn choose(&mut self, logits: &[f32]) -> usize {
        let mut candidates: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
        candidates.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        if self.options.temperature == 0.0 {
            return candidates[0].0;
        }
        if self.options.top_k > 0 {
            candidates.truncate(self.options.top_k);
        }
        let weights = self.weights_of_nucleus(&candidates);
        let mut point = self.random.unit() * weights.iter().sum::<f64>();
        for (weight, (token, _)) in weights.iter().zip(&candidates) {
            point -= weight;
            if point < 0.0 {
                return *token;
            }
        }
        candidates[weights.len() - 1].0
    }

    /// Unnormalized probabilities of the likeliest candidates that together reach `top_p`; at least one.
    fn weights_of_nucleus(&self, candidates: &[(usize, f32)]) -> Vec<f64> {
        let largest = f64::from(candidates[0].1);
        let weight = |&(_, logit): &(usize, f32)| ((f64::from(logit) - largest) / self.options.temperature).exp();
        let weights: Vec<f64> = candidates.iter().map(weight).collect();
        let enough = weights.iter().sum::<f64>() * self.options.top_p;
        let mut reached = 0.0;
        let before = weights.iter().take_while(|&&weight| {
            let is_needed = reached < enough;
            reached += weight;
            is_needed
        });
        let count = before.count().max(1);
        weights[..count].to_vec()
    }
}

/// Continues `prompt` by at most `max_new_tokens`, calling `on_token` for each; it stops when that returns false.
/// Tokens beyond the last `context` ones are forgotten.
///
/// # Errors
/// The user's: an empty prompt or context.
pub fn generate(
    decoder: &Decoder,
    prompt: &[u32],
    context: usize,
    max_new_tokens: usize,
    sampler: &mut Sampler,
    mut on_token: impl FnMut(u32) -> bool,
) -> Result<()> {
    if prompt.is_empty() {
        return Err(Error::input("the prompt is empty").hint("give at least one character"));
    }
    if context == 0 {
        return Err(Error::input("a context of 0 tokens leaves nothing to continue"));
    }
    let mut ids: Vec<i64> = prompt.iter().map(|&id| i64::from(id)).collect();
    let mut cache = Cache::default();
    for _ in 0..max_new_tokens {
        let token = sampler.choose(&next_logits(decoder, &ids, context, &mut cache)?);
        ids.push(token as i64);
        if !on_token(token as u32) {
            break;
        }
    }
    Ok(())
}

/// Logits of the token after the last `context` ones of `ids`. Once a token is forgotten, nothing that `cache` holds is worth keeping: deeper
/// layers have seen that token, and positions begin with the one after it.
fn next_logits(decoder: &Decoder, ids: &[i64], context: usize, cache: &mut Cache) -> Result<Vec<f32>> {
    let start = ids.len().saturating_sub(context);
    if start > 0 {
        cache.clear();
    }
    let unread = &ids[start + cache.num_positions()..];
    let unread = Tensor::from_slice(unread).unsqueeze(0).to_device(decoder.device());
    let logits = no_grad(|| decoder.forward_cached(&unread, cache)).select(1, -1).flatten(0, -1);
    Ok(Vec::<f32>::try_from(logits.to_device(Device::Cpu).to_kind(Kind::Float))?)
}
