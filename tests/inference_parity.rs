//! The two halves are joined here: the training half's decoder, in libtorch, and the packed engine compute the same from the same folder.
#![cfg(feature = "torch")]

use bitnet::config::{
    Activation, ActivationQuantizer, Attention, BitLinearConfig, LatentAttention, ModelConfig, NormPlacement, OptimizerConfig, Precision,
    WeightQuantizer,
};
use bitnet::data::IGNORED_TARGET;
use bitnet::inference::{Chunk, LoadOptions, Model, Wanted};
use bitnet::libtorch::TensorFile;
use bitnet::model::{Decoder, Sampler, SamplingOptions, generate};
use bitnet::optimizer::Adamw;
use bitnet::train::{StepNumbers, take_step};
use std::collections::BTreeMap;
use std::fs;
use tch::nn::VarStore;
use tch::{Device, Tensor, no_grad};
use tempfile::TempDir;

const OPTIONS: BitLinearConfig = BitLinearConfig {
    weights: WeightQuantizer::TernaryAbsmean,
    activations: ActivationQuantizer::Int8Absmax,
    norm: NormPlacement::Outside,
};
const NUM_GREEDY: usize = 64;

fn attentions() -> [Attention; 3] {
    let sizes = |q_lora_rank| LatentAttention { q_lora_rank, kv_lora_rank: 12, qk_nope_head_dim: 6, qk_rope_head_dim: 4, v_head_dim: 8 };
    [Attention::GroupedQuery, Attention::Latent(sizes(Some(14))), Attention::Latent(sizes(None))]
}

fn config(bit_linear: BitLinearConfig, attention: Attention, bits: u32) -> ModelConfig {
    ModelConfig {
        vocab_size: 29,
        hidden_size: 40,
        intermediate_size: 56,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: if attention == Attention::GroupedQuery { 2 } else { 4 },
        max_position_embeddings: 128,
        rope_theta: 10000.0,
        rms_norm_eps: 1e-5,
        hidden_act: if bits & 1 == 0 { Activation::Relu2 } else { Activation::Silu },
        tie_word_embeddings: bits & 2 == 0,
        initializer_range: 0.2,
        attention,
        sub_norms: bits & 4 == 0,
        bit_linear,
    }
}

fn fresh(config: &ModelConfig, seed: u64) -> (BTreeMap<String, Tensor>, Decoder) {
    bitnet::libtorch::random::seed(seed).unwrap();
    let store = VarStore::new(Device::Cpu);
    let decoder = Decoder::new(&store.root(), config, Precision::Float32);
    (store.variables().into_iter().collect(), decoder)
}

/// The engine on a folder of the decoder's parameters, as a checkpoint has them.
fn engine(config: &ModelConfig, parameters: &BTreeMap<String, Tensor>) -> (TempDir, Model) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), config.to_hugging_face(Default::default()).unwrap().to_string()).unwrap();
    let mut file = fs::File::create(dir.path().join("model.safetensors")).unwrap();
    let tensors = parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
    TensorFile::new(tensors).unwrap().write_to(&mut file).unwrap();
    let model = Model::load(dir.path(), &LoadOptions { num_threads: 2, ..LoadOptions::default() }).unwrap();
    (dir, model)
}

/// The largest and the mean difference of all logits of a text, over the largest magnitude.
fn differences(decoder: &Decoder, model: &Model, ids: &[u32]) -> (f64, f64) {
    let text = Tensor::from_slice(&ids.iter().map(|&id| i64::from(id)).collect::<Vec<_>>()).unsqueeze(0);
    let expected = Vec::<f32>::try_from(no_grad(|| decoder.forward(&text)).flatten(0, -1)).unwrap();
    let (mut cache, mut workspace) = (model.new_cache(ids.len()).unwrap(), model.new_workspace(ids.len()));
    let found = model.forward(&mut [Chunk { cache: &mut cache, tokens: ids, logits: Wanted::All }], &mut workspace).unwrap();
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f64, |largest, number| largest.max(f64::from(number.abs())));
    let apart: Vec<f64> = found.iter().zip(&expected).map(|(found, expected)| f64::from((found - expected).abs()) / largest).collect();
    (apart.iter().copied().fold(0.0, f64::max), apart.iter().sum::<f64>() / apart.len() as f64)
}

/// Differences of the order of float32's roundings.
const ROUNDING: f64 = 2e-5;
/// Where such a rounding moves an activation to its next code, logits differ by more; with some other weights it does not happen.
const NEXT_CODE: f64 = 0.2;
const MAX_TRIES: u64 = 8;

/// How many random models were tried until the halves agreed to a rounding, and how closely they did.
fn tries_until_equal(config: &ModelConfig, ids: &[u32]) -> (u64, f64) {
    for seed in 1..=MAX_TRIES {
        let (parameters, decoder) = fresh(config, seed);
        let (largest, mean) = differences(&decoder, &engine(config, &parameters).1, ids);
        assert!(largest < NEXT_CODE && mean < NEXT_CODE / 10.0, "{largest:.2e} {mean:.2e} {config:?}");
        if largest < ROUNDING {
            return (seed, largest);
        }
    }
    panic!("{MAX_TRIES} models and none agrees to a rounding: {config:?}");
}

#[test]
fn the_engine_and_the_decoder_agree_on_every_variant() {
    tch::set_num_threads(1); // for matrices of forty rows
    let ids: Vec<u32> = (0..24).map(|index| (index * index * 5 + index) % 29).collect();
    let mut tries = Vec::new();
    for weights in [WeightQuantizer::TernaryAbsmean, WeightQuantizer::Sign, WeightQuantizer::None] {
        for activations in [ActivationQuantizer::Int8Absmax, ActivationQuantizer::Int4Absmean, ActivationQuantizer::None] {
            for norm in [NormPlacement::Inside, NormPlacement::Outside] {
                for (attention, bits) in attentions().into_iter().flat_map(|attention| (0..8).map(move |bits| (attention, bits))) {
                    tries.push(tries_until_equal(&config(BitLinearConfig { weights, activations, norm }, attention, bits), &ids));
                }
            }
        }
    }
    let (num_at_once, worst) = (tries.iter().filter(|(count, _)| *count == 1).count(), tries.iter().map(|it| it.1).fold(0.0, f64::max));
    println!("{num_at_once} of {} variants agree at once, all to {worst:.1e} of the largest logit", tries.len());
    assert!(num_at_once > tries.len() * 3 / 4, "only {num_at_once} of {}", tries.len());
}

/// A few steps on texts that count up by 1, 2, 3 and 4.
fn train(parameters: &BTreeMap<String, Tensor>, decoder: &Decoder) {
    let optimizer = OptimizerConfig {
        learning_rate: 0.01,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.0,
        decay_norms: false,
        decay_embeddings: false,
    };
    let ids: Vec<i64> = (0..4).flat_map(|row| (0..33).map(move |place| place * (row + 1) % 29)).collect();
    let ids = Tensor::from_slice(&ids).view([4, 33]);
    let (ids, targets) = (ids.narrow(1, 0, 32), ids.narrow(1, 1, 32));
    let mut adamw = Adamw::new(parameters, &optimizer);
    for _ in 0..40 {
        let loss = [Ok(decoder.next_token_loss(&ids, &targets, IGNORED_TARGET))];
        take_step(&mut adamw, loss.into_iter(), StepNumbers { learning_rate: 0.01, weight_decay: 0.0, max_grad_norm: 1.0 }).unwrap();
    }
}

fn greedy_of_the_engine(model: &Model, prompt: &[u32]) -> Vec<u32> {
    let (mut cache, mut workspace) = (model.new_cache(128).unwrap(), model.new_workspace(3));
    let (mut unread, mut found) = (prompt.to_vec(), Vec::new());
    while found.len() < NUM_GREEDY {
        let logits = model.read(&unread, &mut cache, &mut workspace).unwrap();
        let token = bitnet::inference::Sampler::new(bitnet::inference::SamplingOptions::GREEDY).choose(logits).unwrap();
        found.push(token);
        unread = vec![token];
    }
    found
}

#[test]
fn models_that_learned_a_little_say_the_same_for_64_tokens() {
    tch::set_num_threads(1);
    for (seed, attention) in (0..).zip(attentions()) {
        for norm in [NormPlacement::Outside, NormPlacement::Inside] {
            let config = config(BitLinearConfig { norm, ..OPTIONS }, attention, seed as u32);
            let (parameters, decoder) = fresh(&config, seed);
            train(&parameters, &decoder);
            let (_dir, model) = engine(&config, &parameters);
            for prompt in [&[0, 3, 6, 9][..], &[1, 2, 3, 4, 5, 6, 7], &[28]] {
                let mut expected = Vec::new();
                let mut sampler = Sampler::new(SamplingOptions::GREEDY);
                let keep = |id| {
                    expected.push(id);
                    true
                };
                generate(&decoder, prompt, 128, NUM_GREEDY, &mut sampler, keep).unwrap();
                assert_eq!(greedy_of_the_engine(&model, prompt), expected, "{norm:?} {attention:?} {prompt:?}");
            }
        }
    }
}
