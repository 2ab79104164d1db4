//! The trainer as a process, on the experiment of tests/fixtures/tiny: starting it, waiting for it, signalling it, reading what it left.
#![allow(dead_code)] // each test program uses a part

use bitnet::run::{Event, EventRow, RunDirectory, read_log};
use bitnet::storage::DISK;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take on a slow, loaded machine before a test gives up.
const PATIENCE: Duration = Duration::from_secs(180);
/// The columns of metrics.csv that are a function of config and seed.
const NUM_DETERMINISTIC_COLUMNS: usize = 7;

/// The fixture's directory.
pub fn experiment() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny")
}

/// A place for runs, removed with all that is in it.
pub struct Runs {
    dir: TempDir,
}

impl Runs {
    /// An empty place.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Where runs lie.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A run by id; it may not exist.
    pub fn run(&self, id: &str) -> RunDirectory {
        RunDirectory::new(self.dir.path().join(id))
    }

    /// `train` with `arguments`, runs here, one thread, nothing inherited.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("train"));
        command.args(arguments).arg("--runs-dir").arg(self.dir.path()).env("OMP_NUM_THREADS", "1").current_dir(env!("CARGO_MANIFEST_DIR"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A new run `id` of the fixture.
    pub fn start(&self, id: &str, more: &[&str]) -> Command {
        let mut command = self.command(&[experiment().to_str().unwrap(), "--run-id", id]);
        command.args(more);
        command
    }

    /// The run `id` of the fixture, resumed.
    pub fn resume(&self, id: &str, more: &[&str]) -> Command {
        let mut command = self.start(id, more);
        command.arg("--resume");
        command
    }
}

/// Runs to the end and insists on the exit status.
#[track_caller]
pub fn finish(mut command: Command, status: i32) -> Output {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{command:?}\n{}", stderr(&output));
    output
}

/// Waits for a process that was started, and insists on the exit status.
#[track_caller]
pub fn wait(child: Child, status: i32) -> Output {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
    output
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sends signals, such as `"INT"`, one right after the other.
pub fn send(child: &Child, signals: &[&str]) {
    let kills: Vec<String> = signals.iter().map(|signal| format!("kill -{signal} {}", child.id())).collect();
    // A process that has ended by now is the caller's business.
    let _ = Command::new("sh").arg("-c").arg(kills.join("; ")).stderr(Stdio::null()).status().unwrap();
}

/// Waits until `condition`, looking often; false when the process ends first.
pub fn wait_until(child: &mut Child, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return condition();
        }
        assert!(start.elapsed() < PATIENCE, "waited for {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whole lines of a file that may not exist yet.
pub fn num_lines(path: &Path) -> usize {
    fs::read(path).map_or(0, |content| content.iter().filter(|byte| **byte == b'\n').count())
}

/// Steps that have a row in metrics.csv.
pub fn num_steps(run: &RunDirectory) -> usize {
    num_lines(&run.metrics_path()).saturating_sub(1)
}

pub fn events(run: &RunDirectory) -> Vec<EventRow> {
    read_log(&DISK, &run.events_path()).unwrap().rows
}

/// The newest checkpoint that was acknowledged, by step.
pub fn newest_acknowledged(run: &RunDirectory) -> u64 {
    let saved = events(run).into_iter().filter(|row| matches!(row.event, Event::Saved { .. }));
    saved.map(|row| row.step).max().unwrap_or(0)
}

/// Everything of a run that is a function of config and seed, by name: logs without the machine's columns, the files of the newest
/// checkpoint, byte for byte.
pub fn deterministic_part(run: &RunDirectory) -> Vec<(String, Vec<u8>)> {
    let mut parts = vec![("metrics.csv".to_owned(), deterministic_metrics(run).into_bytes())];
    for path in [run.evaluation_path(), run.codes_path(), run.samples_path()] {
        parts.push((name(&path), fs::read(&path).unwrap()));
    }
    let checkpoint = checkpoints(run).pop().unwrap();
    parts.push(("checkpoint".to_owned(), name(&checkpoint).into_bytes()));
    for file in [
        "model.safetensors",
        "optimizer.safetensors",
        "codes.safetensors",
        "trainer.json",
        "config.json",
        "tokenizer.json",
        "experiment.yaml",
    ] {
        parts.push((file.to_owned(), fs::read(checkpoint.join(file)).unwrap()));
    }
    parts
}

fn deterministic_metrics(run: &RunDirectory) -> String {
    let text = fs::read_to_string(run.metrics_path()).unwrap();
    let columns =
        |line: &str| line.splitn(NUM_DETERMINISTIC_COLUMNS + 1, ',').take(NUM_DETERMINISTIC_COLUMNS).collect::<Vec<_>>().join(",");
    text.lines().map(|line| columns(line) + "\n").collect()
}

/// The directories of checkpoints, oldest first.
pub fn checkpoints(run: &RunDirectory) -> Vec<PathBuf> {
    let entries = fs::read_dir(run.checkpoints_dir()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| name(path).starts_with("step-")).collect();
    found.sort();
    found
}

pub fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Insists that two runs agree in everything that is a function of config and seed.
#[track_caller]
pub fn assert_same(run: &RunDirectory, undisturbed: &RunDirectory) {
    for ((name, part), (_, expected)) in deterministic_part(run).into_iter().zip(deterministic_part(undisturbed)) {
        if part == expected {
            continue;
        }
        let (text, wanted) = (String::from_utf8_lossy(&part), String::from_utf8_lossy(&expected));
        let line = text.lines().zip(wanted.lines()).position(|(line, wanted)| line != wanted);
        panic!("{} differs in {name}: {} bytes against {}, first at line {line:?}", run.path().display(), part.len(), expected.len());
    }
}

/// Starts `command`, waits until the run has more than `after` steps and sends `signals`; the output, or none when the run was faster than
/// the signal.
pub fn stop_after(run: &RunDirectory, mut command: Command, after: usize, signals: &[&str]) -> Option<Output> {
    let mut child = command.spawn().unwrap();
    wait_until(&mut child, || num_steps(run) > after);
    send(&child, signals);
    let output = child.wait_with_output().unwrap();
    let is_finished = events(run).iter().any(|row| row.event == Event::Finished);
    (!is_finished).then_some(output)
}
