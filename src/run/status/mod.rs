//! Where a run stands: derived from its lock, events and rows whenever it is asked for, never stored. Owns the derivation and the JSON
//! form; how it looks on a terminal is the business of `report`.

mod progress;
mod state;

pub use state::State;

use super::find::modified;
use super::{Checkpoints, CodesRow, EvaluationRow, EventRow, LogRow, MetricsRow, RunDirectory, SampleRow, read_log};
use crate::Result;
use crate::config::Experiment;
use crate::storage::{FileSystem, Lock};
use progress::{divergence, loss_average, loss_trend, mean_step_seconds};
use serde::Serialize;
use state::Signs;
use std::collections::BTreeMap;

/// Where a run stands. Also what `check-status --json` prints: keys stay, new ones may come; what is unknown or not finite is `null`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The run's id.
    pub id: String,
    /// Its directory.
    pub path: String,
    /// The experiment that it is of.
    pub experiment: Option<String>,
    /// Parameters of its model.
    pub num_parameters: Option<u64>,
    /// When its first trainer began, in seconds since 1970.
    pub started_unix_time: Option<f64>,
    /// `starting`, `running`, `stalled`, `finished`, `stopped` or `failed`.
    pub state: State,
    /// Why it is stalled, stopped or failed.
    pub reason: Option<String>,
    /// Optimizer steps taken.
    pub step: u64,
    /// Optimizer steps of the whole run, by its config.
    pub num_steps: Option<u64>,
    /// Share of the steps that are taken, 0 to 100.
    pub percent: Option<f64>,
    /// Tokens trained on, padding included.
    pub tokens: u64,
    /// Loss of the last step, in nats per predicted token.
    pub loss: Option<f64>,
    /// Exponential mean of the loss, corrected for its start, with decay 0.98: half of its weight lies on the last 34 steps.
    pub loss_average: Option<f64>,
    /// A sentence where that mean is far above both its start and the loss of guessing.
    pub divergence: Option<String>,
    /// Slope of that mean over the last tenth of the steps, in nats per 1,000 steps: negative when the loss falls.
    pub loss_trend_per_1000_steps: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: Option<f64>,
    /// Weight decay of the last step.
    pub weight_decay: Option<f64>,
    /// Norm of the last gradient before clipping.
    pub grad_norm: Option<f64>,
    /// Mean over the last 100 steps.
    pub tokens_per_second: Option<f64>,
    /// Mean over the last 100 steps.
    pub step_seconds: Option<f64>,
    /// Wall time of all steps so far.
    pub training_seconds: f64,
    /// Seconds until the last step at that mean; only while it runs.
    pub eta_seconds: Option<f64>,
    /// Steps skipped because loss or gradient was not finite.
    pub skipped_steps: u64,
    /// Seconds since the last row was written.
    pub last_row_age_seconds: Option<f64>,
    /// The last `loss` on held-out data.
    pub held_out_loss: Option<f64>,
    /// The last measurement on held-out data.
    pub evaluation: Option<EvaluationSummary>,
    /// The prompts that were continued last.
    pub samples: Vec<SampleRow>,
    /// The newest checkpoint that has its `COMPLETE`; its content is not verified here.
    pub checkpoint: Option<CheckpointSummary>,
    /// What the weight quantizer made of the matrices when they were last counted.
    pub codes: Option<CodesSummary>,
    /// Lines of logs that are whole but cannot be read.
    pub damaged_lines: u64,
    /// What else is wrong with the files, such as a config that cannot be read.
    pub problems: Vec<String>,
}

/// All metrics of one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluationSummary {
    /// Optimizer steps taken before it.
    pub step: u64,
    /// Value by name; shares are 0 to 1.
    pub metrics: BTreeMap<String, Option<f64>>,
}

/// A checkpoint by name and age.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckpointSummary {
    /// Name of its directory.
    pub name: String,
    /// Optimizer steps taken before it.
    pub step: u64,
    /// Seconds since it was completed.
    pub age_seconds: Option<f64>,
}

/// Shares of the ternary codes, as means over the matrices.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CodesSummary {
    /// Optimizer steps taken before it.
    pub step: u64,
    /// Matrices counted.
    pub num_matrices: usize,
    /// Share of -1.
    pub minus: Option<f64>,
    /// Share of 0.
    pub zero: Option<f64>,
    /// Share of +1.
    pub plus: Option<f64>,
    /// Share that differs from the record before.
    pub flipped: Option<f64>,
}

impl Status {
    /// Derives the status of `run` at `now`, in seconds since 1970. Needs no lock and changes nothing; absent, empty, torn and damaged
    /// logs are borne.
    ///
    /// # Errors
    /// Only what the operating system refuses: a file that exists and cannot be read.
    pub fn read(fs: &dyn FileSystem, run: &RunDirectory, now: f64) -> Result<Self> {
        let is_locked = Lock::is_held(&run.lock_path())?; // before the events: a trainer that ends meanwhile has then written its end
        let mut logs = Logs { fs, damaged_lines: 0 };
        let events: Vec<EventRow> = logs.rows(&run.events_path())?;
        let rows: Vec<MetricsRow> = logs.rows(&run.metrics_path())?;
        let evaluations: Vec<EvaluationRow> = logs.rows(&run.evaluation_path())?;
        let samples: Vec<SampleRow> = logs.rows(&run.samples_path())?;
        let codes: Vec<CodesRow> = logs.rows(&run.codes_path())?;
        let signs = Signs { is_locked, events: &events, rows: &rows, directory_changed: modified(run.path()), now };
        let mut status = Self::of_rows(run, &rows, &events);
        (status.state, status.reason) = signs.state();
        status.add_config(config(run), &rows);
        status.eta_seconds = status.eta().filter(|_| status.state == State::Running);
        status.last_row_age_seconds = rows.last().and_then(|row| finite(now - row.unix_time));
        status.held_out_loss = evaluations.iter().rev().find(|row| row.metric == "loss").and_then(|row| finite(row.value));
        status.evaluation = last_evaluation(&evaluations);
        status.samples = last_of_step(&samples).to_vec();
        status.codes = last_codes(&codes);
        status.checkpoint = last_checkpoint(fs, run, now)?;
        status.damaged_lines = logs.damaged_lines;
        Ok(status)
    }

    fn of_rows(run: &RunDirectory, rows: &[MetricsRow], events: &[EventRow]) -> Self {
        let last = rows.last();
        let value = |field: fn(&MetricsRow) -> f64| last.map(field).and_then(finite);
        let step_seconds = mean_step_seconds(rows);
        Self {
            id: run.id(),
            path: run.path().display().to_string(),
            experiment: None,
            num_parameters: None,
            started_unix_time: events.first().and_then(|event| finite(event.unix_time)),
            state: State::Starting,
            reason: None,
            step: last.map_or_else(|| events.last().map_or(0, |event| event.step), |row| row.step),
            num_steps: None,
            percent: None,
            tokens: last.map_or(0, |row| row.tokens),
            loss: value(|row| row.loss),
            loss_average: loss_average(rows),
            divergence: None,
            loss_trend_per_1000_steps: loss_trend(rows).map(|slope| slope * 1000.0),
            learning_rate: value(|row| row.learning_rate),
            weight_decay: value(|row| row.weight_decay),
            grad_norm: value(|row| row.grad_norm),
            tokens_per_second: progress::tokens_per_second(rows),
            step_seconds,
            training_seconds: progress::training_seconds(rows),
            eta_seconds: None,
            skipped_steps: last.map_or(0, |row| row.skipped_steps),
            last_row_age_seconds: None,
            held_out_loss: None,
            evaluation: None,
            samples: Vec::new(),
            checkpoint: None,
            codes: None,
            damaged_lines: 0,
            problems: Vec::new(),
        }
    }

    fn add_config(&mut self, config: std::result::Result<Option<Experiment>, String>, rows: &[MetricsRow]) {
        match config {
            Ok(Some(config)) => {
                self.num_steps = Some(config.train.num_steps);
                self.num_parameters = Some(config.model.num_parameters() as u64);
                self.divergence = divergence(rows, (config.model.vocab_size as f64).ln());
                self.experiment = Some(config.experiment);
            }
            Ok(None) => {}
            Err(problem) => self.problems.push(problem),
        }
        self.percent = self.num_steps.filter(|steps| *steps > 0).map(|steps| 100.0 * self.step as f64 / steps as f64);
    }

    fn eta(&self) -> Option<f64> {
        Some(self.num_steps?.saturating_sub(self.step) as f64 * self.step_seconds?)
    }
}

struct Logs<'fs> {
    fs: &'fs dyn FileSystem,
    damaged_lines: u64,
}

impl Logs<'_> {
    fn rows<R: LogRow>(&mut self, path: &std::path::Path) -> Result<Vec<R>> {
        let content = read_log(self.fs, path)?;
        self.damaged_lines += content.damaged_lines.len() as u64;
        Ok(content.rows)
    }
}

/// None where there is no config yet; a sentence where it cannot be understood, which hides no other number.
fn config(run: &RunDirectory) -> std::result::Result<Option<Experiment>, String> {
    let path = run.config_path();
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(None) };
    serde_yaml::from_str(&text).map(Some).map_err(|error| format!("{}: {error}", path.display()))
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The rows at the end that belong to the same step.
fn last_of_step<R: LogRow>(rows: &[R]) -> &[R] {
    let Some(step) = rows.last().map(R::step) else { return &[] };
    let start = rows.iter().rposition(|row| row.step() != step).map_or(0, |before| before + 1);
    &rows[start..]
}

fn last_evaluation(rows: &[EvaluationRow]) -> Option<EvaluationSummary> {
    let rows = last_of_step(rows);
    let metrics = rows.iter().map(|row| (row.metric.clone(), finite(row.value))).collect();
    Some(EvaluationSummary { step: rows.first()?.step, metrics })
}

fn last_codes(rows: &[CodesRow]) -> Option<CodesSummary> {
    let rows = last_of_step(rows);
    let mean = |field: fn(&CodesRow) -> f64| finite(rows.iter().map(field).sum::<f64>() / rows.len() as f64);
    Some(CodesSummary {
        step: rows.first()?.step,
        num_matrices: rows.len(),
        minus: mean(|row| row.minus),
        zero: mean(|row| row.zero),
        plus: mean(|row| row.plus),
        flipped: mean(|row| row.flipped),
    })
}

fn last_checkpoint(fs: &dyn FileSystem, run: &RunDirectory, now: f64) -> Result<Option<CheckpointSummary>> {
    let checkpoints = Checkpoints::new(fs, run.checkpoints_dir());
    let Some(step) = checkpoints.list()?.last().map(|record| record.step) else { return Ok(None) };
    let path = checkpoints.path_of(step);
    let name = RunDirectory::new(&path).id();
    Ok(Some(CheckpointSummary { name, step, age_seconds: modified(&path.join("COMPLETE")).map(|time| now - time) }))
}

#[cfg(test)]
mod status_tests;
