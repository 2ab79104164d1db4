//! The gated feed-forward network: `down(norm(act(gate(x)) · up(x)))`.

use super::bit_linear::{BitLinear, BitLinearOptions, Input, Projected};
use super::fast::Features;
use super::norm::RmsNorm;
use crate::config::{Activation, ModelConfig};
use tch::nn::Path;

/// gate, up and down as BitLinear, with a sub-norm before down where the config has one.
#[derive(Debug)]
pub struct FeedForward {
    gate_proj: BitLinear,
    up_proj: BitLinear,
    down_proj: BitLinear,
    sub_norm: Option<RmsNorm>,
    activation: Activation,
}

impl FeedForward {
    /// Parameters `gate_proj`, `up_proj`, `down_proj` and `ffn_sub_norm` below `path`.
    pub fn new(path: &Path, model: &ModelConfig, options: BitLinearOptions) -> Self {
        let (hidden, intermediate) = (model.hidden_size, model.intermediate_size);
        Self {
            gate_proj: BitLinear::new(path / "gate_proj", hidden, intermediate, options),
            up_proj: BitLinear::new(path / "up_proj", hidden, intermediate, options),
            down_proj: BitLinear::new(path / "down_proj", intermediate, hidden, options),
            sub_norm: model.has_sub_norms().then(|| RmsNorm::new(path / "ffn_sub_norm", intermediate, model.rms_norm_eps)),
            activation: model.hidden_act,
        }
    }

    /// `[batch, sequence, hidden]` to what is added to the residual stream.
    pub fn forward(&self, input: Input<'_>) -> Projected<'_> {
        let [gate, up] = BitLinear::forward_all([&self.gate_proj, &self.up_proj], input);
        let features = Features::gated(self.activation, gate, up);
        Projected { layer: &self.down_proj, features, norm: self.sub_norm.as_ref(), pass: input.pass }
    }

    /// The BitLinear layers, with the names they have in a file.
    pub fn projections(&self) -> [(&'static str, &BitLinear); 3] {
        [("gate_proj", &self.gate_proj), ("up_proj", &self.up_proj), ("down_proj", &self.down_proj)]
    }
}
