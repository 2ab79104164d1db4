//! `doctor`: what this machine has for this program, and what to type where something is wrong. Owns the command line; the checks are the
//! library's.

use bitnet::Result;
use bitnet::cli::run_program;
use bitnet::doctor::{Diagnosis, Surroundings};
use bitnet::report::stdout_has_colour;
use clap::Parser;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  doctor                          a line a check: ok, warning or error, and what to type
  doctor --json                   for programs
  doctor --runs-dir /mnt/runs     whether runs can be kept there

Exit status: 0 if everything will work, 1 if something will not. Nothing is changed, and no secret is shown.";

/// Checks this machine: tools, libtorch, processor, memory, disk
#[derive(Debug, Parser)]
#[command(name = "doctor", version, after_help = EXAMPLES)]
struct Arguments {
    /// Where runs lie
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    run_program(examine)
}

fn examine(arguments: Arguments) -> Result<ExitCode> {
    let root = std::env::current_dir()?;
    let diagnosis = Diagnosis::of(&Surroundings { root, runs_dir: arguments.runs_dir });
    match arguments.json {
        true => writeln!(stdout(), "{}", diagnosis.to_json()?)?,
        false => write!(stdout(), "{}", diagnosis.lines().render(stdout_has_colour()))?,
    }
    Ok(if diagnosis.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
