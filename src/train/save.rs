//! Saving and restoring: which files a checkpoint has, and what happens when one cannot be written.

use super::trainer::Trainer;
use crate::config::Experiment;
use crate::libtorch::{TensorFile, load_tensors};
use crate::run::{Begin, Checkpoint, CheckpointLabel, Event, NewFile};
use crate::schedule::first_stage_steps;
use crate::storage::is_out_of_space;
use crate::{Context, Error, Result};
use std::fs;

const WEIGHTS: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const CODES: &str = "codes.safetensors";
const PROGRESS: &str = "trainer.json";

/// The last step of the first stage, where its state is to be kept.
pub(super) fn switch_step(experiment: &Experiment) -> Option<u64> {
    let has_switch = experiment.checkpoints.at_stage_switch && experiment.train.schedule.second_stage.is_some();
    has_switch.then(|| first_stage_steps(&experiment.train))
}

impl Trainer<'_> {
    /// Saves where the cadence says so, or where an earlier save failed. A failure is a warning: training goes on and tries again.
    pub(super) fn save(&mut self) -> Result<()> {
        let step = self.progress.step;
        if !self.is_save_due(step) || step == self.experiment.train.num_steps {
            return Ok(()); // the last state is saved on leaving
        }
        if self.progress.skipped_in_a_row > 0 {
            self.retry_save_at = Some(step + 1); // a state that may be lost must not push out one that is known to be good
            return Ok(());
        }
        if let Err(error) = self.write_checkpoint(Begin::IfThereIsRoom) {
            let pause = (self.experiment.checkpoints.every / 10).max(1);
            self.retry_save_at = Some(step + pause);
            self.note_failed_save(&format!("warning: checkpoint not saved: {error}; training goes on and tries again every {pause} steps"));
            self.run.event(step, Event::SaveFailed { reason: error.to_string() });
        }
        Ok(())
    }

    pub(super) fn is_save_due(&self, step: u64) -> bool {
        step.is_multiple_of(self.experiment.checkpoints.every)
            || self.retry_save_at == Some(step)
            || switch_step(&self.experiment) == Some(step)
    }

    /// The first of several in a row is for the terminal too; the log has each.
    fn note_failed_save(&mut self, message: &str) {
        match std::mem::replace(&mut self.is_saving, false) {
            true => self.note(message),
            false => self.run.note(self.progress.step, message),
        }
    }

    /// Saves the state that the run is left with, unless it is on disk already.
    ///
    /// # Errors
    /// It could not be saved; every older checkpoint is whole.
    pub(super) fn save_before_leaving(&mut self) -> Result<()> {
        let step = self.progress.step;
        if self.saved_step == Some(step) && self.is_there(step) {
            return Ok(());
        }
        self.write_checkpoint(Begin::InAnyCase).map_err(|error| {
            let (kept, hint) = self.what_is_left(&error);
            error.context(format!("the state after step {step} could not be saved; {kept}")).hint(hint)
        })
    }

    /// What of the run is still on disk when its last state could not be saved, and what to do then.
    fn what_is_left(&self, error: &Error) -> (String, &'static str) {
        match self.saved_step {
            Some(saved) if self.is_there(saved) && is_out_of_space(error) => {
                (format!("step {saved} is safe"), "free disk space, then go on from there with --resume")
            }
            Some(saved) if self.is_there(saved) => (format!("step {saved} is safe"), "go on from there with --resume"),
            Some(saved) if !self.run.directory.path().exists() => (
                format!("step {saved}, saved before, is gone too"),
                "if the run's directory was renamed, go on with it under its new name; else the run is lost",
            ),
            Some(saved) => (format!("step {saved}, saved before, is gone too"), "no state of this run is left; --resume begins it anew"),
            None => ("no checkpoint was saved before".to_owned(), "--resume begins the run anew"),
        }
    }

    fn is_there(&self, step: u64) -> bool {
        self.run.checkpoints.checkpoints().path_of(step).exists()
    }

    fn write_checkpoint(&mut self, begin: Begin) -> Result<()> {
        let (weights, optimizer) = (self.network.weights_file()?, self.network.optimizer_file()?);
        let codes = TensorFile::new(self.codes.tensors())?;
        let progress = serde_json::to_vec_pretty(&self.progress)?;
        let mut files: Vec<NewFile<'_>> = self.plan.constants.files.iter().map(|(name, content)| NewFile::bytes(name, content)).collect();
        for (name, file) in [(WEIGHTS, &weights), (OPTIMIZER, &optimizer), (CODES, &codes)] {
            files.push(NewFile::streamed(name, file.size(), |writer| file.write_to(writer)));
        }
        files.push(NewFile::bytes(PROGRESS, &progress));
        let label = CheckpointLabel {
            step: self.progress.step,
            fingerprints: self.plan.constants.fingerprints.clone(),
            held_out_loss: self.held_out_loss,
        };
        self.run.sync()?;
        self.is_recording = true;
        let outcome = self.run.checkpoints.save_as(begin, &label, files)?;
        (self.retry_save_at, self.is_saving) = (None, true);
        self.saved_step = Some(self.progress.step);
        let name = outcome.checkpoint.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.run.note(self.progress.step, &format!("saved {name}"));
        self.run.event(self.progress.step, Event::Saved { checkpoint: name });
        if outcome.was_dir_gone {
            let dir = self.run.directory.checkpoints_dir();
            self.note(&format!("warning: {} had been removed, with every checkpoint in it; it was made again", dir.display()));
        }
        if let Some(error) = outcome.prune_failure {
            self.note(&format!("warning: older checkpoints could not be removed: {error}"));
        }
        Ok(())
    }

    /// Takes back the state that `checkpoint` holds.
    ///
    /// # Errors
    /// One of its files does not fit the model.
    pub(super) fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.network.restore(&checkpoint.file_path(WEIGHTS)?, &checkpoint.file_path(OPTIMIZER)?)?;
        self.codes.restore(load_tensors(&checkpoint.file_path(CODES)?)?, &self.network.decoder);
        let path = checkpoint.file_path(PROGRESS)?;
        let text = fs::read(&path).context(|| format!("reading {}", path.display()))?;
        self.progress = serde_json::from_slice(&text).map_err(|error| Error::input(format!("{}: {error}", path.display())))?;
        self.plan.objective.seek(self.progress.data_position);
        self.saved_step = Some(self.progress.step);
        Ok(())
    }
}
