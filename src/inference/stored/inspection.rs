//! What a model folder holds, in numbers: type, shape and bytes of each parameter, what the weight quantizer makes of each projection, and
//! totals. How that is shown is left to `report`.

use super::model::{StoredModel, StoredParameter};
use crate::config::ModelConfig;
use crate::ternary::statistics::code_shares;
use crate::ternary::threads::Threads;
use crate::{Error, Result};
use serde::Serialize;
use std::path::PathBuf;

/// A model folder in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Where it lies.
    pub path: PathBuf,
    /// The decoder.
    pub config: ModelConfig,
    /// Whether projections are packed codes, so that training cannot go on from here.
    pub is_packed: bool,
    /// Every parameter, in the order of a forward pass.
    pub tensors: Vec<TensorInspection>,
    /// Parameters of the model.
    pub num_parameters: u64,
    /// Weights that the weight quantizer sees.
    pub num_projection_weights: u64,
    /// Bytes of all parameters as they are stored.
    pub num_bytes: u64,
    /// Bytes with projections packed at 2 bits and the rest as it is; none where projections are not ternary.
    pub num_bytes_packed: Option<u64>,
    /// Shares of the codes of all projections together.
    pub codes: Option<Codes>,
}

/// One parameter in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorInspection {
    /// Its whole name.
    pub name: String,
    /// `F32`, `BF16`, `F16`, or `2-bit` and `8-bit` for codes; of a GGUF file, as that calls it.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// As the model has it.
    pub shape: Vec<usize>,
    /// Bytes as stored, those of its scale included.
    pub num_bytes: u64,
    /// What a code of 1 stands for; none for what has no codes.
    pub scale: Option<f32>,
    /// Shares of the codes, stored or quantized.
    pub codes: Option<Codes>,
    /// Mean of the magnitudes; none of packed codes.
    pub mean_magnitude: Option<f64>,
    /// The largest magnitude; none of packed codes.
    pub largest_magnitude: Option<f32>,
}

/// Shares of the three codes; they add up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Codes {
    /// Share of codes that are -1.
    pub negative: f64,
    /// Share of codes that are 0.
    pub zero: f64,
    /// Share of codes that are +1.
    pub positive: f64,
}

impl Inspection {
    /// Reads every number of `model` once, several parameters at a time on `threads`.
    ///
    /// # Errors
    /// The user's: numbers that are not finite, bits that are no code, or values that have been quantized already.
    pub fn of(model: &StoredModel, threads: &Threads) -> Result<Self> {
        let mut inspected: Vec<_> = model.parameters().iter().map(|_| Err(Error::ours("a tensor was not looked at"))).collect();
        threads.for_each(model.parameters().iter().zip(&mut inspected), |(parameter, inspected)| *inspected = inspect(model, parameter));
        let tensors = inspected.into_iter().collect::<Result<Vec<TensorInspection>>>()?;
        let config = model.config().model.clone();
        let num_projection_weights = (config.num_hidden_layers * config.num_ternary_per_layer()) as u64;
        let is_ternary = config.bit_linear.weights.has_codes();
        Ok(Self {
            path: model.dir().to_owned(),
            is_packed: model.has_packed_codes(),
            num_parameters: config.num_parameters() as u64,
            num_projection_weights,
            num_bytes: tensors.iter().map(|tensor| tensor.num_bytes).sum(),
            num_bytes_packed: is_ternary.then(|| model.parameters().iter().map(StoredParameter::num_bytes_packed).sum()),
            codes: is_ternary.then(|| all_codes(&tensors)),
            tensors,
            config,
        })
    }
}

fn inspect(model: &StoredModel, parameter: &StoredParameter) -> Result<TensorInspection> {
    let mut tensor = TensorInspection {
        name: parameter.name.clone(),
        type_name: parameter.number_type.name(),
        shape: parameter.shape.clone(),
        num_bytes: parameter.num_bytes,
        scale: None,
        codes: None,
        mean_magnitude: None,
        largest_magnitude: None,
    };
    if !model.holds_codes(parameter) {
        let (mut sum, mut largest) = (0.0, 0f32);
        model.read_floats(parameter, |numbers| {
            sum += numbers.iter().map(|number| f64::from(number.abs())).sum::<f64>();
            largest = numbers.iter().fold(largest, |largest, number| largest.max(number.abs()));
            Ok(())
        })?;
        tensor.mean_magnitude = Some(sum / parameter.num_numbers().max(1) as f64);
        tensor.largest_magnitude = Some(largest);
    }
    if parameter.is_projection && model.config().model.bit_linear.weights.has_codes() {
        let matrix = model.codes(parameter)?;
        let shares = code_shares(&matrix.codes)?;
        tensor.scale = Some(matrix.scale);
        tensor.codes = Some(Codes { negative: shares.negative, zero: shares.zero, positive: shares.positive });
    }
    Ok(tensor)
}

/// Weighted by the numbers of each projection.
fn all_codes(tensors: &[TensorInspection]) -> Codes {
    let sizes = tensors.iter().filter_map(|tensor| Some((tensor.shape.iter().product::<usize>() as f64, tensor.codes?)));
    let (mut total, mut sum) = (0.0, Codes { negative: 0.0, zero: 0.0, positive: 0.0 });
    for (size, codes) in sizes {
        total += size;
        sum.negative += size * codes.negative;
        sum.zero += size * codes.zero;
        sum.positive += size * codes.positive;
    }
    Codes { negative: sum.negative / total, zero: sum.zero / total, positive: sum.positive / total }
}
