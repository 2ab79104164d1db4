//! How positions exchange information, over what caches hold: one file a variant, and the choice between them.

mod grouped_query;
mod latent;
mod pieces;

use super::norm::RmsNorm;
use super::workspace::Pass;
use crate::Result;
use crate::config::{self, ModelConfig};
use crate::inference::stored::Weights;
use grouped_query::GroupedQueryAttention;
use latent::LatentAttention;

/// The attention of one block.
#[derive(Debug)]
pub(super) enum Attention {
    GroupedQuery(Box<GroupedQueryAttention>),
    Latent(Box<LatentAttention>),
}

impl Attention {
    /// The attention of the block `prefix`, such as `model.layers.0`.
    pub fn load(weights: &Weights<'_>, prefix: &str, model: &ModelConfig) -> Result<Self> {
        Ok(match model.attention {
            config::Attention::GroupedQuery => Self::GroupedQuery(Box::new(GroupedQueryAttention::load(weights, prefix, model)?)),
            config::Attention::Latent(sizes) => Self::Latent(Box::new(LatentAttention::load(weights, prefix, model, sizes)?)),
        })
    }

    /// Adds what each row of the residual stream, behind `norm`, attends to in its own text: itself and the positions before it. The
    /// caches hold the new positions from then on.
    pub fn forward(&self, norm: Option<&RmsNorm>, pass: &mut Pass<'_, '_>) -> Result<()> {
        match self {
            Self::GroupedQuery(attention) => attention.forward(norm, pass)?,
            Self::Latent(attention) => attention.forward(norm, pass)?,
        }
        pass.buffers.add_projected(pass.threads);
        Ok(())
    }
}
