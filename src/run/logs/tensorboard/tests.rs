//! The event file of a run: what is appended, what is derived anew, and what a resume leaves.

use super::*;
use crate::run::RunLogs;
use crate::storage::read_capped;
use crate::storage::testing::{Answer, FailingFileSystem, Failure, ForgetfulFileSystem, InterceptedFileSystem, Operation};
use std::io::{Error, ErrorKind};

fn metrics(step: u64) -> MetricsRow {
    MetricsRow {
        step,
        tokens: 10 * step,
        loss: 1.0 / step as f64,
        learning_rate: 1e-3,
        weight_decay: 0.1,
        grad_norm: f64::NAN,
        skipped_steps: 0,
        step_seconds: 0.1,
        tokens_per_second: 100.0,
        unix_time: 1.7e9 + step as f64,
        mfu: None,
    }
}

fn evaluation(step: u64) -> [EvaluationRow; 2] {
    ["loss", "exact_match/add"].map(|metric| EvaluationRow { step, metric: metric.into(), value: 0.5 })
}

fn samples(step: u64) -> [SampleRow; 2] {
    ["greedy", "hot"].map(|mode| SampleRow { step, prompt: "1 + 1 =".into(), mode: mode.into(), completion: " 2\n".into() })
}

/// Records steps `first` to `last`; every second one is evaluated, every third one sampled.
fn record(logs: &mut RunLogs<'_>, first: u64, last: u64) {
    for step in first..=last {
        let _ = logs.record_step(&metrics(step));
        if step.is_multiple_of(2) {
            let _ = logs.record_evaluation(&evaluation(step));
        }
        if step.is_multiple_of(3) {
            let _ = logs.record_samples(&samples(step));
        }
    }
}

/// The name and the records of the only event file.
fn event_file(fs: &dyn FileSystem, run: &RunDirectory) -> (String, Vec<Vec<u8>>) {
    let [name] = &event_files(fs, &run.tensorboard_dir()).unwrap()[..] else { panic!("not one event file") };
    let content = read_capped(fs, &run.tensorboard_dir().join(name), 1 << 20).unwrap();
    let (mut rest, mut records) = (&content[..], Vec::new());
    while !rest.is_empty() {
        let end = 16 + u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let mut written = Vec::new();
        push_record(&rest[12..end - 4], &mut written);
        assert_eq!(written, rest[..end], "a wrong checksum");
        records.push(rest[12..end - 4].to_vec());
        rest = &rest[end..];
    }
    (name.clone(), records)
}

#[test]
fn a_derived_file_holds_what_was_appended() {
    let (fs, run) = (ForgetfulFileSystem::new(), RunDirectory::new("/r"));
    record(&mut RunLogs::open(&fs, &run, 0).unwrap(), 1, 7);
    let (old, appended) = event_file(&fs, &run);
    fs.append(&run.tensorboard_dir().join(&old)).unwrap().write_all(&[0]).unwrap(); // which makes it another file
    RunLogs::open(&fs, &run, 7).unwrap();
    let (new, derived) = event_file(&fs, &run);
    assert_eq!(appended.len(), 2 + 7 + 3 + 2);
    assert_eq!(derived[2..], appended[2..], "but for the times of version and start");
    assert!(new > old, "{new} is read after {old}");
}

#[test]
fn a_run_that_is_opened_and_not_trained_keeps_its_event_file() {
    let (fs, run) = (ForgetfulFileSystem::new(), RunDirectory::new("/r"));
    record(&mut RunLogs::open(&fs, &run, 0).unwrap(), 1, 7);
    let before = event_file(&fs, &run);
    RunLogs::open(&fs, &run, 7).unwrap();
    assert_eq!(event_file(&fs, &run), before);
}

#[test]
fn rows_after_the_resumed_step_are_gone_and_come_once() {
    let (fs, run) = (ForgetfulFileSystem::new(), RunDirectory::new("/r"));
    record(&mut RunLogs::open(&fs, &run, 0).unwrap(), 1, 7);
    let whole = event_file(&fs, &run).1;
    record(&mut RunLogs::open(&fs, &run, 4).unwrap(), 5, 7);
    assert_eq!(event_file(&fs, &run).1[2..], whole[2..]);
}

#[test]
fn what_a_kill_tore_or_left_behind_does_not_stay() {
    let (fs, run) = (ForgetfulFileSystem::new(), RunDirectory::new("/r"));
    record(&mut RunLogs::open(&fs, &run, 0).unwrap(), 1, 2);
    let (name, whole) = event_file(&fs, &run);
    let dir = run.tensorboard_dir();
    fs.append(&dir.join(&name)).unwrap().write_all(&[7, 0, 0]).unwrap();
    fs.create(&dir.join(".tmp-events-1")).unwrap();
    fs.create(&dir.join(format!("{PREFIX}9999999998.other.1"))).unwrap();
    RunLogs::open(&fs, &run, 2).unwrap();
    let (name, records) = event_file(&fs, &run);
    assert_eq!(records[2..], whole[2..]);
    assert!(name.starts_with("events.out.tfevents.9999999999."), "{name}");
    assert_eq!(fs.list(&dir).unwrap().len(), 1);
}

#[test]
fn rows_that_the_disk_refused_are_in_the_file_after_the_next_sync() {
    let (fs, run) = (FailingFileSystem::new(ForgetfulFileSystem::new()), RunDirectory::new("/r"));
    let mut logs = RunLogs::open(&fs, &run, 0).unwrap();
    record(&mut logs, 1, 3);
    fs.fail_after(0, Failure::DiskStaysFull);
    record(&mut logs, 4, 6);
    assert!(logs.sync().is_err());
    fs.heal();
    record(&mut logs, 7, 7);
    logs.sync().unwrap();
    let found = event_file(&fs, &run).1;
    RunLogs::open(&fs, &run, 7).unwrap();
    assert_eq!(event_file(&fs, &run).1[2..], found[2..]);
    assert_eq!(found.len(), 2 + 7 + 3 + 2);
}

#[test]
fn an_event_file_that_cannot_be_synced_holds_up_no_checkpoint() {
    let run = RunDirectory::new("/r");
    let fs = InterceptedFileSystem::new(ForgetfulFileSystem::new(), |call| {
        let is_event_file = call.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        let is_refused = is_event_file && call.operation == Operation::Sync;
        if is_refused { Answer::Fail(Error::from(ErrorKind::StorageFull)) } else { Answer::Pass }
    });
    let mut logs = RunLogs::open(&fs, &run, 0).unwrap();
    record(&mut logs, 1, 3);
    logs.sync().unwrap();
}

#[test]
fn rows_beyond_a_damaged_metrics_log_are_shown_too() {
    let records = derived(1.5, &[metrics(1)], &evaluation(4), &samples(5));
    let alone = derived(1.5, &[metrics(1)], &[], &[]);
    assert!(records.len() > alone.len() && records.starts_with(&alone));
}
