//! Damaged checkpoints and disks that refuse: what is left is used, what cannot be written is written later, and the run says so.
#![cfg(all(unix, feature = "torch"))]

mod tiny;

use bitnet::Error;
use bitnet::config::Overrides;
use bitnet::run::{Event, MetricsRow, Observer, StopSignal};
use bitnet::storage::testing::{Answer, Call, InterceptedFileSystem, Operation};
use bitnet::storage::{DISK, RealFileSystem};
use bitnet::train::{Ending, Launch};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tiny::{Runs, assert_same, checkpoints, events, experiment, finish, name, newest_acknowledged, stderr};

/// Checkpoints of steps 10, 20 and 30, all kept.
const THREE: [&str; 4] = ["--num-steps", "30", "--set", "checkpoints.keep_last=3"];

/// A finished run, and the same run again, whose checkpoints may be damaged.
fn two_runs() -> Runs {
    let runs = Runs::new();
    finish(runs.start("undisturbed", &THREE), 0);
    finish(runs.start("damaged", &THREE), 0);
    runs
}

fn flip_a_byte(path: &Path) {
    let mut content = fs::read(path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(path, content).unwrap();
}

fn truncate(path: &Path) {
    let content = fs::read(path).unwrap();
    fs::write(path, &content[..content.len() - 1]).unwrap();
}

#[track_caller]
fn assert_goes_on_from(runs: &Runs, step: u64, damaged: &[(&str, &str)]) -> Output {
    let output = finish(runs.resume("damaged", &[]), 0);
    let said = stderr(&output);
    for (step, reason) in damaged {
        assert!(said.contains(&format!("warning: the checkpoint of step {step} is damaged")) && said.contains(reason), "{said}");
        assert!(runs.run("damaged").checkpoints_dir().join(format!("corrupt-0000{step}")).is_dir());
    }
    let expected = if step == 0 { "starting from step 0".to_owned() } else { format!("resuming after step {step}") };
    assert!(said.contains(&expected), "{said}");
    assert_same(&runs.run("damaged"), &runs.run("undisturbed"));
    output
}

#[test]
fn a_flipped_byte_is_reported_and_the_checkpoint_before_is_used() {
    let runs = two_runs();
    flip_a_byte(&runs.run("damaged").checkpoints_dir().join("step-000030/model.safetensors"));
    assert_goes_on_from(&runs, 20, &[("30", "model.safetensors")]);
    let log = fs::read_to_string(runs.run("damaged").train_log_path()).unwrap();
    assert!(log.contains("the checkpoint of step 30 is damaged"), "{log}");
}

#[test]
fn a_truncated_file_and_a_missing_complete_are_passed_over() {
    let runs = two_runs();
    let dir = runs.run("damaged").checkpoints_dir();
    truncate(&dir.join("step-000030/optimizer.safetensors"));
    fs::remove_file(dir.join("step-000020/COMPLETE")).unwrap();
    assert_goes_on_from(&runs, 10, &[("30", "optimizer.safetensors"), ("20", "COMPLETE")]);
}

#[test]
fn without_a_whole_checkpoint_the_run_begins_anew_and_says_so() {
    let runs = two_runs();
    let dir = runs.run("damaged").checkpoints_dir();
    flip_a_byte(&dir.join("step-000030/COMPLETE"));
    fs::remove_file(dir.join("step-000020/trainer.json")).unwrap();
    truncate(&dir.join("step-000010/codes.safetensors"));
    assert_goes_on_from(&runs, 0, &[("30", "COMPLETE"), ("20", "trainer.json"), ("10", "codes.safetensors")]);
}

/// Initial weights come from libtorch's one generator: trainers in one process take turns.
static ONE_TRAINER: Mutex<()> = Mutex::new(());

/// Tells the file system how far the run is, and keeps what a person would have read.
struct Watcher {
    step: Arc<AtomicU64>,
    notes: Vec<String>,
}

impl Observer for Watcher {
    fn stepped(&mut self, row: &MetricsRow, _loss_average: f64) {
        self.step.store(row.step, Ordering::Relaxed);
    }

    fn noted(&mut self, message: &str) {
        self.notes.push(message.to_owned());
    }
}

type Outcome = (Result<Ending, Error>, Vec<String>);

/// Trains the run `disturbed` on a disk that `refuses` some calls, given the number of steps taken; and `undisturbed` on one that does not.
fn train_on(runs: &Runs, refuses: impl Fn(u64, Call<'_>) -> Answer + Send + Sync + 'static) -> Outcome {
    let _turn = ONE_TRAINER.lock().unwrap_or_else(PoisonError::into_inner);
    tch::set_num_threads(1);
    train(runs, "undisturbed", |_, _| Answer::Pass).0.unwrap();
    train(runs, "disturbed", refuses)
}

fn train(runs: &Runs, id: &str, refuses: impl Fn(u64, Call<'_>) -> Answer + Send + Sync + 'static) -> Outcome {
    let step = Arc::new(AtomicU64::new(0));
    let asked = Arc::clone(&step);
    let disk = InterceptedFileSystem::new(RealFileSystem, move |call| refuses(asked.load(Ordering::Relaxed), call));
    let launch = Launch::create(&disk, runs.path(), Some(id), &experiment(), &Overrides::default()).unwrap();
    let mut watcher = Watcher { step, notes: Vec::new() };
    let ending = launch.run(StopSignal::default(), &mut watcher);
    (ending, watcher.notes)
}

fn full() -> io::Error {
    ErrorKind::StorageFull.into()
}

fn num_failed_saves(runs: &Runs) -> usize {
    events(&runs.run("disturbed")).iter().filter(|row| matches!(row.event, Event::SaveFailed { .. })).count()
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_nothing_but_the_saves_of_that_time() {
    let runs = Runs::new();
    let (ending, notes) = train_on(&runs, |step, call| match (8..25).contains(&step) && call.operation.needs_space() {
        true => Answer::Fail(full()),
        false => Answer::Pass,
    });
    assert_eq!(ending.unwrap(), Ending::Finished);
    assert_same(&runs.run("disturbed"), &runs.run("undisturbed"));
    assert_eq!(notes.iter().filter(|note| note.contains("rows are kept in memory")).count(), 1, "{notes:?}");
    assert!(notes.iter().any(|note| note.starts_with("warning: checkpoint not saved") && note.contains("tries again")), "{notes:?}");
    // Tried at 10 and at every step from there on.
    assert_eq!(num_failed_saves(&runs), 15);
    let log = fs::read_to_string(runs.run("disturbed").train_log_path()).unwrap();
    assert!(log.contains("step 8: warning: writing") || log.contains("step 9: warning: writing"), "{log}");
    assert!(log.contains("step 10: warning: checkpoint not saved"), "{log}");
    assert!(events(&runs.run("disturbed")).iter().any(|row| row.step == 25 && matches!(row.event, Event::Saved { .. })));
}

#[test]
fn checkpoints_that_are_refused_half_way_are_tried_again() {
    let runs = Runs::new();
    // Only the checkpoints' files are refused: logs go on, as on a quota.
    let (ending, _) = train_on(&runs, |step, call| match step < 30 && call.operation == Operation::Write && is_in_checkpoints(call) {
        true => Answer::FailHalfWay(full()),
        false => Answer::Pass,
    });
    assert_eq!(ending.unwrap(), Ending::Finished);
    assert_same(&runs.run("disturbed"), &runs.run("undisturbed"));
    assert_eq!(num_failed_saves(&runs), 20);
}

fn is_in_checkpoints(call: Call<'_>) -> bool {
    call.path.components().any(|part| part.as_os_str() == "checkpoints")
}

#[test]
fn a_disk_that_stays_full_ends_the_run_with_a_message_and_the_last_checkpoint() {
    let runs = Runs::new();
    let (ending, _) = train_on(&runs, |step, call| match step >= 15 && call.operation.needs_space() {
        true => Answer::Fail(full()),
        false => Answer::Pass,
    });
    let error = ending.unwrap_err();
    assert_eq!(error.exit_status(), 1);
    assert!(error.to_string().contains("the state after step 60 could not be saved; step 10 is safe"), "{error}");
    assert!(error.hint_text().unwrap().contains("free disk space"), "{error}");
    let run = runs.run("disturbed");
    assert_eq!(newest_acknowledged(&run), 10);
    assert_eq!(checkpoints(&run).iter().map(|path| name(path)).collect::<Vec<_>>(), ["step-000010"]);
    finish(runs.resume("disturbed", &[]), 0);
    assert_same(&run, &runs.run("undisturbed"));
}

#[test]
fn a_torn_row_spoils_neither_itself_nor_the_next() {
    let runs = Runs::new();
    let (ending, notes) =
        train_on(&runs, |step, call| match call.operation == Operation::Write && call.path.ends_with("logs/metrics.csv") {
            true if [3, 17, 36].contains(&step) => Answer::FailHalfWay(full()),
            _ => Answer::Pass,
        });
    assert_eq!(ending.unwrap(), Ending::Finished);
    assert_same(&runs.run("disturbed"), &runs.run("undisturbed"));
    assert_eq!(notes.iter().filter(|note| note.contains("rows are kept in memory")).count(), 3, "{notes:?}");
}

#[test]
fn rows_that_a_failed_sync_may_have_dropped_are_written_again() {
    let runs = Runs::new();
    let (ending, _) = train_on(&runs, |step, call| match call.operation == Operation::Sync && call.path.ends_with("logs/metrics.csv") {
        true if step == 20 => Answer::Fail(io::Error::from_raw_os_error(5)),
        _ => Answer::Pass,
    });
    assert_eq!(ending.unwrap(), Ending::Finished);
    assert_same(&runs.run("disturbed"), &runs.run("undisturbed"));
    assert_eq!(num_failed_saves(&runs), 1);
}

#[test]
fn a_disk_that_is_full_at_the_start_leaves_no_run() {
    let runs = Runs::new();
    let disk = InterceptedFileSystem::new(RealFileSystem, |call| match call.operation {
        Operation::Write => Answer::Fail(full()),
        _ => Answer::Pass,
    });
    let refused = Launch::create(&disk, runs.path(), Some("mine"), &experiment(), &Overrides::default());
    assert_eq!(refused.err().unwrap().exit_status(), 1);
    assert!(!runs.run("mine").path().exists());
    Launch::create(&DISK, runs.path(), Some("mine"), &experiment(), &Overrides::default()).map(drop).unwrap();
}

/// Trains `disturbed` while somebody removes `victim` of it behind step 25.
fn train_while_removing(runs: &Runs, victim: &Path) -> Outcome {
    let (victim, is_removed) = (victim.to_owned(), AtomicBool::new(false));
    train_on(runs, move |step, _| {
        if step >= 25 && !is_removed.swap(true, Ordering::Relaxed) {
            fs::remove_dir_all(&victim).unwrap();
        }
        Answer::Pass
    })
}

#[test]
fn a_removed_directory_of_checkpoints_is_made_again_which_is_said_once() {
    let runs = Runs::new();
    let (ending, notes) = train_while_removing(&runs, &runs.run("disturbed").checkpoints_dir());
    assert_eq!(ending.unwrap(), Ending::Finished);
    assert_same(&runs.run("disturbed"), &runs.run("undisturbed"));
    assert_eq!(notes.iter().filter(|note| note.contains("had been removed, with every checkpoint in it; it was made again")).count(), 1);
    assert_eq!(num_failed_saves(&runs), 0, "{notes:?}");
}

#[test]
fn a_run_that_is_removed_while_it_trains_ends_with_what_is_lost_and_warns_once() {
    let runs = Runs::new();
    let (ending, notes) = train_while_removing(&runs, runs.run("disturbed").path());
    let error = ending.unwrap_err();
    assert_eq!(error.exit_status(), 1);
    let said = error.to_string();
    assert!(said.contains("the state after step 60 could not be saved; step 20, saved before, is gone too"), "{said}");
    assert!(said.contains("disturbed is gone: it was removed or renamed") && !said.contains("safe"), "{said}");
    assert!(error.hint_text().unwrap().contains("if the run's directory was renamed"), "{said}");
    assert_eq!(notes.iter().filter(|note| note.contains("checkpoint not saved")).count(), 1, "{notes:?}");
    assert!(!runs.run("disturbed").path().exists(), "a run that was removed stays removed");
}

/// A program with `arguments` and the runs' directory, and what it said on stderr.
fn said_by(program: &Path, runs: &Runs, arguments: &[&str], status: i32) -> String {
    let mut command = std::process::Command::new(program);
    command.args(arguments).arg("--runs-dir").arg(runs.path()).env("OMP_NUM_THREADS", "1").stdin(std::process::Stdio::null());
    stderr(&finish(command, status))
}

#[test]
fn whatever_reads_a_run_names_the_damaged_checkpoint_that_it_passes_over() {
    let runs = Runs::new();
    finish(runs.start("damaged", &THREE), 0);
    flip_a_byte(&runs.run("damaged").checkpoints_dir().join("step-000030/model.safetensors"));
    let out = runs.path().join("out");
    let programs: [(&Path, &[&str]); 5] = [
        (Path::new(env!("CARGO_BIN_EXE_evaluate")), &["damaged", "--problems", "1"]),
        (Path::new(env!("CARGO_BIN_EXE_inspect")), &["damaged"]),
        (Path::new(env!("CARGO_BIN_EXE_generate")), &["--model", "damaged", "--prompt", "1 + 1 =", "--max-new-tokens", "1"]),
        (Path::new(env!("CARGO_BIN_EXE_chat")), &["damaged"]),
        (Path::new(env!("CARGO_BIN_EXE_export")), &["damaged", "--to", "packed", "-o", out.to_str().unwrap()]),
    ];
    for (program, arguments) in programs {
        let said = said_by(program, &runs, arguments, 0);
        assert!(said.contains("warning: the checkpoint of step 30 is damaged (model.safetensors is not what was written"), "{said}");
    }
    assert!(runs.run("damaged").checkpoints_dir().join("step-000030").is_dir(), "reading changes nothing");
}

#[test]
fn a_run_whose_only_checkpoint_is_damaged_says_which_file_and_how() {
    let runs = Runs::new();
    finish(runs.start("damaged", &["--num-steps", "10"]), 0);
    truncate(&runs.run("damaged").checkpoints_dir().join("step-000010/model.safetensors"));
    let said = said_by(Path::new(env!("CARGO_BIN_EXE_evaluate")), &runs, &["damaged"], 2);
    assert!(said.contains("has no whole checkpoint: step-000010 is damaged: model.safetensors has"), "{said}");
    assert!(said.contains("hint: ") && !said.contains("wait"), "{said}");
}
