//! What every binary begins with: its arguments, or the script that completes them in a shell.

use crate::Result;
use crate::report::run_binary;
use clap::{Arg, Command, Parser, value_parser};
use clap_complete::Shell;
use std::io::Write;
use std::process::ExitCode;

const COMPLETIONS: &str = "completions";

/// Runs `body` with the arguments of the command line, and gives the exit status; with `--completions SHELL` alone, it prints a script.
pub fn run_program<A: Parser>(body: impl FnOnce(A) -> Result<ExitCode>) -> ExitCode {
    let help = "Print a completion script for this shell, then stop";
    let completions = Arg::new(COMPLETIONS).long(COMPLETIONS).value_name("SHELL").help(help);
    let mut command = A::command().arg(completions.value_parser(value_parser!(Shell)).exclusive(true));
    let mut matches = command.get_matches_mut();
    run_binary(|| match matches.remove_one(COMPLETIONS) {
        Some(shell) => write_completions(shell, &mut command),
        None => body(A::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.format(&mut command).exit())),
    })
}

fn write_completions(shell: Shell, command: &mut Command) -> Result<ExitCode> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
