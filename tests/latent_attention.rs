//! Latent attention against transformers' DeepSeek V3 and, ternary, against float64 (tests/reference/README.md): logits, loss, gradients; and
//! that names, shapes and files are those that the config says.
#![cfg(feature = "torch")]

mod recorded;

use bitnet::config::{ModelConfig, NormPlacement, Precision};
use bitnet::libtorch::{TensorFile, restore_parameters};
use bitnet::model::{Decoder, load_decoder};
use bitnet::train::next_token_loss;
use recorded::{Recorded, assert_near, bits};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tch::nn::VarStore;
use tch::{Device, Tensor, no_grad};

type Tensors = BTreeMap<String, Tensor>;

fn variant(name: &str) -> ModelConfig {
    let variants: BTreeMap<String, ModelConfig> = serde_json::from_str(include_str!("reference/latent_attention.json")).unwrap();
    variants[name].clone()
}

fn fresh(config: &ModelConfig, precision: Precision) -> (Tensors, Decoder) {
    let store = VarStore::new(Device::Cpu);
    let decoder = Decoder::new(&store.root(), config, precision);
    (store.variables().into_iter().collect(), decoder)
}

/// The decoder of a variant with the recorded weights; the ternary one has those of `squeezed`, and sub-norms.
fn recorded_decoder(recorded: &Recorded, name: &str, precision: Precision) -> (Tensors, Decoder) {
    let mut weights = recorded.below(&format!("{name}/weights/"));
    if name == "ternary" {
        weights.extend(recorded.below("squeezed/weights/"));
    }
    let (parameters, decoder) = fresh(&variant(name), precision);
    assert!(weights.keys().eq(parameters.keys()), "{name} has other parameters than were recorded");
    restore_parameters(&parameters, &weights, Path::new("latent_attention.safetensors")).unwrap();
    (parameters, decoder)
}

#[test]
fn logits_loss_and_gradients_are_those_of_deepseek_in_transformers() {
    let recorded = Recorded::open("latent_attention");
    for name in ["squeezed", "direct"] {
        let get = |key: &str| recorded.get(&format!("{name}/{key}"));
        let (parameters, decoder) = recorded_decoder(&recorded, name, Precision::Float32);
        assert_near(&decoder.forward(&get("ids")), &get("logits"), 5e-6, name);
        let loss = next_token_loss(&decoder, &get("ids"), &get("targets"));
        assert_near(&loss, &get("loss"), 1e-6, name);
        loss.backward();
        let gradients = recorded.below(&format!("{name}/gradient/"));
        assert!(gradients.len() >= 5);
        for (parameter, gradient) in gradients {
            assert_near(&parameters[&parameter].grad(), &gradient, 1e-5, &format!("{name}: gradient of {parameter}"));
        }
    }
}

#[test]
fn ternary_logits_are_those_of_float64() {
    let recorded = Recorded::open("latent_attention");
    for (precision, limit) in [(Precision::Float32, 2e-5), (Precision::Bfloat16, 8e-2)] {
        let (_, decoder) = recorded_decoder(&recorded, "ternary", precision);
        let logits = no_grad(|| decoder.forward(&recorded.get("ternary/ids")));
        assert_near(&logits, &recorded.get("ternary/logits"), limit, &format!("{precision:?}"));
    }
}

/// What the tests above rely on, as in tests/decoder.rs: the recorded numbers lie further from the next code than roundings reach.
#[test]
fn no_rounding_moves_a_code_of_the_recorded_models() {
    let recorded = Recorded::open("latent_attention");
    for seed in 0..20 {
        let (parameters, decoder) = recorded_decoder(&recorded, "ternary", Precision::Float32);
        bitnet::libtorch::random::seed(seed).unwrap();
        let shaken: Tensors = parameters.iter().map(|(name, parameter)| (name.clone(), recorded::shaken(parameter))).collect();
        restore_parameters(&parameters, &shaken, Path::new("shaken")).unwrap();
        let logits = no_grad(|| decoder.forward(&recorded.get("ternary/ids")));
        assert_near(&logits, &recorded.get("ternary/logits"), 1e-4, "shaken");
    }
}

#[test]
fn a_later_token_never_changes_an_earlier_logit() {
    let recorded = Recorded::open("latent_attention");
    for precision in [Precision::Float32, Precision::Bfloat16] {
        let (_, decoder) = recorded_decoder(&recorded, "ternary", precision);
        let ids = recorded.get("ternary/ids");
        let before = no_grad(|| decoder.forward(&ids));
        for position in 1..9 {
            let changed = ids.copy();
            let later = changed.narrow(1, position, 9 - position);
            later.shallow_clone().copy_(&((&later + 11).remainder(19)));
            let after = no_grad(|| decoder.forward(&changed));
            assert_eq!(bits(&before.narrow(1, 0, position)), bits(&after.narrow(1, 0, position)), "{precision:?} token {position}");
            assert_ne!(bits(&before.select(1, position)), bits(&after.select(1, position)));
        }
    }
}

/// Every shape of decoder that a config can ask for, here and with heads that share keys in groups.
#[test]
fn the_parameters_of_a_decoder_are_those_that_its_config_lists() {
    let grouped: BTreeMap<String, ModelConfig> = serde_json::from_str(include_str!("reference/decoder.json")).unwrap();
    let latent = ["squeezed", "direct", "ternary"].map(variant);
    for base in grouped.into_values().chain(latent) {
        for (norm, sub_norms) in [(NormPlacement::Inside, true), (NormPlacement::Outside, true), (NormPlacement::Outside, false)] {
            let mut config = base.clone();
            (config.bit_linear.norm, config.sub_norms) = (norm, sub_norms);
            let found: BTreeMap<String, Vec<i64>> =
                fresh(&config, Precision::Float32).0.into_iter().map(|(name, tensor)| (name, tensor.size())).collect();
            let listed: BTreeMap<String, Vec<i64>> = config
                .parameter_shapes()
                .into_iter()
                .map(|(name, shape)| (name, shape.into_iter().map(|size| size as i64).collect()))
                .collect();
            assert_eq!(found, listed);
            assert_eq!(config.num_parameters() as i64, found.values().map(|shape| shape.iter().product::<i64>()).sum::<i64>());
        }
    }
}

#[test]
fn projections_go_by_the_names_that_they_have_in_files() {
    for name in ["squeezed", "direct", "ternary"] {
        let config = variant(name);
        let (_, decoder) = fresh(&config, Precision::Float32);
        let found: Vec<&str> = decoder.projections().filter(|(layer, ..)| *layer == 1).map(|(_, name, _)| name).collect();
        let listed: Vec<&str> = config.projections().iter().map(|shape| shape.name.split_once('.').unwrap().1).collect();
        assert_eq!(found, listed);
    }
}

#[test]
fn a_saved_model_computes_what_it_computed_before() {
    let config = variant("ternary");
    let (parameters, decoder) = fresh(&config, Precision::Float32);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), config.to_hugging_face(Default::default()).unwrap().to_string()).unwrap();
    let mut file = fs::File::create(dir.path().join("model.safetensors")).unwrap();
    TensorFile::new(parameters).unwrap().write_to(&mut file).unwrap();
    let (loaded_config, loaded) = load_decoder(dir.path(), Device::Cpu, Precision::Float32).unwrap();
    assert_eq!(loaded_config, config);
    let ids = Recorded::open("latent_attention").get("ternary/ids");
    no_grad(|| assert_eq!(bits(&decoder.forward(&ids)), bits(&loaded.forward(&ids))));
}
