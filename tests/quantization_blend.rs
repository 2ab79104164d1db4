//! Quantizers that count in part: nothing of them is full precision to the last bit, all of them the quantized network, and in between the
//! gradient passes straight through.
#![cfg(feature = "torch")]

mod recorded;

use bitnet::config::{ActivationQuantizer, BitLinearConfig, ModelConfig, NormPlacement, Precision, WeightQuantizer};
use bitnet::data::IGNORED_TARGET;
use bitnet::libtorch::restore_parameters;
use bitnet::model::{BitLinear, BitLinearOptions, Decoder, Input, Pass, quantize_activations, quantize_weights};
use recorded::{Recorded, assert_near, bits};
use std::collections::BTreeMap;
use std::path::Path;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

type Tensors = BTreeMap<String, Tensor>;

/// The decoder of `config` with the recorded weights.
fn decoder(recorded: &Recorded, config: &ModelConfig, precision: Precision) -> (Tensors, Decoder) {
    let store = VarStore::new(Device::Cpu);
    let decoder = Decoder::new(&store.root(), config, precision);
    let parameters = store.variables().into_iter().collect();
    restore_parameters(&parameters, &recorded.below("weights/"), Path::new("decoder.safetensors")).unwrap();
    (parameters, decoder)
}

/// Bits of the logits, and of every gradient of the loss, by name.
fn outcome(recorded: &Recorded, variant: &str, (parameters, decoder): (Tensors, Decoder)) -> BTreeMap<String, Vec<u32>> {
    let get = |name: &str| recorded.get(&format!("{variant}/{name}"));
    decoder.next_token_loss(&get("ids"), &get("targets"), IGNORED_TARGET).backward();
    let mut found: BTreeMap<_, _> = parameters.into_iter().map(|(name, parameter)| (name, bits(&parameter.grad()))).collect();
    found.insert("logits".into(), bits(&decoder.forward(&get("ids"))));
    found
}

fn assert_same(found: &BTreeMap<String, Vec<u32>>, expected: &BTreeMap<String, Vec<u32>>, what: &str) {
    assert!(found.keys().eq(expected.keys()));
    for (name, bits) in found {
        assert_eq!(bits, &expected[name], "{what}: {name}");
    }
}

fn each_quantized_variant(check: impl Fn(&Recorded, &str, &ModelConfig, Precision)) {
    let configs: BTreeMap<String, ModelConfig> = serde_json::from_str(include_str!("reference/decoder.json")).unwrap();
    let recorded = Recorded::open("decoder");
    for (name, config) in configs.iter().filter(|(name, _)| *name != "full_precision") {
        for precision in [Precision::Float32, Precision::Bfloat16] {
            check(&recorded, name, config, precision);
        }
    }
}

#[test]
fn a_share_of_nothing_is_the_full_precision_twin_bit_for_bit() {
    each_quantized_variant(|recorded, name, config, precision| {
        let (weights, activations) = (WeightQuantizer::None, ActivationQuantizer::None);
        let twin = ModelConfig { bit_linear: BitLinearConfig { weights, activations, ..config.bit_linear }, ..config.clone() };
        let blended = decoder(recorded, config, precision);
        let blended = (blended.0, blended.1.in_pass(Pass { share: 0.0 }));
        let expected = outcome(recorded, name, decoder(recorded, &twin, precision));
        assert_same(&outcome(recorded, name, blended), &expected, &format!("{name} {precision:?}"));
    });
}

#[test]
fn a_share_of_all_is_the_quantized_network_bit_for_bit_whatever_it_was_before() {
    each_quantized_variant(|recorded, name, config, precision| {
        let blended = decoder(recorded, config, precision);
        let half = bits(&blended.1.in_pass(Pass { share: 0.5 }).forward(&recorded.get(&format!("{name}/ids"))));
        let expected = outcome(recorded, name, decoder(recorded, config, precision));
        let found = outcome(recorded, name, blended);
        assert_same(&found, &expected, &format!("{name} {precision:?}"));
        assert_ne!(half, found["logits"], "{name}: half of the quantizers is something else");
    });
}

fn random(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

#[test]
fn in_between_values_are_blended_and_gradients_pass_straight() {
    use {ActivationQuantizer as Activations, WeightQuantizer as Weights};
    for (weights, activations) in [(Weights::TernaryAbsmean, Activations::Int8Absmax), (Weights::Sign, Activations::Int4Absmean)] {
        let quantizers = BitLinearConfig { weights, activations, norm: NormPlacement::Outside };
        let layer = BitLinear::new(VarStore::new(Device::Cpu).root(), 24, 16, BitLinearOptions { quantizers, ..Default::default() });
        for share in [0.001, 0.25, 0.9] {
            let (input, arriving) = (random(&[5, 24]).set_requires_grad(true), random(&[5, 16]));
            layer.weight().shallow_clone().zero_grad();
            let [output] = BitLinear::forward_all([&layer], Input { pass: Pass { share }, ..Input::from(&input) });
            (&output * &arriving).sum(Kind::Float).backward();
            let blend = |latent: &Tensor, quantized: Tensor| latent.detach() * (1.0 - share) + quantized.detach() * share;
            let weight = blend(layer.weight(), quantize_weights(layer.weight(), weights));
            let read = blend(&input, quantize_activations(&input, activations));
            assert_near(&output, &read.matmul(&weight.tr()), 2e-6, "output");
            assert_near(&input.grad(), &arriving.matmul(&weight), 2e-6, "gradient of the input");
            assert_near(&layer.weight().grad(), &arriving.tr().matmul(&read), 2e-6, "gradient of the weight");
        }
    }
}
