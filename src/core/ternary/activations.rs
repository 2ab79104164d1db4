//! Activation quantizers: one token's vector (a row) to small integers and one scale, or in place to the values that these stand for.

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
    let scale = int8_scale(row);
    Ok(Int8Row { codes: row.iter().map(|&activation| int8_code(activation, scale) as i8).collect(), scale })
}

/// Replaces `row` by what its codes stand for, as [`int8_absmax`] has it; what is not finite stays so.
pub fn int8_absmax_in_place(row: &mut [f32]) {
    let scale = int8_scale(row);
    row.iter_mut().for_each(|activation| *activation = int8_code(*activation, scale) / scale);
}

/// BitNet a4.8: `β = mean|x|`, `code = clamp(round(√7 * x / β), -8, 7)`, half to even. Where β is 0, which leaves the formula at 0/0,
/// codes are 0. Beyond 1.28e38 `√7 * x` overflows, and the code is the outermost one.
///
/// # Errors
/// An empty row, or an activation that is not finite.
pub fn int4_absmean(row: &[f32]) -> Result<Int4Row> {
    require_finite("activation", row)?;
    let mut codes = Vec::with_capacity(row.len());
    let mean_magnitude = append_int4(row, &mut codes);
    Ok(Int4Row { codes, mean_magnitude })
}

/// Appends the codes of `row`, as [`int4_absmean`] has them; returns codes per unit of the input, 1 where all are 0.
pub fn append_int4_absmean(row: &[f32], codes: &mut Vec<i8>) -> f32 {
    let mean = append_int4(row, codes);
    if mean == 0.0 { 1.0 } else { 7f32.sqrt() / mean }
}

/// Replaces `row` by what its codes stand for, as [`int4_absmean`] has it; what is not finite stays so.
pub fn int4_absmean_in_place(row: &mut [f32]) {
    let mean = mean_magnitude(row);
    if mean != 0.0 {
        row.iter_mut().for_each(|activation| *activation = int4_code(*activation, mean) * mean / 7f32.sqrt());
    }
}

/// Codes per unit of the input.
fn int8_scale(row: &[f32]) -> f32 {
    127.0 / row.iter().fold(LEAST_MAGNITUDE, |largest, activation| largest.max(activation.abs()))
}

fn int8_code(activation: f32, scale: f32) -> f32 {
    (activation * scale).round_ties_even().clamp(-128.0, 127.0)
}

/// Appends the codes of `row`; returns the mean of its magnitudes.
fn append_int4(row: &[f32], codes: &mut Vec<i8>) -> f32 {
    let mean = mean_magnitude(row);
    codes.extend(row.iter().map(|&activation| if mean == 0.0 { 0 } else { int4_code(activation, mean) as i8 }));
    mean
}

fn int4_code(activation: f32, mean: f32) -> f32 {
    (7f32.sqrt() * activation / mean).round_ties_even().clamp(-8.0, 7.0)
}
