//! Which parameters a decoder has: names, as Hugging Face has them, and shapes. `model` makes them; that both agree is a test's business.

use super::{Attention, LatentAttention, ModelConfig, NormPlacement};

/// A matrix `[outputs, inputs]` of one block that the weight quantizer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectionShape {
    /// Below the block: `self_attn.q_proj`.
    pub name: &'static str,
    /// Features that it reads.
    pub inputs: usize,
    /// Features that it writes.
    pub outputs: usize,
}

/// Names of published models, and ours for the same tensors: 1bitLLM's sub-norms.
const RENAMED: [(&str, &str); 2] =
    [(".self_attn.inner_attn_ln.", ".self_attn.attn_sub_norm."), (".mlp.ffn_layernorm.", ".mlp.ffn_sub_norm.")];

/// Our name for a tensor of a published model.
pub fn parameter_name(name: &str) -> String {
    RENAMED.iter().fold(name.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours))
}

impl ModelConfig {
    /// Width of one attention head that shares keys in groups.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Width of all key heads together, which is also that of all value heads, where heads share keys in groups.
    pub fn key_value_size(&self) -> usize {
        self.num_key_value_heads * self.head_dim()
    }

    /// Features of a head that rotary positions turn.
    pub fn rotary_dim(&self) -> usize {
        match self.attention {
            Attention::GroupedQuery => self.head_dim(),
            Attention::Latent(latent) => latent.qk_rope_head_dim,
        }
    }

    /// What attention gives to its output projection.
    pub fn attention_size(&self) -> usize {
        match self.attention {
            Attention::GroupedQuery => self.hidden_size,
            Attention::Latent(latent) => self.num_attention_heads * latent.v_head_dim,
        }
    }

    /// Features of a query and of a value head together: what a pair of positions costs.
    pub(super) fn query_and_value_dim(&self) -> usize {
        match self.attention {
            Attention::GroupedQuery => 2 * self.head_dim(),
            Attention::Latent(latent) => latent.qk_head_dim() + latent.v_head_dim,
        }
    }

    /// Whether norms stand before the output and down projections.
    pub fn has_sub_norms(&self) -> bool {
        self.sub_norms && !self.bit_linear.norm.is_inside()
    }

    /// The projections of attention, in the order of a forward pass.
    pub fn attention_projections(&self) -> Vec<ProjectionShape> {
        let (hidden, shared) = (self.hidden_size, self.key_value_size());
        let mut shapes = match self.attention {
            Attention::GroupedQuery => vec![
                shape("self_attn.q_proj", hidden, hidden),
                shape("self_attn.k_proj", hidden, shared),
                shape("self_attn.v_proj", hidden, shared),
            ],
            Attention::Latent(latent) => self.latent_projections(latent),
        };
        shapes.push(shape("self_attn.o_proj", self.attention_size(), hidden));
        shapes
    }

    fn latent_projections(&self, latent: LatentAttention) -> Vec<ProjectionShape> {
        let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
        let queries = heads * latent.qk_head_dim();
        let mut shapes = match latent.q_lora_rank {
            Some(rank) => vec![shape("self_attn.q_a_proj", hidden, rank), shape("self_attn.q_b_proj", rank, queries)],
            None => vec![shape("self_attn.q_proj", hidden, queries)],
        };
        shapes.push(shape("self_attn.kv_a_proj_with_mqa", hidden, latent.kv_lora_rank + latent.qk_rope_head_dim));
        shapes.push(shape("self_attn.kv_b_proj", latent.kv_lora_rank, heads * (latent.qk_nope_head_dim + latent.v_head_dim)));
        shapes
    }

    /// The projections of one block, in the order of a forward pass.
    pub fn projections(&self) -> Vec<ProjectionShape> {
        let (hidden, intermediate) = (self.hidden_size, self.intermediate_size);
        let mut shapes = self.attention_projections();
        shapes.extend([
            shape("mlp.gate_proj", hidden, intermediate),
            shape("mlp.up_proj", hidden, intermediate),
            shape("mlp.down_proj", intermediate, hidden),
        ]);
        shapes
    }

    /// The norms of one block by name below it, with their sizes.
    pub fn norms(&self) -> Vec<(String, usize)> {
        let mut norms: Vec<(String, usize)> = match self.bit_linear.norm {
            NormPlacement::Outside => {
                ["input_layernorm", "post_attention_layernorm"].map(|name| (name.to_string(), self.hidden_size)).to_vec()
            }
            NormPlacement::Inside => self.projections().iter().map(|shape| (format!("{}.norm", shape.name), shape.inputs)).collect(),
        };
        if self.has_sub_norms() {
            norms.push(("self_attn.attn_sub_norm".into(), self.attention_size()));
            norms.push(("mlp.ffn_sub_norm".into(), self.intermediate_size));
        }
        if let Attention::Latent(latent) = self.attention {
            norms.extend(latent.q_lora_rank.map(|rank| ("self_attn.q_a_layernorm".into(), rank)));
            norms.push(("self_attn.kv_a_layernorm".into(), latent.kv_lora_rank));
        }
        norms
    }

    /// Every parameter by its whole name, with its shape; matrices are `[outputs, inputs]`, norms have one axis.
    pub fn parameter_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let table = vec![self.vocab_size, self.hidden_size];
        let mut shapes = vec![("model.embed_tokens.weight".to_string(), table.clone())];
        let (projections, norms) = (self.projections(), self.norms());
        for layer in 0..self.num_hidden_layers {
            let whole = |name: &str| format!("model.layers.{layer}.{name}.weight");
            shapes.extend(projections.iter().map(|shape| (whole(shape.name), vec![shape.outputs, shape.inputs])));
            shapes.extend(norms.iter().map(|(name, size)| (whole(name), vec![*size])));
        }
        shapes.push(("model.norm.weight".into(), vec![self.hidden_size]));
        if !self.tie_word_embeddings {
            shapes.push(("lm_head.weight".into(), table));
        }
        shapes
    }

    /// Trainable numbers: embedding, head unless tied, projections and norms.
    pub fn num_parameters(&self) -> usize {
        let embeddings = self.vocab_size * self.hidden_size * if self.tie_word_embeddings { 1 } else { 2 };
        embeddings + self.num_hidden_layers * (self.num_ternary_per_layer() + self.num_norm_per_layer()) + self.hidden_size
    }

    /// Weights of one block that the weight quantizer sees.
    pub fn num_ternary_per_layer(&self) -> usize {
        self.projections().iter().map(|shape| shape.inputs * shape.outputs).sum()
    }

    /// Norm weights of one block.
    pub fn num_norm_per_layer(&self) -> usize {
        self.norms().iter().map(|(_, size)| size).sum()
    }
}

fn shape(name: &'static str, inputs: usize, outputs: usize) -> ProjectionShape {
    ProjectionShape { name, inputs, outputs }
}
