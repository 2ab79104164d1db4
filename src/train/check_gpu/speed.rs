//! Tokens a second, the share of the peak that this is, and the most memory, of one model.

use super::finding::{Finding, Table};
use super::losses::{numbers, refuse_lost};
use super::models::{self, made_batch};
use super::models::{Scale, Shape, Weights};
use super::setting::device_word;
use crate::Result;
use crate::config::{Experiment, Kernels};
use crate::libtorch::{caught, cuda_memory_bytes, cuda_peak_memory, peak_memory_bytes, sent};
use crate::train::{LaunchedStep, Network, launch_step, next_token_loss, peak_of, take_step};
use serde_json::json;
use std::time::Instant;
use tch::{Device, Tensor};

/// The share of a GPU's memory that an estimated step may take.
const MEMORY_SHARE: f64 = 0.7;

/// What was measured.
struct Speed {
    steps: u64,
    seconds: f64,
}

pub(super) fn look(device: Device, scale: Scale, shape: Shape, weights: Weights) -> Result<Finding> {
    let mut experiment = models::experiment(shape, weights, scale)?;
    fit(&mut experiment, device);
    let speed = caught(|| measure(&experiment, device, scale))?;
    let (rows, seq_len) = (experiment.train.batch_size, experiment.train.seq_len);
    let tokens_per_second = (rows * seq_len) as f64 * speed.steps as f64 / speed.seconds;
    let peak = peak_of(device, experiment.precision)?;
    let mfu = experiment.model.flops_per_token(seq_len) * tokens_per_second / peak.flops_per_second;
    let memory = cuda_peak_memory(device)?;
    let most = memory.map(|[of_tensors, _]| of_tensors).or_else(peak_memory_bytes);
    let gib = |bytes: u64| format!("{:.2}", bytes as f64 / (1u64 << 30) as f64);
    let columns = ["parameters", "weights", "a step", "tokens a second", "ms a step", "MFU", "peak memory, GiB", "held by libtorch, GiB"];
    let mut table = Table::new("Speed", &columns);
    table.push([
        format!("{:.1}M", experiment.model.num_parameters() as f64 / 1e6),
        weights.name().into(),
        format!("{rows} x {seq_len}"),
        format!("{tokens_per_second:.0}"),
        format!("{:.1}", 1000.0 * speed.seconds / speed.steps as f64),
        format!("{:.1} %", 100.0 * mfu),
        most.map_or("-".into(), gib),
        memory.map_or("-".into(), |[_, held]| gib(held)),
    ]);
    Ok(Finding {
        is_right: None,
        summary: format!("{tokens_per_second:.0} tokens a second on {}, {:.1} % of the peak", device_word(device), 100.0 * mfu),
        table,
        numbers: json!({
            "model": shape.name(), "weights": weights.name(), "parameters": experiment.model.num_parameters(), "rows": rows,
            "seq_len": seq_len, "steps": speed.steps, "step_seconds": speed.seconds / speed.steps as f64, "tokens_per_second": tokens_per_second,
            "mfu": mfu, "peak_memory_bytes": most, "held_memory_bytes": memory.map(|[_, held]| held),
        }),
    })
}

/// Halves the rows of a step until it is estimated to fit into the device.
fn fit(experiment: &mut Experiment, device: Device) {
    let Device::Cuda(index) = device else { return };
    let Some(memory) = cuda_memory_bytes(index) else { return };
    while experiment.train.batch_size > 1 && experiment.estimate_for(Kernels::Gpu).memory_bytes as f64 > MEMORY_SHARE * memory as f64 {
        experiment.train.batch_size /= 2;
    }
}

fn measure(experiment: &Experiment, device: Device, scale: Scale) -> Result<Speed> {
    let (warm_up, steps) = match scale {
        Scale::Full => (5, 20),
        Scale::Small => (1, 2),
        Scale::Tiny => (1, 1),
    };
    let mut network = Network::new(experiment, device)?;
    (1..=warm_up).try_for_each(|step| launch(&mut network, experiment, step)?.finish())?;
    let begin = Instant::now();
    let mut last: Option<Launched> = None;
    for step in warm_up + 1..=warm_up + steps {
        let launched = launch(&mut network, experiment, step)?;
        last.replace(launched).map_or(Ok(()), Launched::finish)?; // the step before, as training does
    }
    last.map_or(Ok(()), Launched::finish)?;
    Ok(Speed { steps, seconds: begin.elapsed().as_secs_f64() })
}

/// A step on its way, or done where nothing is gained by reading late.
enum Launched {
    OnItsWay(LaunchedStep),
    Done,
}

impl Launched {
    fn finish(self) -> Result<()> {
        match self {
            Self::OnItsWay(step) => refuse_lost(&step.outcome()?),
            Self::Done => Ok(()),
        }
    }
}

fn launch(network: &mut Network, experiment: &Experiment, step: u64) -> Result<Launched> {
    let Network { decoder, optimizer, .. } = network;
    let (inputs, targets) = made_batch(experiment, step);
    let device = decoder.device();
    let loss: [Result<Tensor>; 1] = [Ok(next_token_loss(decoder, &sent(&inputs, device), &sent(&targets, device)))];
    let numbers = numbers(experiment, step);
    match device {
        Device::Cuda(_) => launch_step(optimizer, loss.into_iter(), numbers).map(Launched::OnItsWay),
        _ => take_step(optimizer, loss.into_iter(), numbers).and_then(|outcome| refuse_lost(&outcome)).map(|()| Launched::Done),
    }
}
