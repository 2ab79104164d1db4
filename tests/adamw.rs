//! AdamW against five steps that PyTorch recorded, and its rules: what decays, what a saved state gives, what it refuses.
#![cfg(feature = "torch")]

mod recorded;

use bitnet::config::OptimizerConfig;
use bitnet::libtorch::{TensorFile, clip_gradients, clip_gradients_late, load_tensors};
use bitnet::optimizer::Adamw;
use bitnet::train::{StepNumbers, launch_step, take_step};
use recorded::{Recorded, assert_near, bits, floats};
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Device, Kind, Tensor, no_grad};

type Parameters = BTreeMap<String, Tensor>;

fn config() -> OptimizerConfig {
    OptimizerConfig {
        learning_rate: 0.0,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.0,
        decay_norms: false,
        decay_embeddings: false,
    }
}

fn parameters(values: &[(&str, Tensor)]) -> Parameters {
    values.iter().map(|(name, value)| (name.to_string(), value.copy().set_requires_grad(true))).collect()
}

/// Makes `gradient` the gradient of `parameter`, as a backward pass does.
fn set_gradient(parameter: &Tensor, gradient: &Tensor) {
    (parameter * gradient).sum(Kind::Float).backward();
}

fn recorded_parameters(recorded: &Recorded) -> Parameters {
    parameters(&[("a", recorded.get("a/initial")), ("b", recorded.get("b/initial"))])
}

/// Step `number` of the recording, from 1.
fn recorded_step(recorded: &Recorded, optimizer: &mut Adamw, parameters: &Parameters, number: i64) {
    optimizer.drop_gradients().unwrap();
    for (name, parameter) in parameters {
        set_gradient(parameter, &recorded.get(&format!("{name}/gradient/{number}")));
    }
    let value = |name| recorded.get(name).double_value(&[number - 1]);
    optimizer.step(value("learning_rate"), value("weight_decay")).unwrap();
}

#[test]
fn five_steps_give_the_parameters_and_the_state_of_pytorch() {
    let recorded = Recorded::open("adamw");
    let parameters = recorded_parameters(&recorded);
    let mut optimizer = Adamw::new(&parameters, &config());
    for number in 1..=5 {
        recorded_step(&recorded, &mut optimizer, &parameters, number);
        let state = optimizer.state();
        for (name, parameter) in &parameters {
            let near = |found: &Tensor, kind: &str| {
                assert_near(found, &recorded.get(&format!("{name}/{kind}/{number}")), 5e-7, &format!("{name}/{kind}/{number}"));
            };
            near(parameter, "parameter");
            near(&state[&format!("{name}.exp_avg")], "exp_avg");
            near(&state[&format!("{name}.exp_avg_sq")], "exp_avg_sq");
            assert_eq!(state[&format!("{name}.step")].double_value(&[]), number as f64);
        }
    }
}

#[test]
fn a_state_that_was_saved_and_restored_takes_the_same_next_steps() {
    let recorded = Recorded::open("adamw");
    let parameters = recorded_parameters(&recorded);
    let mut optimizer = Adamw::new(&parameters, &config());
    (1..=3).for_each(|number| recorded_step(&recorded, &mut optimizer, &parameters, number));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("optimizer.safetensors");
    TensorFile::new(optimizer.state()).unwrap().write_to(&mut std::fs::File::create(&path).unwrap()).unwrap();
    let copies: Parameters =
        parameters.iter().map(|(name, tensor)| (name.clone(), tensor.detach().copy().set_requires_grad(true))).collect();
    let mut restored = Adamw::new(&copies, &config());
    restored.restore(&load_tensors(&path).unwrap(), &path).unwrap();
    for number in 4..=5 {
        recorded_step(&recorded, &mut optimizer, &parameters, number);
        recorded_step(&recorded, &mut restored, &copies, number);
    }
    for (name, parameter) in &parameters {
        assert_eq!(bits(parameter), bits(&copies[name]), "{name}");
    }
}

#[test]
fn a_state_without_a_tensor_is_refused_by_its_name_and_file() {
    let parameters = parameters(&[("a", Tensor::ones([2], (Kind::Float, Device::Cpu)))]);
    let mut optimizer = Adamw::new(&parameters, &config());
    let mut state: Parameters = optimizer.state();
    state.remove("a.exp_avg_sq");
    let message = optimizer.restore(&state, Path::new("some/optimizer.safetensors")).unwrap_err().to_string();
    assert!(message.contains("some/optimizer.safetensors") && message.contains("a.exp_avg_sq"), "{message}");
}

#[test]
fn norms_and_embeddings_decay_only_where_the_config_says_so() {
    let names = [
        "model.embed_tokens.weight",
        "lm_head.weight",
        "model.norm.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.self_attn.attn_sub_norm.weight",
        "model.layers.0.mlp.down_proj.norm.weight",
        "model.layers.0.mlp.down_proj.weight",
    ];
    for (decay_norms, decay_embeddings) in [(false, false), (true, false), (false, true), (true, true)] {
        let parameters = parameters(&names.map(|name| (name, Tensor::full([2], 2.0, (Kind::Float, Device::Cpu)))));
        let mut optimizer = Adamw::new(&parameters, &OptimizerConfig { decay_norms, decay_embeddings, ..config() });
        parameters.values().for_each(|parameter| set_gradient(parameter, &parameter.zeros_like()));
        optimizer.step(0.5, 0.1).unwrap();
        for (name, parameter) in &parameters {
            let decays = match name.as_str() {
                "model.layers.0.mlp.down_proj.weight" => true,
                "model.embed_tokens.weight" | "lm_head.weight" => decay_embeddings,
                _ => decay_norms,
            };
            let expected = if decays { 2.0 * (1.0 - 0.5 * 0.1) } else { 2.0 };
            assert_eq!(floats(parameter), [expected; 2], "{name} with norms {decay_norms}, embeddings {decay_embeddings}");
        }
    }
}

#[test]
fn clipping_scales_all_gradients_by_their_common_norm() {
    // 3, 4 and 12: the norm is 13.
    let parameters =
        parameters(&[("a", Tensor::zeros([2], (Kind::Float, Device::Cpu))), ("b", Tensor::zeros([1], (Kind::Float, Device::Cpu)))]);
    let optimizer = Adamw::new(&parameters, &config());
    set_gradient(&parameters["a"], &Tensor::from_slice(&[3f32, 4.0]));
    set_gradient(&parameters["b"], &Tensor::from_slice(&[-12f32]));
    assert_eq!(optimizer.clip(26.0).unwrap(), 13.0);
    assert_eq!(floats(&parameters["a"].grad()), [3.0, 4.0]);
    assert_eq!(optimizer.clip(6.5).unwrap(), 13.0);
    assert_near(&parameters["a"].grad(), &Tensor::from_slice(&[1.5f32, 2.0]), 2e-7, "a");
    assert_near(&parameters["b"].grad(), &Tensor::from_slice(&[-6f32]), 2e-7, "b");
}

#[test]
fn a_gradient_that_is_not_finite_is_reported_and_changes_nothing() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let gradients = [Tensor::from_slice(&[1f32, bad]), Tensor::from_slice(&[2f32])];
        let before: Vec<Vec<u32>> = gradients.iter().map(bits).collect();
        let norm = clip_gradients(&gradients, 1.0).unwrap();
        if bad != f32::MAX {
            assert!(!norm.is_finite(), "{bad} gave the norm {norm}");
        }
        assert!(norm.is_finite() || before == gradients.iter().map(bits).collect::<Vec<_>>(), "{bad}");
    }
}

#[test]
fn a_step_with_a_bad_loss_or_gradient_never_reaches_weights_or_state() {
    let numbers = StepNumbers { learning_rate: 0.1, weight_decay: 0.1, max_grad_norm: 1.0 };
    for factor in [f64::NAN, f64::INFINITY] {
        let parameters = parameters(&[("a", Tensor::from_slice(&[1f32, -2.0]))]);
        let mut optimizer = Adamw::new(&parameters, &config());
        let losses = [1.0, factor].map(|factor| Ok((&parameters["a"] * factor).sum(Kind::Float)));
        let outcome = take_step(&mut optimizer, losses.into_iter(), numbers).unwrap();
        assert!(!outcome.was_applied, "{factor}");
        assert_eq!(floats(&parameters["a"]), [1.0, -2.0]);
        assert!(optimizer.state().values().all(|tensor| floats(tensor).iter().all(|&value| value == 0.0)));
        let good = [Ok((&parameters["a"] * 2.0).sum(Kind::Float))];
        let outcome = take_step(&mut optimizer, good.into_iter(), numbers).unwrap();
        assert!(outcome.was_applied && floats(&parameters["a"])[0] < 1.0, "the step after a skipped one is taken");
    }
}

#[test]
fn micro_batches_give_the_step_of_their_mean() {
    let numbers = StepNumbers { learning_rate: 0.1, weight_decay: 0.0, max_grad_norm: 1e9 };
    let start = || parameters(&[("a", Tensor::from_slice(&[1f32, -2.0]))]);
    let loss = |parameters: &Parameters, factor: f64| Ok((&parameters["a"] * factor).square().sum(Kind::Float));
    let (split, whole) = (start(), start());
    let outcome = take_step(&mut Adamw::new(&split, &config()), [loss(&split, 1.0), loss(&split, 3.0)].into_iter(), numbers).unwrap();
    let mean = [Ok((loss(&whole, 1.0).unwrap() + loss(&whole, 3.0).unwrap()) / 2.0)];
    let expected = take_step(&mut Adamw::new(&whole, &config()), mean.into_iter(), numbers).unwrap();
    assert_eq!((outcome.loss, outcome.was_applied), (expected.loss, true));
    assert_near(&split["a"], &whole["a"], 1e-7, "a");
}

#[test]
fn a_parameter_that_is_no_part_of_the_loss_is_an_error_that_names_it() {
    let parameters = parameters(&[
        ("used", Tensor::ones([2], (Kind::Float, Device::Cpu))),
        ("forgotten", Tensor::ones([2], (Kind::Float, Device::Cpu))),
    ]);
    let mut optimizer = Adamw::new(&parameters, &config());
    set_gradient(&parameters["used"], &no_grad(|| parameters["used"].ones_like()));
    let message = optimizer.step(0.1, 0.0).unwrap_err().to_string();
    assert!(message.contains("forgotten"), "{message}");
}

#[test]
fn a_step_that_is_launched_gives_the_weights_state_and_numbers_of_one_that_is_taken() {
    let numbers = StepNumbers { learning_rate: 0.1, weight_decay: 0.1, max_grad_norm: 1.0 };
    let start = || parameters(&[("a", Tensor::from_slice(&[1f32, -2.0, 0.3])), ("norm", Tensor::from_slice(&[0.5f32]))]);
    let (taken, launched) = (start(), start());
    let (mut one, mut other) = (Adamw::new(&taken, &config()), Adamw::new(&launched, &config()));
    let losses = |parameters: &Parameters, factor: f64| {
        [1.0, factor].map(|factor| Ok((&parameters["a"] * factor).square().sum(Kind::Float) + parameters["norm"].sum(Kind::Float)))
    };
    for factor in [3.0, f64::NAN, 0.7, f64::INFINITY, 1e-3] {
        let outcome = take_step(&mut one, losses(&taken, factor).into_iter(), numbers).unwrap();
        let late = launch_step(&mut other, losses(&launched, factor).into_iter(), numbers).unwrap().outcome().unwrap();
        assert_eq!((outcome.loss.to_bits(), outcome.was_applied), (late.loss.to_bits(), late.was_applied), "{factor}");
        assert_eq!(outcome.grad_norm.to_bits(), late.grad_norm.to_bits(), "{factor}");
        assert_eq!(outcome.was_applied, factor.is_finite());
        assert!(taken.iter().all(|(name, tensor)| bits(tensor) == bits(&launched[name])), "{factor}");
        let (state, late_state) = (one.state(), other.state());
        assert!(state.iter().all(|(name, tensor)| bits(tensor) == bits(&late_state[name])), "{factor}");
    }
}

/// On the CPU float32 gradients have a kernel of their own; others take the operations that a GPU takes.
#[test]
fn a_norm_that_is_not_read_scales_gradients_as_one_that_is() {
    for (numbers, max_norm) in [([3f64, -4.0], 1.0), ([3.0, -4.0], 7.0), ([f64::NAN, 1.0], 1.0), ([f64::INFINITY, 1.0], 1.0)] {
        let gradients = || [Tensor::from_slice(&numbers), Tensor::from_slice(&[0.25f64])];
        let (read, unread) = (gradients(), gradients());
        let norm = clip_gradients(&read, max_norm).unwrap();
        let late = clip_gradients_late(&unread, max_norm).unwrap();
        assert_eq!(norm.to_bits(), late.double_value(&[]).to_bits());
        for (read, unread) in read.iter().zip(&unread) {
            let numbers = |tensor: &Tensor| Vec::<f64>::try_from(tensor).unwrap().into_iter().map(f64::to_bits).collect::<Vec<_>>();
            assert_eq!(numbers(read), numbers(unread), "{max_norm}");
        }
    }
}
