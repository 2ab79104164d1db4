//! Signals and the lock: what ends a run, how it says so, and that a run has one writer.
#![cfg(all(unix, feature = "torch"))]

mod tiny;

use bitnet::run::Event;
use std::fs;
use std::process::{Child, Command, Output};
use tiny::{Runs, checkpoints, events, finish, name, newest_acknowledged, num_steps, send, stderr, stdout, stop_after, wait, wait_until};

/// Far more steps than any test waits for.
const ENDLESS: [&str; 2] = ["--num-steps", "100000"];

/// A run that was sent `signal` in its middle, and what it said.
fn stopped_by(runs: &Runs, signal: &str) -> Output {
    stop_after(&runs.run("mine"), runs.start("mine", &ENDLESS), 12, &[signal]).unwrap()
}

#[track_caller]
fn assert_saved(runs: &Runs, reason: &str) {
    let run = runs.run("mine");
    let step = num_steps(&run) as u64;
    assert!(step > 12);
    assert_eq!(newest_acknowledged(&run), step, "the newest step is saved");
    assert_eq!(name(checkpoints(&run).last().unwrap()), format!("step-{step:06}"));
    assert_eq!(events(&run).last().unwrap().event, Event::Stopped { reason: reason.into() });
}

#[test]
fn sigint_saves_ends_with_0_and_prints_a_resume_command_that_works_as_printed() {
    let runs = Runs::new();
    let output = stopped_by(&runs, "INT");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_saved(&runs, "interrupted (SIGINT)");
    assert_eq!(stdout(&output).trim_end(), runs.run("mine").path().to_str().unwrap());

    let said = stderr(&output);
    let command = said.lines().skip_while(|line| !line.ends_with("Go on with:")).nth(1).unwrap().trim();
    let steps = num_steps(&runs.run("mine"));
    let more = format!("{command} --num-steps {}", steps + 3);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(&more).env("OMP_NUM_THREADS", "1").current_dir(env!("CARGO_MANIFEST_DIR"));
    let resumed = finish(shell, 0);
    assert!(stderr(&resumed).contains(&format!("resuming after step {steps}")), "{}", stderr(&resumed));
    assert_eq!(num_steps(&runs.run("mine")), steps + 3);
}

#[test]
fn sigterm_saves_and_ends_with_75() {
    let runs = Runs::new();
    let output = stopped_by(&runs, "TERM");
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert_saved(&runs, "asked to terminate (SIGTERM)");
}

#[test]
fn sigusr1_saves_and_ends_with_75() {
    let runs = Runs::new();
    let output = stopped_by(&runs, "USR1");
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert_saved(&runs, "warned by the scheduler (SIGUSR1)");
}

/// Starts run `mine` and waits for its first steps.
fn running(runs: &Runs, mut command: Command) -> Child {
    let mut child = command.spawn().unwrap();
    assert!(wait_until(&mut child, || num_steps(&runs.run("mine")) > 3));
    child
}

#[test]
fn a_second_signal_ends_at_once_with_130_and_saves_nothing() {
    let runs = Runs::new();
    let child = running(&runs, runs.start("mine", &[&ENDLESS[..], &["--set", "checkpoints.every=1000000"]].concat()));
    // Stopped, so that both arrive before the loop can look at the first.
    send(&child, &["STOP", "INT", "TERM", "CONT"]);
    let output = wait(child, 130);
    assert_eq!(stdout(&output), "");
    assert!(checkpoints(&runs.run("mine")).is_empty());
}

#[test]
fn a_stop_is_heard_between_the_micro_batches_of_a_long_step() {
    let runs = Runs::new();
    let mut child = runs.start("mine", &["--set", "train.accumulation_steps=1000000"]).spawn().unwrap();
    assert!(wait_until(&mut child, || !events(&runs.run("mine")).is_empty()));
    send(&child, &["TERM"]);
    wait(child, 75);
    assert_eq!(num_steps(&runs.run("mine")), 0);
    assert_eq!(newest_acknowledged(&runs.run("mine")), 0);
    assert_eq!(name(checkpoints(&runs.run("mine")).last().unwrap()), "step-000000");
}

#[test]
fn a_second_trainer_refuses_and_names_the_first() {
    let runs = Runs::new();
    let child = running(&runs, runs.start("mine", &ENDLESS));
    for command in [runs.resume("mine", &[]), runs.resume("mine", &["--num-steps", "200000"])] {
        let output = finish(command, 2);
        assert!(stderr(&output).contains(&format!("is being written by process {}", child.id())), "{}", stderr(&output));
    }
    assert!(fs::read_to_string(runs.run("mine").config_path()).unwrap().contains("num_steps: 100000"));
    send(&child, &["INT"]);
    wait(child, 0);
}

#[test]
fn the_lock_dies_with_its_process() {
    let runs = Runs::new();
    let mut child = running(&runs, runs.start("mine", &ENDLESS));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut child = runs.resume("mine", &[]).spawn().unwrap();
    let is_started = |row: &bitnet::run::EventRow| matches!(row.event, Event::Started { .. });
    assert!(wait_until(&mut child, || events(&runs.run("mine")).into_iter().filter(is_started).count() == 2));
    send(&child, &["INT"]);
    wait(child, 0);
}

#[test]
fn a_reader_that_goes_away_does_not_end_a_run() {
    let runs = Runs::new();
    let mut child = running(&runs, runs.start("mine", &ENDLESS));
    drop(child.stderr.take());
    drop(child.stdout.take());
    let before = num_steps(&runs.run("mine"));
    // Evaluations and samples write a line each few steps.
    assert!(wait_until(&mut child, || num_steps(&runs.run("mine")) > before + 40), "the run ended");
    assert!(child.try_wait().unwrap().is_none());
    send(&child, &["TERM"]);
    wait(child, 75);
    assert_eq!(newest_acknowledged(&runs.run("mine")), num_steps(&runs.run("mine")) as u64);
}
