//! Model folders for tests of GGUF files: random weights of sizes that ternary blocks take, with a byte-level tokenizer.

use bitnet::config::{Activation, ActivationQuantizer, Attention, BitLinearConfig, ModelConfig, NormPlacement, TokenIds, WeightQuantizer};
use bitnet::random::Random;
use bitnet::tokenizer::{BytePairOptions, Tokenizer};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::fs;
use std::sync::OnceLock;
use tempfile::TempDir;

/// SiLU, sub-norms, tied: architecture `bitnet`.
pub fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 300,
        hidden_size: 256,
        intermediate_size: 512,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 64,
        rope_theta: 10000.0,
        rms_norm_eps: 1e-5,
        hidden_act: Activation::Silu,
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

/// Architecture `bitnet-b1.58`.
pub fn relu2() -> ModelConfig {
    ModelConfig { hidden_act: Activation::Relu2, rope_theta: 500_000.0, ..config() }
}

/// Architecture `llama`, with a head of its own.
pub fn llama() -> ModelConfig {
    ModelConfig { sub_norms: false, tie_word_embeddings: false, ..config() }
}

/// A tokenizer.json of 290 tokens, fewer than the models have.
fn tokenizer() -> &'static str {
    static JSON: OnceLock<String> = OnceLock::new();
    JSON.get_or_init(|| {
        let text = "the cat sat on the mat, the cat's hat; 1234 + 5678 = 6912\n".repeat(20);
        let options = BytePairOptions { vocab_size: 290, min_frequency: 2, special_tokens: Vec::new(), largest_sample: 1 << 20 };
        Tokenizer::train_byte_pair([Ok(text)], &options).unwrap().tokenizer.to_json().unwrap()
    })
}

/// A folder of `model` with latent float32 weights.
pub fn write_folder(model: &ModelConfig, seed: u64) -> TempDir {
    write_rounded_folder(model, seed, |number| number)
}

/// [`write_folder`] with every number of embedding and head as `round` makes it.
pub fn write_rounded_folder(model: &ModelConfig, seed: u64, round: fn(f32) -> f32) -> TempDir {
    let (dir, mut random) = (tempfile::tempdir().unwrap(), Random::derive(seed, "weights", 0));
    let mut bytes_of = |(name, shape): (String, Vec<usize>)| {
        let center = if shape.len() == 1 { 1.0 } else { 0.0 };
        let is_table = name.contains("embed_tokens") || name.contains("lm_head");
        let mut number = || (center + random.unit() - 0.5) as f32;
        let mut rounded = || if is_table { round(number()) } else { number() };
        let bytes: Vec<u8> = (0..shape.iter().product()).flat_map(|_| rounded().to_le_bytes()).collect();
        (name, shape, bytes)
    };
    let tensors: Vec<_> = model.parameter_shapes().into_iter().map(&mut bytes_of).collect();
    let views = tensors.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    fs::write(dir.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    let tokens = TokenIds { bos: None, eos: Some(2) };
    fs::write(dir.path().join("config.json"), model.to_hugging_face(tokens).unwrap().to_string()).unwrap();
    fs::write(dir.path().join("tokenizer.json"), tokenizer()).unwrap();
    dir
}
