//! Means over slices, and the refusal of slices that have none: empty ones, and those with a number that is not finite.

use crate::{Error, Result};

/// Refuses a slice without a finite mean; `what` is the word for one of its numbers, such as `weight`.
pub(super) fn require_finite(what: &str, values: &[f32]) -> Result<()> {
    if values.is_empty() {
        return Err(Error::input(format!("cannot quantize without a single {what}")));
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::input(format!("{what} {index} is {}: only finite numbers can be quantized", values[index]))),
        None => Ok(()),
    }
}

/// The mean, summed in float64 and rounded once to float32. libtorch sums in float32 blocks whose order depends on the processor and
/// lands within 2 ulp of this.
pub(super) fn mean(values: &[f32]) -> f32 {
    (values.iter().copied().map(f64::from).sum::<f64>() / values.len() as f64) as f32
}

/// The mean of the magnitudes, summed as in [`mean`].
pub(super) fn mean_magnitude(values: &[f32]) -> f32 {
    (values.iter().copied().map(|value| f64::from(value.abs())).sum::<f64>() / values.len() as f64) as f32
}
