//! How positions exchange information: one file a variant, and the choice between them.

mod grouped_query;
mod heads;
mod latent;

use super::RotaryTables;
use super::bit_linear::{BitLinear, BitLinearOptions};
use super::cache::LayerCache;
use super::norm::RmsNorm;
use crate::config::{self, ModelConfig};
use grouped_query::GroupedQueryAttention;
use latent::LatentAttention;
use tch::Tensor;
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

    /// The residual stream `[batch, sequence, hidden]`, behind `norm`, to the same with what was attended to added; a position sees itself
    /// and those before it, the ones that `cache` holds first of all.
    pub fn forward(&self, norm: Option<&RmsNorm>, residual: &Tensor, rotary: &RotaryTables, cache: Option<&mut LayerCache>) -> Tensor {
        match self {
            Self::GroupedQuery(attention) => attention.forward(norm, residual, rotary, cache),
            Self::Latent(attention) => attention.forward(norm, residual, rotary, cache),
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
