//! Model folders for tests: small random models of any variant as files, and the tensors they were made of.

use crate::config::{
    Activation, ActivationQuantizer, Attention, BitLinearConfig, LatentAttention, ModelConfig, NormPlacement, WeightQuantizer,
};
use crate::random::Random;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Tensors by name, each with its shape.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The usual quantizers.
pub(super) const TERNARY: BitLinearConfig = BitLinearConfig {
    weights: WeightQuantizer::TernaryAbsmean,
    activations: ActivationQuantizer::Int8Absmax,
    norm: NormPlacement::Outside,
};

/// Two layers of heads that share keys.
pub(crate) fn small() -> ModelConfig {
    ModelConfig {
        vocab_size: 37,
        hidden_size: 48,
        intermediate_size: 70,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 64,
        rope_theta: 10000.0,
        rms_norm_eps: 1e-5,
        hidden_act: Activation::Relu2,
        tie_word_embeddings: true,
        initializer_range: 0.3,
        attention: Attention::GroupedQuery,
        sub_norms: true,
        bit_linear: TERNARY,
    }
}

/// [`small`] with latent attention.
pub(super) fn small_latent(q_lora_rank: Option<usize>) -> ModelConfig {
    let sizes = LatentAttention { q_lora_rank, kv_lora_rank: 20, qk_nope_head_dim: 10, qk_rope_head_dim: 6, v_head_dim: 14 };
    ModelConfig { attention: Attention::Latent(sizes), num_key_value_heads: 4, ..small() }
}

/// Every combination of attention, quantizers, norms, activation, tied or not.
pub(super) fn variants() -> Vec<ModelConfig> {
    let mut all = Vec::new();
    for weights in [WeightQuantizer::TernaryAbsmean, WeightQuantizer::Sign, WeightQuantizer::None] {
        for activations in [ActivationQuantizer::Int8Absmax, ActivationQuantizer::Int4Absmean, ActivationQuantizer::None] {
            for norm in [NormPlacement::Inside, NormPlacement::Outside] {
                for (index, model) in [small(), small_latent(Some(18)), small_latent(None)].into_iter().enumerate() {
                    let bit_linear = BitLinearConfig { weights, activations, norm };
                    let bits = all.len() + index;
                    let hidden_act = if bits % 2 == 0 { Activation::Relu2 } else { Activation::Silu };
                    let (tie_word_embeddings, sub_norms) = (bits % 3 == 0, bits % 4 < 2);
                    all.push(ModelConfig { hidden_act, tie_word_embeddings, sub_norms, bit_linear, ..model });
                }
            }
        }
    }
    all
}

/// Random weights: matrices of the model's spread, norms around one.
pub(crate) fn random_tensors(model: &ModelConfig, seed: u64) -> Tensors {
    let mut random = Random::derive(seed, "test weights", 0);
    let mut tensor = |shape: Vec<usize>| {
        let (center, spread) = if shape.len() == 1 { (1.0, 0.5) } else { (0.0, model.initializer_range) };
        let mut number = || {
            let normal = (-2.0 * (1.0 - random.unit()).ln()).sqrt() * (std::f64::consts::TAU * random.unit()).cos();
            (center + spread * normal) as f32
        };
        let numbers = (0..shape.iter().product()).map(|_| number()).collect();
        (shape, numbers)
    };
    model.parameter_shapes().into_iter().map(|(name, shape)| (name, tensor(shape))).collect()
}

/// What goes into one tensor of a file.
pub(super) type Stored = (Dtype, Vec<usize>, Vec<u8>);

pub(super) fn as_f32((shape, numbers): &(Vec<usize>, Vec<f32>)) -> Stored {
    (Dtype::F32, shape.clone(), numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
}

/// Writes a safetensors file.
pub(super) fn write_tensors(path: &Path, tensors: &BTreeMap<String, Stored>) {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    fs::write(path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
}

/// A folder of `model` with these tensors in float32.
pub(crate) fn write_folder(model: &ModelConfig, tensors: &Tensors) -> TempDir {
    let stored = tensors.iter().map(|(name, tensor)| (name.clone(), as_f32(tensor))).collect();
    folder_of(&model.to_hugging_face(Default::default()).unwrap(), &stored)
}

/// A folder of a config.json and any tensors.
pub(super) fn folder_of(config: &serde_json::Value, tensors: &BTreeMap<String, Stored>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    write_tensors(&dir.path().join("model.safetensors"), tensors);
    dir
}
