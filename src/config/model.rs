//! The decoder's shape and quantizers, under the key names that Hugging Face uses. `shapes` says which parameters follow
//! from them.

use serde::{Deserialize, Serialize};

/// The decoder. Keys that exist in a Hugging Face `config.json` have the name they have there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Rows of the embedding; at least the tokenizer's size.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width between the feed-forward projections.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads; their size is `hidden_size / num_attention_heads`, unless attention is latent.
    pub num_attention_heads: usize,
    /// Key and value heads; a divisor of `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// The longest sequence that the rotary tables cover, in tokens.
    pub max_position_embeddings: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Added to the mean square inside every norm.
    pub rms_norm_eps: f64,
    /// Activation of the gated feed-forward network.
    pub hidden_act: Activation,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
    /// Standard deviation of every initial matrix.
    pub initializer_range: f64,
    /// How positions exchange information: a word, or one key over its settings.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub attention: Attention,
    /// Whether norms stand before the output and down projections.
    pub sub_norms: bool,
    /// What every projection computes with.
    pub bit_linear: BitLinearConfig,
}

/// What a BitLinear computes with: both quantizers, and where its norm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitLinearConfig {
    /// Quantizer of the weight matrix.
    pub weights: WeightQuantizer,
    /// Quantizer of the input, per token.
    pub activations: ActivationQuantizer,
    /// Whether each projection norms its own input, or the block does it once.
    pub norm: NormPlacement,
}

/// Quantizer of a weight matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightQuantizer {
    /// -1, 0, +1 times the mean absolute weight (BitNet b1.58).
    TernaryAbsmean,
    /// -1, +1 around the mean (BitNet b1).
    Sign,
    /// Full precision.
    None,
}

impl WeightQuantizer {
    /// Whether it makes codes of weights, rather than leaving them as they are.
    pub fn has_codes(self) -> bool {
        match self {
            Self::TernaryAbsmean | Self::Sign => true,
            Self::None => false,
        }
    }
}

/// Quantizer of an activation vector, one scale a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivationQuantizer {
    /// 8 bits, scaled by the largest magnitude (BitNet b1.58).
    Int8Absmax,
    /// 4 bits, scaled by the mean magnitude (BitNet a4.8).
    Int4Absmean,
    /// Full precision.
    None,
}

impl ActivationQuantizer {
    /// As configs name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8Absmax => "int8_absmax",
            Self::Int4Absmean => "int4_absmean",
            Self::None => "none",
        }
    }
}

/// Where the norm of a projection's input stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormPlacement {
    /// Inside every BitLinear, a norm for each (the training tips' BitLinear).
    Inside,
    /// In the block, before the projections that share an input (2B-4T and the LLaMA layout).
    Outside,
}

impl NormPlacement {
    /// Whether each projection has a norm of its own.
    pub fn is_inside(self) -> bool {
        match self {
            Self::Inside => true,
            Self::Outside => false,
        }
    }
}

/// How positions exchange information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Attention {
    /// Query heads share key and value heads in groups.
    GroupedQuery,
    /// Keys and values are expanded from one small vector a position (DeepSeek V2, section 2.1).
    Latent(LatentAttention),
}

/// The sizes of multi-head latent attention, under the names that Hugging Face's DeepSeek models have for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentAttention {
    /// Width that queries are squeezed through; null for a single projection.
    pub q_lora_rank: Option<usize>,
    /// Width of the vector that keys and values are expanded from; with `qk_rope_head_dim`, all that a cache holds.
    pub kv_lora_rank: usize,
    /// Features of a query and key head without positions.
    pub qk_nope_head_dim: usize,
    /// Features of a query head that rotary positions turn; one key of that width serves all heads.
    pub qk_rope_head_dim: usize,
    /// Features of a value head.
    pub v_head_dim: usize,
}

impl LatentAttention {
    /// Features of a query or key head.
    pub fn qk_head_dim(&self) -> usize {
        self.qk_nope_head_dim + self.qk_rope_head_dim
    }
}

/// Activation of the gated feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Squared ReLU.
    Relu2,
    /// x times the logistic function of x.
    Silu,
}

/// Gives an enum of variants the array of its values; the match names the value that is missing there.
macro_rules! all_values {
    ($($name:ident: $($value:ident),+;)*) => {$(
        impl $name {
            /// Every value, for tests of all of them.
            pub const ALL: &[Self] = &[$(Self::$value),+];
        }

        const _: fn($name) = |value| match value {
            $($name::$value)|+ => (),
        };
    )*};
}

all_values! {
    WeightQuantizer: TernaryAbsmean, Sign, None;
    ActivationQuantizer: Int8Absmax, Int4Absmean, None;
    NormPlacement: Inside, Outside;
    Activation: Relu2, Silu;
}
