//! The gated feed-forward network: `down(norm(act(gate(x)) · up(x)))`.

use super::linear::BitLinear;
use super::norm::RmsNorm;
use super::parallel::for_each_piece;
use super::workspace::{Buffers, Pass};
use crate::Result;
use crate::config::{Activation, ModelConfig};
use crate::dense::{Level, silu_gate, squared_relu_gate};
use crate::inference::stored::Weights;

/// gate, up and down, with a sub-norm before down where the config has one.
#[derive(Debug)]
pub(super) struct FeedForward {
    gate_proj: BitLinear,
    up_proj: BitLinear,
    down_proj: BitLinear,
    sub_norm: Option<RmsNorm>,
    activation: Activation,
    size: usize,
}

impl FeedForward {
    /// The network of the block `prefix`, such as `model.layers.0`.
    pub fn load(weights: &Weights<'_>, prefix: &str, model: &ModelConfig) -> Result<Self> {
        let [gate_proj, up_proj, down_proj] = BitLinear::load_all(weights, prefix, ["gate_proj", "up_proj", "down_proj"], model)?;
        let sub_norm = RmsNorm::load_where(model.has_sub_norms(), weights, &format!("{prefix}.mlp.ffn_sub_norm"), model.rms_norm_eps)?;
        Ok(Self { gate_proj, up_proj, down_proj, sub_norm, activation: model.hidden_act, size: model.intermediate_size })
    }

    /// Adds the network's output for each row of the residual stream behind `norm`.
    pub fn forward(&self, norm: Option<&RmsNorm>, pass: &mut Pass<'_, '_>) -> Result<()> {
        let Buffers { residual, gate, up, projected, inputs, .. } = &mut *pass.buffers;
        let layers = [(&self.gate_proj, &mut gate[..]), (&self.up_proj, &mut up[..])];
        BitLinear::products(layers, norm, residual, inputs, pass.threads)?;
        let up = &*up;
        for_each_piece(pass.threads, gate, self.size, self.size, |row, gate| self.activate(gate, &up[row * self.size..]));
        BitLinear::products([(&self.down_proj, &mut projected[..])], self.sub_norm.as_ref(), gate, inputs, pass.threads)?;
        pass.buffers.add_projected(pass.threads);
        Ok(())
    }

    /// `gate = act(gate) · up`.
    fn activate(&self, gate: &mut [f32], up: &[f32]) {
        match self.activation {
            Activation::Relu2 => squared_relu_gate(Level::best(), gate, up),
            Activation::Silu => silu_gate(Level::best(), gate, up),
        }
    }
}
