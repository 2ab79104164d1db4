//! Weight quantizers: a whole matrix to codes -1, 0, +1 and one scale. The matrix's shape does not matter here.

use super::mean::{mean, mean_magnitude, require_finite};
use crate::Result;

/// The least scale of a ternary matrix, so that one of zeros has codes.
const LEAST_SCALE: f32 = 1e-5;

/// A quantized matrix, row-major as the weights were.
#[derive(Debug, Clone, PartialEq)]
pub struct TernaryMatrix {
    /// -1, 0 or +1 for each weight.
    pub codes: Vec<i8>,
    /// What a code of 1 stands for.
    pub scale: f32,
}

impl TernaryMatrix {
    /// The weights that the codes stand for, `code * scale`. They must never be quantized again: the scale would shrink.
    pub fn values(&self) -> Vec<f32> {
        self.codes.iter().map(|&code| f32::from(code) * self.scale).collect()
    }
}

/// BitNet b1.58: `scale = max(mean|W|, 1e-5)`, `code = clamp(round(w / scale), -1, 1)`, half to even.
///
/// # Errors
/// An empty matrix, or a weight that is not finite.
pub fn ternary_absmean(weights: &[f32]) -> Result<TernaryMatrix> {
    require_finite("weight", weights)?;
    let scale = mean_magnitude(weights).max(LEAST_SCALE);
    let codes = weights.iter().map(|weight| (weight / scale).round_ties_even().clamp(-1.0, 1.0) as i8).collect();
    Ok(TernaryMatrix { codes, scale })
}

/// BitNet b1: `scale = mean|W|`, `code = sign(w - mean W)`. A weight equal to the mean has code 0.
///
/// # Errors
/// An empty matrix, or a weight that is not finite.
pub fn sign(weights: &[f32]) -> Result<TernaryMatrix> {
    require_finite("weight", weights)?;
    let center = mean(weights);
    let codes = weights.iter().map(|&weight| i8::from(weight > center) - i8::from(weight < center)).collect();
    Ok(TernaryMatrix { codes, scale: mean_magnitude(weights) })
}
