//! The quantizers on tensors, with straight-through gradients: the forward value is exactly the quantized one, the gradient passes as
//! if nothing had happened. `ternary` holds the same maths on slices.

use crate::config::{ActivationQuantizer, WeightQuantizer};
use tch::{Kind, Tensor, no_grad};

/// The smallest scale, so that a matrix or token of zeros divides by something.
const SMALLEST_SCALE: f64 = 1e-5;

/// What a mean of zero is replaced by: every other mean stays as it is.
const SMALLEST_SUBNORMAL: f64 = 1.5e-45;

/// A weight matrix `[out, in]` as its quantized values in float32, with one scale for the matrix.
pub fn quantize_weights(weight: &Tensor, quantizer: WeightQuantizer) -> Tensor {
    match quantizer {
        WeightQuantizer::None => weight.shallow_clone(),
        WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign => {
            let (codes, scale) = weight_codes(weight, quantizer);
            straight_through(weight, no_grad(|| codes * scale))
        }
    }
}

/// Codes `[out, in]` in float32 and the scale of a weight matrix, without gradient; the weights themselves and 1 where none is set.
pub fn weight_codes(weight: &Tensor, quantizer: WeightQuantizer) -> (Tensor, Tensor) {
    no_grad(|| {
        let weight = weight.detach().to_kind(Kind::Float);
        match quantizer {
            WeightQuantizer::TernaryAbsmean => {
                let scale = weight.abs().mean(Kind::Float).clamp_min(SMALLEST_SCALE);
                let codes = (&weight / &scale).round_().clamp_(-1.0, 1.0);
                (codes, scale)
            }
            WeightQuantizer::Sign => ((&weight - weight.mean(Kind::Float)).sign(), weight.abs().mean(Kind::Float)),
            WeightQuantizer::None => (weight.shallow_clone(), Tensor::ones([], (Kind::Float, weight.device()))),
        }
    })
}

/// Activations `[.., features]` as their quantized values in float32, with one scale a token.
pub fn quantize_activations(input: &Tensor, quantizer: ActivationQuantizer) -> Tensor {
    let input = input.to_kind(Kind::Float);
    match quantizer {
        ActivationQuantizer::None => input,
        ActivationQuantizer::Int8Absmax => straight_through(&input, no_grad(|| int8_absmax(&input.detach()))),
        ActivationQuantizer::Int4Absmean => straight_through(&input, no_grad(|| int4_absmean(&input.detach()))),
    }
}

fn int8_absmax(input: &Tensor) -> Tensor {
    let largest = input.abs().amax([-1], true).clamp_min(SMALLEST_SCALE);
    let scale = largest.full_like(127.0) / largest; // [.., 1]; a true division, as the reference has it
    (input * &scale).round_().clamp_(-128.0, 127.0).g_div_(&scale)
}

/// BitNet a4.8, equation 3: the scale is the mean magnitude, spread over the codes by the root of 7.
fn int4_absmean(input: &Tensor) -> Tensor {
    let root = 7f64.sqrt();
    let mean = input.abs().mean_dim(-1, true, Kind::Float).clamp_min(SMALLEST_SUBNORMAL); // [.., 1]
    let codes = (input * root / &mean).round_().clamp_(-8.0, 7.0);
    codes * mean / root
}

/// `latent + share (quantized - latent)`, with the gradient of `latent`: exactly `latent` where `share` is 0.
pub fn partly_quantized(latent: &Tensor, quantized: &Tensor, share: f64) -> Tensor {
    let (whole, quantized) = (latent.detach(), quantized.detach());
    straight_through(latent, no_grad(|| &whole + (quantized - &whole) * share))
}

/// The value of `quantized`, exactly, with the gradient of `latent`: `latent - latent` is zero, never a rounding.
fn straight_through(latent: &Tensor, quantized: Tensor) -> Tensor {
    if latent.requires_grad() { quantized + (latent - latent.detach()) } else { quantized }
}
