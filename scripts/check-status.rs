//! `check-status`: shows where a run stands, or all of them. Owns the command line; the work is the library's.

use bitnet::Result;
use bitnet::cli::{name_from_here, run_program};
use bitnet::report::{run_table, status_view, stdout_has_colour, stdout_width, watch};
use bitnet::run::{self, RunDirectory, Status, find_run, list_runs, no_runs};
use bitnet::storage::DISK;
use clap::Parser;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  check-status                      a table of all runs, the one launched last at the end
  check-status mine                 where the run mine stands
  check-status mine other           a table of both
  check-status latest --watch       the run launched last, redrawn every 10 s; q or Ctrl-C leaves
  check-status mine --json          the same for programs; what is unknown or not finite is null

A run is starting, running, stalled (alive, but without a step for 60 s and for 20 mean steps),
finished, stopped (on request, and saved) or failed (ended by an error, or killed).
The exit status is that of the question: 0 also for a failed run, 2 for one that is not there.";

/// Shows where a run stands: state, loss and its trend, speed, last evaluation, samples, checkpoint
#[derive(Debug, Parser)]
#[command(name = "check-status", version, after_help = EXAMPLES)]
struct Arguments {
    /// A run's id, the beginning of one, its path, or `latest`; several make a table of them; all runs when absent
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// Redraw until q or Ctrl-C; where stdout is no terminal, append a snapshot each time
    #[arg(long)]
    watch: bool,
    /// Seconds between two drawings
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    interval: Duration,
    /// Print JSON: an object for one run, an array for all; with --watch one line each time
    #[arg(long)]
    json: bool,
    /// Where runs lie
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs_dir: PathBuf,
}

fn main() -> ExitCode {
    run_program(|arguments| check_status(&arguments))
}

fn check_status(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.watch {
        watch(arguments.interval, |width| arguments.text(width))?;
    } else {
        write!(stdout(), "{}", arguments.text(stdout_width())?)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn text(&self, width: usize) -> Result<String> {
        match &self.runs[..] {
            [name] => {
                let status = self.status(name)?;
                if self.json { self.json(&status) } else { Ok(status_view(&status, width).render(stdout_has_colour())) }
            }
            [] => self.table(&list_runs(&DISK, &self.runs_dir)?.iter().filter_map(read_or_warn).collect::<Vec<_>>(), width),
            names => self.table(&names.iter().map(|name| self.status(name)).collect::<Result<Vec<_>>>()?, width),
        }
    }

    fn status(&self, name: &str) -> Result<Status> {
        read(&find_run(&DISK, &self.runs_dir, Some(&name_from_here(name)))?)
    }

    fn table(&self, statuses: &[Status], width: usize) -> Result<String> {
        match (self.json, statuses.is_empty()) {
            (true, _) => self.json(&statuses),
            (false, true) => Err(no_runs(&self.runs_dir)),
            (false, false) => Ok(run_table(statuses, width).render(stdout_has_colour())),
        }
    }

    /// One line where snapshots follow each other, else indented.
    fn json(&self, value: &impl serde::Serialize) -> Result<String> {
        let is_stream = self.watch && !stdout().is_terminal();
        let json = if is_stream { serde_json::to_string(value)? } else { serde_json::to_string_pretty(value)? + "\n" };
        Ok(json)
    }
}

/// A run that cannot be read hides no other.
fn read_or_warn(run: &RunDirectory) -> Option<Status> {
    read(run).inspect_err(|error| drop(writeln!(stderr(), "warning: {error}"))).ok()
}

fn read(run: &RunDirectory) -> Result<Status> {
    Status::read(&DISK, run, run::unix_time()).map_err(|error| error.context(format!("looking at the run {}", run.id())))
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "this is no number of seconds".to_owned())?;
    if !(0.05..=86_400.0).contains(&seconds) {
        return Err("an interval is 0.05 to 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}
