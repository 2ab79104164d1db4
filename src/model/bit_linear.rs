//! A linear layer without bias whose weights and inputs are quantized on each forward pass, beside tch's `nn::linear`.

use super::fast::{norm_and_quantize, quantized_weights};
use super::norm::RmsNorm;
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

    /// Several layers on one input `[.., in]`, behind the norm outside if there is one. Without norms inside, the input is normed and
    /// quantized once for all of them.
    pub fn forward_all<const COUNT: usize>(layers: [&Self; COUNT], norm: Option<&RmsNorm>, input: &Tensor) -> [Tensor; COUNT] {
        let shared = layers[0].norm.is_none().then(|| layers[0].quantize(norm, input));
        layers.map(|layer| match &shared {
            Some(quantized) => layer.product(quantized),
            None => layer.forward(input),
        })
    }

    /// One layer on its input `[.., in]`, behind the norm outside if there is one.
    pub fn forward_after(&self, norm: Option<&RmsNorm>, input: &Tensor) -> Tensor {
        self.product(&self.quantize(self.norm.as_ref().or(norm), input))
    }

    fn quantize(&self, norm: Option<&RmsNorm>, input: &Tensor) -> QuantizedInput {
        let (quantizer, precision) = (self.options.quantizers.activations, self.options.precision);
        QuantizedInput(norm_and_quantize(norm, input, quantizer, kind(precision)))
    }

    fn product(&self, input: &QuantizedInput) -> Tensor {
        let weight = quantized_weights(&self.weight, self.options.quantizers.weights, kind(self.options.precision));
        input.0.linear(&weight, None::<&Tensor>)
    }
}

impl Module for BitLinear {
    /// `[.., in]` to `[.., out]` in the type of the products.
    fn forward(&self, input: &Tensor) -> Tensor {
        self.forward_after(None, input)
    }
}

/// libtorch's name of a precision.
pub(super) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Float32 => Kind::Float,
        Precision::Bfloat16 => Kind::BFloat16,
    }
}
