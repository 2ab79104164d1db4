//! One layer of the decoder: attention and feed-forward network, each added to the residual stream.

use super::RotaryTables;
use super::attention::Attention;
use super::bit_linear::{BitLinear, BitLinearOptions, Input};
use super::cache::LayerCache;
use super::feed_forward::FeedForward;
use super::norm::RmsNorm;
use super::pass::Pass;
use crate::config::{ModelConfig, NormPlacement};
use tch::Tensor;
use tch::nn::Path;

/// `x + attention(norm(x))`, then `x + feed_forward(norm(x))`; without the norms where every BitLinear has its own.
#[derive(Debug)]
pub struct Block {
    input_norm: Option<RmsNorm>,
    attention: Attention,
    post_attention_norm: Option<RmsNorm>,
    feed_forward: FeedForward,
}

impl Block {
    /// Parameters `input_layernorm`, `self_attn`, `post_attention_layernorm` and `mlp` below `path`.
    pub fn new(path: &Path, model: &ModelConfig, options: BitLinearOptions) -> Self {
        let norm = |name: &str| match model.bit_linear.norm {
            NormPlacement::Outside => Some(RmsNorm::new(path / name, model.hidden_size, model.rms_norm_eps)),
            NormPlacement::Inside => None,
        };
        Self {
            input_norm: norm("input_layernorm"),
            attention: Attention::new(&(path / "self_attn"), model, options),
            post_attention_norm: norm("post_attention_layernorm"),
            feed_forward: FeedForward::new(&(path / "mlp"), model, options),
        }
    }

    /// The residual stream, float32 `[batch, sequence, hidden]`, to the same.
    pub fn forward(&self, x: &Tensor, pass: Pass, rotary: &RotaryTables, cache: Option<&mut LayerCache>) -> Tensor {
        let x = &(x + self.attention.forward(normed(self.input_norm.as_ref(), x, pass), rotary, cache));
        x + self.feed_forward.forward(normed(self.post_attention_norm.as_ref(), x, pass))
    }

    /// The BitLinear layers, with the names they have in a file.
    pub fn projections(&self) -> impl Iterator<Item = (&'static str, &BitLinear)> {
        self.attention.projections().into_iter().chain(self.feed_forward.projections())
    }
}

/// `norm(x)`, which is computed where it is read.
fn normed<'a>(norm: Option<&'a RmsNorm>, x: &'a Tensor, pass: Pass) -> Input<'a> {
    Input { norm, pass, ..Input::from(x) }
}
