//! What an experiment will cost, before anything is built: parameters, tokens, arithmetic, memory and disk. Estimates of memory are
//! sums of what has to be held, not measurements; `memory` knows what a step holds, `accelerator` time and price.

use super::memory::FLOAT32;
use super::{Experiment, Kernels, ModelConfig, Precision, StepMemory};
use serde::Serialize;
use std::fmt;

/// Trainable numbers, by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ParameterCount {
    /// Embedding, and the output head unless it is tied.
    pub embedding: u64,
    /// Projection matrices, which the weight quantizer sees.
    pub projections: u64,
    /// Norm weights.
    pub norms: u64,
    /// All of them.
    pub total: u64,
}

/// What an experiment will cost. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Trainable numbers.
    pub parameters: ParameterCount,
    /// Whether projections are stored as codes when exported, rather than in full precision.
    pub has_quantized_weights: bool,
    /// Optimizer steps of the whole run.
    pub num_steps: u64,
    /// Tokens that one optimizer step sees.
    pub tokens_per_step: u64,
    /// Tokens of the whole run.
    pub total_tokens: u64,
    /// Floating point operations for a token, forward and backward: [`ModelConfig::flops_per_token`].
    pub flops_per_token: f64,
    /// Operations of the whole run.
    pub total_flops: f64,
    /// Master weights, float32.
    pub master_bytes: u64,
    /// Gradients, float32.
    pub gradient_bytes: u64,
    /// Both moments of AdamW, float32.
    pub moment_bytes: u64,
    /// Whose kernels the memory of a step is estimated for.
    pub kernels: Kernels,
    /// What a step holds beside these.
    pub step: StepMemory,
    /// All of it.
    pub memory_bytes: u64,
    /// One checkpoint: masters and moments.
    pub checkpoint_bytes: u64,
    /// As many checkpoints as are kept at once: the last ones, the best, and the one being written.
    pub disk_bytes: u64,
}

impl ModelConfig {
    /// Trainable numbers, by part; the total equals [`ModelConfig::num_parameters`].
    pub fn parameter_count(&self) -> ParameterCount {
        let layers = self.num_hidden_layers;
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        let embedding = (tables * self.vocab_size * self.hidden_size) as u64;
        let projections = (layers * self.num_ternary_per_layer()) as u64;
        let norms = (layers * self.num_norm_per_layer() + self.hidden_size) as u64;
        ParameterCount { embedding, projections, norms, total: embedding + projections + norms }
    }

    /// Floating point operations for one token of a sequence, forward and backward: 6 for each parameter, and
    /// `12 layers heads head_dim sequence` for attention (the usual formula for model FLOPs utilization); where query and value heads
    /// differ in size, `head_dim` is the mean of both.
    pub fn flops_per_token(&self, sequence: usize) -> f64 {
        let attention = 6.0 * (self.num_hidden_layers * self.num_attention_heads * self.query_and_value_dim()) as f64 * sequence as f64;
        6.0 * self.num_parameters() as f64 + attention
    }
}

impl Precision {
    /// Bytes of one number.
    pub fn bytes(self) -> u64 {
        match self {
            Precision::Float32 => 4,
            Precision::Bfloat16 => 2,
        }
    }
}

impl Experiment {
    /// What the experiment will cost where its config says. Meaningful for one that [`Experiment::validate`] accepts.
    pub fn estimate(&self) -> Estimate {
        self.estimate_for(self.likely_kernels())
    }

    /// What it will cost with these kernels.
    pub fn estimate_for(&self, kernels: Kernels) -> Estimate {
        let parameters = self.model.parameter_count();
        let micro_batch = (self.train.batch_size * self.train.seq_len) as u64;
        let tokens_per_step = micro_batch * self.train.accumulation_steps as u64;
        let total_tokens = tokens_per_step.saturating_mul(self.train.num_steps);
        let flops_per_token = self.model.flops_per_token(self.train.seq_len);
        let master_bytes = parameters.total * FLOAT32;
        let step = self.step_memory(kernels);
        let held = [4 * master_bytes, step.operand_bytes, step.activation_bytes, step.transient_bytes, step.program_bytes];
        let checkpoint_bytes = 3 * master_bytes;
        Estimate {
            parameters,
            has_quantized_weights: self.model.bit_linear.weights.has_codes(),
            num_steps: self.train.num_steps,
            tokens_per_step,
            total_tokens,
            flops_per_token,
            total_flops: flops_per_token * total_tokens as f64,
            master_bytes,
            gradient_bytes: master_bytes,
            moment_bytes: 2 * master_bytes,
            kernels,
            step,
            memory_bytes: held.into_iter().fold(0, u64::saturating_add),
            checkpoint_bytes,
            disk_bytes: checkpoint_bytes.saturating_mul(self.checkpoints.keep_last as u64 + 2),
        }
    }
}

/// Aligned lines: a name, a value, and what it consists of.
impl fmt::Display for Estimate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.parameters;
        let kind = if self.has_quantized_weights { "quantized" } else { "projections" };
        let counts = format!("embedding {}, {kind} {}, norms {}", count(parts.embedding), count(parts.projections), count(parts.norms));
        let state = self.master_bytes + self.gradient_bytes + self.moment_bytes;
        let held = format!(
            "weights with gradients and moments {}, operands {}, activations {}, passing {}, program {}",
            bytes(state),
            bytes(self.step.operand_bytes),
            bytes(self.step.activation_bytes),
            bytes(self.step.transient_bytes),
            bytes(self.step.program_bytes)
        );
        let lines = [
            ("parameters", count(parts.total), counts),
            ("steps", count(self.num_steps), format!("{} tokens each", count(self.tokens_per_step))),
            ("tokens", count(self.total_tokens), format!("{:.1} a parameter", self.total_tokens as f64 / parts.total as f64)),
            ("arithmetic", format!("{:.2e} FLOP", self.total_flops), format!("{:.2e} a token", self.flops_per_token)),
            ("memory", bytes(self.memory_bytes), held),
            ("checkpoint", bytes(self.checkpoint_bytes), format!("{} on disk in all", bytes(self.disk_bytes))),
        ];
        for (index, (name, value, detail)) in lines.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(formatter, "{end}{name:<12}{value:>14}  ({detail})")?;
        }
        Ok(())
    }
}

/// Digits in groups of three: 4,965,120.
fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// In the largest unit that leaves at least 1: 18.9 MiB.
fn bytes(value: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut scaled = value as f64;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value} B") } else { format!("{scaled:.1} {}", units[unit]) }
}

#[cfg(test)]
#[path = "estimate_tests.rs"]
mod tests;
