//! Trains an experiment into `runs/<id>/`, or goes on with a run that stopped.

use bitnet::config::{Overrides, resolve};
use bitnet::data::Corpus;
use bitnet::report::{TrainingProgress, run_binary, write_completions};
use bitnet::run::{RunDirectory, StopSignal};
use bitnet::storage::DISK;
use bitnet::train::{Ending, Launch, Plan, initial_weights};
use bitnet::{Error, Result};
use clap::{CommandFactory, Parser};
use clap_complete::Shell;
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
    /// Name of the run; made from parameters, experiment and time when absent
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Go on with the run of that id, from its newest whole checkpoint
    #[arg(long, requires = "run_id")]
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
    /// Print a completion script for this shell, then stop
    #[arg(long, value_name = "SHELL", exclusive = true)]
    completions: Option<Shell>,
}

fn main() -> ExitCode {
    run_binary(|| train(Arguments::parse()))
}

fn train(mut arguments: Arguments) -> Result<ExitCode> {
    if let Some(shell) = arguments.completions {
        return write_completions(shell, &mut Arguments::command());
    }
    if arguments.dry_run {
        return dry_run(&arguments);
    }
    let stop = StopSignal::listen()?;
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
    match run_id {
        Some(id) if arguments.resume => Launch::resume(&DISK, runs_dir, id, experiment.as_deref(), overrides),
        id => Launch::create(&DISK, runs_dir, id.as_deref(), named(experiment)?, overrides),
    }
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
    Ok(ExitCode::SUCCESS)
}

/// Says on stderr how the run ended and what to do next; stdout gets the run's path. Whether anyone reads them does not change the
/// exit status.
fn conclude(ending: Ending, directory: &RunDirectory, arguments: &Arguments) -> ExitCode {
    let id = directory.id();
    let status = match ending {
        Ending::Finished => {
            say(format_args!("finished. Next: just plot-loss {id} · just chat {id}"));
            0
        }
        Ending::AlreadyFinished => {
            say(format_args!("nothing to do: {id} has taken all its steps. --num-steps makes it longer"));
            0
        }
        Ending::Stopped(reason) => {
            say(format_args!("{}; the state is saved. Go on with:\n  {}", reason.name(), resume_command(&id, arguments)));
            reason.exit_status()
        }
    };
    let _ = writeln!(stdout(), "{}", directory.path().display());
    ExitCode::from(status)
}

/// The command that goes on with run `id`, in words that a shell reads back as they are.
fn resume_command(id: &str, arguments: &Arguments) -> String {
    let program = std::env::args_os().next().map_or_else(|| PathBuf::from("train"), PathBuf::from);
    let mut words = vec![program.display().to_string()];
    words.extend(arguments.experiment.iter().map(|experiment| experiment.display().to_string()));
    words.extend(["--run-id", id, "--resume"].map(String::from));
    if arguments.runs_dir != Path::new(DEFAULT_RUNS_DIR) {
        words.extend(["--runs-dir".to_owned(), arguments.runs_dir.display().to_string()]);
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
