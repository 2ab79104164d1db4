//! The choice between fused operations and their plain references: fused where one exists for the device and the quantizer, plain
//! elsewhere. Both give the same values to a rounding: `tests/fused.rs`, `integer_products.rs`, `attention.rs` and `head_cross_entropy.rs`.

use super::norm::RmsNorm;
use super::quantize::{partly_quantized, quantize_activations, quantize_weights};
use crate::config::{ActivationQuantizer, BitLinearConfig, WeightQuantizer};
use crate::libtorch::{fused, integer_products};
use tch::nn::Module;
use tch::{Device, Kind, Tensor};

/// Whether a BitLinear with these quantizers is one operation on integer codes where `input` is.
pub(super) fn has_integer_products(quantizers: BitLinearConfig, input: &Tensor) -> bool {
    let has_codes = (quantizers.weights, quantizers.activations) == (WeightQuantizer::TernaryAbsmean, ActivationQuantizer::Int8Absmax);
    has_codes && is_on_cpu(input) && integer_products().is_some()
}

/// Whether attention, and the head with its loss, are one operation each in `kind` where `input` is.
pub(super) fn has_tiles(input: &Tensor, kind: Kind) -> bool {
    is_on_cpu(input) && kind == Kind::BFloat16 && integer_products().is_some()
}

/// `input` `[.., features]`, normed if there is a norm, quantized as far as `share` says, in `kind`.
pub(super) fn norm_and_quantize(norm: Option<&RmsNorm>, input: &Tensor, quantizer: ActivationQuantizer, share: f64, kind: Kind) -> Tensor {
    match (quantizer, norm) {
        _ if share < 1.0 => plain_norm_and_quantize(norm, input, quantizer, share, kind),
        (ActivationQuantizer::Int8Absmax, Some(norm)) if is_on_cpu(input) => {
            fused::norm_and_quantize(input, norm.weight(), norm.eps(), kind)
        }
        (ActivationQuantizer::Int8Absmax, None) if is_on_cpu(input) => fused::quantize_activations(input, kind),
        _ => plain_norm_and_quantize(norm, input, quantizer, share, kind),
    }
}

/// [`norm_and_quantize`] in plain tensor operations.
fn plain_norm_and_quantize(norm: Option<&RmsNorm>, input: &Tensor, quantizer: ActivationQuantizer, share: f64, kind: Kind) -> Tensor {
    let normed = norm.map(|norm| norm.forward(input));
    let input = normed.as_ref().unwrap_or(input).to_kind(Kind::Float);
    as_far_as(share, &input, quantize_activations(&input, quantizer)).to_kind(kind)
}

/// A weight matrix as its quantized values, as far as `share` says, in `kind`.
pub(super) fn quantized_weights(weight: &Tensor, quantizer: WeightQuantizer, share: f64, kind: Kind) -> Tensor {
    match quantizer {
        WeightQuantizer::TernaryAbsmean if share == 1.0 && is_on_cpu(weight) => fused::quantize_weights(weight, kind),
        _ => as_far_as(share, weight, quantize_weights(weight, quantizer)).to_kind(kind),
    }
}

fn as_far_as(share: f64, latent: &Tensor, quantized: Tensor) -> Tensor {
    if share < 1.0 { partly_quantized(latent, &quantized, share) } else { quantized }
}

/// `relu(gate)² · up`.
pub(super) fn squared_relu_gate(gate: &Tensor, up: &Tensor) -> Tensor {
    match is_on_cpu(gate) {
        true => fused::squared_relu_gate(gate, up),
        false => (gate.to_kind(Kind::Float).relu().square() * up.to_kind(Kind::Float)).to_kind(gate.kind()),
    }
}

fn is_on_cpu(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu
}
