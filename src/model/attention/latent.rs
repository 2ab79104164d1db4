//! Causal attention whose keys and values are expanded from one small vector a position (multi-head latent attention, DeepSeek V2,
//! section 2.1): a cache holds that vector and one turned key for all heads.

use super::heads::{attend, heads};
use crate::config::{self, ModelConfig};
use crate::model::RotaryTables;
use crate::model::bit_linear::{BitLinear, BitLinearOptions, Input, Projected};
use crate::model::cache::LayerCache;
use crate::model::fast::Features;
use crate::model::norm::RmsNorm;
use crate::model::pass::Pass;
use tch::Tensor;
use tch::nn::{Module, Path};

/// The epsilon of the norms over latents, as DeepSeek's models have it, whatever `rms_norm_eps` is.
const LATENT_NORM_EPS: f64 = 1e-6;

/// Every projection as BitLinear, norms over the latents, and a sub-norm before o where the config has one.
#[derive(Debug)]
pub struct LatentAttention {
    query: Query,
    kv_a_proj_with_mqa: BitLinear,
    kv_a_layernorm: RmsNorm,
    kv_b_proj: BitLinear,
    o_proj: BitLinear,
    sub_norm: Option<RmsNorm>,
    sizes: Sizes,
}

/// How queries are made: at once, or through a latent of their own.
#[derive(Debug)]
enum Query {
    Direct(BitLinear),
    Squeezed { q_a_proj: BitLinear, q_a_layernorm: RmsNorm, q_b_proj: BitLinear },
}

/// Features of a head without and with positions, and of a value head.
#[derive(Debug)]
struct Sizes {
    latent: i64,
    plain: i64,
    turned: i64,
    value: i64,
}

impl LatentAttention {
    /// Parameters below `path`, under the names of [`ModelConfig::parameter_shapes`].
    pub fn new(path: &Path, model: &ModelConfig, sizes: config::LatentAttention, options: BitLinearOptions) -> Self {
        let (hidden, latent, count) = (model.hidden_size, sizes.kv_lora_rank, model.num_attention_heads);
        let expanded = count * (sizes.qk_nope_head_dim + sizes.v_head_dim);
        let norm = |name: &str, size| RmsNorm::new(path / name, size, LATENT_NORM_EPS);
        Self {
            query: Query::new(path, hidden, count * sizes.qk_head_dim(), sizes.q_lora_rank, options),
            kv_a_proj_with_mqa: BitLinear::new(path / "kv_a_proj_with_mqa", hidden, latent + sizes.qk_rope_head_dim, options),
            kv_a_layernorm: norm("kv_a_layernorm", latent),
            kv_b_proj: BitLinear::new(path / "kv_b_proj", latent, expanded, options),
            o_proj: BitLinear::new(path / "o_proj", model.attention_size(), hidden, options),
            sub_norm: model.has_sub_norms().then(|| RmsNorm::new(path / "attn_sub_norm", model.attention_size(), model.rms_norm_eps)),
            sizes: Sizes {
                latent: latent as i64,
                plain: sizes.qk_nope_head_dim as i64,
                turned: sizes.qk_rope_head_dim as i64,
                value: sizes.v_head_dim as i64,
            },
        }
    }

    /// As [`super::Attention::forward`] has it. A cache holds the normed latents and the turned shared key.
    pub fn forward(&self, input: Input<'_>, rotary: &RotaryTables, cache: Option<&mut LayerCache>) -> Projected<'_> {
        let start = cache.as_ref().map_or(0, |cache| cache.num_positions());
        let (query, compressed) = self.query.with_compressed(&self.kv_a_proj_with_mqa, input);
        let compressed = compressed.split_with_sizes([self.sizes.latent, self.sizes.turned], -1);
        let new = [self.kv_a_layernorm.forward(&compressed[0]), rotary.rotate(&heads(&compressed[1], self.sizes.turned), start)];
        let [latent, shared_key] = match cache {
            Some(cache) => cache.extended_by(new),
            None => new,
        };
        let (key, value) = self.expanded(&latent, &shared_key, input.pass);
        let mixed = self.attend(&self.turned_query(&query, rotary, start), &key, &value);
        Projected { layer: &self.o_proj, features: Features::Plain(mixed), norm: self.sub_norm.as_ref(), pass: input.pass }
    }

    /// Heads of queries, with their last features turned.
    fn turned_query(&self, query: &Tensor, rotary: &RotaryTables, start: usize) -> Tensor {
        let parts = heads(query, self.sizes.plain + self.sizes.turned).split_with_sizes([self.sizes.plain, self.sizes.turned], -1);
        Tensor::cat(&[&parts[0], &rotary.rotate(&parts[1], start)], -1)
    }

    /// Keys and values of every head: latents `[batch, positions, latent]` and the shared key `[batch, 1, positions, turned]` to
    /// `[batch, heads, positions, plain + turned]` and `[batch, heads, positions, value]`.
    fn expanded(&self, latent: &Tensor, shared_key: &Tensor, pass: Pass) -> (Tensor, Tensor) {
        let [features] = BitLinear::forward_all([&self.kv_b_proj], Input { pass, ..Input::from(latent) });
        let features = heads(&features, self.sizes.plain + self.sizes.value);
        let [plain, value] =
            [(0, self.sizes.plain), (self.sizes.plain, self.sizes.value)].map(|(start, size)| features.narrow(-1, start, size));
        let count = plain.size()[1];
        (Tensor::cat(&[&plain, &shared_key.expand([-1, count, -1, -1], false)], -1), value)
    }

    /// [`attend`], with values made as wide as keys: libtorch's attention without a square matrix wants both alike.
    fn attend(&self, query: &Tensor, key: &Tensor, value: &Tensor) -> Tensor {
        let missing = self.sizes.plain + self.sizes.turned - self.sizes.value;
        if missing <= 0 {
            return attend(query, key, value, false);
        }
        let mixed = attend(query, key, &value.constant_pad_nd([0, missing]), false);
        mixed.unflatten(-1, [-1, self.sizes.value + missing]).narrow(-1, 0, self.sizes.value).flatten(-2, -1)
    }

    /// The BitLinear layers, with the names they have in a file.
    pub fn projections(&self) -> Vec<(&'static str, &BitLinear)> {
        let mut projections = match &self.query {
            Query::Direct(q_proj) => vec![("q_proj", q_proj)],
            Query::Squeezed { q_a_proj, q_b_proj, .. } => vec![("q_a_proj", q_a_proj), ("q_b_proj", q_b_proj)],
        };
        projections.push(("kv_a_proj_with_mqa", &self.kv_a_proj_with_mqa));
        projections.push(("kv_b_proj", &self.kv_b_proj));
        projections.push(("o_proj", &self.o_proj));
        projections
    }
}

impl Query {
    fn new(path: &Path, hidden: usize, queries: usize, rank: Option<usize>, options: BitLinearOptions) -> Self {
        let Some(rank) = rank else {
            return Self::Direct(BitLinear::new(path / "q_proj", hidden, queries, options));
        };
        Self::Squeezed {
            q_a_proj: BitLinear::new(path / "q_a_proj", hidden, rank, options),
            q_a_layernorm: RmsNorm::new(path / "q_a_layernorm", rank, LATENT_NORM_EPS),
            q_b_proj: BitLinear::new(path / "q_b_proj", rank, queries, options),
        }
    }

    /// Queries, `[batch, sequence, heads · (plain + turned)]`, and what `compress` makes of the same input.
    fn with_compressed(&self, compress: &BitLinear, input: Input<'_>) -> (Tensor, Tensor) {
        let first = match self {
            Self::Direct(q_proj) => q_proj,
            Self::Squeezed { q_a_proj, .. } => q_a_proj,
        };
        let [first, compressed] = BitLinear::forward_all([first, compress], input);
        match self {
            Self::Direct(_) => (first, compressed),
            Self::Squeezed { q_a_layernorm, q_b_proj, .. } => {
                let input = Input { norm: Some(q_a_layernorm), pass: input.pass, ..Input::from(&first) };
                let [query] = BitLinear::forward_all([q_b_proj], input);
                (query, compressed)
            }
        }
    }
}
