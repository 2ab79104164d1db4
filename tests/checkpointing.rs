//! Activation checkpointing: the same loss and gradients for less memory, whatever the layers compute with.

#![cfg(feature = "torch")]

use bitnet::config::{Activation, ActivationQuantizer, ModelConfig, NormPlacement, Overrides, Precision, WeightQuantizer, load};
use bitnet::libtorch::{caught, checkpointed};
use bitnet::model::{Activations, Decoder};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny/config.yaml");

fn tiny_model() -> ModelConfig {
    load(Path::new(CONFIG), &Overrides::default()).unwrap().model
}

/// The loss on a batch of made-up tokens, and the gradient of every parameter, which is forgotten afterwards.
fn loss_and_gradients(decoder: &Decoder, store: &VarStore, vocab_size: usize) -> (f64, BTreeMap<String, Tensor>) {
    let tokens = (Tensor::arange(3 * 8, (Kind::Int64, Device::Cpu)) * 7).remainder(vocab_size as i64).view([3, 8]);
    let loss = decoder.next_token_loss(&tokens, &tokens.roll([-1], [1]), -100);
    loss.backward();
    let gradients = store.variables().into_iter().map(|(name, mut parameter)| {
        let gradient = parameter.grad().copy();
        parameter.zero_grad();
        (name, gradient)
    });
    (loss.double_value(&[]), gradients.collect())
}

#[track_caller]
fn assert_checkpointing_changes_nothing(model: &ModelConfig, precision: Precision) {
    let store = VarStore::new(Device::Cpu);
    let decoder = Decoder::new(&store.root(), model, precision);
    let (loss, gradients) = loss_and_gradients(&decoder, &store, model.vocab_size);
    let decoder = decoder.keeping(Activations::BlockInputs);
    let (checkpointed_loss, checkpointed) = loss_and_gradients(&decoder, &store, model.vocab_size);
    assert_eq!(loss, checkpointed_loss);
    assert!(gradients.len() > 10);
    for (name, gradient) in &gradients {
        assert!(gradient.abs().max().double_value(&[]) > 0.0, "{name} has no gradient");
        assert!(gradient.equal(&checkpointed[name]), "{name} differs");
    }
}

#[test]
fn gradients_are_those_of_a_pass_that_keeps_everything_to_the_bit() {
    for precision in [Precision::Float32, Precision::Bfloat16] {
        assert_checkpointing_changes_nothing(&tiny_model(), precision);
    }
}

#[test]
fn full_precision_and_norms_inside_are_checkpointed_alike() {
    let mut model = tiny_model();
    model.bit_linear.weights = WeightQuantizer::None;
    model.bit_linear.activations = ActivationQuantizer::None;
    model.bit_linear.norm = NormPlacement::Inside;
    model.hidden_act = Activation::Silu;
    assert_checkpointing_changes_nothing(&model, Precision::Float32);
}

#[test]
fn the_body_runs_again_only_for_a_gradient_and_is_dropped_with_the_graph() {
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let input = Tensor::from_slice(&[1f32, 2.0]).set_requires_grad(true);
    let output = checkpointed(&input, move |input| {
        counted.set(counted.get() + 1);
        input * input
    });
    assert_eq!((calls.get(), Rc::strong_count(&calls)), (1, 2));
    output.sum(Kind::Float).backward();
    assert_eq!(calls.get(), 2);
    assert_eq!(Vec::<f32>::try_from(input.grad()).unwrap(), [2.0, 4.0]);
    drop(output);
    assert_eq!(Rc::strong_count(&calls), 1);
}

#[test]
fn without_gradients_the_body_runs_once_and_nothing_is_kept() {
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let output = no_grad(|| {
        checkpointed(&Tensor::from_slice(&[3f32]).set_requires_grad(true), move |input| {
            counted.set(counted.get() + 1);
            input + 1
        })
    });
    assert_eq!((output.double_value(&[0]), calls.get(), Rc::strong_count(&calls)), (4.0, 1, 1));
}

#[test]
fn what_fails_in_the_first_or_in_the_second_run_is_an_error_with_its_message() {
    let input = Tensor::from_slice(&[1f32, 2.0]).set_requires_grad(true);
    let first = caught(|| Ok(checkpointed(&input, |input| input.view([3])))).unwrap_err();
    assert!(first.to_string().contains("shape '[3]' is invalid"), "{first}");
    let is_second = Cell::new(false);
    let second = caught(|| {
        let body = move |input: &Tensor| if is_second.replace(true) { input.view([3]) } else { input * 2 };
        checkpointed(&input, body).sum(Kind::Float).backward();
        Ok(())
    });
    let second = second.unwrap_err();
    assert!(second.to_string().contains("shape '[3]' is invalid"), "{second}");
}
