//! The experiment as one value: what config.yaml holds, key for key.

use super::{CheckpointConfig, DataConfig, EvaluationConfig, ModelConfig, SamplingConfig, TokenizerConfig, TrainConfig};
use serde::{Deserialize, Serialize};

/// A whole experiment. `experiments/<name>/config.yaml` and `runs/<id>/config.yaml` both hold exactly this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Names the run when no `--run-id` is given.
    pub experiment: String,
    /// Every random number derives from it, a purpose and a step.
    pub seed: u64,
    /// Where tensors live.
    pub device: DeviceChoice,
    /// The type of matrix products. Master weights, norms, quantizers and the loss are float32 always.
    pub precision: Precision,
    /// A model folder whose weights a new run starts from; null for random ones.
    pub init_from: Option<String>,
    /// The decoder.
    pub model: ModelConfig,
    /// How text becomes token ids.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub tokenizer: TokenizerConfig,
    /// Where problems or text come from: one key that names the source, over its settings.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub data: DataConfig,
    /// The loop: steps, batches, optimizer, schedule.
    pub train: TrainConfig,
    /// What is measured on held-out data, and when.
    pub evaluation: EvaluationConfig,
    /// Which prompts are continued while training, and when.
    pub sampling: SamplingConfig,
    /// When the state is saved, and how many are kept.
    pub checkpoints: CheckpointConfig,
}

/// Where tensors live. `auto` takes CUDA, then MPS, then the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum DeviceChoice {
    Auto,
    Cpu,
    Cuda,
    Mps,
}

/// The type that matrix products are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Precision {
    #[value(alias = "f32")]
    Float32,
    #[value(alias = "bf16")]
    Bfloat16,
}
