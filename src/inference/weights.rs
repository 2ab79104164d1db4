//! What a model's files hold, for the model that they say they are: latent weights, quantized here once, or ternary codes with their
//! scales. Everything is checked by the headers before a weight is read. How numbers lie in a file is the business of `tensors`, and which
//! files there are that of `source`.

use super::norm::RmsNorm;
use super::source::Source;
use super::tensors::StoredTensor;
use crate::config::{ModelConfig, PackedForm, WeightQuantizer};
use crate::gguf::{TensorType, TernaryBlocks, read_codes};
use crate::ternary::large_pages::Pool;
use crate::ternary::matrix::PackedMatrix;
use crate::ternary::packing::{num_packed_rows, unpack};
use crate::ternary::weights::{TernaryMatrix, sign, ternary_absmean};
use crate::{Error, Result};
use std::collections::BTreeSet;

/// The cure where a file and its config.json disagree.
pub(super) const OTHER_MODEL: &str = "the file does not fit its own config: fetch or export the model again";
pub(super) const DAMAGED: &str = "the file is damaged";

/// A model's weights, checked.
pub(super) struct Weights<'a> {
    source: &'a Source,
    quantizer: WeightQuantizer,
    packed: Option<PackedForm>,
    /// Where packed matrices are put, so that they lie beside each other.
    memory: Pool,
}

/// Embedding or head, `[rows, columns]`.
pub(super) struct StoredTable<'a> {
    pub tensor: StoredTensor<'a>,
    /// Of codes of 8 bits, what a code of 1 stands for in each row.
    pub scales: Option<Vec<f32>>,
    /// Whether its numbers are used where they lie in the file, unchecked, as packed codes are.
    pub stays_in_file: bool,
}

impl StoredTable<'_> {
    /// Fills `numbers` with those from position `start` on, in float32.
    ///
    /// # Errors
    /// As [`StoredTensor::read_floats`] has it.
    pub fn read_floats(&self, start: usize, numbers: &mut [f32]) -> Result<()> {
        let Some(scales) = &self.scales else { return self.tensor.read_floats(start, numbers) };
        let columns = self.tensor.shape[1];
        for (index, (number, code)) in (start..).zip(numbers.iter_mut().zip(&self.tensor.bytes[start..])) {
            *number = f32::from(code.cast_signed()) * scales[index / columns];
        }
        Ok(())
    }
}

/// A projection `[outputs, inputs]`.
pub(super) enum ProjectionWeights {
    /// One scale for the matrix, and codes that are -1, 0 or 1.
    Ternary(TernaryMatrix),
    /// Full precision.
    Floats(Vec<f32>),
}

impl<'a> Weights<'a> {
    /// Checks names, types, shapes and scales of all files; reads no weight.
    ///
    /// # Errors
    /// The user's, and it names file and tensor.
    pub fn new(source: &'a Source) -> Result<Self> {
        let (weights, config) = (Self::checked(source), source.config());
        let mut known = BTreeSet::new();
        for (name, shape) in config.model.parameter_shapes() {
            let tensor = source.get(&name)?;
            let is_projection = is_projection(&name, &shape);
            if is_projection && tensor.is_bytes() {
                weights.packed_scale(&name)?;
                weights.require_packed_shape(&tensor, shape[0], shape[1])?;
                known.insert(scale_name(&name));
            } else if shape.len() == 2 && !is_projection && tensor.is_int8() && weights.packed == Some(PackedForm::Blocks) {
                tensor.require_shape(&shape)?;
                weights.row_scales(&name, shape[0])?;
                known.insert(scale_name(&name));
            } else if is_projection && tensor.ternary_blocks().is_some() {
                tensor.require_shape(&shape)?;
                weights.scale_beside(&name)?;
                known.insert(scale_name(&name));
            } else {
                tensor.require_float()?;
                tensor.require_shape(&shape)?;
            }
            known.insert(name);
        }
        weights.refuse_unknown(&known, &config.model)?;
        Ok(weights)
    }

    /// Of files that were checked before.
    pub fn checked(source: &'a Source) -> Self {
        let config = source.config();
        Self { source, quantizer: config.model.bit_linear.weights, packed: config.packed, memory: Pool::default() }
    }

    /// A tensor that has no place in the model would be computed with elsewhere: what is computed here would be another model.
    fn refuse_unknown(&self, known: &BTreeSet<String>, model: &ModelConfig) -> Result<()> {
        let is_idle = |name: &str| {
            name.ends_with(".rotary_emb.inv_freq") || model.tie_word_embeddings && name == "lm_head.weight" || known.contains(name)
        };
        match self.source.names().find(|name| !is_idle(name)) {
            Some(name) => Err(self.source.error(format!("tensor {name} has no place in the model")).hint(OTHER_MODEL)),
            None => Ok(()),
        }
    }

    /// The norm `<name>.weight`.
    pub fn norm(&self, name: &str, eps: f64) -> Result<RmsNorm> {
        Ok(RmsNorm::new(self.source.get(&format!("{name}.weight"))?.floats()?, eps))
    }

    /// The norm `<name>.weight` where the model `has` it.
    pub fn norm_where(&self, has: bool, name: &str, eps: f64) -> Result<Option<RmsNorm>> {
        has.then(|| self.norm(name, eps)).transpose()
    }

    /// Calls `read` with the table of rows `name`, embedding or head, or a norm.
    pub fn with_table<T>(&self, name: &str, read: impl FnOnce(StoredTable<'_>) -> Result<T>) -> Result<T> {
        let tensor = self.source.get(name)?;
        let scales = tensor.is_int8().then(|| self.row_scales(name, tensor.shape.first().copied().unwrap_or(0))).transpose()?;
        read(StoredTable { tensor, scales, stays_in_file: self.packed == Some(PackedForm::Blocks) })
    }

    /// What a code of 1 stands for in each of the `rows` of the table `name`.
    fn row_scales(&self, name: &str, rows: usize) -> Result<Vec<f32>> {
        let name = scale_name(name);
        let stored = self.source.get(&name)?;
        stored.require_shape(&[rows])?;
        let scales = stored.floats()?;
        let is_scale = |scale: &f32| *scale >= 0.0 && (scale * f32::from(i8::MIN)).is_finite();
        match scales.iter().position(|scale| !is_scale(scale)) {
            Some(row) => Err(stored.error(format!("is {} in row {row}, which is no scale", scales[row])).hint(DAMAGED)),
            None => Ok(scales),
        }
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

    /// The codes of the projection `name`, `[outputs, inputs]`, as kernels read them.
    ///
    /// # Errors
    /// As [`Self::projection`] has it.
    pub fn packed_matrix(&self, name: &str, outputs: usize, inputs: usize) -> Result<PackedMatrix> {
        let tensor = self.source.get(name)?;
        if tensor.is_packed_in_blocks() {
            return self.mapped_matrix(&tensor, name, outputs, inputs);
        }
        if tensor.is_packed() {
            let scale = self.packed_scale(name)?;
            let repacked = PackedMatrix::repack_in(&self.memory, tensor.bytes, outputs, inputs, scale);
            return repacked.map_err(|error| tensor.error(error).hint(DAMAGED));
        }
        let TernaryMatrix { codes, scale } = self.codes(name, outputs, inputs)?;
        PackedMatrix::pack_in(&self.memory, &codes, outputs, inputs, scale)
    }

    /// The blocks of the projection `name` where they lie in the file.
    fn mapped_matrix(&self, tensor: &StoredTensor<'_>, name: &str, outputs: usize, inputs: usize) -> Result<PackedMatrix> {
        let matrix = PackedMatrix::from_blocks(tensor.mapped_bytes()?, outputs, inputs, self.packed_scale(name)?);
        matrix.map_err(|error| tensor.error(error).hint(DAMAGED))
    }

    /// Codes and scale of the projection `name`, in full: those that are packed, or what the quantizer makes of its latent weights.
    ///
    /// # Errors
    /// As [`Self::projection`] has it.
    pub fn codes(&self, name: &str, outputs: usize, inputs: usize) -> Result<TernaryMatrix> {
        let tensor = self.source.get(name)?;
        if tensor.is_packed_in_blocks() {
            let matrix = self.mapped_matrix(&tensor, name, outputs, inputs)?;
            return match matrix.find_no_code() {
                Some(index) => Err(tensor.no_code(index)),
                None => Ok(TernaryMatrix { codes: matrix.unpack(), scale: matrix.scale() }),
            };
        }
        if tensor.is_packed() {
            let codes = unpack(tensor.bytes, outputs, inputs).map_err(|error| tensor.error(error).hint(DAMAGED))?;
            return Ok(TernaryMatrix { codes, scale: self.packed_scale(name)? });
        }
        if let Some(kind) = tensor.ternary_blocks() {
            return self.codes_of_blocks(tensor, kind, name, inputs);
        }
        if self.source.is_for_computing() {
            return codes_of_values(&tensor, &self.floats(tensor)?);
        }
        let floats = self.latent(name)?;
        let quantized = match self.quantizer {
            WeightQuantizer::Sign => sign(&floats),
            _ => ternary_absmean(&floats),
        };
        quantized.map_err(|error| tensor.error(error))
    }

    /// The scale alone of [`Self::codes`]: where codes are packed, none of them is read.
    ///
    /// # Errors
    /// As [`Self::projection`] has it.
    pub fn scale(&self, name: &str, outputs: usize, inputs: usize) -> Result<f32> {
        let tensor = self.source.get(name)?;
        match tensor.is_packed() || tensor.is_packed_in_blocks() {
            true => self.packed_scale(name),
            false => Ok(self.codes(name, outputs, inputs)?.scale),
        }
    }

    /// The latent weights of the projection `name`, in full.
    ///
    /// # Errors
    /// The user's: numbers that are not finite, or values that have been quantized already, where they would be quantized again.
    pub fn latent(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.source.get(name)?;
        let floats = self.floats(tensor)?;
        if self.quantizer != WeightQuantizer::None && is_quantized_already(&floats) {
            let message = "has at most three distinct values: it is quantized already, and would be quantized again";
            return Err(tensor.error(message).hint("load the latent weights that it was quantized from, or pack it with its scale"));
        }
        Ok(floats)
    }

    /// The numbers of a projection, its rows in our order.
    fn floats(&self, tensor: StoredTensor<'_>) -> Result<Vec<f32>> {
        let inputs = tensor.shape.last().copied().unwrap_or(1);
        Ok(in_our_order(tensor.floats()?, &tensor, inputs))
    }

    /// The codes that the blocks of a GGUF file hold.
    fn codes_of_blocks(&self, tensor: StoredTensor<'_>, kind: TensorType, name: &str, inputs: usize) -> Result<TernaryMatrix> {
        let read = read_codes(kind, tensor.bytes, tensor.shape.iter().product());
        let TernaryBlocks { codes, scale } = read.map_err(|error| tensor.error(format!("is no ternary matrix: {error}")))?;
        Ok(TernaryMatrix { codes: in_our_order(codes, &tensor, inputs), scale: scale * self.scale_beside(name)? })
    }

    /// What multiplies the scale in the blocks of the projection `name`: 1 unless the file has a tensor for it.
    fn scale_beside(&self, name: &str) -> Result<f32> {
        match self.source.find(&scale_name(name)) {
            Some(stored) => scale_of(&stored, |number| number),
            None => Ok(1.0),
        }
    }

    /// Refuses packed codes of another shape than that of `[outputs, inputs]` in the form that config.json says.
    fn require_packed_shape(&self, tensor: &StoredTensor<'_>, outputs: usize, inputs: usize) -> Result<()> {
        match self.packed {
            Some(PackedForm::Blocks) => tensor.require_shape(&PackedMatrix::block_shape(outputs, inputs)),
            _ => tensor.require_shape(&[num_packed_rows(outputs), inputs]),
        }
    }

    /// What a code of 1 stands for in the packed projection `name`.
    fn packed_scale(&self, name: &str) -> Result<f32> {
        let tensor = self.source.get(name)?;
        if self.quantizer == WeightQuantizer::None {
            return Err(tensor.error("is packed codes, but config.json says that weights are not quantized").hint(OTHER_MODEL));
        }
        let direction = self.packed.ok_or_else(|| {
            let hint = "quantization_config needs quantization_mode: offline and, for scales that multiply, linear_class: autobitlinear";
            tensor.error("is packed codes, but config.json does not say how weight_scale applies").hint(hint)
        })?;
        let name = scale_name(name);
        let stored = self.source.get(&name)?;
        scale_of(&stored, |number| match direction {
            PackedForm::Multiply | PackedForm::Blocks => number,
            PackedForm::Divide => 1.0 / number,
        })
    }
}

/// What `applied` makes of the one number of `stored`.
fn scale_of(stored: &StoredTensor<'_>, applied: impl FnOnce(f32) -> f32) -> Result<f32> {
    if stored.shape.iter().product::<usize>() != 1 {
        return Err(stored.error(format!("has shape {:?}, expected one number", stored.shape)).hint(OTHER_MODEL));
    }
    let number = stored.floats()?[0];
    let scale = applied(number);
    match number > 0.0 && scale > 0.0 && scale.is_finite() {
        true => Ok(scale),
        false => Err(stored.error(format!("is {number}, which is no scale: it must be above 0")).hint(DAMAGED)),
    }
}

/// Codes of a matrix that holds what they stand for.
fn codes_of_values(tensor: &StoredTensor<'_>, values: &[f32]) -> Result<TernaryMatrix> {
    if !is_quantized_already(values) {
        let hint = "a GGUF file holds what is computed with: convert the model again, with ternary types";
        return Err(tensor.error("is not ternary, but the architecture's weights are").hint(hint));
    }
    let scale = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let code = |value: &f32| i8::from(*value > 0.0) - i8::from(*value < 0.0);
    Ok(TernaryMatrix { codes: values.iter().map(code).collect(), scale })
}

/// Rows of either half of a head one after the other, where a file has them by turns.
fn in_our_order<T: Copy>(numbers: Vec<T>, tensor: &StoredTensor<'_>, inputs: usize) -> Vec<T> {
    let Some(head) = tensor.interleaved else { return numbers };
    let mut ordered = Vec::with_capacity(numbers.len());
    for rows in numbers.chunks_exact(head * inputs) {
        let row = |index: usize| &rows[index * inputs..(index + 1) * inputs];
        (0..2).flat_map(|half| (half..head).step_by(2)).for_each(|index| ordered.extend_from_slice(row(index)));
    }
    ordered
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
