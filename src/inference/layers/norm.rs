//! Root-mean-square normalization of rows, in float32.

use crate::Result;
use crate::dense::{Level, rms_norm};
use crate::inference::stored::Weights;

/// `x / sqrt(mean(x²) + eps) · weight`.
#[derive(Debug)]
pub(super) struct RmsNorm {
    weight: Vec<f32>,
    eps: f32,
}

impl RmsNorm {
    /// The norm `<name>.weight`.
    pub fn load(weights: &Weights<'_>, name: &str, eps: f64) -> Result<Self> {
        Ok(Self { weight: weights.norm(name)?, eps: eps as f32 })
    }

    /// The norm `<name>.weight` where the model `has` it.
    pub fn load_where(has: bool, weights: &Weights<'_>, name: &str, eps: f64) -> Result<Option<Self>> {
        has.then(|| Self::load(weights, name, eps)).transpose()
    }

    /// Norms one row in place, as wide as the weight.
    pub fn apply(&self, row: &mut [f32]) {
        rms_norm(Level::best(), row, &self.weight, self.eps);
    }
}
