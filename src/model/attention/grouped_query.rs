//! Causal attention in which groups of query heads share a key and a value head.

use super::heads::{attend, heads};
use crate::config::ModelConfig;
use crate::libtorch::fused;
use crate::model::RotaryTables;
use crate::model::bit_linear::{BitLinear, BitLinearOptions, Input, Projected};
use crate::model::cache::LayerCache;
use crate::model::fast::{Features, has_tiles};
use crate::model::norm::RmsNorm;
use tch::Tensor;
use tch::nn::Path;

/// q, k, v and o as BitLinear, with a sub-norm before o where the config has one.
#[derive(Debug)]
pub struct GroupedQueryAttention {
    q_proj: BitLinear,
    k_proj: BitLinear,
    v_proj: BitLinear,
    o_proj: BitLinear,
    sub_norm: Option<RmsNorm>,
    head_dim: i64,
    is_grouped: bool,
}

impl GroupedQueryAttention {
    /// Parameters `q_proj`, `k_proj`, `v_proj`, `o_proj` and `attn_sub_norm` below `path`.
    pub fn new(path: &Path, model: &ModelConfig, options: BitLinearOptions) -> Self {
        let (hidden, key_value) = (model.hidden_size, model.key_value_size());
        Self {
            q_proj: BitLinear::new(path / "q_proj", hidden, hidden, options),
            k_proj: BitLinear::new(path / "k_proj", hidden, key_value, options),
            v_proj: BitLinear::new(path / "v_proj", hidden, key_value, options),
            o_proj: BitLinear::new(path / "o_proj", hidden, hidden, options),
            sub_norm: model.has_sub_norms().then(|| RmsNorm::new(path / "attn_sub_norm", hidden, model.rms_norm_eps)),
            head_dim: model.head_dim() as i64,
            is_grouped: model.num_key_value_heads != model.num_attention_heads,
        }
    }

    /// As [`super::Attention::forward`] has it. A cache holds turned keys, and values.
    pub fn forward(&self, input: Input<'_>, rotary: &RotaryTables, cache: Option<&mut LayerCache>) -> Projected<'_> {
        let [query, key, value] = BitLinear::forward_all([&self.q_proj, &self.k_proj, &self.v_proj], input);
        let mixed = match cache {
            None if has_tiles(&query, query.kind()) => {
                let (cosines, sines) = rotary.tables();
                fused::causal_attention(&query, &key, &value, cosines, sines, self.head_dim)
            }
            cache => self.plain_attention([&query, &key, &value], rotary, cache),
        };
        Projected { layer: &self.o_proj, features: Features::Plain(mixed), norm: self.sub_norm.as_ref(), pass: input.pass }
    }

    /// Attention in libtorch's operations: `[batch, sequence, hidden]`.
    fn plain_attention(&self, projected: [&Tensor; 3], rotary: &RotaryTables, cache: Option<&mut LayerCache>) -> Tensor {
        let start = cache.as_ref().map_or(0, |cache| cache.num_positions());
        let [query, key, value] = projected.map(|features| heads(features, self.head_dim));
        let (query, new) = (rotary.rotate(&query, start), [rotary.rotate(&key, start), value]);
        let [key, value] = match cache {
            Some(cache) => cache.extended_by(new),
            None => new,
        };
        attend(&query, &key, &value, self.is_grouped)
    }

    /// The BitLinear layers, with the names they have in a file.
    pub fn projections(&self) -> [(&'static str, &BitLinear); 4] {
        [("q_proj", &self.q_proj), ("k_proj", &self.k_proj), ("v_proj", &self.v_proj), ("o_proj", &self.o_proj)]
    }
}
