//! A projection as it lies in a file: how, decided once from type, shape and config, and what can be had of it, codes with their scale,
//! the packed matrix or latent weights. Nothing that has been quantized is ever quantized again.

use super::source::Source;
use super::tensor::{DAMAGED, Encoding, OTHER_MODEL, StoredTensor};
use crate::config::{PackedForm, WeightQuantizer};
use crate::folder::scale_name;
use crate::gguf::{TensorType, TernaryBlocks, read_codes};
use crate::ternary::large_pages::Pool;
use crate::ternary::matrix::PackedMatrix;
use crate::ternary::packing::{num_packed_rows, unpack};
use crate::ternary::weights::{TernaryMatrix, sign, ternary_absmean};
use crate::{Error, Result};
use safetensors::Dtype;

/// How a file has a projection.
enum Stored<'a> {
    /// Float numbers, which the quantizer makes codes of, if there is one.
    Latent(StoredTensor<'a>),
    /// Float numbers that are what is computed with: codes times a scale where the model is ternary.
    Values(StoredTensor<'a>),
    /// Codes of four rows in a byte, `[ceil(outputs / 4), inputs]`, as Hugging Face's folders have them.
    FourRowsAByte { codes: StoredTensor<'a>, scale: f32 },
    /// Codes as our kernels read them, `[groups, blocks, bytes]`, which stay in the mapped file.
    Blocks { codes: StoredTensor<'a>, scale: f32 },
    /// Ternary blocks of a GGUF file, whose own scale is multiplied by that of a tensor beside them.
    Gguf { blocks: StoredTensor<'a>, kind: TensorType, scale_beside: f32 },
}

/// A projection `[outputs, inputs]` in a file; its header and scale have been checked, its numbers have not.
pub(crate) struct Projection<'a> {
    stored: Stored<'a>,
    quantizer: WeightQuantizer,
    outputs: usize,
    inputs: usize,
}

/// The numbers of a projection.
pub(crate) enum ProjectionWeights {
    /// One scale for the matrix, and codes that are -1, 0 or 1.
    Ternary(TernaryMatrix),
    /// Full precision.
    Floats(Vec<f32>),
}

impl<'a> Projection<'a> {
    /// The projection `name` among the files of `source`.
    ///
    /// # Errors
    /// The user's: it is missing, or its type, shape or scale does not fit the config.
    pub fn find(source: &'a Source, name: &'a str, outputs: usize, inputs: usize) -> Result<Self> {
        let tensor = source.get(name)?;
        let stored = match tensor.encoding {
            Encoding::Plain(Dtype::U8) => packed(source, tensor, name, [outputs, inputs])?,
            Encoding::Blocks(kind) if kind.is_ternary() => {
                tensor.require_shape(&[outputs, inputs])?;
                Stored::Gguf { blocks: tensor, kind, scale_beside: scale_beside(source, name)? }
            }
            Encoding::Plain(_) | Encoding::Blocks(_) => {
                tensor.require_float()?;
                tensor.require_shape(&[outputs, inputs])?;
                if source.is_for_computing() { Stored::Values(tensor) } else { Stored::Latent(tensor) }
            }
        };
        Ok(Self { stored, quantizer: source.config().model.bit_linear.weights, outputs, inputs })
    }

    /// Whether a tensor of scales belongs to it, where the file has one.
    pub fn has_scale_beside(&self) -> bool {
        match self.stored {
            Stored::FourRowsAByte { .. } | Stored::Blocks { .. } | Stored::Gguf { .. } => true,
            Stored::Latent(_) | Stored::Values(_) => false,
        }
    }

    /// What is computed with: codes where the model quantizes weights, else floats.
    ///
    /// # Errors
    /// The user's: numbers that are not finite, bits that are no code, or values that have been quantized already.
    pub fn weights(&self) -> Result<ProjectionWeights> {
        match self.quantizer {
            WeightQuantizer::None => self.latent().map(ProjectionWeights::Floats),
            WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign => self.codes().map(ProjectionWeights::Ternary),
        }
    }

    /// Codes and scale: those that are packed, or what the quantizer makes of latent weights.
    ///
    /// # Errors
    /// As [`Self::weights`] has it.
    pub fn codes(&self) -> Result<TernaryMatrix> {
        match &self.stored {
            Stored::Latent(tensor) => self.quantized(tensor),
            Stored::Values(tensor) => codes_of_values(tensor, &self.floats(tensor)?),
            Stored::FourRowsAByte { codes: tensor, scale } => {
                let codes = unpack(tensor.bytes, self.outputs, self.inputs).map_err(|error| tensor.error(error).hint(DAMAGED))?;
                Ok(TernaryMatrix { codes, scale: *scale })
            }
            Stored::Blocks { codes, scale } => {
                let matrix = self.mapped_matrix(codes, *scale)?;
                match matrix.find_no_code() {
                    Some(index) => Err(codes.no_code(index)),
                    None => Ok(TernaryMatrix { codes: matrix.unpack(), scale: matrix.scale() }),
                }
            }
            Stored::Gguf { blocks, kind, scale_beside } => {
                let read = read_codes(*kind, blocks.bytes, self.outputs * self.inputs);
                let TernaryBlocks { codes, scale } = read.map_err(|error| blocks.error(format!("is no ternary matrix: {error}")))?;
                Ok(TernaryMatrix { codes: in_our_order(codes, blocks, self.inputs), scale: scale * scale_beside })
            }
        }
    }

    /// The scale alone of [`Self::codes`]: where codes are packed, none of them is read.
    ///
    /// # Errors
    /// As [`Self::weights`] has it.
    pub fn scale(&self) -> Result<f32> {
        match &self.stored {
            Stored::FourRowsAByte { scale, .. } | Stored::Blocks { scale, .. } => Ok(*scale),
            Stored::Latent(_) | Stored::Values(_) | Stored::Gguf { .. } => Ok(self.codes()?.scale),
        }
    }

    /// What the kernels read, in `memory` unless it stays in the file, where bits that are no code are not looked for.
    ///
    /// # Errors
    /// As [`Self::weights`] has it.
    pub fn packed_matrix(&self, memory: &Pool) -> Result<PackedMatrix> {
        let (outputs, inputs) = (self.outputs, self.inputs);
        match &self.stored {
            Stored::Blocks { codes, scale } => self.mapped_matrix(codes, *scale),
            Stored::FourRowsAByte { codes, scale } => {
                let repacked = PackedMatrix::repack_in(memory, codes.bytes, outputs, inputs, *scale);
                repacked.map_err(|error| codes.error(error).hint(DAMAGED))
            }
            Stored::Latent(_) | Stored::Values(_) | Stored::Gguf { .. } => {
                let TernaryMatrix { codes, scale } = self.codes()?;
                PackedMatrix::pack_in(memory, &codes, outputs, inputs, scale)
            }
        }
    }

    /// Latent weights, in full.
    ///
    /// # Errors
    /// The user's: codes, numbers that are not finite, or values that have been quantized already, where they would be quantized again.
    pub fn latent(&self) -> Result<Vec<f32>> {
        let tensor = self.tensor();
        let floats = self.floats(tensor)?;
        match self.quantizer {
            WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign if is_quantized_already(&floats) => {
                let message = "has at most three distinct values: it is quantized already, and would be quantized again";
                Err(tensor.error(message).hint("load the latent weights that it was quantized from, or pack it with its scale"))
            }
            WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign | WeightQuantizer::None => Ok(floats),
        }
    }

    /// The error of packed codes whose byte at `index` has bits that are none.
    pub fn no_code(&self, index: usize) -> Error {
        self.tensor().no_code(index)
    }

    fn tensor(&self) -> &StoredTensor<'a> {
        match &self.stored {
            Stored::Latent(tensor) | Stored::Values(tensor) => tensor,
            Stored::FourRowsAByte { codes, .. } | Stored::Blocks { codes, .. } => codes,
            Stored::Gguf { blocks, .. } => blocks,
        }
    }

    /// What the quantizer makes of latent weights.
    fn quantized(&self, tensor: &StoredTensor<'_>) -> Result<TernaryMatrix> {
        let floats = self.latent()?;
        let quantized = match self.quantizer {
            WeightQuantizer::TernaryAbsmean => ternary_absmean(&floats),
            WeightQuantizer::Sign => sign(&floats),
            WeightQuantizer::None => Err(Error::ours("has no codes: the model's weights are not quantized")),
        };
        quantized.map_err(|error| tensor.error(error))
    }

    /// The blocks where they lie in the file.
    fn mapped_matrix(&self, codes: &StoredTensor<'_>, scale: f32) -> Result<PackedMatrix> {
        let matrix = PackedMatrix::from_blocks(codes.mapped_bytes()?, self.outputs, self.inputs, scale);
        matrix.map_err(|error| codes.error(error).hint(DAMAGED))
    }

    /// The numbers, rows in our order.
    fn floats(&self, tensor: &StoredTensor<'_>) -> Result<Vec<f32>> {
        Ok(in_our_order(tensor.floats()?, tensor, self.inputs))
    }
}

/// Bytes that are codes, in the form that config.json names.
fn packed<'a>(source: &Source, tensor: StoredTensor<'a>, name: &str, [outputs, inputs]: [usize; 2]) -> Result<Stored<'a>> {
    let config = source.config();
    match config.model.bit_linear.weights {
        WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign => {}
        WeightQuantizer::None => {
            return Err(tensor.error("is packed codes, but config.json says that weights are not quantized").hint(OTHER_MODEL));
        }
    }
    let Some(form) = config.packed else {
        let hint = "quantization_config needs quantization_mode: offline and, for scales that multiply, linear_class: autobitlinear";
        return Err(tensor.error("is packed codes, but config.json does not say how weight_scale applies").hint(hint));
    };
    let scale_name = scale_name(name);
    let stored_scale = source.get(&scale_name)?;
    let (scale, shape) = match form {
        PackedForm::Multiply => (scale_of(&stored_scale, |number| number)?, vec![num_packed_rows(outputs), inputs]),
        PackedForm::Divide => (scale_of(&stored_scale, |number| 1.0 / number)?, vec![num_packed_rows(outputs), inputs]),
        PackedForm::Blocks => (scale_of(&stored_scale, |number| number)?, PackedMatrix::block_shape(outputs, inputs).to_vec()),
    };
    tensor.require_shape(&shape)?;
    Ok(match form {
        PackedForm::Multiply | PackedForm::Divide => Stored::FourRowsAByte { codes: tensor, scale },
        PackedForm::Blocks => Stored::Blocks { codes: tensor, scale },
    })
}

/// What multiplies the scale in the blocks of the projection `name`: 1 unless the file has a tensor for it.
fn scale_beside(source: &Source, name: &str) -> Result<f32> {
    match source.find(&scale_name(name)) {
        Some(stored) => scale_of(&stored, |number| number),
        None => Ok(1.0),
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
