//! One training step of ours against PyTorch, in one run: every variant lives in a process of its own, and they take turns, so that
//! what disturbs the machine disturbs all alike. Owns who is measured when; the steps are those of `training/ours.rs` and
//! `pytorch_reference.py`, the figures those of `training/measurement.rs`.

#[path = "training/measurement.rs"]
mod measurement;
#[path = "training/operators.rs"]
mod operators;
#[path = "training/ours.rs"]
mod ours;
#[path = "training/worker.rs"]
mod worker;

use bitnet::config::{Experiment, Overrides, Precision, load};
use bitnet::libtorch::profile;
use bitnet::report::run_binary;
use bitnet::{Context, Error, Result};
use clap::{Parser, Subcommand};
use measurement::{Row, disagreement, table, write_csv};
use std::fs::File;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use worker::{Worker, available_memory_bytes};

/// Between turns: the threads of the variant before stop to wait actively after a few milliseconds.
const PAUSE: Duration = Duration::from_millis(50);

const EXPLANATION: &str = "\
Each variant is a process of its own; they take turns, and the others sleep. All begin with the same weights and see the same random \
tokens in every step. Tokens per second are of the median step. Peak memory is the most resident memory that the process ever had, \
shared libraries and compiling included (Linux only). The loss of a step is that before its update. Where the losses of two variants \
are further apart than rounding explains, the benchmark fails.

Examples:
  just bench-training                                       everything; an hour or more on a few cores
  just bench-training --configs arithmetic --rounds 3       one config, fewer turns
  just bench-training --profile --configs baseline          where the time of our step goes";

/// One training step of ours against PyTorch's, by turns
#[derive(Debug, Parser)]
#[command(name = "bench-training", after_help = EXPLANATION, override_usage = "just bench-training [OPTIONS]")]
#[command(disable_help_subcommand = true)]
struct Arguments {
    /// Files of benches/training without their ending, or experiments
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "arithmetic,tinystories,baseline")]
    configs: Vec<PathBuf>,
    /// Turns of every variant
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Steps of a turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Steps before the first turn, which are not timed: compiling, first touch of memory
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    warm_up: u32,
    /// Threads of each variant [default: libtorch's choice, a thread for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    threads: Option<i32>,
    /// Variants that live at the same time and take turns [default: as many as memory holds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    at_once: Option<u32>,
    /// Where the figures go as CSV
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench-training.csv"))]
    out: PathBuf,
    /// Print the share of time by operator of our step instead
    #[arg(long)]
    profile: bool,
    /// Measure only our side
    #[arg(long)]
    without_pytorch: bool,
    /// A Python that has torch and safetensors
    #[arg(long, value_name = "PATH", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.pytorch/bin/python"))]
    python: PathBuf,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program does for itself in other processes.
#[derive(Debug, Subcommand)]
enum Role {
    /// Writes initial weights and tokens
    #[command(hide = true)]
    Prepare { directory: PathBuf },
    /// Takes steps when told to
    #[command(hide = true)]
    Work {
        directory: PathBuf,
        #[arg(long)]
        precision: Precision,
        #[arg(long)]
        threads: Option<i32>,
    },
}

/// One of the things compared.
struct Variant {
    name: &'static str,
    precision: Precision,
    side: Side,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Ours,
    Eager,
    Compiled,
}

/// In this order, so that those of one precision take turns where not all fit into memory.
const VARIANTS: [Variant; 6] = [
    Variant { name: "ours bfloat16", precision: Precision::Bfloat16, side: Side::Ours },
    Variant { name: "PyTorch eager bfloat16", precision: Precision::Bfloat16, side: Side::Eager },
    Variant { name: "PyTorch compiled bfloat16", precision: Precision::Bfloat16, side: Side::Compiled },
    Variant { name: "ours float32", precision: Precision::Float32, side: Side::Ours },
    Variant { name: "PyTorch eager float32", precision: Precision::Float32, side: Side::Eager },
    Variant { name: "PyTorch compiled float32", precision: Precision::Float32, side: Side::Compiled },
];

fn main() -> ExitCode {
    run_binary(|| {
        let arguments = Arguments::parse();
        match &arguments.role {
            Some(Role::Prepare { directory }) => ours::prepare(directory)?,
            Some(Role::Work { directory, precision, threads }) => ours::Training::new(directory, *precision, *threads)?.serve()?,
            None => benchmark(&arguments)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn benchmark(arguments: &Arguments) -> Result<()> {
    let experiments = arguments.configs.iter().map(|name| load_config(name)).collect::<Result<Vec<_>>>()?;
    let mut rows = Vec::new();
    let mut disagreements = Vec::new();
    for experiment in &experiments {
        let directory = prepared(experiment)?;
        writeln!(stdout(), "{}", description(experiment, arguments))?;
        if arguments.profile {
            profile(directory.path(), arguments)?;
            continue;
        }
        let measured = Bench { arguments, experiment, directory: directory.path() }.measure()?;
        writeln!(stdout(), "{}", table(&measured))?;
        disagreements.extend(disagreement(&measured));
        rows.extend(measured);
        write_csv(&rows, File::create(&arguments.out).context(|| format!("writing {}", arguments.out.display()))?)
            .map_err(|error| Error::ours(error).context("writing the CSV"))?;
    }
    if disagreements.is_empty() { Ok(()) } else { Err(Error::ours(disagreements.join("; "))) }
}

/// A config of the benchmark by name, or any experiment.
fn load_config(name: &Path) -> Result<Experiment> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/training").join(name).with_extension("yaml");
    load(if own.is_file() { &own } else { name }, &Overrides::default())
}

/// A directory with the config, and with tokens and weights that another process made: what it needed is no burden to this one.
fn prepared(experiment: &Experiment) -> Result<TempDir> {
    let directory = TempDir::new()?;
    ours::write_config(directory.path(), experiment)?;
    let status = own_program()?.arg("prepare").arg(directory.path()).status()?;
    if status.success() { Ok(directory) } else { Err(Error::ours(format!("making weights and tokens: {status}"))) }
}

fn own_program() -> Result<Command> {
    Ok(Command::new(std::env::current_exe().context(|| "finding this program")?))
}

fn description(experiment: &Experiment, arguments: &Arguments) -> String {
    let train = &experiment.train;
    let (millions, threads) = (experiment.model.num_parameters() as f64 / 1e6, num_threads(arguments));
    let (rows, length, times) = (train.batch_size, train.seq_len, train.accumulation_steps);
    format!("\n{}: {millions:.1}M parameters, a step of {times} x {rows} x {length} tokens, {threads} threads\n", experiment.experiment)
}

fn num_threads(arguments: &Arguments) -> i32 {
    arguments.threads.unwrap_or_else(tch::get_num_threads)
}

/// The measuring of one config.
struct Bench<'a> {
    arguments: &'a Arguments,
    experiment: &'a Experiment,
    directory: &'a Path,
}

impl Bench<'_> {
    fn measure(&self) -> Result<Vec<Row>> {
        let variants: Vec<&Variant> =
            VARIANTS.iter().filter(|variant| variant.side == Side::Ours || !self.arguments.without_pytorch).collect();
        let mut rows = Vec::new();
        for (group, together) in variants.chunks(self.at_once(variants.len())).enumerate() {
            rows.extend(self.measure_together(together, group + 1)?);
        }
        Ok(rows)
    }

    /// How many variants share the memory at a time: all, or else those of one precision, or else one.
    fn at_once(&self, all: usize) -> usize {
        if let Some(wanted) = self.arguments.at_once {
            return wanted as usize;
        }
        let available = available_memory_bytes().unwrap_or(u64::MAX);
        [all, all.div_ceil(2)].into_iter().find(|&count| count as u64 * needed_bytes(self.experiment) <= available).unwrap_or(1)
    }

    /// Starts and warms up `variants`, lets them take turns, and ends them.
    fn measure_together(&self, variants: &[&Variant], group: usize) -> Result<Vec<Row>> {
        let Arguments { rounds, steps, warm_up, .. } = *self.arguments;
        let mut workers = Vec::new();
        for variant in variants {
            self.say(format_args!("{} warms up", variant.name));
            let mut worker = Worker::start(variant.name, &mut self.command(variant)?)?;
            worker.take_turn(warm_up as usize, true)?;
            workers.push(worker);
        }
        for round in 1..=rounds {
            self.say(format_args!("round {round} of {rounds}"));
            for worker in &mut workers {
                sleep(PAUSE);
                worker.take_turn(steps as usize, false)?;
            }
        }
        let (train, threads) = (&self.experiment.train, num_threads(self.arguments));
        let tokens = train.batch_size * train.seq_len * train.accumulation_steps;
        let row = |worker: &Worker| worker.measurement.row(&self.experiment.experiment, worker.name(), group, threads, tokens);
        Ok(workers.iter().map(row).collect())
    }

    fn command(&self, variant: &Variant) -> Result<Command> {
        let mut command = match variant.side {
            Side::Ours => own_program()?,
            Side::Eager | Side::Compiled => self.python()?,
        };
        if variant.side == Side::Ours {
            command.arg("work");
        }
        command.arg(self.directory).arg("--precision").arg(match variant.precision {
            Precision::Bfloat16 => "bfloat16",
            Precision::Float32 => "float32",
        });
        command.args(self.arguments.threads.iter().flat_map(|threads| ["--threads".to_owned(), threads.to_string()]));
        if variant.side == Side::Compiled {
            command.arg("--compile");
        }
        Ok(command)
    }

    fn python(&self) -> Result<Command> {
        let python = &self.arguments.python;
        if !python.is_file() {
            let missing = Error::input(format!("{} is not there", python.display()));
            return Err(missing.hint("`just bench-training` installs PyTorch; --python names another, --without-pytorch does without"));
        }
        let mut command = Command::new(python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/pytorch_reference.py"));
        Ok(command)
    }

    /// Tells on stderr what is being done.
    fn say(&self, what: std::fmt::Arguments<'_>) {
        let _ = writeln!(stderr(), "{}: {what}", self.experiment.experiment);
    }
}

/// What a variant takes, roughly, in the mean of those that share the memory; of these only one works at a time, and PyTorch gives
/// most of its memory back in between. Weights, gradients and AdamW's two means; logits, their softmax and their gradients; what each
/// layer keeps for its backward pass; libtorch itself.
fn needed_bytes(experiment: &Experiment) -> u64 {
    let (model, train) = (&experiment.model, &experiment.train);
    let tokens = train.batch_size * train.seq_len;
    let kept_per_layer = 8 * model.hidden_size + 4 * model.intermediate_size;
    let numbers = 4 * model.num_parameters() + tokens * (3 * model.vocab_size + model.num_hidden_layers * kept_per_layer);
    (4 * numbers + (1 << 29)) as u64
}

/// Prints where the time of our step goes, in each precision.
fn profile(directory: &Path, arguments: &Arguments) -> Result<()> {
    for precision in [Precision::Bfloat16, Precision::Float32] {
        let mut training = ours::Training::new(directory, precision, arguments.threads)?;
        let num_steps = (arguments.rounds * arguments.steps) as usize;
        (0..arguments.warm_up).try_for_each(|_| training.step().map(drop))?;
        profile::start()?;
        let begin = Instant::now();
        (0..num_steps).try_for_each(|_| training.step().map(drop))?;
        let elapsed = begin.elapsed();
        let operators = profile::stop()?;
        writeln!(stdout(), "ours {precision:?}, {num_steps} steps\n\n{}", operators::operator_table(&operators, elapsed, num_steps))?;
    }
    Ok(())
}
