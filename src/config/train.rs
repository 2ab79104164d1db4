//! The loop's settings: steps, batches, optimizer, schedule, and the cadences of evaluation, samples and checkpoints.

use serde::{Deserialize, Serialize};

/// Steps, batches, optimizer and schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimizer steps of the whole run.
    pub num_steps: u64,
    /// Sequences in a micro-batch.
    pub batch_size: usize,
    /// Micro-batches in a step; their gradients are averaged.
    pub accumulation_steps: usize,
    /// Tokens in a sequence.
    pub seq_len: usize,
    /// Whether a block keeps only its input and is computed again for its gradients: less memory, a third more time.
    pub activation_checkpointing: bool,
    /// The gradient is scaled down to this norm when it is longer.
    pub max_grad_norm: f64,
    /// The run stops after this many steps in a row with a loss or gradient that is not finite.
    pub max_skipped_steps: u64,
    /// Weight codes are counted and compared every so many steps; 0 never.
    pub record_codes_every: u64,
    /// AdamW.
    pub optimizer: OptimizerConfig,
    /// Learning rate and weight decay over the steps.
    pub schedule: ScheduleConfig,
}

/// AdamW's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak of the first stage.
    pub learning_rate: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// Decoupled weight decay of the first stage.
    pub weight_decay: f64,
    /// Whether norm weights decay too.
    pub decay_norms: bool,
    /// Whether the embedding and an untied head decay too.
    pub decay_embeddings: bool,
}

/// Learning rate and weight decay over the steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Steps in which the learning rate rises linearly; step 1 already has a share of it.
    pub warmup_steps: u64,
    /// How the learning rate falls from its peak to zero at the last step.
    pub learning_rate_decay: DecayShape,
    /// How the weight decay of the first stage changes.
    pub weight_decay_decay: DecayShape,
    /// Steps in which the quantizers rise from nothing, which is full precision, to all; 0 for a network that is quantized from the first
    /// step on, as one from random weights is.
    pub quantization_blend_steps: u64,
    /// The second stage, or null for a single one.
    pub second_stage: Option<SecondStage>,
}

/// Where the second stage begins, and its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondStage {
    /// Share of the steps after which it begins.
    pub start: f64,
    /// The peak that the decay shape is applied to from there on.
    pub learning_rate: f64,
    /// Weight decay from there on.
    pub weight_decay: f64,
}

/// A factor that falls over the run, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecayShape {
    Constant,
    Linear,
    Cosine,
}

/// What is measured on held-out data, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Every so many steps, and after the last; 0 only after the last.
    pub every: u64,
    /// Held-out problems of each operator, or sequences of text of `train.seq_len` tokens.
    pub num_examples: usize,
}

/// Which prompts are continued while training, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    /// Every so many steps, and after the last; 0 only after the last.
    pub every: u64,
    /// Each is continued in each of the modes.
    pub prompts: Vec<String>,
    /// At most so many tokens are added.
    pub max_new_tokens: usize,
    /// How the next token is chosen.
    pub modes: Vec<SamplingMode>,
}

/// A way to choose the next token, and what it is called in the logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingMode {
    /// `greedy`, `nucleus` ...
    pub name: String,
    /// Divides the logits; 0 takes the likeliest token always.
    pub temperature: f64,
    /// Only the likeliest so many are candidates; 0 means all.
    pub top_k: usize,
    /// Only the likeliest whose probabilities together reach this are candidates; 1 means all.
    pub top_p: f64,
}

/// When the state is saved, and how many are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Every so many steps, and after the last.
    pub every: u64,
    /// The newest so many stay; the best by held-out loss stays as well.
    pub keep_last: usize,
    /// Whether the last state of the first stage is saved, and stays: the second stage can be tried again from there.
    pub at_stage_switch: bool,
}
