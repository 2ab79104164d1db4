//! Where a run is: the few numbers that a checkpoint keeps beside tensors.

use serde::{Deserialize, Serialize};

/// How much of the past the running mean of the loss remembers.
const AVERAGE_DECAY: f64 = 0.98;

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
    /// Running mean of the loss.
    pub loss_average: f64,
    /// Steps with a loss or gradient that was not finite.
    pub skipped_steps: u64,
    /// The last so many steps were all skipped.
    pub skipped_in_a_row: u64,
}

impl Progress {
    /// Counts a step that moved the weights.
    pub fn count_step(&mut self, tokens: u64, loss: f64) {
        let is_first = self.step == self.skipped_steps;
        self.loss_average = if is_first { loss } else { AVERAGE_DECAY * self.loss_average + (1.0 - AVERAGE_DECAY) * loss };
        self.advance(tokens);
        self.skipped_in_a_row = 0;
    }

    /// Counts a step that did not.
    pub fn count_skipped(&mut self, tokens: u64) {
        self.advance(tokens);
        self.skipped_steps += 1;
        self.skipped_in_a_row += 1;
    }

    fn advance(&mut self, tokens: u64) {
        self.step += 1;
        self.tokens += tokens;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_mean_begins_at_the_first_loss() {
        let mut progress = Progress::default();
        progress.count_step(64, 3.5);
        assert_eq!((progress.step, progress.tokens, progress.loss_average), (1, 64, 3.5));
        progress.count_step(64, 2.5);
        assert!((progress.loss_average - (0.98 * 3.5 + 0.02 * 2.5)).abs() < 1e-12);
    }

    #[test]
    fn steps_skipped_at_the_start_do_not_pull_the_running_mean_to_zero() {
        let mut progress = Progress::default();
        progress.count_skipped(64);
        progress.count_step(64, 3.5);
        assert_eq!(progress.loss_average, 3.5);
    }

    #[test]
    fn a_step_that_moves_the_weights_ends_a_row_of_skipped_ones() {
        let mut progress = Progress::default();
        (0..3).for_each(|_| progress.count_skipped(1));
        assert_eq!((progress.skipped_steps, progress.skipped_in_a_row, progress.step), (3, 3, 3));
        progress.count_step(1, 1.0);
        assert_eq!((progress.skipped_steps, progress.skipped_in_a_row, progress.step), (3, 0, 4));
    }
}
