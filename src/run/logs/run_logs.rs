//! All logs of a run together, as the trainer holds them.

use super::tensorboard::TensorBoard;
use super::{Log, LogRow};
use crate::Result;
use crate::run::{CodesRow, EvaluationRow, EventRow, MetricsRow, RunDirectory, SampleRow};
use crate::storage::{FileSystem, create_dir_durably, remove_temporaries};

/// Every log that the trainer writes.
pub struct RunLogs<'fs> {
    metrics: Log<'fs, MetricsRow>,
    evaluations: Log<'fs, EvaluationRow>,
    samples: Log<'fs, SampleRow>,
    /// `codes.csv`.
    pub codes: Log<'fs, CodesRow>,
    /// `events.jsonl`.
    pub events: Log<'fs, EventRow>,
    tensorboard: TensorBoard<'fs>,
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
            tensorboard: TensorBoard::open(fs, run)?, // after those that it is derived from
        })
    }

    /// Appends a step's row to `metrics.csv`, and to TensorBoard's file.
    ///
    /// # Errors
    /// As [`Log::append`], of all three: what the disk refuses is kept, and [`sync`](Self::sync) tries again.
    pub fn record_step(&mut self, row: &MetricsRow) -> Result<()> {
        let shown = self.tensorboard.append_step(row);
        self.metrics.append(row).and(shown)
    }

    /// Appends the rows of an evaluation to `eval.csv`, and to TensorBoard's file.
    pub fn record_evaluation(&mut self, rows: &[EvaluationRow]) -> Result<()> {
        let shown = self.tensorboard.append_evaluation(rows);
        append_all(&mut self.evaluations, rows).and(shown)
    }

    /// Appends the samples of a step to `samples.jsonl`, and to TensorBoard's file.
    pub fn record_samples(&mut self, rows: &[SampleRow]) -> Result<()> {
        let shown = self.tensorboard.append_samples(rows);
        append_all(&mut self.samples, rows).and(shown)
    }

    /// Makes all rows so far durable. Called before a checkpoint is saved, so that no acknowledged checkpoint lacks a row.
    pub fn sync(&mut self) -> Result<()> {
        let _ = self.tensorboard.sync(); // Derived from the others, so no checkpoint waits for it.
        self.metrics.sync()?;
        self.evaluations.sync()?;
        self.codes.sync()?;
        self.samples.sync()?;
        self.events.sync()
    }
}

/// Every row is tried, whatever became of those before it.
fn append_all<R: LogRow>(log: &mut Log<'_, R>, rows: &[R]) -> Result<()> {
    rows.iter().map(|row| log.append(row)).fold(Ok(()), Result::and)
}
