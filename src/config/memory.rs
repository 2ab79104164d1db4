//! What a training step holds in memory beside weights, gradients and moments: what the forward pass keeps for the backward pass, the
//! operands of matrix products, and what exists for a moment. Sums of what the kernels hold, not measurements: docs/performance.md has
//! those. Which kernels a machine has is not known here; the caller chooses.

use super::{Activation, ActivationQuantizer, Attention, DeviceChoice, Experiment, ModelConfig, Precision, WeightQuantizer};
use serde::Serialize;

/// Bytes of a float32.
pub(super) const FLOAT32: u64 = 4;
/// Scale, sum of codes and inverse of the norm of each row of codes, four bytes each.
const CODES_ROW: u64 = 12;
/// What the program takes beside tensors on a CPU, libtorch included: measured at a model of 20,000 parameters.
const CPU_PROGRAM: u64 = 128 << 20;
/// What libtorch's float32 products take on top for their own buffers: measured at two sizes.
const FLOAT32_BUFFERS: u64 = 192 << 20;
/// What a GPU holds beside tensors: the driver's context, the workspaces of matrix products, and what the allocator cannot reuse.
const GPU_PROGRAM: u64 = 1 << 30;
/// Logits that the head's loss computes at a time, in bfloat16 (csrc/cross_entropy.cpp).
const LOGITS_AT_ONCE: u64 = 1 << 25;

/// Who computes a step; it decides what is kept for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernels {
    /// Integer products on a CPU with AMX or AVX-512: a layer keeps codes, a byte a number.
    CpuCodes,
    /// libtorch's operations on a CPU.
    CpuPlain,
    /// libtorch's operations on a GPU.
    Gpu,
}

/// What a step holds beside the training state, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StepMemory {
    /// Weights as matrix products read them.
    pub operand_bytes: u64,
    /// What the backward pass of one micro-batch needs from the forward pass.
    pub activation_bytes: u64,
    /// The largest that exists for a moment: logits, or the gradients inside a block.
    pub transient_bytes: u64,
    /// The program and its libraries.
    pub program_bytes: u64,
}

/// The sizes of a model, as bytes are counted with them.
struct Sizes {
    hidden: u64,
    intermediate: u64,
    /// Width of everything that attention's projections read, except the output projection; an input that several share counts once.
    attention_inputs: u64,
    /// Width of what these projections give, and of keys that are put together from it.
    attention_outputs: u64,
    /// What attention gives, which the output projection reads.
    mixed: u64,
    vocabulary: u64,
    /// Bytes of a number in matrix products.
    product: u64,
    is_bfloat16: bool,
    is_inside: bool,
    /// Whether the output and down projections have a norm of their own.
    has_inner_norms: bool,
    is_relu2: bool,
}

impl Experiment {
    /// The kernels that the device of the config most likely means; `auto` is taken for a CPU.
    pub fn likely_kernels(&self) -> Kernels {
        let quantizers = self.model.bit_linear;
        let has_ternary_weights = match quantizers.weights {
            WeightQuantizer::TernaryAbsmean => true,
            WeightQuantizer::Sign | WeightQuantizer::None => false,
        };
        let has_codes = match quantizers.activations {
            ActivationQuantizer::Int8Absmax => has_ternary_weights,
            ActivationQuantizer::Int4Absmean | ActivationQuantizer::None => false,
        };
        match self.device {
            DeviceChoice::Cuda | DeviceChoice::Mps => Kernels::Gpu,
            DeviceChoice::Cpu | DeviceChoice::Auto if has_codes => Kernels::CpuCodes,
            DeviceChoice::Cpu | DeviceChoice::Auto => Kernels::CpuPlain,
        }
    }

    /// What one step holds.
    pub fn step_memory(&self, kernels: Kernels) -> StepMemory {
        let sizes = Sizes::of(&self.model, self.precision);
        let tokens = (self.train.batch_size as u64).saturating_mul(self.train.seq_len as u64);
        let projections = self.model.parameter_count().projections;
        // With checkpointing a block keeps its input, and all else exists for one block at a time.
        let (kept, computed_again) = match self.train.activation_checkpointing {
            true => (sizes.hidden * FLOAT32, sizes.block(kernels)),
            false => (sizes.block(kernels), 0),
        };
        let blocks = kept.saturating_mul(self.model.num_hidden_layers as u64);
        StepMemory {
            operand_bytes: projections * sizes.operand(kernels),
            activation_bytes: tokens.saturating_mul(blocks + sizes.head(kernels)),
            transient_bytes: sizes.transient(kernels, tokens).saturating_add(tokens.saturating_mul(computed_again)),
            program_bytes: match (kernels, self.precision) {
                (Kernels::Gpu, _) => GPU_PROGRAM,
                (_, Precision::Bfloat16) => CPU_PROGRAM,
                (_, Precision::Float32) => CPU_PROGRAM + FLOAT32_BUFFERS,
            },
        }
    }
}

impl Sizes {
    fn of(model: &ModelConfig, precision: Precision) -> Self {
        let is_inside = model.bit_linear.norm.is_inside();
        let (attention_inputs, attention_outputs) = attention(model, is_inside);
        Self {
            hidden: model.hidden_size as u64,
            intermediate: model.intermediate_size as u64,
            attention_inputs: attention_inputs as u64,
            attention_outputs: attention_outputs as u64,
            mixed: model.attention_size() as u64,
            vocabulary: model.vocab_size as u64,
            product: precision.bytes(),
            is_bfloat16: precision == Precision::Bfloat16,
            is_inside,
            has_inner_norms: is_inside || model.sub_norms,
            is_relu2: match model.hidden_act {
                Activation::Relu2 => true,
                Activation::Silu => false,
            },
        }
    }

    /// Bytes of a projection's number: a code and a value where codes are multiplied, else the quantized value.
    fn operand(&self, kernels: Kernels) -> u64 {
        if kernels == Kernels::CpuCodes { 1 + self.product } else { self.product }
    }

    /// Bytes of a token in one block.
    fn block(&self, kernels: Kernels) -> u64 {
        if kernels == Kernels::CpuCodes { self.block_of_codes() } else { self.plain_block() }
    }

    /// The residual stream before each norm, float32. Codes of every input: shared by q, k, v and by gate, up unless each has its own
    /// norm. In the type of products: q, k, v, what the output projection's norm reads, gate and up, and what silu makes of them.
    /// Attention in float32 keeps its outcome too.
    fn block_of_codes(&self) -> u64 {
        let Self { hidden, intermediate, product, .. } = *self;
        let num_inputs = if self.is_inside { 7 } else { 4 };
        let attention = self.attention_outputs + if self.is_bfloat16 { 0 } else { self.mixed };
        let mixed = if self.has_inner_norms { self.mixed } else { 0 };
        let gated = match (self.is_relu2, self.has_inner_norms) {
            (true, _) => 2 * intermediate,
            (false, true) => 4 * intermediate,
            (false, false) => 3 * intermediate,
        };
        2 * hidden * FLOAT32 + self.inputs() + num_inputs * CODES_ROW + (attention + mixed + gated) * product
    }

    /// The residual stream before each norm and every norm's outcome before its weight, float32; where what is normed is no residual
    /// stream, that too. In the type of products: every quantized input, q, k, v and what attention made of them. Of a gate of squared
    /// relu: relu, its square and up, float32.
    fn plain_block(&self) -> u64 {
        let Self { hidden, intermediate, mixed, product, .. } = *self;
        let inputs = self.inputs();
        let outer_normed = if self.is_inside { self.attention_inputs + 2 * hidden } else { 2 * hidden };
        let inner_normed = if self.has_inner_norms { 2 * (mixed + intermediate) } else { 0 };
        let attention = self.attention_outputs + mixed;
        let gated = if self.is_relu2 { 3 * intermediate * FLOAT32 } else { 3 * intermediate * product };
        (2 * hidden + outer_normed + inner_normed) * FLOAT32 + (inputs + attention) * product + gated
    }

    /// Width of all quantized inputs of a block: gate and up share one unless each has its own norm.
    fn inputs(&self) -> u64 {
        let feed_forward = if self.is_inside { 2 * self.hidden } else { self.hidden };
        self.attention_inputs + self.mixed + feed_forward + self.intermediate
    }

    /// Bytes of a token behind the blocks: the residual stream, what the head reads, and its gradient; or the logits' logarithms in its place.
    fn head(&self, kernels: Kernels) -> u64 {
        if kernels == Kernels::CpuCodes && self.is_bfloat16 {
            3 * self.hidden * FLOAT32
        } else {
            2 * self.hidden * FLOAT32 + self.hidden * self.product + self.vocabulary * FLOAT32
        }
    }

    /// The larger of what the head's loss and what a block's backward pass hold at once, and the gradient of the embedding before it is
    /// added to the head's.
    fn transient(&self, kernels: Kernels, tokens: u64) -> u64 {
        let Self { hidden, intermediate, vocabulary, .. } = *self;
        let logits = tokens.saturating_mul(vocabulary);
        let loss = if kernels == Kernels::CpuCodes && self.is_bfloat16 {
            logits.min(LOGITS_AT_ONCE.max(32 * vocabulary)) * 2 + 2 * vocabulary * hidden * 2
        } else {
            2 * logits.saturating_mul(FLOAT32)
        };
        // Two gradients of the residual stream; of gate, up and their product in the type of products, once more as operands.
        let block = tokens.saturating_mul(2 * hidden * FLOAT32 + 5 * intermediate * self.product);
        loss.max(block) + vocabulary * hidden * FLOAT32
    }
}

/// Widths of the inputs of attention's projections but the last, each once where it is quantized once, and of what they give: queries,
/// keys and values; where keys and values are latent, these, what they are made of, and the keys put together.
fn attention(model: &ModelConfig, is_inside: bool) -> (usize, usize) {
    let hidden = model.hidden_size;
    match model.attention {
        Attention::GroupedQuery => (if is_inside { 3 * hidden } else { hidden }, hidden + 2 * model.key_value_size()),
        Attention::Latent(latent) => {
            let (query_rank, latents) = (latent.q_lora_rank.unwrap_or(0), latent.kv_lora_rank);
            let heads = model.num_attention_heads * (3 * latent.qk_head_dim() + latent.v_head_dim);
            let inputs = if is_inside { 2 * hidden } else { hidden };
            (inputs + query_rank + latents, heads + 2 * (query_rank + latents) + latent.qk_rope_head_dim)
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
