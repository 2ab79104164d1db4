//! The rows of a run's logs. The trainer writes these types; status and plots read them.

use serde::{Deserialize, Serialize};

/// A row of `logs/metrics.csv`, one a step. The first seven columns are a function of config and seed alone; the rest is the machine's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsRow {
    /// Optimizer steps taken, this one included: 1 is the first.
    pub step: u64,
    /// Tokens of all steps so far, padding included.
    pub tokens: u64,
    /// Training loss of this step, in nats per predicted token; not finite when the step was skipped for it.
    pub loss: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Weight decay of this step.
    pub weight_decay: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Steps skipped so far because loss or gradient was not finite.
    pub skipped_steps: u64,
    /// Wall time of this step in seconds.
    pub step_seconds: f64,
    /// Tokens of this step over its wall time.
    pub tokens_per_second: f64,
    /// When the row was written, in seconds since 1970.
    pub unix_time: f64,
    /// Arithmetic of the model a second over the peak that the manifest names, 0 to 1; none where no peak is known, as in logs from before
    /// there was this column.
    #[serde(default)]
    pub mfu: Option<f64>,
}

/// A row of `logs/eval.csv`: one measurement, so that every task can have its own names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRow {
    /// Optimizer steps taken before it.
    pub step: u64,
    /// `loss`, `exact_match/add` ...
    pub metric: String,
    /// Its value; shares are 0 to 1.
    pub value: f64,
}

/// A line of `logs/samples.jsonl`: a prompt and its continuation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRow {
    /// Optimizer steps taken before it.
    pub step: u64,
    /// What was given.
    pub prompt: String,
    /// The name of the sampling mode. Logs from before there were any have none: they are greedy.
    #[serde(default = "greedy")]
    pub mode: String,
    /// What the model added.
    pub completion: String,
}

fn greedy() -> String {
    "greedy".to_owned()
}

/// A row of `logs/codes.csv`: what the weight quantizer makes of one matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodesRow {
    /// Optimizer steps taken before it.
    pub step: u64,
    /// Index of the block.
    pub layer: usize,
    /// `q_proj`, `down_proj` ...
    pub matrix: String,
    /// Share of codes that are -1.
    pub minus: f64,
    /// Share of codes that are 0.
    pub zero: f64,
    /// Share of codes that are +1.
    pub plus: f64,
    /// Share of codes that differ from the last record's; 0 in the first.
    pub flipped: f64,
}

/// A line of `logs/events.jsonl`: something that happened to the run as a whole. Status is derived from these, the lock and the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// When, in seconds since 1970.
    pub unix_time: f64,
    /// Optimizer steps taken.
    pub step: u64,
    /// What happened.
    pub event: Event,
}

/// What can happen to a run as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Event {
    /// A trainer process began at this step: 0 for a new run, else resumed from its checkpoint.
    Started { process_id: u32 },
    /// A checkpoint of this step was acknowledged.
    Saved { checkpoint: String },
    /// A checkpoint could not be written; training went on.
    SaveFailed { reason: String },
    /// All steps are done and saved.
    Finished,
    /// Stopped on request (`SIGINT`, `SIGTERM`) with its state saved.
    Stopped { reason: String },
    /// Ended by an error.
    Failed { reason: String },
}
