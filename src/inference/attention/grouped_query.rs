//! Causal attention in which groups of query heads share a key and a value head. The cache holds turned keys, and values.

use super::softmax::attend;
use super::sub_norm;
use crate::Result;
use crate::config::ModelConfig;
use crate::inference::cache::Rows;
use crate::inference::linear::BitLinear;
use crate::inference::norm::RmsNorm;
use crate::inference::number::{Number, dot};
use crate::inference::parallel::for_each_piece;
use crate::inference::weights::Weights;
use crate::inference::workspace::{Buffers, Pass};

/// q, k, v and o, with a sub-norm before o where the config has one.
#[derive(Debug)]
pub(in crate::inference) struct GroupedQueryAttention {
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
            sub_norm: sub_norm(weights, prefix, model)?,
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
        for (index, row) in pass.rows.iter().enumerate() {
            let query = &mut query[index * self.num_heads * self.head_dim..][..self.num_heads * self.head_dim];
            let (key, value) = (&mut key[index * width..][..width], &value[index * width..][..width]);
            query
                .chunks_exact_mut(self.head_dim)
                .chain(key.chunks_exact_mut(self.head_dim))
                .for_each(|head| pass.rotary.rotate(index, head));
            let layer = &mut pass.chunks[row.chunk].cache.layers[pass.layer];
            layer.first.write(row.position, key);
            layer.second.write(row.position, value);
        }
    }

    /// Every query head over the positions up to its own.
    fn mix(&self, pass: &mut Pass<'_, '_>) {
        let Buffers { query, mixed, .. } = &mut *pass.buffers;
        let (chunks, rows, query, size) = (&*pass.chunks, pass.rows, &*query, self.head_dim);
        let longest = rows.iter().map(|row| row.position + 1).max().unwrap_or(0);
        for_each_piece(pass.threads, mixed, size, 2 * longest * size, |piece, mixed| {
            let (row, head) = (rows[piece / self.num_heads], piece % self.num_heads);
            let (layer, count) = (&chunks[row.chunk].cache.layers[pass.layer], row.position + 1);
            let query = &query[piece * size..][..size];
            match (layer.first.rows(head / self.group, count), layer.second.rows(head / self.group, count)) {
                (Rows::Float32(keys), Rows::Float32(values)) => attend_head(query, keys, values, mixed),
                (Rows::Bfloat16(keys), Rows::Bfloat16(values)) => attend_head(query, keys, values, mixed),
                _ => {} // both stores of a cache have one format
            }
        });
    }
}

/// `softmax(query keysᵀ / √size) values`.
fn attend_head<T: Number>(query: &[f32], keys: &[T], values: &[T], mixed: &mut [f32]) {
    let (size, scale) = (query.len(), 1.0 / (query.len() as f32).sqrt());
    attend(keys.len() / size, |index| scale * dot(&keys[index * size..][..size], query), values, mixed);
}
