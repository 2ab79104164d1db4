//! The run directory: the only code that knows a path under runs/. Owns its layout, manifest, metrics, checkpoints and the status
//! that is derived from them; `storage` makes files durable.

mod active;
mod average;
mod checkpoints;
mod clock;
mod directory;
mod find;
mod id;
mod logs;
mod manifest;
mod metrics;
mod observer;
mod status;
mod stop;
#[cfg(test)]
mod tests;

pub use active::ActiveRun;
pub use average::{ExponentialMean, LOSS_DECAY, LOSS_HALF_LIFE, exponential_mean};
pub use checkpoints::{
    Begin, Checkpoint, CheckpointLabel, CheckpointStore, Checkpoints, CompleteRecord, DamagedCheckpoint, FileRecord, Fingerprints, Latest,
    NewFile, SaveOutcome,
};
pub use clock::unix_time;
pub use directory::RunDirectory;
pub use find::{find_run, list_runs, model_folder, no_runs, run_of_checkpoint, run_to_resume};
pub use id::{check_run_id, default_run_id, short_count};
pub use logs::{Log, LogContent, LogFormat, LogRow, RunLogs, read_log};
pub use manifest::{GitState, Launch, Manifest, Peak, StartingWeights};
pub use metrics::{CodesRow, EvaluationRow, Event, EventRow, MetricsRow, SampleRow};
pub use observer::{Observer, Silent};
pub use status::{CheckpointSummary, CodesSummary, EvaluationSummary, State, Status};
pub use stop::{StopReason, StopSignal};
