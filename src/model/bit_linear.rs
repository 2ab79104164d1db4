//! A linear layer without bias whose weights and inputs are quantized on each forward pass, beside tch's `nn::linear`.

use super::fast::{Features, has_integer_products, norm_and_quantize, plain_rows, quantized_weights};
use super::matrix::matrix;
use super::norm::RmsNorm;
use super::pass::Pass;
use crate::config::{ActivationQuantizer, BitLinearConfig, ModelConfig, NormPlacement, Precision, WeightQuantizer};
use crate::libtorch::{PackedWeight, Rows, bit_linear};
use std::cell::RefCell;
use std::ops::Add;
use tch::nn::{Module, Path};
use tch::{Kind, Tensor};

/// What a [`BitLinear`] needs beside its sizes.
#[derive(Debug, Clone, Copy)]
pub struct BitLinearOptions {
    /// Both quantizers, and whether the layer norms its own input.
    pub quantizers: BitLinearConfig,
    /// The epsilon of the norm inside, if there is one.
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
        Self { weight, norm, options, packed: RefCell::new(None) }
    }

    /// The float32 masters, `[out, in]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// Several layers on one input, `[.., out]` each. Without norms inside, the input is normed and quantized once for all of them.
    pub fn forward_all<const COUNT: usize>(layers: [&Self; COUNT], input: Input<'_>) -> [Tensor; COUNT] {
        if layers.iter().all(|layer| layer.norm.is_none()) {
            return Self::products(layers, input);
        }
        let normed = input.norm.map(|norm| norm.forward(&plain_rows(input.rows)));
        let rows = normed.as_ref().map_or(input.rows, Rows::Plain);
        layers.map(|layer| {
            let [output] = Self::products([layer], Input { rows, norm: layer.norm.as_ref(), ..input });
            output
        })
    }

    fn products<const COUNT: usize>(layers: [&Self; COUNT], input: Input<'_>) -> [Tensor; COUNT] {
        let BitLinearOptions { quantizers, precision, .. } = layers[0].options;
        let (Input { rows, norm, residual, pass }, kind) = (input, kind(precision));
        if has_integer_products(quantizers, rows, pass) {
            let packed = layers.map(Self::packed);
            let norm = norm.map(|norm| (norm.weight(), norm.eps()));
            let weights = std::array::from_fn(|index| (&layers[index].weight, &packed[index]));
            return bit_linear(rows, norm, residual, weights, kind);
        }
        let quantized = norm_and_quantize(norm, rows, quantizers.activations, pass, kind);
        layers.map(|layer| {
            let product = quantized.linear(&quantized_weights(&layer.weight, quantizers.weights, pass, kind), None::<&Tensor>);
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
        let [output] = Self::forward_all([self], Input::from(input));
        output
    }
}

/// What a [`BitLinear`] reads.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `[.., in]`.
    pub rows: Rows<'a>,
    /// A norm of the rows, before the one inside the layer if there is one.
    pub norm: Option<&'a RmsNorm>,
    /// What the product is added to, float32 `[.., out]`; the output is float32 then.
    pub residual: Option<&'a Tensor>,
    /// How the pass computes.
    pub pass: Pass,
}

impl<'a> From<&'a Tensor> for Input<'a> {
    /// The rows alone, quantized in full.
    fn from(rows: &'a Tensor) -> Self {
        Self { rows: Rows::Plain(rows), norm: None, residual: None, pass: Pass::default() }
    }
}

/// The last product of a branch, which waits for the residual stream that it is added to: norm, quantizer, product and sum may be one
/// operation.
#[derive(Debug)]
pub struct Projected<'a> {
    pub(super) layer: &'a BitLinear,
    pub(super) features: Features,
    pub(super) norm: Option<&'a RmsNorm>,
    pub(super) pass: Pass,
}

impl Add<Projected<'_>> for &Tensor {
    type Output = Tensor;

    /// The residual stream with the branch added, float32.
    fn add(self, branch: Projected<'_>) -> Tensor {
        let Projected { layer, features, norm, pass } = branch;
        let [sum] = BitLinear::forward_all([layer], Input { rows: features.rows(), norm, residual: Some(self), pass });
        sum
    }
}

/// libtorch's name of a precision.
pub(super) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Float32 => Kind::Float,
        Precision::Bfloat16 => Kind::BFloat16,
    }
}
