//! The gated feed-forward network: `down(norm(act(gate(x)) · up(x)))`.

use super::bit_linear::{BitLinear, BitLinearOptions};
use super::norm::RmsNorm;
use crate::config::{Activation, ModelConfig};
use crate::libtorch::Rows;
use tch::Tensor;
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

    /// The residual stream `[batch, sequence, hidden]`, behind `norm`, to the same with the network's output added.
    pub fn forward(&self, norm: Option<&RmsNorm>, residual: &Tensor) -> Tensor {
        let [gate, up] = BitLinear::forward_all([&self.gate_proj, &self.up_proj], norm, residual);
        let gated;
        let rows = match self.activation {
            Activation::Relu2 => Rows::SquaredReluGate(&gate, &up),
            Activation::Silu => {
                gated = gate.silu() * &up;
                Rows::Plain(&gated)
            }
        };
        self.down_proj.add_to(residual, self.sub_norm.as_ref(), rows)
    }

    /// The BitLinear layers, with the names they have in a file.
    pub fn projections(&self) -> [(&'static str, &BitLinear); 3] {
        [("gate_proj", &self.gate_proj), ("up_proj", &self.up_proj), ("down_proj", &self.down_proj)]
    }
}
