//! Reading token by token with a cache against reading a whole text at once, for both kinds of attention; and what a cache holds.
#![cfg(feature = "torch")]

mod parity;
mod recorded;

use bitnet::config::{ActivationQuantizer, Attention, ModelConfig, Precision};
use bitnet::model::{Cache, Decoder, Sampler, SamplingOptions, generate};
use recorded::assert_near;
use std::collections::BTreeMap;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

/// Every recorded shape, with weights wide enough apart that tokens differ, and 16 positions.
fn configs() -> Vec<(String, ModelConfig)> {
    let mut all: BTreeMap<String, ModelConfig> = serde_json::from_str(include_str!("reference/decoder.json")).unwrap();
    let latent: BTreeMap<String, ModelConfig> = serde_json::from_str(include_str!("reference/latent_attention.json")).unwrap();
    all.extend(latent);
    assert_eq!(all.len(), 8);
    all.into_iter().map(|(name, config)| (name, ModelConfig { initializer_range: 0.3, ..config })).collect()
}

fn decoder(config: &ModelConfig, precision: Precision) -> Decoder {
    bitnet::libtorch::random::seed(4).unwrap();
    Decoder::new(&VarStore::new(Device::Cpu).root(), config, precision)
}

/// How far apart the order of sums may take logits of [`ids`], over the largest: it can change a code of an input. Without codes, only
/// roundings are left.
fn limit(config: &ModelConfig) -> f64 {
    let texts = Vec::<i64>::try_from(ids().flatten(0, -1)).unwrap();
    let text: Vec<u32> = texts[..16].iter().map(|&id| id as u32).collect();
    match config.bit_linear.activations {
        ActivationQuantizer::None => 1e-5,
        _ => parity::limit(config, &parity::fresh(config, 4).0, &text),
    }
}

/// Two texts of 16 tokens.
fn ids() -> Tensor {
    (Tensor::arange(32, (Kind::Int64, Device::Cpu)) * 7).remainder(19).view([2, 16])
}

/// Logits of `ids` read in pieces of these lengths.
fn in_pieces(decoder: &Decoder, ids: &Tensor, lengths: &[i64]) -> Tensor {
    let (mut cache, mut start, mut logits) = (Cache::default(), 0, Vec::new());
    for &length in lengths {
        logits.push(no_grad(|| decoder.forward_cached(&ids.narrow(1, start, length), &mut cache)));
        start += length;
        assert_eq!(cache.num_positions() as i64, start);
    }
    Tensor::cat(&logits, 1)
}

#[test]
fn token_by_token_and_in_pieces_the_logits_are_those_of_the_whole_text() {
    for (name, config) in configs() {
        let decoder = decoder(&config, Precision::Float32);
        let whole = no_grad(|| decoder.forward(&ids()));
        for lengths in [&[1; 16][..], &[16], &[5, 1, 1, 7, 2]] {
            assert_near(&in_pieces(&decoder, &ids(), lengths), &whole, limit(&config), &format!("{name} {lengths:?}"));
        }
    }
}

#[test]
fn in_bfloat16_they_are_the_same_to_its_precision() {
    for (name, config) in configs().into_iter().filter(|(_, config)| config.bit_linear.activations != ActivationQuantizer::Int4Absmean) {
        let decoder = decoder(&config, Precision::Bfloat16);
        let whole = no_grad(|| decoder.forward(&ids()));
        assert_near(&in_pieces(&decoder, &ids(), &[1; 16]), &whole, 0.15, &name);
    }
}

#[test]
fn what_is_held_of_a_token_is_its_keys_and_values_or_one_small_latent() {
    for (name, config) in configs() {
        let mut cache = Cache::default();
        let _ = no_grad(|| decoder(&config, Precision::Float32).forward_cached(&ids().narrow(0, 0, 1), &mut cache));
        let of_a_token = match config.attention {
            Attention::GroupedQuery => 2 * config.key_value_size(),
            Attention::Latent(latent) => latent.kv_lora_rank + latent.qk_rope_head_dim,
        };
        assert_eq!(cache.num_numbers(), 16 * config.num_hidden_layers * of_a_token, "{name}");
        cache.clear();
        assert_eq!((cache.num_positions(), cache.num_numbers()), (0, 0));
    }
}

/// The loop that recomputes the last tokens of the context for each new one.
#[test]
fn generated_tokens_are_those_of_reading_the_whole_window_anew() {
    for (name, config) in configs().into_iter().filter(|(_, config)| config.bit_linear.activations == ActivationQuantizer::None) {
        let decoder = decoder(&config, Precision::Float32);
        for context in [1, 4, 7, 16] {
            let mut found: Vec<u32> = vec![3, 17, 5, 11, 8];
            let prompt = found.clone();
            generate(&decoder, &prompt, context, 25, &mut Sampler::new(SamplingOptions::GREEDY), |token| {
                found.push(token);
                true
            })
            .unwrap();
            for end in 5..30usize {
                let window: Vec<i64> = found[end.saturating_sub(context)..end].iter().map(|&id| i64::from(id)).collect();
                let logits = no_grad(|| decoder.forward(&Tensor::from_slice(&window).unsqueeze(0)));
                // The loop sums in another order: of two tokens as likely as each other it may have taken either.
                let logits = logits.select(1, -1).flatten(0, -1);
                let (likeliest, taken) = (logits.max().double_value(&[]), logits.double_value(&[i64::from(found[end])]));
                let largest = logits.abs().max().double_value(&[]);
                assert!(likeliest - taken <= 2e-5 * largest, "{name}, context {context}, token {end}: {likeliest} and {taken}");
            }
        }
    }
}
