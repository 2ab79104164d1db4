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
    // What a file holds may be in it.
    let _ = writeln!(stderr(), "error: {}", without_controls(&error.to_string()));
    ExitCode::from(error.exit_status())
}

/// `text` without what moves a terminal's cursor or sets its title, which what a model says must not do.
pub fn without_controls(text: &str) -> String {
    text.chars().map(|character| if character.is_control() && !"\n\t".contains(character) { '\u{fffd}' } else { character }).collect()
}

/// The most resident memory that this process ever had; none where the system does not say.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The memory of this machine; none where the system does not say.
pub fn total_memory_bytes() -> Option<u64> {
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
