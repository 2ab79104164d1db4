//! Operations over all parameters at once: the fused AdamW step and clipping by the common norm.

use super::foreign::{bitnet_clip_gradients, bitnet_clip_gradients_late, bitnet_drop_gradients, bitnet_fused_adamw, check, made, pointers};
use crate::{Error, Result};
use tch::Tensor;

/// AdamW's memory of one parameter, each of the parameter's shape but for `step`.
#[derive(Debug)]
pub struct AdamwState {
    /// Running mean of the gradient.
    pub mean: Tensor,
    /// Running mean of the squared gradient.
    pub mean_square: Tensor,
    /// Steps taken, a float32 scalar.
    pub step: Tensor,
}

/// The numbers of one AdamW step.
#[derive(Debug, Clone, Copy)]
pub struct AdamwStep {
    /// Scales the whole step.
    pub learning_rate: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Decoupled: times the learning rate, the share of a weight that is taken off.
    pub weight_decay: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
}

/// One AdamW step in place (Loshchilov and Hutter 2019, algorithm 2): `parameters[i]` moves by `gradients[i]` and `states[i]`; nothing does
/// where `is_lost`, a float32 scalar on their device, is there and 1.
pub fn adamw_step(
    parameters: &[&Tensor],
    gradients: &[&Tensor],
    states: &[&AdamwState],
    numbers: AdamwStep,
    is_lost: Option<&Tensor>,
) -> Result<()> {
    if gradients.len() != parameters.len() || states.len() != parameters.len() {
        return Err(Error::ours("parameters, gradients and states differ in number"));
    }
    if parameters.is_empty() {
        return Ok(());
    }
    let means = pointers(states.iter().map(|state| &state.mean));
    let mean_squares = pointers(states.iter().map(|state| &state.mean_square));
    let steps = pointers(states.iter().map(|state| &state.step));
    let (parameters, gradients) = (pointers(parameters.iter().copied()), pointers(gradients.iter().copied()));
    // SAFETY: every list holds `parameters.len()` pointers to tensors that outlive the call.
    check(unsafe {
        bitnet_fused_adamw(
            parameters.as_ptr(),
            gradients.as_ptr(),
            means.as_ptr(),
            mean_squares.as_ptr(),
            steps.as_ptr(),
            parameters.len() as i64,
            numbers.learning_rate,
            numbers.beta1,
            numbers.beta2,
            numbers.weight_decay,
            numbers.epsilon,
            is_lost.map_or(std::ptr::null(), Tensor::as_ptr),
        )
    })
}

/// Forgets the gradients of `parameters`: the next backward pass stores its own instead of adding to them.
pub fn drop_gradients<'a>(parameters: impl IntoIterator<Item = &'a Tensor>) -> Result<()> {
    let pointers = pointers(parameters);
    // SAFETY: the list holds that many pointers to tensors that outlive the call.
    check(unsafe { bitnet_drop_gradients(pointers.as_ptr(), pointers.len() as i64) })
}

/// Scales `gradients` in place so that their common 2-norm is at most `max_norm`, and returns the norm before.
/// A norm that is not finite leaves them untouched.
pub fn clip_gradients(gradients: &[Tensor], max_norm: f64) -> Result<f64> {
    let pointers = pointers(gradients);
    let mut norm = 0.0;
    // SAFETY: the list holds `gradients.len()` pointers to tensors that outlive the call, and `norm` is ours.
    check(unsafe { bitnet_clip_gradients(pointers.as_ptr(), pointers.len() as i64, max_norm, &mut norm) })?;
    Ok(norm)
}

/// [`clip_gradients`] without waiting for their device: the norm before is a float64 scalar there. Not for devices without float64.
pub fn clip_gradients_late(gradients: &[Tensor], max_norm: f64) -> Result<Tensor> {
    let pointers = pointers(gradients);
    // SAFETY: the list holds `gradients.len()` pointers to tensors that outlive the call.
    made(|out| unsafe { bitnet_clip_gradients_late(pointers.as_ptr(), pointers.len() as i64, max_norm, out) })
}
