//! Each state, derived from logs, lock and events that the tests make.

use super::*;
use crate::run::{Event, Log};
use crate::storage::DISK;
use std::fs;
use tempfile::TempDir;

const NOW: f64 = 2_000_000_000.0; // well after every test directory was made
const CONFIG: &str = include_str!("../../../tests/fixtures/example/config.yaml");

struct Fake {
    _dir: TempDir,
    run: RunDirectory,
}

fn fake() -> Fake {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(&DISK, dir.path(), "mine").unwrap();
    fs::write(run.config_path(), CONFIG).unwrap();
    Fake { _dir: dir, run }
}

/// Steps of half a second of which the last was written at `end`.
fn rows(num_steps: u64, end: f64) -> Vec<MetricsRow> {
    let row = |step: u64| MetricsRow {
        step,
        tokens: step * 100,
        loss: 4.0 - step as f64 / 1000.0,
        learning_rate: 1e-3,
        weight_decay: 0.1,
        grad_norm: 0.5,
        skipped_steps: 0,
        step_seconds: 0.5,
        tokens_per_second: 200.0,
        unix_time: end - 0.5 * (num_steps - step) as f64,
        mfu: None,
    };
    (1..=num_steps).map(row).collect()
}

impl Fake {
    fn write<R: LogRow>(&self, path: &std::path::Path, rows: &[R]) {
        let mut log = Log::open(&DISK, path).unwrap();
        rows.iter().for_each(|row| log.append(row).unwrap());
    }

    fn steps(&self, rows: &[MetricsRow]) {
        self.write(&self.run.metrics_path(), rows);
    }

    fn event(&self, unix_time: f64, event: Event) {
        self.write(&self.run.events_path(), &[EventRow { unix_time, step: 600, event }]);
    }

    fn started(&self, unix_time: f64) {
        self.event(unix_time, Event::Started { process_id: 1 });
    }

    fn status(&self) -> Status {
        Status::read(&DISK, &self.run, NOW).unwrap()
    }

    fn state(&self) -> (State, Option<String>) {
        let status = self.status();
        (status.state, status.reason)
    }
}

#[test]
fn a_locked_run_with_fresh_rows_is_running_and_has_an_eta() {
    let fake = fake();
    let _lock = fake.run.lock().unwrap();
    fake.started(NOW - 400.0);
    fake.steps(&rows(600, NOW - 5.0));
    let status = fake.status();
    assert_eq!((status.state, status.step, status.num_steps, status.percent), (State::Running, 600, Some(2400), Some(25.0)));
    assert_eq!((status.eta_seconds, status.tokens_per_second, status.training_seconds), (Some(900.0), Some(200.0), 300.0));
    assert_eq!(status.last_row_age_seconds, Some(5.0));
}

#[test]
fn a_locked_run_without_a_row_for_a_minute_is_stalled() {
    let fake = fake();
    let _lock = fake.run.lock().unwrap();
    fake.started(NOW - 400.0);
    fake.steps(&rows(600, NOW - 61.0));
    let (state, reason) = fake.state();
    assert_eq!(state, State::Stalled);
    assert!(reason.unwrap().contains("61 s"));
    assert_eq!(fake.status().eta_seconds, None);
}

#[test]
fn slow_steps_have_twenty_of_them_before_the_run_counts_as_stalled() {
    for (age, state) in [(199.0, State::Running), (201.0, State::Stalled)] {
        let fake = fake();
        let _lock = fake.run.lock().unwrap();
        fake.started(NOW - 5000.0);
        let slow = rows(10, NOW - age).into_iter().map(|row| MetricsRow { step_seconds: 10.0, ..row });
        fake.steps(&slow.collect::<Vec<_>>());
        assert_eq!(fake.state().0, state, "{age}");
    }
}

#[test]
fn a_resumed_run_is_starting_until_its_first_row() {
    let fake = fake();
    let _lock = fake.run.lock().unwrap();
    fake.steps(&rows(600, NOW - 3600.0));
    fake.event(NOW - 3600.0, Event::Stopped { reason: "SIGINT".to_owned() });
    assert_eq!(fake.state(), (State::Starting, None), "the lock is taken, the event not yet written");
    fake.started(NOW - 3.0);
    assert_eq!(fake.state(), (State::Starting, None));
}

#[test]
fn a_run_that_said_how_it_ended_is_believed_even_while_its_process_exits() {
    let ends = [
        (Event::Finished, State::Finished, None),
        (Event::Stopped { reason: "SIGTERM".to_owned() }, State::Stopped, Some("SIGTERM".to_owned())),
        (Event::Failed { reason: "no space".to_owned() }, State::Failed, Some("no space".to_owned())),
    ];
    for (event, state, reason) in ends {
        let fake = fake();
        fake.steps(&rows(600, NOW - 1.0));
        fake.started(NOW - 400.0);
        fake.event(NOW - 0.5, event);
        assert_eq!(fake.state(), (state, reason.clone()));
        let _lock = fake.run.lock().unwrap();
        assert_eq!(fake.state(), (state, reason));
    }
}

#[test]
fn a_free_lock_without_an_end_means_killed() {
    let fake = fake();
    drop(fake.run.lock().unwrap());
    fake.started(NOW - 400.0);
    fake.steps(&rows(600, NOW - 1.0));
    fake.event(NOW - 1.0, Event::Saved { checkpoint: "step-000600".to_owned() });
    let (state, reason) = fake.state();
    assert_eq!(state, State::Failed);
    assert!(reason.unwrap().contains("killed"));
}

#[test]
fn a_run_that_wrote_nothing_failed_unless_it_is_seconds_old() {
    let fake = fake();
    assert_eq!(fake.state().0, State::Failed);
    let young = Status::read(&DISK, &fake.run, crate::run::unix_time()).unwrap();
    assert_eq!((young.state, young.step, young.loss), (State::Starting, 0, None));
}

#[test]
fn the_trend_is_the_slope_of_the_loss() {
    let fake = fake();
    fake.steps(&rows(2000, NOW));
    let trend = fake.status().loss_trend_per_1000_steps.unwrap();
    assert!((trend + 1.0).abs() < 1e-6, "{trend}"); // the rows fall by 1 in 1,000 steps
}

#[test]
fn the_last_evaluation_samples_and_codes_are_those_of_the_last_step() {
    let fake = fake();
    let evaluation = |step, metric: &str, value| EvaluationRow { step, metric: metric.to_owned(), value };
    fake.write(
        &fake.run.evaluation_path(),
        &[evaluation(400, "loss", 1.0), evaluation(800, "loss", f64::NAN), evaluation(800, "exact_match/add", 0.5)],
    );
    let sample = |step, prompt: &str| SampleRow { step, prompt: prompt.to_owned(), mode: "greedy".to_owned(), completion: " 2".to_owned() };
    fake.write(&fake.run.samples_path(), &[sample(400, "old"), sample(800, "1 + 1 ="), sample(800, "2 / 1 =")]);
    let codes = |step, zero| CodesRow { step, layer: 0, matrix: "q_proj".to_owned(), minus: 0.25, zero, plus: 0.25, flipped: 0.01 };
    fake.write(&fake.run.codes_path(), &[codes(400, 0.9), codes(800, 0.25), codes(800, 0.75)]);
    let status = fake.status();
    let metrics = [("exact_match/add".to_owned(), Some(0.5)), ("loss".to_owned(), None)];
    assert_eq!(status.evaluation.unwrap(), EvaluationSummary { step: 800, metrics: metrics.into() });
    assert_eq!(status.samples, [sample(800, "1 + 1 ="), sample(800, "2 / 1 =")]);
    let codes = status.codes.unwrap();
    assert_eq!((codes.step, codes.num_matrices, codes.zero, codes.minus), (800, 2, Some(0.5), Some(0.25)));
}

#[test]
fn torn_empty_and_damaged_files_hide_nothing_that_is_whole() {
    let fake = fake();
    fake.steps(&rows(3, NOW));
    let path = fake.run.metrics_path();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}4,xx,NaN\n5,500,3.")).unwrap();
    fs::write(fake.run.evaluation_path(), "").unwrap();
    fs::write(fake.run.config_path(), "train: 1").unwrap();
    let status = fake.status();
    assert_eq!((status.step, status.damaged_lines, status.num_steps, status.problems.len()), (3, 1, None, 1));
    assert!(status.problems[0].contains("config.yaml"), "{:?}", status.problems);
}

#[test]
fn numbers_that_are_not_finite_are_null_in_json() {
    let fake = fake();
    let mut rows = rows(3, NOW);
    rows[2].loss = f64::NAN;
    rows[2].grad_norm = f64::INFINITY;
    fake.steps(&rows);
    let json = serde_json::to_value(fake.status()).unwrap();
    assert!(json["loss"].is_null() && json["grad_norm"].is_null(), "{json}");
    assert!(json["loss_average"].is_f64());
    assert_eq!((json["state"].as_str(), json["step"].as_u64()), (Some("failed"), Some(3)));
}

/// Rows whose loss goes from `start` to ten times `peak` and back to `peak`.
fn spiking(start: f64, peak: f64) -> Vec<MetricsRow> {
    let loss = |step: u64| if step == 1 { start } else { peak * if step < 300 { 10.0 } else { 1.0 } };
    rows(600, NOW).into_iter().map(|row| MetricsRow { loss: loss(row.step), ..row }).collect()
}

#[test]
fn a_loss_far_above_its_start_and_that_of_guessing_has_diverged_though_it_falls() {
    for (start, peak, has_diverged) in [(4.2, 700.0, true), (4.2, 4.3, false), (9.0, 8.0, false), (1.5, 8.0, true)] {
        let fake = fake();
        fake.steps(&spiking(start, peak));
        let divergence = fake.status().divergence;
        assert_eq!(divergence.is_some(), has_diverged, "{start} to {peak}: {divergence:?}");
    }
    let fake = fake();
    fake.steps(&spiking(4.2, 700.0)[..5]);
    assert_eq!(fake.status().divergence, None, "five steps say nothing");
}

#[test]
fn what_compares_runs_is_read_from_config_events_and_evaluations() {
    let fake = fake();
    fake.started(NOW - 400.0);
    fake.event(NOW - 300.0, Event::Finished);
    let evaluation = |step, metric: &str, value| EvaluationRow { step, metric: metric.to_owned(), value };
    fake.write(&fake.run.evaluation_path(), &[evaluation(1, "loss", 2.0), evaluation(2, "loss", 1.5), evaluation(3, "exact_match", 0.5)]);
    let status = fake.status();
    assert_eq!((status.held_out_loss, status.started_unix_time), (Some(1.5), Some(NOW - 400.0)));
    assert!(status.num_parameters > Some(0) && status.experiment.is_some(), "{status:?}");
}
