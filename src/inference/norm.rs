//! Root-mean-square normalization of rows, in float32.

use crate::dense::{Level, rms_norm};

/// `x / sqrt(mean(x²) + eps) · weight`.
#[derive(Debug)]
pub(super) struct RmsNorm {
    weight: Vec<f32>,
    eps: f32,
}

impl RmsNorm {
    /// With the weight of each feature.
    pub fn new(weight: Vec<f32>, eps: f64) -> Self {
        Self { weight, eps: eps as f32 }
    }

    /// Norms one row in place, as wide as the weight.
    pub fn apply(&self, row: &mut [f32]) {
        rms_norm(Level::best(), row, &self.weight, self.eps);
    }
}
