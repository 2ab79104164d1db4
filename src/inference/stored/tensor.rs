//! One tensor where it lies in a file: its type and shape, and its numbers on demand. What its name means is left to `weights`.

use crate::dense::{Bf16, Number, f16_to_f32};
use crate::gguf::{self, TensorType};
use crate::storage::MappedFile;
use crate::ternary::bytes::SharedBytes;
use crate::{Error, Result};
use safetensors::Dtype;
use std::path::Path;
use std::sync::Arc;

/// The cure where a file and its config.json disagree.
pub(super) const OTHER_MODEL: &str = "the file does not fit its own config: fetch or export the model again";
pub(super) const DAMAGED: &str = "the file is damaged";

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As a safetensors file has them.
    Plain(Dtype),
    /// As a GGUF file has them.
    Blocks(TensorType),
}

/// One tensor where it lies.
#[derive(Clone, Copy)]
pub(crate) struct StoredTensor<'a> {
    pub path: &'a Path,
    pub name: &'a str,
    pub encoding: Encoding,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
    /// The file that the bytes lie in, where they can stay there.
    pub file: Option<&'a Arc<MappedFile>>,
    /// Width of a head whose rows are interleaved, the first of either half, the second of either half, and so on; else none.
    pub interleaved: Option<usize>,
}

impl StoredTensor<'_> {
    /// An error about this tensor.
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::input(format!("{}: tensor {} {message}", self.path.display(), self.name))
    }

    /// The error of packed codes whose byte at `index` has bits that are none.
    pub fn no_code(&self, index: usize) -> Error {
        let byte = self.bytes.get(index).copied().unwrap_or_default();
        self.error(format!("byte {index} is {byte:#04x}, and bits 3 are no ternary code")).hint(DAMAGED)
    }

    /// Refuses another shape than `[rows, columns]` or `[size]`.
    pub fn require_shape(&self, shape: &[usize]) -> Result<()> {
        match self.shape == shape {
            true => Ok(()),
            false => Err(self.error(format!("has shape {:?}, expected {shape:?}", self.shape)).hint(OTHER_MODEL)),
        }
    }

    /// Its bytes where they lie in the file, which stays mapped as long as they are used.
    ///
    /// # Errors
    /// Ours: they lie in no file that can be shared.
    pub fn mapped_bytes(&self) -> Result<SharedBytes> {
        let file = self.file.ok_or_else(|| Error::ours(format!("tensor {} is not mapped", self.name)))?;
        let start = self.bytes.as_ptr().addr() - file.as_ptr().addr();
        SharedBytes::of(Arc::clone(file) as _, start..start + self.bytes.len())
    }

    /// Whether its numbers are bfloat16.
    pub fn is_bfloat16(&self) -> bool {
        match self.encoding {
            Encoding::Plain(Dtype::BF16) | Encoding::Blocks(TensorType::Bf16) => true,
            Encoding::Plain(_) | Encoding::Blocks(_) => false,
        }
    }

    /// Refuses what [`Self::floats`] does not read.
    pub fn require_float(&self) -> Result<()> {
        match self.encoding {
            Encoding::Plain(Dtype::F32 | Dtype::BF16 | Dtype::F16) => Ok(()),
            Encoding::Blocks(kind) if gguf::has_floats(kind) => Ok(()),
            Encoding::Plain(dtype) => Err(self.error(format!("has type {dtype:?}, expected F32, BF16 or F16"))),
            Encoding::Blocks(kind) => Err(self.error(format!("has type {}, expected F32, F16, BF16, Q8_0, Q6_K or Q4_0", kind.name()))),
        }
    }

    /// Its numbers in float32.
    ///
    /// # Errors
    /// The user's: another type, or a number that is not finite.
    pub fn floats(&self) -> Result<Vec<f32>> {
        let mut numbers = vec![0.0; self.shape.iter().product()];
        self.read_floats(0, &mut numbers)?;
        Ok(numbers)
    }

    /// Fills `numbers` with those from position `start` on, in float32.
    ///
    /// # Errors
    /// As [`Self::floats`] has it.
    pub fn read_floats(&self, start: usize, numbers: &mut [f32]) -> Result<()> {
        self.require_float()?;
        match self.encoding {
            Encoding::Plain(Dtype::F32) => fill(numbers, self.bytes, start, f32::from_le_bytes),
            Encoding::Plain(Dtype::F16) => fill(numbers, self.bytes, start, |bytes| f16_to_f32(u16::from_le_bytes(bytes))),
            Encoding::Plain(_) => fill(numbers, self.bytes, start, |bytes| Bf16(u16::from_le_bytes(bytes)).to_f32()),
            Encoding::Blocks(kind) => gguf::read_floats(kind, self.bytes, start, numbers)?,
        }
        match numbers.iter().position(|number| !number.is_finite()) {
            Some(index) => Err(self.error(format!("holds {} at position {}", numbers[index], start + index)).hint("the file is damaged")),
            None => Ok(()),
        }
    }
}

fn fill<const WIDTH: usize>(numbers: &mut [f32], bytes: &[u8], start: usize, read: impl Fn([u8; WIDTH]) -> f32) {
    let (stored, _) = bytes.as_chunks::<WIDTH>();
    for (number, stored) in numbers.iter_mut().zip(&stored[start.min(stored.len())..]) {
        *number = read(*stored);
    }
}
