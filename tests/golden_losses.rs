//! The first losses of the arithmetic experiment against those that PyTorch computed from the same weights and batches
//! (tests/golden/README.md says how they were recorded).
#![cfg(feature = "torch")]

use bitnet::config::{DataConfig, DeviceChoice, Experiment, Overrides, Precision, load};
use bitnet::data::ArithmeticSource;
use bitnet::model::TensorFile;
use bitnet::schedule::{learning_rate, weight_decay};
use bitnet::tasks::Task;
use bitnet::tokenizer::Tokenizer;
use bitnet::train::{Network, Objective, Pretraining, StepNumbers, take_step};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tch::{Device, Tensor};

const NUM_STEPS: u64 = 20;
const GOLDEN: &str = "tests/golden/arithmetic_losses.csv";

fn experiment() -> Experiment {
    let overrides = Overrides {
        batch_size: Some(16),
        precision: Some(Precision::Float32),
        device: Some(DeviceChoice::Cpu),
        ..Default::default()
    };
    load("experiments/arithmetic", &overrides).unwrap()
}

fn tokenizer(experiment: &Experiment) -> Tokenizer {
    Tokenizer::characters(Task::new(&experiment.data).unwrap().alphabet(), experiment.model.vocab_size).unwrap()
}

/// The initial network. libtorch has one random state a process, so tests take turns.
fn network(experiment: &Experiment) -> Network {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Network::new(experiment, Device::Cpu)
}

fn losses(experiment: &Experiment) -> Vec<f64> {
    let mut network = network(experiment);
    let mut objective = Pretraining::new(experiment, &tokenizer(experiment)).unwrap();
    let step = |step| {
        let losses = [objective.next_loss(&network.decoder)];
        let numbers = StepNumbers {
            learning_rate: learning_rate(&experiment.train, step),
            weight_decay: weight_decay(&experiment.train, step),
            max_grad_norm: experiment.train.max_grad_norm,
        };
        take_step(&mut network.optimizer, losses.into_iter(), numbers).unwrap().loss
    };
    (1..=NUM_STEPS).map(step).collect()
}

#[test]
fn the_first_twenty_losses_are_those_of_pytorch() {
    let golden = fs::read_to_string(GOLDEN).unwrap();
    let golden: Vec<f64> = golden.lines().skip(1).map(|line| line.split_once(',').unwrap().1.parse().unwrap()).collect();
    assert_eq!(golden.len() as u64, NUM_STEPS);
    for (index, (found, expected)) in losses(&experiment()).into_iter().zip(golden).enumerate() {
        let distance = (found / expected - 1.0).abs();
        assert!(distance < 1e-3, "step {}: loss {found}, recorded {expected}, {distance:.1e} away", index + 1);
    }
}

#[test]
fn twice_the_same_run_gives_the_same_losses_bit_for_bit() {
    let experiment = experiment();
    assert_eq!(losses(&experiment), losses(&experiment));
}

/// Writes what make_golden_losses.py starts from into the directory that `BITNET_GOLDEN_DUMP` names; without it, does nothing.
#[test]
fn the_start_of_the_golden_run_can_be_dumped() {
    let Some(dir) = std::env::var_os("BITNET_GOLDEN_DUMP") else { return };
    let (dir, experiment) = (Path::new(&dir), experiment());
    fs::create_dir_all(dir).unwrap();
    let network = network(&experiment);
    let mut weights = fs::File::create(dir.join("weights.safetensors")).unwrap();
    network.weights_file().unwrap().write_to(&mut weights).unwrap();
    let mut batches = fs::File::create(dir.join("batches.safetensors")).unwrap();
    TensorFile::new(batches_and_schedule(&experiment)).unwrap().write_to(&mut batches).unwrap();
    fs::write(dir.join("experiment.json"), serde_json::to_string(&experiment).unwrap()).unwrap();
}

/// `inputs/<step>` and `targets/<step>`, int64 `[rows, seq_len]`; `learning_rate` and `weight_decay`, float64 `[steps]`.
fn batches_and_schedule(experiment: &Experiment) -> BTreeMap<String, Tensor> {
    let DataConfig::Arithmetic(arithmetic) = &experiment.data;
    let source = ArithmeticSource::new(arithmetic, &tokenizer(experiment), experiment.seed).unwrap();
    let train = &experiment.train;
    let mut tensors = BTreeMap::new();
    for step in 1..=NUM_STEPS {
        let batch = source.batch(step - 1, train.batch_size, train.seq_len).unwrap();
        let tensor = |ids: &[i64]| Tensor::from_slice(ids).view([batch.rows as i64, batch.seq_len as i64]);
        tensors.insert(format!("inputs/{step}"), tensor(&batch.inputs));
        tensors.insert(format!("targets/{step}"), tensor(&batch.targets));
    }
    let over_steps = |value: fn(&bitnet::config::TrainConfig, u64) -> f64| {
        Tensor::from_slice(&(1..=NUM_STEPS).map(|step| value(train, step)).collect::<Vec<f64>>())
    };
    tensors.insert("learning_rate".into(), over_steps(learning_rate));
    tensors.insert("weight_decay".into(), over_steps(weight_decay));
    tensors
}
