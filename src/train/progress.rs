//! Where a run is: the few numbers that a checkpoint keeps beside tensors.

use crate::run::{ExponentialMean, LOSS_DECAY};
use serde::{Deserialize, Serialize};

/// `trainer.json` of a checkpoint. Randomness is not part of it: every generator derives from (seed, purpose, position).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Optimizer steps taken, skipped ones included.
    pub step: u64,
    /// Tokens of these steps, padding included.
    pub tokens: u64,
    /// Micro-batches that the objective has given.
    pub data_position: u64,
    /// The smoothed loss.
    pub loss_average: f64,
    /// What it was divided by to correct its start: 0 before the first loss. Before it was corrected, it began at the first loss.
    #[serde(default = "full_weight")]
    pub loss_weight: f64,
    /// Steps with a loss or gradient that was not finite.
    pub skipped_steps: u64,
    /// The last so many steps were all skipped.
    pub skipped_in_a_row: u64,
}

impl Progress {
    /// Counts a step that moved the weights.
    pub fn count_step(&mut self, tokens: u64, loss: f64) {
        self.advance(tokens, loss);
        self.skipped_in_a_row = 0;
    }

    /// Counts a step that did not; its loss counts where it is finite.
    pub fn count_skipped(&mut self, tokens: u64, loss: f64) {
        self.advance(tokens, loss);
        self.skipped_steps += 1;
        self.skipped_in_a_row += 1;
    }

    fn advance(&mut self, tokens: u64, loss: f64) {
        self.step += 1;
        self.tokens += tokens;
        let mut mean = ExponentialMean { mean: self.loss_average, weight: self.loss_weight };
        mean.add(loss, LOSS_DECAY);
        (self.loss_average, self.loss_weight) = (mean.mean, mean.weight);
    }
}

fn full_weight() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smoothed_loss_is_that_of_the_rows() {
        let mut progress = Progress::default();
        let losses = [3.5, 2.5, f64::NAN, 2.0];
        for loss in losses {
            match loss.is_finite() {
                true => progress.count_step(64, loss),
                false => progress.count_skipped(64, loss),
            }
        }
        let expected = crate::run::exponential_mean(losses, LOSS_DECAY).last().unwrap();
        assert_eq!((progress.step, progress.tokens, progress.loss_average), (4, 256, expected));
    }

    #[test]
    fn a_checkpoint_from_before_the_correction_goes_on_from_its_mean() {
        let old = r#"{"step": 3, "tokens": 3, "data_position": 3, "loss_average": 2.5, "skipped_steps": 0, "skipped_in_a_row": 0}"#;
        let mut progress: Progress = serde_json::from_str(old).unwrap();
        progress.count_step(1, 3.5);
        assert!((progress.loss_average - (0.98 * 2.5 + 0.02 * 3.5)).abs() < 1e-12);
    }

    #[test]
    fn a_step_that_moves_the_weights_ends_a_row_of_skipped_ones() {
        let mut progress = Progress::default();
        (0..3).for_each(|_| progress.count_skipped(1, f64::NAN));
        assert_eq!((progress.skipped_steps, progress.skipped_in_a_row, progress.step), (3, 3, 3));
        progress.count_step(1, 1.0);
        assert_eq!((progress.skipped_steps, progress.skipped_in_a_row, progress.step), (3, 0, 4));
    }
}
