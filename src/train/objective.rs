//! What is learned: a stage of training is an objective, the loop is the trainer's.

use crate::Result;
use crate::model::Decoder;
use crate::run::EvaluationRow;
use std::time::Duration;
use tch::Tensor;

/// A source of losses with a position, and its own measure of success.
pub trait Objective {
    /// The loss of the next micro-batch, a scalar with a gradient; the position moves on by one.
    fn next_loss(&mut self, decoder: &Decoder) -> Result<Tensor>;

    /// An error unless the data that losses came from are what was prepared. A look at all of them goes on beside the steps; this waits for it.
    fn ensure_whole(&mut self) -> Result<()> {
        Ok(())
    }

    /// Micro-batches taken so far.
    fn position(&self) -> u64;

    /// Goes to a position that [`Self::position`] gave; what follows is as if it had never been left.
    fn seek(&mut self, position: u64);

    /// Tokens of one micro-batch, padding included.
    fn tokens_per_batch(&self) -> u64;

    /// A hash of everything that decides what is drawn, but not of the seed; it lands in the manifest and in checkpoints.
    fn fingerprint(&self) -> String;

    /// Measures `decoder` after `step` on data that training never sees. The metric named `loss` is the one that the best
    /// checkpoint has the lowest of.
    fn evaluate(&self, decoder: &Decoder, step: u64) -> Result<Vec<EvaluationRow>>;

    /// How long batches were waited for, in all; none where they are made on the way.
    fn waited_for_data(&self) -> Duration {
        Duration::ZERO
    }
}
