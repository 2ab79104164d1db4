//! The decoder against what PyTorch recorded for five variants (tests/reference/README.md): logits, loss, every gradient, one AdamW
//! step; and its rules: causality, a gradient everywhere, the first loss, the parameter count. Files are tests/weight_files.rs's.
#![cfg(feature = "torch")]

mod recorded;

use bitnet::config::{DeviceChoice, Experiment, ModelConfig, OptimizerConfig, Overrides, Precision, load};
use bitnet::data::IGNORED_TARGET;
use bitnet::libtorch::restore_parameters;
use bitnet::model::Decoder;
use bitnet::optimizer::Adamw;
use bitnet::tasks::Task;
use bitnet::tokenizer::Tokenizer;
use bitnet::train::{Network, Objective, Pretraining, next_token_loss};
use recorded::{Recorded, assert_near, bits};
use std::collections::BTreeMap;
use std::path::Path;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

fn variants() -> BTreeMap<String, ModelConfig> {
    let variants: BTreeMap<String, ModelConfig> = serde_json::from_str(include_str!("reference/decoder.json")).unwrap();
    assert_eq!(variants.len(), 5);
    variants
}

/// The decoder of `config` with the recorded weights, and its parameters.
fn decoder(recorded: &Recorded, config: &ModelConfig, precision: Precision) -> (BTreeMap<String, Tensor>, Decoder) {
    let store = VarStore::new(Device::Cpu);
    let decoder = Decoder::new(&store.root(), config, precision);
    let parameters = store.variables().into_iter().collect();
    restore_parameters(&parameters, &recorded.below("weights/"), Path::new("decoder.safetensors")).unwrap();
    (parameters, decoder)
}

/// Runs `check` with the name, the config, the parameters and the decoder of every variant.
fn each_variant(precision: Precision, check: impl Fn(&Recorded, &str, &ModelConfig, (BTreeMap<String, Tensor>, Decoder))) {
    let recorded = Recorded::open("decoder");
    for (name, config) in variants() {
        check(&recorded, &name, &config, decoder(&recorded, &config, precision));
    }
}

#[test]
fn logits_loss_and_every_gradient_are_those_of_pytorch() {
    each_variant(Precision::Float32, |recorded, variant, _, (parameters, decoder)| {
        let get = |name: &str| recorded.get(&format!("{variant}/{name}"));
        let (ids, targets) = (get("ids"), get("targets"));
        assert_near(&decoder.forward(&ids), &get("logits"), 5e-6, &format!("{variant}: logits"));
        let loss = next_token_loss(&decoder, &ids, &targets);
        assert_near(&loss, &get("loss"), 1e-6, &format!("{variant}: loss"));
        loss.backward();
        let gradients = recorded.below(&format!("{variant}/gradient/"));
        assert!(gradients.keys().eq(parameters.keys()), "{variant} has other parameters than PyTorch's");
        for (name, gradient) in &gradients {
            assert_near(&parameters[name].grad(), gradient, 1e-5, &format!("{variant}: gradient of {name}"));
        }
    });
}

/// What the tests above and below rely on: in the recorded models no number lies so near to the next code that another order of summation,
/// as other processors have it, moves it there. Weights that differ by ten roundings give the same logits to a few of them.
#[test]
fn no_rounding_moves_a_code_of_the_recorded_models() {
    each_variant(Precision::Float32, |recorded, variant, _, (parameters, decoder)| {
        let (ids, expected) = (recorded.get(&format!("{variant}/ids")), recorded.get(&format!("{variant}/logits")));
        for seed in 0..20 {
            bitnet::libtorch::random::seed(seed).unwrap();
            let shaken: BTreeMap<String, Tensor> =
                parameters.iter().map(|(name, parameter)| (name.clone(), recorded::shaken(parameter))).collect();
            let before: BTreeMap<String, Tensor> =
                parameters.iter().map(|(name, parameter)| (name.clone(), parameter.detach().copy())).collect();
            restore_parameters(&parameters, &shaken, Path::new("shaken")).unwrap();
            assert_near(&no_grad(|| decoder.forward(&ids)), &expected, 1e-4, variant);
            restore_parameters(&parameters, &before, Path::new("before")).unwrap();
        }
    });
}

#[test]
fn one_adamw_step_moves_the_parameters_as_in_pytorch() {
    let config = OptimizerConfig {
        learning_rate: 0.01,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        decay_norms: false,
        decay_embeddings: false,
    };
    each_variant(Precision::Float32, |recorded, variant, _, (parameters, decoder)| {
        let mut optimizer = Adamw::new(&parameters, &config);
        next_token_loss(&decoder, &recorded.get(&format!("{variant}/ids")), &recorded.get(&format!("{variant}/targets"))).backward();
        optimizer.step(config.learning_rate, config.weight_decay).unwrap();
        let stepped = recorded.below(&format!("{variant}/stepped/"));
        assert_eq!(stepped.len(), 3);
        for (name, expected) in stepped {
            // The first step is the gradient over its magnitude: where that is near epsilon, its own rounding shows.
            assert_near(&parameters[&name], &expected, 1e-5, &format!("{variant}: {name}"));
        }
    });
}

#[test]
fn bfloat16_products_give_nearly_the_logits_of_float32() {
    each_variant(Precision::Bfloat16, |recorded, variant, _, (_, decoder)| {
        let logits = decoder.forward(&recorded.get(&format!("{variant}/ids")));
        assert_eq!(logits.kind(), Kind::Float);
        // A rounding that changes a 4-bit code changes it by an eighth of the range, an 8-bit one by a 128th.
        let limit = if variant == "low_bit" { 0.3 } else { 5e-2 };
        assert_near(&logits, &recorded.get(&format!("{variant}/logits")), limit, variant);
    });
}

#[test]
fn a_later_token_never_changes_an_earlier_logit() {
    for precision in [Precision::Float32, Precision::Bfloat16] {
        each_variant(precision, |recorded, variant, _, (_, decoder)| {
            let ids = recorded.get(&format!("{variant}/ids"));
            let before = no_grad(|| decoder.forward(&ids));
            for position in 1..9 {
                let changed = ids.copy();
                let later = changed.narrow(1, position, 9 - position);
                later.shallow_clone().copy_(&((&later + 11).remainder(37)));
                let after = no_grad(|| decoder.forward(&changed));
                let earlier = |logits: &Tensor| bits(&logits.narrow(1, 0, position));
                assert!(earlier(&before) == earlier(&after), "{variant} {precision:?}: token {position} changed an earlier logit");
                assert_ne!(bits(&before.select(1, position)), bits(&after.select(1, position)), "{variant}: its own logits change");
            }
        });
    }
}

#[test]
fn sequences_of_a_batch_do_not_see_each_other() {
    each_variant(Precision::Float32, |recorded, variant, _, (_, decoder)| {
        let ids = recorded.get(&format!("{variant}/ids"));
        let together = no_grad(|| decoder.forward(&ids));
        for row in 0..2 {
            let alone = no_grad(|| decoder.forward(&ids.narrow(0, row, 1)));
            assert_near(&alone, &together.narrow(0, row, 1), 2e-6, variant);
        }
    });
}

#[test]
fn the_configs_parameter_count_is_that_of_the_tensors() {
    each_variant(Precision::Float32, |_, variant, config, (parameters, _)| {
        let found: usize = parameters.values().map(Tensor::numel).sum();
        assert_eq!(config.num_parameters(), found, "{variant}");
    });
    let experiment = arithmetic(&[]);
    let found: usize = Network::new(&experiment, Device::Cpu)
        .unwrap()
        .optimizer
        .state()
        .iter()
        .filter(|(name, _)| name.ends_with(".exp_avg"))
        .map(|(_, tensor)| tensor.numel())
        .sum();
    assert_eq!(experiment.model.num_parameters(), found);
}

/// The arithmetic experiment with the usual initial weights, and some keys set.
fn arithmetic(set: &[&str]) -> Experiment {
    let set = ["model.initializer_range=0.02"].iter().chain(set).map(|key| key.to_string()).collect();
    let overrides = Overrides { device: Some(DeviceChoice::Cpu), batch_size: Some(32), set, ..Default::default() };
    load("experiments/arithmetic", &overrides).unwrap()
}

fn first_loss(experiment: &Experiment) -> (Network, Tensor) {
    let task = Task::of(&experiment.data).unwrap().unwrap();
    let tokenizer = Tokenizer::characters(task.alphabet(), experiment.model.vocab_size).unwrap();
    let network = Network::new(experiment, Device::Cpu).unwrap();
    let loss = Pretraining::new(experiment, &tokenizer).unwrap().next_loss(&network.decoder).unwrap();
    (network, loss)
}

#[test]
fn the_first_loss_of_an_untrained_model_is_that_of_guessing() {
    for set in [
        &["seed=1"][..],
        &["seed=2"],
        &["precision=float32"],
        &["model.tie_word_embeddings=false"],
        &["model.bit_linear.norm=inside", "model.sub_norms=false"],
    ] {
        let (_, loss) = first_loss(&arithmetic(set));
        let (loss, guess) = (loss.double_value(&[]), 32f64.ln());
        assert!((loss - guess).abs() < 0.05 * guess, "{set:?}: {loss}, not about {guess}");
    }
}

#[test]
fn every_projection_and_every_norm_gets_a_gradient() {
    for set in [&[][..], &["precision=float32"], &["model.bit_linear.norm=inside", "model.sub_norms=false"], &["model.hidden_act=silu"]] {
        let experiment = arithmetic(set);
        let (network, loss) = first_loss(&experiment);
        loss.backward();
        let mut num_projections = 0;
        for (layer, name, projection) in network.decoder.projections() {
            assert!(projection.weight().grad().abs().max().double_value(&[]) > 0.0, "{set:?}: no gradient in {layer}.{name}");
            num_projections += 1;
        }
        assert_eq!(num_projections, 7 * experiment.model.num_hidden_layers);
    }
    each_variant(Precision::Float32, |recorded, variant, _, (parameters, decoder)| {
        next_token_loss(&decoder, &recorded.get(&format!("{variant}/ids")), &recorded.get(&format!("{variant}/targets"))).backward();
        for (name, parameter) in parameters {
            assert!(parameter.grad().abs().max().double_value(&[]) > 0.0, "{variant}: no gradient in {name}");
        }
    });
}

#[test]
fn targets_that_are_left_out_have_no_say_in_the_loss() {
    each_variant(Precision::Float32, |recorded, variant, _, (_, decoder)| {
        let (ids, targets) = (recorded.get(&format!("{variant}/ids")), recorded.get(&format!("{variant}/targets")));
        let loss = next_token_loss(&decoder, &ids, &targets).double_value(&[]);
        let per_token = decoder.forward(&ids).log_softmax(-1, Kind::Float);
        let counts = targets.not_equal(IGNORED_TARGET);
        let chosen = per_token.gather(2, &targets.clamp_min(0).unsqueeze(2), false).squeeze_dim(2);
        let mean = -(chosen * &counts).sum(Kind::Double).double_value(&[]) / counts.sum(Kind::Double).double_value(&[]);
        assert!((loss - mean).abs() < 1e-5, "{variant}: {loss}, by hand {mean}");
    });
}
