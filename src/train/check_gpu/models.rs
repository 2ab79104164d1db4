//! The experiments that are looked at, and tokens that can be learned without a corpus.

use crate::Result;
use crate::config::{ActivationQuantizer, DeviceChoice, Experiment, Precision, WeightQuantizer};
use crate::random::Random;
use serde::{Deserialize, Serialize};
use tch::Tensor;

const ARITHMETIC: &str = include_str!("../../../experiments/arithmetic/config.yaml");
const TINYSTORIES: &str = include_str!("../../../benches/training/tinystories.yaml");
const BASELINE: &str = include_str!("../../../benches/training/baseline.yaml");

/// How much of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// For a GPU: the published shapes, in minutes.
    Full,
    /// For a CPU: the same shapes, fewer tokens.
    Small,
    /// For tests: every part, but nothing that takes a second.
    Tiny,
}

/// A size of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// 12M parameters, for short stories.
    Small,
    /// 95M, the baseline's.
    Baseline,
    /// 124M, GPT-2's.
    Gpt2,
}

/// Ternary weights and 8-bit activations, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// BitNet b1.58.
    Ternary,
    /// Its twin in full precision.
    Full,
}

impl Shape {
    /// From the smallest on.
    pub const ALL: [Self; 3] = [Self::Small, Self::Baseline, Self::Gpt2];

    /// Its parameters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "12m",
            Self::Baseline => "95m",
            Self::Gpt2 => "124m",
        }
    }
}

impl Weights {
    /// As in the names of parts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ternary => "ternary",
            Self::Full => "full-precision",
        }
    }
}

/// The arithmetic experiment, smaller for tests.
pub(super) fn arithmetic(scale: Scale) -> Result<Experiment> {
    Ok(shrunk(Experiment::from_yaml(ARITHMETIC, "experiments/arithmetic/config.yaml")?, scale))
}

/// A model of `shape` with a step of the size that `scale` has for its speed.
pub(super) fn experiment(shape: Shape, weights: Weights, scale: Scale) -> Result<Experiment> {
    let mut experiment = match shape {
        Shape::Small => Experiment::from_yaml(TINYSTORIES, "benches/training/tinystories.yaml")?,
        Shape::Baseline | Shape::Gpt2 => Experiment::from_yaml(BASELINE, "benches/training/baseline.yaml")?,
    };
    if shape == Shape::Gpt2 {
        // GPT-2 small's width, depth, heads and vocabulary (50,257, rounded up to a multiple of 64); its two matrices of 4 x 768 are our
        // three of 8/3 x 768.
        let model = &mut experiment.model;
        (model.hidden_size, model.num_hidden_layers, model.intermediate_size) = (768, 12, 2048);
        (model.num_attention_heads, model.num_key_value_heads, model.vocab_size) = (12, 12, 50_304);
    }
    let (rows, seq_len) = match (scale, shape) {
        (Scale::Full, Shape::Small) => (64, 256),
        (Scale::Full, _) => (32, 1024),
        (Scale::Small, Shape::Small) => (4, 128),
        (Scale::Small, _) => (1, 64),
        (Scale::Tiny, _) => (2, 16),
    };
    let train = &mut experiment.train;
    (train.batch_size, train.seq_len, train.accumulation_steps) = (rows, seq_len, 1);
    experiment.model.max_position_embeddings = seq_len;
    if weights == Weights::Full {
        experiment.model.bit_linear.weights = WeightQuantizer::None;
        experiment.model.bit_linear.activations = ActivationQuantizer::None;
    }
    Ok(shrunk(experiment, scale))
}

fn shrunk(mut experiment: Experiment, scale: Scale) -> Experiment {
    experiment.device = DeviceChoice::Auto;
    experiment.precision = Precision::Bfloat16;
    if scale == Scale::Tiny {
        let model = &mut experiment.model;
        (model.hidden_size, model.num_hidden_layers, model.intermediate_size) = (32, 2, 64);
        (model.num_attention_heads, model.num_key_value_heads) = (2, 2);
        model.vocab_size = model.vocab_size.min(64);
        experiment.train.batch_size = experiment.train.batch_size.min(8);
    }
    experiment
}

/// Made tokens are of so many kinds, so that a few steps learn what follows what.
const KINDS: u64 = 61;

/// Inputs and targets of batch `position`, int64 `[rows, sequence]` on the CPU: mostly each token follows from the one before, so that there
/// is something to learn.
pub(super) fn made_batch(experiment: &Experiment, position: u64) -> (Tensor, Tensor) {
    let (rows, seq_len) = (experiment.train.batch_size, experiment.train.seq_len);
    let kinds = KINDS.min(experiment.model.vocab_size as u64);
    let mut random = Random::derive(experiment.seed, "tokens to check a GPU with", position);
    let mut tokens = Vec::with_capacity(rows * (seq_len + 1));
    for _ in 0..rows {
        let mut token = random.below(kinds);
        for _ in 0..=seq_len {
            tokens.push(token as i64);
            token = if random.below(8) == 0 { random.below(kinds) } else { (5 * token + 1) % kinds };
        }
    }
    let tokens = Tensor::from_slice(&tokens).view([rows as i64, seq_len as i64 + 1]);
    let from = |start| tokens.narrow(1, start, seq_len as i64).contiguous();
    (from(0), from(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_have_the_parameters_that_they_are_named_for() {
        for (shape, millions) in [(Shape::Small, 11.5..13.0), (Shape::Baseline, 94.5..96.0), (Shape::Gpt2, 123.0..125.0)] {
            for weights in [Weights::Ternary, Weights::Full] {
                for scale in [Scale::Full, Scale::Small] {
                    let experiment = experiment(shape, weights, scale).unwrap();
                    experiment.validate().unwrap();
                    assert!(millions.contains(&(experiment.model.num_parameters() as f64 / 1e6)), "{shape:?}");
                }
            }
        }
        assert!(arithmetic(Scale::Full).unwrap().validate().is_ok());
    }

    #[test]
    fn made_tokens_are_those_of_their_position_and_targets_follow_their_inputs() {
        let experiment = experiment(Shape::Small, Weights::Ternary, Scale::Tiny).unwrap();
        let ((inputs, targets), (again, _), (other, _)) =
            (made_batch(&experiment, 3), made_batch(&experiment, 3), made_batch(&experiment, 4));
        assert_eq!(inputs.size(), [2, 16]);
        assert_eq!(inputs, again);
        assert_ne!(inputs, other);
        assert_eq!(inputs.narrow(1, 1, 15), targets.narrow(1, 0, 15));
    }
}
