//! The choice between fused operations and their plain references: fused where one exists for the device and the quantizer, plain
//! elsewhere. Both give the same values; `tests/fused.rs` holds them equal.

use super::norm::RmsNorm;
use super::quantize::{quantize_activations, quantize_weights};
use crate::config::{ActivationQuantizer, WeightQuantizer};
use crate::libtorch::fused;
use tch::nn::Module;
use tch::{Device, Kind, Tensor};

/// `input` `[.., features]`, normed if there is a norm, quantized, in `kind`.
pub(super) fn norm_and_quantize(norm: Option<&RmsNorm>, input: &Tensor, quantizer: ActivationQuantizer, kind: Kind) -> Tensor {
    let fused = match (quantizer, norm) {
        (ActivationQuantizer::Int8Absmax, Some(norm)) if on_cpu(input) => {
            fused::norm_and_quantize(input, norm.weight(), norm.eps(), kind).ok()
        }
        (ActivationQuantizer::Int8Absmax, None) if on_cpu(input) => fused::quantize_activations(input, kind).ok(),
        _ => None,
    };
    fused.unwrap_or_else(|| plain_norm_and_quantize(norm, input, quantizer, kind))
}

/// [`norm_and_quantize`] in plain tensor operations.
fn plain_norm_and_quantize(norm: Option<&RmsNorm>, input: &Tensor, quantizer: ActivationQuantizer, kind: Kind) -> Tensor {
    let normed = norm.map(|norm| norm.forward(input));
    quantize_activations(normed.as_ref().unwrap_or(input), quantizer).to_kind(kind)
}

/// A weight matrix as its quantized values in `kind`.
pub(super) fn quantized_weights(weight: &Tensor, quantizer: WeightQuantizer, kind: Kind) -> Tensor {
    let fused = match quantizer {
        WeightQuantizer::TernaryAbsmean if on_cpu(weight) => fused::quantize_weights(weight, kind).ok(),
        _ => None,
    };
    fused.unwrap_or_else(|| quantize_weights(weight, quantizer).to_kind(kind))
}

/// `relu(gate)² · up`.
pub(super) fn squared_relu_gate(gate: &Tensor, up: &Tensor) -> Tensor {
    let fused = if on_cpu(gate) { fused::squared_relu_gate(gate, up).ok() } else { None };
    fused.unwrap_or_else(|| (gate.to_kind(Kind::Float).relu().square() * up.to_kind(Kind::Float)).to_kind(gate.kind()))
}

fn on_cpu(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu
}
