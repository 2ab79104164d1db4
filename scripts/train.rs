//! Trains an experiment into `runs/<id>/`, or goes on with a run that stopped.

use bitnet::cli::{ModelPlace, from_here, name_from_here, overrides_from_here, run_program};
use bitnet::config::{Experiment, Overrides, resolve};
use bitnet::data::Corpus;
use bitnet::libtorch::caught;
use bitnet::model::{describe_device, select_device};
use bitnet::report::{TrainingProgress, total_memory_bytes};
use bitnet::run::{self, RunDirectory, Status, StopSignal, run_to_resume};
use bitnet::storage::DISK;
use bitnet::train::{Ending, Launch, Plan, initial_weights};
use bitnet::{Error, Result};
use clap::Parser;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const DEFAULT_RUNS_DIR: &str = "runs";

const EXAMPLES: &str = "\
Examples:
  train arithmetic                                      a new run with a name of its own
  train arithmetic --num-steps 5000 --run-id mine       a new run named mine
  train arithmetic --run-id mine --resume               goes on where mine stopped (its experiment need not be named)
  train arithmetic --run-id mine --continue             begins mine, goes on with it, or leaves it if it is finished
  train arithmetic --resume                             goes on with the newest run of the experiment
  train arithmetic --init-from mine                     begins with the weights of mine's newest checkpoint
  train arithmetic --set train.optimizer.beta2=0.98     any key of the config
  train arithmetic --dry-run                            prints the resolved config and its cost, then stops

Ctrl-C saves and ends with status 0; SIGTERM saves and ends with 75; a second signal ends at once with 130.";

/// Trains an experiment into runs/<id>/, or goes on with a run that stopped
#[derive(Debug, Parser)]
#[command(name = "train", version, after_help = EXAMPLES)]
struct Arguments {
    /// An experiment's name, its directory, or a config.yaml
    #[arg(required_unless_present_any = ["completions", "resume"])]
    experiment: Option<PathBuf>,
    /// Name of the run; made from parameters, experiment and time when absent. With --resume also the beginning of an id, or a path
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Go on with that run, or the newest one of the experiment, from its newest whole checkpoint
    #[arg(long)]
    resume: bool,
    /// Begin the run of that id, go on with it where it stopped, or leave it if it is finished: the same command for all three
    #[arg(long = "continue", requires = "run_id", conflicts_with = "resume")]
    is_continued: bool,
    /// Print the resolved config and what it will take, then stop
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
    /// Where runs lie
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS_DIR)]
    runs_dir: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
}

fn main() -> ExitCode {
    run_program(|arguments| caught(|| train(from_where_the_user_is(arguments))))
}

fn train(arguments: Arguments) -> Result<ExitCode> {
    if arguments.dry_run {
        return dry_run(&with_weights_found(arguments)?);
    }
    let stop = StopSignal::listen()?;
    let mut arguments = with_weights_found(arguments)?;
    arguments.resume |= arguments.goes_on();
    let launch = launch(&arguments)?;
    let directory = launch.directory().clone();
    let mut progress = TrainingProgress::default();
    let ending = launch.run(stop, &mut progress);
    drop(progress);
    Ok(conclude(ending?, &directory, &arguments))
}

fn launch(arguments: &Arguments) -> Result<Launch<'static>> {
    let Arguments { experiment, run_id, runs_dir, overrides, .. } = arguments;
    if !arguments.resume {
        return Launch::create(&DISK, runs_dir, run_id.as_deref(), named(experiment)?, overrides);
    }
    let name = experiment.as_ref().map(|path| Ok::<_, Error>(resolve(path, &Overrides::default())?.experiment.experiment)).transpose()?;
    let run = run_to_resume(&DISK, runs_dir, run_id.as_deref(), name.as_deref())?;
    Launch::resume(&DISK, parent_of(&run), &run.id(), experiment.as_deref(), overrides)
}

/// Where a run lies.
fn parent_of(run: &RunDirectory) -> &Path {
    run.path().parent().unwrap_or(run.path())
}

/// Paths are those of where the user is, unless an experiment or a run has that name.
fn from_where_the_user_is(mut arguments: Arguments) -> Arguments {
    let here = |path: &mut PathBuf| Some(from_here(path)).filter(|there| there.exists()).into_iter().for_each(|there| *path = there);
    arguments.experiment.iter_mut().for_each(here);
    arguments.run_id = arguments.run_id.map(|id| if arguments.resume { name_from_here(&id) } else { id });
    arguments.overrides = overrides_from_here(arguments.overrides);
    arguments
}

/// A run, a checkpoint or a model of the hub that --init-from names becomes the folder that it stands for.
fn with_weights_found(mut arguments: Arguments) -> Result<Arguments> {
    if let Some(name) = arguments.overrides.init_from.take() {
        let folder = ModelPlace::below(&arguments.runs_dir).find(Some(&name))?;
        arguments.overrides.init_from = Some(folder.display().to_string());
    }
    Ok(arguments)
}

impl Arguments {
    /// Whether `--continue` finds a run that was begun.
    fn goes_on(&self) -> bool {
        let is_begun = |id: &String| RunDirectory::new(self.runs_dir.join(id)).config_path().is_file();
        self.is_continued && self.run_id.as_ref().is_some_and(is_begun)
    }
}

/// The experiment, where clap has seen to it that there is one.
fn named(experiment: &Option<PathBuf>) -> Result<&Path> {
    experiment.as_deref().ok_or_else(|| Error::input("no experiment is named").hint("such as: train arithmetic"))
}

fn dry_run(arguments: &Arguments) -> Result<ExitCode> {
    let resolved = resolve(named(&arguments.experiment)?, &arguments.overrides)?;
    resolved.warnings.iter().for_each(|warning| say(format_args!("warning: {warning}")));
    match Corpus::of(&resolved.experiment).map(|corpus| corpus.open()) {
        Ok(Err(error)) => say(format_args!("note: {error}")), // the text may be prepared later
        _ => drop(Plan::new(&resolved.experiment)?),
    }
    initial_weights(&resolved.experiment)?;
    write!(stdout(), "{}", resolved.experiment.to_yaml()?)?;
    say(format_args!("\n{}", resolved.experiment.estimate()));
    warn_of_memory(&resolved.experiment);
    Ok(ExitCode::SUCCESS)
}

/// On a CPU: what a GPU has is `estimate`'s to compare.
fn warn_of_memory(experiment: &Experiment) {
    let needed = experiment.estimate().memory_bytes;
    let is_on_cpu = select_device(experiment.device).is_ok_and(|device| describe_device(device).starts_with("cpu"));
    if let Some(total) = total_memory_bytes().filter(|total| is_on_cpu && needed > *total) {
        let gibibytes = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        let (needed, total) = (gibibytes(needed), gibibytes(total));
        say(format_args!("warning: this needs {needed:.1} GiB of memory, and this machine has {total:.1} GiB"));
        say(format_args!("hint: lower train.batch_size or train.seq_len (train.accumulation_steps makes up for it), or the model"));
    }
}

/// Says on stderr how the run ended and what to do next; stdout gets the run's path. Whether anyone reads them does not change the
/// exit status.
fn conclude(ending: Ending, directory: &RunDirectory, arguments: &Arguments) -> ExitCode {
    let id = directory.id();
    let status = match ending {
        Ending::Finished => {
            match divergence(directory) {
                None => say(format_args!("finished. Next: just plot-loss {id} · just chat {id}")),
                Some(divergence) => say(format_args!("finished, but it diverged: {divergence}\nhint: lower train.optimizer.learning_rate")),
            }
            0
        }
        Ending::AlreadyFinished => {
            say(format_args!("nothing to do: {id} has taken all its steps. --num-steps makes it longer"));
            0
        }
        Ending::Stopped(reason) => {
            say(format_args!("{}; the state is saved. Go on with:\n  {}", reason.name(), resume_command(directory, arguments)));
            reason.exit_status()
        }
    };
    let _ = writeln!(stdout(), "{}", directory.path().display());
    ExitCode::from(status)
}

/// A sentence where the loss ended where nothing is learned; none where that cannot be told.
fn divergence(directory: &RunDirectory) -> Option<String> {
    Status::read(&DISK, directory, run::unix_time()).ok()?.divergence
}

/// The command that goes on with `run`, in words that a shell reads back as they are.
fn resume_command(run: &RunDirectory, arguments: &Arguments) -> String {
    let program = std::env::args_os().next().map_or_else(|| PathBuf::from("train"), PathBuf::from);
    let mut words = vec![program.display().to_string()];
    words.extend(arguments.experiment.iter().map(|experiment| experiment.display().to_string()));
    words.extend(["--run-id", &run.id(), "--resume"].map(String::from));
    if parent_of(run) != Path::new(DEFAULT_RUNS_DIR) {
        words.extend(["--runs-dir".to_owned(), parent_of(run).display().to_string()]);
    }
    words.iter().map(|word| shell_quoted(word)).collect::<Vec<_>>().join(" ")
}

fn shell_quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// A line on stderr, where someone may read it.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(stderr(), "{line}");
}
