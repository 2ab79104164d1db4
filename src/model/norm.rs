//! Root-mean-square normalization, always in float32.

use tch::nn::{Init, Module, Path};
use tch::{Kind, Tensor};

/// `x / sqrt(mean(x²) + eps) · weight` over the last axis.
#[derive(Debug)]
pub struct RmsNorm {
    weight: Tensor, // [size]
    eps: f64,
}

impl RmsNorm {
    /// A norm over `size` features whose weight, named `<path>.weight`, begins at one.
    pub fn new(path: Path, size: usize, eps: f64) -> Self {
        Self { weight: path.var("weight", &[size as i64], Init::Const(1.0)), eps }
    }
}

impl RmsNorm {
    /// The scale of each feature, `[size]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// What is added to the mean square.
    pub fn eps(&self) -> f64 {
        self.eps
    }
}

impl Module for RmsNorm {
    /// `[.., size]` of any float type to `[.., size]` in float32.
    fn forward(&self, input: &Tensor) -> Tensor {
        let input = input.to_kind(Kind::Float);
        let mean_square = input.square().mean_dim(-1, true, Kind::Float);
        &input * (mean_square + self.eps).rsqrt() * &self.weight
    }
}
