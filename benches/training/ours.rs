//! Our side of the benchmark: steps of the product's own path on the tokens that both sides share, and the files that hand
//! these tokens, the initial weights and the config to the other side.

use super::measurement::Turn;
use bitnet::config::{Experiment, Precision};
use bitnet::libtorch::{TensorFile, load_tensors};
use bitnet::random::Random;
use bitnet::train::{Network, StepNumbers, next_token_loss, take_step};
use bitnet::{Context, Error, Result};
use std::fs::{self, File};
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::time::Instant;
use tch::{Device, Tensor};

const CONFIG: &str = "config.json";
const TOKENS: &str = "tokens.safetensors";
const WEIGHTS: &str = "weights.safetensors";

/// Writes `experiment` where workers look for it.
pub fn write_config(directory: &Path, experiment: &Experiment) -> Result<()> {
    fs::write(directory.join(CONFIG), serde_json::to_vec_pretty(experiment)?).context(|| format!("writing {CONFIG}"))
}

/// Writes the tokens and initial weights of the experiment in `directory`.
pub fn prepare(directory: &Path) -> Result<()> {
    let experiment = read_config(directory)?;
    write(&TensorFile::new(random_tokens(&experiment))?, &directory.join(TOKENS))?;
    write(&Network::new(&experiment, Device::Cpu)?.weights_file()?, &directory.join(WEIGHTS))
}

/// `inputs` and `targets`, int64 `[micro-batches, rows, sequence]`; a target is the token after its input. They are those of one step:
/// every step sees the same, so that there is something to learn and a side that learns wrongly is seen by its loss.
fn random_tokens(experiment: &Experiment) -> [(String, Tensor); 2] {
    let (train, vocabulary) = (&experiment.train, experiment.model.vocab_size as u64);
    let shape = [train.accumulation_steps, train.batch_size, train.seq_len + 1];
    let mut random = Random::derive(experiment.seed, "tokens of the training benchmark", 0);
    let tokens: Vec<i64> = (0..shape.iter().product()).map(|_| random.below(vocabulary) as i64).collect();
    let tokens = Tensor::from_slice(&tokens).view(shape.map(|size| size as i64));
    let from = |start| tokens.narrow(2, start, train.seq_len as i64).contiguous();
    [("inputs".to_owned(), from(0)), ("targets".to_owned(), from(1))]
}

fn read_config(directory: &Path) -> Result<Experiment> {
    let path = directory.join(CONFIG);
    Ok(serde_json::from_slice(&fs::read(&path).context(|| format!("reading {}", path.display()))?)?)
}

fn write(file: &TensorFile, path: &Path) -> Result<()> {
    file.write_to(&mut File::create(path).context(|| format!("writing {}", path.display()))?)
}

/// A network in training on the shared tokens.
pub struct Training {
    network: Network,
    /// The micro-batches of a step.
    batches: Vec<(Tensor, Tensor)>,
    numbers: StepNumbers,
}

impl Training {
    /// The beginning of the experiment in `directory`, in `precision`; `threads` is libtorch's choice when absent.
    pub fn new(directory: &Path, precision: Precision, threads: Option<i32>) -> Result<Self> {
        threads.into_iter().for_each(tch::set_num_threads);
        let experiment = Experiment { precision, ..read_config(directory)? };
        let tokens = load_tensors(&directory.join(TOKENS))?;
        let of = |name: &str| tokens.get(name).map(|all| all.unbind(0)).ok_or_else(|| Error::ours(format!("{TOKENS} lacks {name}")));
        let (train, optimizer) = (&experiment.train, &experiment.train.optimizer);
        Ok(Self {
            network: Network::new(&experiment, Device::Cpu)?,
            batches: of("inputs")?.into_iter().zip(of("targets")?).collect(),
            numbers: StepNumbers {
                learning_rate: optimizer.learning_rate,
                weight_decay: optimizer.weight_decay,
                max_grad_norm: train.max_grad_norm,
            },
        })
    }

    /// Takes a step and returns its loss.
    pub fn step(&mut self) -> Result<f64> {
        let Network { decoder, optimizer, .. } = &mut self.network;
        let losses = self.batches.iter().map(|(inputs, targets)| Ok(next_token_loss(decoder, inputs, targets)));
        let outcome = take_step(optimizer, losses, self.numbers)?;
        outcome.was_applied.then_some(outcome.loss).ok_or_else(|| Error::ours("a loss or gradient is not finite"))
    }

    /// Takes as many steps as each line of stdin says, and answers each with a line of JSON, until stdin ends.
    pub fn serve(&mut self) -> Result<()> {
        for line in stdin().lock().lines() {
            let num_steps: usize = line?.trim().parse().context(|| "a line that is no number of steps")?;
            let turn = self.take_turn(num_steps)?;
            let mut out = stdout().lock();
            writeln!(out, "{}", serde_json::to_string(&turn)?)?;
            out.flush()?;
        }
        Ok(())
    }

    fn take_turn(&mut self, num_steps: usize) -> Result<Turn> {
        let mut turn = Turn::default();
        for _ in 0..num_steps {
            let begin = Instant::now();
            turn.losses.push(self.step()?);
            turn.seconds.push(begin.elapsed().as_secs_f64());
        }
        Ok(turn)
    }
}
