//! What every binary begins and ends with.

use crate::{Error, Result};
use std::io::{ErrorKind, Write, stderr};
use std::process::ExitCode;

/// Runs `body`, prints its error with the hint on stderr, and gives the exit status.
pub fn run_binary(body: impl FnOnce() -> Result<ExitCode>) -> ExitCode {
    match body() {
        Ok(status) => status,
        Err(error) if error.io_kind() == Some(ErrorKind::BrokenPipe) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &Error) -> ExitCode {
    let _ = writeln!(stderr(), "error: {error}");
    ExitCode::from(error.exit_status())
}

/// Prints the completion script of `command` for `shell` on stdout.
pub fn write_completions(shell: clap_complete::Shell, command: &mut clap::Command) -> Result<ExitCode> {
    let name = command.get_name().to_string();
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
