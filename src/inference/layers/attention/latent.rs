//! Causal attention whose keys and values are expanded from one small vector a position (multi-head latent attention, DeepSeek V2,
//! section 2.1). The cache holds that vector, normed and quantized as `kv_b_proj` reads it, and one turned key for all heads.
//!
//! Keys and values are never expanded: what is linear commutes. A query goes through the transposed key part of `kv_b_proj` into the space
//! of latents, scores and mixes latents there, and the mixed latent goes through the value part (the same paper, section 2.1.2).

use super::pieces::{Heads, Piece, Pieces};
use crate::Result;
use crate::config::{self, ActivationQuantizer, ModelConfig, ProjectionShape};
use crate::dense::{Bf16, Memory, Number, add_scaled, dot};
use crate::inference::layers::cache::{CacheFormat, CacheNumber, LayerCache};
use crate::inference::layers::linear::{BitLinear, apply_before_quantizer, quantize_in_place};
use crate::inference::layers::norm::RmsNorm;
use crate::inference::layers::parallel::for_each_piece;
use crate::inference::layers::workspace::{Buffers, Pass};
use crate::inference::stored::{ProjectionWeights, Weights};

/// The epsilon of the norms over latents, as DeepSeek's models have it, whatever `rms_norm_eps` is.
const LATENT_NORM_EPS: f64 = 1e-6;

/// Every projection, norms over the latents, and a sub-norm before o where the config has one.
#[derive(Debug)]
pub(in crate::inference::layers) struct LatentAttention {
    query: Query,
    kv_a_proj_with_mqa: BitLinear,
    kv_a_layernorm: RmsNorm,
    expansion: Expansion,
    o_proj: BitLinear,
    sub_norm: Option<RmsNorm>,
    sizes: config::LatentAttention,
    num_heads: usize,
}

/// How queries are made: at once, or through a latent of their own.
#[derive(Debug)]
enum Query {
    Direct(BitLinear),
    Squeezed { q_a_proj: BitLinear, q_a_layernorm: RmsNorm, q_b_proj: BitLinear },
}

/// `kv_b_proj`: for each head its key rows, then its value rows, `[heads · (key + value), latent]`.
#[derive(Debug)]
struct Expansion {
    matrix: ExpansionMatrix,
    norm: Option<RmsNorm>,
    activations: ActivationQuantizer,
}

#[derive(Debug)]
enum ExpansionMatrix {
    Codes(Vec<i8>, f32),
    Floats(Vec<f32>),
}

impl LatentAttention {
    pub fn load(weights: &Weights<'_>, prefix: &str, model: &ModelConfig, sizes: config::LatentAttention) -> Result<Self> {
        let [kv_a_proj_with_mqa, o_proj] = BitLinear::load_all(weights, prefix, ["kv_a_proj_with_mqa", "o_proj"], model)?;
        Ok(Self {
            query: Query::load(weights, prefix, model, sizes)?,
            kv_a_proj_with_mqa,
            kv_a_layernorm: RmsNorm::load(weights, &format!("{prefix}.self_attn.kv_a_layernorm"), LATENT_NORM_EPS)?,
            expansion: Expansion::load(weights, prefix, model)?,
            o_proj,
            sub_norm: RmsNorm::load_where(
                model.has_sub_norms(),
                weights,
                &format!("{prefix}.self_attn.attn_sub_norm"),
                model.rms_norm_eps,
            )?,
            sizes,
            num_heads: model.num_attention_heads,
        })
    }

    pub fn forward(&self, norm: Option<&RmsNorm>, pass: &mut Pass<'_, '_>) -> Result<()> {
        self.project(norm, pass)?;
        self.remember(pass);
        match &self.expansion.matrix {
            ExpansionMatrix::Codes(codes, scale) => self.mix(codes, *scale, pass),
            ExpansionMatrix::Floats(floats) => self.mix(floats, 1.0, pass),
        }
        let Buffers { mixed, projected, inputs, .. } = &mut *pass.buffers;
        BitLinear::products([(&self.o_proj, &mut projected[..])], self.sub_norm.as_ref(), mixed, inputs, pass.threads)
    }

    /// Queries, and the latent beside the shared key.
    fn project(&self, norm: Option<&RmsNorm>, pass: &mut Pass<'_, '_>) -> Result<()> {
        let Buffers { residual, query, key, squeezed, inputs, .. } = &mut *pass.buffers;
        let compressed = (&self.kv_a_proj_with_mqa, &mut key[..]);
        match &self.query {
            Query::Direct(q_proj) => BitLinear::products([(q_proj, &mut query[..]), compressed], norm, residual, inputs, pass.threads),
            Query::Squeezed { q_a_proj, q_a_layernorm, q_b_proj } => {
                BitLinear::products([(q_a_proj, &mut squeezed[..]), compressed], norm, residual, inputs, pass.threads)?;
                BitLinear::products([(q_b_proj, &mut query[..])], Some(q_a_layernorm), squeezed, inputs, pass.threads)
            }
        }
    }

    /// Turns queries and the shared key, and puts it and the latent into the caches.
    fn remember(&self, pass: &mut Pass<'_, '_>) {
        let Buffers { query, key, .. } = &mut *pass.buffers;
        let (head_size, latent) = (self.sizes.qk_head_dim(), self.sizes.kv_lora_rank);
        let (query_size, key_size) = (self.num_heads * head_size, latent + self.sizes.qk_rope_head_dim);
        for_each_piece(pass.threads, query, query_size, query_size, |row, query| {
            let heads = query.chunks_exact_mut(head_size);
            heads.for_each(|head| pass.rotary.rotate(row, &mut head[self.sizes.qk_nope_head_dim..]));
        });
        for_each_piece(pass.threads, key, key_size, 4 * key_size, |row, key| {
            let (latent, shared_key) = key.split_at_mut(latent);
            pass.rotary.rotate(row, shared_key);
            self.kv_a_layernorm.apply(latent);
            self.expansion.prepare(latent);
        });
        for (index, row) in pass.rows.iter().enumerate() {
            let (latent, shared_key) = key[index * key_size..][..key_size].split_at(latent);
            let layer = &mut pass.chunks[row.chunk].cache.layers[pass.layer];
            layer.first.write(row.position, latent);
            layer.second.write(row.position, shared_key);
        }
    }

    /// Every query head over the positions up to its own; `matrix` is `kv_b_proj`.
    fn mix<T: Number>(&self, matrix: &[T], scale: f32, pass: &mut Pass<'_, '_>) {
        let Buffers { query, absorbed, latents, mixed, .. } = &mut *pass.buffers;
        let (latent, key, value) = (self.sizes.kv_lora_rank, self.sizes.qk_nope_head_dim, self.sizes.v_head_dim);
        let (head_size, heads, query) = (self.sizes.qk_head_dim(), self.num_heads, &*query);
        let rows_of = |head: usize| matrix[head * (key + value) * latent..].chunks_exact(latent);
        for_each_piece(pass.threads, absorbed, latent, key * latent, |piece, absorbed| {
            absorbed.fill(0.0);
            let query = &query[piece * head_size..][..key];
            query.iter().zip(rows_of(piece % heads)).for_each(|(feature, row)| add_scaled(absorbed, row, feature * scale));
        });
        let (chunks, absorbed) = (&*pass.chunks, &absorbed[..]);
        Pieces::new(pass.rows, self.heads(), pass.threads.num_threads(), latents).for_each(pass.threads, |piece| {
            let layer = &chunks[piece.chunk()].cache.layers[pass.layer];
            match layer.format() {
                CacheFormat::Float32 => self.attend::<f32>(piece, absorbed, query, layer),
                CacheFormat::Bfloat16 => self.attend::<Bf16>(piece, absorbed, query, layer),
            }
        });
        let latents = &*latents;
        for_each_piece(pass.threads, mixed, value, value * latent, |piece, mixed| {
            let latents = &latents[piece * latent..][..latent];
            mixed.iter_mut().zip(rows_of(piece % heads).skip(key)).for_each(|(number, row)| *number = scale * dot(row, latents));
        });
    }

    /// `softmax(query · [latent, shared key] / √head_size) latents`: the query is `[in the space of latents, turned]`.
    fn attend<T: CacheNumber>(&self, piece: Piece<'_>, absorbed: &[f32], query: &[f32], layer: &LayerCache) {
        let (latent, head_size, count) = (self.sizes.kv_lora_rank, self.sizes.qk_head_dim(), piece.num_positions());
        let query = |row: usize, head: usize| {
            let index = row * self.num_heads + head;
            [&absorbed[index * latent..][..latent], &query[index * head_size..][self.sizes.qk_nope_head_dim..head_size]]
        };
        let latents = layer.first.rows::<T>(0, count);
        let memory = |_| Memory { keys: [latents, layer.second.rows(0, count)], values: latents };
        piece.attend(self.heads(), 1.0 / (head_size as f32).sqrt(), query, memory);
    }

    /// All heads share one memory.
    fn heads(&self) -> Heads {
        Heads { count: self.num_heads, group: self.num_heads, width: self.sizes.kv_lora_rank }
    }
}

impl Query {
    fn load(weights: &Weights<'_>, prefix: &str, model: &ModelConfig, sizes: config::LatentAttention) -> Result<Self> {
        if sizes.q_lora_rank.is_none() {
            let [q_proj] = BitLinear::load_all(weights, prefix, ["q_proj"], model)?;
            return Ok(Self::Direct(q_proj));
        }
        let [q_a_proj, q_b_proj] = BitLinear::load_all(weights, prefix, ["q_a_proj", "q_b_proj"], model)?;
        let q_a_layernorm = RmsNorm::load(weights, &format!("{prefix}.self_attn.q_a_layernorm"), LATENT_NORM_EPS)?;
        Ok(Self::Squeezed { q_a_proj, q_a_layernorm, q_b_proj })
    }
}

impl Expansion {
    fn load(weights: &Weights<'_>, prefix: &str, model: &ModelConfig) -> Result<Self> {
        let ProjectionShape { inputs, outputs, .. } = BitLinear::shape_of("kv_b_proj", model)?;
        let name = format!("{prefix}.self_attn.kv_b_proj");
        let matrix = match weights.projection(&format!("{name}.weight"), outputs, inputs)?.weights()? {
            ProjectionWeights::Ternary(matrix) => ExpansionMatrix::Codes(matrix.codes, matrix.scale),
            ProjectionWeights::Floats(floats) => ExpansionMatrix::Floats(floats),
        };
        let is_inside = model.bit_linear.norm.is_inside();
        let norm = RmsNorm::load_where(is_inside, weights, &format!("{name}.norm"), model.rms_norm_eps)?;
        Ok(Self { matrix, norm, activations: model.bit_linear.activations })
    }

    /// A latent as the matrix reads it: normed if the norm is inside, and quantized.
    fn prepare(&self, latent: &mut [f32]) {
        apply_before_quantizer(self.norm.as_ref(), latent);
        quantize_in_place(latent, self.activations);
    }
}
