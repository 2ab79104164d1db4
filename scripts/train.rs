//! Trains an experiment into `runs/<id>/`, or goes on with a run that stopped.

use bitnet::config::{Overrides, resolve};
use bitnet::report::{TrainingProgress, run_binary, write_completions};
use bitnet::run::RunDirectory;
use bitnet::storage::DISK;
use bitnet::train::{Ending, Launch, StopSignal};
use bitnet::{Error, Result};
use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  train arithmetic                                      a new run with a name of its own
  train arithmetic --num-steps 5000 --run-id mine       a new run named mine
  train arithmetic --run-id mine --resume               goes on where mine stopped
  train arithmetic --set train.optimizer.beta2=0.98     any key of the config
  train arithmetic --dry-run                            prints the resolved config and its cost, then stops

Ctrl-C saves and ends with status 0; SIGTERM saves and ends with 75; a second signal ends at once with 130.";

/// Trains an experiment into runs/<id>/, or goes on with a run that stopped
#[derive(Debug, Parser)]
#[command(name = "train", version, after_help = EXAMPLES)]
struct Arguments {
    /// An experiment's name, its directory, or a config.yaml
    #[arg(required_unless_present = "completions", default_value = "arithmetic", hide_default_value = true)]
    experiment: PathBuf,
    /// Name of the run; made from parameters, experiment and time when absent
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Go on with the run of that id, from its newest whole checkpoint
    #[arg(long, requires = "run_id")]
    resume: bool,
    /// Print the resolved config and what it will take, then stop
    #[arg(long)]
    dry_run: bool,
    /// Where runs lie
    #[arg(long, value_name = "DIR", default_value = "runs")]
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

fn train(arguments: Arguments) -> Result<ExitCode> {
    if let Some(shell) = arguments.completions {
        return write_completions(shell, &mut Arguments::command());
    }
    if arguments.dry_run {
        return dry_run(&arguments);
    }
    let stop = StopSignal::listen()?;
    let launch = match (&arguments.run_id, arguments.resume) {
        (Some(id), true) => Launch::resume(&DISK, &arguments.runs_dir, id, &arguments.experiment, &arguments.overrides)?,
        (id, _) => Launch::create(&DISK, &arguments.runs_dir, id.as_deref(), &arguments.experiment, &arguments.overrides)?,
    };
    let directory = launch.directory().clone();
    let mut progress = TrainingProgress::default();
    let ending = launch.run(stop, &mut progress);
    drop(progress);
    conclude(ending?, &directory, &arguments)
}

fn dry_run(arguments: &Arguments) -> Result<ExitCode> {
    let resolved = resolve(&arguments.experiment, &arguments.overrides)?;
    resolved.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    write!(stdout(), "{}", resolved.experiment.to_yaml()?)?;
    eprintln!("\n{}", resolved.experiment.estimate());
    Ok(ExitCode::SUCCESS)
}

/// Says on stderr how the run ended and what to do next; stdout gets the run's path.
fn conclude(ending: Ending, directory: &RunDirectory, arguments: &Arguments) -> Result<ExitCode> {
    let id = directory.id();
    let status = match ending {
        Ending::Finished => {
            eprintln!("finished. Next: just plot-loss {id} · just chat {id}");
            0
        }
        Ending::Stopped(reason) => {
            let experiment = arguments.experiment.display();
            eprintln!("{}; the state is saved. Go on with:\n  just train {experiment} --run-id {id} --resume", reason.name());
            reason.exit_status()
        }
    };
    writeln!(stdout(), "{}", directory.path().display()).map_err(Error::from)?;
    Ok(ExitCode::from(status))
}
