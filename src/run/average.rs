//! The one smoothed loss: what the trainer prints, `check-status` tells and `plot-loss` draws unless it is told otherwise.

/// Decay of the smoothed loss. Half of the mean's weight lies on the last [`LOSS_HALF_LIFE`] steps.
pub const LOSS_DECAY: f64 = 0.98;
/// `ln 0.5 / ln 0.98`, in steps.
pub const LOSS_HALF_LIFE: f64 = 34.3;

/// An exponential mean that is corrected for its start, `m_t / (1 - decay^t)` as in Adam: the first value is its first value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ExponentialMean {
    /// Corrected.
    pub(crate) mean: f64,
    /// `1 - decay^t`: 0 before the first value.
    pub(crate) weight: f64,
}

impl ExponentialMean {
    /// Takes in `value`; one that is not finite is passed over, and leaves the mean as it was.
    pub fn add(&mut self, value: f64, decay: f64) {
        if value.is_finite() {
            self.weight = decay * self.weight + (1.0 - decay);
            self.mean += (1.0 - decay) / self.weight * (value - self.mean);
        }
    }

    /// The mean; NaN before the first value.
    pub fn value(&self) -> f64 {
        if self.weight > 0.0 { self.mean } else { f64::NAN }
    }
}

/// The mean after each value. A `decay` of 0 gives the values themselves.
pub fn exponential_mean(values: impl IntoIterator<Item = f64>, decay: f64) -> impl Iterator<Item = f64> {
    let mut mean = ExponentialMean::default();
    values.into_iter().map(move |value| {
        mean.add(value, decay);
        mean.value()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_corrected_for_its_start_and_passes_over_what_is_not_finite() {
        let means: Vec<f64> = exponential_mean([f64::NAN, 2.0, f64::INFINITY, 4.0], 0.5).collect();
        assert!(means[0].is_nan());
        assert_eq!(means[1..3], [2.0, 2.0]);
        assert!((means[3] - 10.0 / 3.0).abs() < 1e-12, "{means:?}"); // (0.5 * 1 + 2) / 0.75
    }

    #[test]
    fn half_of_the_weight_lies_on_the_last_steps_that_are_named() {
        assert!((LOSS_DECAY.powf(LOSS_HALF_LIFE) - 0.5).abs() < 1e-3);
    }
}
