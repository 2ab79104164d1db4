//! A model folder as it lies on the disk, for whoever converts, exports or inspects it: its config, and its parameters one at a time, so
//! that a model larger than memory can be. Which names, shapes and codes are right is the business of `weights`.

use super::model::read_config;
use super::number::{Bf16, Number};
use super::tensors::{StoredTensor, TensorFolder};
use super::weights::{Weights, is_projection, scale_name};
use crate::config::{HuggingFaceConfig, WeightQuantizer};
use crate::ternary::packing::num_packed_rows;
use crate::ternary::weights::TernaryMatrix;
use crate::{Error, Result};
use safetensors::Dtype;
use std::path::{Path, PathBuf};

/// Numbers of a tensor that are read at a time.
const NUMBERS_AT_A_TIME: usize = 1 << 20;

/// A model folder whose headers have been checked.
pub struct StoredModel {
    dir: PathBuf,
    config: HuggingFaceConfig,
    folder: TensorFolder,
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
}

impl NumberType {
    /// As it is called in tables: safetensors' name, or `2-bit`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "F32",
            Self::Bfloat16 => "BF16",
            Self::Float16 => "F16",
            Self::PackedCodes => "2-bit",
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
    /// Opens the folder `dir`: config.json and safetensors, in one file or in shards. Reads no weight.
    ///
    /// # Errors
    /// The user's: a file is missing or damaged, or they do not fit each other.
    pub fn open(dir: &Path) -> Result<Self> {
        let config = read_config(dir)?;
        let folder = TensorFolder::open(dir)?;
        Weights::new(&folder, &config)?;
        let shapes = config.model.parameter_shapes().into_iter();
        let parameters = shapes.map(|(name, shape)| parameter(&folder, name, shape)).collect::<Result<_>>()?;
        Ok(Self { dir: dir.to_owned(), config, folder, parameters })
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What its config.json says.
    pub fn config(&self) -> &HuggingFaceConfig {
        &self.config
    }

    /// Every parameter, in the order of [`crate::config::ModelConfig::parameter_shapes`].
    pub fn parameters(&self) -> &[StoredParameter] {
        &self.parameters
    }

    /// Whether a projection is kept as packed codes, so that its latent weights are gone.
    pub fn has_packed_codes(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.number_type == NumberType::PackedCodes)
    }

    /// Calls `take` with the numbers of a parameter that is not packed, some at a time, in order.
    ///
    /// # Errors
    /// The user's: numbers that are not finite, a projection that is quantized already and would be again. And those of `take`.
    pub fn read_floats(&self, parameter: &StoredParameter, mut take: impl FnMut(&[f32]) -> Result<()>) -> Result<()> {
        if parameter.is_projection {
            return take(&self.weights().latent(&parameter.name)?);
        }
        let tensor = self.folder.get(&parameter.name)?;
        let mut numbers = vec![0.0; parameter.num_numbers().min(NUMBERS_AT_A_TIME)];
        for start in (0..parameter.num_numbers()).step_by(NUMBERS_AT_A_TIME) {
            let count = numbers.len().min(parameter.num_numbers() - start);
            tensor.read_floats(start, &mut numbers[..count])?;
            take(&numbers[..count])?;
        }
        Ok(())
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
                _ => bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes())),
            }
            take(&bytes)
        })
    }

    /// Codes and scale of a projection: those that are packed, or what the model's quantizer makes of its latent weights.
    ///
    /// # Errors
    /// The user's: damaged numbers, a projection that is quantized already, or a model whose weights are not quantized.
    pub fn codes(&self, parameter: &StoredParameter) -> Result<TernaryMatrix> {
        match (self.config.model.bit_linear.weights, parameter.shape.as_slice()) {
            (WeightQuantizer::None, _) => Err(Error::input(format!("{}: its weights are not quantized", self.dir.display()))),
            (_, &[outputs, inputs]) => self.weights().codes(&parameter.name, outputs, inputs),
            _ => Err(Error::ours(format!("{} is no projection", parameter.name))),
        }
    }

    fn weights(&self) -> Weights<'_> {
        Weights::checked(&self.folder, &self.config)
    }
}

/// The parameter `name` of a folder that was checked.
fn parameter(folder: &TensorFolder, name: String, shape: Vec<usize>) -> Result<StoredParameter> {
    let tensor = folder.get(&name)?;
    let number_type = match tensor.dtype {
        Dtype::U8 => NumberType::PackedCodes,
        Dtype::BF16 => NumberType::Bfloat16,
        Dtype::F16 => NumberType::Float16,
        _ => NumberType::Float32,
    };
    let of_scale = |scale: StoredTensor<'_>| scale.bytes.len();
    let scale_name = scale_name(&name);
    let num_bytes = (tensor.bytes.len() + folder.find(&scale_name).map_or(0, of_scale)) as u64;
    Ok(StoredParameter { is_projection: is_projection(&name, &shape), name, shape, number_type, num_bytes })
}
