//! Twenty steps of arithmetic by the trainer, without a break and with a stop and a resume half-way. On a CPU both end with the same bytes; a
//! GPU adds some gradients in an order of its own, so there the weights may be apart by a bound.

use super::finding::{Finding, Table};
use super::models;
use super::setting::{Setting, device_word};
use crate::config::{DeviceChoice, Experiment, Overrides};
use crate::libtorch::load_tensors;
use crate::run::{CheckpointStore, MetricsRow, Observer, RunDirectory, StopReason, StopSignal, read_log};
use crate::storage::{DISK, FileSystem, create_dir_durably};
use crate::train::Launch;
use crate::{Context, Error, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tch::{Device, Kind, Tensor};

const NUM_STEPS: u64 = 20;
/// How far the weights may be apart on a GPU, as a share of their norm, and the losses of the last step, in nats.
const TOLERANCE: f64 = 0.01;

/// What a run ended with.
struct End {
    weights: BTreeMap<String, Tensor>,
    last_loss: f64,
    /// The steps that the rows are of.
    rows: Vec<u64>,
}

/// Stops a run half-way.
struct StopHalfWay(StopSignal);

impl Observer for StopHalfWay {
    fn stepped(&mut self, row: &MetricsRow, _loss_average: f64) {
        if row.step == NUM_STEPS / 2 {
            self.0.request(StopReason::Interrupt);
        }
    }
}

pub(super) fn look(setting: &Setting, device: Device) -> Result<Finding> {
    let experiment = experiment(setting, device)?;
    let (runs_dir, config) = (setting.work_dir.join("runs"), setting.work_dir.join("config.yaml"));
    create_dir_durably(&DISK, &runs_dir)?;
    fs::write(&config, experiment.to_yaml()?).context(|| format!("writing {}", config.display()))?;
    let create = |id| Launch::create(&DISK, &runs_dir, Some(id), &config, &Overrides::default());
    create("straight")?.run(StopSignal::default(), &mut crate::run::Silent)?;
    let stop = StopSignal::default();
    create("stopped")?.run(stop.clone(), &mut StopHalfWay(stop))?;
    let stopped_at = end(&DISK, &runs_dir, "stopped")?.rows.last().copied().unwrap_or(0);
    Launch::resume(&DISK, &runs_dir, "stopped", None, &Overrides::default())?.run(StopSignal::default(), &mut crate::run::Silent)?;
    let (straight, resumed) = (end(&DISK, &runs_dir, "straight")?, end(&DISK, &runs_dir, "stopped")?);
    Ok(finding(&straight, &resumed, stopped_at, device))
}

fn experiment(setting: &Setting, device: Device) -> Result<Experiment> {
    let mut experiment = models::arithmetic(setting.scale)?;
    experiment.device = match device {
        Device::Cuda(_) => DeviceChoice::Cuda,
        Device::Mps => DeviceChoice::Mps,
        _ => DeviceChoice::Cpu,
    };
    (experiment.train.num_steps, experiment.train.schedule.warmup_steps) = (NUM_STEPS, 5);
    (experiment.evaluation.every, experiment.evaluation.num_examples, experiment.sampling.every) = (0, 8, 0);
    experiment.sampling.prompts.truncate(1);
    (experiment.checkpoints.every, experiment.checkpoints.at_stage_switch) = (NUM_STEPS, false);
    Ok(experiment)
}

fn end(fs: &dyn FileSystem, runs_dir: &Path, id: &str) -> Result<End> {
    let run = RunDirectory::new(runs_dir.join(id));
    let latest = CheckpointStore::open(fs, run.checkpoints_dir(), 1)?.load_latest()?.checkpoint;
    let latest = latest.ok_or_else(|| Error::ours(format!("run {id} has no checkpoint")))?;
    let rows = read_log::<MetricsRow>(fs, &run.metrics_path())?.rows;
    let last_loss = rows.last().map_or(f64::NAN, |row| row.loss);
    Ok(End { weights: load_tensors(&latest.file_path("model.safetensors")?)?, last_loss, rows: rows.iter().map(|row| row.step).collect() })
}

fn finding(straight: &End, resumed: &End, stopped_at: u64, device: Device) -> Finding {
    let word = device_word(device);
    let (mut square, mut size, mut equal) = (0.0, 0.0, 0);
    for (name, weight) in &straight.weights {
        let square_of = |tensor: &Tensor| tensor.to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[]);
        let other = resumed.weights.get(name).filter(|other| other.size() == weight.size());
        square += other.map_or(f64::INFINITY, |other| square_of(&(weight - other)));
        size += square_of(weight);
        equal += usize::from(other.is_some_and(|other| other == weight));
    }
    let (apart, of_losses) = ((square / size).sqrt(), (straight.last_loss - resumed.last_loss).abs());
    let is_same = apart == 0.0 && of_losses == 0.0;
    let has_all_rows = resumed.rows == (1..=NUM_STEPS).collect::<Vec<_>>() && resumed.rows == straight.rows;
    let is_near = if device == Device::Cpu { is_same } else { apart <= TOLERANCE && of_losses <= TOLERANCE };
    let allowed = if device == Device::Cpu { 0.0 } else { TOLERANCE };
    let mut table = Table::new("Resume", &["what", "straight", "stopped and resumed", "apart", "allowed"]);
    let (one, other) = (format!("{:.6}", straight.last_loss), format!("{:.6}", resumed.last_loss));
    table.push([format!("loss of step {NUM_STEPS}"), one, other, format!("{of_losses:.1e}"), allowed.to_string()]);
    let tensors = straight.weights.len();
    table.push([
        "weights, share of their norm".into(),
        String::new(),
        format!("{equal} of {tensors} tensors equal"),
        format!("{apart:.1e}"),
        allowed.to_string(),
    ]);
    Finding {
        is_right: Some(is_near && has_all_rows && stopped_at < NUM_STEPS),
        summary: format!(
            "stopped after step {stopped_at} on {word} and resumed: weights {apart:.1e} of their norm apart, {allowed} allowed"
        ),
        table,
        numbers: json!({
            "stopped_at": stopped_at, "straight_loss": straight.last_loss, "resumed_loss": resumed.last_loss, "loss_difference": of_losses,
            "weight_difference": apart, "equal_tensors": equal, "tensors": tensors, "allowed": allowed, "has_all_rows": has_all_rows,
        }),
    }
}
