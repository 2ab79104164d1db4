//! Root-mean-square normalization of rows, in float32.

use super::number::sum_of_squares;

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
        let mean = sum_of_squares(row) / row.len() as f32;
        let factor = 1.0 / (mean + self.eps).sqrt();
        for (number, weight) in row.iter_mut().zip(&self.weight) {
            *number = *number * factor * weight;
        }
    }
}
