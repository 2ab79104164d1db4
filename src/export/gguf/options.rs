//! What a GGUF file is to be.

use crate::gguf::{Scaling, TensorType};

/// How projections are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ProjectionType {
    /// 1.69 bits a weight.
    #[value(name = "tq1_0")]
    Tq1_0,
    /// 2.06 bits a weight.
    #[value(name = "tq2_0")]
    Tq2_0,
    /// 2 bits a weight, for bitnet.cpp on x86.
    #[value(name = "i2_s")]
    I2S,
}

/// How embedding and head are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum EmbeddingType {
    /// IEEE half precision.
    #[default]
    F16,
    /// Four bytes a number.
    F32,
    /// The upper half of a float32.
    Bf16,
    /// 8 bits a number, and a scale for 32 of them.
    #[value(name = "q8_0")]
    Q8_0,
}

/// What a file is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GgufOptions {
    /// None for what runs the model in most programs.
    pub projections: Option<ProjectionType>,
    /// How embedding and head are stored.
    pub embedding: EmbeddingType,
    /// Where TQ1_0 and TQ2_0 have their scales; none for what loses nothing where llama.cpp reads that, in blocks elsewhere.
    pub scaling: Option<Scaling>,
}

impl From<ProjectionType> for TensorType {
    fn from(projections: ProjectionType) -> Self {
        match projections {
            ProjectionType::Tq1_0 => Self::Tq1_0,
            ProjectionType::Tq2_0 => Self::Tq2_0,
            ProjectionType::I2S => Self::I2S,
        }
    }
}

impl From<EmbeddingType> for TensorType {
    fn from(embedding: EmbeddingType) -> Self {
        match embedding {
            EmbeddingType::F16 => Self::F16,
            EmbeddingType::F32 => Self::F32,
            EmbeddingType::Bf16 => Self::Bf16,
            EmbeddingType::Q8_0 => Self::Q8_0,
        }
    }
}

impl ProjectionType {
    /// As GGUF files call it.
    pub fn name(self) -> &'static str {
        TensorType::from(self).name()
    }
}
