//! The first losses of the arithmetic experiment against those that PyTorch computed from the same weights and batches
//! (tests/golden/README.md says how they were recorded).
#![cfg(feature = "torch")]

use bitnet::config::{DataConfig, DeviceChoice, Experiment, Overrides, Precision, load};
use bitnet::data::ArithmeticSource;
use bitnet::libtorch::TensorFile;
use bitnet::schedule::{learning_rate, weight_decay};
use bitnet::tasks::Task;
use bitnet::tokenizer::Tokenizer;
use bitnet::train::{Network, Objective, Pretraining, StepNumbers, take_step};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tch::{Device, Tensor};

const NUM_STEPS: u64 = 200;
/// Steps that are compared one by one: later ones only on average.
const NUM_FIRST: u64 = 20;
/// Steps whose mean is compared: the first hundred, while the learning rate rises and every rounding moves all that follows, are chance.
const SETTLED: std::ops::Range<usize> = 100..200;
const GOLDEN: &str = "tests/golden/arithmetic_losses.csv";

/// The columns of the golden file after `step`: the experiment as it is, and its twin without quantizers.
const TERNARY: &str = "ternary";
const FULL_PRECISION: &str = "full_precision";

/// What the recipe was when it was recorded, in place of what it has become.
const RECORDED: [&str; 5] = [
    "model.initializer_range=0.02",
    "train.num_steps=5500",
    "train.optimizer.learning_rate=1.5e-3",
    "train.optimizer.beta2=0.95",
    "train.schedule.second_stage.learning_rate=1.0e-3",
];

fn experiment(column: &str) -> Experiment {
    let twin: &[&str] = match column {
        FULL_PRECISION => &["model.bit_linear.weights=none", "model.bit_linear.activations=none"],
        _ => &[],
    };
    let overrides = Overrides {
        batch_size: Some(16),
        precision: Some(Precision::Float32),
        device: Some(DeviceChoice::Cpu),
        set: RECORDED.iter().chain(twin).map(|key| key.to_string()).collect(),
        ..Default::default()
    };
    load("experiments/arithmetic", &overrides).unwrap()
}

fn tokenizer(experiment: &Experiment) -> Tokenizer {
    Tokenizer::characters(Task::of(&experiment.data).unwrap().unwrap().alphabet(), experiment.model.vocab_size).unwrap()
}

fn network(experiment: &Experiment) -> Network {
    Network::new(experiment, Device::Cpu).unwrap()
}

fn losses(experiment: &Experiment, num_steps: u64) -> Vec<f64> {
    losses_of(network(experiment), experiment, num_steps)
}

fn losses_of(mut network: Network, experiment: &Experiment, num_steps: u64) -> Vec<f64> {
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
    (1..=num_steps).map(step).collect()
}

/// The recorded losses.
fn golden(column: &str) -> Vec<f64> {
    let golden = fs::read_to_string(GOLDEN).unwrap();
    let place = golden.lines().next().unwrap().split(',').position(|name| name == column).unwrap();
    let golden: Vec<f64> = golden.lines().skip(1).map(|line| line.split(',').nth(place).unwrap().parse().unwrap()).collect();
    assert_eq!(golden.len() as u64, NUM_STEPS);
    golden
}

fn mean_when_settled(losses: &[f64]) -> f64 {
    losses[SETTLED].iter().sum::<f64>() / SETTLED.len() as f64
}

/// Fails where a loss is further from the recorded one of its step, from 1, than `limit` of the step allows.
fn compare(column: &str, limit: impl Fn(usize) -> f64) {
    for (index, (found, expected)) in losses(&experiment(column), NUM_FIRST).into_iter().zip(golden(column)).enumerate() {
        let (step, distance) = (index + 1, (found / expected - 1.0).abs());
        assert!(distance < limit(step), "{column}, step {step}: loss {found}, recorded {expected}, {distance:.1e} away");
    }
}

#[test]
fn the_first_twenty_losses_without_quantizers_are_those_of_pytorch() {
    compare(FULL_PRECISION, |_| 1e-3);
}

/// So many steps, and how far from the recorded ones, from 1, their losses may be. Rounding to codes is not continuous: other roundings give
/// other losses, more so with every step. These are about twice the largest distances of 14 runs that differ in roundings alone.
const APART: [(usize, f64); 5] = [(2, 1e-3), (5, 6e-3), (10, 1e-2), (15, 4e-2), (20, 1e-1)];

#[test]
fn the_first_twenty_ternary_losses_are_those_of_pytorch_as_far_as_rounding_leaves_them() {
    compare(TERNARY, |step| APART.iter().find(|(steps, _)| step <= *steps).unwrap().1);
}

/// Standard deviation of the mean of [`SETTLED`] among runs that differ in roundings alone, as a share of it.
const DEVIATION: f64 = 0.0089;

/// Chance moves single steps; what is learned over many it hardly moves. The recorded mean is one draw of that chance, and ours is another: by
/// four deviations of such a difference they are apart once in 16,000 times. bfloat16, where attention, head and gradients are in bfloat16
/// against PyTorch in float32, spreads no further.
#[test]
fn the_curve_over_two_hundred_steps_ends_on_that_of_pytorch() {
    let limit = 4.0 * 2f64.sqrt() * DEVIATION;
    let expected = mean_when_settled(&golden(TERNARY));
    for precision in [Precision::Float32, Precision::Bfloat16] {
        let found = mean_when_settled(&losses(&Experiment { precision, ..experiment(TERNARY) }, NUM_STEPS));
        println!("{precision:?}: mean {found:.4}, recorded {expected:.4}");
        assert!((found / expected - 1.0).abs() < limit, "{precision:?}: mean {found}, recorded {expected}, {limit:.3} allowed");
    }
}

#[test]
fn twice_the_same_run_gives_the_same_losses_bit_for_bit() {
    let experiment = experiment(TERNARY);
    assert_eq!(losses(&experiment, NUM_FIRST), losses(&experiment, NUM_FIRST));
}

/// A network whose matrices differ from the usual ones by about a rounding, another one for each `seed`; 0 changes nothing.
fn shaken(experiment: &Experiment, seed: u64) -> Network {
    let network = network(experiment);
    bitnet::libtorch::random::seed(seed).unwrap();
    for (_, _, projection) in network.decoder.projections().filter(|_| seed > 0) {
        let mut weight = projection.weight().shallow_clone();
        let factors = bitnet::libtorch::random::normal(&weight.size(), 1e-7) + 1.0;
        let _ = tch::no_grad(|| weight.g_mul_(&factors));
    }
    network
}

/// Prints what tests/golden/README.md says of the spread.
#[test]
#[ignore = "no test: it prints what roundings do, BITNET_SHAKEN_RUNS times (float32) and half as often (bfloat16)"]
fn what_roundings_do_to_the_curve_is_measured() {
    let count: u64 = std::env::var("BITNET_SHAKEN_RUNS").map_or(4, |count| count.parse().unwrap());
    let recorded = golden(TERNARY);
    for (precision, count) in [(Precision::Float32, count), (Precision::Bfloat16, count / 2)] {
        let experiment = Experiment { precision, ..experiment(TERNARY) };
        for seed in 0..count {
            let found = losses_of(shaken(&experiment, seed), &experiment, NUM_STEPS);
            let apart: Vec<f64> = found.iter().zip(&recorded).map(|(found, recorded)| (found / recorded - 1.0).abs()).collect();
            let largest = [2, 5, 10, 15, 20].map(|steps| format!("{:.1e}", apart[..steps].iter().copied().fold(0.0, f64::max))).join(" ");
            println!("{precision:?} {seed}: within 2, 5, 10, 15, 20 steps {largest} away; settled {:.4}", mean_when_settled(&found));
        }
    }
}

/// Writes what make_golden_losses.py starts from.
#[test]
#[ignore = "no test: it writes into the directory that BITNET_GOLDEN_DUMP names"]
fn the_start_of_the_golden_run_is_dumped() {
    let dir = std::env::var_os("BITNET_GOLDEN_DUMP").unwrap();
    for column in [TERNARY, FULL_PRECISION] {
        dump(&Path::new(&dir).join(column), &experiment(column));
    }
}

fn dump(dir: &Path, experiment: &Experiment) {
    fs::create_dir_all(dir).unwrap();
    let network = network(experiment);
    let mut weights = fs::File::create(dir.join("weights.safetensors")).unwrap();
    network.weights_file().unwrap().write_to(&mut weights).unwrap();
    let mut batches = fs::File::create(dir.join("batches.safetensors")).unwrap();
    TensorFile::new(batches_and_schedule(experiment)).unwrap().write_to(&mut batches).unwrap();
    fs::write(dir.join("experiment.json"), serde_json::to_string(experiment).unwrap()).unwrap();
}

/// `inputs/<step>` and `targets/<step>`, int64 `[rows, seq_len]`; `learning_rate` and `weight_decay`, float64 `[steps]`.
fn batches_and_schedule(experiment: &Experiment) -> BTreeMap<String, Tensor> {
    let DataConfig::Arithmetic(arithmetic) = &experiment.data else { panic!("no problems") };
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
