//! What a model folder holds, for the model that its config.json describes: latent weights, quantized here once, or packed codes with
//! their scales. Everything is checked by the headers before a weight is read. How numbers lie in a file is the business of `tensors`.

use super::norm::RmsNorm;
use super::tensors::{StoredTensor, TensorFolder};
use crate::config::{HuggingFaceConfig, ModelConfig, PackedScale, WeightQuantizer};
use crate::ternary::packing::{num_packed_rows, unpack};
use crate::ternary::weights::{TernaryMatrix, sign, ternary_absmean};
use crate::{Error, Result};
use safetensors::Dtype;
use std::collections::BTreeSet;

/// The cure where a file and its config.json disagree.
pub(super) const OTHER_MODEL: &str = "the file does not fit its own config.json: fetch or export the folder again";

/// A folder's weights, checked.
pub(super) struct Weights<'a> {
    folder: &'a TensorFolder,
    quantizer: WeightQuantizer,
    packed: Option<PackedScale>,
}

/// A projection `[outputs, inputs]`.
pub(super) enum ProjectionWeights {
    /// One scale for the matrix, and codes that are -1, 0 or 1.
    Ternary(TernaryMatrix),
    /// Full precision.
    Floats(Vec<f32>),
}

impl<'a> Weights<'a> {
    /// Checks names, types, shapes and scales of the whole folder; reads no weight.
    ///
    /// # Errors
    /// The user's, and it names file and tensor.
    pub fn new(folder: &'a TensorFolder, config: &HuggingFaceConfig) -> Result<Self> {
        let weights = Self::checked(folder, config);
        let mut known = BTreeSet::new();
        for (name, shape) in config.model.parameter_shapes() {
            let tensor = folder.get(&name)?;
            match is_projection(&name, &shape) && tensor.dtype == Dtype::U8 {
                true => {
                    tensor.require_shape(&[num_packed_rows(shape[0]), shape[1]])?;
                    weights.packed_scale(&name)?;
                    known.insert(scale_name(&name));
                }
                false => {
                    tensor.require_float()?;
                    tensor.require_shape(&shape)?;
                }
            }
            known.insert(name);
        }
        weights.refuse_unknown(&known, &config.model)?;
        Ok(weights)
    }

    /// Of a folder that was checked before.
    pub fn checked(folder: &'a TensorFolder, config: &HuggingFaceConfig) -> Self {
        Self { folder, quantizer: config.model.bit_linear.weights, packed: config.packed }
    }

    /// A tensor that has no place in the model would be computed with elsewhere: what is computed here would be another model.
    fn refuse_unknown(&self, known: &BTreeSet<String>, model: &ModelConfig) -> Result<()> {
        let is_idle = |name: &str| {
            name.ends_with(".rotary_emb.inv_freq") || model.tie_word_embeddings && name == "lm_head.weight" || known.contains(name)
        };
        match self.folder.names().find(|name| !is_idle(name)) {
            Some(name) => Err(self.folder.error(format!("tensor {name} has no place in the model of config.json")).hint(OTHER_MODEL)),
            None => Ok(()),
        }
    }

    /// The norm `<name>.weight`.
    pub fn norm(&self, name: &str, eps: f64) -> Result<RmsNorm> {
        Ok(RmsNorm::new(self.folder.get(&format!("{name}.weight"))?.floats()?, eps))
    }

    /// The norm `<name>.weight` where the model `has` it.
    pub fn norm_where(&self, has: bool, name: &str, eps: f64) -> Result<Option<RmsNorm>> {
        has.then(|| self.norm(name, eps)).transpose()
    }

    /// The table of rows `<name>.weight`: embedding or head.
    pub fn with_table<T>(&self, name: &str, read: impl FnOnce(StoredTensor<'_>) -> Result<T>) -> Result<T> {
        read(self.folder.get(&format!("{name}.weight"))?)
    }

    /// The projection `<name>.weight`, `[outputs, inputs]`.
    ///
    /// # Errors
    /// The user's: numbers that are not finite, bits that are no code, or values that have been quantized already.
    pub fn projection(&self, name: &str, outputs: usize, inputs: usize) -> Result<ProjectionWeights> {
        let name = format!("{name}.weight");
        match self.quantizer {
            WeightQuantizer::None => self.latent(&name).map(ProjectionWeights::Floats),
            _ => self.codes(&name, outputs, inputs).map(ProjectionWeights::Ternary),
        }
    }

    /// Codes and scale of the projection `name`, in full: those that are packed, or what the quantizer makes of its latent weights.
    ///
    /// # Errors
    /// As [`Self::projection`] has it.
    pub fn codes(&self, name: &str, outputs: usize, inputs: usize) -> Result<TernaryMatrix> {
        let tensor = self.folder.get(name)?;
        if tensor.dtype == Dtype::U8 {
            let codes = unpack(tensor.bytes, outputs, inputs).map_err(|error| tensor.error(error).hint("the file is damaged"))?;
            return Ok(TernaryMatrix { codes, scale: self.packed_scale(name)? });
        }
        let floats = self.latent(name)?;
        let quantized = match self.quantizer {
            WeightQuantizer::Sign => sign(&floats),
            _ => ternary_absmean(&floats),
        };
        quantized.map_err(|error| tensor.error(error))
    }

    /// The latent weights of the projection `name`, in full.
    ///
    /// # Errors
    /// The user's: numbers that are not finite, or values that have been quantized already, where they would be quantized again.
    pub fn latent(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.folder.get(name)?;
        let floats = tensor.floats()?;
        if self.quantizer != WeightQuantizer::None && is_quantized_already(&floats) {
            let message = "has at most three distinct values: it is quantized already, and would be quantized again";
            return Err(tensor.error(message).hint("load the latent weights that it was quantized from, or pack it with its scale"));
        }
        Ok(floats)
    }

    /// What a code of 1 stands for in the packed projection `name`.
    fn packed_scale(&self, name: &str) -> Result<f32> {
        let tensor = self.folder.get(name)?;
        if self.quantizer == WeightQuantizer::None {
            return Err(tensor.error("is packed codes, but config.json says that weights are not quantized").hint(OTHER_MODEL));
        }
        let direction = self.packed.ok_or_else(|| {
            let hint = "quantization_config needs quantization_mode: offline and, for scales that multiply, linear_class: autobitlinear";
            tensor.error("is packed codes, but config.json does not say how weight_scale applies").hint(hint)
        })?;
        let name = scale_name(name);
        let stored = self.folder.get(&name)?;
        if stored.shape.iter().product::<usize>() != 1 {
            return Err(stored.error(format!("has shape {:?}, expected one number", stored.shape)).hint(OTHER_MODEL));
        }
        let number = stored.floats()?[0];
        let scale = match direction {
            PackedScale::Multiply => number,
            PackedScale::Divide => 1.0 / number,
        };
        match number > 0.0 && scale > 0.0 && scale.is_finite() {
            true => Ok(scale),
            false => Err(stored.error(format!("is {number}, which is no scale: it must be above 0")).hint("the file is damaged")),
        }
    }
}

/// What quantizers see: the matrices of blocks.
pub(super) fn is_projection(name: &str, shape: &[usize]) -> bool {
    name.starts_with("model.layers.") && shape.len() == 2
}

/// `<name>.weight_scale`, given `<name>.weight`.
pub(super) fn scale_name(name: &str) -> String {
    format!("{name}_scale")
}

/// -s, 0 and s alone, with some s that is not 0. Latent weights tell by the first few.
fn is_quantized_already(weights: &[f32]) -> bool {
    let scale = weights.iter().find(|weight| **weight != 0.0).map_or(0.0, |weight| weight.abs());
    scale > 0.0 && weights.len() > 3 && weights.iter().all(|weight| *weight == 0.0 || weight.abs() == scale)
}

impl From<ProjectionWeights> for Vec<f32> {
    /// The values that the weights stand for.
    fn from(weights: ProjectionWeights) -> Self {
        match weights {
            ProjectionWeights::Ternary(matrix) => matrix.values(),
            ProjectionWeights::Floats(floats) => floats,
        }
    }
}

/// An error of memory that cannot be had, as ours.
pub(super) fn no_memory(what: &str, bytes: usize) -> Error {
    Error::ours(format!("no memory for {what}: {bytes} bytes")).hint("take a shorter context or a smaller model")
}
