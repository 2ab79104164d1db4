//! Fifty steps on the device against the same on the CPU. Both begin with the same weights and see the same batches; the device's losses are
//! read late, as in training. Roundings differ, now and then a code with them, and the distance grows with every step: hence two bounds.

use super::finding::{Finding, Table};
use super::models::{self, made_batch};
use super::models::{Scale, Shape, Weights};
use super::setting::device_word;
use crate::config::Experiment;
use crate::libtorch::{caught, sent};
use crate::model::Decoder;
use crate::schedule::{learning_rate, weight_decay};
use crate::train::{Network, Objective, Plan, StepNumbers, launch_step, next_token_loss, take_step};
use crate::{Error, Result};
use serde_json::json;
use tch::{Device, Tensor};

/// Steps that tell of one forward pass, one backward pass and one update.
const EARLY_STEPS: usize = 2;
/// How far the losses of early steps may be apart, in nats.
const EARLY_TOLERANCE: f64 = 0.01;
/// How far all others may be.
const TOLERANCE: f64 = 0.1;

/// A loss of each batch in turn, without end.
type Batches = Box<dyn FnMut(&Decoder) -> Result<Tensor>>;

pub(super) fn look_at_arithmetic(device: Device, scale: Scale) -> Result<Finding> {
    let experiment = models::arithmetic(scale)?;
    let batches = || -> Result<Batches> {
        let mut objective: Box<dyn Objective> = Plan::new(&experiment)?.objective;
        Ok(Box::new(move |decoder| objective.next_loss(decoder)))
    };
    compare("arithmetic", &experiment, device, scale, batches)
}

pub(super) fn look_at_small(device: Device, scale: Scale) -> Result<Finding> {
    let mut experiment = models::experiment(Shape::Small, Weights::Ternary, scale)?;
    experiment.train.batch_size = experiment.train.batch_size.min(4); // the CPU computes as much
    let batches = || -> Result<Batches> {
        let (experiment, mut position) = (experiment.clone(), 0);
        Ok(Box::new(move |decoder| {
            let (inputs, targets) = made_batch(&experiment, position);
            position += 1;
            Ok(next_token_loss(decoder, &sent(&inputs, decoder.device()), &sent(&targets, decoder.device())))
        }))
    };
    compare("12M", &experiment, device, scale, batches)
}

fn compare(name: &str, experiment: &Experiment, device: Device, scale: Scale, batches: impl Fn() -> Result<Batches>) -> Result<Finding> {
    let num_steps = if scale == Scale::Tiny { 6 } else { 50 };
    let wanted = caught(|| losses(experiment, Device::Cpu, num_steps, batches()?))?;
    let found = caught(|| late_losses(experiment, device, num_steps, batches()?))?;
    Ok(finding(name, device_word(device), &wanted, &found))
}

fn losses(experiment: &Experiment, device: Device, num_steps: u64, mut next_loss: Batches) -> Result<Vec<f64>> {
    let Network { decoder, mut optimizer, .. } = Network::new(experiment, device)?;
    let step = |step| Ok(take_step(&mut optimizer, [next_loss(&decoder)].into_iter(), numbers(experiment, step))?.loss);
    (1..=num_steps).map(step).collect()
}

fn late_losses(experiment: &Experiment, device: Device, num_steps: u64, mut next_loss: Batches) -> Result<Vec<f64>> {
    if device == Device::Mps {
        return losses(experiment, device, num_steps, next_loss); // it has no float64 to read late
    }
    let Network { decoder, mut optimizer, .. } = Network::new(experiment, device)?;
    let launch = |step| launch_step(&mut optimizer, [next_loss(&decoder)].into_iter(), numbers(experiment, step));
    let launched = (1..=num_steps).map(launch).collect::<Result<Vec<_>>>()?;
    launched.iter().map(|step| Ok(step.outcome()?.loss)).collect()
}

pub(super) fn numbers(experiment: &Experiment, step: u64) -> StepNumbers {
    let train = &experiment.train;
    StepNumbers { learning_rate: learning_rate(train, step), weight_decay: weight_decay(train, step), max_grad_norm: train.max_grad_norm }
}

fn finding(name: &str, word: &str, wanted: &[f64], found: &[f64]) -> Finding {
    let apart: Vec<f64> = wanted.iter().zip(found).map(|(wanted, found)| (wanted - found).abs()).collect();
    let bound = |index: usize| if index < EARLY_STEPS { EARLY_TOLERANCE } else { TOLERANCE };
    // Written so that what is not a number is wrong.
    let is_right = apart.iter().enumerate().all(|(index, apart)| *apart <= bound(index)) && wanted.len() == found.len();
    let largest = apart.iter().copied().fold(0.0, |largest: f64, apart| if apart <= largest { largest } else { apart });
    let mean = apart.iter().sum::<f64>() / apart.len() as f64;
    let mut table = Table::new("Losses", &["model", "step", "CPU", "device", "apart"]);
    for index in [0, 1, 9, 24, 49].into_iter().filter(|index| *index < apart.len()) {
        let number = |value: f64| format!("{value:.5}");
        let (wanted, found) = (number(wanted[index]), number(found[index]));
        table.push([name.to_owned(), (index + 1).to_string(), wanted, found, format!("{:.1e}", apart[index])]);
    }
    Finding {
        is_right: Some(is_right),
        summary: format!("{} steps of {name}: {word} and CPU at most {largest:.1e} nats apart, {mean:.1e} in the mean", apart.len()),
        table,
        numbers: json!({ "model": name, "cpu": wanted, "device": found, "largest_difference": largest, "mean_difference": mean }),
    }
}

/// A step that moved nothing says nothing of those that do.
pub(super) fn refuse_lost(outcome: &crate::train::StepOutcome) -> Result<()> {
    outcome
        .was_applied
        .then_some(())
        .ok_or_else(|| Error::ours(format!("a step is not finite: loss {}, norm {}", outcome.loss, outcome.grad_norm)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_losses_have_a_narrow_bound_later_ones_a_wide_one_and_no_number_is_wrong() {
        let is_right = |found: [f64; 3]| finding("x", "CUDA", &[3.0, 2.5, 2.0], &found).is_right;
        assert_eq!(is_right([3.009, 2.5, 2.09]), Some(true));
        assert_eq!(is_right([3.02, 2.5, 2.0]), Some(false));
        assert_eq!(is_right([3.0, 2.5, 2.2]), Some(false));
        assert_eq!(is_right([3.0, f64::NAN, 2.0]), Some(false));
        assert_eq!(finding("x", "CUDA", &[3.0, 2.5], &[3.0]).is_right, Some(false));
    }
}
