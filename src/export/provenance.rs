//! How a checkpoint came to be, as far as its run's files tell: experiment, data, steps, tokens, losses.

use crate::Result;
use crate::config::{DataConfig, Experiment, TextSource};
use crate::run::{EvaluationRow, LOSS_DECAY, MetricsRow, RunDirectory, exponential_mean, read_log, run_of_checkpoint};
use crate::storage::FileSystem;
use std::path::Path;

/// The metric of `eval.csv` that is the held-out loss.
const HELD_OUT_LOSS: &str = "loss";

/// What is known of a checkpoint's training.
#[derive(Debug, Clone, PartialEq)]
pub struct Provenance {
    /// The run that it is of.
    pub run: RunDirectory,
    /// Optimizer steps taken.
    pub step: u64,
    /// The resolved experiment, where the run still has it.
    pub experiment: Option<Experiment>,
    /// Tokens trained on, padding included.
    pub tokens: Option<u64>,
    /// Mean training loss at this step, in nats per token.
    pub loss: Option<f64>,
    /// Loss on held-out data at this step or the last one before that was measured.
    pub held_out_loss: Option<f64>,
}

impl Provenance {
    /// The provenance of the model folder `dir`; none where it is no checkpoint of a run.
    ///
    /// # Errors
    /// A log that exists and cannot be read.
    pub fn of(fs: &dyn FileSystem, dir: &Path) -> Result<Option<Self>> {
        let Some((run, step)) = run_of_checkpoint(dir) else { return Ok(None) };
        let mut rows: Vec<MetricsRow> = read_log(fs, &run.metrics_path())?.rows;
        rows.retain(|row| row.step <= step);
        let evaluations: Vec<EvaluationRow> = read_log(fs, &run.evaluation_path())?.rows;
        let held_out = evaluations.iter().rfind(|row| row.metric == HELD_OUT_LOSS && row.step <= step);
        Ok(Some(Self {
            step,
            experiment: run.read_config().ok(),
            tokens: rows.last().map(|row| row.tokens),
            loss: exponential_mean(rows.iter().map(|row| row.loss), LOSS_DECAY).last().filter(|loss| loss.is_finite()),
            held_out_loss: held_out.map(|row| row.value),
            run,
        }))
    }

    /// What it was trained on, without the paths of the machine that it was trained on.
    pub(super) fn data(&self) -> Option<String> {
        let text = match &self.experiment.as_ref()?.data {
            DataConfig::Arithmetic(problems) => {
                format!("arithmetic problems made on the fly, operands 0 to {}", problems.largest_operand)
            }
            DataConfig::Text(text) => match &text.source {
                TextSource::Hub(hub) => format!("text of the data set {}, revision {}", hub.repository, hub.revision),
                TextSource::Files(files) => {
                    let name = |file: &String| Path::new(file).file_name().unwrap_or_default().to_string_lossy().into_owned();
                    format!("text of {}", files.iter().map(name).collect::<Vec<_>>().join(", "))
                }
            },
        };
        Some(text)
    }
}
