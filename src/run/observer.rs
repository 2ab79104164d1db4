//! Who watches a run from inside its process: the library reports, a binary draws.

use super::{EvaluationRow, MetricsRow, SampleRow};

/// Called by the trainer as things happen; every method does nothing by default.
pub trait Observer {
    /// Training begins after `step` of `num_steps`.
    fn started(&mut self, _step: u64, _num_steps: u64) {}
    /// A step was taken; `loss_average` is its running mean.
    fn stepped(&mut self, _row: &MetricsRow, _loss_average: f64) {}
    /// Held-out data were measured.
    fn evaluated(&mut self, _rows: &[EvaluationRow]) {}
    /// Prompts were continued.
    fn sampled(&mut self, _rows: &[SampleRow]) {}
    /// Something a person should read: a checkpoint, a warning.
    fn noted(&mut self, _message: &str) {}
}

/// Watches nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
