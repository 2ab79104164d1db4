//! What an experiment will cost, before anything is built: parameters, tokens, arithmetic, memory and disk. Estimates of memory are
//! sums of what has to be held, not measurements; the allocator's share and the program itself come on top.

use super::{Attention, Experiment, ModelConfig, NormPlacement, Precision, WeightQuantizer};
use serde::Serialize;
use std::fmt;

/// Bytes of a float32.
const FLOAT32: u64 = 4;

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
    /// Tokens that one optimizer step sees.
    pub tokens_per_step: u64,
    /// Tokens of the whole run.
    pub total_tokens: u64,
    /// Floating point operations for a token, forward and backward: [`ModelConfig::flops_per_token`].
    pub flops_per_token: f64,
    /// Of the whole run.
    pub total_flops: f64,
    /// Master weights, float32.
    pub master_bytes: u64,
    /// Gradients, float32.
    pub gradient_bytes: u64,
    /// Both moments of AdamW, float32.
    pub moment_bytes: u64,
    /// What the backward pass of one micro-batch needs from the forward pass.
    pub activation_bytes: u64,
    /// The four above.
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

    /// Bytes that the forward pass keeps for the backward pass, for each token of a micro-batch.
    ///
    /// A block keeps, in float32, the residual stream before each norm (2 of width hidden), and, in the type of matrix products:
    /// the quantized input of every projection, the output of each but o and down, what attention gives, the activation and its product
    /// with up (intermediate each), and what each inner norm was given (o and down under sub-norms, all projections inside, the latents).
    /// Latent attention keeps the keys that it puts together, too. Attention keeps no square matrix. After the blocks: the residual
    /// stream, and logits with their logarithms and gradient, in float32.
    pub fn activation_bytes_per_token(&self, precision: Precision) -> u64 {
        let (hidden, intermediate, mixed) = (self.hidden_size, self.intermediate_size, self.attention_size());
        let inputs: usize = self.projections().iter().map(|shape| shape.inputs).sum();
        let outputs: usize = self.projections().iter().map(|shape| shape.outputs).sum::<usize>() - 2 * hidden;
        let normed = match (self.bit_linear.norm, self.sub_norms) {
            (NormPlacement::Inside, _) => inputs,
            (NormPlacement::Outside, true) => mixed + intermediate,
            (NormPlacement::Outside, false) => 0,
        };
        let latent = match self.attention {
            Attention::GroupedQuery => 0,
            Attention::Latent(latent) => {
                self.num_attention_heads * latent.qk_head_dim() + latent.kv_lora_rank + latent.q_lora_rank.unwrap_or(0)
            }
        };
        let products = (inputs + outputs + mixed + 2 * intermediate + normed + latent) as u64;
        let block = 2 * hidden as u64 * FLOAT32 + products * precision.bytes();
        self.num_hidden_layers as u64 * block + (hidden + 3 * self.vocab_size) as u64 * FLOAT32
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
    /// What the experiment will cost. Meaningful for one that [`Experiment::validate`] accepts.
    pub fn estimate(&self) -> Estimate {
        let parameters = self.model.parameter_count();
        let micro_batch = (self.train.batch_size * self.train.seq_len) as u64;
        let tokens_per_step = micro_batch * self.train.accumulation_steps as u64;
        let total_tokens = tokens_per_step.saturating_mul(self.train.num_steps);
        let flops_per_token = self.model.flops_per_token(self.train.seq_len);
        let master_bytes = parameters.total * FLOAT32;
        let activation_bytes = micro_batch.saturating_mul(self.model.activation_bytes_per_token(self.precision));
        let checkpoint_bytes = 3 * master_bytes;
        Estimate {
            parameters,
            has_quantized_weights: self.model.bit_linear.weights != WeightQuantizer::None,
            tokens_per_step,
            total_tokens,
            flops_per_token,
            total_flops: flops_per_token * total_tokens as f64,
            master_bytes,
            gradient_bytes: master_bytes,
            moment_bytes: 2 * master_bytes,
            activation_bytes,
            memory_bytes: (4 * master_bytes).saturating_add(activation_bytes),
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
        let held = format!(
            "masters {}, gradients {}, moments {}, activations {}",
            bytes(self.master_bytes),
            bytes(self.gradient_bytes),
            bytes(self.moment_bytes),
            bytes(self.activation_bytes)
        );
        let lines = [
            ("parameters", count(parts.total), counts),
            ("tokens", count(self.total_tokens), format!("{} a step", count(self.tokens_per_step))),
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
