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
pub fn folder(config: &ModelConfig) -> TempDir {
    let (dir, mut random) = (tempfile::tempdir().unwrap(), Random::derive(1, "weights", 0));
    let mut bytes_of = |(name, shape): (String, Vec<usize>)| {
        let mut number = |index: usize| match (shape.len(), name.contains("embed_tokens") && index < 4 * 32) {
            (1, _) => 1.0,
            (_, true) => 0.0,
            _ => random.unit() as f32 - 0.5,
        };
        let bytes: Vec<u8> = (0..shape.iter().product()).flat_map(|index| number(index).to_le_bytes()).collect();
        (name, shape, bytes)
    };
    let tensors: Vec<_> = config.parameter_shapes().into_iter().map(&mut bytes_of).collect();
    let views = tensors.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    fs::write(dir.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    let tokens = TokenIds { bos: None, eos: Some(2) };
    fs::write(dir.path().join("config.json"), config.to_hugging_face(tokens).unwrap().to_string()).unwrap();
    fs::write(dir.path().join("tokenizer.json"), Tokenizer::characters(ALPHABET, 34).unwrap().to_json().unwrap()).unwrap();
    dir
}
