//! Every variant of the decoder that a config can ask for trains, and is what it was when it is loaded again.
#![cfg(feature = "torch")]

mod recorded;

use bitnet::config::{
    Activation, ActivationQuantizer, Attention, BitLinearConfig, LatentAttention, ModelConfig, NormPlacement, OptimizerConfig, Precision,
    WeightQuantizer,
};
use bitnet::data::IGNORED_TARGET;
use bitnet::libtorch::TensorFile;
use bitnet::model::{Decoder, load_decoder};
use bitnet::optimizer::Adamw;
use bitnet::train::{StepNumbers, take_step};
use recorded::bits;
use std::collections::BTreeMap;
use std::fs;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

const NUM_STEPS: usize = 12;

fn attentions() -> [Attention; 3] {
    let sizes = |q_lora_rank| LatentAttention { q_lora_rank, kv_lora_rank: 8, qk_nope_head_dim: 6, qk_rope_head_dim: 4, v_head_dim: 8 };
    [Attention::GroupedQuery, Attention::Latent(sizes(Some(12))), Attention::Latent(sizes(None))]
}

/// All combinations, as small as they can be.
fn variants() -> Vec<ModelConfig> {
    let mut all = Vec::new();
    for &weights in WeightQuantizer::ALL {
        for &activations in ActivationQuantizer::ALL {
            for &norm in NormPlacement::ALL {
                for attention in attentions() {
                    let quantizers = BitLinearConfig { weights, activations, norm };
                    all.extend((0..8).map(|bits| variant(quantizers, attention, bits)));
                }
            }
        }
    }
    all
}

fn variant(bit_linear: BitLinearConfig, attention: Attention, bits: u32) -> ModelConfig {
    ModelConfig {
        vocab_size: 11,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: if attention == Attention::GroupedQuery { 1 } else { 2 },
        max_position_embeddings: 8,
        rope_theta: 10000.0,
        rms_norm_eps: 1e-5,
        hidden_act: if bits & 1 == 0 { Activation::Relu2 } else { Activation::Silu },
        tie_word_embeddings: bits & 2 == 0,
        initializer_range: 0.1,
        attention,
        sub_norms: bits & 4 == 0,
        bit_linear,
    }
}

/// The same four texts in every step, each of which repeats three tokens.
fn batch() -> (Tensor, Tensor) {
    let ids: Vec<i64> = (0..4).flat_map(|row| (0..9).map(move |place| (row * 3 + place % 3) % 11)).collect();
    let ids = Tensor::from_slice(&ids).view([4, 9]);
    (ids.narrow(1, 0, 8), ids.narrow(1, 1, 8))
}

/// The losses of a few steps.
fn losses(parameters: &BTreeMap<String, Tensor>, decoder: &Decoder) -> Vec<f64> {
    let config = OptimizerConfig {
        learning_rate: 0.02,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.0,
        decay_norms: false,
        decay_embeddings: false,
    };
    let (mut optimizer, (ids, targets)) = (Adamw::new(parameters, &config), batch());
    let numbers = StepNumbers { learning_rate: config.learning_rate, weight_decay: 0.0, max_grad_norm: 1.0 };
    let step = |_| {
        let loss = [Ok(decoder.next_token_loss(&ids, &targets, IGNORED_TARGET))];
        take_step(&mut optimizer, loss.into_iter(), numbers).unwrap().loss
    };
    (0..NUM_STEPS).map(step).collect()
}

fn assert_survives_a_file(config: &ModelConfig, parameters: BTreeMap<String, Tensor>, decoder: &Decoder, precision: Precision) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), config.to_hugging_face(Default::default()).unwrap().to_string()).unwrap();
    let mut file = fs::File::create(dir.path().join("model.safetensors")).unwrap();
    TensorFile::new(parameters).unwrap().write_to(&mut file).unwrap();
    let (loaded_config, loaded) = load_decoder(dir.path(), Device::Cpu, precision).unwrap();
    assert_eq!(&loaded_config, config);
    let (ids, _) = batch();
    no_grad(|| assert_eq!(bits(&decoder.forward(&ids)), bits(&loaded.forward(&ids)), "{config:?}"));
}

#[test]
fn the_loss_of_every_variant_falls_within_a_few_steps_and_its_logits_survive_a_file() {
    tch::set_num_threads(1); // for matrices of sixteen rows
    let variants = variants();
    assert_eq!(variants.len(), 3 * 3 * 2 * 3 * 8);
    let mut slowest = 0f64;
    for (index, config) in variants.iter().enumerate() {
        let precision = if index % 5 == 0 { Precision::Bfloat16 } else { Precision::Float32 };
        bitnet::libtorch::random::seed(index as u64).unwrap();
        let store = VarStore::new(Device::Cpu);
        let decoder = Decoder::new(&store.root(), config, precision);
        let parameters: BTreeMap<String, Tensor> = store.variables().into_iter().collect();
        let losses = losses(&parameters, &decoder);
        let (first, last) = (losses[0], losses[NUM_STEPS - 1]);
        slowest = slowest.max(last / first);
        assert!(losses.iter().all(|loss| loss.is_finite()) && last < 0.9 * first, "{precision:?} {config:?}: {losses:?}");
        assert!(parameters.values().all(|parameter| bool::try_from(parameter.isfinite().all()).unwrap()));
        assert_eq!(decoder.forward(&batch().0).kind(), Kind::Float);
        assert_survives_a_file(config, parameters, &decoder, precision);
    }
    println!("in {NUM_STEPS} steps every loss falls to {slowest:.2} of the first, or further");
}
