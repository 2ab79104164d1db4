//! Learning rate, weight decay and the share of the quantizers as pure functions of the step. Owns the formulas; the values come from the
//! config, and applying them is the optimizer's and the decoder's business.
//!
//! Steps count from 1 to `num_steps`. With `t = step - 1` steps already taken of `T = num_steps`:
//!
//! - learning rate `= peak · min(1, step / warmup_steps) · shape(t / T)`, the peak being the second stage's once `t` reaches the switch;
//! - weight decay of the first stage `= value · shape(t / switch)`, which would reach zero where the second stage begins; the second
//!   stage's value is constant. Without a second stage the switch is `T`. Warm-up leaves weight decay alone;
//! - share of the quantizers `= min(1, t / quantization_blend_steps)`: the first step from a full-precision start is in full precision
//!   (the published recipe has `min(step / 1000, 1)`).
//!
//! So step 1 has `peak / warmup_steps`, the rise joins the fall without a jump, and the last step still has a rate above zero, `peak / T`
//! when linear. (`lr(t) = peak · (1 - t / T)` after warm-up: BitNet training tips.)

use crate::config::{DecayShape, SecondStage, TrainConfig};
use std::f64::consts::PI;

/// Learning rate of `step`, which counts from 1. Beyond `num_steps` a falling shape stays at zero.
pub fn learning_rate(config: &TrainConfig, step: u64) -> f64 {
    let peak = match second_stage(config, step) {
        Some(stage) => stage.learning_rate,
        None => config.optimizer.learning_rate,
    };
    peak * warmup(config.schedule.warmup_steps, step) * fall(config.schedule.learning_rate_decay, taken(step), config.num_steps)
}

/// Decoupled weight decay of `step`, which counts from 1.
pub fn weight_decay(config: &TrainConfig, step: u64) -> f64 {
    match second_stage(config, step) {
        Some(stage) => stage.weight_decay,
        None => config.optimizer.weight_decay * fall(config.schedule.weight_decay_decay, taken(step), first_stage_steps(config)),
    }
}

/// Share of the quantizers in what `step`, which counts from 1, computes with: 0 is full precision, 1 quantized.
pub fn quantization_share(config: &TrainConfig, step: u64) -> f64 {
    let (taken, blend) = (taken(step), config.schedule.quantization_blend_steps);
    if taken < blend { taken as f64 / blend as f64 } else { 1.0 }
}

/// Steps of the first stage: the share where the second begins, to the nearest whole step; all steps when there is no second stage.
pub fn first_stage_steps(config: &TrainConfig) -> u64 {
    match &config.schedule.second_stage {
        Some(stage) => (stage.start * config.num_steps as f64).round() as u64,
        None => config.num_steps,
    }
}

/// The second stage, if `step` is in it.
fn second_stage(config: &TrainConfig, step: u64) -> Option<&SecondStage> {
    config.schedule.second_stage.as_ref().filter(|_| step > first_stage_steps(config))
}

/// Steps taken before `step`.
fn taken(step: u64) -> u64 {
    step.saturating_sub(1)
}

/// Share of the peak that the warm-up allows: 1 from step `warmup_steps` on.
fn warmup(warmup_steps: u64, step: u64) -> f64 {
    if step < warmup_steps { step as f64 / warmup_steps as f64 } else { 1.0 }
}

/// Factor after `taken` of `total` steps: 1 at first, and, unless constant, 0 at `total`.
fn fall(shape: DecayShape, taken: u64, total: u64) -> f64 {
    // The share that is left, rather than 1 minus the share that is gone: nothing cancels near the end.
    let rest = if taken < total { (total - taken) as f64 / total as f64 } else { 0.0 };
    match shape {
        DecayShape::Constant => 1.0,
        DecayShape::Linear => rest,
        DecayShape::Cosine => (0.5 * PI * rest).sin().powi(2), // = (1 + cos(pi (1 - rest))) / 2
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
