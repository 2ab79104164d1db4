//! How positions exchange information: one file a variant, and the choice between them.

mod grouped_query;
mod heads;
mod latent;

use super::RotaryTables;
use super::bit_linear::{BitLinear, BitLinearOptions, Input, Projected};
use super::cache::LayerCache;
use crate::config::{self, ModelConfig};
use grouped_query::GroupedQueryAttention;
use latent::LatentAttention;
use tch::nn::Path;

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
