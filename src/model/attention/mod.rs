//! How positions exchange information: one file a variant, the choice between them, and the product that both share.

mod grouped_query;
mod latent;

use super::RotaryTables;
use super::bit_linear::{BitLinear, BitLinearOptions, Input, Projected};
use super::cache::LayerCache;
use crate::config::{self, ModelConfig};
use grouped_query::GroupedQueryAttention;
use latent::LatentAttention;
use tch::nn::Path;
use tch::{Device, Kind, Tensor};

/// The attention of one block.
#[derive(Debug)]
pub enum Attention {
    GroupedQuery(GroupedQueryAttention),
    Latent(LatentAttention),
}

impl Attention {
    /// What `model` asks for, with its parameters below `path`.
    pub fn new(path: &Path, model: &ModelConfig, options: BitLinearOptions) -> Self {
        match model.attention {
            config::Attention::GroupedQuery => Self::GroupedQuery(GroupedQueryAttention::new(path, model, options)),
            config::Attention::Latent(sizes) => Self::Latent(LatentAttention::new(path, model, sizes, options)),
        }
    }

    /// `[batch, sequence, hidden]` to what is added to the residual stream; a position sees itself and those before it, the ones that
    /// `cache` holds first of all.
    pub fn forward(&self, input: Input<'_>, rotary: &RotaryTables, cache: Option<&mut LayerCache>) -> Projected<'_> {
        match self {
            Self::GroupedQuery(attention) => attention.forward(input, rotary, cache),
            Self::Latent(attention) => attention.forward(input, rotary, cache),
        }
    }

    /// The BitLinear layers, with the names they have in a file.
    pub fn projections(&self) -> Vec<(&'static str, &BitLinear)> {
        match self {
            Self::GroupedQuery(attention) => attention.projections().to_vec(),
            Self::Latent(attention) => attention.projections(),
        }
    }
}

/// `softmax(query keyᵀ / √size) value`, all `[batch, heads, positions, size]`, to `[batch, sequence, heads · size]`. The queries are those of
/// the last positions, and each sees the positions up to its own; keys and values may have fewer heads where `is_grouped`.
fn attend(query: &Tensor, key: &Tensor, value: &Tensor, is_grouped: bool) -> Tensor {
    let (sequence, positions) = (query.size()[2], key.size()[2]);
    let is_whole = sequence == positions;
    let mask =
        (!is_whole && sequence > 1).then(|| Tensor::ones([sequence, positions], (Kind::Bool, query.device())).tril(positions - sequence));
    let mixed = Tensor::scaled_dot_product_attention(query, key, value, mask.as_ref(), 0.0, is_whole, None, is_grouped);
    mixed.transpose(1, 2).flatten(2, 3)
}

/// `[batch, sequence, heads · size]` to `[batch, heads, sequence, size]`, in the type that attention is computed in.
fn heads(features: &Tensor, size: i64) -> Tensor {
    // On the CPU, attention in bfloat16 takes twice as long as in float32 (64 x 64 tokens), eight times for 64 x 16.
    let features = if features.device() == Device::Cpu { features.to_kind(Kind::Float) } else { features.shallow_clone() };
    features.unflatten(-1, [-1, size]).transpose(1, 2)
}
