//! A step between its launch and its row: what it did is counted and recorded when its loss is read, which on a GPU is after the next step
//! was launched. Rows, notes and ends of runs are the same, whenever that is.

use super::pending::Outcome;
use super::step::{StepNumbers, StepOutcome};
use super::trainer::Trainer;
use crate::Result;
use crate::run::MetricsRow;
use std::time::Instant;

impl Trainer<'_> {
    /// Steps that were launched, recorded or not.
    pub(super) fn num_launched(&self) -> u64 {
        self.progress.step + u64::from(self.pending.is_some())
    }

    /// Where the objective stands behind the last of them.
    pub(super) fn launched_position(&self) -> u64 {
        self.pending.as_ref().map_or(self.progress.data_position, |pending| pending.data_position)
    }

    /// Reads, counts and records the step that is pending, if one is.
    ///
    /// # Errors
    /// It was the last of too many that were not finite, or its device failed.
    pub(super) fn settle(&mut self) -> Result<()> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let outcome = match &pending.outcome {
            Outcome::Known(outcome) => *outcome,
            Outcome::Launched(launched) => launched.outcome()?,
        };
        self.held_out_loss = None;
        self.count(outcome, pending.data_position);
        let now = Instant::now();
        // Steps overlap where losses are read late: a step's time begins where that of the one before ended.
        let start = self.last_read.map_or(pending.start, |last| last.max(pending.start));
        let step_seconds = (now - start).as_secs_f64();
        self.last_read = Some(now);
        self.step_seconds += step_seconds;
        self.record(pending.numbers, outcome, step_seconds);
        self.stop_when_lost()
    }

    fn count(&mut self, outcome: StepOutcome, data_position: u64) {
        let tokens = self.tokens_per_step();
        self.progress.data_position = data_position;
        if outcome.was_applied {
            self.progress.count_step(tokens, outcome.loss);
        } else {
            self.progress.count_skipped(tokens, outcome.loss);
            let (step, StepOutcome { loss, grad_norm, .. }) = (self.progress.step, outcome);
            self.note(&format!("step {step} skipped: loss {loss}, gradient norm {grad_norm}; the weights stay as they were"));
        }
    }

    fn record(&mut self, numbers: StepNumbers, outcome: StepOutcome, step_seconds: f64) {
        let tokens_per_second = self.tokens_per_step() as f64 / step_seconds;
        let flops = self.experiment.model.flops_per_token(self.experiment.train.seq_len) * tokens_per_second;
        let row = MetricsRow {
            step: self.progress.step,
            tokens: self.progress.tokens,
            loss: outcome.loss,
            learning_rate: numbers.learning_rate,
            weight_decay: numbers.weight_decay,
            grad_norm: outcome.grad_norm,
            skipped_steps: self.progress.skipped_steps,
            step_seconds,
            tokens_per_second,
            unix_time: crate::run::unix_time(),
            mfu: self.peak_flops.map(|peak| flops / peak),
        };
        let written = self.run.logs.record_step(&row);
        self.note_failed_row(written);
        self.observer.stepped(&row, self.progress.loss_average);
    }

    fn tokens_per_step(&self) -> u64 {
        self.plan.objective.tokens_per_batch() * self.experiment.train.accumulation_steps as u64
    }
}
