//! Causal attention in which groups of query heads share a key and a value head.

use crate::config::{ModelConfig, NormPlacement};
use crate::libtorch::{Rows, fused};
use crate::model::RotaryTables;
use crate::model::bit_linear::{BitLinear, BitLinearOptions};
use crate::model::fast::has_tiles;
use crate::model::norm::RmsNorm;
use tch::nn::Path;
use tch::{Device, Kind, Tensor};

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
        let has_sub_norm = model.sub_norms && model.bit_linear.norm == NormPlacement::Outside;
        Self {
            q_proj: BitLinear::new(path / "q_proj", hidden, hidden, options),
            k_proj: BitLinear::new(path / "k_proj", hidden, key_value, options),
            v_proj: BitLinear::new(path / "v_proj", hidden, key_value, options),
            o_proj: BitLinear::new(path / "o_proj", hidden, hidden, options),
            sub_norm: has_sub_norm.then(|| RmsNorm::new(path / "attn_sub_norm", hidden, model.rms_norm_eps)),
            head_dim: model.head_dim() as i64,
            is_grouped: model.num_key_value_heads != model.num_attention_heads,
        }
    }

    /// The residual stream `[batch, sequence, hidden]`, behind `norm`, to the same with what was attended to added; position t sees
    /// positions 0 to t.
    pub fn forward(&self, norm: Option<&RmsNorm>, residual: &Tensor, rotary: &RotaryTables) -> Tensor {
        let [query, key, value] = BitLinear::forward_all([&self.q_proj, &self.k_proj, &self.v_proj], norm, residual);
        let mixed = match has_tiles(&query, query.kind()) {
            true => {
                let (cosines, sines) = rotary.tables();
                fused::causal_attention(&query, &key, &value, cosines, sines, self.head_dim)
            }
            false => self.plain_attention(&query, &key, &value, rotary),
        };
        self.o_proj.add_to(residual, self.sub_norm.as_ref(), Rows::Plain(&mixed))
    }

    /// Attention in libtorch's operations: `[batch, sequence, hidden]`.
    fn plain_attention(&self, query: &Tensor, key: &Tensor, value: &Tensor, rotary: &RotaryTables) -> Tensor {
        let query = rotary.rotate(&self.heads(query), 0);
        let key = rotary.rotate(&self.heads(key), 0);
        let value = self.heads(value);
        let mixed = Tensor::scaled_dot_product_attention(&query, &key, &value, None::<&Tensor>, 0.0, true, None, self.is_grouped);
        mixed.transpose(1, 2).flatten(2, 3)
    }

    /// The BitLinear layers, with the names they have in a file.
    pub fn projections(&self) -> [(&'static str, &BitLinear); 4] {
        [("q_proj", &self.q_proj), ("k_proj", &self.k_proj), ("v_proj", &self.v_proj), ("o_proj", &self.o_proj)]
    }

    /// `[batch, sequence, heads · head_dim]` to `[batch, heads, sequence, head_dim]`.
    fn heads(&self, features: &Tensor) -> Tensor {
        // On the CPU, attention in bfloat16 takes twice as long as in float32 (64 x 64 tokens), eight times for 64 x 16.
        let features = if features.device() == Device::Cpu { features.to_kind(Kind::Float) } else { features.shallow_clone() };
        features.unflatten(-1, [-1, self.head_dim]).transpose(1, 2)
    }
}
