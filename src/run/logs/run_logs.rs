//! All logs of a run together, as the trainer holds them.

use super::Log;
use crate::Result;
use crate::run::{CodesRow, EvaluationRow, EventRow, MetricsRow, RunDirectory, SampleRow};
use crate::storage::{FileSystem, create_dir_durably, remove_temporaries};

/// Every log that the trainer writes.
pub struct RunLogs<'fs> {
    /// `metrics.csv`, a row a step.
    pub metrics: Log<'fs, MetricsRow>,
    /// `eval.csv`.
    pub evaluations: Log<'fs, EvaluationRow>,
    /// `codes.csv`.
    pub codes: Log<'fs, CodesRow>,
    /// `samples.jsonl`.
    pub samples: Log<'fs, SampleRow>,
    /// `events.jsonl`.
    pub events: Log<'fs, EventRow>,
}

impl<'fs> RunLogs<'fs> {
    /// The logs of `run` after `step`, 0 for a new run or one that has no checkpoint: rows beyond it are cut, all but events, and the
    /// logs as they were stay beside them as `.bak`. Also removes what killed writes have left in the run's directory, so the caller
    /// holds its lock.
    pub fn open(fs: &'fs dyn FileSystem, run: &RunDirectory, step: u64) -> Result<Self> {
        create_dir_durably(fs, &run.logs_dir())?;
        remove_temporaries(fs, run.path())?;
        remove_temporaries(fs, &run.logs_dir())?;
        Ok(Self {
            metrics: Log::open_for_resume(fs, &run.metrics_path(), step)?,
            evaluations: Log::open_for_resume(fs, &run.evaluation_path(), step)?,
            codes: Log::open_for_resume(fs, &run.codes_path(), step)?,
            samples: Log::open_for_resume(fs, &run.samples_path(), step)?,
            events: Log::open_for_resume(fs, &run.events_path(), step)?,
        })
    }

    /// Makes all rows so far durable. Called before a checkpoint is saved, so that no acknowledged checkpoint lacks a row.
    pub fn sync(&mut self) -> Result<()> {
        self.metrics.sync()?;
        self.evaluations.sync()?;
        self.codes.sync()?;
        self.samples.sync()?;
        self.events.sync()
    }
}
