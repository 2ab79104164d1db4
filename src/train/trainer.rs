//! The loop: restore; while steps remain: step, record, evaluate, sample, save. What is learned is the objective's business, what is
//! on disk that of `run`.

use super::codes::CodeRecord;
use super::network::Network;
use super::pending::{Outcome, Pending};
use super::plan::Plan;
use super::progress::Progress;
use super::step::{Backward, StepNumbers};
use crate::config::Experiment;
use crate::libtorch::{caught, peak_memory_bytes, use_large_pages};
use crate::model::Pass;
use crate::run::{ActiveRun, Checkpoint, Event, Observer, Peak, StopReason, StopSignal};
use crate::schedule::{learning_rate, quantization_share, weight_decay};
use crate::{Error, Result};
use std::time::Instant;
use tch::Device;

/// A run in progress.
pub struct Trainer<'a> {
    pub(super) experiment: Experiment,
    pub(super) plan: Plan,
    pub(super) run: ActiveRun<'a>,
    pub(super) network: Network,
    pub(super) codes: CodeRecord,
    pub(super) progress: Progress,
    /// Of the evaluation after this very step, if there was one.
    pub(super) held_out_loss: Option<f64>,
    /// The newest state on disk.
    pub(super) saved_step: Option<u64>,
    /// When a failed save is tried again.
    pub(super) retry_save_at: Option<u64>,
    /// Whether the last save worked, or none was tried; of several failures in a row the terminal hears once.
    pub(super) is_saving: bool,
    /// Whether the last row could be written; else rows wait in memory for the next save.
    pub(super) is_recording: bool,
    /// Whether a step's loss is read after the next was launched, so that a GPU never waits for the host.
    pub(super) reads_late: bool,
    /// The last step, where its loss has not been read.
    pub(super) pending: Option<Pending>,
    /// When a loss was last read.
    pub(super) last_read: Option<Instant>,
    /// Operations a second that the device can do at best, where that is known.
    pub(super) peak_flops: Option<f64>,
    /// All steps of this launch together.
    pub(super) step_seconds: f64,
    num_steps_here: u64,
    stop: StopSignal,
    pub(super) observer: &'a mut dyn Observer,
}

/// How a run ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Finished,
    /// It was asked to stop; its state is saved.
    Stopped(StopReason),
    /// All steps were done before; nothing was changed.
    AlreadyFinished,
}

impl<'a> Trainer<'a> {
    /// A trainer at step 0 of `experiment`, whose plan, open run and fresh network these are.
    pub fn new(
        experiment: Experiment,
        plan: Plan,
        run: ActiveRun<'a>,
        network: Network,
        stop: StopSignal,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let (codes, progress) = (CodeRecord::default(), Progress::default());
        let (held_out_loss, saved_step, retry_save_at, is_saving, is_recording) = (None, None, None, true, true);
        let (step_seconds, num_steps_here, pending, last_read) = (0.0, 0, None, None);
        let reads_late = matches!(network.decoder.device(), Device::Cuda(_));
        Self {
            experiment,
            plan,
            run,
            network,
            codes,
            progress,
            held_out_loss,
            saved_step,
            retry_save_at,
            is_saving,
            is_recording,
            reads_late,
            pending,
            last_read,
            peak_flops: None,
            step_seconds,
            num_steps_here,
            stop,
            observer,
        }
    }

    /// Rows tell what share of `peak` training uses.
    pub fn with_peak(self, peak: &Peak) -> Self {
        Self { peak_flops: Some(peak.flops_per_second), ..self }
    }

    /// Goes on from `checkpoint`, if there is one, to the last step, or until asked to stop. `notes` are what to say first.
    ///
    /// # Errors
    /// Too many steps in a row were not finite, memory ran out, or the last state could not be saved. Every older checkpoint stays.
    pub fn run(mut self, checkpoint: Option<&Checkpoint>, notes: &[String]) -> Result<Ending> {
        let restored = checkpoint.map_or(Ok(()), |checkpoint| self.restore(checkpoint));
        self.observer.started(self.progress.step, self.experiment.train.num_steps);
        notes.iter().for_each(|note| self.note(note));
        let ending = restored.and_then(|()| caught(|| self.train()));
        if ending.is_err() {
            let _ = caught(|| self.settle()); // the row of a step that was whole
        }
        if let Some(bytes) = peak_memory_bytes() {
            self.run.note(self.progress.step, &format!("peak memory {:.2} GiB, libtorch included", bytes as f64 / (1u64 << 30) as f64));
        }
        self.note_waiting();
        let event = match &ending {
            Ok(Ending::Finished | Ending::AlreadyFinished) => Event::Finished,
            Ok(Ending::Stopped(reason)) => Event::Stopped { reason: reason.name().into() },
            Err(error) => Event::Failed { reason: error.message() },
        };
        self.run.event(self.progress.step, event);
        let _ = self.run.sync(); // the last rows and the event; how the run ended is known without them
        ending
    }

    /// Says in the log what share of the time went by without data.
    fn note_waiting(&mut self) {
        let (waited, trained) = (self.plan.objective.waited_for_data().as_secs_f64(), self.step_seconds);
        if waited > 0.0 && trained > 0.0 {
            let share = 100.0 * waited / trained;
            self.run.note(self.progress.step, &format!("waited {waited:.2} s for data, {share:.2} % of {trained:.1} s of steps"));
        }
    }

    fn train(&mut self) -> Result<Ending> {
        while self.num_launched() < self.experiment.train.num_steps {
            if let Some(reason) = self.stop.requested() {
                self.settle()?;
                self.save_before_leaving()?;
                return Ok(Ending::Stopped(reason));
            }
            if !self.step()? || self.pending.is_some() {
                continue; // asked to stop between micro-batches, or nothing to be done before the next step
            }
            if self.progress.step == self.experiment.train.num_steps {
                self.plan.objective.ensure_whole()?; // before the last state counts as the result
            }
            self.use_large_pages();
            self.record_codes();
            self.evaluate()?;
            self.sample()?;
            self.save()?;
        }
        self.save_before_leaving()?;
        Ok(Ending::Finished)
    }

    /// Behind the second step of a launch, when all that steps need is there.
    fn use_large_pages(&mut self) {
        self.num_steps_here += 1;
        if self.num_steps_here == 2 && self.network.decoder.device() == Device::Cpu {
            use_large_pages();
        }
    }

    /// Takes a step; false when it was asked to stop before the last micro-batch, so that nothing has moved. What comes after a step finds
    /// its loss read wherever something is due.
    fn step(&mut self) -> Result<bool> {
        let step = self.num_launched() + 1;
        self.note_blend(step)?;
        let start = Instant::now();
        let numbers = StepNumbers {
            learning_rate: learning_rate(&self.experiment.train, step),
            weight_decay: weight_decay(&self.experiment.train, step),
            max_grad_norm: self.experiment.train.max_grad_norm,
        };
        // Only what is learned from is blended: what is measured is what a checkpoint computes when it is loaded.
        let decoder = self.network.decoder.in_pass(Pass { share: quantization_share(&self.experiment.train, step) });
        let (objective, optimizer) = (&mut self.plan.objective, &mut self.network.optimizer);
        let losses = (0..self.experiment.train.accumulation_steps).map(|_| objective.next_loss(&decoder));
        let Some(backward) = Backward::unless(|| self.stop.requested().is_some(), optimizer, losses)? else {
            self.plan.objective.seek(self.launched_position());
            return Ok(false);
        };
        let outcome = match self.reads_late {
            true => Outcome::Launched(backward.launch(optimizer, numbers)?),
            false => Outcome::Known(backward.take(optimizer, numbers)?),
        };
        let launched = Pending { numbers, outcome, data_position: self.plan.objective.position(), start };
        self.settle()?; // the step before, while this one is under way
        self.pending = Some(launched);
        if !self.reads_late || self.is_anything_due(step) {
            self.settle()?;
        }
        Ok(true)
    }

    /// Says where the blend from full precision begins and ends.
    fn note_blend(&mut self, step: u64) -> Result<()> {
        let blend = self.experiment.train.schedule.quantization_blend_steps;
        if blend == 0 || step != 1 && step != blend + 1 {
            return Ok(());
        }
        self.settle()?;
        self.note(&match step {
            1 => format!(
                "from full precision to quantized in {blend} steps; held-out loss and samples are of the quantized network throughout"
            ),
            _ => format!("quantized from step {step} on"),
        });
        Ok(())
    }

    pub(super) fn stop_when_lost(&self) -> Result<()> {
        let limit = self.experiment.train.max_skipped_steps;
        if self.progress.skipped_in_a_row < limit {
            return Ok(());
        }
        let message = format!("{limit} steps in a row had a loss or gradient that is not finite (train.max_skipped_steps: {limit})");
        let hint = match self.saved_step {
            Some(saved) => format!("lower train.optimizer.learning_rate and resume: the checkpoint of step {saved} is intact"),
            None => "no checkpoint was saved: lower train.optimizer.learning_rate and resume, which begins at step 0".to_owned(),
        };
        Err(Error::ours(message).hint(hint))
    }

    fn record_codes(&mut self) {
        let quantizer = self.experiment.model.bit_linear.weights;
        if !self.are_codes_due(self.progress.step) {
            return;
        }
        for row in self.codes.update(&self.network.decoder, quantizer, self.progress.step) {
            let written = self.run.logs.codes.append(&row);
            self.note_failed_row(written);
        }
    }

    /// A full disk does not end a run: rows that cannot be written are kept, and a save, which needs them, tries again.
    pub(super) fn note_failed_row(&mut self, written: Result<()>) {
        let Err(error) = written else { return };
        if std::mem::replace(&mut self.is_recording, false) {
            self.note(&format!("warning: {error}; rows are kept in memory, and the next save tries again"));
        }
    }

    fn evaluate(&mut self) -> Result<()> {
        if !self.is_due(self.experiment.evaluation.every, self.progress.step) {
            return Ok(());
        }
        let rows = self.plan.objective.evaluate(&self.network.decoder, self.progress.step)?;
        let written = self.run.logs.record_evaluation(&rows);
        self.note_failed_row(written);
        self.held_out_loss = rows.iter().find(|row| row.metric == "loss").map(|row| row.value);
        self.observer.evaluated(&rows);
        Ok(())
    }

    /// Whether something that needs the state after `step` follows it.
    fn is_anything_due(&self, step: u64) -> bool {
        let every = [self.experiment.evaluation.every, self.experiment.sampling.every];
        every.iter().any(|cadence| self.is_due(*cadence, step)) || self.are_codes_due(step) || self.is_save_due(step)
    }

    pub(super) fn is_due(&self, cadence: u64, step: u64) -> bool {
        let is_last = step == self.experiment.train.num_steps;
        is_last || cadence > 0 && step.is_multiple_of(cadence)
    }

    fn are_codes_due(&self, step: u64) -> bool {
        let cadence = self.experiment.train.record_codes_every;
        self.experiment.model.bit_linear.weights.has_codes() && cadence > 0 && step.is_multiple_of(cadence)
    }

    pub(super) fn note(&mut self, message: &str) {
        self.run.note(self.progress.step, message);
        self.observer.noted(message);
    }
}

#[cfg(test)]
#[path = "trainer_tests.rs"]
mod tests;
