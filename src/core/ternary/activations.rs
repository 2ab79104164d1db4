//! Activation quantizers: one token's vector (a row) to small integers and one scale.

use super::mean::{mean_magnitude, require_finite};
use crate::Result;

/// The least magnitude that a row is scaled by, so that a row of zeros has codes.
pub(super) const LEAST_MAGNITUDE: f32 = 1e-5;

/// A row in 8 bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Row {
    /// -127 to 127: -128 is allowed by the formula and never reached.
    pub codes: Vec<i8>,
    /// Codes per unit of the input; a code stands for `code / scale`.
    pub scale: f32,
}

impl Int8Row {
    /// The activations that the codes stand for, `code / scale`.
    pub fn values(&self) -> Vec<f32> {
        self.codes.iter().map(|&code| f32::from(code) / self.scale).collect()
    }
}

/// A row in 4 bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Int4Row {
    /// -8 to 7.
    pub codes: Vec<i8>,
    /// β of the formula; a code stands for `code * β / √7`.
    pub mean_magnitude: f32,
}

impl Int4Row {
    /// The activations that the codes stand for, `code * β / √7`.
    pub fn values(&self) -> Vec<f32> {
        self.codes.iter().map(|&code| f32::from(code) * self.mean_magnitude / 7f32.sqrt()).collect()
    }
}

/// BitNet b1.58: `scale = 127 / max(max|x|, 1e-5)`, `code = clamp(round(x * scale), -128, 127)`, half to even.
///
/// # Errors
/// An empty row, or an activation that is not finite.
pub fn int8_absmax(row: &[f32]) -> Result<Int8Row> {
    require_finite("activation", row)?;
    let largest = row.iter().fold(LEAST_MAGNITUDE, |largest, activation| largest.max(activation.abs()));
    let scale = 127.0 / largest;
    let codes = row.iter().map(|activation| (activation * scale).round_ties_even().clamp(-128.0, 127.0) as i8).collect();
    Ok(Int8Row { codes, scale })
}

/// BitNet a4.8: `β = mean|x|`, `code = clamp(round(√7 * x / β), -8, 7)`, half to even. Where β is 0, which leaves the formula at 0/0,
/// codes are 0. Beyond 1.28e38 `√7 * x` overflows, and the code is the outermost one.
///
/// # Errors
/// An empty row, or an activation that is not finite.
pub fn int4_absmean(row: &[f32]) -> Result<Int4Row> {
    require_finite("activation", row)?;
    let mean_magnitude = mean_magnitude(row);
    let code = |&activation: &f32| match mean_magnitude {
        0.0 => 0,
        _ => (7f32.sqrt() * activation / mean_magnitude).round_ties_even().clamp(-8.0, 7.0) as i8,
    };
    Ok(Int4Row { codes: row.iter().map(code).collect(), mean_magnitude })
}
