//! The share of a step's time by operator. On an NVIDIA GPU an operator's time is that of its kernels only where each launch is waited for
//! (`CUDA_LAUNCH_BLOCKING=1`), which this part's process is started with; small kernels then look slower than they are.

use super::finding::{Finding, Table};
use super::losses::{numbers, refuse_lost};
use super::models::{self, made_batch};
use super::models::{Scale, Shape, Weights};
use super::setting::device_word;
use crate::Result;
use crate::config::Experiment;
use crate::libtorch::{caught, profile, sent};
use crate::train::{Network, next_token_loss, take_step};
use serde_json::json;
use std::time::{Duration, Instant};
use tch::{Cuda, Device};

/// Operators in the table; the others are one line.
const SHOWN: usize = 20;

pub(super) fn look(device: Device, scale: Scale) -> Result<Finding> {
    let shape = if scale == Scale::Full { Shape::Baseline } else { Shape::Small };
    let mut experiment = models::experiment(shape, Weights::Ternary, scale)?;
    experiment.train.batch_size = experiment.train.batch_size.min(8);
    let steps = if scale == Scale::Full { 5 } else { 2 };
    let (operators, elapsed) = caught(|| profiled(&experiment, device, steps))?;
    Ok(finding(shape, device_word(device), &operators, elapsed, steps))
}

fn profiled(experiment: &Experiment, device: Device, steps: u64) -> Result<(Vec<profile::OperatorTime>, Duration)> {
    let Network { decoder, mut optimizer, .. } = Network::new(experiment, device)?;
    let mut step = |step| {
        let (inputs, targets) = made_batch(experiment, step);
        let loss = next_token_loss(&decoder, &sent(&inputs, device), &sent(&targets, device));
        refuse_lost(&take_step(&mut optimizer, [Ok(loss)].into_iter(), numbers(experiment, step))?)
    };
    (1..=2).try_for_each(&mut step)?;
    profile::start()?;
    let begin = Instant::now();
    let taken = (3..3 + steps).try_for_each(&mut step);
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
    let elapsed = begin.elapsed();
    let operators = profile::stop()?; // also where a step failed: there is one profile for the process
    taken.map(|()| (operators, elapsed))
}

fn finding(shape: Shape, word: &str, operators: &[profile::OperatorTime], elapsed: Duration, steps: u64) -> Finding {
    let share = |time: Duration| time.as_secs_f64() / elapsed.as_secs_f64();
    let milliseconds = |time: Duration| 1000.0 * time.as_secs_f64() / steps as f64;
    let title = format!("Time by operator, {} ternary on {word}", shape.name());
    let mut table = Table::new(&title, &["operator", "share", "ms a step", "calls a step"]);
    let mut line = |name: String, time: Duration, calls: String| {
        table.push([name, format!("{:.1} %", 100.0 * share(time)), format!("{:.2}", milliseconds(time)), calls]);
    };
    let (shown, others) = operators.split_at(operators.len().min(SHOWN));
    for operator in shown {
        line(operator.short_name(), operator.own_time, format!("{:.0}", operator.calls as f64 / steps as f64));
    }
    line(format!("{} others", others.len()), others.iter().map(|operator| operator.own_time).sum(), String::new());
    let accounted: Duration = operators.iter().map(|operator| operator.own_time).sum();
    line("outside operators".to_owned(), elapsed.saturating_sub(accounted), String::new());
    let first = operators
        .first()
        .map_or("nothing".to_owned(), |first| format!("{} with {:.1} %", first.short_name(), 100.0 * share(first.own_time)));
    let numbers = operators.iter().map(|operator| {
        json!({ "operator": operator.short_name(), "share": share(operator.own_time), "step_milliseconds": milliseconds(operator.own_time), "calls": operator.calls })
    });
    let numbers =
        json!({ "model": shape.name(), "steps": steps, "seconds": elapsed.as_secs_f64(), "operators": numbers.collect::<Vec<_>>() });
    Finding { is_right: None, summary: format!("most time takes {first}"), table, numbers }
}
