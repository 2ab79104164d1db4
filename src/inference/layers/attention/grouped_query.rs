//! Causal attention in which groups of query heads share a key and a value head. The cache holds turned keys, and values.

use super::pieces::{Heads, Piece, Pieces};
use crate::Result;
use crate::config::ModelConfig;
use crate::dense::{Bf16, Memory};
use crate::inference::layers::cache::{CacheFormat, CacheNumber, LayerCache};
use crate::inference::layers::linear::BitLinear;
use crate::inference::layers::norm::RmsNorm;
use crate::inference::layers::parallel::for_each_piece;
use crate::inference::layers::workspace::{Buffers, Pass};
use crate::inference::stored::Weights;

/// Multiplications a feature that turning it is about worth.
const OPERATIONS: usize = 4;

/// q, k, v and o, with a sub-norm before o where the config has one.
#[derive(Debug)]
pub(in crate::inference::layers) struct GroupedQueryAttention {
    q_proj: BitLinear,
    k_proj: BitLinear,
    v_proj: BitLinear,
    o_proj: BitLinear,
    sub_norm: Option<RmsNorm>,
    head_dim: usize,
    num_heads: usize,
    group: usize,
}

impl GroupedQueryAttention {
    pub fn load(weights: &Weights<'_>, prefix: &str, model: &ModelConfig) -> Result<Self> {
        let [q_proj, k_proj, v_proj, o_proj] = BitLinear::load_all(weights, prefix, ["q_proj", "k_proj", "v_proj", "o_proj"], model)?;
        Ok(Self {
            q_proj,
            k_proj,
            v_proj,
            o_proj,
            sub_norm: RmsNorm::load_where(
                model.has_sub_norms(),
                weights,
                &format!("{prefix}.self_attn.attn_sub_norm"),
                model.rms_norm_eps,
            )?,
            head_dim: model.head_dim(),
            num_heads: model.num_attention_heads,
            group: model.num_attention_heads / model.num_key_value_heads,
        })
    }

    pub fn forward(&self, norm: Option<&RmsNorm>, pass: &mut Pass<'_, '_>) -> Result<()> {
        let Buffers { residual, query, key, value, inputs, .. } = &mut *pass.buffers;
        let layers = [(&self.q_proj, &mut query[..]), (&self.k_proj, &mut key[..]), (&self.v_proj, &mut value[..])];
        BitLinear::products(layers, norm, residual, inputs, pass.threads)?;
        self.remember(pass);
        self.mix(pass);
        let Buffers { mixed, projected, inputs, .. } = &mut *pass.buffers;
        BitLinear::products([(&self.o_proj, &mut projected[..])], self.sub_norm.as_ref(), mixed, inputs, pass.threads)
    }

    /// Turns queries and keys, and puts keys and values into the caches.
    fn remember(&self, pass: &mut Pass<'_, '_>) {
        let Buffers { query, key, value, .. } = &mut *pass.buffers;
        let width = self.num_heads / self.group * self.head_dim;
        let turn = |row: usize, heads: &mut [f32]| heads.chunks_exact_mut(self.head_dim).for_each(|head| pass.rotary.rotate(row, head));
        let query_width = self.num_heads * self.head_dim;
        for_each_piece(pass.threads, query, query_width, OPERATIONS * query_width, turn);
        for_each_piece(pass.threads, key, width, OPERATIONS * width, turn);
        for (index, row) in pass.rows.iter().enumerate() {
            let (key, value) = (&key[index * width..][..width], &value[index * width..][..width]);
            let layer = &mut pass.chunks[row.chunk].cache.layers[pass.layer];
            layer.first.write(row.position, key);
            layer.second.write(row.position, value);
        }
    }

    /// Every query head over the positions up to its own.
    fn mix(&self, pass: &mut Pass<'_, '_>) {
        let Buffers { query, mixed, .. } = &mut *pass.buffers;
        let (chunks, query) = (&*pass.chunks, &query[..]);
        Pieces::new(pass.rows, self.heads(), pass.threads.num_threads(), mixed).for_each(pass.threads, |piece| {
            let layer = &chunks[piece.chunk()].cache.layers[pass.layer];
            match layer.format() {
                CacheFormat::Float32 => self.attend::<f32>(piece, query, layer),
                CacheFormat::Bfloat16 => self.attend::<Bf16>(piece, query, layer),
            }
        });
    }

    /// `softmax(query keysᵀ / √size) values`.
    fn attend<T: CacheNumber>(&self, piece: Piece<'_>, query: &[f32], layer: &LayerCache) {
        let (size, count) = (self.head_dim, piece.num_positions());
        let query = |row: usize, head: usize| -> [&[f32]; 2] { [&query[(row * self.num_heads + head) * size..][..size], &[]] };
        let memory = |group: usize| Memory { keys: [layer.first.rows::<T>(group, count), &[]], values: layer.second.rows(group, count) };
        piece.attend(self.heads(), 1.0 / (size as f32).sqrt(), query, memory);
    }

    fn heads(&self) -> Heads {
        Heads { count: self.num_heads, group: self.group, width: self.head_dim }
    }
}
