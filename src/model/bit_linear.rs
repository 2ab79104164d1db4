//! A linear layer without bias whose weights and inputs are quantized on each forward pass, beside tch's `nn::linear`.

use super::fast::{has_integer_products, norm_and_quantize, quantized_weights, squared_relu_gate};
use super::matrix::matrix;
use super::norm::RmsNorm;
use crate::config::{ActivationQuantizer, BitLinearConfig, ModelConfig, NormPlacement, Precision, WeightQuantizer};
use crate::libtorch::{PackedWeight, Rows, bit_linear};
use std::cell::{Cell, RefCell};
use tch::nn::{Module, Path};
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
    /// How far both quantizers count: 1 but for the first steps from a full-precision start.
    quantization_share: Cell<f64>,
    /// For integer products: the codes of `weight`, made anew when it has changed.
    packed: RefCell<Option<PackedWeight>>,
}

impl BitLinear {
    /// A layer from `in_features` to `out_features` with masters `<path>.weight` and, for a norm inside, `<path>.norm.weight`.
    pub fn new(path: Path, in_features: usize, out_features: usize, options: BitLinearOptions) -> Self {
        let weight = matrix(&path, [out_features as i64, in_features as i64], options.initializer_range);
        let norm = match options.quantizers.norm {
            NormPlacement::Inside => Some(RmsNorm::new(path / "norm", in_features, options.rms_norm_eps)),
            NormPlacement::Outside => None,
        };
        Self { weight, norm, options, quantization_share: Cell::new(1.0), packed: RefCell::new(None) }
    }

    /// The float32 masters, `[out, in]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// From now on the layer computes with `share` of both quantizers: 0 is full precision, 1, as at first, quantized.
    pub fn set_quantization_share(&self, share: f64) {
        self.quantization_share.set(share);
    }

    /// Several layers on one input `[.., in]`, behind the norm outside if there is one. Without norms inside, the input is normed and
    /// quantized once for all of them.
    pub fn forward_all<const COUNT: usize>(layers: [&Self; COUNT], norm: Option<&RmsNorm>, input: &Tensor) -> [Tensor; COUNT] {
        if layers[0].norm.is_some() {
            return layers.map(|layer| layer.forward(input));
        }
        Self::products(layers, norm, Rows::Plain(input), None)
    }

    /// One layer on `input` `[.., in]` behind `norm`, which stands before the norm inside if there is one.
    pub fn forward_behind(&self, norm: &RmsNorm, input: &Tensor) -> Tensor {
        if self.norm.is_some() {
            return self.forward(&norm.forward(input));
        }
        let [output] = Self::products([self], Some(norm), Rows::Plain(input), None);
        output
    }

    /// One layer on `rows`, behind the norm outside if there is one, added to the residual stream, float32 `[.., out]`.
    pub fn add_to(&self, residual: &Tensor, norm: Option<&RmsNorm>, rows: Rows<'_>) -> Tensor {
        let [sum] = Self::products([self], self.norm.as_ref().or(norm), rows, Some(residual));
        sum
    }

    fn products<const COUNT: usize>(
        layers: [&Self; COUNT],
        norm: Option<&RmsNorm>,
        rows: Rows<'_>,
        residual: Option<&Tensor>,
    ) -> [Tensor; COUNT] {
        let (Rows::Plain(input) | Rows::SquaredReluGate(input, _)) = rows;
        if layers[0].quantization_share.get() < 1.0 || !has_integer_products(layers[0].options.quantizers, input) {
            return Self::plain_products(layers, norm, rows, residual);
        }
        let packed = layers.map(Self::packed);
        let norm = norm.map(|norm| (norm.weight(), norm.eps()));
        let weights = std::array::from_fn(|index| (&layers[index].weight, &packed[index]));
        bit_linear(rows, norm, residual, weights, kind(layers[0].options.precision))
    }

    /// [`Self::products`] with the quantized values in a float matrix product.
    fn plain_products<const COUNT: usize>(
        layers: [&Self; COUNT],
        norm: Option<&RmsNorm>,
        rows: Rows<'_>,
        residual: Option<&Tensor>,
    ) -> [Tensor; COUNT] {
        let BitLinearOptions { quantizers, precision, .. } = layers[0].options;
        let share = layers[0].quantization_share.get();
        let input = match rows {
            Rows::Plain(input) => input,
            Rows::SquaredReluGate(gate, up) => &squared_relu_gate(gate, up),
        };
        let input = norm_and_quantize(norm, input, quantizers.activations, share, kind(precision));
        layers.map(|layer| {
            let product = input.linear(&quantized_weights(&layer.weight, quantizers.weights, share, kind(precision)), None::<&Tensor>);
            residual.map_or_else(|| product.shallow_clone(), |residual| residual + &product)
        })
    }

    /// The codes of the weight as it is now.
    fn packed(&self) -> PackedWeight {
        let mut packed = self.packed.borrow_mut();
        match &*packed {
            Some(packed) if packed.is_of(&self.weight) => packed.shallow_clone(),
            _ => packed.insert(PackedWeight::new(&self.weight, kind(self.options.precision))).shallow_clone(),
        }
    }
}

impl Module for BitLinear {
    /// `[.., in]` to `[.., out]` in the type of the products.
    fn forward(&self, input: &Tensor) -> Tensor {
        let [output] = Self::products([self], self.norm.as_ref(), Rows::Plain(input), None);
        output
    }
}

/// libtorch's name of a precision.
pub(super) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Float32 => Kind::Float,
        Precision::Bfloat16 => Kind::BFloat16,
    }
}
