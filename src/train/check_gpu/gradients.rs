//! The gradients of one step of the 12M model. What bfloat16 does to them is seen on the CPU, against float32; the device may do no more than
//! twice that, and a rounding. The CPU computes here by libtorch's own operations, as the device does (`BITNET_MATMUL=none`).

use super::finding::{Finding, Table};
use super::models::{self, made_batch};
use super::models::{Scale, Shape, Weights};
use super::setting::device_word;
use crate::Result;
use crate::config::{Experiment, Precision};
use crate::libtorch::{caught, sent};
use crate::train::{Network, next_token_loss};
use serde_json::json;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Half the distance of neighbouring bfloat16 numbers, as a share.
const ROUNDING: f64 = 1.0 / 256.0;

/// Parameters in the table, the farthest ones; the JSON has all.
const SHOWN: usize = 12;

/// Loss and gradients.
type Step = (f64, BTreeMap<String, Tensor>);

pub(super) fn look(device: Device, scale: Scale) -> Result<Finding> {
    let mut experiment = models::experiment(Shape::Small, Weights::Ternary, scale)?;
    experiment.train.batch_size = experiment.train.batch_size.min(8);
    let step = |device, precision| step(&Experiment { precision, ..experiment.clone() }, device);
    let exact = step(Device::Cpu, Precision::Float32)?;
    let (reference, found) = (step(Device::Cpu, Precision::Bfloat16)?, step(device, Precision::Bfloat16)?);
    let in_float32 = step(device, Precision::Float32)?;
    compare(device_word(device), &exact, [&reference, &found, &in_float32])
}

fn step(experiment: &Experiment, device: Device) -> Result<Step> {
    let network = Network::new(experiment, device)?;
    caught(|| {
        let (inputs, targets) = made_batch(experiment, 0);
        let loss = next_token_loss(&network.decoder, &sent(&inputs, device), &sent(&targets, device));
        loss.f_backward()?;
        let to_host = |(name, gradient): (String, Tensor)| (name, gradient.to_device(Device::Cpu));
        Ok((loss.f_double_value(&[])?, network.gradients().into_iter().map(to_host).collect()))
    })
}

fn compare(word: &str, exact: &Step, [reference, found, in_float32]: [&Step; 3]) -> Result<Finding> {
    let columns = ["parameter", "CPU, bfloat16", &format!("{word}, bfloat16"), &format!("{word}, float32")];
    let mut table = Table::new("Gradients: distance to those of the CPU in float32, as a share of their norm", &columns);
    let (mut rows, mut wrong, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for (name, gradient) in &exact.1 {
        let distance = |step: &Step| step.1.get(name).map_or(f64::INFINITY, |other| relative_distance(gradient, other));
        let distances = [distance(reference), distance(found), distance(in_float32)];
        let [allowed, there, _] = distances;
        let excess = there / (2.0 * allowed + ROUNDING);
        let is_within = excess <= 1.0; // never of what is not a number
        if !is_within {
            wrong.push(name.clone());
        }
        let [one, two, three] = distances.map(|distance| format!("{distance:.5}"));
        rows.push((excess, [name.clone(), one, two, three]));
        numbers.push(json!({ "parameter": name, "cpu_bfloat16": allowed, "device_bfloat16": there, "device_float32": distances[2] }));
    }
    rows.sort_by(|(one, _), (other, _)| other.abs().total_cmp(&one.abs())); // what is not a number first
    let worst = rows.first().map_or((0.0, String::new()), |(excess, row)| (*excess, row[0].clone()));
    rows.into_iter().take(SHOWN).for_each(|(_, row)| table.push(row));
    let losses = json!({ "cpu_float32": exact.0, "cpu_bfloat16": reference.0, "device_bfloat16": found.0, "device_float32": in_float32.0 });
    let summary = match wrong.is_empty() {
        true => format!(
            "of {} parameters {} comes nearest to what bfloat16 allows, with {:.0} % of it",
            exact.1.len(),
            worst.1,
            100.0 * worst.0
        ),
        false => format!("{} of {} parameters differ by more than bfloat16 explains: {}", wrong.len(), exact.1.len(), wrong.join(", ")),
    };
    Ok(Finding {
        is_right: Some(wrong.is_empty()),
        summary,
        table,
        numbers: json!({ "losses": losses, "distances": numbers, "wrong": wrong }),
    })
}

/// `|other - exact| / |exact|`; the distance itself where the gradient is zero.
fn relative_distance(exact: &Tensor, other: &Tensor) -> f64 {
    let norm = |tensor: &Tensor| tensor.to_kind(Kind::Double).norm().double_value(&[]);
    let distance = norm(&(other.to_kind(Kind::Double) - exact.to_kind(Kind::Double)));
    let size = norm(exact);
    if size > 0.0 { distance / size } else { distance }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_step(values: [f32; 2]) -> Step {
        (1.0, BTreeMap::from([("a".to_owned(), Tensor::from_slice(&values))]))
    }

    #[test]
    fn a_gradient_is_wrong_beyond_twice_what_bfloat16_does_on_the_cpu_and_where_it_is_missing_or_no_number() {
        let (exact, reference) = (a_step([1.0, 0.0]), a_step([1.01, 0.0]));
        let is_right = |found: &Step| compare("CUDA", &exact, [&reference, found, &exact]).unwrap().is_right;
        assert_eq!(is_right(&a_step([1.02, 0.0])), Some(true));
        assert_eq!(is_right(&a_step([1.03, 0.0])), Some(false));
        assert_eq!(is_right(&a_step([f32::NAN, 0.0])), Some(false));
        assert_eq!(is_right(&(1.0, BTreeMap::new())), Some(false));
    }
}
