//! The choice between fused operations and their plain references: fused where one exists for the device and the quantizer, plain
//! elsewhere. Both give the same values to a rounding: `tests/fused.rs`, `integer_products.rs`, `attention.rs` and `head_cross_entropy.rs`.

use super::norm::RmsNorm;
use super::pass::Pass;
use super::quantize::{partly_quantized, quantize_activations, quantize_weights};
use crate::config::{Activation, ActivationQuantizer, BitLinearConfig, WeightQuantizer};
use crate::libtorch::{Rows, fused, integer_products};
use tch::nn::Module;
use tch::{Device, Kind, Tensor};

/// Whether a BitLinear with these quantizers is one operation on integer codes where `rows` are.
pub(super) fn has_integer_products(quantizers: BitLinearConfig, rows: Rows<'_>, pass: Pass) -> bool {
    let has_codes = match (quantizers.weights, quantizers.activations) {
        (WeightQuantizer::TernaryAbsmean, ActivationQuantizer::Int8Absmax) => true,
        (WeightQuantizer::TernaryAbsmean, ActivationQuantizer::Int4Absmean | ActivationQuantizer::None)
        | (
            WeightQuantizer::Sign | WeightQuantizer::None,
            ActivationQuantizer::Int8Absmax | ActivationQuantizer::Int4Absmean | ActivationQuantizer::None,
        ) => false,
    };
    let (Rows::Plain(input) | Rows::SquaredReluGate(input, _)) = rows;
    has_codes && pass.is_quantized() && is_on_cpu(input) && integer_products().is_some()
}

/// Whether attention, and the head with its loss, are one operation each in `kind` where `input` is.
pub(super) fn has_tiles(input: &Tensor, kind: Kind) -> bool {
    is_on_cpu(input) && kind == Kind::BFloat16 && integer_products().is_some()
}

/// `rows` `[.., features]`, normed if there is a norm, quantized as far as `pass` says, in `kind`.
pub(super) fn norm_and_quantize(norm: Option<&RmsNorm>, rows: Rows<'_>, quantizer: ActivationQuantizer, pass: Pass, kind: Kind) -> Tensor {
    let input = &plain_rows(rows);
    match quantizer {
        ActivationQuantizer::Int8Absmax if pass.is_quantized() && is_on_cpu(input) => match norm {
            Some(norm) => fused::norm_and_quantize(input, norm.weight(), norm.eps(), kind),
            None => fused::quantize_activations(input, kind),
        },
        ActivationQuantizer::Int8Absmax | ActivationQuantizer::Int4Absmean | ActivationQuantizer::None => {
            let normed = norm.map(|norm| norm.forward(input));
            let input = normed.as_ref().unwrap_or(input).to_kind(Kind::Float);
            as_far_as(pass, &input, quantize_activations(&input, quantizer)).to_kind(kind)
        }
    }
}

/// A weight matrix as its quantized values, as far as `pass` says, in `kind`.
pub(super) fn quantized_weights(weight: &Tensor, quantizer: WeightQuantizer, pass: Pass, kind: Kind) -> Tensor {
    match quantizer {
        WeightQuantizer::TernaryAbsmean if pass.is_quantized() && is_on_cpu(weight) => fused::quantize_weights(weight, kind),
        WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign | WeightQuantizer::None => {
            as_far_as(pass, weight, quantize_weights(weight, quantizer)).to_kind(kind)
        }
    }
}

fn as_far_as(pass: Pass, latent: &Tensor, quantized: Tensor) -> Tensor {
    if pass.is_quantized() { quantized } else { partly_quantized(latent, &quantized, pass.share) }
}

/// What a projection reads, kept until it is projected: `[.., features]`.
#[derive(Debug)]
pub enum Features {
    /// They are computed.
    Plain(Tensor),
    /// `relu(gate)² · up`, which an integer product computes on the way.
    SquaredReluGate(Tensor, Tensor),
}

impl Features {
    /// `activation(gate) · up`.
    pub(super) fn gated(activation: Activation, gate: Tensor, up: Tensor) -> Self {
        match activation {
            Activation::Relu2 => Self::SquaredReluGate(gate, up),
            Activation::Silu => Self::Plain(gate.silu() * up),
        }
    }

    pub(super) fn rows(&self) -> Rows<'_> {
        match self {
            Self::Plain(rows) => Rows::Plain(rows),
            Self::SquaredReluGate(gate, up) => Rows::SquaredReluGate(gate, up),
        }
    }
}

/// The rows as one tensor.
pub(super) fn plain_rows(rows: Rows<'_>) -> Tensor {
    match rows {
        Rows::Plain(rows) => rows.shallow_clone(),
        Rows::SquaredReluGate(gate, up) if is_on_cpu(gate) => fused::squared_relu_gate(gate, up),
        Rows::SquaredReluGate(gate, up) => (gate.to_kind(Kind::Float).relu().square() * up.to_kind(Kind::Float)).to_kind(gate.kind()),
    }
}

fn is_on_cpu(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu
}
