//! A linear layer without bias whose weights and inputs are quantized on each forward pass, beside tch's `nn::linear`.

use super::norm::RmsNorm;
use super::quantize::{quantize_activations, quantize_weights};
use crate::config::{ActivationQuantizer, BitLinearConfig, ModelConfig, NormPlacement, Precision, WeightQuantizer};
use tch::nn::{Init, Module, Path};
use tch::{Kind, Tensor};

/// What a [`BitLinear`] needs beside its sizes.
#[derive(Debug, Clone, Copy)]
pub struct BitLinearOptions {
    /// Both quantizers, and whether the layer norms its own input.
    pub quantizers: BitLinearConfig,
    /// Of the norm inside, if there is one.
    pub rms_norm_eps: f64,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
    /// The type of the matrix product.
    pub precision: Precision,
}

/// BitNet b1.58 as its authors' training tips have it: ternary weights, 8-bit activations, the norm inside, products in float32.
impl Default for BitLinearOptions {
    fn default() -> Self {
        Self {
            quantizers: BitLinearConfig {
                weights: WeightQuantizer::TernaryAbsmean,
                activations: ActivationQuantizer::Int8Absmax,
                norm: NormPlacement::Inside,
            },
            rms_norm_eps: 1e-5,
            initializer_range: 0.02,
            precision: Precision::Float32,
        }
    }
}

impl BitLinearOptions {
    /// What every projection of `model` uses.
    pub fn of(model: &ModelConfig, precision: Precision) -> Self {
        Self { quantizers: model.bit_linear, rms_norm_eps: model.rms_norm_eps, initializer_range: model.initializer_range, precision }
    }
}

/// `y = quantize(norm(x)) · quantize(W)ᵀ`, the norm only where it is inside. Gradients pass the quantizers straight through:
/// that of x uses the quantized W, that of W the quantized x.
#[derive(Debug)]
pub struct BitLinear {
    weight: Tensor, // [out, in], the float32 masters
    norm: Option<RmsNorm>,
    options: BitLinearOptions,
}

/// An input that is quantized once for all projections that share it, in the type of the products.
#[derive(Debug)]
pub struct QuantizedInput(Tensor);

impl BitLinear {
    /// A layer from `in_features` to `out_features` with masters `<path>.weight` and, for a norm inside, `<path>.norm.weight`.
    pub fn new(path: Path, in_features: usize, out_features: usize, options: BitLinearOptions) -> Self {
        let init = Init::Randn { mean: 0.0, stdev: options.initializer_range };
        let weight = path.var("weight", &[out_features as i64, in_features as i64], init);
        let norm = match options.quantizers.norm {
            NormPlacement::Inside => Some(RmsNorm::new(path / "norm", in_features, options.rms_norm_eps)),
            NormPlacement::Outside => None,
        };
        Self { weight, norm, options }
    }

    /// The float32 masters, `[out, in]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// Several layers on one input `[.., in]`. Without norms inside, it is quantized once for all of them.
    pub fn forward_all<const COUNT: usize>(layers: [&Self; COUNT], input: &Tensor) -> [Tensor; COUNT] {
        let shared = layers[0].norm.is_none().then(|| layers[0].quantize(input));
        layers.map(|layer| match &shared {
            Some(quantized) => layer.product(quantized),
            None => layer.forward(input),
        })
    }

    fn quantize(&self, input: &Tensor) -> QuantizedInput {
        QuantizedInput(quantize_activations(input, self.options.quantizers.activations).to_kind(kind(self.options.precision)))
    }

    fn product(&self, input: &QuantizedInput) -> Tensor {
        let weight = quantize_weights(&self.weight, self.options.quantizers.weights);
        input.0.linear(&weight.to_kind(kind(self.options.precision)), None::<&Tensor>)
    }
}

impl Module for BitLinear {
    /// `[.., in]` to `[.., out]` in the type of the products.
    fn forward(&self, input: &Tensor) -> Tensor {
        let normed = self.norm.as_ref().map(|norm| norm.forward(input));
        self.product(&self.quantize(normed.as_ref().unwrap_or(input)))
    }
}

/// libtorch's name of a precision.
pub(super) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Float32 => Kind::Float,
        Precision::Bfloat16 => Kind::BFloat16,
    }
}
