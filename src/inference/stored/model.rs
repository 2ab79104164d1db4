//! A model folder or a GGUF file as it lies on the disk, for conversion, export and inspection: its config, and its parameters one at a
//! time, so that a model larger than memory can be read. Which names, shapes and codes are right is left to `weights`.

use super::int8_row::int8_row;
use super::projection::Projection;
use super::source::Source;
use super::tensor::{Encoding, StoredTensor};
use super::weights::{Weights, is_projection};
use crate::config::HuggingFaceConfig;
use crate::dense::{Bf16, Number};
use crate::folder::{GenerationConfig, ModelFolder, scale_name};
use crate::gguf::TensorType;
use crate::ternary::large_pages::Pool;
use crate::ternary::matrix::PackedMatrix;
use crate::ternary::packing::num_packed_rows;
use crate::ternary::weights::TernaryMatrix;
use crate::{Error, Result};
use safetensors::Dtype;
use std::path::{Path, PathBuf};

/// Numbers of a tensor that are read at a time.
const NUMBERS_AT_A_TIME: usize = 1 << 20;

/// A model whose headers have been checked.
pub struct StoredModel {
    dir: PathBuf,
    source: Source,
    parameters: Vec<StoredParameter>,
}

/// How the numbers of a parameter are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberType {
    /// Four bytes a number.
    Float32,
    /// Two bytes a number.
    Bfloat16,
    /// Two bytes a number, IEEE half precision.
    Float16,
    /// Ternary codes, four in a byte, and a scale.
    PackedCodes,
    /// Codes of 8 bits, and a scale a row.
    Int8Rows,
    /// Blocks of a GGUF file.
    Blocks(TensorType),
}

impl NumberType {
    /// As it is called in tables: safetensors' name, or `2-bit` and `8-bit` for codes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "F32",
            Self::Bfloat16 => "BF16",
            Self::Float16 => "F16",
            Self::PackedCodes => "2-bit",
            Self::Int8Rows => "8-bit",
            Self::Blocks(kind) => kind.name(),
        }
    }

    /// Whether the numbers are ternary codes.
    pub fn is_codes(self) -> bool {
        match self {
            Self::PackedCodes => true,
            Self::Blocks(kind) => kind.is_ternary(),
            Self::Float32 | Self::Bfloat16 | Self::Float16 | Self::Int8Rows => false,
        }
    }
}

/// One parameter of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredParameter {
    /// Its whole name, as Hugging Face has it.
    pub name: String,
    /// As the model has it: `[outputs, inputs]`, `[rows, columns]` or `[size]`.
    pub shape: Vec<usize>,
    /// How its numbers are kept.
    pub number_type: NumberType,
    /// Bytes in the file, those of its scale included.
    pub num_bytes: u64,
    /// Whether it is a projection of a block: what the weight quantizer sees.
    pub is_projection: bool,
}

impl StoredParameter {
    /// Numbers that it stands for.
    pub fn num_numbers(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes where projections are packed, four codes in a byte and a float32 scale, and the rest is as it is here.
    pub fn num_bytes_packed(&self) -> u64 {
        match self.shape.as_slice() {
            &[outputs, inputs] if self.is_projection => (num_packed_rows(outputs) * inputs + size_of::<f32>()) as u64,
            _ => self.num_bytes,
        }
    }
}

impl StoredModel {
    /// Opens the folder `dir`, config.json and safetensors in one file or in shards; or the GGUF file `dir`. Reads no weight.
    ///
    /// # Errors
    /// The user's: a file is missing or damaged, or they do not fit each other.
    pub fn open(dir: &Path) -> Result<Self> {
        let source = Source::open(dir)?;
        Weights::new(&source)?;
        let shapes = source.config().model.parameter_shapes().into_iter();
        let parameters = shapes.map(|(name, shape)| parameter(&source, name, shape)).collect::<Result<_>>()?;
        Ok(Self { dir: dir.to_owned(), source, parameters })
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What its config says.
    pub fn config(&self) -> &HuggingFaceConfig {
        self.source.config()
    }

    /// Tokens that end a text, as generation_config.json or the GGUF file has them; none where they do not say.
    ///
    /// # Errors
    /// The user's: a damaged file.
    pub fn ending_ids(&self) -> Result<Vec<u32>> {
        match &self.source {
            Source::Folder(..) => {
                let generation = ModelFolder::new(&self.dir).generation()?;
                Ok(generation.as_ref().and_then(GenerationConfig::endings).unwrap_or_default())
            }
            Source::Gguf(model) => model.endings(),
        }
    }

    /// The tokenizer.json that a GGUF file has in it; none of a folder, which has it beside.
    ///
    /// # Errors
    /// The user's: a GGUF file without a tokenizer, or with one that cannot be relied on.
    pub fn tokenizer_inside(&self) -> Result<Option<String>> {
        match &self.source {
            Source::Folder(..) => Ok(None),
            Source::Gguf(model) => model.tokenizer()?.to_json().map(Some),
        }
    }

    /// The chat template that a GGUF file has in it; none of a folder, which has it beside.
    ///
    /// # Errors
    /// The user's: a damaged file.
    pub fn chat_template_inside(&self) -> Result<Option<&str>> {
        match &self.source {
            Source::Folder(..) => Ok(None),
            Source::Gguf(model) => model.chat_template(),
        }
    }

    /// Every parameter, in the order of [`crate::config::ModelConfig::parameter_shapes`].
    pub fn parameters(&self) -> &[StoredParameter] {
        &self.parameters
    }

    /// Whether a projection is kept as packed codes, so that its latent weights are gone.
    pub fn has_packed_codes(&self) -> bool {
        self.parameters.iter().any(|parameter| self.holds_codes(parameter))
    }

    /// Whether a parameter is codes, or numbers that codes stand for: a GGUF file holds what is computed with, whatever its type.
    pub fn holds_codes(&self, parameter: &StoredParameter) -> bool {
        let is_ternary = self.config().model.bit_linear.weights.has_codes();
        parameter.number_type.is_codes() || self.source.is_for_computing() && is_ternary && parameter.is_projection
    }

    /// Calls `take` with the numbers of a parameter that is not packed, some at a time, in order.
    ///
    /// # Errors
    /// The user's: numbers that are not finite, a projection that is quantized already and would be again. And those of `take`.
    pub fn read_floats(&self, parameter: &StoredParameter, mut take: impl FnMut(&[f32]) -> Result<()>) -> Result<()> {
        if parameter.is_projection {
            let [outputs, inputs] = matrix_shape(parameter)?;
            return take(&self.weights().projection(&parameter.name, outputs, inputs)?.latent()?);
        }
        self.weights().with_table(&parameter.name, |stored| {
            let mut numbers = vec![0.0; parameter.num_numbers().min(NUMBERS_AT_A_TIME)];
            for start in (0..parameter.num_numbers()).step_by(NUMBERS_AT_A_TIME) {
                let count = numbers.len().min(parameter.num_numbers() - start);
                stored.read_floats(start, &mut numbers[..count])?;
                take(&numbers[..count])?;
            }
            Ok(())
        })
    }

    /// Calls `take` with the 8-bit codes of each row of embedding or head, and what a code of 1 stands for in it: those that are stored, or
    /// those that its numbers become.
    ///
    /// # Errors
    /// Those of [`Self::read_floats`].
    pub fn read_int8_rows(&self, parameter: &StoredParameter, mut take: impl FnMut(&[i8], f32) -> Result<()>) -> Result<()> {
        let [rows, columns] = matrix_shape(parameter)?;
        self.weights().with_table(&parameter.name, |stored| {
            if let Some(scales) = &stored.scales {
                let codes: &[i8] = bytemuck::cast_slice(stored.tensor.bytes);
                return codes.chunks(columns.max(1)).zip(scales).try_for_each(|(codes, scale)| take(codes, *scale));
            }
            let (mut row, mut codes) = (vec![0.0; columns], vec![0; columns]);
            (0..rows).try_for_each(|index| {
                stored.read_floats(index * columns, &mut row)?;
                let scale = int8_row(&row, &mut codes);
                take(&codes, scale)
            })
        })
    }

    /// [`Self::read_floats`] as the bytes that a file has for them in `number_type`, which is float32 or bfloat16.
    ///
    /// # Errors
    /// Those of [`Self::read_floats`].
    pub fn read_bytes(
        &self,
        parameter: &StoredParameter,
        number_type: NumberType,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        self.read_floats(parameter, |numbers| {
            bytes.clear();
            match number_type {
                NumberType::Bfloat16 => bytes.extend(numbers.iter().flat_map(|&number| Bf16::from_f32(number).0.to_le_bytes())),
                NumberType::Float32 | NumberType::Float16 | NumberType::PackedCodes | NumberType::Int8Rows | NumberType::Blocks(_) => {
                    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()))
                }
            }
            take(&bytes)
        })
    }

    /// Codes and scale of a projection: those that are packed, or what the model's quantizer makes of its latent weights.
    ///
    /// # Errors
    /// The user's: damaged numbers, a projection that is quantized already, or a model whose weights are not quantized.
    pub fn codes(&self, parameter: &StoredParameter) -> Result<TernaryMatrix> {
        self.with_codes(parameter, |projection| projection.codes())
    }

    /// [`Self::codes`] as the kernels read them.
    ///
    /// # Errors
    /// Those of [`Self::codes`].
    pub fn packed_matrix(&self, parameter: &StoredParameter) -> Result<PackedMatrix> {
        self.with_codes(parameter, |projection| {
            let matrix = projection.packed_matrix(&Pool::default())?;
            match matrix.find_no_code() {
                Some(index) => Err(projection.no_code(index)),
                None => Ok(matrix),
            }
        })
    }

    /// The scale alone of [`Self::codes`].
    ///
    /// # Errors
    /// Those of [`Self::codes`].
    pub fn scale(&self, parameter: &StoredParameter) -> Result<f32> {
        self.with_codes(parameter, |projection| projection.scale())
    }

    /// Calls `read` with a projection that has codes.
    fn with_codes<T>(&self, parameter: &StoredParameter, read: impl FnOnce(Projection<'_>) -> Result<T>) -> Result<T> {
        if !self.config().model.bit_linear.weights.has_codes() {
            return Err(Error::input(format!("{}: its weights are not quantized", self.dir.display())));
        }
        let [outputs, inputs] = matrix_shape(parameter)?;
        read(self.weights().projection(&parameter.name, outputs, inputs)?)
    }

    fn weights(&self) -> Weights<'_> {
        Weights::checked(&self.source)
    }
}

/// Rows and columns.
fn matrix_shape(parameter: &StoredParameter) -> Result<[usize; 2]> {
    parameter.shape[..].try_into().map_err(|_| Error::ours(format!("{} is no matrix", parameter.name)))
}

/// The parameter `name` of files that were checked.
fn parameter(source: &Source, name: String, shape: Vec<usize>) -> Result<StoredParameter> {
    let tensor = source.get(&name)?;
    let number_type = match tensor.encoding {
        Encoding::Plain(Dtype::U8) => NumberType::PackedCodes,
        Encoding::Plain(Dtype::I8) => NumberType::Int8Rows,
        Encoding::Plain(Dtype::BF16) => NumberType::Bfloat16,
        Encoding::Plain(Dtype::F16) => NumberType::Float16,
        Encoding::Plain(_) => NumberType::Float32,
        Encoding::Blocks(kind) => NumberType::Blocks(kind),
    };
    let of_scale = |scale: StoredTensor<'_>| scale.bytes.len();
    let scale_name = scale_name(&name);
    let num_bytes = (tensor.bytes.len() + source.find(&scale_name).map_or(0, of_scale)) as u64;
    Ok(StoredParameter { is_projection: is_projection(&name, &shape), name, shape, number_type, num_bytes })
}
