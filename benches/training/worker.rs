//! A variant in a process of its own, which sleeps until it is its turn.

use super::measurement::{Measurement, Turn};
use bitnet::{Context, Error, Result};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running variant. Dropping it ends the process.
pub struct Worker {
    name: String,
    process: Child,
    answers: BufReader<ChildStdout>,
    /// What it did so far.
    pub measurement: Measurement,
}

impl Worker {
    /// Starts `command` as the variant `name`; what it says on stderr is passed on.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = started.context(|| format!("starting {name} ({})", command.get_program().display()))?;
        let answers = process.stdout.take().ok_or_else(|| Error::ours(format!("{name} has no stdout")))?;
        Ok(Self { name: name.to_owned(), process, answers: BufReader::new(answers), measurement: Measurement::default() })
    }

    /// The variant.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets it take `num_steps` steps while all others sleep.
    pub fn take_turn(&mut self, num_steps: usize, warms_up: bool) -> Result<()> {
        let turn = self.answer(num_steps).context(|| format!("{} ended before its turn did; what it said is above", self.name))?;
        self.measurement.add(turn, warms_up);
        self.measurement.peak_memory_bytes = peak_memory_bytes(self.process.id());
        Ok(())
    }

    fn answer(&mut self, num_steps: usize) -> Result<Turn> {
        let stdin = self.process.stdin.as_mut().ok_or_else(|| Error::ours("it has no stdin"))?;
        // As a message: a broken pipe that reached main would pass for a reader of stdout that has seen enough.
        writeln!(stdin, "{num_steps}").and_then(|()| stdin.flush()).map_err(Error::ours)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Between turns it holds nothing that would have to be saved; the error is that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The most resident memory that a process ever had (Linux: VmHWM, shared libraries included); none where the system does not tell.
fn peak_memory_bytes(process: u32) -> Option<u64> {
    kilobytes(&format!("/proc/{process}/status"), "VmHWM:")
}

/// Memory that can be had without swapping (Linux); none where the system does not tell.
pub fn available_memory_bytes() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

fn kilobytes(path: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|count| count * 1024)
}
