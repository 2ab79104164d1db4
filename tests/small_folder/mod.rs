//! A small model folder with random weights, whose model says letters.

use bitnet::config::{Activation, ActivationQuantizer, Attention, BitLinearConfig, ModelConfig, NormPlacement, TokenIds, WeightQuantizer};
use bitnet::random::Random;
use bitnet::tokenizer::Tokenizer;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::fs;
use tempfile::TempDir;

pub const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz .é☺";

pub fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 34,
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        max_position_embeddings: 64,
        rope_theta: 10000.0,
        rms_norm_eps: 1e-5,
        hidden_act: Activation::Relu2,
        tie_word_embeddings: true,
        initializer_range: 0.2,
        attention: Attention::GroupedQuery,
        sub_norms: true,
        bit_linear: BitLinearConfig {
            weights: WeightQuantizer::TernaryAbsmean,
            activations: ActivationQuantizer::Int8Absmax,
            norm: NormPlacement::Outside,
        },
    }
}

/// A model folder with random weights; the tokens that are no text are never the likeliest.
#[allow(dead_code)] // each test program uses a part
pub fn folder(config: &ModelConfig) -> TempDir {
    let mut random = Random::derive(1, "weights", 0);
    folder_of(config, &Tokenizer::characters(ALPHABET, 34).unwrap(), |name, index| match name {
        _ if name.ends_with("norm.weight") => 1.0,
        _ if name.contains("embed_tokens") && index < 4 * 32 => 0.0,
        _ => random.unit() as f32 - 0.5,
    })
}

/// A model folder whose weights are made of the name of each tensor and the place in it.
#[allow(dead_code)]
pub fn folder_of(config: &ModelConfig, tokenizer: &Tokenizer, mut number: impl FnMut(&str, usize) -> f32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let bytes_of = |(name, shape): (String, Vec<usize>)| {
        let bytes: Vec<u8> = (0..shape.iter().product()).flat_map(|index| number(&name, index).to_le_bytes()).collect();
        (name, shape, bytes)
    };
    let tensors: Vec<_> = config.parameter_shapes().into_iter().map(bytes_of).collect();
    let views = tensors.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    fs::write(dir.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    let tokens = TokenIds { bos: None, eos: Some(2) };
    fs::write(dir.path().join("config.json"), config.to_hugging_face(tokens).unwrap().to_string()).unwrap();
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_json().unwrap()).unwrap();
    dir
}
