//! What a model's files hold, for the model that they say they are. Everything is checked by the headers before a weight is read. How a
//! projection lies in a file is left to `projection`, and which files there are to `source`.

use super::projection::Projection;
use super::source::Source;
use super::tensor::{DAMAGED, Encoding, OTHER_MODEL, StoredTensor};
use crate::Result;
use crate::config::{ModelConfig, PackedForm};
use crate::folder::scale_name;
use crate::ternary::large_pages::Pool;
use crate::ternary::matrix::PackedMatrix;
use safetensors::Dtype;
use std::collections::BTreeSet;

/// A model's weights, checked.
pub(crate) struct Weights<'a> {
    source: &'a Source,
    /// Where packed matrices are put, so that they lie beside each other.
    memory: Pool,
}

/// Embedding or head, `[rows, columns]`.
pub(crate) struct StoredTable<'a> {
    pub tensor: StoredTensor<'a>,
    /// Where it is codes of 8 bits, what a code of 1 stands for in each row.
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

impl<'a> Weights<'a> {
    /// Checks names, types, shapes and scales of all files; reads no weight.
    ///
    /// # Errors
    /// The user's, and it names file and tensor.
    pub fn new(source: &'a Source) -> Result<Self> {
        let (weights, model) = (Self::checked(source), &source.config().model);
        let mut known = BTreeSet::new();
        for (name, shape) in model.parameter_shapes() {
            if weights.has_checked_scale(&name, &shape)? {
                known.insert(scale_name(&name));
            }
            known.insert(name);
        }
        weights.refuse_unknown(&known, model)?;
        Ok(weights)
    }

    /// The weights in files that were checked before.
    pub fn checked(source: &'a Source) -> Self {
        Self { source, memory: Pool::default() }
    }

    /// Checks the parameter `name`; whether a tensor of scales belongs to it.
    fn has_checked_scale(&self, name: &str, shape: &[usize]) -> Result<bool> {
        if let (true, &[outputs, inputs]) = (is_projection(name, shape), shape) {
            return Ok(self.projection(name, outputs, inputs)?.has_scale_beside());
        }
        let tensor = self.source.get(name)?;
        let has_scales = shape.len() == 2 && self.is_mapped() && is_int8(&tensor);
        if !has_scales {
            tensor.require_float()?;
        }
        tensor.require_shape(shape)?;
        if has_scales {
            self.row_scales(name, shape[0])?;
        }
        Ok(has_scales)
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

    /// The weight of each feature of the norm `<name>.weight`.
    pub fn norm(&self, name: &str) -> Result<Vec<f32>> {
        self.source.get(&format!("{name}.weight"))?.floats()
    }

    /// Calls `read` with the table of rows `name`, embedding or head, or a norm.
    pub fn with_table<T>(&self, name: &str, read: impl FnOnce(StoredTable<'_>) -> Result<T>) -> Result<T> {
        let tensor = self.source.get(name)?;
        let scales = is_int8(&tensor).then(|| self.row_scales(name, tensor.shape.first().copied().unwrap_or(0))).transpose()?;
        read(StoredTable { tensor, scales, stays_in_file: self.is_mapped() })
    }

    /// The projection `name`, `[outputs, inputs]`.
    ///
    /// # Errors
    /// As [`Projection::find`] has it.
    pub fn projection<'b>(&'b self, name: &'b str, outputs: usize, inputs: usize) -> Result<Projection<'b>> {
        Projection::find(self.source, name, outputs, inputs)
    }

    /// The projection `name` as the kernels read it.
    ///
    /// # Errors
    /// As [`Projection::packed_matrix`] has it.
    pub fn packed_matrix(&self, name: &str, outputs: usize, inputs: usize) -> Result<PackedMatrix> {
        self.projection(name, outputs, inputs)?.packed_matrix(&self.memory)
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

    /// Whether the file is laid out for our kernels, which read it where it is mapped.
    fn is_mapped(&self) -> bool {
        match self.source.config().packed {
            Some(PackedForm::Blocks) => true,
            Some(PackedForm::Multiply | PackedForm::Divide) | None => false,
        }
    }
}

/// Whether a table is codes of 8 bits, which have a scale a row.
fn is_int8(tensor: &StoredTensor<'_>) -> bool {
    match tensor.encoding {
        Encoding::Plain(Dtype::I8) => true,
        Encoding::Plain(_) | Encoding::Blocks(_) => false,
    }
}

/// What quantizers see: the matrices of blocks.
pub(super) fn is_projection(name: &str, shape: &[usize]) -> bool {
    name.starts_with("model.layers.") && shape.len() == 2
}
