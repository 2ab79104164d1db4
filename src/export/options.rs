//! What an export of a model folder is to be.

use super::provenance::Provenance;
use crate::ternary::threads::Threads;

/// How projections are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightForm {
    /// Latent weights: what loads them quantizes them on each use, and can train them.
    Latent,
    /// Packed codes and one scale a matrix, which multiplies.
    Packed,
    /// The same in the layout that the kernels read, for this program alone: a file is mapped, not read.
    Blocks,
}

/// What an export is to be.
#[derive(Debug, Clone)]
pub struct ExportOptions<'a> {
    /// How projections are written.
    pub form: WeightForm,
    /// The type of all numbers that are not packed.
    pub float_type: FloatType,
    /// What projections are quantized on.
    pub threads: &'a Threads,
    /// How the model came to be, for its card.
    pub provenance: Option<&'a Provenance>,
    /// A PNG for the card.
    pub loss_curve: Option<&'a [u8]>,
}

/// The type of the numbers that are not packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum FloatType {
    /// float32 or bfloat16, whichever the source has; half precision becomes float32, and so do 8 bits except in the layout of the
    /// kernels.
    #[default]
    AsStored,
    /// Four bytes a number.
    Float32,
    /// Two bytes a number; what is narrower than the source is rounded.
    Bfloat16,
    /// Embedding and head in a byte a number and a scale a row, the rest as stored; in the layout of the kernels alone.
    Int8,
}
