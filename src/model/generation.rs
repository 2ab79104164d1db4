//! Continuing a prompt token by token. The packed engine has a loop of its own; this one serves samples while training. The choice of a
//! token is left to `sampling`.

use super::{Cache, Decoder};
use crate::sampling::Sampler;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor, no_grad};

/// Continues `prompt` by at most `max_new_tokens`, calling `on_token` for each; it stops when that returns false.
/// Tokens beyond the last `context` ones are forgotten. A model that has diverged says nothing: the text ends where logits are not finite, and
/// its losses tell.
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
        let logits = next_logits(decoder, &ids, context, &mut cache)?;
        if logits.iter().any(|logit| !logit.is_finite()) {
            break;
        }
        let token = sampler.choose(&logits)?;
        ids.push(i64::from(token));
        if !on_token(token) {
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
