//! Losses and gradients that are not finite, injected where an objective gives them.

use super::*;
use crate::config::Overrides;
use crate::libtorch::load_tensors;
use crate::model::Decoder;
use crate::run::{CheckpointStore, EvaluationRow, MetricsRow, RunDirectory, Silent, read_log};
use crate::storage::DISK;
use crate::train::Objective;
use std::path::Path;
use tch::{Device, Tensor};

/// An objective whose micro-batches from `first` to `last` have a loss that `spoil` spoilt.
struct Spoilt {
    inner: Box<dyn Objective>,
    first: u64,
    last: u64,
    spoil: fn(Tensor) -> Tensor,
}

impl Objective for Spoilt {
    fn next_loss(&mut self, decoder: &Decoder) -> Result<Tensor> {
        let loss = self.inner.next_loss(decoder)?;
        Ok(if (self.first..=self.last).contains(&self.position()) { (self.spoil)(loss) } else { loss })
    }

    fn position(&self) -> u64 {
        self.inner.position()
    }

    fn seek(&mut self, position: u64) {
        self.inner.seek(position);
    }

    fn tokens_per_batch(&self) -> u64 {
        self.inner.tokens_per_batch()
    }

    fn fingerprint(&self) -> String {
        self.inner.fingerprint()
    }

    fn evaluate(&self, decoder: &Decoder, step: u64) -> Result<Vec<EvaluationRow>> {
        self.inner.evaluate(decoder, step)
    }
}

fn to_nan(loss: Tensor) -> Tensor {
    loss * f64::NAN
}

/// The loss stays as it is; its gradient is infinity times zero.
fn to_nan_gradient(loss: Tensor) -> Tensor {
    (&loss * 0.0).sqrt() + loss
}

/// The tiny experiment in `dir`, a checkpoint every 5 steps of 30, with steps `first` to `last` spoilt.
fn trainer<'a>(dir: &Path, observer: &'a mut dyn Observer, (first, last): (u64, u64), spoil: fn(Tensor) -> Tensor) -> Trainer<'a> {
    let set = ["train.num_steps=30", "checkpoints.every=5", "checkpoints.keep_last=10"].map(String::from).to_vec();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
    let experiment = crate::config::load(tiny, &Overrides { set, ..Overrides::default() }).unwrap();
    let mut plan = Plan::new(&experiment).unwrap();
    plan.objective = Box::new(Spoilt { inner: plan.objective, first, last, spoil });
    let directory = RunDirectory::create(&DISK, dir, "tiny").unwrap();
    let lock = directory.lock().unwrap();
    let checkpoints = CheckpointStore::open(&DISK, directory.checkpoints_dir(), 10).unwrap();
    let run = ActiveRun::open(&DISK, directory, lock, checkpoints, 0).unwrap();
    let network = Network::new(&experiment, Device::Cpu).unwrap();
    Trainer::new(experiment, plan, run, network, StopSignal::default(), observer)
}

/// Weights and optimizer state, byte for byte.
fn state(trainer: &Trainer<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    trainer.network.weights_file().unwrap().write_to(&mut bytes).unwrap();
    trainer.network.optimizer_file().unwrap().write_to(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_step_whose_loss_or_gradient_is_not_finite_changes_neither_weights_nor_optimizer() {
    for spoil in [to_nan, to_nan_gradient] {
        let (dir, mut silent) = (tempfile::tempdir().unwrap(), Silent);
        let mut trainer = trainer(dir.path(), &mut silent, (3, 3), spoil);
        (0..2).for_each(|_| assert!(trainer.step().unwrap()));
        let before = state(&trainer);
        assert!(trainer.step().unwrap());
        assert!(state(&trainer) == before);
        assert_eq!((trainer.progress.step, trainer.progress.skipped_steps), (3, 1));
        assert!(trainer.step().unwrap());
        assert!(state(&trainer) != before);
    }
}

#[test]
fn too_many_steps_in_a_row_end_the_run_with_its_last_checkpoint_intact_and_finite() {
    let (dir, mut silent) = (tempfile::tempdir().unwrap(), Silent);
    let error = trainer(dir.path(), &mut silent, (13, u64::MAX), to_nan).run(None, &[]).unwrap_err();
    assert_eq!(error.exit_status(), 1);
    assert!(error.to_string().contains("5 steps in a row had a loss or gradient that is not finite"), "{error}");
    assert!(error.hint_text().unwrap().contains("learning_rate"), "{error}");

    let run = RunDirectory::new(dir.path().join("tiny"));
    let rows = read_log::<MetricsRow>(&DISK, &run.metrics_path()).unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.skipped_steps).collect::<Vec<_>>(), [vec![0; 12], vec![1, 2, 3, 4, 5]].concat());
    assert!(rows.iter().all(|row| row.loss.is_nan() == (row.step > 12)));
    let log = std::fs::read_to_string(run.train_log_path()).unwrap();
    assert_eq!(log.matches(" skipped: loss NaN").count(), 5, "{log}");
    let last = read_log::<crate::run::EventRow>(&DISK, &run.events_path()).unwrap().rows.pop().unwrap();
    assert!(last.step == 17 && matches!(last.event, Event::Failed { .. }), "{last:?}");

    // Step 15 was due, but its state may have been lost by then.
    let mut store = CheckpointStore::open(&DISK, run.checkpoints_dir(), 10).unwrap();
    assert_eq!(store.checkpoints().steps().unwrap(), [5, 10]);
    let latest = store.load_latest().unwrap().checkpoint.unwrap();
    let weights = load_tensors(&latest.file_path("model.safetensors").unwrap()).unwrap();
    assert!(weights.values().all(|weight| bool::try_from(weight.isfinite().all()).unwrap()));
}

#[test]
fn a_few_bad_steps_are_counted_and_the_save_that_was_due_follows_the_next_good_one() {
    let (dir, mut silent) = (tempfile::tempdir().unwrap(), Silent);
    let ending = trainer(dir.path(), &mut silent, (14, 16), to_nan_gradient).run(None, &[]).unwrap();
    assert_eq!(ending, Ending::Finished);
    let run = RunDirectory::new(dir.path().join("tiny"));
    let rows = read_log::<MetricsRow>(&DISK, &run.metrics_path()).unwrap().rows;
    assert_eq!((rows.len(), rows.last().unwrap().skipped_steps), (30, 3));
    assert!(rows.iter().all(|row| row.loss.is_finite() && row.grad_norm.is_nan() == (14..=16).contains(&row.step)));
    let store = CheckpointStore::open(&DISK, run.checkpoints_dir(), 10).unwrap();
    assert_eq!(store.checkpoints().steps().unwrap(), [5, 10, 17, 20, 25, 30]);
}

#[test]
fn parameters_that_are_not_finite_are_never_saved() {
    let (dir, mut silent) = (tempfile::tempdir().unwrap(), Silent);
    let mut trainer = trainer(dir.path(), &mut silent, (1, 0), to_nan);
    assert!(trainer.step().unwrap());
    let (_, _, projection) = trainer.network.decoder.projections().next().unwrap();
    let _ = tch::no_grad(|| projection.weight().shallow_clone().fill_(f64::INFINITY));
    let error = trainer.save_before_leaving().unwrap_err();
    assert!(error.to_string().contains("is not finite; it is not saved"), "{error}");
    assert!(trainer.run.checkpoints.checkpoints().steps().unwrap().is_empty());
}

/// What a run of 30 steps leaves, its clock apart: every row and event, every file of every checkpoint, and what it said to its observer.
fn traces(reads_late: bool, spoilt: (u64, u64), spoil: fn(Tensor) -> Tensor, set: &[(&str, u64)]) -> (Vec<String>, Vec<(String, Vec<u8>)>) {
    let (dir, mut heard) = (tempfile::tempdir().unwrap(), Heard::default());
    let mut trainer = trainer(dir.path(), &mut heard, spoilt, spoil);
    trainer.reads_late = reads_late;
    for (key, value) in set {
        match *key {
            "accumulation" => trainer.experiment.train.accumulation_steps = *value as usize,
            "codes" => trainer.experiment.train.record_codes_every = *value,
            "evaluation" => trainer.experiment.evaluation.every = *value,
            "samples" => trainer.experiment.sampling.every = *value,
            "blend" => trainer.experiment.train.schedule.quantization_blend_steps = *value,
            other => panic!("{other}"),
        }
    }
    let ending = trainer.run(None, &[]).map_err(|error| error.to_string());
    let run = RunDirectory::new(dir.path().join("tiny"));
    let mut lines = heard.lines;
    lines.push(format!("{ending:?}"));
    let rows = read_log::<MetricsRow>(&DISK, &run.metrics_path()).unwrap().rows;
    lines.extend(rows.into_iter().map(|row| format!("{:?}", without_clock(&row))));
    lines.extend(read_log::<EvaluationRow>(&DISK, &run.evaluation_path()).unwrap().rows.iter().map(|row| format!("{row:?}")));
    lines.extend(read_log::<crate::run::CodesRow>(&DISK, &run.codes_path()).unwrap().rows.iter().map(|row| format!("{row:?}")));
    lines.extend(read_log::<crate::run::SampleRow>(&DISK, &run.samples_path()).unwrap().rows.iter().map(|row| format!("{row:?}")));
    let events = read_log::<crate::run::EventRow>(&DISK, &run.events_path()).unwrap().rows;
    lines.extend(events.into_iter().map(|row| format!("{} {:?}", row.step, row.event)));
    let mut files = Vec::new();
    for step in CheckpointStore::open(&DISK, run.checkpoints_dir(), 10).unwrap().checkpoints().steps().unwrap() {
        for name in ["model.safetensors", "optimizer.safetensors", "codes.safetensors", "trainer.json"] {
            let path = run.checkpoints_dir().join(format!("step-{step:06}")).join(name);
            files.push((path.strip_prefix(dir.path()).unwrap().display().to_string(), std::fs::read(path).unwrap()));
        }
    }
    (lines, files)
}

fn without_clock(row: &MetricsRow) -> MetricsRow {
    MetricsRow { step_seconds: 0.0, tokens_per_second: 0.0, unix_time: 0.0, mfu: None, ..row.clone() }
}

/// Keeps what it is told, in its order.
#[derive(Default)]
struct Heard {
    lines: Vec<String>,
}

impl Observer for Heard {
    fn stepped(&mut self, row: &MetricsRow, loss_average: f64) {
        self.lines.push(format!("{:?} {loss_average}", without_clock(row)));
    }

    fn evaluated(&mut self, rows: &[EvaluationRow]) {
        self.lines.push(format!("{rows:?}"));
    }

    fn noted(&mut self, message: &str) {
        self.lines.push(message.to_owned());
    }
}

#[test]
fn reading_losses_late_changes_no_row_no_note_and_no_byte_of_a_checkpoint() {
    type Case = ((u64, u64), fn(Tensor) -> Tensor, &'static [(&'static str, u64)]);
    let cases: [Case; 4] = [
        ((31, 31), to_nan, &[("codes", 4), ("evaluation", 7), ("samples", 9), ("blend", 3)]),
        ((28, 31), to_nan_gradient, &[("accumulation", 2), ("samples", 0), ("codes", 0)]),
        ((14, 16), to_nan_gradient, &[("evaluation", 0), ("samples", 0)]),
        ((13, u64::MAX), to_nan, &[("evaluation", 0), ("samples", 0), ("codes", 0)]),
    ];
    for (spoilt, spoil, set) in cases {
        let (at_once, late) = (traces(false, spoilt, spoil, set), traces(true, spoilt, spoil, set));
        assert_eq!(at_once.0, late.0, "{set:?}");
        assert!(at_once.1.len() >= 8 && at_once.1 == late.1, "{set:?}: {} files", at_once.1.len());
    }
}

#[test]
fn a_run_that_reads_late_and_is_asked_to_stop_saves_the_last_step_it_launched() {
    struct StopAt(u64, StopSignal);
    impl Observer for StopAt {
        fn stepped(&mut self, row: &MetricsRow, _loss_average: f64) {
            if row.step == self.0 {
                self.1.request(StopReason::Interrupt);
            }
        }
    }
    let (dir, stop) = (tempfile::tempdir().unwrap(), StopSignal::default());
    let mut observer = StopAt(3, stop.clone());
    let mut trainer = trainer(dir.path(), &mut observer, (1, 0), to_nan);
    (trainer.reads_late, trainer.stop) = (true, stop);
    assert_eq!(trainer.run(None, &[]).unwrap(), Ending::Stopped(StopReason::Interrupt));
    let run = RunDirectory::new(dir.path().join("tiny"));
    let rows = read_log::<MetricsRow>(&DISK, &run.metrics_path()).unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.step).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let latest = CheckpointStore::open(&DISK, run.checkpoints_dir(), 10).unwrap().load_latest().unwrap().checkpoint.unwrap();
    let progress: Progress = serde_json::from_slice(&std::fs::read(latest.file_path("trainer.json").unwrap()).unwrap()).unwrap();
    assert_eq!((progress.step, progress.data_position), (4, 4));
}
